package normalize

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

type kind uint8

const (
	kindNull kind = iota
	kindFalse
	kindTrue
	kindShort   // an integer of at most maxShortInteger bytes
	kindInteger // a longer one
	kindNumber  // with a fraction or an exponent
	kindString
	kindArray
	kindObject
)

type kindSet uint16

type flags uint8

const (
	flagEscaped   flags = 1 << iota // a string with escapes
	flagHigh                        // a string that may have bytes that are not ASCII
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
	off, end uint32 // its text; of a string what is between the quotes
	path     uint32 // the names that lead to it
	name     uint32 // of an object's member: where its name begins, behind the quote; else 0
	next     uint32 // the index behind its subtree; while it is open, its parent
	kind     kind
	flags    flags
}

// tape holds one record as nodes, and behind them those of JSON texts that were expanded in it.
type tape struct {
	nodes  []node
	record []byte
	texts  []byte // decoded JSON texts
	names  []byte // scratch for a decoded name
	paths  pathTable

	// rewritten leads from strings to the JSON expanded from them that is to stand for them wherever they are kept as text.
	rewritten map[uint32]uint32

	spaced  bool // there is white space between tokens
	hidden  bool // there are redacted nodes
	redact  bool // option RedactDLP
	nullsIn bool // option KeepNulls: a null is something
}

const detectedValues = "DetectedValues"

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

func (t *tape) isEmpty(i uint32) bool { return t.nodes[i].flags&flagEmpty != 0 }

// begin forgets the record before.
func (t *tape) begin() {
	t.nodes, t.texts, t.record = t.nodes[:0], t.texts[:0], nil
	t.spaced, t.hidden, t.rewritten = false, false, nil
}

// readRecord parses the record that text begins with. end is the index behind it, or, when it is not ok, where it goes wrong;
// len(text) if it does not end in text.
func (t *tape) readRecord(text []byte) (end int, ok bool) {
	t.begin()
	if end, ok = t.parse(text, 0, rootPath); ok {
		t.record = text[:end]
	}
	return end, ok
}

// holds tells whether the nodes are those of this record.
func (t *tape) holds(record []byte) bool {
	return len(t.record) > 0 && len(t.record) == len(record) && &t.record[0] == &record[0]
}

// parse appends the nodes of the JSON value that begins at source[i], white space aside; its place is at. It takes exactly the JSON
// of RFC 8259, with any bytes from 0x80 on within strings, at any depth. end is the index behind the value, or, when it is not ok,
// where it goes wrong.
func (t *tape) parse(source []byte, i int, at uint32) (end int, ok bool) {
	root := len(t.nodes)
	t.nodes, end, ok = t.appendNodes(t.nodes, source, i, at)
	if ok && t.redact {
		t.redactNodes(root)
	}
	return end, ok
}

// appendNodes is parse without redaction. What nearly every node needs stands in its one loop, without calls: for each it would have
// to save and restore its state.
func (t *tape) appendNodes(nodes []node, text []byte, i int, at uint32) (_ []node, end int, ok bool) {
	const none = ^uint32(0)
	var (
		open  = none              // the innermost container
		place = t.paths.paths[at] // the path of what was read last, and of the elements of an array; the root in front of a first member
		guess *path               // the path that the next member probably has; nil outside objects
	)
	text = text[:len(text):len(text)] // so that the compiler checks slices against one limit, not two
	for {
		// A value begins at i, in an object its name.
		name := 0
		if guess != nil {
			before := place.at
			name, place = i+1, guess
			// There is no branch for the size of a name: that varies, and a wrongly predicted branch costs more than to compare some
			// bytes for nothing.
			size, different := 0, uint64(1)
			if i+chunkSize < len(text) {
				chunk := (*[chunkSize]byte)(text[i : i+chunkSize])
				size = int(guess.quotedSize)
				mask := &nameMasks[size%len(nameMasks)]
				different = (word(chunk, 0)^guess.quoted[0])&mask[0] | (word(chunk, 1)^guess.quoted[1])&mask[1] |
					(word(chunk, 2)^guess.quoted[2])&mask[2] | (word(chunk, 3)^guess.quoted[3])&mask[3]
			}
			if different == 0 {
				i += size
			} else if name, i, place, ok = t.readName(text, i, nodes[open].path, before); !ok {
				return nodes, i, false
			}
			guess = place.next
		}
		if uint(i) >= uint(len(text)) || text[i] <= ' ' {
			if i = t.skipSpaces(text, i); i >= len(text) {
				return nodes, i, false
			}
		}

		index := len(nodes)
		if index == cap(nodes) {
			nodes = slices.Grow(nodes, 1)
		}
		nodes = nodes[:index+1]
		n := &nodes[index]
		n.name, n.path = uint32(name), place.at
		n.next = uint32(index + 1)
		switch c := text[i]; c {
		case '"':
			begin := i + 1
			plain := false
			for i = begin; i+chunkSize <= len(text); i += chunkSize {
				chunk := (*[chunkSize]byte)(text[i : i+chunkSize])
				stop := twoStops(word(chunk, 0), word(chunk, 1)) | twoStops(word(chunk, 2), word(chunk, 3))<<16
				if stop != 0 {
					i += bits.TrailingZeros32(stop)
					plain = text[i] == '"'
					break
				}
			}
			n.kind, n.flags = kindString, 0
			if !plain {
				if i, n.flags, ok = skipAnyString(text, i, 0); !ok {
					return nodes, i, false
				}
			}
			n.off, n.end = uint32(begin), uint32(i)
			i++
			if guess == nil && open != none {
				nodes[open].flags &^= flagEmpty
			}
		case '{', '[':
			n.off = uint32(i)
			n.kind, n.flags = kindObject, flagEmpty
			if c == '[' {
				n.kind = kindArray
			}
			if i = t.skipSpace(text, i+1); i < len(text) && text[i] == c+2 { // '{'+2 is '}', '['+2 is ']'
				i++
				n.end = uint32(i)
				break
			}
			n.next = open // its parent, until it is closed
			open, guess = uint32(index), nil
			if c == '{' {
				n.flags = 0 // an array is empty until something is in it
				place, guess = t.paths.paths[rootPath], place.first
			}
			continue
		default:
			kind, end, ok := skipAtom(text, i)
			if !ok {
				return nodes, end, false
			}
			n.off, n.end = uint32(i), uint32(end)
			n.kind, n.flags = kind, 0
			i = end
			if guess == nil && open != none && (kind != kindNull || t.nullsIn) {
				nodes[open].flags &^= flagEmpty
			}
		}
		if guess == nil && open == none {
			return nodes, i, true
		}

		// Containers may end here; then a comma follows, or the end.
		for {
			if uint(i) >= uint(len(text)) || text[i] <= ' ' {
				if i = t.skipSpaces(text, i); i >= len(text) {
					return nodes, i, false
				}
			}
			c := text[i]
			if c == ',' {
				if i++; guess != nil && i < len(text) && text[i] <= ' ' {
					i = t.skipSpaces(text, i)
				}
				break
			}
			if guess != nil && c != '}' || guess == nil && c != ']' {
				return nodes, i, false
			}
			i++
			n := &nodes[open]
			parent := n.next
			n.next, n.end = uint32(len(nodes)), uint32(i)
			if parent == none {
				return nodes, i, true
			}
			open = parent
			p := &nodes[parent]
			place = t.paths.paths[n.path] // of elements that of their array
			if guess = nil; p.kind == kindObject {
				guess = place.next
			} else if n.flags&flagEmpty == 0 {
				p.flags &^= flagEmpty
			}
		}
	}
}

// readName reads the name of an object's member, white space aside, and the colon behind it. begin is the index behind the quote
// before it; end the one behind the colon, or, when it is not ok, where it goes wrong.
func (t *tape) readName(text []byte, i int, at, before uint32) (begin, end int, place *path, ok bool) {
	if i = t.skipSpace(text, i); i >= len(text) || text[i] != '"' {
		return 0, i, nil, false
	}
	begin = i + 1
	if place = t.paths.guessOther(at, before, text[i:]); place != nil {
		return begin, i + int(place.quotedSize), place, true
	}
	end, f, ok := skipString(text, begin)
	if !ok {
		return 0, end, nil, false
	}
	name := text[begin:end]
	if f != 0 {
		t.names = appendDecoded(t.names[:0], name)
		name = t.names
	}
	place = t.paths.paths[t.paths.child(at, before, name)]
	if i = t.skipSpace(text, end+1); i >= len(text) || text[i] != ':' {
		return 0, i, nil, false
	}
	return begin, i + 1, place, true
}

// skipAtom returns the index behind the number or literal that begins at i.
func skipAtom(text []byte, i int) (k kind, end int, ok bool) {
	isDigit := '0' <= text[i] && text[i] <= '9'
	switch {
	case !isDigit && text[i] != '-':
		return skipLiteral(text, i)
	case isDigit && i+1 < len(text) && (text[i+1] == ',' || text[i+1] == '}'): // most numbers
		return kindShort, i + 1, true
	}
	end, integer, ok := skipNumber(text, i)
	switch {
	case !integer:
		k = kindNumber
	case end-i > maxShortInteger:
		k = kindInteger
	default:
		k = kindShort
	}
	return k, end, ok
}

// redactNodes makes every scalar below a member named DetectedValues a redacted one, from node i on.
func (t *tape) redactNodes(i int) {
	for end := uint32(i); i < len(t.nodes); i++ {
		n := &t.nodes[i]
		if t.paths.paths[n.path].detected && n.name != 0 {
			end = max(end, n.next)
		}
		if uint32(i) < end && n.kind != kindNull && n.kind < kindArray {
			if n.kind == kindString {
				n.off, n.end = n.off-1, n.end+1
			}
			n.kind, n.flags = kindString, n.flags&flagExpanded|flagRedacted
			t.hidden = true
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
	for i < len(text) && isSpace(text[i]) {
		t.spaced = true
		i++
	}
	return i
}

// flagDirty is a string that is to be decoded.
const flagDirty = flagEscaped | flagHigh

// skipString returns the index of the quote that ends the string whose first byte is at i, or where it goes wrong.
func skipString(text []byte, i int) (end int, f flags, ok bool) {
	var seen uint64
	for end = i; end+8 <= len(text); end += 8 {
		word := binary.LittleEndian.Uint64(text[end:])
		stop := stops(word)
		if stop == 0 {
			seen |= word
			continue
		}
		if end += bits.TrailingZeros64(stop) / 8; text[end] != '"' {
			break
		}
		if seen |= word & (stop - 1); seen&highBits != 0 {
			f = flagHigh
		}
		return end, f, true
	}
	return skipAnyString(text, i, 0)
}

// skipAnyString is skipString for the rest, from i on, of those that have escapes too; f is of what is before.
func skipAnyString(text []byte, i int, f flags) (end int, _ flags, ok bool) {
	for {
		j, high := plainRun(text, i)
		if high {
			f |= flagHigh
		}
		if j == len(text) || text[j] < ' ' {
			return j, f, false
		}
		if text[j] == '"' {
			return j, f, true
		}
		f |= flagEscaped
		if j+1 == len(text) {
			return j + 1, f, false
		}
		switch text[j+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i = j + 2
		case 'u':
			if _, ok := hex4(text[j+2:]); !ok {
				return j, f, false
			}
			i = j + 6
		default:
			return j, f, false
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
