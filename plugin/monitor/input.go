package monitor

import (
	"fmt"
	"sync/atomic"
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

	source atomic.Pointer[Source] // nil once it has ended
}

// view is how an input fares at one moment.
type view struct {
	name    string
	status  collector.Status
	reasons []reason // why it is not ready
	stalled string   // why it seems not to be alive
}

func newInput(name string, s Source) *input {
	in := &input{name: name, added: time.Now(), descs: []*prometheus.Desc{readyDesc}}
	in.source.Store(&s)
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

// end lets the source be asked nothing more. Whoever asks it already may do so to the end: to wait for that could hold up the host.
func (in *input) end() { in.source.Store(nil) }

// Describe implements prometheus.Collector.
func (in *input) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range in.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (in *input) Collect(ch chan<- prometheus.Metric) {
	source := in.source.Load()
	if source == nil {
		return
	}
	if err := contained(func() { (*source).Collect(ch) }); err != nil {
		ch <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
	}
	ready := 0.0
	if v := in.ask(*source, time.Now()); len(v.reasons) == 0 {
		ready = 1
	}
	ch <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, ready)
}

// view asks the source; false: it has ended.
func (in *input) view(now time.Time) (view, bool) {
	source := in.source.Load()
	if source == nil {
		return view{}, false
	}
	return in.ask(*source, now), true
}

func (in *input) ask(source Source, now time.Time) view {
	v := view{name: in.name}
	if err := contained(func() { v.status = source.Status() }); err != nil {
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
