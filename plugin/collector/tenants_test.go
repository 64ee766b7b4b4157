package collector_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"in_office365/test/tenant"
)

// tenantID is the GUID of the n-th tenant.
func tenantID(n int) string { return fmt.Sprintf("22222222-3333-4444-5555-%012d", n) }

// inWorldOf is inWorld with n tenants behind one address. The Ids of their records are the same.
func inWorldOf(t *testing.T, n int, test func(w *world, tenants []*tenant.Tenant)) {
	t.Helper()
	inWorld(t, tenant.Config{}, func(w *world) {
		var tenants []*tenant.Tenant
		var ids []string
		for i := range n {
			tenants = append(tenants, tenant.New(tenant.Config{ID: tenantID(i), Subscribed: tenant.ContentTypes()}))
			ids = append(ids, tenantID(i))
		}
		w.transport = tenant.RoundTripper(tenant.Handler(tenants...))
		w.keys["tenant_id"] = strings.Join(ids, ",")
		test(w, tenants)
	})
}

func lastWeekOf(tn *tenant.Tenant, blobs, records int) {
	tn.Publish(tenant.Plan{Blobs: blobs, Records: records, From: ago(6 * 24 * time.Hour), To: ago(time.Minute), Seed: 7})
}

// missing is how many of the tenant's records have not arrived; what came twice, or under another tenant's name, fails the test.
func (w *world) missing(tn *tenant.Tenant) (n int) {
	w.t.Helper()
	offered := map[string]bool{}
	for _, ct := range tenant.ContentTypes() {
		for id := range tn.Account().RecordIDs(ct) {
			offered[id] = true
		}
	}
	came := w.of[tn.Config().ID]
	for id := range offered {
		if came[id] == 0 {
			n++
		}
	}
	for id, times := range came {
		if times > 1 && offered[id] || !offered[id] && strings.Contains(id, "-") {
			w.t.Errorf("%s came %d times from tenant %s", id, times, tn.Config().ID)
		}
	}
	return n
}

func (w *world) wantAll(tenants ...*tenant.Tenant) {
	w.t.Helper()
	for _, tn := range tenants {
		if n := w.missing(tn); n > 0 {
			w.t.Errorf("%d records of tenant %s are missing; log:\n%s", n, tn.Config().ID, lastLines(w.log.String(), 20))
		}
	}
}

// linesWith are those of the log that have all of the parts.
func (w *world) linesWith(parts ...string) (lines []string) {
	for line := range strings.Lines(w.log.String()) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			lines = append(lines, line)
		}
	}
	return lines
}

// Equal Ids of two tenants are two records, and each comes once.
func TestTenantsAreToldApart(t *testing.T) {
	inWorldOf(t, 3, func(w *world, tenants []*tenant.Tenant) {
		for _, tn := range tenants {
			lastWeekOf(tn, 10, 5)
		}
		w.run(3 * time.Minute)
		w.wantAll(tenants...)
		for _, tn := range tenants {
			if a := tn.Account(); a.WithoutPublisher > 0 || len(a.Publishers) != 1 || a.Publishers[tn.Config().ID] == 0 {
				t.Errorf("publishers of tenant %s: %v", tn.Config().ID, a.Publishers)
			}
		}
		if lines := w.linesWith("msg=stopped"); len(lines) != 1 || !strings.Contains(lines[0], "records=750 ") || !strings.Contains(lines[0], "tenants=3") {
			t.Errorf("the last line: %s", lines)
		}
	})
}

// A tenant in which the application has no consent is announced, once for each content type, and logged once. The others come undisturbed.
func TestTenantWithoutConsent(t *testing.T) {
	inWorldOf(t, 4, func(w *world, tenants []*tenant.Tenant) {
		broken := tenants[1]
		broken.Inject(tenant.Fault{Operation: tenant.Token}, tenant.LoginError(401, "invalid_client", 7000229, "no service principal"))
		for _, tn := range tenants {
			lastWeekOf(tn, 10, 5)
		}
		w.run(time.Minute)
		w.wantAll(tenants[0], tenants[2], tenants[3])
		if lines := w.linesWith("level=ERROR"); len(lines) != 1 || !strings.Contains(lines[0], "access to the API failed") || !strings.Contains(lines[0], "tenant="+tenantID(1)) {
			t.Errorf("errors logged: %s", lines)
		}
		if got, want := w.of[tenantID(1)], map[string]int{"access_refused": 5}; !maps.Equal(got, want) {
			t.Errorf("of the broken tenant came %v", got)
		}
		w.wantNotices("access_refused")
	})
}

