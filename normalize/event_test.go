package normalize

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// decodedEvent is a Fluent Bit event as a test reads it.
type decodedEvent struct {
	time   time.Time
	keys   []string // in order
	values map[string]any
}

// decodeEvent reads exactly one event and fails the test if there is anything wrong with it: another shape, a value of a type
// that is not to be there, a text that is not UTF-8, a key twice, bytes behind it.
func decodeEvent(t testing.TB, b []byte) decodedEvent {
	t.Helper()
	event, rest, err := readEvent(b)
	if err != nil {
		t.Fatalf("not an event: %v\n%x", err, b)
	}
	if len(rest) > 0 {
		t.Fatalf("%d bytes behind the event", len(rest))
	}
	return event
}

func readEvent(b []byte) (event decodedEvent, rest []byte, err error) {
	const header = "\x92\x92\xd7\x00" // [[time, metadata], map]
	if len(b) < 13 || string(b[:4]) != header || b[12] != 0x80 {
		return event, nil, fmt.Errorf("it does not begin as one")
	}
	seconds, nanos := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	if seconds < minEventSecond || seconds > maxEventSecond || nanos > maxEventNanos {
		return event, nil, fmt.Errorf("time %d.%d", seconds, nanos)
	}
	event.time = time.Unix(int64(seconds), int64(nanos)).UTC()
	event.values = map[string]any{}
	r := msgpackReader{b: b[13:]}
	for count := r.mapHeader(); count > 0 && r.err == nil; count-- {
		key, ok := r.value().(string)
		if !ok && r.err == nil {
			r.err = fmt.Errorf("a key is not a string")
		}
		if _, twice := event.values[key]; twice {
			r.err = fmt.Errorf("key %q twice", key)
		}
		event.keys = append(event.keys, key)
		event.values[key] = r.value()
	}
	return event, r.b, r.err
}

// msgpackReader reads the msgpack types that an event may hold (https://github.com/msgpack/msgpack/blob/master/spec.md).
type msgpackReader struct {
	b   []byte
	err error
}

func (r *msgpackReader) take(n uint64) []byte {
	if r.err == nil && n > uint64(len(r.b)) {
		r.err = fmt.Errorf("it ends early")
	}
	if r.err != nil {
		return make([]byte, min(n, 8))
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *msgpackReader) uint(size uint64) (v uint64) {
	for _, c := range r.take(size) {
		v = v<<8 | uint64(c)
	}
	return v
}

func (r *msgpackReader) mapHeader() uint64 {
	switch c := r.uint(1); {
	case c&0xf0 == 0x80:
		return c & 0x0f
	case c == 0xde:
		return r.uint(2)
	case c == 0xdf:
		return r.uint(4)
	}
	r.err = fmt.Errorf("the body is not a map")
	return 0
}

func (r *msgpackReader) value() any {
	switch c := r.uint(1); {
	case c <= 0x7f:
		return int64(c)
	case c >= 0xe0:
		return int64(int8(c))
	case c&0xe0 == 0xa0:
		return r.text(c & 0x1f)
	case c&0xf0 == 0x90:
		return r.array(c & 0x0f)
	case c == 0xc0:
		return nil
	case c == 0xc2, c == 0xc3:
		return c == 0xc3
	case c == 0xcb:
		return math.Float64frombits(r.uint(8))
	case 0xcc <= c && c <= 0xce:
		return int64(r.uint(1 << (c - 0xcc)))
	case c == 0xcf:
		v := r.uint(8)
		if v > math.MaxInt64 {
			return v
		}
		return int64(v)
	case c == 0xd0:
		return int64(int8(r.uint(1)))
	case c == 0xd1:
		return int64(int16(r.uint(2)))
	case c == 0xd2:
		return int64(int32(r.uint(4)))
	case c == 0xd3:
		return int64(r.uint(8))
	case 0xd9 <= c && c <= 0xdb:
		return r.text(r.uint(1 << (c - 0xd9)))
	case c == 0xdc:
		return r.array(r.uint(2))
	case c == 0xdd:
		return r.array(r.uint(4))
	default:
		if r.err == nil {
			r.err = fmt.Errorf("type %#x", c)
		}
		return nil
	}
}

func (r *msgpackReader) text(size uint64) string {
	s := string(r.take(size))
	if !utf8.ValidString(s) {
		r.err = fmt.Errorf("a text is not UTF-8: %q", s)
	}
	return s
}

func (r *msgpackReader) array(size uint64) []any {
	values := []any{}
	kinds := map[string]bool{}
	for ; size > 0 && r.err == nil; size-- {
		v := r.value()
		switch v.(type) {
		case []any:
			r.err = fmt.Errorf("an array in an array")
		case int64, uint64, float64:
			kinds["number"] = true
		case nil:
		default:
			kinds[fmt.Sprintf("%T", v)] = true
		}
		values = append(values, v)
	}
	if len(kinds) > 1 && r.err == nil {
		r.err = fmt.Errorf("an array of several types")
	}
	return values
}

// String is the event as the golden files show it: a line per key, strings quoted, fractions with a point.
func (e decodedEvent) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "time %s\n", e.time.Format(time.RFC3339Nano))
	for _, key := range e.keys {
		fmt.Fprintf(&b, "%s = %s\n", key, showValue(e.values[key]))
	}
	return b.String()
}

func showValue(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case float64:
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
		return s
	case []any:
		shown := make([]string, len(v))
		for i := range v {
			shown[i] = showValue(v[i])
		}
		return "[" + strings.Join(shown, ", ") + "]"
	case nil:
		return "nil"
	}
	return fmt.Sprint(v)
}
