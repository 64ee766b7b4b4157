package normalize

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

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

// parse appends the nodes of one JSON text, which lies at base in its source, and returns the index where it went wrong, -1 if it
// did not. It takes exactly the JSON of RFC 8259, with any bytes from 0x80 on within strings, at any depth.
func (t *tape) parse(text []byte, base uint32, origin flags) (bad int) {
	t.nodes, bad = t.appendNodes(t.nodes, text, base, origin)
	return bad
}

// appendNodes is parse on nodes that are its own, so that they stay in registers.
func (t *tape) appendNodes(nodes []node, text []byte, base uint32, origin flags) (_ []node, bad int) {
	const none = ^uint32(0)
	var (
		open      = none  // the innermost container
		inObject  = false // it is an object
		redacting = none  // the outermost container below DetectedValues
		redactOne = false // the next value is below DetectedValues
		i         = 0
	)
	for {
		// A value begins at i, in an object its name, white space aside.
		if i = t.skipSpace(text, i); i == len(text) {
			return nodes, i
		}
		n := node{flags: origin}
		if inObject {
			if text[i] != '"' {
				return nodes, i
			}
			end, dirty, ok := skipString(text, i+1)
			if !ok {
				return nodes, end
			}
			n.nameOff, n.nameEnd = base+uint32(i)+1, base+uint32(end)
			if dirty {
				n.flags |= flagDirtyName
			}
			if t.redact && redacting == none {
				redactOne = isDetectedValues(text[i+1:end], dirty)
			}
			if i = t.skipSpace(text, end+1); i == len(text) || text[i] != ':' {
				return nodes, i
			}
			if i = t.skipSpace(text, i+1); i == len(text) {
				return nodes, i
			}
		}

		c := text[i]
		index := uint32(len(nodes))
		n.off = base + uint32(i)
		if c == '{' || c == '[' {
			n.kind, n.next = kindObject, open // its parent, until it is closed
			if c == '[' {
				n.kind = kindArray
			}
			if redactOne {
				redacting, redactOne = index, false
			}
			i = t.skipSpace(text, i+1)
			empty := i < len(text) && text[i] == c+2 // '{'+2 is '}', '['+2 is ']'
			if empty || c == '[' {
				n.flags |= flagEmpty // an array until something is in it
			}
			nodes = append(nodes, n)
			open, inObject = index, c == '{'
			if !empty {
				continue
			}
		} else {
			var end int
			var ok bool
			switch c {
			case '"':
				var dirty bool
				end, dirty, ok = skipString(text, i+1)
				n.kind, n.off, n.end = kindString, n.off+1, base+uint32(end)
				if dirty {
					n.flags |= flagDirty
				}
				end++
			case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
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
				return nodes, min(end, len(text))
			}
			if n.kind != kindNull && (redactOne || redacting != none) {
				n.kind, n.flags = kindString, n.flags&^(flagDirty|flagInteger)|flagRedacted
				n.off, n.end = base+uint32(i), base+uint32(end)
				t.hidden = true
			}
			redactOne = false
			if !inObject && open != none && (n.kind != kindNull || t.nullsIn) {
				nodes[open].flags &^= flagEmpty
			}
			n.next = index + 1
			nodes = append(nodes, n)
			i = end
		}

		// Containers may end here; then a comma follows, or the end.
		for {
			i = t.skipSpace(text, i)
			if open == none {
				if i == len(text) {
					return nodes, -1
				}
				return nodes, i
			}
			if i == len(text) {
				return nodes, i
			}
			c := text[i]
			if c == ',' {
				i++
				break
			}
			if inObject && c != '}' || !inObject && c != ']' {
				return nodes, i
			}
			i++
			n := &nodes[open]
			parent := n.next
			n.next, n.end = uint32(len(nodes)), base+uint32(i)
			if open == redacting {
				redacting = none
			}
			open, inObject = parent, parent != none && nodes[parent].kind == kindObject
			if parent != none && !inObject && n.flags&flagEmpty == 0 {
				nodes[parent].flags &^= flagEmpty
			}
		}
	}
}

// skipSpace returns the index of the first byte from i on that is not white space, or len(text).
func (t *tape) skipSpace(text []byte, i int) int {
	if i < len(text) && text[i] <= ' ' {
		return t.skipSpaces(text, i)
	}
	return i
}

func (t *tape) skipSpaces(text []byte, i int) int {
	t.spaced = true
	for i < len(text) && isSpace(text[i]) {
		i++
	}
	return i
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
	var seen uint64
	for rest := text[i:]; len(rest) >= 8; rest = rest[8:] {
		word := binary.LittleEndian.Uint64(rest)
		stop := stops(word)
		if stop == 0 {
			seen |= word
			continue
		}
		if end = len(text) - len(rest) + bits.TrailingZeros64(stop)/8; text[end] != '"' {
			break
		}
		seen |= word & (stop - 1)
		return end, seen&highBits != 0, true
	}
	return skipAnyString(text, i)
}

// skipAnyString is skipString for those that have escapes too.
func skipAnyString(text []byte, i int) (end int, dirty, ok bool) {
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
	if text[i] == '-' {
		i++
	}
	begin := i
	if i < len(text) && text[i] == '0' {
		i++
	} else if i = skipDigits(text, i); i == begin {
		return i, false, false
	}
	integer = true
	if i < len(text) && text[i] == '.' {
		integer = false
		begin = i + 1
		if i = skipDigits(text, begin); i == begin {
			return i, false, false
		}
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		integer = false
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		begin = i
		if i = skipDigits(text, begin); i == begin {
			return i, false, false
		}
	}
	return i, integer, true
}

func skipDigits(text []byte, i int) int {
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		i++
	}
	return i
}

func skipLiteral(text []byte, i int) (k kind, end int, ok bool) {
	literal := "null"
	switch text[i] {
	case 't':
		k, literal = kindTrue, "true"
	case 'f':
		k, literal = kindFalse, "false"
	}
	if end = i + len(literal); end <= len(text) && string(text[i:end]) == literal {
		return k, end, true
	}
	return kindNull, i, false
}