// A tenant that is throttled waits without a worker, be there but one.
func TestThrottledTenantHoldsUpNoOther(t *testing.T) {
	inWorldOf(t, 2, func(w *world, tenants []*tenant.Tenant) {
		w.keys["workers"] = "1"
		tenants[0].Inject(tenant.Fault{Operation: tenant.FetchBlob, Times: 1}, tenant.Throttle(429, 10*time.Minute))
		for _, tn := range tenants {
			lastWeekOf(tn, 40, 2)
		}
		c := w.open()
		c.Start()
		w.host(c, time.Minute)
		calls := tenants[0].Account().Calls
		w.host(c, time.Minute)
		w.wantAll(tenants[1])
		if w.missing(tenants[0]) == 0 {
			t.Error("the tenant was not throttled")
		}
		if now := tenants[0].Account().Calls; !maps.Equal(now, calls) {
			t.Errorf("while it was throttled %v became %v", calls, now)
		}
		w.host(c, 15*time.Minute)
		w.stop(c)
		w.wantAll(tenants...)
		if n := w.of[tenantID(0)]["throttled"]; n != 1 || w.of[tenantID(1)]["throttled"] != 0 {
			t.Errorf("throttling was announced %d times", n)
		}
	})
}

// Tenants that are throttled in the middle of their listings wait for the next pages without a turn of listing.
func TestThrottledListingsHoldUpNoOther(t *testing.T) {
	inWorld(t, tenant.Config{}, func(w *world) {
		var tenants []*tenant.Tenant
		var ids []string
		for i := range 8 {
			tn := tenant.New(tenant.Config{ID: tenantID(i), Subscribed: tenant.ContentTypes(), PageSize: 2})
			lastWeekOf(tn, 60, 1)
			tn.Inject(tenant.Fault{Operation: tenant.ListContent}, tenant.Latency(time.Second))
			if i < 6 { // 4 listings of each are in their midst: more than there are turns
				tn.Inject(tenant.Fault{Operation: tenant.ListContent, Page: 2, Times: 1}, tenant.Throttle(429, 10*time.Minute))
			}
			tenants, ids = append(tenants, tn), append(ids, tenantID(i))
		}
		w.transport = tenant.RoundTripper(tenant.Handler(tenants...))
		w.keys["tenant_id"], w.keys["workers"] = strings.Join(ids, ","), "2"
		c := w.open()
		c.Start()
		w.host(c, 3*time.Minute)
		for _, tn := range tenants[:6] {
			if w.missing(tn) == 0 {
				t.Error("a tenant was not throttled")
			}
		}
		w.wantAll(tenants[6:]...)
		w.host(c, 30*time.Minute)
		w.stop(c)
		w.wantAll(tenants...)
	})
}

// What concerns the whole instance is announced under no tenant's name.
func TestNoticeOfAllTenants(t *testing.T) {
	inWorldOf(t, 2, func(w *world, _ []*tenant.Tenant) {
		w.run(2 * time.Minute)
		w.write(w.keys["db"], strings.Repeat("damaged ", 10_000))
		w.run(2 * time.Minute)
		if n := w.of[""]["ledger_reset"]; n != 1 || w.notices["ledger_reset"] != 1 {
			t.Errorf("ledger_reset came %d times without a tenant, %d times in all", n, w.notices["ledger_reset"])
		}
	})
}

