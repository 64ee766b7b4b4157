package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"syscall"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// check reads the whole file before it is trusted: bbolt takes pages for what they should be, so that damage ends the process, hangs
// it, or goes unnoticed.
func check(path string) (damage, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, openError(path, err)
	case info.IsDir():
		return nil, fmt.Errorf("db %q is a directory: name a file", path)
	case info.Size() == 0: // as a file system may leave it behind a power cut
		return errors.New("the file is empty"), nil
	}
	defer func() {
		if p := recover(); p != nil {
			damage, err = fmt.Errorf("%v", p), nil
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))

	var file *os.File
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		ReadOnly: true, Timeout: lockTimeout, // its lock keeps writers away
		OpenFile: func(name string, flag int, mode fs.FileMode) (_ *os.File, err error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	})
	if err != nil {
		if errors.Is(err, bolterrors.ErrTimeout) || ofTheSystem(err) {
			return nil, openError(path, err)
		}
		return err, nil
	}
	defer db.Close()
	if damage = checkPages(file, db.Info().PageSize); damage == nil {
		damage = db.View(walk)
	}
	if ofTheSystem(damage) {
		return nil, openError(path, damage)
	}
	return damage, nil
}

// ofTheSystem says that an error, such as one for want of memory or of open files, tells nothing of the file.
func ofTheSystem(err error) bool {
	var number syscall.Errno
	return errors.As(err, &number)
}

// walk decodes every entry.
func walk(tx *bbolt.Tx) error {
	entry := func(id, v []byte) error {
		var e Entry
		return e.decode(id, v)
	}
	return tx.ForEach(func(_ []byte, application *bbolt.Bucket) error {
		return application.ForEachBucket(func(contentType []byte) error {
			stream := application.Bucket(contentType)
			blobs, due := stream.Bucket(bucketBlobs), stream.Bucket(bucketDue)
			if blobs == nil || due == nil {
				return errFormat
			}
			var p Progress
			if err := p.decode(stream.Get(keyProgress)); err != nil {
				return err
			}
			if err := blobs.ForEach(entry); err != nil {
				return err
			}
			return due.ForEach(func(k, _ []byte) error {
				if len(k) < dueKeyPrefix {
					return errFormat
				}
				return entry(dueID(k), blobs.Get(dueID(k)))
			})
		})
	})
}

// The layout of bbolt's file, in the machine's byte order (bbolt v1.5.0 internal/common: page.go, meta.go, inode.go, bucket.go).
const (
	pageHeader    = 16 // id uint64, flags uint16, count uint16, overflow uint32
	pageElement   = 16
	bucketHeader  = 16 // root uint64, sequence uint64
	metaSize      = 64 // magic, version, pageSize, flags uint32; root, sequence, freelist, pgid, txid, checksum uint64
	metaSummed    = metaSize - 8
	branchPage    = 0x01
	leafPage      = 0x02
	freelistPage  = 0x10
	leafIsBucket  = 0x01
	manyFreePages = 0xffff // count: the number stands before the page ids
	noFreelist    = ^uint64(0)
	mostLevels    = 64 // of pages below one another: a sound tree has a few
)

var order = binary.NativeEndian

// pages checks that the tree of a bbolt file is one: every page is where it says, holds what it says within its bounds, belongs to
// one place, and its keys are in order. It reads the file rather than the memory it is mapped to, where a bad address is a fault.
type pages struct {
	file    io.ReaderAt
	size    int64
	taken   []bool // by id: free, or part of the tree already; as many as there are pages
	buffers [][]byte
}

func checkPages(file *os.File, pageSize int) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	var root, freelist, count, txid uint64
	meta := make([]byte, metaSize)
	for i := range int64(2) { // the valid one of the younger transaction counts, as for bbolt (db.go:1141)
		if _, err := file.ReadAt(meta, i*int64(pageSize)+pageHeader); err != nil {
			return err
		}
		sum := fnv.New64a()
		_, _ = sum.Write(meta[:metaSummed]) // a hash takes everything
		if id := order.Uint64(meta[48:]); sum.Sum64() == order.Uint64(meta[metaSummed:]) && (count == 0 || id > txid) {
			root, freelist, count, txid = order.Uint64(meta[16:]), order.Uint64(meta[32:]), order.Uint64(meta[40:]), id
		}
	}
	if most := uint64(info.Size()) / uint64(pageSize); count > most {
		return fmt.Errorf("%d pages instead of %d", most, count)
	}
	p := &pages{file: file, size: int64(pageSize), taken: make([]bool, count)}
	if freelist != noFreelist { // a tool may have dropped it; bbolt then finds out by itself
		if err := p.checkFreelist(freelist); err != nil {
			return err
		}
	}
	return p.checkTree(root, nil, nil, 0)
}

func badPage(id uint64, problem string) error { return fmt.Errorf("page %d: %s", id, problem) }

