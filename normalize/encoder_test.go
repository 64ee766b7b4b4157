package normalize

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"in_office365/normalize/schema"
)

// encode gives the event of a record under test options.
func encode(t testing.TB, options Options, record string) decodedEvent {
	t.Helper()
	b, _ := newEncoder(t, options).AppendRecord(nil, []byte(record), &Source{})
	return decodeEvent(t, b)
}

func TestFortiSIEMSampleEvent(t *testing.T) {
	record, err := os.ReadFile("testdata/fortisiem-sample.record.json")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/fortisiem-sample.line.txt")
	if err != nil {
		t.Fatal(err)
	}
	e := newEncoder(t, Options{Format: FormatFortiSIEM, EventTag: DefaultEventTag})
	b, _ := e.AppendRecord(nil, record, &Source{Tenant: "653e32e8-fb2d-41aa-8841-90f05b340318"})
	if got := decodeEvent(t, b).values["message"]; got != strings.TrimSuffix(string(want), "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNewEncoderRefuses(t *testing.T) {
	for _, test := range []struct {
		options Options
		want    string
	}{
		{Options{RawKey: "o365_id"}, `raw_key "o365_id"`},
		{Options{RawKey: "o365_notice_from"}, `raw_key "o365_notice_from"`},
		{Options{RawKey: "o365:overflow", Separator: ':'}, `raw_key "o365:overflow"`},
		{Options{RawKey: "message", Format: FormatFortiSIEM}, `raw_key "message"`},
		{Options{RawKey: "\xff"}, "raw_key"},
		{Options{Separator: ','}, `separator ','`},
		{Options{MaxKeys: -1}, "max_keys -1"},
		{Options{Format: 3}, "format 3"},
	} {
		_, err := NewEncoder(test.options)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: got error %v, want one line with %s", test.options, err, test.want)
		}
	}
	if _, err := NewEncoder(Options{RawKey: "o365_id", Separator: ':'}); err != nil {
		t.Errorf("o365_id is no added key with another separator: %v", err)
	}
	if _, err := NewEncoder(Options{RawKey: "message"}); err != nil {
		t.Errorf("message is free in format flat: %v", err)
	}
}

func TestEventTime(t *testing.T) {
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	utc := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, test := range []struct {
		creationTime string
		created      time.Time
		want         time.Time
	}{
		{`"2026-02-28T23:59:59"`, created, utc("2026-02-28T23:59:59Z")},
		{`"2026-02-28T23:59:59Z"`, created, utc("2026-02-28T23:59:59Z")},
		{`"2026-02-28 23:59:59"`, created, utc("2026-02-28T23:59:59Z")},
		{`"2026-02-28T23:59:59.1234567Z"`, created, utc("2026-02-28T23:59:59.1234567Z")},
		{`"2026-02-28T23:59:59.1234567899"`, created, utc("2026-02-28T23:59:59.123456789Z")},
		{`"2026-03-01T01:29:59+01:30"`, created, utc("2026-02-28T23:59:59Z")},
		{`"1970-01-02T00:00:00"`, created, utc("1970-01-02T00:00:00Z")},
		{`"2038-01-18T23:59:59.999"`, created, utc("2038-01-18T23:59:59.999Z")},
		{`"2026-02-28T23:59:59\u005a"`, created, utc("2026-02-28T23:59:59Z")},

		{`"1970-01-01T23:59:59"`, created, created},
		{`"2038-01-19T00:00:00"`, created, created},
		{`"0001-01-01T00:00:00"`, created, created},
		{`"2026-02-29T00:00:00"`, created, created},
		{`"2026-00-01T00:00:00"`, created, created},
		{`"2026-01-01T24:00:00"`, created, created},
		{`"2026-01-01T00:00:60"`, created, created},
		{`"2026-01-01T00:00:00."`, created, created},
		{`"2026-01-01T00:00:00+1"`, created, created},
		{`"2026-01-01"`, created, created},
		{`"2/1/2026 1:00:00 AM"`, created, created},
		{`1767225600`, created, created},
		{`null`, time.Time{}, testNow},
		{`null`, time.Unix(0, 0), testNow},
	} {
		e := newEncoder(t, Options{})
		b, info := e.AppendRecord(nil, []byte(`{"CreationTime":`+test.creationTime+`}`), &Source{Created: test.created})
		if got := decodeEvent(t, b).time; !got.Equal(test.want) || !info.Time.Equal(test.want) {
			t.Errorf("%s: got %s, info %s, want %s", test.creationTime, got, info.Time, test.want)
		}
	}
}

