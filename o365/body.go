package o365

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"in_office365/o365/gunzip"
)

// A body is the decoded body of an answer: without content encoding and byte
// order mark, watched for silence, and ending in io.EOF only when it is as
// long as announced.
type body struct {
	raw     io.ReadCloser
	watch   *silenceWatch
	want    int64          // bytes still to come from raw; -1 when unknown
	gunzip  *gunzip.Reader // nil: raw is not gzip
	gunzips *sync.Pool     // where gunzip goes when the body was read to its end, or to an error
	decoded *bufio.Reader
	begun   bool
	taken   int64 // bytes from raw
	given   int64 // bytes decoded
	err     error // final
}

// Audit records shrink to a tenth or so. What expands much more, and not just for a moment, was made to keep the reader busy: deflate comes to 1,032
// at most (https://zlib.net/zlib_tech.html).
const (
	maxExpansion  = 500
	freeExpansion = 64 << 20 // bytes decoded before anything is said
)

var errExpansion = fmt.Errorf("the gzip data expands more than %d times, which no audit records do", maxExpansion)

func openBody(res *http.Response, watch *silenceWatch, gunzips *sync.Pool) *body {
	b := &body{raw: res.Body, watch: watch, want: res.ContentLength, gunzips: gunzips}
	var src io.Reader = rawBody{b}
	if strings.EqualFold(res.Header.Get("Content-Encoding"), "gzip") {
		b.gunzip = gunzips.Get().(*gunzip.Reader)
		b.gunzip.Reset(src)
		src = b.gunzip
	}
	b.decoded = bufio.NewReader(src)
	return b
}

// newGunzips returns what gunzip.Readers are taken from and put back to: one is as large as many a body.
func newGunzips() *sync.Pool { return &sync.Pool{New: func() any { return new(gunzip.Reader) }} }

func (b *body) Read(p []byte) (n int, err error) {
	if b.err != nil {
		return 0, b.err
	}
	if !b.begun {
		b.begun = true
		// An error of Peek comes again with the next Read.
		if mark, _ := b.decoded.Peek(3); string(mark) == "\xef\xbb\xbf" {
			_, _ = b.decoded.Discard(3)
		}
	}
	n, b.err = b.decoded.Read(p)
	if b.given += int64(n); b.err == nil && b.given > freeExpansion && b.given > maxExpansion*b.taken {
		b.err = errExpansion
	}
	if b.err != nil && b.gunzip != nil {
		b.gunzip.Reset(nil)
		b.gunzips.Put(b.gunzip)
		b.gunzip, b.decoded = nil, nil
	}
	return n, b.err
}

func (b *body) Close() error {
	b.watch.end()
	return b.raw.Close()
}

// rawBody reads the bytes as they came.
type rawBody struct{ *body }

func (b rawBody) Read(p []byte) (int, error) {
	b.watch.expect()
	n, err := b.raw.Read(p)
	b.watch.rest()
	b.taken += int64(n)
	if b.want >= 0 {
		b.want -= int64(n)
	}
	switch {
	case err == io.EOF && b.want > 0:
		err = io.ErrUnexpectedEOF
	case err != nil && err != io.EOF:
		err = b.watch.explain(err)
	}
	return n, err
}
