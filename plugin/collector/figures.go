package collector

import "time"

// Figures are the few that Fluent Bit's own metrics show. Those of content types are added up, but for Behind.
type Figures struct {
	Behind     time.Duration // the most
	Incomplete int64         // blobs
	Lost       int64         // blobs
	Gaps       int64
}

// Figures are those of the last survey. It never waits for anything.
func (c *Collector) Figures() Figures {
	if f := c.figures.Load(); f != nil {
		return *f
	}
	return Figures{}
}

// sumUp makes the figures anew.
func (c *Collector) sumUp() {
	var f Figures
	collected, removed := c.everyTenant()
	for i, t := range append(collected, removed...) {
		for _, s := range t.streams {
			b := s.counts.blobs()
			f.Lost += b.Lost()
			f.Gaps += s.counts.gaps.Load()
			if i < len(collected) {
				f.Incomplete += b.Incomplete()
				f.Behind = max(f.Behind, s.behind())
			}
		}
	}
	c.figures.Store(&f)
}

// behind is how far back the moment lies up to which all is through; 0 as long as that is not known.
func (s *stream) behind() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.surveyed.completeUntil.IsZero() {
		return 0
	}
	return max(s.now().Sub(s.surveyed.completeUntil), 0)
}
