package handover

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"unsafe"
)

// task writes what the kernel tells of a thread.
func task(t *testing.T, tasks, tid, name, syscall, state string) {
	t.Helper()
	for file, text := range map[string]string{"comm": name + "\n", "syscall": syscall, "stat": tid + " (" + name + ") " + state + " 1 1 1"} {
		path := filepath.Join(tasks, tid, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEngineAtRest(t *testing.T) {
	if waitCalls == nil {
		t.Skip("the numbers of the system calls are not known for this processor")
	}
	waits, writes := waitCalls[0]+" 0x5 0x7f 0x100", "1 0x2 0x3"
	type thread struct{ name, syscall, state string }
	for name, tc := range map[string]struct {
		threads     []thread
		rest, known bool
	}{
		"waits":                             {[]thread{{"flb-pipeline", waits, "S"}, {"flb-in-office36", writes, "S"}}, true, true},
		"is in another system call":         {[]thread{{"flb-pipeline", writes, "S"}}, false, true},
		"runs":                              {[]thread{{"flb-pipeline", "running", "R"}}, false, true},
		"is stopped where it waited":        {[]thread{{"flb-pipeline", waits, "t"}}, false, true},
		"one of two with that name is busy": {[]thread{{"flb-pipeline", waits, "S"}, {"flb-pipeline", writes, "S"}}, false, true},
		"both of two with that name wait":   {[]thread{{"flb-pipeline", waits, "S"}, {"flb-pipeline", waits, "S"}}, true, true},
		"is not there":                      {[]thread{{"fluent-bit", waits, "S"}}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			tasks := t.TempDir()
			for i, th := range tc.threads {
				task(t, tasks, string(rune('1'+i)), th.name, th.syscall, th.state)
			}
			e := findEngine(tasks)
			if rest, known := e.AtRest(); rest != tc.rest || known != tc.known {
				t.Errorf("at rest %v, known %v", rest, known)
			}
		})
	}
}

// A thread that has ended was not the engine.
func TestEngineForgetsThreadsThatEnd(t *testing.T) {
	tasks := t.TempDir()
	task(t, tasks, "1", "flb-pipeline", waitCalls[0], "S")
	task(t, tasks, "2", "flb-pipeline", "1 0x2", "S")
	e := findEngine(tasks)
	if rest, _ := e.AtRest(); rest {
		t.Error("at rest while one is busy")
	}
	if err := os.RemoveAll(filepath.Join(tasks, "2")); err != nil {
		t.Fatal(err)
	}
	if rest, known := e.AtRest(); !rest || !known {
		t.Errorf("at rest %v, known %v after the other has ended", rest, known)
	}
}

// onThread runs f on a thread of that name.
func onThread(t *testing.T, name string, f func()) {
	t.Helper()
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and with it its name
		title := append([]byte(name), 0)
		if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_NAME, uintptr(unsafe.Pointer(&title[0])), 0); errno != 0 {
			t.Error(errno)
		}
		f()
	}()
	<-ran
}

// Threads that the engine makes have its name too, so it is the calling thread's name that counts.
func TestTheEngineIsTheThreadOfThatName(t *testing.T) {
	for name, want := range map[string]bool{"flb-in-office3": false, engineThread: true} {
		onThread(t, name, func() {
			if got := FindEngine().IsThisThread(); got != want {
				t.Errorf("on %s: %v", name, got)
			}
		})
	}
}
