package normalize

import (
	"slices"

	"github.com/tinylib/msgp/msgp"

	"in_office365/normalize/schema"
)

// maxListElements is the most elements of a name/value list that becomes keys.
const maxListElements = 256

// longKeyWork bounds, in bytes per record, what is written of keys over MaxKeyBytes: without it a long name around many small
// values would be repeated for each of them. A container whose share of it is used up is kept whole, as JSON text.
const longKeyWork = 1 << 20

// flattener walks the nodes of one record and writes its flat keys to dst.
//
// A value outside arrays is written as it is met, and the keys of an array when the outermost array ends: nearly always no value of
// a key comes later. Where one does, the record is walked once more, and then all its keys are gathered before any is written. In
// later records that begins with the key it was.
type flattener struct {
	tape
	keys    keyTable
	dst     []byte
	written int  // keys of the table that are in dst
	gather  bool // nothing more is written before all is gathered
	late    bool // a value came after its key was written

	top         [topMembers]uint32 // the nodes of members that feed time and added keys; noNode where there is none
	columns     bool               // option NameValueColumns
	maxKeys     int
	number      uint64 // of the record, distinct within the encoder
	admitted    int    // keys that do not go to the overflow
	overflowing int    // keys that do
	longKeys    int    // what is left of longKeyWork
	decoded     []byte // scratch
	scratch     []byte // scratch

	arrays int // arrays around where the walk is
	join   joinability
}

// joinability watches whether the columns of the outermost array can be joined again: whether in each array with several elements
// every element is an object that gives the same keys, each once. It compares each element with the one before it, by numbering
// elements and leaving the number with the keys.
type joinability struct {
	depth   uint32 // how many names the path of the outermost array has
	columns bool   // there are columns at all
	broken  bool   // they cannot be joined
	several bool   // inside an array of several elements
	inside  bool   // inside an object that is such an element
	first   bool   // it is the first one
	element uint32 // its number, distinct within the record
	count   int    // keys it gave so far
	before  int    // keys the element before it gave
}

// flattenRecord appends the record's keys to dst as pairs of a msgpack map, returns how many they are, and notes its top members.
func (f *flattener) flattenRecord(dst []byte) ([]byte, int) {
	f.gather = false
	f.dst = dst
	if f.walk(); f.late {
		f.gather = true
		f.dst = dst
		f.walk()
	}
	f.writeKeys()
	dst, f.dst = f.dst, nil
	return dst, f.admitted
}

// walk goes over all members of the record, unless a value comes late.
func (f *flattener) walk() {
	f.keys.reset()
	f.number++
	f.admitted, f.overflowing, f.longKeys, f.written, f.late = 0, 0, longKeyWork, 0, false
	f.arrays, f.join = 0, joinability{}
	f.top = [topMembers]uint32{}
	f.flattenObject(0, rootPath, 1)
}

// flatten adds the values of node i, which is at a path. A container is on the given level; the record is level 1.
func (f *flattener) flatten(i, at uint32, level int) {
	n := &f.nodes[i]
	switch {
	case n.kind >= kindArray:
		f.flattenContainer(i, at, level)
	case n.kind == kindNull && !f.nullsIn:
	default:
		if f.paths.paths[at].expand {
			if root := f.expanded(i, at, level); root != noNode {
				f.flattenContainer(root, at, level)
				return
			}
		}
		f.add(i, at, formPlain)
	}
}

func (f *flattener) flattenContainer(i, at uint32, level int) {
	n := &f.nodes[i]
	switch {
	case n.flags&flagEmpty != 0:
	case level > MaxDepth || f.tooLong(i, at):
		f.add(i, at, formText)
	case n.kind == kindObject:
		f.flattenObject(i, at, level)
	case level < MaxDepth && f.isNameValueList(i, at):
		f.flattenNameValueList(i, at, level)
	case level < MaxDepth && f.writeColumns(i, at):
	default:
		f.flattenArray(i, at, level)
	}
}

// tooLong tells whether the keys in a container would be too long and too many.
func (f *flattener) tooLong(i, at uint32) bool {
	length := int(f.paths.paths[at].length)
	if length <= MaxKeyBytes {
		return false
	}
	work := length * int(f.nodes[i].next-i)
	if work > f.longKeys {
		return true
	}
	f.longKeys -= work
	return false
}

// Nodes may move whenever something is expanded: the loops below read them anew.

func (f *flattener) flattenObject(i, at uint32, level int) {
	if at != f.nodes[i].path {
		f.flattenMoved(i, at, level)
		return
	}
	for child, end := i+1, f.nodes[i].next; child < end && !f.late; child = f.nodes[child].next {
		if f.arrays == 0 && !f.gather {
			if child = f.writeRun(child, end); child == end {
				return
			}
		}
		n := &f.nodes[child]
		if n.kind != kindNull {
			f.top[f.paths.paths[n.path].top] = child
		}
		f.flatten(child, n.path, level+1)
	}
}

