package ledger

import (
	"bytes"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

// Key names a stream: contentIds are unique within one.
type Key struct {
	Cloud, Tenant, Application, ContentType string
}

// Stream is what the ledger knows of one content type.
type Stream struct {
	ledger *Ledger
	key    Key

	// Changes that the file does not have yet, guarded by ledger.mu.
	entries  map[string]Entry
	progress *Progress

	damaged map[string]bool // contentIds of entries that turned out to be unreadable and have not been replaced; guarded by ledger.mu
	found   atomic.Int64    // how many there have been
}

// Progress is how far listing has come.
type Progress struct {
	Origin time.Time // where the first run began: nothing older is asked for
	Listed time.Time // everything before it has been listed at least once
}

// Names of the buckets. The root holds a bucket for each stream's cloud|tenant|application, that one for each content type.
var (
	bucketBlobs = []byte("blobs") // contentId -> entry
	bucketDue   = []byte("due")   // not before, created, contentId -> nothing: the pending blobs in the order of their turn
	keyProgress = []byte("progress")
)

// Stream opens the stream of that key.
func (l *Ledger) Stream(key Key) *Stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[key]
	if s == nil {
		s = &Stream{ledger: l, key: key, entries: map[string]Entry{}, damaged: map[string]bool{}}
		l.streams[key] = s
	}
	return s
}

func (s *Stream) path() [2][]byte {
	return [2][]byte{[]byte(s.key.Cloud + "|" + s.key.Tenant + "|" + s.key.Application), []byte(s.key.ContentType)}
}

// bucket is nil where nothing has been written yet.
func (s *Stream) bucket(tx *bbolt.Tx) *bbolt.Bucket {
	b := tx.Bucket(s.path()[0])
	if b == nil {
		return nil
	}
	return b.Bucket(s.path()[1])
}

// Unreadable is how many entries have turned out to be damaged. Such an entry is never taken for done: its blob is unknown until it is
// listed again, and pending from then on.
func (s *Stream) Unreadable() int64 { return s.found.Load() }

func (s *Stream) unreadableLocked(id string) {
	if !s.damaged[id] {
		s.damaged[id] = true
		s.found.Add(1)
		s.ledger.unreadable.Add(1)
	}
}

// Add makes pending those of the blobs that are not known yet, and returns how many. A pending one is fetched from where it was
// listed last, as the API's address may have changed. One that had been pending before its entry became unreadable is not counted again.
func (s *Stream) Add(blobs []Entry) (added int, err error) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	if s.ledger.unwritten >= MaxUnwritten {
		return 0, ErrUnwritten
	}
	err = s.view(func(stored, due *bbolt.Bucket) error {
		for _, e := range blobs {
			old, known := s.lookLocked(stored, e.ID)
			switch {
			case !known:
				if !s.damaged[e.ID] || len(turns(due, []byte(e.ID))) == 0 {
					added++
				}
				e.State = Pending
				s.setLocked(e)
			case old.State == Pending && old.URI != e.URI:
				old.URI = e.URI
				s.setLocked(old)
			}
		}
		return nil
	})
	return added, err
}

// Update replaces what is known of the blob.
func (s *Stream) Update(e Entry) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	s.setLocked(e)
}

func (s *Stream) setLocked(e Entry) {
	if _, waits := s.entries[e.ID]; !waits {
		s.ledger.unwritten++
	}
	s.entries[e.ID] = e
	delete(s.damaged, e.ID)
}

// Get is what is known of the blob.
func (s *Stream) Get(id string) (e Entry, known bool, err error) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	err = s.view(func(stored, _ *bbolt.Bucket) error {
		e, known = s.lookLocked(stored, id)
		return nil
	})
	return e, known, err
}

func (s *Stream) lookLocked(stored *bbolt.Bucket, id string) (e Entry, known bool) {
	if e, known = s.entries[id]; known || stored == nil {
		return e, known
	}
	v := stored.Get([]byte(id))
	if v == nil {
		return e, false
	}
	if e.decode([]byte(id), v) != nil {
		s.unreadableLocked(id)
		return Entry{}, false
	}
	return e, true
}

