package normalize

import (
	"unicode/utf16"
	"unicode/utf8"
)

const replacement = "\uFFFD"

// hex4 reads the four hexadecimal digits that b begins with.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// appendDecoded appends the value of a well-formed JSON string, given what is between its quotes. A lone surrogate and each byte
// that is not UTF-8 become U+FFFD.
func appendDecoded(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		end, high := plainRun(raw, i)
		if high {
			dst = appendValid(dst, raw[i:end])
		} else {
			dst = append(dst, raw[i:end]...)
		}
		if end == len(raw) {
			break
		}
		i = end + 2
		switch c := raw[end+1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(raw[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), false
				if i+6 <= len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
					low, ok = hex4(raw[i+2:])
				}
				if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		default: // " \ /
			dst = append(dst, c)
		}
	}
	return dst
}

// appendValid appends s with each byte that is not UTF-8 as U+FFFD.
func appendValid(dst, s []byte) []byte {
	if utf8.Valid(s) {
		return append(dst, s...)
	}
	for len(s) > 0 {
		r, size := utf8.DecodeRune(s)
		dst = utf8.AppendRune(dst, r) // RuneError is U+FFFD
		s = s[size:]
	}
	return dst
}

// cutValid returns at most limit bytes of the UTF-8 text s, cut between two characters.
func cutValid(s []byte, limit int) []byte {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends s as a JSON string. s is valid UTF-8.
func appendQuoted(dst, s []byte) []byte {
	dst = append(dst, '"')
	for {
		end, _ := plainRun(s, 0)
		dst = append(dst, s[:end]...)
		if end == len(s) {
			return append(dst, '"')
		}
		switch c := s[end]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		s = s[end+1:]
	}
}

const redactedText = "[redacted]"

// appendString appends the decoded value of a string node; of JSON text that was expanded, and in which something is redacted, that.
func (t *tape) appendString(dst []byte, i uint32) []byte {
	switch n := &t.nodes[i]; {
	case n.flags&flagRedacted != 0:
		return append(dst, redactedText...)
	case n.flags&flagRewritten != 0:
		return t.appendJSON(dst, t.rewritten[i])
	case n.flags&flagDirty != 0:
		return appendDecoded(dst, t.text(i))
	}
	return append(dst, t.text(i)...)
}

// appendJSON appends the node as compact JSON: its tokens as received without the white space between them, with U+FFFD for each
// byte that is not UTF-8, and with redacted scalars redacted.
func (t *tape) appendJSON(dst []byte, i uint32) []byte {
	n := &t.nodes[i]
	source, pos, end := t.source(n.flags), n.off, n.end
	if n.kind == kindString && n.flags&flagRedacted == 0 {
		pos, end = pos-1, end+1
	}
	if t.hidden {
		for j := i; j < n.next; j++ {
			switch h := &t.nodes[j]; {
			case h.flags&flagRedacted != 0:
				dst = t.appendCompact(dst, source[pos:h.off])
				dst = append(dst, `"`+redactedText+`"`...)
				pos = h.end
			case h.flags&flagRewritten != 0:
				dst = t.appendCompact(dst, source[pos:h.off-1])
				dst = appendQuoted(dst, t.appendJSON(nil, t.rewritten[j]))
				pos = h.end + 1
			}
		}
	}
	return t.appendCompact(dst, source[pos:end])
}

// appendCompact appends a part of a JSON text that begins and ends between tokens.
func (t *tape) appendCompact(dst, part []byte) []byte {
	if !t.spaced {
		return appendValid(dst, part)
	}
	for i := 0; i < len(part); {
		switch c := part[i]; {
		case isSpace(c):
			i++
		case c == '"':
			end, _, _ := skipString(part, i+1)
			dst = appendValid(dst, part[i:end+1])
			i = end + 1
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}
