package diagnosis_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"in_office365/o365"
	"in_office365/o365/auth"
	"in_office365/plugin/diagnosis"
	"in_office365/test/tenant"
)

// The errors are those that o365 and o365/auth make of answers, so that a new text there shows here.
func TestCauseOfAnswers(t *testing.T) {
	t.Parallel()
	login := func(number int) tenant.Effect {
		return tenant.LoginError(http.StatusUnauthorized, "invalid_client", number, "Sorry.")
	}
	t.Run("federated token", func(t *testing.T) { // the codes are those of certificates
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte("token"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, number := range []int{700024, 700027, 700211, 700212, 700213} {
			tn := tenant.New(tenant.Config{})
			tn.Inject(tenant.Fault{Operation: tenant.Token}, login(number))
			if got := diagnosis.Of(subscriptions(t, tn, auth.FederatedTokenFile(file))); got.Kind != diagnosis.Credential {
				t.Errorf("%d: got %+v", number, got)
			}
		}
	})
	api := func(code string) tenant.Effect { return tenant.AnswerError(http.StatusBadRequest, code, "Sorry.") }
	for _, c := range []struct {
		name      string
		operation tenant.Operation
		answer    tenant.Effect
		kind      diagnosis.Kind
		what, do  string
	}{
		{"unknown tenant", tenant.Token, login(90002), diagnosis.Tenant, "there is no such tenant in this cloud", "check tenant and cloud"},
		{"unknown application", tenant.Token, login(700016), diagnosis.Client, "the application is not in this tenant", "check client id, tenant and cloud"},
		{"application disabled", tenant.Token, login(7000112), diagnosis.Client, "get token", "disabled"},
		{"wrong secret", tenant.Token, login(7000215), diagnosis.Secret, "the client secret is wrong", "give the secret's value, not its ID"},
		{"expired secret", tenant.Token, login(7000222), diagnosis.SecretExpired, "the client secret has expired", "create a new one"},
		{"assertion", tenant.Token, login(700027), diagnosis.Certificate, "the client assertion is not accepted", "certificate"},
		{"assertion of another application", tenant.Token, login(700021), diagnosis.Certificate, "names another application", "check client id"},
		{"assertion for another audience", tenant.Token, login(50012), diagnosis.Certificate, "for another audience", "token_path"},
		{"API disabled", tenant.Token, login(500014), diagnosis.Client, "the service principal of the API is disabled", "enable Office 365 Management APIs"},
		{"API missing", tenant.Token, login(650052), diagnosis.Client, "the tenant does not have the API", "licence"},
		{"taken for a loop", tenant.Token, login(50196), diagnosis.Throttled, "for a loop", "wait"},
		{"unknown number", tenant.Token, login(50000), diagnosis.Credential, "AADSTS50000", "check client id and credential"},
		{"audience", tenant.Token, login(500011), diagnosis.Cloud, "the tenant does not know the audience", "check cloud and audience"},
		{"login service down", tenant.Token, tenant.HTMLPage(http.StatusBadGateway), diagnosis.Service, "HTTP 502", "Microsoft's side"},
		{"login service busy", tenant.Token, tenant.Answer(http.StatusTooManyRequests, ""), diagnosis.Throttled, "HTTP 429", "wait"},
		{"a page at the login host", tenant.Token, tenant.HTMLPage(http.StatusOK), diagnosis.LoginHost, "get token", "authentication_endpoint"},
		{"nothing at the login host", tenant.Token, tenant.HTMLPage(http.StatusNotFound), diagnosis.LoginHost, "HTTP 404", "login host"},

		{"no permission", tenant.ListSubscriptions, tenant.PermissionMissing(http.StatusForbidden), diagnosis.Consent, "AF10001", "admin consent"},
		{"other tenant", tenant.ListSubscriptions, api("AF20010"), diagnosis.Tenant, "the tenant is not the one the token was issued for", "check tenant"},
		{"auditing off", tenant.ListSubscriptions, tenant.AuditingOff(), diagnosis.Auditing, "the API does not know the tenant", "unified audit logging"},
		{"auditing off, in words", tenant.ListSubscriptions, tenant.AnswerError(500, "", "Exception: Tenant 1-2 does not exist."), diagnosis.Auditing,
			"unified audit logging is off", "turn it on"},
		{"disabled", tenant.ListSubscriptions, api("AF20023"), diagnosis.Subscription, "disabled the subscription", "find out who switched it off"},
		{"not subscribed", tenant.ListSubscriptions, api("AF20022"), diagnosis.Subscription, "AF20022", "the plugin starts it"},
		{"quota", tenant.ListSubscriptions, tenant.Throttle(http.StatusForbidden, 0), diagnosis.Throttled, "AF429", "publisher_identifier"},
		{"API down", tenant.ListSubscriptions, api("AF50000"), diagnosis.Service, "AF50000", "Microsoft's side"},
		{"fresh token refused", tenant.ListSubscriptions, tenant.Unauthorized(), diagnosis.Cloud, "the API refuses a fresh token", "check tenant, cloud and audience"},
		{"a page at the API host", tenant.ListSubscriptions, tenant.HTMLPage(http.StatusNotFound), diagnosis.APIHost, "this does not answer like the API", "proxies"},
		{"proxy for plain http", tenant.ListSubscriptions, tenant.HTMLPage(http.StatusProxyAuthRequired), diagnosis.ProxyAuth, "HTTP 407", "credentials"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tn := tenant.New(tenant.Config{})
			tn.Inject(tenant.Fault{Operation: c.operation}, c.answer)
			err := subscriptions(t, tn, auth.ClientSecret(tenant.DefaultClientSecret))
			if err == nil {
				t.Fatal("no error")
			}
			want(t, diagnosis.Of(fmt.Errorf("subscribing: %w", err)), c.kind, c.what, c.do)
		})
	}
}

