package records

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// A template is a JSON document in which strings may hold placeholders:
//
//	${id}              the record's Id
//	${org}             OrganizationID
//	${time}            CreationTime: UTC seconds without zone; ${timez} with Z; ${time7} with seven decimals and Z;
//	                   ${timeus} as "1/2/2006 3:04:05 PM"
//	${guid}            a new GUID; ${guid:x} the same GUID wherever x is the same in a record
//	${user}            a user principal name, the same within a record; ${user:x} another one
//	${puid} ${ip} ${ip6} ${hex:n} ${digits:n}
//	${words:n}         n words
//	${title}           a document title or subject, now and then with escapes or other scripts
//	${oddip}           an IP address in one of the forms that occur on the wire, odd ones included
//	${one:a|b|c}       one of the texts
//	${int:lo:hi}       an integer as text; ${num:lo:hi}, alone in its string, a number
//	${i}               the number of the repetition
//	${u:XXXX}          the escape \uXXXX
//
// and objects with one member stand for something else:
//
//	{"${one}": [a, b]}          one of the values
//	{"${repeat}": [1, 9, a]}    in an array: 1 to 9 elements made from a
//	{"${text}": value}          the value as JSON text in a string; ${pretty} indented, with CR LF
type program []op

type kind uint8

const (
	literal kind = iota
	recordID
	timeNoZone
	timeZ
	time7
	timeUS
	guid
	namedGUID
	user
	puid
	ip4
	ip6
	hexDigits
	digits
	words
	integer
	oneOf
	repeat
	iteration
)

type op struct {
	kind kind
	text []byte    // literal
	lo   uint64    // bound, count or name, by kind
	hi   uint64    // upper bound
	sub  []program // oneOf, repeat
}

// state is what one record is made from.
type state struct {
	dst  []byte
	rng  uint64
	base uint64 // of this record alone: names within it derive from it
	seed uint64
	idx  uint64
	at   time.Time
	iter uint64
}

func (p program) append(dst []byte, seed, index uint64, at time.Time) []byte {
	base := mix(mix(seed) ^ (index * 0x9e3779b97f4a7c15))
	s := state{dst: dst, rng: base, base: base, seed: seed, idx: index, at: at.UTC()}
	s.run(p)
	return s.dst
}

// next is splitmix64 (https://prng.di.unimi.it/splitmix64.c).
func (s *state) next() uint64 {
	s.rng += 0x9e3779b97f4a7c15
	return mix(s.rng)
}

// between is a number of lo..hi.
func (s *state) between(lo, hi uint64) uint64 {
	if span := hi - lo + 1; span != 0 {
		return lo + s.next()%span
	}
	return s.next()
}

// mix is the finalizer of splitmix64, a bijection.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (s *state) run(p program) {
	for i := range p {
		o := &p[i]
		switch o.kind {
		case literal:
			s.dst = append(s.dst, o.text...)
		case recordID:
			s.dst = appendID(s.dst, s.seed, s.idx)
		case timeNoZone:
			s.appendSeconds()
		case timeZ:
			s.appendSeconds()
			s.dst = append(s.dst, 'Z')
		case time7:
			s.appendSeconds()
			s.dst = append(s.dst, '.')
			s.appendDigits(7)
			s.dst = append(s.dst, 'Z')
		case timeUS:
			s.dst = s.at.AppendFormat(s.dst, "1/2/2006 3:04:05 PM")
		case guid:
			s.dst = appendGUID(s.dst, s.next(), s.next())
		case namedGUID:
			a := mix(s.base ^ o.lo)
			s.dst = appendGUID(s.dst, a, mix(a^o.lo))
		case user:
			n := mix(s.base^o.lo) % (uint64(len(users)) * usersPerName)
			s.dst = append(s.dst, users[n/usersPerName]...)
			s.dst = strconv.AppendUint(s.dst, n%usersPerName, 10)
			s.dst = append(s.dst, "@contoso.example"...)
		case puid:
			s.dst = append(s.dst, "1003"...)
			s.appendHex(12, upperHex)
		case ip4:
			s.appendIP4()
		case ip6:
			s.dst = append(s.dst, "2001:db8:"...)
			s.dst = strconv.AppendUint(s.dst, s.between(1, 0xffff), 16)
			s.dst = append(s.dst, "::"...)
			s.dst = strconv.AppendUint(s.dst, s.between(1, 0xffff), 16)
		case hexDigits:
			s.appendHex(int(o.lo), lowerHex)
		case digits:
			s.appendDigits(int(o.lo))
		case words:
			for n := range o.lo {
				if n > 0 {
					s.dst = append(s.dst, ' ')
				}
				s.dst = append(s.dst, vocabulary[s.next()%uint64(len(vocabulary))]...)
			}
		case integer:
			s.dst = strconv.AppendUint(s.dst, s.between(o.lo, o.hi), 10)
		case oneOf:
			s.run(o.sub[s.next()%uint64(len(o.sub))])
		case repeat:
			outer := s.iter
			for n := range s.between(o.lo, o.hi) {
				if n > 0 {
					s.dst = append(s.dst, ',')
				}
				s.iter = n
				s.run(o.sub[0])
			}
			s.iter = outer
		case iteration:
			s.dst = strconv.AppendUint(s.dst, s.iter, 10)
		}
	}
}

