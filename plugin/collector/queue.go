package collector

import (
	"context"
	"sync"
	"time"
	"unsafe"
)

// Memory is where batches live: the host reads them, so it is C memory in the plugin.
type Memory interface {
	Alloc(n int) []byte // length n
	Free(b []byte)      // what Alloc returned
}

// mark says what is true once everything put before it has settled: that the first upto records of the blob are through, and whether
// those are all; or, for a notice, what to do then.
type mark struct {
	flight *flight
	upto   int64
	end    bool
	then   func()
}

// batch is what the host takes at once.
type batch struct {
	memory   []byte // as allocated; nil once the host has copied it
	data     []byte // the part of memory that is filled
	tally    *tally
	marks    []mark
	handedAt time.Time
}

// tally is what a batch holds, to be counted once the host has copied it.
type tally struct {
	runs     []run
	times    []uint32 // when each record's event was, in seconds as in the event; 0: not known
	handedAt time.Time
}

// run is so many records of one content type on end.
type run struct {
	stream  *stream
	records int
	bytes   int64
}

func (t *tally) add(s *stream, time uint32, bytes int) {
	if n := len(t.runs); n == 0 || t.runs[n-1].stream != s {
		t.runs = append(t.runs, run{stream: s})
	}
	r := &t.runs[len(t.runs)-1]
	r.records++
	r.bytes += int64(bytes)
	t.times = append(t.times, time)
}

// spareTallies is how many emptied tallies are kept for the next batches.
const spareTallies = 4

func (b *batch) mark(m mark) {
	if n := len(b.marks); n > 0 && m.flight != nil && b.marks[n-1].flight == m.flight {
		b.marks[n-1] = m
		return
	}
	b.marks = append(b.marks, m)
}

// queue holds the batches on their way to the host, in order, and then until they are settled: the host acknowledges nothing,
// so a batch counts as arrived when the host has called again a while (settle) after it copied the batch, and did not pause meanwhile. Until then
// the batch may still be in the host's ring buffer, which dies with the process (Fluent Bit v5.1.1 src/flb_input_chunk.c:3628).
type queue struct {
	memory     Memory
	batchSize  int
	bufferSize int
	settle     time.Duration
	turn       chan struct{} // held by the one that puts, so that a large event does not wait behind small ones for ever

	mu         sync.Mutex // guards what follows
	repeats    *repeats
	open       *batch        // being filled; nil if there is none
	ready      []*batch      // full, waiting for the host
	taken      []*batch      // the host is copying them
	handed     []*batch      // copied by the host, not settled yet
	settled    []mark        // for the ledger
	held       int           // bytes of memory in open, ready and taken
	spare      []byte        // one batch's memory for the next
	freed      chan struct{} // closed when held shrinks
	host       HostStatus    // but for the pause that lasts
	waiting    time.Time     // since when there is something to take and nothing has been taken; zero: there is nothing
	batches    int64         // that the host has copied
	handedOver time.Time     // when it did last
	copied     []*tally      // of batches that the host has copied, not counted yet
	counted    []*tally      // emptied
	tallied    chan struct{} // there may be something in copied
}

func newQueue(memory Memory, batchSize, bufferSize int, settle time.Duration, repeats *repeats) *queue {
	return &queue{
		memory: memory, batchSize: batchSize, bufferSize: bufferSize, settle: settle, repeats: repeats,
		turn: make(chan struct{}, 1), freed: make(chan struct{}), tallied: make(chan struct{}, 1),
	}
}

// takeTurn waits for the others that want to put.
func (q *queue) takeTurn(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case q.turn <- struct{}{}:
		return nil
	}
}

func (q *queue) endTurn() { <-q.turn }

// put appends the slab's records, but for those that repeat one put before, and marks how far the blob is then. It waits while the
// queue is full. The flight's queued count follows record by record, so that a put that ctx ends can be taken up again.
func (q *queue) put(ctx context.Context, s *slab, f *flight, end bool) (put, repeated int64, err error) {
	if err := q.takeTurn(ctx); err != nil {
		return 0, 0, err
	}
	defer q.endTurn()
	q.mu.Lock()
	defer q.mu.Unlock()
	start, now := 0, time.Now()
	for _, r := range s.records {
		event := s.data[start:r.end]
		start = r.end
		if q.repeats.seen(r.id, now) {
			repeated++
		} else {
			open := q.open
			b, err := q.room(ctx, len(event))
			if err != nil {
				return put, repeated, err
			}
			if b != open {
				now = time.Now() // it may have waited long for another one
			}
			b.data = append(b.data, event...)
			b.tally.add(f.stream, r.time, len(event))
			q.repeats.add(r.id, now)
			put++
			b.mark(mark{flight: f, upto: r.index + 1})
		}
		f.queued = r.index + 1
	}
	q.markLast(mark{flight: f, upto: f.queued, end: end})
	return put, repeated, nil
}

// putNotice appends one event; then runs once it has settled.
func (q *queue) putNotice(ctx context.Context, event []byte, then func()) error {
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
	b.data = append(b.data, event...)
	if then != nil {
		b.mark(mark{then: then})
	}
	return nil
}

// markLast attaches m to the newest batch that is not settled: everything put so far settles no later than that one. Records
// that were dropped as repeats are covered too, since what they repeat lies in it or before it.
func (q *queue) markLast(m mark) {
	for _, b := range [...]*batch{q.open, last(q.ready), last(q.taken), last(q.handed)} {
		if b != nil {
			b.mark(m)
			return
		}
	}
	q.settled = append(q.settled, m)
}

