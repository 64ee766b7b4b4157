package collector

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"in_office365/normalize"
	"in_office365/o365"
	"in_office365/o365/auth"
	"in_office365/plugin/diagnosis"
	"in_office365/plugin/handover"
)

// tenant collects the content types of one tenant. What a tenant meets, a refused credential, throttling, blobs that hang, is its own; the
// queue, the ledger, the connections and the turns of fetching and listing it has in common with the others.
type tenant struct {
	*crew
	c             *Collector
	id            string
	log           *slog.Logger
	client        *o365.Client
	tokens        *auth.Source
	calls         *prometheus.CounterVec // by operation and result
	renewed       atomic.Int64           // tokens
	subscriptions *subscriptions
	streams       []*stream
	fetching      *share
	listing       *share
	access        trouble // what keeps every content type from being collected
	permission    permission
	salt          handover.ID // keeps its records' Ids apart from other tenants'

	mu        sync.Mutex
	throttled time.Time // when throttling was announced last
}

func newTenant(c *Collector, id string) (*tenant, error) {
	t := &tenant{crew: &crew{c: c}, c: c, id: id, log: c.log, salt: c.queue.ID([]byte(id))}
	if c.several() {
		t.log = c.log.With("tenant", id)
	}
	var err error
	t.permission = permission{log: t.log, types: c.cfg.ContentTypes}
	t.calls = c.metrics.callsOf(id)
	if err = t.connect(); err != nil {
		return nil, err
	}
	types := len(c.cfg.ContentTypes)
	t.fetching, t.listing = &share{turns: c.fetching, types: types}, &share{turns: c.listing, types: types}
	t.access = trouble{log: t.log, doing: accessing, shared: &c.access, shares: ofAll}
	t.subscriptions = newSubscriptions(t)
	for _, contentType := range c.cfg.ContentTypes {
		s, err := newStream(t, contentType)
		if err != nil {
			return nil, err
		}
		t.streams = append(t.streams, s)
	}
	return t, nil
}

// connect makes the tenant's client. The credential and the connections are those of all tenants.
func (t *tenant) connect() (err error) {
	c := t.c
	t.tokens, err = auth.New(auth.Options{
		Tenant: t.id, ClientID: c.cfg.ClientID, Credential: c.cfg.Credential,
		LoginURL: c.cfg.Login, TokenPath: c.cfg.TokenPath, Audience: c.cfg.Audience,
		AllowInsecure: c.cfg.AllowInsecure, HTTPClient: c.http, OnToken: t.permission.check, OnCall: t.called,
	})
	if err != nil {
		return err
	}
	if c.client != nil {
		t.client, err = c.client.ForTenant(t.id, c.cfg.PublisherIdentifier, t.tokens, t.called)
		return err
	}
	t.client, err = o365.New(o365.Options{
		Tenant: t.id, Publisher: c.cfg.PublisherIdentifier, APIURL: c.cfg.API, AllowInsecure: c.cfg.AllowInsecure,
		HTTPClient: c.http, Tokens: t.tokens, RequestsPerMinute: c.cfg.RateLimit, BodyIdleTimeout: c.cfg.HTTPTimeout,
		UserAgent: "in_office365/" + c.version, OnCall: t.called,
	})
	c.client = t.client
	return err
}

// called takes note of a call to the API or for a token.
func (t *tenant) called(call o365.Call) {
	if call.Op == o365.OpToken && call.Err == nil {
		t.renewed.Add(1)
	}
	t.c.metrics.called(t.calls, call)
}

// start begins to collect, or goes on after stop. The first listings come a while later, so that those of many tenants do not come at once.
func (t *tenant) start(ctx context.Context, after time.Duration) {
	t.crew = newCrew(ctx, t.c)
	t.access.reset()
	t.subscriptions.listing.reset()
	t.fetching.join()
	t.listing.join()
	for _, s := range t.streams {
		s.reset()
		s.began.set(time.Now())
		t.run("listing "+string(s.contentType), func(ctx context.Context) {
			if sleep(ctx, after) {
				s.list(ctx)
			}
		})
		t.run("fetching "+string(s.contentType), s.dispatch)
	}
}

// stop ends what start began. What the queue has goes its way, and settles.
func (t *tenant) stop() {
	t.cancel()
	t.group.Wait()
	t.fetching.leave()
	t.listing.leave()
	for _, s := range t.streams {
		s.reset()
	}
	t.subscriptions.listing.reset()
	t.access.reset()
}

// turn waits until the tenant's budget allows a call, and then until it is the place's turn. It holds no turn while it waits for the budget,
// which may take minutes when the API has asked for fewer calls. The context is for that call. What call makes beyond it, such as a listing's
// further pages, waits in the same way; a fetch whose token was refused keeps its turn while its second try waits.
func (t *tenant) turn(ctx context.Context, p *place) (context.Context, error) {
	for {
		call, err := t.client.Admit(ctx)
		if err != nil {
			return nil, err
		}
		if err := p.take(ctx); err != nil {
			return nil, err
		}
		if !t.client.Held() {
			return call, nil
		}
		p.giveBack()
	}
}

// call makes a call of the API other than fetching, in turn.
func (t *tenant) call(ctx context.Context, p *place, call func(context.Context) error) error {
	ctx, err := t.turn(ctx, p)
	if err != nil {
		return err
	}
	held := true
	defer func() {
		if held {
			p.giveBack()
		}
	}()
	err = call(o365.WithAdmission(ctx, func(ctx context.Context) error {
		p.giveBack()
		_, err := t.turn(ctx, p)
		held = err == nil
		return err
	}))
	if ctx.Err() == nil {
		p.fared(err == nil)
	}
	return err
}

// announce puts a notice of this tenant on its way to the host.
func (t *tenant) announce(ctx context.Context, n *normalize.Notice, then func()) error {
	n.Tenant, n.Time = t.id, t.client.Now()
	return t.c.announce(ctx, n, then)
}

func (t *tenant) announceThrottling(ctx context.Context, contentType o365.ContentType, err error) {
	now := time.Now()
	t.mu.Lock()
	announce := t.throttled.IsZero() || now.Sub(t.throttled) >= throttleNoticeInterval
	if announce {
		t.throttled = now
	}
	t.mu.Unlock()
	if announce {
		_ = t.announce(ctx, &normalize.Notice{Kind: noticeThrottled, ContentType: string(contentType), Reason: err.Error()}, nil)
	}
}

// warnOfClock says so if the local clock is wrong. Collecting goes by the API's, but other things will not.
func (t *tenant) warnOfClock() {
	if cause, _, wrong := diagnosis.OfClock(time.Since(t.client.Now())); wrong {
		t.c.log.Warn(cause.What+"; "+cause.Do, "cause", string(cause.Kind))
	}
}
