// Package monitor shows from outside how the inputs of a process fare: metrics for Prometheus, health for probes, and a status page for
// people.
package monitor

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"in_office365/plugin/collector"
)

// Source is one input: a *collector.Collector.
type Source interface {
	prometheus.Collector
	Status() collector.Status
}

// Monitor shows all inputs of a process, at each of the addresses that they name.
type Monitor struct {
	registry *prometheus.Registry

	mu      sync.Mutex
	inputs  []*input
	servers map[string]*server // by address as configured
}

// New returns a monitor of no inputs. version is that of the plugin.
func New(version string) *Monitor {
	m := &Monitor{registry: prometheus.NewRegistry(), servers: map[string]*server{}}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "office365_build_info", Help: "1, with the version of the plugin and of Go.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Add shows an input under its name, or under the next free name#2 where several have that name, and listens on address unless that is
// empty or another input's too. After remove the source is asked nothing more, and nobody listens on an address whose last input has gone.
func (m *Monitor) Add(name, address string, s Source) (remove func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in := newInput(m.free(strings.ToValidUTF8(name, "\uFFFD")), s) // as a label must be
	registerer := prometheus.WrapRegistererWith(prometheus.Labels{"input": in.name}, m.registry)
	if err := registerer.Register(in); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	if address != "" {
		if err := m.listen(address); err != nil {
			registerer.Unregister(in)
			return nil, err
		}
	}
	m.inputs = append(m.inputs, in)
	return sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.inputs = slices.DeleteFunc(m.inputs, func(other *input) bool { return other == in })
		registerer.Unregister(in)
		in.end()
		if address != "" {
			m.leave(address)
		}
	}), nil
}

// Addresses returns where the monitor listens, by the address that inputs name: they differ for port 0.
func (m *Monitor) Addresses() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	addresses := make(map[string]string, len(m.servers))
	for address, s := range m.servers {
		addresses[address] = s.listener.Addr().String()
	}
	return addresses
}

// free is the name, or the first of name#2, name#3 that no input has.
func (m *Monitor) free(name string) string {
	taken := func(name string) bool {
		return slices.ContainsFunc(m.inputs, func(in *input) bool { return in.name == name })
	}
	unique := name
	for n := 2; taken(unique); n++ {
		unique = fmt.Sprintf("%s#%d", name, n)
	}
	return unique
}

// listen opens an address for one input more. m.mu is held.
func (m *Monitor) listen(address string) error {
	s := m.servers[address]
	if s == nil {
		var err error
		if s, err = listen(address, m.handler()); err != nil {
			return err
		}
		m.servers[address] = s
	}
	s.inputs++
	return nil
}

// leave closes an address when its last input goes. m.mu is held.
func (m *Monitor) leave(address string) {
	s := m.servers[address]
	if s.inputs--; s.inputs == 0 {
		delete(m.servers, address)
		s.close()
	}
}

// view is how the inputs fare now.
func (m *Monitor) view() []view {
	m.mu.Lock()
	inputs := slices.Clone(m.inputs)
	m.mu.Unlock()
	views := make([]view, 0, len(inputs))
	for _, in := range inputs {
		if v, ok := in.view(time.Now()); ok {
			views = append(views, v)
		}
	}
	return views
}
