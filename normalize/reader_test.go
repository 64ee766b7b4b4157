package normalize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// readAll gives every record of a blob as text, problems as "!problem: bytes", and the error that ended it.
func readAll(r *Reader) (records []string, err error) {
	for {
		record, err := r.Next()
		if err != nil {
			return records, err
		}
		if record.Problem == "" {
			records = append(records, string(record.Bytes))
		} else {
			records = append(records, fmt.Sprintf("!%s: %s", record.Problem, record.Bytes))
		}
	}
}

const (
	missing   = "!there is nothing between two commas of the content blob, or beside one: "
	uncertain = "!a record is broken such that its end is not certain; nothing behind it is read: "
	behind    = "!the content blob is broken behind a record; nothing behind it is read: "
	garbage   = "!there is data behind the end of the content blob; nothing behind it is read: "
	tooLarge  = "!the record is larger than max_record_size, 20 bytes"
)

var readerTests = []struct {
	what, blob string
	want       []string
	err        error
}{
	{"an array", `[{"a":1},{"b":"]},{"}]`, []string{`{"a":1}`, `{"b":"]},{"}`}, io.EOF},
	{"white space and a byte order mark", "\ufeff \r\n[\t{ \"a\" : 1 }\n,\n{}\n]\n ", []string{`{ "a" : 1 }`, `{}`}, io.EOF},
	{"an empty array", " [ ] ", nil, io.EOF},
	{"one object", ` {"a":[1,{"b":"\"}"}]} `, []string{`{"a":[1,{"b":"\"}"}]}`}, io.EOF},
	{"elements that are no objects", `[1,"x",null,[{}],{}]`, []string{"1", `"x"`, "null", "[{}]", "{}"}, io.EOF},

	{"wrong numbers, literals and escapes, missing values and commas too many have a certain end", `[{"a":01},{"b":tru},{"c":"\x"},{"d":1,},{"e":},{"f":[1,,2]},{}]`,
		[]string{`{"a":01}`, `{"b":tru}`, `{"c":"\x"}`, `{"d":1,}`, `{"e":}`, `{"f":[1,,2]}`, "{}"}, io.EOF},
	{"a missing closing quote of a value", `[{"a":"x,"b":"y"},{}]`, []string{uncertain + `{"a":"x,"b":"y"},{}]`}, io.EOF},
	{"a missing closing quote before a brace", `[{"a":"x},{"b":"y"}]`, []string{uncertain + `{"a":"x},{"b":"y"}]`}, io.EOF},
	{"a missing opening quote of a value", `[{"a":x","b":1},{}]`, []string{uncertain + `{"a":x","b":1},{}]`}, io.EOF},
	{"a missing opening quote of a name", `[{a":1},{}]`, []string{uncertain + `{a":1},{}]`}, io.EOF},
	{"a missing closing quote of a name", `[{"a:",},{"x":1},{"":""},{}]`, []string{uncertain + `{"a:",},{"x":1},{"":""},{}]`}, io.EOF},
	{"a missing quote around nothing", `[{"a":","b":""},{}]`, []string{uncertain + `{"a":","b":""},{}]`}, io.EOF},
	{"a quote within a string", `[{"a":"x"y"},{}]`, []string{uncertain + `{"a":"x"y"},{}]`}, io.EOF},
	{"a control byte in a string", "[{},{\"a\":\"x\ny\"},{}]", []string{"{}", uncertain + "{\"a\":\"x\ny\"},{}]"}, io.EOF},
	{"two tokens without a comma", `[{"a":1 2},{}]`, []string{uncertain + `{"a":1 2},{}]`}, io.EOF},
	{"two members without a comma", `[{"a":{}"b":1},{}]`, []string{uncertain + `{"a":{}"b":1},{}]`}, io.EOF},
	{"a colon in an array", `[[1:2],{}]`, []string{uncertain + `[1:2],{}]`}, io.EOF},
	{"brackets that do not match", `[{"a":[1}],{}]`, []string{uncertain + `{"a":[1}],{}]`}, io.EOF},
	{"no comma between records", `[{"a":1} {"b":1}]`, []string{`{"a":1}`, behind + `{"b":1}]`}, io.EOF},
	{"a bracket too many", `[{"a":1}},{"b":1}]`, []string{`{"a":1}`, behind + `},{"b":1}]`}, io.EOF},
	{"nothing between commas", `[,{},,,{},]`, []string{missing, `{}`, missing, `{}`, missing}, io.EOF},
	{"only commas", `[,,]`, []string{missing}, io.EOF},
	{"data behind the array", `[{}] {"a":1}`, []string{`{}`, garbage + `{"a":1}`}, io.EOF},
	{"lines of objects are no array", "{\"a\":1}\n{\"b\":1}\n", []string{`{"a":1}`, garbage + "{\"b\":1}\n"}, io.EOF},

	{"a record over the limit", `[{},{"a":"0123456789abcdef"},{"b":1}]`, []string{`{}`, tooLarge + `: {"a":"0123456789abcdef"}`, `{"b":1}`}, io.EOF},
	{"a record of exactly the limit", `[{"a":"0123456789ab"}]`, []string{`{"a":"0123456789ab"}`}, io.EOF},
	{"a text over the limit", `["0123456789abcdefghij"]`, []string{tooLarge + `: "0123456789abcdefghij"`}, io.EOF},

	{"nothing", "", nil, ErrTruncated},
	{"white space", " \n", nil, ErrTruncated},
	{"an open array", `[{"a":1}`, []string{`{"a":1}`}, ErrTruncated},
	{"an open array behind a comma", `[{"a":1}, `, []string{`{"a":1}`}, ErrTruncated},
	{"an open record", `[{"a":1},{"b":"x`, []string{`{"a":1}`}, ErrTruncated},
	{"an open escape", `[{"b":"x\`, nil, ErrTruncated},
	{"an open number", `[12`, nil, ErrTruncated},
	{"a page of HTML", "<html>", nil, ErrNotJSON},
	{"two byte order marks", "\ufeff\ufeff[]", nil, ErrNotJSON},
	{"half a byte order mark", "\xEF\xBBx[]", nil, ErrNotJSON},
}

const testMaxRecord = 20

func TestReader(t *testing.T) {
	for _, test := range readerTests {
		t.Run(test.what, func(t *testing.T) {
			blob := test.blob
			limit := testMaxRecord
			if !strings.Contains(test.what, "limit") {
				limit = 0
			}
			for how, source := range map[string]func(io.Reader) io.Reader{
				"whole":                  func(src io.Reader) io.Reader { return src },
				"byte by byte":           iotest.OneByteReader,
				"the end with the bytes": iotest.DataErrReader,
			} {
				for whose, newReader := range map[string]func(io.Reader, int) *Reader{
					"a reader":            NewReader,
					"an encoder's reader": newEncoder(t, Options{}).NewReader,
				} {
					r := newReader(source(strings.NewReader(blob)), limit)
					got, err := readAll(r)
					if !slices.Equal(got, test.want) || !errors.Is(err, test.err) {
						t.Errorf("%s, %s: got %q, %v\nwant %q, %v", whose, how, got, err, test.want, test.err)
					}
					if _, again := r.Next(); again != err {
						t.Errorf("%s, %s: after %v Next returned %v", whose, how, err, again)
					}
				}
			}
		})
	}
}

func TestReaderIsTruncatedAsUnexpectedEOF(t *testing.T) {
	r := NewReader(strings.NewReader(`[{"a":1},{"b":"x`), 0)
	_, err := readAll(r)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	if got, want := string(r.Rest()), `{"b":"x`; got != want {
		t.Errorf("got rest %q, want %q", got, want)
	}
}

func TestReaderWrapsErrorsOfTheSource(t *testing.T) {
	broken := errors.New("connection reset")
	for _, blob := range []string{"", "[", `[{"a":1}`, `[{"a":"x"y"},`, `[] x`} {
		r := NewReader(io.MultiReader(strings.NewReader(blob), iotest.ErrReader(broken)), 0)
		if _, err := readAll(r); !errors.Is(err, broken) || err == broken {
			t.Errorf("%q: got %v, want it wrapped", blob, err)
		}
	}
	r := NewReader(iotest.ErrReader(nil), 0) // reads nothing, for ever
	if _, err := readAll(r); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v, want %v", err, io.ErrNoProgress)
	}
}

// endless gives a pattern n times.
type endless struct {
	pattern string
	n       int
	rest    string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.rest == "" {
		if e.n == 0 {
			return 0, io.EOF
		}
		e.n--
		e.rest = e.pattern
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

func TestReaderHoldsNoMoreThanTheLimitAndAWindow(t *testing.T) {
	const limit, pieces = 100 << 10, 4 << 10
	piece := strings.Repeat("é", 4<<10)
	for _, test := range []struct {
		what, begin, pattern, end string
		want                      []string
	}{
		{"a large record", `[{"a":"`, piece, `"},{"b":1}]`, []string{"the record is larger than max_record_size", `{"b":1}`}},
		{"a large broken record", `[{"a" "`, piece, `"},{"b":1}]`, []string{"a record is broken"}},
		{"data behind the array", `[]`, piece, ``, []string{"there is data behind"}},
	} {
		e := newEncoder(t, Options{})
		r := e.NewReader(io.MultiReader(strings.NewReader(test.begin), &endless{pattern: test.pattern, n: pieces}, strings.NewReader(test.end)), limit)
		for _, want := range test.want {
			record, err := r.Next()
			if err != nil {
				t.Fatalf("%s: %v", test.what, err)
			}
			if record.Problem == "" && string(record.Bytes) != want || !strings.HasPrefix(record.Problem+string(record.Bytes), want) {
				t.Errorf("%s: got %q %.20q, want %q", test.what, record.Problem, record.Bytes, want)
			}
			if record.Problem != "" {
				if record.Size < int64(pieces*len(piece)) || len(record.Bytes) > MaxRawBytes || len(record.Bytes) < MaxRawBytes-1 {
					t.Errorf("%s: size %d, %d bytes kept", test.what, record.Size, len(record.Bytes))
				}
				if !strings.Contains(record.Problem, fmt.Sprintf("the first %d of %d bytes are kept", len(record.Bytes), record.Size)) {
					t.Errorf("%s: the problem does not tell what is kept: %s", test.what, record.Problem)
				}
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: got %v at the end", test.what, err)
		}
		if most := 4 * (limit + readWindow); cap(r.buf) > most {
			t.Errorf("%s: the window grew to %d bytes", test.what, cap(r.buf))
		}
		if cap(e.nodes) > keptNodes {
			t.Errorf("%s: the encoder holds %d nodes", test.what, cap(e.nodes))
		}
	}
}

// TestRecordsThatAreNotAppendedLeaveNothingBehind reads records of ever new names past their encoder.
func TestRecordsThatAreNotAppendedLeaveNothingBehind(t *testing.T) {
	const names = 1000
	blob := []byte{'['}
	for record := range 50 {
		blob = fmt.Appendf(blob, `{"a":%d`, record)
		for name := range names {
			blob = fmt.Appendf(blob, `,"n%d-%d":[%d]`, record, name, name)
		}
		blob = append(blob, "},"...)
	}
	e := newEncoder(t, Options{})
	r := e.NewReader(bytes.NewReader(append(blob, "{}]"...)), 0)
	for {
		if _, err := r.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if n := len(e.paths.paths); n > keptPaths+names+2 {
			t.Fatalf("%d paths are kept", n)
		}
	}
}

// TestReaderLeavesAPanicToItsEncoder breaks the encoder, and expects the reader to go on.
func TestReaderLeavesAPanicToItsEncoder(t *testing.T) {
	e := newEncoder(t, Options{})
	r := e.NewReader(strings.NewReader(`[{"a":1},{"b":2}]`), 0)
	e.paths.paths = nil
	if got, err := readAll(r); !slices.Equal(got, []string{`{"a":1}`, `{"b":2}`}) || err != io.EOF {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestReaderGivesUpOnBottomlessNesting(t *testing.T) {
	r := newEncoder(t, Options{}).NewReader(io.MultiReader(strings.NewReader(`[{"a":`), &endless{pattern: strings.Repeat("[", 1<<16), n: 32}), 1<<10)
	record, err := r.Next()
	if err != nil || record.Problem == "" {
		t.Errorf("got %v, %v, want a problem", record.Problem, err)
	}
	if cap(r.open) > 2*maxOpen {
		t.Errorf("%d brackets are held", cap(r.open))
	}
}

func TestReaderReset(t *testing.T) {
	r := newEncoder(t, Options{}).NewReader(strings.NewReader("<html>"), 0)
	if _, err := r.Next(); err != ErrNotJSON {
		t.Fatal(err)
	}
	r.Reset(strings.NewReader(`[{}]`))
	if got, err := readAll(r); !slices.Equal(got, []string{"{}"}) || err != io.EOF {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestEncoderTakesWhatItsReaderParsed checks that a record gives the same event whether its reader parsed it, another did, or none,
// and that other records may come between.
func TestEncoderTakesWhatItsReaderParsed(t *testing.T) {
	var records [][]byte
	for _, name := range goldenFiles(t) {
		if record := bytes.TrimSpace(readGolden(t, name).record); json.Valid(record) {
			records = append(records, record)
		}
	}
	blob := append(append([]byte{'['}, bytes.Join(records, []byte(" , "))...), ']')
	for _, options := range fuzzOptions {
		options.Now = func() time.Time { return time.Unix(minEventSecond, 0) }
		e, other := newEncoder(t, options), newEncoder(t, options)
		r := e.NewReader(bytes.NewReader(blob), 0)
		for i, record := range records {
			got, err := r.Next()
			if err != nil || !bytes.Equal(got.Bytes, record) {
				t.Fatalf("record %d: %q, %v", i, got.Bytes, err)
			}
			want, _ := other.AppendRecord(nil, record, nil)
			if i%3 == 1 {
				e.AppendRecord(nil, []byte(`{"a":1}`), nil)
			}
			for how, take := range []*Encoder{e, e, other} { // parsed, no longer parsed, parsed for another
				if event, _ := take.AppendRecord(nil, got.Bytes, nil); !bytes.Equal(event, want) {
					t.Errorf("%+v, record %d, encoder %d: got %q, want %q", options, i, how, event, want)
				}
			}
		}
	}
}

// FuzzReader checks that records do not depend on how the body comes in, and that nothing of it is lost: what is between the
// records is only white space, commas and the array's brackets.
func FuzzReader(f *testing.F) {
	for _, test := range readerTests {
		f.Add([]byte(test.blob))
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		want, wantErr := readAll(NewReader(bytes.NewReader(blob), testMaxRecord))
		r := NewReader(nil, testMaxRecord)
		check := func(how string, src io.Reader) {
			r.Reset(src)
			r.buf = r.buf[:8] // so that it has to grow
			got, err := readAll(r)
			if !slices.Equal(got, want) || err != wantErr {
				t.Errorf("%s: got %q, %v, want %q, %v", how, got, err, want, wantErr)
			}
		}
		for _, reader := range []*Reader{r, newEncoder(t, Options{}).NewReader(nil, testMaxRecord)} {
			r = reader
			check("byte by byte", iotest.OneByteReader(bytes.NewReader(blob)))
			for split := range min(len(blob), 60) {
				check(fmt.Sprint("split at ", split), io.MultiReader(bytes.NewReader(blob[:split]), bytes.NewReader(blob[split:])))
			}
		}

		var size int64
		r = NewReader(bytes.NewReader(blob), 0)
		left := blob
		for {
			record, err := r.Next()
			if err != nil {
				size += int64(len(r.Rest()))
				if errors.Is(err, ErrNotJSON) {
					return
				}
				break
			}
			size += record.Size
			at := bytes.Index(left, record.Bytes)
			if at < 0 {
				t.Fatalf("%q is not in the blob", record.Bytes)
			}
			left = left[at+len(record.Bytes):]
		}
		outside := bytes.Count(blob, []byte(" ")) + bytes.Count(blob, []byte("\n")) + bytes.Count(blob, []byte("\r")) + bytes.Count(blob, []byte("\t")) +
			bytes.Count(blob, []byte(",")) + len("[]") + len("\ufeff")
		if size+int64(outside) < int64(len(blob)) {
			t.Errorf("only %d of %d bytes came out", size, len(blob))
		}
	})
}
