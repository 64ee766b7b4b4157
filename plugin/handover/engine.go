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

// waitCalls are the system calls in which an event loop waits for something to do: epoll_wait, epoll_pwait and epoll_pwait2
// (https://github.com/torvalds/linux/blob/v6.12/arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl).
var waitCalls = map[string][]string{
	"amd64": {"232", "281", "441"},
	"arm64": {"22", "441"},
}[runtime.GOARCH]

// Engine is the thread on which Fluent Bit takes batches off the ring buffer, runs filters on them and writes them to chunks. Threads that
// it starts may have its name too, as those of Fluent Bit's HTTP server do.
type Engine struct {
	tasks   string   // where the threads of the process are
	threads []string // of that name, one of which it is; empty: it was not found
}

// FindEngine looks for it among the threads of this process.
func FindEngine() *Engine { return findEngine("/proc/self/task") }

func findEngine(tasks string) *Engine {
	e := &Engine{tasks: tasks}
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return e
	}
	for _, thread := range threads {
		if e.name(thread.Name()) == engineThread {
			e.threads = append(e.threads, thread.Name())
		}
	}
	return e
}

func (e *Engine) name(thread string) string {
	name, err := os.ReadFile(filepath.Join(e.tasks, thread, "comm"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}

// IsThisThread says whether the engine runs on the calling thread: then the input has none of its own (threaded off). One that has was
// named for it before it was initialised (src/flb_input_thread.c:366).
func (e *Engine) IsThisThread() bool { return e.name(strconv.Itoa(syscall.Gettid())) == engineThread }

// AtRest says whether the engine waits for something to do: whether all threads do that may be it. known is false where that cannot be
// seen.
func (e *Engine) AtRest() (rest, known bool) {
	if waitCalls == nil {
		return false, false
	}
	for i := 0; i < len(e.threads); {
		rest, there := e.waits(e.threads[i])
		switch {
		case !there: // it was not the engine
			e.threads = slices.Delete(e.threads, i, i+1)
			continue
		case !rest:
			return false, true
		}
		i++
	}
	return len(e.threads) > 0, len(e.threads) > 0
}

// waits says whether a thread waits for something to do, by the system call in which it sleeps (proc_pid_syscall(5)). A filter that waits
// for something does not do it in these calls; and a thread that is stopped, as by a debugger, does not sleep.
func (e *Engine) waits(thread string) (waits, there bool) {
	call, err := os.ReadFile(filepath.Join(e.tasks, thread, "syscall"))
	if err != nil {
		return false, false
	}
	number, _, _ := bytes.Cut(call, []byte(" "))
	if !slices.Contains(waitCalls, string(number)) {
		return false, true
	}
	// The name in front of the state may hold anything but ") ".
	stat, err := os.ReadFile(filepath.Join(e.tasks, thread, "stat"))
	_, state, found := bytes.Cut(stat, []byte(") "))
	return err == nil && found && bytes.HasPrefix(state, []byte("S ")), true
}
