package collector

import (
	"maps"
	"slices"
	"time"

	"in_office365/o365"
	"in_office365/plugin/handover"
)

// Status is what a collector tells of itself at one moment. Nothing in it is secret. Counts are of since the collector was made.
type Status struct {
	At      time.Time // when it was taken, by the local clock
	Version string
	Started time.Time // zero: not yet
	Several bool      // tenants have to be told apart

	PollInterval      time.Duration
	CredentialExpires time.Time // zero: not known
	Panics            int64

	Host     handover.HostStatus
	Queue    handover.Status
	Ledger   LedgerStatus
	Troubles []TroubleStatus // with what all tenants need
	// TenantsFile are troubles with tenants_file, and with tenants that it names: there may be tenants that nothing here tells of.
	TenantsFile []TroubleStatus
	Notices     []NoticeStatus // the last of them, the newest first
	Tenants     []TenantStatus // that are collected, in the order of the configuration
}

// LedgerStatus is how the db fares.
type LedgerStatus struct {
	Size       int64           // bytes of the file
	Unwritten  int             // changes in memory
	Failures   int64           // writes that failed
	Unreadable int64           // entries that turned out to be damaged, and whose blobs are collected again
	Troubles   []TroubleStatus // with writing or reading it
}

// TroubleStatus is something that fails at present.
type TroubleStatus struct {
	Doing string // what: "listing content"
	Cause string // kind of package diagnosis: "secret_expired"; "other"
	Text  string // the last error in words, and what to do; one line
	Since time.Time
	Last  time.Time
	Count int
	Works bool // it has succeeded since Last, though not for long
}

// NoticeStatus is a notice that was given.
type NoticeStatus struct {
	At          time.Time
	Kind        string
	Tenant      string // empty: of all
	ContentType string // empty: of all
	Reason      string
}

// TenantStatus is how one tenant fares.
type TenantStatus struct {
	ID            string
	TokenExpires  time.Time // zero: there is no token
	TokensRenewed int64
	Budget        o365.BudgetStatus
	Troubles      []TroubleStatus // those that are not one content type's
	Types         []TypeStatus
}

// TypeStatus is how one content type of a tenant fares. Times but those of losses and listings are the API's.
type TypeStatus struct {
	ContentType  o365.ContentType
	At           time.Time // when it was taken
	Began        time.Time // when it began to be collected, by the local clock; zero: it has not
	Subscription string    // "enabled", "disabled", or "" as long as it is not known

	Listed      time.Time // when a listing succeeded last, by the local clock; zero: none has
	ListedUntil time.Time // what became available before that has been listed; zero: nothing has
	// CompleteUntil is up to when all that became available is through, or lost and announced; zero: not known yet.
	CompleteUntil time.Time
	Behind        time.Duration // CompleteUntil lies back; as long as that is not known, how long this has been collected

	Blobs   BlobCounts
	Records RecordCounts

	Pending          int64         // blobs, by the ledger, as of some seconds ago
	OldestPending    time.Time     // when the oldest of them became available; zero: none is pending
	OldestPendingAge time.Duration // since then; 0: none is pending
	NewestContent    time.Time     // when the newest blob that has settled became available; zero: none has
	NewestRecord     time.Time     // CreationTime of the newest record that was handed over; zero: none was

	Gaps     int64
	GapTime  time.Duration
	LastLoss time.Time // when a blob or a span was lost last, by the local clock; zero: nothing was
	Troubles []TroubleStatus
	History  History
}

// BlobCounts count content blobs.
type BlobCounts struct {
	CarriedOver   int64 // that an earlier run left pending
	Listed        int64 // that were new in a listing
	ListedAgain   int64 // that a listing named and that were known
	Fetched       int64
	FetchFailures int64
	ListFailures  int64
	Settled       int64
	LostExpired   int64 // that expired before they could be fetched
	LostGone      int64 // that the API no longer had
}

// Lost is how many blobs were given up.
func (b BlobCounts) Lost() int64 { return b.LostExpired + b.LostGone }

// Incomplete is how many blobs that were to be had have neither settled nor been lost. It must come to 0.
func (b BlobCounts) Incomplete() int64 {
	return b.CarriedOver + b.Listed - b.Settled - b.Lost()
}

func (b *BlobCounts) add(o BlobCounts) {
	b.CarriedOver += o.CarriedOver
	b.Listed += o.Listed
	b.ListedAgain += o.ListedAgain
	b.Fetched += o.Fetched
	b.FetchFailures += o.FetchFailures
	b.ListFailures += o.ListFailures
	b.Settled += o.Settled
	b.LostExpired += o.LostExpired
	b.LostGone += o.LostGone
}

