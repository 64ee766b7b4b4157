package collector

import (
	"context"
	"sync"
	"time"
)

// surveyInterval is how often the pending blobs are counted, a tenth of a microsecond each.
const surveyInterval = 5 * time.Second

// surveyed is what a stream knows of itself by its last survey. Its lock is held by nobody who waits for the ledger.
type surveyed struct {
	sync.Mutex
	pending       int64
	oldest        time.Time // when the oldest pending blob became available
	completeUntil time.Time // what became available before that is through, or lost and announced
	chart         chart
}

// survey takes stock now and then, so that telling of it costs nothing and waits for nobody.
func (c *Collector) survey(ctx context.Context) {
	for {
		failed := false
		collected, _ := c.everyTenant()
		for _, t := range collected {
			for _, s := range t.streams {
				if err := s.survey(); err != nil {
					c.surveying.report(err, "")
					failed = true
				}
			}
		}
		if !failed {
			c.surveying.over()
		}
		if size, err := c.ledger.Size(); err == nil {
			c.surveyed.size.Store(size)
		}
		c.surveyed.unwritten.Store(int64(c.ledger.Unwritten()))
		c.sumUp()
		if !sleep(ctx, surveyInterval) {
			return
		}
	}
}

func (s *stream) survey() error {
	until := s.listedUntil.time() // first: a blob that is listed while the others are counted is not behind it
	pending, oldest, err := s.ledger.Pending()
	if err != nil {
		return err
	}
	if !until.IsZero() && !oldest.IsZero() {
		until = earlier(until, oldest)
	}
	s.surveyed.Lock()
	defer s.surveyed.Unlock()
	s.surveyed.pending, s.surveyed.oldest, s.surveyed.completeUntil = pending, oldest, until
	s.surveyed.chart.draw(time.Now(), s.counts.settled.Load(), s.counts.handedOver.Load())
	return nil
}

// chart makes a History of counts that only grow.
type chart struct {
	history History
	began   time.Time // of the current minute; zero: nothing has been drawn
	blobs   int64     // that the history has, or that are older
	records int64
}

// draw adds what has come since it was last called to the current minute.
func (c *chart) draw(now time.Time, blobs, records int64) {
	if c.began.IsZero() || now.Sub(c.began) > historyMinutes*time.Minute {
		*c = chart{began: now, blobs: c.blobs, records: c.records}
	}
	for ; now.Sub(c.began) >= time.Minute; c.began = c.began.Add(time.Minute) {
		copy(c.history[:], c.history[1:])
		c.history[len(c.history)-1] = Minute{}
	}
	current := &c.history[len(c.history)-1]
	current.Blobs += uint32(blobs - c.blobs)       //nolint:gosec // of a minute
	current.Records += uint32(records - c.records) //nolint:gosec // of a minute
	c.blobs, c.records = blobs, records
}

// count takes note of the records that the host has copied, off the callback, which has no time for it.
func (c *Collector) count(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.queue.Copied():
			c.queue.Count()
		}
	}
}
