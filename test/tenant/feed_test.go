package tenant_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"in_office365/test/tenant"
)

// subscribed is a tenant with every subscription on.
func subscribed(c tenant.Config) *tenant.Tenant {
	c.Subscribed = tenant.ContentTypes()
	return tenant.New(c)
}

func TestRequestsThatTheAPIRefuses(t *testing.T) {
	now := time.Now()
	window := func(from, to time.Duration) string { return listing(tenant.Exchange, now.Add(from), now.Add(to)) }
	const list = "subscriptions/content?contentType=" + tenant.Exchange
	tests := []struct {
		name, method, target string
		status               int
		code                 string
	}{
		{"HEAD", "HEAD", "subscriptions/list", 405, ""},
		{"GET for a start", "GET", "subscriptions/start?contentType=Audit.Exchange", 405, "The requested resource does not support http method 'GET'."},
		{"POST for a listing", "POST", list, 405, "The requested resource does not support http method 'POST'."},
		{"an operation that does not exist", "GET", "subscriptions/everything", 404, "No HTTP resource was found that matches the request URI."},
		{"PublisherIdentifier not a GUID", "GET", "subscriptions/list?PublisherIdentifier=contoso", 400, "AF20002"},
		{"content type missing", "GET", "subscriptions/content", 400, "AF20001"},
		{"content type misspelt", "GET", "subscriptions/content?contentType=audit.exchange", 400, "AF20020"},
		{"never subscribed", "GET", "subscriptions/content?contentType=Audit.General", 400, "AF20022"},
		{"subscription disabled", "GET", "subscriptions/content?contentType=DLP.All", 400, "AF20023"},
		{"startTime alone", "GET", list + "&startTime=2026-01-01", 400, "AF20030"},
		{"endTime alone", "GET", list + "&endTime=2026-01-01", 400, "AF20030"},
		{"times that are none", "GET", list + "&startTime=yesterday&endTime=today", 400, "AF20002"},
		{"more than 24 hours", "GET", window(-25*time.Hour, 0), 400, "AF20030"},
		{"more than 7 days ago", "GET", window(-7*24*time.Hour-time.Minute, -6*24*time.Hour-12*time.Hour), 400, "AF20030"},
		{"end at start", "GET", window(-time.Hour, -time.Hour), 400, "AF20055"},
		{"nextPage invalid", "GET", window(-time.Hour, 0) + "&nextPage=guess", 400, "AF20031"},
		{"contentId malformed", "GET", "audit/guess", 400, "AF20052"},
		{"contentId unknown", "GET", "audit/2026$2026$audit_exchange$Audit_Exchange$emea0001", 404, "AF20050"},
		{"tenant in the path not a GUID", "GET", "https://manage.office.com/api/v1.0/contoso.example/activity/feed/subscriptions/list", 400, "AF20013"},
		{"tenant in the path not the token's", "GET", "https://manage.office.com/api/v1.0/00000000-0000-4000-8000-000000000000/activity/feed/subscriptions/list", 400, "AF20010"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tn := tenant.New(tenant.Config{Subscribed: []string{tenant.Exchange, tenant.DLP}})
			tn.Disable(tenant.DLP)
			inMemory(t, tn).login().feed(test.method, test.target).is(test.status, test.code)
		})
	}
}

func TestCallsNeedAToken(t *testing.T) {
	for _, target := range []string{"subscriptions/list", "audit/a$b$c$d$e", listing(tenant.Exchange, time.Now().Add(-time.Hour), time.Now())} {
		c := inMemory(t, subscribed(tenant.Config{}))
		c.get(target).is(401, "Authorization has been denied for this request.")
		if got := c.tenant.Account().WithoutToken; got != 1 {
			t.Errorf("%s: %d calls without token accounted, want 1", target, got)
		}
	}
}

