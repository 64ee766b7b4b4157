// Package tenant emulates Office 365 tenants for tests: the Microsoft identity platform's token endpoint and the
// Management Activity API over HTTP, with faults on request and an account of all that happened.
//
// A [Tenant] is an http.Handler. It can be served over a socket, or used in memory through
// [Tenant.RoundTripper], also inside a testing/synctest bubble: it reads the time from time.Now alone and starts
// no goroutines. It follows
// https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-reference
// and, where that page is silent, what clients of the live API have reported.
package tenant

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"in_office365/test/tenant/records"
)

// What a Config says when it says nothing. The GUIDs are invented.
const (
	DefaultID           = records.OrganizationID
	DefaultClientID     = "c0ffee00-1d2e-4f3a-8b4c-5d6e7f8091a2"
	DefaultClientSecret = "example~secret~of~the~emulated~tenant"
	DefaultDomain       = "contoso.example"
	DefaultAudience     = "https://manage.office.com"
	DefaultCloud        = "microsoftonline.com"
	DefaultPageSize     = 200
	// DefaultTokenLife is what the identity platform's answers say, in seconds: 3599.
	DefaultTokenLife = 3599 * time.Second
)

// Limits of the API, from its reference, save StartCooldown, which is undocumented and was reported by users.
const (
	MaxWindow     = 24 * time.Hour
	Retention     = 7 * 24 * time.Hour
	StartCooldown = 15 * time.Minute
)

// The content types of the API.
const (
	AzureActiveDirectory = records.AzureActiveDirectory
	Exchange             = records.Exchange
	SharePoint           = records.SharePoint
	General              = records.General
	DLP                  = records.DLP
)

// ContentTypes lists the five content types.
func ContentTypes() []string { return records.ContentTypes() }

// Operation names a call of the API by its path.
type Operation string

// The operations.
const (
	Token             Operation = "token"
	Discover          Operation = "openid-configuration"
	ListSubscriptions Operation = "subscriptions/list"
	StartSubscription Operation = "subscriptions/start"
	StopSubscription  Operation = "subscriptions/stop"
	ListContent       Operation = "subscriptions/content"
	FetchBlob         Operation = "audit"
	// Unknown is any other request.
	Unknown Operation = "unknown"
)

// Config describes a tenant. The zero value is a tenant with the defaults above and no subscription.
type Config struct {
	ID, Domain             string // the tenant's GUID; its domain, which the login endpoint takes as well
	ClientID, ClientSecret string
	Audience               string        // the resource a token must be for
	Roles                  []string      // what has been granted to the application; nil: ActivityFeed.Read and ActivityFeed.ReadDlp
	CloudInstance          string        // the cloud_instance_name of the tenant's cloud
	TokenLife              time.Duration // how long a token is good
	Subscribed             []string      // content types that are subscribed from the start
	PageSize               int           // blobs per listing page
	LowerCaseNextPage      bool          // NextPageUri says starttime and endtime, as has been seen
	Gzip                   bool          // compress for clients that accept it
	Latency                time.Duration // added to every call
	CallsPerMinute         int           // more in any minute are answered AF429; 0: no limit
	Skew                   time.Duration // the tenant's clock less the local one
	StartCooldown          time.Duration // 0: StartCooldown; negative: none
	Retention              time.Duration // contentExpiration less contentCreated; 0: Retention
	Seed                   uint64        // of the faults' probabilities
}

// Tenant is one emulated tenant. Its methods may be called at any time from any goroutine.
type Tenant struct {
	config Config

	mu            sync.Mutex
	credentials   credentials
	granted       []string // permissions
	skew          time.Duration
	most          int // calls per minute; 0: no limit
	rng           uint64
	tokens        map[string]issued
	tokensIssued  uint64
	subscriptions map[string]*subscription
	blobs         map[string]*blob   // by contentId
	byCreated     map[string][]*blob // by content type, ordered by (Created, number)
	faults        []*Injected
	recent        []time.Time // calls of the last minute, oldest first; kept only with a limit
	account       ledger
}

type subscription struct {
	enabled bool
	started time.Time // the last start that enabled it; zero: none
}

