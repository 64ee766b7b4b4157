package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math"
	"strings"

	kgzip "github.com/klauspost/compress/gzip"

	"in_office365/o365/gunzip"
)

// resetReader is a gzip reader that is used again.
type resetReader interface {
	io.Reader
	Reset(io.Reader) error
}

// resetGunzip is ours, whose Reset looks at nothing and so cannot fail.
type resetGunzip struct{ gunzip.Reader }

func (r *resetGunzip) Reset(src io.Reader) error {
	r.Reader.Reset(src)
	return nil
}

// compareGunzips tells how fast a compressed blob is read, which normalize does not see.
func compareGunzips(rounds int) (string, error) {
	const records = 2000
	b := blobOf(mixed, records, math.MaxInt, appendMixed)
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := io.WriteString(w, b.text); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	all := []contestant{
		gunzipContestant("compress/gzip", new(gzip.Reader), z.Bytes()),
		gunzipContestant("klauspost/compress", new(kgzip.Reader), z.Bytes()),
		gunzipContestant("ours", new(resetGunzip), z.Bytes()),
	}
	r, err := measure(all, b, rounds)
	if err != nil {
		return "", err
	}
	speeds := make([]string, len(all))
	for i, c := range all {
		speeds[i] = fmt.Sprintf("%s %.0f", c.name, r.speed(i)/1e6)
	}
	ours := len(all) - 1
	return fmt.Sprintf("gunzip, MB of JSON a second, compressed to %.0f %%: %s; ours is %.1f and %.1f times as fast", 100*float64(z.Len())/float64(len(b.text)),
		strings.Join(speeds, ", "), r.ratio(ours, 0).fastest, r.ratio(ours, 1).fastest), nil
}

func gunzipContestant(name string, r resetReader, z []byte) contestant {
	return contestant{name: name, new: func(b blob) runner {
		src, buffer := bytes.NewReader(nil), make([]byte, 64<<10)
		return func() error {
			src.Reset(z)
			if err := r.Reset(src); err != nil {
				return err
			}
			read := 0
			for {
				n, err := r.Read(buffer)
				if read += n; err == io.EOF && read == len(b.text) {
					return nil
				}
				if err != nil {
					return fmt.Errorf("%d bytes of %d: %w", read, len(b.text), err)
				}
			}
		}
	}}
}
