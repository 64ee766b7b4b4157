package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	jsoniter "github.com/json-iterator/go"
	"golang.org/x/oauth2"

	"in_office365/o365"
)

// SystemIdentity is the name of the identity that Azure gives to a machine or
// an app by itself. Identities made by users go by their client ids.
const SystemIdentity = "system"

// arcKeys is where the agent of Azure Arc leaves the keys of its challenges:
// https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication
// It is a variable for the linker alone, so that tests need no root.
var arcKeys = "/var/opt/azcmagent/tokens"

// arcAgent is there where Azure Arc's agent is, which tells services by their
// environment, and nobody else, where its endpoint is. Azure's own libraries
// look for it, too: https://github.com/AzureAD/microsoft-authentication-library-for-go
// apps/managedidentity
const (
	arcAgent    = "/opt/azcmagent/bin/himds"
	arcEndpoint = "http://127.0.0.1:40342/metadata/identity/oauth2/token"
)

const (
	maxIdentityHeader = 64 << 10 // bytes
	maxArcKey         = 4 << 10  // bytes, as the documentation has it
	maxIdentityAnswer = 1 << 20  // bytes
	// identityTimeout bounds the wait for an endpoint that is on this machine, or is not there at all.
	identityTimeout = 10 * time.Second
)

// ManagedIdentity is the identity that Azure gives to what runs there: system,
// or the client id of one made by a user. Where its tokens come from, the
// environment says (os.Getenv in a program):
//
//   - IDENTITY_ENDPOINT and IDENTITY_HEADER: App Service, Functions, Container Apps
//     https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
//   - IDENTITY_ENDPOINT and IMDS_ENDPOINT: Azure Arc (see arcKeys), which has no identities made by users
//   - none of these, but the agent of Azure Arc installed: its usual endpoint
//   - none of these: a virtual machine
//     https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
//     AZURE_POD_IDENTITY_AUTHORITY_HOST, as Azure's own libraries have it, moves that endpoint
func ManagedIdentity(identity string, environment func(string) string) (Credential, error) {
	return managedIdentity(identity, environment, arcAgent)
}

func managedIdentity(identity string, environment func(string) string, arcAgent string) (Credential, error) {
	m := &managed{
		client: o365.WithoutRedirects(&http.Client{Transport: &http.Transport{
			// Without a proxy: the endpoint is on this machine, or next to it.
			DialContext:            (&net.Dialer{Timeout: identityTimeout}).DialContext,
			ResponseHeaderTimeout:  identityTimeout,
			MaxResponseHeaderBytes: maxIdentityHeader,
			DisableKeepAlives:      true, // once an hour
		}}),
		query:  url.Values{},
		header: http.Header{"Metadata": {"true"}},
	}
	if identity != SystemIdentity {
		m.query.Set("client_id", identity)
	}
	endpoint, header := environment("IDENTITY_ENDPOINT"), environment("IDENTITY_HEADER")
	isArc := endpoint != "" && environment("IMDS_ENDPOINT") != ""
	if _, err := os.Stat(arcAgent); err == nil && endpoint == "" && environment("AZURE_POD_IDENTITY_AUTHORITY_HOST") == "" {
		endpoint, isArc = arcEndpoint, true
	}
	version := "2018-02-01"
	switch {
	case endpoint != "" && header != "":
		version = "2019-08-01"
		m.header = http.Header{"X-Identity-Header": {header}}
		m.confidential = header
	case isArc:
		version = "2020-06-01"
		m.arcKeys = arcKeys
		if identity != SystemIdentity {
			return nil, errors.New("machines in Azure Arc have the system's identity only")
		}
	default:
		endpoint = cmp.Or(environment("AZURE_POD_IDENTITY_AUTHORITY_HOST"), "http://169.254.169.254")
		endpoint = strings.TrimSuffix(endpoint, "/") + "/metadata/identity/oauth2/token"
	}
	m.query.Set("api-version", version)
	var err error
	if m.endpoint, err = url.Parse(endpoint); err != nil || m.endpoint.Host == "" || m.endpoint.User != nil {
		return nil, errors.New("the environment names an endpoint of managed identities that is no URL")
	}
	// What it gives out and, of Arc, what it is given, must not cross a network in clear text.
	if ip := net.ParseIP(m.endpoint.Hostname()); o365.CheckEndpoint(m.endpoint, false) != nil &&
		(m.arcKeys != "" || !ip.IsLinkLocalUnicast() && !ip.IsPrivate()) {
		return nil, fmt.Errorf("the environment names an endpoint of managed identities that is not on this machine: %s", m.endpoint.Host)
	}
	return m, nil
}

type managed struct {
	end
	client       *http.Client
	endpoint     *url.URL
	query        url.Values
	header       http.Header
	confidential string // of the header
	arcKeys      string // only of Azure Arc
}

