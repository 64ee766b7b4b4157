package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"in_office365/normalize"
	"in_office365/o365"
	"in_office365/plugin/ledger"
)

const (
	// overlap is listed again with every poll, since blobs appear late, behind newer ones.
	overlap = time.Hour
	// sweepSpan is listed again every sweepInterval, for blobs that come later still.
	sweepSpan     = 24 * time.Hour
	sweepInterval = time.Hour
	// forgetAfter is how long the ledger remembers a blob: as long as a listing may name it, and a day for clocks that are wrong.
	forgetAfter = o365.Retention + 24*time.Hour
	// firstDelay is the wait for a first answer, which sets the clock.
	firstDelay = 5 * time.Second
	// windowBackoffMost bounds the wait before a window that could not be listed is tried again.
	windowBackoffMost = 5 * time.Minute
)

const (
	// planned is how far back a listing is planned to reach: less than the API allows, so that it may fail for some minutes.
	planned = o365.Retention - o365.RetentionMargin
	// retrievable is how far back a listing may reach at all; clocks differ by seconds.
	retrievable = o365.Retention - 30*time.Second
)

// stream collects one content type.
type stream struct {
	c           *Collector
	contentType o365.ContentType
	log         *slog.Logger
	ledger      *ledger.Stream
	own         chan *fetcher // the fetcher kept for this type, if there is one
	wake        chan struct{} // a blob may be due
	listing     trouble
	fetching    trouble

	// Of the listing goroutine.
	origin  time.Time // nothing older is asked for
	listed  time.Time // the near end of the last poll
	swept   time.Time
	refused bool     // the last listing was refused for want of a subscription
	todo    []window // not listed yet, or not successfully
	stalls  int      // polls in a row that ended with an error that concerns every window

	flights sync.Map // contentId -> *flight

	mu     sync.Mutex                 // guards what follows, and the flights' entries
	hold   time.Time                  // no fetch before that: the last ones failed for a reason that concerns them all
	failed int                        // fetches that failed since one succeeded
	gaps   map[*normalize.Notice]bool // announced, not settled
}

func newStream(c *Collector, t o365.ContentType) *stream {
	log := c.log.With("content_type", string(t))
	return &stream{
		c: c, contentType: t, log: log,
		ledger: c.ledger.Stream(ledger.Key{
			Cloud: c.cfg.Cloud.Name, Tenant: c.cfg.TenantID, Application: c.cfg.ClientID, ContentType: string(t),
		}),
		own:      make(chan *fetcher, 1),
		wake:     make(chan struct{}, 1),
		listing:  trouble{log: log, doing: "listing content"},
		fetching: trouble{log: log, doing: "fetching content"},
		gaps:     map[*normalize.Notice]bool{},
	}
}

// now is the API's clock: everything that is compared with its times, or kept over a restart, goes by it.
func (s *stream) now() time.Time { return s.c.client.Now().UTC() }

// list polls until ctx ends.
func (s *stream) list(ctx context.Context) {
	for begun := false; ; {
		delay := firstDelay
		if err := s.c.subscriptions.ensure(ctx, s.contentType, s.refused); err != nil {
			s.trouble(ctx, &s.listing, err)
			delay = s.c.cfg.PollInterval
		} else if begun = begun || s.begin(ctx); begun {
			delay = s.poll(ctx)
		}
		if !sleep(ctx, delay) {
			return
		}
	}
}

// begin plans the listing of everything retrievable, once the first answer has set the clock: on a first run as far back as start_from says, later
// again what an earlier run may have missed. What was never listed and cannot be any more is a gap.
func (s *stream) begin(ctx context.Context) bool {
	if !s.c.client.ClockKnown() {
		return false // nobody has answered yet: the local clock may be a day off, and what is decided here is kept
	}
	progress, err := s.ledger.Progress()
	if err != nil {
		s.trouble(ctx, &s.listing, err)
		return false
	}
	now := s.now().Truncate(time.Second)
	edge := now.Add(-planned)
	if progress.Origin.IsZero() {
		progress.Origin = s.c.cfg.Start.From(now).Truncate(time.Second)
		progress.Listed = progress.Origin
		if progress.Origin.Before(edge) {
			progress.Listed = edge
			if progress.Origin.Before(edge.Add(-o365.RetentionMargin)) {
				s.log.Warn("start_from lies further back than the API reaches", "start_from", progress.Origin, "from", edge)
			}
		}
		s.ledger.SetProgress(progress)
	}
	s.origin, s.listed, s.swept = progress.Origin, progress.Listed, now
	if again := split(later(edge, s.origin), s.listed, true); len(again) > 0 {
		s.todo = append(s.todo, again...)
	}
	return true
}

