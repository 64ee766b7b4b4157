package normalize

import (
	"math"
	"strconv"
)

type numberForm uint8

const (
	numberText   numberForm = iota // beyond uint64 or float64: its text is its value
	numberInt                      // int64
	numberUint                     // uint64 beyond int64
	numberDouble                   // float64
)

type number struct {
	form   numberForm
	int    int64
	uint   uint64
	double float64
}

const (
	maxIntegerText = 20 // the length of the longest int64 or uint64 in decimal
	maxExponent    = 400
)

// numberOf returns the value of a number.
func (t *tape) numberOf(i uint32) number {
	return parseNumber(t.text(i), t.nodes[i].kind != kindNumber)
}

// parseNumber reads the text of a JSON number.
func parseNumber(text []byte, integer bool) number {
	if !integer {
		if f, err := strconv.ParseFloat(string(text), 64); err == nil {
			return number{form: numberDouble, double: f}
		}
		return number{}
	}
	if len(text) <= maxShortInteger {
		return number{form: numberInt, int: shortInteger(text)}
	}
	if len(text) > maxIntegerText {
		return number{}
	}
	if text[0] == '-' {
		if v, err := strconv.ParseInt(string(text), 10, 64); err == nil {
			return number{form: numberInt, int: v}
		}
		return number{}
	}
	v, err := strconv.ParseUint(string(text), 10, 64)
	switch {
	case err != nil:
		return number{}
	case v > math.MaxInt64:
		return number{form: numberUint, uint: v}
	}
	return number{form: numberInt, int: int64(v)}
}

// maxShortInteger is the length of the longest text of an integer that fits an int64 whatever its digits are.
const maxShortInteger = 18

// shortInteger reads the text of a JSON integer of at most maxShortInteger bytes, as nearly all are.
func shortInteger(text []byte) (v int64) {
	digits := text
	if text[0] == '-' {
		digits = text[1:]
	}
	for _, c := range digits {
		v = 10*v + int64(c-'0')
	}
	if len(digits) < len(text) {
		v = -v
	}
	return v
}

// wholeNumber reads the text of a JSON number with a fraction or an exponent as an integer, if it is one to the last digit.
func wholeNumber(text []byte) (v int64, ok bool) {
	var buf [maxIntegerText]byte
	digits := buf[:0]
	negative := text[0] == '-'
	if negative {
		text = text[1:]
	}
	exponent, point := 0, -1
	for i, c := range text {
		if c|0x20 == 'e' {
			e, err := strconv.Atoi(string(text[i+1:]))
			if len(digits) > 0 && (err != nil || e < -maxExponent || e > maxExponent) {
				return 0, false
			}
			exponent = e
			break
		}
		if c == '.' {
			point = 0
			continue
		}
		if point >= 0 {
			point++
		}
		if c == '0' && len(digits) == 0 {
			continue
		}
		if len(digits) == cap(digits) {
			if c != '0' {
				return 0, false
			}
			exponent++
			continue
		}
		digits = append(digits, c)
	}
	if point > 0 {
		exponent -= point
	}
	for ; exponent < 0; exponent++ {
		if len(digits) > 0 {
			if digits[len(digits)-1] != '0' {
				return 0, false
			}
			digits = digits[:len(digits)-1]
		}
	}
	if len(digits) == 0 {
		return 0, !negative // an integer has no minus zero
	}
	for ; exponent > 0; exponent-- {
		if len(digits) == cap(digits) {
			return 0, false
		}
		digits = append(digits, '0')
	}
	u, err := strconv.ParseUint(string(digits), 10, 64)
	switch {
	case err != nil:
		return 0, false
	case negative:
		return -int64(u), u <= -math.MinInt64
	}
	return int64(u), u <= math.MaxInt64
}

// integerText reads a text that is exactly how an int64 is written in decimal.
func integerText(text []byte) (int64, bool) {
	if len(text) == 0 || len(text) > maxIntegerText {
		return 0, false
	}
	if end, integer, ok := skipNumber(text, 0); !ok || !integer || end < len(text) || string(text) == "-0" {
		return 0, false
	}
	num := parseNumber(text, true)
	return num.int, num.form == numberInt
}

// stringOf returns the decoded value of a string node.
func (t *tape) stringOf(i uint32) []byte {
	if t.nodes[i].flags&(flagDirty|flagRedacted) == 0 {
		return t.text(i)
	}
	return t.appendString(nil, i)
}

// integer returns the value of an integer, of a number that is whole, or of a text that is an integer; not ok if something of
// the value would be lost.
func (t *tape) integer(i uint32) (v int64, ok bool) {
	switch t.nodes[i].kind {
	case kindString:
		return integerText(t.stringOf(i))
	case kindShort:
		return shortInteger(t.text(i)), true
	case kindInteger:
		num := t.numberOf(i)
		return num.int, num.form == numberInt
	case kindNumber:
		return wholeNumber(t.text(i))
	}
	return 0, false
}

// boolean returns the value of a boolean or of a text that is one.
func (t *tape) boolean(i uint32) (v, ok bool) {
	switch kind := t.nodes[i].kind; kind {
	case kindTrue, kindFalse:
		return kind == kindTrue, true
	case kindString:
		switch string(t.stringOf(i)) {
		case "true", "True":
			return true, true
		case "false", "False":
			return false, true
		}
	}
	return false, false
}
