package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// soakHost is the process that the plugin runs in.
type soakHost interface {
	name() string
	start()
	reload()        // as SIGHUP; returns when the plugin has stopped at least
	stop(kill bool) // as SIGTERM, or SIGKILL
	stall(on bool)  // what is to receive the records takes none
	pauses() int    // of the plugin, so far
	update()        // reads what has arrived
	pid() int
}

// buildTelling builds the plugin with a file more that tells what only the process itself knows.
func buildTelling(t *testing.T, dir string) (library string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(root, "plugin", "inside.go"): filepath.Join(root, "test", "e2e", "testdata", "inside.go"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	path, library := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "in_office365.so")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := buildPlugin(library, "-overlay", path); err != nil {
		t.Fatal(err)
	}
	return library
}

func (s *soak) inside() (path string) { return filepath.Join(s.dir, "inside") }

func (s *soak) tellingEnv() string { return "OFFICE365_INSIDE=" + s.inside() }

// forgetInside lets no sample take what a process told that has ended.
func (s *soak) forgetInside() { os.Remove(s.inside()) }

func (s *soak) newHost(library string) soakHost {
	if *soakFor == 0 || findFluentBit() == "" {
		return &minimalSoak{soak: s, library: library}
	}
	return newFluentBitSoak(s, library)
}

// minimalSoak is the minimal host, which pauses when it is told so.
type minimalSoak struct {
	*soak
	library string
	paused  int
}

func (m *minimalSoak) name() string {
	if *soakFor > 0 {
		return "the minimal host, as there is no Fluent Bit (FLUENT_BIT_BINARY, PATH)"
	}
	return "the minimal host"
}

func (m *minimalSoak) start() {
	m.starts++
	m.forgetInside()
	m.out, m.read = filepath.Join(m.dir, fmt.Sprintf("out%d", m.starts)), 0
	args := hostArgs([]keys{stanza("", m.dir, m.keys)}, "--interval-ms", "200", "--output", m.out)
	args[len(args)-1] = m.library
	m.host = startHost(m.T, testHost, []string{m.tellingEnv()}, args...)
	if m.stalled {
		m.stall(true)
	}
}

func (m *minimalSoak) reload() {
	n := strings.Count(m.host.Log(), stopped)
	m.host.Send("reload")
	m.host.WaitForLog(stopped, n+1)
}

func (m *minimalSoak) stop(kill bool) {
	if kill {
		m.kill()
		return
	}
	clean(m.T, m.host.Stop())
	m.ended()
}

func (m *minimalSoak) stall(on bool) {
	command := "resume"
	if on {
		command = "pause"
		m.paused++
	}
	m.host.Send(command)
}

func (m *minimalSoak) pauses() int { return m.paused }
func (m *minimalSoak) update()     { m.trial.update() }
func (m *minimalSoak) pid() int    { return m.host.Pid() }

// fluentBitSoak is a real Fluent Bit that sends the records to a destination of ours. When that does not answer, chunks pile up until
// Fluent Bit pauses the plugin.
type fluentBitSoak struct {
	*soak
	library, config string
	process         *fluentBit
	to              *destination
}

// chunksUp is how many chunks Fluent Bit holds in memory before it pauses.
const chunksUp = "5"

func newFluentBitSoak(s *soak, library string) *fluentBitSoak {
	to := &destination{}
	config := writeConfiguration(s.T, s.dir, "  hot_reload: on\n  storage.max_chunks_up: "+chunksUp+"\n"+pressed, input{
		tag: "OFFICE365_EVENT_DATA", lines: "storage.type: filesystem\n      storage.pause_on_chunks_overlimit: on",
		keys: stanza("", s.dir, s.keys), output: httpOutput(port(s.T, to)),
	})
	return &fluentBitSoak{soak: s, library: library, config: config, to: to}
}

func (f *fluentBitSoak) name() string {
	out, err := exec.Command(findFluentBit(), "--version").Output()
	if err != nil {
		f.Fatal(err)
	}
	version, _, _ := strings.Cut(string(out), "\n")
	return version
}

func (f *fluentBitSoak) start() {
	f.starts++
	f.forgetInside()
	f.process = startFluentBitWith(f.T, f.library, f.config, f.tellingEnv())
}

func (f *fluentBitSoak) reload() { f.process.reload() }

func (f *fluentBitSoak) stop(kill bool) {
	select {
	case <-f.process.done:
		f.Errorf("Fluent Bit has ended by itself: %v", f.process.err)
	default:
	}
	if kill {
		f.process.signal(syscall.SIGKILL)
		f.process.wait()
	} else if f.process.terminate(); f.process.err != nil { // a minute, if it waits for an answer of the destination
		f.Errorf("Fluent Bit ended with %v", f.process.err)
	}
	f.log.WriteString(f.process.log.String())
	f.process = nil
}

func (f *fluentBitSoak) stall(on bool) {
	if on {
		f.to.stall()
	} else {
		f.to.flow()
	}
}

func (f *fluentBitSoak) pauses() int {
	log := f.log.String()
	if f.process != nil {
		log += f.process.log.String()
	}
	return strings.Count(log, " paused (")
}

func (f *fluentBitSoak) update()  { f.to.take(f.T, f.take) }
func (f *fluentBitSoak) pid() int { return f.process.cmd.Process.Pid }
