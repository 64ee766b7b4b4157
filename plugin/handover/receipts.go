package handover

import "time"

const (
	// notKnown is the base of a count that has not been read.
	notKnown = -1
	// restInterval is twice that in which the engine empties the ring buffer (FLB_DEV_RB_MS, v5.1.1 src/flb_engine.c:1360): an engine
	// that is seen at rest so long after something was put there has emptied it. So it is counted then, or dropped. To call it dropped
	// takes restSightings, so far apart: a needless repeat is worth some more certainty.
	restInterval  = 500 * time.Millisecond
	restSightings = 4
	// blindPatience is how long a count stands still where the engine cannot be seen, before it is taken to be done with what it has
	// counted, and to have dropped what it has not.
	blindPatience = time.Minute
	// distrustAfter drops in a row, each of a part of what was in flight or with an engine that cannot be seen, it is the count that is wrong.
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
	counts    time.Time // when the host's metrics could be read last
	late      int64     // events that were called dropped while the engine could not be seen, and may be counted yet

	drops          int // in a row
	doubtful       int // of these, in a row, with a part that was counted, or while the engine could not be seen
	droppedBatches int64
	droppedEvents  int64
}

// stir begins the wait anew after which batches count as dropped.
func (r *receiving) stir(now time.Time) { r.lastMove, r.sightings = now, 0 }

// observe looks at the host's count, and at the engine, for what has become of the batches in flight.
func (q *Queue) observe(h Host, now time.Time) {
	defer q.settleOld(now)
	var m Metrics
	counts := false
	if !q.NoMetrics {
		m, counts = h.Metrics()
	}
	if hd := &q.handing; counts && m.Renewed != hd.renewed {
		hd.renewed, hd.memory, hd.sinceThen = m.Renewed, m.Memory, int64(q.bytesInFlight)
	}
	if q.receipts == ReceiptsUnknown {
		switch {
		case h.Synchronous():
			q.receipts = ReceiptsByReturn
		case q.NoReceipts != "":
			q.receipts, q.distrust = ReceiptsByTime, q.NoReceipts
		case counts && m.BehindFilters:
			q.receipts = ReceiptsByTime
		case counts:
			q.receipts = ReceiptsByCount
		default:
			q.receipts = ReceiptsByTime
		}
	}
	if q.receipts == ReceiptsByCount && !q.compare(m.Records, counts, now) || len(q.counted)+len(q.inFlight) == 0 {
		return
	}
	// After the count: an engine at rest now is done with what it had counted then.
	rest, known := h.AtRest()
	if rest || !known && now.Sub(q.lastMove) >= blindPatience {
		q.receive(now)
	}
	switch {
	case len(q.inFlight) == 0:
	case q.receipts == ReceiptsByTime:
		q.receiveByTime(rest, known, now)
	case q.isDropped(rest, known, now):
		q.drop(known, now)
	}
}

// receiveByTime goes without the count: an engine that is seen at rest has emptied the ring buffer. One that cannot be seen has had the
// time to.
func (q *Queue) receiveByTime(rest, known bool, now time.Time) {
	if q.paused() || now.Sub(q.lastMove) < restInterval || known && !rest {
		return
	}
	q.counted, q.inFlight, q.eventsInFlight = q.inFlight, nil, 0
	q.receive(now)
}

// compare holds the host's count against what it was handed, and says whether there is a count.
func (q *Queue) compare(count int64, counts bool, now time.Time) bool {
	if counts {
		q.counts = now
	} else {
		if now.Sub(q.counts) >= blindPatience {
			q.goByTime("Fluent Bit counts no more", now)
		}
		return false
	}
	if q.base == notKnown {
		q.base, q.seen = count, count
	}
	if count != q.seen {
		// What was called dropped and is counted after all is none of those in flight now.
		late := min(q.late, max(count-q.seen, 0))
		q.late -= late
		q.base += late
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
		q.drops, q.doubtful = 0, 0
	}
	return true
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
func (q *Queue) drop(known bool, now time.Time) {
	missing := q.base + q.eventsInFlight - q.seen
	if q.drops++; q.seen > q.base || !known {
		q.doubtful++
	} else {
		q.doubtful = 0
	}
	if !known {
		q.late += missing
	}
	for _, b := range q.inFlight {
		for _, m := range b.marks {
			m.origin.Abandon()
			q.reports = append(q.reports, report{m, true})
		}
		q.bytesInFlight -= b.bytes
		q.droppedBatches++
	}
	q.droppedEvents += missing
	q.repeats.forget()
	q.inFlight, q.eventsInFlight, q.base = nil, 0, q.seen
	q.stir(now)
	q.wakeWriters()
	q.holdBack(HoldDropped, "Fluent Bit has dropped what it was handed", now)
	q.handing.heldUntil = now.Add(min(holdInterval<<min(q.drops-1, 10), dropBackoffMost))
	if q.doubtful >= distrustAfter {
		q.goByTime("Fluent Bit counts fewer records for this input than it was handed, again and again", now)
	}
}

// goByTime gives the count up. What is in flight is received without it.
func (q *Queue) goByTime(why string, now time.Time) {
	q.receipts, q.distrust = ReceiptsByTime, why
	q.inFlight, q.counted = append(q.counted, q.inFlight...), nil
	q.stir(now)
}

// settleOld settles what was received long enough ago. Without receipts the host has to have called again since: then its thread is alive.
// A pause holds it up there, and where chunks are in memory: then outputs lag, and what they have not taken dies with the process.
func (q *Queue) settleOld(now time.Time) {
	if q.paused() && (q.receipts == ReceiptsByTime || !q.onDisk()) {
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
