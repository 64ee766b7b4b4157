package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"in_office365/plugin/collector"
	"in_office365/plugin/handover"
)

// host is what the shim asks of Fluent Bit for one instance.
type host interface {
	Get(key string) string
	Name() string
	SetHandle(handle uintptr)
	MakeMetrics()
	SetMetrics(collector.Figures)
	LogLevel() hostLevel
	Print(level hostLevel, text string)

	// Appends says whether batches can be appended: else the callback returns them. Only during Init.
	Appends() bool
	// LoseEngine has AtRest say that the engine cannot be seen.
	LoseEngine()
	// WakeOn has the host call woken whenever the descriptor can be read, if it can, until StopWaking. Only during Init.
	WakeOn(fd int) bool
	StopWaking()
	handover.Host
}

// source is where an instance's batches come from: a *collector.Collector.
type source interface {
	Start()
	HandOver(h handover.Host, woken bool)
	Take() []byte               // for a host in which nothing can be appended; nil while paused
	Called(took time.Duration)  // how long a callback for a batch took
	Figures() collector.Figures // without waiting
	Release(data unsafe.Pointer)
	Pause() // may come twice
	Resume()
	Stop()
}

var (
	errForked = errors.New("no Go plugin survives that Fluent Bit goes to the background (-d, daemon on) after it has loaded the plugin; " +
		"run it in the foreground, under a service manager or in a container")
	errSameThread = errors.New("its thread has an input already: Fluent Bit does not say which of them it pauses or stops; " +
		"remove 'threaded off'")
)

// shim knows the instances between Init and Exit and which of them a call of the
// host is meant for.
type shim struct {
	open func(h host, wake func(), log *slog.Logger) (source, error) // wake is nil where nothing wakes the host
	pid  int                                                         // of the process that loaded the library

	mu        sync.Mutex
	heirs     bool    // Go's threads may have the name of the engine's: an instance was called on that
	last      uintptr // handle given last; 0 is no handle
	instances map[uintptr]*instance
}

// instance is one [INPUT] section at work. The host calls it on one thread; mu
// serialises the calls of one that does otherwise.
type instance struct {
	tid  int // its thread
	host host
	log  *hostLog

	mu       sync.Mutex
	holder   atomic.Int64 // the thread that holds mu; 0: none
	source   source       // nil once it has ended
	appends  bool         // batches are appended
	waker    *waker       // nil: only the callback is called
	started  bool
	panicked bool
}

func newShim(open func(host, func(), *slog.Logger) (source, error)) *shim {
	return &shim{open: open, pid: os.Getpid(), instances: make(map[uintptr]*instance)}
}

// init sets up an instance on thread tid. Whatever fails is logged as one line,
// and then nothing of the instance is left: the host calls no Exit after it.
func (s *shim) init(h host, tid int) (ok bool) {
	inst, handle, err := s.reserve(tid)
	name := h.Name()
	if name == "" {
		name = fmt.Sprintf("#%d", handle)
	}
	log := newHostLog(h.LogLevel(), name, h.Print)
	defer log.flush()
	if err != nil {
		log.logger().Error("cannot start: " + err.Error())
		return false
	}
	inst.log = log
	inst.mu.Lock()
	defer inst.mu.Unlock()
	defer func() {
		if !ok {
			s.remove(inst)
		}
	}()
	defer inst.contain("FLBPluginInit")
	logger := log.logger()
	defer func() {
		if !ok {
			inst.stopWaking(h)
		}
	}()
	wake, err := s.prepare(inst, h)
	if err != nil {
		logger.Error("cannot start: " + err.Error())
		return false
	}
	src, err := s.open(h, wake, logger)
	if err != nil {
		logger.Error("cannot start: " + err.Error())
		return false
	}
	inst.source, inst.host = src, h
	h.SetHandle(handle)
	h.MakeMetrics()
	return true
}

// prepare finds out how the host takes batches. wake is nil where nothing wakes it.
func (s *shim) prepare(inst *instance, h host) (wake func(), err error) {
	if inst.appends = h.Appends(); !inst.appends {
		return nil, nil
	}
	s.mu.Lock()
	s.heirs = s.heirs || h.Synchronous()
	heirs := s.heirs
	s.mu.Unlock()
	if heirs {
		h.LoseEngine()
	}
	w, err := newWaker()
	if err != nil {
		return nil, err
	}
	if !h.WakeOn(w.fd) {
		w.close()
		return nil, nil
	}
	inst.waker = w
	return w.wake, nil
}

func (inst *instance) stopWaking(h host) {
	if inst.waker != nil {
		h.StopWaking()
		inst.waker.close()
	}
}

// reserve registers an instance for thread tid.
func (s *shim) reserve(tid int) (*instance, uintptr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	if os.Getpid() != s.pid {
		return nil, s.last, errForked
	}
	for _, inst := range s.instances {
		if inst.tid == tid {
			return nil, s.last, errSameThread
		}
	}
	inst := &instance{tid: tid}
	s.instances[s.last] = inst
	return inst, s.last, nil
}

