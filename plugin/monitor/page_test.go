package monitor

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"in_office365/plugin/collector"
	"in_office365/plugin/handover"
)

// views are inputs with these statuses, as they are at the tests' time.
func views(statuses ...*collector.Status) (all []view) {
	for i, s := range statuses {
		in := newInput(fmt.Sprintf("office365.%d", i), &fakeSource{status: s})
		all = append(all, in.ask(*in.source.Load(), now))
	}
	return all
}

func render(t testing.TB, all []view, query string) string {
	t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := pageTemplate.Execute(&page, newPage(all, values, now)); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

// The first sentence answers for the whole process.
func TestVerdict(t *testing.T) {
	t.Parallel()
	change := func(s *collector.Status, change func(*collector.Status, []collector.TypeStatus)) *collector.Status {
		change(s, s.Tenants[0].Types)
		return s
	}
	const through = "Everything that was available until 14:03:20 UTC, 2 min ago, is through."
	lossOf := func(ago time.Duration) func(*collector.Status, []collector.TypeStatus) {
		return func(_ *collector.Status, types []collector.TypeStatus) {
			types[1].Blobs.LostExpired, types[1].Gaps, types[1].LastLoss = 2, 1, now.Add(-ago)
		}
	}
	for name, tc := range map[string]struct {
		views          []view
		level          string
		sentence, more string
	}{
		"nothing":            {nil, "bad", "No input runs.", "no input runs: Fluent Bit starts, reloads or ends"},
		"all well":           {views(allWell(1), allWell(3)), "good", through, ""},
		"lost days ago":      {views(change(allWell(1), lossOf(48*time.Hour))), "good", "Everything that was available until 14:03:20 UTC, 2 min ago, is through, but for what is lost: 2 blobs, 1 gap.", ""},
		"lost":               {views(change(allWell(1), lossOf(time.Hour))), "bad", "Not complete: something of Audit.Exchange is lost for good.", "Lost since the start: 2 blobs, 1 gap of 0 s; the last 1 h ago. Nothing brings it back through this API: search the audit log in Purview."},
		"credential expired": {views(badDay()), "bad", "Not complete: access is refused.", "Getting a token failed: HTTP 401 invalid_client AADSTS7000222: the client secret has expired; make a new one under Certificates & secrets, and put it in client_secret_file. 2 more reasons below."},
		"some tenants": {views(manyTenants(500)), "bad", "Not complete: access is refused for 6 of 500 tenants.",
			"Getting a token failed: HTTP 400 unauthorized_client AADSTS700016: the application is not in this tenant: an administrator has to consent. 11 more reasons below."},
		"the worst of two inputs": {views(allWell(1), change(allWell(2), func(_ *collector.Status, types []collector.TypeStatus) {
			types[2].Behind, types[2].Pending, types[2].OldestPending = 3*time.Hour, 9, time.Time{}
		})), "warn", "Not complete: 3 h behind with Audit.SharePoint of tenant " + tenantID + " of input office365.1.", "3 h behind: 9 blobs pending; if it does not shrink, raise batch_size and workers."},
		"not listed": {views(change(allWell(1), func(_ *collector.Status, types []collector.TypeStatus) {
			types[2].Listed, types[3].Listed = now.Add(-time.Hour), now.Add(-2*time.Hour)
		})), "bad", "Not complete: listing fails for 2 content types.", "No listing for 2 h, and no error: the calls that rate_limit allows may be too few. 1 more reason below."},
		"held up": {views(change(allWell(1), func(s *collector.Status, _ []collector.TypeStatus) { s.Host.PausedSince = now.Add(-time.Hour) })),
			"bad", "Not complete: Fluent Bit takes nothing.", "Fluent Bit has paused the input for 1 h: an output is down or too slow, or storage is full: look at Fluent Bit's log."},
		"db": {views(change(allWell(1), func(s *collector.Status, _ []collector.TypeStatus) {
			s.Ledger.Troubles = trouble("other", "the disk is full")
		})), "warn", "The db fails.", through + " The disk is full."},
		"just begun": {views(change(allWell(1), func(_ *collector.Status, types []collector.TypeStatus) { types[4].Listed = time.Time{} })),
			"wait", "Starting: 1 of 5 content types not listed and counted yet.", ""},
		"not begun": {views(&collector.Status{}), "wait", "Starting.", "Collecting has not begun yet."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			total := overall(tc.views, now)
			if got, want := total.verdict(), (verdict{tc.level, tc.sentence, tc.more}); got != want {
				t.Errorf("\n got %+v\nwant %+v", got, want)
			}
			if page := render(t, tc.views, ""); !strings.Contains(page, "<title>"+tc.sentence+"</title>") {
				t.Errorf("not on the page:\n%s", page)
			}
		})
	}
}

