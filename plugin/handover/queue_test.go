package handover

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

type goMemory struct{}

func (goMemory) Alloc(n int) []byte { return make([]byte, n) }
func (goMemory) Free([]byte)        {}

const testSettle = 5 * time.Second

func testQueue(batchSize, bufferSize int) *Queue {
	return New(Options{Memory: goMemory{}, BatchSize: batchSize, BufferSize: bufferSize, Settle: testSettle, Dedup: time.Hour})
}

// origin notes what it is told: "a 3", "a end", "a dropped".
type origin struct {
	name  string
	told  *[]string
	done  int64
	count int // of records handed over
	dead  bool
}

func (o *origin) tell(what any) { *o.told = append(*o.told, fmt.Sprint(o.name, " ", what)) }

func (o *origin) Settled(upto int64, end bool) {
	if end {
		o.tell("end")
	} else {
		o.tell(upto)
	}
}
func (o *origin) Abandon()                                           { o.dead = true }
func (o *origin) Abandoned() bool                                    { return o.dead }
func (o *origin) Dropped()                                           { o.tell("dropped") }
func (o *origin) HandedOver(n int, _ int64, _ []uint32, _ time.Time) { o.count += n }

// origins makes some that note in one place.
func origins(names string) (told *[]string, all []*origin) {
	told = new([]string)
	for _, name := range strings.Split(names, "") {
		all = append(all, &origin{name: name, told: told})
	}
	return told, all
}

// put appends one-byte events, each with an Id of its own letter.
func (o *origin) put(t *testing.T, q *Queue, letters string, end bool) {
	t.Helper()
	var b Buffer
	for i, letter := range []byte(letters) {
		b.Add(append(b.Bytes(), letter), Record{Index: o.done + int64(i), ID: q.ID([]byte{letter})})
	}
	if _, _, err := q.Put(t.Context(), &b, o, &o.done, end); err != nil && err != ErrAbandoned && t.Context().Err() == nil {
		t.Error(err)
	}
}

// reported is what has been told since it was last called.
func reported(q *Queue, told *[]string) []string {
	q.Report()
	news := *told
	*told = nil
	return news
}

// take is the host's callback and its cleanup.
func take(q *Queue) string {
	b := q.Take()
	text := string(b)
	if b != nil {
		q.Release(unsafe.Pointer(unsafe.SliceData(b)))
	}
	return text
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestByTimeABatchSettlesWhenTheHostHasCalledAgainLongAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(4, 100)
		told, o := origins("ab")
		o[0].put(t, q, "123", true)
		o[1].put(t, q, "456", false)
		expect(t, "first batch", take(q), "1234")
		time.Sleep(testSettle - time.Millisecond)
		expect(t, "second batch", take(q), "56")
		expect(t, "before its time", reported(q, told), []string(nil))
		time.Sleep(time.Millisecond)
		expect(t, "without another call", reported(q, told), []string(nil))
		take(q)
		expect(t, "after its time", reported(q, told), []string{"a end", "b 1"})
		time.Sleep(testSettle)
		take(q)
		expect(t, "in the end", reported(q, told), []string{"b 3"})
	})
}

func TestNothingSettlesWhileTheHostPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(4, 100)
		told, o := origins("a")
		o[0].put(t, q, "12", true)
		take(q)
		o[0].put(t, q, "3", true)
		q.Pause()
		q.Pause()
		time.Sleep(time.Hour)
		expect(t, "a call while paused", take(q), "")
		expect(t, "while paused", reported(q, told), []string(nil))
		q.Resume()
		expect(t, "after the pause", take(q), "3")
		expect(t, "just after the pause", reported(q, told), []string(nil))
		time.Sleep(testSettle)
		take(q)
		expect(t, "long after the pause", reported(q, told), []string{"a end", "a end"})
	})
}

// A blob whose records all repeat others settles no sooner than what they repeat.
func TestARepeatSettlesWithWhatItRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(100, 100)
		told, o := origins("ab")
		o[0].put(t, q, "123", true)
		expect(t, "batch", take(q), "123")
		o[1].put(t, q, "321", true)
		expect(t, "nothing is handed over for a repeat", take(q), "")
		expect(t, "too early", reported(q, told), []string(nil))
		time.Sleep(testSettle)
		take(q)
		expect(t, "together", reported(q, told), []string{"a end", "b end"})
		o[1].put(t, q, "1", true)
		expect(t, "at once, when all has settled", reported(q, told), []string{"b end"})
	})
}

func TestPutWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(2, 4)
		_, o := origins("a")
		done := false
		go func() {
			o[0].put(t, q, "1234567", true)
			done = true
		}()
		var got bytes.Buffer
		for range 4 {
			synctest.Wait()
			if _, s := q.Status(); s.Bytes > 4 {
				t.Errorf("held %d bytes", s.Bytes)
			}
			got.WriteString(take(q))
		}
		synctest.Wait()
		if !done || got.String() != "1234567" {
			t.Errorf("done %v, got %q", done, got.String())
		}
	})
}

func TestAnEventMayBeLargerThanTheBuffer(t *testing.T) {
	q := testQueue(2, 4)
	_, o := origins("a")
	event := bytes.Repeat([]byte("x"), 10)
	if err := q.PutNotice(t.Context(), event, o[0]); err != nil {
		t.Fatal(err)
	}
	expect(t, "batch", take(q), string(event))
}

// Where the host asks once a second, batches grow while there are more than it asks for.
func TestBatchesGrowWhereTheHostAsksTooRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Options{Memory: goMemory{}, BatchSize: 2, BufferSize: 24, Settle: testSettle})
		_, o := origins("a")
		go o[0].put(t, q, strings.Repeat("x", 60), true)
		var sizes []int
		for n := 0; n < 60; n += sizes[len(sizes)-1] {
			synctest.Wait()
			sizes = append(sizes, len(take(q)))
		}
		if most := sizes[len(sizes)-2]; sizes[0] != 2 || most != 8 {
			t.Errorf("sizes %v, want from 2 to a third of the buffer", sizes)
		}
		for range 5 {
			take(q)
		}
		o[0].put(t, q, "xxx", true)
		expect(t, "and shrink when the host keeps up", len(take(q)), 2)
	})
}
