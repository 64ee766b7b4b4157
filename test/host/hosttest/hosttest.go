// Package hosttest runs the minimal Fluent Bit host of test/host from Go tests.
package hosttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Patience is how long a test waits for something of the host before it fails, unless Host.Patience says otherwise.
const Patience = 30 * time.Second

// Stats is the line of JSON that the host prints (test/host/stats.c).
type Stats struct {
	Callbacks, Batches, Records, Bytes int64
	Invalid                            int64                           // batches with a bad event
	WaitingBatches                     int64                           `json:"waiting_batches"` // in the ring
	LostBatches                        int64                           `json:"lost_batches"`    // never left the ring
	LostRecords                        int64                           `json:"lost_records"`
	Appended                           int64                           // batches that flb_input_log_append took
	AppendFailures                     int64                           `json:"append_failures"` // and those that it refused
	CountedRecords                     int64                           `json:"counted_records"` // in fluentbit_input_records_total
	DroppedUncountedBatches            int64                           `json:"dropped_uncounted_batches"`
	DroppedUncountedRecords            int64                           `json:"dropped_uncounted_records"`
	DroppedCountedBatches              int64                           `json:"dropped_counted_batches"`
	DroppedCountedRecords              int64                           `json:"dropped_counted_records"`
	Wakes                              int64                           // calls of event collectors
	UnfreedBlocks                      int64                           `json:"unfreed_blocks"` // handed over as data, and not freed
	UnfreedBytes                       int64                           `json:"unfreed_bytes"`
	NotMalloced                        int64                           `json:"not_malloced"` // batches that are no block of the C heap
	LiveBlocks                         int64                           `json:"live_blocks"`  // anything the plugin has malloc'ed and not freed
	LiveBytes                          int64                           `json:"live_bytes"`
	CallbackMicros                     struct{ P50, P99, Max float64 } `json:"callback_us"`
	ExitMillis                         float64                         `json:"exit_ms"`         // the slowest PreExit and Exit
	StrayLogLines                      int64                           `json:"stray_log_lines"` // logged from a thread that is not the host's
	StrayQueries                       int64                           `json:"stray_queries"`   // of properties, names, levels from such a thread
	CanariesOK                         bool                            `json:"canaries_ok"`     // false: see the exit status 3
}

// Exit statuses of the host (test/host/host.c).
const (
	ExitOK         = 0
	ExitNotLoaded  = 1
	ExitUsage      = 2
	ExitViolation  = 3
	ExitInitFailed = 255
)

// Result is what is left of a host that has ended.
type Result struct {
	Stats      Stats
	ExitStatus int
	Log        string
}

// Build compiles the C sources of folder into dir/name, with flags such as
// -shared, by the compiler that CC names (cc).
func Build(folder, dir, name string, flags ...string) (string, error) {
	sources, err := filepath.Glob(filepath.Join(folder, "*.c"))
	if err != nil || len(sources) == 0 {
		return "", fmt.Errorf("no C sources in %s: %w", folder, errors.Join(err, os.ErrNotExist))
	}
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	out := filepath.Join(dir, name)
	args := append([]string{"-O2", "-g", "-Wall", "-Wextra", "-Werror", "-o", out}, flags...)
	args = append(append(args, sources...), "-ldl", "-lpthread")
	if text, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile %s: %w\n%s", folder, err, text)
	}
	return out, nil
}

// Lack is something that a host does not export.
type Lack string

// What a host may lack (test/host/handover.c).
const (
	Handover Lack = "WITHOUT_HANDOVER" // all that a native input hands over by
	Count    Lack = "WITHOUT_COUNT"    // the input's metrics
)

// BuildHost compiles the host from folder, which is test/host, into dir. What it lacks is in the program's name.
func BuildHost(folder, dir string, lacks ...Lack) (string, error) {
	name, flags := "test-host", []string{"-rdynamic"}
	for _, lack := range lacks {
		name += "-" + strings.ToLower(string(lack))
		flags = append(flags, "-D"+string(lack))
	}
	return Build(folder, dir, name, flags...)
}

// Host is a running host.
type Host struct {
	Patience time.Duration

	t      testing.TB
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout stream
	log    stream
	ended  chan struct{}
	asked  atomic.Bool // to end, or to be waited for
	err    error       // of its end; after ended
}

// Start runs the host program with arguments as test/host/host.c describes them
// and env added to the environment. It ends with the test at the latest.
func Start(t testing.TB, program string, env []string, args ...string) *Host {
	t.Helper()
	h := &Host{Patience: Patience, t: t, cmd: exec.Command(program, args...), ended: make(chan struct{})}
	h.cmd.Env = append(os.Environ(), env...)
	h.cmd.Stdout, h.cmd.Stderr = &h.stdout, &h.log
	stdin, err := h.cmd.StdinPipe()
	if err != nil {
		t.Fatal("connect to the host:", err)
	}
	h.stdin = stdin
	if err := h.cmd.Start(); err != nil {
		t.Fatal("start the host:", err)
	}
	go func() {
		defer close(h.ended)
		h.err = h.cmd.Wait()
	}()
	t.Cleanup(func() {
		h.cmd.Process.Kill() // an error says that it has ended already
		<-h.ended
	})
	return h
}

