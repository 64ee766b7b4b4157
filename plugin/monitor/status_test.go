package monitor

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"in_office365/o365"
	"in_office365/plugin/collector"
	"in_office365/plugin/handover"
)

// now is when the statuses of the tests are taken.
var now = time.Date(2026, 3, 4, 14, 5, 20, 0, time.UTC)

const tenantID = "11111111-2222-3333-4444-000000000000"

// allWell is the status of an input at rest, with so many tenants of five content types.
func allWell(tenants int) *collector.Status {
	s := &collector.Status{
		At: now, Version: "v1.2.0", Started: now.Add(-50 * time.Hour), Several: tenants > 1, PollInterval: time.Minute,
		CredentialExpires: now.Add(200 * 24 * time.Hour),
		Host:              handover.HostStatus{Called: now.Add(-time.Second), Paused: 2 * time.Minute, Pauses: 1},
		Queue:             handover.Status{Bytes: 1_200_000, Limit: 12_000_000, Unsettled: 1, HandedOver: now.Add(-2 * time.Second), Batches: 1200},
		Ledger:            collector.LedgerStatus{Size: 4_194_304, Unwritten: 3},
	}
	for i := range tenants {
		t := collector.TenantStatus{
			ID: fmt.Sprintf("%s%012d", tenantID[:24], i), TokenExpires: now.Add(40 * time.Minute),
			Budget: o365.BudgetStatus{PerMinute: 2000, Allowed: 2000, Used: 37},
		}
		for j, contentType := range o365.ContentTypes() {
			ty := collector.TypeStatus{
				ContentType: contentType, Subscription: "enabled", Listed: now.Add(-time.Duration(7+9*j) * time.Second), ListedUntil: now.Add(-time.Minute),
				Began: now.Add(-50 * time.Hour), CompleteUntil: now.Add(-2 * time.Minute), Behind: 2 * time.Minute,
				Blobs: collector.BlobCounts{Listed: 900, Settled: 899}, Pending: 1, OldestPending: now.Add(-90 * time.Second),
			}
			for m := range ty.History {
				if n := (m*m*7 + i*13 + j*29) % 17; j < 4 && n > 3 {
					ty.History[m].Blobs, ty.History[m].Records = uint32(n), uint32(n*n*(5-j))
				}
			}
			t.Types = append(t.Types, ty)
		}
		s.Tenants = append(s.Tenants, t)
	}
	return s
}

// trouble has a cause of package diagnosis.
func trouble(cause, text string) []collector.TroubleStatus {
	return []collector.TroubleStatus{{Doing: "listing content", Cause: cause, Text: text, Since: now.Add(-time.Hour), Last: now.Add(-time.Minute), Count: 60}}
}

// fakeSource is an input with a given status.
type fakeSource struct {
	status  *collector.Status
	panics  bool
	asked   func() // with each status
	metrics []prometheus.Metric
}

func (f *fakeSource) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range f.metrics {
		ch <- m.Desc()
	}
}

func (f *fakeSource) Collect(ch chan<- prometheus.Metric) {
	for _, m := range f.metrics {
		ch <- m
	}
	f.failIfAsked()
}

func (f *fakeSource) Status() collector.Status {
	if f.asked != nil {
		f.asked()
	}
	f.failIfAsked()
	return *f.status
}

func (f *fakeSource) failIfAsked() {
	if f.panics {
		panic("boom")
	}
}

// badDay is the status of an input with one tenant on which much goes wrong at once.
func badDay() *collector.Status {
	s := allWell(1)
	s.CredentialExpires = now.Add(-3 * time.Hour)
	s.Host.PausedSince = now.Add(-12 * time.Minute)
	s.Queue.Bytes, s.Queue.Waiting, s.Queue.WaitingSince = 12_000_000, 3, now.Add(-12*time.Minute)
	s.Ledger.Failures = 14
	s.Troubles = []collector.TroubleStatus{{
		Doing: "access to the API", Cause: "secret_expired", Since: now.Add(-3 * time.Hour), Last: now.Add(-time.Minute), Count: 212,
		Text: "getting a token failed: HTTP 401 invalid_client AADSTS7000222: the client secret has expired; make a new one under Certificates & secrets, and put it in client_secret_file",
	}}
	types := s.Tenants[0].Types
	for i := range types {
		t := &types[i]
		t.Listed, t.CompleteUntil, t.Behind, t.Pending = now.Add(-3*time.Hour), now.Add(-3*time.Hour), 3*time.Hour, 0
		t.OldestPending, t.History = time.Time{}, collector.History{}
	}
	exchange, sharePoint, dlp := &types[1], &types[2], &types[4]
	exchange.CompleteUntil, exchange.Behind = now.Add(-5*time.Hour-12*time.Minute), 5*time.Hour+12*time.Minute
	exchange.Pending, exchange.OldestPending = 12_846, exchange.CompleteUntil
	exchange.Troubles = []collector.TroubleStatus{{
		Doing: "fetching content", Cause: "throttled", Since: now.Add(-20 * time.Minute), Last: now.Add(-4 * time.Second), Count: 48,
		Text: "fetching content failed: HTTP 429: there are too many requests; wait; if it stays, find out who else collects with this publisher_identifier",
	}}
	sharePoint.Blobs.LostExpired, sharePoint.Gaps, sharePoint.GapTime, sharePoint.LastLoss = 1, 1, 3*time.Hour, now.Add(-70*time.Minute)
	dlp.Subscription = "disabled"
	s.Tenants[0].TokenExpires = time.Time{}
	s.Tenants[0].Budget = o365.BudgetStatus{PerMinute: 2000, Allowed: 600, Used: 540, HeldUntil: now.Add(30 * time.Second)}
	s.Notices = []collector.NoticeStatus{
		{At: now.Add(-20 * time.Minute), Kind: "throttled", Tenant: tenantID, ContentType: "Audit.Exchange", Reason: "the API asked for fewer requests"},
		{At: now.Add(-70 * time.Minute), Kind: "blob_lost", Tenant: tenantID, ContentType: "Audit.SharePoint", Reason: "the blob expired before it could be fetched"},
		{At: now.Add(-3 * time.Hour), Kind: "credential_expiring", Reason: "the client secret has expired"},
		{At: now.Add(-26 * time.Hour), Kind: "subscription_disabled", Tenant: tenantID, ContentType: "DLP.All", Reason: "it was switched off while it was collected, and started again once"},
	}
	return s
}

// manyTenants is the status of an input with many tenants, of which some fare ill.
func manyTenants(n int) *collector.Status {
	s := allWell(n)
	for i := range s.Tenants {
		t := &s.Tenants[i]
		switch {
		case i%97 == 13:
			t.Troubles = trouble("client", "getting a token failed: HTTP 400 unauthorized_client AADSTS700016: the application is not in this tenant: an administrator has to consent")
			for j := range t.Types {
				t.Types[j].Listed, t.Types[j].CompleteUntil, t.Types[j].Behind, t.Types[j].Pending = time.Time{}, time.Time{}, 0, 0
				t.Types[j].History, t.Types[j].Subscription, t.Types[j].OldestPending = collector.History{}, "", time.Time{}
			}
			t.TokenExpires = time.Time{}
		case i%83 == 7:
			ty := &t.Types[3]
			ty.CompleteUntil, ty.Behind, ty.Pending, ty.OldestPending = now.Add(-2*time.Hour), 2*time.Hour, 5120, now.Add(-2*time.Hour)
		case i%61 == 5:
			t.Types[0].Troubles = trouble("throttled", "listing content failed: HTTP 429: there are too many requests; wait")
		}
	}
	return s
}
