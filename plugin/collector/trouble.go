package collector

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"in_office365/o365"
	"in_office365/plugin/diagnosis"
)

const (
	// troubleInterval is the shortest time between two lines about one trouble; it doubles with each, up to troubleIntervalMost.
	troubleInterval     = time.Minute
	troubleIntervalMost = time.Hour
	// troubleQuiet is how long nothing may fail before a trouble is over: what fails now and then is one trouble.
	troubleQuiet = 5 * time.Minute
	// sharerQuiet is how long one of those that share a trouble may be silent and still count: whatever fails is tried again sooner.
	sharerQuiet = 3 * windowBackoffMost
)

// accessing is what a trouble that others share is about.
const accessing = "access to the API"

// trouble logs what fails again and again: once at first and for each new cause, then ever more rarely with a count, and once when it is
// over.
type trouble struct {
	log   *slog.Logger
	doing string
	// shared takes over what others fail for too, as shares says, so that it is told once; nil: there is none.
	shared *trouble
	shares func(diagnosis.Cause, error) bool
	of     o365.ContentType // that it is of alone; may be empty
	// ofEach is for one that is shared and over only when it is for each of those that share it. Else it is over when one of them succeeds.
	ofEach bool

	mu       sync.Mutex // guards what follows
	since    time.Time  // of the first failure; zero: no trouble
	last     time.Time  // failure
	count    int
	interval time.Duration
	next     time.Time // for a line
	told     map[diagnosis.Kind]bool
	cause    diagnosis.Kind         // of the last failure
	text     string                 // of the last failure; empty: another trouble tells of it
	worked   time.Time              // when it succeeded last, since the first failure
	sharers  map[*trouble]time.Time // those it has taken over, and that have not succeeded since; when they failed last
}

// concernsAllTypes says whether all that is done for a tenant fails alike.
func (t *tenant) concernsAllTypes(cause diagnosis.Cause, err error) bool {
	e, ok := errors.AsType[*o365.Error](err)
	switch {
	case cause.Shared(), ok && e.Op == o365.OpToken, cause.Kind == diagnosis.Auditing:
		return true
	case cause.Kind == diagnosis.APIHost:
		return ok && e.Status != 0 // else it refers elsewhere, in one answer
	case cause.Kind == diagnosis.Consent:
		return t.permission.missing()
	}
	return false
}

// ofAll says whether it fails alike for all tenants.
func ofAll(cause diagnosis.Cause, err error) bool { return cause.OfInstance(err) }

// always is for what none of those that share a trouble tells by itself.
func always(diagnosis.Cause, error) bool { return true }

// report takes note of a failure, and says whether it is the first.
func (t *trouble) report(err error, remedy string) (first bool) {
	cause := diagnosis.Of(err)
	if t.shared != nil && t.shares(cause, err) {
		t.shared.report(err, remedy)
		t.shared.failedFor(t)
		first, _, _ = t.note("", "")
		return first
	}
	cause = cause.For(t.of)
	text := t.doing + " failed: " + err.Error()
	for _, s := range []string{cause.What, cause.Do, remedy} {
		if !strings.Contains(text, s) {
			text += "; " + s
		}
	}
	first, due, more := t.note(cause.Kind, text)
	if !due {
		return first
	}
	if cause.Kind != diagnosis.Other {
		more = append(more, "cause", string(cause.Kind))
	}
	level := slog.LevelError
	if cause.Passes() && remedy == "" {
		level = slog.LevelWarn
	}
	t.log.Log(context.Background(), level, text, more...)
	return first
}

// note counts a failure, and says whether it is the first, and whether a line is due, with which details. None is due for a kind "".
func (t *trouble) note(kind diagnosis.Kind, text string) (first, due bool, details []any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.count++
	t.last, t.cause, t.text = now, kind, text
	if first = t.since.IsZero(); first {
		t.since, t.interval, t.told = now, troubleInterval, map[diagnosis.Kind]bool{}
	}
	if kind == "" || t.told[kind] && now.Before(t.next) {
		return first, false, nil
	}
	t.told[kind] = true
	t.next = now.Add(t.interval)
	t.interval = min(2*t.interval, troubleIntervalMost)
	if !first {
		details = []any{"failures", t.count, "for", now.Sub(t.since).Round(time.Second)}
	}
	return first, true, details
}

// reset forgets a trouble of before a pause.
func (t *trouble) reset() {
	if t.shared != nil {
		t.shared.workedFor(t)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since, t.count, t.sharers = time.Time{}, 0, nil
}

func (t *trouble) failedFor(sharer *trouble) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sharers == nil {
		t.sharers = map[*trouble]time.Time{}
	}
	t.sharers[sharer] = time.Now()
}

// workedFor ends a trouble that others share, as far as this one goes.
func (t *trouble) workedFor(sharer *trouble) {
	t.mu.Lock()
	delete(t.sharers, sharer)
	for other, last := range t.sharers {
		if time.Since(last) > sharerQuiet {
			delete(t.sharers, other)
		}
	}
	left := len(t.sharers)
	t.mu.Unlock()
	if left == 0 || !t.ofEach {
		t.over()
	}
}

// worksInPart says that something has succeeded, so that what this shares with others works, but not all of its own.
func (t *trouble) worksInPart() { t.shared.workedFor(t) }

// status tells of the trouble at present, if there is one that is its own.
func (t *trouble) status() (TroubleStatus, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() || t.text == "" {
		return TroubleStatus{}, false
	}
	return TroubleStatus{
		Doing: t.doing, Cause: string(t.cause), Text: t.text, Since: t.since, Last: t.last, Count: t.count, Works: t.worked.After(t.last),
	}, true
}

// over ends a trouble, if there was one and nothing has failed for a while.
func (t *trouble) over() {
	if t.shared != nil {
		t.shared.workedFor(t)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		return
	}
	if t.worked = time.Now(); t.worked.Sub(t.last) < troubleQuiet {
		return
	}
	if len(t.told) > 0 {
		t.log.Info(t.doing+" works again", "failures", t.count, "for", time.Since(t.since).Round(time.Second))
	}
	t.since, t.count = time.Time{}, 0
}

// backoff doubles the unit with every try and adds or takes a fifth, so that what failed together is not tried again together.
func backoff(unit time.Duration, tries int) time.Duration {
	d := unit << min(max(tries-1, 0), 10)
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}
