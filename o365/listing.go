package o365

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"time"

	jsoniter "github.com/json-iterator/go"
)

const (
	// MaxWindow is the longest span of one listing. The API documents 24 hours,
	// but has refused exactly 24 and cut longer ones short in silence.
	MaxWindow = 23 * time.Hour
	// Retention is how long a blob can be listed after it became available.
	Retention = 7 * 24 * time.Hour
	// RetentionMargin is how much younger than Retention a window should begin:
	// the API compares with its own clock.
	RetentionMargin = 5 * time.Minute

	timeFormat = "2006-01-02T15:04:05" // UTC, no zone: the documented format

	// A page holds some hundred blobs of about 500 bytes; the largest tenants
	// publish some thousand blobs an hour. Beyond these limits the server errs.
	maxPageBody = 32 << 20 // bytes
	maxPages    = 10_000   // of one listing
)

// ListContent lists the blobs of a content type that became available in
// [from, to), and calls page with those of each page of the answer, in no
// certain order. from and to are cut to whole seconds and must be at most
// MaxWindow apart.
//
// The same blob may come more than once: the API repeats itself, and when it
// loses its place (AF20031) the listing begins anew, once. After an error the
// pages so far are good but the window is not complete. An error of page ends
// the listing and is returned as it is.
func (c *Client) ListContent(ctx context.Context, ct ContentType, from, to time.Time, page func([]Blob) error) error {
	from, to = from.UTC().Truncate(time.Second), to.UTC().Truncate(time.Second)
	if span := to.Sub(from); span <= 0 || span > MaxWindow {
		return &Error{Op: opList, Action: Rewindow, Err: fmt.Errorf("a window must be between 1s and %v long, not %v", MaxWindow, span)}
	}
	first := c.endpoint("subscriptions/content", url.Values{
		"contentType": {string(ct)},
		"startTime":   {from.Format(timeFormat)},
		"endTime":     {to.Format(timeFormat)},
	})
	lost, err := c.listPages(ctx, ct, first, page)
	if lost {
		_, err = c.listPages(ctx, ct, first, page)
	}
	return err
}

// listPages follows a listing to its end. lost reports that the API no longer
// knows the next page.
func (c *Client) listPages(ctx context.Context, ct ContentType, u *url.URL, page func([]Blob) error) (lost bool, err error) {
	seen := make(map[string]bool)
	for {
		res, err := c.do(ctx, opList, http.MethodGet, u)
		if err != nil {
			e, ok := errors.AsType[*Error](err)
			return ok && e.Code == codeBadPage && len(seen) > 0, err
		}
		blobs, err := c.decodeBlobs(ct, res)
		if err != nil {
			return false, err
		}
		if len(blobs) > 0 {
			if err := page(blobs); err != nil {
				return false, err
			}
		}
		// An older version of the API's documentation has NextPageUrl.
		next := cmp.Or(res.Header.Get("NextPageUri"), res.Header.Get("NextPageUrl"))
		switch {
		case next == "":
			return false, nil
		case seen[next]:
			return false, &Error{Op: opList, Err: errors.New("the listing leads back to a page it had before")}
		case len(seen)+1 >= maxPages:
			return false, &Error{Op: opList, Err: fmt.Errorf("the listing has more than %d pages", maxPages)}
		}
		seen[next] = true
		if u, err = c.follow(opList, next); err != nil {
			return false, err
		}
	}
}

func (c *Client) decodeBlobs(ct ContentType, res *http.Response) ([]Blob, error) {
	var blobs []Blob
	err := c.decodeArray(opList, res, func(element *jsoniter.Iterator) error {
		var doc struct {
			ID         string `json:"contentId"`
			URI        string `json:"contentUri"`
			Created    string `json:"contentCreated"`
			Expiration string `json:"contentExpiration"`
		}
		element.ReadVal(&doc)
		if element.Error != nil {
			return nil //nolint:nilerr // the iterator's error is looked at behind the loop
		}
		b := Blob{ContentType: ct, ID: doc.ID, URI: doc.URI, Created: parseTime(doc.Created), Expires: parseTime(doc.Expiration)}
		if b.ID == "" && b.URI != "" {
			if u, err := url.Parse(b.URI); err == nil {
				b.ID = path.Base(u.Path)
			}
		}
		if b.ID == "" || b.URI == "" {
			return errors.New("a blob without contentId or contentUri")
		}
		if b.Created.IsZero() {
			// Too late rather than too early: nothing is forgotten before its time.
			b.Created = c.Now()
		}
		if b.Expires.IsZero() {
			b.Expires = b.Created.Add(Retention)
		}
		blobs = append(blobs, b)
		return nil
	})
	return blobs, err
}

// decodeArray reads an answer that is a JSON array, one element at a time, and
// closes it. An answer that does not end as it should is an error, so no
// element is missed in silence.
func (c *Client) decodeArray(op string, res *http.Response, element func(*jsoniter.Iterator) error) error {
	defer res.Body.Close()
	text := &stickyReader{src: http.MaxBytesReader(nil, res.Body, maxPageBody)}
	iter := jsoniter.Parse(jsoniter.ConfigCompatibleWithStandardLibrary, text, 4<<10)
	err := errNoArray
	switch iter.WhatIsNext() {
	case jsoniter.ArrayValue:
		var failed error
		whole := iter.ReadArrayCB(func(iter *jsoniter.Iterator) bool {
			failed = element(iter)
			return failed == nil && iter.Error == nil
		})
		if failed != nil {
			err = failed
		} else if whole && iter.WhatIsNext() == jsoniter.InvalidValue && iter.Error == io.EOF {
			return nil
		}
	case jsoniter.ObjectValue: // an error under the wrong status
		if e := c.apiError(op, res, iter.SkipAndReturnBytes()); e.Code != "" {
			return e
		}
	}
	if text.err != nil && text.err != io.EOF {
		err = text.err
	}
	return &Error{Op: op, Status: res.StatusCode, Err: err}
}

// errNoArray stands for the JSON reader's errors, which quote the document.
var errNoArray = errors.New("the answer is not a whole JSON array")

// stickyReader keeps the error of its source, which the JSON reader may mask.
type stickyReader struct {
	src io.Reader
	err error
}

func (r *stickyReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.src.Read(p)
	r.err = err
	return n, err
}

// parseTime reads contentCreated and contentExpiration, which come as
// 2006-01-02T15:04:05.000Z, in whatever ISO 8601 form they may come. Without
// a zone they are UTC. The zero time stands for anything else.
func parseTime(s string) time.Time {
	for _, layout := range []string{time.RFC3339, timeFormat, "2006-01-02 15:04:05Z07:00", time.DateTime, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}
