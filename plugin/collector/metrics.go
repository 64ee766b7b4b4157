package collector

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"in_office365/o365"
	"in_office365/plugin/handover"
)

// namespace is what the names of all metrics begin with. docs/metrics.md says what each means.
const namespace = "office365"

// Buckets of the histograms, in seconds.
var (
	// Records come minutes to hours after the event, and as late as the API has them.
	delayBuckets = []float64{60, 5 * 60, 10 * 60, 20 * 60, 30 * 60, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 24 * 3600, 3 * 24 * 3600, 7 * 24 * 3600}
	callBuckets  = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	// A callback takes microseconds, a write of the ledger as long as the disk.
	callbackBuckets = prometheus.ExponentialBuckets(5e-6, 4, 8)
	writeBuckets    = prometheus.ExponentialBuckets(5e-4, 4, 8)
)

// metrics are those that are counted as things happen; the others are made of a Status when they are asked for.
type metrics struct {
	perTenant   bool
	calls       *prometheus.CounterVec // by tenant, operation, result
	callTime    *prometheus.HistogramVec
	recordDelay *prometheus.HistogramVec
	callback    prometheus.Histogram
	ledgerWrite prometheus.Histogram
}

func newMetrics(perTenant bool) *metrics {
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}
	}
	return &metrics{
		perTenant: perTenant,
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "api_calls_total", Help: "Calls of the API and for tokens.",
		}, []string{"tenant", "operation", "result"}),
		callTime:    prometheus.NewHistogramVec(histogram("api_call_duration_seconds", "From sending a call until its answer begins.", callBuckets), []string{"operation"}),
		recordDelay: prometheus.NewHistogramVec(histogram("record_delay_seconds", "From a record's CreationTime until Fluent Bit has copied it.", delayBuckets), []string{"content_type"}),
		callback:    prometheus.NewHistogram(histogram("callback_duration_seconds", "Duration of Fluent Bit's collect callback.", callbackBuckets)),
		ledgerWrite: prometheus.NewHistogram(histogram("ledger_write_duration_seconds", "Duration of a write of the db.", writeBuckets)),
	}
}

// label is the value of the label tenant: empty where tenants are not told apart.
func (m *metrics) label(tenant string) string {
	if m.perTenant {
		return tenant
	}
	return ""
}

func (m *metrics) callsOf(tenant string) *prometheus.CounterVec {
	return m.calls.MustCurryWith(prometheus.Labels{"tenant": m.label(tenant)})
}

func (m *metrics) called(calls *prometheus.CounterVec, call o365.Call) {
	operation := strings.ReplaceAll(call.Op, " ", "_")
	calls.WithLabelValues(operation, outcome(call.Err)).Inc()
	m.callTime.WithLabelValues(operation).Observe(call.Took.Seconds())
}

// counted are the metrics that are there as they are.
func (m *metrics) counted() []prometheus.Collector {
	return []prometheus.Collector{m.calls, m.callTime, m.recordDelay, m.callback, m.ledgerWrite}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.metrics.counted() {
		m.Describe(ch)
	}
	describe(ch, ofType)
	describe(ch, ofTenant)
	describe(ch, ofInput)
	ch <- noticesDesc
	ch <- troublesDesc
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c.metrics.counted() {
		m.Collect(ch)
	}
	s := c.Status()
	var tenants []subject[TenantStatus]
	var types []subject[TypeStatus]
	add := func(t *TenantStatus, removed bool) {
		label := c.metrics.label(t.ID)
		tenants = append(tenants, subject[TenantStatus]{t, []string{label}, label, removed})
		for i := range t.Types {
			name := string(t.Types[i].ContentType)
			types = append(types, subject[TypeStatus]{&t.Types[i], []string{label, name}, label + name, removed})
		}
	}
	for i := range s.Tenants {
		add(&s.Tenants[i], false)
	}
	if _, removed := c.everyTenant(); !c.metrics.perTenant {
		for _, t := range removed {
			status := t.status()
			add(&status, true)
		}
	}
	collect(ch, ofType, types, &s)
	collect(ch, ofTenant, tenants, &s)
	collect(ch, ofInput, []subject[Status]{{of: &s}}, &s)
	for i, kind := range noticeKinds {
		ch <- prometheus.MustNewConstMetric(noticesDesc, prometheus.CounterValue, float64(c.stats.notices[i].Load()), kind)
	}
	for cause, n := range causes(&s) {
		ch <- prometheus.MustNewConstMetric(troublesDesc, prometheus.GaugeValue, float64(n), cause)
	}
}

