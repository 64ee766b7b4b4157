package normalize

import (
	"hash/maphash"

	"github.com/tinylib/msgp/msgp"

	"in_office365/normalize/schema"
)

// path is a place in a record: the names that lead to it from the root. Everything that follows from the names alone is worked out
// once, when the path is met first.
type path struct {
	parent        uint32
	depth         uint32 // how many names
	name, nameEnd uint32 // its last name, decoded, in pathTable.texts
	encoded       uint32 // its flat key as a msgpack string begins here in pathTable.texts,
	key, keyEnd   uint32 // and its text here
	keyName       uint32 // the last name as it stands in the flat key begins here
	owner         uint32 // see pathTable.owner; rootPath before anybody asked

	// What was met here last time: the first member, and the member behind this one. A guess, to be verified.
	first, next uint32

	index  uint32 // of an owner: where its key is among those of the record
	record uint64 // with this number

	top      uint8 // of a path of one name: which top member it is
	stable   schema.Type
	expand   bool // option ExpandJSON names the flat key
	reserved bool // of an owner: the flat key is one that records may not have
}

// rootPath is the path of the record itself. No other path leads to it, so it stands for none as well.
const rootPath = 0

// pathTable holds the paths that were met so far. Records of one type have the same members in the same order, so mostly the path
// of a member is the one that was met at this place last time, and comparing its name is all there is to do. Otherwise it is
// found by a hash with a seed of its own, so that no choice of names makes it slow.
type pathTable struct {
	separator byte
	expand    map[string]struct{}
	reserved  map[string]struct{}

	paths    []path
	texts    []byte
	children index // by path and name
	owners   index // by flat key
	seed     maphash.Seed
	key      []byte // scratch
}

func newPathTable(separator byte, expand, reserved map[string]struct{}) pathTable {
	t := pathTable{separator: separator, expand: expand, reserved: reserved, seed: maphash.MakeSeed()}
	t.reset()
	return t
}

// reset forgets all paths and gives their memory back.
func (t *pathTable) reset() {
	t.paths, t.texts, t.key = []path{{}}, nil, nil
	t.children, t.owners = newIndex(), newIndex()
}

// The most that is kept of paths when a record is done. The names of a tenant's records are some hundreds; only those of
// name/value lists keep coming.
const (
	keptPaths     = 1 << 13
	keptPathBytes = 1 << 20
)

// release forgets all paths when they have become too many.
func (t *pathTable) release() {
	if len(t.paths) > keptPaths || cap(t.texts) > keptPathBytes {
		t.reset()
	}
}

// flatKey returns the flat key of a path.
func (t *pathTable) flatKey(at uint32) []byte {
	p := &t.paths[at]
	return t.texts[p.key:p.keyEnd]
}

// encodedKey returns it as msgpack.
func (t *pathTable) encodedKey(at uint32) []byte {
	p := &t.paths[at]
	return t.texts[p.encoded:p.keyEnd]
}

// keyLength returns the length of the flat key of a path.
func (t *pathTable) keyLength(at uint32) int {
	p := &t.paths[at]
	return int(p.keyEnd - p.key)
}

// name returns the last name of a path as it stands in the flat key.
func (t *pathTable) name(at uint32) []byte {
	p := &t.paths[at]
	return t.texts[p.keyName:p.keyEnd]
}

// textOf returns the path for the values of a path that are not of its type.
func (t *pathTable) textOf(at uint32) uint32 {
	const suffix = "text"
	return t.child(at, rootPath, []byte(suffix))
}

// child returns the path that a name leads to from parent; before is the path of the member in front, rootPath if there is none.
func (t *pathTable) child(parent, before uint32, name []byte) uint32 {
	guess := t.paths[parent].first
	if before != rootPath {
		guess = t.paths[before].next
	}
	if p := &t.paths[guess]; guess != rootPath && string(t.texts[p.name:p.nameEnd]) == string(name) {
		return guess
	}
	return t.findChild(parent, before, name)
}

