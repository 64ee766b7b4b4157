package normalize_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"in_office365/normalize"
	"in_office365/test/tenant/records"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// checkAgainstReference holds the encoder against the reference.
func checkAgainstReference(t testing.TB, options normalize.Options, record []byte, source normalize.Source) {
	t.Helper()
	if wrong := differences(options, record, source); len(wrong) > 0 {
		t.Fatalf("%+v\nrecord %q\n%s", options, record, strings.Join(wrong, "\n"))
	}
}

func differences(options normalize.Options, record []byte, source normalize.Source) (wrong []string) {
	options.Now = func() time.Time { return now }
	encoder, err := normalize.NewEncoder(options)
	if err != nil {
		return []string{err.Error()}
	}
	b, info := encoder.AppendRecord(nil, record, &source)
	// Once more, with what the encoder has learnt of the record's names; and once through its reader.
	if again, _ := encoder.AppendRecord(nil, record, &source); !bytes.Equal(again, b) {
		return []string{fmt.Sprintf("the same record again:\n got %q\nwant %q", again, b)}
	}
	if info.Unreadable == "" {
		reader := encoder.NewReader(io.MultiReader(strings.NewReader("["), bytes.NewReader(record), strings.NewReader("]")), 0)
		read, err := reader.Next()
		if read, _ := encoder.AppendRecord(nil, read.Bytes, &source); err != nil || !bytes.Equal(read, b) {
			return []string{fmt.Sprintf("the record through a reader:\n got %q, %v\nwant %q", read, err, b)}
		}
	}
	when, pairs, err := decodePairs(b)
	if err != nil {
		return []string{err.Error()}
	}
	want := refer(options, record, source)
	report := func(what string, got, want any) {
		wrong = append(wrong, fmt.Sprintf("%s:\n got %s\nwant %s", what, show(got), show(want)))
	}
	if !when.Equal(want.time) || !info.Time.Equal(want.time) {
		report("time", when.String(), want.time.String())
	}
	separator := "_"
	if options.Separator != 0 {
		separator = string(rune(options.Separator))
	}
	if options.Format == normalize.FormatRaw && options.RawKey == "" {
		options.RawKey = "message"
	}
	var keys, overflow []pair
	hasError := false
	for _, p := range pairs {
		switch p.key {
		case "o365" + separator + "error":
			hasError = true
		case "o365" + separator + "overflow":
			if overflow, err = parseOverflow(p.value); err != nil {
				report("overflow, "+err.Error(), p.value, nil)
			}
		default:
			if value, ok := want.added[p.key]; ok {
				if !same(p.value, value) {
					report(p.key, p.value, value)
				}
				delete(want.added, p.key)
				continue
			}
			keys = append(keys, p)
		}
	}
	if hasError != want.unreadable {
		report("unreadable", hasError, want.unreadable)
	}
	for key, value := range want.added {
		report(key, "no such key", value)
	}
	comparePairs("", keys, want.keys, report)
	comparePairs("overflow ", overflow, want.overflow, report)
	return wrong
}

func comparePairs(what string, got, want []pair, report func(what string, got, want any)) {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			report(what+strconv.Quote(want[i].key), "no such key", want[i].value)
		case i >= len(want):
			report(what+strconv.Quote(got[i].key), got[i].value, "no such key")
		case got[i].key != want[i].key:
			report(what+"key", got[i].key, want[i].key)
		case !same(got[i].value, want[i].value):
			report(what+strconv.Quote(got[i].key), got[i].value, want[i].value)
		}
	}
}

// same compares values of an event; integers are the same in each of their types.
func same(a, b any) bool {
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, same)
	case float64:
		b, ok := b.(float64)
		return ok && math.Float64bits(a) == math.Float64bits(b)
	}
	return a == b
}

func show(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = show(v[i])
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprintf("%T %v", v, v)
}

