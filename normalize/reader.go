package normalize

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// DefaultMaxRecord is the most bytes of a record that a Reader hands out when it is told no other limit.
const DefaultMaxRecord = 8 << 20

// What Reader.Next returns besides io.EOF and errors of the underlying reader.
var (
	// ErrTruncated: the body ended before its array or object did.
	ErrTruncated = fmt.Errorf("the content blob ends before its last record does: %w", io.ErrUnexpectedEOF)
	// ErrNotJSON: the body begins with neither [ nor {, as an HTML page does.
	ErrNotJSON = errors.New("the content blob is not JSON: it begins with neither [ nor {")
)

const (
	readWindow = 64 << 10 // what is read ahead; the window grows from here to the largest record
	// maxOpen bounds the brackets open at one time, and so the memory for them, also in a record that is only skipped.
	maxOpen = 1 << 20
	// maxEmptyReads is how often a read may give nothing, as in bufio.
	maxEmptyReads = 100
)

// Record is one element of a content blob.
type Record struct {
	Bytes   []byte // valid until the next call; with a Problem at most MaxRawBytes
	Problem string // not empty: it is no readable record, and why
	Size    int64  // bytes it had, also of what is not in Bytes
}

// Reader splits a content blob, a JSON array of records or a single one, as it streams in. It finds where a record ends: by parsing
// it for its Encoder, which then need not, or, where that fails, by its brackets and strings alone. Whether a record is valid is for
// the Encoder to say. A Reader holds no more than the largest record it hands out and a window.
//
// After a record that is broken such that its end is not certain, everything that remains is one Record with a Problem.
type Reader struct {
	encoder   *Encoder // nil: nothing is parsed
	src       io.Reader
	maxRecord int64
	buf       []byte
	start     int // where the open element begins in buf, or what is left of it
	at        int // where reading stands
	end       int // behind what was read
	stage     stage
	elements  bool  // the array had an element already
	srcErr    error // what the source ended with
	err       error // what Next ended with

	dropped int64  // bytes of the open element that are no longer in buf
	kept    []byte // the first of them
	open    []bool // the open brackets; true is an object
}

// stage is where a Reader stands in the blob.
type stage uint8

const (
	stageBegin   stage = iota
	stageOpen          // behind a byte order mark
	stageElement       // an element, or the end of the array, is next
	stageComma         // a comma, or the end of the array, is next
	stageEnd           // nothing but white space is next
)

// NewReader returns a Reader of one content blob. Records over maxRecord bytes (0: DefaultMaxRecord) are skipped and handed out
// with a Problem.
func NewReader(r io.Reader, maxRecord int) *Reader {
	if maxRecord <= 0 {
		maxRecord = DefaultMaxRecord
	}
	maxRecord = min(maxRecord, math.MaxInt32) // an Encoder takes no more
	return &Reader{src: r, maxRecord: int64(maxRecord), buf: make([]byte, readWindow)}
}

// Reset begins another content blob and keeps the memory.
func (r *Reader) Reset(src io.Reader) {
	*r = Reader{encoder: r.encoder, src: src, maxRecord: r.maxRecord, buf: r.buf, kept: r.kept[:0], open: r.open[:0]}
}

// Rest returns what was read of the open record when Next failed, at most MaxRawBytes. It is valid until Reset.
func (r *Reader) Rest() []byte {
	if r.err == nil || r.err == io.EOF || errors.Is(r.err, ErrNotJSON) {
		return nil
	}
	r.drop(r.end)
	return r.kept
}

// Next returns the next record. Behind the last one it returns io.EOF; otherwise ErrTruncated, ErrNotJSON, or the error of the
// source, wrapped. Every error is final.
func (r *Reader) Next() (Record, error) {
	if r.err != nil {
		return Record{}, r.err
	}
	if r.encoder != nil && len(r.encoder.nodes) > 0 {
		r.encoder.release() // the record before was not appended
	}
	record, err := r.next()
	if err != nil {
		r.err = err
	}
	return record, err
}