func subscriptions(t *testing.T, tn *tenant.Tenant, credential auth.Credential) error {
	t.Helper()
	server := httptest.NewServer(tn)
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := auth.New(auth.Options{
		Tenant: tenant.DefaultID, ClientID: tenant.DefaultClientID, Credential: credential, LoginURL: u, Audience: tenant.DefaultAudience,
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := o365.New(o365.Options{Tenant: tenant.DefaultID, APIURL: u, Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Subscriptions(t.Context())
	return err
}

func want(t *testing.T, got diagnosis.Cause, kind diagnosis.Kind, what, do string) {
	t.Helper()
	if got.Kind != kind || !strings.Contains(got.What, what) || !strings.Contains(got.Do, do) || strings.ContainsAny(got.What+got.Do, "\n\r") {
		t.Errorf("got %s: %q; %q", got.Kind, got.What, got.Do)
	}
}

func TestCauseOfASecretThatCannotBeRead(t *testing.T) {
	t.Parallel()
	err := subscriptions(t, tenant.New(tenant.Config{}), auth.ClientSecretFile(filepath.Join(t.TempDir(), "none")))
	want(t, diagnosis.Of(err), diagnosis.Credential, "read the client secret", "")
}

// TLS and proxies as they are: office365-check's tests.
func TestCauseOfTheNetwork(t *testing.T) {
	t.Parallel()
	dial := func(err error) error {
		return &o365.Error{Op: "list content", Err: &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}, Err: err}}
	}
	for name, c := range map[string]struct {
		err      error
		kind     diagnosis.Kind
		what, do string
	}{
		"no such host":    {dial(&net.DNSError{Name: "api.example", IsNotFound: true}), diagnosis.DNS, "there is no host api.example", "spelling"},
		"DNS fails":       {dial(&net.DNSError{Name: "api.example", Err: "server misbehaving"}), diagnosis.DNS, "cannot be resolved: server misbehaving", "DNS"},
		"refused":         {dial(os.NewSyscallError("connect", errors.New("connection refused"))), diagnosis.Connect, "no connection to 192.0.2.1:443", "firewall"},
		"no answer":       {&o365.Error{Op: "list content", Err: os.ErrDeadlineExceeded}, diagnosis.NoAnswer, "no answer in time", "http_timeout"},
		"too late":        {context.DeadlineExceeded, diagnosis.NoAnswer, "no answer in time", "firewall"},
		"reset":           {&net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}, diagnosis.NoAnswer, "connection reset by peer", "firewall"},
		"no proxy":        {&net.OpError{Op: "proxyconnect", Net: "tcp", Err: dial(&net.DNSError{Name: "proxy.example", IsNotFound: true})}, diagnosis.Proxy, "proxy.example", "http_proxy"},
		"proxy refuses":   {&o365.ProxyError{Proxy: "proxy.example:3128", Host: "api.example:443", Status: 403}, diagnosis.Proxy, "proxy.example:3128 does not connect", "allow CONNECT to api.example:443"},
		"proxy asks":      {&o365.ProxyError{Proxy: "proxy.example:3128", Host: "api.example:443", Status: 407}, diagnosis.ProxyAuth, "user and password", "http_proxy"},
		"authority":       {x509.UnknownAuthorityError{}, diagnosis.TLSAuthority, "an authority that is not trusted here", "ca_file"},
		"bad certificate": {x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}, diagnosis.TLS, "cannot be verified", "ca_file"},
		"TLS":             {errors.New("remote error: tls: handshake failure"), diagnosis.TLS, "handshake failure", "breaks TLS"},
		"foreign host": {&o365.Error{Op: "list content", Action: o365.Reconfigure, Err: errors.New("the API refers to another host"),
			Hint: "the token is sent to the configured API host only: check cloud"}, diagnosis.APIHost, "the configured API host only", "check cloud"},
		"no budget":     {&o365.Error{Op: "list content", Err: fmt.Errorf("wait for the request budget: %w", noBudget(t))}, diagnosis.Throttled, "asked for fewer calls", "wait"},
		"interrupted":   {&o365.Error{Op: "list content", Err: context.Canceled}, diagnosis.Interrupted, "interrupted", ""},
		"anything else": {errors.New("a\nb"), diagnosis.Other, "a b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want(t, diagnosis.Of(c.err), c.kind, c.what, c.do)
		})
	}
}

