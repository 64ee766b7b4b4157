package collector

import (
	"slices"
	"sync/atomic"
	"time"

	"in_office365/o365"
)

// counts count what has become of the blobs and records of one content type.
type counts struct {
	carriedOver   int64 // blobs that were pending when the stream was made
	listed        atomic.Int64
	listedAgain   atomic.Int64
	listFailures  atomic.Int64
	fetched       atomic.Int64
	fetchFailures atomic.Int64
	settled       atomic.Int64
	lostExpired   atomic.Int64
	lostGone      atomic.Int64
	gaps          atomic.Int64
	gapTime       atomic.Int64 // nanoseconds

	read            atomic.Int64
	readBytes       atomic.Int64
	unreadable      atomic.Int64
	repeated        atomic.Int64
	handedOver      atomic.Int64
	handedOverBytes atomic.Int64

	lastLoss      moment
	newestContent moment
	newestRecord  moment
}

func (c *counts) blobs() BlobCounts {
	// What ends is counted after what begins, and so looked at before it: Incomplete is never too small.
	b := BlobCounts{Settled: c.settled.Load(), LostExpired: c.lostExpired.Load(), LostGone: c.lostGone.Load()}
	b.CarriedOver, b.Listed, b.ListedAgain = c.carriedOver, c.listed.Load(), c.listedAgain.Load()
	b.Fetched, b.FetchFailures, b.ListFailures = c.fetched.Load(), c.fetchFailures.Load(), c.listFailures.Load()
	return b
}

func (c *counts) records() RecordCounts {
	return RecordCounts{
		Read: c.read.Load(), ReadBytes: c.readBytes.Load(), Unreadable: c.unreadable.Load(), Repeated: c.repeated.Load(),
		HandedOver: c.handedOver.Load(), HandedOverBytes: c.handedOverBytes.Load(),
	}
}

// moment is a time that several goroutines may set; the zero value is none. It is told as it was set: a local time with the monotonic clock's,
// which UTC would take away, as the other may be set back.
type moment struct{ at atomic.Pointer[time.Time] }

func (m *moment) set(t time.Time) { m.at.Store(&t) }

// raise sets it unless it is later.
func (m *moment) raise(t time.Time) {
	for {
		old := m.at.Load()
		if old != nil && !t.After(*old) || m.at.CompareAndSwap(old, &t) {
			return
		}
	}
}

func (m *moment) time() time.Time {
	if at := m.at.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// stats counts what is of no content type, since the start.
type stats struct {
	panics         atomic.Int64
	ledgerFailures atomic.Int64                   // writes that failed
	notices        [len(noticeKinds)]atomic.Int64 // by kind
}

// notice counts one of that kind.
func (s *stats) notice(kind string) { s.notices[slices.Index(noticeKinds[:], kind)].Add(1) }

// summary is the line at the end of a run. Of the notices it names those kinds of which there were any.
func (c *Collector) summary() []any {
	var b BlobCounts
	var r RecordCounts
	var gaps int64
	for _, t := range c.tenants {
		for _, s := range t.streams {
			b.add(s.counts.blobs())
			r.add(s.counts.records())
			gaps += s.counts.gaps.Load()
		}
	}
	notices := int64(0)
	var kinds []any
	for i, kind := range noticeKinds {
		if n := c.stats.notices[i].Load(); n > 0 {
			notices += n
			kinds = append(kinds, "notice_"+kind, n)
		}
	}
	summary := append([]any{
		"blobs_listed", b.Listed, "blobs_fetched", b.Fetched, "blobs_settled", b.Settled, "blobs_lost", b.Lost(),
		"records", r.Read - r.Repeated, "unreadable", r.Unreadable, "repeated", r.Repeated,
		"fetch_failures", b.FetchFailures, "list_failures", b.ListFailures,
		"gaps", gaps, "panics", c.stats.panics.Load(), "notices", notices,
	}, kinds...)
	if c.several() {
		summary = append(summary, "tenants", len(c.active))
	}
	return summary
}

// outcome is the result of a call as its metric has it.
func outcome(err error) string {
	switch e, answered := err.(*o365.Error); { //nolint:errorlint // a Call's error is an *Error, not one around it
	case err == nil:
		return "ok"
	case !answered || e.Status == 0:
		return "unanswered"
	case e.Action == o365.Throttle:
		return "throttled"
	case e.Action == o365.GiveUp:
		return "gone"
	case e.Action == o365.Retry:
		return "failed"
	default:
		return "refused"
	}
}
