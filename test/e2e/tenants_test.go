package e2e

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"in_office365/plugin/ledger"
	"in_office365/test/host/hosttest"
	"in_office365/test/tenant"
)

var (
	tenantCount = flag.Int("tenants", 40, "how many tenants TestManyTenants collects in one instance; one of them has not consented to the application")
	tenantsFor  = flag.Duration("tenants-for", 0, "how long TestManyTenants then watches what that takes, at the default poll_interval; 0: some seconds, at a shorter one")
)

// Many tenants in one instance, five content types each. The application is not known in one of them: that is announced, and nobody else
// notices. What it takes is stated.
func TestManyTenants(t *testing.T) {
	t.Parallel()
	m := newManyTenants(t)
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	inside := filepath.Join(dir, "inside")
	args := hostArgs([]keys{m.stanza(dir)}, "--interval-ms", "200", "--output", out)
	args[len(args)-1] = buildTelling(t, dir)
	m.offer(4)
	begun := time.Now()
	h := startHost(t, testHost, []string{"OFFICE365_INSIDE=" + inside}, args...)
	refused := int64(len(tenant.ContentTypes())) // notices
	h.WaitForStats(func(s hosttest.Stats) bool { return s.Records >= int64(offered(m.sound...))+refused })
	t.Logf("%d tenants, of which 1 is broken: the %d records of the others were there after %s",
		len(m.all), offered(m.sound...), time.Since(begun).Round(time.Second))
	m.watch(h, inside)

	// Nothing that has settled comes again after a reload, and what is new comes.
	until(t, "everything to settle", func() bool { return m.settled(filepath.Join(dir, "office365.db")) })
	m.look()
	h.Send("reload")
	h.WaitForLog(stopped, 1)
	m.offer(1)
	records := int64(offered(m.sound...))
	h.WaitForStats(func(s hosttest.Stats) bool { return s.Records >= records+2*refused })
	r := h.Stop()
	sound(t, r)
	t.Logf("the slower of the exits, at the reload and at the end: %.0f ms", r.Stats.ExitMillis)

	came := map[string]map[string]int{} // records and notices, by tenant
	for _, e := range received(t, out) {
		of, _ := e.Body["o365_tenant"].(string)
		if came[of] == nil {
			came[of] = map[string]int{}
		}
		came[of][e.ID()+e.Notice()]++
	}
	if got := came[m.broken.Config().ID]; len(got) != 1 || got["access_refused"] != int(2*refused) {
		t.Errorf("of the broken tenant came %v", got)
	}
	m.account(came)
	m.checkLog(r.Log)
}

// account asks for every record of the sound tenants, once, under the name of its tenant.
func (m *manyTenants) account(came map[string]map[string]int) {
	m.Helper()
	records, missing, repeated, foreign := 0, 0, 0, 0
	for _, tn := range m.sound {
		of := came[tn.Config().ID]
		for _, contentType := range tenant.ContentTypes() {
			for id := range tn.Account().RecordIDs(contentType) {
				records++
				switch n := of[id]; {
				case n == 0:
					missing++
				case n > 1:
					repeated++
				}
				delete(of, id)
			}
		}
		foreign += len(of)
	}
	m.Logf("offered %d records, missing %d, repeated %d, under another tenant's name %d", records, missing, repeated, foreign)
	if records == 0 || missing+repeated+foreign > 0 || len(came) != len(m.all) {
		m.Errorf("records of %d tenants came, of %d that there are", len(came), len(m.all))
	}
}

// manyTenants are tenants behind one address.
type manyTenants struct {
	*testing.T
	all, sound []*tenant.Tenant
	broken     *tenant.Tenant
	url        string
	shown      string // metrics_address
	poll       time.Duration
	calls      callCounter
	seed       uint64
}

