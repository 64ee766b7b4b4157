package gunzip

import "bytes"

// The codes of deflate (RFC 1951, section 3.2).
const (
	maxCode  = 15 // bits of a code
	maxMatch = 258

	literalSymbols  = 288 // literals, the end of the block, and lengths
	distanceSymbols = 32
	lengthSymbols   = 19 // of the code for the lengths of codes

	endSymbol      = 256
	usableLiterals = 286 // the symbols from here on are never used
	usableDistance = 30
)

// Codes are looked up by as many bits as a table's first level has; what is longer leads to a table of its own behind those. The number of
// entries is a power of 2 that is enough for all: 2342 and 402 are the most that codes of these symbols and of at most 15 bits need, as
// zlib's examples/enough.c finds.
const (
	literalBits     = 11
	literalMask     = 1<<literalBits - 1
	literalEntries  = 4096
	distanceBits    = 8
	distanceMask    = 1<<distanceBits - 1
	distanceEntries = 512
	lengthBits      = 7 // no code is longer
)

// entry is what the next bits mean. From the lowest bit on: the number of bits that are used up, 6 bits of a byte; how many of them are the code's, 4 bits,
// the others being added to the value; how many literals it is, 2 bits; the kinds below; and the value, 16 bits: one literal or two, the first one
// lowest, a number, or where a table begins, and then for the code's bits how many that table is looked up by.
type entry uint32

const (
	codeShift    = 8
	literalShift = 12
	isTable      = entry(1) << 14
	isStop       = entry(1) << 15
	valueShift   = 16

	invalid = isStop | 1<<valueShift
)

func (e entry) bits() uint    { return uint(e) & 63 }
func (e entry) literals() int { return int(e>>literalShift) & 3 }
func (e entry) isTable() bool { return e&isTable != 0 }
func (e entry) isStop() bool  { return e&isStop != 0 }
func (e entry) value() uint16 { return uint16(e >> valueShift) }

// number is the value with what the extra bits add to it.
func (e entry) number(hold uint64) int {
	return int(e>>valueShift) + int(hold&(1<<e.bits()-1)>>(e>>codeShift&maxCode))
}

// index is where in the tables the next bits lead.
func (e entry) index(hold uint64) int {
	return int(e>>valueShift) + int(hold&(1<<(e>>codeShift&maxCode)-1))
}

// withCode is e for a code of so many bits.
func (e entry) withCode(bits int) entry {
	if e == invalid {
		return e
	}
	return e + entry(bits)<<codeShift + entry(bits)
}

// codes are those of a block.
type codes struct {
	literals  [literalEntries]entry
	distances [distanceEntries]entry
	fixed     bool
}

// literalMeanings and distanceMeanings are entries without a code.
var literalMeanings, distanceMeanings = meanings()

func meanings() (literals [literalSymbols]entry, distances [distanceSymbols]entry) {
	for i := range literals {
		literals[i] = invalid
	}
	for i := range endSymbol {
		literals[i] = entry(i)<<valueShift | 1<<literalShift
	}
	literals[endSymbol] = isStop
	for i, value := endSymbol+1, 3; i < usableLiterals-1; i++ {
		extra := max(0, (i-261)/4)
		literals[i] = entry(value)<<valueShift | entry(extra)
		value += 1 << extra
	}
	literals[usableLiterals-1] = maxMatch << valueShift
	for i, value := 0, 1; i < usableDistance; i++ {
		extra := max(0, i/2-1)
		distances[i] = entry(value)<<valueShift | entry(extra)
		value += 1 << extra
	}
	distances[30], distances[31] = invalid, invalid
	return literals, distances
}

// fix makes c the fixed codes.
func (c *codes) fix() {
	if c.fixed {
		return
	}
	var lengths [literalSymbols]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	c.fixed = c.set(lengths[:], bytes.Repeat([]byte{5}, distanceSymbols))
}

// set makes c the codes of which these are the lengths, if there are such.
func (c *codes) set(literals, distances []uint8) bool {
	c.fixed = false
	if !build(c.literals[:], literalBits, literalMeanings[:], literals) || !build(c.distances[:], distanceBits, distanceMeanings[:], distances) {
		return false
	}
	// Two short literals are one entry. That of the second one has a lower index, or is the same.
	for i := literalMask; i >= 0; i-- {
		e := c.literals[i]
		if e.literals() == 0 {
			continue
		}
		if second := c.literals[i>>e.bits()]; second.literals() > 0 && e.bits()+second.bits() <= literalBits {
			c.literals[i] = second&^(1<<valueShift-1)<<8 | e&^(1<<valueShift-1) | 2<<literalShift | entry(e.bits()+second.bits())
		}
	}
	return true
}