// decodePairs reads an event through msgp.
func decodePairs(b []byte) (when time.Time, pairs []pair, err error) {
	const head, metadata = 12, 13
	if len(b) < metadata || string(b[:4]) != "\x92\x92\xd7\x00" || b[head] != 0x80 {
		return when, nil, fmt.Errorf("no header")
	}
	when = time.Unix(int64(binary.BigEndian.Uint32(b[4:])), int64(binary.BigEndian.Uint32(b[8:]))).UTC()
	count, b, err := msgp.ReadMapHeaderBytes(b[metadata:])
	for ; count > 0 && err == nil; count-- {
		var p pair
		if p.key, b, err = msgp.ReadStringBytes(b); err != nil {
			break
		}
		if p.value, b, err = msgp.ReadIntfBytes(b); err != nil {
			break
		}
		p.value = integers(p.value)
		pairs = append(pairs, p)
	}
	if err == nil && len(b) > 0 {
		err = fmt.Errorf("%d bytes behind the event", len(b))
	}
	return when, pairs, err
}

// integers makes an int64 of every integer that fits.
func integers(v any) any {
	switch v := v.(type) {
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v)
		}
	case []any:
		for i := range v {
			v[i] = integers(v[i])
		}
	}
	return v
}

// parseOverflow reads the text of the overflow; numbers stay texts of their own type.
func parseOverflow(v any) (pairs []pair, err error) {
	s, _ := v.(string)
	n := parse([]byte(s))
	if n == nil || n.kind != object || n.compact() != s {
		return nil, fmt.Errorf("not compact JSON of an object")
	}
	for _, m := range n.members {
		pairs = append(pairs, pair{m.name, overflowValue(m.value)})
	}
	return pairs, nil
}

func overflowValue(n *node) any {
	switch n.kind {
	case number:
		return json.Number(n.raw)
	case array:
		values := []any{}
		for _, e := range n.elements {
			values = append(values, overflowValue(e))
		}
		return values
	}
	return scalar(n)
}

// someOptions makes options of a number; every combination that matters is one.
func someOptions(choice uint64) normalize.Options {
	pick := func(n uint64) uint64 {
		i := choice % n
		choice /= n
		return i
	}
	var options normalize.Options
	options.Format = []normalize.Format{
		normalize.FormatFlat, normalize.FormatFlat, normalize.FormatFlat, normalize.FormatFlat, normalize.FormatRaw, normalize.FormatFortiSIEM,
	}[pick(6)]
	options.KeepNulls = pick(2) == 1
	options.NameValueColumns = pick(3) == 2
	options.RedactDLP = pick(2) == 1
	options.MaxKeys = []int{0, 0, 1, 5, 512}[pick(5)]
	options.Separator = []byte{0, '_', '_', '.', '-', ':', '/'}[pick(7)]
	options.ExpandJSON = [][]string{nil, expandable(options.Separator)}[pick(2)]
	options.RawKey = []string{"", "json", "a"}[pick(3)]
	options.EventTag = []string{"", "OFFICE365_EVENT_DATA"}[pick(2)]
	return options
}

// expandable are keys that hostile records have.
func expandable(separator byte) []string {
	if separator == 0 {
		separator = '_'
	}
	var keys []string
	for _, key := range []string{"a", "a/b", "b", "b/a", "a/a", "Name", "Value", "a/Value", "List", "Data", "Data/a", "Version", "List/Name", "DetectedValues", "Id", "a/x", "List/x", "List/x/NewValue"} {
		keys = append(keys, strings.ReplaceAll(key, "/", string(rune(separator))))
	}
	for depth := 58; depth < 68; depth++ {
		keys = append(keys, strings.Repeat("a"+string(rune(separator)), depth)+"a")
	}
	return keys
}

func TestAgainstReferenceGolden(t *testing.T) {
	for _, input := range normalize.GoldenInputs(t) {
		t.Run(input.Name, func(t *testing.T) {
			checkAgainstReference(t, input.Options, input.Record, input.Source)
			for choice := range uint64(50) {
				checkAgainstReference(t, someOptions(choice*7919), input.Record, input.Source)
			}
		})
	}
}

var contoso = normalize.Source{
	Tenant: "00000000-0000-4000-8000-0000000000aa", ContentType: "Audit.General", Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
}

func TestAgainstReferenceFamilies(t *testing.T) {
	for _, family := range records.Families() {
		t.Run(family, func(t *testing.T) {
			for i := range uint64(8) {
				record := records.AppendFamily(nil, family, 1, i, now)
				checkAgainstReference(t, normalize.Options{}, record, contoso)
				checkAgainstReference(t, someOptions(i*104729), record, contoso)
			}
		})
	}
}

