package monitor

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"in_office365/plugin/collector"
)

var readyDesc = prometheus.NewDesc("office365_ready", "1 if the input is ready as /readyz has it.", nil, nil)

// input is a source that is shown. A panic of the source ends here: prometheus runs wrapped collectors in goroutines of their own, where
// it would end the process (client_golang v1.25.0 prometheus/wrap.go, wrappingCollector).
type input struct {
	name  string
	added time.Time
	descs []*prometheus.Desc // of then: what is registered is what is unregistered

	mu     sync.RWMutex // is held for reading while the source is asked
	source Source       // nil once it has ended
}

// view is how an input fares at one moment.
type view struct {
	name    string
	status  collector.Status
	reasons []reason // why it is not ready
	stalled string   // why it seems not to be alive
}

func newInput(name string, s Source) *input {
	in := &input{name: name, added: time.Now(), source: s, descs: []*prometheus.Desc{readyDesc}}
	described := make(chan *prometheus.Desc)
	go func() {
		defer close(described)
		_ = contained(func() { s.Describe(described) })
	}()
	for d := range described {
		in.descs = append(in.descs, d)
	}
	return in
}

// end returns when the source is asked nothing any more.
func (in *input) end() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.source = nil
}

// Describe implements prometheus.Collector.
func (in *input) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range in.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (in *input) Collect(ch chan<- prometheus.Metric) {
	in.mu.RLock()
	defer in.mu.RUnlock()
	if in.source == nil {
		return
	}
	if err := contained(func() { in.source.Collect(ch) }); err != nil {
		ch <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
	}
	ready := 0.0
	if v := in.ask(time.Now()); len(v.reasons) == 0 {
		ready = 1
	}
	ch <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, ready)
}

// view asks the source; false: it has ended.
func (in *input) view(now time.Time) (view, bool) {
	in.mu.RLock()
	defer in.mu.RUnlock()
	if in.source == nil {
		return view{}, false
	}
	return in.ask(now), true
}

// ask asks the source. in.mu is held.
func (in *input) ask(now time.Time) view {
	v := view{name: in.name}
	if err := contained(func() { v.status = in.source.Status() }); err != nil {
		v.reasons = []reason{{Kind: fault, Reason: "the plugin cannot say how it fares, please report it: " + err.Error()}}
		return v
	}
	v.reasons = notReady(&v.status, now)
	v.stalled = stalled(&v.status, in.added, now)
	return v
}

// contained makes an error of a panic.
func contained(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	f()
	return nil
}