// Of what is not known nothing is claimed.
func TestThroughUntilIsOfEverything(t *testing.T) {
	t.Parallel()
	s := allWell(2)
	for _, tc := range []struct{ unknown, want string }{{"nothing", "14:03:20 UTC"}, {"one content type", "–"}} {
		if total := overall(views(s), now); total.figures()[0].Value != tc.want {
			t.Errorf("%s unknown: %+v, want %s", tc.unknown, total.figures()[0], tc.want)
		}
		s.Tenants[1].Types[3].CompleteUntil = time.Time{}
	}
}

func TestWorstTenantsComeFirst(t *testing.T) {
	t.Parallel()
	all := views(manyTenants(500))
	row := regexp.MustCompile(`<th role="rowheader" scope="row"><a href="[^"]*tenant=([0-9a-f-]+)">`)
	state := regexp.MustCompile(`<td role="cell" data-is="State"><span class="state (\w+)">`)
	seen := map[string]bool{}
	var order []string
	for n := 1; n <= 10; n++ {
		page := render(t, all, fmt.Sprintf("input=office365.0&page=%d", n))
		rows := row.FindAllStringSubmatch(page, -1)
		if len(rows) != 50 {
			t.Fatalf("page %d has %d rows", n, len(rows))
		}
		for _, r := range rows {
			seen[r[1]] = true
		}
		for _, s := range state.FindAllStringSubmatch(page, -1) {
			order = append(order, s[1])
		}
	}
	want := strings.Join(order, " ")
	if len(seen) != 500 || !regexp.MustCompile(`^(bad ){6}(warn )+(good ?)+$`).MatchString(want) {
		t.Errorf("%d tenants: %s", len(seen), want)
	}
	for query, here := range map[string]string{"page=0": "1 to 50", "page=x": "1 to 50", "page=99": "451 to 500"} {
		if page := render(t, all, query); !strings.Contains(page, here+" of 500 tenants") {
			t.Errorf("?%s does not show %s", query, here)
		}
	}
}

func TestTenantsPage(t *testing.T) {
	t.Parallel()
	s := manyTenants(500)
	page := render(t, views(s, allWell(1)), "input=office365.0&tenant="+strings.ToUpper(s.Tenants[7].ID))
	for _, part := range []string{s.Tenants[7].ID, "all tenants", "2 h behind: 5,120 blobs pending", "Audit.AzureActiveDirectory", "37 of 2,000"} {
		if !strings.Contains(page, part) {
			t.Errorf("no %s", part)
		}
	}
	if strings.Contains(page, ">office365.1<") || strings.Contains(page, s.Tenants[8].ID) {
		t.Error("others are shown")
	}
}

// What services, users and clients write is text on the page and nothing more.
func TestHostileText(t *testing.T) {
	t.Parallel()
	const evil = `</style><script>alert(1)</script><img src=x onerror="alert(1)">'" javascript:alert(1) {{.}}`
	s := allWell(2)
	s.Version = evil
	s.Troubles = trouble("proxy", evil)
	s.Notices = []collector.NoticeStatus{{At: now, Kind: evil, Tenant: evil, ContentType: evil, Reason: evil + strings.Repeat("é", 5000)}}
	s.Tenants[0].ID = evil
	s.Tenants[0].Troubles = trouble("client", evil)
	s.Tenants[1].Types[0].ContentType, s.Tenants[1].Types[0].Subscription = evil, evil
	s.Tenants[1].Types[0].Troubles = trouble("service", evil)
	v := views(s)
	v[0].name = evil
	for _, query := range []string{"", "tenant=" + url.QueryEscape(evil), "tenant=" + s.Tenants[1].ID, "page=" + url.QueryEscape(evil)} {
		page := render(t, v, query)
		checkSelfContained(t, page)
		if strings.Contains(page, "<img") || strings.Contains(page, `onerror="`) || strings.Count(page, "</style>") != 1 || strings.Contains(page, `href="javascript`) {
			t.Errorf("?%s:\n%s", query, page)
		}
		if !strings.Contains(page, "&lt;script&gt;alert(1)") {
			t.Errorf("?%s does not show the text", query)
		}
		if strings.Contains(page, strings.Repeat("é", 1000)) {
			t.Errorf("?%s: a text without end", query)
		}
	}
}