func TestAgainstReferenceHostile(t *testing.T) {
	for seed := range uint64(3_000) {
		g := hostile{rand.New(rand.NewPCG(seed, 0))}
		record := g.record()
		checkAgainstReference(t, someOptions(g.Uint64()), []byte(record), contoso)
	}
}

// FuzzAgainstReference takes bytes as a record, and as the choices of which a record is made.
func FuzzAgainstReference(f *testing.F) {
	for i, input := range normalize.GoldenInputs(f) {
		f.Add(uint64(i)*7919, input.Record)
	}
	for seed := range uint64(100) {
		g := hostile{rand.New(rand.NewPCG(seed, 1))}
		f.Add(g.Uint64(), []byte(g.record()))
		choices := make([]byte, 100)
		for i := range choices {
			choices[i] = byte(g.Uint64())
		}
		f.Add(g.Uint64(), choices)
	}
	f.Fuzz(func(t *testing.T, choice uint64, b []byte) {
		options := someOptions(choice)
		checkAgainstReference(t, options, b, contoso)
		if len(b) < 1000 {
			left := choices(b)
			checkAgainstReference(t, options, []byte(hostile{rand.New(&left)}.record()), contoso)
		}
	})
}

// choices is a rand.Source of given bytes; behind them every choice is the last one, which ends a record soon.
type choices []byte

func (c *choices) Uint64() uint64 {
	if len(*c) == 0 {
		return math.MaxUint64
	}
	b := (*c)[0]
	*c = (*c)[1:]
	return uint64(b) * 0x0101010101010101
}

// hostile writes records of the shapes that make flattening hard, all of them too often.
type hostile struct{ *rand.Rand }

func (g hostile) of(choices ...string) string { return choices[g.IntN(len(choices))] }

func (g hostile) once(in int) bool { return g.IntN(in) == 0 }

func (g hostile) record() string {
	switch {
	case g.once(50):
		return g.value(0)
	case g.once(60): // not JSON
		record := g.record()
		return record[:g.IntN(len(record)+1)]
	case g.once(100): // many keys
		return "{" + g.join(508+g.IntN(30), func() string { return fmt.Sprintf(`"k%d":%s`, g.IntN(600), g.scalar()) }) + "}"
	case g.once(40): // deep
		return `{"a":` + g.deep(g.of(`{"a":`, "[")) + "}"
	}
	members := []string{g.object(0)}
	for range g.IntN(6) {
		members = append(members, "{"+g.known()+"}")
	}
	g.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	for i, m := range members {
		members[i] = strings.TrimSpace(m[1 : len(m)-1])
	}
	return "{" + strings.Join(slices.DeleteFunc(members, func(m string) bool { return m == "" }), ",") + "}"
}

func (g hostile) join(n int, part func() string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = part()
	}
	return strings.Join(parts, g.of(",", ",", ", ", " ,\n"))
}

