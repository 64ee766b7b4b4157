package e2e

import (
	"flag"
	"path/filepath"
	"testing"
	"time"

	"in_office365/test/host/hosttest"
	"in_office365/test/tenant"
)

var throttledFor = flag.Duration("throttled", 2*time.Minute, "how long the throttled tenant is collected from, in whole minutes")

// A tenant that allows less than rate_limit: nearly all that it allows is used, listing goes on beside fetching, and nothing is lost.
func throttledTenant(t *testing.T) {
	const (
		allowed  = 600 // calls a minute
		asked    = "900/m"
		poll     = 10 * time.Second
		refusals = 0.05 // of all calls
	)
	if *throttledFor < time.Minute || *throttledFor%time.Minute != 0 {
		t.Fatal("-throttled: only of whole minutes is it known how many calls a tenant allows that looks back a minute")
	}
	share := 0.9 // of what is allowed
	if *throttledFor < 5*time.Minute {
		share = 0.85 // the beginning costs most
	}
	types := tenant.ContentTypes()
	tn, dir := tenant.New(tenant.Config{Subscribed: types, CallsPerMinute: allowed}), t.TempDir()
	week(tn, 1, int(allowed*(throttledFor.Minutes()+1))/len(types), 1) // more than can be fetched meanwhile
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	k := stanza(serve(t, tn), dir, keys{"rate_limit": asked, "poll_interval": poll.String()})
	h := startTestHost(t, []keys{k}, "--interval-ms", "100", "--output", first)
	h.WaitForStats(func(s hosttest.Stats) bool { return s.Records > 0 })
	<-time.After(*throttledFor) // no wait for something: what is done in a given time is what is measured
	measured := tn.Account()
	clean(t, h.Stop())

	answered, refused := callsOf(measured)
	used := float64(answered) / (allowed * throttledFor.Minutes())
	t.Logf("%d calls in %s, %.1f %% of what is allowed; %d refused", answered, throttledFor, 100*used, refused)
	if used < share || float64(refused) > refusals*float64(answered) {
		t.Errorf("used %.2f of what is allowed, %.2f wanted; refused %d of %d calls", used, share, refused, answered)
	}
	for _, ct := range types {
		listings := 0
		for _, l := range measured.Listings {
			if l.ContentType == ct && l.Page == 1 {
				listings++
			}
		}
		if wanted := int(*throttledFor / poll / 2); listings < wanted {
			t.Errorf("%s: listed %d times, %d wanted", ct, listings, wanted)
		}
	}

	// What is left comes at once when nothing is refused any more.
	tn.SetCallsPerMinute(0)
	k["rate_limit"], k["poll_interval"] = "100000/m", "1s"
	left := 0
	have := arrived(received(t, first))
	for _, ct := range types {
		for id := range tn.Account().RecordIDs(ct) {
			left += count(have[id] == 0)
		}
	}
	if left == 0 {
		t.Error("everything was fetched before the limit was lifted")
	}
	h = startTestHost(t, []keys{k}, "--interval-ms", "100", "--output", second)
	h.WaitForStats(func(s hosttest.Stats) bool { return s.Records >= int64(left) })
	until(t, "the blobs that were left", func() bool {
		for _, o := range tn.Account().Offered {
			if o.Fetched < o.Blobs {
				return false
			}
		}
		return true
	})
	polls := tn.Account().Calls[tenant.ListContent] + 3*len(types)
	until(t, "some polls", func() bool { return tn.Account().Calls[tenant.ListContent] >= polls })
	clean(t, h.Stop())
	all := append(received(t, first), received(t, second)...)
	notices := map[string]int{}
	for _, e := range all {
		if kind := e.Notice(); kind != "" {
			notices[kind]++
		}
	}
	if notices["throttled"] == 0 || len(notices) > 1 {
		t.Errorf("notices: %v", notices)
	}
	account(t, arrived(all), tn)
}

// callsOf counts the calls of the API that were answered, and those that were refused as too many.
func callsOf(a tenant.Account) (answered, refused int) {
	for op, statuses := range a.Statuses {
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
	return answered, refused
}
