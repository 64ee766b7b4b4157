package tenant

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// breakage is how a body ends before its time.
type breakage int

const (
	unbroken   breakage = iota
	connection          // the connection breaks
	early               // the answer ends as if complete
	stall               // nothing more comes until the client leaves
	garbage             // bytes that no gzip reader takes, then the answer ends
)

// pieceSize is in what pieces a body is sent: those of TLS (RFC 8446, section 5.1). net/http alone would make them smaller than a segment.
const pieceSize = 16 << 10

var errBroken = errors.New("body broken off by a fault")

// writeBody sends an answer of status 200 with the body that write makes, compressed if the client takes it, and
// broken off where the call's faults say.
func (c *call) writeBody(contentType string, write func(io.Writer) error) {
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	length := int64(-1)
	compress := (c.config.Gzip || c.plan.breakage == garbage) && strings.Contains(c.r.Header.Get("Accept-Encoding"), "gzip")
	if c.plan.lengthOff != 0 {
		compress = false
		var n counter
		_ = write(&n) // a counter takes everything
		length = max(0, int64(n)+c.plan.lengthOff)
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	if compress {
		h.Set("Content-Encoding", "gzip")
	}
	c.w.WriteHeader(http.StatusOK)
	c.bodyBegun = true

	out := io.Writer(c.w)
	if length >= 0 { // net/http's server takes no more than was announced
		out = &limited{w: out, left: length}
	}
	if c.plan.breakage != unbroken {
		out = &limited{w: out, left: c.plan.breakAfter}
	}
	pieces := bufio.NewWriterSize(out, pieceSize)
	var err error
	if compress {
		z := gzip.NewWriter(pieces)
		if err = write(z); err == nil && c.plan.breakage == unbroken {
			err = z.Close()
		} else if err == nil {
			err = z.Flush() // without the trailer: what follows is broken
		}
	} else {
		err = write(pieces)
	}
	err = errors.Join(err, pieces.Flush())
	if err != nil && !errors.Is(err, errBroken) {
		return // the client has left
	}
	switch c.plan.breakage {
	case connection:
		_ = http.NewResponseController(c.w).Flush() // what precedes the break is to arrive
		panic(http.ErrAbortHandler)
	case stall:
		_ = http.NewResponseController(c.w).Flush()
		c.leave()
		panic(http.ErrAbortHandler)
	case garbage:
		_, _ = io.WriteString(c.w, strings.Repeat("\xff", 64)) // a deflate block of the reserved type 3 (RFC 1951, 3.2.3)
	case early:
		c.complete = err == nil && !compress
	default:
		c.complete = c.plan.lengthOff == 0
	}
}

// counter counts what is written to it.
type counter int64

func (n *counter) Write(p []byte) (int, error) { *n += counter(len(p)); return len(p), nil }

// limited passes on its first bytes and then fails with errBroken.
type limited struct {
	w    io.Writer
	left int64
}

func (l *limited) Write(p []byte) (int, error) {
	if int64(len(p)) <= l.left {
		l.left -= int64(len(p))
		return l.w.Write(p)
	}
	n, err := l.w.Write(p[:l.left])
	l.left = 0
	if err == nil {
		err = errBroken
	}
	return n, err
}
