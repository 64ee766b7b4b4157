package normalize

import (
	"math"

	"github.com/tinylib/msgp/msgp"
)

// emit appends the admitted keys as pairs of a msgpack map and returns how many they are.
func (e *Encoder) emit(dst []byte) ([]byte, int) {
	for i := range e.keys.keys {
		k := &e.keys.keys[i]
		if k.overflow {
			continue
		}
		dst = append(dst, e.paths.encodedKey(k.path)...)
		if k.count == 1 && !k.array {
			dst = e.appendValue(dst, k.first, false)
			continue
		}
		texts := e.mixed(k)
		dst = msgp.AppendArrayHeader(dst, k.count)
		for v := range e.keys.values(k) {
			dst = e.appendValue(dst, v, texts)
		}
	}
	return dst, e.admitted
}

// valueType is what must not mix within an array.
type valueType uint8

const (
	typeNil valueType = iota
	typeBool
	typeNumber
	typeString
)

func (f *flattener) typeOf(v value) valueType {
	n := &f.nodes[v.node]
	switch {
	case n.kind == kindNull:
		return typeNil
	case v.form == formText:
		return typeString
	case v.form == formInteger:
		return typeNumber
	case v.form == formBoolean:
		return typeBool
	case n.kind == kindTrue || n.kind == kindFalse:
		return typeBool
	case n.kind == kindNumber && parseNumber(f.text(v.node), n.flags&flagInteger != 0).form != numberText:
		return typeNumber
	}
	return typeString
}

// mixed tells whether the values of a key are of more than one type, so that all of them are to be written as strings.
func (f *flattener) mixed(k *key) bool {
	if k.count < 2 {
		return false
	}
	common := typeNil
	for v := range f.keys.values(k) {
		if t := f.typeOf(v); t != typeNil {
			if common != typeNil && t != common {
				return true
			}
			common = t
		}
	}
	return false
}

func (e *Encoder) appendValue(dst []byte, v value, asText bool) []byte {
	n := &e.nodes[v.node]
	switch {
	case n.kind == kindString && v.form <= formText && n.flags&(flagDirty|flagRedacted) == 0: // most values
		return appendMsgpackString(dst, e.source(n.flags)[n.off:n.end])
	case n.kind == kindNull:
		return msgp.AppendNil(dst)
	case n.kind == kindString && v.form != formInteger && v.form != formBoolean:
		return e.appendStringValue(dst, v.node)
	case asText || v.form == formText:
		e.scratch = e.appendJSON(e.scratch[:0], v.node)
		return msgp.AppendStringFromBytes(dst, e.scratch)
	case v.form == formInteger:
		i, _ := e.integer(v.node)
		return msgp.AppendInt64(dst, i)
	case v.form == formBoolean:
		b, _ := e.boolean(v.node)
		return msgp.AppendBool(dst, b)
	case n.kind == kindTrue || n.kind == kindFalse:
		return msgp.AppendBool(dst, n.kind == kindTrue)
	}
	text := e.text(v.node)
	switch num := parseNumber(text, n.flags&flagInteger != 0); num.form {
	case numberInt:
		return msgp.AppendInt64(dst, num.int)
	case numberUint:
		return msgp.AppendUint64(dst, num.uint)
	case numberDouble:
		return msgp.AppendFloat64(dst, num.double)
	}
	return msgp.AppendStringFromBytes(dst, text)
}

// appendMsgpackString is msgp.AppendStringFromBytes, without its growing of dst for texts of the usual length.
func appendMsgpackString(dst, text []byte) []byte {
	const (
		maxFixed = 31   // bytes of a fixstr
		fixed    = 0xa0 // its type, with the length in it
		short    = 0xd9 // the type str 8
	)
	switch {
	case len(text) <= maxFixed:
		dst = append(dst, fixed|byte(len(text)))
	case len(text) <= math.MaxUint8:
		dst = append(dst, short, byte(len(text)))
	default:
		return msgp.AppendStringFromBytes(dst, text)
	}
	return append(dst, text...)
}

func (e *Encoder) appendStringValue(dst []byte, i uint32) []byte {
	e.scratch = e.appendString(e.scratch[:0], i)
	return msgp.AppendStringFromBytes(dst, e.scratch)
}

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
		for v := range e.keys.values(k) {
			dst = append(e.appendOverflowValue(dst, v, texts), ',')
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
