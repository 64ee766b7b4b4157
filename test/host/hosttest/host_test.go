package hosttest_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"in_office365/test/host/hosttest"
)

// The host, and the library of ../testdata, which does wrong what MISBEHAVE says.
var host, library string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "hosttest")
		if err == nil {
			defer os.RemoveAll(dir)
			host, err = hosttest.BuildHost("..", dir)
		}
		if err == nil {
			library, err = hosttest.Build("../testdata", dir, "in_test.so", "-shared", "-fPIC")
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

const goodEvent = "9292d7006500000000000000" + "80" + "81a16e01"

func start(t *testing.T, env []string, args ...string) *hosttest.Host {
	t.Helper()
	return hosttest.Start(t, host, env, append(append([]string{"--interval-ms", "5"}, args...), library)...)
}

// calls is the plugin's account of how it was called, but for the callbacks.
func calls(log string) string {
	found := regexp.MustCompile(`(?m)\b(PreRegister|Register|Init|PreRun|Pause|Resume|PreExit|Exit|Unregister) (\d)$`).FindAllString(log, -1)
	return strings.Join(found, ", ")
}

func TestCallsComeInTheOrderOfFluentBit(t *testing.T) {
	for _, version := range []string{"3.0", "4.1", "4.2.3", "5.1.1"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := start(t, nil, "--host", version, "--callbacks", "3").Wait()
			if r.ExitStatus != hosttest.ExitOK || !r.Stats.CanariesOK || r.Stats.Callbacks != 3 {
				t.Errorf("exit status %d, %+v", r.ExitStatus, r.Stats)
			}
			want := "PreRegister 0, Register 0, Init 0, PreRun 1, Pause 0, Pause 0, PreExit 0, Exit 0, Unregister 0"
			if got := calls(r.Log); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if strings.Contains(r.Log, "wrong context") {
				t.Error("context not given back to the plugin")
			}
		})
	}
}

func TestReload(t *testing.T) {
	for name, reload := range map[string]func(*hosttest.Host){
		"command": func(h *hosttest.Host) { h.Send("reload") },
		"SIGHUP":  func(h *hosttest.Host) { h.Signal(syscall.SIGHUP) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t, nil)
			h.WaitForLog("PreRun", 1)
			reload(h)
			h.WaitForLog("PreRun", 2)
			r := h.Stop()
			want := "PreRegister 0, Register 0, Init 0, PreRun 1, " +
				"PreRegister 1, Register 0, Pause 0, Pause 0, PreExit 1, Exit 0, Unregister 0, " +
				"Init 0, PreRun 1, Pause 0, Pause 0, PreExit 0, Exit 0, Unregister 0"
			if got := calls(r.Log); got != want || r.ExitStatus != hosttest.ExitOK {
				t.Errorf("exit status %d\ngot  %s\nwant %s", r.ExitStatus, got, want)
			}
		})
	}
}

func TestSigtermStops(t *testing.T) {
	h := start(t, nil)
	h.WaitForLog("PreRun", 1)
	h.Signal(syscall.SIGTERM)
	if r := h.Wait(); r.ExitStatus != hosttest.ExitOK || !strings.Contains(calls(r.Log), "Exit 0, Unregister 0") {
		t.Errorf("exit status %d\n%s", r.ExitStatus, r.Log)
	}
}

func TestPropertiesAndLevels(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"none":                     {nil, "message=NULL port=NULL info=1 debug=0"},
		"any case":                 {[]string{"--input", "MESSAGE=hello"}, "message=hello port=NULL info=1 debug=0"},
		"the first of two":         {[]string{"--input", "message=a", "--set", "message=b"}, "message=a port=NULL info=1 debug=0"},
		"an empty one is none":     {[]string{"--input", "message="}, "message=NULL port=NULL info=1 debug=0"},
		"the core keeps its own":   {[]string{"--input", "port=80", "--set", "message=a"}, "message=a port=NULL info=1 debug=0"},
		"level of the host":        {[]string{"--log-level", "debug"}, "message=NULL port=NULL info=1 debug=1"},
		"level of the input first": {[]string{"--log-level", "debug", "--input", "log_level=error"}, "message=NULL port=NULL info=0 debug=0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, nil, append([]string{"--callbacks", "1"}, test.args...)...).Wait()
			if !strings.Contains(r.Log, test.want) {
				t.Errorf("want %q in\n%s", test.want, r.Log)
			}
		})
	}
}

