package gunzip_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"in_office365/o365/gunzip"
	"in_office365/test/tenant/records"
)

// auditRecords are so many JSON records, as a content blob has them.
func auditRecords(n uint64) []byte {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	blob := []byte{'['}
	for i := range n {
		types := records.ContentTypes()
		blob = append(records.Append(blob, types[i%uint64(len(types))], 1, i, at), ',')
	}
	return append(blob[:len(blob)-1], ']')
}

func noise(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

func compressed(t testing.TB, level int, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(src io.Reader) ([]byte, error) {
	r := new(gunzip.Reader)
	r.Reset(src)
	return io.ReadAll(r)
}

func TestReaderGivesWhatWasCompressed(t *testing.T) {
	for _, data := range []struct {
		name string
		data []byte
	}{
		{"nothing", nil},
		{"one byte", []byte("x")},
		{"audit records", auditRecords(2000)},
		{"noise, which is stored", noise(300_000)},
		{"one byte over and over", bytes.Repeat([]byte("a"), 1_000_000)},
		{"short periods", bytes.Repeat([]byte("abcdefghijk"), 30_000)},
		{"periods as long as the window", bytes.Repeat(noise(32<<10), 5)},
	} {
		for _, level := range []int{gzip.NoCompression, gzip.BestSpeed, gzip.DefaultCompression, gzip.BestCompression, gzip.HuffmanOnly} {
			t.Run(fmt.Sprintf("%s, level %d", data.name, level), func(t *testing.T) {
				z := compressed(t, level, data.data)
				for name, src := range map[string]io.Reader{
					"at once":       bytes.NewReader(z),
					"byte by byte":  iotest.OneByteReader(bytes.NewReader(z)),
					"end with data": iotest.DataErrReader(bytes.NewReader(z)),
					"half as asked": iotest.HalfReader(bytes.NewReader(z)),
				} {
					got, err := read(src)
					if err != nil || !bytes.Equal(got, data.data) {
						t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(data.data), err)
					}
				}
				got, err := read(bytes.NewReader(append(z, z...)))
				if err != nil || !bytes.Equal(got, append(data.data, data.data...)) {
					t.Errorf("two members: %d bytes of twice %d, %v", len(got), len(data.data), err)
				}
			})
		}
	}
}

func TestReaderTakesEveryHeader(t *testing.T) {
	const text = "a record"
	plain := compressed(t, gzip.DefaultCompression, []byte(text))
	with := func(flags byte, fields string) []byte {
		z := slices.Clone(plain[:10])
		z[3] = flags
		return slices.Concat(z, []byte(fields), plain[10:])
	}
	for name, z := range map[string][]byte{
		"without fields":          plain,
		"text":                    with(1, ""),
		"with a header checksum":  with(2, "xx"),
		"with an extra field":     with(4, "\x03\x00abc"),
		"with a name":             with(8, "name\x00"),
		"with a comment":          with(16, "comment\x00"),
		"with all of them":        with(31, "\x00\x00name\x00comment\x00xx"),
		"with a comment, no name": with(16, "\x00"),
	} {
		if got, err := read(bytes.NewReader(z)); err != nil || string(got) != text {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

// inFixedCodes is a gzip stream of one block in the fixed codes, whose bits these are, and of a trailer for nothing.
func inFixedCodes(bits string) []byte { return member("1 10" + bits) }

// member is a gzip stream of these bits, the first one lowest in its byte, and of a trailer for nothing.
func member(bits string) []byte {
	z := []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
	n := 0
	for _, bit := range bits {
		if bit == ' ' {
			continue
		}
		if n%8 == 0 {
			z = append(z, 0)
		}
		z[len(z)-1] |= byte(bit-'0') << (n % 8)
		n++
	}
	return append(z, make([]byte, 8)...)
}

func TestReaderRefusesWhatIsCorrupt(t *testing.T) {
	const (
		a, end      = "10010001 ", "0000000"  // in the fixed codes
		three, most = "0000001 ", "11000101 " // lengths, of 3 and 258
		one, two    = "00000 ", "00001 "      // distances
		dynamic     = "1 01 "
	)
	long := a + strings.Repeat(most+one, 200) // more than any distance that there is not would reach back
	longText := strings.Repeat("a", 1+200*258)
	changed := func(at int) []byte {
		z := compressed(t, gzip.DefaultCompression, []byte("a record"))
		z[(at+len(z))%len(z)] ^= 1
		return z
	}
	if _, err := read(bytes.NewReader(inFixedCodes(end))); err != nil {
		t.Fatalf("nothing in fixed codes: %v", err)
	}
	for name, test := range map[string]struct {
		z   []byte
		got string // before the error
	}{
		"another magic":                       {changed(0), ""},
		"another method":                      {changed(2), ""},
		"another checksum":                    {changed(-8), "a record"},
		"another size":                        {changed(-1), "a record"},
		"a second member that is none":        {slices.Concat(inFixedCodes(end), []byte("<html></html>")), ""},
		"a reserved kind of block":            {member("1 11"), ""},
		"a stored block of another size":      {member("1 00 00000 1000000000000000 1111111111111111"), ""},
		"a match before the beginning":        {inFixedCodes(three + one + end), ""},
		"a match too far back":                {inFixedCodes(a + three + two + end), "a"},
		"a match into the member before":      {slices.Concat(compressed(t, gzip.DefaultCompression, []byte("a record")), inFixedCodes(three+one+end)), "a record"},
		"the length 286, that there is not":   {inFixedCodes(a + "11000110 " + one + end), "a"},
		"the length 287, that there is not":   {inFixedCodes(a + "11000111 " + one + end), "a"},
		"the distance 30, that there is not":  {inFixedCodes(long + three + "11110 00000000000000 " + end), longText},
		"the distance 31, that there is not":  {inFixedCodes(long + three + "11111 00000000000000 " + end), longText},
		"more lengths than there are symbols": {member(dynamic + "01111 00000 0000"), ""},
		"more distances than symbols":         {member(dynamic + "00000 01111 0000"), ""},
		"too many codes for lengths":          {member(dynamic + "00000 00000 0000 100 100 100 000"), ""},
		"too few codes for lengths":           {member(dynamic + "00000 00000 0000 010 000 000 000"), ""},
		"a repetition of nothing":             {member(dynamic + "00000 00000 0000 100 100 000 000 0 00"), ""},
		"repetitions beyond the end":          {member(dynamic + "00000 00000 0000 000 000 100 100 0000000 1 1111111 1 1111111 1 1111111"), ""},
		// One code, for 'a', and none for the end: 97 times 0, 1, 160 times 0.
		"no end of the block":                    {member(dynamic + "00000 00000 0111 000 000 100 000" + strings.Repeat("000", 13) + "100 1 0110101 0 1 1111111 1 1101000" + "0000"), ""},
		"a code among lengths that there is not": {member(dynamic + "00000 00000 0000 000 000 100 000 1"), ""},
		"too many codes":                         {member(dynamic + "00000 00000 0111 000 000 100 000" + strings.Repeat("000", 13) + "100 0 0 0 1 1111111 1 0001011 0 0"), ""},
	} {
		if got, err := read(bytes.NewReader(test.z)); !errors.Is(err, gunzip.ErrCorrupt) || string(got) != test.got {
			t.Errorf("%s: got %d bytes, %.20q, %v; want %d", name, len(got), got, err, len(test.got))
		}
	}
}

func TestReaderTellsAnEarlyEnd(t *testing.T) {
	data := auditRecords(5)
	z := compressed(t, gzip.DefaultCompression, data)
	broken := errors.New("connection reset")
	for size := range z {
		got, err := read(bytes.NewReader(z[:size]))
		if err != io.ErrUnexpectedEOF || !bytes.HasPrefix(data, got) {
			t.Fatalf("%d bytes of %d: %v", size, len(z), err)
		}
		got, err = read(io.MultiReader(bytes.NewReader(z[:size]), iotest.ErrReader(broken)))
		if err != broken || !bytes.HasPrefix(data, got) {
			t.Fatalf("an error after %d bytes of %d: %v", size, len(z), err)
		}
	}
}

// A Reader is used for one stream after another, whatever became of those before.
func TestReaderIsUsedAgain(t *testing.T) {
	data := auditRecords(500)
	z := compressed(t, gzip.DefaultCompression, data)
	r := new(gunzip.Reader)
	for _, src := range []io.Reader{bytes.NewReader(z[:len(z)/2]), bytes.NewReader(data), bytes.NewReader(z), bytes.NewReader(z)} {
		r.Reset(src)
		_, _ = io.CopyN(io.Discard, r, int64(len(data)/2))
	}
	r.Reset(bytes.NewReader(z))
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes of %d, %v", len(got), len(data), err)
	}
}

func TestReaderGivesUpOnASourceThatGivesNothing(t *testing.T) {
	if _, err := read(silent{}); err != io.ErrNoProgress {
		t.Error(err)
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

// FuzzReader holds the Reader against compress/flate.
func FuzzReader(f *testing.F) {
	header := []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
	for _, data := range [][]byte{nil, auditRecords(3), noise(100), bytes.Repeat([]byte("ab"), 1000)} {
		for _, level := range []int{gzip.NoCompression, gzip.BestSpeed, gzip.DefaultCompression, gzip.HuffmanOnly} {
			f.Add(compressed(f, level, data)[len(header):])
		}
	}
	f.Fuzz(func(t *testing.T, deflated []byte) {
		src := bytes.NewReader(deflated)
		want, theirs := io.ReadAll(flate.NewReader(src))
		if theirs != nil {
			got, err := read(bytes.NewReader(slices.Concat(header, deflated)))
			if !errors.Is(err, gunzip.ErrCorrupt) && err != io.ErrUnexpectedEOF {
				t.Fatalf("%v where compress/flate says %v", err, theirs)
			}
			if !bytes.HasPrefix(want, got) && !bytes.HasPrefix(got, want) {
				t.Fatalf("got %q, want %q", got, want)
			}
			return
		}
		z := slices.Concat(header, deflated[:len(deflated)-src.Len()])
		z = binary.LittleEndian.AppendUint32(z, crc32.ChecksumIEEE(want))
		z = binary.LittleEndian.AppendUint32(z, uint32(len(want)))
		for _, src := range []io.Reader{bytes.NewReader(z), iotest.OneByteReader(bytes.NewReader(z))} {
			if got, err := read(src); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("got %q, %v, want %q", got, err, want)
			}
		}
	})
}

// BenchmarkReader compares the Reader with that of the standard library.
func BenchmarkReader(b *testing.B) {
	data := auditRecords(5000)
	z := compressed(b, gzip.DefaultCompression, data)
	ours, theirs := new(gunzip.Reader), new(gzip.Reader)
	for _, contestant := range []struct {
		name  string
		reset func(io.Reader) (io.Reader, error)
	}{
		{"gunzip", func(src io.Reader) (io.Reader, error) { ours.Reset(src); return ours, nil }},
		{"compress-gzip", func(src io.Reader) (io.Reader, error) { return theirs, theirs.Reset(src) }},
	} {
		b.Run(contestant.name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			src, buffer := bytes.NewReader(nil), make([]byte, 64<<10)
			for b.Loop() {
				src.Reset(z)
				r, err := contestant.reset(src)
				for err == nil {
					_, err = r.Read(buffer)
				}
				if err != io.EOF {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestReaderPassesOverZerosBehindTheEnd(t *testing.T) {
	const text = "a record"
	z := compressed(t, gzip.DefaultCompression, []byte(text))
	for _, zeros := range []int{1, 8, 100_000} {
		got, err := read(bytes.NewReader(append(slices.Clone(z), make([]byte, zeros)...)))
		if err != nil || string(got) != text {
			t.Errorf("%d zeros: got %q, %v", zeros, got, err)
		}
	}
}
