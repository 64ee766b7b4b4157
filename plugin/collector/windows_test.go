package collector

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// at is an hour of a day long ago.
func at(hour float64) time.Time {
	return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(hour * float64(time.Hour)))
}

func show(windows []window) string {
	var parts []string
	for _, w := range windows {
		again := ""
		if w.again {
			again = " again"
		}
		parts = append(parts, fmt.Sprintf("%v-%v%s", w.from.Sub(at(0)).Hours(), w.to.Sub(at(0)).Hours(), again))
	}
	return strings.Join(parts, ", ")
}

func TestSplitGivesWindowsThatTheAPITakes(t *testing.T) {
	for _, tc := range []struct {
		from, to float64
		want     string
	}{
		{0, 0, ""},
		{1, 0, ""},
		{0, 1, "0-1"},
		{0, 23, "0-23"},
		{0, 24, "0-23, 23-24"},
		{0, 168, "0-23, 23-46, 46-69, 69-92, 92-115, 115-138, 138-161, 161-168"},
	} {
		expect(t, fmt.Sprint(tc.from, " to ", tc.to), show(split(at(tc.from), at(tc.to), false)), tc.want)
	}
}

func TestMergeJoinsWhatTouchesUpToWhatTheAPITakes(t *testing.T) {
	w := func(from, to float64) window { return window{from: at(from), to: at(to)} }
	again := func(from, to float64) window { return window{from: at(from), to: at(to), again: true} }
	for _, tc := range []struct {
		name    string
		windows []window
		want    string
	}{
		{"none", nil, ""},
		{"apart", []window{w(0, 1), w(2, 3)}, "0-1, 2-3"},
		{"touching", []window{w(1, 2), w(0, 1)}, "0-2"},
		{"overlapping", []window{w(0, 2), w(1, 3)}, "0-3"},
		{"one in the other", []window{w(0, 5), w(1, 2)}, "0-5"},
		{"too long together", []window{w(0, 20), w(20, 30)}, "0-20, 20-30"},
		{"listed before or not", []window{w(0, 1), again(1, 2)}, "0-1, 1-2 again"},
		{"polls of a failing hour", []window{w(0, 1), w(0.5, 1.5), w(1, 2), w(1.5, 2.5)}, "0-2.5"},
	} {
		expect(t, tc.name, show(merge(tc.windows)), tc.want)
	}
}

func TestMergeKeepsWhatWasCutOff(t *testing.T) {
	clipped := window{from: at(0), to: at(5)}.clip(at(3))
	joined := merge([]window{clipped, {from: at(4), to: at(6)}})
	if len(joined) != 1 || !joined[0].start().Equal(at(0)) || !joined[0].from.After(at(3)) {
		t.Errorf("%+v", joined)
	}
}

func TestClip(t *testing.T) {
	w := window{from: at(0), to: at(2)}
	for _, tc := range []struct {
		edge float64
		gone bool
	}{{-1, false}, {0, false}, {1, false}, {2, true}, {3, true}} {
		c := w.clip(at(tc.edge))
		if c.gone() != tc.gone || !c.start().Equal(w.from) || c.from.Before(at(tc.edge)) {
			t.Errorf("edge at %v: %+v", tc.edge, c)
		}
	}
}
