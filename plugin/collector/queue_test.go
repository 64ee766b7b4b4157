package collector

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"in_office365/o365"
)

type goMemory struct{}

func (goMemory) Alloc(n int) []byte { return make([]byte, n) }
func (goMemory) Free([]byte)        {}

const testSettle = 5 * time.Second

func testQueue(batchSize, bufferSize int) *queue {
	return newQueue(goMemory{}, batchSize, bufferSize, testSettle, newRepeats(time.Hour, 100))
}

// records makes a slab of one-byte events, each with an Id of its own letter.
func records(q *queue, first int64, letters string) *slab {
	s := &slab{}
	for i, letter := range []byte(letters) {
		s.data = append(s.data, letter)
		s.records = append(s.records, slabRecord{end: len(s.data), index: first + int64(i), id: q.repeats.id([]byte{letter})})
	}
	return s
}

func mustPut(t *testing.T, q *queue, f *flight, first int64, letters string, end bool) {
	t.Helper()
	if _, _, err := q.put(t.Context(), records(q, first, letters), f, end); err != nil {
		t.Fatal(err)
	}
}

// handOver is the host's callback and its cleanup.
func handOver(q *queue) string {
	b := q.take()
	text := string(b)
	if b != nil {
		q.release(unsafe.Pointer(unsafe.SliceData(b)))
	}
	return text
}

// settled is what has become true, as "blob upto" or "blob end".
func settled(q *queue, names map[*flight]string) (marks []string) {
	for _, m := range q.takeSettled() {
		if m.end {
			marks = append(marks, names[m.flight]+" end")
		} else {
			marks = append(marks, fmt.Sprint(names[m.flight], " ", m.upto))
		}
	}
	return marks
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestQueueSettlesABatchWhenTheHostHasCalledAgainLongAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, a, b := testQueue(4, 100), &flight{}, &flight{}
		names := map[*flight]string{a: "a", b: "b"}
		mustPut(t, q, a, 0, "123", true)
		mustPut(t, q, b, 0, "456", false)
		expect(t, "first batch", handOver(q), "1234")
		time.Sleep(testSettle - time.Millisecond)
		expect(t, "second batch", handOver(q), "56")
		expect(t, "before its time", settled(q, names), []string(nil))
		time.Sleep(time.Millisecond)
		expect(t, "without another call", settled(q, names), []string(nil))
		handOver(q)
		expect(t, "after its time", settled(q, names), []string{"a end", "b 1"})
		time.Sleep(testSettle)
		handOver(q)
		expect(t, "in the end", settled(q, names), []string{"b 3"})
	})
}

func TestQueueSettlesNothingWhileTheHostPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, a := testQueue(4, 100), &flight{}
		names := map[*flight]string{a: "a"}
		mustPut(t, q, a, 0, "12", true)
		handOver(q)
		mustPut(t, q, a, 2, "3", true)
		q.pause()
		q.pause()
		time.Sleep(time.Hour)
		expect(t, "a call while paused", handOver(q), "")
		expect(t, "while paused", settled(q, names), []string(nil))
		q.resume()
		expect(t, "after the pause", handOver(q), "3")
		expect(t, "just after the pause", settled(q, names), []string(nil))
		time.Sleep(testSettle)
		handOver(q)
		expect(t, "long after the pause", settled(q, names), []string{"a end", "a end"})
	})
}

// A blob whose records all repeat others settles no sooner than what they repeat.
func TestQueueSettlesARepeatWithWhatItRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, a, b := testQueue(100, 100), &flight{}, &flight{}
		names := map[*flight]string{a: "a", b: "b"}
		mustPut(t, q, a, 0, "123", true)
		expect(t, "batch", handOver(q), "123")
		mustPut(t, q, b, 0, "321", true)
		expect(t, "nothing is handed over for a repeat", handOver(q), "")
		expect(t, "too early", settled(q, names), []string(nil))
		time.Sleep(testSettle)
		handOver(q)
		expect(t, "together", settled(q, names), []string{"a end", "b end"})
		mustPut(t, q, b, 3, "1", true)
		expect(t, "at once, when all has settled", settled(q, names), []string{"b end"})
	})
}

func TestQueueWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, a := testQueue(2, 4), &flight{}
		done := false
		go func() {
			mustPut(t, q, a, 0, "1234567", true)
			done = true
		}()
		var got bytes.Buffer
		for range 4 {
			synctest.Wait()
			if q.held > 4 {
				t.Errorf("held %d bytes", q.held)
			}
			got.WriteString(handOver(q))
		}
		synctest.Wait()
		if !done || got.String() != "1234567" {
			t.Errorf("done %v, got %q", done, got.String())
		}
	})
}

func TestQueueTakesAnEventLargerThanItself(t *testing.T) {
	q := testQueue(2, 4)
	event := bytes.Repeat([]byte("x"), 10)
	if err := q.putNotice(t.Context(), event, nil); err != nil {
		t.Fatal(err)
	}
	expect(t, "batch", handOver(q), string(event))
}

func TestRepeatsAreRememberedForTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRepeats(time.Hour, 3)
		a := r.id([]byte("a"))
		r.add(a, time.Now())
		time.Sleep(time.Hour)
		expect(t, "within the window", r.seen(a, time.Now()), true)
		time.Sleep(time.Second)
		expect(t, "after the window", r.seen(a, time.Now()), false)
		for _, id := range []string{"b", "c", "d", "e", "f", "g", "h"} {
			r.add(r.id([]byte(id)), time.Now())
		}
		expect(t, "the latest", r.seen(r.id([]byte("h")), time.Now()), true)
		expect(t, "beyond the bound", r.seen(r.id([]byte("b")), time.Now()), false)
		expect(t, "no Id", r.seen(r.id(nil), time.Now()), false)
		if n := r.younger.taken + r.older.taken; n > 6 {
			t.Errorf("%d Ids remembered", n)
		}
	})
}

// TestRepeatsForgetNothingTooEarly puts as many Ids as fit, through all growth of the tables, and then as many again.
func TestRepeatsForgetNothingTooEarly(t *testing.T) {
	const most = 5000
	r := newRepeats(time.Hour, most)
	now := time.Now()
	id := func(i int) recordID { return r.id(fmt.Append(nil, i)) }
	for i := range 4 * most {
		if r.seen(id(i), now) {
			t.Fatalf("%d is seen before it was put", i)
		}
		r.add(id(i), now)
		for _, before := range []int{i, i - most/2, i - most + 1} {
			if before >= 0 && !r.seen(id(before), now) {
				t.Fatalf("%d is forgotten after %d more", before, i-before)
			}
		}
	}
	if r.seen(id(most), now) {
		t.Error("more is remembered than two generations")
	}
}

func TestRepeatsCanBeOff(t *testing.T) {
	r := newRepeats(0, 3)
	r.add(r.id([]byte("a")), time.Now())
	expect(t, "seen", r.seen(r.id([]byte("a")), time.Now()), false)
}

// The way of a record from a blob to the host, and its being counted there, allocate for batches, and nothing for records.
func TestCountingAllocatesNothingPerRecord(t *testing.T) {
	allocations := func(n int) float64 {
		q := newQueue(goMemory{}, 1<<16, 1<<20, 0, newRepeats(0, 0))
		c := &Collector{queue: q}
		s := &stream{c: c, tenant: &tenant{client: &o365.Client{}}, delay: newMetrics(false).callback}
		fetcher := &fetcher{}
		slab := &fetcher.slab
		runs := 0
		each := testing.AllocsPerRun(100, func() {
			runs++
			for i := range n {
				slab.data = append(slab.data, 'a')
				slab.records = append(slab.records, slabRecord{end: i + 1, index: int64(i), time: uint32(i)})
			}
			if err := s.put(context.Background(), fetcher, &flight{stream: s}, true); err != nil {
				t.Fatal(err)
			}
			handOver(q)
			c.countCopied()
			q.takeSettled()
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
