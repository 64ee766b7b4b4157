package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
	// failuresPerPoll without a success end a poll: the rest would fare no better.
	failuresPerPoll = 2
	// windowBackoffMost bounds the wait before a window that could not be listed is tried again.
	windowBackoffMost = 5 * time.Minute
)

const (
	// planned is how far back a listing is planned to reach: less than the API allows, so that it may fail for some minutes.
	planned = o365.Retention - o365.RetentionMargin
	// retrievable is how far back a listing may reach at all; clocks differ by seconds.
	retrievable = o365.Retention - 30*time.Second
)

// stream collects one content type of a tenant.
type stream struct {
	c           *Collector
	tenant      *tenant
	contentType o365.ContentType
	log         *slog.Logger
	ledger      *ledger.Stream
	listTurn    *place
	fetchTurn   *place
	wake        chan struct{} // a blob may be due
	subscribing trouble
	listing     trouble
	fetching    trouble
	// readingToList and readingToFetch are with the ledger.
	readingToList, readingToFetch trouble

	// Of the listing goroutine.
	begun   bool
	origin  time.Time // nothing older is asked for
	listed  time.Time // the near end of the last poll
	swept   time.Time
	damaged int64    // entries of the ledger that were unreadable when everything was planned to be listed again
	refused bool     // the last listing was refused for want of a subscription
	todo    []window // not listed yet, or not successfully

	failedPolls int // in a row, without a window that could be listed

	flights sync.Map // contentId -> *flight

	counts      counts
	delay       prometheus.Observer
	began       moment // of its collecting, by the local clock
	listedAt    moment // when a listing succeeded last, by the local clock
	listedUntil moment // what became available before that has been listed

	mu     sync.Mutex                 // guards what follows, and the flights' entries
	hold   time.Time                  // no fetch before that: the last ones failed for a reason that concerns them all
	failed int                        // fetches that failed since one succeeded
	gaps   map[*normalize.Notice]bool // announced, not settled

	surveyed surveyed
}

func newStream(tenant *tenant, t o365.ContentType) (*stream, error) {
	c, log := tenant.c, tenant.log.With("content_type", string(t))
	s := &stream{
		c: c, tenant: tenant, contentType: t, log: log,
		ledger: c.ledger.Stream(ledger.Key{
			Cloud: c.cfg.Cloud.Name, Tenant: tenant.id, Application: c.cfg.ClientID, ContentType: string(t),
		}),
		listTurn:    &place{share: tenant.listing},
		fetchTurn:   &place{share: tenant.fetching},
		wake:        make(chan struct{}, 1),
		subscribing: trouble{log: log, doing: "subscribing", shared: &tenant.access, shares: tenant.concernsAllTypes, of: t},
		listing:     trouble{log: log, doing: "listing content", shared: &tenant.access, shares: tenant.concernsAllTypes, of: t},
		fetching:    trouble{log: log, doing: "fetching content", shared: &tenant.access, shares: tenant.concernsAllTypes, of: t},
		gaps:        map[*normalize.Notice]bool{},
		delay:       c.metrics.recordDelay.WithLabelValues(string(t)),

		readingToList: c.readsLedger(), readingToFetch: c.readsLedger(),
	}
	progress, err := s.ledger.Progress()
	if err == nil {
		s.counts.carriedOver, _, err = s.ledger.Pending()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the db: %w", err)
	}
	if !progress.Listed.IsZero() {
		s.listedUntil.set(progress.Listed)
	}
	return s, nil
}

// reset forgets the troubles of before a pause.
func (s *stream) reset() {
	for _, t := range []*trouble{&s.subscribing, &s.listing, &s.fetching, &s.readingToList, &s.readingToFetch} {
		t.reset()
	}
}

// now is the API's clock: everything that is compared with its times, or kept over a restart, goes by it.
func (s *stream) now() time.Time { return s.tenant.client.Now().UTC() }

// list polls until ctx ends.
func (s *stream) list(ctx context.Context) {
	for {
		if err := s.tenant.subscriptions.ensure(ctx, s); err != nil {
			s.trouble(ctx, &s.subscribing, err)
		} else if s.tenant.subscriptions.stateOf(s.contentType) == subscriptionEnabled {
			s.subscribing.over()
		}
		delay := firstDelay
		if s.begun = s.begun || s.begin(ctx); s.begun {
			delay = s.poll(ctx)
		}
		if !sleep(ctx, delay) {
			return
		}
	}
}

