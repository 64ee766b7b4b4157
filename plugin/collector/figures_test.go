package collector_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"in_office365/o365"
	"in_office365/plugin/collector"
	"in_office365/test/tenant"
)

// near fails unless a time, in seconds, is that one or up to ten seconds more: stock is taken every five.
func near(t *testing.T, what string, seconds float64, want time.Duration) {
	t.Helper()
	if more := seconds - want.Seconds(); more < 0 || more > 10 {
		t.Errorf("%s: %v, want %v", what, time.Duration(seconds*1e9), want)
	}
}

const general = "{content_type=Audit.General}"

// As long as nothing is known, everything is as far behind as it has been collected, and that goes on from second to second.
func TestBehindBeforeAnythingIsKnown(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.keys["metrics_per_tenant"] = "off"
		w.tenant.Inject(tenant.Fault{Operation: tenant.Token}, tenant.LoginError(401, "invalid_client", 7000215, "Invalid client secret provided."))
		c := w.open()
		c.Start()
		w.host(c, 2*time.Hour)
		got := gathered(t, c)
		near(t, "behind_seconds", got["office365_behind_seconds"+general], 2*time.Hour)
		near(t, "last_listing_age_seconds", got["office365_last_listing_age_seconds"+general], 2*time.Hour)
		near(t, "Behind", typeOf(t, c.Status(), o365.AuditGeneral).Behind.Seconds(), 2*time.Hour)
		for range 10 {
			before := c.Figures().Behind
			w.host(c, time.Second)
			if now := c.Figures().Behind; now < 2*time.Hour || now-before != time.Second {
				t.Errorf("behind %v, a second later %v", before, now)
			}
		}
		w.stop(c)
	})
}

// A run that has not listed anything yet knows from the db up to when all is through.
func TestBehindAfterARestart(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.run(10*time.Minute + 30*time.Second)
		time.Sleep(10 * time.Hour)
		w.tenant.Inject(tenant.Fault{Operation: tenant.Token}, tenant.LoginError(401, "invalid_client", 7000215, "Invalid client secret provided."))
		c := w.open()
		c.Start()
		w.host(c, 10*time.Second)
		if s := typeOf(t, c.Status(), o365.AuditGeneral); s.Behind < 10*time.Hour || s.Behind > 10*time.Hour+2*time.Minute || c.Figures().Behind < s.Behind-time.Minute {
			t.Errorf("behind %v, listed until %v; Fluent Bit's own %v", s.Behind, s.ListedUntil, c.Figures().Behind)
		}
		w.stop(c)
	})
}

// A first run has the whole week before it, however little of it has been listed.
func TestBehindInAFirstRun(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.keys["rate_limit"] = "10/m"
		w.lastWeek(3000, 1)
		c := w.open()
		c.Start()
		for range 8 {
			w.host(c, 30*time.Second)
			if s := typeOf(t, c.Status(), o365.AuditGeneral); s.Behind < 6*24*time.Hour || c.Figures().Behind < 6*24*time.Hour {
				t.Errorf("behind %v; Fluent Bit's own %v", s.Behind, c.Figures().Behind)
			}
		}
		w.stop(c)
	})
}

// A content type that cannot be listed from the beginning grows old alone, and comes back.
func TestATypeThatIsNeverListed(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.keys["metrics_per_tenant"], w.keys["start_from"] = "off", "1h"
		fault := w.tenant.Inject(tenant.Fault{Operation: tenant.ListContent, ContentType: tenant.General}, tenant.AnswerError(503, "", "busy"))
		c := w.open()
		c.Start()
		w.host(c, 2*time.Hour)
		s, got := typeOf(t, c.Status(), o365.AuditGeneral), gathered(t, c)
		near(t, "last_listing_age_seconds", got["office365_last_listing_age_seconds"+general], 2*time.Hour)
		near(t, "behind_seconds", got["office365_behind_seconds"+general], 3*time.Hour)
		if !s.Listed.IsZero() || len(s.Troubles) != 1 || s.Troubles[0].Works {
			t.Errorf("%+v", s)
		}
		if age := got["office365_last_listing_age_seconds{content_type=Audit.Exchange}"]; age > 60 {
			t.Errorf("another type was listed %v seconds ago", age)
		}
		fault.Remove()
		w.host(c, 15*time.Minute)
		if s = typeOf(t, c.Status(), o365.AuditGeneral); s.Behind > 2*time.Minute || s.Listed.IsZero() || len(s.Troubles) != 0 {
			t.Errorf("mended: %+v", s)
		}
		w.stop(c)
	})
}

