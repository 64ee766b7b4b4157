package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"in_office365/plugin/config"
	"in_office365/test/certificate"
)

// with is a stanza with these keys in place of client_secret.
func with(keys stanza) stanza {
	s := minimal(stanza{"client_secret": ""})
	for k, v := range keys {
		s[k] = v
	}
	return s
}

// clearEnvironment removes what Azure may have put there.
func clearEnvironment(t *testing.T) {
	for _, name := range []string{
		"AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_AUTHORITY_HOST",
		"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IMDS_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST",
	} {
		t.Setenv(name, "")
	}
}

// Each kind of credential is made, and named in the line at start without what is secret of it.
func TestCredentials(t *testing.T) {
	clearEnvironment(t)
	pair := certificate.Valid(t)
	secret, password := file(t, "s3cr3t\n"), file(t, "pa55word\n")
	pemFile, p12 := file(t, string(pair.PEM(t))), file(t, string(pair.PKCS12(t, "pa55word")))
	const identity = "99999999-8888-7777-6666-555555555555"
	for _, tc := range []struct {
		name string
		keys stanza
		want string // in the summary, behind the tenant
	}{
		{"secret", stanza{"client_secret": "s3cr3t"}, "client_id " + client + " client_secret ***"},
		{"secret file", stanza{"client_secret_file": secret}, "client_id " + client + " client_secret_file " + secret},
		{"secret command", stanza{"client_secret_command": "cat " + secret}, "client_id " + client + " client_secret_command cat ***"},
		{"secret command without arguments", stanza{"client_secret_command": "cat"}, "client_id " + client + " client_secret_command cat"},
		{"certificate", stanza{"client_certificate_file": pemFile}, "client_id " + client + " client_certificate_file " + pemFile},
		{"certificate and password", stanza{"client_certificate_file": p12, "client_certificate_password": "pa55word"},
			"client_id " + client + " client_certificate_file " + p12 + " client_certificate_password ***"},
		{"certificate and password file", stanza{"client_certificate_file": p12, "client_certificate_password_file": password},
			"client_id " + client + " client_certificate_file " + p12 + " client_certificate_password_file " + password},
		{"federated token", stanza{"federated_token_file": secret}, "client_id " + client + " federated_token_file " + secret},
		{"managed identity", stanza{"managed_identity": "System", "client_id": ""}, "managed_identity System"},
		{"managed identity of a user", stanza{"managed_identity": identity, "client_id": ""}, "client_id " + identity + " managed_identity " + identity},
		{"no managed identity", stanza{"managed_identity": "off", "client_secret": "s3cr3t"}, "client_id " + client + " client_secret ***"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := config.Parse(with(tc.keys))
			if err != nil {
				t.Fatal(err)
			}
			line := strings.TrimSpace(fmt.Sprintln(c.Summary()...))
			if want := "tenant_id " + tenant + " " + tc.want + " cloud "; !strings.HasPrefix(line, want) || c.Credential == nil {
				t.Errorf("got  %s\nwant %s", line, want)
			}
			for _, text := range []string{line, fmt.Sprintf("%v %+v %#v", c, c, c)} {
				if strings.Contains(text, "s3cr3t") || strings.Contains(text, "pa55word") {
					t.Errorf("the configuration shows a secret: %s", text)
				}
			}
		})
	}
}

// Files with a secret that everybody may read are known; the token of a federated identity has the mode that its issuer gives it.
func TestExposedFiles(t *testing.T) {
	clearEnvironment(t)
	secret, password := file(t, "s3cr3t"), file(t, "pa55word")
	pair := certificate.Valid(t)
	p12 := file(t, string(pair.PKCS12(t, "pa55word")))
	for _, tc := range []struct {
		name string
		keys stanza
		mode os.FileMode
		want []string
	}{
		{"secret, of its owner alone", stanza{"client_secret_file": secret}, 0o600, nil},
		{"secret, of a group", stanza{"client_secret_file": secret}, 0o640, nil},
		{"secret", stanza{"client_secret_file": secret}, 0o644, []string{secret}},
		{"certificate and password", stanza{"client_certificate_file": p12, "client_certificate_password_file": password}, 0o604, []string{password, p12}},
		{"federated token", stanza{"federated_token_file": secret}, 0o644, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, path := range []string{secret, password, p12} {
				if err := os.Chmod(path, tc.mode); err != nil {
					t.Fatal(err)
				}
			}
			c, err := config.Parse(with(tc.keys))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(c.Exposed, tc.want) {
				t.Errorf("got %q, want %q", c.Exposed, tc.want)
			}
		})
	}
}

// The end of a certificate is known from the start, also where that has passed: then it can still be replaced.
func TestCertificateOutOfDateIsNoErrorYet(t *testing.T) {
	end := time.Now().Add(-time.Hour).Truncate(time.Second)
	path := file(t, string(certificate.New(t, end.AddDate(-1, 0, 0), end).PEM(t)))
	c, err := config.Parse(with(stanza{"client_certificate_file": path}))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Credential.Expires(); !got.Equal(end) {
		t.Errorf("expires at %s, want %s", got, end)
	}
}