// known is a member that the contract has a rule for.
func (g hostile) known() string {
	switch g.IntN(8) {
	case 0:
		return `"CreationTime":` + g.of(`"2026-01-01T10:11:12"`, `"2026-01-01 10:11:12Z"`, `"2026-01-01T10:11:12.1234567+02:30"`, `"1969-12-31T23:59:59"`, `"1970-01-02T00:00:00"`,
			`"1970-01-01T23:59:59.999999999"`, `"2038-01-18T23:59:59.9999999999"`, `"2038-01-19T00:00:00"`, `"2026-02-30T00:00:00"`, `"2016-12-31T12:59:60"`, `"2026-01-01t00:00:00z"`, `"2026-01-01T00:00:00+24:00"`, `"2026-01-01T00:00:00,5"`, `"2026-01-01T00:00:00.Z"`, `"\u0032026-01-01T24:00:00"`, `"0001-01-01T00:00:00"`, `""`, g.value(1))
	case 1:
		return g.of(`"RecordType":`, `"UserType":`, `"LogonType":`) + g.of("1", `"6"`, "15.0", "null", "8", "99999", "-1", `"05"`, "1e1", "18446744073709551615", g.value(1))
	case 2:
		return `"Operation":` + g.of(`"UserLoggedIn"`, `"UserLoginFailed"`, `"Add member to role."`, `"Set-Mailbox"`, g.value(1)) +
			g.of("", `,"ErrorNumber":"0"`, `,"ErrorNumber":"50126"`, `,"ErrorNumber":0`, `,"ErrorNumber":`+g.value(1))
	case 3:
		return `"ResultStatus":` + g.of(`"True"`, `"TRUE"`, `"Success"`, `"Succeeded"`, `"Successful"`, `"PartiallySucceeded"`, `"Failed"`, `"failure"`, `"False"`, `"New"`, "true", g.value(1))
	case 4:
		return g.of(`"ClientIP":`, `"ClientIPAddress":`, `"ActorIpAddress":`) + g.of(`"192.0.2.1"`, `"192.0.2.1:443"`, `"[2001:DB8::1]:443"`, `"[192.0.2.1]:443"`, `"[2001:db8::1]"`,
			`"::ffff:192.0.2.1"`, `"ffff:10.0.0.1"`, `"<null>"`, `" 192.0.2.1 "`, `"XX.XX.15.90"`, `"localhost:8080"`, `"192.0.2.1:99999"`, `"192.0.2.1:"`, `"fe80::1%eth0"`, `"[fe80::1%eth0]:1"`,
			`"192.0.2.1:+5"`, `"192.0.2.1:0"`, `"[2001:db8::1"`, `"2001:db8::1]"`, `"192.0.2.1%a"`, `"[::ffff:192.0.2.1%x]:65535"`, `"192.0.2.1:0080"`, g.value(1))
	case 5:
		return g.of(`"Id":`, `"TenantId":`, `"phCustId":`) + g.of(`"{\"DetectedValues\":[1]}"`, g.value(1), g.value(1))
	case 6:
		return `"Workload":` + g.of(`"Exchange"`, `"AzureActiveDirectory"`, g.value(1))
	}
	return g.of(`"ExternalAccess":`, `"DoNotDistributeEvent":`, `"ListBaseType":`, `"Version":`, `"Scope":`, `"Platform":`, `"FileSizeBytes":`, `"Version_text":`, `"Version.text":`) +
		g.of(`"true"`, `"True"`, `"TRUE"`, `"false"`, "true", "1", "1.0", "-0", "-0.0", `"-0"`, `"5"`, `"\u0035"`, `"tru\u0065"`, `"05"`, `"+5"`, `" 5"`, "6.0", "6.50", "1e2", "12e-1", "120e-1", "1e400", "1e19", "1e20", "0e400",
			"9007199254740993.0", "-9223372036854775808.0", "-9223372036854775809.0", "18446744073709551615.0", "18446744073709551616", `"18446744073709551615"`, `"-9223372036854775809"`, `["5",6,"x"]`, g.value(1))
}

func (g hostile) value(depth int) string {
	switch {
	case depth > 6 && !g.once(40):
		return g.scalar()
	case g.once(200):
		return g.deep(g.of("[", `{"a":`, `[{"b":`, `{"a":[`))
	}
	switch g.IntN(12) {
	case 0, 1:
		return g.object(depth)
	case 2, 3:
		return g.array(depth)
	case 4, 5:
		return g.nameValueList(depth)
	case 6:
		return g.objects(depth)
	case 7:
		return g.of("null", "[]", "{}", "[null]", "[[],{}]", `""`, "[[null],[]]", `{"a":null}`)
	case 8:
		return g.embedded(depth)
	}
	return g.scalar()
}

// deep is something in so many of the same containers that it lies around level 64.
func (g hostile) deep(opening string) string {
	closing := ""
	for _, c := range opening {
		switch c {
		case '[':
			closing = "]" + closing
		case '{':
			closing = "}" + closing
		}
	}
	n := (58 + g.IntN(10)) / len(closing)
	inner := g.scalar()
	switch g.IntN(6) {
	case 0:
		inner = g.objects(6)
	case 1:
		inner = g.embedded(6)
	case 2, 3:
		inner = g.nameValueList(6)
	}
	return strings.Repeat(opening, n) + inner + strings.Repeat(closing, n)
}