// flattenMoved is flattenObject for one in a name/value list: it is where its name says.
func (f *flattener) flattenMoved(i, at uint32, level int) {
	member := uint32(rootPath)
	for child, end := i+1, f.nodes[i].next; child < end; child = f.nodes[child].next {
		member = f.paths.child(at, member, f.paths.name(f.nodes[child].path))
		f.flatten(child, member, level+1)
	}
}

// writeRun writes members of an object from node i on as long as they are scalars that give a key of their own, as most do. It
// returns the first that does not, or end. It does what flatten and add would do.
func (f *flattener) writeRun(i, end uint32) uint32 {
	const (
		keySizes    = 64 // powers of two above keyChunk and maxShortHeader: so the compiler sees that each part of a pair has room
		headerSizes = 4
		room        = keySizes + headerSizes + textChunk
	)
	dst, record := f.dst, f.record[:len(f.record):len(f.record)]
	run := f.nodes[i:][:min(int(end-i), f.maxKeys-f.admitted)]
	for k := range run {
		n := &run[k]
		p := f.paths.paths[n.path]
		if !p.takes(n) {
			if n.kind == kindNull && !f.nullsIn {
				continue
			}
			run = run[:k]
			break
		}
		if p.record == f.number {
			run = run[:k]
			break
		}
		f.admitted++
		p.record, p.index = f.number, writtenKey
		f.top[p.top] = i + uint32(k)

		at := len(dst)
		if cap(dst)-at < room {
			dst = slices.Grow(dst, roomForRun)
		}
		out := (*[room]byte)(dst[at : at+room])
		*(*[keyChunk]byte)(out[:]) = p.chunk
		size := int(p.chunkSize) % keySizes
		off, text := int(n.off), int(n.end-n.off)
		if n.kind == kindString && n.flags == 0 && text <= textChunk && off+textChunk <= len(record) {
			header := &shortHeaders[text]
			*(*[maxShortHeader]byte)(out[size:]) = header.bytes
			size += int(header.size) % headerSizes
			copyChunk((*[textChunk]byte)(out[size:]), (*[textChunk]byte)(record[off:off+textChunk]))
			dst = dst[:at+size+text]
			continue
		}
		dst = f.appendScalar(dst[:at+size], i+uint32(k))
	}
	f.dst = dst
	return i + uint32(len(run))
}

// writeLone does for one value what writeRun does.
func (f *flattener) writeLone(i, at uint32) bool {
	p := f.paths.paths[at]
	if f.arrays > 0 || f.gather || !p.takes(&f.nodes[i]) || p.record == f.number || f.admitted == f.maxKeys {
		return false
	}
	f.admitted++
	p.record, p.index = f.number, writtenKey
	f.dst = f.appendScalar(f.paths.appendKey(f.dst, p), i)
	return true
}

// writeColumns writes an array outside others at once if all its elements are objects with the same members, or all are values of
// the same type, and nothing more is to be known of any value: as in most arrays. It does what flattenArray would do.
func (f *flattener) writeColumns(i, at uint32) bool {
	first, end := i+1, f.nodes[i].next
	if f.arrays > 0 || f.gather || at != f.nodes[i].path || f.paths.paths[at].length > MaxKeyBytes {
		return false
	}
	column := first // the nodes of the first element that head a column
	if f.nodes[first].kind == kindObject {
		column++
	}
	behind := f.nodes[first].next
	if f.admitted+int(behind-column) > f.maxKeys {
		return false
	}
	for head := column; head < behind; head++ {
		if p := f.paths.paths[f.nodes[head].path]; !p.takes(&f.nodes[head]) || p.record == f.number {
			return false
		}
	}
	width := behind - first
	for other := behind; other < end; other += width {
		if f.nodes[other].next != other+width {
			return false
		}
		for offset := range width {
			if !f.sameColumn(first+offset, other+offset) {
				return false
			}
		}
	}

	count := (end - first) / width
	for ; column < behind; column++ {
		p := f.paths.paths[f.nodes[column].path]
		if p.record == f.number { // a member that stands twice
			f.late = true
			p.comesLate, p.lone = true, 0
			return true
		}
		f.admitted++
		p.record, p.index = f.number, writtenKey
		f.dst = msgp.AppendArrayHeader(f.paths.appendKey(f.dst, p), count)
		for value := column; value < end; value += width {
			f.dst = f.appendScalar(f.dst, value)
		}
	}
	return true
}

