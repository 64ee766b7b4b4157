package collector

import (
	"testing"

	"in_office365/normalize"
	"in_office365/plugin/config"
)

// BenchmarkAdd is what the collector does with each record before it goes to the queue. Nothing is allocated.
func BenchmarkAdd(b *testing.B) {
	q := testQueue(1<<20, 1<<22)
	s := &stream{c: &Collector{queue: q}, tenant: &tenant{salt: q.repeats.id([]byte("22222222-3333-4444-5555-666666666666"))}}
	f, err := newFetcher(&config.Config{MaxRecordSize: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	record := []byte(`{"Id":"11111111-2222-3333-4444-555555555555","CreationTime":"2026-01-31T00:00:00","Operation":"FileAccessed","RecordType":6,"UserType":0,"Workload":"SharePoint"}`)
	source := &normalize.Source{Tenant: "22222222-3333-4444-5555-666666666666", ContentType: "Audit.SharePoint"}
	b.ReportAllocs()
	for b.Loop() {
		s.add(f, 0, func(dst []byte) ([]byte, normalize.Info) { return s.encode(f.encoder, dst, record, source) })
		if len(f.slab.data) > slabSize {
			f.slab.reset()
		}
	}
}
