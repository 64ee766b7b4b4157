package normalize

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the events of the golden files as they are now")

// testNow is what time it is in tests.
var testNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// golden is a file of testdata/golden: a comment, options, a record and the event that it gives.
//
//	what this shows
//	-- options --
//	separator :
//	-- record --
//	{"CreationTime":"2026-01-01T00:00:00"}
//	-- event --
//	time 2026-01-01T00:00:00Z
//
// A record whose bytes cannot stand in a text file is in a section "quoted record" as a Go string.
type golden struct {
	head    string // all before the event
	options Options
	source  Source
	record  []byte
	event   string
}

func readGolden(t testing.TB, name string) golden {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const eventMark = "-- event --\n"
	head, event, ok := strings.Cut(string(b), eventMark)
	if !ok {
		t.Fatalf("%s has no event", name)
	}
	g := golden{head: head + eventMark, event: event, options: Options{Now: func() time.Time { return testNow }}}
	_, rest, _ := strings.Cut(head, "-- options --\n")
	options, record, plain := strings.Cut(rest, "-- record --\n")
	if !plain {
		options, record, ok = strings.Cut(rest, "-- quoted record --\n")
		if !ok {
			t.Fatalf("%s has no record", name)
		}
		if record, err = strconv.Unquote(strings.TrimSpace(record)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	g.record = []byte(strings.TrimSuffix(record, "\n"))
	for line := range strings.Lines(options) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if err := g.option(key, value); err != nil {
			t.Fatalf("%s: %s: %v", name, key, err)
		}
	}
	return g
}

func (g *golden) option(key, value string) (err error) {
	o := &g.options
	switch key {
	case "format":
		o.Format = map[string]Format{"flat": FormatFlat, "raw": FormatRaw, "fortisiem": FormatFortiSIEM}[value]
	case "separator":
		o.Separator = value[0]
	case "nulls":
		o.KeepNulls = value == "keep"
	case "name_value":
		o.NameValueColumns = value == "columns"
	case "expand_json":
		o.ExpandJSON = strings.Fields(value)
	case "max_keys":
		o.MaxKeys, err = strconv.Atoi(value)
	case "raw_key":
		o.RawKey = value
	case "event_tag":
		o.EventTag = value
	case "phcustid":
		o.PhCustID, err = strconv.ParseInt(value, 10, 64)
	case "redact_dlp":
		o.RedactDLP = value == "on"
	case "tenant":
		g.source.Tenant = value
	case "content_type":
		g.source.ContentType = value
	case "created":
		g.source.Created, err = time.Parse(time.RFC3339, value)
	default:
		err = fmt.Errorf("no such option")
	}
	return err
}

func goldenFiles(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	return names
}

func TestGolden(t *testing.T) {
	for _, name := range goldenFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			g := readGolden(t, name)
			e := newEncoder(t, g.options)
			before := []byte("what stood before")
			b, _ := e.AppendRecord(before, g.record, &g.source)
			b, ok := bytes.CutPrefix(b, before)
			if !ok {
				t.Fatal("AppendRecord changed what stood before")
			}
			got := decodeEvent(t, b).String()
			if *update {
				if err := os.WriteFile(name, []byte(g.head+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != g.event {
				t.Errorf("got\n%s\nwant\n%s", got, g.event)
			}
		})
	}
}

func newEncoder(t testing.TB, options Options) *Encoder {
	t.Helper()
	if options.Now == nil {
		options.Now = func() time.Time { return testNow }
	}
	e, err := NewEncoder(options)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
