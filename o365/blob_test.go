package o365_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"in_office365/o365"
)

func zipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.Bytes()
}

// send answers with these bytes and breaks the connection when fewer than
// length are there. length < 0: chunked.
func send(w http.ResponseWriter, text []byte, length int) {
	if length >= 0 {
		w.Header().Set("Content-Length", strconv.Itoa(length))
	}
	w.Write(text)
	w.(http.Flusher).Flush()
}

func TestOpenBlob(t *testing.T) {
	// Noise, so that gzip leaves something to cut.
	noise := rand.New(rand.NewPCG(1, 2))
	var records strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&records, `,{"Id":"%d","x":"%x"}`, i, noise.Uint64())
	}
	text := "[" + records.String()[1:] + "]"
	packed := zipped(text)
	broken := bytes.Clone(packed)
	broken[len(broken)/2] ^= 0xff

	gz := func(text []byte, length int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			send(w, text, length)
		}
	}
	plain := func(text string, length int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { send(w, []byte(text), length) }
	}
	abort := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			send(w, []byte(text), -1)
			panic(http.ErrAbortHandler)
		}
	}

	for _, tc := range []struct {
		name    string
		server  http.HandlerFunc
		want    string // when wantErr is empty
		wantErr string
	}{
		{"with a length", plain(text, len(text)), text, ""},
		{"without a length", plain(text, -1), text, ""},
		{"gzip", gz(packed, len(packed)), text, ""},
		{"with a byte order mark", plain("\xef\xbb\xbf"+text, -1), text, ""},
		{"in white space", plain(" \r\n[] \n", -1), " \r\n[] \n", ""},
		{"a single record", plain(`{"Id":"1"}`, -1), `{"Id":"1"}`, ""},

		{"shorter than its length", plain(text[:1000], len(text)), "", "unexpected EOF"},
		{"broken off", abort(text[:1000]), "", "unexpected EOF"},
		{"gzip cut short", gz(packed[:len(packed)/2], -1), "", "unexpected EOF"},
		{"gzip without its end", gz(packed[:len(packed)-4], -1), "", "unexpected EOF"},
		{"gzip broken", gz(broken, -1), "", ""},
		{"empty gzip", gz(nil, 0), "", "unexpected EOF"},
		{"no gzip at all", gz([]byte(text), -1), "", "gzip data is corrupt"},
		{"an error with a good status", plain(`{"error":{"code":"AF50000","message":"internal"}}`, -1), "", "AF50000: internal"},
		{"a record that has a message", plain(`{"Id":"1","Message":"hello"}`, -1), `{"Id":"1","Message":"hello"}`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, base := serve(t, tc.server)
			body, err := c.OpenBlob(t.Context(), o365.Blob{URI: base + "/audit/blob$1"})
			var got []byte
			if err == nil {
				defer body.Close()
				got, err = io.ReadAll(body)
			}
			if tc.want != "" {
				if err != nil || string(got) != tc.want {
					t.Errorf("got %d bytes, %v, want %d", len(got), err, len(tc.want))
				}
				return
			}
			if e := typed(t, err); e.Action != o365.Retry || !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("got %v: %v, want Retry: %s", e.Action, err, tc.wantErr)
			}
			if body != nil {
				if _, again := body.Read(make([]byte, 1)); again != err {
					t.Errorf("the next Read says %v", again)
				}
			}
		})
	}
}

// A length is checked even where the transport does not.
func TestOpenBlobOfTheWrongLength(t *testing.T) {
	for _, tc := range []struct {
		name, encoding string
		body           []byte
	}{
		{"plain", "", []byte("[]")},
		{"gzip", "gzip", zipped("[]")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := inMemory(t, nil, func(o *o365.Options) {
				o.HTTPClient = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: 200, Header: http.Header{"Content-Encoding": {tc.encoding}},
						ContentLength: int64(len(tc.body)) + 1, Body: io.NopCloser(bytes.NewReader(tc.body))}, nil
				})}
			})
			body, err := c.OpenBlob(t.Context(), o365.Blob{URI: "/audit/1"})
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if _, err = io.ReadAll(body); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %v, want an unexpected EOF", err)
			}
			typed(t, err)
		})
	}
}