// New makes a tenant.
func New(c Config) *Tenant {
	setDefault(&c.ID, DefaultID)
	setDefault(&c.Domain, DefaultDomain)
	setDefault(&c.ClientID, DefaultClientID)
	setDefault(&c.ClientSecret, DefaultClientSecret)
	setDefault(&c.Audience, DefaultAudience)
	setDefault(&c.CloudInstance, DefaultCloud)
	if c.Roles == nil {
		c.Roles = []string{permissionRead, permissionReadDLP}
	}
	setDefault(&c.TokenLife, DefaultTokenLife)
	setDefault(&c.PageSize, DefaultPageSize)
	setDefault(&c.StartCooldown, StartCooldown)
	setDefault(&c.Retention, Retention)
	t := &Tenant{
		config:        c,
		credentials:   credentials{secret: c.ClientSecret, used: map[string]bool{}, seen: map[string]bool{}},
		granted:       c.Roles,
		skew:          c.Skew,
		most:          c.CallsPerMinute,
		rng:           c.Seed,
		tokens:        map[string]issued{},
		subscriptions: map[string]*subscription{},
		blobs:         map[string]*blob{},
		byCreated:     map[string][]*blob{},
		account:       newLedger(),
	}
	for _, ct := range c.Subscribed {
		t.subscriptions[ct] = &subscription{enabled: true}
	}
	return t
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Config is what the tenant was made with, defaults filled in.
func (t *Tenant) Config() Config { return t.config }

// Now is the time by the tenant's clock.
func (t *Tenant) Now() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now()
}

// now is Now for callers that hold t.mu.
func (t *Tenant) now() time.Time { return time.Now().Add(t.skew) }

// SetSkew sets the tenant's clock to the local one plus skew.
func (t *Tenant) SetSkew(skew time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skew = skew
}

// SetCallsPerMinute allows so many calls from now on, as Config.CallsPerMinute does.
func (t *Tenant) SetCallsPerMinute(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.most = n
}

// Disable switches a subscription off, as an administrator would.
func (t *Tenant) Disable(contentType string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subscription(contentType).enabled = false
}

// Enable switches a subscription on without a start call, which leaves the cool-down of starts as it is.
func (t *Tenant) Enable(contentType string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subscription(contentType).enabled = true
}

// subscription is the state of a content type's subscription, made when there is none. t.mu is held.
func (t *Tenant) subscription(contentType string) *subscription {
	s := t.subscriptions[contentType]
	if s == nil {
		s = &subscription{}
		t.subscriptions[contentType] = s
	}
	return s
}

// ServeHTTP serves the tenant's login endpoint and API.
func (t *Tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) { serve([]*Tenant{t}, w, r) }

// Handler serves several tenants under one address.
func Handler(tenants ...*Tenant) http.Handler {
	tenants = slices.Clone(tenants)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(tenants, w, r) })
}

// serve finds the tenant in the path: /{tenant}/oauth2/... or /api/v1.0/{tenant}/activity/feed/....
func serve(tenants []*Tenant, w http.ResponseWriter, r *http.Request) {
	rest, isAPI := strings.CutPrefix(r.URL.Path, "/api/v1.0/")
	if !isAPI {
		rest, isAPI = strings.CutPrefix(r.URL.Path, "/api/v1/") // the form in NextPageUri
	}
	name, path, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	i := slices.IndexFunc(tenants, func(t *Tenant) bool {
		return strings.EqualFold(name, t.config.ID) || !isAPI && strings.EqualFold(name, t.config.Domain)
	})
	switch {
	case i < 0 && !isAPI:
		loginError{http.StatusBadRequest, "invalid_request", 90002, "Tenant '" + name + "' not found."}.write(w)
	case i < 0 && !isGUID(name):
		apiError{http.StatusBadRequest, "AF20013", "The tenant ID passed in the URL (" + name + ") is not a valid GUID."}.write(w)
	case i < 0:
		foreignToken(name).write(w) // whatever the token is
	default:
		tenants[i].serve(tenants, w, r, isAPI, path)
	}
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)):
			return false
		}
	}
	return true
}
