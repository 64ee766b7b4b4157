package collector

import (
	"context"
	"slices"
	"sync"
)

// turns lets so many calls run at once and no more, and divides them among the content types of all tenants.
//
// With one tenant one turn is kept for each content type, so that a type whose calls hang leaves the others theirs; the rest is for
// whoever needs them. With fewer turns than types all are shared.
//
// With several tenants a turn goes to the tenant that has the fewest, in it to the type that has the fewest, and of those that are alike
// to the one that waits longest. That alone would let tenants whose calls hang gather all of them while nobody else waits: so one
// tenant leaves a quarter to the others, and all types whose last call failed leave half to those that fare better.
type turns struct {
	most int

	mu       sync.Mutex
	out      int
	doubtful int // of out, those of types whose last call failed
	tenants  int
	waiting  []waiter // in the order they came
}

type waiter struct {
	place   *place
	granted chan struct{}
}

// share is what one tenant has of the turns; turns.mu guards it and its places.
type share struct {
	turns *turns
	types int
	busy  int // types that have a turn
	out   int
}

// place is where one content type waits.
type place struct {
	share    *share
	out      int
	doubtful bool // its last call failed
}

func newTurns(most int) *turns { return &turns{most: most} }

// join counts a tenant in, leave out: it takes part from the one to the other.
func (s *share) join() {
	s.turns.mu.Lock()
	defer s.turns.mu.Unlock()
	s.turns.tenants++
}

func (s *share) leave() {
	s.turns.mu.Lock()
	defer s.turns.mu.Unlock()
	s.turns.tenants--
	s.turns.deal()
}

// take waits for a turn, which giveBack ends.
func (p *place) take(ctx context.Context) error {
	t := p.share.turns
	w := waiter{place: p, granted: make(chan struct{})}
	t.mu.Lock()
	t.waiting = append(t.waiting, w)
	t.deal()
	t.mu.Unlock()
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, w); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	} else { // it was granted at the same moment
		p.giveBackLocked()
	}
	return ctx.Err()
}

func (p *place) giveBack() {
	p.share.turns.mu.Lock()
	defer p.share.turns.mu.Unlock()
	p.giveBackLocked()
}

func (p *place) giveBackLocked() {
	t := p.share.turns
	t.out--
	p.share.out--
	if p.out--; p.out == 0 {
		p.share.busy--
	}
	if p.doubtful {
		t.doubtful--
	}
	t.deal()
}

// fared takes note of how a call went.
func (p *place) fared(well bool) {
	t := p.share.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.doubtful == !well {
		return
	}
	if p.doubtful = !well; p.doubtful {
		t.doubtful += p.out
	} else {
		t.doubtful -= p.out
	}
	t.deal()
}

// deal grants what turns are free. t.mu is held.
func (t *turns) deal() {
	for t.out < t.most {
		next := -1
		for i, w := range t.waiting {
			if t.allows(w.place) && (next < 0 || w.place.before(t.waiting[next].place)) {
				next = i
				if w.place.share.out == 0 { // none can come before it
					break
				}
			}
		}
		if next < 0 {
			return
		}
		w := t.waiting[next]
		t.waiting = slices.Delete(t.waiting, next, next+1)
		p := w.place
		t.out++
		p.share.out++
		if p.out++; p.out == 1 {
			p.share.busy++
		}
		if p.doubtful {
			t.doubtful++
		}
		close(w.granted)
	}
}

func (p *place) before(q *place) bool {
	if p.share.out != q.share.out {
		return p.share.out < q.share.out
	}
	return p.out < q.out
}

// allows says whether the place may have one of the turns that are free. t.mu is held.
func (t *turns) allows(p *place) bool {
	if t.tenants <= 1 {
		idle := p.share.types - p.share.busy
		return t.most < p.share.types || p.out == 0 || t.most-t.out > idle
	}
	quarter, half := max(t.most/4, 1), max(t.most/2, 1)
	return p.share.out < max(t.most-quarter, 1) && (!p.doubtful || t.doubtful < half)
}
