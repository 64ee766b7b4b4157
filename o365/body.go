package o365

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// rawBuffer is what is read of a gzip body at once.
const rawBuffer = 32 << 10

// A body is the decoded body of an answer: without content encoding and byte
// order mark, watched for silence, and ending in io.EOF only when it is as
// long as announced.
type body struct {
	raw     io.ReadCloser
	watch   *silenceWatch
	want    int64         // bytes still to come from raw; -1 when unknown
	zipped  bool          // raw is gzip
	decoded *bufio.Reader // nil before the first Read
	err     error         // raw is not the gzip it claims to be
}

func openBody(res *http.Response, watch *silenceWatch) *body {
	zipped := strings.EqualFold(res.Header.Get("Content-Encoding"), "gzip")
	return &body{raw: res.Body, watch: watch, want: res.ContentLength, zipped: zipped}
}

func (b *body) Read(p []byte) (int, error) {
	if b.decoded == nil && b.err == nil {
		b.err = b.begin()
	}
	if b.err != nil {
		return 0, b.err
	}
	return b.decoded.Read(p)
}

func (b *body) begin() error {
	var src io.Reader = rawBody{b}
	if b.zipped {
		z, err := gzip.NewReader(bufio.NewReaderSize(src, rawBuffer))
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF // not even a header
		}
		if err != nil {
			return err
		}
		src = z
	}
	b.decoded = bufio.NewReader(src)
	// An error of Peek comes again with the next Read.
	if mark, _ := b.decoded.Peek(3); string(mark) == "\xef\xbb\xbf" {
		_, _ = b.decoded.Discard(3)
	}
	return nil
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