// build fills table with a code: of each meaning's the length is given, 0 if it has none. It fails if there are more codes than bits allow, or
// fewer, where there is more than a single one.
func build(table []entry, bits int, meanings []entry, lengths []uint8) bool {
	var count [maxCode + 1]int
	for _, n := range lengths {
		count[n]++
	}
	used := len(lengths) - count[0]
	var next [maxCode + 2]int // where the symbols with codes of a length begin in sorted
	free := 1
	for n := 1; n <= maxCode; n++ {
		free = free<<1 - count[n]
		if free < 0 {
			return false
		}
		next[n+1] = next[n] + count[n]
	}
	if free > 0 {
		if used > 1 || used != count[1] {
			return false
		}
		for i := range 1 << bits {
			table[i] = invalid
		}
	}
	var sorted [literalSymbols]uint16
	for symbol, n := range lengths {
		if n > 0 {
			sorted[next[n]] = uint16(symbol)
			next[n]++
		}
	}

	end, prefix := 1<<bits, -1 // behind the tables so far; the bits that led to the last one
	var below []entry          // that one
	code := 0                  // its first bit lowest
	for _, symbol := range sorted[:used] {
		n := int(lengths[symbol])
		if n <= bits {
			e := meanings[symbol].withCode(n)
			for i := code; i < 1<<bits; i += 1 << n {
				table[i] = e
			}
		} else {
			if first := code & (1<<bits - 1); first != prefix {
				prefix = first
				more := n - bits
				for room := count[n]; room < 1<<more; room = room<<1 + count[bits+more] {
					more++
				}
				table[prefix] = entry(end)<<valueShift | isTable | entry(more)<<codeShift
				below = table[end : end+1<<more]
				end += 1 << more
			}
			e := meanings[symbol].withCode(n - bits)
			for i := code >> bits; i < len(below); i += 1 << (n - bits) {
				below[i] = e
			}
		}
		count[n]--
		// The next code of this length; with zeros behind it, it is the first one of the next length too.
		bit := 1 << (n - 1)
		for code&bit != 0 {
			bit >>= 1
		}
		code = code&(bit-1) | bit
	}
	return true
}

// lengthOrder is in which order the lengths of the code for lengths come.
var lengthOrder = [lengthSymbols]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// readCodes reads the codes at the beginning of a block.
func (r *Reader) readCodes() error {
	sizes, err := r.bits(14)
	if err != nil {
		return err
	}
	literals, distances, lengths := int(sizes&31)+257, int(sizes>>5&31)+1, int(sizes>>10)+4
	if literals > usableLiterals || distances > usableDistance {
		return ErrCorrupt
	}
	var own [lengthSymbols]uint8
	for _, symbol := range lengthOrder[:lengths] {
		n, err := r.bits(3)
		if err != nil {
			return err
		}
		own[symbol] = uint8(n)
	}
	var table [1 << lengthBits]entry
	var meanings [lengthSymbols]entry
	for i := range meanings {
		meanings[i] = entry(i) << valueShift
	}
	if !build(table[:], lengthBits, meanings[:], own[:]) {
		return ErrCorrupt
	}

	var all [usableLiterals + usableDistance]uint8
	last := uint8(0)
	for i := 0; i < literals+distances; {
		symbol, err := r.symbol(&table)
		if err != nil {
			return err
		}
		if symbol < 16 {
			last = uint8(symbol)
			all[i] = last
			i++
			continue
		}
		repeated, extra, least := uint8(0), uint(2), 3
		switch symbol {
		case 16:
			if i == 0 {
				return ErrCorrupt
			}
			repeated = last
		case 17:
			extra = 3
		case 18:
			extra, least = 7, 11
		}
		more, err := r.bits(extra)
		if err != nil {
			return err
		}
		n := least + int(more)
		if i+n > literals+distances {
			return ErrCorrupt
		}
		for range n {
			all[i] = repeated
			i++
		}
		last = repeated
	}
	if all[endSymbol] == 0 {
		return ErrCorrupt // it would never end
	}
	if !r.codes.set(all[:literals], all[literals:literals+distances]) {
		return ErrCorrupt
	}
	return nil
}

// symbol takes the next code.
func (r *Reader) symbol(table *[1 << lengthBits]entry) (uint16, error) {
	for {
		e := table[r.hold%uint64(len(table))]
		if e != invalid && e.bits() <= r.have {
			_, err := r.bits(e.bits())
			return e.value(), err
		}
		if r.have >= lengthBits {
			return 0, ErrCorrupt
		}
		if err := r.more(); err != nil {
			return 0, err
		}
	}
}
