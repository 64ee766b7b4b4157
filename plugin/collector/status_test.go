package collector_test

import (
	"bufio"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"in_office365/o365"
	"in_office365/plugin/collector"
	"in_office365/test/tenant"
)

// wantComplete fails unless all blobs that were to be had are through, or lost.
func (w *world) wantComplete(c *collector.Collector) {
	w.t.Helper()
	for _, tn := range c.Status().Tenants {
		for _, ct := range tn.Types {
			if n := ct.Blobs.Incomplete(); n != 0 || ct.Pending != 0 || !ct.OldestPending.IsZero() {
				w.t.Errorf("%s: incomplete %d, pending %d since %v: %+v", ct.ContentType, n, ct.Pending, ct.OldestPending, ct.Blobs)
			}
		}
	}
}

func typeOf(t *testing.T, s collector.Status, ct o365.ContentType) collector.TypeStatus {
	t.Helper()
	i := slices.IndexFunc(s.Tenants[0].Types, func(ts collector.TypeStatus) bool { return ts.ContentType == ct })
	if i < 0 {
		t.Fatalf("no %s in %+v", ct, s.Tenants[0])
	}
	return s.Tenants[0].Types[i]
}

func TestStatusOfARunThatIsThrough(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.lastWeek(20, 5)
		c := w.open()
		if s := c.Status(); !s.Started.IsZero() || len(s.Tenants) != 0 {
			t.Errorf("before the start: %+v", s)
		}
		c.Start()
		w.host(c, 3*time.Minute)
		s := c.Status()
		w.wantComplete(c)
		general := typeOf(t, s, o365.AuditGeneral)
		if general.Subscription != "enabled" || s.Host.Called.IsZero() || s.Queue.Batches == 0 || s.Ledger.Size == 0 || s.Tenants[0].TokensRenewed != 1 {
			t.Errorf("%+v", s)
		}
		if b, r := general.Blobs, general.Records; b.Settled != b.Listed || b.Settled == 0 ||
			r.Read != r.HandedOver || r.HandedOver != 5*b.Settled || r.ReadBytes == 0 || r.HandedOverBytes == 0 {
			t.Errorf("%+v %+v", b, r)
		}
		if general.Behind > 2*time.Minute || general.CompleteUntil.After(time.Now()) {
			t.Errorf("behind %v, complete until %v", general.Behind, general.CompleteUntil)
		}
		if general.NewestContent.IsZero() || general.NewestRecord.IsZero() || general.NewestRecord.After(time.Now()) {
			t.Errorf("newest content of %v, newest record of %v", general.NewestContent, general.NewestRecord)
		}
		var blobs, records int64
		for _, minute := range general.History {
			blobs += int64(minute.Blobs)
			records += int64(minute.Records)
		}
		if blobs != general.Blobs.Settled || records != general.Records.HandedOver {
			t.Errorf("the last hour has %d blobs and %d records: %+v", blobs, records, general)
		}
		w.host(c, 2*time.Hour)
		if later := typeOf(t, c.Status(), o365.AuditGeneral); later.History != (collector.History{}) || later.Behind > 2*time.Minute || later.Blobs.ListedAgain == 0 {
			t.Errorf("two hours on: %+v", later)
		}
		w.stop(c)
	})
}

// What an earlier run left pending is carried over, so that the balance comes to 0 in this one too.
func TestCompletenessOverARestart(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.lastWeek(60, 5)
		w.run(3 * time.Second)
		c := w.open()
		c.Start()
		w.host(c, time.Second)
		carried := int64(0)
		for _, ct := range c.Status().Tenants[0].Types {
			carried += ct.Blobs.CarriedOver
		}
		if carried == 0 {
			t.Error("nothing was carried over")
		}
		w.host(c, 5*time.Minute)
		w.wantComplete(c)
		w.stop(c)
	})
}

// A blob that cannot be fetched holds back up to when everything is complete, until it is had or lost.
func TestBehindIsTheOldestBlobThatIsNotThrough(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		created := ago(5 * time.Hour).Truncate(time.Millisecond)
		id := w.tenant.AddBlob(tenant.General, created, tenant.Generated{Records: 3})
		w.tenant.AddBlob(tenant.General, ago(time.Hour), tenant.Generated{Seed: 1, Records: 3})
		fault := w.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: id}, tenant.AnswerError(503, "", "busy"))
		c := w.open()
		c.Start()
		w.host(c, 10*time.Minute)
		s := typeOf(t, c.Status(), o365.AuditGeneral)
		if !s.CompleteUntil.Equal(created) || s.Behind < 5*time.Hour || s.Pending != 1 || s.Blobs.Incomplete() != 1 || !s.OldestPending.Equal(created) {
			t.Errorf("%+v", s)
		}
		if len(s.Troubles) != 1 || s.Troubles[0].Cause != "service" || !strings.Contains(s.Troubles[0].Text, "503") || s.Troubles[0].Works {
			t.Errorf("troubles %+v", s.Troubles)
		}
		if other := typeOf(t, c.Status(), o365.AuditExchange); other.Behind > 2*time.Minute || len(other.Troubles) != 0 {
			t.Errorf("another type: %+v", other)
		}
		fault.Remove()
		w.host(c, 20*time.Minute)
		w.wantComplete(c)
		w.stop(c)
	})
}