const (
	lowerHex = "0123456789abcdef"
	upperHex = "0123456789ABCDEF"
)

func (s *state) appendHex(n int, alphabet string) {
	for n > 0 {
		for bits, k := s.next(), 0; k < 16 && n > 0; k, n = k+1, n-1 {
			s.dst = append(s.dst, alphabet[bits&15])
			bits >>= 4
		}
	}
}

func (s *state) appendDigits(n int) {
	for n > 0 {
		for bits, k := s.next(), 0; k < 9 && n > 0; k, n = k+1, n-1 {
			s.dst = append(s.dst, '0'+byte(bits%10))
			bits /= 10
		}
	}
}

// appendIP4 appends an address of the ranges reserved for documentation (RFC 5737).
func (s *state) appendIP4() {
	r := s.next()
	s.dst = append(s.dst, [...]string{"192.0.2.", "198.51.100.", "203.0.113."}[r%3]...)
	s.dst = strconv.AppendUint(s.dst, 1+(r>>8)%254, 10)
}

// appendSeconds appends s.at as 2006-01-02T15:04:05.
func (s *state) appendSeconds() {
	year, month, day := s.at.Date()
	hour, minute, second := s.at.Clock()
	two := func(sep byte, n int) {
		s.dst = append(s.dst, sep, '0'+byte(n/10), '0'+byte(n%10))
	}
	s.dst = append(s.dst, '0'+byte(year/1000%10), '0'+byte(year/100%10), '0'+byte(year/10%10), '0'+byte(year%10))
	two('-', int(month))
	two('-', day)
	two('T', hour)
	two(':', minute)
	two(':', second)
}

func appendGUID(dst []byte, high, low uint64) []byte {
	const form = "00000000-0000-0000-0000-000000000000"
	at := len(dst)
	dst = append(dst, form...)
	out := dst[at:]
	shift := 60
	bits := high
	for i := range out {
		if out[i] == '-' {
			continue
		}
		out[i] = lowerHex[bits>>shift&15]
		if shift -= 4; shift < 0 {
			shift, bits = 60, low
		}
	}
	return dst
}

// compile turns a template into a program that appends compact JSON.
func compile(text []byte) (program, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	c := compiler{d: d}
	p, err := c.value(noIndent)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("text after the template's end")
	}
	return join(p), nil
}

type compiler struct{ d *json.Decoder }

// noIndent is the indentation of compact JSON; from 0 on it is a depth in pretty JSON.
const noIndent = -1

func lit(s string) op { return op{kind: literal, text: []byte(s)} }

func newline(indent int) op {
	if indent == noIndent {
		return lit("")
	}
	return lit("\r\n" + strings.Repeat("  ", indent))
}