func (t *pathTable) findChild(parent, before uint32, name []byte) uint32 {
	const odd = 0x9e3779b1 // spreads the children of different paths that have the same name
	hash := uint32(maphash.Bytes(t.seed, name)) + parent*odd
	at := t.children.find(hash, func(at uint32) bool {
		p := &t.paths[at]
		return p.parent == parent && string(t.texts[p.name:p.nameEnd]) == string(name)
	})
	if at == rootPath {
		at = t.add(parent, name)
		t.children.add(hash, at)
	}
	if before != rootPath {
		t.paths[before].next = at
	} else {
		t.paths[parent].first = at
	}
	return at
}

// add adds the path that a name leads to from parent.
func (t *pathTable) add(parent uint32, name []byte) uint32 {
	at := uint32(len(t.paths))
	up := t.paths[parent]
	p := path{parent: parent, depth: up.depth + 1}

	t.key = append(t.key[:0], t.texts[up.key:up.keyEnd]...)
	key := t.key
	if up.depth > 0 {
		key = append(key, t.separator)
	}
	keyName := len(key)
	key = append(key, name...)
	t.key = key
	changed := false
	for i, c := range key[keyName:] {
		if c == '.' || c == ' ' || c == t.separator {
			key[keyName+i] = '_'
			changed = changed || c != '_'
		}
	}
	p.encoded = uint32(len(t.texts))
	t.texts = msgp.AppendStringFromBytes(t.texts, key)
	p.keyEnd = uint32(len(t.texts))
	p.key = p.keyEnd - uint32(len(key))
	p.keyName = p.key + uint32(keyName)
	p.name, p.nameEnd = p.keyName, p.keyEnd
	if changed {
		p.name = p.keyEnd
		t.texts = append(t.texts, name...)
		p.nameEnd = uint32(len(t.texts))
	}

	_, p.expand = t.expand[string(key)]
	if p.depth == 1 {
		p.stable, p.top = schema.StableType(key), uint8(topMember(name))
	}
	t.paths = append(t.paths, p)
	return at
}

// owner returns the path that gathers the values of a path's flat key: the first of those that have this key.
func (t *pathTable) owner(at uint32) uint32 {
	if owner := t.paths[at].owner; owner != rootPath {
		return owner
	}
	return t.findOwner(at)
}

func (t *pathTable) findOwner(at uint32) uint32 {
	key := t.flatKey(at)
	hash := uint32(maphash.Bytes(t.seed, key))
	owner := t.owners.find(hash, func(at uint32) bool { return string(t.flatKey(at)) == string(key) })
	if owner == rootPath {
		owner = at
		t.owners.add(hash, at)
		_, t.paths[at].reserved = t.reserved[string(key)]
	}
	t.paths[at].owner = owner
	return owner
}

// index is an open-addressed hash index of paths.
type index struct {
	slots []slot // a power of two, at most half of them taken
	taken int
}

type slot struct {
	hash uint32
	path uint32 // rootPath: the slot is free
}

func newIndex() index {
	const slots = 256
	return index{slots: make([]slot, slots)}
}

// find returns the path with this hash for which same is true, rootPath if there is none.
func (x *index) find(hash uint32, same func(at uint32) bool) uint32 {
	mask := uint32(len(x.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := x.slots[i]
		if s.path == rootPath || s.hash == hash && same(s.path) {
			return s.path
		}
	}
}

// add adds a path that is not in the index.
func (x *index) add(hash, at uint32) {
	if x.taken++; 2*x.taken > len(x.slots) {
		old := x.slots
		x.slots = make([]slot, 2*len(old))
		for _, s := range old {
			if s.path != rootPath {
				x.put(s)
			}
		}
	}
	x.put(slot{hash, at})
}

func (x *index) put(s slot) {
	mask := uint32(len(x.slots) - 1)
	i := s.hash & mask
	for x.slots[i].path != rootPath {
		i = (i + 1) & mask
	}
	x.slots[i] = s
}
