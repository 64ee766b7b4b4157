package normalize

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
	next uint32 // index into keyTable.more, unless it is the last
	form form
}

// key is one flat key of a record.
type key struct {
	path     uint32 // the owner of the flat key
	first    value  // most keys have no other
	last     uint32 // of several values, index into keyTable.more
	count    uint32
	element  uint32    // the last array element that gave it a value, see flatten.go
	types    valueType // those that its values may be of
	array    bool      // an array even with one value
	overflow bool      // goes to o365_overflow
}

// keyTable gathers the keys of a record that are not written at once, in order of their first value.
type keyTable struct {
	keys []key
	more []value // those that are not the first of their key
}

func (t *keyTable) reset() { t.keys, t.more = t.keys[:0], t.more[:0] }

// add appends a value to a key of the table that has one.
func (t *keyTable) add(k *key, v value) {
	at := uint32(len(t.more))
	t.more = append(t.more, v)
	if k.count == 1 {
		k.first.next = at
	} else {
		t.more[k.last].next = at
	}
	k.last = at
	k.count++
}
