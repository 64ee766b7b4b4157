package normalize

import (
	"hash/maphash"
	"slices"

	"in_office365/normalize/schema"
)

// path is a place in a record: the names that lead to it from the root. Everything that follows from the names alone is worked out
// once, when the path is met first; its flat key when that is first asked for.
//
// It is three cache lines: what parsing needs, what writing needs, and the rest.
type path struct {
	quoted      nameChunk // its last name as JSON, in quotes and with the colon
	first, next *path     // the first member, and the member behind this one, as met the last time: to be verified
	at          uint32    // its index in pathTable.paths
	owner       uint32    // see pathTable.owner; rootPath before anybody asked
	depth       uint32    // how many names
	quotedSize  uint8     // how much of quoted; 0 if the name is longer, or JSON writes it otherwise
	role        role      // of its last name in a name/value list
	stable      schema.Type
	expand      bool // option ExpandJSON names the flat key

	// Of an owner:
	chunk     [keyChunk]byte // its flat key as a msgpack string, if it is short
	record    uint64         // number of the last record that has the key,
	index     uint32         // and where it is in that one's key table
	lone      kindSet        // the kinds of values outside arrays of which nothing more is to be known; none if the key is not short
	chunkSize uint8          // how much of chunk; 0 if the key is longer
	top       topMember      // which one it is; not only of an owner

	otherFirst, otherNext *path // what was met there before that
	item, otherItem       *path // the same of the first name of a name/value list

	parent          uint32
	length          uint32 // of its flat key
	encoded, keyEnd uint32 // its flat key as a msgpack string in pathTable.texts; 0 before anybody asked
	name, nameEnd   uint32 // its last name, decoded, in pathTable.texts
	detected        bool   // its last name is DetectedValues
	outside         bool   // of an owner: the flat key is one that records may not have, or too long
	comesLate       bool   // of an owner: a value came after its key was written
	_               [5]byte
}

// keyChunk is how many bytes of a key are copied at once: all of most. A copy of a fixed size is a few instructions.
const keyChunk = 48

// rootPath is the path of the record itself. No other path leads to it, so it stands for none as well.
const rootPath = 0

// role is what a member's name means in a name/value list.
type role uint8

const (
	roleNone  role = iota
	roleName       // Name or Key
	roleValue      // Value
	roleInner      // NewValue or OldValue
)

func roleOf(name []byte) role {
	switch string(name) {
	case "Name", "Key":
		return roleName
	case "Value":
		return roleValue
	case "NewValue", "OldValue":
		return roleInner
	}
	return roleNone
}

// pathTable holds the paths that were met so far. Records of one type have the same members in the same order, so mostly the path
// of a member is the one that was met at this place last time, and comparing its name is all there is to do. Otherwise it is
// found by a hash with a seed of its own, so that no choice of names makes it slow.
type pathTable struct {
	separator byte
	expand    map[string]struct{}
	longest   int // the length of the longest key in expand
	reserved  map[string]struct{}

	paths    []*path
	texts    []byte
	children index // by path and name
	owners   index // by flat key
	seed     maphash.Seed
}

func newPathTable(separator byte, expand, reserved map[string]struct{}) pathTable {
	t := pathTable{separator: separator, expand: expand, reserved: reserved, seed: maphash.MakeSeed()}
	for key := range expand {
		t.longest = max(t.longest, len(key))
	}
	t.reset()
	return t
}

// reset forgets all paths and gives their memory back.
func (t *pathTable) reset() {
	root := &path{}
	root.guessNothing(root)
	t.paths, t.texts = []*path{root}, nil
	t.children, t.owners = newIndex(), newIndex()
}

// The most that is kept of paths when a record is done. The names of a tenant's records are some hundreds; only those of
// name/value lists keep coming.
const (
	keptPaths     = 1 << 12
	keptPathBytes = 1 << 20
)

// release forgets all paths when they have become too many.
func (t *pathTable) release() {
	if len(t.paths) > keptPaths || cap(t.texts) > keptPathBytes {
		t.reset()
	}
}

