package o365_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"in_office365/o365"
)

const (
	tenant    = "11111111-2222-3333-4444-555555555555"
	publisher = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	feed      = "/api/v1.0/" + tenant + "/activity/feed"
)

// numberedTokens issues token-1 until it is refused, then token-2, and so on.
type numberedTokens struct {
	mu      sync.Mutex
	refused int
	roles   []string // tokens whose roles were refused
}

func (n *numberedTokens) name() string { return fmt.Sprintf("token-%d", n.refused+1) }

func (n *numberedTokens) Token(context.Context) (*oauth2.Token, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return &oauth2.Token{AccessToken: n.name()}, nil
}

func (n *numberedTokens) Refuse(accessToken string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if accessToken == n.name() {
		n.refused++
	}
}

func (n *numberedTokens) RefuseRoles(accessToken string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.roles = append(n.roles, accessToken)
}

func parse(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// serve returns a client of a server with that handler, and the server's URL.
func serve(t testing.TB, handler http.HandlerFunc, change ...func(*o365.Options)) (*o365.Client, string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	o := o365.Options{Tenant: tenant, Publisher: publisher, APIURL: parse(t, server.URL), Tokens: &numberedTokens{}}
	for _, f := range change {
		f(&o)
	}
	c, err := o365.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c, server.URL
}

// inMemory returns a client whose calls go to handler without a network, for
// use inside a synctest bubble.
func inMemory(t testing.TB, handler http.HandlerFunc, change ...func(*o365.Options)) *o365.Client {
	t.Helper()
	o := o365.Options{Tenant: tenant, APIURL: parse(t, "https://api.example.com"), Tokens: &numberedTokens{},
		HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			answer := httptest.NewRecorder()
			handler(answer, r)
			return answer.Result(), nil
		})}}
	for _, f := range change {
		f(&o)
	}
	c, err := o365.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"code":%q,"message":%q}}`, code, message)
}

// typed is the *o365.Error that every failure must be.
func typed(t testing.TB, err error) *o365.Error {
	t.Helper()
	e, ok := errors.AsType[*o365.Error](err)
	if !ok {
		t.Fatalf("got error %v (%T), want an *o365.Error", err, err)
	}
	return e
}

func TestNewRefuses(t *testing.T) {
	good := o365.Options{Tenant: tenant, APIURL: parse(t, "https://api.example.com"), Tokens: &numberedTokens{}}
	for _, tc := range []struct {
		name   string
		change func(*o365.Options)
		want   string
	}{
		{"a tenant by domain name", func(o *o365.Options) { o.Tenant = "contoso.example" }, `tenant "contoso.example" is not a GUID`},
		{"a publisher that is no GUID", func(o *o365.Options) { o.Publisher = "contoso" }, `publisher identifier "contoso" is not a GUID`},
		{"no API URL", func(o *o365.Options) { o.APIURL = nil }, "no API URL"},
		{"no tokens", func(o *o365.Options) { o.Tokens = nil }, "no token source"},
		{"clear text", func(o *o365.Options) { o.APIURL = parse(t, "http://api.example.com") }, "clear text"},
		{"a negative budget", func(o *o365.Options) { o.RequestsPerMinute = -1 }, "must be positive"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := good
			tc.change(&o)
			if _, err := o365.New(o); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestCheckEndpoint(t *testing.T) {
	for _, tc := range []struct {
		url           string
		allowInsecure bool
		want          bool
	}{
		{"https://api.example.com", false, true},
		{"https://api.example.com:8443/base", false, true},
		{"http://127.0.0.1:8080", false, true},
		{"http://[::1]:8080", false, true},
		{"http://localhost", false, true},
		{"http://api.example.com", false, false},
		{"http://api.example.com", true, true},
		{"http://192.0.2.1", false, false},
		{"http://localhost.example.com", false, false},
		{"ftp://api.example.com", true, false},
		{"api.example.com", false, false},
		{"https://user:password@api.example.com", false, false},
		{"https://api.example.com?x=y", false, false},
	} {
		err := o365.CheckEndpoint(parse(t, tc.url), tc.allowInsecure)
		if (err == nil) != tc.want {
			t.Errorf("CheckEndpoint(%s, %v) = %v, want allowed: %v", tc.url, tc.allowInsecure, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "password@") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

// Every operation, called once; see TestEveryCall and TestRefusedToken.
func everyCall(c *o365.Client, base string) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"GET " + feed + "/subscriptions/list": func(ctx context.Context) error {
			_, err := c.Subscriptions(ctx)
			return err
		},
		"POST " + feed + "/subscriptions/start": func(ctx context.Context) error {
			return c.StartSubscription(ctx, o365.AuditExchange)
		},
		"GET " + feed + "/subscriptions/content": func(ctx context.Context) error {
			return c.ListContent(ctx, o365.AuditExchange, noon, noon.Add(time.Hour), func([]o365.Blob) error { return nil })
		},
		"GET " + feed + "/audit/blob$1": func(ctx context.Context) error {
			body, err := c.OpenBlob(ctx, o365.Blob{URI: base + feed + "/audit/blob$1"})
			if err != nil {
				return err
			}
			return body.Close()
		},
	}
}

func TestEveryCall(t *testing.T) {
	var got *http.Request
	c, base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		io.WriteString(w, "[]")
	}, func(o *o365.Options) { o.UserAgent = "test/1.0" })

	for want, call := range everyCall(c, base) {
		t.Run(want, func(t *testing.T) {
			if err := call(t.Context()); err != nil {
				t.Fatal(err)
			}
			if call := got.Method + " " + got.URL.Path; call != want {
				t.Errorf("called %s, want %s", call, want)
			}
			if id := got.URL.Query()["PublisherIdentifier"]; !slices.Equal(id, []string{publisher}) {
				t.Errorf("PublisherIdentifier is %q", id)
			}
			for header, want := range map[string]string{
				"Authorization": "Bearer token-1", "User-Agent": "test/1.0", "Accept-Encoding": "gzip",
			} {
				if got := got.Header.Get(header); got != want {
					t.Errorf("%s is %q, want %q", header, got, want)
				}
			}
		})
	}
}

func TestPublisherIsTheTenantByDefault(t *testing.T) {
	var got string
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.Query().Get("PublisherIdentifier")
		io.WriteString(w, "[]")
	}, func(o *o365.Options) { o.Publisher = "" })
	if _, err := c.Subscriptions(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got != tenant {
		t.Errorf("PublisherIdentifier is %q, want %q", got, tenant)
	}
}

func TestRefusedToken(t *testing.T) {
	for _, tc := range []struct {
		name      string
		good      string // the token that the server takes
		wantCalls []string
		wantErr   bool
	}{
		{"is replaced, and the call made again", "Bearer token-2", []string{"Bearer token-1", "Bearer token-2"}, false},
		{"is replaced once per call only", "Bearer token-9", []string{"Bearer token-1", "Bearer token-2"}, true},
	} {
		for _, operation := range []string{
			"GET " + feed + "/subscriptions/list", "POST " + feed + "/subscriptions/start",
			"GET " + feed + "/subscriptions/content", "GET " + feed + "/audit/blob$1",
		} {
			t.Run(tc.name+" "+operation, func(t *testing.T) {
				var calls []string
				c, base := serve(t, func(w http.ResponseWriter, r *http.Request) {
					calls = append(calls, r.Header.Get("Authorization"))
					if calls[len(calls)-1] != tc.good {
						w.WriteHeader(http.StatusUnauthorized)
						return
					}
					io.WriteString(w, "[]")
				})
				err := everyCall(c, base)[operation](t.Context())
				if !slices.Equal(calls, tc.wantCalls) {
					t.Errorf("calls were made with %q, want %q", calls, tc.wantCalls)
				}
				if !tc.wantErr {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if e := typed(t, err); e.Action != o365.Reconfigure || e.Status != 401 || e.Hint == "" {
					t.Errorf("got %#v, want Reconfigure with a hint", e)
				}
			})
		}
	}
}

// A missing permission is no fault of the token, which may do for other calls: whether a new one is wanted is left to the source.
func TestMissingPermission(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusUnauthorized} {
		calls, tokens := 0, &numberedTokens{}
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			calls++
			fail(w, status, "AF10001", "The permission set (ActivityFeed.Read) sent in the request does not include the expected permission.")
		}, func(o *o365.Options) { o.Tokens = tokens })
		if _, err := c.Subscriptions(t.Context()); typed(t, err).Action != o365.Reconfigure {
			t.Errorf("got %v, want Reconfigure", err)
		}
		if calls != 1 || tokens.refused != 0 || !slices.Equal(tokens.roles, []string{"token-1"}) {
			t.Errorf("status %d: %d calls, %d tokens refused, roles of %q", status, calls, tokens.refused, tokens.roles)
		}
	}
}

type brokenTokens struct{ err error }

func (b brokenTokens) Token(context.Context) (*oauth2.Token, error) { return nil, b.err }
func (brokenTokens) Refuse(string)                                  {}
func (brokenTokens) RefuseRoles(string)                             {}

func TestFailureToGetAToken(t *testing.T) {
	login := &o365.Error{Op: "get token", Code: "AADSTS7000215", Action: o365.Reconfigure}
	for _, tc := range []struct {
		name string
		err  error
		want o365.Action
	}{
		{"typed", login, o365.Reconfigure},
		{"any other", errors.New("broken"), o365.Retry},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _ := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("called without a token") },
				func(o *o365.Options) { o.Tokens = brokenTokens{tc.err} })
			_, err := c.Subscriptions(t.Context())
			if e := typed(t, err); !errors.Is(err, tc.err) || e.Action != tc.want {
				t.Errorf("got %#v, want the source's error with %v", e, tc.want)
			}
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed") }))
	defer other.Close()
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}, func(o *o365.Options) { o.HTTPClient = &http.Client{} })
	_, err := c.Subscriptions(t.Context())
	if e := typed(t, err); e.Status != http.StatusTemporaryRedirect || e.Action != o365.Reconfigure {
		t.Errorf("got %#v, want Reconfigure with the status", e)
	}
}

func TestErrorShowsNoToken(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusBadGateway, "", "cannot forward Authorization: "+r.Header.Get("Authorization"))
	})
	_, err := c.Subscriptions(t.Context())
	if text := fmt.Sprintf("%v %#v", err, err); strings.Contains(text, "token-1") || !strings.Contains(text, "Bearer [token]") {
		t.Errorf("got %s", text)
	}
}

func TestCancelledCall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	_, err := c.Subscriptions(ctx)
	if typed(t, err); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// stall is a body that says some words, each after a pause, and then nothing.
type stall struct {
	ctx   context.Context
	words []string
	pause time.Duration
}

func (s *stall) Read(p []byte) (int, error) {
	if len(s.words) == 0 {
		<-s.ctx.Done()
		return 0, s.ctx.Err()
	}
	time.Sleep(s.pause)
	n := copy(p, s.words[0])
	s.words = s.words[1:]
	return n, nil
}

func (s *stall) Close() error { return nil }

func TestSilentServer(t *testing.T) {
	const idle = 30 * time.Second
	answer := func(words ...string) roundTripper {
		return func(r *http.Request) (*http.Response, error) {
			if words == nil {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return &http.Response{StatusCode: 200, ContentLength: -1, Body: &stall{r.Context(), words, idle - time.Second}}, nil
		}
	}
	list := func(t *testing.T, c *o365.Client) error {
		_, err := c.Subscriptions(t.Context())
		return err
	}
	fetch := func(t *testing.T, c *o365.Client) error {
		body, err := c.OpenBlob(t.Context(), o365.Blob{URI: "https://api.example.com/blob"})
		if err != nil {
			return err
		}
		defer body.Close()
		small := make([]byte, 1)
		for {
			if _, err := body.Read(small); err != nil {
				return err
			}
			time.Sleep(2 * idle) // the reader may take its time
		}
	}
	for _, tc := range []struct {
		name   string
		server roundTripper
		call   func(*testing.T, *o365.Client) error
		wait   time.Duration
	}{
		{"before the answer", answer(), list, idle},
		{"in a document", answer("[", "{", `"`), list, 3*(idle-time.Second) + idle},
		{"in a blob", answer("[", "{", `"`), fetch, 3*(idle-time.Second) + 3*2*idle + idle},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := inMemory(t, nil, func(o *o365.Options) {
					o.BodyIdleTimeout, o.HTTPClient = idle, &http.Client{Transport: tc.server}
				})
				begin := time.Now()
				err := tc.call(t, c)
				if typed(t, err).Action != o365.Retry || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("got %v, want a timeout to retry", err)
				}
				if took := time.Since(begin); took != tc.wait {
					t.Errorf("gave up after %v, want %v", took, tc.wait)
				}
			})
		})
	}
}

