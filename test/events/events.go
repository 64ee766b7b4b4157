// Package events reads what the plugin hands to Fluent Bit: msgpack events of the form [[time, metadata], body], one after another.
package events

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// Event is one record as Fluent Bit sees it.
type Event struct {
	Time time.Time
	Body map[string]any
}

// ID is the record's o365_id, or "".
func (e Event) ID() string { return e.text("o365_id") }

// ContentType is the content type that the record was collected from.
func (e Event) ContentType() string { return e.text("o365_content_type") }

// Notice is the kind of a notice of the collector, "" for a record of the API's.
func (e Event) Notice() string { return e.text("o365_notice") }

func (e Event) text(key string) string {
	s, _ := e.Body[key].(string)
	return s
}

// eventTime is the extension type of Fluent Bit's timestamps: seconds and nanoseconds, 32 bits each.
const (
	eventTime     = 0
	eventTimeSize = 8
)

// ErrShort says that b ends in the middle of an event.
var ErrShort = msgp.ErrShortBytes

// Decode reads all events of b.
func Decode(b []byte) (events []Event, err error) {
	for n := 0; len(b) > 0; n++ {
		var e Event
		if e, b, err = Next(b); err != nil {
			return events, fmt.Errorf("event %d: %w", n, err)
		}
		events = append(events, e)
	}
	return events, nil
}

// Next reads the first event of b, and returns what follows it.
func Next(b []byte) (e Event, rest []byte, err error) {
	return next(b, func([]byte) bool { return true })
}

// NextAdded is Next without those members of the body that the plugin has not added, in a fraction of the time.
func NextAdded(b []byte) (e Event, rest []byte, err error) {
	return next(b, func(key []byte) bool { return bytes.HasPrefix(key, []byte("o365_")) })
}

func next(b []byte, wanted func(key []byte) bool) (e Event, rest []byte, err error) {
	for range 2 { // the event, its header
		var n uint32
		if n, b, err = msgp.ReadArrayHeaderBytes(b); err != nil {
			return e, b, err
		}
		if n != 2 {
			return e, b, fmt.Errorf("an array of %d where 2 belong", n)
		}
	}
	at := msgp.RawExtension{Type: eventTime}
	if b, err = msgp.ReadExtensionBytes(b, &at); err != nil {
		return e, b, err
	}
	if len(at.Data) != eventTimeSize {
		return e, b, fmt.Errorf("a timestamp of %d bytes", len(at.Data))
	}
	e.Time = time.Unix(int64(binary.BigEndian.Uint32(at.Data)), int64(binary.BigEndian.Uint32(at.Data[4:]))).UTC()
	n, b, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		return e, b, err
	}
	if n != 0 {
		return e, b, errors.New("the metadata is not empty")
	}
	if n, b, err = msgp.ReadMapHeaderBytes(b); err != nil {
		return e, b, err
	}
	e.Body = map[string]any{}
	for range n {
		var key []byte
		if key, b, err = msgp.ReadStringZC(b); err != nil {
			return e, b, err
		}
		if !wanted(key) {
			b, err = msgp.Skip(b)
		} else {
			e.Body[string(key)], b, err = msgp.ReadIntfBytes(b)
		}
		if err != nil {
			return e, b, err
		}
	}
	return e, b, nil
}