// Exactly one credential; anything else is refused in a line that names the keys.
func TestCredentialsThatAreRefused(t *testing.T) {
	clearEnvironment(t)
	const (
		oneOf = "exactly one of client_secret, client_secret_file, client_secret_command, client_certificate_file, federated_token_file and managed_identity"
		aFile = "a file that holds the client secret and that Fluent Bit's user may read"
		aPair = "a PEM file of a certificate and its RSA key without a password, or a PKCS#12 file with client_certificate_password or client_certificate_password_file"
		words = `a program and its arguments, separated by spaces, "..." or '...' around what has spaces in it`
		anApp = "the application (client) ID, a GUID such as 11111111-2222-3333-4444-555555555555"
	)
	pair := certificate.Valid(t)
	empty, text, p12 := file(t, "\n"), file(t, "some text"), file(t, string(pair.PKCS12(t, "pa55word")))
	missing := filepath.Join(t.TempDir(), "missing")
	for _, tc := range []struct {
		keys stanza
		want string
	}{
		{stanza{}, "client_secret is missing: " + oneOf},
		{stanza{"managed_identity": "off"}, "client_secret is missing: " + oneOf},
		{stanza{"client_secret": "s3cr3t", "client_secret_file": text}, "client_secret and client_secret_file are set together: " + oneOf},
		{stanza{"client_secret_command": "cat", "federated_token_file": text, "managed_identity": "system"},
			"client_secret_command and federated_token_file and managed_identity are set together: " + oneOf},
		{stanza{"client_secret_file": missing}, `client_secret_file "` + missing + `" cannot be used (no such file or directory): ` + aFile},
		{stanza{"client_secret_file": empty}, `client_secret_file "` + empty + `" cannot be used (it is empty): ` + aFile},
		{stanza{"client_secret_command": `cat "s3cr3t`}, `client_secret_command cannot be used (a quote " is not closed): ` + words},
		{stanza{"client_secret_command": missing + " s3cr3t"}, `client_secret_command "` + missing + `" cannot be run: ` + words},
		{stanza{"client_certificate_file": missing}, `client_certificate_file "` + missing + `" cannot be used (no such file or directory): ` + aPair},
		{stanza{"client_certificate_file": p12}, `client_certificate_file "` + p12 + `" cannot be used (it is encrypted: give its password): ` + aPair},
		{stanza{"client_certificate_file": p12, "client_certificate_password": "s3cr3t"},
			`client_certificate_file "` + p12 + `" cannot be used (the password is wrong): ` + aPair},
		{stanza{"client_certificate_file": p12, "client_certificate_password": "s3cr3t", "client_certificate_password_file": text},
			"client_certificate_password and client_certificate_password_file are both set: one of them at most"},
		{stanza{"client_secret": "s3cr3t", "client_certificate_password": "s3cr3t"},
			"client_certificate_password is set without client_certificate_file: it is the password of a PKCS#12 file"},
		{stanza{"federated_token_file": missing}, `federated_token_file "` + missing + `" cannot be used (no such file or directory): ` +
			"the file of a token that Entra trusts for the application, and that Fluent Bit's user may read"},
		{stanza{"managed_identity": "on"}, `managed_identity "on" is no identity: system, or the client ID of a user-assigned identity`},
		{stanza{"managed_identity": "system", "tenant_id": tenant + "," + client, "client_id": ""},
			`managed_identity "system" is of one tenant, and several are named: another credential, or the identity's tenant alone`},
		{stanza{"managed_identity": tenant}, `managed_identity "` + tenant + `" is not the client_id: leave client_id out, or let it be the same`},
		{stanza{"client_id": "", "client_secret": "s3cr3t"}, "client_id is missing: " + anApp},
	} {
		t.Run(fmt.Sprint(tc.keys), func(t *testing.T) {
			_, err := config.Parse(with(tc.keys))
			var refused *config.Error
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want a *config.Error", err)
			}
			if err.Error() != tc.want {
				t.Errorf("got  %s\nwant %s", err, tc.want)
			}
			if strings.Contains(err.Error(), "s3cr3t") {
				t.Error("it shows the secret")
			}
		})
	}
}

// What Kubernetes' workload identity sets up stands in for keys that are not written, and counts for nothing where another credential is.
func TestEnvironmentOfWorkloadIdentity(t *testing.T) {
	clearEnvironment(t)
	const envTenant, envClient = "22222222-3333-4444-5555-666666666666", "33333333-4444-5555-6666-777777777777"
	path := file(t, "a.b.c")
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", path)
	t.Setenv("AZURE_TENANT_ID", envTenant)
	t.Setenv("AZURE_CLIENT_ID", envClient)
	t.Setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/")
	const ofEnvironment, ofCloud = "https://login.microsoftonline.us", "https://login.microsoftonline.com"
	for _, tc := range []struct {
		name string
		keys stanza
		want [3]string // tenant, client, login
	}{
		{"all from there", stanza{}, [3]string{envTenant, envClient, ofEnvironment}},
		{"the file written", stanza{"federated_token_file": path}, [3]string{envTenant, envClient, ofEnvironment}},
		{"tenant and client written", stanza{"tenant_id": tenant, "client_id": client}, [3]string{tenant, client, ofEnvironment}},
		{"a file of tenants written", stanza{"tenants_file": file(t, tenant+"\n")}, [3]string{tenant, envClient, ofEnvironment}},
		{"cloud written", stanza{"cloud": "gcc"}, [3]string{envTenant, envClient, ofCloud}},
		{"login host written", stanza{"authentication_endpoint": "login.example.com"}, [3]string{envTenant, envClient, "https://login.example.com"}},
		{"another credential", stanza{"tenant_id": tenant, "client_id": client, "client_secret": "s3cr3t"}, [3]string{tenant, client, ofCloud}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := config.Parse(tc.keys)
			if err != nil {
				t.Fatal(err)
			}
			if got := [3]string{c.TenantID, c.ClientID, c.Login.String()}; got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
	t.Run("another credential without its application", func(t *testing.T) {
		if _, err := config.Parse(stanza{"tenant_id": tenant, "client_secret": "s3cr3t"}); err == nil || !strings.HasPrefix(err.Error(), "client_id is missing") {
			t.Errorf("got %v", err)
		}
	})
}