// The troubles of a tenant that is removed end with that: when it comes back they are new.
func TestTroublesOfATenantThatComesBack(t *testing.T) {
	inWorldOf(t, 2, func(w *world, tenants []*tenant.Tenant) {
		tenants[1].Inject(tenant.Fault{Operation: tenant.Token}, tenant.LoginError(401, "invalid_client", 700016, "no such application"))
		write := w.tenantsFile(tenantID(0), tenantID(1))
		c := w.open()
		c.Start()
		w.host(c, time.Minute)
		write(tenantID(0))
		w.host(c, 10*time.Minute)
		write(tenantID(0), tenantID(1))
		w.host(c, time.Minute)
		w.stop(c)
		if lines := w.linesWith("level=ERROR", "tenant="+tenantID(1)); len(lines) != 2 || strings.Contains(lines[1], " for=") {
			t.Errorf("errors logged: %s", lines)
		}
	})
}

// A tenant whose calls hang till http_timeout, listings and blobs alike, holds up the others for no longer than that.
func TestTenantThatHangs(t *testing.T) {
	for _, op := range []tenant.Operation{tenant.FetchBlob, tenant.ListContent, tenant.Token} {
		t.Run(string(op), func(t *testing.T) {
			inWorldOf(t, 6, func(w *world, tenants []*tenant.Tenant) {
				hang := tenants[0].Inject(tenant.Fault{Operation: op}, tenant.Hang())
				for _, tn := range tenants {
					lastWeekOf(tn, 40, 2)
				}
				c := w.open()
				c.Start()
				w.host(c, 2*time.Minute)
				w.wantAll(tenants[1:]...)
				hang.Remove()
				w.host(c, 30*time.Minute)
				w.stop(c)
				w.wantAll(tenants...)
			})
		})
	}
}

// The first listings of many tenants do not come all at once; that of a single tenant does not wait.
func TestListingsOfManyTenantsAreSpread(t *testing.T) {
	inWorldOf(t, 60, func(w *world, tenants []*tenant.Tenant) {
		c := w.open()
		c.Start()
		begun, before, most := time.Now(), 0, 0
		for range 180 {
			w.host(c, time.Second)
			calls := 0
			for _, tn := range tenants {
				calls += tn.Account().Calls[tenant.ListContent]
			}
			if time.Since(begun) > 70*time.Second { // what is past was listed
				most = max(most, calls-before)
			}
			before = calls
		}
		w.stop(c)
		if most < 1 || most > 5*3 {
			t.Errorf("%d listings of 300 in one second, while 5 are an even spread", most)
		}
	})
}

