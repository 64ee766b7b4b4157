package o365

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// After a throttled answer without Retry-After all calls are held back for
	// firstHold, twice as long each time it happens again, maxHold at most.
	firstHold = 2 * time.Second
	maxHold   = 5 * time.Minute
	// After a hold the rate is half of what it was, but slowest of full at
	// least, and grows back to full within recovery.
	slowest  = 1.0 / 16
	recovery = 2 * time.Minute
)

// A budget paces all calls of a client. The API's quota is one per tenant and
// publisher, so an answer that says "too many" to one call goes for all.
type budget struct {
	full    rate.Limit
	limiter *rate.Limiter

	mu        sync.Mutex
	hold      time.Duration // length of the last growing hold; 0 once recovered
	heldSince time.Time
	heldUntil time.Time
	slowed    rate.Limit // the rate right after the hold
}

func newBudget(requestsPerMinute int) *budget {
	full := rate.Limit(float64(requestsPerMinute) / 60)
	return &budget{full: full, limiter: rate.NewLimiter(full, max(1, requestsPerMinute/60))}
}

// wait blocks until a call may be made.
func (b *budget) wait(ctx context.Context) error {
	b.ease()
	if err := b.limiter.Wait(ctx); err != nil {
		return err
	}
	for {
		left := b.held()
		if left <= 0 {
			return ctx.Err()
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

func (b *budget) held() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Until(b.heldUntil)
}

// ease brings the rate back as time goes by without another throttled answer.
func (b *budget) ease() {
	b.mu.Lock()
	defer b.mu.Unlock()
	since := time.Since(b.heldUntil)
	if b.slowed == 0 || since <= 0 {
		return
	}
	limit := b.slowed + b.full*rate.Limit(since.Seconds()/recovery.Seconds())
	if limit >= b.full {
		limit, b.slowed, b.hold = b.full, 0, 0
	}
	b.limiter.SetLimit(limit)
}

// throttled holds all calls back: for retryAfter if the answer named it, else
// longer each time. Answers to calls sent before the hold began belong to the
// same incident and do not lengthen it further.
func (b *budget) throttled(sent time.Time, retryAfter time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	length := retryAfter
	if sent.After(b.heldSince) {
		b.heldSince = now
		b.slowed = max(b.limiter.Limit()/2, b.full*slowest)
		b.limiter.SetLimit(b.slowed)
		b.hold = min(max(2*b.hold, firstHold), maxHold)
		if length == 0 {
			length = b.hold
		}
	}
	if length == 0 {
		return
	}
	// Up to a quarter more, so that several clients of a tenant come back one by one.
	until := now.Add(length + rand.N(length/4+1))
	if until.After(b.heldUntil) {
		b.heldUntil = until
	}
}
