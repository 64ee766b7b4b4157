package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"in_office365/plugin/collector"
	"in_office365/plugin/handover"
)

// fakeHost is one instance as the host sees it. slot is its context's place for
// a handle, nil on hosts before v4.1.0.
type fakeHost struct {
	printed
	name    string
	slot    *uintptr
	metrics []string // what became of the host's metrics

	appends         bool
	fd              int // of the waker; 0: the host wakes nobody
	woken           string
	onEngine, blind bool
}

func (h *fakeHost) Appends() bool { return h.appends }
func (h *fakeHost) WakeOn(fd int) bool {
	if h.fd == 0 {
		return false
	}
	h.fd, h.woken = fd, "on"
	return true
}
func (h *fakeHost) LoseEngine()                         { h.blind = true }
func (h *fakeHost) StopWaking()                         { h.woken = "off" }
func (*fakeHost) Append([]byte) bool                    { return true }
func (h *fakeHost) Synchronous() bool                   { return h.onEngine }
func (*fakeHost) Metrics() (m handover.Metrics, _ bool) { return m, false }
func (*fakeHost) AtRest() (rest, known bool)            { return false, false }

func (*fakeHost) Get(string) string                 { return "" }
func (h *fakeHost) Name() string                    { return h.name }
func (*fakeHost) LogLevel() hostLevel               { return levelInfo }
func (h *fakeHost) MakeMetrics()                    { h.metrics = append(h.metrics, "made") }
func (h *fakeHost) SetMetrics(f collector.Figures)  { h.metrics = append(h.metrics, fmt.Sprint(f.Lost)) }
func (h *fakeHost) Print(level hostLevel, s string) { h.print(level, s) }
func (h *fakeHost) SetHandle(handle uintptr) {
	if h.slot != nil {
		*h.slot = handle
	}
}

// fakeSource records how it is driven. A batch is its name.
type fakeSource struct {
	name    string
	calls   []string
	panicOn string
	empty   bool
	lost    int64
	wake    func()
	within  func() // HandOver
	log     *slog.Logger
}

func (f *fakeSource) call(name string) {
	f.calls = append(f.calls, name)
	if name == f.panicOn {
		panic("boom\nin " + name)
	}
}

func (f *fakeSource) Start()  { f.call("Start") }
func (f *fakeSource) Pause()  { f.call("Pause") }
func (f *fakeSource) Resume() { f.call("Resume") }
func (f *fakeSource) Figures() collector.Figures {
	f.lost++
	return collector.Figures{Lost: f.lost}
}
func (f *fakeSource) Take() []byte {
	f.call("Take")
	if f.empty {
		return []byte{}
	}
	return []byte(f.name)
}
func (f *fakeSource) HandOver(_ handover.Host, woken bool) {
	f.call(fmt.Sprint("HandOver ", woken))
	if f.within != nil {
		f.within()
	}
}
func (f *fakeSource) Called(time.Duration) {}

func (f *fakeSource) Release(data unsafe.Pointer) {
	f.call("Release " + unsafe.String((*byte)(data), len(f.name)))
}
func (f *fakeSource) Stop() {
	f.call("Stop")
	f.log.Info("stopped")
}

// newTestShim opens sources of the name of their instance.
func newTestShim(opened map[string]*fakeSource) *shim {
	return newShim(func(h host, wake func(), log *slog.Logger) (source, error) {
		f := opened[h.Name()]
		if f == nil {
			f = &fakeSource{}
			opened[h.Name()] = f
		}
		f.name, f.wake, f.log = h.Name(), wake, log
		return f, nil
	})
}

func expectCalls(t *testing.T, f *fakeSource, want ...string) {
	t.Helper()
	if fmt.Sprint(f.calls) != fmt.Sprint(want) {
		t.Errorf("%s was driven by %q, want %q", f.name, f.calls, want)
	}
}

func expectLog(t *testing.T, h *fakeHost, want ...string) {
	t.Helper()
	if fmt.Sprint([]string(h.printed)) != fmt.Sprint(want) {
		t.Errorf("log of %s: %q\nwant %q", h.name, h.printed, want)
	}
}

