package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"in_office365/test/tenant"
)

func TestFluentBitDelivers100000RecordsOfFiveTypesOnce(t *testing.T) {
	t.Parallel()
	tn, dir := tenant.New(tenant.Config{Gzip: true, PageSize: 30}), t.TempDir()
	week(tn, 1, 100, 200)
	config := configure(t, dir, map[string]keys{
		"OFFICE365_EVENT_DATA": stanza(serve(t, tn), dir, keys{"batch_size": "16M", "buffer_size": "64M"}),
	})
	f := startFluentBit(t, config)
	out := newOutput(t, dir)
	out.waitFor(100_000)
	f.terminate()
	out.update()
	if repeated := account(t, out.arrived, tn); repeated > 0 {
		t.Errorf("%d records came again", repeated)
	}
	for _, ct := range tenant.ContentTypes() {
		if got := out.tags["OFFICE365_EVENT_DATA"][ct]; got != 20_000 {
			t.Errorf("%s: %d records", ct, got)
		}
	}
	if out.notices["subscription_started"] != 5 {
		t.Errorf("notices %v, want 5 started subscriptions", out.notices)
	}
}

func TestFluentBitRunsTwoTenantsSideBySide(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one := tenant.New(tenant.Config{Subscribed: tenant.ContentTypes()})
	two := tenant.New(tenant.Config{Subscribed: tenant.ContentTypes(), ID: "22222222-3333-4444-5555-666666666666"})
	week(one, 1, 10, 50)
	week(two, 2, 20, 40)
	config := configure(t, dir, map[string]keys{
		"one": stanza(serve(t, one), dir, nil),
		"two": stanza(serve(t, two), dir, keys{"tenant_id": "22222222-3333-4444-5555-666666666666", "db": filepath.Join(dir, "two.db")}),
	})
	f := startFluentBit(t, config)
	out := newOutput(t, dir)
	out.waitFor(offered(one, two))
	f.terminate()
	out.update()
	account(t, out.arrived, one, two)
	for _, ct := range tenant.ContentTypes() {
		if a, b := out.tags["one"][ct], out.tags["two"][ct]; a != 500 || b != 800 {
			t.Errorf("%s: %d records tagged one, %d tagged two", ct, a, b)
		}
	}
}

var reloads = flag.Int("reloads", 5, "how often TestFluentBitReloadsWhileCollecting reloads")

// Reloads in the middle of a backlog, one after the other: nothing is missing, and nothing of a life of the plugin is left in the next.
func TestFluentBitReloadsWhileCollecting(t *testing.T) {
	t.Parallel()
	const (
		progress   = 500 // records that are new between two reloads
		memoryFrom = 30  // reloads, to judge memory: in fewer Fluent Bit is still growing to what it needs
	)
	tn, dir := tenant.New(tenant.Config{Subscribed: tenant.ContentTypes(), Latency: 20 * time.Millisecond}), t.TempDir()
	week(tn, 1, 12*(*reloads), 40)
	config := configure(t, dir, map[string]keys{
		"OFFICE365_EVENT_DATA": stanza(serve(t, tn), dir, keys{"batch_size": "256K", "buffer_size": "1M", "hand_over_rate": "2M", "settle": "1s"}),
	})
	f := startFluentBit(t, config)
	out := newOutput(t, dir)
	out.waitFor(progress)
	first := eventfds(t, f.cmd.Process.Pid)
	figures := []figure{{name: "memory resident, MB", unit: 1e6, judged: low}, {name: "descriptors", unit: 1, judged: least}, {name: "threads", unit: 1, judged: least}}
	values := make([][]float64, len(figures))
	for n := range *reloads {
		if len(out.arrived) == offered(tn) {
			t.Errorf("the backlog was done after %d reloads", n)
		}
		f.reload()
		out.waitFor(min(len(out.arrived)+progress, offered(tn)))
		pid := f.cmd.Process.Pid
		for i, value := range []int64{memory(t, pid, "VmRSS"), int64(len(descriptors(t, pid))), int64(threads(t, pid))} {
			values[i] = append(values[i], float64(value))
		}
		if n := eventfds(t, pid); n != first {
			t.Errorf("%d eventfds, %d before the first reload", n, first)
		}
	}
	out.waitFor(offered(tn))
	f.terminate()
	out.update()
	account(t, out.arrived, tn)
	if f.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("Fluent Bit ended with %s", f.cmd.ProcessState)
	}
	if strings.Contains(f.log.String(), "in use by another process") {
		t.Error("an instance did not release its db")
	}
	for i, figure := range figures {
		third := max(*reloads/3, 1)
		before, after := slices.Sorted(slices.Values(values[i][:third])), slices.Sorted(slices.Values(values[i][*reloads-third:]))
		t.Logf("%s after the first %d reloads: %.0f to %.0f, after the last: %.0f to %.0f", figure.name, third,
			before[0]/figure.unit, before[third-1]/figure.unit, after[0]/figure.unit, after[third-1]/figure.unit)
		if (figure.judged != low || *reloads >= memoryFrom) && figure.judged.grown(before, after) {
			t.Errorf("%s: grown", figure.name)
		}
	}
}