// turns finds the keys of a blob in the due bucket where its entry cannot tell them. It looks at each: that is for once.
func turns(due *bbolt.Bucket, id []byte) (keys [][]byte) {
	if due == nil {
		return nil
	}
	c := due.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if bytes.Equal(dueID(k), id) {
			keys = append(keys, bytes.Clone(k))
		}
	}
	return keys
}

// Due returns up to limit pending blobs whose turn has come and that skip does not want to pass over; and when the turn of the next one
// comes (zero: none waits for it). New blobs and those that are tried again come in turn, of each the oldest first.
//
// A quarter is kept for blobs that are tried again: behind a backlog of new ones they might expire.
func (s *Stream) Due(now time.Time, limit int, skip func(id string) bool) (due []Entry, next time.Time, err error) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()

	var fresh, again []Entry
	for _, e := range s.entries {
		switch {
		case e.State != Pending || skip(e.ID):
		case e.NotBefore.IsZero():
			fresh = append(fresh, e)
		case e.NotBefore.After(now):
			next = soonest(next, e.NotBefore)
		default:
			again = append(again, e)
		}
	}
	err = s.view(func(blobs, order *bbolt.Bucket) error {
		if order == nil {
			return nil
		}
		// New blobs stand first in the bucket, in the order of their age; then those that wait, in the order of their turn.
		read := func(from []byte, most int, take func(Entry) (more bool)) {
			c := order.Cursor()
			for k, _ := c.Seek(from); k != nil && most > 0; k, _ = c.Next() {
				id := dueID(k)
				if _, newer := s.entries[string(id)]; newer || skip(string(id)) {
					continue
				}
				var e Entry
				if e.decode(id, blobs.Get(id)) != nil { // where it is to be had from stands in the next listing
					s.unreadableLocked(string(id))
					continue
				}
				if !take(e) {
					return
				}
				most--
			}
		}
		read(dueKey(time.UnixMilli(1), time.Time{}, nil), limit, func(e Entry) bool {
			if e.NotBefore.After(now) {
				next = soonest(next, e.NotBefore)
				return false
			}
			again = append(again, e)
			return true
		})
		read(nil, limit, func(e Entry) bool {
			if e.NotBefore.IsZero() {
				fresh = append(fresh, e)
			}
			return e.NotBefore.IsZero()
		})
		return nil
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	sortByAge(fresh)
	sortByAge(again)
	share := max((limit+3)/4, limit-len(fresh))
	again = again[:min(share, len(again))]
	fresh = fresh[:min(limit-len(again), len(fresh))]
	// In turn, so that who takes only the first few of them takes of both.
	for i := range max(len(fresh), len(again)) {
		if i < len(fresh) {
			due = append(due, fresh[i])
		}
		if i < len(again) {
			due = append(due, again[i])
		}
	}
	return due, next, nil
}

// Pending counts the blobs that are pending, and finds when the oldest of them became available (zero: there is none). It looks at each:
// about a tenth of a microsecond a blob.
func (s *Stream) Pending() (n int64, oldest time.Time, err error) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	for _, e := range s.entries {
		if e.State == Pending {
			n++
			oldest = soonest(oldest, e.Created)
		}
	}
	err = s.view(func(_, order *bbolt.Bucket) error {
		if order == nil {
			return nil
		}
		c := order.Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			if _, newer := s.entries[string(dueID(k))]; !newer {
				n++
				oldest = soonest(oldest, dueCreated(k))
			}
		}
		return nil
	})
	return n, oldest, err
}

