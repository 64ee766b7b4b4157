package normalize

import (
	"encoding/binary"
	"math/bits"
)

const (
	eachByte = 0x0101010101010101
	highBits = 0x8080808080808080
)

// stops returns, of eight bytes of a JSON string, a word whose lowest bit is the high bit of the first one that is not plain text: a
// quote, a backslash or a control byte. It is 0 if all are plain. No bit is set at the high bit of a byte that is not ASCII.
//
// To subtract n from each byte below 0x80 sets the high bits of those below n; the lowest one is certain, borrows only spoil what
// is above it (https://graphics.stanford.edu/~seander/bithacks.html, "Determine if a word has a byte less than n"). With bit 1
// flipped a quote (0x22) is just above the control bytes, which stay below 0x20, and no other byte is: one subtraction finds both.
func stops(word uint64) uint64 { return stopsOrHigh(word) &^ word }

// stopsOrHigh is stops for which a byte that is not ASCII is no plain text either: it keeps its high bit in one of the differences.
func stopsOrHigh(word uint64) uint64 {
	below := (word ^ eachByte*2) - eachByte*('"'^2+1)
	slash := (word ^ eachByte*'\\') - eachByte
	return (below | slash) & highBits
}

// chunkSize is how many bytes are looked at together where most texts are shorter: a branch for each eight would be predicted wrongly
// nearly once a text.
const chunkSize = 32

func word(chunk *[chunkSize]byte, i int) uint64 { return binary.LittleEndian.Uint64(chunk[8*i:]) }

// twoStops returns a bit for each byte of two words, of which the lowest one set is that of the first byte that is not plain ASCII text.
func twoStops(a, b uint64) uint32 {
	return uint32(byteMask(stopsOrHigh(a)) | byteMask(stopsOrHigh(b))<<8)
}

// byteMask gathers the high bits of the eight bytes of a word in the lowest eight bits. All other bits of the word are 0.
//
// The product has the high bit of byte k, bit 8k+7, at bit 56+k, through the factor's bit 49-7k, and no two bits at one place.
func byteMask(word uint64) uint64 { return word * 0x0002040810204081 >> 56 }

// plainRun returns the index, from i on, of the first byte that is not plain text of a JSON string; len(b) if there is none. high
// tells whether a byte before it is not ASCII.
func plainRun(b []byte, i int) (end int, high bool) {
	var seen uint64
	rest := b[i:]
	for ; len(rest) >= 8; rest = rest[8:] {
		word := binary.LittleEndian.Uint64(rest)
		if stop := stops(word); stop != 0 {
			seen |= word & (stop - 1) // the bytes below the first that stops, and of that not the high bit
			return len(b) - len(rest) + bits.TrailingZeros64(stop)/8, seen&highBits != 0
		}
		seen |= word
	}
	for n, c := range rest {
		if c == '"' || c == '\\' || c < ' ' {
			return len(b) - len(rest) + n, seen&highBits != 0
		}
		seen |= uint64(c)
	}
	return len(b), seen&highBits != 0
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }
