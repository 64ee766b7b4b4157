// Package diagnosis names the cause of a failure and says what to do about it: the one place where office365-check and the collector
// learn what an error of the network, of the login service or of the API means to whoever runs the plugin.
//
// What the services' own codes mean is decided in o365 and o365/auth, whose hints it passes on. It adds what they can't know.
package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"unicode"

	"in_office365/o365"
	"in_office365/o365/auth"
)

// A Kind is the kind of a cause. The names are stable: they stand in logs and in the output of office365-check --json.
type Kind string

// The kinds.
const (
	Config        Kind = "config"         // the configuration can't be used
	DNS           Kind = "dns"            // a name can't be resolved
	Connect       Kind = "connect"        // a host can't be reached
	NoAnswer      Kind = "no_answer"      // a host says nothing, or not all of it
	Proxy         Kind = "proxy"          // the proxy can't be reached, or refuses
	ProxyAuth     Kind = "proxy_auth"     // the proxy wants other credentials
	TLSAuthority  Kind = "tls_authority"  // a certificate of an unknown authority: an inspecting proxy
	TLSExpired    Kind = "tls_expired"    // a certificate that is not in date
	TLSName       Kind = "tls_name"       // a certificate for another host
	TLS           Kind = "tls"            // any other failure of TLS
	LoginHost     Kind = "login_host"     // something else answers than the login service
	APIHost       Kind = "api_host"       // something else answers than the API
	Tenant        Kind = "tenant"         // there is no such tenant, or it is not the token's
	Client        Kind = "client"         // the application, or the API's, is not in the tenant, or disabled
	Secret        Kind = "secret"         // the client secret is wrong
	SecretExpired Kind = "secret_expired" // the client secret was right once
	Certificate   Kind = "certificate"    // the certificate or its assertion is refused
	Credential    Kind = "credential"     // the credential can't be had, or is refused for another reason
	Cloud         Kind = "cloud"          // login host, audience, API host or tenant are of different clouds
	Consent       Kind = "consent"        // ActivityFeed.Read is not granted
	ReadDLP       Kind = "read_dlp"       // ActivityFeed.ReadDlp is not granted
	Auditing      Kind = "auditing"       // auditing is off
	Subscription  Kind = "subscription"   // a subscription is missing or disabled
	Throttled     Kind = "throttled"      // there are too many requests
	Service       Kind = "service"        // Microsoft's side fails
	Clock         Kind = "clock"          // this machine's clock is wrong
	Interrupted   Kind = "interrupted"    // nobody waited for the answer
	Other         Kind = "other"
)

// A Cause is what is wrong: a sentence that says so, and one that says what to do about it. Both are one line.
type Cause struct {
	Kind Kind
	What string
	Do   string // may be empty
}

// Shared says that the cause is none of one content type: all calls fail for it, or will.
func (c Cause) Shared() bool {
	switch c.Kind {
	case DNS, Connect, Proxy, ProxyAuth, TLSAuthority, TLSExpired, TLSName, TLS, LoginHost, Tenant, Client, Secret, SecretExpired, Certificate, Credential, Cloud:
		return true
	}
	return false
}

// OfInstance says that the cause of this error is none of one tenant either: it is of what all tenants of an instance have in common. A
// credential that can't be had is; why one was refused that is known to nobody here may be the tenant's.
func (c Cause) OfInstance(err error) bool {
	switch c.Kind {
	case Tenant, Client, Cloud:
		return false
	case Credential:
		e, ok := errors.AsType[*o365.Error](err)
		return !ok || e.Status == 0
	}
	return c.Shared()
}

// Passes says that nobody has to do anything about the cause: it goes by itself.
func (c Cause) Passes() bool {
	switch c.Kind {
	case Subscription, Throttled, Service:
		return true
	}
	return false
}

// Of returns the cause of an error.
func Of(err error) Cause {
	e, fromService := errors.AsType[*o365.Error](err)
	if errors.Is(err, context.Canceled) {
		return Cause{Interrupted, "interrupted", ""}
	}
	if _, ok := errors.AsType[*o365.BudgetError](err); ok {
		return Cause{Throttled, "the API has asked for fewer calls, or rate_limit allows no more, and there was no time to wait", remedies[Throttled]}
	}
	if cause, ok := ofNetwork(err); ok {
		return cause
	}
	if !fromService {
		return Cause{Other, line(err), ""}
	}
	cause := Cause{kindOf(e), Text(e), e.Hint}
	if m, ok := errors.AsType[*auth.MismatchError](err); ok {
		cause.Kind, cause.What = Cloud, line(m)
		if m.OfTenant {
			cause.Kind = Tenant
		}
	}
	if cause.Kind == Certificate && errors.Is(err, auth.ErrFederatedToken) {
		cause.Kind = Credential
	}
	if what, do, ok := strings.Cut(e.Hint, ": "); ok && !strings.Contains(what, "(") {
		cause.What, cause.Do = what, do
	}
	if cause.Do == "" {
		cause.Do = remedies[cause.Kind]
	}
	return cause
}

// Text is an error's text without its hint.
func Text(err error) string {
	text := line(err)
	if e, ok := errors.AsType[*o365.Error](err); ok && e.Hint != "" {
		text = strings.TrimSuffix(text, " ("+e.Hint+")")
	}
	return text
}

// codes are the kinds of the services' codes, those of https://learn.microsoft.com/entra/identity-platform/reference-error-codes and
// https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-reference#errors.
var codes = map[string]Kind{
	"AADSTS90002": Tenant, "AADSTS900023": Tenant, "AADSTS50059": Tenant,
	"AADSTS700016": Client, "AADSTS7000112": Client, "AADSTS7000229": Client, "unauthorized_client": Client, "AADSTS53003": Client,
	"AADSTS500014": Client, "AADSTS650052": Client, "AADSTS700038": Client,
	"AADSTS7000215": Secret, "AADSTS7000216": Secret, "AADSTS7000222": SecretExpired,
	"AADSTS700027": Certificate, "AADSTS700024": Certificate, "AADSTS700021": Certificate, "AADSTS50012": Certificate,
	"AADSTS500011": Cloud, "AADSTS1002012": Cloud, "invalid_resource": Cloud, "invalid_scope": Cloud, "AADSTS900382": Cloud,

	"AF10001": Consent, "AF20010": Tenant, "AF20013": Tenant, "AF20020": Config, "AF20002": Config,
	"AF20022": Subscription, "AF20023": Subscription,
}

// remedies are for kinds that o365 has no hint for.
var remedies = map[Kind]string{
	LoginHost:    "check authentication_endpoint and cloud, and look for a proxy or a login page of the network on the way",
	APIHost:      "check cloud and api_endpoint, and look for a proxy or a login page of the network on the way",
	Subscription: "the plugin starts it; first content may take hours",
	Throttled:    "wait; if it stays, find out who else collects with this publisher_identifier",
	Service:      "this is Microsoft's side: wait, and look at the service health in the Microsoft 365 admin centre if it stays",
}

// Remedy is what to do about a cause of that kind, where all of them want the same.
func Remedy(k Kind) string { return remedies[k] }

func kindOf(e *o365.Error) Kind {
	kind, known := codes[e.Code]
	switch {
	case known:
		return kind
	case e.AuditingOff():
		return Auditing
	case e.Action == o365.Throttle:
		return Throttled
	case e.Status == http.StatusProxyAuthRequired:
		return ProxyAuth
	case e.Op == o365.OpToken && e.Status == 0 && e.Action == o365.Reconfigure:
		return Credential // it can't be read
	case e.Op == o365.OpToken && e.Status == 0, e.Op == o365.OpToken && e.Code == "" && e.Status < 500:
		return LoginHost // what came is no answer of a login service
	case e.Op == o365.OpToken && e.Status < 500:
		return Credential
	case e.Status >= 500 || strings.HasPrefix(e.Code, "AF"):
		return Service
	case e.Status == http.StatusUnauthorized:
		return Cloud
	case e.Status != 0, e.Action == o365.Reconfigure:
		return APIHost // 403, 404, redirects, a page; or it refers to another host
	}
	return Service
}

// ofNetwork is for what went wrong before there was an answer.
func ofNetwork(err error) (Cause, bool) {
	if cause, ok := ofProxy(err); ok {
		return cause, true
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return ofDNS(e), true
	}
	if cause, ok := ofTLS(err); ok {
		return cause, true
	}
	op, isOp := errors.AsType[*net.OpError](err)
	switch {
	case isOp && op.Op == "dial":
		to := "the host"
		if op.Addr != nil {
			to = op.Addr.String()
		}
		return Cause{Connect, fmt.Sprintf("no connection to %s: %s", to, line(op.Err)),
			"check host and port, and the firewall: outgoing connections to port 443 of the login and API hosts, or of the proxy, must be allowed"}, true
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return Cause{NoAnswer, "no answer in time: " + line(err), "look for a firewall or proxy that swallows the traffic; raise http_timeout if the way is slow"}, true
	case isOp:
		return Cause{NoAnswer, "the connection broke: " + line(op), "look for a firewall or proxy on the way that ends connections"}, true
	}
	return Cause{}, false
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func ofDNS(e *net.DNSError) Cause {
	if e.IsNotFound {
		return Cause{DNS, fmt.Sprintf("there is no host %s", e.Name), "check the spelling of the host in the configuration, and this machine's DNS (/etc/resolv.conf)"}
	}
	return Cause{DNS, fmt.Sprintf("the name %s cannot be resolved: %s", e.Name, e.Err), "check this machine's DNS (/etc/resolv.conf), and that it may reach it"}
}

func ofProxy(err error) (Cause, bool) {
	if e, ok := errors.AsType[*o365.ProxyError](err); ok {
		if e.Status == http.StatusProxyAuthRequired {
			return Cause{ProxyAuth, fmt.Sprintf("the proxy %s asks for a user and password, or refuses those it got", e.Proxy),
				"write them into http_proxy as http://user:password@host:port; of the kinds of authentication only Basic is supported"}, true
		}
		return Cause{Proxy, line(e), fmt.Sprintf("allow CONNECT to %s in the proxy", e.Host)}, true
	}
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "proxyconnect" {
		return Cause{}, false
	}
	return Cause{Proxy, "the proxy cannot be reached: " + line(op.Err), "check http_proxy, or HTTPS_PROXY in the environment, and that the proxy runs"}, true
}

// line is an error as one line: its text may be a service's.
func line(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
}
