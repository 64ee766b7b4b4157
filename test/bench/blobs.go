package main

import (
	"time"

	"in_office365/test/tenant/records"
)

// A blob has blobRecords records, fewer where they would make more than blobBytes: larger ones tell nothing new and take longer.
const (
	blobRecords = 200
	blobBytes   = 2 << 20
)

const seed = 1 // of the generated records

var created = time.Date(2026, 3, 14, 12, 30, 45, 0, time.UTC)

// blob is a content blob: a JSON array of records.
type blob struct {
	name    string
	text    string
	records []string // its elements
}

func newBlob(name string, appendRecord func(dst []byte, i uint64) []byte) blob {
	return blobOf(name, blobRecords, blobBytes, appendRecord)
}

// blobOf makes a blob of so many records, or fewer where they would make more bytes.
func blobOf(name string, most uint64, bytes int, appendRecord func(dst []byte, i uint64) []byte) blob {
	var elements []string
	text := []byte{'['}
	for i := uint64(0); i < most && len(text) < bytes; i++ {
		if i > 0 {
			text = append(text, ',')
		}
		begin := len(text)
		text = appendRecord(text, i)
		elements = append(elements, string(text[begin:]))
	}
	return blob{name: name, text: string(append(text, ']')), records: elements}
}

const mixed = "mixed" // the name of the blob with all content types

// mixedBlob has records of all content types in turn, each type's families by their weight.
func mixedBlob() blob { return newBlob(mixed, appendMixed) }

func appendMixed(dst []byte, i uint64) []byte {
	types := records.ContentTypes()
	return records.Append(dst, types[i%uint64(len(types))], seed, i, created)
}

func familyBlob(family string) blob {
	return newBlob(family, func(dst []byte, i uint64) []byte {
		return records.AppendFamily(dst, family, seed, i, created)
	})
}
