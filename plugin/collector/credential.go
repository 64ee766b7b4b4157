package collector

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"in_office365/normalize"
	"in_office365/o365"
	"in_office365/o365/auth"
	"in_office365/plugin/diagnosis"
)

// expiryInterval is how often the end of the credential is looked at. It costs nothing.
const expiryInterval = time.Minute

// expiryThresholds are the times before the end of a credential when that is announced; the last one is the end itself.
var expiryThresholds = [...]time.Duration{30 * 24 * time.Hour, 7 * 24 * time.Hour, 24 * time.Hour, 0}

// expiry says when to announce the end of a credential: once at each threshold, and once at a start for the one passed last.
type expiry struct {
	end       time.Time // what is announced is about this end
	announced int       // thresholds
}

// due says whether to announce now that the credential ends at that time, zero if none is known.
func (e *expiry) due(end, now time.Time) bool {
	if !end.Equal(e.end) { // it has been renewed
		*e = expiry{end: end}
	}
	if end.IsZero() {
		return false
	}
	passed := 0
	for passed < len(expiryThresholds) && end.Sub(now) <= expiryThresholds[passed] {
		passed++
	}
	due := passed > e.announced
	e.announced = max(e.announced, passed)
	return due
}

// watchCredential announces the end of the credential in time for a new one.
func (c *Collector) watchCredential(ctx context.Context) {
	var e expiry
	for {
		now := time.Now()
		if end := c.cfg.Credential.Expires(); e.due(end, now) {
			reason := expiryReason(end, now)
			if end.After(now) {
				c.log.Warn("a new credential is needed soon: " + reason)
			} else {
				c.log.Error("a new credential is needed now: " + reason)
			}
			c.announceOfAll(ctx, &normalize.Notice{Kind: noticeCredentialExpiring, Reason: reason, To: end})
		}
		if !sleep(ctx, expiryInterval) {
			return
		}
	}
}

func expiryReason(end, now time.Time) string {
	const remedy = "put a new one in its place; files and commands need no restart, a client_secret in the configuration does"
	if left := end.Sub(now); left > 0 {
		return fmt.Sprintf("the credential expires in %s, at %s: %s", roughly(left), end.UTC().Format(time.RFC3339), remedy)
	}
	return "the credential has expired: " + remedy
}

// roughly is a time in days or, where that is little, in hours or minutes.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day {
		return fmt.Sprintf("%d days", d/day)
	}
	if d >= 2*time.Hour {
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return fmt.Sprintf("%d minutes", max(d/time.Minute, 1))
}

// permission says once what permission tokens lack, and once that they have it. It may be granted at any time.
type permission struct {
	log    *slog.Logger
	types  []o365.ContentType
	lacked atomic.Value // diagnosis.Kind: what the last token lacked; empty: nothing
}

func (p *permission) check(c auth.Claims) {
	cause, _ := diagnosis.OfPermissions(c, p.types)
	lacked, _ := p.lacked.Swap(cause.Kind).(diagnosis.Kind)
	switch cause.Kind {
	case lacked:
	case "":
		p.log.Info("the application has been granted the permission that it lacked", "roles", c.Roles)
	default:
		p.log.Warn(cause.What+"; "+cause.Do, "cause", string(cause.Kind))
	}
}

// missing says that not even the permission to read is there.
func (p *permission) missing() bool { return p.lacked.Load() == diagnosis.Consent }
