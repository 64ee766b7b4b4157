package diagnosis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

func ofTLS(err error) (Cause, bool) {
	const inspecting = "if a proxy inspects TLS here, give its authority's certificate as ca_file; if none should, find out who answers"
	verification, isVerification := errors.AsType[*tls.CertificateVerificationError](err)
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		var leaf *x509.Certificate // e.Cert is the last of the chain
		if isVerification && len(verification.UnverifiedCertificates) > 0 {
			leaf = verification.UnverifiedCertificates[0]
		}
		return Cause{TLSAuthority, fmt.Sprintf("the certificate%s is of an authority that is not trusted here: %s", of(leaf), issuer(e.Cert)), inspecting}, true
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return Cause{TLSName, fmt.Sprintf("the certificate of %s is for other hosts: %s", e.Host, hosts(e.Certificate)),
			"check the host in the configuration; a proxy or a load balancer may answer in its place"}, true
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired {
			return Cause{TLSExpired, fmt.Sprintf("the certificate%s is good from %s to %s, and it is %s here", of(e.Cert), day(e.Cert.NotBefore), day(e.Cert.NotAfter), now()),
				"if the date here is right, whoever runs that host or an inspecting proxy must renew the certificate; else set this machine's clock"}, true
		}
		return Cause{TLS, "the certificate cannot be verified: " + line(err), inspecting}, true
	}
	if isVerification {
		return Cause{TLS, "the certificate cannot be verified: " + line(err), inspecting}, true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return Cause{TLS, "what answers does not speak TLS", "check host and port; a proxy may answer in its place"}, true
	}
	switch text := line(err); {
	case !strings.Contains(text, "tls: "): // most of crypto/tls's errors have no type
		return Cause{}, false
	case strings.Contains(text, "protocol version"):
		return Cause{TLS, "what answers offers no TLS 1.2 or later", "Microsoft's hosts do: find out which proxy answers in their place, and update it"}, true
	default:
		return Cause{TLS, "TLS fails: " + text, "find out whether a proxy on the way breaks TLS"}, true
	}
}

func of(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	return " for " + hosts(c)
}

func issuer(c *x509.Certificate) string {
	if c == nil || c.Issuer.String() == "" {
		return "it names none"
	}
	return c.Issuer.String()
}

// maxHosts is how many of a certificate's hosts are named: some have hundreds.
const maxHosts = 4

func hosts(c *x509.Certificate) string {
	if c == nil {
		return "unknown"
	}
	var names []string
	names = append(names, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		names = []string{c.Subject.String()}
	}
	if more := len(names) - maxHosts; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxHosts], ", "), more)
	}
	return strings.Join(names, ", ")
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
func now() string            { return time.Now().UTC().Format("2006-01-02T15:04Z") }
