package o365

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// DefaultTimeout bounds each phase of a request up to the answer's header
// where TransportOptions says nothing.
const DefaultTimeout = 60 * time.Second

const (
	keepIdle = 90 * time.Second // idle connections are closed after this, as http.DefaultTransport does
	// A stalled reader must not make HTTP/2 buffer megabytes per blob; Go's
	// default is 4 MiB for every stream.
	streamBuffer = 512 << 10
	// Of HTTP/1.1 this much is read with one call of the system; Go's default is 4 KiB.
	readBuffer = 32 << 10
	// The API sends 2 KiB of header or so; Go reads 10 MiB by default.
	maxHeader = 64 << 10
	// An HTTP/2 connection that stays silent for this long is probed.
	pingAfter = 30 * time.Second
)

// TransportOptions configure NewHTTPClient. The zero value is usable.
type TransportOptions struct {
	ProxyURL *url.URL       // nil: HTTPS_PROXY and its kin from the environment
	RootCAs  *x509.CertPool // nil: the system's
	Timeout  time.Duration  // for connecting, the TLS handshake and the answer's header, each; 0: DefaultTimeout
	Workers  int            // parallel transfers to keep idle connections for
}

// NewHTTPClient returns an HTTP client fit for the API: TLS 1.2 or later,
// HTTP/2, no redirect followed, and no limit on how long a body may take.
func NewHTTPClient(o TransportOptions) *http.Client {
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	proxy := http.ProxyFromEnvironment
	if o.ProxyURL != nil {
		proxy = func(r *http.Request) (*url.URL, error) {
			if isLoopback(r.URL.Hostname()) { // as with the environment's: plain http is permitted there only because it stays here
				return nil, nil
			}
			return o.ProxyURL, nil
		}
	}
	return WithoutRedirects(&http.Client{
		Transport: &http.Transport{
			Proxy:                  proxy,
			OnProxyConnectResponse: proxyAnswered,
			DialContext:            (&net.Dialer{Timeout: timeout}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
			TLSHandshakeTimeout:    timeout,
			ResponseHeaderTimeout:  timeout,
			IdleConnTimeout:        keepIdle,
			MaxIdleConnsPerHost:    max(o.Workers, http.DefaultMaxIdleConnsPerHost),
			ReadBufferSize:         readBuffer,
			MaxResponseHeaderBytes: maxHeader,
			ForceAttemptHTTP2:      true,
			HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerStream: streamBuffer, SendPingTimeout: pingAfter},
		},
	})
}

// A ProxyError is a proxy's refusal to connect to a host.
type ProxyError struct {
	Proxy  string // host[:port]
	Host   string // host:port
	Status int
}

func (e *ProxyError) Error() string {
	return fmt.Sprintf("the proxy %s does not connect to %s: HTTP %d %s", e.Proxy, e.Host, e.Status, http.StatusText(e.Status))
}

// proxyAnswered makes an error that says who refused what, where the transport has the bare text of the status.
func proxyAnswered(_ context.Context, proxy *url.URL, request *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	return &ProxyError{Proxy: proxy.Host, Host: request.Host, Status: answer.StatusCode}
}

// WithoutRedirects returns a copy of c that hands out redirects as they are:
// following one could carry a token or a secret elsewhere.
func WithoutRedirects(c *http.Client) *http.Client {
	cc := *c
	cc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &cc
}
