package o365

import (
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

// A blobReader makes an *Error of what goes wrong in the body.
type blobReader struct {
	body   io.ReadCloser
	status int
	err    error // final
}

func (r *blobReader) Read(p []byte) (n int, err error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err = r.body.Read(p)
	if err != nil && err != io.EOF {
		err = &Error{Op: opRead, Status: r.status, Err: err}
	}
	r.err = err
	return n, err
}

func (r *blobReader) Close() error { return r.body.Close() }
