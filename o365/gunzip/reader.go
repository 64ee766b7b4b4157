// Package gunzip reads gzip (RFC 1952): what the members of a stream hold, one after another, in constant memory.
//
// To inflate is the largest single piece of work between the wire and a record, so this is made for the long, well compressed text that audit
// records are. BenchmarkReader compares it with compress/gzip.
package gunzip

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// ErrCorrupt is returned for what is not gzip, and for checksums that do not agree.
var ErrCorrupt = errors.New("gzip data is corrupt")

const (
	windowSize = 32 << 10            // how far back a match may reach (RFC 1951, section 2)
	inputSize  = 32 << 10            // what is read at once
	outputEnd  = windowSize + 64<<10 // where decoding pauses until what there is was given

	// One turn of decode reads at most two words.
	inputSlack = 16
	// One turn of decode adds at most two pairs of literals and a match, and writes at most a chunk more than that.
	outputSlack = 4 + maxMatch + chunkSize
)

// Reader reads what a gzip stream holds. Reset it before use.
type Reader struct {
	src    io.Reader
	srcErr error // of src, final

	in       [inputSize + inputSlack]byte
	pos, end int    // in[pos:end] is still to be taken into hold
	hold     uint64 // the next bits, the first one lowest; those beyond have are 0
	have     uint   // less than 8 between calls

	out         [outputEnd + outputSlack]byte
	given, made int // out[given:made] is decoded and still to be given
	begin       int // out[begin:made] is what a match may reach
	summed      int // out[:summed] is in sum

	state  state
	last   bool // the block is the member's last
	stored int  // bytes left of a stored block
	codes  codes

	member bool // a member was read
	sum    uint32
	size   uint32 // of the member, modulo 2^32
	err    error  // final
}

type state uint8

const (
	inHeader      state = iota // of a member
	betweenBlocks              // or behind the last one
	inStored
	inCompressed
)

// Reset makes r read src.
func (r *Reader) Reset(src io.Reader) {
	r.src, r.srcErr, r.err = src, nil, nil
	r.pos, r.end, r.hold, r.have = 0, 0, 0, 0
	r.given, r.made, r.begin, r.summed = 0, 0, 0, 0
	r.state, r.member = inHeader, false
}

// Read implements io.Reader. A stream that ends within a member, or before the first one, makes it return io.ErrUnexpectedEOF.
func (r *Reader) Read(p []byte) (int, error) {
	for r.given == r.made {
		if r.err != nil {
			return 0, r.err
		}
		r.err = r.step()
		r.sum = crc32.Update(r.sum, crc32.IEEETable, r.out[r.summed:r.made])
		r.size += uint32(r.made - r.summed)
		r.summed = r.made
	}
	n := copy(p, r.out[r.given:r.made])
	r.given += n
	return n, nil
}

// step goes on until there is something to give, or a little before.
func (r *Reader) step() error {
	if r.made >= outputEnd {
		moved := copy(r.out[:], r.out[r.made-windowSize:r.made])
		r.begin = max(0, r.begin-(r.made-moved))
		r.given, r.made, r.summed = moved, moved, moved
	}
	switch r.state {
	case inHeader:
		return r.readHeader()
	case inStored:
		return r.copyStored()
	case inCompressed:
		return r.decompress()
	default:
		if r.last {
			return r.readTrailer()
		}
		return r.readBlockHeader()
	}
}

// load reads more of src. It keeps what is not taken.
func (r *Reader) load() error {
	r.end = copy(r.in[:], r.in[r.pos:r.end])
	r.pos = 0
	const patience = 100 // as bufio has it
	for range patience {
		if r.srcErr != nil {
			return r.ended()
		}
		var n int
		n, r.srcErr = r.src.Read(r.in[r.end:inputSize])
		if r.end += n; n > 0 {
			return nil
		}
	}
	return io.ErrNoProgress
}

// ended is the error of a stream that ends too early.
func (r *Reader) ended() error {
	if r.srcErr == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return r.srcErr
}

