// Package collector is the way of a record from the API to Fluent Bit:
//
//	listing -> ledger (pending) -> blob, streamed -> normalize -> handover -> settled -> ledger (done)
//
// For each content type of each tenant one goroutine lists and one sends fetchers out, in turn with the others; a keeper writes down
// what has settled. Back-pressure runs the other way: while the host takes nothing the queue is full, the fetchers wait, and nothing
// is dropped.
package collector

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"in_office365/normalize"
	"in_office365/o365"
	"in_office365/plugin/config"
	"in_office365/plugin/handover"
	"in_office365/plugin/ledger"
)

const (
	// keepInterval is how often changes of the ledger are written at least.
	keepInterval = time.Second
	// stopTimeout bounds Stop: the host waits for it without a limit of its own.
	stopTimeout = time.Second
	// listingTurns is how many calls of listing, of all tenants, run at once at least.
	listingTurns = 16
)

// Options are what the collector is given besides the configuration.
type Options struct {
	Log    *slog.Logger
	Memory handover.Memory
	Room   handover.Room // nil: Fluent Bit's chunks are not on a volume, or it is not known where
	// NoReceipts says why Fluent Bit's count of records tells nothing of what it was handed; empty: it may.
	NoReceipts string
	// RingEntries is how many batches fit into the input's ring buffer; 0: as many as by default.
	RingEntries int
	Wake        func() // has the host call HandOver soon; nil: it calls when it does
	Version     string
	Transport   http.RoundTripper // nil: the network
}

// Collector collects the audit records of one tenant, or of several that share an application.
type Collector struct {
	*crew
	cfg     *config.Config
	log     *slog.Logger
	version string
	http    *http.Client
	client  *o365.Client // of the first tenant, which the others' share what they can with
	ledger  *ledger.Ledger
	queue   *handover.Queue
	stats   stats
	given   notices
	metrics *metrics
	figures atomic.Pointer[Figures]
	// surveyed is what the last survey has found of the ledger.
	surveyed struct{ size, unwritten atomic.Int64 }
	started  moment

	fetching *turns
	fetchers chan *fetcher // one for each turn of fetching
	listing  *turns

	tenantsChange sync.Mutex         // held while what follows changes, and by who looks from elsewhere
	tenants       map[string]*tenant // all that have been started, by id
	active        []string           // those of them that are collected

	notices struct {
		sync.Mutex // the encoder is for one goroutine at a time
		encoder    *normalize.Encoder
	}
	writingLedger  trouble
	readingLedger  trouble // shared by all that reads it
	surveying      trouble
	readingTenants trouble
	addingTenants  trouble
	handingOver    trouble
	toldOfHandOver handOverTold
	access         trouble // what keeps every tenant from being collected
	panics         trouble // never over
	compareClocks  sync.Once
	startTooEarly  sync.Once
}

// New opens the ledger and prepares everything else. It starts nothing and calls nobody.
func New(cfg *config.Config, opts Options) (*Collector, error) {
	c := &Collector{
		cfg: cfg, log: opts.Log, version: opts.Version, tenants: map[string]*tenant{},
		fetching: newTurns(cfg.Workers), fetchers: make(chan *fetcher, cfg.Workers), listing: newTurns(max(2*cfg.Workers, listingTurns)),
	}
	c.metrics = newMetrics(cfg.MetricsPerTenant)
	c.connect(opts)
	var err error
	if c.notices.encoder, err = normalize.NewEncoder(cfg.Record); err != nil {
		return nil, err
	}
	for range cfg.Workers {
		f, err := newFetcher(cfg)
		if err != nil {
			return nil, err
		}
		c.fetchers <- f
	}
	if c.ledger, err = ledger.Open(cfg.DB); err != nil {
		return nil, err
	}
	c.ledger.OnWrite = c.wrote
	c.queue = handover.New(handover.Options{
		Memory: opts.Memory, BatchSize: cfg.BatchSize, BufferSize: cfg.BufferSize, Rate: cfg.HandOverRate, Settle: cfg.Settle,
		Dedup: cfg.DedupWindow, Room: opts.Room, NoReceipts: opts.NoReceipts, RingEntries: opts.RingEntries, Wake: opts.Wake,
	})
	c.writingLedger = trouble{log: c.log, doing: "writing the db"}
	c.readingLedger = trouble{log: c.log, doing: "reading the db", ofEach: true}
	c.surveying = c.readsLedger()
	c.readingTenants = trouble{log: c.log, doing: "reading tenants_file"}
	c.addingTenants = trouble{log: c.log, doing: "adding tenants"}
	c.handingOver = trouble{log: c.log, doing: "handing over"}
	c.access = trouble{log: c.log, doing: accessing, ofEach: true}
	for _, id := range cfg.Tenants {
		if c.tenants[id], err = newTenant(c, id); err != nil {
			return nil, errors.Join(err, c.ledger.Close())
		}
	}
	c.crew = newCrew(context.Background(), c)
	return c, nil
}