func TestATokenOfOneTenantIsNoGoodAtAnother(t *testing.T) {
	const otherID = "22222222-2222-4222-8222-222222222222"
	first, second := tenant.New(tenant.Config{}), tenant.New(tenant.Config{ID: otherID, Domain: "fabrikam.example"})
	c := inMemory(t, first)
	c.http.Transport = tenant.RoundTripper(tenant.Handler(first, second))
	c.login().get("subscriptions/list").is(200, "")
	c.get("https://manage.office.com/api/v1.0/"+otherID+"/activity/feed/subscriptions/list").is(400, "AF20010")
}

func TestSubscriptions(t *testing.T) {
	const start = "subscriptions/start?contentType=Audit.Exchange"
	status := func(c *client) string {
		var list []struct{ ContentType, Status string }
		c.get("subscriptions/list").decode(&list)
		var texts []string
		for _, s := range list {
			texts = append(texts, s.ContentType+" "+s.Status)
		}
		return strings.Join(texts, ", ")
	}
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, tenant.New(tenant.Config{})).login()
		expect := func(want string) {
			t.Helper()
			if got := status(c); got != want {
				t.Errorf("subscriptions: %q, want %q", got, want)
			}
		}
		expect("")
		c.feed("POST", start).is(200, "")
		expect("Audit.Exchange enabled")

		time.Sleep(4 * time.Second)
		again := c.feed("POST", start)
		again.is(403, "429")
		if !strings.Contains(again.body, "Please retry again after 14m 56s") {
			t.Errorf("throttled start: %s, want the wait in it", again.body)
		}

		time.Sleep(tenant.StartCooldown)
		c.login().feed("POST", start).is(400, "AF20024")

		c.tenant.Disable(tenant.Exchange)
		expect("Audit.Exchange disabled")
		c.feed("POST", start).is(200, "")
		expect("Audit.Exchange enabled")

		c.feed("POST", "subscriptions/stop?contentType=Audit.Exchange").is(200, "")
		expect("Audit.Exchange disabled")
		c.tenant.Enable(tenant.Exchange)
		expect("Audit.Exchange enabled")
		c.feed("POST", "subscriptions/stop?contentType=Audit.General").is(400, "AF20022")

		a := c.tenant.Account()
		if a.Starts[tenant.Exchange] != 4 || a.Stops[tenant.Exchange] != 1 {
			t.Errorf("account: %d starts, %d stops; want 4, 1", a.Starts[tenant.Exchange], a.Stops[tenant.Exchange])
		}
	})
}

func TestTheWindowIncludesItsStartAndExcludesItsEnd(t *testing.T) {
	tn := subscribed(tenant.Config{})
	from := time.Now().Add(-2 * time.Hour).UTC().Truncate(time.Second)
	to := from.Add(time.Hour)
	before := tn.AddBlob(tenant.Exchange, from.Add(-time.Millisecond), tenant.Generated{})
	first := tn.AddBlob(tenant.Exchange, from, tenant.Generated{})
	last := tn.AddBlob(tenant.Exchange, to.Add(-time.Millisecond), tenant.Generated{})
	after := tn.AddBlob(tenant.Exchange, to, tenant.Generated{})
	tn.AddBlob(tenant.General, from, tenant.Generated{})

	c := inMemory(t, tn).login()
	ids := func(a answer) (ids []string) {
		for _, i := range a.items() {
			ids = append(ids, i.ContentID)
		}
		return ids
	}
	if got, want := ids(c.get(listing(tenant.Exchange, from, to))), []string{first, last}; !slices.Equal(got, want) {
		t.Errorf("the window: %v, want %v", got, want)
	}
	if got, want := ids(c.get("subscriptions/content?contentType="+tenant.Exchange)), []string{before, first, last, after}; !slices.Equal(got, want) {
		t.Errorf("no times, the last 24 hours: %v, want %v", got, want)
	}
}

func TestTimesAreTakenInAllTheirForms(t *testing.T) {
	day := time.Now().UTC().AddDate(0, 0, -2).Truncate(24 * time.Hour)
	tn := subscribed(tenant.Config{})
	tn.AddBlob(tenant.Exchange, day.Add(time.Hour), tenant.Generated{})
	c := inMemory(t, tn).login()
	for _, form := range []string{"2006-01-02", "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02T15:04:05Z", "2006-01-02T15:04:05.000Z07:00"} {
		q := url.Values{"contenttype": {tenant.Exchange}, "STARTTIME": {day.Format(form)}, "endTime": {day.AddDate(0, 0, 1).Format(form)}}
		if got := len(c.get("subscriptions/content?" + q.Encode()).items()); got != 1 {
			t.Errorf("%s: %d blobs, want 1", form, got)
		}
	}
}