// begin plans the listing of everything retrievable: on a first run as far back as start_from says, later again what an earlier run
// may have missed. It waits for the API's clock, as the local one may be a day off, and what is decided here is kept; but not where
// answers come without their time.
func (s *stream) begin(ctx context.Context) bool {
	if !s.tenant.client.ClockKnown() {
		now := time.Now()
		err := s.tenant.call(ctx, s.listTurn, func(ctx context.Context) error {
			return s.tenant.client.ListContent(ctx, s.contentType, now.Add(-time.Minute), now, func([]o365.Blob) error { return nil })
		})
		if err != nil && !s.tenant.client.ClockKnown() {
			s.trouble(ctx, &s.listing, err)
			return false
		}
	}
	s.c.compareClocks.Do(s.tenant.warnOfClock)
	progress, err := s.ledger.Progress()
	if err != nil {
		s.readingToList.report(err, "")
		return false
	}
	now := s.now().Truncate(time.Second)
	edge := now.Add(-planned)
	if progress.Origin.IsZero() {
		// Of two clocks the one that is behind: starting too early costs a few listings, too late would be a hole.
		progress.Origin = s.c.cfg.Start.From(earlier(now, time.Now().UTC())).Truncate(time.Second)
		if s.c.ledger.SetAside() != "" { // it is no first run, whatever start_from says
			progress.Origin = edge
		}
		progress.Listed = progress.Origin
		if progress.Origin.Before(edge) {
			progress.Listed = edge
			if !s.c.cfg.Start.Time.IsZero() {
				s.c.startTooEarly.Do(func() {
					s.c.log.Warn("start_from lies further back than the API reaches", "start_from", progress.Origin, "from", edge)
				})
			}
		}
		s.ledger.SetProgress(progress)
	}
	s.origin, s.listed, s.swept = progress.Origin, progress.Listed, now
	s.listedUntil.set(progress.Listed)
	s.todo = append(s.todo, split(later(edge, s.origin), s.listed, true)...)
	return true
}

// poll lists what is new, and whatever is still to be listed. It returns how long to wait before the next.
func (s *stream) poll(ctx context.Context) (delay time.Duration) {
	began, now := time.Now(), s.now()
	sweep := s.plan(now.Truncate(time.Second))
	s.refused = false

	delay = s.c.cfg.PollInterval
	// Those that have never failed come first, or a few that always do would keep the others from being listed.
	slices.SortStableFunc(s.todo, func(a, b window) int { return cmp.Compare(a.tries, b.tries) })
	var failed, gaps []window
	var succeeded bool
	var failures, listed, fresh int
	var stall error // an error that the other windows would meet too
	for _, w := range s.todo {
		w := w.clip(s.now().Add(-retrievable))
		if w.gone() {
			gaps = append(gaps, w)
			continue
		}
		if stall != nil || ctx.Err() != nil || w.notBefore.After(now) {
			failed = append(failed, w)
			continue
		}
		added, err := s.listWindow(ctx, w)
		fresh += added
		if err == nil {
			succeeded = true
			listed++
			gaps = append(gaps, w)
			continue
		}
		s.listingFailed(ctx, err)
		w.tries++
		if action(err) == o365.Rewindow { // the API's edge is nearer than it should be
			w = w.clip(now.Add(-planned).Add(time.Duration(w.tries-1) * time.Minute))
		}
		wait := max(retryAfter(err), min(backoff(time.Second, w.tries), windowBackoffMost))
		w.notBefore = now.Add(wait)
		delay = min(delay, wait)
		failed = append(failed, w)
		if failures++; concernsAll(err) || failures >= failuresPerPoll && !succeeded {
			stall = err
		}
	}
	s.todo = merge(failed)
	if s.damaged > 0 {
		s.alert() // blobs that are pending again are not new
	}
	s.noteGaps(ctx, gaps)
	s.saveProgress()
	switch {
	case ctx.Err() != nil:
	case succeeded:
		s.failedPolls = 0
		s.listedAt.set(time.Now())
		if s.listing.worksInPart(); len(s.todo) == 0 {
			s.listing.over()
			s.readingToList.over()
		}
	default:
		s.failedPolls++
		delay = max(retryAfter(stall), min(backoff(time.Second, s.failedPolls), windowBackoffMost))
	}
	if sweep && succeeded {
		if _, err := s.ledger.Forget(now.Add(-forgetAfter)); err != nil {
			s.c.writingLedger.report(err, "")
		}
	}
	s.log.Debug("polled", "windows", listed, "failed", failures, "left", len(s.todo), "new_blobs", fresh,
		"took", time.Since(began).Round(time.Millisecond), "next", delay.Round(time.Millisecond))
	return delay
}

