package normalize

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// FortiSIEM parses these events by the prefix and by the shape of the JSON behind it: members sorted, "<null>" for null, and two
// members of its own (FortiSIEM External Systems Configuration Guide, "Microsoft Office365 Audit", https://docs.fortinet.com/product/fortisiem).
const (
	nullText     = `"<null>"`
	zoneText     = "UTC"
	tenantIDName = "TenantId"
	phCustIDName = "phCustId"
	timeName     = "CreationTime"
)

// member is one member of an object that is written in sorted order.
type member struct {
	name []byte // decoded
	node uint32 // noNode for a member that FortiSIEM wants and the record does not have
}

// frame is a container that is being written: what is left of it.
type frame struct {
	container uint32
	next      uint32 // of an array: the next child
	begin     int    // of an object: its members in fortiSIEMLine.members
	at        int    // the next of them
}

// fortiSIEMLine is scratch memory. Containers are written from a stack of its own: nothing bounds their depth.
type fortiSIEMLine struct {
	frames  []frame
	members []member
	added   [2]member // those of FortiSIEM
}

func newFortiSIEMLine() fortiSIEMLine {
	return fortiSIEMLine{added: [...]member{{name: []byte(tenantIDName)}, {name: []byte(phCustIDName)}}}
}

func (l *fortiSIEMLine) release() {
	clear(l.members[:cap(l.members)])
	if cap(l.members) > keptNodes || cap(l.frames) > keptNodes {
		l.members, l.frames = nil, nil
	}
}

// appendPrefix appends what stands before the JSON.
func (e *Encoder) appendPrefix(dst []byte) []byte {
	tag := e.options.EventTag
	if tag == "" {
		tag = DefaultEventTag
	}
	dst = append(dst, '[')
	dst = append(dst, tag...)
	return append(dst, "] = "...)
}

// appendLine appends the line of a record.
func (e *Encoder) appendLine(dst []byte, src *Source) []byte {
	dst = e.appendPrefix(dst)
	l := &e.line
	l.frames, l.members = l.frames[:0], l.members[:0]
	dst = e.open(dst, 0)
	for len(l.frames) > 0 {
		f := &l.frames[len(l.frames)-1]
		var child uint32
		if e.nodes[f.container].kind == kindArray {
			if f.next == e.nodes[f.container].next {
				dst = append(dst, ']')
				l.frames = l.frames[:len(l.frames)-1]
				continue
			}
			if f.next > f.container+1 {
				dst = append(dst, ',')
			}
			child, f.next = f.next, e.nodes[f.next].next
		} else {
			if f.at == len(l.members) {
				dst = append(dst, '}')
				l.members = l.members[:f.begin]
				l.frames = l.frames[:len(l.frames)-1]
				continue
			}
			if f.at > f.begin {
				dst = append(dst, ',')
			}
			m := l.members[f.at]
			f.at++
			if f.container == 0 {
				var done bool
				if dst, done = e.appendTopMember(dst, m, src); done {
					continue
				}
			}
			dst = append(e.appendName(dst, m.node), ':')
			child = m.node
		}
		dst = e.open(dst, child)
	}
	return dst
}

// open appends a scalar, or the beginning of a container that it pushes to the stack.
func (e *Encoder) open(dst []byte, i uint32) []byte {
	n := &e.nodes[i]
	switch {
	case n.kind == kindNull:
		return append(dst, nullText...)
	case n.kind == kindString && n.flags&flagRedacted != 0:
		return append(dst, `"`+redactedText+`"`...)
	case n.kind == kindString:
		return appendReceived(dst, e.text(i))
	case n.kind == kindArray:
		e.line.frames = append(e.line.frames, frame{container: i, next: i + 1})
		return append(dst, '[')
	case n.kind == kindObject:
		begin := e.sortMembers(i)
		e.line.frames = append(e.line.frames, frame{container: i, begin: begin, at: begin})
		return append(dst, '{')
	}
	return append(dst, e.text(i)...)
}

// sortMembers pushes the members of an object, sorted; at the top with those that are added, and without the record's own of
// that name.
func (e *Encoder) sortMembers(i uint32) (begin int) {
	l := &e.line
	begin = len(l.members)
	for child, end := i+1, e.nodes[i].next; child < end; child = e.nodes[child].next {
		name := e.paths.name(e.nodes[child].path)
		if i == 0 && (string(name) == tenantIDName || string(name) == phCustIDName) {
			continue
		}
		l.members = append(l.members, member{name: name, node: child})
	}
	if i == 0 {
		l.members = append(l.members, l.added[:]...)
	}
	slices.SortFunc(l.members[begin:], func(a, b member) int {
		return cmp.Or(bytes.Compare(a.name, b.name), cmp.Compare(a.node, b.node))
	})
	return begin
}