// encodedKey returns the flat key of a path as msgpack.
func (t *pathTable) encodedKey(at uint32) []byte {
	p := t.paths[at]
	if p.keyEnd == 0 {
		t.buildKey(at)
	}
	return t.texts[p.encoded:p.keyEnd]
}

// loneKinds returns the kinds of scalars that a key with a stable type takes as they are.
func loneKinds(stable schema.Type) kindSet {
	switch stable {
	case schema.Integer:
		return 1 << kindShort
	case schema.Boolean:
		return 1<<kindFalse | 1<<kindTrue
	}
	return 1<<kindFalse | 1<<kindTrue | 1<<kindShort | 1<<kindInteger | 1<<kindNumber | 1<<kindString
}

// takes tells whether a path is an owner that takes a value as it is.
func (p *path) takes(n *node) bool {
	const kinds = 16 // bits of a kindSet
	return p.lone>>(n.kind%kinds)&1 != 0
}

// appendKey appends the flat key of an owner as msgpack. It uses the capacity of dst behind that.
func (t *pathTable) appendKey(dst []byte, p *path) []byte {
	n := len(dst)
	if p.chunkSize == 0 || cap(dst)-n < keyChunk {
		return append(dst, t.texts[p.encoded:p.keyEnd]...)
	}
	*(*[keyChunk]byte)(dst[n : n+keyChunk]) = p.chunk
	return dst[:n+int(p.chunkSize)]
}

// flatKey returns the flat key of a path.
func (t *pathTable) flatKey(at uint32) []byte {
	encoded := t.encodedKey(at)
	return encoded[len(encoded)-int(t.paths[at].length):]
}

// buildKey writes the flat key of a path: its names from the last to the first.
func (t *pathTable) buildKey(at uint32) {
	p := t.paths[at]
	p.encoded = uint32(len(t.texts))
	t.texts = appendStringHeader(t.texts, int(p.length))
	begin := len(t.texts)
	t.texts = slices.Grow(t.texts, int(p.length))[:begin+int(p.length)]
	p.keyEnd = uint32(len(t.texts))
	for key := t.texts[begin:]; at != rootPath; at = t.paths[at].parent {
		name := t.name(at)
		part := key[len(key)-len(name):]
		for i, c := range name {
			if c == '.' || c == ' ' || c == t.separator {
				c = '_'
			}
			part[i] = c
		}
		if key = key[:len(key)-len(name)]; len(key) > 0 {
			key[len(key)-1] = t.separator
			key = key[:len(key)-1]
		}
	}
}

// name returns the last name of a path, decoded.
func (t *pathTable) name(at uint32) []byte {
	p := t.paths[at]
	return t.texts[p.name:p.nameEnd]
}

// textOf returns the path for the values of a path that are not of its type.
func (t *pathTable) textOf(at uint32) uint32 {
	const suffix = "text"
	return t.child(at, rootPath, []byte(suffix))
}

// guessNothing makes all guesses the root, which no name is taken for.
func (p *path) guessNothing(root *path) {
	p.first, p.next, p.item = root, root, root
	p.otherFirst, p.otherNext, p.otherItem = root, root, root
}

// guesses returns where the two stand that were met last behind the member of parent at before, or as its first member if that is
// rootPath.
func (t *pathTable) guesses(parent, before uint32) (latest, other **path) {
	if before != rootPath {
		p := t.paths[before]
		return &p.next, &p.otherNext
	}
	p := t.paths[parent]
	return &p.first, &p.otherFirst
}

// met makes a path the latest guess, and that the other one.
func met(latest, other **path, p *path) {
	if p != *latest {
		*latest, *other = p, *latest
	}
}

// guessOther returns the second best guess if JSON begins with its name and a colon, otherwise nil.
func (t *pathTable) guessOther(parent, before uint32, json []byte) *path {
	latest, other := t.guesses(parent, before)
	p := *other
	if len(json) < chunkSize {
		return nil
	}
	for i, mask := range nameMasks[int(p.quotedSize)%len(nameMasks)] {
		if (word((*[chunkSize]byte)(json), i)^p.quoted[i])&mask != 0 {
			return nil
		}
	}
	met(latest, other, p)
	return p
}