func TestMisbehaviourIsNoticed(t *testing.T) {
	tests := map[string]struct {
		misbehave string
		args      []string
		status    int
		log       string
		stats     func(hosttest.Stats) bool
	}{
		"def overrun": {misbehave: "write past def", args: []string{"--host", "4.1"}, status: hosttest.ExitViolation,
			log: "FLBPluginRegister wrote to flb_plugin_proxy_def (32 bytes) at offset 32"},
		"proxy pointer of a host without slot": {misbehave: "write to proxy", args: []string{"--host", "3.0"}, status: hosttest.ExitViolation,
			log: "FLBPluginInit wrote to the input's context (16 bytes) at offset 8"},
		"coll_fd": {misbehave: "write to coll_fd", status: hosttest.ExitViolation,
			log: "FLBPluginInit wrote to the input's context (24 bytes) at offset 0"},
		"plugin structure": {misbehave: "write to plugin", status: hosttest.ExitViolation,
			log: "FLBPluginInit wrote to flbgo_input_plugin (80 bytes) at offset 0"},
		"api structure": {misbehave: "write to api", status: hosttest.ExitViolation,
			log: "FLBPluginInit wrote to flb_api (72 bytes) at offset 16"},
		"input used after exit": {misbehave: "ask after exit", status: hosttest.ExitViolation,
			log: "input_log_check called for an input that is not there"},
		"failed init": {misbehave: "fail init", status: hosttest.ExitInitFailed, log: "[engine] input initialization failed"},
		"leak": {misbehave: "leak",
			stats: func(s hosttest.Stats) bool { return s.UnfreedBlocks == 3 && s.UnfreedBytes == 3*4096 }},
		"data with size 0": {misbehave: "give size 0 with data",
			stats: func(s hosttest.Stats) bool { return s.UnfreedBlocks == 3 && s.Batches == 0 }},
		"return -1": {misbehave: "return -1", log: "errno=25",
			stats: func(s hosttest.Stats) bool { return s.UnfreedBlocks == 3 && s.Batches == 0 }},
		"no C memory": {misbehave: "give static memory",
			stats: func(s hosttest.Stats) bool { return s.NotMalloced == 3 && s.Records == 3 }},
		"log from a thread of its own": {misbehave: "log from a thread",
			stats: func(s hosttest.Stats) bool { return s.StrayLogLines == 3 }},
		"slow callback": {misbehave: "be slow",
			stats: func(s hosttest.Stats) bool { return s.CallbackMicros.P50 >= 30e3 && s.CallbackMicros.Max >= 30e3 }},
		"slow exit": {misbehave: "exit slowly", stats: func(s hosttest.Stats) bool { return s.ExitMillis >= 50 }},
		"none": {stats: func(s hosttest.Stats) bool {
			return s.Callbacks == 3 && s.Batches == 3 && s.Records == 3 && s.Bytes == 3*17 && s.Invalid == 0 && s.LostBatches == 0 &&
				s.UnfreedBlocks == 0 && s.NotMalloced == 0 && s.LiveBlocks == 0 && s.StrayLogLines == 0 && s.StrayQueries == 0
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, []string{"MISBEHAVE=" + test.misbehave}, append([]string{"--callbacks", "3"}, test.args...)...).Wait()
			if r.ExitStatus != test.status || r.Stats.CanariesOK != (test.status != hosttest.ExitViolation) {
				t.Errorf("exit status %d, want %d; %+v", r.ExitStatus, test.status, r.Stats)
			}
			if !strings.Contains(r.Log, test.log) {
				t.Errorf("want %q in\n%s", test.log, r.Log)
			}
			if test.stats != nil && !test.stats(r.Stats) {
				t.Errorf("statistics not as wanted: %+v", r.Stats)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	const (
		time    = "9292d7006500000000000000"
		head    = time + "80"
		records = "81a16e"
	)
	tests := map[string]struct {
		event   string
		records int64
		why     string // "" if good
	}{
		"one":                         {goodEvent, 1, ""},
		"two":                         {goodEvent + goodEvent, 2, ""},
		"empty body":                  {head + "80", 1, ""},
		"scalars":                     {head + "86a161c0a162c3a163cb3ff8000000000000a164d3ffffffffffffffffa165e0a166cf8000000000000000", 1, ""},
		"nested":                      {head + records + "81a16101", 1, ""},
		"arrays":                      {head + records + "93a161a16290", 1, ""},
		"str 8, map 16, array 16":     {head + "de0001d90161dc0001da000162", 1, ""},
		"UTF-8 of 2, 3 and 4 bytes":   {head + records + "a9c3a4e282acf09d849e", 1, ""},
		"second one bad":              {goodEvent + "c1", 1, "at byte 17 of 18: cut short"},
		"trailing byte":               {goodEvent + "80", 1, "cut short"},
		"not an event":                {strings.Repeat("c1", 20), 0, "does not begin with [[time"},
		"legacy [time, body]":         {"92d7006500000000000000" + "81a16e01" + "00000000", 0, "does not begin with [[time"},
		"metadata":                    {time + "81a16101" + "81a16e01", 0, "metadata is not an empty map"},
		"group marker":                {"9292d700ffffffff00000000" + "8081a16e01", 0, "time out of range"},
		"a second of nanoseconds":     {"9292d700650000003b9aca00" + "8081a16e01", 0, "time out of range"},
		"body an array":               {head + "9101", 0, "body is not a map"},
		"no body":                     {head, 0, "cut short"},
		"key a number":                {head + "810101", 0, "key is not a string"},
		"key of a nested map":         {head + records + "810101", 0, "key is not a string"},
		"value missing":               {head + "81a16e", 0, "cut short"},
		"string past the end":         {head + records + "a5616263", 0, "cut short"},
		"map promises more than fits": {head + "82a16e01", 0, "cut short"},
		"bin":                         {head + records + "c40161", 0, "bin, ext or reserved"},
		"latin 1":                     {head + records + "a1e4", 0, "not UTF-8"},
		"surrogate":                   {head + records + "a3eda080", 0, "not UTF-8"},
		"overlong":                    {head + records + "a2c080", 0, "not UTF-8"},
		"past U+10FFFF":               {head + records + "a4f4908080", 0, "not UTF-8"},
		"UTF-8 cut short":             {head + records + "a2e282", 0, "not UTF-8"},
		"bad key":                     {head + "81a1ff01", 0, "not UTF-8"},
		"101 levels":                  {head + records + strings.Repeat("91", 100) + "01", 0, "too deep"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, []string{"EVENT=" + test.event}, "--callbacks", "1").Wait()
			invalid := int64(0)
			if test.why != "" {
				invalid = 1
			}
			if r.Stats.Records != test.records || r.Stats.Invalid != invalid || !strings.Contains(r.Log, test.why) {
				t.Errorf("%d records, %d invalid, want %d and %d, and %q in\n%s", r.Stats.Records, r.Stats.Invalid, test.records, invalid, test.why, r.Log)
			}
		})
	}
}

func TestPauseStopsCallbacksUntilResume(t *testing.T) {
	h := start(t, nil, "--seconds", "1")
	h.WaitForLog("PreRun", 1)
	h.Send("pause")
	h.WaitForLog("Pause", 1)
	paused := h.Stats()
	if r := h.Wait(); r.Stats.Callbacks != paused.Callbacks {
		t.Errorf("%d callbacks after the pause", r.Stats.Callbacks-paused.Callbacks)
	}

	h = start(t, nil)
	h.WaitForLog("PreRun", 1)
	h.Send("pause")
	h.WaitForLog("Pause", 1)
	paused = h.Stats()
	h.Send("resume")
	h.WaitForStats(func(s hosttest.Stats) bool { return s.Callbacks > paused.Callbacks })
	if r := h.Stop(); !strings.Contains(calls(r.Log), "Pause 0, Resume 0, Pause 0, Pause 0") {
		t.Error(calls(r.Log))
	}
}

func TestRingOfAPausedInputIsLostAtExit(t *testing.T) {
	// With the bug the first input is called on while it is paused.
	h := start(t, nil, "--multi-instance-pause-bug", "--input", "alias=a", "--input", "alias=b")
	h.WaitForLog("PreRun", 2)
	h.Send("pause 0")
	h.WaitForLog("Pause", 1)
	paused := h.Stats()
	h.WaitForStats(func(s hosttest.Stats) bool {
		return s.Callbacks >= paused.Callbacks+10 && s.WaitingBatches >= paused.WaitingBatches+9
	})
	r := h.Stop()
	if r.Stats.LostBatches < 9 || r.Stats.LostRecords != r.Stats.LostBatches || r.Stats.Batches+r.Stats.LostBatches != r.Stats.Callbacks {
		t.Errorf("%+v", r.Stats)
	}
}

func TestLimits(t *testing.T) {
	tests := map[string]struct {
		args []string
		env  []string
		ok   func(hosttest.Stats) bool
	}{
		"callbacks": {[]string{"--callbacks", "7"}, nil, func(s hosttest.Stats) bool { return s.Callbacks == 7 }},
		"records":   {[]string{"--records", "5"}, nil, func(s hosttest.Stats) bool { return s.Records >= 5 }},
		"idle":      {[]string{"--exit-when-idle", "1"}, []string{"MISBEHAVE=give size 0 with data"}, func(s hosttest.Stats) bool { return s.Records == 0 }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := start(t, test.env, test.args...).Wait(); r.ExitStatus != hosttest.ExitOK || !test.ok(r.Stats) {
				t.Errorf("exit status %d, %+v", r.ExitStatus, r.Stats)
			}
		})
	}
}