func last(batches []*batch) *batch {
	if len(batches) == 0 {
		return nil
	}
	return batches[len(batches)-1]
}

// room returns the open batch with room for n more bytes. It gives up q.mu while it waits for memory.
func (q *queue) room(ctx context.Context, n int) (*batch, error) {
	for {
		if b := q.open; b != nil {
			if len(b.data)+n <= cap(b.data) {
				return b, nil
			}
			q.ready = append(q.ready, b)
			q.open = nil
		}
		if size := max(n, q.batchSize); q.held == 0 || q.held+size <= q.bufferSize {
			memory := q.spare
			if q.spare = nil; len(memory) < size {
				if memory != nil {
					q.memory.Free(memory)
				}
				memory = q.memory.Alloc(size)
			}
			q.held += len(memory)
			q.open = &batch{memory: memory, data: memory[:0], tally: q.emptyTally()}
			if q.waiting.IsZero() {
				q.waiting = time.Now()
			}
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

func (q *queue) emptyTally() *tally {
	if n := len(q.counted); n > 0 {
		t := q.counted[n-1]
		q.counted = q.counted[:n-1]
		return t
	}
	return new(tally)
}

// takeTallies returns those of the batches that the host has copied since it was last called.
func (q *queue) takeTallies() []*tally {
	q.mu.Lock()
	defer q.mu.Unlock()
	copied := q.copied
	q.copied = nil
	return copied
}

// giveBack takes a tally that has been counted for another batch.
func (q *queue) giveBack(t *tally) {
	t.runs, t.times = t.runs[:0], t.times[:0]
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.counted) < spareTallies {
		q.counted = append(q.counted, t)
	}
}

// take hands the next batch out, full or not, and settles what is old enough. While paused it does neither.
func (q *queue) take() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.host.Called = now
	if q.paused() {
		return nil
	}
	q.settleOld(now)
	var b *batch
	switch {
	case len(q.ready) > 0:
		b = q.ready[0]
		q.ready = q.ready[1:]
	case q.open != nil:
		b, q.open = q.open, nil
	default:
		return nil
	}
	q.taken = append(q.taken, b)
	if q.waiting = now; len(q.ready) == 0 && q.open == nil {
		q.waiting = time.Time{}
	}
	return b.data
}

func (q *queue) settleOld(now time.Time) {
	for len(q.handed) > 0 && now.Sub(q.handed[0].handedAt) >= q.settle {
		q.settled = append(q.settled, q.handed[0].marks...)
		q.handed = q.handed[1:]
	}
}

// release takes back the memory of the batch that begins at data.
func (q *queue) release(data unsafe.Pointer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, b := range q.taken {
		if unsafe.Pointer(unsafe.SliceData(b.data)) != data {
			continue
		}
		q.taken = append(q.taken[:i], q.taken[i+1:]...)
		q.held -= len(b.memory)
		if q.spare == nil && len(b.memory) == q.batchSize {
			q.spare = b.memory
		} else {
			q.memory.Free(b.memory)
		}
		b.memory, b.data, b.handedAt = nil, nil, time.Now()
		q.handed = append(q.handed, b)
		q.batches++
		q.handedOver = b.handedAt
		b.tally.handedAt = b.handedAt
		q.copied = append(q.copied, b.tally)
		b.tally = nil
		select {
		case q.tallied <- struct{}{}:
		default:
		}
		close(q.freed)
		q.freed = make(chan struct{})
		return
	}
}

// paused says whether the host wants nothing. q.mu is held.
func (q *queue) paused() bool { return !q.host.PausedSince.IsZero() }

// pause may come twice.
func (q *queue) pause() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.paused() {
		q.host.Pauses++
		q.host.PausedSince = time.Now()
	}
}

// resume begins the wait for settling anew: while paused, the host emptied no ring buffer.
func (q *queue) resume() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if q.paused() {
		q.host.Paused += now.Sub(q.host.PausedSince)
		q.host.PausedSince = time.Time{}
	}
	for _, b := range q.handed {
		b.handedAt = now
	}
}

// takeSettled returns the marks that have become true since it was last called, in their order.
func (q *queue) takeSettled() []mark {
	q.mu.Lock()
	defer q.mu.Unlock()
	settled := q.settled
	q.settled = nil
	return settled
}

func (q *queue) status() (HostStatus, QueueStatus) {
	q.mu.Lock()
	defer q.mu.Unlock()
	host := q.host
	if q.paused() {
		host.Paused += time.Since(host.PausedSince)
	}
	status := QueueStatus{
		Bytes: q.held, Limit: q.bufferSize, Waiting: len(q.ready), Unsettled: len(q.handed), WaitingSince: q.waiting,
		HandedOver: q.handedOver, Batches: q.batches,
	}
	if q.open != nil {
		status.Waiting++
	}
	return host, status
}

// free gives all memory back. Nothing may be put or taken afterwards.
func (q *queue) free() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range append(append(q.ready, q.taken...), q.open) {
		if b != nil {
			q.memory.Free(b.memory)
		}
	}
	if q.spare != nil {
		q.memory.Free(q.spare)
	}
	q.ready, q.taken, q.open, q.spare, q.held = nil, nil, nil, nil, 0
}
