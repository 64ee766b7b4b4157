package tenant

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault says which calls go wrong. The zero value is every call.
type Fault struct {
	Operation   Operation // empty: any
	ContentType string    // empty: any
	ContentID   string    // of a FetchBlob; empty: any
	Page        int       // of a ListContent, from 1; 0: any
	Covers      time.Time // a ListContent whose window holds that moment; zero: any
	Skip        int       // so many matching calls go well first
	Times       int       // then so many go wrong; 0: all
	Probability float64   // of each of those to go wrong; 0: 1
}

// Injected is a fault in force.
type Injected struct {
	fault   Fault
	effects []Effect
	tenant  *Tenant

	matched, hits int // guarded by tenant.mu
}

// Effect is what happens to a call. Where several effects answer a call, or break its body, the one injected first
// counts; latencies add up.
type Effect func(*plan)

// plan is all that is to happen to one call.
type plan struct {
	latency        time.Duration
	hang           bool
	until          <-chan struct{} // nil: no wait
	answer         func(http.ResponseWriter)
	breakage       breakage
	breakAfter     int64
	lengthOff      int64
	nextPage       func(*call) string
	contentURIBase string
}

// Inject puts a fault in force.
func (t *Tenant) Inject(f Fault, effects ...Effect) *Injected {
	in := &Injected{fault: f, effects: slices.Clone(effects), tenant: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, in)
	return in
}

// Remove ends the fault.
func (in *Injected) Remove() {
	t := in.tenant
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = slices.DeleteFunc(t.faults, func(other *Injected) bool { return other == in })
}

// Hits is how many calls went wrong by the fault.
func (in *Injected) Hits() int {
	in.tenant.mu.Lock()
	defer in.tenant.mu.Unlock()
	return in.hits
}

// planFor gathers the effects that apply to a call. t.mu is held.
func (t *Tenant) planFor(c *call) plan {
	var p plan
	for _, in := range t.faults {
		f := in.fault
		if f.Operation != "" && f.Operation != c.op || f.ContentType != "" && f.ContentType != c.contentType ||
			f.ContentID != "" && f.ContentID != c.contentID || f.Page != 0 && f.Page != c.page ||
			!f.Covers.IsZero() && !c.covers(f.Covers) {
			continue
		}
		if in.matched++; in.matched <= f.Skip || f.Times > 0 && in.hits >= f.Times {
			continue
		}
		if f.Probability > 0 && !t.roll(f.Probability) {
			continue
		}
		in.hits++
		for _, effect := range in.effects {
			effect(&p)
		}
	}
	return p
}

// covers reports whether the call lists a window that holds that moment.
func (c *call) covers(moment time.Time) bool {
	start, ok := parseTime(c.query.Get("starttime"))
	end, alsoOK := parseTime(c.query.Get("endtime"))
	return c.op == ListContent && ok && alsoOK && !moment.Before(start) && moment.Before(end)
}

// roll is true with the given probability. t.mu is held.
func (t *Tenant) roll(probability float64) bool {
	t.rng += 0x9e3779b97f4a7c15 // splitmix64
	z := t.rng
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return float64(z>>11)/(1<<53) < probability
}

// Latency delays the answer.
func Latency(d time.Duration) Effect { return func(p *plan) { p.latency += d } }

// Hang sends nothing until the client leaves.
func Hang() Effect { return func(p *plan) { p.hang = true } }

// Until holds the answer back until done is closed, or the client leaves.
func Until(done <-chan struct{}) Effect { return func(p *plan) { p.until = done } }