// A blob is new once, and named again by each later listing of its time.
func TestListedAgain(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.tenant.AddBlob(tenant.General, ago(10*time.Minute), tenant.Generated{Records: 1})
		c := w.open()
		c.Start()
		for poll := range int64(3) {
			w.host(c, 30*time.Second)
			if b := typeOf(t, c.Status(), o365.AuditGeneral).Blobs; b.Listed != 1 || b.ListedAgain != poll {
				t.Errorf("after %d polls: %+v", poll+1, b)
			}
			w.host(c, 30*time.Second)
		}
		w.stop(c)
	})
}

// A span that always fails is behind, and in trouble all the time, however well all others are listed. What it shares with others, such as
// access, is over nevertheless.
func TestWindowThatFailsWhileOthersSucceed(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.run(10*time.Minute + 30*time.Second)
		time.Sleep(60 * time.Hour)
		fault := w.tenant.Inject(tenant.Fault{Operation: tenant.ListContent, ContentType: tenant.General, Covers: ago(50 * time.Hour)}, tenant.AnswerError(503, "", "busy"))
		refused := w.tenant.Inject(tenant.Fault{Operation: tenant.Token}, tenant.LoginError(401, "invalid_client", 7000215, "Invalid client secret provided."))
		c := w.open()
		c.Start()
		w.host(c, 10*time.Minute)
		refused.Remove()
		w.host(c, 12*time.Minute)
		for range 20 {
			w.host(c, 59*time.Second)
			status := c.Status()
			s := typeOf(t, status, o365.AuditGeneral)
			if s.Behind < 50*time.Hour || c.Figures().Behind < 50*time.Hour || !s.CompleteUntil.Before(ago(50*time.Hour)) {
				t.Errorf("behind %v, complete until %v", s.Behind, s.CompleteUntil)
			}
			if len(s.Troubles) != 1 || s.Troubles[0].Works || s.Troubles[0].Doing != "listing content" || time.Since(s.Listed) > 2*time.Minute {
				t.Errorf("listed %v, troubles %+v", s.Listed, s.Troubles)
			}
			if len(status.Troubles)+len(status.Tenants[0].Troubles) != 0 {
				t.Errorf("access still is in trouble: %+v", status)
			}
		}
		fault.Remove()
		w.host(c, 15*time.Minute)
		if s := typeOf(t, c.Status(), o365.AuditGeneral); s.Behind > 2*time.Minute || len(s.Troubles) != 0 {
			t.Errorf("mended: %+v", s)
		}
		w.stop(c)
	})
}

// What had been listed before an outage is listed again for what came late. If it can't be until the API drops it, that is told, though the
// rest of its window then can.
func TestSpanThatCannotBeListedAgain(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.run(10*time.Minute + 30*time.Second) // not in the middle of a poll
		before := ago(5 * time.Minute)
		time.Sleep(7*24*time.Hour - 2*time.Hour)
		w.tenant.Inject(tenant.Fault{Operation: tenant.ListContent, ContentType: tenant.General, Covers: before}, tenant.AnswerError(503, "", "busy"))
		c := w.open()
		c.Start()
		for range 100 {
			w.host(c, time.Minute)
			if s := typeOf(t, c.Status(), o365.AuditGeneral); len(s.Troubles) != 1 || s.Troubles[0].Works {
				t.Errorf("troubles %+v", s.Troubles)
			}
		}
		w.host(c, 40*time.Minute)
		if s := typeOf(t, c.Status(), o365.AuditGeneral); len(s.Troubles) != 0 || s.Gaps != 0 {
			t.Errorf("when it is gone: %+v", s)
		}
		if w.count("level=WARN", "a span could not be listed again while the API had it", "content_type=Audit.General") != 1 || w.count("a span could not") != 1 {
			t.Errorf("log:\n%s", strings.Join(w.linesWith("level=WARN"), ""))
		}
		w.stop(c)
		w.wantNotices()
	})
}

