package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"time"

	"in_office365/plugin/diagnosis"
)

// A reached host is one that a request was sent to, as far as it came.
type reached struct {
	host      string
	proxy     *url.URL // nil: none
	fromEnv   bool     // the proxy is of the environment, which may be another than the plugin's
	addresses int      // that the name has; 0: it needed no look-up here
	remote    string   // address that answered
	plain     bool     // http
	tls       *tls.ConnectionState
	err       error
}

// reach asks for nothing but an answer, on the way that all the plugin's requests take.
func (w *walk) reach(ctx context.Context, to *url.URL) reached {
	r := reached{host: to.Host, plain: to.Scheme == "http"}
	trace := &httptrace.ClientTrace{
		DNSDone: func(d httptrace.DNSDoneInfo) { r.addresses = len(d.Addrs) },
		GotConn: func(c httptrace.GotConnInfo) { r.remote = c.Conn.RemoteAddr().String() },
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodHead, to.String()+"/", http.NoBody)
	if err != nil {
		r.err = err
		return r
	}
	if proxyOf := w.transport.Proxy; proxyOf != nil {
		if r.proxy, r.err = proxyOf(req); r.err != nil {
			return r
		}
		r.fromEnv = w.cfg.HTTPProxy == nil
	}
	res, err := w.http.Do(req)
	if err != nil {
		r.err = bare(err)
		return r
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	_ = res.Body.Close()
	r.tls = res.TLS
	return r
}

// bare is a client's error without the URL.
func bare(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// levels are the steps of the way to a host, and the causes that end there.
var levels = []struct {
	step  string
	kinds []diagnosis.Kind
}{
	{stepDNS, []diagnosis.Kind{diagnosis.DNS}},
	{stepProxy, []diagnosis.Kind{diagnosis.Proxy, diagnosis.ProxyAuth}},
	{stepConnect, []diagnosis.Kind{diagnosis.Connect, diagnosis.NoAnswer}},
	{stepTLS, []diagnosis.Kind{diagnosis.TLSAuthority, diagnosis.TLSExpired, diagnosis.TLSName, diagnosis.TLS}},
}

// network reaches login host and API host, and tells the steps of the way apart by how far it came.
func (w *walk) network(ctx context.Context) []step {
	var hosts []reached
	if !w.cfg.ByManagedIdentity() {
		hosts = append(hosts, w.reach(ctx, w.cfg.Login))
	}
	if len(hosts) == 0 || hosts[0].err == nil && w.cfg.API.Host != w.cfg.Login.Host {
		hosts = append(hosts, w.reach(ctx, w.cfg.API))
	}
	describe := []func(reached) string{reached.resolution, reached.way, reached.address, reached.protection}
	var steps []step
	for i, level := range levels {
		var good []string
		for _, h := range hosts {
			if h.err != nil {
				cause := diagnosis.Of(h.err)
				if slices.Contains(level.kinds, cause.Kind) || cause.Kind == diagnosis.Interrupted {
					if !strings.Contains(cause.What, h.host) {
						cause.What = h.host + ": " + cause.What
					}
					return append(steps, fails(level.step, cause, h.err))
				}
			}
			if text := describe[i](h); text != "" && !slices.Contains(good, text) {
				good = append(good, text)
			}
		}
		s := passes(level.step, "%s", strings.Join(good, "; "))
		if len(good) == 0 {
			s = skips(level.step, map[string]string{
				stepDNS: "no name to look up", stepProxy: "none", stepConnect: "the proxy connects", stepTLS: "plain http",
			}[level.step])
		}
		steps = append(steps, s)
	}
	return steps // whatever else went wrong is for the next steps, which ask for more than an answer
}

func (r reached) resolution() string {
	switch {
	case r.proxy != nil && r.addresses == 0:
		return "left to the proxy"
	case r.addresses == 0:
		return ""
	case r.proxy != nil:
		return fmt.Sprintf("%s has %s", r.proxy.Hostname(), addresses(r.addresses))
	}
	return fmt.Sprintf("%s has %s", r.host, addresses(r.addresses))
}

func addresses(n int) string {
	if n == 1 {
		return "1 address"
	}
	return fmt.Sprintf("%d addresses", n)
}

func (r reached) way() string {
	if r.proxy == nil {
		return ""
	}
	from := ""
	if r.fromEnv {
		from = " (from this environment)"
	}
	did := "connects to"
	if r.err != nil && slices.Contains([]diagnosis.Kind{diagnosis.Connect, diagnosis.NoAnswer}, diagnosis.Of(r.err).Kind) {
		did = "is the way to"
	}
	return fmt.Sprintf("%s%s %s %s", r.proxy.Host, from, did, r.host)
}

func (r reached) address() string {
	if r.proxy != nil || r.remote == "" {
		return ""
	}
	if r.remote == r.host {
		return r.host
	}
	return fmt.Sprintf("%s at %s", r.host, r.remote)
}

func (r reached) protection() string {
	if r.tls == nil || len(r.tls.PeerCertificates) == 0 {
		return ""
	}
	c := r.tls.PeerCertificates[0]
	by := c.Issuer.CommonName
	if len(c.Issuer.Organization) > 0 {
		by = c.Issuer.Organization[0]
	}
	return fmt.Sprintf("%s: %s, certificate by %s until %s", r.host, tls.VersionName(r.tls.Version), by, c.NotAfter.UTC().Format(time.DateOnly))
}

// aheadOf compares this machine's clock with the Date of an answer.
func aheadOf(answer http.Header, sent, received time.Time) (ahead time.Duration, known bool) {
	date, err := http.ParseTime(answer.Get("Date"))
	if err != nil || answer.Get("Age") != "" { // Age: out of a cache
		return 0, false
	}
	middle := sent.Add(received.Sub(sent) / 2).Round(0)
	return middle.Sub(date.Add(time.Second / 2)), true // Date is cut to the second
}