// noBudget is the error of a call that would have to wait longer than it may.
func noBudget(t *testing.T) error {
	t.Helper()
	tokens, err := auth.New(auth.Options{
		Tenant: tenant.DefaultID, ClientID: tenant.DefaultClientID, Credential: auth.ClientSecret("s"), LoginURL: &url.URL{Scheme: "https", Host: "login.example.com"},
		Audience: tenant.DefaultAudience,
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := o365.New(o365.Options{Tenant: tenant.DefaultID, APIURL: &url.URL{Scheme: "https", Host: "api.example.com"}, Tokens: tokens, RequestsPerMinute: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := client.Admit(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = client.Admit(ctx)
	return err
}

func TestCauseOfPermissions(t *testing.T) {
	t.Parallel()
	all := []string{"ActivityFeed.Read", "ActivityFeed.ReadDlp"}
	for name, c := range map[string]struct {
		roles []string
		types []o365.ContentType
		kind  diagnosis.Kind // empty: nothing is wrong
		what  string
	}{
		"all":                           {all, o365.ContentTypes(), "", ""},
		"nothing granted":               {nil, nil, diagnosis.Consent, "ActivityFeed.Read: it has none"},
		"something else granted":        {[]string{"ServiceHealth.Read"}, nil, diagnosis.Consent, "it has ServiceHealth.Read"},
		"no ReadDlp":                    {all[:1], o365.ContentTypes(), diagnosis.ReadDLP, "DLP.All will not be collected"},
		"no ReadDlp, and none is asked": {all[:1], []o365.ContentType{o365.AuditExchange}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, wrong := diagnosis.OfPermissions(auth.Claims{Roles: c.roles}, c.types)
			if wrong != (c.kind != "") {
				t.Errorf("wrong: %v", wrong)
			}
			want(t, got, c.kind, c.what, "")
		})
	}
}

// A token for another tenant or API is refused by o365/auth, whose words these are.
func TestCauseOfAToken(t *testing.T) {
	t.Parallel()
	mismatch := func(e auth.MismatchError) error {
		return &o365.Error{Op: o365.OpToken, Action: o365.Reconfigure, Err: &e, Hint: "check cloud and audience"}
	}
	want(t, diagnosis.Of(mismatch(auth.MismatchError{Have: "https://graph.microsoft.com", Want: "https://manage.office.com"})),
		diagnosis.Cloud, "the token is for https://graph.microsoft.com, not for https://manage.office.com", "check cloud and audience")
	want(t, diagnosis.Of(mismatch(auth.MismatchError{OfTenant: true, Have: "x", Want: "y"})), diagnosis.Tenant, "the token is for tenant x, not for y", "check cloud and audience")
}

func TestCauseOfTheClock(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[time.Duration]struct{ slight, wrong bool }{
		0: {}, 59 * time.Second: {}, -time.Minute: {true, false}, 5*time.Minute - time.Second: {true, false}, 5 * time.Minute: {false, true}, -time.Hour: {false, true},
	} {
		if cause, slight, wrong := diagnosis.OfClock(ahead); slight != want.slight || wrong != want.wrong || (cause.Kind == "") != (!slight && !wrong) {
			t.Errorf("%s: %+v, %v, %v", ahead, cause, slight, wrong)
		}
	}
}

func TestCauseOfExpiry(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for left, what := range map[time.Duration]string{
		31 * 24 * time.Hour: "", 30 * 24 * time.Hour: "in 30 days, on 2026-03-31", 25 * time.Hour: "in 25 hours, on 2026-03-02", -time.Hour: "in 0 hours",
	} {
		if cause, soon := diagnosis.OfExpiry(now.Add(left), now); soon != (what != "") || !strings.Contains(cause.What, what) {
			t.Errorf("%s: %v, %q", left, soon, cause.What)
		}
	}
	if _, soon := diagnosis.OfExpiry(time.Time{}, now); soon {
		t.Error("what never ends, ends")
	}
}

func TestCauseOfEndpoints(t *testing.T) {
	t.Parallel()
	for _, name := range o365.CloudNames() {
		c, _ := o365.LookupCloud(name)
		if cause, wrong := diagnosis.OfEndpoints(c.LoginURL, c.Audience, c.APIURL); wrong {
			t.Errorf("%s: %s", name, cause.What)
		}
	}
	const login, api = "https://login.microsoftonline.com", "https://manage.office.com"
	for _, e := range [][3]string{
		{login, api, "https://manage.office365.us"}, {"https://login.microsoftonline.us", api, api}, {login, "https://manage-gcc.office.com", api},
	} {
		if cause, wrong := diagnosis.OfEndpoints(e[0], e[1], e[2]); !wrong || cause.Kind != diagnosis.Cloud {
			t.Errorf("%v: %+v", e, cause)
		}
	}
	if cause, wrong := diagnosis.OfEndpoints("https://login.example", api, "https://proxy.example"); wrong {
		t.Errorf("hosts that nobody knows: %s", cause.What)
	}
}
