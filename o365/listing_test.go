package o365_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"in_office365/o365"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func entry(id string) string {
	return fmt.Sprintf(`{"contentType":"Audit.Exchange","contentId":%q,"contentUri":"https://api.example.com/audit/%[1]s","contentCreated":"2026-03-01T12:00:00.000Z","contentExpiration":"2026-03-21T12:00:00.000Z"}`, id)
}

func entries(ids ...string) string {
	var text []string
	for _, id := range ids {
		text = append(text, entry(id))
	}
	return "[" + strings.Join(text, ",") + "]"
}

// list returns the contentIds of a one hour listing, with a bar behind each page.
func list(t testing.TB, c *o365.Client) (string, error) {
	var ids strings.Builder
	err := c.ListContent(t.Context(), o365.AuditExchange, noon, noon.Add(time.Hour), func(page []o365.Blob) error {
		for _, b := range page {
			ids.WriteString(b.ID + " ")
		}
		ids.WriteString("| ")
		return nil
	})
	return strings.TrimSpace(ids.String()), err
}

func TestListContentReadsBlobs(t *testing.T) {
	const uri = "https://api.example.com/feed/audit/20260301$20260302$audit_exchange$Audit_Exchange$emea0001"
	created := time.Date(2026, 3, 1, 11, 59, 59, 123e6, time.UTC)
	expires := created.AddDate(0, 0, 20)
	for _, tc := range []struct {
		name, fields     string
		id               string
		created, expires time.Time
	}{
		{"as documented", `"contentType":"Audit.Exchange","contentId":"a$b","contentCreated":"2026-03-01T11:59:59.123Z","contentExpiration":"2026-03-21T11:59:59.123Z"`, "a$b", created, expires},
		{"with a zone", `"contentId":"a$b","contentCreated":"2026-03-01T12:59:59.123+01:00","contentExpiration":"2026-03-21T06:59:59.123-05:00"`, "a$b", created, expires},
		{"without a zone", `"contentId":"a$b","contentCreated":"2026-03-01 11:59:59.1230000","contentExpiration":"2026-03-21T11:59:59.123"`, "a$b", created, expires},
		{"without expiration", `"contentId":"a$b","contentCreated":"2026-03-01T11:59:59.123Z"`, "a$b", created, created.Add(o365.Retention)},
		{"without contentId", `"contentCreated":"2026-03-01T11:59:59.123Z"`, "20260301$20260302$audit_exchange$Audit_Exchange$emea0001", created, created.Add(o365.Retention)},
		{"with fields of later versions", `"contentId":"a$b","contentCreated":"2026-03-01T11:59:59.123Z","size":{"raw":[1,2]}`, "a$b", created, created.Add(o365.Retention)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(w, `[{"contentUri":%q,%s}]`, uri, tc.fields)
			})
			var got []o365.Blob
			err := c.ListContent(t.Context(), o365.AuditExchange, noon.Add(-time.Hour), noon, func(page []o365.Blob) error {
				got = append(got, page...)
				return nil
			})
			want := []o365.Blob{{ContentType: o365.AuditExchange, ID: tc.id, URI: uri, Created: tc.created, Expires: tc.expires}}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("got %v, %v, want %v", got, err, want)
			}
		})
	}
}

func TestListContentAsksForTheWindow(t *testing.T) {
	var got string
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		got = q.Get("contentType") + " " + q.Get("startTime") + " " + q.Get("endTime")
		io.WriteString(w, "[]")
	})
	cet := time.FixedZone("CET", 3600)
	err := c.ListContent(t.Context(), o365.DLPAll, noon.Add(999*time.Millisecond).In(cet), noon.Add(o365.MaxWindow), func([]o365.Blob) error {
		t.Error("a page without blobs was handed on")
		return nil
	})
	if want := "DLP.All 2026-03-01T12:00:00 2026-03-02T11:00:00"; err != nil || got != want {
		t.Errorf("asked for %q, %v, want %q", got, err, want)
	}
}

