package o365

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// clockSamples is how many answers the clock looks back. Their median
	// follows a step of either clock after half as many answers and ignores
	// the odd server that is wrong.
	clockSamples = 9
	// maxClockDelay is the longest round trip that still tells the time.
	maxClockDelay = 10 * time.Second
)

// serverClock estimates the server's time from Date headers.
type serverClock struct {
	mu      sync.Mutex
	offsets [clockSamples]time.Duration // server minus local, a ring
	seen    int
}

func (c *serverClock) observe(h http.Header, sent, received time.Time) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || h.Get("Age") != "" { // Age: the answer of a cache, with an old Date
		return
	}
	delay := received.Sub(sent)
	c.mu.Lock()
	defer c.mu.Unlock()
	if delay > maxClockDelay && c.seen > 0 {
		return
	}
	// Date is cut to the second: half a second later is the best guess. Round(0)
	// compares wall clocks.
	middle := sent.Add(delay / 2).Round(0)
	c.offsets[c.seen%clockSamples] = date.Add(time.Second / 2).Sub(middle)
	c.seen++
}

func (c *serverClock) known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen > 0
}

func (c *serverClock) now() time.Time {
	c.mu.Lock()
	known := slices.Sorted(slices.Values(c.offsets[:min(c.seen, clockSamples)]))
	c.mu.Unlock()
	if len(known) == 0 {
		return time.Now()
	}
	return time.Now().Add(known[len(known)/2])
}