func newManyTenants(t *testing.T) *manyTenants {
	m := &manyTenants{T: t, poll: 3 * time.Second, shown: freeAddress(t)}
	if *tenantsFor > 0 {
		m.poll = time.Minute
	}
	for i := range *tenantCount {
		c := tenant.Config{ID: fmt.Sprintf("22222222-3333-4444-5555-%012d", i), Subscribed: tenant.ContentTypes(), Latency: 50 * time.Millisecond, Gzip: true}
		if i == *tenantCount/2 {
			c.ClientID = "dddddddd-1d2e-4f3a-8b4c-5d6e7f8091a2"
			m.broken = tenant.New(c)
			m.all = append(m.all, m.broken)
			continue
		}
		tn := tenant.New(c)
		m.all, m.sound = append(m.all, tn), append(m.sound, tn)
	}
	server := httptest.NewServer(m.calls.count(tenant.Handler(m.all...)))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	m.url = server.URL
	return m
}

// stanza takes the tenants from a file.
func (m *manyTenants) stanza(dir string) keys {
	m.Helper()
	var list strings.Builder
	for i, tn := range m.all {
		fmt.Fprintf(&list, "%s # tenant %d\n", tn.Config().ID, i)
	}
	path := filepath.Join(dir, "tenants")
	if err := os.WriteFile(path, []byte(list.String()), 0o600); err != nil {
		m.Fatal(err)
	}
	return stanza(m.url, dir, keys{
		"tenant_id": "", "tenants_file": path, "poll_interval": m.poll.String(), "rate_limit": "2000/m",
		"metrics_address": m.shown,
		"dedup_window":    "off", // it would hide what is queued twice
	})
}

// offer publishes so many blobs of each content type, in all tenants; of the first time over the week, later within the last minutes.
func (m *manyTenants) offer(blobs int) {
	from := 6 * 24 * time.Hour
	if m.seed > 0 {
		from = 10 * time.Minute
	}
	for _, tn := range m.all {
		m.seed++
		tn.Publish(tenant.Plan{Seed: m.seed, Blobs: blobs, Records: 3, From: time.Now().Add(-from), To: time.Now().Add(-time.Minute)})
	}
}

// watch samples what the process takes while there is nothing to do but to list, and then brings new blobs.
func (m *manyTenants) watch(h *hosttest.Host, inside string) {
	m.Helper()
	span := max(*tenantsFor, 2*m.poll)
	before, begun := m.calls.total(), time.Now()
	m.calls.forget()
	var goroutines, resident, files []int64
	for tick := time.NewTicker(time.Second); time.Since(begun) < span; <-tick.C {
		var n, of int64
		if text, err := os.ReadFile(inside); err == nil {
			_, _ = fmt.Sscan(string(text), &n, &of)
		}
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", h.Pid()))
		if err != nil {
			m.Fatal(err)
		}
		goroutines, resident, files = append(goroutines, n), append(resident, memory(m.T, h.Pid(), "VmRSS")), append(files, int64(len(fds)))
	}
	minutes := time.Since(begun).Minutes()
	perMinute := float64(m.calls.total()-before) / minutes
	streams := len(m.all) * len(tenant.ContentTypes())
	m.Logf("%d content types in all, for %s: %.0f calls a minute, in half of the seconds up to %d, in any up to %d; goroutines %d, memory resident %d MB (at most ever %d MB), descriptors %d",
		streams, time.Since(begun).Round(time.Second), perMinute, m.calls.quantile(0.5), m.calls.quantile(1), slices.Max(goroutines), slices.Max(resident)>>20, mostResident(m.T, h.Pid())>>20, slices.Max(files))
	// Two for each content type, and what the calls and the connections of the moment need.
	if most := int64(2*streams + 400); slices.Max(goroutines) > most || slices.Max(goroutines) == 0 {
		m.Errorf("%d goroutines, at most %d are expected", slices.Max(goroutines), most)
	}
	// Each content type is listed once in an interval, all of them evenly, and so is the list of subscriptions now and then.
	listings := float64(streams) / m.poll.Minutes()
	if perMinute > 1.3*listings || perMinute < 0.5*listings {
		m.Errorf("%.0f calls a minute, while %.0f listings are due", perMinute, listings)
	}
	if n := m.broken.Account().Calls[tenant.Token]; n > 10+2*int(minutes) {
		m.Errorf("the login service was asked %d times for the broken tenant", n)
	}
	if limit := int64(150<<20 + len(m.all)<<18); slices.Max(resident) > limit {
		m.Errorf("%d MB are resident, more than %d MB", slices.Max(resident)>>20, limit>>20)
	}
}

