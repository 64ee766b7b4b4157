package e2e

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// sample is what the process holds at a moment, seen from outside but for what only it knows.
type sample struct {
	at         time.Duration
	pid        int
	memory     int64 // resident, in bytes
	goMemory   int64 // that Go holds; told from inside
	files      int64 // descriptors
	threads    int64
	goroutines int64 // told from inside
	ledger     int64 // bytes of the file
	blobs      int64 // listed so far
	cpu        time.Duration
	records    int64 // arrived so far, repeats included
}

func (s *soak) takeSample(now time.Duration) {
	if now < s.nextSample {
		return
	}
	s.nextSample = now + max(time.Second, min(s.length/300, 5*time.Second))
	v := sample{at: now, pid: s.process.pid(), records: int64(s.total)}
	proc := fmt.Sprintf("/proc/%d/", v.pid)
	status, err1 := os.ReadFile(proc + "status")
	stat, err2 := os.ReadFile(proc + "stat")
	files, err3 := os.ReadDir(proc + "fd")
	ledger, err4 := os.Stat(filepath.Join(s.dir, "office365.db"))
	inside, err5 := os.ReadFile(s.inside())
	if cmp.Or(err1, err2, err3, err4, err5) != nil {
		return // it begins
	}
	if _, err := fmt.Sscan(string(inside), &v.goroutines, &v.goMemory); err != nil {
		s.Fatalf("%v: %q", err, inside)
	}
	v.memory, v.threads = number(status, "VmRSS:")<<10, number(status, "Threads:")
	v.files, v.ledger = int64(len(files)), ledger.Size()
	for _, o := range s.tenant.Account().Offered {
		v.blobs += int64(o.Listed)
	}
	// User and system time are the fields 14 and 15, in hundredths of a second (proc_pid_stat(5)); the second may hold spaces.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	for _, field := range fields[11:13] {
		ticks, _ := strconv.ParseInt(field, 10, 64)
		v.cpu += time.Duration(ticks) * time.Second / 100
	}
	s.samples = append(s.samples, v)
	if *soakFor > 0 && now >= s.nextSay {
		s.nextSay += time.Minute
		s.say("%5s: %d records of %d blobs, %d repeated; %d MB (Go: %d), %d descriptors, %d threads, %d goroutines, ledger %d kB; amiss: %s",
			now.Round(time.Second), len(s.arrived), v.blobs, s.total-len(s.arrived), v.memory>>20, v.goMemory>>20, v.files, v.threads, v.goroutines, v.ledger>>10, s.troubles.ongoing())
	}
}

func number(status []byte, key string) (n int64) {
	_, line, _ := strings.Cut(string(status), key)
	_, _ = fmt.Sscan(line, &n) // 0 is as good as none
	return n
}

// figure is a row of the table.
type figure struct {
	name   string
	unit   float64
	of     func([]sample) []float64
	judged judgement
}

// judgement says what may not grow. What leaks raises the low values; calls that hang, chunks that wait in the host at one moment and not at another, the
// high ones.
type judgement int

const (
	low        judgement = iota // the value that a quarter is below, by mayGrow
	lowAndMost                  // the maximum too
	least                       // the value that a tenth is below, by mayAdd: these are few, and each reload that left one behind would raise it
	notAtAll                    // it is what was offered, and what the faults let through
)

// How much a figure of the last part may exceed that of the first.
const (
	mayGrow = 1.2
	mayAdd  = 3
)

// judgedFrom is how long a soak must be for that: a shorter one compares a process that warms up with itself.
const judgedFrom = 20 * time.Minute

