package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// pollInterval is how often the host is asked for its count. Fluent Bit brings it up to date each second.
	pollInterval = 500 * time.Millisecond
	// stallLimit is how long the count may stand still, where it moves each second.
	stallLimit = time.Minute
	stopLimit  = 20 * time.Second
	// runLimit ends what hangs in some other way.
	runLimit = 30 * time.Minute
)

// result is what a run gave.
type result struct {
	records int
	bytes   int64         // of JSON
	wall    time.Duration // from the start of the host until all had arrived
	cpu     time.Duration // of the host process, user and system, from its start to its end
	peak    int64         // bytes of resident memory
}

// meter makes runs.
type meter struct {
	options options
	dir     string
	builder *builder
}

// hostName names the host for the head of the table.
func (m *meter) hostName(ctx context.Context) (string, error) {
	if m.options.fluentBit == "" {
		return "*** the minimal host, as no Fluent Bit was found: its checks cost CPU time that is no pipe's ***", nil
	}
	version, err := exec.CommandContext(ctx, m.options.fluentBit, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", m.options.fluentBit, err)
	}
	name, _, _ := strings.Cut(string(version), "\n")
	return name, nil
}

// measure makes one run. An error makes it void.
func (m *meter) measure(ctx context.Context, r run) (result, error) {
	dir, err := os.MkdirTemp(m.dir, "run")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	if r.way == inTail {
		return m.measureTail(ctx, r, dir)
	}
	plugin, err := m.builder.pluginFor(ctx, r.way)
	if err != nil {
		return result{}, err
	}
	t, err := serve(ctx, m.options.tenant, r)
	if err != nil {
		return result{}, err
	}
	defer t.kill()
	var h *host
	if keys := pluginKeys(t.url, dir, r.keys); m.options.fluentBit != "" {
		h, err = fluentBit(m.options.fluentBit, plugin, dir, pluginInput(keys, r.disk), r.disk)
	} else {
		h, err = testHost(m.options.testHost, plugin, keys)
	}
	if err != nil {
		return result{}, err
	}
	res, err := m.observe(ctx, h, r, t.records)
	if err != nil {
		return res, err
	}
	if err := checkSummary(h.log.String(), res.records); err != nil {
		return res, err
	}
	res.bytes, err = t.end()
	return res, err
}

func (m *meter) measureTail(ctx context.Context, r run, dir string) (result, error) {
	file := filepath.Join(dir, "records.json")
	if !r.plain {
		file += ".gz" // by which Fluent Bit knows (v5.1.1 plugins/in_tail/tail_file.c:1481)
	}
	n, size, err := writeLines(file, r)
	if err != nil {
		return result{}, err
	}
	h, err := fluentBit(m.options.fluentBit, "", dir, tailInput(file, r.cache), false)
	if err != nil {
		return result{}, err
	}
	res, err := m.observe(ctx, h, r, n)
	res.bytes = size
	return res, err
}

// observe runs a host until so many records have arrived, with perf looking on if that is asked for.
func (m *meter) observe(ctx context.Context, h *host, r run, want int) (result, error) {
	if m.options.profile == "" {
		return h.observe(ctx, r, want)
	}
	p, err := startProfile(ctx, m.dir)
	if err != nil {
		return result{}, err
	}
	res, err := h.observe(ctx, r, want)
	if ended := p.end(); err == nil {
		err = ended
	}
	if err == nil {
		err = p.report(ctx, m.options.profile, r.title(), h.command.Process.Pid)
	}
	return res, err
}

func (h *host) observe(ctx context.Context, r run, want int) (res result, err error) {
	if err := h.start(); err != nil {
		return res, err
	}
	defer h.kill()
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	defer context.AfterFunc(ctx, func() { h.command.Process.Kill() })()
	if r.offer.empty() {
		err = sleep(ctx, r.idle)
	} else {
		res.records, err = h.waitFor(ctx, want)
	}
	res.wall = time.Since(h.begun)
	if err == nil {
		res.peak, err = h.peak()
	}
	if err == nil {
		res.cpu, err = h.stop()
	}
	if err != nil {
		return res, fmt.Errorf("%w; the log of the host:\n%s", err, h.log.String())
	}
	if res.records != want {
		return res, fmt.Errorf("%d records arrived, %d were offered", res.records, want)
	}
	return res, nil
}

// summary is what the plugin logs at its end.
var summary = regexp.MustCompile(`stopped .* records=(\d+) unreadable=(\d+) repeated=(\d+) `)

func checkSummary(log string, records int) error {
	found := summary.FindStringSubmatch(log)
	if found == nil {
		return fmt.Errorf("the plugin's summary is missing in the log of the host:\n%s", log)
	}
	if found[1] != strconv.Itoa(records) || found[2] != "0" || found[3] != "0" {
		return fmt.Errorf("the plugin handed over %s records, %s of them unreadable, and dropped %s as repeats; want %d, 0, 0",
			found[1], found[2], found[3], records)
	}
	return nil
}

// waitFor waits until all records have arrived.
func (h *host) waitFor(ctx context.Context, want int) (int, error) {
	count, moved := 0, time.Now()
	for {
		if err := sleep(ctx, pollInterval); err != nil {
			return count, err
		}
		n, err := h.count(ctx)
		switch {
		case err != nil && time.Since(h.begun) > stopLimit:
			return count, err
		case n > count:
			count, moved = n, time.Now()
		}
		if count >= want {
			return count, nil
		}
		if time.Since(moved) > stallLimit {
			return count, fmt.Errorf("%d of %d records arrived, and for %s no more", count, want, stallLimit)
		}
	}
}

// peak is the most memory that was resident.
func (h *host) peak() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.command.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		var kib int64
		if _, err := fmt.Sscanf(string(line), "VmHWM: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, errors.New("no VmHWM in the status of the host")
}

// stop ends the host and returns the CPU time that it took in all.
func (h *host) stop() (time.Duration, error) {
	if err := h.command.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	select {
	case <-h.ended:
	case <-time.After(stopLimit):
		return 0, errors.New("the host does not stop")
	}
	state := h.command.ProcessState
	return state.UserTime() + state.SystemTime(), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
