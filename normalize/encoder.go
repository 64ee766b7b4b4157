package normalize

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"in_office365/normalize/schema"
)

// Format is what an event holds besides the added keys.
type Format int

// The formats.
const (
	FormatFlat      Format = iota // the record as flat keys
	FormatRaw                     // the record's JSON under RawKey
	FormatFortiSIEM               // the record as a line FortiSIEM parses, under the key message
)

// Defaults and limits.
const (
	DefaultSeparator = '_'
	Separators       = "_.-:/"                // the separators that there are
	DefaultEventTag  = "OFFICE365_EVENT_DATA" // the event type that FortiSIEM knows these records by
	DefaultRawKey    = "message"              // of FormatRaw
	DefaultPhCustID  = 1
	DefaultMaxKeys   = 512
	MaxKeyBytes      = 256      // of a flat key, and of a Name that becomes one
	MaxDepth         = 64       // of nested containers; the record is the first
	MaxRawBytes      = 64 << 10 // what is kept of a record that cannot be read
)

// messageKey holds the line of FormatFortiSIEM.
const messageKey = "message"

// Options are what an Encoder can be told. The zero value gives the flat format with its defaults, without an event tag.
type Options struct {
	Format           Format
	Separator        byte             // one of Separators; 0 means DefaultSeparator
	KeepNulls        bool             // write nil for null
	NameValueColumns bool             // do not turn name/value lists into keys
	ExpandJSON       []string         // flat keys whose text is JSON to be flattened as well
	MaxKeys          int              // most keys per record; 0 means DefaultMaxKeys
	RawKey           string           // key for the record's JSON; "" means none, in FormatRaw DefaultRawKey
	EventTag         string           // value of o365_tag; "" means no such key
	PhCustID         int64            // phCustId of FormatFortiSIEM; 0 means DefaultPhCustID
	Names            *schema.Names    // nil means the built-in tables
	RedactDLP        bool             // replace everything below DetectedValues
	Now              func() time.Time // nil means time.Now
}

// Source is the content blob that a record came in.
type Source struct {
	Tenant, ContentType string
	Created             time.Time // its contentCreated; zero if unknown
}

// Info is what a caller needs to know of a record that was appended.
type Info struct {
	ID         []byte    // its Id as in o365_id, empty if it has none; valid until the next call
	Time       time.Time // the time of the event
	Unreadable string    // "", or why it could not be read, as in o365_error
}

// Encoder turns records into Fluent Bit events. It is not for concurrent use: one per goroutine.
type Encoder struct {
	flattener
	options Options
	now     func() time.Time
	added   addedKeys
	origin  origin
	id      []byte
	scratch []byte
	line    fortiSIEMLine
}

