package o365_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"in_office365/o365"
)

// secure starts a TLS server and returns it with a pool that trusts it.
func secure(t *testing.T, handler http.HandlerFunc, change func(*httptest.Server)) (*httptest.Server, *x509.CertPool) {
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are wanted
	change(server)
	server.StartTLS()
	t.Cleanup(server.Close)
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return server, pool
}

func TestHTTPClientSpeaksHTTP2(t *testing.T) {
	server, pool := secure(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) },
		func(s *httptest.Server) { s.EnableHTTP2 = true })
	res, err := o365.NewHTTPClient(o365.TransportOptions{RootCAs: pool}).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); string(got) != "HTTP/2.0" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestHTTPClientRefuses(t *testing.T) {
	for _, tc := range []struct {
		name    string
		change  func(*httptest.Server)
		trusted bool
	}{
		{"old TLS", func(s *httptest.Server) {
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		}, true},
		{"an unknown authority", func(*httptest.Server) {}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, pool := secure(t, func(http.ResponseWriter, *http.Request) { t.Error("called") }, func(s *httptest.Server) {
				tc.change(s)
			})
			if !tc.trusted {
				pool = x509.NewCertPool()
			}
			res, err := o365.NewHTTPClient(o365.TransportOptions{RootCAs: pool}).Get(server.URL)
			if err == nil {
				res.Body.Close()
				t.Error("connected")
			}
		})
	}
}

func TestHTTPClientReadsNoEndlessHeader(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		server, pool := secure(t, func(w http.ResponseWriter, r *http.Request) {
			for i := range 100 {
				w.Header().Set(fmt.Sprintf("X-Header-%d", i), strings.Repeat("x", 1000))
			}
		}, func(s *httptest.Server) { s.EnableHTTP2 = http2 })
		res, err := o365.NewHTTPClient(o365.TransportOptions{RootCAs: pool}).Get(server.URL)
		if err == nil {
			res.Body.Close()
			t.Errorf("HTTP/2 %v: a header of 100 kB was read", http2)
		}
	}
}

func TestHTTPClientTimesOutOnTheHeaderOnly(t *testing.T) {
	header := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-header }))
	defer server.Close()
	defer close(header)
	client := o365.NewHTTPClient(o365.TransportOptions{Timeout: 50 * time.Millisecond})
	if client.Timeout != 0 {
		t.Errorf("a body may take %v only", client.Timeout)
	}
	res, err := client.Get(server.URL)
	if err == nil {
		res.Body.Close()
	}
	if e, ok := errors.AsType[net.Error](err); !ok || !e.Timeout() {
		t.Errorf("got %v, want a timeout", err)
	}
}

// Plain http is permitted to loopback without more ado, so what goes there must not pass a proxy.
func TestHTTPClientPassesNoProxyOnTheWayToLoopback(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") }))
	defer proxy.Close()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	res, err := o365.NewHTTPClient(o365.TransportOptions{ProxyURL: parse(t, proxy.URL)}).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

// What a proxy is asked to reach by TLS it sees no more of than the name.
func TestTheProxySeesNoToken(t *testing.T) {
	server, pool := secure(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("Authorization")) }, func(*httptest.Server) {})
	var asked []*http.Request
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Clone(t.Context()))
		tunnel(t, w, server.Listener.Addr().String())
	}))
	defer proxy.Close()
	client := o365.NewHTTPClient(o365.TransportOptions{ProxyURL: parse(t, proxy.URL), RootCAs: pool})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.com/audit", nil) // a name of httptest's certificate
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer token-1")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); string(got) != "Bearer token-1" {
		t.Errorf("the server got %q, %v", got, err)
	}
	if len(asked) != 1 || asked[0].Method != http.MethodConnect || asked[0].Host != "example.com:443" || strings.Contains(fmt.Sprint(asked[0].Header, asked[0].URL), "token-1") {
		t.Errorf("the proxy was asked %v", asked)
	}
}

// tunnel joins the connection that asks with one to the address.
func tunnel(t *testing.T, w http.ResponseWriter, address string) {
	there, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() {
		io.Copy(there, here)
		there.Close()
	}()
	io.Copy(here, there)
	here.Close()
}

func TestHTTPClientUsesTheProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "by proxy to "+r.URL.Host)
	}))
	defer proxy.Close()
	res, err := o365.NewHTTPClient(o365.TransportOptions{ProxyURL: parse(t, proxy.URL)}).Get("http://api.example.com/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); string(got) != "by proxy to api.example.com" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestHTTPClientSaysWhatTheProxyRefuses(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer proxy.Close()
	res, err := o365.NewHTTPClient(o365.TransportOptions{ProxyURL: parse(t, proxy.URL)}).Get("https://api.example.com/")
	if err == nil {
		res.Body.Close()
	}
	e, ok := errors.AsType[*o365.ProxyError](err)
	if !ok || e.Status != http.StatusForbidden || e.Host != "api.example.com:443" || e.Proxy != parse(t, proxy.URL).Host {
		t.Errorf("got %v", err)
	}
}