func TestLossesAreCountedAndTheBalanceIsEven(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		id := w.tenant.AddBlob(tenant.DLP, ago(time.Hour), tenant.Body("[]"))
		w.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: id}, tenant.AnswerError(400, "AF20050", "gone"))
		c := w.open()
		c.Start()
		w.host(c, 5*time.Minute)
		w.wantComplete(c)
		status := c.Status()
		s := typeOf(t, status, o365.DLPAll)
		if s.Blobs.LostGone != 1 || s.Blobs.LostExpired != 0 || s.LastLoss.IsZero() {
			t.Errorf("%+v", s)
		}
		if len(status.Notices) != 1 || status.Notices[0].Kind != "blob_lost" || status.Notices[0].ContentType != tenant.DLP {
			t.Errorf("notices %+v", status.Notices)
		}
		w.stop(c)
	})
}

func TestPausesAreTold(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.lastWeek(5, 5)
		c := w.open()
		c.Start()
		w.host(c, time.Minute)
		w.tenant.AddBlob(tenant.General, time.Now(), tenant.Generated{Seed: 3, Records: 10})
		c.Pause()
		c.Pause()
		w.host(c, 10*time.Minute)
		s := c.Status()
		if s.Host.Pauses != 1 || s.Host.Paused != 10*time.Minute || s.Queue.Waiting == 0 || time.Since(s.Queue.WaitingSince) < 7*time.Minute {
			t.Errorf("paused: %+v %+v", s.Host, s.Queue)
		}
		c.Resume()
		w.host(c, time.Minute)
		s = c.Status()
		if s.Host.Pauses != 1 || s.Host.Paused != 10*time.Minute || !s.Host.PausedSince.IsZero() || s.Queue.Waiting != 0 || !s.Queue.WaitingSince.IsZero() {
			t.Errorf("resumed: %+v %+v", s.Host, s.Queue)
		}
		w.wantComplete(c)
		w.stop(c)
	})
}

// A trouble is told until it has been quiet for a while, but is said to be over at once.
func TestTroubleThatWorksAgain(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		down := w.tenant.Inject(tenant.Fault{Operation: tenant.Token}, tenant.LoginError(401, "invalid_client", 7000215, "Invalid client secret provided."))
		c := w.open()
		c.Start()
		w.host(c, 3*time.Minute)
		s := c.Status()
		if len(s.Troubles) != 1 || s.Troubles[0].Cause != "secret" || s.Troubles[0].Works || s.Troubles[0].Count == 0 {
			t.Errorf("refused: %+v", s.Troubles)
		}
		if general := typeOf(t, s, o365.AuditGeneral); !general.Listed.IsZero() || !general.CompleteUntil.IsZero() || len(general.Troubles) != 0 {
			t.Errorf("refused: %+v", general)
		}
		down.Remove()
		w.host(c, 4*time.Minute)
		if s = c.Status(); len(s.Troubles) != 1 || !s.Troubles[0].Works {
			t.Errorf("just mended: %+v", s.Troubles)
		}
		w.host(c, 10*time.Minute)
		if s = c.Status(); len(s.Troubles) != 0 {
			t.Errorf("over: %+v", s.Troubles)
		}
		w.stop(c)
	})
}

// gathered are the metrics by name and labels.
func gathered(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				if l.GetValue() != "" {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
			}
			key := f.GetName()
			if len(labels) > 0 {
				key += "{" + strings.Join(labels, ",") + "}"
			}
			values[key] = value(m)
		}
	}
	return values
}

// value is how often a histogram has been observed.
func value(m *dto.Metric) float64 {
	switch {
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	case m.GetGauge() != nil:
		return m.GetGauge().GetValue()
	default:
		return float64(m.GetHistogram().GetSampleCount())
	}
}

