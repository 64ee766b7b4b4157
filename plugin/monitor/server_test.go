package monitor

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"in_office365/plugin/collector"
)

const anyPort = "127.0.0.1:0"

// fresh is the status of now in place of that of the tests' time.
func fresh(s *collector.Status) *collector.Status {
	by := time.Since(now)
	move := func(t *time.Time) {
		if !t.IsZero() {
			*t = t.Add(by)
		}
	}
	for _, t := range []*time.Time{&s.At, &s.Started, &s.CredentialExpires, &s.Host.Called, &s.Host.PausedSince, &s.Queue.WaitingSince, &s.Queue.HandedOver} {
		move(t)
	}
	for i := range s.Tenants {
		for j := range s.Tenants[i].Types {
			ty := &s.Tenants[i].Types[j]
			for _, t := range []*time.Time{&ty.Began, &ty.Listed, &ty.ListedUntil, &ty.CompleteUntil, &ty.OldestPending, &ty.LastLoss} {
				move(t)
			}
		}
	}
	return s
}

// serve shows sources at one loopback address, and returns where.
func serve(t *testing.T, sources map[string]*fakeSource) (*Monitor, string) {
	t.Helper()
	m := New("v1.2.0")
	for name, s := range sources {
		add(t, m, name, anyPort, s)
	}
	return m, "http://" + m.Addresses()[anyPort]
}

// add shows a source until the test ends, or is told to be over.
func add(t *testing.T, m *Monitor, name, address string, s Source) (remove func()) {
	t.Helper()
	remove, err := m.Add(name, address, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	return remove
}

func do(t *testing.T, method, url string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	response, body := do(t, http.MethodGet, url)
	return response.StatusCode, body
}

func gauge(name string, value float64, labels prometheus.Labels) prometheus.Metric {
	return prometheus.MustNewConstMetric(prometheus.NewDesc(name, "A gauge.", nil, labels), prometheus.GaugeValue, value)
}

func TestPaths(t *testing.T) {
	t.Parallel()
	_, base := serve(t, map[string]*fakeSource{"office365.0": {status: fresh(allWell(1))}})
	for _, tc := range []struct {
		method, path string
		code         int
		contentType  string
		body         string // that is in it
	}{
		{"GET", "/", 200, "text/html; charset=utf-8", "is through."},
		{"HEAD", "/", 200, "text/html; charset=utf-8", ""},
		{"POST", "/", 405, "", ""},
		{"GET", "/?tenant=" + tenantID, 200, "text/html; charset=utf-8", "DLP.All"},
		{"GET", "/?tenant=nobody", 404, "text/html; charset=utf-8", "no such input or tenant"},
		{"GET", "/?input=office365.7", 404, "text/html; charset=utf-8", "no such input or tenant"},
		{"GET", "/healthz", 200, "application/json", `{"alive":true}`},
		{"GET", "/readyz", 200, "application/json", `{"ready":true,"inputs":[{"input":"office365.0","ready":true}]}`},
		{"HEAD", "/readyz", 200, "application/json", ""},
		{"PUT", "/readyz", 405, "", ""},
		{"GET", "/metrics", 200, "", `office365_build_info{`},
		{"DELETE", "/metrics", 405, "", ""},
		{"GET", "/favicon.ico", 404, "", ""},
		{"GET", "/debug/pprof/", 404, "", ""},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			t.Parallel()
			response, body := do(t, tc.method, base+tc.path)
			if response.StatusCode != tc.code || !strings.Contains(body, tc.body) {
				t.Errorf("%s: %s", response.Status, body)
			}
			header := response.Header
			if tc.contentType != "" && header.Get("Content-Type") != tc.contentType {
				t.Errorf("Content-Type %s", header.Get("Content-Type"))
			}
			if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Cache-Control") != "no-store" {
				t.Errorf("headers %v", header)
			}
		})
	}
}

func TestMetricsOfAllInputs(t *testing.T) {
	t.Parallel()
	paused := fresh(badDay())
	_, base := serve(t, map[string]*fakeSource{
		"east": {status: fresh(allWell(1)), metrics: []prometheus.Metric{gauge("office365_paused", 0, nil)}},
		"west": {status: paused, metrics: []prometheus.Metric{gauge("office365_paused", 1, nil)}},
	})
	_, body := get(t, base+"/metrics")
	for _, line := range []string{
		`office365_build_info{goversion="go`, `version="v1.2.0"} 1`, `office365_paused{input="east"} 0`, `office365_paused{input="west"} 1`,
		`office365_ready{input="east"} 1`, `office365_ready{input="west"} 0`, "go_goroutines ", "process_start_time_seconds ",
	} {
		if !strings.Contains(body, line) {
			t.Errorf("no %s", line)
		}
	}
}

