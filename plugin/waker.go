package main

import (
	"fmt"
	"sync"
	"syscall"
	"unsafe"
)

// waker is a descriptor that the host waits for: an eventfd, which can be read
// from wake until drain.
type waker struct {
	fd int

	mu     sync.Mutex
	closed bool
}

func newWaker() (*waker, error) {
	fd, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return nil, fmt.Errorf("making an eventfd: %w", errno)
	}
	return &waker{fd: int(fd)}, nil
}

// wake may be called by any goroutine, at any time: after close it does nothing.
func (w *waker) wake() {
	one := uint64(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		// It fails when it has been called 2^64-1 times since drain.
		_, _ = syscall.Write(w.fd, unsafe.Slice((*byte)(unsafe.Pointer(&one)), unsafe.Sizeof(one)))
	}
}

// drain ends being readable.
func (w *waker) drain() {
	var n [unsafe.Sizeof(uint64(0))]byte
	_, _ = syscall.Read(w.fd, n[:]) // it fails when there is nothing to drain
}

func (w *waker) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed = true
		_ = syscall.Close(w.fd)
	}
}
