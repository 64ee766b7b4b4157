package ledger_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"in_office365/plugin/ledger"
)

// What it costs to open, and so to check, the ledger of a busy tenant: 200,000 blobs, half of them done.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "db")
	l, err := ledger.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	const blobs, perFlush = 200_000, 2_000
	var some []ledger.Entry
	for i := range blobs {
		stamp := fmt.Sprintf("%023d", i)
		e := entry(stamp+"$"+stamp+"$audit_general$Audit_General$emea0001", time.Duration(i)*time.Second)
		e.URI = "https://manage.office.com/api/v1.0/11111111-2222-3333-4444-555555555555/activity/feed/audit/" + e.ID
		if i%2 == 0 {
			e.State = ledger.Done
		}
		some = append(some, e)
		if len(some) < perFlush {
			continue
		}
		for _, e := range some {
			l.Stream(key).Update(e)
		}
		some = some[:0]
		if err := l.Flush(); err != nil {
			b.Fatal(err)
		}
	}
	l.Close()
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l, err := ledger.Open(path)
		if err != nil || l.SetAside() != "" {
			b.Fatal(err, l.SetAside())
		}
		l.Close()
	}
	b.ReportMetric(float64(info.Size())/1e6, "MB")
	b.ReportMetric(float64(info.Size())/blobs, "bytes/blob")
}
