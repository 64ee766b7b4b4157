package normalize

import (
	"io"
	"math"
	"strconv"
)

// NewReader returns a Reader whose records this encoder appends: most of them then need not be looked at twice.
func (e *Encoder) NewReader(r io.Reader, maxRecord int) *Reader {
	reader := NewReader(r, maxRecord)
	reader.encoder = e
	return reader
}

// AppendRecord appends exactly one Fluent Bit event for a record to dst. It never fails: a record that cannot be read becomes an
// event that says so and holds its bytes. The capacity of dst behind the event is overwritten.
func (e *Encoder) AppendRecord(dst, record []byte, src *Source) ([]byte, Info) {
	defer e.release()
	if problem := e.read(record); problem != "" {
		return e.appendUnreadable(dst, record, problem, src)
	}
	if src == nil {
		src = &Source{}
	}
	event := beginEvent(dst)
	switch e.options.Format {
	case FormatFlat:
		event.dst, event.count = e.flattenRecord(event.dst)
	case FormatFortiSIEM:
		e.findTopMembers()
		e.scratch = e.appendLine(e.scratch[:0], src)
		event.bytes(messageKey, e.scratch)
	default:
		e.findTopMembers()
	}
	if e.options.RawKey != "" {
		e.scratch = e.appendJSON(e.scratch[:0], 0)
		event.bytes(e.options.RawKey, e.scratch)
	}
	id := e.appendAdded(&event, src)
	when := e.eventTime(e.creationTime(), src.Created)
	return event.end(when), Info{ID: id, Time: when}
}

// read parses a record, unless its Reader has just done so, and returns why it is none, "" if it is one.
func (e *Encoder) read(record []byte) (problem string) {
	if e.holds(record) {
		return ""
	}
	if len(record) > math.MaxInt32 {
		return "the record is larger than 2 GiB"
	}
	begin := e.skipSpace(record, 0)
	end, ok := e.readRecord(record[begin:])
	if end += begin; ok {
		end = e.skipSpace(record, end)
	}
	switch {
	case !ok || end < len(record):
		return "the record is not valid JSON from byte " + strconv.Itoa(end) + " of " + strconv.Itoa(len(record)) + " on"
	case e.nodes[0].kind != kindObject:
		return "the record is not a JSON object"
	}
	return ""
}
