package o365

import (
	"context"
	"fmt"
	"math"
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
	// The API counts the calls of a minute.
	quotaWindow = time.Minute

	// After a hold the rate is this part of what was granted in the last
	// minute. It comes back to that, and then goes beyond it, by the cube of
	// the time, as TCP CUBIC does (RFC 9438, section 4.2).
	restart = 0.97
	// Fewer calls a minute tell nothing of the quota, of which a tenant has
	// 2,000 or more: then the rate is half of what it was.
	telling = 300
	// It is there again after so many times the hold: so the price of finding
	// out whether more is allowed by now is a twentieth of the time.
	probeAfter = 20
	maxProbe   = 20 * time.Minute
	// A rate in calls per second that is always tried.
	slowest rate.Limit = 0.5
)

// A budget paces all calls of a client. The API's quota is one per tenant and
// publisher, so an answer that says "too many" to one call goes for all. It may
// be less than full, and others may use a part of it.
type budget struct {
	full    rate.Limit
	limiter *rate.Limiter
	began   time.Time // seconds are counted from here: the clock may be set back

	mu        sync.Mutex
	answered  [quotaWindow / time.Second]secondsCalls // of the last minute
	limit     rate.Limit
	hold      time.Duration // length of the last growing hold; 0 once a call was allowed after it
	heldSince time.Time
	heldUntil time.Time
	reached   rate.Limit    // what is to be reached again after the hold; 0 once that is forgotten
	probe     time.Duration // when it is to be
}

// secondsCalls is how many calls of a second were not throttled.
type secondsCalls struct {
	second int64
	calls  int
}

func newBudget(requestsPerMinute int) *budget {
	return budgetOf(rate.Limit(float64(requestsPerMinute) / quotaWindow.Seconds()))
}

// another is a budget of the same size, untouched.
func (b *budget) another() *budget { return budgetOf(b.full) }

func budgetOf(full rate.Limit) *budget {
	return &budget{full: full, limit: full, began: time.Now(), limiter: rate.NewLimiter(paced(full))}
}

// paced is how a rate is kept in every minute though one second's worth may go at once; where that is a single call, nearly.
func paced(limit rate.Limit) (sustained rate.Limit, burst int) {
	if burst = int(limit); burst <= 1 {
		return limit, 1
	}
	return limit - rate.Limit(float64(burst)/quotaWindow.Seconds()), burst
}

// pace sets the rate. b.mu is held.
func (b *budget) pace(limit rate.Limit) {
	b.limit = limit
	sustained, burst := paced(limit)
	b.limiter.SetLimit(sustained)
	b.limiter.SetBurst(burst)
}

// A BudgetError is why a call was not made: the budget allows none before the
// caller's context ends.
type BudgetError struct{ err error }

func (e *BudgetError) Error() string { return e.err.Error() }

// Unwrap returns the context's error.
func (e *BudgetError) Unwrap() error { return e.err }

// wait blocks until a call may be made; not at all if that is after ctx ends.
// Its error is a *BudgetError.
func (b *budget) wait(ctx context.Context) error {
	b.ease()
	if err := b.limiter.Wait(ctx); err != nil {
		if ctx.Err() == nil { // the limiter does not begin to wait for what comes too late
			err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
		}
		return &BudgetError{err}
	}
	for {
		left := b.held()
		if left <= 0 {
			if err := ctx.Err(); err != nil {
				return &BudgetError{err}
			}
			return nil
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < left {
			return &BudgetError{fmt.Errorf("%w: calls are held back for %s", context.DeadlineExceeded, left.Round(time.Second))}
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return &BudgetError{ctx.Err()}
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
	if b.reached == 0 || since <= 0 {
		return
	}
	x := since.Seconds() / b.probe.Seconds()
	limit := b.reached * rate.Limit(restart+(1-restart)*x*x*x)
	if limit >= b.full {
		limit, b.reached = b.full, 0
	}
	b.pace(limit)
}

// second numbers the seconds.
func (b *budget) second(at time.Time) int64 { return int64(at.Sub(b.began) / time.Second) }

// allowed counts a call that was not throttled.
func (b *budget) allowed(sent time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if sent.After(b.heldUntil) {
		b.hold = 0
	}
	second := b.second(time.Now())
	s := &b.answered[second%int64(len(b.answered))]
	if s.second != second {
		*s = secondsCalls{second: second}
	}
	s.calls++
}

// throttled holds all calls back: for retryAfter if the answer named it, else
// longer each time. Answers to calls sent before the hold began belong to the
// same incident: they lengthen it only if they name a longer time.
func (b *budget) throttled(sent time.Time, retryAfter time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	length := retryAfter
	if sent.After(b.heldSince) {
		b.heldSince = now
		b.slow(now, max(retryAfter, firstHold))
		b.hold = min(max(2*b.hold, firstHold), maxHold)
		if length == 0 {
			length = b.hold
			if room := b.room(now); room > 0 {
				length = min(length, max(room, firstHold))
			}
		}
		// Up to a quarter more, so that several clients of a tenant come back one by one.
		length += rand.N(length/4 + 1)
	}
	if until := now.Add(length); until.After(b.heldUntil) {
		b.heldUntil = until
	}
}

// room is when the oldest call of the last minute will no longer be one; 0 if there was none. b.mu is held.
func (b *budget) room(now time.Time) (in time.Duration) {
	for _, s := range b.answered {
		leaves := b.began.Add(time.Duration(s.second+1)*time.Second + quotaWindow).Sub(now)
		if s.calls > 0 && leaves > 0 && (in == 0 || leaves < in) {
			in = leaves
		}
	}
	return in
}

// slow sets the rate for the time after a hold. b.mu is held.
func (b *budget) slow(now time.Time, hold time.Duration) {
	calls := b.calls(now)
	b.reached = b.limit / 2
	if calls >= telling {
		b.reached = rate.Limit(float64(calls) / quotaWindow.Seconds())
	}
	b.reached = min(max(b.reached, slowest), b.limit)
	b.probe = min(probeAfter*hold, maxProbe)
	b.pace(restart * b.reached)
}

// A BudgetStatus says how a client's request budget is used.
type BudgetStatus struct {
	PerMinute int       // calls that the budget allows
	Allowed   int       // calls a minute that are allowed at present, fewer once the API has throttled
	Used      int       // calls of the last minute
	HeldUntil time.Time // no call before; in the past or zero: calls are not held back
}

func (b *budget) status() BudgetStatus {
	b.ease()
	b.mu.Lock()
	defer b.mu.Unlock()
	perMinute := func(limit rate.Limit) int { return int(math.Round(float64(limit) * quotaWindow.Seconds())) }
	return BudgetStatus{
		PerMinute: perMinute(b.full), Allowed: perMinute(b.limit), Used: b.calls(time.Now()), HeldUntil: b.heldUntil,
	}
}

// calls is how many of the last minute were not throttled. b.mu is held.
func (b *budget) calls(now time.Time) (calls int) {
	since := b.second(now.Add(-quotaWindow))
	for _, s := range b.answered {
		if s.second > since {
			calls += s.calls
		}
	}
	return calls
}
