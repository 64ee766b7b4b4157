// Package handover is the way of events from those who make them into Fluent Bit:
//
//	put -> open batch -> ready -> in flight: in Fluent Bit's ring buffer -> counted -> received: in a chunk -> settled
//
// A batch is handed over when Fluent Bit has copied it, received when its engine is known to be done with it, and settled a while
// later. What it refuses waits for another try; what it has dropped is reported to whoever put it, who puts it again.
//
// The package knows nothing of tenants or HTTP, and nothing of C: it is lent a [Host].
package handover

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"
)

// Memory is where batches live: the host reads them, so it is C memory in the plugin.
type Memory interface {
	Alloc(n int) []byte // length n
	Free(b []byte)      // what Alloc returned
}

// Origin is what events come from: a blob that is read, or a notice. Its methods are called by Report and Count.
type Origin interface {
	// Settled says that the first upto records of it are through, and whether those are all. What comes after Dropped says nothing.
	Settled(upto int64, end bool)
	// Abandon says that something of it is lost on the way. From then on nothing more of it can be put. It is called with the queue locked:
	// it may only note that, for Abandoned to tell. What can be put again by the same origin needs not note anything.
	Abandon()
	Abandoned() bool
	// Dropped comes some time after Abandon: what has not settled has to be put again.
	Dropped()
	// HandedOver counts records that the host copied then. times are when their events were, in seconds; 0 is not known.
	HandedOver(records int, bytes int64, times []uint32, at time.Time)
}

// Options are what a queue is made of.
type Options struct {
	Memory     Memory
	BatchSize  int           // bytes of a batch
	BufferSize int           // most bytes of batches that wait, and of those that are in flight
	Rate       int           // most bytes a second that are handed over
	Settle     time.Duration // from received to settled
	Dedup      time.Duration // an Id that was put within this time is a repeat; 0: none is
	Room       Room          // nil: not looked at
	NoReceipts string        // why the host's count tells nothing; empty: it may
	NoMetrics  bool          // the host's metrics must not be looked at
	// RingEntries is how many batches fit into the ring buffer. Half of them are made use of: a full one loses batches.
	RingEntries int
	// Wake has the host call HandOver soon, on whatever goroutine it is called. nil: the host calls when it does.
	Wake func()
}

// Room is where Fluent Bit keeps its chunks.
type Room interface {
	// Check says why there is no room for n more bytes; nil: there is. It may take as long as the disk.
	Check(n int) error
	// OnDisk says whether chunks are on a disk, and not in memory alone.
	OnDisk() bool
}

// ErrAbandoned is that of Put for an origin of which something was lost.
var ErrAbandoned = errors.New("some of its records were dropped by Fluent Bit")

// mark says what is true once everything put before it has settled: that the first upto records of the origin are through, and
// whether those are all.
type mark struct {
	origin Origin
	upto   int64
	end    bool
}

// Queue holds the batches on their way to the host, in order, and then until they are settled.
type Queue struct {
	Options
	turn chan struct{} // held by the one that puts, so that a large event does not wait behind small ones for ever

	mu      sync.Mutex // guards what follows
	repeats *repeats
	open    *batch        // being filled; nil if there is none
	ready   []*batch      // full, waiting for the host
	held    int           // bytes of memory in open, ready and taken
	target  int           // bytes of the next batch
	spare   [][]byte      // memory of batches for the next ones, all of the size target
	freed   chan struct{} // closed when there is more room in the buffer
	reports []report      // for whoever put what they are of, in order
	handing handing
	receiving
	counting
}

// report is a mark that has become true, or one whose batch was dropped.
type report struct {
	mark
	dropped bool
}

// DefaultRingEntries is the capacity of the ring buffer unless thread.ring_buffer.capacity says otherwise (Fluent Bit v5.1.1
// src/flb_input.c:120).
const DefaultRingEntries = 1024

// New makes a queue.
func New(o Options) *Queue {
	o.RingEntries = cmp.Or(o.RingEntries, DefaultRingEntries)
	return &Queue{
		Options: o, turn: make(chan struct{}, 1), freed: make(chan struct{}), target: o.BatchSize,
		repeats:   newRepeats(o.Dedup, maxRepeats),
		handing:   handing{rescheduled: make(chan struct{}, 1)},
		receiving: receiving{base: notKnown},
		counting:  counting{tallied: make(chan struct{}, 1)},
	}
}

// ID is what the queue remembers of a record's Id. Hashing takes no lock.
func (q *Queue) ID(text []byte) ID { return q.repeats.id(text) }

// takeTurn waits for the others that want to put.
func (q *Queue) takeTurn(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case q.turn <- struct{}{}:
		return nil
	}
}

func (q *Queue) endTurn() { <-q.turn }