func (m *managed) fetch(ctx context.Context, r request) (*oauth2.Token, error) {
	u, query := *m.endpoint, url.Values{"resource": {r.audience}}
	for key, values := range m.query {
		query[key] = values
	}
	u.RawQuery = query.Encode()
	answer, err := m.get(ctx, &u, m.header, m.confidential)
	if err == nil && m.arcKeys != "" && answer.status == http.StatusUnauthorized {
		header := m.header.Clone()
		key, keyErr := answer.arcKey(m.arcKeys)
		if keyErr != nil {
			return nil, &o365.Error{Op: o365.OpToken, Action: o365.Reconfigure, Err: keyErr, Hint: "Fluent Bit's user must be in the group himds"}
		}
		header.Set("Authorization", "Basic "+key)
		answer, err = m.get(ctx, &u, header, key)
	}
	if err != nil {
		return nil, err
	}
	return answer.token()
}

// identityAnswer is what an endpoint of managed identities says.
type identityAnswer struct {
	status int
	header http.Header
	body   []byte
	hidden string // must not show in an error
}

func (m *managed) get(ctx context.Context, u *url.URL, header http.Header, confidential string) (*identityAnswer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, &o365.Error{Op: o365.OpToken, Err: errors.New("the endpoint makes no request")}
	}
	request.Header = header
	response, err := m.client.Do(request)
	if err != nil {
		e := &o365.Error{Op: o365.OpToken, Err: err, Hint: "no managed identity here? only what runs in Azure, or in Azure Arc, has one"}
		if u, ok := errors.AsType[*url.Error](err); ok {
			e.Err = u.Err
		}
		return nil, e
	}
	defer response.Body.Close()
	body, err := readAll(response.Body, maxIdentityAnswer)
	if err != nil {
		return nil, &o365.Error{Op: o365.OpToken, Err: fmt.Errorf("read the answer: %w", err)}
	}
	return &identityAnswer{response.StatusCode, response.Header, body, confidential}, nil
}

// arcKey reads the key that an answer of Azure Arc challenges for. The answer
// may come from whoever has taken the endpoint's port, to be sent any file:
// only one of the documented kind and place is read.
func (a *identityAnswer) arcKey(folder string) (string, error) {
	_, path, found := strings.Cut(a.header.Get("WWW-Authenticate"), "Basic realm=")
	path = strings.Trim(path, `"`)
	if !found || filepath.Dir(path) != filepath.Clean(folder) || filepath.Clean(path) != path || filepath.Ext(path) != ".key" {
		return "", fmt.Errorf("the endpoint asks for something else than a key file in %s", folder)
	}
	f, err := os.OpenInRoot(folder, filepath.Base(path))
	if err != nil {
		return "", fmt.Errorf("read the key of Azure Arc: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no file")
	}
	var key []byte
	if err == nil {
		key, err = readAll(f, maxArcKey)
	}
	if err != nil {
		return "", fmt.Errorf("read the key of Azure Arc: %w", err)
	}
	return trimSecret(key)
}

// token reads an answer. The lifetime is told as expires_in in seconds or, by
// App Service, as expires_on in seconds since 1970, as numbers or as text.
func (a *identityAnswer) token() (*oauth2.Token, error) {
	var doc struct {
		AccessToken      string `json:"access_token"`
		ExpiresIn        any    `json:"expires_in"`
		ExpiresOn        any    `json:"expires_on"`
		Error            any    `json:"error"`
		ErrorDescription string `json:"error_description"`
		Message          string `json:"message"`
	}
	err := jsoniter.ConfigCompatibleWithStandardLibrary.Unmarshal(a.body, &doc)
	if a.status/100 == 2 && err == nil && doc.AccessToken != "" {
		token := &oauth2.Token{AccessToken: doc.AccessToken, TokenType: "Bearer"}
		if seconds := integer(doc.ExpiresIn); seconds > 0 {
			token.Expiry = time.Now().Add(time.Duration(seconds) * time.Second)
		} else if at := integer(doc.ExpiresOn); at > 0 {
			token.Expiry = time.Unix(at, 0)
		}
		return token, nil
	}
	e := &o365.Error{Op: o365.OpToken, Status: a.status, RetryAfter: o365.RetryAfter(a.header)}
	code, _ := doc.Error.(string)
	e.Code, e.Message = hide(code, a.hidden), hide(cmp.Or(doc.ErrorDescription, doc.Message), a.hidden)
	switch s := a.status; {
	case s/100 == 2:
		e.Err = errors.New("the answer holds no token")
	case s == http.StatusTooManyRequests:
		e.Action = o365.Throttle
	case s == http.StatusNotFound || s == http.StatusGone || s >= 500: // being started or updated
	default:
		e.Action, e.Hint = o365.Reconfigure, "assign the managed identity to this machine or app, and check managed_identity and audience"
	}
	return nil, e
}

func integer(v any) int64 {
	switch v := v.(type) {
	case float64:
		return int64(v)
	case string:
		n, _ := strconv.ParseInt(v, 10, 64) // what is no number is not told
		return n
	}
	return 0
}
