package monitor

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"in_office365/plugin/collector"
	"in_office365/plugin/handover"
)

func TestReadiness(t *testing.T) {
	t.Parallel()
	const of0, of1 = tenantID, "11111111-2222-3333-4444-000000000001"
	allTypes := func(tenant *collector.TenantStatus, change func(*collector.TypeStatus)) {
		for i := range tenant.Types {
			change(&tenant.Types[i])
		}
	}
	neverListed := func(ty *collector.TypeStatus) {
		ty.Listed, ty.CompleteUntil, ty.Behind = time.Time{}, time.Time{}, 0
	}
	for name, tc := range map[string]struct {
		change func(*collector.Status, []collector.TypeStatus) // the types are those of the first of two tenants
		want   []string                                        // "kind tenant contentType: reason"
	}{
		"all well": {func(*collector.Status, []collector.TypeStatus) {}, nil},
		"a trouble that is not of long": {func(_ *collector.Status, types []collector.TypeStatus) {
			types[0].Troubles = trouble("service", "listing content failed: HTTP 503")
		}, nil},
		"troubles that are over, though not for long": {func(s *collector.Status, types []collector.TypeStatus) {
			s.Troubles, s.Ledger.Troubles = trouble("secret_expired", "the client secret has expired"), trouble("other", "no space left on device")
			s.Troubles[0].Works, s.Ledger.Troubles[0].Works = true, true
			types[0].Troubles = trouble("consent", "ActivityFeed.Read is missing")
			types[0].Troubles[0].Works = true
		}, nil},

		"not begun": {func(s *collector.Status, _ []collector.TypeStatus) { s.Started = time.Time{} }, []string{
			"starting: collecting has not begun yet",
		}},
		"not listed yet": {func(_ *collector.Status, types []collector.TypeStatus) { neverListed(&types[1]) }, []string{
			"starting " + of0 + " Audit.Exchange: not listed yet",
		}},
		"listed, but nobody knows yet what is pending": {func(_ *collector.Status, types []collector.TypeStatus) {
			types[1].CompleteUntil, types[1].Behind = time.Time{}, 0
		}, []string{"starting " + of0 + " Audit.Exchange: listed, and not counted yet"}},

		"secret expired": {func(s *collector.Status, _ []collector.TypeStatus) {
			s.Troubles = trouble("secret_expired", "the client secret has expired; make a new one")
			for i := range s.Tenants {
				allTypes(&s.Tenants[i], neverListed)
			}
		}, []string{"credential: the client secret has expired; make a new one"}},
		"certificate ended, and nobody has refused it yet": {func(s *collector.Status, _ []collector.TypeStatus) { s.CredentialExpires = now.Add(-2 * time.Hour) }, []string{
			"credential: the credential expired 2 h ago: put a new one in its place, and register it with the application first",
		}},
		"certificate ended, and it is refused": {func(s *collector.Status, _ []collector.TypeStatus) {
			s.CredentialExpires = now.Add(-2 * time.Hour)
			s.Troubles = trouble("certificate", "the certificate is refused")
		}, []string{"credential: the certificate is refused"}},
		"a tenant without consent": {func(s *collector.Status, _ []collector.TypeStatus) {
			s.Tenants[1].Troubles = trouble("consent", "ActivityFeed.Read is missing; grant it")
			allTypes(&s.Tenants[1], neverListed)
		}, []string{"credential " + of1 + ": ActivityFeed.Read is missing; grant it"}},
		"a content type without permission": {func(_ *collector.Status, types []collector.TypeStatus) {
			neverListed(&types[4])
			types[4].Troubles = trouble("read_dlp", "ActivityFeed.ReadDlp is missing")
		}, []string{"credential " + of0 + " DLP.All: ActivityFeed.ReadDlp is missing"}},

		"not listed for ten minutes": {func(_ *collector.Status, types []collector.TypeStatus) {
			types[3].Listed = now.Add(-10 * time.Minute)
		}, nil},
		"not listed for longer": {func(_ *collector.Status, types []collector.TypeStatus) {
			types[3].Listed = now.Add(-11 * time.Minute)
			types[3].Troubles = trouble("service", "listing content failed: HTTP 503")
		}, []string{"listing " + of0 + " Audit.General: no listing for 11 min: listing content failed: HTTP 503"}},
		"not listed for three long intervals": {func(s *collector.Status, types []collector.TypeStatus) {
			s.PollInterval = 10 * time.Minute
			types[3].Listed, types[4].Listed = now.Add(-30*time.Minute), now.Add(-31*time.Minute)
		}, []string{"listing " + of0 + " DLP.All: no listing for 31 min, and no error: the calls that rate_limit allows may be too few"}},
		"never listed, for a trouble": {func(s *collector.Status, types []collector.TypeStatus) {
			neverListed(&types[0])
			types[0].Troubles = trouble("api_host", "HTTP 404")
		}, []string{"listing " + of0 + " Audit.AzureActiveDirectory: not listed yet: HTTP 404"}},
		"held back by the API": {func(s *collector.Status, types []collector.TypeStatus) {
			types[0].Listed = now.Add(-20 * time.Minute)
			s.Tenants[0].Budget.HeldUntil = now.Add(time.Minute)
		}, []string{"listing " + of0 + " Audit.AzureActiveDirectory: no listing for 20 min: the API has asked for no calls until 14:06:20 UTC"}},
		"one trouble of all is one reason": {func(s *collector.Status, _ []collector.TypeStatus) {
			s.Troubles = trouble("proxy", "the proxy cannot be reached; check http_proxy")
			for i := range s.Tenants {
				allTypes(&s.Tenants[i], func(ty *collector.TypeStatus) { ty.Listed = now.Add(-2 * time.Hour) })
			}
		}, []string{"listing: no listing for 2 h: the proxy cannot be reached; check http_proxy"}},

		"paused for a while": {func(s *collector.Status, _ []collector.TypeStatus) { s.Host.PausedSince = now.Add(-299 * time.Second) }, nil},
		"paused for long": {func(s *collector.Status, _ []collector.TypeStatus) {
			s.Host.PausedSince, s.Queue.WaitingSince = now.Add(-5*time.Minute), now.Add(-8*time.Minute)
		}, []string{"hand_over: Fluent Bit has paused the input for 5 min: an output is down or too slow, or storage is full: look at Fluent Bit's log"}},
		"not taken": {func(s *collector.Status, _ []collector.TypeStatus) { s.Queue.WaitingSince = now.Add(-6 * time.Minute) }, []string{
			"hand_over: Fluent Bit has taken nothing of what waits, for 6 min: an output is down or too slow, or storage is full: look at Fluent Bit's log",
		}},
		"refused for long": {func(s *collector.Status, _ []collector.TypeStatus) {
			s.Queue.WaitingSince, s.Queue.Hold = now.Add(-6*time.Minute), handover.Hold{Kind: handover.HoldRefused, Why: "Fluent Bit has refused a batch", Since: now.Add(-time.Second)}
		}, []string{"hand_over: Fluent Bit has refused a batch, for 6 min: an output is down or too slow, or storage is full: look at Fluent Bit's log"}},
		"no room for chunks": {func(s *collector.Status, _ []collector.TypeStatus) {
			s.Queue.Hold = handover.Hold{Kind: handover.HoldStorage, Why: "the volume of /chunks is full", Since: now.Add(-2 * time.Minute)}
		}, []string{"storage: the volume of /chunks is full: nothing is handed over for 2 min; free space there or let the outputs catch up, and it goes on by itself"}},

		"tenants_file is broken": {func(s *collector.Status, _ []collector.TypeStatus) {
			s.TenantsFile = trouble("other", "reading tenants_file failed: line 3 is no GUID; the tenants stay as they are until it can be used")
		}, []string{"tenants: reading tenants_file failed: line 3 is no GUID; the tenants stay as they are until it can be used"}},
		"switched off": {func(_ *collector.Status, types []collector.TypeStatus) { types[1].Subscription = "disabled" }, []string{
			"subscription " + of0 + " Audit.Exchange: the subscription is off, and nothing new is recorded: find out who switched it off; it is started again",
		}},

		"less than three long intervals behind": {func(s *collector.Status, types []collector.TypeStatus) {
			s.PollInterval, types[2].Behind = 30*time.Minute, 80*time.Minute
		}, nil},
		"an hour behind": {func(_ *collector.Status, types []collector.TypeStatus) { types[2].Behind = time.Hour }, nil},
		"further behind": {func(_ *collector.Status, types []collector.TypeStatus) {
			types[2].Behind, types[2].Pending, types[2].OldestPending = 26*time.Hour, 1234, now.Add(-26*time.Hour)
			types[3].Behind, types[3].Pending, types[3].OldestPending = 27*time.Hour, 1, time.Time{}
			types[3].Troubles = trouble("no_answer", "fetching content failed: no answer in time")
		}, []string{
			"behind " + of0 + " Audit.General: 1 d 3 h behind: 1 blob pending; fetching content failed: no answer in time",
			"behind " + of0 + " Audit.SharePoint: 1 d 2 h behind: 1,234 blobs pending, the oldest of 2026-03-03 12:05 UTC; if it does not shrink, raise batch_size and workers",
		}},

		"lost": {func(_ *collector.Status, types []collector.TypeStatus) {
			types[1].Blobs.LostExpired, types[1].Blobs.LostGone, types[1].LastLoss = 1, 1, now.Add(-23*time.Hour)
			types[2].Gaps, types[2].GapTime, types[2].LastLoss = 1, 90*time.Minute, now.Add(-25*time.Hour)
		}, []string{"lost " + of0 + " Audit.Exchange: lost since the start: 2 blobs; the last 23 h ago. Nothing brings it back through this API: search the audit log in Purview"}},

		"db that cannot be written": {func(s *collector.Status, _ []collector.TypeStatus) {
			s.Ledger.Troubles = trouble("other", "no space left on device; free disk space")
		}, []string{"ledger: no space left on device; free disk space"}},

		"the worst first": {func(s *collector.Status, types []collector.TypeStatus) {
			neverListed(&types[0])
			types[1].Behind = 2 * time.Hour
			types[2].Gaps, types[2].LastLoss = 1, now
			types[3].Listed = now.Add(-time.Hour)
			types[4].Troubles = trouble("read_dlp", "ActivityFeed.ReadDlp is missing")
			types[2].Subscription = "disabled"
			s.Queue.WaitingSince = now.Add(-time.Hour)
			s.Ledger.Troubles, s.TenantsFile = trouble("other", "read-only file system"), trouble("other", "it is empty")
		}, []string{"credential", "tenants", "listing", "subscription", "lost", "hand_over", "behind", "ledger", "starting"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := allWell(2)
			tc.change(s, s.Tenants[0].Types)
			reasons := notReady(s, now)
			if len(reasons) != len(tc.want) {
				t.Fatalf("reasons %+v, want %q", reasons, tc.want)
			}
			for i, r := range reasons {
				got := strings.Join(strings.Fields(fmt.Sprint(r.Kind, " ", r.Tenant, " ", r.ContentType)), " ") + ": " + r.Reason
				if got != tc.want[i] && string(r.Kind) != tc.want[i] {
					t.Errorf("reason %d:\n got %s\nwant %s", i, got, tc.want[i])
				}
			}
		})
	}
}