// read returns a page with what overflows it, and takes it. It stays valid until the next one of its level.
func (p *pages) read(id uint64, level int) ([]byte, error) {
	if id < 2 || id >= uint64(len(p.taken)) {
		return nil, badPage(id, "there is none")
	}
	for len(p.buffers) <= level {
		p.buffers = append(p.buffers, make([]byte, p.size))
	}
	b := p.buffers[level][:p.size]
	if _, err := p.file.ReadAt(b, int64(id)*p.size); err != nil {
		return nil, err
	}
	overflow := uint64(order.Uint32(b[12:]))
	if order.Uint64(b) != id || overflow >= uint64(len(p.taken))-id {
		return nil, badPage(id, "it is another one's")
	}
	for i := range overflow + 1 {
		if p.taken[id+i] {
			return nil, badPage(id+i, "it is used twice")
		}
		p.taken[id+i] = true
	}
	if overflow > 0 {
		b = make([]byte, int64(overflow+1)*p.size)
		if _, err := p.file.ReadAt(b, int64(id)*p.size); err != nil {
			return nil, err
		}
		p.buffers[level] = b
	}
	return b, nil
}

func (p *pages) checkFreelist(id uint64) error {
	b, err := p.read(id, 0)
	if err != nil {
		return err
	}
	count, ids := uint64(order.Uint16(b[10:])), b[pageHeader:]
	if count == manyFreePages {
		count, ids = order.Uint64(ids), ids[8:]
	}
	if order.Uint16(b[8:]) != freelistPage || count > uint64(len(ids)/8) {
		return badPage(id, "no list of free pages")
	}
	for i := range count {
		free := order.Uint64(ids[8*i:])
		if free < 2 || free >= uint64(len(p.taken)) || p.taken[free] {
			return badPage(free, "it can't be free")
		}
		p.taken[free] = true
	}
	return nil
}

// checkTree checks the page and what is below it. Its keys lie from least on, and before end unless that is nil.
func (p *pages) checkTree(id uint64, least, end []byte, level int) error {
	if level >= mostLevels {
		return badPage(id, "too deep")
	}
	b, err := p.read(id, level)
	if err != nil {
		return err
	}
	return p.checkElements(id, b, least, end, level)
}

func (p *pages) checkElements(id uint64, b, least, end []byte, level int) error {
	if len(b) < pageHeader {
		return badPage(id, "cut short")
	}
	flags, count := order.Uint16(b[8:]), int(order.Uint16(b[10:]))
	if flags != branchPage && flags != leafPage || flags == branchPage && count == 0 || pageHeader+count*pageElement > len(b) {
		return badPage(id, "neither branch nor leaf")
	}
	// part is a key or value: it begins so far behind the start of the element.
	part := func(i int, from, size uint64) []byte {
		start := uint64(pageHeader+i*pageElement) + from
		if start+size > uint64(len(b)) { // both are sums of 32-bit numbers
			return nil
		}
		return b[start : start+size : start+size]
	}
	key := func(i int) []byte {
		e := b[pageHeader+i*pageElement:]
		if flags == branchPage {
			return part(i, uint64(order.Uint32(e)), uint64(order.Uint32(e[4:])))
		}
		return part(i, uint64(order.Uint32(e[4:])), uint64(order.Uint32(e[8:])))
	}
	for i := range count {
		k := key(i)
		if len(k) == 0 || bytes.Compare(k, least) < 0 || i > 0 && bytes.Equal(k, least) || end != nil && bytes.Compare(k, end) >= 0 {
			return badPage(id, "a key that does not belong there")
		}
		least = k
		e := b[pageHeader+i*pageElement:]
		if flags == branchPage {
			next := end
			if i+1 < count {
				if next = key(i + 1); next == nil {
					return badPage(id, "a key out of bounds")
				}
			}
			if err := p.checkTree(order.Uint64(e[8:]), k, next, level+1); err != nil {
				return err
			}
			continue
		}
		size := uint64(order.Uint32(e[12:]))
		value := part(i, uint64(order.Uint32(e[4:]))+uint64(len(k)), size)
		if uint64(len(value)) != size {
			return badPage(id, "a value out of bounds")
		}
		if order.Uint32(e)&leafIsBucket == 0 {
			continue
		}
		if err := p.checkBucket(id, value, level); err != nil {
			return err
		}
	}
	return nil
}

// checkBucket checks one whose root is a page, or stands in the value itself.
func (p *pages) checkBucket(id uint64, value []byte, level int) error {
	if len(value) < bucketHeader {
		return badPage(id, "a bucket cut short")
	}
	if root := order.Uint64(value); root != 0 {
		return p.checkTree(root, nil, nil, level+1)
	}
	if level >= mostLevels {
		return badPage(id, "too deep")
	}
	return p.checkElements(id, value[bucketHeader:], nil, nil, level+1)
}