func TestEventTimeWhenTheClockIsWrong(t *testing.T) {
	for year, want := range map[int]int64{1: minEventSecond, 2200: maxEventSecond} {
		e := newEncoder(t, Options{Now: func() time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }})
		b, _ := e.AppendRecord(nil, []byte(`{}`), nil)
		if got := decodeEvent(t, b).time.Unix(); got != want {
			t.Errorf("in the year %d: got %d, want %d", year, got, want)
		}
	}
}

func TestClientAddress(t *testing.T) {
	const none = -1
	for _, test := range []struct {
		members string
		ip      any
		port    int64
	}{
		{`"ClientIP":"192.0.2.1"`, "192.0.2.1", none},
		{`"ClientIP":" 192.0.2.1 "`, "192.0.2.1", none},
		{`"ClientIP":"192.0.2.1:443"`, "192.0.2.1", 443},
		{`"ClientIP":"[192.0.2.1]:443"`, "192.0.2.1", 443},
		{`"ClientIP":"[2001:db8::1]:443"`, "2001:db8::1", 443},
		{`"ClientIP":"[2001:DB8:0::1]"`, "2001:db8::1", none},
		{`"ClientIP":"2001:db8::1"`, "2001:db8::1", none},
		{`"ClientIP":"::ffff:192.0.2.1"`, "192.0.2.1", none},
		{`"ClientIP":"[::ffff:192.0.2.1]:65535"`, "192.0.2.1", 65535},
		{`"ClientIP":"fe80::1%eth0"`, "fe80::1", none},
		{`"ClientIP":"[fe80::1%25eth0]:0"`, "fe80::1", 0},
		{`"ClientIP":"192.0.2.1:65536"`, nil, none},
		{`"ClientIP":"192.0.2.1:"`, nil, none},
		{`"ClientIP":"192.0.2.1:+1"`, nil, none},
		{`"ClientIP":"[2001:db8::1]443"`, nil, none},
		{`"ClientIP":"[2001:db8::1"`, nil, none},
		{`"ClientIP":"ffff:192.0.2.1"`, nil, none},
		{`"ClientIP":"XX.XX.15.90"`, nil, none},
		{`"ClientIP":"localhost:8080"`, nil, none},
		{`"ClientIP":"NOTANIPV4 (10.9000.0.1)"`, nil, none},
		{`"ClientIP":5`, nil, none},
		{`"ClientIP":"<null>","ActorIpAddress":"192.0.2.3","ClientIPAddress":"192.0.2.2:1"`, "192.0.2.2", 1},
		{`"ClientIP":"","ClientIPAddress":"-","ActorIpAddress":"192.0.2.3"`, "192.0.2.3", none},
		{`"ClientIP":"192.0.2.9:x","ClientIPAddress":"192.0.2.2"`, "192.0.2.2", none},
	} {
		got := encode(t, Options{}, "{"+test.members+"}")
		port, ok := got.values["o365_client_port"].(int64)
		if !ok {
			port = none
		}
		if got.values["o365_client_ip"] != test.ip || port != test.port {
			t.Errorf("%s: got %v port %d, want %v port %d", test.members, got.values["o365_client_ip"], port, test.ip, test.port)
		}
	}
}

func TestOutcome(t *testing.T) {
	for _, test := range []struct {
		members string
		want    any
	}{
		{`"ResultStatus":"True"`, "success"},
		{`"ResultStatus":"TRUE"`, "success"},
		{`"ResultStatus":true`, "success"},
		{`"ResultStatus":"success"`, "success"},
		{`"ResultStatus":"Succeeded"`, "success"},
		{`"ResultStatus":"Successful"`, "success"},
		{`"ResultStatus":"Succ\u0065ss"`, "success"},
		{`"ResultStatus":"Failed"`, "failure"},
		{`"ResultStatus":"Failure"`, "failure"},
		{`"ResultStatus":"False"`, "failure"},
		{`"ResultStatus":false`, "failure"},
		{`"ResultStatus":"PartiallySucceeded"`, nil},
		{`"ResultStatus":"New"`, nil},
		{`"ResultStatus":null`, nil},
		{`"ResultStatus":""`, nil},
		{`"ResultStatus":"Success","RecordType":15,"Operation":"UserLoggedIn"`, "success"},
		{`"ResultStatus":"Success","RecordType":15,"Operation":"UserLoginFailed"`, "failure"},
		{`"ResultStatus":"Success","Operation":"UserLoginFailed"`, "failure"},
		{`"ResultStatus":"Success","RecordType":15,"Operation":"Other","ErrorNumber":"0"`, "success"},
		{`"ResultStatus":"Success","RecordType":15,"Operation":"Other","ErrorNumber":50126`, "failure"},
		{`"ResultStatus":"Success","RecordType":15,"Operation":"Other"`, nil},
		{`"ResultStatus":"failed","RecordType":9,"Operation":"PasswordLogonInitialAuthUsingPassword"`, "failure"},
	} {
		if got := encode(t, Options{}, "{"+test.members+"}").values["o365_outcome"]; got != test.want {
			t.Errorf("%s: got %v, want %v", test.members, got, test.want)
		}
	}
}

