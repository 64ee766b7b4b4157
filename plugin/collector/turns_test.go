package collector

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// takers are content types of tenants that want turns all the time, each for so long.
type takers struct {
	turns *turns
	group sync.WaitGroup
	ctx   context.Context

	mu    sync.Mutex
	taken map[string]int // turns that went well, by tenant and type
	now   map[string]int // that it has at the moment
	most  map[string]int // that it had at once
}

const (
	quick = 200 * time.Millisecond // what a call takes
	hung  = time.Minute            // what one takes that fails as it hangs
)

// uneven keeps calls from ending at the same moments for ever.
func uneven(d time.Duration) time.Duration { return d*9/10 + rand.N(d/5) }

// alike says that two shares differ by no more than chance.
func alike(a, b int) bool { return min(a, b)*10 >= max(a, b)*9 }

func newTakers(ctx context.Context, most int) *takers {
	return &takers{turns: newTurns(most), ctx: ctx, taken: map[string]int{}, now: map[string]int{}, most: map[string]int{}}
}

// tenant begins to take turns, without end, for as many types, some of which hang.
func (k *takers) tenant(name string, types int, hangs func(contentType int) bool) {
	s := &share{turns: k.turns, types: types}
	s.join()
	for contentType := range types {
		p := &place{share: s}
		length, well := quick, true
		if hangs(contentType) {
			length, well = hung, false
		}
		id := fmt.Sprintf("%s %d", name, contentType)
		k.group.Go(func() {
			for p.take(k.ctx) == nil {
				k.count(id, 1)
				k.group.Go(func() {
					defer p.giveBack()
					defer k.count(id, -1)
					if sleep(k.ctx, uneven(length)) {
						p.fared(well)
						k.mu.Lock()
						k.taken[id]++
						k.mu.Unlock()
					}
				})
			}
		})
	}
}

func (k *takers) count(id string, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now[id] += n
	k.most[id] = max(k.most[id], k.now[id])
}

// in returns how many turns each had that went well in that time.
func (k *takers) in(d time.Duration) map[string]int {
	k.mu.Lock()
	before := maps.Clone(k.taken)
	k.mu.Unlock()
	time.Sleep(d)
	k.mu.Lock()
	defer k.mu.Unlock()
	after := maps.Clone(k.taken)
	for id, n := range before {
		after[id] -= n
	}
	return after
}

func inTurns(t *testing.T, most int, test func(k *takers)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		k := newTakers(ctx, most)
		test(k)
		cancel()
		k.group.Wait()
		if k.turns.out != 0 || k.turns.doubtful != 0 || len(k.turns.waiting) != 0 {
			t.Errorf("at the end %d turns are out, %d doubtful, and %d wait", k.turns.out, k.turns.doubtful, len(k.turns.waiting))
		}
	})
}

func none(int) bool { return false }
func all(int) bool  { return true }

// Of 500 tenants with 5 types each, all of which always have something to fetch, a few hang. The others share most of the turns, alike.
func TestTurnsOfManyTenantsOfWhichAFewHang(t *testing.T) {
	for _, most := range []int{8, 32} {
		t.Run(fmt.Sprintf("%d turns", most), func(t *testing.T) {
			inTurns(t, most, func(k *takers) {
				const tenants, hanging = 500, 6
				for i := range tenants {
					hangs := none
					if i < hanging { // they come first: nobody else waits yet
						hangs = all
					}
					k.tenant(fmt.Sprintf("tenant %03d", i), 5, hangs)
					synctest.Wait()
				}
				time.Sleep(10 * time.Minute) // until it shows who hangs
				const span = 5 * time.Minute
				taken := k.in(span)
				least, most, total := 1<<30, 0, 0
				for i := hanging; i < tenants; i++ {
					of := 0
					for contentType := range 5 {
						of += taken[fmt.Sprintf("tenant %03d %d", i, contentType)]
					}
					least, most, total = min(least, of), max(most, of), total+of
				}
				half := k.turns.most / 2 * int(span/quick)
				t.Logf("turns of the others: %d to %d each, %d in all, of %d if nobody hung", least, most, total, k.turns.most*int(span/quick))
				if total < half*95/100 {
					t.Errorf("the others had %d turns, half of all are %d", total, half)
				}
				if most-least > 10 { // one or two for each of its types
					t.Errorf("from %d to %d turns", least, most)
				}
			})
		})
	}
}

