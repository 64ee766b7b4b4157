// Command pipe measures the whole pipe from outside: an emulated tenant in a process of its own serves audit records over HTTP, and a host
// process with the plugin, Fluent Bit where there is one, takes them to an output that does nothing. It tells the CPU time of the host process for a
// gigabyte of JSON, the records a second, and the most memory that was resident. With -latency it tells how long a record takes that comes alone.
//
// It compares that with the same pipe with the obvious way in place of package normalize, and with what Fluent Bit itself, in C, needs for the
// same records: its tail input with its json parser.
//
// It runs in the root of the repository, on Linux.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
)

// options are the flags.
type options struct {
	plugin, testHost, fluentBit, tenant string
	quick                               bool
	only                                *regexp.Regexp
	profile                             string
	latency                             int
}

func main() {
	var o options
	flag.StringVar(&o.plugin, "plugin", "bin/in_office365.so", "the plugin")
	flag.StringVar(&o.testHost, "test-host", "bin/test-host", "the minimal host")
	flag.StringVar(&o.fluentBit, "fluent-bit", "", "Fluent Bit's `program`; empty: the minimal host is used")
	flag.StringVar(&o.tenant, "emulated-tenant", "bin/emulated-tenant", "the emulated tenant")
	flag.BoolVar(&o.quick, "quick", false, "a quarter of everything, for a first look")
	only := flag.String("run", "", "only the runs whose names match this `regexp`")
	flag.IntVar(&o.latency, "latency", 0, "measure the latency of so `many` single records in place of all that")
	flag.StringVar(&o.profile, "profile", "", "`file` to write to where the CPU time of each run goes, as perf sees it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if o.only, err = regexp.Compile(*only); err == nil {
		err = bench(ctx, o)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pipe:", err)
		os.Exit(1)
	}
}

// bench makes the runs and prints the table.
func bench(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "office365-pipe")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &builder{dir: dir, plugin: o.plugin, symbols: o.profile != ""}
	m := &meter{options: o, dir: dir, builder: b}
	name, err := m.hostName(ctx)
	if err != nil {
		return err
	}
	if o.latency > 0 {
		return latencies(ctx, o, dir, name)
	}
	t := newTable(name)
	failed := 0
	for _, r := range runs(o) {
		if err := ctx.Err(); err != nil {
			break
		}
		fmt.Fprintf(os.Stderr, "%s ...\n", r.title())
		result, err := m.measure(ctx, r)
		if err != nil {
			failed++
			fmt.Fprintf(os.Stderr, "%s: %v\n", r.title(), err)
		}
		t.add(r, result, err)
	}
	t.print(os.Stdout)
	if failed > 0 {
		return fmt.Errorf("void runs: %d", failed)
	}
	return ctx.Err()
}