// look asks the plugin itself: nothing is incomplete, and nobody but the broken tenant is not ready.
func (m *manyTenants) look() {
	m.Helper()
	for _, path := range []string{"/", "/metrics"} {
		begun := time.Now()
		_, text := ask(m.T, "http://"+m.shown+path)
		m.Logf("%s: %d kB in %s", path, len(text)>>10, time.Since(begun).Round(time.Millisecond))
	}
	until(m.T, "the broken tenant to be the only reason", func() bool { // what has settled is counted every few seconds
		_, text := ask(m.T, "http://"+m.shown+"/readyz")
		return strings.Count(text, `"kind"`) == 1 && strings.Contains(text, `"kind":"credential","tenant":"`+m.broken.Config().ID)
	})
	incomplete := regexp.MustCompile(`(?m)^office365_blobs_incomplete\{.*\} (\S+)$`)
	until(m.T, "nothing to be incomplete", func() bool {
		_, metrics := ask(m.T, "http://"+m.shown+"/metrics")
		found := incomplete.FindAllStringSubmatch(metrics, -1)
		return len(found) > 0 && !slices.ContainsFunc(found, func(match []string) bool { return match[1] != "0" })
	})
}

// settled says whether the ledger calls every blob done that the sound tenants have offered.
func (m *manyTenants) settled(db string) (all bool) {
	m.Helper()
	readLedger(m.T, db, func(l *ledger.Ledger) {
		if all = l.SetAside() == ""; !all {
			return
		}
		for _, tn := range m.sound {
			for _, blob := range tn.Account().Blobs {
				e, known, err := l.Stream(ledger.Key{
					Cloud: "enterprise", Tenant: tn.Config().ID, Application: tenant.DefaultClientID, ContentType: blob.ContentType,
				}).Get(blob.ID)
				if err != nil {
					m.Fatal(err)
				}
				if !known || e.State != ledger.Done {
					all = false
					return
				}
			}
		}
	})
	return all
}

// checkLog asks for one line about the broken tenant in each of the two lives, none about another, and one at each beginning and end.
func (m *manyTenants) checkLog(log string) {
	m.Helper()
	refusals := 0
	for line := range strings.Lines(log) {
		switch {
		case !strings.Contains(line, " tenant="):
		case strings.Contains(line, " tenant="+m.broken.Config().ID) && strings.Contains(line, "access to the API failed: ") && strings.Contains(line, "AADSTS700016"):
			if !strings.Contains(line, " failures=") { // a reminder, a minute later and ever more rarely
				refusals++
			}
		default:
			m.Errorf("logged: %s", line)
		}
	}
	if refusals != 2 {
		m.Errorf("%d lines say that the broken tenant is", refusals)
	}
	for text, n := range map[string]int{
		"starting version=": 2, stopped: 2, " tenants=" + strconv.Itoa(len(m.all)): 4,
	} {
		if got := strings.Count(log, text); got != n {
			m.Errorf("%q is logged %d times, not %d:\n%s", text, got, n, tail(log, 20))
		}
	}
}

// callCounter counts calls by the second.
type callCounter struct {
	mu      sync.Mutex
	all     int
	seconds map[int64]int
}

func (c *callCounter) count(h http.Handler) http.Handler {
	c.forget()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.all++
		c.seconds[time.Now().Unix()]++
		c.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

func (c *callCounter) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

// forget forgets the single seconds.
func (c *callCounter) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seconds = map[int64]int{}
}

// quantile is the number that this part of the seconds, of those with any call, do not exceed.
func (c *callCounter) quantile(part float64) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := slices.Sorted(maps.Values(c.seconds))
	if len(calls) == 0 {
		return 0
	}
	return calls[int(part*float64(len(calls)-1))]
}