// When nobody else waits, a tenant that hangs takes what it can; the next to come finds turns all the same, and at once.
func TestTurnsAreLeftToWhoComesLater(t *testing.T) {
	inTurns(t, 8, func(k *takers) {
		k.tenant("hangs", 5, all)
		k.tenant("idle", 0, none)
		time.Sleep(time.Second)
		k.tenant("comes", 1, none)
		if n := k.in(10 * time.Second)["comes 0"]; !alike(n, 2*int(10*time.Second/quick)) {
			t.Errorf("who came later had %d turns in ten seconds, while two of eight are kept", n)
		}
		time.Sleep(2 * hung)
		if n := k.in(10 * time.Second)["comes 0"]; !alike(n, 4*int(10*time.Second/quick)) {
			t.Errorf("who came later had %d turns in ten seconds, while half of eight are kept from those that fail", n)
		}
	})
}

// Two tenants that want all share alike, however many types each has.
func TestTurnsAreSharedByTenant(t *testing.T) {
	inTurns(t, 8, func(k *takers) {
		k.tenant("five", 5, none)
		k.tenant("one", 1, none)
		taken := k.in(time.Minute)
		one, five := taken["one 0"], 0
		for contentType := range 5 {
			five += taken[fmt.Sprintf("five %d", contentType)]
		}
		if !alike(one, five) || one+five < 2000 {
			t.Errorf("%d and %d turns", one, five)
		}
	})
}

// A tenant that begins to fare well again has its share again.
func TestTurnsAfterTrouble(t *testing.T) {
	inTurns(t, 8, func(k *takers) {
		recovered := make(chan struct{})
		s := &share{turns: k.turns, types: 1}
		s.join()
		p := &place{share: s}
		k.tenant("other", 1, none)
		k.group.Go(func() {
			for p.take(k.ctx) == nil {
				k.group.Go(func() {
					defer p.giveBack()
					select {
					case <-recovered:
						sleep(k.ctx, uneven(quick))
						p.fared(true)
						k.mu.Lock()
						k.taken["recovers"]++
						k.mu.Unlock()
					case <-time.After(hung):
						p.fared(false)
					}
				})
			}
		})
		time.Sleep(5 * hung)
		close(recovered)
		time.Sleep(time.Second)
		taken := k.in(time.Minute)
		if !alike(taken["recovers"], taken["other 0"]) {
			t.Errorf("turns %v", taken)
		}
	})
}

// With one tenant a type that hangs leaves the others one turn each, and no more than that is kept from it.
func TestTurnsOfOneTenant(t *testing.T) {
	inTurns(t, 8, func(k *takers) {
		k.tenant("only", 5, func(contentType int) bool { return contentType == 0 })
		taken := k.in(hung / 2)
		k.mu.Lock()
		most := maps.Clone(k.most)
		k.mu.Unlock()
		if most["only 0"] > 4 {
			t.Errorf("the type that hangs had %d turns of 8", most["only 0"])
		}
		for contentType := 1; contentType < 5; contentType++ {
			if n := taken[fmt.Sprintf("only %d", contentType)]; n < int(hung/2/quick)*9/10 {
				t.Errorf("type %d had %d turns, while one is kept for it", contentType, n)
			}
		}
	})
	inTurns(t, 3, func(k *takers) { // fewer than types: all are shared
		k.tenant("only", 5, none)
		taken := slices.Collect(maps.Values(k.in(time.Minute)))
		if len(taken) != 5 || !alike(slices.Max(taken), slices.Min(taken)) {
			t.Errorf("turns %v", taken)
		}
	})
}

// Who leaves while it waits, or in the moment of its turn, leaves no turn behind.
func TestTurnsOfWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		s := &share{turns: turns, types: 1}
		s.join()
		p := &place{share: s}
		if err := p.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { left <- p.take(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-left; err != context.Canceled {
			t.Errorf("got %v", err)
		}
		p.giveBack()
		for range 100 { // granted and ended: either may be seen first
			if p.take(ctx) == nil {
				p.giveBack()
			}
		}
		s.leave()
		if turns.out != 0 || turns.tenants != 0 || len(turns.waiting) != 0 {
			t.Errorf("%d turns are out, %d tenants, %d wait", turns.out, turns.tenants, len(turns.waiting))
		}
	})
}
