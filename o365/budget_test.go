package o365_test

import (
	"context"
	"errors"
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
		// One second's worth may go at once, then ten a second.
		between(t, "the first second's worth", calls(t, c, 10), 0, 0)
		between(t, "the next 100 calls", calls(t, c, 100), 10*time.Second, 10*time.Second+time.Millisecond)
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
		// A 16th of 10 a second at first, coming back within two minutes.
		between(t, "slowed calls", calls(t, c, 40), 20*time.Second, 64*time.Second)
		time.Sleep(2 * time.Minute)
		calls(t, c, 1)
		between(t, "calls at full speed", calls(t, c, 109), 9*time.Second, 10*time.Second+time.Millisecond)

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
