package tenant

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

type contentJSON struct {
	ContentURI        string `json:"contentUri"`
	ContentID         string `json:"contentId"`
	ContentType       string `json:"contentType"`
	ContentCreated    string `json:"contentCreated"`
	ContentExpiration string `json:"contentExpiration"`
}

const millis = "2006-01-02T15:04:05.000Z"

func (c *call) listContent() {
	c.mu.Lock()
	s, now := c.subscriptions[c.contentType], c.now()
	enabled := s != nil && s.enabled
	c.mu.Unlock()
	switch {
	case s == nil:
		c.fail(http.StatusBadRequest, "AF20022", "No subscription found for the specified content type.")
		return
	case !enabled:
		c.fail(http.StatusBadRequest, "AF20023", "The subscription was disabled by a tenant or service admin.")
		return
	}
	start, end, refusal := window(c.query, now)
	if refusal != nil {
		refusal.write(c.w)
		return
	}
	after := position{created: start, number: -1}
	if c.lastID != "" {
		c.mu.Lock()
		last := c.blobs[c.lastID]
		c.mu.Unlock()
		if last != nil {
			after = position{last.Created, last.number}
		}
	}
	if c.page == 0 || c.lastID != "" && after.number < 0 {
		c.fail(http.StatusBadRequest, "AF20031", "Invalid nextPage Input.")
		return
	}

	list := []contentJSON{}
	base := scheme(c.r) + "://" + c.r.Host
	blobBase := base
	if c.plan.contentURIBase != "" {
		blobBase = c.plan.contentURIBase
	}
	var last *blob
	more := false
	c.mu.Lock()
	all := c.byCreated[c.contentType]
	first, _ := slices.BinarySearchFunc(all, position{after.created, after.number + 1}, compare)
	for _, b := range all[first:] {
		if !b.Created.Before(end) {
			break
		}
		if !b.visible(now) {
			continue
		}
		if len(list) == c.config.PageSize {
			more = true
			break
		}
		b.listed++
		last = b
		list = append(list, contentJSON{
			ContentURI:        blobBase + "/api/v1.0/" + c.config.ID + "/activity/feed/audit/" + b.id,
			ContentID:         b.id,
			ContentType:       b.ContentType,
			ContentCreated:    b.Created.Format(millis),
			ContentExpiration: b.Expires.UTC().Format(millis),
		})
	}
	c.account.listing(Listing{ContentType: c.contentType, Start: start, End: end, Page: c.page, Blobs: len(list), More: more})
	c.mu.Unlock()

	next := ""
	if more {
		names := [2]string{"startTime", "endTime"}
		if c.config.LowerCaseNextPage {
			names = [2]string{"starttime", "endtime"}
		}
		next = base + "/api/v1/" + c.config.ID + "/activity/feed/subscriptions/content?contentType=" + c.contentType +
			"&" + names[0] + "=" + start.Format(seconds) + "&" + names[1] + "=" + end.Format(seconds) + "&nextPage=" + pageToken(c.page+1, last.id)
	}
	if c.plan.nextPage != nil {
		next = c.plan.nextPage(c)
	}
	if next != "" {
		c.w.Header().Set("NextPageUri", next)
	}
	c.w.Header().Set("Pragma", "no-cache")
	c.w.Header().Set("Expires", "-1")
	c.writeBody("application/json; charset=utf-8", func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return e.Encode(list)
	})
}

const seconds = "2006-01-02T15:04:05"

// window reads startTime and endTime.
func window(q url.Values, now time.Time) (start, end time.Time, refusal *apiError) {
	bad := func(code string) (time.Time, time.Time, *apiError) {
		return start, end, &apiError{http.StatusBadRequest, code, "Start time and end time must both be specified (or both omitted) and must be less than or equal to 24 hours apart, with the start time prior to end time and start time no more than 7 days in the past."}
	}
	from, to := q.Get("starttime"), q.Get("endtime")
	if from == "" && to == "" {
		end = now.UTC().Truncate(time.Second)
		return end.Add(-MaxWindow), end, nil
	}
	if from == "" || to == "" {
		return bad("AF20030")
	}
	var ok1, ok2 bool
	start, ok1 = parseTime(from)
	end, ok2 = parseTime(to)
	switch {
	case !ok1 || !ok2:
		return start, end, &apiError{http.StatusBadRequest, "AF20002", "The value for parameter startTime or endTime is of the wrong type. Expected type: DateTime."}
	case !start.Before(end):
		return bad("AF20055")
	case end.Sub(start) > MaxWindow || start.Before(now.Add(-Retention)):
		return bad("AF20030")
	}
	return start, end, nil
}

// parseTime reads the documented forms and those with a Z or an offset, which the API takes too.
func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{seconds, "2006-01-02T15:04", time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// pageToken names a page by its number and the last blob of the page before it.
func pageToken(page int, lastID string) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", page, lastID))
}

// parsePage undoes pageToken. No token is page 1, a bad one page 0.
func parsePage(token string) (page int, lastID string) {
	if token == "" {
		return 1, ""
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	number, id, _ := strings.Cut(string(text), " ")
	page, bad := strconv.Atoi(number)
	if err != nil || bad != nil || id == "" {
		return 0, ""
	}
	return page, id
}
