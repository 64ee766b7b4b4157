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
	keys keyTable

	separator   byte
	columns     bool // option NameValueColumns
	maxKeys     int
	expand      map[string]struct{}
	reserved    map[string]struct{}
	suffix      []byte // of the keys that hold values of the wrong type: separator, "text"
	path        []byte // the flat key of where the walk is
	nameAt      int    // where the last name in path begins
	depth       int    // how many names path has
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
	depth   int    // how many names the path of the outermost array has
	columns bool   // there are columns at all
	broken  bool   // they cannot be joined
	several bool   // inside an array of several elements
	inside  bool   // inside an object that is such an element
	first   bool   // it is the first one
	element uint32 // its number, distinct within the record
	count   int    // keys it gave so far
	before  int    // keys the element before it gave
}

func (f *flattener) flattenRecord() {
	f.keys.reset()
	f.path, f.nameAt, f.depth = f.path[:0], 0, 0
	f.admitted, f.overflowing, f.longKeys = 0, 0, longKeyWork
	f.arrays, f.join = 0, joinability{}
	f.flatten(0, 1)
}

// enter extends the path by a name; leave(enter(...)) undoes it.
func (f *flattener) enter(name []byte) (mark [2]int) {
	mark = [2]int{len(f.path), f.nameAt}
	if f.depth > 0 {
		f.path = append(f.path, f.separator)
	}
	f.depth++
	f.nameAt = len(f.path)
	f.path = append(f.path, name...)
	for i, c := range f.path[f.nameAt:] {
		if c == '.' || c == ' ' || c == f.separator {
			f.path[f.nameAt+i] = '_'
		}
	}
	return mark
}

func (f *flattener) leave(mark [2]int) {
	f.path, f.nameAt = f.path[:mark[0]], mark[1]
	f.depth--
}

// flatten adds the values of node i, whose key is the path. A container is on the given level; the record is level 1.
func (f *flattener) flatten(i uint32, level int) {
	n := &f.nodes[i]
	switch n.kind {
	case kindNull:
		if f.nullsIn {
			f.add(i, formPlain)
		}
	case kindString:
		if root := f.expanded(i, level); root != noNode {
			f.flatten(root, level)
			return
		}
		f.add(i, formPlain)
	case kindObject, kindArray:
		switch {
		case n.flags&flagEmpty != 0:
		case level > MaxDepth || f.tooLong(i):
			f.add(i, formText)
		case n.kind == kindObject:
			f.flattenObject(i, level)
		case level < MaxDepth && f.isNameValueList(i):
			f.flattenNameValueList(i, level)
		default:
			f.flattenArray(i, level)
		}
	default:
		f.add(i, formPlain)
	}
}

// tooLong tells whether the keys in a container would be too long and too many.
func (f *flattener) tooLong(i uint32) bool {
	if len(f.path) <= MaxKeyBytes {
		return false
	}
	work := len(f.path) * int(f.nodes[i].next-i)
	if work > f.longKeys {
		return true
	}
	f.longKeys -= work
	return false
}

// Nodes may move whenever something is expanded: the loops below read them anew.

func (f *flattener) flattenObject(i uint32, level int) {
	for child, end := i+1, f.nodes[i].next; child < end; child = f.nodes[child].next {
		mark := f.enter(f.name(child))
		f.flatten(child, level+1)
		f.leave(mark)
	}
}

