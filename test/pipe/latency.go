package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"in_office365/test/events"
	"in_office365/test/tenant"
)

const (
	// alone is how far apart single records come: more than flush.
	alone = 1300 * time.Millisecond
	// latencyPatience bounds the wait for one.
	latencyPatience = 30 * time.Second
	defaultRing     = ""
	// ringAtOnce has the engine empty the ring buffer with each batch, from v4.1 on.
	ringAtOnce = "      thread.ring_buffer.capacity: 100\n      thread.ring_buffer.window: 1\n"
)

// latencies prints how long single records take from the listing that names their blob, and from its last byte, to an output.
func latencies(ctx context.Context, o options, dir, host string) error {
	if o.fluentBit == "" {
		fmt.Println("*** NOT MEASURED: latency, as no Fluent Bit was found")
		return nil
	}
	fmt.Printf("%s\nLatency of single records of an idle tenant to an http output, in milliseconds; n = %d each\n\n", host, o.latency)
	fmt.Println("flush | ring buffer  | listed to output: median, 99th percentile, most | fetched to output: median, 99th percentile, most")
	for _, s := range []struct{ flush, ring, name string }{{"1", defaultRing, "default"}, {"0.2", defaultRing, "default"}, {"1", ringAtOnce, "window of 1"}, {"0.2", ringAtOnce, "window of 1"}} {
		l := &latency{listed: map[string]time.Time{}, fetched: map[string]time.Time{}, arrived: make(chan time.Time, 1)}
		if err := l.measure(ctx, o, filepath.Join(dir, "latency"+s.flush+s.name), s.flush, s.ring); err != nil {
			return err
		}
		fmt.Printf("%5s | %-12s | %s | %s\n", s.flush, s.name, spread(l.fromListed), spread(l.fromFetched))
	}
	return nil
}

func spread(times []time.Duration) string {
	slices.Sort(times)
	at := func(p float64) int64 { return times[min(int(p*float64(len(times))), len(times)-1)].Milliseconds() }
	return fmt.Sprintf("%18d, %15d, %8d", at(0.5), at(0.99), at(1))
}

// latency is one measurement. The tenant and the destination are in this process, so that one clock times them.
type latency struct {
	mu              sync.Mutex
	lastList        time.Time            // the last answer to a listing
	listed, fetched map[string]time.Time // by contentId
	arrived         chan time.Time       // when a record has

	fromListed, fromFetched []time.Duration
}

func (l *latency) measure(ctx context.Context, o options, dir, flush, ring string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tn := tenant.New(tenant.Config{Subscribed: []string{tenant.SharePoint}})
	url, closeTenant, err := listen(l.watch(tn))
	if err != nil {
		return err
	}
	defer closeTenant()
	destination, closeDestination, err := listen(http.HandlerFunc(l.receive))
	if err != nil {
		return err
	}
	defer closeDestination()
	keys := pluginKeys(url, dir, map[string]string{"content_types": tenant.SharePoint, "poll_interval": "1070ms"}) // it falls on all moments between two flushes
	path := filepath.Join(dir, "fluent-bit.yaml")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(destination, "http://"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, `service:
  flush: %s
  storage.path: %q
pipeline:
  inputs:
%s%s  outputs:
    - name: http
      match: "*"
      host: 127.0.0.1
      port: %s
      format: msgpack
      retry_limit: no_limits
`, flush, filepath.Join(dir, "chunks"), pluginInput(keys, true), ring, port), 0o600); err != nil {
		return err
	}
	h, err := fluentBitWith(o.fluentBit, o.plugin, path)
	if err != nil {
		return err
	}
	defer h.kill()
	for i := range o.latency + 1 {
		id := tn.AddBlob(tenant.SharePoint, tn.Now(), tenant.Generated{Seed: uint64(i), Records: 1}) //nolint:gosec // counts up
		select {
		case at := <-l.arrived:
			l.take(id, at, i > 0) // the first one pays for connections and the start
		case <-time.After(latencyPatience):
			return fmt.Errorf("a record did not arrive within %s; the log of the host:\n%s", latencyPatience, h.log.String())
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := sleep(ctx, alone+rand.N(time.Second)); err != nil {
			return err
		}
	}
	return nil
}

func (l *latency) take(id string, at time.Time, counts bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if counts {
		l.fromListed = append(l.fromListed, at.Sub(l.listed[id]))
		l.fromFetched = append(l.fromFetched, at.Sub(l.fetched[id]))
	}
}

// watch notes when blobs are listed and fetched.
func (l *latency) watch(tn *tenant.Tenant) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, id, isFetch := strings.Cut(r.URL.Path, "/"+string(tenant.FetchBlob)+"/")
		if isFetch {
			l.mu.Lock()
			l.listed[id] = l.lastList
			l.mu.Unlock()
		}
		tn.ServeHTTP(w, r)
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case isFetch:
			l.fetched[id] = time.Now()
		case strings.HasSuffix(r.URL.Path, "/"+string(tenant.ListContent)):
			l.lastList = time.Now()
		}
	})
}

// receive is the destination.
func (l *latency) receive(_ http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	received, err := events.Decode(body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	for _, e := range received {
		if e.Notice() == "" {
			l.arrived <- at
		}
	}
}

// listen serves on loopback.
func listen(handler http.Handler) (url string, closeServer func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	return "http://" + listener.Addr().String(), func() {
		_ = server.Close() // whatever is open belongs to a host that is killed
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "serving on loopback:", err)
		}
	}, nil
}
