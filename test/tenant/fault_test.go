package tenant_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"in_office365/test/tenant"
)

func TestFaultsThatAnswer(t *testing.T) {
	tests := []struct {
		name   string
		effect tenant.Effect
		status int
		code   string
		body   string // a part of it
		header http.Header
	}{
		{"throttled as 403", tenant.Throttle(403, 0), 403, "AF429", "", http.Header{"Retry-After": nil}},
		{"throttled with a wait", tenant.Throttle(429, 30*time.Second), 429, "AF429", "", http.Header{"Retry-After": {"30"}}},
		{"an internal error", tenant.AnswerError(500, "AF50000", "An internal error occurred."), 500, "AF50000", "", nil},
		{"an empty error", tenant.Answer(503, ""), 503, "", "", nil},
		{"pseudo JSON", tenant.Answer(500, "{'error':{'code':'AF50000'}}"), 500, "", "'AF50000'", nil},
		{"a page of a front door", tenant.HTMLPage(502), 502, "", "<h2>", http.Header{"Content-Type": {"text/html; charset=utf-8"}}},
		{"a page that says 200", tenant.HTMLPage(200), 200, "", "<h2>", nil},
		{"token refused", tenant.Unauthorized(), 401, "Authorization has been denied for this request.", "", nil},
		{"permission missing", tenant.PermissionMissing(401), 401, "AF10001", "ServiceHealth.Read", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := inMemory(t, subscribed(tenant.Config{})).login()
			c.tenant.Inject(tenant.Fault{Operation: tenant.ListSubscriptions}, test.effect)
			a := c.get("subscriptions/list")
			a.is(test.status, test.code)
			if !strings.Contains(a.body, test.body) {
				t.Errorf("body: %s, want %s in it", a.body, test.body)
			}
			for name, want := range test.header {
				if got := a.Header[name]; !slices.Equal(got, want) {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestLoginFaults(t *testing.T) {
	c := inMemory(t, tenant.New(tenant.Config{}))
	c.tenant.Inject(tenant.Fault{Operation: tenant.Token, Times: 1}, tenant.LoginError(503, "temporarily_unavailable", 90033, "A transient error has occurred."))
	if a := c.post("/"+tenant.DefaultID+"/oauth2/token", grant()); a.StatusCode != 503 || !strings.Contains(a.body, "AADSTS90033") {
		t.Errorf("got %d %s, want 503 with AADSTS90033", a.StatusCode, a.body)
	}
	c.login().get("subscriptions/list").is(200, "")
}

func TestFaultsHitTheCallsTheyName(t *testing.T) {
	created := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	broken := tenant.AnswerError(500, "AF50000", "")
	// The calls, in this order: list Exchange, list General, blob 0, blob 1, blob 0 again.
	tests := []struct {
		name  string
		fault tenant.Fault
		want  string // of each call, x: hit
	}{
		{"every call", tenant.Fault{}, "xxxxx"},
		{"an operation", tenant.Fault{Operation: tenant.ListContent}, "xx..."},
		{"a content type, its blobs included", tenant.Fault{ContentType: tenant.Exchange}, "x.x.x"},
		{"a blob", tenant.Fault{ContentID: "blob 0"}, "..x.x"},
		{"so many times", tenant.Fault{Times: 2}, "xx..."},
		{"after so many", tenant.Fault{Skip: 3}, "...xx"},
		{"after so many, so many times", tenant.Fault{Skip: 1, Times: 1}, ".x..."},
		{"a certain probability", tenant.Fault{Probability: 1}, "xxxxx"},
		{"a page", tenant.Fault{Page: 1}, "xx..."},
		{"another page", tenant.Fault{Page: 2}, "....."},
		{"a window with its first moment", tenant.Fault{Covers: created}, "xx..."},
		{"not a window with its end", tenant.Fault{Covers: created.Add(time.Second)}, "....."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := inMemory(t, subscribed(tenant.Config{})).login()
			blobs := []string{c.tenant.AddBlob(tenant.Exchange, created, tenant.Generated{}), c.tenant.AddBlob(tenant.General, created, tenant.Generated{})}
			if test.fault.ContentID != "" {
				test.fault.ContentID = blobs[0]
			}
			injected := c.tenant.Inject(test.fault, broken)
			var got strings.Builder
			calls := []string{
				listing(tenant.Exchange, created, created.Add(time.Second)), listing(tenant.General, created, created.Add(time.Second)),
				"audit/" + blobs[0], "audit/" + blobs[1], "audit/" + blobs[0],
			}
			for _, call := range calls {
				if c.get(call).StatusCode == 500 {
					got.WriteByte('x')
				} else {
					got.WriteByte('.')
				}
			}
			if got.String() != test.want || injected.Hits() != strings.Count(test.want, "x") {
				t.Errorf("hit %s (%d), want %s", got.String(), injected.Hits(), test.want)
			}
			injected.Remove()
			for _, call := range calls {
				c.get(call).is(200, "")
			}
		})
	}
}

func TestAProbabilityIsKeptAndSeeded(t *testing.T) {
	pattern := func(seed uint64) string {
		c := inMemory(t, subscribed(tenant.Config{Seed: seed})).login()
		c.tenant.Inject(tenant.Fault{Probability: 0.25}, tenant.Answer(503, ""))
		var s strings.Builder
		for range 400 {
			s.WriteString(c.get("subscriptions/list").Status[:1])
		}
		return s.String()
	}
	one := pattern(1)
	if n := strings.Count(one, "5"); n < 70 || n > 130 {
		t.Errorf("%d of 400 calls failed, want about 100", n)
	}
	if one != pattern(1) || one == pattern(2) {
		t.Error("the same seed must fail the same calls, another seed others")
	}
}

func TestLatenciesAddUpBeforeAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, subscribed(tenant.Config{})).login()
		c.tenant.Inject(tenant.Fault{}, tenant.Latency(time.Second), tenant.Answer(503, ""))
		c.tenant.Inject(tenant.Fault{}, tenant.Latency(time.Minute), tenant.Answer(500, ""))
		start := time.Now()
		c.get("subscriptions/list").is(503, "")
		if got := time.Since(start); got != 61*time.Second {
			t.Errorf("took %v, want 1m1s", got)
		}
	})
}

