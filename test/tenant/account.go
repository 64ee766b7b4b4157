package tenant

import (
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Account is what has happened so far.
type Account struct {
	Tenant           string                    `json:"tenant"`
	Calls            map[Operation]int         `json:"calls"`
	Statuses         map[Operation]map[int]int `json:"statuses"`      // status 0: the client left or was cut off before one was sent
	Concurrency      int                       `json:"concurrency"`   // calls at the same time, at most
	WithoutToken     int                       `json:"without_token"` // API calls without a bearer token
	WithoutPublisher int                       `json:"without_publisher"`
	Publishers       map[string]int            `json:"publishers"` // API calls by PublisherIdentifier
	Starts           map[string]int            `json:"starts"`     // start calls by content type
	Stops            map[string]int            `json:"stops"`
	TokensIssued     int                       `json:"tokens_issued"`
	Proofs           map[string]int            `json:"proofs"` // tokens issued, by what their application was known: see Tenant.issue
	Listings         []Listing                 `json:"-"`      // answered ones, the latest maxListings
	Blobs            []BlobAccount             `json:"-"`
	Offered          map[string]Offer          `json:"offered"` // by content type
}

// maxListings bounds the listings that are remembered.
const maxListings = 10_000

// Listing is one page given out.
type Listing struct {
	ContentType string
	Start, End  time.Time
	Page        int // from 1
	Blobs       int
	More        bool // there was a further page
}

// BlobAccount is the fate of one blob.
type BlobAccount struct {
	Content
	ID      string // contentId
	Listed  int    // how often
	Whole   int    // fetched to the end
	Partial int    // fetches that broke off in the body
	Refused int    // fetches answered with an error
	Bytes   int64  // sent in the fetches to the end, before compression
}

// Offer sums up the blobs of a content type.
type Offer struct {
	Blobs   int `json:"blobs"`
	Records int `json:"records"`
	Listed  int `json:"listed"`  // blobs listed at least once
	Fetched int `json:"fetched"` // blobs fetched whole at least once
	Whole   int `json:"whole"`   // fetches
	Partial int `json:"partial"`
	Refused int `json:"refused"`
	// Bytes is what the whole fetches sent, before compression.
	Bytes int64 `json:"bytes"`
}

// ledger is the part of the account that calls write. Tenant.mu guards it.
type ledger struct {
	Account
	inFlight int
}

func newLedger() ledger {
	return ledger{Account: Account{
		Calls:      map[Operation]int{},
		Statuses:   map[Operation]map[int]int{},
		Publishers: map[string]int{},
		Starts:     map[string]int{},
		Stops:      map[string]int{},
		Proofs:     map[string]int{},
	}}
}

func (l *ledger) begin(c *call, isAPI bool) {
	l.Calls[c.op]++
	l.inFlight++
	l.Concurrency = max(l.Concurrency, l.inFlight)
	if !isAPI {
		return
	}
	if !strings.HasPrefix(c.r.Header.Get("Authorization"), "Bearer ") {
		l.WithoutToken++
	}
	if p := c.query.Get("publisheridentifier"); p != "" {
		l.Publishers[p]++
	} else {
		l.WithoutPublisher++
	}
	switch c.op {
	case StartSubscription:
		l.Starts[c.contentType]++
	case StopSubscription:
		l.Stops[c.contentType]++
	}
}

func (l *ledger) end(c *call) {
	l.inFlight--
	statuses := l.Statuses[c.op]
	if statuses == nil {
		statuses = map[int]int{}
		l.Statuses[c.op] = statuses
	}
	statuses[c.w.status]++
	b := c.blobs[c.contentID]
	if b == nil || c.op != FetchBlob {
		return
	}
	switch {
	case c.w.status != http.StatusOK || !c.bodyBegun:
		b.refused++
	case c.complete:
		b.whole++
		b.bytes += int64(c.sent)
	default:
		b.partial++
	}
}

func (l *ledger) listing(p Listing) {
	if len(l.Listings) >= maxListings {
		l.Listings = slices.Delete(l.Listings, 0, maxListings/2)
	}
	l.Listings = append(l.Listings, p)
}

// Account returns what has happened so far.
func (t *Tenant) Account() Account {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.account.Account
	a.Tenant = t.config.ID
	a.TokensIssued = int(t.tokensIssued)
	a.Calls = maps.Clone(a.Calls)
	a.Publishers = maps.Clone(a.Publishers)
	a.Starts = maps.Clone(a.Starts)
	a.Stops = maps.Clone(a.Stops)
	a.Listings = slices.Clone(a.Listings)
	a.Proofs = maps.Clone(t.account.Proofs)
	a.Statuses = map[Operation]map[int]int{}
	for op, statuses := range t.account.Statuses {
		a.Statuses[op] = maps.Clone(statuses)
	}
	a.Offered = map[string]Offer{}
	for _, ct := range ContentTypes() {
		for _, b := range t.byCreated[ct] {
			a.Blobs = append(a.Blobs, BlobAccount{b.Content, b.id, b.listed, b.whole, b.partial, b.refused, b.bytes})
			o := a.Offered[ct]
			o.Blobs++
			o.Records += b.Source.Count()
			o.Listed += min(b.listed, 1)
			o.Fetched += min(b.whole, 1)
			o.Whole += b.whole
			o.Partial += b.partial
			o.Refused += b.refused
			o.Bytes += b.bytes
			a.Offered[ct] = o
		}
	}
	return a
}

// RecordIDs yields the Id of every record offered under the content type, in the order of its blobs. One that stands
// in several blobs comes several times.
func (a Account) RecordIDs(contentType string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, b := range a.Blobs {
			if b.ContentType != contentType {
				continue
			}
			for id := range b.Source.IDs() {
				if !yield(id) {
					return
				}
			}
		}
	}
}
