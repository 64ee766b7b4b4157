package normalize

import "in_office365/normalize/schema"

// maxListElements is the most elements of a name/value list that becomes keys.
const maxListElements = 256

// longKeyWork bounds, in bytes per record, what is written of keys over MaxKeyBytes: without it a long name around many small
// values would be repeated for each of them. A container whose share of it is used up is kept whole, as JSON text.
const longKeyWork = 1 << 20

// flattener walks the nodes of one record and gathers the values of its flat keys.
type flattener struct {
	tape
	keys  keyTable
	paths pathTable

	top         [topMembers]uint32 // the nodes of members that feed time and added keys; noNode where there is none
	columns     bool               // option NameValueColumns
	maxKeys     int
	number      uint64 // of the record, distinct within the encoder
	admitted    int    // keys that do not go to the overflow
	overflowing int    // keys that do
	longKeys    int    // what is left of longKeyWork
	decoded     []byte // scratch

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

// flattenRecord gathers the record's keys, and on the way its top members.
func (f *flattener) flattenRecord() {
	f.keys.reset()
	f.number++
	f.admitted, f.overflowing, f.longKeys = 0, 0, longKeyWork
	f.arrays, f.join = 0, joinability{}
	f.top = [topMembers]uint32{}
	member := uint32(rootPath)
	for child, end := uint32(1), f.nodes[0].next; child < end; child = f.nodes[child].next {
		member = f.paths.child(rootPath, member, f.name(child))
		if top := f.paths.paths[member].top; top < topMembers && f.nodes[child].kind != kindNull {
			f.top[top] = child
		}
		f.flatten(child, member, 2)
	}
}

// flatten adds the values of node i, which is at a path. A container is on the given level; the record is level 1.
func (f *flattener) flatten(i, at uint32, level int) {
	n := &f.nodes[i]
	switch {
	case n.kind == kindObject || n.kind == kindArray:
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
	default:
		f.flattenArray(i, at, level)
	}
}

// tooLong tells whether the keys in a container would be too long and too many.
func (f *flattener) tooLong(i, at uint32) bool {
	length := f.paths.keyLength(at)
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
	member := uint32(rootPath)
	for child, end := i+1, f.nodes[i].next; child < end; child = f.nodes[child].next {
		member = f.paths.child(at, member, f.name(child))
		f.flatten(child, member, level+1)
	}
}

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
	root, base := uint32(len(f.nodes)), len(f.texts)
	hidden, spaced := f.hidden, f.spaced
	f.hidden = false
	f.texts = append(f.texts, f.decoded...)
	if f.parse(f.decoded, uint32(base), flagExpanded) >= 0 {
		f.nodes, f.texts = f.nodes[:root], f.texts[:base]
		f.hidden, f.spaced = hidden, spaced
		return noNode
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
	if outermost && f.join.columns && f.join.broken {
		f.add(i, at, formText)
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
	if f.columns || f.arrays > 0 || string(f.paths.name(at)) == detectedValues {
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
		switch string(f.name(member)) {
		case "Name", "Key":
			if named || f.nodes[member].kind != kindString {
				return false
			}
			named = true
			if len(f.listName(member)) > MaxKeyBytes {
				return false
			}
		case "Value", "NewValue", "OldValue":
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
			if f.nodes[member].kind == kindString && isNameOrKey(f.name(member)) {
				item = f.paths.child(at, item, f.listName(member))
			}
		}
		inner := uint32(rootPath)
		for member := element + 1; member < last; member = f.nodes[member].next {
			switch name := f.name(member); string(name) {
			case "Value":
				f.addListValue(member, item, level+2)
			case "NewValue", "OldValue":
				inner = f.paths.child(item, inner, name)
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

func isNameOrKey(name []byte) bool { return string(name) == "Name" || string(name) == "Key" }

// addListValue adds a value of a name/value list, always a string.
func (f *flattener) addListValue(i, at uint32, level int) {
	switch n := &f.nodes[i]; {
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
	p := &f.paths.paths[at]
	depth := p.depth
	if p.stable != schema.Any && f.nodes[i].kind != kindNull {
		at, as = f.typed(i, at)
	}
	owner := f.paths.owner(at)
	var k *key
	if p := &f.paths.paths[owner]; p.record != f.number {
		p.record, p.index = f.number, uint32(len(f.keys.keys))
		overflow := p.reserved || p.keyEnd-p.key > MaxKeyBytes || f.admitted >= f.maxKeys
		if overflow {
			f.overflowing++
		} else {
			f.admitted++
		}
		f.keys.keys = append(f.keys.keys, key{path: owner, first: value{node: i, form: as}, count: 1, overflow: overflow})
		k = &f.keys.keys[p.index]
	} else {
		k = &f.keys.keys[p.index]
		f.keys.add(k, value{node: i, form: as})
	}
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

// typed returns where a value goes whose path keeps its type: if it cannot be brought to that type, to another path.
func (f *flattener) typed(i, at uint32) (_ uint32, as form) {
	switch f.paths.paths[at].stable {
	case schema.Integer:
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
