package auth_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"in_office365/o365"
	"in_office365/o365/auth"
	"in_office365/test/certificate"
	emulated "in_office365/test/tenant"
)

// write puts content into a new file.
func write(t testing.TB, content []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// environment is one for ManagedIdentity.
func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func serve(t testing.TB, h http.Handler) (url string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// must is for what a test has made itself.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// kinds are all kinds of credentials: each registers one with the tenant, and gives it to the plugin.
func kinds(t *testing.T) []kind {
	pair, issuer := certificate.Valid(t), certificate.NewKey(t)
	password := func() (string, error) { return "pass word", nil }
	pemFile, p12File := write(t, pair.PEM(t)), write(t, pair.PKCS12(t, "pass word"))
	const issuerURL, subject = "https://oidc.contoso.example", "system:serviceaccount:logging:fluent-bit"
	return []kind{
		{"secret", "", "secret", func(tn *emulated.Tenant) auth.Credential { return auth.ClientSecret(emulated.DefaultClientSecret) }},
		{"secret file", "", "secret", func(tn *emulated.Tenant) auth.Credential {
			return auth.ClientSecretFile(write(t, []byte(emulated.DefaultClientSecret+"\n")))
		}},
		{"secret command", "", "secret", func(tn *emulated.Tenant) auth.Credential {
			return auth.ClientSecretCommand([]string{"echo", emulated.DefaultClientSecret})
		}},
		{"certificate, PEM", "", "PS256", func(tn *emulated.Tenant) auth.Credential {
			tn.SetCertificates(pair.Certificate)
			return must(auth.ClientCertificateFile(pemFile, nil))
		}},
		{"certificate, PKCS#12", "", "PS256", func(tn *emulated.Tenant) auth.Credential {
			tn.SetCertificates(pair.Certificate)
			return must(auth.ClientCertificateFile(p12File, password))
		}},
		{"certificate, PEM, v1", auth.TokenPathV1, "RS256", func(tn *emulated.Tenant) auth.Credential {
			tn.SetCertificates(pair.Certificate)
			return must(auth.ClientCertificateFile(pemFile, nil))
		}},
		{"federated token", "", "federated", func(tn *emulated.Tenant) auth.Credential {
			tn.SetFederated(emulated.Federated{Issuer: issuerURL, Subject: subject, Key: &issuer.PublicKey})
			return auth.FederatedTokenFile(write(t, []byte(emulated.FederatedToken(issuer, issuerURL, subject, time.Now().Add(time.Hour)))))
		}},
		{"managed identity, VM", "", "managed identity", func(tn *emulated.Tenant) auth.Credential {
			return must(auth.ManagedIdentity(emulated.DefaultClientID, environment("AZURE_POD_IDENTITY_AUTHORITY_HOST", serve(t, tn.VirtualMachine()))))
		}},
		{"managed identity, App Service", "", "managed identity", func(tn *emulated.Tenant) auth.Credential {
			return must(auth.ManagedIdentity(auth.SystemIdentity, environment("IDENTITY_ENDPOINT", serve(t, tn.AppService("the header"))+"/msi/token", "IDENTITY_HEADER", "the header")))
		}},
		{"managed identity, Azure Arc", "", "managed identity", func(tn *emulated.Tenant) auth.Credential {
			folder := t.TempDir()
			url := serve(t, tn.Arc(folder))
			return must(auth.ArcIdentity(folder, environment("IDENTITY_ENDPOINT", url+"/metadata/identity/oauth2/token", "IMDS_ENDPOINT", url)))
		}},
	}
}

type kind struct {
	name      string
	tokenPath string
	proof     string // what the login service must have seen
	register  func(*emulated.Tenant) auth.Credential
}

// Each kind of credential in each cloud gets a token from a login service that verifies what it is given, and the API takes that
// token. Requests reach the hosts of that cloud alone.
func TestEveryCredentialInEveryCloud(t *testing.T) {
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "credential")
	for _, cloud := range o365.CloudNames() {
		fmt.Fprint(w, "\t", cloud)
	}
	fmt.Fprintln(w)
	for _, k := range kinds(t) {
		fmt.Fprint(w, k.name)
		for _, name := range o365.CloudNames() {
			verdict := k.proof
			if !t.Run(k.name+" "+name, func(t *testing.T) { collects(t, k, name) }) {
				verdict = "FAILED"
			}
			fmt.Fprint(w, "\t", verdict)
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	t.Logf("accepted as:\n%s", &table)
}

func collects(t *testing.T, k kind, cloudName string) {
	cloud, _ := o365.LookupCloud(cloudName)
	tn := emulated.New(emulated.Config{Audience: cloud.Audience})
	login, api := must(url.Parse(cloud.LoginURL)), must(url.Parse(cloud.APIURL))
	inMemory := tn.RoundTripper()
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		host := login.Host
		if strings.HasPrefix(r.URL.Path, "/api/") {
			host = api.Host
		}
		if r.URL.Scheme != "https" || r.URL.Host != host {
			t.Errorf("called %s", r.URL)
		}
		return inMemory.RoundTrip(r)
	})}
	var granted []auth.Claims
	source, err := auth.New(auth.Options{Tenant: emulated.DefaultID, ClientID: emulated.DefaultClientID, Credential: k.register(tn),
		LoginURL: login, TokenPath: k.tokenPath, Audience: cloud.Audience, HTTPClient: client, OnToken: func(c auth.Claims) { granted = append(granted, c) }})
	if err != nil {
		t.Fatal(err)
	}
	c, err := o365.New(o365.Options{Tenant: emulated.DefaultID, APIURL: api, HTTPClient: client, Tokens: source})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Subscriptions(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(tn.Account().Proofs), fmt.Sprint(map[string]int{k.proof: 1}); got != want {
		t.Errorf("the login service saw %s, want %s", got, want)
	}
	want := auth.Claims{Audience: cloud.Audience, Tenant: emulated.DefaultID, App: emulated.DefaultClientID, Roles: []string{"ActivityFeed.Read", "ActivityFeed.ReadDlp"}}
	if got, ok := source.Claims(); !ok || fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(granted) != fmt.Sprint([]auth.Claims{want}) {
		t.Errorf("claims %v, announced %v, want %v", got, granted, want)
	}
}

// A service provider's application has one credential for many tenants.
func TestOneCredentialServesManyTenants(t *testing.T) {
	for _, k := range kinds(t)[:7] { // a managed identity belongs to one tenant
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			const tenants = 50
			var credential auth.Credential
			var all sync.WaitGroup
			for i := range tenants {
				tn := emulated.New(emulated.Config{ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i)})
				c := k.register(tn)
				if credential == nil {
					credential = c
				}
				s := source(t, tn.ServeHTTP, func(o *auth.Options) {
					o.Tenant, o.ClientID, o.Credential, o.TokenPath = tn.Config().ID, tn.Config().ClientID, credential, k.tokenPath
				})
				all.Go(func() {
					if _, err := s.Token(t.Context()); err != nil || tn.Account().Proofs[k.proof] != 1 {
						t.Errorf("%v, %v", err, tn.Account().Proofs)
					}
				})
			}
			all.Wait()
		})
	}
}
