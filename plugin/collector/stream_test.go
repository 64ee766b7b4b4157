package collector

import (
	"bytes"
	"context"
	"errors"
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

// Blobs that were noted before one that the db cannot tell of are counted: they will be fetched, and the balance would be short of them.
func TestListingThatTheLedgerBreaksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tn := tenanttest.New(tenanttest.Config{Subscribed: tenanttest.ContentTypes()})
		c := testCollectorOf(t, tn.RoundTripper(), new(bytes.Buffer))
		s := c.tenants[c.cfg.TenantID].streams[0]
		time.Sleep(time.Hour)
		now := time.Now().UTC()
		tn.AddBlob(string(s.contentType), now.Add(-2*time.Minute), tenanttest.Body("[]"))
		damaged := tn.AddBlob(string(s.contentType), now.Add(-time.Minute), tenanttest.Body("[]"))
		s.ledger.Update(ledger.Entry{ID: damaged, State: ledger.Lost + 1}) // what no version can read
		if err := c.ledger.Flush(); err != nil {
			t.Fatal(err)
		}
		s.tenant.listing.join()
		fresh, err := s.listWindow(t.Context(), window{from: now.Add(-10 * time.Minute), to: now})
		if _, ok := errors.AsType[*ledgerError](err); !ok {
			t.Fatalf("%d blobs, %v", fresh, err)
		}
		if pending, _, err := s.ledger.Pending(); pending != 1 || err != nil || s.counts.listed.Load() != pending {
			t.Errorf("%d are pending (%v), %d counted", pending, err, s.counts.listed.Load())
		}
	})
}

// That the db can be read otherwise does not hide that one listing always fails for it.
func TestLedgerThatFailsOneListingIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tn := tenanttest.New(tenanttest.Config{Subscribed: tenanttest.ContentTypes()})
		c := testCollectorOf(t, tn.RoundTripper(), new(bytes.Buffer))
		s := c.tenants[c.cfg.TenantID].streams[0]
		time.Sleep(time.Hour)
		damaged := tn.AddBlob(string(s.contentType), time.Now().UTC().Add(-time.Minute), tenanttest.Body("[]"))
		s.ledger.Update(ledger.Entry{ID: damaged, State: ledger.Lost + 1}) // what no version can read
		if err := c.ledger.Flush(); err != nil {
			t.Fatal(err)
		}
		c.Start()
		for range 1200 {
			time.Sleep(time.Second)
			if troubles := c.Status().Ledger.Troubles; len(troubles) != 1 || troubles[0].Works {
				t.Fatalf("%+v", troubles)
			}
		}
		s.ledger.Update(ledger.Entry{ID: damaged, State: ledger.Lost}) // which can be read from memory, though not be written
		time.Sleep(12 * time.Minute)
		for _, trouble := range c.Status().Ledger.Troubles {
			if trouble.Doing == "reading the db" {
				t.Errorf("mended: %+v", trouble)
			}
		}
	})
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
