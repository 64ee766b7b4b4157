package o365

import (
	"slices"
	"strings"
)

// A Cloud is one of Microsoft's separate Office 365 environments. The three
// URLs belong together: a token for the audience of one cloud is worth nothing
// at the API host of another.
type Cloud struct {
	Name     string // as users write it, e.g. "gcc_high"
	LoginURL string // Microsoft Entra, where tokens come from
	APIURL   string // root of the Management Activity API
	Audience string // the resource a token must be issued for
}

// API roots: https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-reference
// Login hosts: https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud
// The API root of China (21Vianet) is on neither page; it is the one in use there.
var clouds = [...]Cloud{
	{"enterprise", "https://login.microsoftonline.com", "https://manage.office.com", "https://manage.office.com"},
	{"gcc", "https://login.microsoftonline.com", "https://manage-gcc.office.com", "https://manage-gcc.office.com"},
	{"gcc_high", "https://login.microsoftonline.us", "https://manage.office365.us", "https://manage.office365.us"},
	{"dod", "https://login.microsoftonline.us", "https://manage.protection.apps.mil", "https://manage.protection.apps.mil"},
	{"china", "https://login.partner.microsoftonline.cn", "https://manage.office365.cn", "https://manage.office365.cn"},
}

// LookupCloud returns the cloud of that exact name.
func LookupCloud(name string) (Cloud, bool) {
	i := slices.IndexFunc(clouds[:], func(c Cloud) bool { return c.Name == name })
	if i < 0 {
		return Cloud{}, false
	}
	return clouds[i], true
}

// CloudNames lists the names that LookupCloud knows, the most usual first.
func CloudNames() []string {
	names := make([]string, len(clouds))
	for i, c := range clouds {
		names[i] = c.Name
	}
	return names
}

// CloudsOf names the clouds that an address belongs to: a login host's, an API
// root, or an audience.
func CloudsOf(address string) (names []string) {
	address = strings.ToLower(strings.TrimSuffix(address, "/"))
	for _, c := range clouds {
		if slices.Contains([]string{c.LoginURL, c.APIURL, c.Audience}, address) {
			names = append(names, c.Name)
		}
	}
	return names
}
