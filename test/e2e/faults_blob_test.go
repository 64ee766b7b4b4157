package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"in_office365/test/tenant"
)

func throttledBlob(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.keys["start_from"] = "2h" // few calls: behind the first refusal there is about one a second
	x.offer(2, 3, x.ago(time.Hour), x.ago(time.Minute))
	id := x.offerBlob(tenant.Exchange, x.ago(time.Hour), 5)
	fault := x.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: id}, tenant.Throttle(http.StatusForbidden, 0))
	x.start()
	x.othersArrive(tenant.Exchange)
	x.waitForNotice("throttled", tenant.Exchange)
	fault.Remove()
	x.wait()
	x.stop()
	x.wantLog("fetching content failed: fetch blob: HTTP 403 Forbidden: AF429")
	x.wantSome("fetch_failures")
	x.wantNotice("throttled", tenant.Exchange)
	x.account(0, oneRun)
	return x
}

func serverError(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.offer(20, 3, x.ago(6*day), x.ago(time.Minute))
	id := x.offerBlob(tenant.Exchange, x.ago(3*day), 5)
	fault := x.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: id}, tenant.HTMLPage(http.StatusBadGateway))
	x.start()
	x.othersArrive(tenant.Exchange)
	x.waitFor(tenant.Exchange, 20*3) // all but that one
	fault.Remove()
	x.wait()
	x.stop()
	x.wantLog("fetching content failed: fetch blob: HTTP 502")
	x.wantSome("fetch_failures")
	x.account(0, oneRun)
	return x
}

// maxResident is how many bytes the host's process may hold at most, whatever a blob's size.
const maxResident = 96 << 20

func largeBlobs(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	for i, size := range []int64{1e6, 25e6, 100e6} {
		x.tenant.AddBlob(tenant.Exchange, x.ago(3*time.Hour), tenant.Sized(tenant.Exchange, 1000+uint64(i), size))
	}
	x.offer(6, 50, x.ago(day), x.ago(time.Minute), but(tenant.Exchange)...)
	x.start("--interval-ms", "100") // a host that asks more often than it empties its ring needs memory for that
	x.wait()
	for _, contentType := range but(tenant.Exchange) {
		places, large := x.places[contentType], x.places[tenant.Exchange]
		if places[len(places)-1] > large[len(large)/2] {
			x.Errorf("the last record of %s was the %dth of all, behind half of the large blobs", contentType, places[len(places)-1])
		}
	}
	x.others("all arrived before half of the large ones")
	resident := mostResident(t, x.host.Pid())
	x.stop()
	if resident > maxResident {
		x.Errorf("%d bytes were resident, more than %d", resident, maxResident)
	}
	x.verdict.announced = append(x.verdict.announced, fmt.Sprintf("not needed (most memory resident: %d MB)", resident>>20))
	x.account(0, oneRun)
	return x
}

// A body stalls, the token is void before it goes on, and the next try goes on behind what has come.
func tokenExpires(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.keys["http_timeout"] = "3s"
	x.offer(6, 3, x.ago(6*day), x.ago(time.Minute))
	id := x.offerBlob(tenant.Exchange, x.ago(time.Hour), 500)
	fault := x.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: id}, tenant.Stall(200_000))
	x.start()
	until(t, "the body to stall", func() bool { return fault.Hits() > 0 })
	x.waitFor(tenant.Exchange, 6*3+1) // some of its records
	x.tenant.RevokeTokens()
	x.offer(3, 3, x.ago(10*time.Minute), x.ago(time.Minute), but(tenant.Exchange)...)
	x.othersArrive(tenant.Exchange)
	fault.Remove()
	x.wait()
	x.stop()
	a := x.tenant.Account()
	if a.TokensIssued < 2 || a.Statuses[tenant.ListContent][http.StatusUnauthorized]+a.Statuses[tenant.FetchBlob][http.StatusUnauthorized] == 0 {
		x.Errorf("%d tokens were issued, and the API answered %v", a.TokensIssued, a.Statuses)
	}
	x.wantLog("no data for 3s")
	x.wantSome("fetch_failures")
	x.account(0, "a retry goes on behind the last record queued")
	return x
}

func republishedBlob(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.offer(6, 3, x.ago(6*day), x.ago(time.Minute))
	id := x.offerBlob(tenant.Exchange, x.ago(5*day), 40)
	x.start()
	x.wait()
	x.tenant.Republish(id, x.ago(time.Minute))
	x.offer(3, 3, x.ago(10*time.Minute), x.ago(time.Minute))
	x.wait()
	x.waitSettled() // the second one too
	x.stop()
	x.others(notHit)
	x.wantCounter("repeated", 40)
	x.account(0, "within dedup_window")
	return x
}

// The Ids of records are remembered by the process, not by the ledger.
func republishedAfterARestart(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.offer(6, 3, x.ago(6*day), x.ago(time.Minute))
	id := x.offerBlob(tenant.Exchange, x.ago(5*day), 40)
	x.start()
	x.wait()
	x.waitSettled()
	x.stop()
	x.tenant.Republish(id, x.ago(time.Minute))
	x.start()
	x.waitForRepeats(40)
	x.stop()
	x.others(notHit)
	x.account(40, "the records of that blob")
	return x
}

func brokenBodies(t *testing.T) *trial {
	const records = 200 // of more than 1 kB each
	c := subscribed()
	c.Gzip = true
	x := newTrial(t, c)
	x.offer(6, 3, x.ago(6*day), x.ago(time.Minute))
	var faults []*tenant.Injected
	for _, effect := range []tenant.Effect{
		tenant.CutConnection(20_000), tenant.EndEarly(20_000), tenant.BreakGzip(20_000), tenant.LengthOff(1000), tenant.LengthOff(-1000),
	} {
		id := x.offerBlob(tenant.Exchange, x.ago(5*day), records)
		faults = append(faults, x.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: id}, effect))
	}
	x.start()
	for _, fault := range faults {
		until(t, "every fault", func() bool { return fault.Hits() > 0 })
	}
	x.othersArrive(tenant.Exchange)
	for _, fault := range faults {
		fault.Remove()
	}
	x.wait()
	x.stop()
	x.wantLog("fetching content failed: reading blob ")
	x.wantSome("fetch_failures")
	x.account(0, "a retry goes on behind the last record queued")
	return x
}