func TestOpenMetrics(t *testing.T) {
	t.Parallel()
	_, base := serve(t, map[string]*fakeSource{"office365.0": {status: fresh(allWell(1))}})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if kind := response.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/openmetrics-text") || !strings.HasSuffix(string(body), "# EOF\n") {
		t.Errorf("%s: %s", kind, body)
	}
}

// Two inputs may have been given the same alias.
func TestSameNameTwice(t *testing.T) {
	t.Parallel()
	m := New("")
	first := add(t, m, "audit", anyPort, &fakeSource{status: fresh(allWell(1))})
	add(t, m, "audit", anyPort, &fakeSource{status: fresh(allWell(1))})
	base := "http://" + m.Addresses()[anyPort]
	if _, body := get(t, base+"/metrics"); !strings.Contains(body, `office365_ready{input="audit"} 1`) || !strings.Contains(body, `office365_ready{input="audit#2"} 1`) {
		t.Error(body)
	}
	first()
	add(t, m, "audit", "", &fakeSource{status: fresh(allWell(1))})
	if _, body := get(t, base+"/readyz"); body != `{"ready":true,"inputs":[{"input":"audit#2","ready":true},{"input":"audit","ready":true}]}`+"\n" {
		t.Error(body)
	}
}

func TestAddressIsSharedUntilTheLastInputGoes(t *testing.T) {
	t.Parallel()
	m := New("")
	ended := &fakeSource{status: fresh(allWell(1))}
	first := add(t, m, "a", anyPort, ended)
	second := add(t, m, "b", anyPort, &fakeSource{status: fresh(allWell(1))})
	add(t, m, "nowhere", "", &fakeSource{status: fresh(allWell(1))})
	other := add(t, m, "c", "localhost:0", &fakeSource{status: fresh(allWell(1))})
	if n := len(m.Addresses()); n != 2 {
		t.Fatalf("%d addresses, want 2: %v", n, m.Addresses())
	}
	where := m.Addresses()[anyPort]
	if _, body := get(t, "http://"+where+"/readyz"); strings.Count(body, `"input":`) != 4 {
		t.Errorf("each address shows all inputs: %s", body)
	}
	first()
	first() // does nothing more
	ended.asked = func() { t.Error("an input that has gone is asked") }
	if _, body := get(t, "http://"+where+"/readyz"); strings.Contains(body, `"a"`) {
		t.Error(body)
	}
	get(t, "http://"+where+"/metrics")
	second()
	listener, err := net.Listen("tcp", where)
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	listener.Close()
	other()
	if len(m.Addresses()) != 0 {
		t.Error(m.Addresses())
	}
}

// As in a hot reload: the old generation goes before the new one comes.
func TestAddressComesBack(t *testing.T) {
	t.Parallel()
	m := New("")
	remove := add(t, m, "office365.0", anyPort, &fakeSource{status: fresh(allWell(1))})
	where := m.Addresses()[anyPort]
	get(t, "http://"+where+"/readyz") // leaves a connection open
	remove()
	for range 3 {
		remove := add(t, m, "office365.0", where, &fakeSource{status: fresh(allWell(1))})
		if code, _ := get(t, "http://"+where+"/readyz"); code != 200 {
			t.Errorf("status %d", code)
		}
		remove()
	}
}

