package handover

import (
	"context"
	"slices"
	"time"
	"unsafe"
)

const (
	// linger is how long a batch waits for more events before it is handed over though it is not full. It keeps small events from
	// being appended one by one; Fluent Bit takes batches off its ring buffer every 250 ms (v5.1.1 src/flb_engine.c:1360).
	linger = 20 * time.Millisecond
	// pollInterval is how often the host's count is looked at while batches are in flight.
	pollInterval = 50 * time.Millisecond
	// heartbeat is how often HandOver is called at least. The proxy's timer does so each second, but of several inputs Fluent Bit stops
	// the timer of the last one initialised, whichever is paused (src/flb_plugin_proxy.c:177).
	heartbeat = 5 * time.Second
	// holdInterval is the wait before the host is tried again that refuses batches or has no room for them.
	holdInterval = time.Second
	// sliceMost bounds one HandOver, as the thread that it is on has to see pauses and the end too.
	sliceMost = 20 * time.Millisecond
	// flightShare is how many tenths of the buffer may be in flight. The rest is for batches that are filled meanwhile.
	flightShare = 7
	// memorySeconds of the rate is what Fluent Bit may hold in memory: it tells how much that is every 5 s (src/flb_storage.c:372), and
	// a chunk is there for flush and as long as an output takes.
	memorySeconds = 7
	// slowest is the pace, in batches a second, while Fluent Bit holds more than that on a disk: what it adds leaves its memory by itself.
	slowest = 1
)

// handing is the state of handing over.
type handing struct {
	now         *batch    // is being appended
	taken       []*batch  // the host is copying them
	due         time.Time // of the next HandOver; zero: none is wanted
	rescheduled chan struct{}

	host       HostStatus // but for the pause that lasts
	waiting    time.Time  // since when there is something to hand over and nothing has been handed over; zero: there is nothing
	batches    int64      // that the host has copied
	handedOver time.Time  // when it did last
	refused    int64      // batches that the host refused, each time

	hold      Hold      // what keeps batches from being handed over
	heldUntil time.Time // nothing before that
	paced     time.Time // the rate allows no more before that

	renewed   string // of the host's memory
	memory    int64  // of the host
	sinceThen int64  // bytes that it does not include yet
}

// Drive has the host call HandOver whenever there is something to do, until ctx ends.
func (q *Queue) Drive(ctx context.Context) {
	timer := time.NewTimer(heartbeat)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.handing.rescheduled:
		case <-timer.C:
			q.mu.Lock()
			q.handing.due = time.Time{}
			q.mu.Unlock()
			q.Wake()
		}
		q.mu.Lock()
		due := q.handing.due
		q.mu.Unlock()
		next := heartbeat
		if !due.IsZero() {
			next = min(next, time.Until(due))
		}
		timer.Reset(next)
	}
}

// schedule asks for a HandOver at that time, or before.
func (q *Queue) schedule(at time.Time) {
	if !q.handing.due.IsZero() && !at.Before(q.handing.due) {
		return
	}
	q.handing.due = at
	select {
	case q.handing.rescheduled <- struct{}{}:
	default:
	}
}

// HandOver looks at what has become of the batches in flight, and appends what may be appended now. Who calls it without having been
// woken, on a host that wakes nobody, is given what is not full too.
func (q *Queue) HandOver(h Host, woken bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	began := time.Now()
	since := began.Sub(q.handing.host.Called)
	q.handing.host.Called = began
	q.handing.due = time.Time{}
	q.observe(h, began)
	for now := began; ; now = time.Now() {
		if now.Sub(began) >= sliceMost {
			q.schedule(now)
			break
		}
		b := q.next(now, !woken)
		if b == nil {
			break
		}
		if !q.append(h, b, min(since, time.Second)) {
			break
		}
		q.observe(h, time.Now())
	}
	if len(q.inFlight)+len(q.counted) > 0 {
		q.schedule(time.Now().Add(pollInterval))
	} else if !woken {
		q.rest()
	}
}

// rest gives memory back while there is nothing to hand over.
func (q *Queue) rest() {
	if q.held+q.bytesInFlight == 0 {
		q.freeSpare()
	}
}

// resize changes the size of the next batches.
func (q *Queue) resize(target int) {
	if target != q.target {
		q.target = target
		q.freeSpare()
	}
}

// next takes the batch out that is to be appended now. nil: none is; then it is scheduled when to look again, if time alone may change that.
func (q *Queue) next(now time.Time, open bool) *batch {
	hd := &q.handing
	if q.paused() {
		return nil
	}
	var b *batch
	switch {
	case len(q.ready) > 0:
		b = q.ready[0]
	case q.open == nil:
		return nil
	case open || now.Sub(q.open.opened) >= linger:
		b = q.open
	default:
		q.schedule(q.open.opened.Add(linger))
		return nil
	}
	size := len(b.data)
	switch {
	case q.bytesInFlight > 0 && q.bytesInFlight+size > q.BufferSize/10*flightShare, len(q.inFlight)+len(q.counted) >= max(q.RingEntries/2, 1):
		return nil // until some are received
	case hd.heldUntil.After(now):
		q.schedule(hd.heldUntil)
		return nil
	case hd.paced.After(now):
		q.schedule(hd.paced)
		return nil
	}
	if err := q.checkRoom(len(b.memory)); err != nil {
		if q.bytesInFlight == 0 { // else there may be, when what is in flight has found its room
			q.holdBack(HoldStorage, err.Error(), now)
		}
		return nil
	}
	if q.full(size) && !q.onDisk() {
		q.holdBack(HoldMemory, "Fluent Bit holds in memory what no output has taken", now)
		return nil
	}
	if b == q.open {
		q.open = nil
	} else {
		q.ready = q.ready[1:]
	}
	return b
}

