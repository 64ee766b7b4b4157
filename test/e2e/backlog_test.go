package e2e

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"in_office365/test/tenant"
)

var backlogBlobs = flag.Int("backlog", 10_000, "blobs of TestBacklog")

// A week's backlog of many small blobs, each 20 ms away, is fetched, in little memory. How fast is for a person to read.
func TestBacklog(t *testing.T) {
	t.Parallel()
	const (
		latency = 20 * time.Millisecond
		workers = 64
		most    = 160 << 20 // of memory of its own, with so many workers; the ledger's file is mapped too, and its pages are the system's to drop
	)
	types := tenant.ContentTypes()
	tn, dir := tenant.New(tenant.Config{Subscribed: types, Latency: latency, Gzip: true}), t.TempDir()
	week(tn, 1, *backlogBlobs/len(types), 1)
	out, db := filepath.Join(dir, "out"), filepath.Join(dir, "office365.db")
	h := startTestHost(t, []keys{stanza(serve(t, tn), dir, keys{"db": db, "workers": strconv.Itoa(workers), "notices": "off"})},
		"--interval-ms", "100", "--output", out)
	begun, records := time.Now(), int64(offered(tn))
	own := int64(0)
	until(t, "all records", func() bool {
		own = max(own, memory(t, h.Pid(), "RssAnon"))
		return h.Stats().Records >= records
	})
	took := time.Since(begun)
	// Known blobs are listed on: those of the last hour each second.
	listings := tn.Account().Calls[tenant.ListContent]
	until(t, "more listings", func() bool { return tn.Account().Calls[tenant.ListContent] >= listings+3*len(types) })
	own = max(own, memory(t, h.Pid(), "RssAnon"))
	withLedger := mostResident(t, h.Pid())
	clean(t, h.Stop())
	if repeated := account(t, arrived(received(t, out)), tn); repeated > 0 {
		t.Errorf("%d records came again", repeated)
	}
	file, err := os.Stat(db)
	if err != nil {
		t.Fatal(err)
	}
	blobs := float64(*backlogBlobs)
	least := time.Duration(blobs / workers * float64(latency))
	t.Logf("%.0f blobs in %s, %.0f a second, where latency and workers allow %.0f; %d MB of memory at most, %d with the ledger's file; %.0f bytes of it a blob",
		blobs, took.Round(time.Millisecond), blobs/took.Seconds(), blobs/least.Seconds(), own>>20, withLedger>>20, float64(file.Size())/blobs)
	if own > most {
		t.Errorf("%d MB of memory, %d MB allowed", own>>20, most>>20)
	}
}