// checkSelfContained looks for whatever would make the page depend on anything but itself.
func checkSelfContained(t *testing.T, page string) {
	t.Helper()
	for _, foreign := range []string{"<script", "http://", "https://", "@import", "url(", " style=", "<link", "<iframe", "ZgotmplZ"} {
		if strings.Contains(strings.ToLower(page), strings.ToLower(foreign)) {
			t.Errorf("the page has %s", foreign)
		}
	}
}

func TestPageIsSelfContained(t *testing.T) {
	t.Parallel()
	for _, s := range []*collector.Status{allWell(1), badDay(), manyTenants(60)} {
		page := render(t, views(s), "")
		checkSelfContained(t, page)
		style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
		if style == nil {
			t.Fatal("no style")
		}
		sum := sha256.Sum256([]byte(style[1]))
		if want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(pagePolicy, want) {
			t.Errorf("the policy %s refuses the page's style: want %s", pagePolicy, want)
		}
	}
	_, base := serve(t, map[string]*fakeSource{"office365.0": {status: fresh(allWell(1))}})
	response, _ := do(t, "GET", base)
	if got := response.Header.Get("Content-Security-Policy"); got != pagePolicy || !strings.HasPrefix(got, "default-src 'none';") {
		t.Errorf("policy %s", got)
	}
}

// Charts say in words what they show.
func TestCharts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		minutes []uint64
		want    chart
	}{
		"nothing": {[]uint64{0, 0}, chart{"no blob in the last hour", "0", ""}},
		"one":     {[]uint64{0, 1}, chart{"1 blob in the last hour, 1 a minute at most", "1", "M0 24H2V0H4V24z"}},
		"little beside much": {[]uint64{1, 0, 12_000}, chart{
			"12,001 blobs in the last hour, 12,000 a minute at most", "12,001", "M0 24H0V23H2V24H4V0H6V24z",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := newChart(tc.minutes, "blob"); got != tc.want {
				t.Errorf("\n got %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		span(-time.Second): "0 s", span(119 * time.Second): "119 s", span(2 * time.Minute): "2 min", span(time.Hour): "1 h", span(61 * time.Minute): "1 h 1 min",
		span(24 * time.Hour): "1 d", span(51 * time.Hour): "2 d 3 h",
		clock(now, now): "14:05:20 UTC", clock(now.Add(-24*time.Hour), now): "2026-03-03 14:05 UTC",
		number(0): "0", number(999): "999", number(1000): "1,000", number(-123456): "-123,456", number(1234567): "1,234,567",
		count(1, "gap"): "1 gap", count(2, "gap"): "2 gaps",
		size(999): "999 B", size(12_000_000): "12 MB", size(1_250_000): "1.2 MB",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// maxPageSize is what the page may take, however many tenants there are: a browser renders that at once.
const maxPageSize = 400_000

func TestPageOfManyTenantsIsSmall(t *testing.T) {
	t.Parallel()
	s := manyTenants(500)
	for i := range s.Tenants { // all rows say as much as they can
		for j := range s.Tenants[i].Types {
			s.Tenants[i].Types[j].Troubles = trouble("service", strings.Repeat("trouble ", 100))
		}
	}
	if n := len(render(t, views(s), "")); n > maxPageSize {
		t.Errorf("%d bytes, want %d at most", n, maxPageSize)
	}
}

// What the server takes for the page of 500 tenants with five content types each.
func BenchmarkPageOf500Tenants(b *testing.B) {
	in := newInput("office365.0", &fakeSource{status: manyTenants(500)})
	b.ReportAllocs()
	for b.Loop() {
		render(b, []view{in.ask(*in.source.Load(), now)}, "")
	}
}

// What holds the hand-over up, and what Fluent Bit has dropped, stands beside the queue.
func TestPageSaysWhatHoldsTheHandOver(t *testing.T) {
	t.Parallel()
	s := allWell(1)
	s.Queue.Hold = handover.Hold{Kind: handover.HoldStorage, Why: "the volume is full", Since: now.Add(-2 * time.Minute)}
	s.Queue.Dropped, s.Queue.DroppedRecords = 3, 1234
	page := render(t, views(s), "input=office365.0")
	for _, part := range []string{"held for 2 min: the volume is full", "dropped 1,234 records, which it was handed again"} {
		if !strings.Contains(page, part) {
			t.Errorf("no %q on the page:\n%s", part, page)
		}
	}
}
