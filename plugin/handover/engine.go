package handover

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// engineThread is the name of the thread of Fluent Bit's engine (v5.1.1 src/flb_lib.c:925).
const engineThread = "flb-pipeline"

// waiting are the system calls in which an event loop waits for something to do: epoll_wait, epoll_pwait and epoll_pwait2
// (https://github.com/torvalds/linux/blob/v6.12/arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl).
var waiting = map[string][]string{
	"amd64": {"232", "281", "441"},
	"arm64": {"22", "441"},
}[runtime.GOARCH]

// Engine is the thread on which Fluent Bit takes batches off the ring buffer, runs filters on them and writes them to chunks.
type Engine struct{ tid int } // 0: it was not found

// FindEngine looks for it among the threads of this process, which is on the input's thread. A thread has the name of the one that made
// it until it gives itself another, so there may be several.
func FindEngine() *Engine {
	if OnEngine() {
		return &Engine{syscall.Gettid()}
	}
	names, err := filepath.Glob("/proc/self/task/*/comm")
	if err != nil {
		return &Engine{}
	}
	engine := &Engine{}
	for _, path := range names {
		if !isEngine(path) {
			continue
		}
		tid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || engine.tid != 0 {
			return &Engine{} // which of them is the input's cannot be told
		}
		engine.tid = tid
	}
	return engine
}

// OnEngine says whether the engine runs on the calling thread, which is the input's: it has none of its own then (threaded off). One of
// its own is called flb-in-... before it comes to Init (v5.1.1 src/flb_input_thread.c:366).
func OnEngine() bool { return isEngine("/proc/thread-self/comm") }

func isEngine(path string) bool {
	name, err := os.ReadFile(path)
	return err == nil && strings.TrimSpace(string(name)) == engineThread
}

// AtRest says whether the engine waits for something to do, by the system call in which it sleeps (proc_pid_syscall(5)). A filter that
// waits for something does not do it in these calls; and a thread that is stopped, as by a debugger, does not sleep. known is false where
// that cannot be seen.
func (e *Engine) AtRest() (rest, known bool) {
	if e.tid == 0 || waiting == nil {
		return false, false
	}
	dir := "/proc/self/task/" + strconv.Itoa(e.tid)
	call, err := os.ReadFile(dir + "/syscall")
	if err != nil {
		return false, false
	}
	number, _, _ := bytes.Cut(call, []byte(" "))
	if !slices.Contains(waiting, string(number)) {
		return false, true
	}
	// The name in front of the state may hold anything but ") ".
	stat, err := os.ReadFile(dir + "/stat")
	_, state, found := bytes.Cut(stat, []byte(") "))
	return err == nil && found && bytes.HasPrefix(state, []byte("S ")), true
}