// sameColumn tells whether two nodes are at one place and without doubt of one type.
func (f *flattener) sameColumn(i, j uint32) bool {
	a, b := &f.nodes[i], &f.nodes[j]
	if a.path != b.path {
		return false
	}
	switch a.kind {
	case kindTrue, kindFalse:
		return b.kind == kindTrue || b.kind == kindFalse
	case kindInteger, kindNumber:
		return false // beyond a limit they are texts
	}
	return a.kind == b.kind
}

// roomForRun is enough for many short keys with their values.
const roomForRun = 4 << 10

// expanded parses the string node i if the flat key of its path is to be expanded and it is JSON, and returns the root of that JSON.
func (f *flattener) expanded(i, at uint32, level int) (root uint32) {
	n := &f.nodes[i]
	if !f.paths.paths[at].expand || level > MaxDepth || n.kind != kindString || n.flags&flagRedacted != 0 {
		return noNode
	}
	f.decoded = f.appendString(f.decoded[:0], i)
	if len(f.decoded) == 0 || f.decoded[0] != '{' && f.decoded[0] != '[' {
		return noNode
	}
	root, begin := uint32(len(f.nodes)), len(f.texts)
	hidden, spaced := f.hidden, f.spaced
	f.hidden = false
	f.texts = append(f.texts, f.decoded...)
	end, ok := f.parse(f.texts, begin, at)
	if !ok || f.skipSpace(f.texts, end) < len(f.texts) {
		f.nodes, f.texts = f.nodes[:root], f.texts[:begin]
		f.hidden, f.spaced = hidden, spaced
		return noNode
	}
	for j := range f.nodes[root:] {
		f.nodes[int(root)+j].flags |= flagExpanded
	}
	if f.hidden {
		if f.rewritten == nil {
			f.rewritten = map[uint32]uint32{}
		}
		f.rewritten[i] = root
		f.nodes[i].flags |= flagRewritten
	}
	f.hidden = f.hidden || hidden
	return root
}

// flattenArray adds the columns of an array of objects, and the values of an array of scalars.
func (f *flattener) flattenArray(i, at uint32, level int) {
	outermost := f.arrays == 0
	if outermost {
		f.join = joinability{element: f.join.element, depth: f.paths.paths[at].depth}
	} else if f.join.several {
		f.join.broken = true // one of several elements holds an array
	}
	outer := f.join.several
	several := f.hasSeveral(i)
	f.join.several = outer || several
	f.join.first = true
	f.join.element++ // the next one's neighbour is no element of this array
	f.arrays++
	for child, end := i+1, f.nodes[i].next; child < end; child = f.nodes[child].next {
		root := child
		if f.nodes[child].kind == kindString {
			if root = f.expanded(child, at, level+1); root == noNode {
				f.add(child, at, formPlain)
				continue
			}
		}
		if f.nodes[root].kind != kindObject {
			f.flatten(root, at, level+1)
			continue
		}
		if !several || f.join.broken {
			f.flatten(root, at, level+1)
			continue
		}
		f.join.inside, f.join.count = true, 0
		f.join.element++
		f.flatten(root, at, level+1)
		f.join.inside = false
		if !f.join.first && f.join.count != f.join.before {
			f.join.broken = true
		}
		f.join.first, f.join.before = false, f.join.count
	}
	f.arrays--
	f.join.several = outer
	if !outermost {
		return
	}
	if f.join.columns && f.join.broken {
		gather := f.gather
		f.gather = true // behind its columns
		f.add(i, at, formText)
		f.gather = gather || f.paths.paths[f.paths.owner(at)].comesLate
	}
	if !f.gather {
		f.writeKeys()
	}
}

// hasSeveral tells whether an array has more than one element of which something, or at least an empty object, is there.
func (f *flattener) hasSeveral(i uint32) bool {
	count := 0
	for child, end := i+1, f.nodes[i].next; child < end && count < 2; child = f.nodes[child].next {
		n := &f.nodes[child]
		if n.kind == kindObject || n.flags&flagEmpty == 0 && (n.kind != kindNull || f.nullsIn) {
			count++
		}
	}
	return count > 1
}

// isNameValueList tells whether an array is a list of names and values that become keys. Under DetectedValues the names are the
// sensitive content itself.
func (f *flattener) isNameValueList(i, at uint32) bool {
	if f.columns || f.arrays > 0 || f.paths.paths[at].detected {
		return false
	}
	elements := 0
	for child, end := i+1, f.nodes[i].next; child < end; child = f.nodes[child].next {
		if elements++; elements > maxListElements || !f.isNameValue(child) {
			return false
		}
	}
	return true
}