// Real connections end their reads as the simulated ones above do.
func TestSilentServerOverASocket(t *testing.T) {
	c, base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "[")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}, func(o *o365.Options) { o.BodyIdleTimeout = 200 * time.Millisecond })
	body, err := c.OpenBlob(t.Context(), o365.Blob{URI: base + "/audit/1"})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := io.ReadAll(body); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a timeout", err)
	}
}

func TestNow(t *testing.T) {
	for _, tc := range []struct {
		name string
		skew []time.Duration // of the server, call by call
		age  string
		want time.Duration
	}{
		{"without an answer is local", nil, "", 0},
		{"follows a server ahead", []time.Duration{10 * time.Minute}, "", 10 * time.Minute},
		{"follows a server behind", []time.Duration{-10 * time.Minute}, "", -10 * time.Minute},
		{"ignores one server of many", []time.Duration{0, 0, time.Hour, 0}, "", 0},
		{"follows a clock that was set", []time.Duration{0, 0, 0, time.Hour, time.Hour, time.Hour, time.Hour}, "", time.Hour},
		{"ignores caches", []time.Duration{-time.Hour}, "3600", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var skew time.Duration
				c := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
					if tc.age != "" {
						w.Header().Set("Age", tc.age)
					}
					io.WriteString(w, "[]")
				})
				for _, skew = range tc.skew {
					if _, err := c.Subscriptions(t.Context()); err != nil {
						t.Fatal(err)
					}
					time.Sleep(17 * time.Second / 10)
				}
				if known := c.ClockKnown(); known != (len(tc.skew) > 0 && tc.age == "") {
					t.Errorf("clock known: %v", known)
				}
				if off := time.Until(c.Now()) - tc.want; off.Abs() > time.Second {
					t.Errorf("off by %v", off)
				}
			})
		})
	}
}

