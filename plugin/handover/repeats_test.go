package handover

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestRepeatsAreRememberedForTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRepeats(time.Hour, 3)
		a := r.id([]byte("a"))
		r.add(a, time.Now())
		time.Sleep(time.Hour)
		expect(t, "within the window", r.seen(a, time.Now()), true)
		time.Sleep(time.Second)
		expect(t, "after the window", r.seen(a, time.Now()), false)
		for _, id := range []string{"b", "c", "d", "e", "f", "g", "h"} {
			r.add(r.id([]byte(id)), time.Now())
		}
		expect(t, "the latest", r.seen(r.id([]byte("h")), time.Now()), true)
		expect(t, "beyond the bound", r.seen(r.id([]byte("b")), time.Now()), false)
		expect(t, "no Id", r.seen(r.id(nil), time.Now()), false)
		if n := r.younger.taken + r.older.taken; n > 6 {
			t.Errorf("%d Ids remembered", n)
		}
	})
}

// TestRepeatsForgetNothingTooEarly puts as many Ids as fit, through all growth of the tables, and then as many again.
func TestRepeatsForgetNothingTooEarly(t *testing.T) {
	const most = 5000
	r := newRepeats(time.Hour, most)
	now := time.Now()
	id := func(i int) ID { return r.id(fmt.Append(nil, i)) }
	for i := range 4 * most {
		if r.seen(id(i), now) {
			t.Fatalf("%d is seen before it was put", i)
		}
		r.add(id(i), now)
		for _, before := range []int{i, i - most/2, i - most + 1} {
			if before >= 0 && !r.seen(id(before), now) {
				t.Fatalf("%d is forgotten after %d more", before, i-before)
			}
		}
	}
	if r.seen(id(most), now) {
		t.Error("more is remembered than two generations")
	}
}

func TestRepeatsCanBeOff(t *testing.T) {
	r := newRepeats(0, 3)
	r.add(r.id([]byte("a")), time.Now())
	expect(t, "seen", r.seen(r.id([]byte("a")), time.Now()), false)
}