func TestAListedBlobStaysThoughTheClockGoesBack(t *testing.T) {
	c := inMemory(t, subscribed(tenant.Config{Skew: 5 * time.Minute})).login()
	now := c.tenant.Now()
	listed := c.tenant.AddBlob(tenant.Exchange, now, tenant.Generated{})
	if n := len(c.get(listing(tenant.Exchange, now.Add(-time.Hour), now.Add(time.Minute))).items()); n != 1 {
		t.Fatalf("%d blobs are listed, want 1", n)
	}
	unlisted := c.tenant.AddBlob(tenant.Exchange, now, tenant.Generated{})
	c.tenant.SetSkew(0)
	c.get("audit/"+listed).is(200, "")
	c.get("audit/"+unlisted).is(404, "AF20050")
}

func TestALateBlobIsListedFromItsVisibleTimeOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, subscribed(tenant.Config{})).login()
		start := time.Now()
		id := c.tenant.Add(tenant.Content{ContentType: tenant.Exchange, Created: start, Visible: start.Add(10 * time.Minute), Source: tenant.Generated{}})
		window := listing(tenant.Exchange, start.Add(-time.Hour), start.Add(time.Hour))
		for _, want := range []int{0, 1} {
			if got := len(c.get(window).items()); got != want {
				t.Errorf("at %v: %d blobs, want %d", time.Since(start), got, want)
			}
			if want == 0 {
				c.get("audit/"+id).is(404, "AF20050")
			}
			time.Sleep(10 * time.Minute)
		}
		c.get("audit/"+id).is(200, "")
	})
}

func TestPaging(t *testing.T) {
	for name, connect := range connections {
		t.Run(name, func(t *testing.T) {
			tn := subscribed(tenant.Config{PageSize: 3, LowerCaseNextPage: true})
			now := time.Now()
			want := tn.Publish(tenant.Plan{ContentTypes: []string{tenant.SharePoint}, Blobs: 8, From: now.Add(-time.Hour), To: now.Add(-time.Minute)})
			c := connect(t, tn).login()
			var got, sizes []string
			for target := listing(tenant.SharePoint, now.Add(-2*time.Hour), now); target != ""; {
				a := c.get(target)
				for _, i := range a.items() {
					got = append(got, i.ContentID)
				}
				sizes = append(sizes, strings.Repeat("x", len(a.items())))
				target = a.Header.Get("NextPageUri")
				if target != "" && (!strings.HasPrefix(target, c.base+"/api/v1/"+tenant.DefaultID+"/activity/feed/subscriptions/content?") || !strings.Contains(target, "&starttime=20")) {
					t.Errorf("NextPageUri = %s", target)
				}
			}
			if pages := tn.Account().Listings; len(pages) != 3 || pages[2].Page != 3 || pages[2].Blobs != 2 || pages[2].More {
				t.Errorf("account: %+v, want three pages", pages)
			}
			if !slices.Equal(got, want) || strings.Join(sizes, " ") != "xxx xxx xx" {
				t.Errorf("pages %v with %v, want 3, 3, 2 blobs with %v", sizes, got, want)
			}
		})
	}
}