func TestOutputHoldsWhatCame(t *testing.T) {
	event, err := hex.DecodeString(goodEvent)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args  []string
		files []string
	}{
		"one input":  {nil, []string{"events"}},
		"two inputs": {[]string{"--input", "alias=a", "--input", "alias=b"}, []string{"test.0.events", "test.1.events"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r := start(t, nil, append([]string{"--callbacks", "8", "--output", filepath.Join(dir, "events")}, test.args...)...).Wait()
			var all []byte
			for _, file := range test.files {
				content, err := os.ReadFile(filepath.Join(dir, file))
				if err != nil || len(content) == 0 {
					t.Fatalf("%d bytes, %v", len(content), err)
				}
				all = slices.Concat(all, content)
			}
			if !bytes.Equal(all, bytes.Repeat(event, 8)) || r.Stats.Bytes != int64(len(all)) {
				t.Errorf("%d bytes written, %d counted, want %d", len(all), r.Stats.Bytes, 8*len(event))
			}
		})
	}
}

func TestMissingLibrary(t *testing.T) {
	r := hosttest.Start(t, host, nil, filepath.Join(t.TempDir(), "none.so")).Wait()
	if r.ExitStatus != hosttest.ExitNotLoaded || !strings.Contains(r.Log, "error opening plugin") {
		t.Errorf("exit status %d\n%s", r.ExitStatus, r.Log)
	}
}
