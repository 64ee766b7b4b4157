// Package o365 is a client of the Office 365 Management Activity API: it
// starts subscriptions, lists content blobs and opens them.
//
// The client keeps to one request budget, renews a refused token once per
// call, and otherwise leaves retrying to its caller: every failure is an
// *Error whose Action says what to do.
//
// The API is described at
// https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-reference
package o365

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

const (
	// DefaultRequestsPerMinute is the baseline quota of a tenant:
	// https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-reference#api-throttling
	DefaultRequestsPerMinute = 2000

	maxErrorBody = 64 << 10 // bytes of an error answer worth reading
)

// A TokenSource supplies access tokens. Its methods may be called concurrently.
type TokenSource interface {
	// Token returns a valid token, waiting for a new one if need be.
	Token(ctx context.Context) (*oauth2.Token, error)
	// Refuse tells that the API answered 401 to this access token: the source
	// forgets it and reads the credential again before it gets the next one.
	Refuse(accessToken string)
	// RefuseRoles tells that the API misses a permission in this access token:
	// the source forgets it if the permission may have been granted since.
	RefuseRoles(accessToken string)
}

// Options configure a Client. Tenant, APIURL and Tokens are required.
type Options struct {
	Tenant            string        // directory GUID, not a domain name
	Publisher         string        // PublisherIdentifier of every call, a GUID; default: Tenant
	APIURL            *url.URL      // root of the API, as in Cloud.APIURL
	AllowInsecure     bool          // permit http to a host that is not loopback
	HTTPClient        *http.Client  // default: NewHTTPClient; redirects are never followed
	Tokens            TokenSource   // where the bearer tokens come from
	RequestsPerMinute int           // budget over all calls; default: DefaultRequestsPerMinute
	BodyIdleTimeout   time.Duration // longest silence of the server, before its answer and at each read; default: DefaultTimeout
	UserAgent         string        // default: Go's
	OnCall            func(Call)    // told of each call, by the one that made it; nil: nobody
}

// A Call is one request of the API and its answer, up to where that begins; or one for a token.
type Call struct {
	Op   string        // as in Error
	Took time.Duration // from sending the request
	Err  error         // nil, or an *Error
}

// A Client calls the API for one tenant. Its methods may be called concurrently.
type Client struct {
	feed      *url.URL // .../api/v1.0/{tenant}/activity/feed
	publisher string
	userAgent string
	http      *http.Client
	tokens    TokenSource
	silence   time.Duration
	budget    *budget
	gunzips   *sync.Pool
	clock     serverClock
	onCall    func(Call)
}

var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// IsGUID says whether s is of the form that the API wants tenants, applications and publishers in.
func IsGUID(s string) bool { return guid.MatchString(s) }

// New returns a client. It makes no call.
func New(o Options) (*Client, error) {
	if o.Publisher == "" {
		o.Publisher = o.Tenant
	}
	if o.HTTPClient == nil {
		o.HTTPClient = NewHTTPClient(TransportOptions{})
	}
	if o.RequestsPerMinute == 0 {
		o.RequestsPerMinute = DefaultRequestsPerMinute
	}
	if o.BodyIdleTimeout == 0 {
		o.BodyIdleTimeout = DefaultTimeout
	}
	switch {
	case !IsGUID(o.Tenant):
		return nil, fmt.Errorf("tenant %q is not a GUID", o.Tenant)
	case !IsGUID(o.Publisher):
		return nil, fmt.Errorf("publisher identifier %q is not a GUID", o.Publisher)
	case o.APIURL == nil:
		return nil, errors.New("no API URL")
	case o.Tokens == nil:
		return nil, errors.New("no token source")
	case o.RequestsPerMinute < 0 || o.BodyIdleTimeout < 0:
		return nil, errors.New("requests per minute and body idle timeout must be positive")
	}
	if err := CheckEndpoint(o.APIURL, o.AllowInsecure); err != nil {
		return nil, fmt.Errorf("API URL: %w", err)
	}
	return &Client{
		feed:      o.APIURL.JoinPath("api/v1.0", o.Tenant, "activity/feed"),
		publisher: o.Publisher,
		userAgent: o.UserAgent,
		http:      WithoutRedirects(o.HTTPClient),
		tokens:    o.Tokens,
		silence:   o.BodyIdleTimeout,
		budget:    newBudget(o.RequestsPerMinute),
		gunzips:   newGunzips(),
		onCall:    o.OnCall,
	}, nil
}