// causes counts what fails at present by its cause.
func causes(s *Status) map[string]int {
	n := map[string]int{}
	count := func(troubles []TroubleStatus) {
		for _, t := range troubles {
			if !t.Works {
				n[t.Cause]++
			}
		}
	}
	count(s.Troubles)
	count(s.TenantsFile)
	count(s.Ledger.Troubles)
	for _, t := range s.Tenants {
		count(t.Troubles)
		for _, ct := range t.Types {
			count(ct.Troubles)
		}
	}
	return n
}

// metric is made of a T: a Status, or one of a tenant, or of a content type. of returns false for a value that is not known.
type metric[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	extra []string // values of the labels beyond tenant and content_type
	merge func(a, b float64) float64
	of    func(*T, *Status) (float64, bool)
}

// subject is what a metric is made of, and how it is labelled. Those with the same key are merged.
type subject[T any] struct {
	of      *T
	labels  []string
	key     string
	removed bool // is no longer collected: only what it has counted stays
}

func describe[T any](ch chan<- *prometheus.Desc, metrics []metric[T]) {
	described := map[*prometheus.Desc]bool{}
	for _, m := range metrics {
		if !described[m.desc] {
			ch <- m.desc
		}
		described[m.desc] = true
	}
}

func collect[T any](ch chan<- prometheus.Metric, metrics []metric[T], subjects []subject[T], s *Status) {
	type value struct {
		v      float64
		labels []string
	}
	values := make(map[string]value, len(subjects))
	for _, m := range metrics {
		clear(values)
		for _, subject := range subjects {
			if subject.removed && m.kind == prometheus.GaugeValue {
				continue
			}
			v, known := m.of(subject.of, s)
			if !known {
				continue
			}
			if other, is := values[subject.key]; is {
				v = m.merge(v, other.v)
			}
			values[subject.key] = value{v, subject.labels}
		}
		for _, v := range values {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v.v, append(slices.Clip(v.labels), m.extra...)...)
		}
	}
}

func sum(a, b float64) float64   { return a + b }
func most(a, b float64) float64  { return max(a, b) }
func least(a, b float64) float64 { return min(a, b) }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

func counter[T any](name, help string, labels []string, of func(*T) float64) metric[T] {
	return metric[T]{desc(name, help, labels...), prometheus.CounterValue, nil, sum, func(t *T, _ *Status) (float64, bool) { return of(t), true }}
}

func gauge[T any](name, help string, labels []string, merge func(a, b float64) float64, of func(*T, *Status) (float64, bool)) metric[T] {
	return metric[T]{desc(name, help, labels...), prometheus.GaugeValue, nil, merge, of}
}

// known is for a value that always is.
func known[T any](of func(*T) float64) func(*T, *Status) (float64, bool) {
	return func(t *T, _ *Status) (float64, bool) { return of(t), true }
}

// age is how long ago, by the local clock, and false if it never was.
func age(t time.Time, s *Status) (float64, bool) { return s.At.Sub(t).Seconds(), !t.IsZero() }

// left is how long until then, and false if that is not known.
func left(t time.Time, s *Status) (float64, bool) { return t.Sub(s.At).Seconds(), !t.IsZero() }

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

var (
	noticesDesc  = desc("notices_total", "Notices given.", "kind")
	troublesDesc = desc("troubles", "What fails at present, by cause.", "cause")
)

var (
	byType   = []string{"tenant", "content_type"}
	byTenant = []string{"tenant"}
)

