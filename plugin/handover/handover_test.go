package handover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fakeHost is a Fluent Bit whose engine runs when the test says so.
type fakeHost struct {
	ring        []string
	records     int64
	chunks      string // what the engine has written
	refuses     bool
	blind       bool // its engine cannot be seen
	busy        bool
	synchronous bool
	processor   bool // it drops one record of each batch, and the rest is written at once
	mute        bool // it keeps no metrics
	memory      int64
	renewed     string
}

func (h *fakeHost) Append(batch []byte) bool {
	switch {
	case h.refuses:
		return false
	case h.synchronous:
		h.write(string(batch))
	case h.processor:
		h.write(string(batch[1:]))
	default:
		h.ring = append(h.ring, string(batch))
	}
	return true
}

func (h *fakeHost) write(batch string) {
	h.records += int64(len(batch))
	h.chunks += batch
}

// run takes n batches off the ring, and is busy with the last one where it says so.
func (h *fakeHost) run(n int) {
	for _, batch := range h.ring[:n] {
		h.write(batch)
	}
	h.ring = h.ring[n:]
}

// drop lets go of n batches.
func (h *fakeHost) drop(n int) { h.ring = h.ring[n:] }

func (h *fakeHost) Synchronous() bool { return h.synchronous }
func (h *fakeHost) Metrics() (Metrics, bool) {
	return Metrics{Records: h.records, Memory: h.memory, Renewed: h.renewed}, !h.mute
}
func (h *fakeHost) AtRest() (rest, known bool) { return !h.busy && !h.blind, !h.blind }

// pass lets time pass, in which the queue is woken as it asks to be.
func pass(q *Queue, h Host, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		q.mu.Lock()
		due := q.handing.due
		q.mu.Unlock()
		if due.IsZero() || due.After(end) {
			time.Sleep(time.Until(end))
			return
		}
		time.Sleep(time.Until(due))
		q.HandOver(h, true)
	}
}

// soon is enough for the queue to notice what the engine has done.
const soon = 2 * pollInterval

func TestABatchSettlesWhenTheEngineIsDoneWithIt(t *testing.T) {
	for _, tc := range []struct {
		name string
		host fakeHost
		run  func(*fakeHost) // after the batch was handed over
		want []string        // told when settle is over; nil: nothing
	}{
		{"the count has gone on and the engine rests", fakeHost{}, func(h *fakeHost) { h.run(1) }, []string{"a end"}},
		{"in the ring buffer", fakeHost{busy: true}, func(*fakeHost) {}, nil},
		{"counted, and the engine is busy with it", fakeHost{busy: true}, func(h *fakeHost) { h.run(1) }, nil},
		{"counted, and the engine cannot be seen", fakeHost{blind: true}, func(h *fakeHost) { h.run(1) }, nil},
		{"the engine's thread is the input's", fakeHost{synchronous: true, busy: true}, func(*fakeHost) {}, []string{"a end"}},
		{"the host keeps no metrics", fakeHost{mute: true}, func(*fakeHost) {}, []string{"a end"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, h := testQueue(4, 100), &tc.host
				told, o := origins("a")
				o[0].put(t, q, "1234", true)
				pass(q, h, linger)
				tc.run(h)
				pass(q, h, testSettle-time.Millisecond)
				expect(t, "too early", reported(q, told), []string(nil))
				pass(q, h, restInterval+soon)
				q.HandOver(h, false)
				expect(t, "in time", reported(q, told), tc.want)
			})
		})
	}
}

// The engine takes batches one after the other: that the next one is counted shows that those before it are written.
func TestABatchIsReceivedWhenTheNextOneIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, h := testQueue(2, 100), &fakeHost{busy: true}
		told, o := origins("ab")
		o[0].put(t, q, "12", true)
		pass(q, h, linger)
		h.run(1)
		pass(q, h, testSettle)
		o[1].put(t, q, "34", true)
		pass(q, h, linger)
		h.run(1)
		pass(q, h, testSettle+soon)
		expect(t, "the first of two", reported(q, told), []string{"a end"})
		h.busy = false
		pass(q, h, testSettle+soon)
		expect(t, "the last, when the engine rests", reported(q, told), []string{"b end"})
	})
}