// bits takes the next n bits, at most 32.
func (r *Reader) bits(n uint) (uint32, error) {
	for r.have < n {
		if err := r.more(); err != nil {
			return 0, err
		}
	}
	v := r.hold & (1<<n - 1)
	r.hold >>= n
	r.have -= n
	return uint32(v), nil
}

// more takes a byte into hold.
func (r *Reader) more() error {
	if r.pos == r.end {
		if err := r.load(); err != nil {
			return err
		}
	}
	r.hold |= uint64(r.in[r.pos]) << r.have
	r.pos++
	r.have += 8
	return nil
}

// The flags of a member's header (RFC 1952, section 2.3.1).
const (
	flagHeaderSum = 1 << 1
	flagExtra     = 1 << 2
	flagName      = 1 << 3
	flagComment   = 1 << 4
)

// readHeader reads a member's header, or finds the end of the stream.
func (r *Reader) readHeader() error {
	for r.member && (r.pos == r.end || r.in[r.pos] == 0) { // zeros behind the last member are passed over, as gzip(1) does
		if r.pos < r.end {
			r.pos++
			continue
		}
		if err := r.load(); err != nil {
			if r.srcErr == io.EOF {
				return io.EOF
			}
			return err
		}
	}
	const magic = 0x088b1f // and the method, deflate
	start, err := r.bits(24)
	if err != nil {
		return err
	}
	if start != magic {
		return ErrCorrupt
	}
	flags, err := r.bits(8)
	if err != nil {
		return err
	}
	skip := 6 // time, extra flags and operating system
	if flags&flagExtra != 0 {
		if err := r.skip(skip); err != nil {
			return err
		}
		size, err := r.bits(16)
		if err != nil {
			return err
		}
		skip = int(size)
	}
	if err := r.skip(skip); err != nil {
		return err
	}
	for _, text := range [...]uint32{flagName, flagComment} {
		for c := flags & text; c != 0; {
			if c, err = r.bits(8); err != nil {
				return err
			}
		}
	}
	if flags&flagHeaderSum != 0 {
		if err := r.skip(2); err != nil { // the data's own checksum is enough
			return err
		}
	}
	r.state, r.last, r.member = betweenBlocks, false, true
	r.sum, r.size, r.begin = 0, 0, r.made
	return nil
}

