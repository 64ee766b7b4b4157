package o365

import (
	"bytes"
	"context"
	"io"
	"net/http"
)

// OpenBlob fetches a blob: a JSON array of audit records, or rarely a single
// record, of any size. The body is streamed and decoded on the way. Each Read
// waits for the server no longer than Options.BodyIdleTimeout; the whole may
// take any time. A body that is shorter than announced makes Read fail with an
// *Error rather than io.EOF; whether the JSON is whole is for its reader to see.
// The caller closes it.
//
// A blob whose URI points to another host is refused with Reconfigure, not
// GiveUp: nothing says that it is gone, and it can be fetched once the API
// endpoint is set right.
func (c *Client) OpenBlob(ctx context.Context, b Blob) (io.ReadCloser, error) {
	u, err := c.follow(opFetch, b.URI)
	if err != nil {
		return nil, err
	}
	res, err := c.do(ctx, opFetch, http.MethodGet, u)
	if err != nil {
		return nil, err
	}
	return &blobReader{body: res.Body, status: res.StatusCode}, nil
}

// maxErrorDocument is the size up to which a document is looked at for being an error instead of a blob.
const maxErrorDocument = 4 << 10

// A blobReader passes the body on and makes an *Error of what goes wrong in it.
type blobReader struct {
	body   io.ReadCloser
	status int
	looked bool
	head   []byte // what was looked at and has not been passed on
	err    error  // of the body, final
}

func (r *blobReader) Read(p []byte) (n int, err error) {
	if !r.looked {
		r.looked = true
		r.look()
	}
	if len(r.head) > 0 {
		n = copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	return r.read(p)
}

func (r *blobReader) read(p []byte) (n int, err error) {
	if r.err == nil {
		n, r.err = r.body.Read(p)
		if r.err != nil && r.err != io.EOF {
			r.err = &Error{Op: opRead, Status: r.status, Err: r.err}
		}
	}
	return n, r.err
}

// look reads the head of the body to find an error that was sent with a good status: a small document that is one object, names an
// error, and has no Id.
func (r *blobReader) look() {
	head := make([]byte, maxErrorDocument)
	size := 0
	for size < len(head) && r.err == nil {
		n, _ := r.read(head[size:])
		size += n
	}
	r.head = head[:size]
	if r.err != io.EOF || !bytes.HasPrefix(bytes.TrimSpace(r.head), []byte("{")) || bytes.Contains(r.head, []byte(`"Id"`)) {
		return
	}
	e := &Error{Op: opFetch, Status: r.status}
	if e.Code, e.Message = parseErrorBody(r.head); e.Code != "" || e.Message != "" {
		classify(e)
		r.head, r.err = nil, e
	}
}

func (r *blobReader) Close() error { return r.body.Close() }
