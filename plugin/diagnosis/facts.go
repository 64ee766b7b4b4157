package diagnosis

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"in_office365/o365"
)

// The application permissions of the Office 365 Management APIs.
const (
	permissionRead    = "ActivityFeed.Read"
	permissionReadDLP = "ActivityFeed.ReadDlp"
)

// apiApplication is the API's own application, which an access token may name as its audience in place of the API's address.
const apiApplication = "c5393580-f805-4401-95e8-94b7a6ef2fc2"

// Claims are what an access token says of itself.
type Claims struct {
	Audience, Tenant, App string
	Roles                 []string // the application permissions that have been granted
}

// OfClaims returns what is wrong with a token for that tenant and audience, and those content types.
func OfClaims(have Claims, tenant, audience string, types []o365.ContentType) (cause Cause, wrong bool) {
	const grant = "grant it to the application under API permissions, Office 365 Management APIs, as application permission, with admin consent; it takes some minutes to show"
	bare := func(address string) string { return strings.TrimSuffix(strings.ToLower(address), "/") }
	switch {
	case bare(have.Audience) != bare(audience) && have.Audience != apiApplication:
		return Cause{Cloud, fmt.Sprintf("the token is for %q, not for %s", have.Audience, audience), "check cloud and audience"}, true
	case have.Tenant != "" && !strings.EqualFold(have.Tenant, tenant):
		return Cause{Tenant, fmt.Sprintf("the token is for the tenant %q, not for %s", have.Tenant, tenant), "check tenant_id and the credential"}, true
	case !slices.Contains(have.Roles, permissionRead):
		has := "it has none"
		if len(have.Roles) > 0 {
			has = "it has " + strings.Join(have.Roles, ", ")
		}
		return Cause{Consent, fmt.Sprintf("the application has not been granted %s: %s", permissionRead, has), grant}, true
	case slices.Contains(types, o365.DLPAll) && !slices.Contains(have.Roles, permissionReadDLP):
		return Cause{ReadDLP, fmt.Sprintf("the application has not been granted %s: %s will not be collected, the other content types will", permissionReadDLP, o365.DLPAll),
			grant + ", or leave " + string(o365.DLPAll) + " out of content_types"}, true
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
		clouds := cloudsOf(k.address)
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

// cloudsOf names the clouds that an address belongs to.
func cloudsOf(address string) (clouds []string) {
	for _, name := range o365.CloudNames() {
		c, _ := o365.LookupCloud(name)
		if slices.Contains([]string{c.LoginURL, c.APIURL, c.Audience}, strings.TrimSuffix(strings.ToLower(address), "/")) {
			clouds = append(clouds, name)
		}
	}
	return clouds
}