func TestLifeOfAnInstance(t *testing.T) {
	f := &fakeSource{}
	s := newTestShim(map[string]*fakeSource{"a": f})
	h := &fakeHost{name: "a"}
	if !s.init(h, 1) {
		t.Fatal("init failed")
	}
	expectCalls(t, f)
	s.preRun(1)
	batch := s.collect(0, 1)
	s.release(0, 1, unsafe.Pointer(unsafe.SliceData(batch)))
	s.pause(1)
	s.resume(1)
	s.collect(0, 1)
	s.pause(1)
	s.pause(1)
	s.preExit(1)
	s.exit(1)
	s.exit(1)
	s.collect(0, 1)
	expectCalls(t, f, "Start", "Take", "Release a", "Pause", "Resume", "Take", "Pause", "Pause", "Stop")
	f.log.Info("after exit")
	expectLog(t, h, "3 [input:office365:a] stopped")
}

// The host's metrics are made before anybody can read them, and left alone once it may have freed them.
func TestMetricsAreSetBetweenInitAndExit(t *testing.T) {
	s := newTestShim(map[string]*fakeSource{})
	h := &fakeHost{name: "a"}
	s.init(h, 1)
	s.preRun(1)
	s.collect(0, 1)
	s.collect(0, 1)
	s.pause(1)
	s.preExit(1)
	s.exit(1)
	s.collect(0, 1)
	if got := fmt.Sprint(h.metrics); got != "[made 1 2]" {
		t.Errorf("metrics %s, want made once, then the figures of each call", got)
	}
}

func TestFirstCollectStartsWhereThereIsNoPreRun(t *testing.T) {
	f := &fakeSource{}
	s := newTestShim(map[string]*fakeSource{"a": f})
	s.init(&fakeHost{name: "a"}, 1)
	s.collect(0, 1)
	s.collect(0, 1)
	expectCalls(t, f, "Start", "Take", "Take")
}

// Where batches can be appended the callback returns none, and an input with a thread of its own is woken between two of them.
func TestBatchesAreAppendedWhereTheyCanBe(t *testing.T) {
	for name, tc := range map[string]struct {
		host fakeHost
		want []string
	}{
		"woken":     {fakeHost{name: "a", appends: true, fd: -1}, []string{"Start", "HandOver false", "HandOver true", "Stop"}},
		"not woken": {fakeHost{name: "a", appends: true}, []string{"Start", "HandOver false", "Stop"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, h := &fakeSource{}, &tc.host
			s := newTestShim(map[string]*fakeSource{"a": f})
			s.init(h, 1)
			if batch := s.collect(0, 1); batch != nil {
				t.Errorf("a batch was returned: %s", batch)
			}
			if f.wake != nil {
				if readable(t, h.fd) {
					t.Error("awake too early")
				}
				f.wake()
				f.wake()
				if !readable(t, h.fd) {
					t.Error("not awake")
				}
				s.woken(1)
				if readable(t, h.fd) {
					t.Error("awake for ever")
				}
			}
			s.exit(1)
			expectCalls(t, f, tc.want...)
			if f.wake != nil {
				f.wake() // a goroutine that is late
				if h.woken != "off" {
					t.Error("the host still waits for the descriptor")
				}
			}
		})
	}
}