// tenantsFile lets tenants come from a file, of which the function replaces the content.
func (w *world) tenantsFile(lines ...string) (write func(lines ...string)) {
	w.t.Helper()
	path := filepath.Join(filepath.Dir(w.keys["db"]), "tenants")
	write = func(lines ...string) {
		w.t.Helper()
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	write(lines...)
	w.keys["tenant_id"], w.keys["tenants_file"] = "", path
	return write
}

// Tenants come, go, and come back while records are collected. Nothing is missing, nothing comes twice.
func TestTenantsComeAndGo(t *testing.T) {
	inWorldOf(t, 3, func(w *world, tenants []*tenant.Tenant) {
		w.keys["dedup_window"] = "off" // it would hide what is queued twice
		w.keys["start_from"] = "24h"
		write := w.tenantsFile(tenantID(0), tenantID(1))
		c := w.open()
		c.Start()
		n := 0
		live := func(minutes int) {
			for range minutes {
				for _, tn := range tenants {
					tn.AddBlob(tenant.Exchange, time.Now(), tenant.Generated{Seed: 3, First: uint64(n) * 5, Records: 5})
				}
				n++
				w.host(c, time.Minute)
			}
		}
		live(10)
		if len(w.of[tenantID(2)]) > 0 {
			t.Fatal("a tenant is collected that is not in the file")
		}
		write(tenantID(0), "# gone: "+tenantID(1), tenantID(2)+" new") // in the middle of what it collects
		live(10)
		collected := len(w.of[tenantID(1)])
		live(10)
		if len(w.of[tenantID(1)]) > collected {
			t.Error("a tenant is collected that has been removed")
		}
		write(tenantID(0), tenantID(1), tenantID(2))
		live(10)
		w.host(c, 2*time.Minute)
		w.stop(c)
		w.wantAll(tenants...)
		w.wantNotices()
		for _, line := range []string{
			"tenants=2 added=" + tenantID(2) + " removed=" + tenantID(1),
			"tenants=3 added=" + tenantID(1) + " removed=none",
		} {
			w.wantLog(line)
		}
	})
}

// A tenant that is removed in the middle of its blobs, and comes back, goes on with the record where it was.
func TestTenantRemovedInMidBlob(t *testing.T) {
	inWorldOf(t, 2, func(w *world, tenants []*tenant.Tenant) {
		w.keys["dedup_window"], w.keys["http_timeout"], w.keys["settle"] = "off", "30m", "5m" // it is back before that
		write := w.tenantsFile(tenantID(0), tenantID(1))
		stall := tenants[0].Inject(tenant.Fault{Operation: tenant.FetchBlob}, tenant.Stall(200_000))
		for i := range 20 {
			tenants[0].AddBlob(tenant.General, ago(time.Hour), tenant.Generated{Seed: uint64(i), Records: 300})
		}
		lastWeekOf(tenants[1], 3, 3)
		c := w.open()
		c.Start()
		w.host(c, 2*time.Minute)
		if len(w.of[tenantID(0)]) == 0 {
			t.Fatal("nothing of the blobs has come")
		}
		write(tenantID(1))
		w.host(c, time.Minute)
		stall.Remove()
		write(tenantID(1), tenantID(0))
		w.host(c, 10*time.Minute)
		w.stop(c)
		w.wantAll(tenants...)
	})
}

// A file that is broken, empty or gone leaves the tenants as they are; it is logged once, and the next good one counts.
func TestTenantsFileThatIsBroken(t *testing.T) {
	for name, spoil := range map[string]func(path string, write func(...string)){
		"no GUID":    func(_ string, write func(...string)) { write(tenantID(0), "Contoso") },
		"empty":      func(_ string, write func(...string)) { write("# nobody") },
		"gone":       func(path string, _ func(...string)) { os.Remove(path) },
		"cut in two": func(_ string, write func(...string)) { write(tenantID(0), tenantID(1)[:20]) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorldOf(t, 3, func(w *world, tenants []*tenant.Tenant) {
				write := w.tenantsFile(tenantID(0), tenantID(1))
				c := w.open()
				c.Start()
				w.host(c, time.Minute)
				spoil(w.keys["tenants_file"], write)
				for _, tn := range tenants {
					tn.Publish(tenant.Plan{Seed: 7, Blobs: 3, Records: 3, From: ago(30 * time.Minute), To: ago(time.Minute)})
				}
				w.host(c, 59*time.Second)
				if lines := w.linesWith("level=ERROR"); len(lines) != 1 || !strings.Contains(lines[0], "reading tenants_file failed") {
					t.Errorf("errors logged: %s", lines)
				}
				w.host(c, 10*time.Minute)
				w.wantAll(tenants[:2]...)
				write(tenantID(0), tenantID(1), tenantID(2))
				w.host(c, 7*time.Minute)
				w.stop(c)
				w.wantAll(tenants...)
				w.wantLog("reading tenants_file works again")
			})
		})
	}
}

// What is read in the middle of a write does not count: here a file that names fewer tenants for a moment.
func TestTenantsFileInTheMiddleOfAWrite(t *testing.T) {
	inWorldOf(t, 2, func(w *world, tenants []*tenant.Tenant) {
		write := w.tenantsFile(tenantID(0), tenantID(1))
		c := w.open()
		c.Start()
		w.host(c, time.Minute+5*time.Second)
		write(tenantID(0))
		w.host(c, 10*time.Second) // it is read once
		write(tenantID(0), tenantID(1))
		w.host(c, time.Minute)
		w.stop(c)
		if lines := w.linesWith("tenants_file has changed"); len(lines) != 0 {
			t.Errorf("logged: %s", lines)
		}
	})
}
