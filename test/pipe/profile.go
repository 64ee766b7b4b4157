package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// samplesPerSecond does not divide the host's second, so that perf does not always meet the same.
const samplesPerSecond = 997

// profile is perf looking on. It looks at the whole machine: of a single process it would miss the threads that begin while it does.
type profile struct {
	perf *exec.Cmd
	data string
}

func startProfile(ctx context.Context, dir string) (*profile, error) {
	p := &profile{data: filepath.Join(dir, "perf.data")}
	p.perf = exec.CommandContext(ctx, "perf", "record", "-q", "-a", "-F", strconv.Itoa(samplesPerSecond), "-o", p.data)
	p.perf.Stderr = os.Stderr
	return p, p.perf.Start()
}

func (p *profile) end() error {
	if err := p.perf.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	_ = p.perf.Wait() // it dies of the signal, its data written
	return nil
}

// report appends to a file where the time of a process went.
func (p *profile) report(ctx context.Context, file, title string, pid int) error {
	text, err := exec.CommandContext(ctx, "perf", "report", "--stdio", "--percent-limit", "0.3", "--percentage", "relative", "--sort", "dso,symbol",
		"--pid", strconv.Itoa(pid), "-i", p.data).Output()
	if err != nil {
		return fmt.Errorf("perf report: %w", err)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "== %s\n%s\n", title, bytes.TrimSpace(text))
	return err
}
