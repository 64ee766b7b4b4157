// Command plugin is the Fluent Bit input plugin office365, built as a C shared
// library (go build -buildmode=c-shared) that Fluent Bit's Go proxy loads.
//
// It is the C surface and nothing else: exports.go holds the functions that
// Fluent Bit looks up by name, host.go and host.h what the plugin asks of
// Fluent Bit in return, shim.go which instance a call is meant for, log.go the
// way of a log line to the host, configure.go what is read of the configuration
// that Fluent Bit runs with. What is collected, and how, is decided in
// plugin/config and plugin/collector, what is shown of it in plugin/monitor.
package main

import (
	"cmp"
	"log/slog"
	"net/netip"

	"in_office365/plugin/collector"
	"in_office365/plugin/hostfile"
	"in_office365/plugin/monitor"
)

// version of the build, set by -ldflags "-X main.version=...".
var version = "dev"

// main is required by -buildmode=c-shared and never runs.
func main() {}

// opener opens the sources of a process, which its monitor shows.
type opener struct{ monitor *monitor.Monitor }

// open is the shim's way to a source of batches: the collector, set up from the
// properties of the instance.
func (o opener) open(h host, wake func(), log *slog.Logger) (source, error) {
	cfg, hostOptions, err := configure(h, log, hostfile.OfProcess)
	if err != nil {
		return nil, err
	}
	log.Info("starting", append([]any{"version", version}, cfg.Summary()...)...)
	for _, path := range cfg.Exposed {
		log.Warn("every user of this machine may read a secret: chmod o-r", "file", path)
	}
	c, err := collector.New(cfg, collector.Options{
		Log: log, Memory: cMemory{}, Room: hostOptions.room, NoReceipts: hostOptions.noReceipts, RingEntries: hostOptions.ringEntries, Wake: wake, Version: version,
	})
	if err != nil {
		return nil, err
	}
	remove, err := o.monitor.Add(cmp.Or(h.Name(), pluginName), cfg.MetricsAddress, c)
	if err != nil {
		c.Stop()
		return nil, err
	}
	if cfg.MetricsAddress != "" {
		announce(log, o.monitor.Addresses()[cfg.MetricsAddress])
	}
	return shown{c, remove}, nil
}

// announce says where status and metrics are to be had, and who may read them.
func announce(log *slog.Logger, address string) {
	log.Info("status page at http://" + address + "/, metrics at /metrics, health at /readyz and /healthz")
	if a, err := netip.ParseAddrPort(address); err == nil && !a.Addr().Unmap().IsLoopback() {
		log.Warn("whoever reaches metrics_address may read tenant ids, counts and errors, though no record and no secret: let a firewall or network policy admit only those who should", "address", address)
	}
}

// shown is a source that the monitor shows until it stops.
type shown struct {
	source
	remove func()
}

func (s shown) Stop() {
	s.remove()
	s.source.Stop()
}