func TestWhatTheHostDropsIsPutAgain(t *testing.T) {
	for _, tc := range []struct {
		name string
		host fakeHost
		run  func(*fakeHost) // with three batches in flight: 12, 34, 56
		wait time.Duration
		want string
	}{
		{"all", fakeHost{}, func(h *fakeHost) { h.drop(3) }, 3 * time.Second, "[a dropped b dropped]"},
		// What was counted in its place cannot be told from it.
		{"the first", fakeHost{}, func(h *fakeHost) { h.drop(1); h.run(2) }, 3 * time.Second, "[a dropped b dropped]"},
		{"the last", fakeHost{}, func(h *fakeHost) { h.run(2); h.drop(1) }, 3 * time.Second, "[a dropped b dropped]"},
		{"the engine cannot be seen", fakeHost{blind: true}, func(h *fakeHost) { h.drop(3) }, blindPatience + time.Second, "[a dropped b dropped]"},
		{"nothing: the engine is busy", fakeHost{busy: true}, func(*fakeHost) {}, time.Hour, "[]"},
		{"nothing: the engine cannot be seen, and goes on", fakeHost{blind: true}, func(h *fakeHost) { h.run(1) }, blindPatience - time.Second, "[]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, h := testQueue(2, 100), &tc.host
				told, o := origins("ab")
				o[0].put(t, q, "123", true)
				o[1].put(t, q, "456", true)
				pass(q, h, linger)
				expect(t, "in flight", h.ring, []string{"12", "34", "56"})
				tc.run(h)
				pass(q, h, tc.wait)
				expect(t, "reported", slices.Compact(reported(q, told)), tc.want) // once for each batch
			})
		})
	}
}

// Ids of what was dropped are no longer known, or it would be taken for a repeat.
func TestWhatWasDroppedIsNoRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, h := testQueue(2, 100), &fakeHost{}
		told, o := origins("ab")
		o[0].put(t, q, "12", true)
		pass(q, h, linger)
		h.drop(1)
		pass(q, h, 5*time.Second)
		expect(t, "reported", reported(q, told), []string{"a dropped"})
		o[1].put(t, q, "12", true)
		pass(q, h, 2*time.Second)
		h.run(1)
		pass(q, h, testSettle+soon)
		expect(t, "in the chunks", h.chunks, "12")
		expect(t, "settled", reported(q, told), []string{"b end"})
		if _, s := q.Status(); s.Dropped != 1 || s.DroppedRecords != 2 {
			t.Errorf("counted %d batches, %d records dropped", s.Dropped, s.DroppedRecords)
		}
	})
}

// While the host pauses nothing counts as dropped, for however long: the ring buffer is not emptied then.
func TestNothingIsDroppedInAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, h := testQueue(2, 100), &fakeHost{}
		told, o := origins("a")
		o[0].put(t, q, "12", true)
		pass(q, h, linger)
		q.Pause()
		for range 100 {
			time.Sleep(time.Second)
			q.HandOver(h, false)
		}
		q.Resume()
		pass(q, h, soon)
		h.run(1)
		pass(q, h, testSettle+soon)
		expect(t, "reported", reported(q, told), []string{"a end"})
	})
}

// A count that does not tell what was handed over, as where a processor of the input drops records, is not believed for ever.
func TestACountThatIsAlwaysShortIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, h := testQueue(2, 100), &fakeHost{processor: true}
		told, o := origins("ab")
		for range distrustAfter {
			reported(q, told)
			o[0].dead = false // another try
			o[0].put(t, q, "12", true)
			pass(q, h, dropBackoffMost)
		}
		host, _ := q.Status()
		expect(t, "receipts", host.Receipts, ReceiptsByTime)
		expect(t, "the last one is dropped all the same", reported(q, told), []string{"a dropped"})
		o[1].put(t, q, "34", true)
		for range 90 {
			pass(q, h, time.Second)
			q.HandOver(h, false)
		}
		expect(t, "the next by time", reported(q, told), []string{"b end"})
	})
}

