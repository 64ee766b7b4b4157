package e2e

import (
	"flag"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"in_office365/test/events"
	"in_office365/test/host/hosttest"
	"in_office365/test/tenant"
)

var throttledFor = flag.Duration("throttled", 90*time.Second, "how long TestThrottledTenant goes on")

// A tenant that allows less than rate_limit: nearly all that it allows is used, listing goes on beside fetching, and nothing is lost.
func TestThrottledTenant(t *testing.T) {
	t.Parallel()
	const (
		allowed  = 600 // calls a minute
		asked    = "900/m"
		poll     = 10 * time.Second
		share    = 0.85 // of what is allowed; the beginning costs most
		refusals = 0.05 // of all calls
	)
	types := tenant.ContentTypes()
	tn, dir := tenant.New(tenant.Config{Subscribed: types, CallsPerMinute: allowed}), t.TempDir()
	minutes := throttledFor.Minutes()
	week(tn, 1, int(allowed*(minutes+1))/len(types), 1) // more than can be fetched meanwhile
	out := filepath.Join(dir, "out")
	h := startTestHost(t, []keys{stanza(serve(t, tn), dir, keys{"rate_limit": asked, "poll_interval": poll.String()})},
		"--interval-ms", "100", "--output", out)
	h.WaitForStats(func(s hosttest.Stats) bool { return s.Records > 0 })
	<-time.After(*throttledFor)
	r := h.Stop()
	sound(t, r)

	account := tn.Account()
	var answered, refused int
	for op, statuses := range account.Statuses {
		for status, n := range statuses {
			switch {
			case op == tenant.Token:
			case status == 429:
				refused += n
			default:
				answered += n
			}
		}
	}
	used := float64(answered) / (allowed * minutes)
	t.Logf("%d calls in %s, %.1f %% of what is allowed; %d refused", answered, throttledFor, 100*used, refused)
	if used < share || float64(refused) > refusals*float64(answered) {
		t.Errorf("used %.2f of what is allowed, %.2f wanted; refused %d of %d calls", used, share, refused, answered)
	}
	if !slices.ContainsFunc(received(t, out), func(e events.Event) bool { return e.Notice() == "throttled" }) {
		t.Error("throttling was not announced")
	}
	for _, ct := range types {
		listings := 0
		for _, l := range account.Listings {
			if l.ContentType == ct && l.Page == 1 {
				listings++
			}
		}
		if wanted := int(*throttledFor / poll / 2); listings < wanted {
			t.Errorf("%s: listed %d times, %d wanted", ct, listings, wanted)
		}
	}
}