func TestABlobIsFetchedFromItsContentURI(t *testing.T) {
	for name, connect := range connections {
		for _, compressed := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				tn := subscribed(tenant.Config{Gzip: compressed})
				now := time.Now()
				source := tenant.Generated{Seed: 3, Records: 500}
				id := tn.AddBlob(tenant.General, now.Add(-time.Hour), source)
				c := connect(t, tn).login()
				items := c.get(listing(tenant.General, now.Add(-2*time.Hour), now)).items()
				if len(items) != 1 || items[0].ContentID != id || !strings.HasPrefix(items[0].ContentURI, c.base+"/") {
					t.Fatalf("listing: %+v, want %s at %s", items, id, c.base)
				}
				a := c.get(items[0].ContentURI + "?PublisherIdentifier=" + publisher)
				if got := a.recordIDs(); !slices.Equal(got, slices.Collect(source.IDs())) {
					t.Errorf("%d records, want the 500 that are accounted for", len(got))
				}
				if a.Uncompressed != compressed {
					t.Errorf("compressed: %v, want %v", a.Uncompressed, compressed)
				}
				if again := c.get(items[0].ContentURI); again.body != a.body {
					t.Error("a second fetch gives other bytes")
				}
				account := tn.Account()
				if b := account.Blobs[0]; b.Listed != 1 || b.Whole != 2 || b.Partial+b.Refused != 0 || b.Bytes != 2*int64(len(a.body)) {
					t.Errorf("account: %+v, want listed once and fetched twice, %d bytes each time", b, len(a.body))
				}
				if got, want := account.Publishers, map[string]int{publisher: 1}; !maps.Equal(got, want) || account.WithoutPublisher != 2 {
					t.Errorf("publishers %v and %d without; want %v and 2", got, account.WithoutPublisher, want)
				}
			})
		}
	}
}

func TestABlobExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, subscribed(tenant.Config{}))
		id := c.tenant.AddBlob(tenant.Exchange, time.Now(), tenant.Generated{Records: 1})
		time.Sleep(tenant.Retention - time.Second)
		c.login().get("audit/"+id).is(200, "")
		time.Sleep(time.Second)
		c.get("audit/"+id).is(410, "AF20051")
	})
}

func TestARemovedBlobIsGone(t *testing.T) {
	c := inMemory(t, subscribed(tenant.Config{})).login()
	created := time.Now().Add(-time.Hour)
	id := c.tenant.AddBlob(tenant.Exchange, created, tenant.Generated{})
	c.tenant.Remove(id)
	c.get("audit/"+id).is(404, "AF20050")
	if got := len(c.get(listing(tenant.Exchange, created.Add(-time.Hour), time.Now())).items()); got != 0 {
		t.Errorf("%d blobs listed, want 0", got)
	}
}

func TestARepublishedBlobHoldsTheSameBytes(t *testing.T) {
	c := inMemory(t, subscribed(tenant.Config{})).login()
	first := c.tenant.AddBlob(tenant.Exchange, time.Now().Add(-5*time.Hour), tenant.Generated{Seed: 1, Records: 20})
	second := c.tenant.Republish(first, time.Now().Add(-time.Hour))
	if first == second || c.get("audit/"+first).body != c.get("audit/"+second).body {
		t.Errorf("%s and %s: want other ids, the same body", first, second)
	}
}

func TestSourcesWrittenByHand(t *testing.T) {
	c := inMemory(t, subscribed(tenant.Config{})).login()
	created := time.Now().Add(-time.Hour)
	literal := c.tenant.AddBlob(tenant.Exchange, created, tenant.Literal{Records: []string{`{"Id":"a"}`, `{"Id":`}, ID: []string{"a", ""}})
	body := c.tenant.AddBlob(tenant.Exchange, created, tenant.Body("<html>"))
	if got, want := c.get("audit/"+literal).body, `[{"Id":"a"},{"Id":]`; got != want {
		t.Errorf("Literal: %s, want %s", got, want)
	}
	if got, want := c.get("audit/"+body).body, "<html>"; got != want {
		t.Errorf("Body: %s, want %s", got, want)
	}
	if got, want := slices.Collect(c.tenant.Account().RecordIDs(tenant.Exchange)), []string{"a"}; !slices.Equal(got, want) {
		t.Errorf("records accounted for: %v, want %v", got, want)
	}
}

