package diagnosis

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"in_office365/o365"
	"in_office365/o365/auth"
)

// grant is what to do about a permission that is missing.
const grant = "grant it to the application under API permissions, Office 365 Management APIs, as application permission, with admin consent; " +
	"it takes some minutes to show, for a managed identity up to a day"

// For returns what the cause is for one content type, while others are not refused: DLP.All wants a permission of its own.
func (c Cause) For(t o365.ContentType) Cause {
	if c.Kind == Consent && t == o365.DLPAll {
		return withoutDLP
	}
	return c
}

var withoutDLP = Cause{
	ReadDLP, fmt.Sprintf("the application has not been granted %s: %s will not be collected, the other content types will", auth.PermissionReadDLP, o365.DLPAll),
	grant + "; or leave " + string(o365.DLPAll) + " out of content_types",
}

// OfPermissions returns what a token lacks for these content types.
func OfPermissions(have auth.Claims, types []o365.ContentType) (cause Cause, wrong bool) {
	switch {
	case !have.May(auth.PermissionRead):
		has := "it has none"
		if len(have.Roles) > 0 {
			has = "it has " + strings.Join(have.Roles, ", ")
		}
		return Cause{Consent, fmt.Sprintf("the application has not been granted %s: %s", auth.PermissionRead, has), grant}, true
	case slices.Contains(types, o365.DLPAll) && !have.May(auth.PermissionReadDLP):
		return withoutDLP, true
	}
	return Cause{}, false
}

// Clocks differ by a second or two; from clockNoticeable on somebody should look, and from clockWrong on Entra refuses assertions.
const (
	clockNoticeable = time.Minute
	clockWrong      = 5 * time.Minute
)

// OfClock returns what is wrong with this machine's clock, which is so far ahead of the services'. A slight error is a mere warning.
func OfClock(ahead time.Duration) (cause Cause, slight, wrong bool) {
	by, which := ahead, "ahead of"
	if ahead < 0 {
		by, which = -ahead, "behind"
	}
	if by < clockNoticeable {
		return Cause{}, false, false
	}
	return Cause{Clock, fmt.Sprintf("this machine's clock is %s %s Microsoft's", by.Round(time.Second), which), "set the clock, and keep it by NTP"},
		by < clockWrong, by >= clockWrong
}

// expiryNoticeable is how long before a credential ends somebody should see to a new one.
const expiryNoticeable = 30 * 24 * time.Hour

// OfExpiry returns what is wrong with a credential that ends then; the zero time is never. soon is a mere warning: it is good as yet.
func OfExpiry(end, now time.Time) (cause Cause, soon bool) {
	left := end.Sub(now)
	if end.IsZero() || left > expiryNoticeable {
		return Cause{}, false
	}
	when := fmt.Sprintf("in %d days, on %s", left/(24*time.Hour), day(end))
	if left < 48*time.Hour {
		when = fmt.Sprintf("in %d hours, on %s", max(left, 0)/time.Hour, day(end))
	}
	return Cause{Certificate, "the credential expires " + when, "put a new one in its place, and register it with the application first"}, true
}

// OfEndpoints says whether login host, audience and API host are of different clouds, as far as they are known at all.
func OfEndpoints(login, audience, api string) (cause Cause, wrong bool) {
	type key struct{ setting, address string }
	var first []string // the clouds that the first known address may belong to
	var of key
	for _, k := range []key{{"api_endpoint", api}, {"audience", audience}, {"authentication_endpoint", login}} {
		clouds := o365.CloudsOf(k.address)
		switch {
		case len(clouds) == 0:
		case first == nil:
			first, of = clouds, k
		case !slices.ContainsFunc(clouds, func(c string) bool { return slices.Contains(first, c) }):
			return Cause{Cloud, fmt.Sprintf("%s %s is of the cloud %s, but %s %s of %s", k.setting, k.address, strings.Join(clouds, " or "), of.setting, of.address, strings.Join(first, " or ")),
				"set cloud, and remove what overrides it"}, true
		}
	}
	return Cause{}, false
}
