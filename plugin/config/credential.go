package config

import (
	"os"
	"os/exec"
	"slices"
	"strings"

	"in_office365/o365"
	"in_office365/o365/auth"
)

const managedIdentityKey = "managed_identity"

// credentialKeys are the keys of which exactly one is written: the kinds of credentials.
var credentialKeys = []string{
	"client_secret", "client_secret_file", "client_secret_command", "client_certificate_file", "federated_token_file", managedIdentityKey,
}

// credentialKind is the key that says what the credential is. Where that is a federated token, the environment that Azure's workload
// identity sets up stands in for keys that are not written:
// https://azure.github.io/azure-workload-identity/docs/installation/mutating-admission-webhook.html
func (r *reader) credentialKind() string {
	var written []string
	for _, key := range credentialKeys {
		v := r.get(key)
		if off := key == managedIdentityKey && isOff(v); v != "" && !off {
			written = append(written, key)
		}
	}
	if len(written) == 0 && os.Getenv("AZURE_FEDERATED_TOKEN_FILE") != "" {
		written = []string{"federated_token_file"}
	}
	last := len(credentialKeys) - 1
	allowed := "exactly one of " + strings.Join(credentialKeys[:last], ", ") + " and " + credentialKeys[last]
	switch len(written) {
	case 0:
		r.fail("client_secret", "", "is missing", allowed)
		return ""
	case 1:
	default:
		r.fail(written[0], "", "and "+strings.Join(written[1:], " and ")+" are set together", allowed)
		return ""
	}
	if written[0] == "federated_token_file" {
		r.fallback = map[string]string{
			"federated_token_file": os.Getenv("AZURE_FEDERATED_TOKEN_FILE"),
			"client_id":            os.Getenv("AZURE_CLIENT_ID"),
		}
		if r.get("tenants_file") == "" {
			r.fallback["tenant_id"] = os.Getenv("AZURE_TENANT_ID")
		}
		if r.get("cloud") == "" { // which sets the login host, and is written
			r.fallback["authentication_endpoint"] = os.Getenv("AZURE_AUTHORITY_HOST")
		}
	}
	return written[0]
}

// CredentialKey is the key that says what the credential is.
func (c *Config) CredentialKey() string { return c.credentialKey[0].(string) }

// ByManagedIdentity says that tokens come from the machine's own service, not from the login host.
func (c *Config) ByManagedIdentity() bool { return c.CredentialKey() == managedIdentityKey }

func isOff(v string) bool { return slices.Contains([]string{"off", "false", "no"}, strings.ToLower(v)) }

func (r *reader) credential(c *Config, kind string) {
	value := r.get(kind)
	c.credentialKey = []any{kind, value}
	for _, key := range []string{"client_certificate_password", "client_certificate_password_file"} {
		if r.get(key) != "" && kind != "client_certificate_file" {
			r.fail(key, "", "is set without client_certificate_file", "it is the password of a PKCS#12 file")
		}
	}
	var err error
	switch kind {
	case "client_secret":
		c.Credential, c.credentialKey = auth.ClientSecret(value), []any{kind, masked}
	case "client_secret_file":
		if _, err = auth.ReadSecret(value); err != nil {
			r.unusable(kind, value, err, "a file that holds the client secret and that Fluent Bit's user may read")
		}
		c.Credential = auth.ClientSecretFile(value)
		c.confidential(value)
	case "client_secret_command":
		r.secretCommand(c, value)
	case "client_certificate_file":
		r.clientCertificate(c, value)
	case "federated_token_file":
		if _, err = auth.ReadSecret(value); err != nil {
			r.unusable(kind, value, err, "the file of a token that Entra trusts for the application, and that Fluent Bit's user may read")
		}
		c.Credential = auth.FederatedTokenFile(value)
	case managedIdentityKey:
		r.managedIdentity(c, value)
	}
}

// confidential takes note of a file that is open to everybody. The mode of a federated token is none of the user's choosing.
func (c *Config) confidential(path string) {
	const othersRead = 0o004
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&othersRead != 0 {
		c.Exposed = append(c.Exposed, path)
	}
}

func (r *reader) unusable(key, path string, err error, allowed string) {
	r.fail(key, path, "cannot be used ("+pathless(err)+")", allowed)
}

// secretCommand shows of the command its program only: its arguments may be confidential.
func (r *reader) secretCommand(c *Config, line string) {
	const key, allowed = "client_secret_command", `a program and its arguments, separated by spaces, "..." or '...' around what has spaces in it`
	argv, err := auth.SplitCommand(line)
	if err != nil {
		r.fail(key, "", "cannot be used ("+err.Error()+")", allowed)
		return
	}
	if _, err := exec.LookPath(argv[0]); err != nil {
		r.fail(key, argv[0], "cannot be run", allowed)
	}
	c.Credential, c.credentialKey = auth.ClientSecretCommand(argv), []any{key, argv[0]}
	if len(argv) > 1 {
		c.credentialKey[1] = argv[0] + " " + masked
	}
}

func (r *reader) clientCertificate(c *Config, path string) {
	const key, fromFile = "client_certificate_password", "client_certificate_password_file"
	value, file := r.get(key), r.get(fromFile)
	var password func() (string, error)
	switch {
	case value != "" && file != "":
		r.fail(key, "", "and "+fromFile+" are both set", "one of them at most")
	case value != "":
		password = func() (string, error) { return value, nil }
		c.credentialKey = append(c.credentialKey, key, masked)
	case file != "":
		password = func() (string, error) { return auth.ReadSecret(file) }
		c.confidential(file)
		c.credentialKey = append(c.credentialKey, fromFile, file)
	}
	c.confidential(path)
	var err error
	if c.Credential, err = auth.ClientCertificateFile(path, password); err != nil {
		r.unusable("client_certificate_file", path, err,
			"a PEM file of a certificate and its RSA key without a password, or a PKCS#12 file with "+key+" or "+fromFile)
	}
}

func (r *reader) managedIdentity(c *Config, identity string) {
	const key, allowed = managedIdentityKey, "system, or the client ID of a user-assigned identity"
	switch {
	case len(c.Tenants) > 1 || c.TenantsFile != "":
		r.fail(key, identity, "is of one tenant, and several are named", "another credential, or the identity's tenant alone")
	case strings.EqualFold(identity, auth.SystemIdentity):
		identity = auth.SystemIdentity
	case !o365.IsGUID(identity):
		r.fail(key, identity, "is no identity", allowed)
	case c.ClientID != "" && !strings.EqualFold(identity, c.ClientID):
		r.fail(key, identity, "is not the client_id", "leave client_id out, or let it be the same")
	default:
		identity = strings.ToLower(identity)
		c.ClientID = identity
	}
	var err error
	if c.Credential, err = auth.ManagedIdentity(identity, os.Getenv); err != nil {
		r.fail(key, identity, "cannot be used ("+err.Error()+")", allowed)
	}
}
