package tenant

import (
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// RoundTripper reaches the tenant in memory, whatever the host of the URL.
func (t *Tenant) RoundTripper() http.RoundTripper { return RoundTripper(t) }

// RoundTripper calls a handler in memory as http.Transport would over a connection: the body streams as it is read,
// gzip is asked for and undone if the caller does not ask itself, a handler that aborts or sends less than it
// announced is an unexpected end. The handler runs in a goroutine that has ended when the body has been read to its
// end or closed, or when the request's context has ended.
func RoundTripper(h http.Handler) http.RoundTripper { return memory{h} }

type memory struct{ handler http.Handler }

func (m memory) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	in := r.Clone(ctx)
	if in.Host == "" {
		in.Host = in.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI = in.URL.RequestURI()
	in.RemoteAddr = "192.0.2.1:1234"
	undo := in.Header.Get("Accept-Encoding") == "" && in.Method != http.MethodHead
	if undo {
		in.Header.Set("Accept-Encoding", "gzip")
	}

	reader, writer := io.Pipe()
	x := &exchange{header: http.Header{}, begun: make(chan struct{}), done: make(chan struct{}), pipe: writer, left: -1, bodiless: in.Method == http.MethodHead}
	stop := context.AfterFunc(ctx, func() { writer.CloseWithError(ctx.Err()) })
	go func() {
		defer close(x.done)
		defer cancel()
		defer stop()
		defer in.Body.Close()
		x.run(m.handler, in)
	}()
	select {
	case <-x.begun:
	case <-x.done:
	case <-ctx.Done():
		<-x.done
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
	}
	if x.status == 0 {
		return nil, io.ErrUnexpectedEOF // aborted before it answered
	}
	response := &http.Response{
		Status:     fmt.Sprintf("%d %s", x.status, http.StatusText(x.status)),
		StatusCode: x.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        x.sent,
		ContentLength: x.length,
		Body:          &body{reader: reader, pipe: reader, cancel: cancel, done: x.done},
		Request:       r,
	}
	if undo && x.sent.Get("Content-Encoding") == "gzip" {
		response.Header.Del("Content-Encoding")
		response.Header.Del("Content-Length")
		response.ContentLength = -1
		response.Uncompressed = true
		response.Body.(*body).reader = &gunzip{compressed: reader}
	}
	return response, nil
}

// exchange is one answer on its way: the http.ResponseWriter of the handler's goroutine.
type exchange struct {
	header      http.Header
	begun, done chan struct{}
	pipe        *io.PipeWriter
	status      int
	sent        http.Header // header at the time of WriteHeader
	length      int64       // announced; -1: not
	left        int64       // of length
	bodiless    bool        // the answer to a HEAD
}

func (x *exchange) run(h http.Handler, r *http.Request) {
	defer func() {
		switch p := recover(); {
		case p == http.ErrAbortHandler || p == nil && x.left > 0 && !x.bodiless:
			x.pipe.CloseWithError(cmp.Or(r.Context().Err(), io.ErrUnexpectedEOF))
		case p != nil:
			panic(p)
		default:
			x.pipe.Close()
		}
	}()
	h.ServeHTTP(x, r)
	x.WriteHeader(http.StatusOK)
}

func (x *exchange) Header() http.Header { return x.header }

func (x *exchange) WriteHeader(status int) {
	if x.status != 0 {
		return
	}
	x.sent = x.header.Clone()
	x.length = -1
	if n, err := strconv.ParseInt(x.sent.Get("Content-Length"), 10, 64); err == nil {
		x.length = n
	}
	x.left = x.length
	x.status = status
	close(x.begun)
}

func (x *exchange) Write(p []byte) (int, error) {
	x.WriteHeader(http.StatusOK)
	if x.bodiless {
		return len(p), nil
	}
	if x.length < 0 {
		return x.pipe.Write(p)
	}
	part := p[:min(int64(len(p)), x.left)]
	n, err := x.pipe.Write(part)
	x.left -= int64(n)
	if err == nil && len(part) < len(p) {
		err = http.ErrContentLength
	}
	return n, err
}

// Flush sends the header. Bodies are not held back.
func (x *exchange) Flush() { x.WriteHeader(http.StatusOK) }

// body is what the client reads.
type body struct {
	reader io.Reader
	pipe   *io.PipeReader
	cancel context.CancelFunc
	done   <-chan struct{}
}

func (b *body) Read(p []byte) (int, error) { return b.reader.Read(p) }

func (b *body) Close() error {
	b.cancel()
	err := b.pipe.Close()
	<-b.done
	return err
}

// gunzip decompresses from the first Read on, as http.Transport does.
type gunzip struct {
	compressed io.Reader
	z          *gzip.Reader
	err        error
}

func (g *gunzip) Read(p []byte) (int, error) {
	if g.z == nil && g.err == nil {
		g.z, g.err = gzip.NewReader(g.compressed)
	}
	if g.err != nil {
		return 0, g.err
	}
	return g.z.Read(p)
}
