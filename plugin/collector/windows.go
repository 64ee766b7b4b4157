package collector

import (
	"cmp"
	"math"
	"slices"
	"time"

	"in_office365/o365"
)

// window is a span of contentCreated to be listed, [from, to), in whole seconds.
type window struct {
	from, to  time.Time
	again     bool      // it has been listed before: if it can't be any more, that is no gap
	clipped   time.Time // where it began before its older part became too old to be listed; zero: nothing has been cut off
	tries     int       // that failed
	notBefore time.Time
}

// start is where the window began at first.
func (w window) start() time.Time {
	if w.clipped.IsZero() {
		return w.from
	}
	return w.clipped
}

// clip cuts off what lies before the edge.
func (w window) clip(edge time.Time) window {
	if w.from.Before(edge) {
		w.clipped = w.start()
		w.from = edge.Truncate(time.Second).Add(time.Second)
	}
	return w
}

// gone says that nothing is left of the window.
func (w window) gone() bool { return !w.from.Before(w.to) }

// split cuts a span into windows that the API takes, the oldest first.
func split(from, to time.Time, again bool) (windows []window) {
	for from.Before(to) {
		end := earlier(from.Add(o365.MaxWindow), to)
		windows = append(windows, window{from: from, to: end, again: again})
		from = end
	}
	return windows
}

// merge joins windows that touch, as far as the API takes them, so that hours of failing polls leave a few windows and not hundreds.
func merge(windows []window) []window {
	return join(windows, o365.MaxWindow)
}

// union joins all windows that touch.
func union(windows []window) []window {
	return join(windows, math.MaxInt64)
}

func join(windows []window, most time.Duration) []window {
	slices.SortStableFunc(windows, func(a, b window) int {
		return cmp.Or(a.from.Compare(b.from), a.to.Compare(b.to))
	})
	joined := windows[:0]
	for _, w := range windows {
		if n := len(joined); n > 0 {
			j := &joined[n-1]
			to := later(j.to, w.to)
			if j.again == w.again && !w.from.After(j.to) && to.Sub(j.from) <= most {
				if !j.clipped.IsZero() || !w.clipped.IsZero() {
					j.clipped = earlier(j.start(), w.start())
				}
				j.to, j.tries, j.notBefore = to, max(j.tries, w.tries), later(j.notBefore, w.notBefore)
				continue
			}
		}
		joined = append(joined, w)
	}
	return joined
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
