package hosttest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"in_office365/test/host/hosttest"
)

const eventSize = int64(len(goodEvent) / 2)

// appending has the plugin append events so many at a time, whenever its callback has woken it.
func appending(events int, more ...string) []string {
	return append([]string{fmt.Sprint("APPEND=", events)}, more...)
}

func TestEventCollectorAppends(t *testing.T) {
	h := start(t, appending(3))
	h.WaitForStats(func(s hosttest.Stats) bool { return s.Records >= 9 })
	r := h.Stop()
	s := r.Stats
	if r.ExitStatus != hosttest.ExitOK || s.Appended != s.Wakes || s.Batches != s.Appended || s.Records != 3*s.Batches ||
		s.Bytes != eventSize*s.Records || s.CountedRecords != s.Records || s.AppendFailures != 0 || s.UnfreedBlocks != 0 || s.LiveBlocks != 0 {
		t.Errorf("exit status %d, %+v", r.ExitStatus, s)
	}
	if strings.Contains(r.Log, "wrong context") || !strings.Contains(r.Log, "collector 0") {
		t.Error(r.Log)
	}
}

// The ids follow the order of registration, in which the proxy's timer is last.
func TestTimerIsTheCollectorAfterThoseOfThePlugin(t *testing.T) {
	r := start(t, appending(1, "DO=pause the timer"), "--exit-when-idle", "1").Wait()
	if r.Stats.Callbacks != 1 || r.Stats.Wakes != 1 || !strings.Contains(r.Log, "timer paused 0") {
		t.Errorf("%d callbacks, %d wakes\n%s", r.Stats.Callbacks, r.Stats.Wakes, r.Log)
	}
}

func TestEventCollectorIsLevelTriggered(t *testing.T) {
	h := start(t, appending(1, "DO=leave the descriptor unread"), "--callbacks", "1000", "--interval-ms", "200")
	s := h.WaitForStats(func(s hosttest.Stats) bool { return s.Wakes >= 100 })
	if s.Callbacks > 50 {
		t.Errorf("%d wakes, %d callbacks", s.Wakes, s.Callbacks)
	}
	h.Stop()
}

// As mem_buf_limit pauses: what the plugin sets up besides the timer, it has to stop by itself.
func TestPauseStopsTheTimerAlone(t *testing.T) {
	h := start(t, appending(1, "DO=leave the descriptor unread"), "--ring-entries", "1000000")
	h.WaitForStats(func(s hosttest.Stats) bool { return s.Wakes > 0 })
	h.Send("pause")
	h.WaitForLog("Pause", 1)
	paused := h.Stats()
	s := h.WaitForStats(func(s hosttest.Stats) bool { return s.Wakes >= paused.Wakes+100 && s.WaitingBatches >= 100 })
	if s.Callbacks != paused.Callbacks || s.Batches != paused.Batches {
		t.Errorf("paused at %+v, then %+v", paused, s)
	}
	h.Send("resume")
	h.WaitForStats(func(s hosttest.Stats) bool { return s.Callbacks > paused.Callbacks && s.Batches > paused.Batches })
	h.Stop()
}

func TestPluginPausesItsCollector(t *testing.T) {
	h := start(t, appending(1, "DO=pause its collector"))
	h.WaitForStats(func(s hosttest.Stats) bool { return s.Wakes > 0 })
	for n := int64(1); n <= 3; n++ {
		h.Send("pause")
		h.WaitForLog("Pause", int(n))
		paused := h.Stats()
		h.Send("resume")
		h.WaitForLog("collector resumed 0", int(n))
		h.WaitForStats(func(s hosttest.Stats) bool { return s.Wakes > paused.Wakes })
	}
	if r := h.Stop(); r.ExitStatus != hosttest.ExitOK {
		t.Errorf("exit status %d\n%s", r.ExitStatus, r.Log)
	}
}

