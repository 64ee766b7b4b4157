package handover

import (
	"runtime"
	"syscall"
	"testing"
	"unsafe"
)

// onThread runs f on a thread of that name, and ends the thread when the test does.
func onThread(t *testing.T, name string, f func()) {
	t.Helper()
	ran, end := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(end) })
	go func() {
		runtime.LockOSThread() // for good: nobody else is to have a thread of that name
		title := append([]byte(name), 0)
		if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_NAME, uintptr(unsafe.Pointer(&title[0])), 0); errno != 0 {
			t.Error(errno)
		}
		f()
		close(ran)
		<-end
	}()
	<-ran
}

// Threads that the engine makes have its name too, as those of Go have when Fluent Bit calls a plugin on the engine's thread.
func TestTheEngineIsFoundByTheNameOfItsThread(t *testing.T) {
	seen := func(t *testing.T) (on, known bool) {
		t.Helper()
		onThread(t, "flb-in-office3", func() {
			on = OnEngine()
			_, known = FindEngine().AtRest()
		})
		return on, known
	}
	if on, known := seen(t); on || known {
		t.Errorf("without an engine: on it %v, known %v", on, known)
	}
	onThread(t, engineThread, func() {})
	if on, known := seen(t); on || !known {
		t.Errorf("beside the engine: on it %v, known %v", on, known)
	}
	onThread(t, engineThread, func() {
		if !OnEngine() {
			t.Error("on one of two threads of that name, the engine is not found to be the calling one")
		}
	})
	if on, known := seen(t); on || known {
		t.Errorf("beside two of that name: on it %v, known %v", on, known)
	}
}