// Bodies that end before their time, as a client sees them.
func TestBrokenBodies(t *testing.T) {
	const whole, part = true, false
	tests := []struct {
		name     string
		gzip     bool
		effect   tenant.Effect
		readable bool // the body ends without an error
		size     int  // bytes of it that arrive, -1: some
	}{
		{"connection cut", false, tenant.CutConnection(1000), part, 1000},
		{"connection cut at the start", false, tenant.CutConnection(0), part, 0},
		{"connection cut at the end", false, tenant.CutConnection(1 << 40), part, -1},
		{"connection cut, compressed", true, tenant.CutConnection(1000), part, -1},
		{"ended early", false, tenant.EndEarly(1000), whole, 1000},
		{"ended early, compressed", true, tenant.EndEarly(1000), part, -1},
		{"gzip broken at once", false, tenant.BreakGzip(20), part, -1},
		{"gzip broken later", true, tenant.BreakGzip(5000), part, -1},
		{"gzip broken at its end", true, tenant.BreakGzip(1 << 40), part, -1},
		{"length too great", false, tenant.LengthOff(1), part, -1},
		{"length too small", false, tenant.LengthOff(-1), whole, -1},
	}
	for name, connect := range connections {
		for _, test := range tests {
			t.Run(name+"/"+test.name, func(t *testing.T) {
				c := connect(t, subscribed(tenant.Config{Gzip: test.gzip})).login()
				id := c.tenant.AddBlob(tenant.Exchange, time.Now().Add(-time.Hour), tenant.Generated{Seed: 1, Records: 200})
				c.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, Times: 1}, test.effect)
				a := c.get("audit/" + id)
				if (a.err == nil) != test.readable {
					t.Errorf("reading: error %v, want one: %v", a.err, !test.readable)
				}
				if test.size >= 0 && len(a.body) != test.size {
					t.Errorf("%d bytes arrived, want %d", len(a.body), test.size)
				}
				if !test.readable && test.size < 0 && len(a.body) == 0 && test.name != "gzip broken at once" {
					t.Error("no byte arrived before the break")
				}
				if test.readable && json.Valid([]byte(a.body)) {
					t.Error("the body is whole")
				}
				good := c.get("audit/" + id)
				if good.err != nil || len(good.recordIDs()) != 200 {
					t.Errorf("the next fetch: %d records, error %v; want 200", len(good.recordIDs()), good.err)
				}
				if b := c.tenant.Account().Blobs[0]; b.Partial != 1 || b.Whole != 1 {
					t.Errorf("account: %d partial, %d whole; want 1, 1", b.Partial, b.Whole)
				}
			})
		}
	}
}