func (r *Reader) skip(bytes int) error {
	for range bytes {
		if _, err := r.bits(8); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) readTrailer() error {
	r.hold, r.have = 0, 0 // what is left of a byte
	sum, err := r.bits(32)
	if err != nil {
		return err
	}
	size, err := r.bits(32)
	if err != nil {
		return err
	}
	if sum != r.sum || size != r.size {
		return ErrCorrupt
	}
	r.state = inHeader
	return nil
}

func (r *Reader) readBlockHeader() error {
	header, err := r.bits(3)
	if err != nil {
		return err
	}
	r.last = header&1 != 0
	switch header >> 1 {
	case 0:
		r.hold, r.have = 0, 0 // what is left of a byte
		sizes, err := r.bits(32)
		if err != nil {
			return err
		}
		if sizes&0xffff != ^sizes>>16 {
			return ErrCorrupt
		}
		r.stored, r.state = int(sizes&0xffff), inStored
		return nil
	case 1:
		r.codes.fix()
	case 2:
		if err := r.readCodes(); err != nil {
			return err
		}
	default:
		return ErrCorrupt
	}
	r.state = inCompressed
	return nil
}

// copyStored goes on with a block that is not compressed.
func (r *Reader) copyStored() error {
	if r.stored > 0 && r.pos == r.end {
		if err := r.load(); err != nil {
			return err
		}
	}
	n := min(r.stored, r.end-r.pos, outputEnd-r.made)
	copy(r.out[r.made:], r.in[r.pos:r.pos+n])
	r.made += n
	r.pos += n
	if r.stored -= n; r.stored == 0 {
		r.state = betweenBlocks
	}
	return nil
}

// decompress goes on with a block that is compressed, until out is full, the block ends, or it would have to wait with something to give.
func (r *Reader) decompress() error {
	for r.state == inCompressed && r.made < outputEnd {
		limit := r.end - inputSlack
		if r.pos <= limit {
			if err := r.decode(limit); err != nil {
				return err
			}
			continue
		}
		if r.srcErr == nil {
			if r.made > r.given {
				return nil
			}
			if err := r.load(); err != nil && r.srcErr == nil {
				return err
			}
			continue // an error of src comes again when the last bytes are decoded
		}
		// The last bytes, turn by turn, with zeros behind them. What comes of those is not given.
		clear(r.in[r.end : r.end+inputSlack])
		made := r.made
		err := r.decode(r.pos)
		if r.pos > r.end {
			r.made, r.pos = made, r.end
			return r.ended()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refill makes hold have 56 bits at least. All of a word is put in, but only so many bits are counted as make whole bytes; the others come again.
func refill(in []byte, hold uint64, have uint, pos int) (uint64, uint, int) {
	return hold | word(in, pos)<<(have&63), have | 56, pos + int((63-have)/8)
}

// decode decodes until the block ends, out is full or pos is beyond limit, from which on it reads up to inputSlack bytes.
func (r *Reader) decode(limit int) (err error) {
	var (
		in, out    = r.in[:], r.out[:]
		hold, have = r.hold, r.have
		pos, made  = r.pos, r.made
		codes      = &r.codes
	)
	for pos <= limit && made < outputEnd {
		hold, have, pos = refill(in, hold, have, pos)

		// Two pairs of literals take 22 bits at most, what follows 20.
		e := codes.literals[hold&literalMask]
		if e.literals() > 0 {
			binary.LittleEndian.PutUint16(out[made:made+2], e.value())
			made += e.literals()
			hold >>= e.bits()
			have -= e.bits()
			if e = codes.literals[hold&literalMask]; e.literals() > 0 {
				binary.LittleEndian.PutUint16(out[made:made+2], e.value())
				made += e.literals()
				hold >>= e.bits()
				have -= e.bits()
				e = codes.literals[hold&literalMask]
			}
		}
		if e.isTable() {
			hold >>= literalBits
			have -= literalBits
			e = codes.literals[e.index(hold)%literalEntries]
		}
		size := e.number(hold)
		hold >>= e.bits()
		have -= e.bits()
		if e.literals() > 0 {
			binary.LittleEndian.PutUint16(out[made:made+2], e.value())
			made += e.literals()
			continue
		}
		if e.isStop() {
			if e == invalid {
				err = ErrCorrupt
			}
			r.state = betweenBlocks
			break
		}

		hold, have, pos = refill(in, hold, have, pos)
		if e = codes.distances[hold&distanceMask]; e.isTable() {
			hold >>= distanceBits
			have -= distanceBits
			e = codes.distances[e.index(hold)%distanceEntries]
		}
		distance := e.number(hold)
		hold >>= e.bits()
		have -= e.bits()
		if e.isStop() || distance > made-r.begin {
			err = ErrCorrupt
			break
		}
		from, end := made-distance, made+size
		switch {
		case distance >= chunkSize:
			for ; made < end; made, from = made+chunkSize, from+chunkSize {
				chunk := out[from : from+chunkSize]
				a, b, c, d := word(chunk, 0), word(chunk, 8), word(chunk, 16), word(chunk, 24)
				chunk = out[made : made+chunkSize]
				putWord(chunk, 0, a)
				putWord(chunk, 8, b)
				putWord(chunk, 16, c)
				putWord(chunk, 24, d)
			}
		case distance >= wordSize:
			for ; made < end; made, from = made+wordSize, from+wordSize {
				putWord(out, made, word(out, from))
			}
		default:
			for ; made < end; made, from = made+1, from+1 {
				out[made] = out[from]
			}
		}
		made = end
	}
	// What is left in hold is less than a byte again.
	pos -= int(have / 8)
	have %= 8
	r.hold, r.have, r.pos, r.made = hold&(1<<have-1), have, pos, made
	return err
}

const (
	wordSize  = 8
	chunkSize = 4 * wordSize
)

func word(b []byte, i int) uint64       { return binary.LittleEndian.Uint64(b[i : i+wordSize]) }
func putWord(b []byte, i int, v uint64) { binary.LittleEndian.PutUint64(b[i:i+wordSize], v) }