func (g hostile) scalar() string {
	return g.of("null", "true", "false", "0", "1", "-1", "5", "1.5", "1.50", "-0.0", "-0", "0.0", "1e400", "-1E+400", "1e-400", "1E3", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
		"-9223372036854775809", "18446744073709551615", "18446744073709551616", "123456789012345678901234567890", `""`, `"x"`, `"y"`, `"5"`, `"true"`, `"a b.c"`, `"\u00e9\"\\\/\n"`, `"\ud800"`, `"a\udc00\ud83d\ude00"`,
		"\"\xff\xc3\"", "\"\xed\xa0\x80\"", "\"\u2028\u0085\x7f\"", `"\u0000\u007f\u2028<>&"`, `"[redacted]"`, `"{}"`, `"{GUID}"`, `"[1,2"`, `"[x]"`, `"é😀"`)
}

func (g hostile) name() string {
	if g.once(100) {
		return `"` + strings.Repeat(g.of("n", "é", "."), 120+g.IntN(12)) + strings.Repeat("m", g.IntN(20)) + `"`
	}
	if g.once(60) {
		return `"` + strings.Repeat("n", 250+g.IntN(10)) + `"`
	}
	return g.of(`"a"`, `"a"`, `"a"`, `"b"`, `"b"`, `"c"`, `"a_b"`, `"a.b"`, `"a b"`, `"a-b"`, `"a:b"`, `"a/b"`, `""`, `"_"`, `"x"`, `"Name"`, `"Value"`, `"NewValue"`, `"Key"`, `"List"`, `"Data"`, `"DetectedValues"`,
		`"Detected\u0056alues"`, `"o365"`, `"o365_id"`, `"id"`, `"o365_overflow"`, `"o365_notice"`, `"notice"`, `"o365_notice_from"`, `"message"`, `"json"`, `"text"`, `"Version"`, `"\ud800"`, "\"\xff\"", `"é"`, `"\u0061"`, `"\n"`)
}

func (g hostile) object(depth int) string {
	return "{" + g.join(g.IntN(5), func() string { return g.name() + g.of(":", ":", " : ") + g.value(depth+1) }) + "}"
}

func (g hostile) array(depth int) string {
	return "[" + g.join(g.IntN(4), func() string { return g.value(depth + 1) }) + "]"
}

// objects is an array of nearly equal objects.
func (g hostile) objects(depth int) string {
	names := []string{g.name(), g.name(), g.name()}[:1+g.IntN(3)]
	values := make([]string, len(names))
	for i := range values {
		values[i] = g.value(depth + 2)
	}
	return "[" + g.join(1+g.IntN(4), func() string {
		if g.once(12) {
			return g.of("null", "{}", "[]", "5", `"x"`, "[{}]")
		}
		var members []string
		for i, name := range names {
			switch {
			case g.once(15):
				members = append(members, name+":"+g.value(depth+2))
			case g.once(14): // a member that is missing
			default:
				members = append(members, name+":"+values[i])
			}
		}
		return "{" + strings.Join(members, ",") + "}"
	}) + "]"
}

func (g hostile) nameValueList(depth int) string {
	n := g.IntN(4)
	if g.once(100) {
		n = 254 + g.IntN(5)
	}
	list := "[" + g.join(n, func() string {
		if n < 200 && g.once(25) {
			return g.of("null", "{}", `"x"`, `{"Name":"a"}`, `{"Value":"a"}`, `{"Name":"a","Name":"a","Value":1}`, `{"Name":"a","Key":"b","Value":1}`, `{"Name":5,"Value":1}`, `{"Name":"a","Value":1,"x":1}`,
				`{"Name":"a","Value":1,"Value":2}`, `{"name":"a","Value":1}`)
		}
		name := g.name()
		if n > 200 {
			name = `"v"`
		}
		members := []string{g.of(`"Name":`, `"Name":`, `"Key":`) + name}
		if g.once(3) {
			members = append(members, `"NewValue":`+g.value(depth+2))
			if !g.once(3) {
				members = append(members, `"OldValue":`+g.value(depth+2))
			}
		} else {
			members = append(members, `"Value":`+g.value(depth+2))
		}
		g.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		return "{" + strings.Join(members, ",") + "}"
	}) + "]"
	return list
}

// embedded is JSON in a string.
func (g hostile) embedded(depth int) string {
	inner := g.of(g.object(depth+1), g.array(depth+1), g.nameValueList(depth+1), g.objects(depth+1))
	return quoted(repaired([]byte(g.of("", "", "", "", " ") + inner + g.of("", "", " ", "x"))))
}