func TestSubscriptions(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "\xef\xbb\xbf"+` [{"contentType":"Audit.SharePoint","status":"enabled","webhook":{"status":"enabled","address":"https://webhook.example.com/"}},
			{"contentType":"audit.exchange","webhook":null},
			{"contentType":"DLP.All","status":"disabled"},
			{"contentType":"Audit.Later","status":"enabled"}] `)
	})
	got, err := c.Subscriptions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []o365.Subscription{
		{ContentType: o365.AuditSharePoint, Status: "enabled"},
		{ContentType: o365.AuditExchange},
		{ContentType: o365.DLPAll, Status: "disabled"},
		{ContentType: "Audit.Later", Status: "enabled"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var enabled []bool
	for _, s := range got {
		enabled = append(enabled, s.Enabled())
	}
	if want := []bool{true, true, false, true}; !slices.Equal(enabled, want) {
		t.Errorf("enabled: %v, want %v", enabled, want)
	}
}

func TestStartSubscription(t *testing.T) {
	for _, tc := range []struct {
		name          string
		status        int
		code, message string
		want          o365.Action
		retryAfter    time.Duration
	}{
		{"enabled already", 400, "AF20024", "The subscription is already enabled. No property change.", -1, 0},
		{"cool-down as 403", 403, "429", "Too many requests. Please retry again after 14m 56s", o365.Throttle, 14*time.Minute + 56*time.Second},
		{"cool-down as 429", 429, "429", "Please retry again after 9s.", o365.Throttle, 9 * time.Second},
		{"cool-down without a wait", 403, "429", "Too many requests.", o365.Throttle, 15 * time.Minute},
		{"cool-down out of proportion", 403, "429", "Please retry again after 9000h", o365.Throttle, 15 * time.Minute},
		{"auditing off", 500, "StartSubscription", "StartSubscription [CorrelationId=1] failed. Exception Microsoft.Office.Compliance.Audit.DataServiceException: Tenant " + tenant + " does not exist.", o365.Reconfigure, 0},
		{"disabled by an administrator", 400, "AF20023", "The subscription was disabled by a tenant admin.", o365.Resubscribe, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("contentType") != "DLP.All" || r.ContentLength != 0 {
					t.Errorf("called with %v and a body of %d", r.URL.Query(), r.ContentLength)
				}
				fail(w, tc.status, tc.code, tc.message)
			})
			err := c.StartSubscription(t.Context(), o365.DLPAll)
			if tc.want < 0 {
				if err != nil {
					t.Errorf("got %v, want success", err)
				}
				return
			}
			if e := typed(t, err); e.Action != tc.want || e.RetryAfter != tc.retryAfter || e.Code != tc.code {
				t.Errorf("got %#v, want %v after %v", e, tc.want, tc.retryAfter)
			}
		})
	}
}

// Each request is told of, with its error, but those that nobody waited for.
func TestCallsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		status := http.StatusOK
		c := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(250 * time.Millisecond)
			if status != http.StatusOK {
				fail(w, status, "AF50000", "busy")
				return
			}
			io.WriteString(w, "[]")
		}, func(o *o365.Options) {
			o.OnCall = func(call o365.Call) {
				text := fmt.Sprint(call.Op, " ", call.Took)
				if call.Err != nil {
					text += fmt.Sprint(" ", typed(t, call.Err).Status)
				}
				told = append(told, text)
			}
		})
		_, _ = c.Subscriptions(t.Context())
		status = http.StatusServiceUnavailable
		_, _ = c.Subscriptions(t.Context())
		status = http.StatusUnauthorized // costs a second request
		_ = c.StartSubscription(t.Context(), o365.AuditGeneral)
		left, leave := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer leave()
		_, _ = c.Subscriptions(left)
		want := []string{"list subscriptions 250ms", "list subscriptions 250ms 503", "start subscription 250ms 401", "start subscription 250ms 401"}
		if !slices.Equal(told, want) {
			t.Errorf("told of %q, want %q", told, want)
		}
	})
}
