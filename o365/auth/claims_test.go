package auth_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"in_office365/o365"
	"in_office365/o365/auth"
)

// token is a JWT with these claims.
func token(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"typ":"JWT","alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
}

func TestTokensForAnotherTenantOrCloud(t *testing.T) {
	const other = "22222222-3333-4444-5555-666666666666"
	for _, tc := range []struct {
		name, token string
		want        string // in the error; empty: the token is good
	}{
		{"right", token(`{"aud":"https://manage.office.com","tid":"` + tenant + `","roles":["ActivityFeed.Read"]}`), ""},
		{"audience with a slash", token(`{"aud":"https://MANAGE.office.com/","tid":"` + strings.ToUpper(tenant) + `"}`), ""},
		{"audience by its application's GUID", token(`{"aud":"c5393580-f805-4401-95e8-94b7a6ef2fc2","tid":"` + tenant + `"}`), ""},
		{"no JWT", "opaque", ""},
		{"no claims", "a.b.c", ""},
		{"claims of other types", token(`{"aud":["https://graph.microsoft.com"],"tid":1}`), ""},
		{"another tenant", token(`{"aud":"https://manage.office.com","tid":"` + other + `"}`),
			"the token is for tenant " + other + ", not for " + tenant + " (set tenant_id to " + other + ", or take a credential of the other tenant)"},
		{"no tenant's name", token(`{"aud":"https://manage.office.com","tid":"a\nb"}`),
			"the token is for tenant a b, not for " + tenant + " (check tenant and credential)"},
		{"another cloud", token(`{"aud":"https://manage.office365.us","tid":"` + tenant + `"}`),
			"the token is for https://manage.office365.us, not for https://manage.office.com (set cloud to gcc_high, or check audience)"},
		{"another service", token(`{"aud":"https://graph.microsoft.com","tid":"` + tenant + `"}`),
			"the token is for https://graph.microsoft.com, not for https://manage.office.com (check cloud and audience)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := source(t, func(w http.ResponseWriter, r *http.Request) { issue(w, tc.token) })
			_, err := s.Token(t.Context())
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if e := typed(t, err); e.Action != o365.Reconfigure || e.Error() != "get token: "+tc.want {
				t.Errorf("got  %v\nwant get token: %s", e, tc.want)
			}
			if strings.Contains(err.Error(), tc.token) {
				t.Error("the error holds the token")
			}
		})
	}
}

// What a token lacks is told, and no reason to refuse it: consent may come within minutes.
func TestPermissionsOfATokenAreTold(t *testing.T) {
	for claims, may := range map[string]bool{
		`{"tid":"` + tenant + `","appid":"` + clientID + `","roles":["ActivityFeed.Read"]}`:  true,
		`{"tid":"` + tenant + `","azp":"` + clientID + `","roles":["ActivityFeed.ReadDlp"]}`: false,
		`{"tid":"` + tenant + `","azp":"` + clientID + `"}`:                                  false,
	} {
		var told []auth.Claims
		s := source(t, func(w http.ResponseWriter, r *http.Request) { issue(w, token(claims)) },
			func(o *auth.Options) { o.OnToken = func(c auth.Claims) { told = append(told, c) } })
		if _, known := s.Claims(); known {
			t.Error("claims without a token")
		}
		wantToken(t, s, token(claims))
		if got, known := s.Claims(); !known || len(told) != 1 || fmt.Sprint(told[0]) != fmt.Sprint(got) || got.May(auth.PermissionRead) != may || got.App != clientID {
			t.Errorf("%s: got %v, told %v", claims, got, told)
		}
	}
}