func TestHangsEndWhenTheClientLeaves(t *testing.T) {
	for name, effect := range map[string]tenant.Effect{"before the answer": tenant.Hang(), "in the body": tenant.Stall(1000)} {
		for where, connect := range connections {
			t.Run(name+"/"+where, func(t *testing.T) {
				c := connect(t, subscribed(tenant.Config{})).login()
				id := c.tenant.AddBlob(tenant.Exchange, time.Now().Add(-time.Hour), tenant.Generated{Records: 100})
				c.tenant.Inject(tenant.Fault{}, effect)
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				response, err := c.http.Do(c.request(ctx, http.MethodGet, "audit/"+id))
				if err == nil {
					_, err = io.ReadAll(response.Body)
					response.Body.Close()
				}
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error = %v, want the deadline's", err)
				}
				deadline := time.After(5 * time.Second)
				for c.tenant.Account().Statuses[tenant.FetchBlob] == nil {
					select {
					case <-deadline:
						t.Fatal("the tenant has not noticed that the client left")
					case <-time.Tick(time.Millisecond):
					}
				}
			})
		}
	}
}

func TestAnAnswerIsHeldBackUntilReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, subscribed(tenant.Config{})).login()
		release, answered := make(chan struct{}), make(chan struct{})
		c.tenant.Inject(tenant.Fault{Operation: tenant.ListSubscriptions}, tenant.Until(release))
		go func() {
			defer close(answered)
			c.get("subscriptions/list").is(200, "")
		}()
		synctest.Wait()
		select {
		case <-answered:
			t.Error("answered before")
		default:
		}
		close(release)
		<-answered
	})
}

func TestHangsTakeNoTimeInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, subscribed(tenant.Config{Gzip: true})).login()
		id := c.tenant.AddBlob(tenant.Exchange, time.Now().Add(-time.Hour), tenant.Generated{Records: 100})
		c.tenant.Inject(tenant.Fault{}, tenant.Stall(1000))
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		response, err := c.http.Do(c.request(ctx, http.MethodGet, "audit/"+id))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 20*time.Minute {
			t.Errorf("error = %v after %v, want the deadline's after 20m", err, time.Since(start))
		}
	})
}

func TestAnAbandonedBodyEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails when a goroutine is left
		c := inMemory(t, subscribed(tenant.Config{})).login()
		id := c.tenant.AddBlob(tenant.Exchange, time.Now().Add(-time.Hour), tenant.Generated{Records: 10_000})
		response, err := c.http.Do(c.request(t.Context(), http.MethodGet, "audit/"+id))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, response.Body, 1000); err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if b := c.tenant.Account().Blobs[0]; b.Partial != 1 || b.Whole != 0 {
			t.Errorf("account: %d partial, %d whole; want 1, 0", b.Partial, b.Whole)
		}
	})
}

func TestListingFaults(t *testing.T) {
	created := time.Now().Add(-time.Hour)
	window := listing(tenant.Exchange, created.Add(-time.Minute), time.Now())
	setup := func(t *testing.T, f tenant.Fault, e tenant.Effect) *client {
		c := inMemory(t, subscribed(tenant.Config{PageSize: 1})).login()
		for range 3 {
			c.tenant.AddBlob(tenant.Exchange, created, tenant.Generated{})
		}
		f.Operation = tenant.ListContent
		c.tenant.Inject(f, e)
		return c
	}
	t.Run("NextPageUri to itself", func(t *testing.T) {
		c := setup(t, tenant.Fault{Page: 2}, tenant.NextPageLoop())
		second := c.get(window).Header.Get("NextPageUri")
		if got := c.get(second).Header.Get("NextPageUri"); got != second {
			t.Errorf("got %s, want %s", got, second)
		}
	})
	t.Run("NextPageUri to a foreign host", func(t *testing.T) {
		const foreign = "https://foreign.example/api/v1/next"
		c := setup(t, tenant.Fault{}, tenant.NextPage(foreign))
		if got := c.get(window).Header.Get("NextPageUri"); got != foreign {
			t.Errorf("got %s, want %s", got, foreign)
		}
	})
	t.Run("the second page missing for a while", func(t *testing.T) {
		c := setup(t, tenant.Fault{Times: 1}, tenant.NoNextPage())
		if got := c.get(window).Header.Get("NextPageUri"); got != "" {
			t.Errorf("got %s, want none", got)
		}
		if got := c.get(window).Header.Get("NextPageUri"); got == "" {
			t.Error("the fault stays")
		}
	})
	t.Run("contentUri to a foreign host", func(t *testing.T) {
		c := setup(t, tenant.Fault{}, tenant.ContentURIBase("https://foreign.example"))
		if got := c.get(window).items()[0].ContentURI; !strings.HasPrefix(got, "https://foreign.example/api/v1.0/") {
			t.Errorf("got %s, want it at foreign.example", got)
		}
	})
	t.Run("not JSON", func(t *testing.T) {
		c := setup(t, tenant.Fault{}, tenant.Answer(200, "<html>"))
		c.get(window).is(200, "")
	})
}
