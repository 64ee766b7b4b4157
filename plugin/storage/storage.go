// Package storage tells whether there is room for Fluent Bit's chunks where it keeps them: on the volume of storage.path, and within
// storage.total_limit_size of the outputs. Fluent Bit drops what it has no room for, and says so in its log only.
package storage

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// slack is what a chunk takes beyond what it holds: it begins with 256 KiB and grows by 32 KiB (Fluent Bit v5.1.1
	// include/fluent-bit/flb_input_chunk.h, lib/chunkio/include/chunkio/cio_file.h), and has a header and the tag.
	slack = 320 << 10
	// reserve is left on the volume for the others that write there, the db among them.
	reserve = 2 << 20
	// batchesInLimit is how many batches a limit has room for at least.
	batchesInLimit = 4
	// leastInodes is how many files must be possible: a chunk is one, and others make files too.
	leastInodes = 16
	// interval is how long the size of the chunks is taken as known, and what was probed as good.
	interval = 250 * time.Millisecond
	// probeAhead is how much is probed at once, where there is as much: to probe for each batch takes longer than to write it.
	probeAhead = 16 << 20
	// chunkSuffix ends the name of a chunk: <storage.path>/<input>/<pid>-<seconds>.<nanoseconds>.flb.
	chunkSuffix = ".flb"
)

// Limit is the storage.total_limit_size of an output. When it is reached, Fluent Bit drops the oldest chunks (src/flb_input_chunk.c:1146).
type Limit struct {
	Output string // its name, such as http.0
	Size   int64  // bytes
	// Except are the inputs, by the names of their directories, whose chunks do not go to that output.
	Except map[string]bool
}

// Volume is where chunks are kept. It is for one goroutine at a time.
type Volume struct {
	Path   string // storage.path
	Limits []Limit

	probe   func(dir string, bytes int64) error // allocates so much for a moment; nil: the real thing
	statfs  func(dir string) (syscall.Statfs_t, error)
	probed  time.Time
	good    int64 // bytes that were probed then and have not been granted since
	sized   time.Time
	sizes   map[string]int64 // of the chunks, by directory
	granted int64            // since they were taken
}

// Check says why there is no room for n more bytes; nil: there is.
func (v *Volume) Check(n int) error {
	need := int64(n) + slack
	if err := v.checkVolume(need); err != nil {
		return err
	}
	if err := v.checkLimits(need); err != nil {
		return err
	}
	v.granted += need
	v.good -= need
	return nil
}

// BatchSize is the size of batches that fit several times into each limit, at most the one wanted. A batch that never fits would be handed
// over never.
func (v *Volume) BatchSize(wanted int) int {
	for _, limit := range v.Limits {
		if most := limit.Size / batchesInLimit; int64(wanted) > most {
			wanted = int(most)
		}
	}
	return wanted
}

// OnDisk says that chunks are kept there.
func (v *Volume) OnDisk() bool { return true }

func (v *Volume) checkVolume(need int64) error {
	statfs, probe := v.statfs, v.probe
	if statfs == nil {
		statfs, probe = statfsOf, allocate
	}
	stat, err := statfs(v.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Fluent Bit makes it with the first chunk
	}
	if err != nil {
		return fmt.Errorf("storage.path %s cannot be looked at: %w", v.Path, err)
	}
	// The probe takes so much for a moment, in which Fluent Bit may write what is in flight.
	left := int64(stat.Bavail) * cmp.Or(stat.Frsize, stat.Bsize)
	if left < 2*need+reserve {
		return fmt.Errorf("the volume of storage.path %s has %s left, of which Fluent Bit's chunks need %s", v.Path, size(left), size(2*need+reserve))
	}
	if stat.Files > 0 && stat.Ffree < leastInodes {
		return fmt.Errorf("the volume of storage.path %s has %d inodes left, fewer than %d", v.Path, stat.Ffree, leastInodes)
	}
	now := time.Now()
	if v.good >= need && now.Sub(v.probed) < interval {
		return nil
	}
	v.good = 0
	for _, bytes := range [...]int64{min(max(need, probeAhead), (left-reserve)/2), need} {
		if err = probe(v.Path, bytes); err == nil {
			v.probed, v.good = now, bytes
			return nil
		}
	}
	return fmt.Errorf("storage.path %s does not take %s: %w", v.Path, size(need), err)
}

