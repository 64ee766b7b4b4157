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
	// subscriptionsInterval is how often the list of subscriptions is asked for when nothing hints at a change.
	subscriptionsInterval = 10 * time.Minute
	// startCoolDown is how long the API refuses to start a subscription again, and how long a listing may still be refused after a start.
	startCoolDown = 15 * time.Minute
	// restartInterval keeps the collector from switching on again and again what somebody switches off.
	restartInterval = 24 * time.Hour
)

// subscriptions keeps every configured content type subscribed. It never stops one: what happens in between would be lost.
type subscriptions struct {
	c       *Collector
	listing trouble
	asking  chan struct{} // held by the one type that asks for the list, while the others wait for its answer

	mu      sync.Mutex // guards what follows
	checked time.Time  // when the list was had last
	state   map[o365.ContentType]*subscription
}

// subscription is what is known of one content type; only its stream's listing goroutine starts it.
type subscription struct {
	known   bool // from a list, or a start
	enabled bool
	was     bool      // it has been enabled during this run
	started time.Time // when the last start succeeded
	again   time.Time // no start before that; listing goes on meanwhile
}

func newSubscriptions(c *Collector) *subscriptions {
	s := &subscriptions{
		c: c, listing: trouble{log: c.log, doing: "listing subscriptions"},
		asking: make(chan struct{}, 1), state: map[o365.ContentType]*subscription{},
	}
	for _, t := range c.cfg.ContentTypes {
		s.state[t] = &subscription{}
	}
	return s
}

// ensure starts the subscription if it is missing or disabled. A listing that was refused says that something has changed. That the list
// can't be had is no error: listing content tells whether there is a subscription.
func (s *subscriptions) ensure(ctx context.Context, t o365.ContentType, refused bool) error {
	state, start := s.look(ctx, t, refused)
	if !start {
		return nil
	}
	err := s.c.client.StartSubscription(ctx, t)
	now := time.Now()
	s.mu.Lock()
	if err != nil {
		state.again = now.Add(max(retryAfter(err), time.Minute))
	} else {
		state.known, state.enabled, state.started = true, true, now
		state.again = now.Add(startCoolDown)
		if state.was {
			state.again = now.Add(restartInterval)
		}
	}
	disabled := state.was
	state.was = state.was || err == nil
	s.mu.Unlock()

	log := s.c.log.With("content_type", string(t))
	switch {
	case err != nil && disabled:
		s.announceDisabled(ctx, t, "and could not be started again: "+err.Error())
		return fmt.Errorf("starting the subscription again: %w", err)
	case err != nil:
		return fmt.Errorf("starting the subscription: %w", err)
	case disabled:
		log.Warn("the subscription was disabled and has been started again; what happened in between is not available")
		s.announceDisabled(ctx, t, "and has been started again")
	default:
		log.Info("subscription started; first content may take hours")
		s.c.announce(ctx, &normalize.Notice{Kind: noticeSubscriptionStarted, ContentType: string(t), Reason: "the content type was not subscribed before"}, nil)
	}
	return nil
}

func (s *subscriptions) announceDisabled(ctx context.Context, t o365.ContentType, what string) {
	s.c.announce(ctx, &normalize.Notice{
		Kind: noticeSubscriptionDisabled, ContentType: string(t), Reason: "the subscription was disabled while it was collected, " + what,
	}, nil)
}

// look brings the list up to date where that is due, and says whether the type must be started.
func (s *subscriptions) look(ctx context.Context, t o365.ContentType, refused bool) (state *subscription, start bool) {
	select {
	case <-ctx.Done():
		return nil, false
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	}
	if s.due(t, refused) {
		all, err := s.c.client.Subscriptions(ctx)
		if err == nil {
			s.listing.over()
			s.note(all)
		} else if ctx.Err() == nil {
			s.listing.report(err, "")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	state = s.state[t]
	return state, state.known && !state.enabled && !time.Now().Before(state.again)
}

func (s *subscriptions) due(t o365.ContentType, refused bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	stale := s.checked.IsZero() || now.Sub(s.checked) >= subscriptionsInterval
	return stale || refused && !s.state[t].justStarted(now)
}

func (s *subscriptions) note(all []o365.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checked = time.Now()
	for _, state := range s.state {
		state.known, state.enabled = true, false
	}
	for _, sub := range all {
		if state := s.state[sub.ContentType]; state != nil && sub.Enabled() {
			state.enabled, state.was = true, true
		}
	}
}

// justStarted says that a listing may still be refused although the subscription has been started.
func (s *subscriptions) justStarted(t o365.ContentType) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state[t].justStarted(time.Now())
}

func (s *subscription) justStarted(now time.Time) bool {
	return !s.started.IsZero() && now.Sub(s.started) < startCoolDown
}