func TestListContentRefusesWindows(t *testing.T) {
	c, _ := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("called") })
	for _, span := range []time.Duration{o365.MaxWindow + time.Second, 0, -time.Second} {
		err := c.ListContent(t.Context(), o365.DLPAll, noon, noon.Add(span), nil)
		if typed(t, err).Action != o365.Rewindow {
			t.Errorf("%v: got %v, want Rewindow", span, err)
		}
	}
}

// Pages are numbered from 1; {self} in next stands for the server's URL.
func TestListContentFollowsPages(t *testing.T) {
	next := func(page int) string {
		return fmt.Sprintf("{self}/api/v1/%s/activity/feed/subscriptions/content?contentType=Audit.Exchange&starttime=2026-03-01T12:00:00&endtime=2026-03-01T13:00:00&nextPage=%d", tenant, page)
	}
	for _, tc := range []struct {
		name    string
		next    map[int]string // NextPageUri of a page
		want    string
		action  o365.Action
		wantErr string
	}{
		{name: "one page", want: "blob1 |"},
		{name: "three pages", next: map[int]string{1: next(2), 2: next(3)}, want: "blob1 | blob2 | blob3 |"},
		{name: "a relative address", next: map[int]string{1: "/x?nextPage=2"}, want: "blob1 | blob2 |"},
		{name: "a page that leads to itself", next: map[int]string{1: next(2), 2: next(2)}, want: "blob1 | blob2 |", wantErr: "leads back"},
		{name: "a circle", next: map[int]string{1: next(2), 2: next(3), 3: next(2)}, want: "blob1 | blob2 | blob3 |", wantErr: "leads back"},
		{name: "another host", next: map[int]string{1: "http://198.51.100.7/x?nextPage=2"}, want: "blob1 |", wantErr: "http://198.51.100.7", action: o365.Reconfigure},
		{name: "another port", next: map[int]string{1: "http://127.0.0.1:1/x?nextPage=2"}, want: "blob1 |", wantErr: "http://127.0.0.1:1", action: o365.Reconfigure},
		{name: "another scheme", next: map[int]string{1: "gopher://{host}/x?nextPage=2"}, want: "blob1 |", wantErr: "gopher", action: o365.Reconfigure},
		{name: "no address at all", next: map[int]string{1: "http://%zz"}, want: "blob1 |", wantErr: "malformed URL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				page := 1
				fmt.Sscan(r.URL.Query().Get("nextPage"), &page)
				if r.URL.Query().Get("PublisherIdentifier") != publisher {
					t.Errorf("page %d was asked for without publisher", page)
				}
				if next, ok := tc.next[page]; ok {
					next = strings.NewReplacer("{self}", "http://"+r.Host, "{host}", r.Host).Replace(next)
					w.Header().Set("NextPageUri", next)
				}
				io.WriteString(w, entries(fmt.Sprint("blob", page)))
			})
			got, err := list(t, c)
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if tc.wantErr == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := typed(t, err); e.Action != tc.action || !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("got %v: %v, want %v: %s", e.Action, err, tc.action, tc.wantErr)
			}
		})
	}
}

// The rest of an address is not touched: the API compares it with its own.
func TestGivenAddressesAreOpaque(t *testing.T) {
	var got []string
	c, base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.RequestURI)
		if len(got) == 1 {
			w.Header().Set("NextPageUri", "http://"+r.Host+"/a$b/c%2Fd?nextPage=%7e+x%3D%3d&b&a=1&a=0#top")
		}
		io.WriteString(w, "[]")
	})
	if _, err := list(t, c); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/audit/a$b$c", "/audit/a%24b,c;d(e)?x"} {
		body, err := c.OpenBlob(t.Context(), o365.Blob{URI: base + path})
		if err != nil {
			t.Fatal(err)
		}
		body.Close()
	}
	want := []string{
		"/a$b/c%2Fd?nextPage=%7e+x%3D%3d&b&a=1&a=0&PublisherIdentifier=" + publisher,
		"/audit/a$b$c?PublisherIdentifier=" + publisher,
		"/audit/a%24b,c;d(e)?x&PublisherIdentifier=" + publisher,
	}
	if !slices.Equal(got[1:], want) {
		t.Errorf("got  %q\nwant %q", got[1:], want)
	}
}