// By time, what lies in the ring buffer counts against the buffer, and is not received before the engine is seen at rest.
func TestByTimeTheEngineHasToRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, h := testQueue(2, 20), &fakeHost{busy: true, mute: true}
		told, o := origins("a")
		done := make(chan struct{})
		go func() {
			defer close(done)
			o[0].put(t, q, "abcdefghijklmnopqrstuvwxyz0123456789", true)
		}()
		synctest.Wait()
		pass(q, h, time.Minute)
		expect(t, "while the engine is busy", reported(q, told), []string(nil))
		if _, s := q.Status(); s.InFlight != 14 || s.Bytes > 20 {
			t.Errorf("%d bytes in flight, %d in all", s.InFlight, s.Bytes)
		}
		h.busy = false
		for range 100 {
			pass(q, h, time.Second)
			q.HandOver(h, false)
			synctest.Wait()
		}
		<-done
		all := reported(q, told)
		expect(t, "in the end", all[len(all)-1], "a end")
	})
}

// A count that comes after all, of what was called dropped while the engine could not be seen, is none of what is in flight now.
func TestALateCountIsOfWhatWasCalledDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, h := testQueue(2, 100), &fakeHost{blind: true}
		told, o := origins("ab")
		o[0].put(t, q, "12", true)
		pass(q, h, blindPatience+time.Second)
		expect(t, "too slow a filter", reported(q, told), []string{"a dropped"})
		o[1].put(t, q, "34", true)
		pass(q, h, 2*time.Second)
		h.run(1) // 12, while 34 is in the ring buffer
		pass(q, h, blindPatience-time.Second)
		expect(t, "in the ring buffer", reported(q, told), []string(nil))
	})
}

// An origin of which something was dropped puts no more: it would be taken for what its successor puts.
func TestAnAbandonedOriginPutsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, h := testQueue(2, 6), &fakeHost{busy: true}
		told, o := origins("ab")
		ended := make(chan struct{})
		go func() { // waits for room, which the drop makes
			defer close(ended)
			o[0].put(t, q, "123456789", true)
		}()
		synctest.Wait()
		pass(q, h, time.Second)
		h.drop(len(h.ring))
		h.busy = false
		pass(q, h, 2500*time.Millisecond)
		<-ended
		expect(t, "reported", slices.Compact(reported(q, told)), []string{"a dropped"})
		o[1].done = 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			o[1].put(t, q, "123456789", true)
		}()
		for range 60 {
			synctest.Wait()
			h.run(len(h.ring))
			pass(q, h, time.Second)
		}
		<-done
		for _, record := range "123456789" {
			if !strings.ContainsRune(h.chunks, record) {
				t.Errorf("%c is in no chunk: %q", record, h.chunks)
			}
		}
		all := reported(q, told)
		expect(t, "settled", all[len(all)-1], "b end")
	})
}

// With receipts, and chunks on a disk, a pause changes nothing for what is in a chunk.
func TestPausesThatComeAndGoDoNotHoldUpSettling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Options{Memory: goMemory{}, BatchSize: 2, BufferSize: 100, Settle: testSettle, Room: &fullRoom{}})
		h := &fakeHost{}
		told, o := origins("a")
		o[0].put(t, q, "12", true)
		pass(q, h, linger)
		h.run(1)
		pass(q, h, soon)
		for range 5 {
			q.Pause()
			pass(q, h, time.Second)
			q.Resume()
			pass(q, h, 100*time.Millisecond)
		}
		expect(t, "settled", reported(q, told), []string{"a end"})
	})
}

// An engine that cannot be seen is taken to be done with what it has counted after a while.
func TestAnUnseenEngineIsDoneInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, h := testQueue(2, 100), &fakeHost{blind: true}
		told, o := origins("a")
		o[0].put(t, q, "12", true)
		pass(q, h, linger)
		h.run(1)
		pass(q, h, blindPatience+testSettle+time.Second)
		expect(t, "settled", reported(q, told), []string{"a end"})
	})
}