// soonest takes a zero time for none.
func soonest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// Forget drops blobs that are done or lost and older than that, and returns how many. It drops unreadable entries too, unless their blob
// has a turn: that it is pending could not be told any more.
func (s *Stream) Forget(before time.Time) (forgotten int, err error) {
	var old, damaged [][]byte
	err = s.view(func(stored, _ *bbolt.Bucket) error {
		if stored == nil {
			return nil
		}
		return stored.ForEach(func(id, v []byte) error {
			var e Entry
			if e.decode(id, v) != nil {
				damaged = append(damaged, bytes.Clone(id))
			} else if e.State != Pending && e.Created.Before(before) {
				old = append(old, bytes.Clone(id))
			}
			return nil
		})
	})
	if err != nil || len(old)+len(damaged) == 0 {
		return 0, err
	}
	s.noteUnreadable(damaged)
	s.ledger.flushing.Lock()
	defer s.ledger.flushing.Unlock()
	err = s.ledger.db.Update(func(tx *bbolt.Tx) error {
		blobs, due := s.bucket(tx).Bucket(bucketBlobs), s.bucket(tx).Bucket(bucketDue)
		for _, id := range damaged {
			var e Entry
			if v := blobs.Get(id); v != nil && e.decode(id, v) != nil && len(turns(due, id)) == 0 { // not replaced meanwhile
				old = append(old, id)
			}
		}
		for _, id := range old {
			if err := blobs.Delete(id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(old), nil
}

func (s *Stream) noteUnreadable(ids [][]byte) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	for _, id := range ids {
		if _, newer := s.entries[string(id)]; !newer {
			s.unreadableLocked(string(id))
		}
	}
}

// Progress is how far listing had come; zero for a stream that is new.
func (s *Stream) Progress() (p Progress, err error) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	if s.progress != nil {
		return *s.progress, nil
	}
	err = s.ledger.db.View(func(tx *bbolt.Tx) error {
		if b := s.bucket(tx); b != nil {
			return p.decode(b.Get(keyProgress))
		}
		return nil
	})
	return p, err
}

// SetProgress replaces it.
func (s *Stream) SetProgress(p Progress) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	s.progress = &p
}

// view reads the stream's buckets, nil where nothing has been written yet. A caller that looks at the unwritten changes too holds
// ledger.mu, which keeps them and the file of one moment together.
func (s *Stream) view(read func(blobs, due *bbolt.Bucket) error) error {
	return s.ledger.db.View(func(tx *bbolt.Tx) error {
		b := s.bucket(tx)
		if b == nil {
			return read(nil, nil)
		}
		return read(b.Bucket(bucketBlobs), b.Bucket(bucketDue))
	})
}

// batch is what one stream has to write.
type batch struct {
	stream   *Stream
	entries  []Entry
	progress *Progress
}

func (s *Stream) unwrittenLocked() (batch, bool) {
	b := batch{stream: s, progress: s.progress}
	for _, e := range s.entries {
		b.entries = append(b.entries, e)
	}
	return b, len(b.entries) > 0 || b.progress != nil
}

// writtenLocked drops the changes that are on the disk now and have not changed again meanwhile.
func (s *Stream) writtenLocked(b batch) (dropped int) {
	for _, e := range b.entries {
		if s.entries[e.ID] == e {
			delete(s.entries, e.ID)
			dropped++
		}
	}
	if s.progress == b.progress {
		s.progress = nil
	}
	return dropped
}

// dropTurn takes the blob out of the due bucket, whose entry so far is v.
func dropTurn(due *bbolt.Bucket, id, v []byte) error {
	var old Entry
	if old.decode(id, v) == nil {
		return due.Delete(dueKey(old.NotBefore, old.Created, id))
	}
	for _, key := range turns(due, id) {
		if err := due.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) write(tx *bbolt.Tx) error {
	path := b.stream.path()
	outer, err := tx.CreateBucketIfNotExists(path[0])
	if err != nil {
		return err
	}
	inner, err := outer.CreateBucketIfNotExists(path[1])
	if err != nil {
		return err
	}
	blobs, err := inner.CreateBucketIfNotExists(bucketBlobs)
	if err != nil {
		return err
	}
	due, err := inner.CreateBucketIfNotExists(bucketDue)
	if err != nil {
		return err
	}
	for _, e := range b.entries {
		id := []byte(e.ID)
		if v := blobs.Get(id); v != nil {
			if err := dropTurn(due, id, v); err != nil {
				return err
			}
		}
		if err := blobs.Put(id, e.encode()); err != nil {
			return err
		}
		if e.State == Pending {
			if err := due.Put(dueKey(e.NotBefore, e.Created, id), nil); err != nil {
				return err
			}
		}
	}
	if b.progress != nil {
		return inner.Put(keyProgress, b.progress.encode())
	}
	return nil
}
