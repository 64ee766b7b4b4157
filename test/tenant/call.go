package tenant

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxRequestBody is more than any request needs.
const maxRequestBody = 64 << 10

// serve answers a call to this tenant: path is what follows the tenant's name in the URL.
// tenants are all that are served at the address.
func (t *Tenant) serve(tenants []*Tenant, w http.ResponseWriter, r *http.Request, isAPI bool, path string) {
	// Read before anything can wait: net/http's server notices that a client has left only when the body is read.
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequestBody))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))

	c := &call{Tenant: t, tenants: tenants, w: &recorder{ResponseWriter: w}, r: r, op: Unknown, query: foldNames(r.URL.Query())}
	switch {
	case isAPI:
		path, _ = strings.CutPrefix(path, "activity/feed/")
		if id, ok := strings.CutPrefix(path, string(FetchBlob)+"/"); ok {
			c.op, c.contentID = FetchBlob, id
		} else if op := Operation(path); slices.Contains([]Operation{ListSubscriptions, StartSubscription, StopSubscription, ListContent}, op) {
			c.op = op
		}
		c.contentType = c.query.Get("contenttype")
		if c.op == ListContent {
			c.page, c.lastID = parsePage(c.query.Get("nextpage"))
		}
	case path == "oauth2/token" || path == "oauth2/v2.0/token":
		c.op = Token
	case strings.HasSuffix(path, ".well-known/openid-configuration"):
		c.op = Discover
	}
	t.mu.Lock()
	if b := t.blobs[c.contentID]; b != nil {
		c.contentType = b.ContentType
	}
	t.account.begin(c, isAPI)
	c.plan = t.planFor(c)
	throttled := isAPI && t.overLimit(t.now())
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.account.end(c)
	}()

	if !c.wait(t.config.Latency+c.plan.latency) || c.plan.hang && !c.leave() || c.plan.until != nil && !c.released() {
		panic(http.ErrAbortHandler)
	}
	w.Header()["Date"] = []string{t.Now().UTC().Format(http.TimeFormat)} // kept by net/http's server
	switch {
	case c.plan.answer != nil:
		c.plan.answer(c.w)
	case c.op == Token:
		t.serveToken(c.w, r, path == "oauth2/token")
	case c.op == Discover:
		t.serveDiscovery(c.w, r)
	case !isAPI:
		http.NotFound(c.w, r)
	case throttled:
		apiError{http.StatusTooManyRequests, "AF429", "Too many requests. Method=" + string(c.op) + ", PublisherId=" + c.query.Get("publisheridentifier")}.write(c.w)
	default:
		c.serveFeed()
	}
}

// call is one request on its way through the tenant.
type call struct {
	*Tenant
	tenants     []*Tenant
	w           *recorder
	r           *http.Request
	op          Operation
	query       url.Values // names in lower case
	contentType string
	contentID   string // of FetchBlob
	page        int    // of ListContent, from 1; 0: nextPage is bad
	lastID      string // contentId of the last blob on the page before
	plan        plan
	bodyBegun   bool    // a listing or blob was being sent
	complete    bool    // and was, wholly
	sent        counter // bytes of the blob's JSON
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// foldNames makes parameter names lower case, since the API takes them in any.
func foldNames(q url.Values) url.Values {
	folded := url.Values{}
	for name, values := range q {
		name = strings.ToLower(name)
		folded[name] = append(folded[name], values...)
	}
	return folded
}

// wait waits for d, unless the client leaves before.
func (c *call) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.r.Context().Done():
		return false
	}
}

// released waits until the plan says so, unless the client leaves before.
func (c *call) released() bool {
	select {
	case <-c.plan.until:
		return true
	case <-c.r.Context().Done():
		return false
	}
}

// leave waits until the client has left. It returns false, for there is nobody left to answer.
func (c *call) leave() bool {
	<-c.r.Context().Done()
	return false
}

// overLimit counts a call against the calls per minute. t.mu is held.
func (t *Tenant) overLimit(now time.Time) bool {
	if t.most <= 0 {
		return false
	}
	keep, _ := slices.BinarySearchFunc(t.recent, now.Add(-time.Minute), time.Time.Compare)
	t.recent = slices.Delete(t.recent, 0, keep)
	if len(t.recent) >= t.most {
		return true
	}
	t.recent = append(t.recent, now)
	return false
}

func scheme(r *http.Request) string {
	if r.TLS != nil || r.URL.Scheme == "https" { // the latter in memory
		return "https"
	}
	return "http"
}
