package e2e

import (
	"crypto/rsa"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"in_office365/test/certificate"
	"in_office365/test/tenant"
)

// rotation is a credential that is replaced while the plugin collects.
type rotation struct {
	keys keys
	env  []string // of the host
	next func()   // makes the tenant refuse the old one and take a new one
	put  func()   // gives the plugin the new one; nil: there is nothing to give
}

// rotations are one for each kind of credential that can change under a running process.
var rotations = map[string]func(*trial) rotation{
	"secret file": func(x *trial) rotation {
		path := x.write("secret", []byte(tenant.DefaultClientSecret+"\n"))
		return secretRotation(x, keys{"client_secret_file": path}, path)
	},
	"secret command": func(x *trial) rotation {
		path := x.write("the secret", []byte(tenant.DefaultClientSecret+"\n"))
		return secretRotation(x, keys{"client_secret_command": "cat '" + path + "'"}, path)
	},
	"certificate, PEM": func(x *trial) rotation {
		return certificateRotation(x, keys{}, func(p certificate.Pair) []byte { return p.PEM(x) })
	},
	"certificate, PEM, v1": func(x *trial) rotation {
		return certificateRotation(x, keys{"token_path": "/oauth2/token"}, func(p certificate.Pair) []byte { return p.PEM(x) })
	},
	"certificate, PKCS12": func(x *trial) rotation {
		return certificateRotation(x, keys{"client_certificate_password": "pass word"}, func(p certificate.Pair) []byte { return p.PKCS12(x, "pass word") })
	},
	"certificate, PKCS12, another password": func(x *trial) rotation {
		passwords := 0
		return certificateRotation(x, keys{"client_certificate_password_file": filepath.Join(x.dir, "password")}, func(p certificate.Pair) []byte {
			passwords++
			password := fmt.Sprint("pass word ", passwords)
			x.write("password", []byte(password+"\n"))
			return p.PKCS12(x, password)
		})
	},
	"federated token": func(x *trial) rotation {
		const issuer, subject = "https://oidc.contoso.example", "system:serviceaccount:logging:fluent-bit"
		trust := func(key *rsa.PrivateKey) {
			x.tenant.SetFederated(tenant.Federated{Issuer: issuer, Subject: subject, Key: &key.PublicKey})
		}
		token := func(key *rsa.PrivateKey) []byte {
			return []byte(tenant.FederatedToken(key, issuer, subject, time.Now().Add(time.Hour)))
		}
		old, next := certificate.NewKey(x), certificate.NewKey(x)
		trust(old)
		path := x.write("token", token(old))
		return rotation{
			keys: keys{"tenant_id": "", "client_id": ""}, // from the environment, with the rest
			env: []string{
				"AZURE_FEDERATED_TOKEN_FILE=" + path, "AZURE_TENANT_ID=" + tenant.DefaultID, "AZURE_CLIENT_ID=" + tenant.DefaultClientID,
			},
			next: func() { trust(next) },
			put:  func() { x.write("token", token(next)) },
		}
	},
	"managed identity, VM": func(x *trial) rotation {
		return rotation{
			keys: keys{"managed_identity": tenant.DefaultClientID},
			env:  []string{"AZURE_POD_IDENTITY_AUTHORITY_HOST=" + x.serveIdentity(x.tenant.VirtualMachine())},
			next: func() {},
		}
	},
	"managed identity, App Service": func(x *trial) rotation {
		return rotation{
			keys: keys{"managed_identity": "system", "client_id": ""},
			env:  []string{"IDENTITY_ENDPOINT=" + x.serveIdentity(x.tenant.AppService("the~identity~header")) + "/msi/token", "IDENTITY_HEADER=the~identity~header"},
			next: func() {},
		}
	},
	"managed identity, Azure Arc": func(x *trial) rotation {
		url := x.serveIdentity(x.tenant.Arc(arcKeys))
		return rotation{
			keys: keys{"managed_identity": "system", "client_id": ""},
			env:  []string{"IMDS_ENDPOINT=" + url, "IDENTITY_ENDPOINT=" + url + "/metadata/identity/oauth2/token"},
			next: func() {},
		}
	},
}

func secretRotation(x *trial, k keys, path string) rotation {
	const next = "example~secret~that~comes~next"
	return rotation{keys: k, next: func() { x.tenant.SetSecret(next) }, put: func() { x.write(filepath.Base(path), []byte(next)) }}
}

func certificateRotation(x *trial, k keys, encode func(certificate.Pair) []byte) rotation {
	old, next := certificate.Valid(x), certificate.Valid(x)
	x.tenant.SetCertificates(old.Certificate)
	k["client_certificate_file"] = x.write("certificate", encode(old))
	return rotation{keys: k, next: func() { x.tenant.SetCertificates(next.Certificate) }, put: func() { x.write("certificate", encode(next)) }}
}

// write replaces a file, as what renews a credential does.
func (x *trial) write(name string, content []byte) (path string) {
	x.Helper()
	path = filepath.Join(x.dir, name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		x.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		x.Fatal(err)
	}
	return path
}

func (x *trial) serveIdentity(h http.Handler) (url string) {
	server := httptest.NewServer(h)
	x.Cleanup(server.Close)
	return server.URL
}

// Every kind of credential is replaced while the plugin collects, and nobody starts it again: nothing is missing, nothing comes twice,
// and nothing that is confidential is printed at any level.
func TestCredentialsRotate(t *testing.T) {
	t.Parallel()
	for name, rotate := range rotations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newTrial(t, subscribed())
			x.keys["client_secret"] = ""
			r := rotate(x)
			x.env = r.env
			for key, value := range r.keys {
				x.keys[key] = value
			}
			x.offer(6, 3, x.ago(6*day), x.ago(time.Minute))
			x.start("--log-level", "trace")
			x.wait()
			before := x.tenant.Account().TokensIssued
			r.next()
			x.tenant.RevokeTokens()
			x.offer(3, 3, x.ago(10*time.Minute), x.ago(time.Minute))
			if r.put != nil {
				x.waitForNotice("access_refused", tenant.ContentTypes()...)
				r.put()
			}
			x.wait()
			x.stop()
			if r.put != nil {
				x.wantNotice("access_refused", tenant.ContentTypes()...)
			}
			if x.tenant.Account().TokensIssued == before {
				x.Error("no token was issued after the old ones were revoked")
			}
			x.account(0, oneRun)
			x.printsNothingConfidential()
			t.Logf("tokens by %v; offered %d records, delivered %d, missing %d, repeated %d",
				x.tenant.Account().Proofs, x.verdict.offered, x.verdict.delivered, x.verdict.missing, x.verdict.repeated)
		})
	}
}