func TestAPlanSpreadsDistinctRecords(t *testing.T) {
	tn := subscribed(tenant.Config{})
	from := time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC)
	tn.Publish(tenant.Plan{Seed: 1, Blobs: 4, Records: 25, From: from, To: from.Add(4 * time.Hour), LateEvery: 10, LateBy: time.Hour})
	seen := map[string]bool{}
	late := 0
	account := tn.Account()
	for i, b := range account.Blobs { // by content type, then by time
		if want := from.Add(time.Duration(i%4) * time.Hour); !b.Created.Equal(want) {
			t.Errorf("blob %d created %v, want %v", i, b.Created, want)
		}
		if b.Visible.Equal(b.Created.Add(time.Hour)) {
			late++
		}
		for id := range b.Source.IDs() {
			seen[id] = true
		}
	}
	if len(account.Blobs) != 20 || len(seen) != 500 || late != 2 {
		t.Errorf("%d blobs, %d distinct records, %d late; want 20, 500, 2", len(account.Blobs), len(seen), late)
	}
}

func TestOverlappingSourcesShareRecords(t *testing.T) {
	c := inMemory(t, subscribed(tenant.Config{})).login()
	now := time.Now()
	source := tenant.Generated{Seed: 1, Records: 10, At: now}
	first := c.tenant.AddBlob(tenant.Exchange, now.Add(-2*time.Hour), source)
	source.First = 9
	second := c.tenant.AddBlob(tenant.Exchange, now.Add(-time.Hour), source)
	var a, b []json.RawMessage
	c.get("audit/" + first).decode(&a)
	c.get("audit/" + second).decode(&b)
	if string(a[9]) != string(b[0]) || string(a[8]) == string(b[0]) {
		t.Errorf("the last record of the first blob and the first of the second differ:\n%s\n%s", a[9], b[0])
	}
}

func TestASizedSourceIsJustAsLarge(t *testing.T) {
	const size = 1 << 20
	c := inMemory(t, subscribed(tenant.Config{})).login()
	source := tenant.Sized(tenant.Exchange, 5, size)
	id := c.tenant.AddBlob(tenant.Exchange, time.Now().Add(-time.Hour), source)
	a := c.get("audit/" + id)
	if len(a.body) < size || len(a.body) > size+64<<10 || len(a.recordIDs()) != source.Count() {
		t.Errorf("%d bytes, %d records; want at least %d and %d", len(a.body), len(a.recordIDs()), size, source.Count())
	}
}

func TestTheCallsOfAnyMinuteAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, subscribed(tenant.Config{CallsPerMinute: 3})).login()
		for range 3 {
			c.get("subscriptions/list").is(200, "")
			time.Sleep(10 * time.Second)
		}
		c.get("subscriptions/list").is(429, "AF429")
		time.Sleep(31 * time.Second)
		c.get("subscriptions/list").is(200, "")
		c.get("subscriptions/list").is(429, "AF429")
		c.tenant.SetCallsPerMinute(0)
		c.get("subscriptions/list").is(200, "")
	})
}

func TestTheDateIsTheTenants(t *testing.T) {
	for name, connect := range connections {
		t.Run(name, func(t *testing.T) {
			c := connect(t, subscribed(tenant.Config{Skew: -10 * time.Minute})).login()
			date, err := http.ParseTime(c.get("subscriptions/list").Header.Get("Date"))
			if err != nil {
				t.Fatal(err)
			}
			if off := time.Since(date) - 10*time.Minute; off.Abs() > 5*time.Second {
				t.Errorf("Date is %v off, want 10m behind", off)
			}
		})
	}
}

func TestLatencyOfEveryCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, subscribed(tenant.Config{Latency: 3 * time.Second}))
		start := time.Now()
		c.login().get("subscriptions/list").is(200, "")
		if got := time.Since(start); got != 6*time.Second {
			t.Errorf("two calls took %v, want 6s", got)
		}
	})
}

func TestConcurrencyIsAccounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, subscribed(tenant.Config{})).login()
		c.tenant.Inject(tenant.Fault{}, tenant.Latency(time.Second))
		done := make(chan struct{})
		for range 4 {
			go func() {
				c.get("subscriptions/list")
				done <- struct{}{}
			}()
		}
		for range 4 {
			<-done
		}
		if got := c.tenant.Account().Concurrency; got != 4 {
			t.Errorf("concurrency = %d, want 4", got)
		}
	})
}
