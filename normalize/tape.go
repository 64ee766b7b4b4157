package normalize

import "unicode/utf8"

type kind uint8

const (
	kindNull kind = iota
	kindFalse
	kindTrue
	kindNumber
	kindString
	kindArray
	kindObject
)

type flags uint8

const (
	flagDirty     flags = 1 << iota // a string with escapes or bytes that are not ASCII: to be decoded
	flagDirtyName                   // the same of the member's name
	flagInteger                     // a number without fraction and exponent
	flagEmpty                       // {}, [], or an array that holds nothing but such and (unless nulls are kept) nulls
	flagRedacted                    // a scalar below DetectedValues; kind is kindString, off and end are those of the whole token
	flagExpanded                    // off, end and the name lie in tape.texts, not in tape.record
	flagRewritten                   // a string whose JSON was expanded and holds something redacted: see tape.rewritten
)

// noNode stands for no node; it is no valid index because node 0 is the record itself and never anybody's child or member.
const noNode = 0

// node is one JSON value. Nodes stand in document order, so the children of node i begin at i+1 and each one's next sibling is at
// its next.
type node struct {
	off, end         uint32 // its text; of a string what is between the quotes
	nameOff, nameEnd uint32 // the name of an object's member, between its quotes
	next             uint32 // the index behind its subtree; while it is open, its parent's
	kind             kind
	flags            flags
}

// tape holds one record as nodes, and behind them those of JSON texts that were expanded in it.
type tape struct {
	nodes  []node
	record []byte
	texts  []byte // decoded JSON texts
	names  []byte // scratch for decoded names

	// rewritten leads from strings to the JSON expanded from them that is to stand for them wherever they are kept as text.
	rewritten map[uint32]uint32

	spaced  bool // there is white space between tokens
	hidden  bool // there are redacted nodes
	redact  bool // option RedactDLP
	nullsIn bool // option KeepNulls: a null is something
}

const detectedValues = "DetectedValues"

// reset begins a new record.
func (t *tape) reset(record []byte) {
	t.nodes, t.texts, t.record = t.nodes[:0], t.texts[:0], record
	t.spaced, t.hidden, t.rewritten = false, false, nil
}

func (t *tape) source(f flags) []byte {
	if f&flagExpanded != 0 {
		return t.texts
	}
	return t.record
}

// text returns the node's bytes as received.
func (t *tape) text(i uint32) []byte {
	n := &t.nodes[i]
	return t.source(n.flags)[n.off:n.end]
}

// name returns the node's member name, decoded; valid until the next call.
func (t *tape) name(i uint32) []byte {
	n := &t.nodes[i]
	raw := t.source(n.flags)[n.nameOff:n.nameEnd]
	if n.flags&flagDirtyName == 0 {
		return raw
	}
	t.names = appendDecoded(t.names[:0], raw)
	return t.names
}

func (t *tape) isEmpty(i uint32) bool { return t.nodes[i].flags&flagEmpty != 0 }

// parsing is where parse stands.
type parsing uint8

const (
	wantValue parsing = iota
	wantName
	afterValue
	closing
)