// After a damaged db nobody knows what had come, so that it is no first run.
func TestDamagedDBWithStartFromNow(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.keys["start_from"] = "now"
		w.run(10 * time.Minute)
		time.Sleep(time.Hour)
		w.tenant.AddBlob(tenant.General, ago(30*time.Minute), tenant.Generated{Records: 7})
		w.write(w.keys["db"], strings.Repeat("damaged ", 10_000))
		w.run(5 * time.Minute)
		if len(w.delivered) != 7 {
			t.Errorf("%d records of 7", len(w.delivered))
		}
		w.wantNotices("ledger_reset")
		if err := os.Remove(w.keys["db"]); err != nil {
			t.Fatal(err)
		}
		w.tenant.AddBlob(tenant.General, ago(30*time.Minute), tenant.Generated{Seed: 1, Records: 7})
		w.run(5 * time.Minute)
		if len(w.delivered) != 7 {
			t.Errorf("a new db begins now, and not before: %d records", len(w.delivered))
		}
	})
}

// A gap is counted once, with its length and its time, by whomever it is told.
func TestGapIsCounted(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.keys["content_types"] = tenant.General
		w.run(2 * time.Minute)
		time.Sleep(8 * 24 * time.Hour)
		begun := time.Now()
		c := w.open()
		c.Start()
		w.host(c, 10*time.Minute)
		s := typeOf(t, c.Status(), o365.AuditGeneral)
		var length time.Duration
		for _, gap := range w.gaps {
			length += gap.to.Sub(gap.from)
		}
		if len(w.gaps) != 1 || s.Gaps != 1 || s.GapTime != length || length < 24*time.Hour {
			t.Errorf("%d gaps of %v, want one of %v", s.Gaps, s.GapTime, length)
		}
		if late := s.LastLoss.Sub(begun); late < 0 || late > time.Minute || c.Figures().Gaps != 1 {
			t.Errorf("last loss after %v; %+v", late, c.Figures())
		}
		w.stop(c)
	})
}

// A loss counts when its notice is through, and not before: until then the next start would announce it again.
func TestLossWhilePausedCountsWhenItIsAnnounced(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		c := w.open()
		c.Start()
		w.host(c, time.Minute)
		id := w.tenant.AddBlob(tenant.DLP, time.Now(), tenant.Body("[]"))
		w.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: id}, tenant.AnswerError(400, "AF20050", "gone"))
		c.Pause()
		w.host(c, 10*time.Minute)
		if s := typeOf(t, c.Status(), o365.DLPAll); !s.LastLoss.IsZero() || s.Blobs.Lost() != 0 || s.Blobs.Incomplete() != 1 || c.Figures().Incomplete != 1 {
			t.Errorf("paused: %+v", s)
		}
		resumed := time.Now()
		c.Resume()
		w.host(c, time.Minute)
		if s := typeOf(t, c.Status(), o365.DLPAll); s.LastLoss.Before(resumed) || s.Blobs.LostGone != 1 || c.Figures().Lost != 1 {
			t.Errorf("resumed: %+v", s)
		}
		w.wantComplete(c)
		w.stop(c)
	})
}

func TestExpiredBlobIsCountedAsSuch(t *testing.T) {
	inWorld(t, tenant.Config{Subscribed: tenant.ContentTypes(), Retention: 2 * time.Hour}, func(w *world) {
		w.tenant.AddBlob(tenant.General, ago(time.Minute), tenant.Body("[]"))
		w.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob}, tenant.AnswerError(503, "", "busy"))
		c := w.open()
		c.Start()
		w.host(c, 3*time.Hour)
		if b := typeOf(t, c.Status(), o365.AuditGeneral).Blobs; b.LostExpired != 1 || b.LostGone != 0 {
			t.Errorf("%+v", b)
		}
		w.wantComplete(c)
		w.stop(c)
	})
}

