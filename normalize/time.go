package normalize

import "time"

// The first and the last second that an event carries. Fluent Bit holds seconds as 32 bits: its decoder reads them as signed up to
// v4.2, takes 0xFFFFFFFE and 0xFFFFFFFF for group markers, and time.Time{} would come out as the year 2042
// (https://github.com/fluent/fluent-bit/blob/v5.1.1/src/flb_log_event_decoder.c). A day at either end is left out.
const (
	minEventSecond = 24 * 60 * 60      // 1970-01-02T00:00:00Z
	maxEventSecond = 2147472000 - 1    // 2038-01-18T23:59:59Z
	maxEventNanos  = 1_000_000_000 - 1 // of that second
)

// isEventTime tells whether an event can carry t.
func isEventTime(t time.Time) bool {
	return minEventSecond <= t.Unix() && t.Unix() <= maxEventSecond
}

// eventTime returns the first of the times that an event can carry; if none is, now.
func (e *Encoder) eventTime(times ...time.Time) time.Time {
	for _, t := range times {
		if isEventTime(t) {
			return t.UTC()
		}
	}
	now := e.now().UTC()
	switch {
	case now.Unix() < minEventSecond:
		return time.Unix(minEventSecond, 0).UTC()
	case now.Unix() > maxEventSecond:
		return time.Unix(maxEventSecond, maxEventNanos).UTC()
	}
	return now
}

const timeLayout = "2006-01-02T15:04:05"

// parseTime reads the forms of CreationTime: 2006-01-02T15:04:05, a blank for the T, with or without a fraction, with or without
// Z or an offset; without either it is UTC. Of any other text it returns the zero time.
func parseTime(s []byte) (t time.Time, ok bool) {
	if len(s) < len(timeLayout) || s[4] != '-' || s[7] != '-' || s[10] != 'T' && s[10] != ' ' || s[13] != ':' || s[16] != ':' {
		return t, false
	}
	ok = true
	number := func(digits []byte) (n int) {
		for _, c := range digits {
			if c < '0' || c > '9' {
				ok = false
			}
			n = 10*n + int(c-'0')
		}
		return n
	}
	year, month, day := number(s[:4]), number(s[5:7]), number(s[8:10])
	hour, minute, second := number(s[11:13]), number(s[14:16]), number(s[17:19])
	s = s[len(timeLayout):]

	nanos := 0
	if len(s) > 0 && s[0] == '.' {
		end := 1
		for scale := 100_000_000; end < len(s) && '0' <= s[end] && s[end] <= '9'; end++ {
			nanos += scale * int(s[end]-'0')
			scale /= 10
		}
		ok = ok && end > 1
		s = s[end:]
	}
	offset := 0
	switch {
	case len(s) == 0, len(s) == 1 && s[0] == 'Z':
	case len(s) == len("+00:00") && s[3] == ':' && (s[0] == '+' || s[0] == '-'):
		h, m := number(s[1:3]), number(s[4:6])
		ok = ok && h < 24 && m < 60
		offset = 60 * (60*h + m)
		if s[0] == '-' {
			offset = -offset
		}
	default:
		return t, false
	}
	if !ok || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 {
		return t, false
	}
	date := time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	sameDay := date.Day() == day // the month has as many
	date = date.Add(-time.Duration(offset) * time.Second)
	if !sameDay || date.Year() < 0 || date.Year() > 9999 {
		return t, false
	}
	return date, true
}

// day reads times of one day, which those of a content blob mostly are.
type day struct {
	date  [len("2006-01-02T")]byte
	start time.Time
}

// remember takes the day of t, which parseTime read from text.
func (d *day) remember(text []byte, t time.Time) {
	if len(text) == len(timeLayout) {
		copy(d.date[:], text)
		d.start = t.Truncate(24 * time.Hour)
	}
}

// parse is parseTime for a time of that day in the usual form; not ok for any other.
func (d *day) parse(text []byte) (t time.Time, ok bool) {
	if len(text) != len(timeLayout) || string(text[:len(d.date)]) != string(d.date[:]) || text[13] != ':' || text[16] != ':' {
		return t, false
	}
	second := 0
	for _, at := range [...]int{11, 14, 17} {
		tens, ones := text[at]-'0', text[at+1]-'0'
		value := 10*int(tens) + int(ones)
		if tens > 9 || ones > 9 || value > 59 || at == 11 && value > 23 {
			return t, false
		}
		second = 60*second + value
	}
	return d.start.Add(time.Duration(second) * time.Second), true
}