func (r *Reader) next() (Record, error) {
	r.start, r.dropped, r.kept = r.at, 0, r.kept[:0]
	for {
		c, err := r.peek()
		if err != nil {
			if r.stage == stageEnd && errors.Is(err, io.EOF) {
				return Record{}, io.EOF
			}
			return Record{}, bodyError(err)
		}
		switch r.stage {
		case stageBegin, stageOpen:
			switch {
			case c == byteOrderMark[0] && r.stage == stageBegin:
				if err := r.skipByteOrderMark(); err != nil {
					return Record{}, err
				}
				r.stage = stageOpen
			case c == '[':
				r.at++
				r.stage = stageElement
			case c == '{':
				return r.element(stageEnd)
			default:
				return Record{}, ErrNotJSON
			}
		case stageElement:
			switch {
			case c == ']' && !r.elements:
				r.at++
				r.stage = stageEnd
			case c == ']', c == ',':
				return r.missing(c)
			case c == '}' || c == ':':
				return r.remainder("the content blob is broken where a record should begin")
			default:
				r.elements = true
				return r.element(stageComma)
			}
		case stageComma:
			switch c {
			case ',':
				r.at++
				r.stage = stageElement
			case ']':
				r.at++
				r.stage = stageEnd
			default:
				return r.remainder("the content blob is broken behind a record")
			}
		case stageEnd:
			return r.remainder("there is data behind the end of the content blob")
		}
		r.start = r.at
	}
}

// missing passes over commas with nothing between them and hands out one Problem for all of them.
func (r *Reader) missing(c byte) (Record, error) {
	for err := error(nil); c == ','; {
		r.at++
		if c, err = r.peek(); err != nil {
			return Record{}, bodyError(err)
		}
	}
	r.elements = true
	if c == ']' {
		r.at++
		r.stage = stageEnd
	}
	return Record{Problem: "there is nothing between two commas of the content blob, or beside one"}, nil
}

// bodyError gives a body that ends early its name.
func bodyError(err error) error {
	if errors.Is(err, io.EOF) {
		return ErrTruncated
	}
	return fmt.Errorf("reading a content blob: %w", err)
}

const byteOrderMark = "\xEF\xBB\xBF"

// skipByteOrderMark skips what RFC 8259 section 8.1 lets a reader ignore.
func (r *Reader) skipByteOrderMark() error {
	for _, want := range []byte(byteOrderMark) {
		if err := r.need(); err != nil {
			return bodyError(err)
		}
		if r.buf[r.at] != want {
			return ErrNotJSON
		}
		r.at++
	}
	return nil
}

// peek skips white space and returns the byte behind it.
func (r *Reader) peek() (byte, error) {
	for {
		for ; r.at < r.end; r.at++ {
			if !isSpace(r.buf[r.at]) {
				r.start = r.at
				return r.buf[r.at], nil
			}
		}
		r.start = r.at
		if err := r.need(); err != nil {
			return 0, err
		}
	}
}

// need makes sure that there is a byte at r.at. It may move the open element within the buffer.
func (r *Reader) need() error {
	for empty := 0; r.at == r.end; empty++ {
		if r.srcErr != nil {
			return r.srcErr
		}
		if empty == maxEmptyReads {
			return io.ErrNoProgress
		}
		if int64(r.at-r.start)+r.dropped > r.maxRecord {
			r.drop(r.at) // it will not be handed out: let go of it as it passes
		}
		if r.end == len(r.buf) {
			r.makeRoom()
		}
		r.read()
	}
	return nil
}

func (r *Reader) read() (n int) {
	n, r.srcErr = r.src.Read(r.buf[r.end:])
	r.end += n
	return n
}

// makeRoom moves the open element to the beginning of the buffer, or doubles the buffer if it is there already.
func (r *Reader) makeRoom() {
	to := r.buf
	if r.end-r.start > len(r.buf)/2 {
		to = make([]byte, 2*len(r.buf))
	}
	n := copy(to, r.buf[r.start:r.end])
	r.buf = to
	r.start, r.at, r.end = 0, r.at-r.start, n
}

