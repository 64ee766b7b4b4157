package normalize_test

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"

	"in_office365/normalize"
	"in_office365/test/tenant/records"
)

// blobRecords is how many records the blobs of the benchmarks hold: more than one window of a Reader.
const blobRecords = 200

// mixedBlob is a content blob of all families.
func mixedBlob() []byte {
	types := records.ContentTypes()
	return blobOf(func(dst []byte, i uint64) []byte {
		return records.Append(dst, types[i%uint64(len(types))], 1, i, now)
	})
}

func familyBlob(family string) []byte {
	return blobOf(func(dst []byte, i uint64) []byte { return records.AppendFamily(dst, family, 1, i, now) })
}

func blobOf(appendRecord func(dst []byte, i uint64) []byte) []byte {
	blob := []byte{'['}
	for i := range uint64(blobRecords) {
		if i > 0 {
			blob = append(blob, ',')
		}
		blob = appendRecord(blob, i)
	}
	return append(blob, ']')
}

// BenchmarkAppendRecord takes whole content blobs from their bytes to events. json.Valid over the same bytes is the yardstick: a
// machine's speed cancels out of the ratio of the two.
func BenchmarkAppendRecord(b *testing.B) {
	b.Run("mixed", func(b *testing.B) { benchmarkBlob(b, mixedBlob()) })
	for _, family := range records.Families() {
		b.Run(family, func(b *testing.B) { benchmarkBlob(b, familyBlob(family)) })
	}
}

func benchmarkBlob(b *testing.B, blob []byte) {
	b.Run("json.Valid", func(b *testing.B) {
		b.SetBytes(int64(len(blob)))
		for b.Loop() {
			if !json.Valid(blob) {
				b.Fatal("the blob is not JSON")
			}
		}
	})
	b.Run("Reader+AppendRecord", func(b *testing.B) {
		e := newTestEncoder(b, normalize.Options{EventTag: normalize.DefaultEventTag})
		source := normalize.Source{Tenant: records.OrganizationID, ContentType: records.General, Created: now}
		body := bytes.NewReader(blob)
		r := e.NewReader(body, 0)
		var dst []byte
		pass := func() {
			body.Reset(blob)
			r.Reset(body)
			for n := 0; ; n++ {
				record, err := r.Next()
				if err == io.EOF && n == blobRecords {
					return
				}
				if err != nil || record.Problem != "" {
					b.Fatal(n, record.Problem, err)
				}
				var info normalize.Info
				if dst, info = e.AppendRecord(dst[:0], record.Bytes, &source); info.Unreadable != "" {
					b.Fatal(info.Unreadable)
				}
			}
		}
		pass() // memory grows to what is needed
		b.ReportAllocs()
		b.SetBytes(int64(len(blob)))
		for b.Loop() {
			pass()
		}
	})
}
