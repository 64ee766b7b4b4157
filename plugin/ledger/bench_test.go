package ledger_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"in_office365/plugin/ledger"
)

// busy makes the ledger of a busy tenant: as many blobs, half of them done.
func busy(b *testing.B, path string) (blobs []ledger.Entry) {
	b.Helper()
	const perFlush = 2_000
	l, err := ledger.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for i := range busyBlobs {
		stamp := fmt.Sprintf("%023d", i)
		e := entry(stamp+"$"+stamp+"$audit_general$Audit_General$emea0001", time.Duration(i)*time.Second)
		e.URI = "https://manage.office.com/api/v1.0/11111111-2222-3333-4444-555555555555/activity/feed/audit/" + e.ID
		if i%2 == 0 {
			e.State = ledger.Done
		}
		l.Stream(key).Update(e)
		blobs = append(blobs, e)
		if len(blobs)%perFlush == 0 {
			if err := l.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
	return blobs
}

const busyBlobs = 200_000

// What it costs to open, and so to check, the ledger.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "db")
	busy(b, path)
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
	b.ReportMetric(float64(info.Size())/busyBlobs, "bytes/blob")
}

// What it costs to see a page of a listing again, 200 blobs that are known.
func BenchmarkListAgain(b *testing.B) {
	path := filepath.Join(b.TempDir(), "db")
	blobs := busy(b, path)
	l, err := ledger.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	const page = 200
	at := 0
	for b.Loop() {
		added, err := l.Stream(key).Add(blobs[at : at+page])
		if err != nil || added != 0 {
			b.Fatal(added, err)
		}
		at = (at + page) % busyBlobs
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/page, "ns/blob")
}

// What it costs to count what is pending, here half of the blobs.
func BenchmarkPending(b *testing.B) {
	path := filepath.Join(b.TempDir(), "db")
	busy(b, path)
	l, err := ledger.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var pending int64
	for b.Loop() {
		if pending, _, err = l.Stream(key).Pending(); err != nil || pending == 0 {
			b.Fatal(pending, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(pending), "ns/blob")
}
