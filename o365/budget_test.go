package o365_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"in_office365/o365"
)

// calls makes n calls of a client, from as many goroutines, and returns how
// long they took. Failures are left to the server's handler to want.
func calls(t *testing.T, c *o365.Client, n int) time.Duration {
	begin := time.Now()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { _, _ = c.Subscriptions(t.Context()) })
	}
	wg.Wait()
	return time.Since(begin)
}

func ok(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "[]") }

func between(t *testing.T, what string, got, least, most time.Duration) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s took %v, want %v to %v", what, got, least, most)
	}
}

func TestBudgetIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, ok, func(o *o365.Options) { o.RequestsPerMinute = 600 })
		// One second's worth may go at once, and in a minute no more than all.
		between(t, "the first second's worth", calls(t, c, 10), 0, 0)
		between(t, "the rest of a minute's worth", calls(t, c, 590), time.Minute-time.Second, time.Minute)
	})
}

func TestThrottledAnswerHoldsAllCallsBack(t *testing.T) {
	for _, tc := range []struct {
		name       string
		status     int
		code       string
		retryAfter string
		hold       time.Duration // up to a quarter more is jitter
	}{
		{"status 429", 429, "", "", 2 * time.Second},
		{"AF429 as 403", 403, "AF429", "", 2 * time.Second},
		{"code 429 as 403", 403, "429", "", 2 * time.Second},
		{"Retry-After in seconds", 429, "AF429", "40", 40 * time.Second},
		{"Retry-After as a date", 429, "AF429", "Sat, 01 Jan 2000 00:01:00 GMT", time.Minute}, // a bubble's time begins with 2000
		{"Retry-After out of proportion", 429, "AF429", "86400", 15 * time.Minute},
		{"Retry-After in the past", 429, "AF429", "Fri, 31 Dec 1999 00:00:00 GMT", 2 * time.Second},
		{"anything else does not", 503, "", "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				throttle := true
				c := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
					if !throttle {
						ok(w, r)
						return
					}
					if tc.retryAfter != "" {
						w.Header().Set("Retry-After", tc.retryAfter)
					}
					fail(w, tc.status, tc.code, "Too many requests.")
				})
				_, err := c.Subscriptions(t.Context())
				if e := typed(t, err); (e.Action == o365.Throttle) != (tc.hold > 0) {
					t.Errorf("got %v: %v", e.Action, e)
				}
				throttle = false
				between(t, "the next calls", calls(t, c, 5), tc.hold, tc.hold*5/4)
				between(t, "calls after the hold", calls(t, c, 5), 0, 0)
			})
		})
	}
}

// A start that comes too early says nothing about the other calls.
func TestCoolDownOfStartHoldsNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				fail(w, 403, "429", "Please retry again after 14m 56s")
				return
			}
			ok(w, r)
		})
		if e := typed(t, c.StartSubscription(t.Context(), o365.DLPAll)); e.Action != o365.Throttle {
			t.Errorf("got %v", e)
		}
		between(t, "a call after it", calls(t, c, 1), 0, 0)
	})
}

func TestHoldsGrowAndEase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := true
		c := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
			if throttle {
				fail(w, 429, "AF429", "Too many requests.")
				return
			}
			ok(w, r)
		}, func(o *o365.Options) { o.RequestsPerMinute = 600 })

		// Each round waits out the hold that the one before it brought about.
		between(t, "round 0", calls(t, c, 1), 0, 0)
		for round, hold := range []time.Duration{2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
			hold *= time.Second
			between(t, "round "+strconv.Itoa(round+1), calls(t, c, 1), hold, hold*5/4)
		}
		throttle = false
		between(t, "the last hold", calls(t, c, 1), 300*time.Second, 375*time.Second)
		// Nothing was allowed, so all that is left is half a call a second; it comes back within six minutes.
		between(t, "slowed calls", calls(t, c, 20), 30*time.Second, 50*time.Second)
		time.Sleep(6 * time.Minute)
		calls(t, c, 1)
		between(t, "calls at full speed", calls(t, c, 109), 10*time.Second, 12*time.Second)

		throttle = true
		calls(t, c, 1)
		throttle = false
		between(t, "a hold after recovery", calls(t, c, 1), 2*time.Second, 2500*time.Millisecond)
	})
}

// Eight workers throttled at once are one incident.
func TestSimultaneousThrottlingCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := true
		c := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(100 * time.Millisecond) // all are under way before the first answer
			if throttle {
				fail(w, 429, "AF429", "Too many requests.")
				return
			}
			ok(w, r)
		})
		calls(t, c, 8)
		throttle = false
		between(t, "the hold", calls(t, c, 1), 2*time.Second, 2600*time.Millisecond)
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	for _, tc := range []struct {
		name     string
		throttle bool
		budget   int
	}{{"for the budget", false, 1}, {"in a hold", true, 600}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
					if tc.throttle {
						w.Header().Set("Retry-After", "600")
						fail(w, 429, "AF429", "Too many requests.")
					}
				}, func(o *o365.Options) { o.RequestsPerMinute = tc.budget })
				calls(t, c, 1)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(3*time.Second, cancel)
				begin := time.Now()
				_, err := c.Subscriptions(ctx)
				if typed(t, err); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want context.Canceled", err)
				}
				between(t, "the call", time.Since(begin), 3*time.Second, 3*time.Second)
			})
		})
	}
}