func TestMetricsOfARun(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.keys["metrics_per_tenant"] = "on"
		w.lastWeek(20, 5)
		c := w.open()
		gathered(t, c) // before the start, too
		c.Start()
		w.host(c, 3*time.Minute)
		got := gathered(t, c)
		of := "content_type=Audit.General,tenant=" + tenant.DefaultID
		settled := got["office365_blobs_settled_total{"+of+"}"]
		for key, want := range map[string]float64{
			"office365_blobs_incomplete{" + of + "}":                                                                0,
			"office365_blobs_pending{" + of + "}":                                                                   0,
			"office365_blobs_listed_total{" + of + "}":                                                              settled,
			"office365_records_handed_over_total{" + of + "}":                                                       5 * settled,
			"office365_record_delay_seconds{content_type=Audit.General}":                                            5 * settled,
			"office365_subscription_enabled{" + of + "}":                                                            1,
			"office365_blobs_lost_total{content_type=Audit.General,reason=expired,tenant=" + tenant.DefaultID + "}": 0,
			"office365_tokens_renewed_total{tenant=" + tenant.DefaultID + "}":                                       1,
			"office365_api_call_duration_seconds{operation=get_token}":                                              1,
			"office365_queue_batches{state=waiting}":                                                                0,
			"office365_tenants":                                                                                     1,
			"office365_api_budget_calls_per_minute{tenant=" + tenant.DefaultID + "}":                                100000,
		} {
			if v, is := got[key]; !is || v != want {
				t.Errorf("%s is %v (%v), want %v", key, v, is, want)
			}
		}
		if settled == 0 || got["office365_callback_duration_seconds"] != 0 || got["office365_ledger_write_duration_seconds"] == 0 {
			t.Errorf("settled %v, callbacks %v, writes %v", settled, got["office365_callback_duration_seconds"], got["office365_ledger_write_duration_seconds"])
		}
		w.stop(c)
		gathered(t, c) // whoever has begun to ask goes on to the end
	})
}

// With many tenants the label is empty, and there are as many series as with one. What a removed tenant has counted stays counted.
func TestMetricsOfTenantsTogether(t *testing.T) {
	inWorldOf(t, 3, func(w *world, tenants []*tenant.Tenant) {
		w.keys["metrics_per_tenant"] = "off"
		w.keys["tenants_file"] = w.keys["db"] + ".tenants"
		ids := strings.Split(w.keys["tenant_id"], ",")
		delete(w.keys, "tenant_id")
		w.write(w.keys["tenants_file"], strings.Join(ids, "\n"))
		for _, tn := range tenants {
			lastWeekOf(tn, 10, 2)
		}
		c := w.open()
		c.Start()
		w.host(c, 5*time.Minute)
		before := gathered(t, c)
		all := "office365_records_handed_over_total{content_type=Audit.General}"
		if before["office365_tenants"] != 3 || before[all] == 0 {
			t.Errorf("%v tenants, %v records", before["office365_tenants"], before[all])
		}
		w.write(w.keys["tenants_file"], ids[0])
		w.host(c, time.Minute)
		after := gathered(t, c)
		if after["office365_tenants"] != 1 || after[all] != before[all] {
			t.Errorf("%v tenants, %v records, before %v", after["office365_tenants"], after[all], before[all])
		}
		if allowed := after["office365_api_allowed_calls_per_minute"]; allowed != 100000 {
			t.Errorf("%v calls a minute are allowed", allowed)
		}
		w.stop(c)
	})
}

func TestMetricsFollowTheConventions(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.lastWeek(5, 5)
		c := w.open()
		c.Start()
		w.host(c, time.Minute)
		problems, err := testutil.CollectAndLint(c)
		if err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
		w.stop(c)
	})
}

// docs/metrics.md names each metric, with its type and labels, and no other.
func TestMetricsAreDocumented(t *testing.T) {
	documented := map[string]string{}
	f, err := os.Open("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name := regexp.MustCompile("`(office365_[a-z0-9_]+)`")
	for lines := bufio.NewScanner(f); lines.Scan(); {
		columns := strings.Split(lines.Text(), "|")
		if len(columns) < 5 || !strings.Contains(columns[1], "`office365_") {
			continue
		}
		labels := strings.Fields(strings.ReplaceAll(columns[3], ",", " "))
		slices.Sort(labels)
		for _, m := range name.FindAllStringSubmatch(columns[1], -1) {
			documented[m[1]] = strings.TrimSpace(columns[2]) + " " + strings.Join(labels, ",")
		}
	}
	for _, name := range []string{"office365_ready", "office365_build_info"} { // which the monitor adds
		delete(documented, name)
	}

	inWorld(t, subscribed, func(w *world) {
		c := w.open()
		described := make(chan *prometheus.Desc, 100)
		c.Describe(described)
		close(described)
		found := map[string]bool{}
		of := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)
		for d := range described {
			m := of.FindStringSubmatch(d.String())
			labels := strings.Split(m[2], ",")
			slices.Sort(labels)
			found[m[1]] = true
			if got, want := strings.Join(labels, ","), documented[m[1]]; want == "" || strings.SplitN(want, " ", 2)[1] != got {
				t.Errorf("%s has the labels %q; documented: %q", m[1], got, want)
			}
		}
		for name := range documented {
			if !found[name] {
				t.Errorf("%s is documented, and not there", name)
			}
		}
		c.Stop()
	})
}
