package o365_test

import (
	"slices"
	"strings"
	"testing"

	"in_office365/o365"
)

func TestParseContentType(t *testing.T) {
	for _, want := range o365.ContentTypes() {
		for _, name := range []string{string(want), strings.ToLower(string(want)), strings.ToUpper(string(want))} {
			if got, err := o365.ParseContentType(name); err != nil || got != want {
				t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
			}
		}
	}
	for _, name := range []string{"", "Audit", "Audit.General "} {
		_, err := o365.ParseContentType(name)
		if err == nil || !strings.Contains(err.Error(), string(o365.DLPAll)) {
			t.Errorf("%q: got %v, want an error that lists what is known", name, err)
		}
	}
}

func TestClouds(t *testing.T) {
	if got, want := o365.CloudNames(), []string{"enterprise", "gcc", "gcc_high", "dod", "china"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, name := range o365.CloudNames() {
		cloud, ok := o365.LookupCloud(name)
		if !ok || cloud.Name != name {
			t.Errorf("%s: got %v, %v", name, cloud, ok)
		}
		for _, raw := range []string{cloud.LoginURL, cloud.APIURL, cloud.Audience} {
			if u := parse(t, raw); o365.CheckEndpoint(u, false) != nil || u.Path != "" {
				t.Errorf("%s: %s is not https://host", name, raw)
			}
		}
		if cloud.APIURL != cloud.Audience {
			t.Errorf("%s: tokens for %s are of no use at %s", name, cloud.Audience, cloud.APIURL)
		}
	}
	if _, ok := o365.LookupCloud("elsewhere"); ok {
		t.Error("found a cloud that does not exist")
	}
}