func TestMisuseOfTheHandoverIsNoticed(t *testing.T) {
	tests := map[string]struct {
		how string
		log string // "" if it is none
	}{
		"append on another thread":    {"MISBEHAVE=append from a thread", "flb_input_log_append called for test.0 on another thread"},
		"pause on another thread":     {"MISBEHAVE=pause from a thread", "flb_input_collector_pause called for test.0 on another thread"},
		"append after exit":           {"MISBEHAVE=append after exit", "flb_input_log_append called for an input that is not there"},
		"collector after Init":        {"MISBEHAVE=set a collector late", "flb_input_set_collector_event called in collector event"},
		"closed while it runs":        {"MISBEHAVE=close a running descriptor", "of the running collector 0 of test.0 has been closed"},
		"closed and the number taken": {"MISBEHAVE=have the number of a closed descriptor used again", "of the running collector 0 of test.0 has been closed"},
		"closed when it is paused":    {"DO=close a paused descriptor", ""},
		"left open":                   {"DO=", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t, appending(1, test.how))
			h.WaitForStats(func(s hosttest.Stats) bool { return s.Wakes >= 3 })
			r := h.Stop()
			if bad := r.ExitStatus == hosttest.ExitViolation; bad != (test.log != "") || !strings.Contains(r.Log, test.log) {
				t.Errorf("exit status %d, want %q in\n%s", r.ExitStatus, test.log, r.Log)
			}
		})
	}
}

func TestAppendFails(t *testing.T) {
	tests := map[string]struct {
		how, args []string
		command   string
		lost      func(lost, failures int64) bool
	}{
		"nothing to append": {how: []string{"MISBEHAVE=append nothing"},
			lost: func(lost, _ int64) bool { return lost == 0 }},
		"a processor fails": {command: "append fails",
			lost: func(lost, _ int64) bool { return lost == 0 }},
		"the ring stays full": {args: []string{"--ring-entries", "2"}, command: "stall",
			lost: func(lost, failures int64) bool { return lost >= failures }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t, appending(1, test.how...), test.args...)
			h.WaitForLog("PreRun", 1)
			if test.command != "" {
				h.Send(test.command)
			}
			h.WaitForLog("append -1", 1)
			s := h.Stats()
			if s.AppendFailures == 0 || s.Appended+s.AppendFailures > s.Wakes || !test.lost(s.LostBatches, s.AppendFailures) {
				t.Errorf("%+v", s)
			}
			for _, undo := range []string{"append ok", "go"} {
				h.Send(undo)
			}
			if test.command != "" {
				h.WaitForStats(func(now hosttest.Stats) bool { return now.Batches > s.Batches })
			}
			h.Stop()
		})
	}
}

// What a callback gives is not told that it is lost.
func TestBatchOfTheCallbackIsLostWhenAppendingFails(t *testing.T) {
	h := start(t, nil)
	h.Send("append fails")
	h.WaitForStats(func(s hosttest.Stats) bool { return s.LostBatches >= 3 && s.LostRecords == s.LostBatches })
	if r := h.Stop(); r.Stats.AppendFailures != 0 || r.Stats.UnfreedBlocks != 0 {
		t.Errorf("%+v", r.Stats)
	}
}

func TestStalledEngineTakesNothing(t *testing.T) {
	h := start(t, appending(1))
	h.Send("stall")
	stalled := h.Stats()
	h.WaitForStats(func(s hosttest.Stats) bool { return s.WaitingBatches >= 100 })
	if s := h.Stats(); s.Batches != stalled.Batches || s.CountedRecords != stalled.CountedRecords {
		t.Errorf("stalled at %+v, then %+v", stalled, s)
	}
	h.Send("go")
	h.WaitForStats(func(s hosttest.Stats) bool { return s.Batches >= 100 })
	h.Stop()
}

// From a twentieth of its room on, the engine does not wait for its timer: more is taken than fits between two of its ticks.
func TestEngineIsToldOfAFillingRing(t *testing.T) {
	const room, tick = 1024, 250 * time.Millisecond
	h := start(t, appending(1, "DO=leave the descriptor unread"))
	began := time.Now()
	s := h.WaitForStats(func(s hosttest.Stats) bool { return s.Batches >= 30*room })
	if most := room * int64(time.Since(began)/tick+2); s.Batches <= most || s.AppendFailures > 0 {
		t.Errorf("%d batches, %d would not have needed it; %d appends failed", s.Batches, most, s.AppendFailures)
	}
	h.Stop()
}

