package collector

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"in_office365/plugin/config"
	"in_office365/plugin/ledger"
	tenanttest "in_office365/test/tenant"
)

type testStanza map[string]string

func (s testStanza) Get(key string) string { return s[key] }

// testCollector is one that has not been started, of the tenant that package test/tenant has by default.
func testCollector(t *testing.T, log *bytes.Buffer) *Collector {
	t.Helper()
	return testCollectorOf(t, nil, log)
}

func testCollectorOf(t *testing.T, api http.RoundTripper, log *bytes.Buffer) *Collector {
	t.Helper()
	cfg, err := config.Parse(testStanza{
		"tenant_id": tenanttest.DefaultID, "client_id": tenanttest.DefaultClientID, "client_secret": tenanttest.DefaultClientSecret,
		"authentication_endpoint": "https://login.example.com", "api_endpoint": "https://api.example.com",
		"db": filepath.Join(t.TempDir(), "office365.db"),
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(cfg, Options{Log: slog.New(slog.NewTextHandler(log, nil)), Memory: goMemory{}, Transport: api})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// A gap whose notice has no room in the queue before the tenant is stopped is announced when it is started again, and not passed over.
func TestGapThatCouldNotBeAnnounced(t *testing.T) {
	t.Parallel()
	c := testCollector(t, new(bytes.Buffer))
	s := c.tenants[c.cfg.TenantID].streams[0]
	begin := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	lost := window{from: begin, to: begin.Add(time.Hour)}
	edge := begin.Add(48 * time.Hour)

	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	s.noteGaps(stopped, []window{lost.clip(edge)})
	if len(s.gaps) != 0 || len(s.todo) != 1 || s.todo[0] != lost {
		t.Fatalf("%d gaps wait for their notices; to be listed: %v", len(s.gaps), s.todo)
	}
	s.noteGaps(t.Context(), []window{s.todo[0].clip(edge)})
	if len(s.gaps) != 1 {
		t.Errorf("%d gaps wait for their notices", len(s.gaps))
	}
}

// A db that takes nothing is one trouble of the instance, not one of each listing.
func TestUnwrittenLedgerIsToldOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	c := testCollector(t, &log)
	for _, s := range c.tenants[c.cfg.TenantID].streams {
		s.listingFailed(t.Context(), &ledgerError{ledger.ErrUnwritten})
	}
	if strings.Count(log.String(), "level=ERROR") != 1 || !strings.Contains(log.String(), "writing the db failed: ") {
		t.Errorf("got:\n%s", &log)
	}
}

// What looks at the plugin must not wait for the disk, under whose lock anything may take its time.
func TestStatusWaitsForNoDisk(t *testing.T) {
	t.Parallel()
	c := testCollector(t, new(bytes.Buffer))
	s := c.tenants[c.cfg.TenantID].streams[0]
	if _, err := s.ledger.Add([]ledger.Entry{ledger.NewEntry("a", "https://api.example.com/a", time.Now(), time.Now())}); err != nil {
		t.Fatal(err)
	}
	held, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		_, _, _ = s.ledger.Due(time.Now(), 1, func(string) bool { // is asked with the ledger locked
			close(held)
			<-release
			return false
		})
	}()
	<-held
	told := make(chan struct{})
	go func() {
		defer close(told)
		_, _ = c.Status(), c.Figures()
		metrics := make(chan prometheus.Metric)
		go func() { defer close(metrics); c.Collect(metrics) }()
		for range metrics {
		}
	}()
	select {
	case <-told:
	case <-time.After(10 * time.Second):
		t.Error("it waits")
	}
	close(release)
	<-told
	<-ended
}

// unreadable lets the collector's db be one that cannot be read, while nothing is to be written. Only the tasks given run.
func unreadable(t *testing.T, c *Collector, tasks ...func(context.Context)) {
	t.Helper()
	c.active = []string{c.cfg.TenantID}
	if err := c.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		c.run("a task", task)
	}
}

