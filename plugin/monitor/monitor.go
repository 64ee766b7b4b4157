// Package monitor shows from outside how the inputs of a process fare: metrics for Prometheus, health for probes, and a status page for
// people.
package monitor

import (
	"github.com/prometheus/client_golang/prometheus"

	"in_office365/plugin/collector"
)

// Source is one input: a *collector.Collector.
type Source interface {
	prometheus.Collector
	Status() collector.Status
}