func (f *flattener) isNameValue(i uint32) bool {
	if f.nodes[i].kind != kindObject {
		return false
	}
	named, valued := false, false
	for member, end := i+1, f.nodes[i].next; member < end; member = f.nodes[member].next {
		switch f.role(member) {
		case roleName:
			if named || f.nodes[member].kind != kindString {
				return false
			}
			named = true
			if len(f.listName(member)) > MaxKeyBytes {
				return false
			}
		case roleValue, roleInner:
			valued = true
		default:
			return false
		}
	}
	return named && valued
}

func (f *flattener) flattenNameValueList(i, at uint32, level int) {
	item := uint32(rootPath)
	for element, end := i+1, f.nodes[i].next; element < end; element = f.nodes[element].next {
		last := f.nodes[element].next
		for member := element + 1; member < last; member = f.nodes[member].next {
			if f.nodes[member].kind == kindString && f.role(member) == roleName {
				item = f.paths.item(at, item, f.listName(member))
			}
		}
		inner := uint32(rootPath)
		for member := element + 1; member < last; member = f.nodes[member].next {
			switch f.role(member) {
			case roleValue:
				f.addListValue(member, item, level+2)
			case roleInner:
				inner = f.paths.child(item, inner, f.paths.name(f.nodes[member].path))
				f.addListValue(member, inner, level+2)
			}
		}
	}
}

// listName returns the decoded text of a string; valid until the next call.
func (f *flattener) listName(i uint32) []byte {
	if f.nodes[i].flags&(flagDirty|flagRedacted) == 0 {
		return f.text(i)
	}
	f.decoded = f.appendString(f.decoded[:0], i)
	return f.decoded
}

// role returns what the name of an object's member means in a name/value list.
func (f *flattener) role(member uint32) role { return f.paths.paths[f.nodes[member].path].role }

// addListValue adds a value of a name/value list, always a string.
func (f *flattener) addListValue(i, at uint32, level int) {
	switch n := &f.nodes[i]; {
	case n.kind == kindString && f.writeLone(i, at):
	case n.kind == kindNull, n.kind == kindString:
		f.flatten(i, at, level)
	case n.flags&flagEmpty != 0:
	case (n.kind == kindObject || n.kind == kindArray) && f.paths.paths[at].expand:
		f.flatten(i, at, level)
	default:
		f.add(i, at, formText)
	}
}

// add adds a value to the flat key of a path.
func (f *flattener) add(i, at uint32, as form) {
	p := f.paths.paths[at]
	depth := p.depth
	if p.stable != schema.Any && f.nodes[i].kind != kindNull {
		at, as = f.typed(i, at)
	}
	owner := f.paths.owner(at)
	p = f.paths.paths[owner]
	v := value{node: i, form: as}
	var k *key
	switch {
	case p.record != f.number: // the first value of its key
		p.record = f.number
		f.gather = f.gather || p.comesLate
		overflow := p.outside || f.admitted >= f.maxKeys
		if overflow {
			f.overflowing++
		} else {
			f.admitted++
			if f.arrays == 0 && !f.gather {
				p.index = writtenKey
				f.dst = f.appendValue(f.paths.appendKey(f.dst, p), v, false)
				return
			}
		}
		p.index = uint32(len(f.keys.keys))
		f.keys.keys = append(f.keys.keys, key{path: owner, first: v, count: 1, overflow: overflow})
		k = &f.keys.keys[p.index]
	case p.index == writtenKey || int(p.index) < f.written && !f.keys.keys[p.index].overflow:
		f.late = true
		p.comesLate, p.lone = true, 0
		return
	default:
		k = &f.keys.keys[p.index]
		f.keys.add(k, v)
	}
	k.types |= possibleTypes[as][f.nodes[i].kind]
	if f.arrays == 0 {
		return
	}
	k.array = true
	f.join.columns = f.join.columns || depth > f.join.depth
	if j := &f.join; j.inside && !j.broken {
		if k.element == j.element || !j.first && k.element != j.element-1 {
			j.broken = true
		}
		k.element = j.element
		j.count++
	}
}

// writtenKey is the index of a key that was written without a place in the key table.
const writtenKey = ^uint32(0)

// typed returns where a value goes whose path keeps its type: if it cannot be brought to that type, to another path.
func (f *flattener) typed(i, at uint32) (_ uint32, as form) {
	switch f.paths.paths[at].stable {
	case schema.Integer:
		if n := &f.nodes[i]; n.kind == kindShort && f.text(i)[0] != '-' { // -0 is written as 0
			return at, formPlain
		}
		if _, ok := f.integer(i); ok {
			return at, formInteger
		}
	case schema.Boolean:
		if _, ok := f.boolean(i); ok {
			return at, formBoolean
		}
	}
	return f.paths.textOf(at), formText
}
