package auth_test

import (
	"fmt"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"in_office365/o365"
	"in_office365/o365/auth"
	"in_office365/test/certificate"
)

// 500 tenants share a credential that the login service refuses: one of them goes on trying it, as often as it would alone. What
// replaces it is tried at once; and if the login service changes its mind, that shows within two minutes.
func TestACredentialKnownToBeBadIsPostedByOneTenant(t *testing.T) {
	for _, tc := range []struct {
		name    string
		number  int // of the refusal
		content func(*testing.T) []byte
		read    func(path string) auth.Credential
	}{
		{"wrong secret", 7000215, func(*testing.T) []byte { return fmt.Append(nil, "secret of ", time.Now()) }, auth.ClientSecretFile},
		{"expired secret", 7000222, func(*testing.T) []byte { return fmt.Append(nil, "secret of ", time.Now()) }, auth.ClientSecretFile},
		{"certificate", 700027, func(t *testing.T) []byte { return certificate.Valid(t).PEM(t) },
			func(path string) auth.Credential { return must(auth.ClientCertificateFile(path, nil)) }},
		{"federated token", 700027, func(*testing.T) []byte { return fmt.Append(nil, "token of ", time.Now()) }, auth.FederatedTokenFile},
	} {
		for _, replaced := range []bool{true, false} {
			t.Run(fmt.Sprint(tc.name, ", replaced: ", replaced), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					path := write(t, tc.content(t))
					credential := tc.read(path)
					posts, good := 0, false
					login := func(w http.ResponseWriter, r *http.Request) {
						if posts++; good {
							issue(w, "token")
							return
						}
						w.Header().Set("Content-Type", "application/json")
						w.WriteHeader(http.StatusUnauthorized)
						fmt.Fprintf(w, `{"error":"invalid_client","error_description":"AADSTS%d: Refused."}`, tc.number)
					}
					of := func(tenant int) *auth.Source {
						return source(t, login, func(o *auth.Options) {
							o.Tenant, o.Credential = fmt.Sprintf("00000000-0000-4000-8000-%012d", tenant), credential
						})
					}
					var sources []*auth.Source
					for i := range 500 {
						sources = append(sources, of(i))
					}
					for range 3 * 60 {
						for _, s := range sources {
							if _, err := s.Token(t.Context()); typed(t, err).Action != o365.Reconfigure || typed(t, err).Code != fmt.Sprint("AADSTS", tc.number) {
								t.Fatalf("got %v", err)
							}
						}
						time.Sleep(time.Second)
					}
					if posts > 12 { // 1+2+4+8+16+32 seconds, then one a minute, and some more that take over
						t.Errorf("%d posts in three minutes", posts)
					}

					good = true
					if replaced {
						if err := os.WriteFile(path, tc.content(t), 0o600); err != nil {
							t.Fatal(err)
						}
						wantToken(t, of(500), "token")
						time.Sleep(time.Minute)
					} else {
						for range 2 * 60 { // the one that tries it, then each when its pause is over
							for _, s := range sources {
								_, _ = s.Token(t.Context())
							}
							time.Sleep(time.Second)
						}
					}
					for _, s := range sources {
						wantToken(t, s, "token")
					}
				})
			})
		}
	}
}