// NewEncoder checks the options. Its errors are one line and name the configuration key.
func NewEncoder(options Options) (*Encoder, error) {
	if options.Separator == 0 {
		options.Separator = DefaultSeparator
	}
	if options.MaxKeys == 0 {
		options.MaxKeys = DefaultMaxKeys
	}
	if options.PhCustID == 0 {
		options.PhCustID = DefaultPhCustID
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Format == FormatRaw && options.RawKey == "" {
		options.RawKey = DefaultRawKey
	}
	options.EventTag = strings.ToValidUTF8(options.EventTag, replacement)
	switch {
	case options.Format < FormatFlat || options.Format > FormatFortiSIEM:
		return nil, fmt.Errorf("format %d: allowed are flat, raw, fortisiem", options.Format)
	case strings.IndexByte(Separators, options.Separator) < 0:
		return nil, fmt.Errorf("separator %q: allowed is one of %s", options.Separator, strings.Join(strings.Split(Separators, ""), " "))
	case options.MaxKeys < 0:
		return nil, fmt.Errorf("max_keys %d: allowed is 1 or more", options.MaxKeys)
	}

	added := newAddedKeys(options.Separator)
	reserved := added.set()
	_, taken := reserved[options.RawKey]
	if options.Format == FormatFortiSIEM && options.RawKey == messageKey {
		taken = true
	}
	switch {
	case taken:
		return nil, fmt.Errorf("raw_key %q: the plugin uses this key itself; allowed is any name but message (in format fortisiem) and those of the added keys, which begin with %s",
			options.RawKey, added.prefix)
	case len(options.RawKey) > MaxKeyBytes || !utf8.ValidString(options.RawKey):
		return nil, fmt.Errorf("raw_key: allowed is any name of at most %d bytes of UTF-8", MaxKeyBytes)
	case options.RawKey != "":
		reserved[options.RawKey] = struct{}{}
	}
	expand := make(map[string]struct{}, len(options.ExpandJSON))
	for _, key := range options.ExpandJSON {
		expand[key] = struct{}{}
	}
	return &Encoder{
		flattener: flattener{
			tape:    tape{redact: options.RedactDLP, nullsIn: options.KeepNulls},
			paths:   newPathTable(options.Separator, expand, reserved),
			columns: options.NameValueColumns,
			maxKeys: options.MaxKeys,
		},
		options: options,
		now:     options.Now,
		added:   added,
	}, nil
}

// AppendRecord appends exactly one Fluent Bit event for a record to dst. It never fails: a record that cannot be read becomes an
// event that says so and holds its bytes.
func (e *Encoder) AppendRecord(dst, record []byte, src *Source) ([]byte, Info) {
	defer e.release()
	if problem := e.read(record); problem != "" {
		return e.appendUnreadable(dst, record, problem, src)
	}
	if src == nil {
		src = &Source{}
	}
	if e.options.Format == FormatFlat {
		e.flattenRecord()
	} else {
		e.findTopMembers()
	}
	when := e.eventTime(e.creationTime(), src.Created)

	event := beginEvent(dst, when)
	switch e.options.Format {
	case FormatFlat:
		var count int
		event.dst, count = e.emit(event.dst)
		event.count += count
	case FormatFortiSIEM:
		e.scratch = e.appendLine(e.scratch[:0], src)
		event.bytes(messageKey, e.scratch)
	}
	if e.options.RawKey != "" {
		e.scratch = e.appendJSON(e.scratch[:0], 0)
		event.bytes(e.options.RawKey, e.scratch)
	}
	e.appendAdded(&event, src)
	return event.end(), Info{ID: e.id, Time: when}
}

// read parses a record and returns why it is none, "" if it is one.
func (e *Encoder) read(record []byte) (problem string) {
	if len(record) > math.MaxInt32 {
		return "the record is larger than 2 GiB"
	}
	e.reset(record)
	if bad := e.parse(record, 0, 0); bad >= 0 {
		return "the record is not valid JSON from byte " + strconv.Itoa(bad) + " of " + strconv.Itoa(len(record)) + " on"
	}
	if e.nodes[0].kind != kindObject {
		return "the record is not a JSON object"
	}
	return ""
}

// AppendUnreadable appends exactly one event for bytes that are no record: what a Reader hands out with a Problem, which is the
// reason here. Of raw at most MaxRawBytes are kept.
func (e *Encoder) AppendUnreadable(dst, raw []byte, reason string, src *Source) []byte {
	dst, _ = e.appendUnreadable(dst, raw, reason, src)
	return dst
}

func (e *Encoder) appendUnreadable(dst, raw []byte, reason string, src *Source) ([]byte, Info) {
	if src == nil {
		src = &Source{}
	}
	var kept []byte
	if e.options.RedactDLP && bytes.Contains(raw, []byte(detectedValues)) {
		reason += "; " + e.added.raw + " is left out because it holds " + detectedValues
	} else {
		e.scratch = appendValid(e.scratch[:0], raw[:min(len(raw), MaxRawBytes+utf8.UTFMax)])
		if kept = cutValid(e.scratch, MaxRawBytes); len(kept) < len(e.scratch) {
			reason += "; " + e.added.raw + " is cut to " + strconv.Itoa(len(kept)) + " of " + strconv.Itoa(len(raw)) + " bytes"
		}
	}
	info := Info{Time: e.eventTime(src.Created), Unreadable: strings.ToValidUTF8(reason, replacement)}
	event := beginEvent(dst, info.Time)
	e.appendOrigin(&event, src.Tenant, src.ContentType)
	event.text(e.added.err, info.Unreadable)
	if len(kept) > 0 {
		event.bytes(e.added.raw, kept)
	}
	return event.end(), info
}

// What the scratch memory of an Encoder may grow to without being given back after a record.
const (
	keptNodes = 1 << 14
	keptBytes = 1 << 20
)

// release lets go of the record and of scratch memory that an exceptionally large one needed.
func (e *Encoder) release() {
	e.record = nil
	if cap(e.nodes) > keptNodes {
		e.nodes = nil
	}
	if cap(e.keys.more) > keptNodes || cap(e.keys.keys) > keptNodes {
		e.keys = keyTable{}
	}
	for _, buffer := range []*[]byte{&e.texts, &e.names, &e.decoded, &e.scratch} {
		if cap(*buffer) > keptBytes {
			*buffer = nil
		}
	}
	e.paths.release()
	e.line.release()
}

// event is a Fluent Bit event under construction: [[time, {}], {pairs}], see
// https://github.com/fluent/fluent-bit-docs/blob/master/development/ingest-records-manually.md and
// https://github.com/fluent/fluent-bit/blob/v5.1.1/src/flb_log_event_decoder.c. Metadata stay empty: outputs would print others.
type event struct {
	dst    []byte
	header int // where the map's header is
	count  int // pairs so far
}

func beginEvent(dst []byte, when time.Time) event {
	dst = append(dst, 0x92, 0x92, 0xd7, 0x00) // array of 2, array of 2, extension of 8 bytes, type 0
	dst = binary.BigEndian.AppendUint32(dst, uint32(when.Unix()))
	dst = binary.BigEndian.AppendUint32(dst, uint32(when.Nanosecond()))
	dst = append(dst, 0x80) // empty map
	header := len(dst)
	return event{dst: append(dst, 0xdf, 0, 0, 0, 0), header: header} // map with a count of 32 bits
}

func (e *event) end() []byte {
	binary.BigEndian.PutUint32(e.dst[e.header+1:], uint32(e.count))
	return e.dst
}

func (e *event) key(name string) {
	e.dst = msgp.AppendString(e.dst, name)
	e.count++
}

// bytes adds a pair whose value is valid UTF-8.
func (e *event) bytes(name string, value []byte) {
	e.key(name)
	e.dst = msgp.AppendStringFromBytes(e.dst, value)
}

// text adds a pair unless its value is empty.
func (e *event) text(name, value string) { e.known(name, strings.ToValidUTF8(value, replacement)) }

// known is text for a value of the tables, which is valid UTF-8.
func (e *event) known(name, value string) {
	if value != "" {
		e.key(name)
		e.dst = msgp.AppendString(e.dst, value)
	}
}

func (e *event) integer(name string, value int64) {
	e.key(name)
	e.dst = msgp.AppendInt64(e.dst, value)
}
