package normalize_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"in_office365/normalize"
	"in_office365/normalize/schema"
)

// This file is the record contract a second time, slow and obvious: a record becomes a tree, and the rules are applied to it one
// after the other in the plainest way. It shares no code with the encoder it is held against.

// kind is what a JSON value is.
type kind string

const (
	null    kind = "null"
	boolean kind = "boolean"
	number  kind = "number"
	text    kind = "string"
	array   kind = "array"
	object  kind = "object"
)

type node struct {
	kind     kind
	raw      string // of a scalar: its JSON text as received
	text     string // of a string: what it says
	elements []*node
	members  []member
	expanded *node // of a string that expand_json flattens: what is in it
	redacted bool
	tooLong  bool // of a container: the keys in it are, see longKeyWork
}

type member struct {
	name    string
	rawName string
	value   *node
}

// parse reads a JSON text into a tree, nil if it is not valid.
func parse(record []byte) *node {
	if !json.Valid(record) {
		return nil
	}
	p := parser{source: repaired(record)}
	p.decoder = json.NewDecoder(strings.NewReader(p.source))
	p.decoder.UseNumber()
	token, raw := p.next()
	return p.value(token, raw)
}

// repaired puts U+FFFD for each byte that is not UTF-8.
func repaired(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		s.WriteRune(r)
		b = b[size:]
	}
	return s.String()
}

type parser struct {
	source  string
	decoder *json.Decoder
}

func (p *parser) next() (token json.Token, raw string) {
	begin := p.decoder.InputOffset()
	token, err := p.decoder.Token()
	if err != nil {
		panic(err) // json.Valid said it is valid
	}
	return token, strings.TrimLeft(p.source[begin:p.decoder.InputOffset()], " \t\r\n,:")
}

func (p *parser) value(token json.Token, raw string) *node {
	switch token := token.(type) {
	case nil:
		return &node{kind: null, raw: raw}
	case bool:
		return &node{kind: boolean, raw: raw}
	case json.Number:
		return &node{kind: number, raw: raw}
	case string:
		return &node{kind: text, raw: raw, text: token}
	case json.Delim:
		if token == '[' {
			n := &node{kind: array}
			for {
				token, raw := p.next()
				if token == json.Delim(']') {
					return n
				}
				n.elements = append(n.elements, p.value(token, raw))
			}
		}
		n := &node{kind: object}
		for {
			name, rawName := p.next()
			if name == json.Delim('}') {
				return n
			}
			token, raw := p.next()
			n.members = append(n.members, member{name.(string), rawName, p.value(token, raw)})
		}
	}
	panic("no such token")
}

// compact is the JSON text of a tree.
func (n *node) compact() string {
	var parts []string
	switch n.kind {
	case array:
		for _, e := range n.elements {
			parts = append(parts, e.compact())
		}
		return "[" + strings.Join(parts, ",") + "]"
	case object:
		for _, m := range n.members {
			parts = append(parts, m.rawName+":"+m.value.compact())
		}
		return "{" + strings.Join(parts, ",") + "}"
	case text:
		if n.says() != n.text {
			return quoted(n.says())
		}
	}
	return n.raw
}

// says is what a string says after redaction of what expand_json found in it.
func (n *node) says() string {
	if n.expanded != nil && n.expanded.holdsRedacted() {
		return n.expanded.compact()
	}
	return n.text
}

// quoted is a string as JSON, with no more escapes than it takes.
func quoted(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(c))
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ':
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	return `"` + b.String() + `"`
}

const (
	detectedValues = "DetectedValues"
	redactedText   = "[redacted]"
)

// redact is rule 13.
func (n *node) redact(below bool) {
	for _, e := range n.elements {
		e.redact(below)
	}
	for _, m := range n.members {
		m.value.redact(below || m.name == detectedValues)
	}
	if below && (n.kind == text || n.kind == number || n.kind == boolean) {
		*n = node{kind: text, raw: `"` + redactedText + `"`, text: redactedText, redacted: true}
	}
}

