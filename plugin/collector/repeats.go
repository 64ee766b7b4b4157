package collector

import (
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"time"
)

// maxRepeats bounds the memory for the Ids of the last hour or so: two generations of as many, about 20 bytes each.
const maxRepeats = 100_000

// recordID is a record's Id in 16 bytes: a GUID's own, else a hash. The zero value stands for a record without one.
type recordID [16]byte

// repeats remembers which Ids were put into the queue within a time. It is made of two generations: when the younger one is full
// or as old as the window, it becomes the older one, and what was that is forgotten.
type repeats struct {
	window time.Duration // 0: nothing is remembered
	most   int           // Ids in a generation

	epoch    time.Time
	began    time.Time // of the younger generation
	younger  *idTable
	older    *idTable
	hashSeed [2]maphash.Seed
}

func newRepeats(window time.Duration, most int) *repeats {
	now := time.Now()
	return &repeats{
		window: window, most: most, epoch: now, began: now, younger: newIDTable(), older: newIDTable(),
		hashSeed: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
	}
}

// id is called without a lock held.
func (r *repeats) id(text []byte) (id recordID) {
	if r.window == 0 || len(text) == 0 {
		return recordID{}
	}
	if !guid(&id, text) {
		first, second := maphash.Bytes(r.hashSeed[0], text), maphash.Bytes(r.hashSeed[1], text)
		for i := range 8 {
			id[i], id[8+i] = byte(first>>(8*i)), byte(second>>(8*i))
		}
	}
	return id
}

// guid reads the usual form, 8-4-4-4-12 hexadecimal digits.
func guid(id *recordID, text []byte) bool {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return false
	}
	at := 0
	for _, part := range [...][]byte{text[:8], text[9:13], text[14:18], text[19:23], text[24:]} {
		n, err := hex.Decode(id[at:], part)
		if err != nil {
			return false
		}
		at += n
	}
	return true
}

// seen tells whether an Id was put within the window before now.
func (r *repeats) seen(id recordID, now time.Time) bool {
	if id == (recordID{}) {
		return false
	}
	second := r.second(now)
	for _, generation := range [...]*idTable{r.younger, r.older} {
		if at, known := generation.find(id); known {
			return time.Duration(second-at)*time.Second <= r.window
		}
	}
	return false
}

func (r *repeats) add(id recordID, now time.Time) {
	if id == (recordID{}) {
		return
	}
	if r.younger.taken >= r.most || now.Sub(r.began) > r.window {
		r.older, r.younger, r.began = r.younger, r.older, now
		r.younger.clear()
	}
	r.younger.put(id, r.second(now))
}

func (r *repeats) second(now time.Time) uint32 { return uint32(now.Sub(r.epoch) / time.Second) }

// idTable is an open-addressed hash table of Ids and the second each was put. A map takes twice its memory, and leaves as much
// again behind while it grows.
type idTable struct {
	slots []idSlot // a power of two
	taken int
	seed  maphash.Seed
}

// idSlot holds 96 bits of an Id, which are as good as all: among a million Ids two share them with a probability below 10^-16.
type idSlot struct {
	high  uint64
	low   uint32
	after uint32 // the second and one more; 0: the slot is free
}

// leastSlots is where a table begins.
const leastSlots = 1 << 10

func newIDTable() *idTable { return &idTable{seed: maphash.MakeSeed()} }

// clear keeps the memory.
func (t *idTable) clear() {
	clear(t.slots)
	t.taken = 0
}

func (t *idTable) find(id recordID) (second uint32, known bool) {
	if t.taken == 0 {
		return 0, false
	}
	s := t.slot(id)
	return s.after - 1, s.after != 0
}

func (t *idTable) put(id recordID, second uint32) {
	if 5*(t.taken+1) > 4*len(t.slots) {
		t.grow()
	}
	s := t.slot(id)
	if s.after == 0 {
		t.taken++
	}
	*s = idSlot{id.high(), id.low(), second + 1}
}

// slot returns the slot of an Id, or the free one that it would take. There is one.
func (t *idTable) slot(id recordID) *idSlot {
	high, low := id.high(), id.low()
	mask := uint64(len(t.slots) - 1)
	for i := hashOf(high, low, t.seed) & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.after == 0 || s.high == high && s.low == low {
			return s
		}
	}
}

func (t *idTable) grow() {
	old := t.slots
	t.slots = make([]idSlot, max(2*len(old), leastSlots))
	mask := uint64(len(t.slots) - 1)
	for _, s := range old {
		if s.after == 0 {
			continue
		}
		i := hashOf(s.high, s.low, t.seed) & mask
		for t.slots[i].after != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = s
	}
}

func hashOf(high uint64, low uint32, seed maphash.Seed) uint64 {
	return maphash.Comparable(seed, [2]uint64{high, uint64(low)})
}

func (id *recordID) high() uint64 { return binary.LittleEndian.Uint64(id[:8]) }

// low folds the other half.
func (id *recordID) low() uint32 {
	return binary.LittleEndian.Uint32(id[8:12]) ^ binary.LittleEndian.Uint32(id[12:])
}