// ForTenant returns a client for another tenant of the same cloud and
// application. Its budget and its clock are its own; it shares what a process
// need not have twice. publisher may be empty and onCall nil, as in Options.
func (c *Client) ForTenant(tenant, publisher string, tokens TokenSource, onCall func(Call)) (*Client, error) {
	if publisher == "" {
		publisher = tenant
	}
	switch {
	case !IsGUID(tenant):
		return nil, fmt.Errorf("tenant %q is not a GUID", tenant)
	case !IsGUID(publisher):
		return nil, fmt.Errorf("publisher identifier %q is not a GUID", publisher)
	case tokens == nil:
		return nil, errors.New("no token source")
	}
	return &Client{
		feed:      c.feed.JoinPath("../../..", tenant, "activity/feed"),
		publisher: publisher,
		userAgent: c.userAgent,
		http:      c.http,
		tokens:    tokens,
		silence:   c.silence,
		budget:    c.budget.another(),
		gunzips:   c.gunzips,
		onCall:    onCall,
	}, nil
}

// Admit waits until the budget allows a call, and returns a context whose first
// call does not wait for that again. It is for callers that have to wait for
// something else too, and should not hold that while they wait for the budget.
func (c *Client) Admit(ctx context.Context) (context.Context, error) {
	if err := c.budget.wait(ctx); err != nil {
		return nil, fmt.Errorf("wait for the request budget: %w", err)
	}
	return context.WithValue(ctx, admissionKey{}, new(admission)), nil
}

// Held says whether calls are held back at this moment, as the API has asked for fewer.
func (c *Client) Held() bool { return c.budget.held() > 0 }

// Budget says how the request budget is used.
func (c *Client) Budget() BudgetStatus { return c.budget.status() }

// admission is what Admit has taken from the budget, for one call.
type admission struct{ used atomic.Bool }

type admissionKey struct{}

// WithAdmission returns a context whose calls, but for the one that Admit has
// admitted, wait by admit instead of for the budget. It is for callers that
// give something up meanwhile, and may call Admit.
func WithAdmission(ctx context.Context, admit func(context.Context) error) context.Context {
	return context.WithValue(ctx, admitKey{}, admit)
}

type admitKey struct{}

// admit waits until the call may be made.
func (c *Client) admit(ctx context.Context) error {
	if admitted(ctx) {
		return nil
	}
	if admit, ok := ctx.Value(admitKey{}).(func(context.Context) error); ok {
		return admit(ctx)
	}
	if err := c.budget.wait(ctx); err != nil {
		return fmt.Errorf("wait for the request budget: %w", err)
	}
	return nil
}

func admitted(ctx context.Context) bool {
	a, ok := ctx.Value(admissionKey{}).(*admission)
	return ok && a.used.CompareAndSwap(false, true)
}

// Now is the local time corrected by the Date header of the server's answers,
// good to about a second. Before the first answer it is the local time.
func (c *Client) Now() time.Time { return c.clock.now() }

// ClockKnown says whether an answer has corrected Now yet.
func (c *Client) ClockKnown() bool { return c.clock.known() }

// CheckEndpoint refuses a URL that no secret or token may be sent to: one that
// is not https, unless its host is loopback or allowInsecure is set.
func CheckEndpoint(u *url.URL, allowInsecure bool) error {
	switch {
	case u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q is not of the form https://host[:port][/path]", u.Redacted())
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("%q is neither https nor http", u.Redacted())
	case allowInsecure || isLoopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%q would send credentials in clear text; use https", u.Redacted())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// endpoint is the URL of an operation of the tenant's feed.
func (c *Client) endpoint(operation string, query url.Values) *url.URL {
	u := c.feed.JoinPath(operation)
	u.RawQuery = query.Encode()
	return u
}

// follow checks a URL that the API gave. The bearer token is sent along, so
// only the configured host is good enough. The URL is opaque: it is neither
// taken apart nor escaped anew.
func (c *Client) follow(op, uri string) (*url.URL, error) {
	u, err := c.feed.Parse(strings.TrimSpace(uri))
	if err != nil || uri == "" {
		// url.Error repeats the URL, which may be long and is the server's text.
		return nil, &Error{Op: op, Err: errors.New("the API gave a malformed URL")}
	}
	if u.Scheme != c.feed.Scheme || !strings.EqualFold(u.Hostname(), c.feed.Hostname()) || port(u) != port(c.feed) || u.User != nil {
		// Not given up: the blob stays where it is, and fixing the endpoint
		// makes it readable again.
		return nil, &Error{Op: op, Action: Reconfigure,
			Err:  fmt.Errorf("the API refers to %s://%s, not to %s://%s", u.Scheme, u.Host, c.feed.Scheme, c.feed.Host),
			Hint: "the token is sent to the configured API host only: check cloud and API endpoint"}
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"https": "443", "http": "80"}[u.Scheme]
}

// identified returns u with PublisherIdentifier, which the API wants on every
// call and which the URLs it gives do not carry.
func (c *Client) identified(u *url.URL) *url.URL {
	for key := range u.Query() {
		if strings.EqualFold(key, "PublisherIdentifier") {
			return u
		}
	}
	v := *u
	if v.RawQuery != "" {
		v.RawQuery += "&"
	}
	v.RawQuery += "PublisherIdentifier=" + c.publisher
	return &v
}

// do makes a call. A 401 costs the token, and the call is made once more with
// a new one. The answer's status is 2xx; its body must be closed.
func (c *Client) do(ctx context.Context, op, method string, u *url.URL) (*http.Response, error) {
	for again := false; ; again = true {
		token, err := c.tokens.Token(ctx)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); ok {
				return nil, err
			}
			return nil, &Error{Op: op, Err: fmt.Errorf("get token: %w", err)}
		}
		res, err := c.send(ctx, op, method, c.identified(u), token.AccessToken)
		e, failed := errors.AsType[*Error](err)
		if !failed {
			return res, err
		}
		if e.Code == codeNoPermission { // as 401 or 403; the same token would not do better
			c.tokens.RefuseRoles(token.AccessToken)
			return nil, err
		}
		if e.Status != http.StatusUnauthorized {
			return nil, err
		}
		c.tokens.Refuse(token.AccessToken)
		if again {
			return nil, err
		}
	}
}