func readable(t *testing.T, fd int) bool {
	t.Helper()
	n, err := syscall.Select(fd+1, &syscall.FdSet{Bits: fdBits(fd)}, nil, nil, &syscall.Timeval{})
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// fdBits is a set of that one.
func fdBits(fd int) (bits [16]int64) {
	bits[fd/64] |= 1 << (fd % 64)
	return bits
}

// With threaded off, Fluent Bit may pause the input while it takes a batch, on the same thread.
func TestAPauseMayComeWithinACallback(t *testing.T) {
	f := &fakeSource{}
	s := newTestShim(map[string]*fakeSource{"a": f})
	f.within = func() { s.pause(1) }
	s.init(&fakeHost{name: "a", appends: true}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.collect(0, 1)
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the callback hangs")
	}
	s.exit(1)
	expectCalls(t, f, "Start", "HandOver false", "Pause", "Stop")
}

// Threads that Go makes in a call on the engine's thread have its name, for as long as the process lives.
func TestTheEngineIsLostAmongThreadsOfItsName(t *testing.T) {
	s := newTestShim(map[string]*fakeSource{})
	before, on, after := &fakeHost{name: "a", appends: true}, &fakeHost{name: "b", appends: true, onEngine: true}, &fakeHost{name: "c", appends: true}
	for i, h := range []*fakeHost{before, on, after} {
		s.init(h, i+1)
	}
	if before.blind || !after.blind {
		t.Errorf("before: lost %v, after: lost %v", before.blind, after.blind)
	}
}

// A failed start leaves no descriptor with the host.
func TestFailedInitStopsWaking(t *testing.T) {
	s := newTestShim(nil)
	s.open = func(host, func(), *slog.Logger) (source, error) { return nil, errors.New("no") }
	h := &fakeHost{name: "a", appends: true, fd: -1}
	if s.init(h, 1) || h.woken != "off" {
		t.Errorf("started, or waking is %q", h.woken)
	}
}

func TestNoBatchIsNil(t *testing.T) {
	s := newTestShim(map[string]*fakeSource{"a": {empty: true}})
	s.init(&fakeHost{name: "a"}, 1)
	if batch := s.collect(0, 1); batch != nil {
		t.Errorf("batch %v, want nil", batch)
	}
}

func TestCallReachesItsInstance(t *testing.T) {
	const unknown = 99
	var slotA, slotB uintptr
	tests := map[string]struct {
		instances []string
		handle    *uintptr
		tid       int
		want      string
	}{
		"by handle":                        {instances: []string{"a", "b"}, handle: &slotA, tid: 1, want: "a"},
		"by handle from a foreign thread":  {instances: []string{"a", "b"}, handle: &slotB, tid: unknown, want: "b"},
		"by handle before thread":          {instances: []string{"a", "b"}, handle: &slotB, tid: 1, want: "b"},
		"by thread":                        {instances: []string{"a", "b"}, tid: 2, want: "b"},
		"the only one":                     {instances: []string{"a"}, tid: unknown, want: "a"},
		"none: several, thread unknown":    {instances: []string{"a", "b"}, tid: unknown, want: ""},
		"none: nothing initialised":        {tid: 1, want: ""},
		"none: handle of another instance": {instances: []string{"a"}, handle: new(uintptr(unknown)), tid: 1, want: ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			slotA, slotB = 0, 0
			slots := map[string]*uintptr{"a": &slotA, "b": &slotB}
			s := newTestShim(map[string]*fakeSource{})
			for i, name := range test.instances {
				s.init(&fakeHost{name: name, slot: slots[name]}, i+1)
			}
			var handle uintptr
			if test.handle != nil {
				handle = *test.handle
			}
			if got := string(s.collect(handle, test.tid)); got != test.want {
				t.Errorf("batch of %q, want of %q", got, test.want)
			}
		})
	}
}

func TestSecondInstanceOnOneThreadIsRefused(t *testing.T) {
	s := newTestShim(map[string]*fakeSource{})
	s.init(&fakeHost{name: "a"}, 1)
	h := &fakeHost{name: "b"}
	if s.init(h, 1) {
		t.Fatal("init succeeded")
	}
	expectLog(t, h, "1 [input:office365:b] cannot start: "+errSameThread.Error())
	if got := string(s.collect(0, 1)); got != "a" {
		t.Errorf("the first instance gave %q, want to go on", got)
	}
}

func TestForkedProcessIsRefused(t *testing.T) {
	opened := map[string]*fakeSource{}
	s := newTestShim(opened)
	s.pid++ // the library was loaded by another process
	h := &fakeHost{name: "a"}
	if s.init(h, 1) || len(opened) != 0 {
		t.Fatal("init went on")
	}
	expectLog(t, h, "1 [input:office365:a] cannot start: "+errForked.Error())
}