// A db that cannot be read is in trouble all the time, though writing nothing to it succeeds each second.
func TestUnreadableLedgerIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := testCollector(t, new(bytes.Buffer))
		unreadable(t, c, c.survey, c.keep)
		for range 20 {
			time.Sleep(1100 * time.Millisecond)
			if troubles := c.Status().Ledger.Troubles; len(troubles) != 1 || troubles[0].Doing != "reading the db" || troubles[0].Works {
				t.Fatalf("%+v", troubles)
			}
		}
	})
}

// A damaged entry keeps nothing from being listed, fetched or written. What it stood for is found by listing all that the API has, whatever its
// age, and collected again; the balance comes out even, and the damage is told once, for what it is.
func TestDamagedEntryOfTheLedger(t *testing.T) {
	t.Parallel()
	for name, note := range map[string]func(t *testing.T, c *Collector, s *stream, id string){
		"of a blob that was done": func(_ *testing.T, _ *Collector, s *stream, id string) {
			s.ledger.Update(ledger.Entry{ID: id, State: ledger.Lost + 1}) // what no version can read
		},
		"of a blob that was pending": func(t *testing.T, c *Collector, s *stream, id string) {
			if _, err := s.ledger.Add([]ledger.Entry{{ID: id, NotBefore: s.now().Add(24 * time.Hour)}}); err != nil {
				t.Fatal(err)
			}
			s.counts.listed.Add(1)
			if err := c.ledger.Flush(); err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(c.cfg.DB)
			if err != nil {
				t.Fatal(err)
			}
			file, err := os.OpenFile(c.cfg.DB, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if _, err := file.WriteAt(bytes.ReplaceAll(content, []byte(id+"\x01"), []byte(id+"\xff")), 0); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tn := tenanttest.New(tenanttest.Config{Subscribed: tenanttest.ContentTypes()})
				var log bytes.Buffer
				c := testCollectorOf(t, tn.RoundTripper(), &log)
				s := c.tenants[c.cfg.TenantID].streams[0]
				time.Sleep(10 * 24 * time.Hour)
				c.Start()
				time.Sleep(time.Minute)
				old := time.Now().UTC().Add(-5 * 24 * time.Hour) // long before what a sweep lists
				id := tn.AddBlob(string(s.contentType), old, tenanttest.Body("[]"))
				note(t, c, s, id)
				time.Sleep(2 * sweepInterval) // the sweep looks at every entry
				synctest.Wait()
				if e, known, err := s.ledger.Get(id); !known || e.State != ledger.Done || err != nil {
					t.Errorf("%+v, %v, %v", e, known, err)
				}
				status := c.Status()
				blobs := status.Tenants[0].Types[0].Blobs
				if status.Ledger.Unreadable != 1 || len(status.Ledger.Troubles) != 0 || blobs.Settled != 1 || blobs.Incomplete() != 0 {
					t.Errorf("%+v, %+v", status.Ledger, blobs)
				}
				if n := strings.Count(log.String(), "the db holds entries that cannot be read"); n != 1 {
					t.Errorf("told %d times:\n%s", n, log.String())
				}
			})
		})
	}
}

// A tenant that cannot be added is nowhere among the tenants, so that the trouble with it must be told.
func TestTenantThatCannotBeAddedIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := testCollector(t, new(bytes.Buffer))
		c.cfg.TenantsFile = filepath.Join(t.TempDir(), "tenants")
		if err := os.WriteFile(c.cfg.TenantsFile, []byte(c.cfg.TenantID+"\n22222222-3333-4444-5555-666666666666\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		unreadable(t, c, c.watch)
		time.Sleep(time.Minute)
		if troubles := c.Status().TenantsFile; len(troubles) != 1 || troubles[0].Doing != "adding tenants" || troubles[0].Works {
			t.Errorf("%+v", troubles)
		}
	})
}
