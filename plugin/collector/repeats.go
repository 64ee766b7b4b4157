package collector

import (
	"encoding/hex"
	"hash/maphash"
	"time"
)

// maxRepeats bounds the memory for the Ids of the last hour or so: two generations of as many, about 40 bytes each.
const maxRepeats = 1 << 18

// recordID is a record's Id in 16 bytes: a GUID's own, else a hash. The zero value stands for a record without one.
type recordID [16]byte

// repeats remembers which Ids were put into the queue within a time. It is made of two generations: when the younger one is full
// or as old as the window, it becomes the older one, and what was that is forgotten.
type repeats struct {
	window time.Duration // 0: nothing is remembered
	most   int           // Ids in a generation

	epoch    time.Time
	began    time.Time // of the younger generation
	younger  map[recordID]uint32
	older    map[recordID]uint32 // seconds since epoch
	hashSeed [2]maphash.Seed
}

func newRepeats(window time.Duration, most int) *repeats {
	now := time.Now()
	return &repeats{
		window: window, most: most, epoch: now, began: now,
		younger: map[recordID]uint32{}, older: map[recordID]uint32{},
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
	for _, generation := range [...]map[recordID]uint32{r.younger, r.older} {
		if at, known := generation[id]; known {
			return now.Sub(r.epoch)-time.Duration(at)*time.Second <= r.window
		}
	}
	return false
}

func (r *repeats) add(id recordID, now time.Time) {
	if id == (recordID{}) {
		return
	}
	if len(r.younger) >= r.most || now.Sub(r.began) > r.window {
		r.older, r.younger, r.began = r.younger, r.older, now
		clear(r.younger) // it keeps its memory
	}
	r.younger[id] = uint32(now.Sub(r.epoch) / time.Second)
}
