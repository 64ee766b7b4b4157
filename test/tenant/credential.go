package tenant

import (
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // x5t is defined by it
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// credentials are those registered with the application. Tenant.mu guards them.
type credentials struct {
	secret        string
	secretExpired bool
	certificates  []*x509.Certificate
	federated     Federated
	used          map[string]bool // jti of assertions
	seen          map[string]bool // secrets, assertions and tokens
}

// Federated is a federated credential of the application: the tokens of that issuer for that subject are as good as a secret.
type Federated struct {
	Issuer, Subject string
	Key             *rsa.PublicKey // of the issuer
}

// FederatedAudience is what a token of another issuer must be for.
const FederatedAudience = "api://AzureADTokenExchange"

// The proofs that tokens are issued for, besides the algorithms of assertions signed by a certificate's key.
const (
	bySecret          = "secret"
	byFederated       = "federated"
	byManagedIdentity = "managed identity"
)

const (
	// assertionSkew is how far an assertion's clock may be off.
	assertionSkew = 5 * time.Minute
	// maxAssertionLife is longer than any assertion needs.
	maxAssertionLife = 24 * time.Hour
)

// SetSecret changes the client secret: from now on the old one is refused. Tokens stay good.
func (t *Tenant) SetSecret(secret string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.credentials.secret, t.credentials.secretExpired = secret, false
}

// ExpireSecret lets the client secret be over, until another is set.
func (t *Tenant) ExpireSecret() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.credentials.secretExpired = true
}

// SetCertificates registers certificates with the application in place of those it has.
func (t *Tenant) SetCertificates(certificates ...*x509.Certificate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.credentials.certificates = certificates
}

// SetFederated registers a federated credential with the application in place of the one it has.
func (t *Tenant) SetFederated(f Federated) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.credentials.federated = f
}

// Confidential lists every secret and assertion that has been presented, and every token issued: nobody must print one.
func (t *Tenant) Confidential() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.credentials.seen))
}

func (t *Tenant) see(confidential ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range confidential {
		if c != "" {
			t.credentials.seen[c] = true
		}
	}
}

// prove checks that a request for a token comes from the application, and says by what. endpoint is the URL as called.
func (t *Tenant) prove(secret string, form url.Values, endpoint string) (proof string, refused *loginError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	assertion := form.Get("client_assertion")
	switch {
	case assertion != "" && form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
		return "", &loginError{http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the following parameter: 'client_assertion_type'."}
	case assertion != "" && secret != "":
		return "", &loginError{http.StatusBadRequest, "invalid_request", 7000216, "Only one of 'client_assertion' and 'client_secret' may be present."}
	case assertion != "":
		return t.proveByAssertion(assertion, endpoint)
	case secret == "":
		return "", invalidClient(7000216, "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.")
	case secret != t.credentials.secret:
		return "", invalidClient(7000215, "Invalid client secret provided.")
	case t.credentials.secretExpired:
		return "", invalidClient(7000222, "The provided client secret keys for app '"+t.config.ClientID+"' are expired.")
	}
	return bySecret, nil
}

func invalidClient(number int, message string) *loginError {
	return &loginError{http.StatusUnauthorized, "invalid_client", number, message}
}

// proveByAssertion checks a JWT: one signed by the key of a certificate if its header names that, else one of another issuer. t.mu is held.
func (t *Tenant) proveByAssertion(assertion, endpoint string) (proof string, refused *loginError) {
	var claims jwt.RegisteredClaims
	token, _, err := jwt.NewParser().ParseUnverified(assertion, &claims)
	if err != nil {
		return "", invalidClient(50027, "JWT token is invalid or malformed.")
	}
	form, key, refused := t.assertionKey(token, claims)
	if refused != nil {
		return "", refused
	}
	audience := endpoint
	if form == byFederated {
		audience = FederatedAudience
	}
	_, err = jwt.NewParser(
		jwt.WithTimeFunc(t.now), jwt.WithLeeway(assertionSkew), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithAudience(audience),
		jwt.WithValidMethods([]string{token.Method.Alg()}),
	).ParseWithClaims(assertion, &claims, func(*jwt.Token) (any, error) { return key, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable), errors.Is(err, jwt.ErrTokenMalformed):
		return "", invalidClient(700027, "The certificate with identifier used to sign the client assertion is not registered on application, or the signature is wrong.")
	case errors.Is(err, jwt.ErrTokenInvalidAudience) && form == byFederated:
		return "", invalidClient(700212, "No matching federated identity record found for presented assertion audience.")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return "", invalidClient(50012, "Client assertion audience claim does not match Realm issuer.")
	case err != nil, claims.ExpiresAt.Sub(t.now()) > maxAssertionLife:
		return "", invalidClient(700024, "Client assertion is not within its valid time range.")
	case form == byFederated:
		return form, nil // it may be used until it expires
	case claims.Issuer != t.config.ClientID || claims.Subject != t.config.ClientID:
		return "", invalidClient(700021, "Client assertion application identifier doesn't match 'client_id' parameter.")
	case claims.NotBefore == nil || claims.IssuedAt == nil || claims.ID == "" || t.credentials.used[claims.ID]:
		return "", invalidClient(50027, "JWT token is invalid: nbf, iat or jti is missing, or jti has been used.")
	}
	t.credentials.used[claims.ID] = true
	return form, nil
}

// assertionKey finds the key that must have signed a JWT, and says of what form that is. t.mu is held.
func (t *Tenant) assertionKey(token *jwt.Token, claims jwt.RegisteredClaims) (form string, key *rsa.PublicKey, refused *loginError) {
	form = token.Method.Alg()
	thumbprint, name := sha256Thumbprint, "x5t#S256"
	if form == jwt.SigningMethodRS256.Alg() {
		thumbprint, name = sha1Thumbprint, "x5t"
	}
	if named, ok := token.Header[name].(string); ok && (form == jwt.SigningMethodRS256.Alg() || form == jwt.SigningMethodPS256.Alg()) {
		for _, c := range t.credentials.certificates {
			key, isRSA := c.PublicKey.(*rsa.PublicKey)
			if isRSA && thumbprint(c.Raw) == named && t.now().After(c.NotBefore) && t.now().Before(c.NotAfter) {
				return form, key, nil
			}
		}
		return "", nil, invalidClient(700027, "The certificate with identifier used to sign the client assertion is not registered on application, or not in date.")
	}
	switch f := t.credentials.federated; {
	case f.Key == nil || claims.Issuer != f.Issuer:
		return "", nil, invalidClient(700211, "No matching federated identity record found for presented assertion issuer.")
	case claims.Subject != f.Subject:
		return "", nil, invalidClient(700213, "No matching federated identity record found for presented assertion subject.")
	default:
		return byFederated, f.Key, nil
	}
}

func sha1Thumbprint(der []byte) string {
	sum := sha1.Sum(der) //nolint:gosec // RFC 7515 section 4.1.7
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func sha256Thumbprint(der []byte) string {
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// FederatedToken is a token of another issuer, as a federated credential of the application allows.
func FederatedToken(key *rsa.PrivateKey, issuer, subject string, expires time.Time) string {
	claims := jwt.RegisteredClaims{
		Issuer: issuer, Subject: subject, Audience: jwt.ClaimStrings{FederatedAudience}, IssuedAt: jwt.NewNumericDate(time.Now()),
		ExpiresAt: jwt.NewNumericDate(expires),
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(key)
	if err != nil {
		panic(err) // an RSA key signs
	}
	return token
}