// The host's metrics may fail to be had for a moment.
func TestACountThatIsMissingForAMomentIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, h := testQueue(2, 100), &fakeHost{}
		told, o := origins("a")
		o[0].put(t, q, "12", true)
		pass(q, h, linger)
		h.mute = true
		pass(q, h, time.Second)
		h.mute = false
		h.run(1)
		pass(q, h, testSettle+soon)
		host, _ := q.Status()
		expect(t, "receipts", host.Receipts, ReceiptsByCount)
		expect(t, "settled", reported(q, told), []string{"a end"})
	})
}

func TestARefusedBatchIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, h := testQueue(2, 100), &fakeHost{refuses: true}
		_, o := origins("a")
		o[0].put(t, q, "1234", true)
		pass(q, h, 3*holdInterval)
		_, s := q.Status()
		if s.Hold.Kind != HoldRefused || s.Refused < 3 || s.Refused > 5 {
			t.Errorf("held %q, refused %d times", s.Hold.Kind, s.Refused)
		}
		h.refuses = false
		pass(q, h, 2*holdInterval)
		expect(t, "in order, once", h.ring, []string{"12", "34"})
		if _, s := q.Status(); s.Hold.Kind != "" {
			t.Errorf("still held: %+v", s.Hold)
		}
	})
}

// fullRoom has no room while it is not nil.
type fullRoom struct{ err error }

func (r *fullRoom) Check(int) error { return r.err }
func (r *fullRoom) OnDisk() bool    { return true }

func TestNothingIsHandedOverWithoutRoomForItsChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &fullRoom{errors.New("no room")}
		q := New(Options{Memory: goMemory{}, BatchSize: 2, BufferSize: 10, Settle: testSettle, Room: room})
		h := &fakeHost{}
		_, o := origins("a")
		o[0].put(t, q, "12", true)
		pass(q, h, time.Hour)
		_, s := q.Status()
		if len(h.ring) > 0 || s.Hold.Kind != HoldStorage || s.Hold.Why != "no room" || time.Since(s.Hold.Since) < 59*time.Minute {
			t.Errorf("ring %q, hold %+v", h.ring, s.Hold)
		}
		room.err = nil
		pass(q, h, 2*holdInterval)
		expect(t, "goes on by itself", h.ring, []string{"12"})
	})
}

// What is in flight counts against the buffer: a slow engine makes those wait who put.
func TestWhatIsInFlightCountsAgainstTheBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, h := testQueue(2, 20), &fakeHost{busy: true}
		_, o := origins("a")
		done := false
		go func() {
			o[0].put(t, q, strings.Repeat("abcdefghij", 10)[:9]+"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", true)
			done = true
		}()
		synctest.Wait()
		pass(q, h, time.Minute)
		synctest.Wait()
		_, s := q.Status()
		if s.InFlight > 14 || s.InFlight < 12 || s.Bytes > 20 || done {
			t.Errorf("%d bytes in flight, %d in all, done %v", s.InFlight, s.Bytes, done)
		}
		for range 20 {
			h.run(len(h.ring))
			h.busy = false
			pass(q, h, time.Second)
			synctest.Wait()
		}
		expect(t, "all of it", len(h.chunks), 45)
	})
}

// The ring buffer loses what does not fit into it.
func TestTheRingBufferIsNotFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Options{Memory: goMemory{}, BatchSize: 1, BufferSize: 100, RingEntries: 10, Settle: testSettle})
		h := &fakeHost{busy: true}
		_, o := origins("a")
		o[0].put(t, q, strings.Repeat("x", 30), true)
		pass(q, h, time.Minute)
		expect(t, "in the ring buffer", len(h.ring), 5)
		h.run(5)
		h.busy = false
		pass(q, h, soon)
		expect(t, "goes on", len(h.ring), 5)
	})
}

func TestTheRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Options{Memory: goMemory{}, BatchSize: 10, BufferSize: 1000, Rate: 100, Settle: testSettle})
		h := &fakeHost{}
		_, o := origins("a")
		go func() {
			for range 200 {
				o[0].put(t, q, strings.Repeat("x", 10), false)
			}
		}()
		synctest.Wait()
		pass(q, h, time.Second) // whatever was saved up
		before := int(h.records) + len(strings.Join(h.ring, ""))
		for range 100 {
			h.run(len(h.ring))
			pass(q, h, 100*time.Millisecond)
			synctest.Wait()
		}
		got := int(h.records) + len(strings.Join(h.ring, "")) - before
		if got < 980 || got > 1020 {
			t.Errorf("%d bytes in 10 s at 100 a second", got)
		}
	})
}

// The host's memory is told late, so what was handed over since counts too.
func TestTheHostsMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 100
		q := New(Options{Memory: goMemory{}, BatchSize: 10, BufferSize: 1000, Rate: rate, Settle: testSettle})
		h := &fakeHost{renewed: "0"}
		_, o := origins("a")
		go func() {
			for range 1000 {
				o[0].put(t, q, strings.Repeat("x", 10), false)
			}
		}()
		synctest.Wait()
		for i := range 300 { // no output takes anything
			h.run(len(h.ring))
			if i%50 == 0 {
				h.memory, h.renewed = h.records, fmt.Sprint(i)
			}
			pass(q, h, 100*time.Millisecond)
			synctest.Wait()
		}
		_, s := q.Status()
		if h.records > memorySeconds*rate || h.records < (memorySeconds-1)*rate || s.Hold.Kind != HoldMemory {
			t.Errorf("%d bytes held, hold %+v", h.records, s.Hold)
		}
		h.memory, h.renewed = 0, "taken"
		pass(q, h, 2*holdInterval)
		if len(h.ring) == 0 {
			t.Error("it does not go on when an output has taken what there was")
		}
	})
}

// Small events are not appended one by one, and do not wait long.
func TestSmallEventsLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, h := testQueue(100, 1000), &fakeHost{}
		_, o := origins("a")
		o[0].put(t, q, "1", false)
		pass(q, h, linger/2)
		expect(t, "at once", h.ring, []string(nil))
		o[0].put(t, q, "2", false)
		pass(q, h, linger/2+time.Millisecond)
		expect(t, "soon", h.ring, []string{"12"})
	})
}

func TestMetricsAreReadFromTheHostsText(t *testing.T) {
	const text = `2026-12-01T03:32:30.123456789Z fluentbit_input_bytes_total{name="a = b"} = 4711
2026-12-01T03:32:30.123456789Z fluentbit_input_records_total{name="a = b"} = 12345678901
2026-12-01T03:32:25.000000000Z fluentbit_input_storage_memory_bytes{name="a = b"} = 2000
`
	m, ok := ParseMetrics(text)
	if want := (Metrics{Records: 12345678901, Memory: 2000, Renewed: "2026-12-01T03:32:25.000000000Z"}); !ok || m != want {
		t.Errorf("got %+v, %v, want %+v", m, ok, want)
	}
	if m, ok := ParseMetrics("2026-12-01T03:32:30Z fluentbit_input_bytes_total{name=\"a\"} = 1\n"); ok {
		t.Errorf("a count was read where there is none: %+v", m)
	}
}

// The host is woken when something is put, when it is time to look again, and now and then in any case.
func TestDriveWakesTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wakes []time.Duration
		begun := time.Now()
		q := New(Options{Memory: goMemory{}, BatchSize: 2, BufferSize: 100, Settle: testSettle})
		h := &fakeHost{}
		q.Wake = func() {
			wakes = append(wakes, time.Since(begun))
			q.HandOver(h, true)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			q.Drive(ctx)
		}()
		time.Sleep(heartbeat + time.Millisecond)
		synctest.Wait()
		expect(t, "with nothing to do", wakes, []time.Duration{heartbeat})
		_, o := origins("a")
		wakes, begun = nil, time.Now()
		o[0].put(t, q, "1", true)
		time.Sleep(linger + pollInterval + time.Millisecond)
		synctest.Wait()
		expect(t, "a batch that is not full, then for its receipt", wakes, []time.Duration{linger, linger + pollInterval})
		cancel()
		<-ended
	})
}
