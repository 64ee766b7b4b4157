package collector

import (
	"strings"
	"testing"
	"time"
)

// A local time keeps the monotonic clock's: by the other, once that is set back, a listing that has stopped would look recent. A bubble has
// none to set.
func TestMomentKeepsTheMonotonicClock(t *testing.T) {
	t.Parallel()
	var m moment
	if !m.time().IsZero() {
		t.Errorf("none is %v", m.time())
	}
	for name, set := range map[string]func(time.Time){"set": m.set, "raise": m.raise} {
		set(time.Now())
		if at := m.time(); !strings.Contains(at.String(), " m=") {
			t.Errorf("%s: %v", name, at)
		}
	}
	latest := time.Now().Add(time.Hour)
	m.raise(latest)
	m.raise(time.Now())
	if !m.time().Equal(latest) {
		t.Errorf("raised to %v: %v", latest, m.time())
	}
}
