package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"
)

// unmount does not wait until nobody uses it any more.
func unmount(target string) error { return syscall.Unmount(target, syscall.MNT_DETACH) }

// mountMemory mounts, until the end of the test, a volume of a bounded size or for a bounded number of files. It skips the test where that is
// not permitted.
func mountMemory(t *testing.T, target, options string) {
	t.Helper()
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", target, "tmpfs", 0, options)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skip("SKIP: mounting is not permitted: run it as root")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unmount(target) })
}

// readOnly makes what is in a directory read-only until end is called. A mount that somebody writes to cannot be made so: another one is put
// over it, and files that are open already can still be written to.
func readOnly(t *testing.T, dir string) (end func()) {
	t.Helper()
	if err := syscall.Mount(dir, dir, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	return end
}

// device is a file with an ext4 file system, which is mounted as a disk is.
type device struct{ image, target string }

// newDevice skips the test where there cannot be one. It is unmounted at the end of the test.
func newDevice(t *testing.T, target string) *device {
	t.Helper()
	const size = 1 << 30 // of which only what is written takes room
	d := &device{target + ".img", target}
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, size); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", d.image).CombinedOutput(); err != nil {
		t.Skipf("SKIP: no file system can be made: %v %s", err, out)
	}
	if err := d.mount(); err != nil {
		t.Skip("SKIP: a file cannot be mounted here, which takes root and loop devices:", err)
	}
	t.Cleanup(func() { _ = unmount(target) })
	return d
}

func (d *device) mount() error {
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.target).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// fail puts on the disk what has been written, and has everything else end in an I/O error from then on.
func (d *device) fail(t *testing.T) {
	t.Helper()
	const ( // https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/ext4.h
		shutdown = 0x8004587d // EXT4_IOC_SHUTDOWN
		flush    = 0          // EXT4_GOING_FLAGS_DEFAULT
	)
	dir, err := os.Open(d.target)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	how := uint32(flush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), shutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		t.Fatal(errno)
	}
}

// replace mounts it anew. Nobody may have a file of it open.
func (d *device) replace(t *testing.T) {
	t.Helper()
	err := syscall.Unmount(d.target, 0)
	if err == nil {
		err = d.mount()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// useUpFiles makes files in a directory until there can be no more. They are gone when end is called.
func useUpFiles(t *testing.T, dir string) (end func()) {
	t.Helper()
	others := filepath.Join(dir, "others")
	err := os.Mkdir(others, 0o700)
	for n := 0; err == nil; n++ {
		err = os.WriteFile(filepath.Join(others, strconv.Itoa(n)), nil, 0o600)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return func() {
		if err := os.RemoveAll(others); err != nil {
			t.Fatal(err)
		}
	}
}

// thread is that of a process which has a name; of several the one that began first.
func thread(t *testing.T, pid int, name string) (tid int) {
	t.Helper()
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/comm", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range names {
		is, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(is)) != name {
			continue
		}
		if n, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && (tid == 0 || n < tid) {
			tid = n
		}
	}
	if tid == 0 {
		t.Fatalf("no thread %s in process %d", name, pid)
	}
	return tid
}

// withThreadStopped stops one thread of another process, as a debugger does, while f runs. It skips the test where that is not permitted.
func withThreadStopped(t *testing.T, tid int, f func()) {
	t.Helper()
	runtime.LockOSThread() // only the one that has attached may detach
	defer runtime.UnlockOSThread()
	err := syscall.PtraceAttach(tid)
	if errors.Is(err, syscall.EPERM) {
		t.Skip("SKIP: stopping a thread is not permitted")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.PtraceDetach(tid); err != nil {
			t.Error(err)
		}
	}()
	var status syscall.WaitStatus
	for {
		if _, err = syscall.Wait4(tid, &status, syscall.WALL, nil); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil || !status.Stopped() {
		t.Fatalf("the thread does not stop: %v, %v", status, err)
	}
	f()
}