func (s *shim) remove(inst *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for handle, other := range s.instances {
		if other == inst {
			delete(s.instances, handle)
		}
	}
}

// find returns the instance a call is meant for: the one with the handle that
// came with it, else the one on the calling thread, else the only one, else nil.
func (s *shim) find(handle uintptr, tid int) *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	if handle != 0 {
		return s.instances[handle]
	}
	var only *instance
	for _, inst := range s.instances {
		if inst.tid == tid {
			return inst
		}
		only = inst
	}
	if len(s.instances) == 1 {
		return only
	}
	return nil
}

// call runs f for the instance that a call of the host is meant for, and flushes
// the log. A call for none is dropped: without an instance there is no log.
func (s *shim) call(export string, handle uintptr, tid int, f func(*instance)) {
	inst := s.find(handle, tid)
	if inst == nil {
		return
	}
	// With threaded off, Fluent Bit may pause or resume the input while it takes a batch (src/flb_input_chunk.c:2989, v5.1.1).
	if inst.holder.Load() == int64(tid) {
		defer inst.contain(export)
		f(inst)
		return
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if inst.source == nil {
		return
	}
	inst.holder.Store(int64(tid))
	defer inst.holder.Store(0)
	defer inst.log.flush()
	defer inst.contain(export)
	f(inst)
}

func (s *shim) preRun(tid int) {
	s.call("FLBPluginInputPreRun", 0, tid, (*instance).start)
}

// collect returns the next batch, nil when there is none, or when it has appended
// what there was. It may be called while paused: of several instances the host
// stops the timer of the last one initialised, whichever is paused
// (src/flb_plugin_proxy.c:177, v5.1.1).
func (s *shim) collect(handle uintptr, tid int) (batch []byte) {
	began := time.Now()
	s.call("FLBPluginInputCallback", handle, tid, func(inst *instance) {
		defer func() { inst.source.Called(time.Since(began)) }()
		inst.start()
		inst.host.SetMetrics(inst.source.Figures())
		if inst.appends {
			inst.source.HandOver(inst.host, false)
		} else if b := inst.source.Take(); len(b) > 0 {
			batch = b
		}
	})
	return batch
}

// woken appends what is ready.
func (s *shim) woken(tid int) {
	began := time.Now()
	s.call("the event collector", 0, tid, func(inst *instance) {
		defer func() { inst.source.Called(time.Since(began)) }()
		inst.waker.drain()
		inst.start()
		inst.source.HandOver(inst.host, true)
	})
}

func (s *shim) release(handle uintptr, tid int, data unsafe.Pointer) {
	s.call("FLBPluginInputCleanupCallback", handle, tid, func(inst *instance) {
		inst.source.Release(data)
	})
}

func (s *shim) pause(tid int) {
	s.call("FLBPluginInputPause", 0, tid, func(inst *instance) { inst.source.Pause() })
}

func (s *shim) resume(tid int) {
	s.call("FLBPluginInputResume", 0, tid, func(inst *instance) { inst.source.Resume() })
}

// preExit only flushes the log: exit follows at once, on every host.
func (s *shim) preExit(tid int) {
	s.call("FLBPluginInputPreExit", 0, tid, func(*instance) {})
}

// exit stops the instance. Afterwards nothing of the host's is used on its behalf.
func (s *shim) exit(tid int) {
	s.call("FLBPluginExit", 0, tid, func(inst *instance) {
		s.remove(inst)
		defer inst.log.close()
		defer inst.contain("FLBPluginExit") // close comes last and takes its report along
		src := inst.source
		inst.source = nil
		defer inst.stopWaking(inst.host)
		src.Stop()
	})
}

// start lets the source begin, once: in PreRun, when the host has everything
// else, or with the first batch asked for on a host that has no PreRun.
func (inst *instance) start() {
	if !inst.started {
		inst.started = true
		inst.source.Start()
	}
}

// contain, deferred, keeps a panic from unwinding into C, where it would end the
// process. The first one of an instance is logged with its stack.
func (inst *instance) contain(export string) {
	reason := recover()
	if reason == nil || inst.panicked {
		return
	}
	inst.panicked = true
	inst.log.flush() // what waits, lest the report is dropped
	for _, line := range panicReport(export, reason) {
		inst.log.add(levelError, visible(line))
	}
}

// containUnlogged is contain for the exports that come without an instance, and
// so without a log.
func containUnlogged(export string) {
	if reason := recover(); reason != nil {
		for _, line := range panicReport(export, reason) {
			fmt.Fprintln(os.Stderr, visible(line))
		}
	}
}

func panicReport(export string, reason any) []string {
	report := []string{fmt.Sprintf("panic in %s, please report it: %v", export, reason)}
	stack := strings.ReplaceAll(strings.TrimSpace(string(debug.Stack())), "\t", "    ")
	return append(report, strings.Split(stack, "\n")...)
}