// holdsRedacted tells whether there is something redacted in a tree.
func (n *node) holdsRedacted() bool {
	return n.redacted || n.expanded != nil && n.expanded.holdsRedacted() ||
		slices.ContainsFunc(n.elements, (*node).holdsRedacted) ||
		slices.ContainsFunc(n.members, func(m member) bool { return m.value.holdsRedacted() })
}

// last is the last member of a name that is not null, a null if there is none.
func (n *node) last(name string) *node {
	for _, m := range slices.Backward(n.members) {
		if m.name == name && m.value.kind != null {
			return m.value
		}
	}
	return &node{kind: null}
}

// reference is one record on its way through the rules.
type reference struct {
	options   normalize.Options
	separator string
	source    normalize.Source
	longKeys  int // what is left of longKeyWork
	root      *node
	emitted   []emission
}

// emission is a value that the rules give to a key.
type emission struct {
	key   string
	value *node
	list  bool // it is a value of an array
}

// referenceEvent is what comes out. A value is nil, a bool, int64, uint64, float64, string or a []any of these.
type referenceEvent struct {
	time       time.Time
	keys       []pair // Microsoft's, or the line of format fortisiem
	overflow   []pair
	added      map[string]any
	unreadable bool
}

type pair struct {
	key   string
	value any
}

// refer applies the contract to a record.
func refer(options normalize.Options, record []byte, source normalize.Source) referenceEvent {
	if options.Separator == 0 {
		options.Separator = normalize.DefaultSeparator
	}
	if options.MaxKeys == 0 {
		options.MaxKeys = 512
	}
	if options.PhCustID == 0 {
		options.PhCustID = 1
	}
	if options.Format == normalize.FormatRaw && options.RawKey == "" {
		options.RawKey = "message"
	}
	r := &reference{options: options, separator: string(rune(options.Separator)), source: source, longKeys: longKeyWork, root: parse(record)}
	event := referenceEvent{added: map[string]any{}}
	add := func(key, value string) {
		if value != "" {
			event.added[r.added(key)] = value
		}
	}
	add("tag", repaired([]byte(options.EventTag)))
	add("tenant", repaired([]byte(source.Tenant)))
	add("content_type", repaired([]byte(source.ContentType)))
	if r.root == nil || r.root.kind != object {
		event.unreadable = true
		event.time = r.time(nil)
		if !options.RedactDLP || !bytes.Contains(record, []byte(detectedValues)) {
			add("raw", cut(repaired(record), 64<<10))
		}
		return event
	}
	event.time = r.time(r.root.last("CreationTime"))
	if options.RedactDLP {
		r.root.redact(false)
	}
	switch options.Format {
	case normalize.FormatFlat:
		r.object(r.root, nil, 1, false)
		event.keys, event.overflow = r.collect()
	case normalize.FormatFortiSIEM:
		event.keys = []pair{{"message", r.fortiSIEMLine()}}
	}
	if options.RawKey != "" {
		event.added[options.RawKey] = r.root.compact()
	}
	r.addFrom(r.root, event.added)
	return event
}

func (r *reference) added(name string) string { return "o365" + r.separator + name }