// plan adds the windows of this poll to those that are still to be listed, from time to time those of a sweep among them.
func (s *stream) plan(now time.Time) (sweep bool) {
	from := later(earlier(s.listed, now.Add(-overlap)), s.origin)
	s.todo = append(s.todo, split(from, now, false)...)
	if s.swept.After(now) {
		s.swept = now
	}
	s.listed = now // even if that is earlier: then the clock was ahead, and nothing beyond now has been listed
	isAgain := func(w window) bool { return w.again }
	damaged := s.ledger.Unreadable()
	if now.Sub(s.swept) < sweepInterval && damaged == s.damaged || slices.ContainsFunc(s.todo, isAgain) {
		return false
	}
	span := sweepSpan
	if damaged > s.damaged { // which blobs these were, and where they are to be had from, only a listing can tell
		s.log.Warn("the db holds entries that cannot be read: what the API still has is listed again, and their blobs are collected again",
			"entries", damaged-s.damaged)
		s.damaged, span = damaged, planned
	}
	s.todo = append(s.todo, split(later(now.Add(-span), s.origin), from, true)...)
	s.swept = now
	return true
}

func (s *stream) listingFailed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.counts.listFailures.Add(1)
	if action(err) == o365.Resubscribe {
		s.refused = true
		if s.tenant.subscriptions.justStarted(s.contentType) {
			s.log.Debug("nothing to list yet: " + err.Error())
			return
		}
	}
	if _, ok := errors.AsType[*ledgerError](err); ok {
		if errors.Is(err, ledger.ErrUnwritten) {
			s.c.writingLedger.report(err, "")
		} else {
			s.readingToList.report(err, "")
		}
		return
	}
	s.trouble(ctx, &s.listing, err)
}

// ledgerError is a failure of the ledger amid a listing.
type ledgerError struct{ error }

func (e *ledgerError) Unwrap() error { return e.error }

// noteGaps announces what was cut off these windows, as far as it had never been listed before. The ledger does not go past a gap
// until the notice has settled. Of what had been, and could not be again, there is a line.
func (s *stream) noteGaps(ctx context.Context, windows []window) {
	var missed, unseen []window
	for _, w := range windows {
		switch cut := (window{from: w.clipped, to: earlier(w.from, w.to)}); {
		case w.clipped.IsZero():
		case w.again:
			unseen = append(unseen, cut)
		default:
			missed = append(missed, cut)
		}
	}
	for _, w := range union(unseen) {
		s.log.Warn("a span could not be listed again while the API had it: what became available late in it may be missing", "from", w.from, "to", w.to)
	}
	for _, w := range union(missed) {
		gap := &normalize.Notice{
			Kind: noticeGap, ContentType: string(s.contentType), From: w.from, To: w.to,
			Reason: "the API no longer lists what became available then, and nobody has listed it before",
		}
		s.log.Error("gap: "+gap.Reason, "from", gap.From, "to", gap.To)
		s.mu.Lock()
		s.gaps[gap] = true
		s.mu.Unlock()
		settled := func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.gaps, gap)
		}
		if s.tenant.announce(ctx, gap, settled) != nil { // stopped: it is for the next start
			settled()
			s.todo = append(s.todo, window{from: w.from, to: w.to})
			continue
		}
		s.counts.gaps.Add(1)
		s.counts.gapTime.Add(int64(gap.To.Sub(gap.From)))
		s.counts.lastLoss.set(time.Now())
	}
}

// listWindow also returns how many blobs were new, some of which may have come before an error.
func (s *stream) listWindow(ctx context.Context, w window) (fresh int, err error) {
	list := func(blobs []o365.Blob) error {
		entries := make([]ledger.Entry, len(blobs))
		for i, b := range blobs {
			entries[i] = ledger.NewEntry(b.ID, b.URI, b.Created, b.Expires)
		}
		added, err := s.ledger.Add(entries)
		s.counts.listed.Add(int64(added))
		if err != nil {
			return &ledgerError{fmt.Errorf("noting listed blobs: %w", err)}
		}
		s.counts.listedAgain.Add(int64(len(blobs) - added))
		if fresh += added; added > 0 {
			s.alert()
		}
		return nil
	}
	err = s.tenant.call(ctx, s.listTurn, func(ctx context.Context) error {
		return s.tenant.client.ListContent(ctx, s.contentType, w.from, w.to, list)
	})
	return fresh, err
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
	s.listedUntil.set(listed)
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
		s.tenant.announceThrottling(ctx, s.contentType, err)
	case o365.Reconfigure:
		if first {
			_ = s.tenant.announce(ctx, &normalize.Notice{Kind: noticeAccessRefused, ContentType: string(s.contentType), Reason: err.Error()}, nil)
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
