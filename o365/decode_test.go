package o365

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"testing/iotest"
)

// However the bytes of a listing arrive, the streaming reader finds the blobs
// that encoding/json finds, and takes no part of a listing for a whole one.
func FuzzListing(f *testing.F) {
	for _, seed := range []string{
		"[]", `[{"contentId":"a","contentUri":"u","contentCreated":"2026-03-01T12:00:00.000Z"}]`,
		`[ {"contentId":"b","contentUri":"https://x/a$b"},{"contentId":"c","contentUri":"\u00e9\n","z":[{"y":[-1.5e3,true,null]}]}]`,
		"null", "[", "[{}]", "[[]]", `{"error":{"code":"AF50000"}}`, "[]x", "\x00",
	} {
		f.Add([]byte(seed))
	}
	c := &Client{}
	decode := func(r io.Reader) ([]Blob, error) {
		return c.decodeBlobs(AuditGeneral, &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(r)})
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := decode(bytes.NewReader(text))
		got1, err1 := decode(iotest.OneByteReader(bytes.NewReader(text)))
		for _, b := range got {
			if b.ID == "" || b.URI == "" || b.Created.IsZero() || b.Expires.IsZero() {
				t.Errorf("incomplete: %#v", b)
			}
		}

		var want []struct{ ContentID, ContentURI, ContentCreated, ContentExpiration string }
		if text = bytes.TrimSpace(text); json.Unmarshal(text, &want) != nil || text[0] != '[' {
			return
		}
		for _, w := range want {
			if w.ContentID == "" || w.ContentURI == "" {
				return
			}
		}
		if err != nil || err1 != nil || len(got) != len(want) || len(got1) != len(want) {
			t.Errorf("got %d blobs, %v; byte by byte %d, %v; want %d", len(got), err, len(got1), err1, len(want))
		}
		for _, part := range [][]byte{text[:len(text)-1], text[:len(text)/2]} {
			if _, err := decode(bytes.NewReader(part)); err == nil {
				t.Errorf("took %q for a whole listing", part)
			}
		}
	})
}
