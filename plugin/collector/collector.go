// Package collector is the way of a record from the API to Fluent Bit:
//
//	listing -> ledger (pending) -> blob, streamed -> normalize -> queue of batches -> the host takes one -> settled -> ledger (done)
//
// For each content type one goroutine lists and one sends fetchers out; a keeper writes down what has settled. Back-pressure runs the
// other way: while the host takes nothing the queue is full, the fetchers wait, and nothing is dropped.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
	"unsafe"

	"in_office365/normalize"
	"in_office365/o365"
	"in_office365/o365/auth"
	"in_office365/plugin/config"
	"in_office365/plugin/ledger"
)

const (
	// keepInterval is how often changes of the ledger are written at least.
	keepInterval = time.Second
	// stopTimeout bounds Stop: the host waits for it without a limit of its own.
	stopTimeout = time.Second
	// restartDelay is how long a goroutine that panicked rests.
	restartDelay = 5 * time.Second
)

// Options are what the collector is given besides the configuration.
type Options struct {
	Log       *slog.Logger
	Memory    Memory
	Version   string
	Transport http.RoundTripper // nil: the network
}

// Collector collects the audit records of one tenant.
type Collector struct {
	cfg    *config.Config
	log    *slog.Logger
	client *o365.Client
	http   *http.Client
	ledger *ledger.Ledger
	queue  *queue
	stats  stats

	subscriptions *subscriptions
	streams       []*stream
	shared        chan *fetcher // fetchers that any content type may send out

	notices struct {
		sync.Mutex // the encoder is for one goroutine at a time
		encoder    *normalize.Encoder
		throttled  time.Time // when throttling was announced last
	}
	ledgerTrouble trouble
	permission    permission

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

// New opens the ledger and prepares everything else. It starts nothing and calls nobody.
func New(cfg *config.Config, opts Options) (*Collector, error) {
	c := &Collector{cfg: cfg, log: opts.Log, permission: permission{log: opts.Log}}
	if err := c.connect(opts); err != nil {
		return nil, err
	}
	var err error
	if c.notices.encoder, err = normalize.NewEncoder(cfg.Record); err != nil {
		return nil, err
	}
	fetchers := make([]*fetcher, cfg.Workers)
	for i := range fetchers {
		if fetchers[i], err = newFetcher(cfg); err != nil {
			return nil, err
		}
	}
	if c.ledger, err = ledger.Open(cfg.DB); err != nil {
		return nil, err
	}
	c.queue = newQueue(opts.Memory, cfg.BatchSize, cfg.BufferSize, cfg.Settle, newRepeats(cfg.DedupWindow, maxRepeats))
	c.subscriptions = newSubscriptions(c)
	c.ledgerTrouble = trouble{log: c.log, doing: "writing or reading the db"}
	for _, t := range cfg.ContentTypes {
		c.streams = append(c.streams, newStream(c, t))
	}
	c.divide(fetchers)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

func (c *Collector) connect(opts Options) error {
	c.http = o365.NewHTTPClient(o365.TransportOptions{
		ProxyURL: c.cfg.HTTPProxy, RootCAs: c.cfg.RootCAs, Timeout: c.cfg.HTTPTimeout, Workers: c.cfg.Workers,
	})
	if opts.Transport != nil {
		c.http.Transport = opts.Transport
	}
	tokens, err := auth.New(auth.Options{
		Tenant: c.cfg.TenantID, ClientID: c.cfg.ClientID, Credential: c.cfg.Credential,
		LoginURL: c.cfg.Login, TokenPath: c.cfg.TokenPath, Audience: c.cfg.Audience,
		AllowInsecure: c.cfg.AllowInsecure, HTTPClient: c.http, OnToken: c.permission.check,
	})
	if err != nil {
		return err
	}
	c.client, err = o365.New(o365.Options{
		Tenant: c.cfg.TenantID, Publisher: c.cfg.PublisherIdentifier, APIURL: c.cfg.API, AllowInsecure: c.cfg.AllowInsecure,
		HTTPClient: c.http, Tokens: tokens, RequestsPerMinute: c.cfg.RateLimit, BodyIdleTimeout: c.cfg.HTTPTimeout,
		UserAgent: "in_office365/" + opts.Version,
	})
	return err
}

// divide hands the fetchers out: one is kept for each content type, so that a type whose blobs hang leaves the others theirs; the rest
// is for whoever needs them. With fewer fetchers than types all are shared.
func (c *Collector) divide(fetchers []*fetcher) {
	c.shared = make(chan *fetcher, len(fetchers))
	for _, s := range c.streams {
		if len(fetchers) >= len(c.streams) {
			s.own <- fetchers[0]
			fetchers = fetchers[1:]
		}
	}
	for _, f := range fetchers {
		c.shared <- f
	}
}

// Start begins to collect.
func (c *Collector) Start() {
	if path := c.ledger.SetAside(); path != "" {
		c.log.Error("the db is damaged and has been set aside; what the API still has is collected again", "db", c.cfg.DB, "set_aside", path)
		c.run("announcing", func(ctx context.Context) {
			c.announce(ctx, &normalize.Notice{Kind: noticeLedgerReset, Reason: "the db was damaged: records of the last days are repeated"}, nil)
		})
	}
	c.run("keeping the ledger", c.keep)
	c.run("watching the credential", c.watchCredential)
	for _, s := range c.streams {
		c.run("listing "+string(s.contentType), s.list)
		c.run("fetching "+string(s.contentType), s.dispatch)
	}
}

// Take returns the next batch for the host, or nil. It never waits for anything.
func (c *Collector) Take() []byte { return c.queue.take() }

// Release says that the host has copied the batch that begins at data.
func (c *Collector) Release(data unsafe.Pointer) { c.queue.release(data) }

// Pause says that the host wants nothing until Resume.
func (c *Collector) Pause() { c.queue.pause() }

// Resume ends a Pause.
func (c *Collector) Resume() { c.queue.resume() }

// Stop ends collecting within a second. What has been handed over but not settled stays pending in the ledger.
func (c *Collector) Stop() {
	c.cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.contained("stopping", func(context.Context) { c.end() })
	}()
	select {
	case <-ended:
		c.log.Info("stopped", c.stats.summary()...)
	case <-time.After(stopTimeout):
		c.log.Error("stopping takes longer than it should: the disk of the db may be slow", "db", c.cfg.DB)
	}
}

func (c *Collector) end() {
	c.group.Wait()
	c.record(c.queue.takeSettled())
	if err := c.ledger.Flush(); err != nil {
		c.log.Error(err.Error())
	}
	if err := c.ledger.Close(); err != nil {
		c.log.Error("closing the db: " + err.Error())
	}
	c.queue.free()
	c.http.CloseIdleConnections()
}

// keep writes what has settled into the ledger, and the ledger to the disk.
func (c *Collector) keep(ctx context.Context) {
	tick := time.NewTicker(keepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.record(c.queue.takeSettled())
		if err := c.ledger.Flush(); err != nil {
			if c.ledgerTrouble.report(err, "free disk space or mend the permissions; meanwhile collecting goes on, and a restart would repeat records") {
				c.run("announcing", func(ctx context.Context) {
					c.announce(ctx, &normalize.Notice{Kind: noticeLedgerUnwritable, Reason: err.Error()}, nil)
				})
			}
			continue
		}
		c.ledgerTrouble.over()
	}
}

func (c *Collector) record(settled []mark) {
	for _, m := range settled {
		switch {
		case m.then != nil:
			m.then()
		default:
			m.flight.stream.settle(m)
		}
	}
}

// run owns a goroutine until Stop. If it panics, that is reported and it begins again.
func (c *Collector) run(doing string, work func(context.Context)) {
	c.group.Go(func() {
		for c.contained(doing, work) != nil {
			if !sleep(c.ctx, restartDelay) {
				return
			}
		}
	})
}

// errPanic is how a contained panic is told from other errors.
var errPanic = errors.New("internal error")

// contained turns a panic into an error, and logs it with its stack.
func (c *Collector) contained(doing string, work func(context.Context)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
			c.stats.Panics.Add(1)
			c.log.Error("panic while "+doing+", please report it: "+fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	work(c.ctx)
	return nil
}

// sleep returns false if ctx ends before the time is over.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
