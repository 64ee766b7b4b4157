package collector_test

import (
	"fmt"
	"os"
	"testing"
	"time"
	_ "time/tzdata" // the zone of these tests must be there

	"in_office365/test/tenant"
)

// All tests of this package run where clocks are put back by half an hour on 2000-03-26, in the first year of a bubble's time: the API's times
// are UTC, and so must everything be that is compared with them.
const zone = "Australia/Lord_Howe"

func TestMain(m *testing.M) {
	var err error
	if time.Local, err = time.LoadLocation(zone); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestDaylightSavingIsNoMatter(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		change := time.Date(2000, 3, 25, 15, 0, 0, 0, time.UTC)
		if change.Local().Format("15:04") != "01:30" || change.Add(-time.Second).Local().Format("15:04") != "01:59" {
			t.Fatalf("clocks are not put back at %s", change.Local())
		}
		time.Sleep(time.Until(change.Add(-3 * time.Hour)))
		c := w.open()
		c.Start()
		for i := range 36 {
			w.tenant.AddBlob(tenant.General, time.Now(), tenant.Generated{Seed: 4, First: uint64(i) * 2, Records: 2})
			w.host(c, 10*time.Minute)
		}
		w.stop(c)
		w.verdict(0)
		w.wantNotices()
	})
}

// Whichever way our clock is wrong, from the beginning or all of a sudden, nothing is missing, nothing comes again, and nothing is announced.
func TestClocksThatDiffer(t *testing.T) {
	for _, skew := range []time.Duration{10 * time.Minute, -10 * time.Minute, 24 * time.Hour, -24 * time.Hour} {
		published := func(w *world, from, to time.Duration) {
			w.tenant.Publish(tenant.Plan{Seed: uint64(from), Blobs: 20, Records: 3, From: w.tenant.Now().Add(-from), To: w.tenant.Now().Add(-to)})
		}
		t.Run(fmt.Sprintf("the API's is %s off", skew), func(t *testing.T) {
			inWorld(t, tenant.Config{Subscribed: tenant.ContentTypes(), Skew: skew}, func(w *world) {
				published(w, 6*24*time.Hour, time.Minute)
				w.run(5 * time.Minute)
				w.verdict(0)
				w.wantNotices()
			})
		})
		t.Run(fmt.Sprintf("ours jumps by %s", skew), func(t *testing.T) {
			inWorld(t, subscribed, func(w *world) {
				published(w, 6*24*time.Hour, time.Minute)
				c := w.open()
				c.Start()
				w.host(c, 5*time.Minute)
				w.tenant.SetSkew(-skew) // of two clocks a bubble can move one
				published(w, 10*time.Minute, time.Minute)
				w.host(c, 2*time.Hour)
				w.stop(c)
				w.verdict(0)
				w.wantNotices()
			})
		})
	}
}

// A machine that sleeps brings what came meanwhile when it wakes, and announces what it cannot bring.
func TestMachineThatSleeps(t *testing.T) {
	for _, test := range []struct {
		asleep  time.Duration
		notices []string
	}{
		{25 * time.Hour, nil},
		{8 * 24 * time.Hour, []string{"gap"}},
	} {
		t.Run(test.asleep.String(), func(t *testing.T) {
			inWorld(t, subscribed, func(w *world) {
				w.tenant.AddBlob(tenant.General, ago(time.Hour), tenant.Generated{Records: 3})
				c := w.open()
				c.Start()
				w.host(c, 5*time.Minute)
				w.tenant.SetSkew(test.asleep) // timers do not go on in sleep
				span := min(test.asleep, 6*24*time.Hour)
				w.tenant.Publish(tenant.Plan{Seed: 5, Blobs: 20, Records: 3, From: w.tenant.Now().Add(-span), To: w.tenant.Now()})
				w.host(c, 2*time.Hour)
				w.stop(c)
				w.verdict(0)
				w.wantNotices(test.notices...)
			})
		})
	}
}

// A gap is announced from where listing ended to where it goes on, and no larger. A clock that was ahead for a moment does not make it look smaller.
func TestGapBeginsWhereListingEnded(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		c := w.open()
		c.Start()
		w.host(c, 10*time.Minute)
		w.tenant.SetSkew(24 * time.Hour)
		w.host(c, 10*time.Minute)
		w.tenant.SetSkew(0)
		w.host(c, 10*time.Minute+30*time.Second) // not in the middle of a poll: that would have listed nothing
		ended := time.Now()
		w.stop(c)
		time.Sleep(8 * 24 * time.Hour)
		again := time.Now()
		w.run(2 * time.Minute)
		w.wantNotices("gap")
		if len(w.gaps) != len(tenant.ContentTypes()) {
			t.Errorf("%d gaps", len(w.gaps))
		}
		for _, gap := range w.gaps {
			const poll, retention = time.Minute, 7 * 24 * time.Hour
			if early := ended.Sub(gap.from); early < 0 || early > 2*poll {
				t.Errorf("the gap begins %s before the end of the run that listed last", early)
			}
			if since := again.Sub(gap.to); since > retention || since < retention-10*time.Minute {
				t.Errorf("the gap ends %s before the next run", since)
			}
		}
	})
}

// What is nearly too old to be listed is still fetched.
func TestEdgeOfRetention(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		const retention = 7 * 24 * time.Hour
		for i := range 20 {
			w.tenant.AddBlob(tenant.General, ago(retention-6*time.Minute-time.Duration(i)*time.Minute), tenant.Generated{Seed: 6, First: uint64(i), Records: 1})
		}
		w.run(5 * time.Minute)
		w.verdict(0)
		w.wantNotices()
	})
}

// A clock that was ahead for a moment does not put off the sweeps that find late blobs.
func TestSweepsGoOnAfterAClockWasAhead(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		c := w.open()
		c.Start()
		w.host(c, 10*time.Minute)
		w.tenant.SetSkew(5 * 24 * time.Hour)
		w.host(c, 10*time.Minute)
		w.tenant.SetSkew(0)
		w.host(c, 10*time.Minute)
		w.tenant.Add(tenant.Content{
			ContentType: tenant.General, Created: ago(0), Visible: time.Now().Add(20 * time.Hour), Source: tenant.Generated{Seed: 8, Records: 3},
		})
		w.host(c, 22*time.Hour)
		w.stop(c)
		w.verdict(0)
		w.wantNotices()
	})
}
