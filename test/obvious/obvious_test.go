package obvious_test

import (
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"in_office365/normalize"
	"in_office365/test/events"
	"in_office365/test/obvious"
	"in_office365/test/tenant/records"
)

const (
	tenant      = "11111111-2222-3333-4444-555555555555"
	contentType = "Audit.General"
)

var noon = time.Date(2026, 3, 14, 12, 30, 45, 0, time.UTC)

// decode reads the one event that obvious made of a record.
func decode(t *testing.T, record string) events.Event {
	t.Helper()
	b, err := obvious.NewEncoder().AppendRecord(nil, []byte(record), tenant, contentType)
	if err != nil {
		t.Fatal(err)
	}
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil || n != 2 {
		t.Fatalf("an array of %d (%v), want one of 2", n, err)
	}
	at := msgp.RawExtension{Type: 0} // Fluent Bit's time: seconds and nanoseconds
	if b, err = msgp.ReadExtensionBytes(b, &at); err != nil || len(at.Data) != 8 {
		t.Fatalf("a time of %d bytes (%v), want 8", len(at.Data), err)
	}
	body, rest, err := msgp.ReadMapStrIntfBytes(b, nil)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%d bytes behind the map (%v)", len(rest), err)
	}
	return events.Event{
		Time: time.Unix(int64(binary.BigEndian.Uint32(at.Data)), int64(binary.BigEndian.Uint32(at.Data[4:]))).UTC(),
		Body: body,
	}
}

// normalized is the event of normalize.
func normalized(t *testing.T, record string) events.Event {
	t.Helper()
	e, err := normalize.NewEncoder(normalize.Options{EventTag: normalize.DefaultEventTag})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := e.AppendRecord(nil, []byte(record), &normalize.Source{Tenant: tenant, ContentType: contentType})
	event, rest, err := events.Next(b)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%d bytes behind the event (%v)", len(rest), err)
	}
	return event
}

func testSame(t *testing.T, record string) {
	t.Helper()
	got, want := decode(t, record), normalized(t, record)
	if !got.Time.Equal(want.Time) {
		t.Errorf("time %v, normalize has %v", got.Time, want.Time)
	}
	for key, value := range want.Body {
		if !reflect.DeepEqual(got.Body[key], value) {
			t.Errorf("%s = %#v, normalize has %#v", key, got.Body[key], value)
		}
	}
	for key, value := range got.Body {
		if _, ok := want.Body[key]; !ok {
			t.Errorf("%s = %#v, which normalize does not have", key, value)
		}
	}
	if t.Failed() {
		t.Log(record)
	}
}

func TestRegularRecordsGiveTheMapOfNormalize(t *testing.T) {
	for name, members := range map[string]string{
		"scalars":           `"A":"text","B":7,"C":-7,"D":9223372036854775807,"E":1.5,"F":true,"G":"","H":"é\n\u00e9"`,
		"null and empty":    `"A":null,"B":[],"C":{},"D":[null,{}],"E":{"F":null}`,
		"objects":           `"A":{"B":{"C":1},"D":"x"}`,
		"names":             `"A.b c":{"d_e":1}`,
		"scalars in arrays": `"A":["x"],"B":[1,2],"C":[[1],[2,3]],"D":[true]`,
		"mixed arrays":      `"A":["x",1,true,null]`,
		"columns":           `"Actor":[{"ID":"a","Type":5},{"ID":"b","Type":3}]`,
		"name and value":    `"P":[{"Name":"Role.Display Name","Value":"x"},{"Name":"N","Value":7},{"Name":"O","Value":{"a":1}},{"Name":"Z","Value":null}]`,
		"key and value":     `"P":[{"Key":"A","Value":"x"}]`,
		"changes":           `"M":[{"Name":"A","NewValue":"x","OldValue":""},{"Name":"B","OldValue":true}]`,
		"not a list":        `"P":[{"Name":"A","Value":"x","Count":1}],"Q":[{"Name":"A"}]`,
		"list in an array":  `"R":[{"P":[{"Name":"A","Value":"x"}]}]`,
	} {
		t.Run(name, func(t *testing.T) {
			testSame(t, `{"Id":"8d2f0c61-1111-4222-8333-94a5b6c7d8e9","CreationTime":"2026-01-02T03:04:05",`+members+`}`)
		})
	}
}

// irregular are the families in which records need what obvious leaves out, see its package comment.
var irregular = map[string]string{
	"exchange-admin":                "types that vary",
	"sharepoint-file":               "types that vary",
	"sharepoint-search":             "types that vary",
	"sharepoint-list":               "types that vary",
	"mail-items-accessed":           "columns that cannot be joined again",
	"copilot-interaction":           "columns that cannot be joined again",
	"dlp-exchange":                  "columns that cannot be joined again",
	"dlp-sharepoint":                "columns that cannot be joined again",
	"dlp-exchange-classification":   "columns that cannot be joined again",
	"dlp-sharepoint-classification": "columns that cannot be joined again",
	"unheard-of":                    "members that stand twice",
}

func TestRecordsOfRegularFamiliesGiveTheMapOfNormalize(t *testing.T) {
	for _, family := range records.Families() {
		if irregular[family] != "" {
			continue
		}
		t.Run(family, func(t *testing.T) {
			for i := range uint64(50) {
				testSame(t, string(records.AppendFamily(nil, family, 1, i, noon)))
				if t.Failed() {
					return
				}
			}
		})
	}
}

func TestWhatIsNoObjectIsRefusedAndNotQuoted(t *testing.T) {
	for _, record := range []string{``, `null`, `"secret"`, `["secret"]`, `{"a":"secret"`, `{"a":secret}`} {
		dst, err := obvious.NewEncoder().AppendRecord([]byte("kept"), []byte(record), tenant, contentType)
		if err == nil || string(dst) != "kept" || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %q, %v", record, dst, err)
		}
	}
}
