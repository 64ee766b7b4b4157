// This file stands in for normalize/append.go in the plugin that make bench-pipe compares with: the records take the obvious way,
// of package obvious, instead of normalize's. All around it, the network and the hand-over, stays as it is. The Info is empty, which spares
// this way the collector's look for repeats.

package normalize

import (
	"io"
	"slices"
	"sync"

	"in_office365/test/obvious"
)

// encoders are for one goroutine at a time. An Encoder cannot hold one: its fields are in another file.
var encoders = sync.Pool{New: func() any { return obvious.NewEncoder() }}

// NewReader returns a Reader that only splits: this way parses for itself.
func (e *Encoder) NewReader(r io.Reader, maxRecord int) *Reader { return NewReader(r, maxRecord) }

// AppendRecord appends one Fluent Bit event for a record to dst.
func (e *Encoder) AppendRecord(dst, record []byte, src *Source) ([]byte, Info) {
	encoder := encoders.Get().(*obvious.Encoder)
	defer encoders.Put(encoder)
	const headers, eventTime = 2, 10 // bytes, of two arrays and of a time
	begin := len(dst)
	out, err := encoder.AppendRecord(append(dst, 0x92), record, src.Tenant, src.ContentType)
	if err != nil {
		return e.appendUnreadable(dst, record, err.Error(), src)
	}
	// [time, map] becomes [[time, {}], map]: Fluent Bit takes both, the minimal host only what is current.
	return slices.Insert(out, begin+headers+eventTime, 0x80), Info{}
}