func TestWhereABatchIsDropped(t *testing.T) {
	type stats = hosttest.Stats
	tests := map[string]struct {
		command string
		dropped func(s stats) (batches, records int64)
		counted func(s stats) int64 // records that the host must have counted
		log     string
	}{
		"no chunk": {"chunks none", func(s stats) (int64, int64) { return s.DroppedUncountedBatches, s.DroppedUncountedRecords },
			func(s stats) int64 { return s.Records }, "[input chunk] no available chunk"},
		"failed write": {"chunks full", func(s stats) (int64, int64) { return s.DroppedCountedBatches, s.DroppedCountedRecords },
			func(s stats) int64 { return s.Records + s.DroppedCountedRecords }, "[input chunk] error writing data from test.0 instance"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t, appending(2))
			h.Send(test.command)
			h.WaitForStats(func(s stats) bool {
				batches, records := test.dropped(s)
				return batches >= 3 && records == 2*batches
			})
			before := h.Stats()
			h.Send("chunks ok")
			h.WaitForStats(func(s stats) bool { return s.Records > before.Records })
			r := h.Stop()
			dropped := r.Stats.DroppedCountedBatches + r.Stats.DroppedUncountedBatches
			if batches, _ := test.dropped(r.Stats); batches != dropped || r.Stats.Batches+dropped != r.Stats.Appended ||
				r.Stats.CountedRecords != test.counted(r.Stats) || !strings.Contains(r.Log, test.log) {
				t.Errorf("%+v\n%s", r.Stats, r.Log)
			}
		})
	}
}

func TestChunksFillTheStorageUntilOutputsTakeThem(t *testing.T) {
	const room = 10
	h := start(t, appending(1), "--storage-bytes", fmt.Sprint(room*eventSize), "--flush-ms", "50")
	h.Send("output off")
	s := h.WaitForStats(func(s hosttest.Stats) bool { return s.DroppedCountedBatches > 0 })
	if s.Batches < room {
		t.Errorf("%d batches were written where %d fit", s.Batches, room)
	}
	h.Send("output on")
	h.WaitForStats(func(now hosttest.Stats) bool { return now.Batches > s.Batches+room })
	h.Stop()
}

