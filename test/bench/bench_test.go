package main

import (
	"slices"
	"testing"

	"in_office365/test/tenant/records"
)

func testBlobs() []blob {
	blobs := []blob{mixedBlob()}
	for _, family := range records.Families() {
		blobs = append(blobs, familyBlob(family))
	}
	return blobs
}

// refusals are the parsers that refuse a blob, and why.
var refusals = map[string]string{"unheard-of": "simdjson"} // lone surrogates

func TestEveryContestantAcceptsEveryBlob(t *testing.T) {
	for _, b := range testBlobs() {
		t.Run(b.name, func(t *testing.T) {
			for _, c := range present(t) {
				run := c.new(b)
				for range 2 { // with fresh memory and with used memory
					if err := run(); (err != nil) != (refusals[b.name] == c.name) {
						t.Errorf("%s: %v", c.name, err)
					}
				}
			}
		})
	}
}

// A contestant that does not look at the whole blob would be compared for nothing.
func TestEveryContestantNoticesAWrongLastRecord(t *testing.T) {
	const last = blobRecords - 1
	for _, record := range []string{`{"a":{"b":[tru]}}`, `{"a":{"b":[1,]}}`, `{"a":{"b":[1}}`} {
		b := newBlob("broken", func(dst []byte, i uint64) []byte {
			if i == last {
				return append(dst, record...)
			}
			return records.Append(dst, records.General, seed, i, created)
		})
		for _, c := range present(t) {
			if c.new(b)() == nil {
				t.Errorf("%s takes %s for a record", c.name, record)
			}
		}
	}
}

// present are the contestants that can run on this machine.
func present(t *testing.T) []contestant {
	var some []contestant
	for _, c := range contestants() {
		if c.absent == "" {
			some = append(some, c)
		} else {
			t.Logf("%s: %s", c.name, c.absent)
		}
	}
	return some
}

func TestTheNamedFamiliesExist(t *testing.T) {
	for _, family := range named {
		if !slices.Contains(records.Families(), family) {
			t.Errorf("%s is none of the families", family)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		of   []float64
		want float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 2}, 2},
		{[]float64{9, 1, 2, 4}, 3},
	} {
		if got := median(tt.of); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.of, got, tt.want)
		}
	}
}

func TestEveryGunzipReadsTheBlob(t *testing.T) {
	if line, err := compareGunzips(1); err != nil {
		t.Fatal(err)
	} else {
		t.Log(line)
	}
}
