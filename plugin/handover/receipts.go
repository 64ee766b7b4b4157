package handover

import "time"

const (
	// notKnown is the base of a count that has not been read.
	notKnown = -1
	// restInterval is twice that in which the engine empties the ring buffer (FLB_DEV_RB_MS, v5.1.1 src/flb_engine.c:1360): an engine
	// that is seen at rest twice, so far apart, has emptied it in between. restSightings of it leave no doubt.
	restInterval  = 500 * time.Millisecond
	restSightings = 4
	// blindPatience is how long a count stands still where the engine cannot be seen, before it is taken to be done with what it has
	// counted, and to have dropped what it has not.
	blindPatience = time.Minute
	// distrustAfter drops in a row, each of a part of what was in flight, it is the count that is wrong.
	distrustAfter = 5
	// dropBackoffMost bounds the wait after a drop; it begins with holdInterval and doubles.
	dropBackoffMost = time.Minute
)

// receiving is the state of batches from being handed over to being settled. All that is in flight is received together, once the host
// has counted all of it: if the host has dropped one, the sum tells that, but not which.
type receiving struct {
	receipts Receipts
	distrust string // why there are no receipts though the host counts; empty: there are, or it does not

	base           int64    // the host's count when all before inFlight was counted
	inFlight       []*batch // in the ring buffer
	counted        []*batch // taken off it; written once the engine has gone on
	bytesInFlight  int      // of both
	eventsInFlight int64    // of inFlight
	received       []*batch // not settled yet

	seen      int64     // the host's count
	lastMove  time.Time // when the count moved, or something was handed over, last
	sightings int       // of the engine at rest since then
	sighted   time.Time // the last of them

	drops          int // in a row
	partial        int // of these, in a row, with a part that was counted
	droppedBatches int64
	droppedEvents  int64
}

// stir begins the wait anew after which batches count as dropped.
func (r *receiving) stir(now time.Time) { r.lastMove, r.sightings = now, 0 }

// observe looks at the host's count, and at the engine, for what has become of the batches in flight.
func (q *Queue) observe(h Host, now time.Time) {
	defer q.settleOld(now)
	m, counts := h.Metrics()
	if hd := &q.handing; counts && m.Renewed != hd.renewed {
		hd.renewed, hd.memory, hd.sinceThen = m.Renewed, m.Memory, int64(q.bytesInFlight)
	}
	if q.receipts == ReceiptsUnknown {
		switch {
		case h.Synchronous():
			q.receipts = ReceiptsByReturn
		case q.NoReceipts != "":
			q.receipts, q.distrust = ReceiptsByTime, q.NoReceipts
		case counts:
			q.receipts = ReceiptsByCount
		default:
			q.receipts = ReceiptsByTime
		}
	}
	if q.receipts != ReceiptsByCount {
		return
	}
	if !counts {
		q.goByTime("Fluent Bit counts no more", now)
		return
	}
	q.compare(m.Records, now)
	if len(q.counted)+len(q.inFlight) == 0 {
		return
	}
	// After the count: an engine at rest now is done with what it had counted then.
	rest, known := h.AtRest()
	if rest || !known && now.Sub(q.lastMove) >= blindPatience {
		q.receive(now)
	}
	if len(q.inFlight) > 0 && q.isDropped(rest, known, now) {
		q.drop(now)
	}
}

// compare holds the host's count against what it was handed.
func (q *Queue) compare(count int64, now time.Time) {
	if q.base == notKnown {
		q.base, q.seen = count, count
	}
	if count != q.seen {
		q.seen = count
		q.stir(now)
		if count > q.base { // of one after the other: the engine has gone on to those in flight
			q.receive(now)
		}
	}
	switch handed := q.base + q.eventsInFlight; {
	case count > handed || count < q.base:
		q.goByTime("Fluent Bit counts other records for this input than it was handed", now)
	case count == handed && len(q.inFlight) > 0:
		q.counted = append(q.counted, q.inFlight...)
		q.inFlight, q.eventsInFlight, q.base = nil, 0, count
		q.drops, q.partial = 0, 0
	}
}

// receive calls the counted batches received.
func (q *Queue) receive(now time.Time) {
	if len(q.counted) == 0 {
		return
	}
	for _, b := range q.counted {
		b.at = now
		q.bytesInFlight -= b.bytes
	}
	q.received = append(q.received, q.counted...)
	q.counted = nil
	q.wakeWriters()
}

// isDropped says whether the host has let go of something in flight: it would have been counted by now.
func (q *Queue) isDropped(rest, known bool, now time.Time) bool {
	switch {
	case q.paused():
		return false
	case !known:
		return now.Sub(q.lastMove) >= blindPatience
	case rest && now.Sub(later(q.lastMove, q.sighted)) >= restInterval:
		q.sightings++
		q.sighted = now
	}
	return q.sightings >= restSightings
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// drop reports all in flight as dropped, as it is not known which of it was. Ids are forgotten, or it would be taken for repeats when it
// is put again.
func (q *Queue) drop(now time.Time) {
	if q.drops++; q.seen > q.base {
		q.partial++
	} else {
		q.partial = 0
	}
	if q.partial >= distrustAfter {
		q.goByTime("Fluent Bit counts fewer records for this input than it was handed, again and again", now)
		return
	}
	for _, b := range q.inFlight {
		for _, m := range b.marks {
			q.reports = append(q.reports, report{m, true})
		}
		q.bytesInFlight -= b.bytes
		q.droppedBatches++
	}
	q.droppedEvents += q.base + q.eventsInFlight - q.seen
	q.repeats.forget()
	q.inFlight, q.eventsInFlight, q.base = nil, 0, q.seen
	q.stir(now)
	q.wakeWriters()
	q.holdBack(HoldDropped, "Fluent Bit has dropped what it was handed", now)
	q.handing.heldUntil = now.Add(min(holdInterval<<min(q.drops-1, 10), dropBackoffMost))
}

// goByTime gives receipts up.
func (q *Queue) goByTime(why string, now time.Time) {
	q.receipts, q.distrust = ReceiptsByTime, why
	q.counted = append(q.counted, q.inFlight...)
	q.inFlight, q.eventsInFlight = nil, 0
	q.receive(now)
}

// settleOld settles what was received long enough ago. Without receipts the host has to have called again since: then its thread is alive.
func (q *Queue) settleOld(now time.Time) {
	if q.paused() {
		return
	}
	if q.receipts == ReceiptsByTime {
		now = q.handing.host.Called
	}
	for len(q.received) > 0 && now.Sub(q.received[0].at) >= q.Settle {
		for _, m := range q.received[0].marks {
			q.reports = append(q.reports, report{mark: m})
		}
		q.received = q.received[1:]
	}
}

// Report tells origins what has settled and what was dropped since it was last called, in order. One goroutine at a time calls it.
func (q *Queue) Report() {
	q.mu.Lock()
	q.settleOld(time.Now())
	reports := q.reports
	q.reports = nil
	q.mu.Unlock()
	for _, r := range reports {
		if r.dropped {
			r.origin.Dropped()
		} else {
			r.origin.Settled(r.upto, r.end)
		}
	}
}