// poll lists what is new, and whatever is still to be listed. It returns how long to wait before the next.
func (s *stream) poll(ctx context.Context) (delay time.Duration) {
	now := s.now().Truncate(time.Second)
	from := later(earlier(s.listed, now.Add(-overlap)), s.origin)
	s.todo = append(s.todo, split(from, now, false)...)
	if now.Sub(s.swept) >= sweepInterval {
		s.todo = append(s.todo, split(later(now.Add(-sweepSpan), s.origin), from, true)...)
		s.swept = now
	}
	s.listed = later(s.listed, now)
	s.refused = false

	delay = s.c.cfg.PollInterval
	var failed []window
	var stall error
	for _, w := range s.todo {
		w := w.clip(s.now().Add(-retrievable))
		if w.gone() {
			s.noteGap(ctx, w)
			continue
		}
		if stall != nil || ctx.Err() != nil || w.notBefore.After(now) {
			failed = append(failed, w)
			continue
		}
		err := s.listWindow(ctx, w)
		if err == nil {
			s.noteGap(ctx, w)
			s.listing.over()
			s.stalls = 0
			continue
		}
		s.listingFailed(ctx, err)
		w.tries++
		wait := max(retryAfter(err), min(backoff(time.Second, w.tries), windowBackoffMost))
		if concernsAll(err) {
			stall = err
			s.stalls++
			wait = max(retryAfter(err), min(backoff(time.Second, s.stalls), windowBackoffMost))
			delay = wait
		}
		w.notBefore = now.Add(wait)
		delay = min(delay, wait)
		failed = append(failed, w)
	}
	s.todo = merge(failed)
	s.saveProgress()
	if stall == nil && ctx.Err() == nil {
		if _, err := s.ledger.Forget(now.Add(-forgetAfter)); err != nil {
			s.c.ledgerTrouble.report(err, "")
		}
	}
	return delay
}

func (s *stream) listingFailed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.c.stats.ListFailures.Add(1)
	if action(err) == o365.Resubscribe {
		s.refused = true
		if s.c.subscriptions.justStarted(s.contentType) {
			s.log.Debug("nothing to list yet: " + err.Error())
			return
		}
	}
	s.trouble(ctx, &s.listing, err)
}

// noteGap announces the part of a window that could not be listed in time, if it had never been listed before. The ledger does not
// go past the gap until the notice has settled.
func (s *stream) noteGap(ctx context.Context, w window) {
	if w.again || w.clipped.IsZero() {
		return
	}
	gap := &normalize.Notice{
		Kind: noticeGap, ContentType: string(s.contentType), From: w.clipped, To: earlier(w.from, w.to),
		Reason: "the API no longer lists what became available then, and nobody has listed it before",
	}
	s.c.stats.Gaps.Add(1)
	s.log.Error("gap: "+gap.Reason, "from", gap.From, "to", gap.To)
	s.mu.Lock()
	s.gaps[gap] = true
	s.mu.Unlock()
	s.c.announce(ctx, gap, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.gaps, gap)
	})
}

func (s *stream) listWindow(ctx context.Context, w window) error {
	return s.c.client.ListContent(ctx, s.contentType, w.from, w.to, func(blobs []o365.Blob) error {
		entries := make([]ledger.Entry, len(blobs))
		for i, b := range blobs {
			entries[i] = ledger.NewEntry(b.ID, b.URI, b.Created, b.Expires)
		}
		added, err := s.ledger.Add(entries)
		if err != nil {
			return fmt.Errorf("noting listed blobs: %w", err)
		}
		if added > 0 {
			s.c.stats.BlobsListed.Add(int64(added))
			s.alert()
		}
		return nil
	})
}

// saveProgress notes up to when everything has been listed, for the next run to see whether there is a gap.
func (s *stream) saveProgress() {
	listed := s.listed
	for _, w := range s.todo {
		if !w.again {
			listed = earlier(listed, w.start())
		}
	}
	s.mu.Lock()
	for gap := range s.gaps {
		listed = earlier(listed, gap.From)
	}
	s.mu.Unlock()
	s.ledger.SetProgress(ledger.Progress{Origin: s.origin, Listed: listed})
}

// alert makes the dispatcher look for due blobs.
func (s *stream) alert() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// trouble logs err, and announces what a destination should know of.
func (s *stream) trouble(ctx context.Context, t *trouble, err error) {
	if ctx.Err() != nil {
		return
	}
	first := t.report(err, "")
	switch action(err) {
	case o365.Throttle:
		s.c.announceThrottling(ctx, s.contentType, err)
	case o365.Reconfigure:
		if first {
			s.c.announce(ctx, &normalize.Notice{Kind: noticeAccessRefused, ContentType: string(s.contentType), Reason: err.Error()}, nil)
		}
	}
}

// action is what to do about an error; whatever does not say is worth another try.
func action(err error) o365.Action {
	var e *o365.Error
	if errors.As(err, &e) {
		return e.Action
	}
	return o365.Retry
}

func retryAfter(err error) time.Duration {
	var e *o365.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// concernsAll says that an error is none of the one window or blob, but of the tenant, the credential or the content type.
func concernsAll(err error) bool {
	switch action(err) {
	case o365.Throttle, o365.Reconfigure, o365.Resubscribe:
		return true
	default:
		return errors.Is(err, ledger.ErrUnwritten)
	}
}