// appendTopMember appends those members of the record that are not written as they came.
func (e *Encoder) appendTopMember(dst []byte, m member, src *Source) (_ []byte, done bool) {
	switch {
	case m.node == noNode && string(m.name) == phCustIDName:
		return appendInt(append(dst, `"`+phCustIDName+`":`...), e.options.PhCustID), true
	case m.node == noNode:
		dst = append(dst, `"`+tenantIDName+`":`...)
		if own := e.top[topTenantID]; own != noNode {
			return e.open(dst, own), true
		}
		if !utf8.ValidString(src.Tenant) {
			return appendText(dst, src.Tenant), true
		}
		e.decoded = append(e.decoded[:0], src.Tenant...)
		return appendQuoted(dst, e.decoded), true
	case string(m.name) == timeName && e.nodes[m.node].kind == kindString:
		t, ok := parseTime(e.stringOf(m.node))
		if !ok {
			return dst, false
		}
		return appendLineTime(dst, t), true
	}
	return dst, false
}

func appendLineTime(dst []byte, t time.Time) []byte {
	dst = append(dst, `"`+timeName+`":"`...)
	dst = t.UTC().AppendFormat(dst, timeLayout)
	return append(dst, zoneText+`"`...)
}

func (e *Encoder) appendName(dst []byte, i uint32) []byte {
	n := &e.nodes[i]
	source := e.source(n.flags)
	end, _, _ := skipString(source, int(n.name))
	return appendReceived(dst, source[n.name:end])
}

// appendReceived appends a JSON string as received but for bytes that are not UTF-8, and for control characters, of which JSON may
// hold those from U+007F on as they are.
func appendReceived(dst, raw []byte) []byte {
	dst = append(dst, '"')
	plain := 0 // raw[plain:i] is yet to be appended
	for i := 0; i < len(raw); {
		if i+8 <= len(raw) {
			// A byte from 0x7f on has its high bit set, or has it when one is added; carries come from such bytes only.
			if w := binary.LittleEndian.Uint64(raw[i:]); (w|(w+eachByte))&highBits == 0 {
				i += 8
				continue
			}
		}
		if raw[i] < 0x7f {
			i++
			continue
		}
		dst = append(dst, raw[plain:i]...)
		r, size := utf8.DecodeRune(raw[i:])
		if r <= 0x9f {
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		} else {
			dst = utf8.AppendRune(dst, r)
		}
		i += size
		plain = i
	}
	return append(append(dst, raw[plain:]...), '"')
}

// appendText appends a text of our own as a JSON string.
func appendText(dst []byte, s string) []byte {
	return appendQuoted(dst, []byte(strings.ToValidUTF8(s, replacement)))
}

// appendNoticeLine appends the line of a notice, in the shape of a record's.
func (e *Encoder) appendNoticeLine(dst []byte, n *Notice, when time.Time) []byte {
	dst = appendLineTime(append(e.appendPrefix(dst), '{'), when)
	dst = e.appendNoticeMembers(dst, n)
	dst = append(dst, `,"`+phCustIDName+`":`...)
	return append(appendInt(dst, e.options.PhCustID), '}')
}

// appendNoticeJSON appends a notice as one JSON object.
func (e *Encoder) appendNoticeJSON(dst []byte, n *Notice, when time.Time) []byte {
	dst = appendText(append(dst, `{"`+timeName+`":`...), when.UTC().Format(time.RFC3339))
	return append(e.appendNoticeMembers(dst, n), '}')
}

// appendNoticeMembers appends a comma and the members that are not empty, in byte order of their names, whatever the separator.
func (e *Encoder) appendNoticeMembers(dst []byte, n *Notice) []byte {
	text := func(name, value string) {
		if value != "" {
			dst = append(appendText(append(dst, ','), name), ':')
			dst = appendText(dst, value)
		}
	}
	text(tenantIDName, n.Tenant)
	text(e.added.contentType, n.ContentType)
	text(e.added.notice, n.Kind)
	text(e.added.noticeContentID, n.ContentID)
	text(e.added.noticeFrom, noticeTime(n.From))
	text(e.added.noticeReason, n.Reason)
	text(e.added.noticeTo, noticeTime(n.To))
	return dst
}