// descriptors are what a process has open, by what they are of.
func descriptors(t *testing.T, pid int) (of []string) {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if is, err := os.Readlink(link); err == nil { // else it has just been closed
			of = append(of, is)
		}
	}
	return of
}

// eventfds counts those that a process has open: one is the plugin's.
func eventfds(t *testing.T, pid int) (n int) {
	t.Helper()
	for _, is := range descriptors(t, pid) {
		n += count(is == "anon_inode:[eventfd]")
	}
	return n
}

func threads(t *testing.T, pid int) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestFluentBitStopsWithinTwoSecondsWhileTheAPIHangs(t *testing.T) {
	t.Parallel()
	for _, op := range []tenant.Operation{tenant.Token, tenant.ListContent, tenant.FetchBlob} {
		t.Run(filepath.Base(string(op)), func(t *testing.T) {
			t.Parallel()
			tn, dir := tenant.New(tenant.Config{Subscribed: tenant.ContentTypes()}), t.TempDir()
			week(tn, 1, 4, 5)
			hang := tn.Inject(tenant.Fault{Operation: op}, tenant.Hang())
			f := startFluentBit(t, configure(t, dir, map[string]keys{"OFFICE365_EVENT_DATA": stanza(serve(t, tn), dir, nil)}))
			until(t, "a call that hangs", func() bool { return hang.Hits() > 0 })
			if took := f.terminate(); took > 2*time.Second {
				t.Errorf("stopping took %s", took)
			} else {
				t.Logf("stopped in %s", took.Round(time.Millisecond))
			}
		})
	}
}

// In Fluent Bit's process, which has signal handlers of its own, a command is run for each token.
func TestFluentBitRunsACommandForTheSecret(t *testing.T) {
	t.Parallel()
	tn, dir := tenant.New(tenant.Config{Subscribed: tenant.ContentTypes(), TokenLife: 2 * time.Second}), t.TempDir()
	week(tn, 1, 4, 5)
	f := startFluentBit(t, configure(t, dir, map[string]keys{
		"OFFICE365_EVENT_DATA": stanza(serve(t, tn), dir, keys{"client_secret": "", "client_secret_command": "printf %s '" + tenant.DefaultClientSecret + "'"}),
	}))
	out := newOutput(t, dir)
	out.waitFor(offered(tn))
	until(t, "several tokens", func() bool { return tn.Account().TokensIssued >= 3 })
	f.terminate()
	out.update()
	account(t, out.arrived, tn)
}

