package handover

import "time"

// HostStatus is how Fluent Bit treats the input.
type HostStatus struct {
	Called      time.Time     // when it asked for a batch last; zero: never
	PausedSince time.Time     // zero: it does not pause
	Paused      time.Duration // in all
	Pauses      int64
	Receipts    Receipts
	Distrust    string // why there are no receipts though Fluent Bit counts; empty: there are, or it does not
}

// Status is what is on its way to Fluent Bit.
type Status struct {
	Bytes     int // of memory that batches hold, and of those in flight
	Limit     int // buffer_size
	Waiting   int // batches that Fluent Bit may take
	InFlight  int // bytes that it has copied, and is not known to be done with
	Unsettled int // batches that it has copied, and that are not settled
	// WaitingSince is since when there is something to hand over without any of it being handed over; zero: there is nothing.
	WaitingSince time.Time
	Hold         Hold
	HandedOver   time.Time // when it copied a batch last; zero: never
	Batches      int64     // that it has copied
	Refused      int64     // batches that it refused, each time it did
	Dropped      int64     // batches that it has copied and dropped, or others that were in flight with one
	// DroppedRecords are those that it has dropped, by its count. They are put again, along with what was in flight with them.
	DroppedRecords int64
}

// Hold is what keeps batches from being handed over; the zero value is nothing.
type Hold struct {
	Kind  HoldKind
	Why   string
	Since time.Time
}

// HoldKind is a kind of hold.
type HoldKind string

// The kinds of holds, besides a pause.
const (
	HoldStorage HoldKind = "storage" // there is no room for chunks
	HoldMemory  HoldKind = "memory"  // Fluent Bit holds too much in memory
	HoldRefused HoldKind = "refused" // it has refused a batch
	HoldDropped HoldKind = "dropped" // it has dropped what it was handed
)

// Status tells how the host treats the input, and what is on its way.
func (q *Queue) Status() (HostStatus, Status) {
	q.mu.Lock()
	defer q.mu.Unlock()
	hd := &q.handing
	host := hd.host
	if q.paused() {
		host.Paused += time.Since(host.PausedSince)
	}
	host.Receipts, host.Distrust = q.receipts, q.distrust
	status := Status{
		Bytes: q.held + q.bytesInFlight, Limit: q.BufferSize, Waiting: len(q.ready), InFlight: q.bytesInFlight,
		Unsettled: len(q.inFlight) + len(q.counted) + len(q.received), WaitingSince: hd.waiting, Hold: hd.hold,
		HandedOver: hd.handedOver, Batches: hd.batches, Refused: hd.refused, Dropped: q.droppedBatches, DroppedRecords: q.droppedEvents,
	}
	if q.open != nil {
		status.Waiting++
	}
	return host, status
}
