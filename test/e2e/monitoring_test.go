package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"text/tabwriter"
	"time"

	"in_office365/test/certificate"
	"in_office365/test/tenant"
)

// A real Prometheus watches two plugins by the project's rules, with a second for each minute: one in Fluent Bit if there is one, one in the minimal host.
// Each fault raises its alert, and each alert ends after it; what is lost stays lost for a day. In the end nothing is incomplete, and every query of the
// dashboard has had an answer.
func TestPrometheusSeesEveryFault(t *testing.T) {
	t.Parallel()
	program(t, "prometheus")
	promtool := program(t, "promtool")
	m := newMonitored(t)
	t.Cleanup(m.print)

	// What takes long goes on beside the rest.
	slow := []func() (ends func()){m.blobHangs, m.listingHangs, m.credentialEnds, m.diskIsFull}
	ends := make([]func(), len(slow))
	for i, begin := range slow {
		ends[i] = begin()
	}
	lost := m.blobIsGone()
	m.throttled()
	m.refused()
	for _, end := range ends {
		end()
	}
	m.subscriptionDisabled()
	m.nothingTaken()
	m.stopped()

	m.complete()
	if lost.is(func() bool { return !lost.resolved.IsZero() })() {
		t.Error("what was lost is forgotten")
	}
	if names := m.uncalledFor(); len(names) > 0 {
		t.Errorf("fired, and no fault calls for it: %q", names)
	}
	if printed := m.check(promtool); printed != "" {
		t.Errorf("promtool check metrics says: %s", printed)
	}
	for _, query := range append(dashboardQueries(t), recorded(t)...) {
		if !m.everAnswered(query) {
			t.Errorf("never an answer to %s", query)
		}
	}
}

// monitored is two plugins and what watches them.
type monitored struct {
	*watcher
	main            *soak  // in Fluent Bit, if there is one
	other           *trial // in the minimal host
	mainAt, otherAt string
	hang            *tenant.Injected
}

func newMonitored(t *testing.T) *monitored {
	t.Helper()
	m := &monitored{main: &soak{trial: newTrial(t, subscribed())}, other: newTrial(t, subscribed()), mainAt: freeAddress(t), otherAt: freeAddress(t)}
	x := m.main
	secret := x.write("secret", []byte(tenant.DefaultClientSecret))
	x.keys["client_secret"], x.keys["client_secret_file"], x.keys["metrics_address"] = "", secret, m.mainAt
	x.process = &minimalSoak{soak: x, library: plugin}
	if findFluentBit() != "" {
		x.process = newFluentBitSoak(x, plugin)
	}
	ending := certificate.New(t, time.Now().Add(-time.Hour), time.Now().Add(24*time.Minute)) // a day, by the shorter rules
	m.other.tenant.SetCertificates(ending.Certificate)
	m.other.keys["client_secret"], m.other.keys["client_certificate_file"] = "", m.other.write("certificate", ending.PEM(t))
	m.other.keys["metrics_address"] = m.otherAt
	for _, x := range []*trial{x.trial, m.other} {
		x.offer(2, 3, x.ago(10*time.Second), x.ago(time.Second))
	}
	hangs := x.offerBlob(tenant.General, x.ago(2*day), 3) // nobody lists that span again so soon
	m.hang = m.inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: hangs}, tenant.Hang())
	x.process.start()
	m.other.startWithLimitableFiles()
	m.watcher = startPrometheus(t, m.mainAt, m.otherAt)
	return m
}

// on are the labels of an alert that is about a content type of the main plugin.
func (m *monitored) on(contentType string) labels {
	return labels{"instance": m.mainAt, "content_type": contentType}
}

func (m *monitored) inject(f tenant.Fault, effects ...tenant.Effect) *tenant.Injected {
	return m.main.tenant.Inject(f, effects...)
}

// lasts waits for the alerts of a fault, mends it, and waits for their end.
func lasts(mend func(), alarms ...*alarm) {
	for _, a := range alarms {
		a.waitFired()
	}
	mend()
	for _, a := range alarms {
		a.over()
	}
	for _, a := range alarms {
		a.waitResolved()
	}
}

func (m *monitored) blobHangs() (end func()) {
	const fault = "a blob hangs"
	behind, incomplete := m.raises(fault, "Office365Behind", m.on(tenant.General)), m.raises(fault, "Office365Incomplete", m.on(tenant.General))
	return func() { lasts(m.hang.Remove, behind, incomplete) }
}

func (m *monitored) blobIsGone() *alarm {
	id := m.main.offerBlob(tenant.SharePoint, m.main.ago(time.Second), 3)
	m.inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: id}, tenant.AnswerError(http.StatusNotFound, "AF20050", "The specified content does not exist."))
	a := m.raises("a blob is gone", "Office365Lost", m.on(tenant.SharePoint))
	a.waitFired()
	return a
}

