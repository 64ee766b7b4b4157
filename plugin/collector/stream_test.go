package collector

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"in_office365/plugin/config"
	"in_office365/plugin/ledger"
)

type testStanza map[string]string

func (s testStanza) Get(key string) string { return s[key] }

// testCollector is one that has not been started.
func testCollector(t *testing.T, log *bytes.Buffer) *Collector {
	t.Helper()
	const id = "11111111-2222-3333-4444-555555555555"
	cfg, err := config.Parse(testStanza{"tenant_id": id, "client_id": id, "client_secret": "s", "db": filepath.Join(t.TempDir(), "office365.db")})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(cfg, Options{Log: slog.New(slog.NewTextHandler(log, nil)), Memory: goMemory{}})
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

	if err := c.queue.takeTurn(t.Context()); err != nil { // as one does who waits for room
		t.Fatal(err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	s.noteGaps(stopped, []window{lost.clip(edge)})
	c.queue.endTurn()
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
