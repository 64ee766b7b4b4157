// Package ledger remembers what has been listed, handed over and given up: one bbolt file per plugin instance, in it one
// [Stream] for each cloud, tenant, application and content type.
//
// Changes are kept in memory until [Ledger.Flush] writes them in one transaction. Every read sees them at once, so a disk that is
// full stops nothing but the writing; and what a crash takes with it costs repeats, never records, since a blob that
// the file does not call done is fetched again.
package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	// lockTimeout is how long Open waits for another holder of the file: long enough for one that is just closing it on a slow disk. At a
	// hot reload that is the instance before, and an input that does not start then may take Fluent Bit with it by SIGSEGV (v5.1.1).
	lockTimeout = 5 * time.Second
	// MaxUnwritten is how many blobs may wait in memory for a disk that takes nothing; then Add refuses more.
	MaxUnwritten = 50_000
)

// ErrUnwritten is returned by Add when MaxUnwritten changes wait for a disk that takes none.
var ErrUnwritten = errors.New("too many changes wait to be written to the db: free disk space, or mend what keeps it from being written")

// LockedError says that another process, or another input of this one, holds the file.
type LockedError struct{ Path string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("db %q is in use by another process or another office365 input: give each input a db of its own", e.Path)
}

// Ledger is an open file. Its methods may be called by several goroutines.
type Ledger struct {
	// OnWrite, set before the first Flush, is told how long each took that had something to write, and how it ended; nil: nobody is.
	OnWrite func(took time.Duration, err error)

	db       *bbolt.DB
	setAside string

	unreadable atomic.Int64 // entries of all streams

	flushing sync.Mutex // one Flush at a time

	mu        sync.Mutex // guards what follows and the unwritten changes of every stream
	streams   map[Key]*Stream
	unwritten int
}

// Open opens or creates the file. One that is damaged is moved out of the way ([Ledger.SetAside] tells where) and a new one
// begun: the API still has everything that matters.
func Open(path string) (*Ledger, error) {
	l := &Ledger{streams: map[Key]*Stream{}}
	damage, err := check(path)
	if err != nil {
		return nil, err
	}
	if damage != nil {
		l.setAside = fmt.Sprintf("%s.damaged-%s", path, time.Now().UTC().Format("20060102T150405.000Z"))
		if err := os.Rename(path, l.setAside); err != nil {
			return nil, fmt.Errorf("setting the damaged db aside: %w", err)
		}
	}
	l.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      lockTimeout,
		FreelistType: bbolt.FreelistMapType,
		NoStatistics: true,
		// NoFreelistSync stays off: with it, Open looks for the free pages in a goroutine of its own, and a damaged page panics there
		// (bbolt v1.5.0 db.go:1293), out of reach of recover.
	})
	if err != nil {
		return nil, openError(path, err)
	}
	return l, nil
}

func openError(path string, err error) error {
	var pe *fs.PathError
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return &LockedError{Path: path}
	case errors.As(err, &pe):
		return fmt.Errorf("db %q cannot be opened (%w): name a file in a directory that exists and that Fluent Bit's user may write to", path, pe.Err)
	default:
		return fmt.Errorf("db %q cannot be opened: %w", path, err)
	}
}

// SetAside is where a damaged file was moved by Open, or "".
func (l *Ledger) SetAside() string { return l.setAside }

// Flush writes all changes in one transaction. After an error they are kept and written by a later Flush.
func (l *Ledger) Flush() (err error) {
	l.flushing.Lock()
	defer l.flushing.Unlock()

	batches := l.takeUnwritten()
	if len(batches) == 0 {
		return nil
	}
	began := time.Now()
	defer func() {
		if p := recover(); p != nil { // bbolt panics on pages that it cannot make sense of
			err = fmt.Errorf("%v", p)
		}
		if l.OnWrite != nil {
			l.OnWrite(time.Since(began), err)
		}
		l.written(batches, err)
		if err != nil {
			err = fmt.Errorf("writing the ledger: %w", err)
		}
	}()
	return l.db.Update(func(tx *bbolt.Tx) error {
		for _, b := range batches {
			if err := b.write(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// Size is that of the file, in bytes.
func (l *Ledger) Size() (size int64, err error) {
	err = l.db.View(func(tx *bbolt.Tx) error {
		size = tx.Size()
		return nil
	})
	return size, err
}

// Unreadable is how many entries of all streams have turned out to be damaged since Open.
func (l *Ledger) Unreadable() int64 { return l.unreadable.Load() }

// Unwritten is how many blobs have changes that the file does not have yet.
func (l *Ledger) Unwritten() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unwritten
}

// takeUnwritten copies what has to be written; the streams keep it until written says that it is on the disk.
func (l *Ledger) takeUnwritten() []batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	var batches []batch
	for _, s := range l.streams {
		if b, dirty := s.unwrittenLocked(); dirty {
			batches = append(batches, b)
		}
	}
	return batches
}

func (l *Ledger) written(batches []batch, err error) {
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range batches {
		l.unwritten -= b.stream.writtenLocked(b)
	}
}

// Close releases the file without writing what is unwritten; Flush first.
func (l *Ledger) Close() error {
	return l.db.Close()
}