// parse appends the nodes of one JSON text, which lies at base in its source, and returns the index where it went wrong, -1 if it
// did not. It takes exactly the JSON of RFC 8259, with any bytes from 0x80 on within strings, at any depth.
func (t *tape) parse(text []byte, base uint32, origin flags) (bad int) {
	var (
		nodes     = t.nodes
		root      = uint32(len(nodes))
		none      = ^uint32(0)
		open      = none // the innermost container
		redacting = none // the outermost container below DetectedValues
		redactOne = false
		member    = node{flags: origin} // carries the name to the value
		state     = wantValue
		i         = 0
	)
	defer func() { t.nodes = nodes }()
	for {
		if i < len(text) && text[i] <= ' ' {
			t.spaced = true
			for i < len(text) && isSpace(text[i]) {
				i++
			}
		}
		if state == afterValue && open == none {
			if i == len(text) {
				return -1
			}
			return i
		}
		if i == len(text) {
			return i
		}
		c := text[i]

		switch state {
		case wantName:
			if c != '"' {
				return i
			}
			end, dirty, ok := skipString(text, i+1)
			if !ok {
				return end
			}
			member = node{flags: origin, nameOff: base + uint32(i) + 1, nameEnd: base + uint32(end)}
			if dirty {
				member.flags |= flagDirtyName
			}
			if t.redact && redacting == none {
				redactOne = isDetectedValues(text[i+1:end], dirty)
			}
			for i = end + 1; i < len(text) && isSpace(text[i]); i++ {
				t.spaced = true
			}
			if i == len(text) || text[i] != ':' {
				return i
			}
			i++
			state = wantValue
			continue

		case afterValue:
			isObject := nodes[open].kind == kindObject
			switch {
			case c == ',' && isObject:
				state = wantName
			case c == ',':
				state = wantValue
			case c == '}' && isObject, c == ']' && !isObject:
				state = closing
			default:
				return i
			}
			i++
			if state != closing {
				continue
			}

		case wantValue:
			n := member
			member = node{flags: origin}
			n.off = base + uint32(i)
			index := uint32(len(nodes))
			if open != none && nodes[open].kind == kindObject {
				nodes[open].flags &^= flagEmpty
			}
			if c == '{' || c == '[' {
				n.kind, n.next = kindObject, open
				if c == '[' {
					n.kind = kindArray
				}
				n.flags |= flagEmpty
				nodes = append(nodes, n)
				open = index
				if redactOne {
					redacting, redactOne = index, false
				}
				for i++; i < len(text) && isSpace(text[i]); i++ {
					t.spaced = true
				}
				if i < len(text) && text[i] == c+2 { // '{'+2 is '}', '['+2 is ']'
					i++
					break // it is empty, and closes at once
				}
				if n.kind == kindObject {
					state = wantName
				}
				continue
			}

			var end int
			var ok bool
			switch {
			case c == '"':
				var dirty bool
				end, dirty, ok = skipString(text, i+1)
				n.kind, n.off = kindString, n.off+1
				n.end = base + uint32(end)
				if dirty {
					n.flags |= flagDirty
				}
				end++
			case c == '-' || '0' <= c && c <= '9':
				var integer bool
				end, integer, ok = skipNumber(text, i)
				n.kind, n.end = kindNumber, base+uint32(end)
				if integer {
					n.flags |= flagInteger
				}
			default:
				n.kind, end, ok = skipLiteral(text, i)
				n.end = base + uint32(end)
			}
			if !ok {
				return min(end, len(text))
			}
			if n.kind != kindNull && (redactOne || redacting != none) {
				n.kind, n.flags = kindString, n.flags&^(flagDirty|flagInteger)|flagRedacted
				n.off, n.end = base+uint32(i), base+uint32(end)
				t.hidden = true
			}
			redactOne = false
			if open != none && nodes[open].kind == kindArray && (n.kind != kindNull || t.nullsIn) {
				nodes[open].flags &^= flagEmpty
			}
			n.next = index + 1
			nodes = append(nodes, n)
			i, state = end, afterValue
			continue
		}

		// state is closing: text[i-1] closes the open container
		n := &nodes[open]
		parent := n.next
		n.next, n.end = uint32(len(nodes)), base+uint32(i)
		if open == redacting {
			redacting = none
		}
		if open != root && n.flags&flagEmpty == 0 && nodes[parent].kind == kindArray {
			nodes[parent].flags &^= flagEmpty
		}
		open, state = parent, afterValue
	}
}

// isDetectedValues tells whether a member name, escaped or not, is the one that holds matches of data loss prevention.
func isDetectedValues(raw []byte, dirty bool) bool {
	if !dirty {
		return string(raw) == detectedValues
	}
	const longestEscape = len(`\u0000`)
	if len(raw) > longestEscape*len(detectedValues) {
		return false
	}
	var buf [longestEscape * len(detectedValues) * utf8.UTFMax]byte
	return string(appendDecoded(buf[:0], raw)) == detectedValues
}

// skipString returns the index of the quote that ends the string whose first byte is at i, or where it goes wrong.
func skipString(text []byte, i int) (end int, dirty, ok bool) {
	for {
		j, high := plainRun(text, i)
		dirty = dirty || high
		if j == len(text) || text[j] < ' ' {
			return j, dirty, false
		}
		if text[j] == '"' {
			return j, dirty, true
		}
		dirty = true
		if j+1 == len(text) {
			return j + 1, dirty, false
		}
		switch text[j+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i = j + 2
		case 'u':
			if _, ok := hex4(text[j+2:]); !ok {
				return j, dirty, false
			}
			i = j + 6
		default:
			return j, dirty, false
		}
	}
}

// skipNumber returns the index behind the number that begins at i.
func skipNumber(text []byte, i int) (end int, integer, ok bool) {
	digits := func() bool {
		begin := i
		for i < len(text) && '0' <= text[i] && text[i] <= '9' {
			i++
		}
		return i > begin
	}
	if text[i] == '-' {
		i++
	}
	if i < len(text) && text[i] == '0' {
		i++
	} else if !digits() {
		return i, false, false
	}
	integer = true
	if i < len(text) && text[i] == '.' {
		integer = false
		i++
		if !digits() {
			return i, false, false
		}
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		integer = false
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		if !digits() {
			return i, false, false
		}
	}
	return i, integer, true
}

func skipLiteral(text []byte, i int) (k kind, end int, ok bool) {
	for _, literal := range [...]struct {
		text string
		kind kind
	}{{"null", kindNull}, {"true", kindTrue}, {"false", kindFalse}} {
		if end = i + len(literal.text); end <= len(text) && string(text[i:end]) == literal.text {
			return literal.kind, end, true
		}
	}
	return kindNull, i, false
}
