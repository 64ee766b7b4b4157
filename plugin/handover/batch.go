package handover

import (
	"sync"
	"time"
)

// Buffer gathers events of one origin that are not in the queue yet, so that its lock is taken for many at once.
type Buffer struct {
	data    []byte
	records []bufferRecord
}

// Record is what is known of an event in a buffer.
type Record struct {
	Index int64 // among the records of the origin
	ID    ID
	Time  uint32 // when the event was, in seconds as in the event; 0: not known
}

type bufferRecord struct {
	Record
	end int // in data
}

// Bytes are the events so far.
func (b *Buffer) Bytes() []byte { return b.data }

// Add takes one event in: data is Bytes with it appended.
func (b *Buffer) Add(data []byte, r Record) {
	b.data = data
	b.records = append(b.records, bufferRecord{r, len(data)})
}

// Reset empties the buffer and keeps its memory.
func (b *Buffer) Reset() { b.data, b.records = b.data[:0], b.records[:0] }

// batch is what the host takes at once.
type batch struct {
	memory []byte // as allocated; nil once the host has copied it
	data   []byte // the part of memory that is filled
	events int
	bytes  int // that were handed over
	tally  *tally
	marks  []mark
	opened time.Time
	at     time.Time // when it was handed over, then when it was received, or when a pause ended since
}

func (b *batch) append(event []byte) {
	b.data = append(b.data, event...)
	b.events++
}

func (b *batch) add(event []byte, o Origin, time uint32) {
	b.append(event)
	b.tally.add(o, time, len(event))
}

func (b *batch) mark(m mark) {
	if n := len(b.marks); n > 0 && b.marks[n-1].origin == m.origin {
		b.marks[n-1] = m
		return
	}
	b.marks = append(b.marks, m)
}

// tally is what a batch holds, to be counted once the host has copied it.
type tally struct {
	runs  []run
	times []uint32 // of each record
	at    time.Time
}

// run is so many records of one origin on end.
type run struct {
	origin  Origin
	records int
	bytes   int64
}

func (t *tally) add(o Origin, time uint32, bytes int) {
	if n := len(t.runs); n == 0 || t.runs[n-1].origin != o {
		t.runs = append(t.runs, run{origin: o})
	}
	r := &t.runs[len(t.runs)-1]
	r.records++
	r.bytes += int64(bytes)
	t.times = append(t.times, time)
}

// spareTallies is how many emptied tallies are kept for the next batches.
const spareTallies = 4

// counting are tallies on their way to whoever counts.
type counting struct {
	copied   []*tally // of batches that the host has copied, not counted yet
	empty    []*tally
	tallied  chan struct{} // there may be something in copied
	counters sync.Mutex    // held by whoever counts
}

func (q *Queue) emptyTally() *tally {
	if n := len(q.empty); n > 0 {
		t := q.empty[n-1]
		q.empty = q.empty[:n-1]
		return t
	}
	return new(tally)
}

// tallyUp puts the tally of a batch that the host has copied on its way.
func (q *Queue) tallyUp(b *batch, now time.Time) {
	b.tally.at = now
	q.copied = append(q.copied, b.tally)
	b.tally = nil
	select {
	case q.tallied <- struct{}{}:
	default:
	}
}

// Copied is told when there is something to Count.
func (q *Queue) Copied() <-chan struct{} { return q.tallied }

// Count tells origins of the records that the host has copied since it was last called: off the callback, which has no time for it.
func (q *Queue) Count() {
	q.counters.Lock()
	defer q.counters.Unlock()
	q.mu.Lock()
	copied := q.copied
	q.copied = nil
	q.mu.Unlock()
	for _, t := range copied {
		times := t.times
		for _, r := range t.runs {
			r.origin.HandedOver(r.records, r.bytes, times[:r.records], t.at)
			times = times[r.records:]
		}
		clear(t.runs)
		t.runs, t.times = t.runs[:0], t.times[:0]
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range copied {
		if len(q.empty) < spareTallies {
			q.empty = append(q.empty, t)
		}
	}
}