// table compares the first ten minutes of the process that lives longest with its last ten; in a shorter run the first third with the last.
func (s *soak) table() {
	if s.length < judgedFrom {
		s.say("What the process holds is not judged in less than %s.", judgedFrom)
	}
	if *soakFor == 0 {
		return
	}
	first, last := s.ends()
	if len(first) < 3 || len(last) < 3 {
		s.Errorf("%d and %d samples", len(first), len(last))
		return
	}
	each := func(value func(sample) int64) func([]sample) []float64 {
		return func(samples []sample) (values []float64) {
			for _, v := range samples {
				values = append(values, float64(value(v)))
			}
			return values
		}
	}
	figures := []figure{
		{"memory resident, MB", 1 << 20, each(func(v sample) int64 { return v.memory }), low},
		{"of it Go's, MB", 1 << 20, each(func(v sample) int64 { return v.goMemory }), lowAndMost},
		{"descriptors", 1, each(func(v sample) int64 { return v.files }), least},
		{"threads", 1, each(func(v sample) int64 { return v.threads }), least},
		{"goroutines", 1, each(func(v sample) int64 { return v.goroutines }), least},
		{"ledger, kB", 1 << 10, each(func(v sample) int64 { return v.ledger }), notAtAll},
		{"CPU seconds per minute", 1, perMinute(func(a, b sample) float64 { return (b.cpu - a.cpu).Seconds() }), notAtAll},
		{"records per minute", 1, perMinute(func(a, b sample) float64 { return float64(b.records - a.records) }), notAtAll},
	}
	span := func(samples []sample) time.Duration {
		return (samples[len(samples)-1].at - samples[0].at).Round(time.Second)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\tfirst %s: a tenth below\ta quarter below\tmedian\tmax\tlast %s: a tenth below\ta quarter below\tmedian\tmax\t\n", span(first), span(last))
	for _, f := range figures {
		before, after := f.of(first), f.of(last)
		slices.Sort(before)
		slices.Sort(after)
		fmt.Fprintf(w, "%s\t", f.name)
		for _, values := range [][]float64{before, after} {
			for _, at := range []int{len(values) / 10, len(values) / 4, len(values) / 2, len(values) - 1} {
				fmt.Fprintf(w, "%.1f\t", values[at]/f.unit)
			}
		}
		fmt.Fprintln(w)
		if s.length >= judgedFrom && f.judged.grown(before, after) {
			s.Errorf("%s: grown", f.name)
		}
	}
	w.Flush()
}

// grown compares values in their order.
func (j judgement) grown(before, after []float64) bool {
	quarter := func(values []float64) float64 { return values[len(values)/4] }
	switch j {
	case low:
		return quarter(after) > mayGrow*quarter(before)
	case lowAndMost:
		return quarter(after) > mayGrow*quarter(before) || after[len(after)-1] > mayGrow*before[len(before)-1]
	case least:
		return after[len(after)/10] > before[len(before)/10]+mayAdd
	default:
		return false
	}
}

// ends are the samples of the first and the last ten minutes of the process that lives longest, or of its thirds, but for its first minute.
func (s *soak) ends() (first, last []sample) {
	samples, of := map[int][]sample{}, 0
	for _, v := range s.samples {
		samples[v.pid] = append(samples[v.pid], v)
		if len(samples[v.pid]) > len(samples[of]) {
			of = v.pid
		}
	}
	all := samples[of]
	if len(all) == 0 {
		return nil, nil
	}
	begin, end := all[0].at+min(time.Minute, s.length/30), all[len(all)-1].at
	part := min(10*time.Minute, (end-begin)/3)
	for _, v := range all {
		if v.at >= begin && v.at <= begin+part {
			first = append(first, v)
		}
		if v.at >= end-part {
			last = append(last, v)
		}
	}
	return first, last
}

// perMinute is what changes in slices of time, of a minute at most.
func perMinute(change func(a, b sample) float64) func([]sample) []float64 {
	return func(samples []sample) (values []float64) {
		slice := min(time.Minute, (samples[len(samples)-1].at-samples[0].at)/3)
		from := samples[0]
		for _, v := range samples[1:] {
			if took := v.at - from.at; took >= slice {
				values = append(values, change(from, v)/took.Minutes())
				from = v
			}
		}
		return values
	}
}