// cut keeps at most limit bytes and no part of a character.
func cut(s string, limit int) string {
	for len(s) > limit {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}

// Rules 1 to 7 and 12: the tree to emissions.

// nothing is rule 3.
func (r *reference) nothing(n *node) bool {
	switch n.kind {
	case null:
		return !r.options.KeepNulls
	case object:
		return len(n.members) == 0
	case array:
		return !slices.ContainsFunc(n.elements, func(e *node) bool {
			return e.kind == null && r.options.KeepNulls || !r.nothing(e)
		})
	}
	return false
}

// join is rule 1.
func (r *reference) join(path []string) string {
	clean := make([]string, len(path))
	for i, name := range path {
		clean[i] = strings.NewReplacer(".", "_", " ", "_", r.separator, "_").Replace(name)
	}
	return strings.Join(clean, r.separator)
}

func with(path []string, name ...string) []string { return slices.Concat(path, name) }

func (r *reference) emit(path []string, value *node, list bool) {
	r.emitted = append(r.emitted, emission{r.join(path), value, list})
}

const deepest = 64

// inPlace is what stands at a path: of a string that expand_json names what is in it, of a container that is too deep its text.
func (r *reference) inPlace(n *node, path []string, level int) *node {
	if n.kind == text && level <= deepest && slices.Contains(r.options.ExpandJSON, r.join(path)) && strings.Trim(n.text[:min(1, len(n.text))], "{[") == "" && n.text != "" {
		if n.expanded == nil {
			n.expanded = parse([]byte(n.text))
			if n.expanded != nil && r.options.RedactDLP {
				n.expanded.redact(false)
			}
		}
		if n.expanded != nil {
			n = n.expanded
		}
	}
	if (level > deepest && (n.kind == array || n.kind == object) && !r.nothing(n)) || n.tooLong {
		return stringNode(n.compact())
	}
	return n
}

// longKeyWork is, in bytes per record, what may be written of keys over 256 bytes, taken as the length of the path times the
// values below it; a container with more is kept as text like one that is too deep, or long names would multiply a record.
const longKeyWork = 1 << 20

// count is how many values a tree has.
func (n *node) count() int {
	count := 1
	for _, e := range n.elements {
		count += e.count()
	}
	for _, m := range n.members {
		count += m.value.count()
	}
	return count
}

func stringNode(s string) *node { return &node{kind: text, raw: quoted(s), text: s} }

// value flattens what stands at a path. level is the one it has if it is a container; inArray tells whether it is inside an array.
func (r *reference) value(n *node, path []string, level int, inArray bool) {
	n = r.inPlace(n, path, level)
	if size := len(r.join(path)); size > 256 && (n.kind == array || n.kind == object) && !r.nothing(n) {
		if work := size * n.count(); work > r.longKeys {
			n.tooLong = true
			n = r.inPlace(n, path, level)
		} else {
			r.longKeys -= work
		}
	}
	switch {
	case r.nothing(n):
	case n.kind == object:
		r.object(n, path, level, inArray)
	case n.kind == array && !inArray && r.isNameValueList(n, path, level):
		r.fold(n, path, level)
	case n.kind == array:
		before := len(r.emitted)
		for _, e := range n.elements {
			r.value(e, path, level+1, true)
		}
		columns := slices.ContainsFunc(r.emitted[before:], func(e emission) bool { return e.key != r.join(path) })
		if !inArray && columns && !r.joinable(n, path, level) {
			r.emit(path, stringNode(n.compact()), false)
		}
	default:
		r.emit(path, n, inArray)
	}
}

func (r *reference) object(n *node, path []string, level int, inArray bool) {
	for _, m := range n.members {
		r.value(m.value, with(path, m.name), level+1, inArray)
	}
}

// isNameValueList is the condition of rule 5.
func (r *reference) isNameValueList(list *node, path []string, level int) bool {
	if r.options.NameValueColumns || len(list.elements) > 256 || path[len(path)-1] == detectedValues || level == deepest {
		return false
	}
	for _, e := range list.elements {
		if e.kind != object {
			return false
		}
		names, values := 0, 0
		for _, m := range e.members {
			switch m.name {
			case "Name", "Key":
				if m.value.kind != text || len(m.value.text) > 256 {
					return false
				}
				names++
			case "Value", "NewValue", "OldValue":
				values++
			default:
				return false
			}
		}
		if names != 1 || values == 0 {
			return false
		}
	}
	return true
}

// fold is rule 5.
func (r *reference) fold(list *node, path []string, level int) {
	for _, e := range list.elements {
		var name string
		for _, m := range e.members {
			if m.name == "Name" || m.name == "Key" {
				name = m.value.text
			}
		}
		for _, m := range e.members {
			at := with(path, name)
			switch m.name {
			case "Name", "Key":
				continue
			case "NewValue", "OldValue":
				at = with(at, m.name)
			}
			v := m.value
			switch {
			case r.nothing(v):
			case v.kind == array || v.kind == object:
				if slices.Contains(r.options.ExpandJSON, r.join(at)) { // its text begins with { or [ and is JSON
					r.value(v, at, level+2, false)
				} else {
					r.emit(at, stringNode(v.compact()), false)
				}
			case v.kind == null || v.kind == text:
				r.value(v, at, level+2, false)
			default:
				r.emit(at, stringNode(v.raw), false)
			}
		}
	}
}

// joinable is the condition of rule 6: the elements of an array can be told from its columns. An array that is itself an element
// counts as one that an element holds.
func (r *reference) joinable(n *node, path []string, level int) bool {
	var elements []*node
	for _, e := range n.elements {
		if e.kind == object || !r.nothing(e) {
			elements = append(elements, e)
		}
	}
	several := len(elements) > 1
	var first []string
	for _, e := range elements {
		var keys []string
		var arrays func(n *node, path []string, level int) bool
		arrays = func(n *node, path []string, level int) bool {
			switch n = r.inPlace(n, path, level); {
			case n.kind == array && !r.nothing(n):
				return !several && r.joinable(n, path, level)
			case n.kind == object:
				for _, m := range n.members {
					if !arrays(m.value, with(path, m.name), level+1) {
						return false
					}
				}
			case !r.nothing(n):
				keys = append(keys, r.join(path))
			}
			return true
		}
		if !arrays(e, path, level+1) {
			return false
		}
		if r.inPlace(e, path, level+1).kind != object || !several {
			continue
		}
		slices.Sort(keys)
		if first == nil {
			first = append([]string{}, keys...)
		}
		if !slices.Equal(keys, first) || len(slices.Compact(keys)) < len(first) {
			return false
		}
	}
	return true
}

// Rules 8 to 11: emissions to pairs.

func (r *reference) collect() (keys, overflow []pair) {
	type gathered struct {
		key    string
		values []*node
		list   bool
	}
	var admitted, rest []*gathered
	find := func(all []*gathered, key string) *gathered {
		if i := slices.IndexFunc(all, func(g *gathered) bool { return g.key == key }); i >= 0 {
			return all[i]
		}
		return nil
	}
	for _, e := range r.emitted {
		key, value := r.stable(e.key, e.value)
		to := &admitted
		if find(admitted, key) == nil && (len(key) > 256 || r.isReserved(key) || len(admitted) == r.options.MaxKeys) {
			to = &rest
		}
		g := find(*to, key)
		if g == nil {
			g = &gathered{key: key}
			*to = append(*to, g)
		}
		g.list = g.list || e.list || len(g.values) > 0
		g.values = append(g.values, value)
	}
	for _, g := range admitted {
		keys = append(keys, pair{g.key, merged(g.values, g.list, false)})
	}
	for _, g := range rest {
		overflow = append(overflow, pair{g.key, merged(g.values, g.list, true)})
	}
	return keys, overflow
}

func (r *reference) isReserved(key string) bool {
	if key == r.options.RawKey && key != "" {
		return true
	}
	name, ok := strings.CutPrefix(key, "o365"+r.separator)
	return ok && slices.Contains([]string{
		"id", "tag", "tenant", "content_type", "record_type", "user_type", "logon_type", "category", "outcome", "client_ip", "client_port",
		"error", "raw", "overflow",
		"notice", "notice_from", "notice_to", "notice_content_id", "notice_reason", "notice_count",
	}, name)
}

// stable is rule 10.
func (r *reference) stable(key string, n *node) (string, *node) {
	if n.kind == null {
		return key, n
	}
	switch schema.StableType([]byte(key)) {
	case schema.Boolean:
		if n.kind == boolean {
			return key, n
		}
		if n.kind == text && slices.Contains([]string{"true", "True", "false", "False"}, n.text) {
			return key, &node{kind: boolean, raw: strings.ToLower(n.text)}
		}
	case schema.Integer:
		if integer, ok := asInteger(n); ok {
			return key, &node{kind: number, raw: integer}
		}
	default:
		return key, n
	}
	if n.kind != text {
		n = stringNode(n.raw)
	}
	return key + r.separator + "text", n
}

// asInteger gives the digits of the integer that a value is without loss. It is one of 64 bits with a sign: destinations hold
// integers in such. A fraction that is minus zero would lose its sign.
func asInteger(n *node) (digits string, ok bool) {
	switch n.kind {
	case number:
		if isInteger(n.raw) {
			digits = strings.Replace(n.raw, "-0", "0", 1)
			break
		}
		mantissa, exponent, _ := strings.Cut(strings.ToLower(n.raw), "e")
		if strings.Trim(mantissa, "0.") == "" {
			return "0", true
		}
		if e, err := strconv.Atoi("0" + strings.TrimLeft(exponent, "+-")); err != nil || e > 400 {
			return "", false
		}
		value, ok := new(big.Rat).SetString(n.raw)
		if !ok || !value.IsInt() || value.Sign() == 0 {
			return "", false
		}
		digits = value.Num().String()
	case text:
		digits = n.text
	}
	value, err := strconv.ParseInt(digits, 10, 64)
	return digits, err == nil && strconv.FormatInt(value, 10) == digits
}

func isInteger(raw string) bool { return !strings.ContainsAny(raw, ".eE") }

// merged is rules 8 and 9. In the overflow numbers are as received.
func merged(values []*node, list, inOverflow bool) any {
	out := make([]any, len(values))
	types := map[string]bool{}
	for i, n := range values {
		out[i] = scalar(n)
		switch out[i].(type) {
		case nil:
		case int64, uint64, float64:
			types["number"] = true
			if inOverflow {
				out[i] = json.Number(n.raw)
			}
		default:
			types[fmt.Sprintf("%T", out[i])] = true
		}
	}
	if !list {
		return out[0]
	}
	if len(types) > 1 {
		for i, n := range values {
			if n.kind == text {
				out[i] = n.says()
			} else if n.kind != null {
				out[i] = n.raw
			}
		}
	}
	return out
}

// scalar is rule 2.
func scalar(n *node) any {
	switch n.kind {
	case null:
		return nil
	case boolean:
		return n.raw == "true"
	case text:
		return n.says()
	}
	if isInteger(n.raw) {
		if i, err := strconv.ParseInt(n.raw, 10, 64); err == nil {
			return i
		}
		if u, err := strconv.ParseUint(n.raw, 10, 64); err == nil {
			return u
		}
		return n.raw
	}
	f, err := strconv.ParseFloat(n.raw, 64)
	if err != nil {
		return n.raw
	}
	return f
}

// The time and the added keys.

var (
	firstTime = time.Date(1970, 1, 2, 0, 0, 0, 0, time.UTC)
	endOfTime = time.Date(2038, 1, 19, 0, 0, 0, 0, time.UTC)
)

func (r *reference) time(creation *node) time.Time {
	var candidates []time.Time
	if creation != nil {
		if t, ok := parseTime(creation); ok {
			candidates = append(candidates, t)
		}
	}
	candidates = append(candidates, r.source.Created, r.options.Now())
	for _, t := range candidates {
		if !t.Before(firstTime) && t.Before(endOfTime) {
			return t.UTC()
		}
	}
	panic("now is not in range")
}

var timeForm = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)?$`)

func parseTime(n *node) (time.Time, bool) {
	parts := timeForm.FindStringSubmatch(n.text)
	if n.kind != text || parts == nil {
		return time.Time{}, false
	}
	zone := parts[4]
	if zone == "" {
		zone = "Z"
	}
	t, err := time.Parse(time.RFC3339Nano, parts[1]+"T"+parts[2]+parts[3]+zone)
	t = t.UTC()
	return t, err == nil && 0 <= t.Year() && t.Year() <= 9999
}

func (r *reference) addFrom(record *node, added map[string]any) {
	set := func(key string, value any) { added[r.added(key)] = value }
	name := func(key, value string) {
		if value != "" {
			set(key, value)
		}
	}
	switch id := record.last("Id"); {
	case id.kind == null || r.nothing(id):
	case id.kind == text:
		name("id", id.says())
	default:
		set("id", id.compact())
	}

	enum := func(member string) (int64, bool) {
		digits, ok := asInteger(record.last(member))
		value, err := strconv.ParseInt(digits, 10, 64)
		return value, ok && err == nil
	}
	recordType, ok := enum("RecordType")
	if ok {
		name("record_type", r.options.Names.RecordType(recordType))
	} else {
		recordType = -1
	}
	if userType, ok := enum("UserType"); ok {
		name("user_type", r.options.Names.UserType(userType))
	}
	if logonType, ok := enum("LogonType"); ok {
		name("logon_type", r.options.Names.LogonType(logonType))
	}
	operation := record.last("Operation").text
	name("category", schema.Category([]byte(record.last("Workload").text), recordType, []byte(operation)))
	name("outcome", outcome(record, operation, recordType))
	for _, member := range []string{"ClientIP", "ClientIPAddress", "ActorIpAddress"} {
		if address, port, ok := parseAddress(record.last(member).text); ok {
			set("client_ip", address)
			if port >= 0 {
				set("client_port", port)
			}
			break
		}
	}
}

// outcome speaks of sign-ins by what was done, else by the error.
func outcome(record *node, operation string, recordType int64) string {
	status := record.last("ResultStatus")
	word := status.text
	if status.kind == boolean {
		word = status.raw
	}
	const signIn = 15
	switch {
	case operation == "UserLoggedIn":
		return "success"
	case operation == "UserLoginFailed":
		return "failure"
	case recordType == signIn:
		word = ""
		if digits, ok := asInteger(record.last("ErrorNumber")); ok {
			word = strconv.FormatBool(digits == "0")
		}
	}
	switch strings.ToLower(word) {
	case "true", "success", "succeeded", "successful":
		return "success"
	case "false", "fail", "failed", "failure":
		return "failure"
	}
	return ""
}

// parseAddress splits what Microsoft writes as a client address; port is -1 where there is none.
func parseAddress(s string) (address string, port int64, ok bool) {
	s = strings.TrimSpace(s)
	host, portText, hasPort := s, "", false
	if inner, isBracketed := strings.CutPrefix(s, "["); isBracketed {
		var rest string
		if host, rest, ok = strings.Cut(inner, "]"); !ok {
			return "", 0, false
		}
		if portText, hasPort = strings.CutPrefix(rest, ":"); !hasPort && rest != "" {
			return "", 0, false
		}
	} else if strings.Count(s, ":") == 1 {
		host, portText, hasPort = strings.Cut(s, ":")
	}
	port = -1
	if hasPort {
		value, err := strconv.ParseUint(portText, 10, 16)
		if err != nil || len(portText) > len("65535") {
			return "", 0, false
		}
		port = int64(value)
	}
	host, _, _ = strings.Cut(host, "%")
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "", 0, false
	}
	return ip.Unmap().String(), port, true
}

// The line of format fortisiem.

func (r *reference) fortiSIEMLine() string {
	tag := repaired([]byte(r.options.EventTag))
	if tag == "" {
		tag = "OFFICE365_EVENT_DATA"
	}
	tenant := r.root.last("TenantId")
	if tenant.kind == null {
		tenant = stringNode(repaired([]byte(r.source.Tenant)))
	}
	root := &node{kind: object}
	for _, m := range r.root.members {
		switch m.name {
		case "TenantId", "phCustId":
			continue
		case "CreationTime":
			if t, ok := parseTime(m.value); ok {
				m.value = stringNode(t.Format("2006-01-02T15:04:05") + "UTC")
			}
		}
		root.members = append(root.members, m)
	}
	root.members = append(root.members,
		member{"TenantId", `"TenantId"`, tenant},
		member{"phCustId", `"phCustId"`, &node{kind: number, raw: strconv.FormatInt(r.options.PhCustID, 10)}})
	return "[" + tag + "] = " + root.sorted()
}

func (n *node) sorted() string {
	var parts []string
	switch n.kind {
	case null:
		return `"<null>"`
	case array:
		for _, e := range n.elements {
			parts = append(parts, e.sorted())
		}
		return "[" + strings.Join(parts, ",") + "]"
	case object:
		members := slices.Clone(n.members)
		slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
		for _, m := range members {
			parts = append(parts, noControl(m.rawName)+":"+m.value.sorted())
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	return noControl(n.raw)
}

func noControl(s string) string {
	var b strings.Builder
	for _, c := range s {
		if unicode.IsControl(c) {
			fmt.Fprintf(&b, `\u%04x`, c)
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}
