package auth

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // x5t is defined by it
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"
	"software.sslmate.com/src/go-pkcs12"

	"in_office365/o365"
)

const (
	// maxCertificateFile is more than a key and a chain of certificates need.
	maxCertificateFile = 1 << 20 // bytes
	// assertionLife is as long as the documentation wants it at most:
	// https://learn.microsoft.com/entra/identity-platform/certificate-credentials
	assertionLife = 10 * time.Minute
)

// ClientCertificateFile is a private key with its certificate, which is
// registered with the application: PEM, unencrypted, or PKCS#12, for which
// password, if it is not nil, is asked. Both may change at any time.
//
// It reads the file once, to tell what is wrong with it. That a certificate is
// not in date is no such thing: it can be replaced.
func ClientCertificateFile(path string, password func() (string, error)) (Credential, error) {
	c := &certificate{}
	c.pair = newShared(func(context.Context) (keyPair, error) {
		pair, err := readKeyPair(path, password)
		if err == nil {
			c.note(pair.leaf.NotAfter)
		}
		return pair, err
	})
	_, err := c.pair.get(context.Background())
	return c, err
}

type certificate struct {
	end
	refusal
	pair *shared[keyPair]
}

func (c *certificate) fetch(ctx context.Context, r request) (*oauth2.Token, error) {
	pair, err := c.pair.get(ctx)
	if err != nil {
		return nil, unreadable(ctx, "client certificate", err)
	}
	now := time.Now()
	refuse := func(problem string, at time.Time, hint string) error {
		return &o365.Error{Op: o365.OpToken, Action: o365.Reconfigure, Hint: hint,
			Err: fmt.Errorf("the client certificate %s %s", problem, at.UTC().Format(time.RFC3339))}
	}
	switch {
	case now.After(pair.leaf.NotAfter):
		return nil, refuse("has expired at", pair.leaf.NotAfter, "register a new certificate with the application and put it in the file")
	case now.Before(pair.leaf.NotBefore):
		return nil, refuse("is not valid before", pair.leaf.NotBefore, "check this machine's clock, or wait")
	}
	return c.post(r, string(pair.leaf.Raw), func() (*oauth2.Token, error) {
		assertion, err := pair.assertion(r, now)
		if err != nil {
			return nil, unreadable(ctx, "client certificate", fmt.Errorf("sign with its key: %w", err))
		}
		return r.postAssertion(ctx, assertion)
	})
}

// keyPair is a private key and the certificate of it.
type keyPair struct {
	key  *rsa.PrivateKey
	leaf *x509.Certificate
}

// assertion is a JWT by which the application proves to hold the key, once:
// signed by PS256, and the certificate named by its SHA-256, as
// https://learn.microsoft.com/entra/identity-platform/certificate-credentials
// says. For the older token endpoint it is RS256 and SHA-1, as
// https://learn.microsoft.com/office/office-365-management-api/get-started-with-office-365-management-apis
// says: that is what those who need that endpoint understand.
func (p keyPair) assertion(r request, now time.Time) (string, error) {
	claims := jwt.MapClaims{
		"aud": r.tokenURL, "iss": r.clientID, "sub": r.clientID, "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	}
	var token *jwt.Token
	if r.v2 {
		token = jwt.NewWithClaims(jwt.SigningMethodPS256, claims)
		thumbprint := sha256.Sum256(p.leaf.Raw)
		token.Header["x5t#S256"] = base64.RawURLEncoding.EncodeToString(thumbprint[:])
	} else {
		token = jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
		thumbprint := sha1.Sum(p.leaf.Raw) //nolint:gosec // RFC 7515 section 4.1.7
		token.Header["x5t"] = base64.RawURLEncoding.EncodeToString(thumbprint[:])
	}
	return token.SignedString(p.key)
}

func readKeyPair(path string, password func() (string, error)) (keyPair, error) {
	content, err := readFile(path, maxCertificateFile)
	if err != nil {
		return keyPair{}, err
	}
	parse := parsePKCS12
	if bytes.Contains(content, []byte("-----BEGIN ")) {
		parse = parsePEM
	}
	key, certificates, err := parse(content, password)
	if err != nil {
		return keyPair{}, err
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return keyPair{}, errors.New("its private key is not RSA: Entra accepts certificates with RSA keys only")
	}
	pair := keyPair{key: private}
	for _, c := range certificates { // a renewed one may stand beside that which it replaces
		if private.PublicKey.Equal(c.PublicKey) && (pair.leaf == nil || c.NotAfter.After(pair.leaf.NotAfter)) {
			pair.leaf = c
		}
	}
	if pair.leaf == nil {
		return keyPair{}, errors.New("none of its certificates belongs to its private key")
	}
	return pair, nil
}

// parsePKCS12 returns the private key and the certificates, whatever their order.
func parsePKCS12(content []byte, password func() (string, error)) (key any, certificates []*x509.Certificate, err error) {
	secret := ""
	if password != nil {
		if secret, err = password(); err != nil {
			return nil, nil, fmt.Errorf("its password: %w", err)
		}
	}
	key, first, others, err := pkcs12.DecodeChain(content, secret)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword) && password == nil:
		return nil, nil, errors.New("it is encrypted: give its password")
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, nil, errors.New("the password is wrong")
	case err != nil:
		return nil, nil, fmt.Errorf("it is neither PEM nor PKCS#12 with one key and its certificate: %w", err)
	}
	return key, append(others, first), nil
}

// parsePEM returns the private key and the certificates, whatever their order.
// Encrypted keys are refused: the old kind protects nothing (RFC 1423, without
// integrity), and the new one is what PKCS#12 is for.
func parsePEM(content []byte, _ func() (string, error)) (key any, certificates []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, content = pem.Decode(content); block == nil {
			break
		}
		if strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") || block.Type == "ENCRYPTED PRIVATE KEY" {
			return nil, nil, errors.New("its private key is encrypted, which PEM files may not be here: " +
				"write it without (openssl pkey -in FILE), or make a PKCS#12 file with a password of it (openssl pkcs12 -export -in FILE)")
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") && key != nil {
			return nil, nil, errors.New("it holds more than one private key")
		}
		switch block.Type {
		case "CERTIFICATE":
			var c *x509.Certificate
			if c, err = x509.ParseCertificate(block.Bytes); err == nil {
				certificates = append(certificates, c)
			}
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("its block %s cannot be read: %w", block.Type, err)
		}
	}
	switch {
	case key == nil:
		return nil, nil, errors.New("it holds no private key")
	case len(certificates) == 0:
		return nil, nil, errors.New("it holds no certificate")
	}
	return key, certificates, nil
}