func (m *monitored) listingHangs() (end func()) {
	answers := make(chan struct{})
	hang := m.inject(tenant.Fault{Operation: tenant.ListContent, ContentType: tenant.DLP}, tenant.Until(answers))
	a := m.raises("listing hangs", "Office365NotListing", m.on(tenant.DLP))
	return func() {
		lasts(func() {
			hang.Remove()
			close(answers)
		}, a)
	}
}

func (m *monitored) credentialEnds() (end func()) {
	const fault, alert = "a certificate ends in a day", "Office365CredentialExpiring"
	warning, critical := m.raises(fault, alert, labels{"instance": m.otherAt, "severity": "warning"}), m.raises(fault, alert, labels{"instance": m.otherAt, "severity": "critical"})
	return func() {
		lasts(func() {
			next := certificate.Valid(m.t)
			m.other.write("certificate", next.PEM(m.t))
			m.other.tenant.SetCertificates(next.Certificate)
			m.other.tenant.RevokeTokens()
		}, warning, critical)
	}
}

func (m *monitored) diskIsFull() (end func()) {
	m.other.limitFiles(0)
	a := m.raises("the disk is full", "Office365LedgerUnwritable", labels{"instance": m.otherAt})
	return func() { lasts(func() { m.other.limitFiles(-1) }, a) }
}

func (m *monitored) throttled() {
	throttle := m.inject(tenant.Fault{Operation: tenant.ListContent, ContentType: tenant.AzureActiveDirectory, Probability: 0.5}, tenant.Throttle(http.StatusTooManyRequests, time.Second))
	lasts(throttle.Remove, m.raises("the API throttles", "Office365Throttled", labels{"instance": m.mainAt}))
}

func (m *monitored) refused() {
	const next = "example~secret~that~comes~next"
	m.main.tenant.SetSecret(next)
	m.main.tenant.RevokeTokens()
	lasts(func() { m.main.write("secret", []byte(next)) }, m.raises("the secret is revoked", "Office365Refused", labels{"instance": m.mainAt, "cause": "secret"}))
}

// subscriptionDisabled waits for the plugin to ask for the list of subscriptions, which it does once a minute at most.
func (m *monitored) subscriptionDisabled() {
	const fault, alert = "a subscription is switched off", "Office365SubscriptionDisabled"
	start := make(chan struct{})
	m.inject(tenant.Fault{Operation: tenant.StartSubscription}, tenant.Until(start))
	m.main.tenant.Disable(tenant.Exchange)
	off := m.raises(fault, alert, labels{"instance": m.mainAt, "severity": "critical", "content_type": tenant.Exchange})
	notice := m.raises(fault, alert, labels{"instance": m.mainAt, "severity": "warning"})
	lasts(func() { close(start) }, off)
	notice.waitFired()
	notice.over()
}

// nothingTaken goes on with new blobs until the input is paused.
func (m *monitored) nothingTaken() {
	x := m.main
	x.process.stall(true)
	a := m.raises("the output takes nothing", "Office365NotHandedOver", labels{"instance": m.mainAt})
	until(m.t, "a pause", func() bool {
		x.offerBlob(tenant.General, x.ago(time.Second), 3)
		return x.process.pauses() > 0
	})
	lasts(func() { x.process.stall(false) }, a)
}

func (m *monitored) stopped() {
	a := m.raises("kill -9", "Office365Stopped", labels{"instance": m.mainAt})
	m.main.process.stop(true)
	lasts(m.main.process.start, a)
}

// complete waits until Prometheus says that nothing is missing.
func (m *monitored) complete() {
	x := m.main
	x.offer(1, 3, x.ago(time.Second), x.ago(time.Second))
	until(m.t, "every record but those that are lost", func() bool {
		x.process.update()
		for _, ct := range tenant.ContentTypes() {
			if lost := 3 * count(ct == tenant.SharePoint); x.distinct[ct] < x.offeredOf(ct)-lost {
				return false
			}
		}
		return true
	})
	for _, name := range []string{"office365_blobs_incomplete", "office365_blobs_pending"} {
		until(m.t, name+" to be 0", func() bool {
			return fmt.Sprint(m.query(name)) == fmt.Sprint(make([]float64, 2*len(tenant.ContentTypes())))
		})
	}
}

// check lets promtool look at the metrics.
func (m *monitored) check(promtool string) (printed string) {
	r, err := http.Get("http://" + m.mainAt + "/metrics")
	if err != nil {
		m.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || len(text) == 0 {
		m.t.Fatal("no metrics:", err)
	}
	c := exec.Command(promtool, "check", "metrics")
	c.Stdin = bytes.NewReader(text)
	out, err := c.CombinedOutput()
	if err != nil {
		m.t.Error(err)
	}
	return string(out)
}

func (m *monitored) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "in %s\nfault\talert\tfired after\tresolved after\n", m.main.process.name())
	for _, row := range m.table() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", row[0], row[1], row[2], row[3])
	}
	w.Flush()
}