func TestIDOfInfo(t *testing.T) {
	e := newEncoder(t, Options{Format: FormatRaw})
	for record, want := range map[string]string{
		`{"Id":"a\u0062"}`:   "ab",
		`{"Id":5}`:           "5",
		`{"Id":{"x": 1}}`:    `{"x":1}`,
		`{"Id":null}`:        "",
		`{"Id":{}}`:          "",
		`{"Id":""}`:          "",
		`{"id":"lowercase"}`: "",
		`{"Id":"broken}`:     "",
	} {
		b, info := e.AppendRecord(nil, []byte(record), nil)
		if string(info.ID) != want {
			t.Errorf("%s: got %q, want %q", record, info.ID, want)
		}
		if id, _ := decodeEvent(t, b).values["o365_id"].(string); id != want {
			t.Errorf("%s: o365_id is %q, want %q", record, id, want)
		}
	}
}

func TestSchemaNamesOverride(t *testing.T) {
	names, err := schema.LoadNames(strings.NewReader("UserType,77,Visitor\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := encode(t, Options{Names: names}, `{"UserType":77}`).values["o365_user_type"]; got != "Visitor" {
		t.Errorf("got %v", got)
	}
}

func TestNameValueListLimits(t *testing.T) {
	list := func(n int) string {
		elements := make([]string, n)
		for i := range elements {
			elements[i] = fmt.Sprintf(`{"Name":"n%d","Value":"v"}`, i)
		}
		return `{"P":[` + strings.Join(elements, ",") + `]}`
	}
	name := func(n int) string { return `{"P":[{"Name":"` + strings.Repeat("n", n) + `","Value":"v"}]}` }
	for _, test := range []struct {
		what, record string
		columns      bool
	}{
		{"256 elements", list(256), false},
		{"257 elements", list(257), true},
		{"a Name of 254 bytes", name(254), false},
		{"a Name of 257 bytes", name(257), true},
		{"a Name of 128 two-byte characters, escaped", `{"P":[{"Name":"` + strings.Repeat(`\u00e9`, 127) + `","Value":"v"}]}`, false},
	} {
		_, got := encode(t, Options{}, test.record).values["P_Name"]
		if got != test.columns {
			t.Errorf("%s: columns %t, want %t", test.what, got, test.columns)
		}
	}
}

func TestKeysOver256BytesGoToTheOverflow(t *testing.T) {
	fits, long := strings.Repeat("k", 256), strings.Repeat("l", 257)
	got := encode(t, Options{MaxKeys: 1}, `{"`+long+`":{"a":1},"`+fits+`":2}`)
	if got.values[fits] != int64(2) {
		t.Errorf("a key over 256 bytes counts against max_keys")
	}
	if want := `{"` + long + `_a":1}`; got.values["o365_overflow"] != want {
		t.Errorf("got overflow %v, want %s", got.values["o365_overflow"], want)
	}
}

func TestContainersBelowLevel64AreText(t *testing.T) {
	nested := func(levels int, inner string) string {
		return strings.Repeat(`{"k":`, levels) + inner + strings.Repeat("}", levels)
	}
	key := "k" + strings.Repeat("_k", MaxDepth-1)
	for _, test := range []struct {
		what, record string
		want         any
	}{
		{"a scalar in level 64", nested(64, "1"), int64(1)},
		{"an array on level 64", nested(63, `[1,{"a":2}]`), nil},
		{"an object on level 65", nested(64, `{ "k" : 1 }`), `{"k":1}`},
		{"an array on level 65", nested(64, `[1]`), "[1]"},
		{"an empty object on level 65", nested(64, `{}`), nil},
		{"a name/value list on level 65", nested(64, `[{"Name":"a","Value":"b"}]`), `[{"Name":"a","Value":"b"}]`},
	} {
		if got := encode(t, Options{}, test.record).values[key]; got != test.want {
			t.Errorf("%s: got %v, want %v", test.what, got, test.want)
		}
	}
}

func TestUnreadableRawIsCutOnACharacter(t *testing.T) {
	record := `{"a":"` + strings.Repeat("é", MaxRawBytes/2) // the é at the limit is cut in two
	got := encode(t, Options{}, record)
	raw := got.values["o365_raw"].(string)
	if want := MaxRawBytes; len(raw) != want || !strings.HasPrefix(record, raw) {
		t.Errorf("o365_raw has %d bytes, want %d of the record", len(raw), want)
	}
	odd := "x" + record
	raw = encode(t, Options{}, odd).values["o365_raw"].(string)
	if len(raw) != MaxRawBytes-1 || !strings.HasPrefix(odd, raw) {
		t.Errorf("o365_raw has %d bytes, want %d of the record", len(raw), MaxRawBytes-1)
	}
	if text := got.values["o365_error"].(string); !strings.Contains(text, "o365_raw is cut to 65536 of 65542 bytes") {
		t.Errorf("o365_error does not say that it is cut: %s", text)
	}
}

func TestAppendUnreadable(t *testing.T) {
	e := newEncoder(t, Options{EventTag: "T"})
	b := e.AppendUnreadable(nil, []byte("\xffx"), "it is broken", &Source{Tenant: "t", ContentType: "c", Created: testNow})
	want := "time 2026-01-02T03:04:05Z\no365_tag = \"T\"\no365_tenant = \"t\"\no365_content_type = \"c\"\n" +
		"o365_error = \"it is broken\"\no365_raw = \"\uFFFDx\"\n"
	if got := decodeEvent(t, b).String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAppendNotice(t *testing.T) {
	notice := Notice{
		Kind: "gap", Tenant: "t", ContentType: "Audit.General", ContentID: "c", Reason: "no longer retrievable",
		From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC),
	}
	for _, test := range []struct {
		what    string
		options Options
		notice  Notice
		want    string
	}{
		{"flat", Options{EventTag: "T"}, notice, `time 2026-01-02T03:04:05Z
o365_tag = "T"
o365_tenant = "t"
o365_content_type = "Audit.General"
o365_notice = "gap"
o365_notice_from = "2026-01-01T00:00:00Z"
o365_notice_to = "2026-01-01T01:00:00Z"
o365_notice_content_id = "c"
o365_notice_reason = "no longer retrievable"
`},
		{"empty ones are left out", Options{Separator: '.'}, Notice{Kind: "throttled"}, `time 2026-01-02T03:04:05Z
o365.notice = "throttled"
`},
		{"raw", Options{Format: FormatRaw}, notice, `time 2026-01-02T03:04:05Z
message = "{\"CreationTime\":\"2026-01-02T03:04:05Z\",\"TenantId\":\"t\",\"o365_content_type\":\"Audit.General\",\"o365_notice\":\"gap\",` +
			`\"o365_notice_content_id\":\"c\",\"o365_notice_from\":\"2026-01-01T00:00:00Z\",\"o365_notice_reason\":\"no longer retrievable\",` +
			`\"o365_notice_to\":\"2026-01-01T01:00:00Z\"}"
o365_tenant = "t"
o365_content_type = "Audit.General"
o365_notice = "gap"
o365_notice_from = "2026-01-01T00:00:00Z"
o365_notice_to = "2026-01-01T01:00:00Z"
o365_notice_content_id = "c"
o365_notice_reason = "no longer retrievable"
`},
		{"fortisiem", Options{Format: FormatFortiSIEM}, notice, `time 2026-01-02T03:04:05Z
message = "[OFFICE365_EVENT_DATA] = {\"CreationTime\":\"2026-01-02T03:04:05UTC\",\"TenantId\":\"t\",` +
			`\"o365_content_type\":\"Audit.General\",\"o365_notice\":\"gap\",\"o365_notice_content_id\":\"c\",` +
			`\"o365_notice_from\":\"2026-01-01T00:00:00Z\",\"o365_notice_reason\":\"no longer retrievable\",` +
			`\"o365_notice_to\":\"2026-01-01T01:00:00Z\",\"phCustId\":1}"
o365_tenant = "t"
o365_content_type = "Audit.General"
o365_notice = "gap"
o365_notice_from = "2026-01-01T00:00:00Z"
o365_notice_to = "2026-01-01T01:00:00Z"
o365_notice_content_id = "c"
o365_notice_reason = "no longer retrievable"
`},
	} {
		b := newEncoder(t, test.options).AppendNotice(nil, &test.notice)
		if got := decodeEvent(t, b).String(); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.what, got, test.want)
		}
	}
}

