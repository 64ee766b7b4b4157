package records_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"in_office365/test/tenant/records"
)

var noon = time.Date(2026, 3, 14, 12, 30, 45, 0, time.UTC)

func TestEveryFamilyIsValidJSONWithTheCommonFields(t *testing.T) {
	for _, family := range records.Families() {
		t.Run(family, func(t *testing.T) {
			for i := range uint64(60) {
				text := records.AppendFamily(nil, family, 1, i, noon)
				var r struct {
					ID           string `json:"Id"`
					RecordType   *int
					CreationTime string
					Operation    string
				}
				if err := json.Unmarshal(text, &r); err != nil {
					t.Fatalf("record %d: %v\n%s", i, err, text)
				}
				if want := records.ID(1, i); r.ID != want {
					t.Fatalf("record %d: Id = %q, want %q", i, r.ID, want)
				}
				if want := "2026-03-14T12:30:45"; strings.TrimSuffix(r.CreationTime, "Z") != want {
					t.Fatalf("record %d: CreationTime = %q, want %q", i, r.CreationTime, want)
				}
				if r.RecordType == nil || r.Operation == "" {
					t.Fatalf("record %d: RecordType or Operation is missing", i)
				}
			}
		})
	}
}

func TestRecordsAreCompact(t *testing.T) {
	for _, family := range records.Families() {
		if text := records.AppendFamily(nil, family, 1, 1, noon); strings.ContainsAny(string(text), "\r\n") {
			t.Errorf("%s: a line break outside strings", family)
		}
	}
}

func TestTheSameSeedAndIndexGiveTheSameBytes(t *testing.T) {
	for _, ct := range records.ContentTypes() {
		prefix := []byte("kept")
		first := records.Append(prefix, ct, 7, 9, noon)
		again := records.Append(nil, ct, 7, 9, noon.In(time.FixedZone("", 3600)))
		if got, want := string(first), "kept"+string(again); got != want {
			t.Errorf("%s: got %s, want %s", ct, got, want)
		}
		if other := records.Append(nil, ct, 8, 9, noon); string(other) == string(again) {
			t.Errorf("%s: another seed gives the same record", ct)
		}
	}
}

func TestIDsAreUniqueOverSeedsAndIndexes(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(100) {
		for index := range uint64(1000) {
			id := records.ID(seed, index)
			if len(id) != 36 || seen[id] {
				t.Fatalf("ID(%d, %d) = %q: malformed or seen before", seed, index, id)
			}
			seen[id] = true
		}
	}
}

func TestAContentTypeIsAMixtureOfItsFamilies(t *testing.T) {
	types := map[int]bool{}
	for _, ct := range records.ContentTypes() {
		operations := map[string]bool{}
		for i := range uint64(1000) {
			var r struct {
				RecordType int
				Operation  string
			}
			if err := json.Unmarshal(records.Append(nil, ct, 1, i, noon), &r); err != nil {
				t.Fatal(err)
			}
			types[r.RecordType] = true
			operations[r.Operation] = true
		}
		if len(operations) < 3 {
			t.Errorf("%s: only the operations %v", ct, operations)
		}
	}
	if len(types) < 25 {
		t.Errorf("%d record types, want at least 25", len(types))
	}
}

func TestSizesAreRealistic(t *testing.T) {
	var sizes []int
	for _, ct := range records.ContentTypes() {
		for i := range uint64(2000) {
			sizes = append(sizes, len(records.Append(nil, ct, 1, i, noon)))
		}
	}
	slices.Sort(sizes)
	if median := sizes[len(sizes)/2]; median < 1100 || median > 1600 {
		t.Errorf("median size = %d bytes, want about 1,300", median)
	}
	if p99 := sizes[len(sizes)*99/100]; p99 > 8<<10 {
		t.Errorf("99th percentile = %d bytes, want at most 8 KiB", p99)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, ct := range records.ContentTypes() {
		b.Run(ct, func(b *testing.B) {
			var buf []byte
			var total int
			for i := 0; b.Loop(); i++ {
				buf = records.Append(buf[:0], ct, 1, uint64(i), noon)
				total += len(buf)
			}
			b.SetBytes(int64(total / b.N))
		})
	}
}

func ExampleAppendFamily() {
	record := records.AppendFamily(nil, "entra-signin", 1, 0, noon)
	var r map[string]any
	if err := json.Unmarshal(record, &r); err != nil {
		fmt.Println(err)
	}
	fmt.Println(r["CreationTime"], r["RecordType"], r["Workload"])
	// Output: 2026-03-14T12:30:45 15 AzureActiveDirectory
}
