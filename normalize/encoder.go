package normalize

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
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
	ID         []byte    // its Id as in o365_id, empty if it has none; valid until the next call, and as long as the record's bytes are
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
	id      []byte // scratch
	day     day
	line    fortiSIEMLine

	recordTypes, userTypes, logonTypes namePairs
	categories                         categoryPairs
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
			tape:    tape{redact: options.RedactDLP, nullsIn: options.KeepNulls, paths: newPathTable(options.Separator, expand, reserved)},
			columns: options.NameValueColumns,
			maxKeys: options.MaxKeys,
		},
		options: options,
		now:     options.Now,
		added:   added,
		line:    newFortiSIEMLine(),

		recordTypes: namePairs{key: added.recordType, name: options.Names.RecordType},
		userTypes:   namePairs{key: added.userType, name: options.Names.UserType},
		logonTypes:  namePairs{key: added.logonType, name: options.Names.LogonType},
		categories:  categoryPairs{key: added.category, seed: maphash.MakeSeed()},
	}, nil
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
	event := beginEvent(dst)
	e.appendOrigin(&event, src.Tenant, src.ContentType)
	event.text(e.added.err, info.Unreadable)
	if len(kept) > 0 {
		event.bytes(e.added.raw, kept)
	}
	return event.end(info.Time), info
}

// What the scratch memory of an Encoder may grow to without being given back after a record.
const (
	keptNodes = 1 << 14
	keptBytes = 1 << 20
)

// release lets go of the record and of scratch memory that an exceptionally large one needed.
func (e *Encoder) release() {
	e.nodes, e.record = e.nodes[:0], nil
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
	dst   []byte
	begin int // where the event begins in dst
	count int // pairs so far
}

// eventHeader is an event up to its pairs, with zeros for what comes last.
const eventHeader = "\x92\x92" + // array of 2, array of 2
	"\xd7\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00" + // extension of 8 bytes, type 0: seconds, nanoseconds
	"\x80" + // empty map
	"\xdf" + "\x00\x00\x00\x00" // map with a count of 32 bits

func beginEvent(dst []byte) event {
	return event{begin: len(dst), dst: append(dst, eventHeader...)}
}

func (e *event) end(when time.Time) []byte {
	const seconds, nanoseconds, count = 4, 8, len(eventHeader) - 4 // where they are
	header := e.dst[e.begin:]
	binary.BigEndian.PutUint32(header[seconds:], uint32(when.Unix()))
	binary.BigEndian.PutUint32(header[nanoseconds:], uint32(when.Nanosecond()))
	binary.BigEndian.PutUint32(header[count:], uint32(e.count))
	return e.dst
}

func (e *event) key(name string) {
	e.dst = append(appendStringHeader(e.dst, len(name)), name...)
	e.count++
}

// bytes adds a pair whose value is valid UTF-8.
func (e *event) bytes(name string, value []byte) {
	e.key(name)
	e.dst = append(appendStringHeader(e.dst, len(value)), value...)
}

// pairs adds pairs that are msgpack.
func (e *event) pairs(pairs []byte, count int) {
	e.dst = append(e.dst, pairs...)
	e.count += count
}

// text adds a pair unless its value is empty.
func (e *event) text(name, value string) { e.known(name, strings.ToValidUTF8(value, replacement)) }

// known is text for a value of the tables, which is valid UTF-8.
func (e *event) known(name, value string) {
	if value != "" {
		e.key(name)
		e.dst = append(appendStringHeader(e.dst, len(value)), value...)
	}
}

func (e *event) integer(name string, value int64) {
	e.key(name)
	e.dst = msgp.AppendInt64(e.dst, value)
}
