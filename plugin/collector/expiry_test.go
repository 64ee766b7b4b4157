package collector

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"in_office365/o365"
	"in_office365/o365/auth"
)

// The end of a credential is announced 30, 7 and 1 days before and when it has come: once each while running, and once at a start for
// the one passed last.
func TestExpiryIsAnnouncedOnceAtEachThreshold(t *testing.T) {
	const day = 24 * time.Hour
	end := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	run := func(e *expiry, end, from time.Time, span time.Duration) (announced []string) {
		for now := from; now.Before(from.Add(span)); now = now.Add(time.Hour) {
			if e.due(end, now) {
				announced = append(announced, end.Sub(now).String())
			}
		}
		return announced
	}
	for _, tc := range []struct {
		name string
		from time.Time
		want string
	}{
		{"from long before", end.Add(-90 * day), "720h0m0s 168h0m0s 24h0m0s 0s"},
		{"started 20 days before", end.Add(-20 * day), "480h0m0s 168h0m0s 24h0m0s 0s"},
		{"started 12 hours before", end.Add(-12 * time.Hour), "12h0m0s 0s"},
		{"started when it was over", end.Add(time.Hour), "-1h0m0s"},
	} {
		if got := strings.Join(run(&expiry{}, end, tc.from, 100*day), " "); got != tc.want {
			t.Errorf("%s: announced %s before the end, want %s", tc.name, got, tc.want)
		}
	}

	var e expiry
	run(&e, end, end.Add(-6*day), day)
	if got := run(&e, end.Add(365*day), end.Add(-5*day), day); len(got) > 0 {
		t.Errorf("renewed for a year, and announced %s", got)
	}
	if got := run(&e, end, end.Add(-4*day), day); len(got) != 1 {
		t.Errorf("the old one again: announced %s", got)
	}
	if got := run(&e, time.Time{}, end, day); len(got) > 0 {
		t.Errorf("an end that is not known: announced %s", got)
	}
}

func TestWhatIsSaidOfAnExpiry(t *testing.T) {
	end := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]string{
		29*24*time.Hour + time.Hour: "the credential expires in 29 days, at 2026-06-01T00:00:00Z: put a new one",
		30 * time.Hour:              "the credential expires in 30 hours, at 2026-06-01T00:00:00Z: put a new one",
		100 * time.Minute:           "the credential expires in 100 minutes, at",
		time.Second:                 "the credential expires in 1 minutes, at",
		0:                           "the credential has expired: put a new one",
	} {
		if got := expiryReason(end, end.Add(-left)); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// However many tokens come, what they lack is said once, and once that they lack it no more.
func TestMissingPermissionIsSaidOnce(t *testing.T) {
	var log bytes.Buffer
	p := permission{log: slog.New(slog.NewTextHandler(&log, nil)), types: o365.ContentTypes()}
	may, mayNot := auth.Claims{Roles: []string{"ActivityFeed.Read", "ActivityFeed.ReadDlp"}}, auth.Claims{Roles: []string{"ServiceHealth.Read"}}
	but := auth.Claims{Roles: []string{"ActivityFeed.Read"}}
	for _, c := range []auth.Claims{may, mayNot, mayNot, may, may, mayNot, but, but} {
		p.check(c)
		if p.missing() != (c.Roles[0] == "ServiceHealth.Read") {
			t.Errorf("missing with %s: %v", c.Roles, p.missing())
		}
	}
	missing, granted := strings.Count(log.String(), "has not been granted ActivityFeed.Read: "), strings.Count(log.String(), "has been granted the permission")
	if missing != 2 || granted != 1 || strings.Count(log.String(), "has not been granted ActivityFeed.ReadDlp: ") != 1 || strings.Count(log.String(), "\n") != 4 {
		t.Errorf("got:\n%s", &log)
	}
}
