package monitor

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// span is a length of time in two units at most: "12 s", "2 min", "3 h 5 min", "4 d 2 h".
func span(d time.Duration) string {
	const day = 24 * time.Hour
	two := func(n time.Duration, unit string, rest time.Duration, small string) string {
		if rest == 0 {
			return fmt.Sprintf("%d %s", n, unit)
		}
		return fmt.Sprintf("%d %s %d %s", n, unit, rest, small)
	}
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < day:
		return two(d/time.Hour, "h", d%time.Hour/time.Minute, "min")
	default:
		return two(d/day, "d", d%day/time.Hour, "h")
	}
}

// clock is a moment in UTC as one reads it now: with its date unless that is today's.
func clock(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.Truncate(24 * time.Hour).Equal(now.Truncate(24 * time.Hour)) {
		return t.Format("15:04:05 UTC")
	}
	return t.Format("2006-01-02 15:04 UTC")
}

// number writes thousands apart: "12,345".
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// count is a number of things: "1 blob", "2 blobs".
func count(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return number(n) + " " + thing
}

// size is a number of bytes: "12.3 MB".
func size(n int64) string {
	f, unit := float64(n), 0
	units := [...]string{"B", "kB", "MB", "GB", "TB"}
	for f >= 1000 && unit < len(units)-1 {
		f /= 1000
		unit++
	}
	text := strconv.FormatFloat(f, 'f', 1, 64)
	return strings.TrimSuffix(text, ".0") + " " + units[unit]
}

// amounts says how much was lost: "2 blobs, 1 gap"; empty: nothing was.
func amounts(blobs, gaps int64) string {
	var parts []string
	if blobs > 0 {
		parts = append(parts, count(blobs, "blob"))
	}
	if gaps > 0 {
		parts = append(parts, count(gaps, "gap"))
	}
	return strings.Join(parts, ", ")
}

func cut(s string) string {
	if len(s) > maxNote {
		return strings.ToValidUTF8(s[:maxNote], "") + " …"
	}
	return s
}

// sentence gives a text its capital letter and its stop.
func sentence(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	return strings.TrimSuffix(string(unicode.ToUpper(first))+s[n:], ".") + "."
}