// nameChunk is the beginning of a name as JSON, in quotes and with the colon behind it: all of most names.
type nameChunk [chunkSize / 8]uint64

// nameMasks has ones where the first bytes of a chunk are, as many as the index says. For none there is the first, so that only a NUL
// is taken for a name that has no chunk; and then, as nothing of the text is passed over, for the value, which it cannot be.
var nameMasks = func() (masks [2 * chunkSize]nameChunk) {
	for size := range chunkSize + 1 {
		for i := range max(size, 1) {
			masks[size][i/8] |= 0xff << (i % 8 * 8)
		}
	}
	return masks
}()

// quote returns a name in quotes with its colon, and its size; nothing if it is too long, or JSON writes it otherwise.
func quote(name []byte) (chunk nameChunk, size uint8) {
	if end, _ := plainRun(name, 0); end < len(name) || len(name)+len(`"":`) > chunkSize {
		return chunk, 0
	}
	var buf [chunkSize]byte
	quoted := append(append(append(buf[:0], '"'), name...), `":`...)
	for i := range chunk {
		chunk[i] = word(&buf, i)
	}
	return chunk, uint8(len(quoted))
}

// child returns the path that a name leads to from parent; before is the path of the member in front, rootPath if there is none.
func (t *pathTable) child(parent, before uint32, name []byte) uint32 {
	latest, other := t.guesses(parent, before)
	return t.find(parent, latest, other, name)
}

// item is child for a name of a name/value list: the first one is guessed apart from the members of the list's elements.
func (t *pathTable) item(list, before uint32, name []byte) uint32 {
	if before != rootPath {
		return t.child(list, before, name)
	}
	p := t.paths[list]
	return t.find(list, &p.item, &p.otherItem, name)
}

// find returns the path that a name leads to from parent, and makes it the latest guess.
func (t *pathTable) find(parent uint32, latest, other **path, name []byte) uint32 {
	for _, p := range [...]*path{*latest, *other} {
		if p.at != rootPath && string(t.texts[p.name:p.nameEnd]) == string(name) {
			met(latest, other, p)
			return p.at
		}
	}
	const odd = 0x9e3779b1 // spreads the children of different paths that have the same name
	hash := uint32(maphash.Bytes(t.seed, name)) + parent*odd
	at := t.children.find(hash, func(at uint32) bool {
		return t.paths[at].parent == parent && string(t.name(at)) == string(name)
	})
	if at == rootPath {
		at = t.add(parent, name)
		t.children.add(hash, at)
	}
	met(latest, other, t.paths[at])
	return at
}

// add adds the path that a name leads to from parent.
func (t *pathTable) add(parent uint32, name []byte) uint32 {
	at := uint32(len(t.paths))
	up := t.paths[parent]
	p := &path{at: at, parent: parent, depth: up.depth + 1, length: up.length + uint32(len(name))}
	p.guessNothing(t.paths[rootPath])
	if up.depth > 0 {
		p.length++
	}
	p.role = roleOf(name)
	p.detected = string(name) == detectedValues
	p.quoted, p.quotedSize = quote(name)
	p.name = uint32(len(t.texts))
	t.texts = append(t.texts, name...)
	p.nameEnd = uint32(len(t.texts))
	t.paths = append(t.paths, p)

	if p.depth == 1 {
		p.top = topMemberOf(name)
		if p.length <= MaxKeyBytes {
			p.stable = schema.StableType(t.flatKey(at))
		}
	}
	if int(p.length) <= t.longest {
		_, p.expand = t.expand[string(t.flatKey(at))]
	}
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
		_, reserved := t.reserved[string(key)]
		p := t.paths[at]
		p.outside = reserved || len(key) > MaxKeyBytes
		if encoded := t.encodedKey(at); len(encoded) <= keyChunk {
			p.chunkSize = uint8(copy(p.chunk[:], encoded))
			if !p.outside && !p.expand {
				p.lone = loneKinds(p.stable)
			}
		}
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
