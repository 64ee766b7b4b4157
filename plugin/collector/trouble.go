package collector

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// troubleInterval is the shortest time between two lines about one trouble; it doubles with each, up to troubleIntervalMost.
	troubleInterval     = time.Minute
	troubleIntervalMost = time.Hour
	// troubleQuiet is how long nothing may fail before a trouble is over: what fails now and then is one trouble.
	troubleQuiet = 5 * time.Minute
)

// trouble logs what fails again and again: once at first, then ever more rarely with a count, and once when it is over.
type trouble struct {
	log   *slog.Logger
	doing string

	mu       sync.Mutex // guards what follows
	since    time.Time  // of the first failure; zero: no trouble
	last     time.Time  // failure
	count    int
	interval time.Duration
	next     time.Time // for a line
	told     bool      // there was one
}

// report takes note of a failure, and says whether it is the first.
func (t *trouble) report(err error, remedy string) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first = t.noteLocked()
	now := t.last
	if now.Before(t.next) {
		return first
	}
	t.next = now.Add(t.interval)
	t.interval = min(2*t.interval, troubleIntervalMost)
	t.told = true
	text := t.doing + " failed: " + err.Error()
	if remedy != "" {
		text += "; " + remedy
	}
	if first {
		t.log.Error(text)
	} else {
		t.log.Error(text, "failures", t.count, "for", now.Sub(t.since).Round(time.Second))
	}
	return first
}

// note is report for a failure that is logged elsewhere.
func (t *trouble) note() (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.noteLocked()
}

func (t *trouble) noteLocked() (first bool) {
	t.count++
	t.last = time.Now()
	if first = t.since.IsZero(); first {
		t.since, t.interval, t.next, t.told = t.last, troubleInterval, t.last, false
	}
	return first
}

// over ends a trouble, if there was one and nothing has failed for a while.
func (t *trouble) over() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() || time.Since(t.last) < troubleQuiet {
		return
	}
	if t.told {
		t.log.Info(t.doing+" works again", "failures", t.count, "for", time.Since(t.since).Round(time.Second))
	}
	t.since, t.count = time.Time{}, 0
}

// backoff doubles the unit with every try and adds or takes a fifth, so that what failed together is not tried again together.
func backoff(unit time.Duration, tries int) time.Duration {
	d := unit << min(max(tries-1, 0), 10)
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}