var ofType = append([]metric[TypeStatus]{
	gauge("blobs_incomplete", "Blobs carried over and listed that have neither settled nor been lost; must come to 0.", byType, sum,
		known(func(t *TypeStatus) float64 { return float64(t.Blobs.Incomplete()) })),
	gauge("blobs_carried_over", "Blobs that an earlier run left pending.", byType, sum, known(func(t *TypeStatus) float64 { return float64(t.Blobs.CarriedOver) })),
	counter("blobs_listed_total", "Blobs that were new in a listing.", byType, func(t *TypeStatus) float64 { return float64(t.Blobs.Listed) }),
	counter("blobs_listed_again_total", "Blobs that a listing named again.", byType, func(t *TypeStatus) float64 { return float64(t.Blobs.ListedAgain) }),
	counter("blobs_fetched_total", "Blobs read to their end.", byType, func(t *TypeStatus) float64 { return float64(t.Blobs.Fetched) }),
	counter("blobs_settled_total", "Blobs whose records all are through.", byType, func(t *TypeStatus) float64 { return float64(t.Blobs.Settled) }),
	gauge("blobs_pending", "Blobs that the db calls pending.", byType, sum, known(func(t *TypeStatus) float64 { return float64(t.Pending) })),
	counter("gaps_total", "Spans that the API no longer lists and that were never listed.", byType, func(t *TypeStatus) float64 { return float64(t.Gaps) }),
	counter("gap_seconds_total", "Length of the gaps.", byType, func(t *TypeStatus) float64 { return t.GapTime.Seconds() }),
	gauge("subscription_enabled", "1 if the subscription is enabled.", byType, least, func(t *TypeStatus, _ *Status) (float64, bool) {
		return flag(t.Subscription == subscriptionEnabled), t.Subscription != ""
	}),
	counter("records_read_total", "Records read from blobs.", byType, func(t *TypeStatus) float64 { return float64(t.Records.Read) }),
	counter("read_bytes_total", "JSON of the records read, inflated.", byType, func(t *TypeStatus) float64 { return float64(t.Records.ReadBytes) }),
	counter("records_handed_over_total", "Records that Fluent Bit has copied.", byType, func(t *TypeStatus) float64 { return float64(t.Records.HandedOver) }),
	counter("handed_over_bytes_total", "msgpack of the records that Fluent Bit has copied.", byType, func(t *TypeStatus) float64 { return float64(t.Records.HandedOverBytes) }),
	counter("records_repeated_total", "Records dropped as their Id had been handed over before.", byType, func(t *TypeStatus) float64 { return float64(t.Records.Repeated) }),
	counter("records_unreadable_total", "Records delivered as their bytes.", byType, func(t *TypeStatus) float64 { return float64(t.Records.Unreadable) }),

	gauge("behind_seconds", "How far back the moment lies up to which all that became available is through.", byType, most,
		known(func(t *TypeStatus) float64 { return t.Behind.Seconds() })),
	gauge("oldest_pending_age_seconds", "Since when the oldest pending blob is available; 0 without one.", byType, most,
		known(func(t *TypeStatus) float64 { return t.OldestPendingAge.Seconds() })),
	gauge("last_listing_age_seconds", "Since a listing succeeded, or since the start.", byType, most, func(t *TypeStatus, s *Status) (float64, bool) {
		if t.Listed.IsZero() {
			return age(t.Began, s)
		}
		return age(t.Listed, s)
	}),
	gauge("newest_content_age_seconds", "Age of the newest blob that has settled.", byType, least,
		func(t *TypeStatus, _ *Status) (float64, bool) {
			return t.At.Sub(t.NewestContent).Seconds(), !t.NewestContent.IsZero()
		}),
	gauge("newest_record_age_seconds", "Age of the newest record that was handed over, by its CreationTime.", byType, least,
		func(t *TypeStatus, _ *Status) (float64, bool) {
			return t.At.Sub(t.NewestRecord).Seconds(), !t.NewestRecord.IsZero()
		}),
	counter("listing_failures_total", "Listings that failed.", byType, func(t *TypeStatus) float64 { return float64(t.Blobs.ListFailures) }),
	counter("fetch_failures_total", "Fetches that failed and are tried again.", byType, func(t *TypeStatus) float64 { return float64(t.Blobs.FetchFailures) }),
}, lost("expired", func(b *BlobCounts) int64 { return b.LostExpired }), lost("gone", func(b *BlobCounts) int64 { return b.LostGone }))

var lostDesc = desc("blobs_lost_total", "Blobs given up.", "tenant", "content_type", "reason")

func lost(reason string, of func(*BlobCounts) int64) metric[TypeStatus] {
	return metric[TypeStatus]{lostDesc, prometheus.CounterValue, []string{reason}, sum, known(func(t *TypeStatus) float64 { return float64(of(&t.Blobs)) })}
}

var ofTenant = []metric[TenantStatus]{
	gauge("api_budget_calls_per_minute", "rate_limit.", byTenant, sum, known(func(t *TenantStatus) float64 { return float64(t.Budget.PerMinute) })),
	gauge("api_allowed_calls_per_minute", "Calls that the plugin allows itself at present.", byTenant, sum, known(func(t *TenantStatus) float64 { return float64(t.Budget.Allowed) })),
	gauge("api_budget_used_ratio", "Calls of the last minute to the budget.", byTenant, most,
		known(func(t *TenantStatus) float64 { return float64(t.Budget.Used) / float64(max(t.Budget.PerMinute, 1)) })),
	counter("tokens_renewed_total", "Access tokens had.", byTenant, func(t *TenantStatus) float64 { return float64(t.TokensRenewed) }),
	gauge("token_expires_in_seconds", "Until the access token ends.", byTenant, least, func(t *TenantStatus, s *Status) (float64, bool) { return left(t.TokenExpires, s) }),
}