// A command that hangs holds up no stop.
func TestFluentBitStopsWithinTwoSecondsWhileACommandHangs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	running := filepath.Join(dir, "running")
	f := startFluentBit(t, configure(t, dir, map[string]keys{"OFFICE365_EVENT_DATA": stanza("http://127.0.0.1:1", dir, keys{
		"client_secret": "", "client_secret_command": "sh -c 'touch " + running + "; sleep 1000'",
	})}))
	until(t, "the command", func() bool {
		_, err := os.Stat(running)
		return err == nil
	})
	if took := f.terminate(); took > 2*time.Second {
		t.Errorf("stopping took %s", took)
	}
}

// Stopped or killed in the middle of a backlog, and started again: nothing is missing. What was not settled comes again.
func TestFluentBitGoesOnAfterAStop(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]syscall.Signal{"terminated": syscall.SIGTERM, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tn, dir := tenant.New(tenant.Config{Subscribed: tenant.ContentTypes(), Latency: 20 * time.Millisecond}), t.TempDir()
			week(tn, 1, 60, 40)
			config := configure(t, dir, map[string]keys{
				"OFFICE365_EVENT_DATA": stanza(serve(t, tn), dir, keys{"batch_size": "1M", "buffer_size": "4M"}),
			})
			out := newOutput(t, dir)
			for stops := 1; stops <= 2; stops++ {
				f := startFluentBit(t, config)
				out.waitFor(stops * 3_000)
				f.signal(stop)
				f.wait()
			}
			f := startFluentBit(t, config)
			out.waitFor(offered(tn))
			f.terminate()
			out.update()
			account(t, out.arrived, tn)
		})
	}
}

// Each bad configuration ends Fluent Bit with one line that names the key and what is allowed. plugin/config has the full table.
func TestFluentBitStopsAtABadConfiguration(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		keys keys
		want string
	}{
		"missing":       {keys{"tenant_id": ""}, "tenant_id is missing: the directory (tenant) ID, a GUID such as "},
		"malformed":     {keys{"batch_size": "4"}, `batch_size "4" is not a size in range: a size such as 4M, from 64K to 256M`},
		"contradictory": {keys{"client_secret_file": "/dev/null"}, "client_secret and client_secret_file are set together: exactly one of client_secret, client_secret_file, "},
		"unusable db":   {keys{"db": "/no/such/directory/db"}, "name a file in a directory that exists and that Fluent Bit's user may write to"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := startFluentBit(t, configure(t, dir, map[string]keys{"t": stanza("http://127.0.0.1:1", dir, tc.keys)}))
			until(t, "the error", func() bool { return strings.Contains(f.log.String(), "cannot start: ") })
			if !endsWithoutAnInput(t) {
				f.terminate()
			} else if f.wait(); f.cmd.ProcessState.ExitCode() == 0 {
				t.Error("Fluent Bit ended well")
			}
			var lines []string
			for line := range strings.Lines(f.log.String()) {
				if strings.Contains(line, "[error] [input:office365:office365.0] cannot start: ") {
					lines = append(lines, line)
				}
			}
			if len(lines) != 1 || !strings.Contains(lines[0], tc.want) {
				t.Errorf("error lines %q, want one with %s", lines, tc.want)
			}
		})
	}
}

func TestFluentBitShowsNoSecret(t *testing.T) {
	t.Parallel()
	tn, dir := tenant.New(tenant.Config{}), t.TempDir()
	week(tn, 1, 4, 5)
	tn.Inject(tenant.Fault{Operation: tenant.FetchBlob, Times: 3}, tenant.AnswerError(500, "AF50000", "internal"))
	f := startFluentBit(t, configure(t, dir, map[string]keys{
		"OFFICE365_EVENT_DATA": stanza(serve(t, tn), dir, keys{"log_level": "trace"}),
	}))
	out := newOutput(t, dir)
	out.waitFor(offered(tn) / 2)
	f.terminate()
	records, err := os.ReadFile(out.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{tenant.DefaultClientSecret, "Bearer "} {
		if strings.Contains(f.log.String(), secret) || strings.Contains(string(records), secret) {
			t.Errorf("%q is shown", secret)
		}
	}
}