// checkRoom gives up q.mu meanwhile. The batch that it is for may become a full one.
func (q *Queue) checkRoom(bytes int) error {
	if q.Room == nil {
		return nil
	}
	need := q.bytesInFlight + bytes
	q.mu.Unlock()
	defer q.mu.Lock()
	return q.Room.Check(need)
}

func (q *Queue) onDisk() bool { return q.Room != nil && q.Room.OnDisk() }

// full says whether Fluent Bit would hold more in memory than it should. It never is while it has nothing at all.
func (q *Queue) full(size int) bool {
	held := q.handing.memory + q.handing.sinceThen
	return q.Rate > 0 && q.handing.renewed != "" && held > 0 && held+int64(size) > memorySeconds*int64(q.Rate)
}

// holdBack waits a while before the host is tried again.
func (q *Queue) holdBack(kind HoldKind, why string, now time.Time) {
	hd := &q.handing
	if hd.hold.Kind != kind {
		hd.hold.Since = now
	}
	hd.hold.Kind, hd.hold.Why = kind, why
	hd.heldUntil = now.Add(holdInterval)
	q.schedule(hd.heldUntil)
}

// append hands a batch over, without q.mu: the host copies it, and may take a second to refuse it.
func (q *Queue) append(h Host, b *batch, burst time.Duration) bool {
	hd := &q.handing
	hd.now = b
	ok := func() bool {
		q.mu.Unlock()
		defer q.mu.Lock()
		return h.Append(b.data)
	}()
	hd.now = nil
	now := time.Now()
	if !ok {
		hd.refused++
		q.ready = append([]*batch{b}, q.ready...)
		q.holdBack(HoldRefused, "Fluent Bit has refused a batch", now)
		return false
	}
	hd.hold = Hold{}
	q.pace(len(b.data), burst, now)
	q.handedOver(b, now)
	if q.receipts == ReceiptsByReturn {
		q.received = append(q.received, b)
		return true
	}
	q.inFlight = append(q.inFlight, b)
	q.bytesInFlight += b.bytes
	q.eventsInFlight += int64(b.events)
	q.stir(now)
	return true
}

// pace makes the next batch wait for its time. burst is how much of it may have been saved up.
func (q *Queue) pace(size int, burst time.Duration, now time.Time) {
	hd := &q.handing
	hd.sinceThen += int64(size)
	if q.Rate == 0 {
		return
	}
	rate := float64(q.Rate)
	if q.full(0) {
		rate = min(rate, slowest*float64(q.BatchSize))
		burst = 0
	}
	took := func(bytes int) time.Duration { return time.Duration(float64(bytes) / rate * float64(time.Second)) }
	if earliest := now.Add(-max(burst, took(q.BatchSize))); hd.paced.Before(earliest) {
		hd.paced = earliest
	}
	hd.paced = hd.paced.Add(took(size))
}

// handedOver takes note that the host has copied a batch.
func (q *Queue) handedOver(b *batch, now time.Time) {
	hd := &q.handing
	b.bytes, b.at = len(b.data), now
	q.recycle(b)
	hd.batches++
	hd.handedOver = now
	if hd.waiting = now; len(q.ready) == 0 && q.open == nil {
		hd.waiting = time.Time{}
	}
	q.tallyUp(b, now)
}

// Take is for a host in which nothing can be appended: it returns the next batch, full or not, or nil. There are no receipts there. The
// batches grow while there are more than are asked for.
func (q *Queue) Take() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.handing.host.Called = now
	q.receipts = ReceiptsByTime
	if q.paused() {
		return nil
	}
	q.settleOld(now)
	b := q.next(now, true)
	if len(q.ready) > 0 {
		q.resize(min(2*q.target, max(q.BufferSize/3, q.BatchSize)))
	} else {
		q.resize(max(q.target/2, q.BatchSize))
	}
	if b == nil {
		q.rest()
		return nil
	}
	q.handing.taken = append(q.handing.taken, b)
	return b.data
}

// Release says that the host has copied the batch that begins at data.
func (q *Queue) Release(data unsafe.Pointer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	hd := &q.handing
	i := slices.IndexFunc(hd.taken, func(b *batch) bool { return unsafe.Pointer(unsafe.SliceData(b.data)) == data })
	if i < 0 {
		return
	}
	b := hd.taken[i]
	hd.taken = slices.Delete(hd.taken, i, i+1)
	hd.hold = Hold{}
	q.handedOver(b, time.Now())
	q.received = append(q.received, b)
}

// paused says whether the host wants nothing. q.mu is held.
func (q *Queue) paused() bool { return !q.handing.host.PausedSince.IsZero() }

// Pause says that the host wants nothing until Resume. It may come twice.
func (q *Queue) Pause() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.paused() {
		q.handing.host.Pauses++
		q.handing.host.PausedSince = time.Now()
	}
}

// Resume ends a Pause. Without receipts the wait for settling begins anew: while paused, the host emptied no ring buffer.
func (q *Queue) Resume() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if q.paused() {
		q.handing.host.Paused += now.Sub(q.handing.host.PausedSince)
		q.handing.host.PausedSince = time.Time{}
	}
	if q.receipts == ReceiptsByTime {
		for _, b := range q.received {
			b.at = now
		}
	}
	q.stir(now)
	q.schedule(now)
}