// quota is how an API counts the calls of a minute.
type quota struct {
	limit int
	fixed bool // by the clock's minutes; else any minute
	calls []time.Time
}

// take counts a call, or says how long it takes until there is room for it.
func (q *quota) take(now time.Time) (wait time.Duration, ok bool) {
	since := now.Add(-time.Minute)
	if q.fixed {
		since = now.Truncate(time.Minute).Add(-1)
	}
	for len(q.calls) > 0 && !q.calls[0].After(since) {
		q.calls = q.calls[1:]
	}
	if len(q.calls) < q.limit {
		q.calls = append(q.calls, now)
		return 0, true
	}
	if q.fixed {
		return since.Add(time.Minute).Sub(now), false
	}
	return q.calls[0].Sub(since), false
}

// However the API counts, and whatever it says about waiting, nearly all of its quota is used, and few calls are refused.
func TestBudgetFindsTheQuota(t *testing.T) {
	const (
		allowed  = 600 // per minute
		workers  = 8
		duration = 30 * time.Minute
		share    = 0.9
		refusals = 0.03
	)
	for _, perMinute := range []int{allowed, 3 * allowed / 2, 50 * allowed} {
		for _, fixed := range []bool{false, true} {
			for _, retryAfter := range []string{"none", "exact", "60"} {
				name := map[bool]string{false: "any minute", true: "the clock's minutes"}[fixed]
				t.Run(fmt.Sprintf("%d asked for, %s, Retry-After %s", perMinute, name, retryAfter), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						var mu sync.Mutex
						q, taken, refused := &quota{limit: allowed, fixed: fixed}, 0, 0
						c := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
							mu.Lock()
							wait, good := q.take(time.Now())
							if good {
								taken++
							} else {
								refused++
							}
							status := []int{429, 403}[refused%2] // both have been seen
							mu.Unlock()
							time.Sleep(20 * time.Millisecond)
							if good {
								ok(w, r)
								return
							}
							switch retryAfter {
							case "exact":
								w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
							case "60":
								w.Header().Set("Retry-After", "60")
							}
							fail(w, status, "AF429", "Too many requests.")
						}, func(o *o365.Options) { o.RequestsPerMinute = perMinute })
						var wg sync.WaitGroup
						for range workers {
							wg.Go(func() {
								for begun := time.Now(); time.Since(begun) < duration; {
									_, _ = c.Subscriptions(t.Context())
								}
							})
						}
						wg.Wait()
						used := float64(taken) / (allowed * duration.Minutes())
						part := float64(refused) / float64(taken)
						t.Logf("%.1f %% of the quota used, %d calls refused", 100*used, refused)
						if used < share || part > refusals {
							t.Errorf("used %.3f of the quota, want %.2f; refused %.4f of the calls, want %.2f at most", used, share, part, refusals)
						}
					})
				})
			}
		}
	}
}

// Whoever has asked for little has not learned what is allowed: after a refusal there is still half of the rate.
func TestRefusalWhileIdleCostsHalfTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := false
		c := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
			if throttle {
				w.Header().Set("Retry-After", "60")
				fail(w, 429, "AF429", "Too many requests.")
				return
			}
			ok(w, r)
		}, func(o *o365.Options) { o.RequestsPerMinute = 600 })
		for range 30 {
			calls(t, c, 1)
			time.Sleep(20 * time.Second)
		}
		throttle = true
		calls(t, c, 1)
		throttle = false
		calls(t, c, 3) // they wait for the end of the hold
		throttle = true
		calls(t, c, 1)
		throttle = false
		calls(t, c, 1)
		between(t, "a thousand calls at a quarter of the rate", calls(t, c, 1000), 6*time.Minute, 8*time.Minute)
	})
}

func TestBudgetTellsHowItIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := http.StatusOK
		c := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
			if status != http.StatusOK {
				fail(w, status, "AF429", "too many")
				return
			}
			ok(w, r)
		}, func(o *o365.Options) { o.RequestsPerMinute = 600 })
		if got, want := c.Budget(), (o365.BudgetStatus{PerMinute: 600, Allowed: 600}); got != want {
			t.Errorf("unused: %+v, want %+v", got, want)
		}
		calls(t, c, 30)
		if got, want := c.Budget(), (o365.BudgetStatus{PerMinute: 600, Allowed: 600, Used: 30}); got != want {
			t.Errorf("used: %+v, want %+v", got, want)
		}
		status = http.StatusTooManyRequests
		calls(t, c, 1)
		if got := c.Budget(); got.Allowed >= 600 || !got.HeldUntil.After(time.Now()) || got.Used != 30 {
			t.Errorf("throttled: %+v", got)
		}
		time.Sleep(time.Hour)
		if got := c.Budget(); got.Allowed != 600 || got.Used != 0 || got.HeldUntil.After(time.Now()) {
			t.Errorf("an hour later: %+v", got)
		}
	})
}
