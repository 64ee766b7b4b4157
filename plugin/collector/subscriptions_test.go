package collector_test

import (
	"testing"
	"time"

	"in_office365/o365"
	"in_office365/plugin/collector"
	"in_office365/test/tenant"
)

const enabledGauge = "office365_subscription_enabled" + general

// wantSubscription compares what is told of Audit.General's, as a word and as a metric.
func (w *world) wantSubscription(c *collector.Collector, when, want string) {
	w.t.Helper()
	value, is := gathered(w.t, c)[enabledGauge]
	if got := typeOf(w.t, c.Status(), o365.AuditGeneral).Subscription; got != want || is != (want != "") || is && value == 1 != (want == "enabled") {
		w.t.Errorf("%s the subscription is %q (%v, %t), want %q", when, got, value, is, want)
	}
}

// A subscription that nobody could look at for half an hour is not known to be enabled.
func TestSubscriptionThatNobodyCanLookAt(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.keys["metrics_per_tenant"] = "off"
		c := w.open()
		c.Start()
		w.host(c, time.Minute)
		fault := w.tenant.Inject(tenant.Fault{Operation: tenant.ListSubscriptions}, tenant.AnswerError(500, "AF50000", "internal"))
		w.host(c, 25*time.Minute)
		w.wantSubscription(c, "25 minutes later", "enabled")
		w.host(c, 10*time.Minute)
		w.wantSubscription(c, "35 minutes later", "")
		fault.Remove()
		w.host(c, 2*time.Minute)
		w.wantSubscription(c, "when it can be looked at", "enabled")
		w.stop(c)
	})
}

// A subscription that the API misses and that cannot be started is not enabled, though nobody can look.
func TestSubscriptionThatCannotBeStarted(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.keys["metrics_per_tenant"] = "off"
		c := w.open()
		c.Start()
		w.host(c, time.Minute)
		faults := []*tenant.Injected{
			w.tenant.Inject(tenant.Fault{Operation: tenant.ListSubscriptions}, tenant.AnswerError(500, "AF50000", "internal")),
			w.tenant.Inject(tenant.Fault{Operation: tenant.StartSubscription}, tenant.AnswerError(500, "AF50000", "internal")),
		}
		w.tenant.Disable(tenant.General)
		for range 3 {
			w.host(c, time.Hour)
			w.wantSubscription(c, "hours later", "disabled")
			if s := typeOf(t, c.Status(), o365.AuditGeneral); len(troublesOf(c.Status())) == 0 || time.Since(s.Listed) < 50*time.Minute {
				t.Errorf("hours later: %+v", s)
			}
		}
		for _, fault := range faults {
			fault.Remove()
		}
		w.host(c, 40*time.Minute)
		w.wantSubscription(c, "started", "enabled")
		if s := typeOf(t, c.Status(), o365.AuditGeneral); len(s.Troubles) != 0 {
			t.Errorf("started: %+v", s.Troubles)
		}
		w.stop(c)
	})
}

// Whoever disables a subscription a second time on one day means it.
func TestSubscriptionThatIsDisabledAgain(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.keys["metrics_per_tenant"] = "off"
		c := w.open()
		c.Start()
		w.host(c, time.Minute)
		w.tenant.Disable(tenant.General)
		w.host(c, 2*time.Minute)
		w.wantSubscription(c, "disabled once,", "enabled")
		w.host(c, 20*time.Minute)
		w.tenant.Disable(tenant.General)
		w.host(c, 20*time.Minute)
		w.wantSubscription(c, "disabled twice,", "disabled")
		w.stop(c)
	})
}

// A permission that is granted later ends what its lack began.
func TestPermissionThatIsGrantedLater(t *testing.T) {
	types := []string{tenant.AzureActiveDirectory, tenant.Exchange, tenant.SharePoint, tenant.General}
	inWorld(t, tenant.Config{Subscribed: types}, func(w *world) {
		missing := w.tenant.Inject(tenant.Fault{ContentType: tenant.DLP}, tenant.PermissionMissing(401))
		c := w.open()
		c.Start()
		w.host(c, 10*time.Minute)
		troubles := typeOf(t, c.Status(), o365.DLPAll).Troubles
		if len(troubles) == 0 || troubles[0].Doing != "subscribing" || troubles[0].Cause != "read_dlp" || troubles[0].Works {
			t.Errorf("missing: %+v", troubles)
		}
		missing.Remove()
		w.host(c, 40*time.Minute)
		if s := typeOf(t, c.Status(), o365.DLPAll); s.Subscription != "enabled" || len(s.Troubles) != 0 {
			t.Errorf("granted: %+v", s)
		}
		w.wantLog("subscribing works again")
		w.stop(c)
	})
}