// drop lets go of the open element up to index to and keeps its beginning.
func (r *Reader) drop(to int) {
	part := r.buf[r.start:to]
	r.dropped += int64(len(part))
	r.kept = append(r.kept, part[:min(len(part), MaxRawBytes-len(r.kept))]...)
	r.start = to
}

// element reads the element that begins at r.at; behind it the reader is at the given stage.
func (r *Reader) element(behind stage) (Record, error) {
	if r.encoder != nil && r.buf[r.at] == '{' && r.parseElement() {
		r.stage = behind
		return Record{Bytes: r.buf[r.start:r.at], Size: int64(r.at - r.start)}, nil
	}
	certain, err := r.skipElement()
	if err != nil {
		return Record{}, bodyError(err)
	}
	if !certain {
		return r.remainder("a record is broken such that its end is not certain")
	}
	r.stage = behind
	if size := int64(r.at-r.start) + r.dropped; size > r.maxRecord {
		r.drop(r.at)
		return r.problem("the record is larger than max_record_size, " + strconv.FormatInt(r.maxRecord, 10) + " bytes"), nil
	}
	return Record{Bytes: r.buf[r.start:r.at], Size: int64(r.at - r.start)}, nil
}

// parseElement moves r.at behind the element that begins there, if that is a valid record which parses at once. It reads on when it
// seems to be cut off, and does nothing else when it fails.
func (r *Reader) parseElement() (parsed bool) {
	// Whoever appends the record meets the panic again, and knows what it costs.
	defer func() {
		if recover() != nil {
			r.encoder.begin()
			parsed = false
		}
	}()
	for {
		text := r.buf[r.at:r.end]
		tooLong := int64(len(text)) > r.maxRecord
		if tooLong {
			text = text[:r.maxRecord+1]
		}
		end, ok := r.encoder.readRecord(text)
		if ok {
			if int64(end) > r.maxRecord || len(r.encoder.nodes) > maxOpen {
				return false
			}
			r.at += end
			return true
		}
		const longestToken = len(`\u0000`) // of those that are refused where they begin
		if len(text)-end >= longestToken || tooLong || !r.fill() {
			return false
		}
	}
}

// fill reads on until the buffer is full, or the source ends; it has at least as much room as the open element is long. So a record that
// is cut off waits for more than its own end, but is parsed again no more often than the buffer doubles. It tells whether anything came.
func (r *Reader) fill() bool {
	if r.srcErr != nil {
		return false
	}
	r.makeRoom()
	before := r.end
	for empty := 0; r.end < len(r.buf) && r.srcErr == nil && empty < maxEmptyReads; empty++ {
		if r.read() > 0 {
			empty = 0
		}
	}
	return r.end > before
}

// remainder drains the source and hands out what there was, from the open element on, as one record that cannot be read.
func (r *Reader) remainder(problem string) (Record, error) {
	for {
		r.at = r.end
		r.drop(r.at)
		if err := r.need(); err != nil {
			if !errors.Is(err, io.EOF) {
				return Record{}, bodyError(err)
			}
			r.stage = stageEnd
			return r.problem(problem + "; nothing behind it is read"), nil
		}
	}
}

// problem is the record for what was dropped.
func (r *Reader) problem(problem string) Record {
	record := Record{Bytes: r.kept, Problem: problem, Size: r.dropped}
	if record.Size > int64(len(record.Bytes)) {
		record.Bytes = trimPartial(record.Bytes)
		record.Problem += "; the first " + strconv.Itoa(len(record.Bytes)) + " of " + strconv.FormatInt(record.Size, 10) + " bytes are kept"
	}
	return record
}

// trimPartial cuts a character off of which only the beginning is there.
func trimPartial(b []byte) []byte {
	for i := len(b) - 1; i >= 0 && i > len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}

// expecting is what may come next within an element.
type expecting uint8

const (
	expectValue expecting = iota
	expectName
	expectColon
	expectComma // or the end
)