func TestListContentBeginsAnewOnce(t *testing.T) {
	for _, tc := range []struct {
		name    string
		fails   int // how often page 2 is refused
		first   bool
		want    string
		wantErr bool
	}{
		{"and succeeds", 1, false, "blob1 | blob1 | blob2 |", false},
		{"and no more", 2, false, "blob1 | blob1 |", true},
		{"but not for page 1", 1, true, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fails := tc.fails
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				second := r.URL.Query().Has("nextPage")
				switch {
				case fails > 0 && (second || tc.first):
					fails--
					fail(w, 400, "AF20031", "Invalid nextPage Input: x.")
				case second:
					io.WriteString(w, entries("blob2"))
				default:
					w.Header().Set("NextPageUri", "http://"+r.Host+r.RequestURI+"&nextPage=2")
					io.WriteString(w, entries("blob1"))
				}
			})
			got, err := list(t, c)
			if got != tc.want || (err != nil) != tc.wantErr {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
			if err != nil && typed(t, err).Action != o365.Retry {
				t.Errorf("got %v, want Retry", err)
			}
		})
	}
}

func TestListContentEndsWithThePageFunc(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("nextPage") {
			t.Error("went on")
		}
		w.Header().Set("NextPageUri", "http://"+r.Host+r.RequestURI+"&nextPage=2")
		io.WriteString(w, entries("blob1"))
	})
	stop := errors.New("stop")
	err := c.ListContent(t.Context(), o365.AuditExchange, noon, noon.Add(time.Hour), func([]o365.Blob) error { return stop })
	if err != stop {
		t.Errorf("got %v, want the page's own error", err)
	}
}

// Half a page would be a gap without a trace.
func TestListContentRefusesAnswers(t *testing.T) {
	whole := entries("blob1", "blob2")
	for _, tc := range []struct {
		name, answer string
		want         string
	}{
		{"empty", "", "not a whole JSON array"},
		{"null", "null", "not a whole JSON array"},
		{"a page of HTML", "<html>Service unavailable</html>", "not a whole JSON array"},
		{"cut short", whole[:len(whole)-1], "not a whole JSON array"},
		{"cut in an element", whole[:len(whole)-20], "not a whole JSON array"},
		{"cut before an element", "[" + entry("blob1") + ",", "not a whole JSON array"},
		{"followed by something", whole + "x", "not a whole JSON array"},
		{"with another type", `["blob1"]`, "not a whole JSON array"},
		{"a blob without address", `[{"contentId":"x"}]`, "without contentId or contentUri"},
		{"an error under status 200", `{"error":{"code":"AF50000","message":"An internal error occurred."}}`, "AF50000: An internal error"},
		{"any other object", `{"value":[]}`, "not a whole JSON array"},
		{"without end", "[" + strings.Repeat(entry("blob1")+",", 200_000), "too large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, tc.answer) })
			got, err := list(t, c)
			if got != "" {
				t.Errorf("handed on %q", got)
			}
			if e := typed(t, err); e.Action != o365.Retry || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v: %v, want Retry: %s", e.Action, err, tc.want)
			}
		})
	}
}

func TestListContentEndsAfterManyPages(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 pages")
	}
	pages := 0
	c := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
		pages++
		w.Header().Set("NextPageUri", fmt.Sprintf("https://api.example.com/x?nextPage=%d", pages))
		io.WriteString(w, "[]")
	}, func(o *o365.Options) { o.RequestsPerMinute = 1e9 })
	_, err := list(t, c)
	if e := typed(t, err); !strings.Contains(e.Error(), "more than 10000 pages") || pages != 10_000 {
		t.Errorf("got %v after %d pages", err, pages)
	}
}
