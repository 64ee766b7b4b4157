// Package obvious turns audit records into Fluent Bit events in the obvious way of an input plugin in Go: decode the JSON into
// maps, flatten each into another one, and give that to the encoder of fluent-bit-go, a new one for each event as in its example
// (https://github.com/fluent/fluent-bit-go/blob/master/examples/in_gdummy/in_gdummy.go). It is what benchmarks hold package
// normalize against, so it is written as one would without a thought for speed, and no slower than that.
//
// It gives the maps of normalize in format flat where records are regular, without what normalize does about the rest: members that
// stand twice, types that vary, columns that cannot be joined again, limits, text that is not UTF-8.
//
// It needs cgo, as fluent-bit-go does.
package obvious

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fluent/fluent-bit-go/input"
	jsoniter "github.com/json-iterator/go"
)

// eventTag is the value of o365_tag.
const eventTag = "OFFICE365_EVENT_DATA"

// Encoder turns records into Fluent Bit events. It is not for concurrent use.
type Encoder struct {
	json jsoniter.API
}

// NewEncoder returns an Encoder.
func NewEncoder() *Encoder {
	return &Encoder{json: jsoniter.Config{UseNumber: true}.Froze()} // integers stay integers
}

// AppendBlob appends the events of a content blob, [time, map] for each of its records, to dst. It fails when the blob is not an array
// of JSON objects.
func (e *Encoder) AppendBlob(dst, blob []byte, tenant, contentType string) ([]byte, error) {
	var records []map[string]interface{}
	if err := e.json.Unmarshal(blob, &records); err != nil {
		// The decoder's own error would quote the blob.
		return dst, errors.New("decoding a content blob: it is not an array of JSON objects")
	}
	for _, members := range records {
		var err error
		if dst, err = e.append(dst, members, tenant, contentType); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// AppendRecord is AppendBlob for a single record.
func (e *Encoder) AppendRecord(dst, record []byte, tenant, contentType string) ([]byte, error) {
	var members map[string]interface{}
	if err := e.json.Unmarshal(record, &members); err != nil || members == nil {
		return dst, errors.New("decoding an audit record: it is not a JSON object")
	}
	return e.append(dst, members, tenant, contentType)
}

func (e *Encoder) append(dst []byte, members map[string]interface{}, tenant, contentType string) ([]byte, error) {
	flat := make(map[string]interface{})
	e.flattenObject(flat, "", members)
	add(flat, members, tenant, contentType)
	event, err := input.NewEncoder().Encode([]interface{}{input.FLBTime{Time: eventTime(members)}, flat})
	if err != nil {
		return dst, fmt.Errorf("encoding an event: %w", err)
	}
	return append(dst, event...), nil
}

// eventTime is the record's CreationTime, which is UTC with or without saying so, else now.
func eventTime(members map[string]interface{}) time.Time {
	text, _ := members["CreationTime"].(string)
	for _, layout := range []string{"2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	return time.Now()
}

// number is an integer where the text is one, without a detour through a float.
func number(n json.Number) interface{} {
	if i, err := n.Int64(); err == nil {
		return i
	}
	if f, err := n.Float64(); err == nil {
		return f
	}
	return n.String()
}
