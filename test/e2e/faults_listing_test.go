package e2e

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"in_office365/test/tenant"
)

// subscribed is a tenant whose content types are all subscribed; a listing page holds three blobs, so that every listing has several.
func subscribed() tenant.Config {
	return tenant.Config{Subscribed: tenant.ContentTypes(), PageSize: 3}
}

func secondPage(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.offer(24, 3, x.ago(6*day), x.ago(time.Minute))
	fault := x.tenant.Inject(tenant.Fault{Operation: tenant.ListContent, ContentType: tenant.Exchange, Page: 2},
		tenant.AnswerError(http.StatusServiceUnavailable, "AF50000", "An internal error occurred."))
	x.start()
	x.othersArrive(tenant.Exchange)
	fault.Remove()
	x.wait()
	x.stop()
	x.wantLog("listing content failed: list content: HTTP 503")
	x.wantSome("list_failures")
	x.account(0, oneRun)
	return x
}

// One late blob is found since every poll lists the last hour again, one that is later still by a sweep.
func lateBlob(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.offer(5, 3, x.ago(6*day), x.ago(time.Second))
	x.start()
	x.wait()
	x.offerBlob(tenant.Exchange, x.ago(30*time.Minute), 7)
	x.wait()
	x.offerBlob(tenant.Exchange, x.ago(5*time.Hour), 7)
	x.offer(3, 3, x.ago(10*time.Minute), x.ago(time.Minute), but(tenant.Exchange)...)
	x.othersArrive(tenant.Exchange)
	x.tenant.SetSkew(time.Hour + time.Minute) // the time of a sweep
	x.wait()
	x.stop()
	x.account(0, oneRun)
	return x
}

func windowBorder(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	origin := x.ago(3 * day).Truncate(time.Second)
	x.keys["start_from"] = origin.Format(time.RFC3339)
	border := origin.Add(23 * time.Hour)
	for _, contentType := range tenant.ContentTypes() {
		for _, at := range []time.Duration{-time.Millisecond, 0, 0, 0, 0, time.Millisecond} {
			x.offerBlob(contentType, border.Add(at), 3)
			x.offerBlob(contentType, origin.Add(max(at, 0)), 3)
		}
	}
	x.start()
	x.wait()
	x.stop()
	begins, ends := false, false
	for _, l := range x.tenant.Account().Listings {
		begins, ends = begins || l.Start.Equal(border), ends || l.End.Equal(border)
	}
	if !begins || !ends {
		x.Errorf("no window begins (%v) and ends (%v) at %s", begins, ends, border)
	}
	x.others(hitAlike)
	x.account(0, oneRun)
	return x
}

func lowerCaseNextPage(t *testing.T) *trial {
	c := subscribed()
	c.LowerCaseNextPage = true
	x := newTrial(t, c)
	x.offer(24, 3, x.ago(6*day), x.ago(time.Minute))
	x.start()
	x.wait()
	x.stop()
	pages := 0
	for _, l := range x.tenant.Account().Listings {
		pages = max(pages, l.Page)
	}
	if pages < 2 {
		x.Error("no listing had a second page")
	}
	x.others(hitAlike)
	x.wantCounter("list_failures", 0)
	x.account(0, oneRun)
	return x
}

// The windows behind the one that fails are listed, and the ledger does not go past it: a later run lists it.
func oneWindowFails(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	moment := x.ago(3 * day)
	x.offer(24, 3, x.ago(6*day), x.ago(time.Minute))
	fault := x.tenant.Inject(tenant.Fault{Operation: tenant.ListContent, ContentType: tenant.Exchange, Covers: moment},
		tenant.AnswerError(http.StatusInternalServerError, "AF50000", "An internal error occurred."))
	x.start()
	x.othersArrive(tenant.Exchange)
	x.waitFor(tenant.Exchange, 18*3) // of 24 blobs one window holds four, or five
	x.waitSettled()
	x.stop()
	for _, l := range x.tenant.Account().Listings {
		if l.ContentType == tenant.Exchange && !moment.Before(l.Start) && moment.Before(l.End) {
			x.Errorf("the window from %s to %s was listed in spite of the fault", l.Start, l.End)
		}
	}
	fault.Remove()
	x.start()
	x.wait()
	x.stop()
	x.wantLog("listing content failed: list content: HTTP 500")
	x.wantSome("list_failures")
	x.account(0, "all that was listed had settled at the stop")
	return x
}

func nextPageLoop(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.offer(24, 3, x.ago(6*day), x.ago(time.Minute))
	fault := x.tenant.Inject(tenant.Fault{Operation: tenant.ListContent, ContentType: tenant.Exchange, Page: 1}, tenant.NextPageLoop())
	x.start()
	x.othersArrive(tenant.Exchange)
	fault.Remove()
	x.wait()
	x.stop()
	x.wantLog("listing content failed: list content: the listing leads back to a page it had before")
	x.wantSome("list_failures")
	x.account(0, oneRun)
	return x
}

func foreignNextPage(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	var asked atomic.Int64
	foreign := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(foreign.Close)
	x.offer(24, 3, x.ago(6*day), x.ago(time.Minute))
	fault := x.tenant.Inject(tenant.Fault{Operation: tenant.ListContent, ContentType: tenant.Exchange, Page: 1},
		tenant.NextPage(foreign.URL+"/api/v1/next"))
	x.start()
	x.othersArrive(tenant.Exchange)
	x.waitForNotice("access_refused", tenant.Exchange)
	fault.Remove()
	x.wait()
	x.stop()
	if n := asked.Load(); n > 0 {
		x.Errorf("the foreign host was called %d times", n)
	}
	x.wantLog("listing content failed: list content: the API refers to " + foreign.URL)
	x.wantNotice("access_refused", tenant.Exchange)
	x.account(0, oneRun)
	return x
}

// Everything that the API still has is collected, and what comes while that is done.
func firstRun(t *testing.T) *trial {
	x := newTrial(t, tenant.Config{PageSize: 3})
	x.offer(24, 3, x.ago(7*day-10*time.Minute), x.ago(time.Minute))
	x.start()
	x.wait()
	x.offer(1, 3, x.ago(0), x.ago(0))
	x.wait()
	x.waitForNotice("subscription_started", tenant.ContentTypes()...)
	x.stop()
	x.others(hitAlike)
	x.wantLog("subscription started; first content may take hours")
	x.wantNotice("subscription_started", tenant.ContentTypes()...)
	x.account(0, oneRun)
	return x
}
