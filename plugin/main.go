// Command plugin is the Fluent Bit input plugin office365, built as a C shared
// library (go build -buildmode=c-shared) that Fluent Bit's Go proxy loads.
//
// It is the C surface and nothing else: exports.go holds the functions that
// Fluent Bit looks up by name, host.go and host.h what the plugin asks of
// Fluent Bit in return, shim.go which instance a call is meant for, log.go the
// way of a log line to the host. What is collected, and how, is decided in
// plugin/config and plugin/collector.
package main

import (
	"log/slog"

	"in_office365/plugin/collector"
	"in_office365/plugin/config"
)

// version of the build, set by -ldflags "-X main.version=...".
var version = "dev"

// main is required by -buildmode=c-shared and never runs.
func main() {}

// openCollector is the shim's way to a source of batches: the collector, set up
// from the properties of the instance.
func openCollector(h host, log *slog.Logger) (source, error) {
	cfg, err := config.Parse(h)
	if err != nil {
		return nil, err
	}
	log.Info("configuration", cfg.Summary()...)
	for _, path := range cfg.Exposed {
		log.Warn("every user of this machine may read a secret: chmod o-r", "file", path)
	}
	c, err := collector.New(cfg, collector.Options{Log: log, Memory: cMemory{}, Version: version})
	if err != nil {
		return nil, err
	}
	return c, nil
}
