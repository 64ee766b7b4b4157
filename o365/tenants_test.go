package o365_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"in_office365/o365"
)

const other = "22222222-3333-4444-5555-666666666666"

func TestClientForAnotherTenant(t *testing.T) {
	for _, tc := range []struct{ name, publisher, want string }{
		{"publisher is the tenant by default", "", other},
		{"publisher of its own", publisher, publisher},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got *http.Request
			first, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				got = r
				io.WriteString(w, "[]")
			})
			tokens := &numberedTokens{refused: 41}
			c, err := first.ForTenant(other, tc.publisher, tokens, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Subscriptions(t.Context()); err != nil {
				t.Fatal(err)
			}
			if want := strings.Replace(feed, tenant, other, 1) + "/subscriptions/list"; got.URL.Path != want {
				t.Errorf("path %s, want %s", got.URL.Path, want)
			}
			if p := got.URL.Query().Get("PublisherIdentifier"); p != tc.want {
				t.Errorf("PublisherIdentifier %s, want %s", p, tc.want)
			}
			if a := got.Header.Get("Authorization"); a != "Bearer "+tokens.name() {
				t.Errorf("Authorization %q is not the tenant's", a)
			}
			if !c.ClockKnown() || first.ClockKnown() {
				t.Error("the clocks are not apart")
			}
		})
	}
}

func TestClientForAnotherTenantRefuses(t *testing.T) {
	c := inMemory(t, nil)
	for _, tc := range []struct {
		tenant, publisher string
		tokens            o365.TokenSource
		want              string
	}{
		{"contoso.example.com", "", &numberedTokens{}, `tenant "contoso.example.com" is not a GUID`},
		{other, "contoso", &numberedTokens{}, `publisher identifier "contoso" is not a GUID`},
		{other, "", nil, "no token source"},
	} {
		if _, err := c.ForTenant(tc.tenant, tc.publisher, tc.tokens, nil); err == nil || err.Error() != tc.want {
			t.Errorf("got %v, want %s", err, tc.want)
		}
	}
}

// What one tenant is asked to wait is none of another's business.
func TestThrottledTenantHoldsNoOtherBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, tenant) {
				w.Header().Set("Retry-After", "60")
				fail(w, http.StatusTooManyRequests, "AF429", "Too many requests.")
				return
			}
			io.WriteString(w, "[]")
		})
		second, err := first.ForTenant(other, "", &numberedTokens{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := first.Subscriptions(t.Context()); err == nil {
			t.Fatal("not throttled")
		}
		if !first.Held() || second.Held() {
			t.Errorf("held: the throttled one %v, the other %v", first.Held(), second.Held())
		}
		begun := time.Now()
		if _, err := second.Subscriptions(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("the other tenant waited %s", took)
		}
	})
}

// An admitted call has waited for the budget before, and goes at once; the next call with the same context waits as any other.
func TestAdmittedCallWaitsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "[]") }, func(o *o365.Options) { o.RequestsPerMinute = 6 })
		timed := func(what string, want time.Duration, do func() error) {
			t.Helper()
			begun := time.Now()
			if err := do(); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begun).Round(time.Second); took != want {
				t.Errorf("%s took %s, want %s", what, took, want)
			}
		}
		call := t.Context()
		admit := func() (err error) {
			call, err = c.Admit(t.Context())
			return err
		}
		list := func() error { _, err := c.Subscriptions(call); return err }
		timed("the first admission", 0, admit)
		timed("the second, at one call in ten seconds,", 10*time.Second, admit)
		timed("the admitted call", 0, list)
		timed("a further call", 10*time.Second, list)
	})
}
