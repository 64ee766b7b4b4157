package ledger

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"
)

// State of a blob.
type State uint8

// The states of a blob.
const (
	Pending State = iota // listed, not settled yet
	Done                 // every record settled
	Lost                 // cannot be had any more
)

// Entry is what is known of one content blob. Times count milliseconds, as the API's do.
type Entry struct {
	ID        string // contentId
	URI       string // contentUri; not kept once the blob is done or lost
	Created   time.Time
	Expires   time.Time
	State     State
	Tries     int       // failed fetches since it was listed
	NotBefore time.Time // no fetch before that; zero: any time
	Settled   int64     // records from its beginning that are settled
}

// NewEntry is a pending entry with its times cut to what the ledger keeps, so that it compares equal to what is read back. A NUL in
// the address, which is no address then, is escaped: in the file it would be taken for damage.
func NewEntry(id, uri string, created, expires time.Time) Entry {
	return Entry{ID: id, URI: strings.ReplaceAll(uri, "\x00", "%00"), Created: milli(created), Expires: milli(expires)}
}

const entryVersion = 1

var errFormat = errors.New("the ledger holds an entry that this version cannot read")

// encode: version, state, then varints: created, expires, notBefore (Unix milliseconds, 0 for zero), tries, settled; the rest is the URI.
func (e *Entry) encode() []byte {
	b := append(make([]byte, 0, 32+len(e.URI)), entryVersion, byte(e.State))
	for _, n := range [...]int64{unixMilli(e.Created), unixMilli(e.Expires), unixMilli(e.NotBefore), int64(e.Tries), e.Settled} {
		b = binary.AppendVarint(b, n)
	}
	if e.State == Pending {
		b = append(b, e.URI...)
	}
	return b
}

func (e *Entry) decode(id, b []byte) error {
	if len(b) < 2 || b[0] != entryVersion || State(b[1]) > Lost {
		return errFormat
	}
	e.ID, e.State = string(id), State(b[1])
	b = b[2:]
	var n [5]int64
	for i := range n {
		v, size := binary.Varint(b)
		if size <= 0 {
			return errFormat
		}
		n[i], b = v, b[size:]
	}
	e.Created, e.Expires, e.NotBefore = fromMilli(n[0]), fromMilli(n[1]), fromMilli(n[2])
	e.Tries, e.Settled = int(n[3]), n[4]
	e.URI = string(b)
	// Neither is ever written: part of the file is filled with zeros, or the state is not what it was.
	if strings.IndexByte(e.URI, 0) >= 0 || e.State != Pending && e.URI != "" {
		return errFormat
	}
	return nil
}

func (p *Progress) encode() []byte {
	b := []byte{entryVersion}
	b = binary.AppendVarint(b, unixMilli(p.Origin))
	return binary.AppendVarint(b, unixMilli(p.Listed))
}

func (p *Progress) decode(b []byte) error {
	if b == nil {
		return nil
	}
	if len(b) == 0 || b[0] != entryVersion {
		return errFormat
	}
	origin, n := binary.Varint(b[1:])
	if n <= 0 {
		return errFormat
	}
	listed, m := binary.Varint(b[1+n:])
	if m <= 0 {
		return errFormat
	}
	p.Origin, p.Listed = fromMilli(origin), fromMilli(listed)
	return nil
}

const dueKeyPrefix = 16

// dueKey sorts by turn, then by age.
func dueKey(notBefore, created time.Time, id []byte) []byte {
	k := make([]byte, dueKeyPrefix, dueKeyPrefix+len(id))
	binary.BigEndian.PutUint64(k, uint64(unixMilli(notBefore)))
	binary.BigEndian.PutUint64(k[8:], uint64(unixMilli(created)))
	return append(k, id...)
}

func dueID(key []byte) []byte { return key[dueKeyPrefix:] }

func dueCreated(key []byte) time.Time { return fromMilli(int64(binary.BigEndian.Uint64(key[8:]))) }

func sortByAge(entries []Entry) {
	slices.SortFunc(entries, func(a, b Entry) int { return a.Created.Compare(b.Created) })
}

func milli(t time.Time) time.Time { return fromMilli(unixMilli(t)) }

// unixMilli is 0 for a zero time; times before 1970 do not occur.
func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMilli(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}
