package collector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"in_office365/normalize"
	"in_office365/plugin/handover"
	"in_office365/plugin/ledger"
)

// Settled implements handover.Origin: it notes how many of a blob's records are through.
func (f *flight) Settled(upto int64, end bool) {
	s := f.stream
	if f.dropped.Load() {
		return
	}
	if end {
		s.counts.newestContent.raise(s.end(f, ledger.Done).Created)
		s.counts.settled.Add(1)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if current, known := s.flights.Load(f.entry.ID); !known || current != f {
		return // a mark that says no more than the ones before it
	}
	f.entry.Settled = max(f.entry.Settled, upto)
	s.ledger.Update(f.entry)
	s.dropIfSettled(f)
}

// Abandon implements handover.Origin.
func (f *flight) Abandon() { f.dropped.Store(true) }

// Abandoned implements handover.Origin.
func (f *flight) Abandoned() bool { return f.dropped.Load() }

// Dropped implements handover.Origin: the blob is fetched again, from behind what has settled.
func (f *flight) Dropped() {
	s := f.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flights.CompareAndDelete(f.entry.ID, f)
	s.alert()
}

// HandedOver implements handover.Origin.
func (f *flight) HandedOver(records int, bytes int64, times []uint32, at time.Time) {
	s := f.stream
	s.counts.handedOver.Add(int64(records))
	s.counts.handedOverBytes.Add(bytes)
	now := s.now().Add(-time.Since(at)).Unix() // by the API's clock
	var newest int64
	for _, t := range times {
		if t == 0 {
			continue
		}
		happened := min(int64(t), now)
		newest = max(newest, happened)
		s.delay.Observe(float64(now - happened))
	}
	if newest > 0 {
		s.counts.newestRecord.raise(time.Unix(newest, 0).UTC())
	}
}

// noticeOnItsWay is a notice that has been put into the queue.
type noticeOnItsWay struct {
	c     *Collector
	event []byte
	then  func() // once it has settled; may be nil
}

// Settled implements handover.Origin.
func (n *noticeOnItsWay) Settled(int64, bool) {
	if n.then != nil {
		n.then()
	}
}

// Abandon implements handover.Origin: the same notice can be put again.
func (*noticeOnItsWay) Abandon() {}

// Abandoned implements handover.Origin.
func (*noticeOnItsWay) Abandoned() bool { return false }

// Dropped implements handover.Origin: the notice is put again, unless this is the end. Then what it stands for is not settled.
func (n *noticeOnItsWay) Dropped() {
	if n.c.ctx.Err() != nil {
		return
	}
	n.c.run("announcing again", func(ctx context.Context) { _ = n.c.queue.PutNotice(ctx, n.event, n) })
}

// HandedOver implements handover.Origin. Notices are counted when they are given.
func (*noticeOnItsWay) HandedOver(int, int64, []uint32, time.Time) {}

// handOverTold is what has been told of the hand-over; of the goroutine that keeps the ledger.
type handOverTold struct {
	receipts handover.Receipts
	full     bool      // there was no room
	fullLast time.Time // when there was none last
	dropped  int64
}

// noteFull takes note of whether there is room, and says whether a want of it begins or is over. It is one as long as there was none within
// troubleQuiet: with an output that is too slow, each chunk that it takes makes room for the next.
func (t *handOverTold) noteFull(full bool, now time.Time) (begins, over bool) {
	was := t.full
	if full {
		t.full, t.fullLast = true, now
	} else if now.Sub(t.fullLast) >= troubleQuiet {
		t.full = false
	}
	return t.full && !was, was && !t.full
}

// tellOfHandOver logs and announces what is new about the hand-over.
func (c *Collector) tellOfHandOver() {
	host, queue := c.queue.Status()
	told := &c.toldOfHandOver
	if host.Receipts != told.receipts {
		told.receipts = host.Receipts
		switch {
		case host.Distrust != "":
			c.log.Warn("no receipts: what Fluent Bit was handed "+c.cfg.Settle.String()+" ago counts as delivered from now on: "+host.Distrust, "receipts", string(host.Receipts))
		case host.Receipts == handover.ReceiptsByTime:
			c.log.Info("this Fluent Bit gives no receipts: what it was handed "+c.cfg.Settle.String()+" ago counts as delivered", "receipts", string(host.Receipts))
		default:
			c.log.Debug("Fluent Bit gives receipts", "receipts", string(host.Receipts))
		}
	}
	if queue.Dropped > told.dropped {
		told.dropped = queue.Dropped
		c.handingOver.report(fmt.Errorf("%d records that Fluent Bit had copied were dropped by it; their blobs are fetched again", queue.DroppedRecords),
			"look at its log for why: a full disk, or too many chunks")
	}
	full := queue.Hold.Kind == handover.HoldStorage
	switch {
	case full, queue.Hold.Kind == handover.HoldRefused:
		remedy := "look at its log; it is tried again until it takes it"
		if full {
			remedy = storageRemedy
		}
		c.handingOver.report(errors.New(queue.Hold.Why), remedy)
	case queue.Hold.Kind == "":
		c.handingOver.over()
	}
	begins, over := told.noteFull(full, time.Now())
	if begins {
		c.run("announcing", func(ctx context.Context) {
			c.announceOfAll(ctx, &normalize.Notice{Kind: noticeStorageFull, Reason: queue.Hold.Why})
		})
	}
	if over {
		c.log.Info("there is room for Fluent Bit's chunks again")
	}
}

// storageRemedy is what to do about a volume without room.
const storageRemedy = "free space there or let the outputs catch up; nothing is lost meanwhile, and it goes on by itself"