func statfsOf(dir string) (stat syscall.Statfs_t, err error) {
	err = syscall.Statfs(dir, &stat)
	return stat, err
}

// oTmpfile opens a file without a name, which goes when it is closed (open(2)).
const oTmpfile = 0o20000000 | syscall.O_DIRECTORY

// allocate finds out what statfs does not tell: a quota, a volume that has become read-only, an I/O error. A file system that cannot
// make such a file, or allocate, is not asked.
func allocate(dir string, bytes int64) error {
	fd, err := syscall.Open(dir, oTmpfile|syscall.O_RDWR|syscall.O_CLOEXEC, 0o600)
	switch {
	case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOENT):
		return nil
	case err != nil:
		return err
	}
	defer func() { _ = syscall.Close(fd) }() // nothing was written
	for {
		err = syscall.Fallocate(fd, 0, 0, bytes)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return nil
	}
	return err
}

func (v *Volume) checkLimits(need int64) error {
	if len(v.Limits) == 0 {
		return nil
	}
	if now := time.Now(); v.sizes == nil || now.Sub(v.sized) >= interval {
		sizes, err := chunkSizes(v.Path)
		if err != nil {
			return fmt.Errorf("the chunks in storage.path %s cannot be counted: %w", v.Path, err)
		}
		v.sizes, v.sized, v.granted = sizes, now, 0
	}
	for _, limit := range v.Limits {
		used := v.granted
		for dir, bytes := range v.sizes {
			if !limit.Except[dir] {
				used += bytes
			}
		}
		if used+need > limit.Size {
			v.sizes = nil // of this need, what is in flight is in no size and not granted: once it is written, only the next count has it
			return fmt.Errorf("storage.total_limit_size %s of the output %s is used but for %s, and the next chunk needs %s",
				size(limit.Size), limit.Output, size(max(limit.Size-used, 0)), size(need))
		}
	}
	return nil
}

// chunkSizes adds up the chunks of each input, by its directory.
func chunkSizes(path string) (map[string]int64, error) {
	sizes := map[string]int64{}
	inputs, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, input := range inputs {
		if !input.IsDir() {
			continue
		}
		chunks, err := os.ReadDir(filepath.Join(path, input.Name()))
		if err != nil {
			continue // it has just gone
		}
		for _, chunk := range chunks {
			if !strings.HasSuffix(chunk.Name(), chunkSuffix) {
				continue
			}
			if info, err := chunk.Info(); err == nil { // else an output has just taken it
				sizes[input.Name()] += info.Size()
			}
		}
	}
	return sizes, nil
}

// size writes bytes as Fluent Bit's keys have them: 2.1M.
func size(n int64) string {
	switch {
	case n >= 1_000_000_000:
		return trim(float64(n)/1e9) + "G"
	case n >= 1_000_000:
		return trim(float64(n)/1e6) + "M"
	default:
		return trim(float64(n)/1e3) + "K"
	}
}

func trim(f float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") }

// Mapped finds out where an input's chunks are by those that this process has mapped into its memory, "" if there are none. name is the
// input's, such as office365.0.
func Mapped(name string) (path string) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return ""
	}
	return mapped(string(maps), name)
}

func mapped(maps, name string) string {
	for line := range strings.Lines(maps) {
		_, file, found := strings.Cut(strings.TrimSuffix(strings.TrimSpace(line), " (deleted)"), " /")
		if !found || !strings.HasSuffix(file, chunkSuffix) {
			continue
		}
		if dir := filepath.Dir("/" + file); filepath.Base(dir) == name {
			return filepath.Dir(dir)
		}
	}
	return ""
}