var ofInput = []metric[Status]{
	gauge("credential_expires_in_seconds", "Until the credential ends, where that is known.", nil, nil, func(s, _ *Status) (float64, bool) { return left(s.CredentialExpires, s) }),
	counter("panics_total", "Faults of the plugin that were contained.", nil, func(s *Status) float64 { return float64(s.Panics) }),
	gauge("queue_bytes", "Memory of batches that wait for Fluent Bit, and of those in flight.", nil, nil, known(func(s *Status) float64 { return float64(s.Queue.Bytes) })),
	gauge("queue_limit_bytes", "buffer_size.", nil, nil, known(func(s *Status) float64 { return float64(s.Queue.Limit) })),
	batches("waiting", func(q *handover.Status) int { return q.Waiting }),
	batches("unsettled", func(q *handover.Status) int { return q.Unsettled }),
	gauge("in_flight_bytes", "Batches that Fluent Bit has copied and is not known to be done with.", nil, nil, known(func(s *Status) float64 { return float64(s.Queue.InFlight) })),
	counter("batches_refused_total", "Batches that Fluent Bit refused, each time it did.", nil, func(s *Status) float64 { return float64(s.Queue.Refused) }),
	counter("batches_dropped_total", "Batches in flight when Fluent Bit dropped something; they are handed over again.", nil, func(s *Status) float64 { return float64(s.Queue.Dropped) }),
	counter("records_dropped_total", "Records that Fluent Bit has dropped, by its count; they are handed over again.", nil, func(s *Status) float64 { return float64(s.Queue.DroppedRecords) }),
	gauge("receipts", "1 if Fluent Bit gives receipts for what it is handed, 0 if only time tells.", nil, nil, func(s, _ *Status) (float64, bool) {
		return flag(s.Host.Receipts != handover.ReceiptsByTime), s.Host.Receipts != handover.ReceiptsUnknown
	}),
	gauge("storage_full", "1 while nothing is handed over for want of room for Fluent Bit's chunks.", nil, nil, known(func(s *Status) float64 { return flag(s.Queue.Hold.Kind == handover.HoldStorage) })),
	counter("batches_handed_over_total", "Batches that Fluent Bit has copied.", nil, func(s *Status) float64 { return float64(s.Queue.Batches) }),
	gauge("waiting_seconds", "Since when there is something to take without Fluent Bit taking anything; 0 if nothing waits.", nil, nil,
		known(func(s *Status) float64 {
			waiting, is := age(s.Queue.WaitingSince, s)
			return waiting * flag(is)
		})),
	gauge("last_callback_age_seconds", "Since Fluent Bit asked for a batch, or since the start.", nil, nil, func(s, _ *Status) (float64, bool) {
		if s.Host.Called.IsZero() {
			return age(s.Started, s)
		}
		return age(s.Host.Called, s)
	}),
	counter("pauses_total", "How often Fluent Bit has paused the input.", nil, func(s *Status) float64 { return float64(s.Host.Pauses) }),
	counter("paused_seconds_total", "How long Fluent Bit has paused the input.", nil, func(s *Status) float64 { return s.Host.Paused.Seconds() }),
	gauge("paused", "1 while Fluent Bit pauses the input.", nil, nil, known(func(s *Status) float64 { return flag(!s.Host.PausedSince.IsZero()) })),
	gauge("ledger_size_bytes", "Size of the db's file.", nil, nil, known(func(s *Status) float64 { return float64(s.Ledger.Size) })),
	gauge("ledger_unwritten", "Blobs with changes that the db does not have yet.", nil, nil, known(func(s *Status) float64 { return float64(s.Ledger.Unwritten) })),
	counter("ledger_write_failures_total", "Writes of the db that failed.", nil, func(s *Status) float64 { return float64(s.Ledger.Failures) }),
	counter("ledger_unreadable_total", "Entries of the db that could not be read: their blobs are collected again.", nil,
		func(s *Status) float64 { return float64(s.Ledger.Unreadable) }),
	gauge("tenants", "Tenants that are collected.", nil, nil, known(func(s *Status) float64 { return float64(len(s.Tenants)) })),
	gauge("start_time_seconds", "When collecting began, Unix time.", nil, nil, func(s, _ *Status) (float64, bool) {
		return float64(s.Started.UnixMilli()) / 1e3, !s.Started.IsZero()
	}),
}

var batchesDesc = desc("queue_batches", "Batches that wait for Fluent Bit, or that it has copied and that are not settled.", "state")

func batches(state string, of func(*handover.Status) int) metric[Status] {
	return metric[Status]{batchesDesc, prometheus.GaugeValue, []string{state}, nil, known(func(s *Status) float64 { return float64(of(&s.Queue)) })}
}