func TestAddressThatCannotBeListenedOn(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for address, problem := range map[string]string{
		listener.Addr().String(): "address already in use",
		"192.0.2.1:0":            "cannot assign requested address", // TEST-NET-1 of RFC 5737
	} {
		m := New("")
		source := &fakeSource{status: fresh(allWell(1))}
		_, err = m.Add("office365.0", address, source)
		want := `metrics_address "` + address + `" cannot be listened on (` + problem + "): give another address, or off"
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		add(t, m, "office365.0", "", source) // as nothing of the first try is left
		if len(m.view()) != 1 {
			t.Errorf("%d inputs", len(m.view()))
		}
	}
	if _, err := New("").Add("office365.0", listener.Addr().String(), &fakeSource{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the cause is lost: %v", err)
	}
}

// A stop cuts off whoever is connected.
func TestRemoveCutsOffScrapes(t *testing.T) {
	t.Parallel()
	m := New("")
	remove := add(t, m, "office365.0", anyPort, &fakeSource{status: fresh(allWell(1))})
	var idle []net.Conn
	for range 3 {
		conn, err := net.Dial("tcp", m.Addresses()[anyPort])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"); err != nil { // and no end of it
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	start := time.Now()
	remove()
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
	for _, conn := range idle {
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a connection is still open")
		}
	}
}

// A source that does not answer holds up whoever asks it, but neither its own end, which the host waits for, nor other inputs.
func TestRemoveDoesNotWaitForASource(t *testing.T) {
	t.Parallel()
	asked, held := make(chan struct{}, 2), make(chan struct{})
	hangs := &fakeSource{status: fresh(allWell(1)), asked: func() {
		asked <- struct{}{}
		<-held
	}}
	m := New("")
	remove := add(t, m, "hangs", anyPort, hangs)
	base := "http://" + m.Addresses()[anyPort]
	var waiting sync.WaitGroup
	for _, path := range []string{"/readyz", "/metrics"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		waiting.Go(func() {
			if response, err := http.DefaultTransport.RoundTrip(request); err == nil {
				response.Body.Close()
				t.Errorf("%s was answered: %s", path, response.Status)
			}
		})
		<-asked
	}
	removed := make(chan struct{})
	start := time.Now()
	go func() {
		defer close(removed)
		remove()
		if _, err := m.Add("next", "", &fakeSource{status: fresh(allWell(1))}); err != nil || len(m.view()) != 1 {
			t.Errorf("%d inputs, %v", len(m.view()), err)
		}
	}()
	select {
	case <-removed:
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v", took)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits")
	}
	close(held)
	<-removed
	waiting.Wait()
}

// Prometheus runs collectors in goroutines of their own, where a panic would end Fluent Bit.
func TestPanicIsContained(t *testing.T) {
	t.Parallel()
	_, base := serve(t, map[string]*fakeSource{
		"broken": {panics: true, metrics: []prometheus.Metric{gauge("office365_paused", 1, nil)}},
		"sound":  {status: fresh(allWell(1)), metrics: []prometheus.Metric{gauge("office365_paused", 0, nil)}},
	})
	code, body := get(t, base+"/metrics")
	if code != 200 || !strings.Contains(body, `office365_paused{input="sound"} 0`) || !strings.Contains(body, `office365_ready{input="broken"} 0`) {
		t.Errorf("%d: %s", code, body)
	}
	if code, body := get(t, base+"/readyz"); code != 503 || !strings.Contains(body, `{"kind":"fault","reason":"the plugin cannot say how it fares, please report it: panic: boom"}`) {
		t.Errorf("%d: %s", code, body)
	}
	if code, body := get(t, base+"/"); code != 200 || !strings.Contains(body, "a fault of the plugin in input broken") {
		t.Errorf("%d: %s", code, body)
	}
	if code, _ := get(t, base+"/healthz"); code != 200 {
		t.Errorf("%d: a restart would not help", code)
	}
}

func TestPagesAreBoundedAndProbesGoOn(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	asked := make(chan struct{}, maxPages+1)
	var once sync.Once
	release := func() { once.Do(func() { close(held) }) }
	m := New("")
	s := &fakeSource{status: fresh(allWell(1))}
	var mu sync.Mutex
	hold := true
	s.asked = func() {
		mu.Lock()
		waits := hold
		mu.Unlock()
		if waits {
			asked <- struct{}{}
			<-held
		}
	}
	add(t, m, "office365.0", "", s)
	t.Cleanup(release)
	h := m.handler()
	ask := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return w
	}
	var busy sync.WaitGroup
	for range maxPages {
		busy.Go(func() {
			if w := ask("/"); w.Code != 200 {
				t.Errorf("a page that was begun: %d", w.Code)
			}
		})
	}
	for range maxPages {
		<-asked
	}
	mu.Lock()
	hold = false
	mu.Unlock()
	for _, path := range []string{"/", "/metrics"} {
		if w := ask(path); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if w := ask("/readyz"); w.Code != 200 {
		t.Errorf("/readyz: %d", w.Code)
	}
	release()
	busy.Wait()
	if w := ask("/"); w.Code != 200 {
		t.Errorf("afterwards: %d", w.Code)
	}
}