func deeper(indent int) int {
	if indent == noIndent {
		return noIndent
	}
	return indent + 1
}

func (c *compiler) value(indent int) (program, error) {
	t, err := c.d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			return c.array(indent)
		}
		return c.object(indent)
	case string:
		return stringOf(t)
	case json.Number:
		return program{lit(t.String())}, nil
	case bool:
		return program{lit(strconv.FormatBool(t))}, nil
	default:
		return program{lit("null")}, nil
	}
}

func (c *compiler) array(indent int) (program, error) {
	p := program{lit("[")}
	n := 0
	for ; c.d.More(); n++ {
		if n > 0 {
			p = append(p, lit(","))
		}
		element, err := c.value(deeper(indent))
		if err != nil {
			return nil, err
		}
		p = append(append(p, newline(deeper(indent))), element...)
	}
	if n > 0 {
		p = append(p, newline(indent))
	}
	_, err := c.d.Token()
	return append(p, lit("]")), err
}

func (c *compiler) object(indent int) (program, error) {
	p := program{lit("{")}
	n := 0
	for ; c.d.More(); n++ {
		t, err := c.d.Token()
		if err != nil {
			return nil, err
		}
		name := t.(string)
		if n == 0 && strings.HasPrefix(name, "${") {
			p, err := c.directive(name, indent)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if end, err := c.d.Token(); err != nil || end != json.Delim('}') {
				return nil, fmt.Errorf("%s: not alone in its object", name)
			}
			return p, nil
		}
		if n > 0 {
			p = append(p, lit(","))
		}
		key, err := stringOf(name)
		if err != nil {
			return nil, err
		}
		v, err := c.value(deeper(indent))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p = append(append(p, newline(deeper(indent))), key...)
		p = append(p, lit(":"))
		if indent != noIndent {
			p = append(p, lit(" "))
		}
		p = append(p, v...)
	}
	if n > 0 {
		p = append(p, newline(indent))
	}
	_, err := c.d.Token()
	return append(p, lit("}")), err
}

func (c *compiler) directive(name string, indent int) (program, error) {
	switch name {
	case "${text}", "${pretty}":
		inner := noIndent
		if name == "${pretty}" {
			inner = 0
		}
		p, err := c.value(inner)
		if err != nil {
			return nil, err
		}
		return append(append(program{lit(`"`)}, escaped(p)...), lit(`"`)), nil
	case "${one}", "${repeat}":
		if t, err := c.d.Token(); err != nil || t != json.Delim('[') {
			return nil, fmt.Errorf("wants an array")
		}
		var values []program
		for c.d.More() {
			v, err := c.value(indent)
			if err != nil {
				return nil, err
			}
			values = append(values, join(v))
		}
		if _, err := c.d.Token(); err != nil {
			return nil, err
		}
		if name == "${one}" {
			if len(values) == 0 {
				return nil, fmt.Errorf("nothing to choose from")
			}
			return program{{kind: oneOf, sub: values}}, nil
		}
		if len(values) != 3 {
			return nil, fmt.Errorf("wants [least, most, element]")
		}
		lo, err := strconv.ParseUint(string(values[0][0].text), 10, 64)
		if err != nil {
			return nil, err
		}
		hi, err := strconv.ParseUint(string(values[1][0].text), 10, 64)
		if err != nil {
			return nil, err
		}
		return program{{kind: repeat, lo: lo, hi: hi, sub: values[2:]}}, nil
	}
	return nil, fmt.Errorf("no such directive")
}

// stringOf compiles a string with its quotes, or the number that ${num:lo:hi} stands for.
func stringOf(s string) (program, error) {
	if rest, ok := strings.CutPrefix(s, "${num:"); ok && strings.IndexByte(rest, '}') == len(rest)-1 {
		o, err := placeholder("int:" + rest[:len(rest)-1])
		return program{o}, err
	}
	p := program{lit(`"`)}
	for {
		before, rest, found := strings.Cut(s, "${")
		p = append(p, escaped(program{lit(before)})...)
		if !found {
			return append(p, lit(`"`)), nil
		}
		inside, after, found := strings.Cut(rest, "}")
		if !found {
			return nil, fmt.Errorf("unclosed placeholder in %q", s)
		}
		o, err := placeholder(inside)
		if err != nil {
			return nil, fmt.Errorf("${%s}: %w", inside, err)
		}
		p = append(p, o)
		s = after
	}
}

