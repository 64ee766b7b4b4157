package monitor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// headerTimeout, writeTimeout and idleTimeout are for clients that are slow, or gone: nobody may hold a connection for nothing.
	headerTimeout = 5 * time.Second
	writeTimeout  = 10 * time.Second
	idleTimeout   = 10 * time.Second
	// maxHeader is far more than a scraper or a browser sends; Go's default is a megabyte.
	maxHeader = 16 << 10
	// maxConnections bounds what somebody can hold of the descriptors that Fluent Bit needs for its chunks and outputs.
	maxConnections = 64
	// maxPages and maxProbes bound the requests at work at once. Metrics and pages of many tenants take megabytes each; probes take
	// little, and must not fail because somebody scrapes.
	maxPages  = 4
	maxProbes = 32
)

// server listens on one address.
type server struct {
	http     http.Server
	listener net.Listener
	ended    chan struct{} // closed when Serve has returned
	inputs   int           // that named the address
}

func listen(address string, handler http.Handler) (*server, error) {
	network := "tcp"
	if a, err := netip.ParseAddrPort(address); err == nil && a.Addr().Is4() {
		network = "tcp4" // with tcp Go takes 0.0.0.0 for IPv6 too
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), network, address)
	if err != nil {
		return nil, fmt.Errorf("metrics_address %q cannot be listened on (%w): give another address, or off", address, cause(err))
	}
	if tcp, ok := listener.Addr().(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		handler = local(handler)
	}
	s := &server{
		http: http.Server{
			Handler: handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
			MaxHeaderBytes: maxHeader, ErrorLog: log.New(io.Discard, "", 0), // it would go past Fluent Bit's log
		},
		listener: listener,
		ended:    make(chan struct{}),
	}
	go func() {
		defer close(s.ended)
		_ = s.http.Serve(&bounded{Listener: listener})
	}()
	return s, nil
}

// bounded is a listener that hangs up on whoever comes when maxConnections are there.
type bounded struct {
	net.Listener
	open atomic.Int32
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if b.open.Add(1) <= maxConnections {
			return &boundedConn{Conn: c, closed: sync.OnceFunc(func() { b.open.Add(-1) })}, nil
		}
		b.open.Add(-1)
		_ = c.Close()
	}
}

type boundedConn struct {
	net.Conn
	closed func()
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

// cause is a failure to listen without the address, which the message names already.
func cause(err error) error {
	var system *os.SyscallError
	var dns *net.DNSError
	switch {
	case errors.As(err, &system):
		if system.Err == syscall.EACCES {
			return errors.New("permission denied: ports below 1024 are for root")
		}
		return system.Err
	case errors.As(err, &dns):
		return errors.New("there is no such host")
	}
	return err
}

// close cuts off whoever is connected.
func (s *server) close() {
	_ = s.http.Close()
	<-s.ended
}

// handler answers what there is to ask.
func (m *Monitor) handler() http.Handler {
	mux := http.NewServeMux()
	pages, probes := limit(maxPages), limit(maxProbes)
	metrics := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true, ErrorHandling: promhttp.ContinueOnError, CoalesceGather: true, Registry: m.registry,
	})
	mux.Handle("GET /metrics", buffered(pages(metrics)))
	mux.Handle("GET /healthz", probes(http.HandlerFunc(m.healthz)))
	mux.Handle("GET /readyz", probes(http.HandlerFunc(m.readyz)))
	mux.Handle("GET /{$}", buffered(pages(http.HandlerFunc(m.page))))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

// limit refuses requests while most others are at work.
func limit(most int) func(http.Handler) http.Handler {
	working := make(chan struct{}, most)
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case working <- struct{}{}:
				defer func() { <-working }()
				h.ServeHTTP(w, r)
			default:
				w.Header().Set("Retry-After", "1")
				http.Error(w, "too many requests at once", http.StatusServiceUnavailable)
			}
		})
	}
}

// buffered writes an answer once it is whole, so that who reads slowly keeps nobody else from being answered.
func buffered(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		whole := &buffer{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(whole, r)
		w.WriteHeader(whole.status)
		_, _ = whole.body.WriteTo(w) // whoever asked has gone
	})
}

type buffer struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// Write implements http.ResponseWriter.
func (b *buffer) Write(p []byte) (int, error) { return b.body.Write(p) }

// WriteHeader implements http.ResponseWriter.
func (b *buffer) WriteHeader(status int) { b.status = status }

// local refuses what was sent to another host's name: a page of the web that a browser on this machine shows could otherwise read
// along, once its own name leads to a loopback address (DNS rebinding).
func local(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		// HTTP/1.0 has no Host, and no browser speaks that.
		if host != "" && !strings.EqualFold(host, "localhost") && net.ParseIP(strings.Trim(host, "[]")) == nil {
			http.Error(w, "ask for this machine by its loopback address or as localhost", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

type healthAnswer struct {
	Alive  bool            `json:"alive"`
	Inputs []stalledAnswer `json:"inputs,omitempty"`
}

type stalledAnswer struct {
	Input  string `json:"input"`
	Reason string `json:"reason"`
}

// healthz answers whether Fluent Bit calls its inputs. While it pauses one nobody can tell: Fluent Bit 5.1.1 then stops the timer of the
// one initialised last (src/flb_plugin_proxy.c:177).
func (m *Monitor) healthz(w http.ResponseWriter, _ *http.Request) {
	var stalled []stalledAnswer
	paused := false
	for _, v := range m.view() {
		paused = paused || !v.status.Host.PausedSince.IsZero()
		if v.stalled != "" {
			stalled = append(stalled, stalledAnswer{v.name, v.stalled})
		}
	}
	if paused {
		stalled = nil
	}
	answer(w, len(stalled) == 0, healthAnswer{len(stalled) == 0, stalled})
}

type readyAnswer struct {
	Ready  bool               `json:"ready"`
	Reason string             `json:"reason,omitempty"`
	Inputs []inputReadyAnswer `json:"inputs"`
}

type inputReadyAnswer struct {
	Input   string   `json:"input"`
	Ready   bool     `json:"ready"`
	Reasons []reason `json:"reasons,omitempty"`
	More    int      `json:"more,omitempty"` // reasons that are left out
}

// readyz answers whether all that is available comes through.
func (m *Monitor) readyz(w http.ResponseWriter, _ *http.Request) {
	a := readyAnswer{Ready: true, Inputs: []inputReadyAnswer{}}
	for _, v := range m.view() {
		shown := v.reasons[:min(len(v.reasons), maxReasons)]
		a.Inputs = append(a.Inputs, inputReadyAnswer{v.name, len(v.reasons) == 0, shown, len(v.reasons) - len(shown)})
		a.Ready = a.Ready && len(v.reasons) == 0
	}
	if len(a.Inputs) == 0 {
		a.Ready, a.Reason = false, noInput
	}
	answer(w, a.Ready, a)
}

const noInput = "no input runs: Fluent Bit starts, reloads or ends"

func answer(w http.ResponseWriter, good bool, body any) {
	w.Header().Set("Content-Type", "application/json")
	if !good {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(body) // whoever asked has gone
}
