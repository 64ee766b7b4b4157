package main

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"
)

// Other work on the machine slows contestants down for moments at a time, and never speeds one up: what counts is the fastest of many
// short turns. They come one after the other in every round, so that the moments hit all alike.
const (
	fewRounds = 4                     // where all families are measured
	rounds    = 30                    // else
	turnTime  = 50 * time.Millisecond // at least
)

// turn is what one contestant did in one round.
type turn struct {
	speed  float64 // bytes of JSON per second
	allocs float64 // heap allocations per record
}

// results are the turns of each contestant over one blob, one per round; none if it is absent or refuses the blob.
type results [][]turn

func measure(all []contestant, b blob, rounds int) (results, error) {
	runners := make([]runner, len(all))
	turns := make(results, len(all))
	for i, c := range all {
		if c.absent != "" {
			continue
		}
		runners[i] = c.new(b)
		if err := runners[i](); err != nil {
			if !slices.Contains(parsers, i) {
				return nil, fmt.Errorf("%s over %s: %w", c.name, b.name, err)
			}
			runners[i] = nil
		}
	}
	for range rounds {
		for i, run := range runners {
			if run == nil {
				continue
			}
			t, err := takeTurn(run, b)
			if err != nil {
				return nil, fmt.Errorf("%s over %s: %w", all[i].name, b.name, err)
			}
			turns[i] = append(turns[i], t)
		}
	}
	return turns, nil
}

// takeTurn begins with an empty heap, so that nobody collects the garbage of another, and with a pass that is not measured, which
// brings memory and caches to the steady state.
func takeTurn(run runner, b blob) (turn, error) {
	runtime.GC()
	if err := run(); err != nil {
		return turn{}, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	passes := 0
	var took time.Duration
	for took < turnTime {
		if err := run(); err != nil {
			return turn{}, err
		}
		passes++
		took = time.Since(begin)
	}
	runtime.ReadMemStats(&after)
	return turn{
		speed:  float64(passes*len(b.text)) / took.Seconds(),
		allocs: float64(after.Mallocs-before.Mallocs) / float64(passes*len(b.records)),
	}, nil
}

// speed is that of the fastest turn.
func (r results) speed(contestant int) float64 {
	return slices.Max(values(r[contestant], func(t turn) float64 { return t.speed }))
}

// allocs is the median over the rounds.
func (r results) allocs(contestant int) float64 {
	return median(values(r[contestant], func(t turn) float64 { return t.allocs }))
}

// ratio is how many times as fast one contestant is as another: the fastest turn of each, and the least and the most within a round.
type ratio struct{ fastest, least, most float64 }

func (r results) ratio(of, to int) ratio {
	paired := make([]float64, len(r[of]))
	for i := range paired {
		paired[i] = r[of][i].speed / r[to][i].speed
	}
	return ratio{fastest: r.speed(of) / r.speed(to), least: slices.Min(paired), most: slices.Max(paired)}
}

// slowest is the slowest of those contestants that took part.
func (r results) slowest(of []int) int {
	present := slices.DeleteFunc(slices.Clone(of), func(i int) bool { return len(r[i]) == 0 })
	return slices.MinFunc(present, func(a, b int) int { return cmp.Compare(r.speed(a), r.speed(b)) })
}

func values(turns []turn, value func(turn) float64) []float64 {
	out := make([]float64, len(turns))
	for i, t := range turns {
		out[i] = value(t)
	}
	return out
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// linear tells how many times as long flat takes for ten times the records, by the fastest of passes that alternate, and how many bytes of
// memory a pass over them allocates.
func linear(flat contestant) (times float64, allocated uint64, err error) {
	const few, passes = 2000, 20
	runners := [...]runner{
		flat.new(blobOf(mixed, few, math.MaxInt, appendMixed)),
		flat.new(blobOf(mixed, 10*few, math.MaxInt, appendMixed)),
	}
	var fastest [len(runners)]time.Duration
	for pass := range passes + 1 { // the first one brings memory to the steady state
		for i, run := range runners {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			if err := run(); err != nil {
				return 0, 0, err
			}
			took := time.Since(begin)
			runtime.ReadMemStats(&after)
			if pass == 1 || pass > 1 && took < fastest[i] {
				fastest[i] = took
			}
			allocated = after.TotalAlloc - before.TotalAlloc
		}
	}
	return float64(fastest[1]) / float64(fastest[0]), allocated, nil
}
