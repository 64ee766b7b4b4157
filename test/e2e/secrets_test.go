package e2e

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"in_office365/test/tenant"
)

// The token goes to the API's host, and the credential to the login host, whatever an answer says. Elsewhere nothing arrives at all.
func TestNothingIsSentElsewhere(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		on     tenant.Operation
		effect func(elsewhere string) tenant.Effect
	}{
		"contentUri":               {tenant.ListContent, tenant.ContentURIBase},
		"NextPageUri":              {tenant.ListContent, func(u string) tenant.Effect { return tenant.NextPage(u + "/api/v1/next") }},
		"redirected login":         {tenant.Token, func(u string) tenant.Effect { return tenant.Redirect(http.StatusTemporaryRedirect, u) }},
		"redirected listing":       {tenant.ListContent, func(u string) tenant.Effect { return tenant.Redirect(http.StatusTemporaryRedirect, u) }},
		"redirected blob":          {tenant.FetchBlob, func(u string) tenant.Effect { return tenant.Redirect(http.StatusMovedPermanently, u) }},
		"redirected start":         {tenant.StartSubscription, func(u string) tenant.Effect { return tenant.Redirect(http.StatusPermanentRedirect, u) }},
		"redirected subscriptions": {tenant.ListSubscriptions, func(u string) tenant.Effect { return tenant.Redirect(http.StatusFound, u) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				t.Errorf("%s %s arrived, Authorization: %t", r.Method, r.URL.Path, r.Header.Get("Authorization") != "")
			}))
			t.Cleanup(elsewhere.Close)
			x := newTrial(t, tenant.Config{})
			x.offer(6, 3, x.ago(6*day), x.ago(time.Minute))
			fault := x.tenant.Inject(tenant.Fault{Operation: tc.on}, tc.effect(elsewhere.URL))
			x.start()
			until(t, "the fault", func() bool { return fault.Hits() > 0 && strings.Contains(x.host.Log(), "failed") })
			clean(t, x.host.Stop())
		})
	}
}

// gateway stands before the emulated tenant and answers some requests with an error that repeats all they hold.
func gateway(next http.Handler) http.Handler {
	var mu sync.Mutex
	refused := false // the first login, as each refusal costs seconds
	chance := rand.New(rand.NewPCG(1, 0))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		mu.Lock()
		// Of the others, one that fails is tried again after a minute.
		repeats := chance.IntN(6) == 0 && (strings.Contains(r.URL.Path, "/audit") || strings.Contains(r.URL.Path, "/subscriptions/content"))
		login := strings.Contains(r.URL.Path, "/oauth2/") && !refused
		refused = refused || login
		mu.Unlock()
		if login {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprintf(w, `{"error":%q,"error_description":%q}`, "cannot forward "+tenant.DefaultClientSecret, fmt.Sprintf("cannot forward %s", body))
			return
		}
		if !repeats {
			next.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprintf(w, `{"error":{"code":"AF50000","message":"cannot forward %s from %s"}}`, r.Header.Get("Authorization"), body)
	})
}

// Nothing confidential is in what the plugin prints, hands over or writes, at any level of the log, whatever fails and whatever answers repeat.
func TestNothingConfidentialIsPrinted(t *testing.T) {
	t.Parallel()
	x := newTrial(t, tenant.Config{})
	server := httptest.NewServer(gateway(x.tenant))
	t.Cleanup(server.Close)
	x.keys["api_endpoint"], x.keys["authentication_endpoint"] = server.URL, server.URL
	x.keys["metrics_address"] = freeAddress(t)
	x.offer(12, 3, x.ago(6*day), x.ago(time.Minute))
	var faults []*tenant.Injected
	inject := func(f tenant.Fault, effect tenant.Effect) {
		f.Times = 1
		faults = append(faults, x.tenant.Inject(f, effect))
	}
	for i, effect := range []tenant.Effect{
		tenant.Unauthorized(), tenant.PermissionMissing(http.StatusForbidden), tenant.HTMLPage(http.StatusBadGateway), tenant.Throttle(http.StatusForbidden, 0),
		tenant.BreakGzip(100), tenant.CutConnection(100), tenant.Redirect(http.StatusFound, "https://elsewhere.example/"),
	} {
		contentType := tenant.ContentTypes()[i%len(tenant.ContentTypes())]
		inject(tenant.Fault{Operation: tenant.FetchBlob, ContentType: contentType}, effect)
		if i < len(tenant.ContentTypes()) { // after a refusal a minute passes before the next listing
			inject(tenant.Fault{Operation: tenant.ListContent, ContentType: contentType}, effect)
		}
	}
	inject(tenant.Fault{Operation: tenant.Token}, tenant.LoginError(http.StatusUnauthorized, "invalid_client", 7000215, "Invalid client secret "+tenant.DefaultClientSecret))
	x.start("--log-level", "trace")
	until(t, "every fault", func() bool {
		return !slices.ContainsFunc(faults, func(f *tenant.Injected) bool { return f.Hits() == 0 })
	})
	x.answers = map[string]string{}
	for _, path := range []string{"/", "/metrics", "/readyz", "/healthz"} {
		_, x.answers[path] = ask(t, "http://"+x.keys["metrics_address"]+path)
	}
	contains(t, x.answers["/"], "failed: ")
	x.stop()
	x.printsNothingConfidential()
}

// printsNothingConfidential looks for secrets, assertions and tokens in the log, in what was handed to the host, in the ledger, and in answers.
func (x *trial) printsNothingConfidential() {
	x.Helper()
	shown := map[string]string{"the log": x.wholeLog()}
	maps.Copy(shown, x.answers)
	for _, path := range []string{x.out, filepath.Join(x.dir, "office365.db")} {
		content, err := os.ReadFile(path)
		if err != nil {
			x.Fatal(err)
		}
		shown[filepath.Base(path)] = string(content)
	}
	seen := x.tenant.Confidential()
	if len(seen) < 2 {
		x.Errorf("only %d secrets and tokens have been seen", len(seen))
	}
	confidential := append([]string{"pass word"}, seen...)
	for _, c := range seen {
		if parts := strings.Split(c, "."); len(parts) == 3 { // the header says nothing, and is the same in all
			confidential = append(confidential, parts[1:]...)
		}
	}
	for _, c := range confidential {
		c = c[:min(len(c), 20)] // log lines are cut, so of an assertion its beginning may be all that shows
		for where, text := range shown {
			if strings.Contains(text, c) || strings.Contains(text, url.QueryEscape(c)) {
				x.Errorf("in %s: %s", where, c)
			}
		}
	}
}