// skipElement moves r.at behind the element that begins there and tells whether that is its end for certain: brackets match,
// strings stand where strings may stand and hold no control bytes, and no two tokens meet without a comma or colon between them.
// A missing or doubled quote turns strings and what is between them inside out, which breaks one of these rules at the next quote.
// A wrong number or literal, an unknown escape, a missing value or a comma too many does not make the end uncertain.
func (r *Reader) skipElement() (certain bool, err error) {
	r.open = r.open[:0]
	inObject := false
	expect := expectValue
	buf, i := r.buf[:r.end], r.at // what is read ahead, and where reading stands in it
	for {
		if i == len(buf) {
			r.at = i
			if err := r.need(); err != nil {
				return false, err
			}
			buf, i = r.buf[:r.end], r.at
		}
		switch c := buf[i]; c {
		case '"':
			if expect == expectComma || expect == expectColon {
				return false, nil
			}
			if end := stringEnd(buf, i); end > 0 {
				i = end
			} else {
				r.at = i
				if ok, err := r.skipString(); !ok {
					return false, err
				}
				buf, i = r.buf[:r.end], r.at
			}
			if expect != expectName {
				expect = expectComma
				break
			}
			expect = expectColon
			if i < len(buf) && buf[i] == ':' { // as nearly always
				i++
				expect = expectValue
			}
			continue
		case ',':
			if expect == expectColon || len(r.open) == 0 {
				return false, nil
			}
			expect = expectValue
			if inObject {
				expect = expectName
			}
			i++
			continue
		case ':':
			if expect != expectColon {
				return false, nil
			}
			expect = expectValue
			i++
			continue
		case '{', '[':
			if expect != expectValue || len(r.open) == maxOpen {
				return false, nil
			}
			inObject = c == '{'
			r.open = append(r.open, inObject)
			if inObject {
				expect = expectName
			}
			i++
			continue
		case '}', ']':
			if expect == expectColon || len(r.open) == 0 || inObject != (c == '}') {
				return false, nil
			}
			r.open = r.open[:len(r.open)-1]
			inObject = len(r.open) > 0 && r.open[len(r.open)-1]
			expect = expectComma
			i++
		case ' ', '\n', '\r', '\t':
			i++
			continue
		default:
			if expect != expectValue || !isAtom(c) {
				return false, nil
			}
			r.at = i
			if err := r.skipAtom(); err != nil {
				return false, err
			}
			buf, i = r.buf[:r.end], r.at
			expect = expectComma
		}
		if len(r.open) == 0 {
			r.at = i
			return true, nil
		}
	}
}

// stringEnd returns the index behind the string whose opening quote is at b[i]; 0 if it is broken, or does not end well within b.
func stringEnd(b []byte, i int) int {
	for rest := b[i+1:]; len(rest) >= 8; {
		stop := stops(binary.LittleEndian.Uint64(rest))
		if stop == 0 {
			rest = rest[8:]
			continue
		}
		n := bits.TrailingZeros64(stop) / 8
		if rest[n] == '"' {
			return len(b) - len(rest) + n + 1
		}
		if rest[n] != '\\' || n+1 == len(rest) || rest[n+1] < ' ' {
			return 0
		}
		rest = rest[n+2:]
	}
	return 0
}

// skipString moves r.at behind the string whose opening quote is there; not ok without an error if a control byte is in it.
func (r *Reader) skipString() (ok bool, err error) {
	r.at++
	for {
		r.at, _ = plainRun(r.buf[:r.end], r.at)
		if r.at == r.end {
			if err := r.need(); err != nil {
				return false, err
			}
			continue
		}
		switch r.buf[r.at] {
		case '"':
			r.at++
			return true, nil
		case '\\':
			r.at++
			if err := r.need(); err != nil {
				return false, err
			}
			if r.buf[r.at] < ' ' {
				return false, nil
			}
			r.at++
		default:
			return false, nil
		}
	}
}

// skipAtom moves r.at behind a run of bytes of numbers and literals.
func (r *Reader) skipAtom() error {
	for {
		for ; r.at < r.end; r.at++ {
			if !isAtom(r.buf[r.at]) {
				return nil
			}
		}
		if err := r.need(); err != nil {
			return err
		}
	}
}

// isAtom tells whether a byte may be one of a number or literal, right or wrong: text whose quote is missing is not one.
func isAtom(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '+' || c == '-' || c == '.'
}
