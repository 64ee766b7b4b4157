package collector

import (
	"time"

	"in_office365/o365"
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

	Host     HostStatus
	Queue    QueueStatus
	Ledger   LedgerStatus
	Troubles []TroubleStatus // those that are not one tenant's
	Notices  []NoticeStatus  // the last of them, the newest first
	Tenants  []TenantStatus  // that are collected, in the order of the configuration
}

// HostStatus is how Fluent Bit treats the input.
type HostStatus struct {
	Called      time.Time     // when it asked for a batch last; zero: never
	PausedSince time.Time     // zero: it does not pause
	Paused      time.Duration // in all
	Pauses      int64
}

// QueueStatus is what is on its way to Fluent Bit.
type QueueStatus struct {
	Bytes     int // of memory that batches hold
	Limit     int // buffer_size
	Waiting   int // batches that Fluent Bit may take
	Unsettled int // batches that it has copied, and that are not settled
	// WaitingSince is since when there is something to take without Fluent Bit taking anything; zero: there is nothing to take.
	WaitingSince time.Time
	HandedOver   time.Time // when it copied a batch last; zero: never
	Batches      int64     // that it has copied
}

// LedgerStatus is how the db fares.
type LedgerStatus struct {
	Size      int64 // bytes of the file
	Unwritten int   // changes in memory
	Failures  int64 // writes that failed
}

// TroubleStatus is something that fails at present.
type TroubleStatus struct {
	Doing string // what: "listing content"
	Cause string // kind of package diagnosis: "secret_expired"; "other"
	Text  string // the last error in words, and what to do; one line
	Since time.Time
	Last  time.Time
	Count int
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
	ID           string
	TokenExpires time.Time // zero: there is no token
	Budget       o365.BudgetStatus
	Troubles     []TroubleStatus // those that are not one content type's
	Types        []TypeStatus
}

// TypeStatus is how one content type of a tenant fares. Times but those of losses and listings are the API's.
type TypeStatus struct {
	ContentType  o365.ContentType
	Subscription string // "enabled", "disabled", or "" as long as it is not known

	Listed      time.Time // when a listing succeeded last, by the local clock; zero: none has
	ListedUntil time.Time // what became available before that has been listed; zero: nothing has
	// CompleteUntil is up to when all that became available is through, or lost and announced; zero: not known yet.
	CompleteUntil time.Time
	Behind        time.Duration // CompleteUntil lies back

	Blobs   BlobCounts
	Records RecordCounts

	Pending       int64     // blobs, by the ledger, as of some seconds ago
	OldestPending time.Time // when the oldest of them became available; zero: none is pending
	NewestContent time.Time // when the newest blob that has settled became available; zero: none has
	NewestRecord  time.Time // CreationTime of the newest record that was handed over; zero: none was

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

// Incomplete is how many blobs that were to be had have neither settled nor been lost. It must come to 0.
func (b BlobCounts) Incomplete() int64 {
	return b.CarriedOver + b.Listed - b.Settled - b.LostExpired - b.LostGone
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

// historyMinutes is how far back a History reaches.
const historyMinutes = 60

// History is what came in each of the last minutes, the current one last.
type History [historyMinutes]struct {
	Blobs   uint32 // settled
	Records uint32 // handed over
}
