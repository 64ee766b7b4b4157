package auth_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"in_office365/o365"
	"in_office365/o365/auth"
	"in_office365/test/certificate"
	emulated "in_office365/test/tenant"
)

// What is in a file, in any order, and what is said of files that will not do.
func TestCertificateFiles(t *testing.T) {
	pair, other := certificate.Valid(t), certificate.Valid(t)
	renewed := certificate.Of(t, pair.Key, time.Now(), time.Now().AddDate(2, 0, 0))
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	own, foreign := certificate.Block("CERTIFICATE", pair.Raw), certificate.Block("CERTIFICATE", other.Raw)
	pkcs1 := certificate.Block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(pair.Key))
	pkcs8 := certificate.Block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(pair.Key)))
	ecPKCS8 := certificate.Block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ec)))
	oldEncrypted := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("x")})
	join := func(blocks ...[]byte) []byte { return bytes.Join(blocks, []byte("\n")) }
	p12 := func(c *x509.Certificate, others []*x509.Certificate, password string) []byte {
		return must(pkcs12.Modern.Encode(pair.Key, c, others, password))
	}
	for _, tc := range []struct {
		name     string
		content  []byte
		password string // empty: none is given
		want     string // a part of the error; empty: the certificate is found
	}{
		{"PKCS#8 behind the certificate", join(own, pkcs8), "", ""},
		{"PKCS#1 before the certificate", join(pkcs1, own), "", ""},
		{"chain with the leaf last", join([]byte("Bag Attributes\n    friendlyName: x"), foreign, pkcs8, own), "", ""},
		{"CRLF", bytes.ReplaceAll(join(own, pkcs8), []byte("\n"), []byte("\r\n")), "", ""},
		{"PKCS#12", p12(pair.Certificate, nil, "pa55word"), "pa55word", ""},
		{"PKCS#12 of the older kind", must(pkcs12.LegacyDES.Encode(pair.Key, pair.Certificate, nil, "pa55word")), "pa55word", ""},
		{"PKCS#12 without a password", must(pkcs12.Passwordless.Encode(pair.Key, pair.Certificate, nil, "")), "", ""},
		{"PKCS#12 with the leaf last", p12(other.Certificate, []*x509.Certificate{pair.Certificate}, "pa55word"), "pa55word", ""},

		{"no certificate", pkcs8, "", "it holds no certificate"},
		{"no key", own, "", "it holds no private key"},
		{"two keys", join(own, pkcs1, pkcs8), "", "it holds more than one private key"},
		{"certificate of another key", join(foreign, pkcs8), "", "none of its certificates belongs to its private key"},
		{"EC key", join(own, certificate.Block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ec)))), "", "Entra accepts certificates with RSA keys only"},
		{"EC key in PKCS#8", join(own, ecPKCS8), "", "Entra accepts certificates with RSA keys only"},
		{"encrypted key", join(own, certificate.Block("ENCRYPTED PRIVATE KEY", []byte("x"))), "", "its private key is encrypted, which PEM files may not be here: write it without"},
		{"encrypted key of the old kind", join(own, oldEncrypted), "pa55word", "its private key is encrypted"},
		{"broken key", join(own, certificate.Block("PRIVATE KEY", []byte("x"))), "", "its block PRIVATE KEY cannot be read"},
		{"broken certificate", join(certificate.Block("CERTIFICATE", []byte("x")), pkcs8), "", "its block CERTIFICATE cannot be read"},
		{"PKCS#12, no password given", p12(pair.Certificate, nil, "pa55word"), "", "it is encrypted: give its password"},
		{"PKCS#12, wrong password", p12(pair.Certificate, nil, "pa55word"), "another", "the password is wrong"},
		{"text", []byte("some text"), "", "it is neither PEM nor PKCS#12"},
		{"empty", nil, "", "it is neither PEM nor PKCS#12"},
		{"large", make([]byte, 1<<20+1), "", "it is larger than 1048576 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var password func() (string, error)
			if tc.password != "" {
				password = func() (string, error) { return tc.password, nil }
			}
			c, err := auth.ClientCertificateFile(write(t, tc.content), password)
			switch {
			case tc.want == "" && (err != nil || !c.Expires().Equal(pair.NotAfter)):
				t.Errorf("got %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "pa55word")):
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
	next := certificate.Block("CERTIFICATE", renewed.Raw)
	for name, content := range map[string][]byte{
		"before": join(next, own, pkcs8), "behind": join(own, next, pkcs8),
		"PKCS#12, before": p12(renewed.Certificate, []*x509.Certificate{pair.Certificate}, ""), "PKCS#12, behind": p12(pair.Certificate, []*x509.Certificate{renewed.Certificate}, ""),
	} {
		t.Run("renewed with the same key: "+name, func(t *testing.T) {
			c := must(auth.ClientCertificateFile(write(t, content), nil))
			if !c.Expires().Equal(renewed.NotAfter) {
				t.Errorf("expires at %s", c.Expires())
			}
		})
	}
}

func TestCertificateOutOfDateIsNotPosted(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		name     string
		from, to time.Time
		want     string
		hint     string
	}{
		{"expired", now.AddDate(-1, 0, 0), now.Add(-time.Hour), "the client certificate has expired at ", "register a new certificate"},
		{"not yet valid", now.Add(time.Hour), now.AddDate(1, 0, 0), "the client certificate is not valid before ", "check this machine's clock"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := write(t, certificate.New(t, tc.from, tc.to).PEM(t))
			s := source(t, func(http.ResponseWriter, *http.Request) { t.Error("posted") },
				func(o *auth.Options) { o.Credential = must(auth.ClientCertificateFile(path, nil)) })
			_, err := s.Token(t.Context())
			if e := typed(t, err); e.Action != o365.Reconfigure || !strings.Contains(e.Error(), tc.want) || !strings.Contains(e.Hint, tc.hint) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What the login service says of assertions that it refuses.
func TestRefusedAssertions(t *testing.T) {
	pair, unknown := certificate.Valid(t), certificate.Valid(t)
	issuer, another := certificate.NewKey(t), certificate.NewKey(t)
	const url, subject = "https://oidc.contoso.example", "system:serviceaccount:logging:fluent-bit"
	federated := func(issuer, subject string, expires time.Duration) func(t *testing.T) auth.Credential {
		return func(t *testing.T) auth.Credential {
			return auth.FederatedTokenFile(write(t, []byte(emulated.FederatedToken(another, issuer, subject, time.Now().Add(expires)))))
		}
	}
	signed := func(p certificate.Pair) func(t *testing.T) auth.Credential {
		return func(t *testing.T) auth.Credential { return must(auth.ClientCertificateFile(write(t, p.PEM(t)), nil)) }
	}
	for _, tc := range []struct {
		name       string
		credential func(t *testing.T) auth.Credential
		skew       time.Duration // of the login service's clock
		code, hint string
	}{
		{"certificate not registered", signed(unknown), 0, "AADSTS700027", "certificate is registered"},
		{"local clock ahead", signed(pair), -20 * time.Minute, "AADSTS700024", "clock"},
		{"local clock behind", signed(pair), 20 * time.Minute, "AADSTS700024", "clock"},
		{"federated: another issuer", federated("https://oidc.example.com", subject, time.Hour), 0, "AADSTS700211", "issuer"},
		{"federated: another subject", federated(url, "system:serviceaccount:default:default", time.Hour), 0, "AADSTS700213", "subject"},
		{"federated: out of date", federated(url, subject, -time.Hour), 0, "AADSTS700024", "file is renewed"},
		{"federated: another key", func(t *testing.T) auth.Credential {
			return auth.FederatedTokenFile(write(t, []byte(emulated.FederatedToken(issuer, url, subject, time.Now().Add(time.Hour)))))
		}, 0, "AADSTS700027", "assertion is not accepted"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tn := emulated.New(emulated.Config{ID: tenant, ClientID: clientID, Skew: tc.skew})
			tn.SetCertificates(pair.Certificate)
			tn.SetFederated(emulated.Federated{Issuer: url, Subject: subject, Key: &another.PublicKey})
			s := source(t, tn.ServeHTTP, func(o *auth.Options) { o.Credential = tc.credential(t) })
			_, err := s.Token(t.Context())
			if e := typed(t, err); e.Action != o365.Reconfigure || e.Code != tc.code || !strings.Contains(e.Hint, tc.hint) {
				t.Errorf("got %v, want %s and a hint with %q", err, tc.code, tc.hint)
			}
		})
	}
}

// A file that is replaced counts at the next token; while it cannot be read, the old token does.
func TestCertificateIsReadForEachToken(t *testing.T) {
	old, next := certificate.Valid(t), certificate.New(t, time.Now().Add(-time.Hour), time.Now().AddDate(0, 1, 0))
	tn := emulated.New(emulated.Config{ID: tenant, ClientID: clientID, TokenLife: time.Minute})
	tn.SetCertificates(old.Certificate)
	path := write(t, old.PEM(t))
	credential := must(auth.ClientCertificateFile(path, nil))
	s := source(t, tn.ServeHTTP, func(o *auth.Options) { o.Credential = credential })
	first := must(s.Token(t.Context())).AccessToken
	tn.SetCertificates(next.Certificate)
	if err := os.WriteFile(path, next.PEM(t), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Refuse(first)
	if second := must(s.Token(t.Context())).AccessToken; second == first || !credential.Expires().Equal(next.NotAfter) {
		t.Errorf("expires at %s", credential.Expires())
	}
}

// However a fetch fails, neither the error nor what hangs on it holds an assertion or a key.
func TestErrorsHoldNoAssertion(t *testing.T) {
	key := certificate.NewKey(t)
	jwt := emulated.FederatedToken(key, "https://oidc.contoso.example", "subject", time.Now().Add(time.Hour))
	folder := t.TempDir()
	arc := filepath.Join(folder, "challenge.key")
	if err := os.WriteFile(arc, []byte("arcs~own~key"), 0o600); err != nil {
		t.Fatal(err)
	}
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		said := fmt.Sprint(r.PostForm, r.Header)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("WWW-Authenticate", "Basic realm="+arc)
		w.WriteHeader(http.StatusUnauthorized)
		json.NewEncoder(w).Encode(map[string]string{"error": said, "error_description": said})
	})
	url := serve(t, echo)
	for name, c := range map[string]struct {
		auth.Credential
		confidential string
	}{
		"federated":   {auth.FederatedTokenFile(write(t, []byte(jwt))), jwt},
		"App Service": {must(auth.ManagedIdentity("system", environment("IDENTITY_ENDPOINT", url, "IDENTITY_HEADER", "the~header"))), "the~header"},
		"Arc":         {must(auth.ArcIdentity(folder, environment("IDENTITY_ENDPOINT", url, "IMDS_ENDPOINT", url))), "arcs~own~key"},
	} {
		t.Run(name, func(t *testing.T) {
			s := source(t, echo, func(o *auth.Options) { o.Credential = c.Credential })
			_, err := s.Token(t.Context())
			if !strings.Contains(typed(t, err).Message, "[secret]") {
				t.Errorf("the secret was not sent: %v", err)
			}
			for ; err != nil; err = errors.Unwrap(err) {
				if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, c.confidential) {
					t.Errorf("%T holds the secret: %s", err, text)
				}
			}
		})
	}
}