func TestAnEncoderRemembersNothing(t *testing.T) {
	names := goldenFiles(t)
	r := rand.New(rand.NewPCG(1, 2))
	for _, options := range []Options{{}, {Format: FormatFortiSIEM, RedactDLP: true}, {ExpandJSON: []string{"Data"}, MaxKeys: 2, RawKey: "json"}} {
		used := newEncoder(t, options)
		for range 3 * len(names) {
			record := readGolden(t, names[r.IntN(len(names))]).record
			got, _ := used.AppendRecord(nil, record, nil)
			want, _ := newEncoder(t, options).AppendRecord(nil, record, nil)
			if !bytes.Equal(got, want) {
				t.Fatalf("a used encoder gives another event for %s", record)
			}
		}
	}
}

// TestHugeRecordsAreLinear has records that would take hours, or the stack, if anything about them were quadratic or recursive.
func TestHugeRecordsAreLinear(t *testing.T) {
	const size = 1 << 20
	repeat := func(s string) string { return strings.Repeat(s, size/len(s)) }
	var distinct strings.Builder
	for i := 0; distinct.Len() < size; i++ {
		fmt.Fprintf(&distinct, `"k%d":%d,`, i, i)
	}
	long := strings.Repeat("l", size/2)
	records := map[string]string{
		"nested arrays":         `{"a":` + repeat("[") + "1" + repeat("]") + "}",
		"nested objects":        strings.Repeat(`{"a":`, size/6) + "1" + strings.Repeat("}", size/6),
		"one key":               `{` + repeat(`"a":1,`) + `"a":1}`,
		"distinct keys":         `{` + distinct.String() + `"a":1}`,
		"a long name around":    `{"` + long + `":{` + repeat(`"a":1,`) + `"a":1}}`,
		"long names in array":   `{"` + long + `":[` + repeat(`{"a":1},`) + `{"b":1}]}`,
		"many objects":          `{"a":[` + repeat(`{"b":1,"c":[{"d":1}]},`) + `{}]}`,
		"expanded in expanded":  `{"a":"` + repeat(`[\"1\",`) + `"}`,
		"redacted":              `{"DetectedValues":[` + repeat(`1,`) + `1]}`,
		"redacted and expanded": `{"a":[` + repeat(`"{\"DetectedValues\":1}",`) + `""]}`,
	}
	for name, record := range records {
		for _, format := range []Format{FormatFlat, FormatFortiSIEM} {
			t.Run(fmt.Sprint(name, " ", format), func(t *testing.T) {
				began := time.Now()
				e := newEncoder(t, Options{Format: format, RawKey: "json", ExpandJSON: []string{"a"}, RedactDLP: true})
				b, _ := e.AppendRecord(nil, []byte(record), nil)
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("took %s", took)
				}
				if limit := 64 * len(record); len(b) > limit {
					t.Errorf("the event has %d bytes, the record %d", len(b), len(record))
				}
				decodeEvent(t, b)
			})
		}
	}
}