func placeholder(s string) (op, error) {
	name, arg, _ := strings.Cut(s, ":")
	number := func(k kind) (op, error) {
		n, err := strconv.ParseUint(arg, 10, 64)
		return op{kind: k, lo: n}, err
	}
	switch name {
	case "id":
		return op{kind: recordID}, nil
	case "org":
		return lit(OrganizationID), nil
	case "time":
		return op{kind: timeNoZone}, nil
	case "timez":
		return op{kind: timeZ}, nil
	case "time7":
		return op{kind: time7}, nil
	case "timeus":
		return op{kind: timeUS}, nil
	case "guid":
		if arg == "" {
			return op{kind: guid}, nil
		}
		return op{kind: namedGUID, lo: hash(arg)}, nil
	case "user":
		return op{kind: user, lo: hash(arg)}, nil
	case "puid":
		return op{kind: puid}, nil
	case "ip":
		return op{kind: ip4}, nil
	case "ip6":
		return op{kind: ip6}, nil
	case "hex":
		return number(hexDigits)
	case "digits":
		return number(digits)
	case "words":
		return number(words)
	case "int":
		lo, hi, _ := strings.Cut(arg, ":")
		l, err := strconv.ParseUint(lo, 10, 64)
		if err != nil {
			return op{}, err
		}
		h, err := strconv.ParseUint(hi, 10, 64)
		if err == nil && h < l {
			err = fmt.Errorf("upper bound below lower")
		}
		return op{kind: integer, lo: l, hi: h}, err
	case "i":
		return op{kind: iteration}, nil
	case "u":
		if len(arg) != 4 {
			return op{}, fmt.Errorf("wants four hex digits")
		}
		return lit(`\u` + arg), nil
	case "one":
		return choice(strings.Split(arg, "|"))
	case "title":
		return choice(titles)
	case "oddip":
		return choice(oddAddresses)
	}
	return op{}, fmt.Errorf("no such placeholder")
}

// choice is one of the texts, which may hold placeholders themselves.
func choice(texts []string) (op, error) {
	o := op{kind: oneOf}
	for _, t := range texts {
		p, err := stringOf(t)
		if err != nil {
			return op{}, err
		}
		o.sub = append(o.sub, join(p[1:len(p)-1])) // without the quotes
	}
	return o, nil
}

// escaped is p's output as the content of a JSON string. Only literals can hold what needs an escape: everything
// else appends letters, digits and harmless marks.
func escaped(p program) program {
	out := make(program, len(p))
	for i, o := range p {
		if o.kind == literal {
			o.text = escape(o.text)
		}
		subs := o.sub
		o.sub = nil
		for _, sub := range subs {
			o.sub = append(o.sub, escaped(sub))
		}
		out[i] = o
	}
	return out
}

func escape(text []byte) []byte {
	var out []byte
	for _, b := range text {
		switch {
		case b == '"' || b == '\\':
			out = append(out, '\\', b)
		case b == '\r':
			out = append(out, `\r`...)
		case b == '\n':
			out = append(out, `\n`...)
		case b == '\t':
			out = append(out, `\t`...)
		case b < 0x20:
			out = fmt.Appendf(out, `\u%04x`, b)
		default:
			out = append(out, b)
		}
	}
	return out
}

// join makes one literal of neighbours.
func join(p program) program {
	var out program
	for _, o := range p {
		if last := len(out) - 1; o.kind == literal && last >= 0 && out[last].kind == literal {
			out[last].text = append(bytes.Clone(out[last].text), o.text...)
			continue
		}
		if o.kind != literal || len(o.text) > 0 {
			out = append(out, o)
		}
	}
	return out
}

// hash is FNV-1a.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