// expanded parses the string node i if its key is to be expanded and it is JSON, and returns the root of that JSON.
func (f *flattener) expanded(i uint32, level int) (root uint32) {
	n := &f.nodes[i]
	if len(f.expand) == 0 || level > MaxDepth || n.kind != kindString || n.flags&flagRedacted != 0 {
		return noNode
	}
	if _, ok := f.expand[string(f.path)]; !ok {
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
func (f *flattener) flattenArray(i uint32, level int) {
	outermost := f.arrays == 0
	if outermost {
		f.join = joinability{element: f.join.element, depth: f.depth}
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
			if root = f.expanded(child, level+1); root == noNode {
				f.add(child, formPlain)
				continue
			}
		}
		if f.nodes[root].kind != kindObject {
			f.flatten(root, level+1)
			continue
		}
		if !several || f.join.broken {
			f.flatten(root, level+1)
			continue
		}
		f.join.inside, f.join.count = true, 0
		f.join.element++
		f.flatten(root, level+1)
		f.join.inside = false
		if !f.join.first && f.join.count != f.join.before {
			f.join.broken = true
		}
		f.join.first, f.join.before = false, f.join.count
	}
	f.arrays--
	f.join.several = outer
	if outermost && f.join.columns && f.join.broken {
		f.add(i, formText)
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
func (f *flattener) isNameValueList(i uint32) bool {
	if f.columns || f.arrays > 0 || string(f.path[f.nameAt:]) == detectedValues {
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
			f.decoded = f.appendString(f.decoded[:0], member)
			if len(f.decoded) > MaxKeyBytes {
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

func (f *flattener) flattenNameValueList(i uint32, level int) {
	for element, end := i+1, f.nodes[i].next; element < end; element = f.nodes[element].next {
		last := f.nodes[element].next
		for member := element + 1; member < last; member = f.nodes[member].next {
			if f.nodes[member].kind == kindString && isNameOrKey(f.name(member)) {
				f.decoded = f.appendString(f.decoded[:0], member)
			}
		}
		mark := f.enter(f.decoded)
		for member := element + 1; member < last; member = f.nodes[member].next {
			switch string(f.name(member)) {
			case "Value":
				f.addListValue(member, level+2)
			case "NewValue", "OldValue":
				inner := f.enter(f.name(member))
				f.addListValue(member, level+2)
				f.leave(inner)
			}
		}
		f.leave(mark)
	}
}

func isNameOrKey(name []byte) bool { return string(name) == "Name" || string(name) == "Key" }

// addListValue adds a value of a name/value list, always a string.
func (f *flattener) addListValue(i uint32, level int) {
	switch n := &f.nodes[i]; {
	case n.kind == kindNull, n.kind == kindString:
		f.flatten(i, level)
	case n.flags&flagEmpty != 0:
	case n.kind == kindObject || n.kind == kindArray:
		if _, ok := f.expand[string(f.path)]; ok {
			f.flatten(i, level)
			return
		}
		f.add(i, formText)
	default:
		f.add(i, formText)
	}
}

// add adds a value to the key that the path is. A key at the top level keeps its type: a value that cannot be brought to it goes
// to another key.
func (f *flattener) add(i uint32, as form) {
	if f.depth == 1 && f.nodes[i].kind != kindNull {
		ok := true
		switch schema.StableType(f.path) {
		case schema.Integer:
			_, ok = f.integer(i)
			as = formInteger
		case schema.Boolean:
			_, ok = f.boolean(i)
			as = formBoolean
		}
		if !ok {
			length := len(f.path)
			f.path = append(f.path, f.suffix...)
			f.addTo(f.key(), i, formText)
			f.path = f.path[:length]
			return
		}
	}
	f.addTo(f.key(), i, as)
}

// key returns the key that the path is, admitted or not.
func (f *flattener) key() *key {
	k, isNew := f.keys.find(f.path)
	if isNew {
		_, reserved := f.reserved[string(f.path)]
		if reserved || len(f.path) > MaxKeyBytes || f.admitted >= f.maxKeys {
			k.overflow = true
			f.overflowing++
		} else {
			f.admitted++
		}
	}
	return k
}

func (f *flattener) addTo(k *key, i uint32, as form) {
	if f.arrays > 0 {
		k.array = true
		f.join.columns = f.join.columns || f.depth > f.join.depth
	}
	if j := &f.join; j.inside && !j.broken {
		if k.element == j.element || !j.first && k.element != j.element-1 {
			j.broken = true
		}
		k.element = j.element
		j.count++
	}
	f.keys.add(k, i, as)
}
