package collector

import "time"

// Figures are the few that Fluent Bit's own metrics show. Those of content types are added up, but for Behind.
type Figures struct {
	Behind     time.Duration // the most
	Incomplete int64         // blobs
	Lost       int64         // blobs
	Gaps       int64

	at time.Time // of the survey
}

// Figures are those of the last survey, but that the time goes on. It waits for nothing.
func (c *Collector) Figures() Figures {
	f := c.figures.Load()
	if f == nil {
		return Figures{}
	}
	now := *f
	now.Behind += time.Since(f.at)
	return now
}

// sumUp makes the figures anew.
func (c *Collector) sumUp() {
	f := Figures{at: time.Now()}
	collected, removed := c.everyTenant()
	for i, t := range append(collected, removed...) {
		for _, s := range t.streams {
			status := s.status()
			f.Lost += status.Blobs.Lost()
			f.Gaps += status.Gaps
			if i < len(collected) {
				f.Incomplete += status.Blobs.Incomplete()
				f.Behind = max(f.Behind, status.Behind)
			}
		}
	}
	c.figures.Store(&f)
}

// behind is how far back the moment lies up to which all is through; as long as that is not known, when collecting began.
func (s *stream) behind(completeUntil time.Time) time.Duration {
	switch began := s.began.time(); {
	case !completeUntil.IsZero():
		return max(s.now().Sub(completeUntil), 0)
	case began.IsZero():
		return 0
	default:
		return time.Since(began)
	}
}
