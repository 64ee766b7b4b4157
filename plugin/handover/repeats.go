package handover

import (
	"hash/maphash"
	"time"
)

// maxRepeats bounds the memory for the Ids of the last hour or so: two generations of as many, about 20 bytes each.
const maxRepeats = 100_000

// ID is 96 bits of the hash of a record's Id, which are as good as all of it: among a million Ids two share them with a probability
// below 10^-16. The zero value stands for a record without one.
type ID struct {
	high uint64
	low  uint32
}

// repeats remembers which Ids were put into the queue within a time. It is made of two generations: when the younger one is full
// or as old as the window, it becomes the older one, and what was that is forgotten.
type repeats struct {
	window time.Duration // 0: nothing is remembered
	most   int           // Ids in a generation
	seeds  [2]maphash.Seed

	epoch   time.Time
	began   time.Time // of the younger generation
	younger *idTable
	older   *idTable
}

func newRepeats(window time.Duration, most int) *repeats {
	now := time.Now()
	return &repeats{
		window: window, most: most, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		epoch: now, began: now, younger: new(idTable), older: new(idTable),
	}
}

// id is called without a lock held.
func (r *repeats) id(text []byte) ID {
	if r.window == 0 || len(text) == 0 {
		return ID{}
	}
	return ID{maphash.Bytes(r.seeds[0], text), uint32(maphash.Bytes(r.seeds[1], text))}
}

// Of keeps the Ids of one tenant, whose salt is an Id of its own, apart from those of another.
func (id ID) Of(salt ID) ID {
	if id == (ID{}) {
		return id
	}
	return ID{id.high ^ salt.high, id.low ^ salt.low}
}

// seen tells whether an Id was put within the window before now.
func (r *repeats) seen(id ID, now time.Time) bool {
	if id == (ID{}) {
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

func (r *repeats) add(id ID, now time.Time) {
	if id == (ID{}) {
		return
	}
	if r.younger.taken >= r.most || now.Sub(r.began) > r.window {
		r.older, r.younger, r.began = r.younger, r.older, now
		r.younger.clear()
	}
	r.younger.put(id, r.second(now))
}

// forget makes every Id one that was never put.
func (r *repeats) forget() {
	r.younger.clear()
	r.older.clear()
}

func (r *repeats) second(now time.Time) uint32 { return uint32(now.Sub(r.epoch) / time.Second) }

// idTable is an open-addressed hash table of Ids and the second each was put. A map takes twice its memory, and leaves as much
// again behind while it grows.
type idTable struct {
	slots []idSlot // a power of two
	taken int
}

// idSlot has 16 bytes: an ID and a number behind it would take 24.
type idSlot struct {
	high  uint64
	low   uint32
	after uint32 // the second and one more; 0: the slot is free
}

// leastSlots is where a table begins.
const leastSlots = 1 << 10

// clear keeps the memory.
func (t *idTable) clear() {
	clear(t.slots)
	t.taken = 0
}

func (t *idTable) find(id ID) (second uint32, known bool) {
	if t.taken == 0 {
		return 0, false
	}
	s := t.slot(id)
	return s.after - 1, s.after != 0
}

func (t *idTable) put(id ID, second uint32) {
	if 5*(t.taken+1) > 4*len(t.slots) {
		t.grow()
	}
	s := t.slot(id)
	if s.after == 0 {
		t.taken++
	}
	*s = idSlot{id.high, id.low, second + 1}
}

// slot returns the slot of an Id, or the free one that it would take. There is one.
func (t *idTable) slot(id ID) *idSlot {
	mask := uint64(len(t.slots) - 1)
	for i := id.high & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.after == 0 || s.high == id.high && s.low == id.low {
			return s
		}
	}
}

func (t *idTable) grow() {
	old := t.slots
	t.slots = make([]idSlot, max(2*len(old), leastSlots))
	for _, s := range old {
		if s.after != 0 {
			*t.slot(ID{s.high, s.low}) = s
		}
	}
}