// Send gives the host a command, as a line on its standard input.
func (h *Host) Send(command string) {
	h.t.Helper()
	if command == "stop" {
		h.asked.Store(true)
	}
	if _, err := io.WriteString(h.stdin, command+"\n"); err != nil {
		h.t.Fatalf("send %s: %v\n%s", command, err, h.Log())
	}
}

// Signal sends a signal, which may end the host.
func (h *Host) Signal(s os.Signal) {
	h.t.Helper()
	h.asked.Store(true)
	if err := h.cmd.Process.Signal(s); err != nil {
		h.t.Fatalf("send %s: %v\n%s", s, err, h.Log())
	}
}

// Pid is the host's process id.
func (h *Host) Pid() int { return h.cmd.Process.Pid }

// Gone says how the host has ended, if it has and nobody has asked it to; else "".
func (h *Host) Gone() string {
	select {
	case <-h.ended:
		if !h.asked.Load() {
			return "the minimal host has ended: " + h.cmd.ProcessState.String()
		}
	default:
	}
	return ""
}

// Log is what the host and the plugin have logged so far.
func (h *Host) Log() string { return h.log.String() }

// WaitForLog waits until the log holds n times text.
func (h *Host) WaitForLog(text string, n int) {
	h.t.Helper()
	if !h.wait(&h.log, func(log string) bool { return strings.Count(log, text) >= n }) {
		h.t.Fatalf("%q not logged %d times within %s, or by the end of the host:\n%s", text, n, h.Patience, h.Log())
	}
}

// Stats asks the host for its statistics so far.
func (h *Host) Stats() Stats {
	h.t.Helper()
	before := strings.Count(h.stdout.String(), "\n")
	h.Send("stats")
	if !h.wait(&h.stdout, func(out string) bool { return strings.Count(out, "\n") > before }) {
		h.t.Fatalf("no statistics within %s, or by the end of the host:\n%s", h.Patience, h.Log())
	}
	return h.lastStats()
}

// WaitForStats asks until the statistics are as wanted.
func (h *Host) WaitForStats(wanted func(Stats) bool) Stats {
	h.t.Helper()
	const pause = 10 * time.Millisecond
	for deadline := time.Now().Add(h.Patience); time.Now().Before(deadline); time.Sleep(pause) {
		if s := h.Stats(); wanted(s) {
			return s
		}
	}
	h.t.Fatalf("statistics not as wanted within %s: %+v\n%s", h.Patience, h.lastStats(), h.Log())
	return Stats{}
}

func (h *Host) lastStats() (s Stats) {
	h.t.Helper()
	lines := strings.Split(strings.TrimSpace(h.stdout.String()), "\n")
	line := lines[len(lines)-1]
	if line == "" {
		return s
	}
	if err := json.Unmarshal([]byte(line), &s); err != nil {
		h.t.Fatalf("statistics %q: %v", line, err)
	}
	return s
}

// Stop ends the host as SIGTERM does, and waits for it.
func (h *Host) Stop() Result {
	h.t.Helper()
	h.Send("stop")
	return h.Wait()
}

// Wait waits for the host to end by itself.
func (h *Host) Wait() Result {
	h.t.Helper()
	h.asked.Store(true)
	select {
	case <-h.ended:
		var exit *exec.ExitError
		if h.err != nil && !errors.As(h.err, &exit) {
			h.t.Fatal("wait for the host:", h.err)
		}
	case <-time.After(h.Patience):
		h.t.Fatalf("host still running after %s:\n%s", h.Patience, h.Log())
	}
	return Result{Stats: h.lastStats(), ExitStatus: h.cmd.ProcessState.ExitCode(), Log: h.Log()}
}

// stream keeps what a process writes and wakes those who wait for it.
type stream struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed by the next Write, if anybody waits
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
	return s.text.Write(p)
}

func (s *stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// wait reports whether f came true for what the host has written, in time and before it ended.
func (h *Host) wait(s *stream, f func(text string) bool) bool {
	timeout := time.After(h.Patience)
	for {
		s.mu.Lock()
		text := s.text.String()
		if s.more == nil {
			s.more = make(chan struct{})
		}
		more := s.more
		s.mu.Unlock()
		if f(text) {
			return true
		}
		select {
		case <-more:
		case <-h.ended:
			return f(s.String()) // there comes no more
		case <-timeout:
			return false
		}
	}
}