func TestNoInput(t *testing.T) {
	t.Parallel()
	h := New("").handler()
	for path, want := range map[string]struct {
		code int
		body string
	}{
		"/readyz":  {503, `{"ready":false,"reason":"no input runs: Fluent Bit starts, reloads or ends","inputs":[]}` + "\n"},
		"/healthz": {200, `{"alive":true}` + "\n"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if w.Code != want.code || w.Body.String() != want.body {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestHealthz(t *testing.T) {
	t.Parallel()
	stalled := fresh(allWell(1))
	stalled.Host.Called = time.Now().Add(-2*time.Minute - time.Second)
	sources := map[string]*fakeSource{"a": {status: fresh(allWell(1))}, "b": {status: stalled}}
	_, base := serve(t, sources)
	want := `{"alive":false,"inputs":[{"input":"b","reason":"Fluent Bit has asked for no batch for 2 min: its engine hangs, or the input's thread does"}]}` + "\n"
	if code, body := get(t, base+"/healthz"); code != 503 || body != want {
		t.Errorf("%d %s", code, body)
	}
	paused := fresh(allWell(1))
	paused.Host.PausedSince = time.Now().Add(-time.Hour)
	sources["a"].status = paused
	if code, body := get(t, base+"/healthz"); code != 200 {
		t.Errorf("while another is paused: %d %s", code, body)
	}
}

// DNS rebinding: a page of the web asks this machine under its own name.
func TestLoopbackAnswersOnlyToItsOwnNames(t *testing.T) {
	t.Parallel()
	_, base := serve(t, map[string]*fakeSource{"office365.0": {status: fresh(allWell(1))}})
	for host, code := range map[string]int{
		"localhost:2021": 200, "localhost": 200, "LocalHost": 200, "127.0.0.1:2021": 200, "[::1]:2021": 200, "[::1]": 200,
		"rebound.example.com": 421, "rebound.example.com:2021": 421,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != code {
			t.Errorf("%s: %d, want %d", host, response.StatusCode, code)
		}
	}
}

// HTTP/1.0 has no Host: some probes speak it.
func TestProbeWithoutAHost(t *testing.T) {
	t.Parallel()
	_, base := serve(t, map[string]*fakeSource{"office365.0": {status: fresh(allWell(1))}})
	c := dial(t, base)
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 200 ") {
		t.Errorf("%q, %v", answer, err)
	}
}

func dial(t *testing.T, base string) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Connections are descriptors, of which Fluent Bit needs some for its chunks: who comes too many is hung up on, and may come again later.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	_, base := serve(t, map[string]*fakeSource{"office365.0": {status: fresh(allWell(1))}})
	// An answer shows that the server has taken the connection.
	ask := func(c net.Conn) bool {
		_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		_, err := c.Read(make([]byte, 12))
		return err == nil
	}
	var held []net.Conn
	for range maxConnections {
		c := dial(t, base)
		if !ask(c) {
			t.Fatalf("refused after %d", len(held))
		}
		held = append(held, c)
	}
	if ask(dial(t, base)) {
		t.Errorf("more than %d", maxConnections)
	}
	held[0].Close()
	for deadline := time.Now().Add(10 * time.Second); !ask(dial(t, base)); {
		if time.Now().After(deadline) {
			t.Fatal("none after one has gone")
		}
	}
}

// Who asks for a large answer and does not read it holds no place at work.
func TestSlowReadersHoldNobodyUp(t *testing.T) {
	t.Parallel()
	s := fresh(allWell(1))
	metric := prometheus.MustNewConstMetric(prometheus.NewDesc("large", strings.Repeat("x", 8<<20), nil, nil), prometheus.GaugeValue, 1)
	_, base := serve(t, map[string]*fakeSource{"office365.0": {status: s, metrics: []prometheus.Metric{metric}}})
	for range 2 * maxPages {
		c := dial(t, base)
		if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil { // it is being written
			t.Fatal(err)
		}
	}
	if code, _ := get(t, base+"/"); code != 200 {
		t.Errorf("a page: %d", code)
	}
}

// Fluent Bit takes any bytes for an alias.
func TestNameThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	m := New("")
	add(t, m, "b\xfcro", anyPort, &fakeSource{status: fresh(allWell(1))})
	if _, metrics := get(t, "http://"+m.Addresses()[anyPort]+"/metrics"); !strings.Contains(metrics, "office365_ready{input=\"b\ufffdro\"} 1") {
		t.Error(metrics)
	}
}