// Answer answers with a status and a body: JSON, HTML, or nothing.
func Answer(status int, body string) Effect {
	return answer(func(w http.ResponseWriter) {
		kind := "text/html; charset=utf-8"
		if strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[") {
			kind = "application/json; charset=utf-8"
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the client has left
	})
}

// AnswerError answers with an error of the API.
func AnswerError(status int, code, message string) Effect {
	return answer(apiError{status, code, message}.write)
}

// LoginError answers with an error of the token endpoint: OAuth 2.0's code, the number after AADSTS, a message.
func LoginError(status int, code string, number int, message string) Effect {
	return answer(loginError{status, code, number, message}.write)
}

// Throttle answers AF429, with status 429 or 403, and a Retry-After in whole seconds unless that is 0.
func Throttle(status int, retryAfter time.Duration) Effect {
	return answer(func(w http.ResponseWriter) {
		if retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
		}
		apiError{status, "AF429", "Too many requests. Method=GetBlob, PublisherId=00000000-0000-0000-0000-000000000000"}.write(w)
	})
}

// Unauthorized answers as to an expired token.
func Unauthorized() Effect {
	return answer(func(w http.ResponseWriter) {
		frameworkError(w, http.StatusUnauthorized, "Authorization has been denied for this request.")
	})
}

// PermissionMissing answers AF10001, with status 401 or 403.
func PermissionMissing(status int) Effect {
	return answer(permissionMissing(status, "ServiceHealth.Read", permissionRead))
}

// AuditingOff answers as the API does for a tenant whose unified audit logging is off.
func AuditingOff() Effect {
	return AnswerError(http.StatusBadRequest, "AF20011", "The tenant ID passed in the URL does not exist in the system or has been deleted.")
}

// HTMLPage answers as a front door or proxy would.
func HTMLPage(status int) Effect {
	return Answer(status, "<!DOCTYPE html><html><head><title>"+http.StatusText(status)+"</title></head><body><h2>Our services aren't available right now</h2></body></html>\n")
}

// Redirect answers with a redirection.
func Redirect(status int, to string) Effect {
	return answer(func(w http.ResponseWriter) {
		w.Header().Set("Location", to)
		w.WriteHeader(status)
	})
}

func answer(write func(http.ResponseWriter)) Effect {
	return func(p *plan) {
		if p.answer == nil {
			p.answer = write
		}
	}
}

// CutConnection breaks the connection after n bytes of the body, as sent; at the latest at its end.
func CutConnection(n int64) Effect { return breakBody(connection, n) }

// EndEarly ends the answer after n bytes of the body, as sent, as if it were complete.
func EndEarly(n int64) Effect { return breakBody(early, n) }

// Stall stops sending after n bytes of the body, at the latest at its end, and waits until the client leaves.
func Stall(n int64) Effect { return breakBody(stall, n) }

// BreakGzip compresses the body, if the client takes that, and spoils it after n compressed bytes, at the latest at
// its end. A client that does not take gzip gets the body with bytes that are no JSON.
func BreakGzip(n int64) Effect { return breakBody(garbage, n) }

func breakBody(b breakage, n int64) Effect {
	return func(p *plan) {
		if p.breakage == unbroken {
			p.breakage, p.breakAfter = b, n
		}
	}
}

// LengthOff announces a Content-Length that is off by so many bytes. With too great a length the connection breaks at
// the body's end, with too small a one the body's end is missing.
func LengthOff(by int64) Effect { return func(p *plan) { p.lengthOff = by } }

// NextPage gives a listing page this NextPageUri.
func NextPage(uri string) Effect {
	return nextPage(func(*call) string { return uri })
}

// NextPageLoop gives a listing page a NextPageUri that is the page's own.
func NextPageLoop() Effect {
	return nextPage(func(c *call) string { return scheme(c.r) + "://" + c.r.Host + c.r.URL.RequestURI() })
}

// NoNextPage withholds the NextPageUri of a listing page, so that the pages after it are missing.
func NoNextPage() Effect {
	return nextPage(func(*call) string { return "" })
}

func nextPage(uri func(*call) string) Effect {
	return func(p *plan) { p.nextPage = uri }
}

// ContentURIBase gives the contentUris of a listing page another scheme and host, such as "https://foreign.example".
func ContentURIBase(base string) Effect { return func(p *plan) { p.contentURIBase = base } }