func (c *Client) send(ctx context.Context, op, method string, u *url.URL, token string) (*http.Response, error) {
	if err := c.admit(ctx); err != nil {
		return nil, &Error{Op: op, Err: err}
	}
	watch := watchSilence(ctx, c.silence)
	req, err := http.NewRequestWithContext(watch.ctx, method, u.String(), http.NoBody)
	if err != nil {
		watch.end()
		return nil, &Error{Op: op, Err: errors.New("the URL makes no request")}
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "gzip") // undone by openBody: the transport would take three times as long
	if c.userAgent != "" {
		req.Header.Set("User-Agent", c.userAgent)
	}
	sent := time.Now()
	watch.expect()
	res, err := c.http.Do(req)
	watch.rest()
	took := time.Since(sent)
	if err != nil {
		err = watch.explain(err)
		watch.end()
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL: long, and told by op
		}
		err = &Error{Op: op, Err: err}
		c.tell(ctx, Call{op, took, err})
		return nil, err
	}
	c.clock.observe(res.Header, sent, time.Now())
	res.Body = openBody(res, watch, c.gunzips)
	if res.StatusCode/100 == 2 {
		c.budget.allowed(sent)
		c.tell(ctx, Call{op, took, nil})
		return res, nil
	}
	defer res.Body.Close()
	// Whatever could be read of the explanation will do: the status stands.
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	e := c.apiError(op, res, text)
	// Proxies have been known to show the request in their error pages.
	e.Message = strings.ReplaceAll(e.Message, token, "[token]")
	if coolDown := op == opStart && e.Code == codeCoolDown; e.Action == Throttle && !coolDown {
		c.budget.throttled(sent, e.RetryAfter)
	} else {
		c.budget.allowed(sent)
	}
	c.tell(ctx, Call{op, took, e})
	return nil, e
}

// tell leaves out calls whose caller has not waited for the answer: they say nothing of the API.
func (c *Client) tell(ctx context.Context, call Call) {
	if c.onCall != nil && ctx.Err() == nil {
		c.onCall(call)
	}
}

// apiError makes an Error of an answer of the API.
func (c *Client) apiError(op string, res *http.Response, text []byte) *Error {
	e := &Error{Op: op, Status: res.StatusCode}
	e.Code, e.Message = parseErrorBody(text)
	e.RetryAfter = RetryAfter(res.Header)
	classify(e)
	return e
}

// A silenceWatch cancels a request whose server says nothing for too long. It
// runs only while something is expected, so a slow reader is not blamed on
// the server.
type silenceWatch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	limit  time.Duration
	timer  *time.Timer
	silent error
}

func watchSilence(parent context.Context, limit time.Duration) *silenceWatch {
	w := &silenceWatch{limit: limit, silent: fmt.Errorf("no data for %v: %w", limit, os.ErrDeadlineExceeded)}
	w.ctx, w.cancel = context.WithCancelCause(parent)
	w.timer = time.AfterFunc(limit, func() { w.cancel(w.silent) })
	w.timer.Stop()
	return w
}

func (w *silenceWatch) expect() { w.timer.Reset(w.limit) }
func (w *silenceWatch) rest()   { w.timer.Stop() }

func (w *silenceWatch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// explain replaces an error that the watch itself brought about.
func (w *silenceWatch) explain(err error) error {
	if errors.Is(context.Cause(w.ctx), w.silent) {
		return w.silent
	}
	return err
}