func TestMetrics(t *testing.T) {
	h := start(t, appending(3, "DO=tell metrics"), "--input", "alias=audit", "--flush-ms", "3600000", "--storage-metrics-ms", "20")
	h.WaitForStats(func(s hosttest.Stats) bool { return s.Records >= 9 })
	h.Send("chunks full")
	h.WaitForStats(func(s hosttest.Stats) bool { return s.DroppedCountedRecords >= 9 })
	s := h.Stats()
	h.WaitForLog(fmt.Sprintf("fluentbit_input_records_total{name=\"audit\"} = %d\n", s.CountedRecords), 1)
	h.WaitForLog(fmt.Sprintf("fluentbit_input_storage_memory_bytes{name=\"audit\"} = %d\n", s.Bytes), 1)
	r := h.Stop()
	for _, line := range []string{
		`fluentbit_input_bytes_total{name="audit"} = 0`,
		`fluentbit_input_records_total{name="audit"} = 0`,
		`fluentbit_input_ring_buffer_writes_total{name="audit"} = 3`,
		`fluentbit_input_ring_buffer_retry_failures_total{name="audit"} = 0`,
		`fluentbit_input_ingestion_paused{name="audit"} = 0`,
	} {
		if !regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ` + regexp.QuoteMeta(line) + `$`).MatchString(r.Log) {
			t.Errorf("no line %q in\n%s", line, r.Log)
		}
	}
	if r.Stats.LiveBlocks != 0 {
		t.Errorf("%d blocks live", r.Stats.LiveBlocks)
	}
}

func TestTextOfMetricsThatIsKeptIsALeak(t *testing.T) {
	r := start(t, appending(1, "DO=tell metrics", "MISBEHAVE=keep a text"), "--callbacks", "3").Wait()
	if r.Stats.LiveBlocks != 3 {
		t.Errorf("%d blocks live", r.Stats.LiveBlocks)
	}
}

// Metrics of the ring came with Fluent Bit 4.1.0.
func TestMetricsOfAnOldHost(t *testing.T) {
	r := start(t, appending(1, "DO=tell metrics"), "--host", "3.0", "--callbacks", "3").Wait()
	if strings.Contains(r.Log, "ring_buffer") || !strings.Contains(r.Log, "fluentbit_input_records_total") {
		t.Error(r.Log)
	}
}

// waitForRest waits until the engine's thread is seen waiting for events, or not.
func waitForRest(t *testing.T, h *hosttest.Host, rest bool) {
	t.Helper()
	// epoll_wait and epoll_pwait (asm/unistd.h)
	numbers := map[string][]string{"amd64": {"232", "281"}, "arm64": {"22"}}[runtime.GOARCH]
	task := fmt.Sprintf("/proc/%d/task/%d/", h.Pid(), h.Pid())
	for deadline := time.Now().Add(h.Patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		call, err := os.ReadFile(task + "syscall")
		if err != nil || numbers == nil {
			t.Skip("the system does not tell what a thread waits in:", err)
		}
		number, _, _ := strings.Cut(strings.TrimSpace(string(call)), " ")
		if slices.Contains(numbers, number) == rest {
			return
		}
	}
	t.Fatalf("engine at rest: %v, after %s", !rest, h.Patience)
}

func TestEngineIsSeenAtRest(t *testing.T) {
	h := start(t, nil, "--interval-ms", "3600000")
	h.WaitForLog("PreRun", 1)
	if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/comm", h.Pid(), h.Pid())); err != nil || string(name) != "flb-pipeline\n" {
		t.Errorf("thread of the engine: %q, %v", name, err)
	}
	waitForRest(t, h, true)
	h.Send("stall")
	waitForRest(t, h, false)
	h.Send("go")
	waitForRest(t, h, true)
	h.Stop()
}

// As in Fluent Bit with http_server on, a thread of the engine's name may be at rest when the engine is not.
func TestThreadOfTheHTTPServerHasTheNameOfTheEngine(t *testing.T) {
	h := start(t, nil, "--http-server", "--interval-ms", "3600000")
	h.WaitForLog("PreRun", 1)
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/comm", h.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, file := range names {
		if name, err := os.ReadFile(file); err == nil && string(name) == "flb-pipeline\n" {
			named++
		}
	}
	if named != 2 {
		t.Errorf("%d of %d threads are named flb-pipeline", named, len(names))
	}
	h.Stop()
}

// A batch is counted before the filters, and written after them. Meanwhile the engine is busy, and takes no other batch.
func TestFiltersRunBetweenCountAndWrite(t *testing.T) {
	const perRecord, records = 100 * time.Millisecond, 10
	h := start(t, appending(records), "--filter-us", fmt.Sprint(perRecord.Microseconds()))
	h.WaitForStats(func(s hosttest.Stats) bool { return s.CountedRecords > 0 })
	counted := time.Now()
	waitForRest(t, h, false)
	if s := h.Stats(); s.CountedRecords != records || s.Records != 0 {
		t.Errorf("%+v", s)
	}
	h.WaitForStats(func(s hosttest.Stats) bool { return s.Records == records })
	if took := time.Since(counted); took < records*perRecord/2 {
		t.Errorf("written %s after the count", took)
	}
}

func TestHostsThatLackTheHandover(t *testing.T) {
	tests := map[string]struct {
		lacks []hosttest.Lack
		want  string // append, collectors, metrics
	}{
		"nothing":  {nil, "1 1 1"},
		"handover": {[]hosttest.Lack{hosttest.Handover}, "0 0 0"},
		"count":    {[]hosttest.Lack{hosttest.Count}, "1 1 0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program, err := hosttest.BuildHost("..", t.TempDir(), test.lacks...)
			if err != nil {
				t.Fatal(err)
			}
			r := hosttest.Start(t, program, []string{"DO=tell what is exported"}, "--interval-ms", "5", "--callbacks", "3", library).Wait()
			found := regexp.MustCompile(`(?m)\b(?:append|collectors|metrics) (\d)$`).FindAllStringSubmatch(r.Log, -1)
			var got []string
			for _, f := range found {
				got = append(got, f[1])
			}
			if strings.Join(got, " ") != test.want || r.ExitStatus != hosttest.ExitOK || r.Stats.Records != 3 {
				t.Errorf("exports %v, want %s; exit status %d, %+v", got, test.want, r.ExitStatus, r.Stats)
			}
		})
	}
}