func TestAlive(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		called, added, paused time.Duration // ago; negative: never
		want                  string
	}{
		"called":                {time.Second, time.Hour, -1, ""},
		"called a minute ago":   {time.Minute, time.Hour, -1, ""},
		"not called for longer": {61 * time.Second, time.Hour, -1, "Fluent Bit has asked for no batch for 61 s: its engine hangs, or the input's thread does"},
		"paused meanwhile":      {time.Hour, 2 * time.Hour, time.Hour, ""},
		"just added":            {-1, time.Minute, -1, ""},
		"never called":          {-1, 2 * time.Minute, -1, "Fluent Bit has not begun to ask for batches, for 2 min: its engine hangs, or the input's thread does"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := func(ago time.Duration) time.Time {
				if ago < 0 {
					return time.Time{}
				}
				return now.Add(-ago)
			}
			s := &collector.Status{Host: handover.HostStatus{Called: at(tc.called), PausedSince: at(tc.paused)}}
			if got := stalled(s, at(tc.added), now); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// A probe's answer stays short however many tenants have the same trouble.
func TestReasonsAreBounded(t *testing.T) {
	t.Parallel()
	s := allWell(30)
	for i := range s.Tenants {
		s.Tenants[i].Troubles = trouble("client", "the application is not in this tenant")
	}
	_, base := serve(t, map[string]*fakeSource{"office365.0": {status: fresh(s)}})
	code, body := get(t, base+"/readyz")
	var answer readyAnswer
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	if in := answer.Inputs[0]; code != 503 || answer.Ready || in.Ready || len(in.Reasons) != 20 || in.More != 10 {
		t.Errorf("%d: %d reasons, %d more", code, len(in.Reasons), in.More)
	}
}
