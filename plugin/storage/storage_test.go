package storage

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// roomy is a volume with so much left.
func roomy(left int64, inodes uint64) func(string) (syscall.Statfs_t, error) {
	return func(string) (syscall.Statfs_t, error) {
		return syscall.Statfs_t{Bsize: 1 << 20, Frsize: 1000, Bavail: uint64(left / 1000), Files: 1000, Ffree: inodes}, nil
	}
}

func TestCheck(t *testing.T) {
	const batch = 2_000_000
	for _, tc := range []struct {
		name   string
		statfs func(string) (syscall.Statfs_t, error)
		probe  error
		limits []Limit
		chunks map[string]int64
		want   string // the error
	}{
		{name: "room", statfs: roomy(100_000_000, 1000)},
		{name: "a volume that is full", statfs: roomy(5_000_000, 1000),
			want: "the volume of storage.path DIR has 5M left, of which Fluent Bit's chunks need 6.8M"},
		{name: "no inodes", statfs: roomy(100_000_000, 3), want: "the volume of storage.path DIR has 3 inodes left, fewer than 16"},
		{name: "a file system that counts no inodes", statfs: func(string) (syscall.Statfs_t, error) {
			return syscall.Statfs_t{Bsize: 1000, Bavail: 1_000_000}, nil
		}},
		{name: "a quota", statfs: roomy(100_000_000, 1000), probe: syscall.EDQUOT, want: "storage.path DIR does not take 2.3M: disk quota exceeded"},
		{name: "an I/O error", statfs: roomy(100_000_000, 1000), probe: syscall.EIO, want: "storage.path DIR does not take 2.3M: input/output error"},
		{name: "read-only", statfs: roomy(100_000_000, 1000), probe: syscall.EROFS, want: "storage.path DIR does not take 2.3M: read-only file system"},
		{name: "not there yet", statfs: func(string) (syscall.Statfs_t, error) { return syscall.Statfs_t{}, fs.ErrNotExist }},
		{name: "within the limit", statfs: roomy(100_000_000, 1000), limits: []Limit{{Output: "http.0", Size: 10_000_000}},
			chunks: map[string]int64{"office365.0/1-1.1.flb": 4_000_000, "office365.0/1-2.2.flb": 3_000_000}},
		{name: "the limit is used", statfs: roomy(100_000_000, 1000), limits: []Limit{{Output: "http.0", Size: 10_000_000}},
			chunks: map[string]int64{"office365.0/1-1.1.flb": 4_000_000, "office365.0/1-2.2.flb": 4_000_000},
			want:   "storage.total_limit_size 10M of the output http.0 is used but for 2M, and the next chunk needs 2.3M"},
		{name: "what goes elsewhere does not count", statfs: roomy(100_000_000, 1000),
			limits: []Limit{{Output: "http.0", Size: 10_000_000, Except: map[string]bool{"cpu.1": true}}},
			chunks: map[string]int64{"cpu.1/1-1.1.flb": 9_000_000, "office365.0/1-2.2.txt": 9_000_000, "office365.0/1-2.2.flb": 1_000_000}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, bytes := range tc.chunks {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(path, bytes); err != nil {
					t.Fatal(err)
				}
			}
			v := &Volume{Path: dir, Limits: tc.limits, statfs: tc.statfs, probe: func(string, int64) error { return tc.probe }}
			got := ""
			if err := v.Check(batch); err != nil {
				got = err.Error()
			}
			if want := replaceDir(tc.want, dir); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func replaceDir(text, dir string) string {
	for i := 0; i+3 <= len(text); i++ {
		if text[i:i+3] == "DIR" {
			return text[:i] + dir + text[i+3:]
		}
	}
	return text
}

// What was granted since the chunks were counted is used.
func TestLimitCountsWhatWasGranted(t *testing.T) {
	v := &Volume{Path: t.TempDir(), Limits: []Limit{{Output: "http.0", Size: 6_000_000}}, statfs: roomy(100_000_000, 1000), probe: func(string, int64) error { return nil }}
	v.sizes, v.sized = map[string]int64{}, time.Now().Add(time.Hour)
	for i, want := range []bool{true, true, false} {
		if got := v.Check(2_000_000) == nil; got != want {
			t.Errorf("batch %d: granted %v", i, got)
		}
	}
}

// What was in flight when a batch was refused has been written when it is asked for again, with nothing in flight: it is used.
func TestLimitCountsWhatWasInFlight(t *testing.T) {
	dir := t.TempDir()
	v := &Volume{Path: dir, Limits: []Limit{{Output: "http.0", Size: 6_000_000}}, statfs: roomy(100_000_000, 1000), probe: func(string, int64) error { return nil }}
	if v.Check(4_000_000+2_000_000) == nil {
		t.Fatal("granted beyond the limit")
	}
	path := filepath.Join(dir, "office365.0", "1-1.1.flb")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, 4_000_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if v.Check(2_000_000) == nil {
		t.Error("granted again what has been written meanwhile")
	}
}

// The real probe, on a real file system: it leaves nothing behind, and fails where there is no room.
func TestAllocate(t *testing.T) {
	dir := t.TempDir()
	if err := allocate(dir, 1<<20); err != nil {
		t.Errorf("in a directory with room: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := allocate(dir, 1<<60); err == nil {
		t.Error("an exabyte was allocated")
	}
}

func TestMapped(t *testing.T) {
	const maps = `7f0000000000-7f0000200000 rw-s 00000000 fe:00 42 /usr/lib/libc.so.6
7f0000200000-7f0000400000 rw-s 00000000 fe:00 43 /var/lib/my chunks/cpu.0/77-1.2.flb
7f0000400000-7f0000600000 rw-s 00000000 fe:00 44 /var/lib/my chunks/office365.1/77-1764561150.1234.flb
`
	for name, want := range map[string]string{"office365.1": "/var/lib/my chunks", "office365.0": ""} {
		if got := mapped(maps, name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// Probing takes longer than writing: it is done ahead, for what will be granted within a moment.
func TestProbesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var probed []int64
		v := &Volume{Path: "/chunks", statfs: roomy(1_000_000_000, 1000), probe: func(_ string, bytes int64) error {
			probed = append(probed, bytes)
			return nil
		}}
		for range 7 {
			if err := v.Check(2_000_000); err != nil {
				t.Fatal(err)
			}
		}
		if len(probed) != 1 {
			t.Errorf("probed %d for seven batches at once", probed)
		}
		if err := v.Check(2_000_000); err != nil || len(probed) != 2 {
			t.Errorf("probed %d for what was not probed before: %v", probed, err)
		}
		time.Sleep(interval)
		if err := v.Check(2_000_000); err != nil || len(probed) != 3 {
			t.Errorf("probed %d after a while: %v", probed, err)
		}
	})
}

// Where not as much can be had ahead, as within a quota, what is needed now is enough.
func TestProbeFallsBackToWhatIsNeeded(t *testing.T) {
	var probed []int64
	v := &Volume{Path: "/chunks", statfs: roomy(1_000_000_000, 1000), probe: func(_ string, bytes int64) error {
		if probed = append(probed, bytes); bytes > 5_000_000 {
			return syscall.EDQUOT
		}
		return nil
	}}
	if err := v.Check(2_000_000); err != nil || len(probed) != 2 {
		t.Errorf("probed %d: %v", probed, err)
	}
}

func TestBatchesFitIntoTheLimits(t *testing.T) {
	v := &Volume{Limits: []Limit{{Size: 100_000_000}, {Size: 6_000_000}}}
	for wanted, want := range map[int]int{2_100_000: 1_500_000, 1_000_000: 1_000_000} {
		if got := v.BatchSize(wanted); got != want {
			t.Errorf("%d wanted: got %d, want %d", wanted, got, want)
		}
	}
}
