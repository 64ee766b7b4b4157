package normalize

import "hash/maphash"

// form is how a value is written.
type form uint8

const (
	formPlain   form = iota // by its kind
	formText                // as a string: a string itself, everything else as compact JSON
	formInteger             // as the integer that tape.integer reads
	formBoolean             // as the boolean that tape.boolean reads
)

// value is one value of a key; the values of a key are a list in document order.
type value struct {
	node uint32
	next uint32
	form form
}

// key is one flat key.
type key struct {
	begin, end  uint32 // its name in keyTable.names
	first, last uint32 // its values
	count       uint32
	element     uint32 // the last array element that gave it a value, see flatten.go
	hash        uint64
	array       bool // an array even with one value
	overflow    bool // goes to o365_overflow
}

// keyTable gathers the keys of one record in order of their first value. It finds a key by an open-addressed hash index with a
// seed of its own, so that no choice of names makes it slow.
type keyTable struct {
	keys   []key
	values []value
	names  []byte
	index  []uint32 // 1 + index into keys, 0 is free; a power of two, at most half full
	seed   maphash.Seed
}

const smallIndex = 256

func newKeyTable() keyTable {
	return keyTable{index: make([]uint32, smallIndex), seed: maphash.MakeSeed()}
}

func (t *keyTable) reset() {
	t.keys, t.values, t.names = t.keys[:0], t.values[:0], t.names[:0]
	t.index = t.index[:smallIndex]
	clear(t.index)
}

func (t *keyTable) name(k *key) []byte { return t.names[k.begin:k.end] }

// find returns the key with this name; isNew if it was added just now.
func (t *keyTable) find(name []byte) (k *key, isNew bool) {
	hash := maphash.Bytes(t.seed, name)
	slot := t.slot(hash, name)
	if at := t.index[slot]; at != 0 {
		return &t.keys[at-1], false
	}
	begin := uint32(len(t.names))
	t.names = append(t.names, name...)
	t.keys = append(t.keys, key{begin: begin, end: uint32(len(t.names)), hash: hash})
	t.index[slot] = uint32(len(t.keys))
	if 2*len(t.keys) > len(t.index) {
		t.grow()
	}
	return &t.keys[len(t.keys)-1], true
}

// slot returns the place in the index of the key with this name, or the free one where it belongs.
func (t *keyTable) slot(hash uint64, name []byte) int {
	mask := len(t.index) - 1
	for slot := int(hash) & mask; ; slot = (slot + 1) & mask {
		at := t.index[slot]
		if at == 0 {
			return slot
		}
		if k := &t.keys[at-1]; k.hash == hash && string(t.name(k)) == string(name) {
			return slot
		}
	}
}

func (t *keyTable) grow() {
	size := 2 * len(t.index)
	if size <= cap(t.index) {
		t.index = t.index[:size]
		clear(t.index)
	} else {
		t.index = make([]uint32, size)
	}
	for i := range t.keys {
		mask := size - 1
		slot := int(t.keys[i].hash) & mask
		for t.index[slot] != 0 {
			slot = (slot + 1) & mask
		}
		t.index[slot] = uint32(i) + 1
	}
}

// add appends a value to a key of the table.
func (t *keyTable) add(k *key, node uint32, f form) {
	at := uint32(len(t.values))
	t.values = append(t.values, value{node: node, form: f})
	if k.count == 0 {
		k.first = at
	} else {
		t.values[k.last].next = at
	}
	k.last = at
	k.count++
}