// A gigabyte of blanks in a megabyte of gzip is not read to its end.
func TestOpenBlobEndsAnExpansionThatNoRecordsHave(t *testing.T) {
	bomb := bytes.Repeat(zipped(strings.Repeat(" ", 1<<20)), 1<<10)
	c := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		send(w, bomb, -1)
	})
	body, err := c.OpenBlob(t.Context(), o365.Blob{URI: "/audit/1"})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	n, err := io.Copy(io.Discard, body)
	if e := typed(t, err); e.Action != o365.Retry || !strings.Contains(err.Error(), "expands more than 500 times") || n > 100<<20 {
		t.Errorf("got %v after %d bytes", err, n)
	}
}

func TestOpenBlobFailures(t *testing.T) {
	for _, tc := range []struct {
		status int
		code   string
		want   o365.Action
	}{
		{404, "", o365.GiveUp},
		{410, "", o365.GiveUp},
		{400, "AF20050", o365.GiveUp},
		{400, "AF20051", o365.GiveUp},
		{400, "AF20052", o365.GiveUp},
		{500, "AF20051", o365.GiveUp},
		{404, "AF20011", o365.Reconfigure},
		{403, "AF429", o365.Throttle},
		{403, "", o365.Reconfigure},
		{408, "", o365.Retry},
		{500, "AF50000", o365.Retry},
		{502, "", o365.Retry},
		{400, "AF99999", o365.Retry},
	} {
		t.Run(fmt.Sprint(tc.status, " ", tc.code), func(t *testing.T) {
			c, base := serve(t, func(w http.ResponseWriter, r *http.Request) { fail(w, tc.status, tc.code, "x") })
			_, err := c.OpenBlob(t.Context(), o365.Blob{URI: base + "/audit/blob$1"})
			if e := typed(t, err); e.Action != tc.want || e.Status != tc.status || e.Code != tc.code {
				t.Errorf("got %#v, want %v", e, tc.want)
			}
		})
	}
}

// An explanation that cannot be read does not change what the status says.
func TestOpenBlobFailureWithoutExplanation(t *testing.T) {
	c, base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(http.StatusGone)
	}, func(o *o365.Options) {
		o.HTTPClient = &http.Client{Transport: &http.Transport{DisableCompression: true}}
	})
	_, err := c.OpenBlob(t.Context(), o365.Blob{URI: base + "/audit/1"})
	if e := typed(t, err); e.Action != o365.GiveUp {
		t.Errorf("got %#v, want GiveUp", e)
	}
}

// The token goes to the configured host only, and the blob is not given up.
func TestOpenBlobElsewhere(t *testing.T) {
	c := inMemory(t, func(http.ResponseWriter, *http.Request) { t.Error("called") })
	for _, uri := range []string{
		"https://manage.example.com/audit/1",
		"https://api.example.com.example.net/audit/1",
		"https://api.example.com@198.51.100.7/audit/1",
		"https://user@api.example.com/audit/1",
		"https://api.example.com:8443/audit/1",
		"http://api.example.com/audit/1",
		"//198.51.100.7/audit/1",
	} {
		_, err := c.OpenBlob(t.Context(), o365.Blob{URI: uri})
		if e := typed(t, err); e.Action != o365.Reconfigure || e.Hint == "" {
			t.Errorf("%s: got %v (%v), want Reconfigure", uri, err, e.Action)
		}
	}
	for _, uri := range []string{"", "https://%zz/", "\x00"} {
		_, err := c.OpenBlob(t.Context(), o365.Blob{URI: uri})
		if e := typed(t, err); e.Action != o365.Retry {
			t.Errorf("%q: got %v (%v), want Retry", uri, err, e.Action)
		}
	}
}

func TestOpenBlobOnTheSameHostInOtherWords(t *testing.T) {
	c := inMemory(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "[]") })
	for _, uri := range []string{"https://API.example.com/audit/1", "https://api.example.com:443/audit/1", "/audit/1"} {
		body, err := c.OpenBlob(t.Context(), o365.Blob{URI: uri})
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		body.Close()
	}
}

func TestClosedBlob(t *testing.T) {
	left := make(chan struct{})
	c, base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		send(w, []byte("["), -1)
		<-r.Context().Done()
		close(left)
	})
	body, err := c.OpenBlob(t.Context(), o365.Blob{URI: base + "/audit/blob$1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	<-left // closing early ends the transfer
	if _, err := body.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("Read after Close says %v", err)
	}
}
