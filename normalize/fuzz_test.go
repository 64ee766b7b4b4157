package normalize

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	jsoniter "github.com/json-iterator/go"
)

// fuzzOptions are the ways a record can go.
var fuzzOptions = []Options{
	{},
	{KeepNulls: true, NameValueColumns: true, MaxKeys: 3, Separator: '.'},
	{RedactDLP: true, RawKey: "json", ExpandJSON: []string{"a", "Data", "Parameters_a", "List"}},
	{Format: FormatRaw},
	{Format: FormatFortiSIEM, RawKey: "json", RedactDLP: true},
}

// FuzzAppendRecord checks that whatever comes in gives exactly one well-formed event, that exactly the JSON objects are readable,
// and that what a second reader finds in a record is what it finds in the text kept of it.
func FuzzAppendRecord(f *testing.F) {
	for _, name := range goldenFiles(f) {
		f.Add(readGolden(f, name).record)
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		isObject := json.Valid(record) && bytes.HasPrefix(bytes.TrimLeft(record, " \t\r\n"), []byte("{"))
		for _, options := range fuzzOptions {
			e := newEncoder(t, options)
			b, info := e.AppendRecord(nil, record, &Source{Tenant: "t"})
			event := decodeEvent(t, b)
			_, hasError := event.values[e.added.err]
			if hasError == isObject || isObject != (info.Unreadable == "") {
				t.Errorf("%+v: a JSON object: %t, o365_error: %t, unreadable: %q", options, isObject, hasError, info.Unreadable)
			}
			if !isObject {
				continue
			}
			for _, key := range []string{"o365_overflow", "o365.overflow", options.RawKey} {
				if text, ok := event.values[key].(string); ok && key != "" && (!json.Valid([]byte(text)) || strings.Contains(text, "\n")) {
					t.Errorf("%s is not JSON on one line: %q", key, text)
				}
			}
			switch options.Format {
			case FormatRaw:
				checkSameJSON(t, event.values["message"].(string), record)
			case FormatFortiSIEM:
				line, ok := strings.CutPrefix(event.values["message"].(string), "[OFFICE365_EVENT_DATA] = ")
				if !ok || !json.Valid([]byte(line)) {
					t.Errorf("not a line of FortiSIEM: %s", line)
				}
			}
		}
	})
}

// checkSameJSON compares two JSON texts through json-iterator.
func checkSameJSON(t *testing.T, got string, want []byte) {
	t.Helper()
	if !utf8.Valid(want) || bytes.Count(want, []byte("{"))+bytes.Count(want, []byte("[")) > 1000 {
		return // json-iterator keeps bytes that are not UTF-8, and stops at a depth of 10,000
	}
	api := jsoniter.Config{UseNumber: true, SortMapKeys: true}.Froze()
	var gotValue, wantValue any
	if err := api.Unmarshal(want, &wantValue); err != nil {
		return // it is stricter than RFC 8259 in places
	}
	if err := api.UnmarshalFromString(got, &gotValue); err != nil {
		t.Fatal(err)
	}
	gotText, _ := api.MarshalToString(gotValue)
	wantText, _ := api.MarshalToString(wantValue)
	if gotText != wantText {
		t.Errorf("got %s, want %s", gotText, wantText)
	}
}