func TestFailedInitLeavesNothing(t *testing.T) {
	broken := errors.New(`tenant_id "x": want a GUID`)
	tests := map[string]struct {
		open func(host, func(), *slog.Logger) (source, error)
		want string
	}{
		"error": {func(host, func(), *slog.Logger) (source, error) { return nil, broken }, `1 [input:office365:a] cannot start: tenant_id "x": want a GUID`},
		"panic": {func(host, func(), *slog.Logger) (source, error) { panic("boom") }, "1 [input:office365:a] panic in FLBPluginInit, please report it: boom"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newTestShim(map[string]*fakeSource{})
			good := s.open
			s.open = test.open
			var slot uintptr
			h := &fakeHost{name: "a", slot: &slot}
			if s.init(h, 1) {
				t.Fatal("init succeeded")
			}
			if len(h.printed) == 0 || h.printed[0] != test.want {
				t.Errorf("log %q, want first %q", h.printed, test.want)
			}
			if slot != 0 {
				t.Error("handle left in the context")
			}
			s.open = good
			if !s.init(h, 1) {
				t.Error("no second try on the same thread")
			}
		})
	}
}

func TestReloadBringsANewInstance(t *testing.T) {
	f := &fakeSource{}
	s := newTestShim(map[string]*fakeSource{"a": f})
	for range 2 {
		h := &fakeHost{name: "a"}
		if !s.init(h, 1) {
			t.Fatalf("init failed: %q", h.printed)
		}
		s.collect(0, 1)
		s.exit(1)
	}
	expectCalls(t, f, "Start", "Take", "Stop", "Start", "Take", "Stop")
}

func TestInstanceWhoseExitNeverCameDoesNoHarm(t *testing.T) {
	var slot uintptr
	s := newTestShim(map[string]*fakeSource{})
	s.init(&fakeHost{name: "left", slot: &slot}, 1)
	s.init(&fakeHost{name: "new"}, 2)
	if got := string(s.collect(0, 2)); got != "new" {
		t.Errorf("batch of %q, want of the new instance", got)
	}
}

func TestNamelessInstanceIsNumbered(t *testing.T) {
	s := newTestShim(map[string]*fakeSource{})
	h := &fakeHost{}
	s.init(h, 1)
	s.exit(1)
	expectLog(t, h, "3 [input:office365:#1] stopped")
}

func TestPanicIsContainedAndReportedOnce(t *testing.T) {
	for _, call := range []string{"Start", "Take", "Release a", "Pause", "Resume", "Stop"} {
		t.Run(call, func(t *testing.T) {
			s := newTestShim(map[string]*fakeSource{"a": {panicOn: call}})
			h := &fakeHost{name: "a"}
			s.init(h, 1)
			for range 2 {
				s.preRun(1)
				s.collect(0, 1)
				s.release(0, 1, unsafe.Pointer(unsafe.StringData("a")))
				s.pause(1)
				s.resume(1)
			}
			s.exit(1)
			reports, stack := 0, false
			for _, line := range h.printed {
				if strings.Contains(line, `please report it: boom\nin `+call) {
					reports++
				}
				stack = stack || strings.Contains(line, "(*fakeSource).call(")
			}
			if reports != 1 || !stack {
				t.Errorf("%d reports, stack %v, want one with its stack:\n%s", reports, stack, strings.Join(h.printed, "\n"))
			}
		})
	}
}

func TestPanicReportFindsRoomInAFullLog(t *testing.T) {
	s := newTestShim(map[string]*fakeSource{"a": {panicOn: "Take"}})
	h := &fakeHost{name: "a"}
	s.init(h, 1)
	for range maxLogLines {
		s.instances[1].log.logger().Info("m")
	}
	s.collect(0, 1)
	for _, line := range h.printed {
		if strings.Contains(line, "panic in FLBPluginInputCallback") {
			return
		}
	}
	t.Error("panic not reported")
}
