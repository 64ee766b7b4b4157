package normalize_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"in_office365/normalize"
	"in_office365/test/tenant/records"
)

// TestRecordsDoNotDependOnThoseBefore checks that a record gives the same event whatever records its encoder has seen before, that is, that what an
// encoder remembers of them are guesses only. What a new encoder gives is checked against the reference.
func TestRecordsDoNotDependOnThoseBefore(t *testing.T) {
	for choice := range uint64(24) {
		options := someOptions(choice * 104729)
		options.Now = func() time.Time { return now }
		used := newTestEncoder(t, options)
		families := records.Families()
		for seed := range uint64(120) {
			var record []byte
			switch {
			case seed%60 == 59:
				record = manyNames(seed)
			case seed%3 == 0:
				record = records.AppendFamily(nil, families[int(seed+choice)%len(families)], 1, seed, now)
			default:
				record = []byte(hostile{rand.New(rand.NewPCG(seed, choice))}.record())
			}
			got, _ := used.AppendRecord(nil, record, &contoso)
			want, _ := newTestEncoder(t, options).AppendRecord(nil, record, &contoso)
			if !bytes.Equal(got, want) {
				t.Fatalf("%+v\nrecord %q\n got %q\nwant %q", options, record, got, want)
			}
		}
	}
}

func newTestEncoder(t testing.TB, options normalize.Options) *normalize.Encoder {
	t.Helper()
	e, err := normalize.NewEncoder(options)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// manyNames has more names than an encoder remembers, other ones for each seed.
func manyNames(seed uint64) []byte {
	record := []byte(`{"a":0`)
	for i := range 10_000 {
		record = fmt.Appendf(record, `,"n%d.%d":{"a":1}`, seed, i)
	}
	return append(record, '}')
}

// TestAppendRecordAllocatesNothing holds for every family and format, once the encoder has seen its records.
func TestAppendRecordAllocatesNothing(t *testing.T) {
	for _, family := range records.Families() {
		t.Run(family, func(t *testing.T) {
			var all [][]byte
			for i := range uint64(100) {
				all = append(all, records.AppendFamily(nil, family, 1, i, now))
			}
			for _, format := range []normalize.Format{normalize.FormatFlat, normalize.FormatRaw, normalize.FormatFortiSIEM} {
				e := newTestEncoder(t, normalize.Options{Format: format, EventTag: normalize.DefaultEventTag})
				var dst []byte
				pass := func() {
					for _, record := range all {
						dst, _ = e.AppendRecord(dst[:0], record, &contoso)
					}
				}
				if n := testing.AllocsPerRun(3, pass); n > 0 {
					t.Errorf("format %d: %v allocations in %d records", format, n, len(all))
				}
			}
		})
	}
}