// RecordCounts count audit records.
type RecordCounts struct {
	Read            int64 // records, those that were unreadable or repeated among them
	ReadBytes       int64 // JSON, inflated
	Unreadable      int64 // delivered as their bytes
	Repeated        int64 // dropped, as their Id had been put before
	HandedOver      int64 // copied by Fluent Bit
	HandedOverBytes int64 // msgpack
}

func (r *RecordCounts) add(o RecordCounts) {
	r.Read += o.Read
	r.ReadBytes += o.ReadBytes
	r.Unreadable += o.Unreadable
	r.Repeated += o.Repeated
	r.HandedOver += o.HandedOver
	r.HandedOverBytes += o.HandedOverBytes
}

// historyMinutes is how far back a History reaches.
const historyMinutes = 60

// History is what came in each of the last minutes, the current one last.
type History [historyMinutes]Minute

// Minute is what came in one.
type Minute struct {
	Blobs   uint32 // settled
	Records uint32 // handed over
}

// Status tells how the collector fares. It waits for nobody, and may be called at any time.
func (c *Collector) Status() Status {
	s := Status{
		At: time.Now(), Version: c.version, Started: c.started.time(), Several: c.several(),
		PollInterval: c.cfg.PollInterval, CredentialExpires: c.cfg.Credential.Expires(), Panics: c.stats.panics.Load(),
		Troubles: statusOf(&c.access), TenantsFile: statusOf(&c.readingTenants, &c.addingTenants), Notices: c.given.last(),
	}
	s.Host, s.Queue = c.queue.Status()
	s.Ledger = LedgerStatus{
		Size: c.surveyed.size.Load(), Unwritten: int(c.surveyed.unwritten.Load()),
		Failures: c.stats.ledgerFailures.Load(), Unreadable: c.ledger.Unreadable(), Troubles: statusOf(&c.writingLedger, &c.readingLedger),
	}
	collected, _ := c.everyTenant()
	for _, t := range collected {
		s.Tenants = append(s.Tenants, t.status())
	}
	return s
}

// everyTenant returns the tenants that are collected, and those that were.
func (c *Collector) everyTenant() (collected, removed []*tenant) {
	c.tenantsChange.Lock()
	defer c.tenantsChange.Unlock()
	for _, id := range c.active {
		collected = append(collected, c.tenants[id])
	}
	if len(c.tenants) == len(c.active) {
		return collected, nil
	}
	for _, id := range without(slices.Collect(maps.Keys(c.tenants)), c.active) {
		removed = append(removed, c.tenants[id])
	}
	return collected, removed
}

func (t *tenant) status() TenantStatus {
	status := TenantStatus{
		ID: t.id, TokenExpires: t.tokens.Expires(), TokensRenewed: t.renewed.Load(), Budget: t.client.Budget(), Troubles: statusOf(&t.access, &t.subscriptions.listing),
	}
	for _, s := range t.streams {
		status.Types = append(status.Types, s.status())
	}
	return status
}

func (s *stream) status() TypeStatus {
	status := TypeStatus{
		ContentType: s.contentType, At: s.now(), Began: s.began.time(), Subscription: s.tenant.subscriptions.stateOf(s.contentType),
		Listed: s.listedAt.time(), ListedUntil: s.listedUntil.time(),
		Blobs: s.counts.blobs(), Records: s.counts.records(),
		NewestContent: s.counts.newestContent.time(), NewestRecord: s.counts.newestRecord.time(),
		Gaps: s.counts.gaps.Load(), GapTime: time.Duration(s.counts.gapTime.Load()), LastLoss: s.counts.lastLoss.time(),
		Troubles: statusOf(&s.subscribing, &s.listing, &s.fetching),
	}
	s.surveyed.Lock()
	defer s.surveyed.Unlock()
	status.Pending, status.OldestPending, status.History = s.surveyed.pending, s.surveyed.oldest, s.surveyed.chart.history
	if !status.OldestPending.IsZero() {
		status.OldestPendingAge = max(status.At.Sub(status.OldestPending), 0)
	}
	status.CompleteUntil = s.surveyed.completeUntil
	status.Behind = s.behind(status.CompleteUntil)
	return status
}

func statusOf(troubles ...*trouble) (all []TroubleStatus) {
	for _, t := range troubles {
		if status, ok := t.status(); ok {
			all = append(all, status)
		}
	}
	return all
}
