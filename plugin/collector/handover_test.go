package collector

import (
	"context"
	"fmt"
	"testing"
	"time"
	"unsafe"

	"in_office365/o365"
	"in_office365/plugin/handover"
)

type goMemory struct{}

func (goMemory) Alloc(n int) []byte { return make([]byte, n) }
func (goMemory) Free([]byte)        {}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// take is the host's callback and its cleanup.
func take(q *handover.Queue) string {
	b := q.Take()
	text := string(b)
	if b != nil {
		q.Release(unsafe.Pointer(unsafe.SliceData(b)))
	}
	return text
}

// The way of a record from a blob to the host, and its being counted there, allocate for batches, and nothing for records.
func TestCountingAllocatesNothingPerRecord(t *testing.T) {
	allocations := func(n int) float64 {
		q := handover.New(handover.Options{Memory: goMemory{}, BatchSize: 1 << 16, BufferSize: 1 << 20})
		c := &Collector{queue: q}
		s := &stream{c: c, tenant: &tenant{client: &o365.Client{}}, delay: newMetrics(false).callback}
		fetcher := &fetcher{}
		runs := 0
		each := testing.AllocsPerRun(100, func() {
			runs++
			for i := range n {
				fetcher.buffer.Add(append(fetcher.buffer.Bytes(), 'a'), handover.Record{Index: int64(i), Time: uint32(i)})
			}
			f := &flight{stream: s}
			if err := s.put(context.Background(), fetcher, f, true); err != nil {
				t.Fatal(err)
			}
			f.dropped.Store(true) // its ledger is none of this test
			take(q)
			q.Count()
			q.Report()
		})
		if got := s.counts.handedOver.Load(); got != int64(runs*n) || s.counts.read.Load() != got {
			t.Errorf("%d records were counted of %d", got, runs*n)
		}
		return each
	}
	if few, many := allocations(10), allocations(1000); few != many {
		t.Errorf("%v allocations for 10 records, %v for 1,000", few, many)
	}
}

// An output that is too slow lets the storage be full again and again: that is told once.
func TestStorageThatIsFullNowAndThenIsToldOnce(t *testing.T) {
	const begins, over = "begins", "is over"
	told, start := &handOverTold{}, time.Now()
	for _, at := range []struct {
		after time.Duration
		full  bool
		want  string
	}{
		{0, false, ""},
		{time.Second, true, begins},
		{2 * time.Second, true, ""},
		{3 * time.Second, false, ""},
		{4 * time.Second, true, ""},
		{5 * time.Second, false, ""},
		{3*time.Second + troubleQuiet, false, ""},
		{4*time.Second + troubleQuiet, false, over},
		{5*time.Second + troubleQuiet, false, ""},
		{6*time.Second + troubleQuiet, true, begins},
	} {
		got := ""
		switch b, o := told.noteFull(at.full, start.Add(at.after)); {
		case b:
			got = begins
		case o:
			got = over
		}
		expect(t, "after "+at.after.String(), got, at.want)
	}
}