// Together, tenants are as far behind as the worst of them and as new as the newest, and what can be counted is added up.
func TestGaugesOfTenantsTogether(t *testing.T) {
	inWorldOf(t, 2, func(w *world, tenants []*tenant.Tenant) {
		w.keys["metrics_per_tenant"], w.keys["start_from"] = "off", "1d"
		for i, tn := range tenants {
			hours := time.Duration(i + 1)
			tn.AddBlob(tenant.General, ago(hours*time.Hour), tenant.Generated{Seed: uint64(i), Records: 1})
			stuck := tn.AddBlob(tenant.General, ago((4-hours)*5*time.Hour), tenant.Generated{Seed: uint64(i) + 10, Records: 1})
			tn.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: stuck}, tenant.AnswerError(503, "", "busy"))
		}
		begun := time.Now()
		c := w.open()
		c.Start()
		w.host(c, time.Minute)
		tenants[0].Disable(tenant.General) // which refuses listings, too
		tenants[0].Inject(tenant.Fault{Operation: tenant.StartSubscription}, tenant.AnswerError(500, "AF50000", "internal"))
		w.host(c, 9*time.Minute)
		got := gathered(t, c)
		for name, want := range map[string]float64{"blobs_incomplete": 2, "blobs_pending": 2, "subscription_enabled": 0} {
			if v := got["office365_"+name+general]; v != want {
				t.Errorf("%s is %v, want %v", name, v, want)
			}
		}
		for name, want := range map[string]time.Duration{
			"behind_seconds": 15 * time.Hour, "oldest_pending_age_seconds": 15 * time.Hour, "newest_content_age_seconds": time.Hour,
		} {
			near(t, name, got["office365_"+name+general], want+time.Since(begun))
		}
		if age := got["office365_last_listing_age_seconds"+general]; age < 5*60 {
			t.Errorf("last_listing_age_seconds is %v, as of the one that is listed", age)
		}
		near(t, "Fluent Bit's own behind", c.Figures().Behind.Seconds(), 15*time.Hour+time.Since(begun))
		w.stop(c)
	})
}

// What a removed tenant has lost stays lost; what it had still to do is nobody's any more.
func TestFiguresOfARemovedTenant(t *testing.T) {
	inWorldOf(t, 2, func(w *world, tenants []*tenant.Tenant) {
		w.keys["start_from"] = "1d"
		write := w.tenantsFile(tenantID(0), tenantID(1))
		lost := tenants[1].AddBlob(tenant.General, ago(time.Hour), tenant.Body("[]"))
		tenants[1].Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: lost}, tenant.AnswerError(400, "AF20050", "gone"))
		stuck := tenants[1].AddBlob(tenant.General, ago(5*time.Hour), tenant.Generated{Records: 1})
		tenants[1].Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: stuck}, tenant.AnswerError(503, "", "busy"))
		c := w.open()
		c.Start()
		w.host(c, 2*time.Minute)
		if f := c.Figures(); f.Incomplete != 1 || f.Lost != 1 || f.Behind < 5*time.Hour {
			t.Errorf("%+v", f)
		}
		write(tenantID(0))
		w.host(c, time.Minute)
		if f := c.Figures(); f.Incomplete != 0 || f.Lost != 1 || f.Behind > 2*time.Minute {
			t.Errorf("removed: %+v", f)
		}
		w.stop(c)
	})
}

// A tenant that comes later is as old as its own collecting.
func TestAgesOfATenantThatCameLater(t *testing.T) {
	inWorldOf(t, 2, func(w *world, tenants []*tenant.Tenant) {
		w.keys["metrics_per_tenant"] = "on"
		write := w.tenantsFile(tenantID(0))
		tenants[1].Inject(tenant.Fault{Operation: tenant.Token}, tenant.LoginError(401, "invalid_client", 700016, "no such application"))
		c := w.open()
		c.Start()
		w.host(c, 2*time.Hour)
		write(tenantID(0), tenantID(1))
		w.host(c, time.Minute)
		got := gathered(t, c)
		for _, name := range []string{"behind_seconds", "last_listing_age_seconds"} {
			if v, is := got["office365_"+name+"{content_type=Audit.General,tenant="+tenantID(1)+"}"]; !is || v < 30 || v > 60 {
				t.Errorf("%s is %v", name, v)
			}
		}
		w.stop(c)
	})
}

// troublesOf are all of a status that have not succeeded since.
func troublesOf(s collector.Status) (failing []collector.TroubleStatus) {
	all := append(append([]collector.TroubleStatus{}, s.Troubles...), s.Ledger.Troubles...)
	for _, tn := range s.Tenants {
		all = append(all, tn.Troubles...)
		for _, ct := range tn.Types {
			all = append(all, ct.Troubles...)
		}
	}
	for _, trouble := range all {
		if !trouble.Works {
			failing = append(failing, trouble)
		}
	}
	return failing
}
