package collector

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"in_office365/normalize"
	"in_office365/o365"
	"in_office365/plugin/config"
	"in_office365/plugin/handover"
	generated "in_office365/test/tenant/records"
)

// BenchmarkAdd is what the collector does with each record before it goes to the queue. Nothing is allocated.
func BenchmarkAdd(b *testing.B) {
	q := handover.New(handover.Options{Memory: goMemory{}, BatchSize: 1 << 20, BufferSize: 1 << 22, Dedup: time.Hour})
	s := &stream{c: &Collector{queue: q}, tenant: &tenant{salt: q.ID([]byte("22222222-3333-4444-5555-666666666666"))}}
	f, err := newFetcher(&config.Config{MaxRecordSize: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	record := []byte(`{"Id":"11111111-2222-3333-4444-555555555555","CreationTime":"2026-01-31T00:00:00","Operation":"FileAccessed","RecordType":6,"UserType":0,"Workload":"SharePoint"}`)
	source := &normalize.Source{Tenant: "22222222-3333-4444-5555-666666666666", ContentType: "Audit.SharePoint"}
	b.ReportAllocs()
	for b.Loop() {
		s.add(f, 0, func(dst []byte) ([]byte, normalize.Info) { return s.encode(f.encoder, dst, record, source) })
		if len(f.buffer.Bytes()) > bufferSize {
			f.buffer.Reset()
		}
	}
}

// BenchmarkWay is the way of 1,000 records from a blob's JSON to what the host takes, with what is counted on it.
func BenchmarkWay(b *testing.B) {
	const blobRecords = 1_000
	var blob []byte
	for i := range uint64(blobRecords) {
		blob = append(generated.Append(append(blob, "[,"[min(i, 1)]), generated.SharePoint, 1, i, time.Now()), '\n')
	}
	blob = append(blob, ']')
	q := handover.New(handover.Options{Memory: goMemory{}, BatchSize: 4_000_000, BufferSize: 12_000_000})
	c := &Collector{queue: q}
	s := &stream{c: c, tenant: &tenant{client: &o365.Client{}}, delay: newMetrics(false).callback}
	fetcher, err := newFetcher(&config.Config{MaxRecordSize: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	source := &normalize.Source{Tenant: generated.OrganizationID, ContentType: generated.SharePoint}
	b.SetBytes(int64(len(blob)))
	b.ReportAllocs()
	for b.Loop() {
		f := &flight{stream: s}
		fetcher.body = counted{Reader: bytes.NewReader(blob)}
		fetcher.reader.Reset(&fetcher.body)
		for index := int64(0); ; index++ {
			record, err := fetcher.reader.Next()
			if err == io.EOF {
				break
			}
			s.add(fetcher, index, func(dst []byte) ([]byte, normalize.Info) { return s.encode(fetcher.encoder, dst, record.Bytes, source) })
			if len(fetcher.buffer.Bytes()) >= bufferSize {
				_ = s.put(b.Context(), fetcher, f, false)
			}
		}
		_ = s.put(b.Context(), fetcher, f, true)
		f.dropped.Store(true) // there is no ledger
		take(q)
		q.Count()
		q.Report()
	}
	if n := s.counts.handedOver.Load(); n != int64(b.N)*blobRecords {
		b.Errorf("%d records of %d were handed over", n, b.N*blobRecords)
	}
}

// BenchmarkScrape is what Prometheus costs with 500 tenants, in the text format too.
func BenchmarkScrape(b *testing.B) {
	for _, perTenant := range []bool{false, true} {
		b.Run(fmt.Sprintf("per tenant %t", perTenant), func(b *testing.B) {
			keys := stanza{
				"client_id": "11111111-2222-3333-4444-555555555555", "client_secret": "secret", "db": filepath.Join(b.TempDir(), "db"),
			}
			for i := range 500 {
				keys["tenant_id"] += fmt.Sprintf("22222222-3333-4444-5555-%012d ", i)
			}
			cfg, err := config.Parse(keys)
			if err != nil {
				b.Fatal(err)
			}
			cfg.MetricsPerTenant = perTenant
			c, err := New(cfg, Options{Log: slog.New(slog.DiscardHandler), Memory: goMemory{}})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Stop()
			c.active = cfg.Tenants
			registry := prometheus.NewRegistry()
			registry.MustRegister(c)
			handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true})
			for b.Loop() {
				answer := httptest.NewRecorder()
				handler.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
				if answer.Code != 200 {
					b.Fatal(answer.Body)
				}
				b.ReportMetric(float64(answer.Body.Len())/1e3, "kB")
				b.ReportMetric(float64(bytes.Count(answer.Body.Bytes(), []byte("\noffice365_"))), "series")
			}
		})
	}
}

type stanza map[string]string

func (s stanza) Get(key string) string { return s[key] }
