package collector

import (
	"context"
	"fmt"
	"sync"
	"time"

	"in_office365/normalize"
	"in_office365/o365"
)

const (
	// subscriptionsInterval is how often the list of subscriptions is asked for when nothing hints at a change, and
	// subscriptionsRetry how often at most: all types wait for the answer.
	subscriptionsInterval = 10 * time.Minute
	subscriptionsRetry    = time.Minute
	// subscriptionsOld is how old what the list said may be to be told: two of them may fail.
	subscriptionsOld = 3 * subscriptionsInterval
	// restartInterval keeps the collector from switching on again and again what somebody switches off.
	restartInterval = 24 * time.Hour
)

// How a TypeStatus has it.
const (
	subscriptionEnabled  = "enabled"
	subscriptionDisabled = "disabled"
)

// subscriptions keeps every configured content type subscribed. It never stops one: what happens in between would be lost.
type subscriptions struct {
	tenant  *tenant
	listing trouble
	asking  chan struct{} // held by the one type that asks for the list, while the others wait for its answer

	mu    sync.Mutex // guards what follows
	asked time.Time  // when the list was asked for last
	had   time.Time  // when it was had last
	state map[o365.ContentType]*subscription
}

// subscription is what is known of one content type; only its stream's listing goroutine starts it.
type subscription struct {
	known    bool // from a list, or a start
	enabled  bool
	was      bool      // it has been enabled during this run
	disabled bool      // it was, is not any more, and that has been announced
	started  time.Time // when the last start succeeded
	failures int       // starts that failed, in a row
	again    time.Time // no start before that
}

func newSubscriptions(t *tenant) *subscriptions {
	s := &subscriptions{
		tenant: t, listing: trouble{log: t.log, doing: "listing subscriptions", shared: &t.access, shares: t.concernsAllTypes},
		asking: make(chan struct{}, 1), state: map[o365.ContentType]*subscription{},
	}
	for _, contentType := range t.c.cfg.ContentTypes {
		s.state[contentType] = &subscription{}
	}
	return s
}

// ensure starts the subscription if it is missing or disabled. If a listing was refused for want of it, it is started
// whatever the list says. That the list can't be had is no error, as listing content tells whether there is a subscription.
func (s *subscriptions) ensure(ctx context.Context, of *stream) error {
	t := of.contentType
	if !s.look(ctx, of) {
		return nil
	}
	err := s.tenant.call(ctx, of.listTurn, func(ctx context.Context) error { return s.tenant.client.StartSubscription(ctx, t) })
	if ctx.Err() != nil {
		return err
	}
	wasEnabled, firstTime := s.noteStart(t, err)
	outcome := "and has been started again"
	if err != nil {
		outcome = "and could not be started again: " + err.Error()
	}
	switch {
	case wasEnabled && firstTime:
		s.tenant.log.Warn("the subscription was disabled while it was collected, "+outcome, "content_type", string(t))
		_ = s.tenant.announce(ctx, &normalize.Notice{
			Kind: noticeSubscriptionDisabled, ContentType: string(t), Reason: "the subscription was disabled while it was collected, " + outcome,
		}, nil)
	case err == nil && !wasEnabled:
		s.tenant.log.Info("subscription started; first content may take hours", "content_type", string(t))
		_ = s.tenant.announce(ctx, &normalize.Notice{
			Kind: noticeSubscriptionStarted, ContentType: string(t), Reason: "the content type was not subscribed before",
		}, nil)
	}
	if err != nil {
		return fmt.Errorf("starting the subscription: %w", err)
	}
	return nil
}

// noteStart takes note of how a start went, and says whether the type had been enabled during this run, and whether that has
// not been announced yet.
func (s *subscriptions) noteStart(t o365.ContentType, err error) (wasEnabled, firstTime bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	state := s.state[t]
	wasEnabled, firstTime = state.was, !state.disabled
	state.disabled = wasEnabled
	if err != nil {
		state.known, state.enabled = true, false // or there were no need of a start
		state.failures++
		state.again = now.Add(max(retryAfter(err), min(backoff(time.Minute, state.failures), o365.StartCoolDown)))
		return wasEnabled, firstTime
	}
	state.known, state.enabled, state.was, state.started, state.failures = true, true, true, now, 0
	state.again = now.Add(o365.StartCoolDown)
	if wasEnabled {
		state.again = now.Add(restartInterval)
	}
	return wasEnabled, firstTime
}

// look brings the list up to date where that is due, and says whether the type must be started now.
func (s *subscriptions) look(ctx context.Context, of *stream) (start bool) {
	t, refused := of.contentType, of.refused
	select {
	case <-ctx.Done():
		return false
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	}
	if s.due(t, refused) {
		var all []o365.Subscription
		err := s.tenant.call(ctx, of.listTurn, func(ctx context.Context) (err error) {
			all, err = s.tenant.client.Subscriptions(ctx)
			return err
		})
		if err == nil {
			s.listing.over()
			s.note(all)
		} else if ctx.Err() == nil {
			s.listing.report(err, "")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	state, now := s.state[t], time.Now()
	missing := state.known && !state.enabled || refused && !state.justStarted(now)
	return missing && !now.Before(state.again) && ctx.Err() == nil
}

// due says whether to ask for the list, and takes it for asked.
func (s *subscriptions) due(t o365.ContentType, refused bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	stale := s.had.IsZero() || now.Sub(s.had) >= subscriptionsInterval || refused && !s.state[t].justStarted(now)
	if !stale || !s.asked.IsZero() && now.Sub(s.asked) < subscriptionsRetry {
		return false
	}
	s.asked = now
	return true
}

func (s *subscriptions) note(all []o365.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.had = time.Now()
	for _, state := range s.state {
		state.known, state.enabled = true, false
	}
	for _, sub := range all {
		if state := s.state[sub.ContentType]; state != nil && sub.Enabled() {
			state.enabled, state.was, state.disabled = true, true, false
		}
	}
}

// stateOf is the subscription of a content type in a word, "" as long as it is not known.
func (s *subscriptions) stateOf(t o365.ContentType) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state := s.state[t]; {
	case !state.known || state.enabled && time.Since(later(s.had, state.started)) > subscriptionsOld:
		return ""
	case state.enabled:
		return subscriptionEnabled
	default:
		return subscriptionDisabled
	}
}

// justStarted says that a listing may still be refused although the subscription has been started.
func (s *subscriptions) justStarted(t o365.ContentType) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state[t].justStarted(time.Now())
}

func (s *subscription) justStarted(now time.Time) bool {
	return !s.started.IsZero() && now.Sub(s.started) < o365.StartCoolDown
}