func TestKeysAreInDocumentOrder(t *testing.T) {
	var record strings.Builder
	var want []string
	for i := range 300 {
		key := fmt.Sprintf("k%d", (i*7919)%300)
		fmt.Fprintf(&record, `"%s":%d,`, key, i)
		want = append(want, key)
	}
	got := encode(t, Options{}, `{`+record.String()+`"k0":1}`).keys
	if want = append(want, "o365_category"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestNothingButANameIsTakenForOne puts a NUL where a name should begin, behind names that are no good guess: none, one that is longer
// than what is compared at once, one that JSON writes with an escape.
func TestNothingButANameIsTakenForOne(t *testing.T) {
	long := strings.Repeat("n", 2*chunkSize)
	for _, before := range []string{``, `"` + long + `":1,`, `"a\"b":1,`} {
		e := newEncoder(t, Options{})
		for range 2 { // the second time there are guesses
			if _, info := e.AppendRecord(nil, []byte(`{`+before+`"`+long+`":1,"a\"b":2}`), nil); info.Unreadable != "" {
				t.Fatal(info.Unreadable)
			}
			for _, nul := range []string{"\x00:1", "\x00\":1", "\":1"} {
				record := `{` + before + nul + strings.Repeat(" ", 2*chunkSize) + `}`
				if _, info := e.AppendRecord(nil, []byte(record), nil); info.Unreadable == "" {
					t.Errorf("%q is taken for JSON", record)
				}
			}
		}
	}
}
