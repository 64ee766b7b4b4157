package main

import (
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"in_office365/plugin/monitor"
)

// configuredHost is an instance with a stanza.
type configuredHost struct {
	fakeHost
	keys map[string]string
}

func (h *configuredHost) Get(key string) string { return h.keys[key] }

func newConfiguredHost(t *testing.T, address string) *configuredHost {
	return &configuredHost{fakeHost{name: "office365.0"}, map[string]string{
		"tenant_id": "11111111-2222-3333-4444-555555555555", "client_id": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "client_secret": "s3cr3t",
		"db": filepath.Join(t.TempDir(), "office365.db"), "metrics_address": address,
	}}
}

// An instance is shown from its Init to its Exit, and again after a reload.
func TestInstanceIsShown(t *testing.T) {
	m := monitor.New("test")
	s := newShim(opener{m}.open)
	h := newConfiguredHost(t, "127.0.0.1:0")
	for range 2 {
		if !s.init(h, 1) {
			t.Fatalf("init failed: %q", h.printed)
		}
		address := m.Addresses()["127.0.0.1:0"]
		if line := "status page at http://" + address + "/, metrics at /metrics, health at /readyz and /healthz"; !strings.Contains(strings.Join(h.printed, "\n"), line) {
			t.Errorf("no line with %s: %q", line, h.printed)
		}
		s.exit(1)
		if len(m.Addresses()) != 0 {
			t.Errorf("still listening on %v", m.Addresses())
		}
	}
}

func TestAddressInUseFailsTheStart(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := newShim(opener{monitor.New("test")}.open)
	h := newConfiguredHost(t, listener.Addr().String())
	if s.init(h, 1) {
		t.Fatal("init succeeded")
	}
	want := `cannot start: metrics_address "` + listener.Addr().String() + `" cannot be listened on (address already in use): give another address, or off`
	if last := h.printed[len(h.printed)-1]; !strings.HasSuffix(last, want) {
		t.Errorf("got  %s\nwant %s", last, want)
	}
	h.keys["metrics_address"] = "off"
	if !s.init(h, 1) { // with the db that the first try had opened
		t.Errorf("no second try: %q", h.printed)
	}
	s.exit(1)
}

func TestAddressForOthersIsWarnedOf(t *testing.T) {
	for address, warned := range map[string]bool{
		"127.0.0.1:2021": false, "[::1]:2021": false, "0.0.0.0:2021": true, "[::]:2021": true, "192.0.2.7:2021": true,
	} {
		var lines strings.Builder
		announce(slog.New(slog.NewTextHandler(&lines, nil)), address)
		if got := strings.Contains(lines.String(), "level=WARN"); got != warned {
			t.Errorf("%s: warned %v", address, got)
		}
	}
}