// Put appends the buffer's records, but for those that repeat one put before, and marks how far the origin is then. It waits while the
// queue is full. done is the index behind the last record that was put or dropped as a repeat, so that a Put that ctx ends can be
// taken up again.
func (q *Queue) Put(ctx context.Context, b *Buffer, o Origin, done *int64, end bool) (put, repeated int64, err error) {
	if err := q.takeTurn(ctx); err != nil {
		return 0, 0, err
	}
	defer q.endTurn()
	q.mu.Lock()
	defer q.mu.Unlock()
	if o.Abandoned() {
		return 0, 0, ErrAbandoned
	}
	start, now := 0, time.Now()
	for _, r := range b.records {
		event := b.data[start:r.end]
		start = r.end
		if q.repeats.seen(r.ID, now) {
			repeated++
		} else {
			open := q.open
			into, err := q.room(ctx, len(event))
			if err != nil {
				return put, repeated, err
			}
			if into != open { // it may have waited long for another one
				now = time.Now()
				if o.Abandoned() {
					return put, repeated, ErrAbandoned
				}
			}
			into.add(event, o, r.Time)
			q.repeats.add(r.ID, now)
			put++
			into.mark(mark{origin: o, upto: r.Index + 1})
		}
		*done = r.Index + 1
	}
	q.markLast(mark{origin: o, upto: *done, end: end})
	return put, repeated, nil
}

// PutNotice appends one event, which is all of its origin.
func (q *Queue) PutNotice(ctx context.Context, event []byte, o Origin) error {
	if err := q.takeTurn(ctx); err != nil {
		return err
	}
	defer q.endTurn()
	q.mu.Lock()
	defer q.mu.Unlock()
	b, err := q.room(ctx, len(event))
	if err != nil {
		return err
	}
	b.append(event)
	b.mark(mark{origin: o, upto: 1, end: true})
	return nil
}

// markLast attaches m to the newest batch that is not settled: everything put so far settles no later than that one. Records
// that were dropped as repeats are covered too, since what they repeat lies in it or before it.
func (q *Queue) markLast(m mark) {
	for _, b := range [...]*batch{q.open, last(q.ready), q.handing.now, last(q.handing.taken), last(q.inFlight), last(q.counted), last(q.received)} {
		if b != nil {
			b.mark(m)
			return
		}
	}
	q.reports = append(q.reports, report{mark: m})
}

func last(batches []*batch) *batch {
	if len(batches) == 0 {
		return nil
	}
	return batches[len(batches)-1]
}

// room returns the open batch with room for n more bytes. It gives up q.mu while it waits for memory.
func (q *Queue) room(ctx context.Context, n int) (*batch, error) {
	for {
		if b := q.open; b != nil {
			if len(b.data)+n <= cap(b.data) {
				return b, nil
			}
			q.ready = append(q.ready, b)
			q.open = nil
			q.schedule(time.Now())
		}
		if size, used := max(n, q.target), q.held+q.bytesInFlight; used == 0 || used+size <= q.BufferSize {
			memory := q.alloc(size)
			q.held += size
			q.open = &batch{memory: memory, data: memory[:0], tally: q.emptyTally(), opened: time.Now()}
			if q.handing.waiting.IsZero() {
				q.handing.waiting = q.open.opened
			}
			q.schedule(q.open.opened.Add(linger))
			return q.open, nil
		}
		freed := q.freed
		q.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-freed:
		}
		q.mu.Lock()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// alloc prefers memory that a batch had before. The allocator of the host keeps what is freed for a while, and more of it the more
// threads it comes from, as those of Go are.
func (q *Queue) alloc(size int) []byte {
	n := len(q.spare) - 1
	if n < 0 || len(q.spare[n]) != size {
		return q.Memory.Alloc(size)
	}
	memory := q.spare[n]
	q.spare = q.spare[:n]
	return memory
}

// recycle takes back the memory of a batch that the host has copied.
func (q *Queue) recycle(b *batch) {
	q.held -= len(b.memory)
	if len(b.memory) == q.target {
		q.spare = append(q.spare, b.memory)
	} else {
		q.Memory.Free(b.memory)
	}
	b.memory, b.data = nil, nil
	q.wakeWriters()
}

// freeSpare gives the memory back that no batch has.
func (q *Queue) freeSpare() {
	for _, memory := range q.spare {
		q.Memory.Free(memory)
	}
	q.spare = nil
}

// wakeWriters lets those look again who wait for room in the buffer.
func (q *Queue) wakeWriters() {
	close(q.freed)
	q.freed = make(chan struct{})
}

// Free gives all memory back. Nothing may be put or handed over afterwards.
func (q *Queue) Free() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range append(append(q.ready, q.handing.taken...), q.open) {
		if b != nil {
			q.Memory.Free(b.memory)
		}
	}
	q.freeSpare()
	q.ready, q.handing.taken, q.open, q.held = nil, nil, nil, 0
}