// readsLedger is the trouble of one that reads the ledger: what it fails at is not over when others can read what they need.
func (c *Collector) readsLedger() trouble {
	return trouble{log: c.log, doing: "reading the db", shared: &c.readingLedger, shares: always}
}

// connect prepares what all tenants have in common.
func (c *Collector) connect(opts Options) {
	calls := c.cfg.Workers
	if c.several() {
		calls += c.listing.most // as that many are listing all the time
	}
	c.http = o365.NewHTTPClient(o365.TransportOptions{
		ProxyURL: c.cfg.HTTPProxy, RootCAs: c.cfg.RootCAs, Timeout: c.cfg.HTTPTimeout, Workers: calls,
	})
	if opts.Transport != nil {
		c.http.Transport = opts.Transport
	}
}

// Start begins to collect.
func (c *Collector) Start() {
	c.started.set(time.Now())
	if path := c.ledger.SetAside(); path != "" {
		c.log.Warn("the db is damaged and has been set aside; what the API still has is collected again", "db", c.cfg.DB, "set_aside", path)
		c.run("announcing", func(ctx context.Context) {
			c.announceOfAll(ctx, &normalize.Notice{Kind: noticeLedgerReset, Reason: "the db was damaged: records of the last days are repeated"})
		})
	}
	c.run("keeping the ledger", c.keep)
	c.run("watching the credential", c.watchCredential)
	c.run("counting what is handed over", c.count)
	if c.queue.Wake != nil {
		c.run("waking Fluent Bit", c.queue.Drive)
	}
	if err := c.begin(c.ctx, c.cfg.Tenants); err != nil {
		c.addingTenants.report(err, "")
	}
	if c.cfg.TenantsFile != "" {
		c.run("watching tenants_file", c.watch)
	}
	c.run("taking stock", c.survey)
}

// wrote takes note of a write of the ledger.
func (c *Collector) wrote(took time.Duration, err error) {
	c.metrics.ledgerWrite.Observe(took.Seconds())
	if err != nil {
		c.stats.ledgerFailures.Add(1)
	}
}

// Called says how long a callback of the host took, in which it asked for a batch.
func (c *Collector) Called(took time.Duration) { c.metrics.callback.Observe(took.Seconds()) }

// HandOver has the host take what is ready, on the input's thread. woken says that it was called as Options.Wake has asked for it.
func (c *Collector) HandOver(h handover.Host, woken bool) { c.queue.HandOver(h, woken) }

// Take returns the next batch for a host that takes it from a callback only, or nil. It never waits for anything.
func (c *Collector) Take() []byte { return c.queue.Take() }

// Release says that the host has copied the batch that begins at data.
func (c *Collector) Release(data unsafe.Pointer) { c.queue.Release(data) }

// Pause says that the host wants nothing until Resume.
func (c *Collector) Pause() { c.queue.Pause() }

// Resume ends a Pause.
func (c *Collector) Resume() { c.queue.Resume() }

// Stop ends collecting within a second. What has been handed over but not settled stays pending in the ledger.
func (c *Collector) Stop() {
	c.cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.contained(c.ctx, "stopping", func(context.Context) { c.end() })
	}()
	select {
	case <-ended:
		c.log.Info("stopped", c.summary()...)
	case <-time.After(stopTimeout):
		c.log.Error("stopping takes longer than it should: the disk of the db may be slow", "db", c.cfg.DB)
	}
}

func (c *Collector) end() {
	c.group.Wait()
	for _, t := range c.tenants {
		t.group.Wait()
	}
	c.queue.Count()
	c.queue.Report()
	if err := c.ledger.Flush(); err != nil {
		c.log.Error("writing the db before the end: " + err.Error())
	}
	if err := c.ledger.Close(); err != nil {
		c.log.Error("closing the db: " + err.Error())
	}
	c.queue.Free()
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
		c.queue.Report()
		c.tellOfHandOver()
		if err := c.ledger.Flush(); err != nil {
			if c.writingLedger.report(err, "free disk space or mend the permissions; meanwhile collecting goes on, and a restart would repeat records") {
				c.run("announcing", func(ctx context.Context) {
					c.announceOfAll(ctx, &normalize.Notice{Kind: noticeLedgerUnwritable, Reason: err.Error()})
				})
			}
			continue
		}
		c.writingLedger.over()
	}
}
