package tenant_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"in_office365/test/certificate"
	"in_office365/test/tenant"
)

// An assertion that is right is accepted once, and whatever is wrong with it is found.
func TestAssertionsAreVerified(t *testing.T) {
	const path = "/" + tenant.DefaultID + "/oauth2/v2.0/token"
	pair, other := certificate.Valid(t), certificate.Valid(t)
	old := certificate.Of(t, pair.Key, time.Now().AddDate(-1, 0, 0), time.Now().Add(-time.Hour))
	now := time.Now().Unix()
	sha256Of := func(p certificate.Pair) string {
		sum := sha256.Sum256(p.Raw)
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}
	sha1Sum := sha1.Sum(pair.Raw)
	sha1Of := base64.RawURLEncoding.EncodeToString(sha1Sum[:])
	type changes map[string]any // nil removes
	for _, tc := range []struct {
		name           string
		method         jwt.SigningMethod
		header, claims changes
		signer         certificate.Pair
		aadsts         int // 0: accepted
	}{
		{"PS256", jwt.SigningMethodPS256, nil, nil, pair, 0},
		{"RS256", jwt.SigningMethodRS256, changes{"x5t#S256": nil, "x5t": sha1Of}, nil, pair, 0},
		{"PS256 with SHA-1", jwt.SigningMethodPS256, changes{"x5t#S256": nil, "x5t": sha1Of}, nil, pair, 700211},
		{"RS256 with SHA-256", jwt.SigningMethodRS256, nil, nil, pair, 700211},
		{"another algorithm", jwt.SigningMethodPS512, nil, nil, pair, 700211},
		{"another certificate", jwt.SigningMethodPS256, changes{"x5t#S256": sha256Of(other)}, nil, other, 700027},
		{"a certificate out of date", jwt.SigningMethodPS256, changes{"x5t#S256": sha256Of(old)}, nil, pair, 700027},
		{"another key", jwt.SigningMethodPS256, nil, nil, other, 700027},
		{"another endpoint", jwt.SigningMethodPS256, nil, changes{"aud": "https://manage.office.com/" + tenant.DefaultID + "/oauth2/token"}, pair, 50012},
		{"another issuer", jwt.SigningMethodPS256, nil, changes{"iss": tenant.DefaultID}, pair, 700021},
		{"another subject", jwt.SigningMethodPS256, nil, changes{"sub": tenant.DefaultID}, pair, 700021},
		{"over", jwt.SigningMethodPS256, nil, changes{"exp": now - 600}, pair, 700024},
		{"not yet valid", jwt.SigningMethodPS256, nil, changes{"nbf": now + 600}, pair, 700024},
		{"issued in the future", jwt.SigningMethodPS256, nil, changes{"iat": now + 600}, pair, 700024},
		{"without an end", jwt.SigningMethodPS256, nil, changes{"exp": nil}, pair, 700024},
		{"for ever", jwt.SigningMethodPS256, nil, changes{"exp": now + 100_000}, pair, 700024},
		{"without nbf", jwt.SigningMethodPS256, nil, changes{"nbf": nil}, pair, 50027},
		{"without jti", jwt.SigningMethodPS256, nil, changes{"jti": nil}, pair, 50027},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tn := tenant.New(tenant.Config{})
			tn.SetCertificates(pair.Certificate, old.Certificate)
			claims := jwt.MapClaims{"aud": "https://manage.office.com" + path, "iss": tenant.DefaultClientID, "sub": tenant.DefaultClientID,
				"jti": "1", "iat": now, "nbf": now, "exp": now + 600}
			token := jwt.NewWithClaims(tc.method, claims)
			token.Header["x5t#S256"] = sha256Of(pair)
			apply := func(to map[string]any, c changes) {
				maps.Copy(to, c)
				maps.DeleteFunc(to, func(_ string, v any) bool { return v == nil })
			}
			apply(token.Header, tc.header)
			apply(claims, tc.claims)
			assertion, err := token.SignedString(tc.signer.Key)
			if err != nil {
				t.Fatal(err)
			}
			form := grant("client_secret", "", "client_assertion", assertion, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
			c := inMemory(t, tn)
			wantNumber(t, c.post(path, form), tc.aadsts)
			if tc.aadsts == 0 {
				wantNumber(t, c.post(path, form), 50027) // used
			}
		})
	}
}

// wantNumber checks the AADSTS number of an answer; 0: there is a token.
func wantNumber(t *testing.T, a answer, want int) {
	t.Helper()
	var body struct {
		AccessToken string `json:"access_token"`
		ErrorCodes  []int  `json:"error_codes"`
	}
	a.decode(&body)
	got := 0
	if len(body.ErrorCodes) > 0 {
		got = body.ErrorCodes[0]
	}
	if got != want || (body.AccessToken != "") != (want == 0) {
		t.Errorf("got %d, want %d: %s", got, want, a.body)
	}
}

func TestExpiredSecretIsRefused(t *testing.T) {
	const path = "/" + tenant.DefaultID + "/oauth2/v2.0/token"
	c := inMemory(t, tenant.New(tenant.Config{}))
	c.tenant.ExpireSecret()
	wantNumber(t, c.post(path, grant()), 7000222)
	c.tenant.SetSecret("another")
	wantNumber(t, c.post(path, grant()), 7000215)
	wantNumber(t, c.post(path, grant("client_secret", "another")), 0)
}
