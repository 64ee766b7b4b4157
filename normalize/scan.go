package normalize

import (
	"encoding/binary"
	"math/bits"
)

const (
	eachByte = 0x0101010101010101
	highBits = 0x8080808080808080
)

// plainRun returns the index, from i on, of the first byte that is not plain text of a JSON string: a quote, a backslash or a
// control byte; len(b) if there is none. high tells whether a byte before it is not ASCII.
//
// It looks at eight bytes at a time: the lowest high bit set in each of the three tests marks the first byte that meets it
// (https://graphics.stanford.edu/~seander/bithacks.html, "Determine if a word has a byte less than n").
func plainRun(b []byte, i int) (end int, high bool) {
	var seen uint64
	for ; i+8 <= len(b); i += 8 {
		word := binary.LittleEndian.Uint64(b[i:])
		quote := word ^ eachByte*'"'
		slash := word ^ eachByte*'\\'
		stop := ((quote - eachByte) &^ quote) | ((slash - eachByte) &^ slash) | ((word - eachByte*' ') &^ word)
		if stop &= highBits; stop != 0 {
			n := bits.TrailingZeros64(stop) / 8
			seen |= word & (1<<(8*n) - 1)
			return i + n, seen&highBits != 0
		}
		seen |= word
	}
	for ; i < len(b); i++ {
		c := b[i]
		if c == '"' || c == '\\' || c < ' ' {
			break
		}
		seen |= uint64(c)
	}
	return i, seen&highBits != 0
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }
