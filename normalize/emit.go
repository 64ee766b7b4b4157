package normalize

import (
	"math"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// writeKeys appends the admitted keys of the key table to dst, but for those that are in it.
func (f *flattener) writeKeys() {
	for i := f.written; i < len(f.keys.keys); i++ {
		k := &f.keys.keys[i]
		if k.overflow {
			continue
		}
		dst := f.paths.appendKey(f.dst, f.paths.paths[k.path])
		if k.count == 1 && !k.array {
			f.dst = f.appendValue(dst, k.first, false)
			continue
		}
		texts := f.mixed(k)
		dst = msgp.AppendArrayHeader(dst, k.count)
		for v, left := k.first, k.count; ; v, left = f.keys.more[v.next], left-1 {
			dst = f.appendValue(dst, v, texts)
			if left == 1 {
				break
			}
		}
		f.dst = dst
	}
	f.written = len(f.keys.keys)
}

// valueType is what must not mix within an array.
type valueType uint8

const (
	typeBool valueType = 1 << iota
	typeNumber
	typeString

	typeNil valueType = 0 // mixes with each
)

// possibleTypes are the types of which a value can be by its form and kind. Some numbers are texts.
var possibleTypes = [...][kindObject + 1]valueType{
	formPlain: {
		kindFalse: typeBool, kindTrue: typeBool, kindShort: typeNumber, kindInteger: typeNumber | typeString,
		kindNumber: typeNumber | typeString, kindString: typeString,
	},
	formText: {
		kindFalse: typeString, kindTrue: typeString, kindShort: typeString, kindInteger: typeString, kindNumber: typeString,
		kindString: typeString, kindArray: typeString, kindObject: typeString,
	},
	formInteger: {kindShort: typeNumber, kindInteger: typeNumber, kindNumber: typeNumber, kindString: typeNumber},
	formBoolean: {kindFalse: typeBool, kindTrue: typeBool, kindString: typeBool},
}

// typeOf returns the type of a value.
func (f *flattener) typeOf(v value) valueType {
	t := possibleTypes[v.form][f.nodes[v.node].kind]
	if t != typeNumber|typeString {
		return t
	}
	if f.numberOf(v.node).form == numberText {
		return typeString
	}
	return typeNumber
}

// mixed tells whether the values of a key are of more than one type, so that all of them are to be written as strings.
func (f *flattener) mixed(k *key) bool {
	if k.types&(k.types-1) == 0 { // mostly: they are of one
		return false
	}
	common := typeNil
	for v, left := k.first, k.count; ; v, left = f.keys.more[v.next], left-1 {
		if t := f.typeOf(v); t != typeNil {
			if common != typeNil && t != common {
				return true
			}
			common = t
		}
		if left == 1 {
			return false
		}
	}
}

func (f *flattener) appendValue(dst []byte, v value, asText bool) []byte {
	n := &f.nodes[v.node]
	switch {
	case v.form == formPlain && !asText: // mostly
		return f.appendScalar(dst, v.node)
	case n.kind == kindNull:
		return msgp.AppendNil(dst)
	case n.kind == kindString && v.form != formInteger && v.form != formBoolean:
		return f.appendStringNode(dst, v.node)
	case asText || v.form == formText:
		f.scratch = f.appendJSON(f.scratch[:0], v.node)
		return msgp.AppendStringFromBytes(dst, f.scratch)
	case v.form == formInteger:
		i, _ := f.integer(v.node)
		return msgp.AppendInt64(dst, i)
	}
	b, _ := f.boolean(v.node)
	return msgp.AppendBool(dst, b)
}

// appendScalar appends a scalar by its kind.
func (f *flattener) appendScalar(dst []byte, i uint32) []byte {
	n := &f.nodes[i]
	switch n.kind {
	case kindString:
		if n.flags == 0 { // mostly
			return appendChunk(dst, f.record, n.off, n.end)
		}
		return f.appendStringNode(dst, i)
	case kindShort:
		text := f.text(i)
		if len(text) == 1 {
			return append(dst, text[0]-'0') // a positive fixint
		}
		return msgp.AppendInt64(dst, shortInteger(text))
	case kindTrue, kindFalse:
		return msgp.AppendBool(dst, n.kind == kindTrue)
	case kindNull:
		return msgp.AppendNil(dst)
	}
	switch num := f.numberOf(i); num.form {
	case numberInt:
		return msgp.AppendInt64(dst, num.int)
	case numberUint:
		return msgp.AppendUint64(dst, num.uint)
	case numberDouble:
		return msgp.AppendFloat64(dst, num.double)
	}
	return msgp.AppendStringFromBytes(dst, f.text(i))
}

// The types of msgpack strings, see https://github.com/msgpack/msgpack/blob/master/spec.md#str-format-family.
const (
	fixstr = 0xa0 // with the length in it
	str8   = 0xd9
	str16  = 0xda
	str32  = 0xdb

	maxFixstr = 31
)

// maxShortHeader is the length of what stands before a string of at most 255 bytes.
const maxShortHeader = 2

// appendStringHeader appends what stands before a msgpack string of n bytes.
func appendStringHeader(dst []byte, n int) []byte {
	switch {
	case n <= maxFixstr:
		return append(dst, fixstr|byte(n))
	case n <= math.MaxUint8:
		return append(dst, str8, byte(n))
	case n <= math.MaxUint16:
		return append(dst, str16, byte(n>>8), byte(n))
	}
	return append(dst, str32, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// textChunk is how many bytes of a string are copied at once: more than most have. A copy of a fixed size is a few instructions.
const textChunk = 64

// copyChunk copies by way of a variable: from memory to memory, which might overlap, the compiler would call a function.
func copyChunk(to, from *[textChunk]byte) {
	chunk := *from
	*to = chunk
}

// appendStringNode appends the value of a string. It uses the capacity of dst behind that.
func (f *flattener) appendStringNode(dst []byte, i uint32) []byte {
	n := &f.nodes[i]
	text := f.text(i)
	if n.flags&(flagEscaped|flagRedacted) != 0 || n.flags&flagHigh != 0 && !utf8.Valid(text) {
		f.scratch = f.appendString(f.scratch[:0], i)
		return append(appendStringHeader(dst, len(f.scratch)), f.scratch...)
	}
	return appendChunk(dst, f.source(n.flags), n.off, n.end)
}

// appendChunk appends a part of source as a msgpack string. It uses the capacity of dst behind that.
func appendChunk(dst, source []byte, begin, end uint32) []byte {
	size := int(end - begin)
	if size > textChunk || len(source)-int(begin) < textChunk || cap(dst)-len(dst) < maxShortHeader+textChunk {
		return append(appendStringHeader(dst, size), source[begin:end]...)
	}
	at := len(dst)
	dst = dst[:at+maxShortHeader+textChunk]
	header := &shortHeaders[size]
	*(*[maxShortHeader]byte)(dst[at:]) = header.bytes
	at += int(header.size)
	copyChunk((*[textChunk]byte)(dst[at:]), (*[textChunk]byte)(source[begin:]))
	return dst[:at+size]
}

// shortHeader is what stands before a string of at most textChunk bytes. It is looked up, not made: a branch for its length is
// predicted wrongly as often as not.
type shortHeader struct {
	bytes [maxShortHeader]byte // of a header of one byte the second is to be overwritten
	size  uint16
}

var shortHeaders = func() (headers [textChunk + 1]shortHeader) {
	for n := range headers {
		headers[n].size = uint16(copy(headers[n].bytes[:], appendStringHeader(nil, n)))
	}
	return headers
}()

// appendOverflow appends the keys that were not admitted as the text of one JSON object.
func (e *Encoder) appendOverflow(dst []byte) []byte {
	dst = append(dst, '{')
	for i := range e.keys.keys {
		k := &e.keys.keys[i]
		if !k.overflow {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(appendQuoted(dst, e.paths.flatKey(k.path)), ':')
		texts := e.mixed(k)
		array := k.array || k.count > 1
		if array {
			dst = append(dst, '[')
		}
		for v, left := k.first, k.count; ; v, left = e.keys.more[v.next], left-1 {
			dst = append(e.appendOverflowValue(dst, v, texts), ',')
			if left == 1 {
				break
			}
		}
		dst = dst[:len(dst)-1] // the last comma
		if array {
			dst = append(dst, ']')
		}
	}
	return append(dst, '}')
}

func (e *Encoder) appendOverflowValue(dst []byte, v value, asText bool) []byte {
	if t := e.typeOf(v); t != typeString && (t == typeNil || !asText) {
		switch v.form {
		case formInteger:
			i, _ := e.integer(v.node)
			return appendInt(dst, i)
		case formBoolean:
			b, _ := e.boolean(v.node)
			return appendBool(dst, b)
		}
		return append(dst, e.text(v.node)...)
	}
	if e.nodes[v.node].kind == kindString {
		e.scratch = e.appendString(e.scratch[:0], v.node)
	} else {
		e.scratch = e.appendJSON(e.scratch[:0], v.node)
	}
	return appendQuoted(dst, e.scratch)
}
