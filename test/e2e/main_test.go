// Package e2e tests the plugin as users run it: the shared library inside the minimal host (test/host), always, and inside a real
// Fluent Bit where one is found (FLUENT_BIT_BINARY, else fluent-bit in PATH), against the emulated tenant over real sockets.
package e2e

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"in_office365/plugin/ledger"
	"in_office365/test/host/hosttest"
	"in_office365/test/tenant"
)

// patience bounds every wait for something that should happen. The machines that run this may be slow and busy, and flags may ask for more than is
// usual.
var patience time.Duration

// What TestMain builds.
var plugin, testHost string

// arcKeys is the folder where this plugin believes the keys of Azure Arc to be: the real one is root's.
var arcKeys string

func TestMain(m *testing.M) {
	flag.Parse()
	patience = 3*time.Minute + *throttledFor + *stall + *tenantsFor + time.Duration(*backlogBlobs)*10*time.Millisecond +
		time.Duration(*handOverRecords)*2*time.Millisecond
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "office365-e2e")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		plugin = filepath.Join(dir, "in_office365.so")
		arcKeys = filepath.Join(dir, "tokens")
		if err := os.Mkdir(arcKeys, 0o700); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := buildPlugin(plugin, "-ldflags", "-X in_office365/o365/auth.arcKeys="+arcKeys); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if testHost, err = hosttest.BuildHost("../host", dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// buildPlugin builds the shared library, with flags of go build besides the usual ones.
func buildPlugin(library string, flags ...string) error {
	args := append([]string{"build", "-tags", "netgo,osusergo", "-buildmode=c-shared", "-o", library}, flags...)
	build := exec.Command("go", append(args, "../../plugin")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the plugin: %w\n%s", err, out)
	}
	return nil
}

// serve puts the tenant on a loopback socket.
func serve(t *testing.T, tn *tenant.Tenant) (url string) {
	t.Helper()
	server := httptest.NewServer(tn)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// keys are those of a stanza.
type keys map[string]string

// stanza reaches the tenant at url, and keeps its state in dir.
func stanza(url, dir string, more keys) keys {
	k := keys{
		"tenant_id": tenant.DefaultID, "client_id": tenant.DefaultClientID, "client_secret": tenant.DefaultClientSecret,
		"authentication_endpoint": url, "api_endpoint": url, "db": filepath.Join(dir, "office365.db"),
		"rate_limit": "100000/m", "poll_interval": "1s", "settle": "2s",
	}
	for key, value := range more {
		k[key] = value
	}
	return k
}

// freeAddress is one on loopback that nobody listens on at the moment. It is none of those that a connection may take before the caller does: these begin
// at 32768, unless somebody has set net.ipv4.ip_local_port_range (ip(7)).
func freeAddress(t *testing.T) string {
	t.Helper()
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(22_768))); err == nil { //nolint:gosec // no secret
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal(err)
	return ""
}

// until waits for a condition; what happens meanwhile is for a person to read.
func until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for %s", patience, what)
		}
		if how := gone(t); how != "" && !happened() {
			t.Fatalf("%s, before %s", how, what)
		}
		<-tick.C
	}
}

// A host is a process that runs the plugin.
type host interface {
	// Gone says how it has ended, if it has and nobody has asked it to; else "".
	Gone() string
}

// watched are the hosts of the tests that run: whoever waits for something need not wait for what a host that is gone would have done.
var watched = struct {
	sync.Mutex
	hosts map[*testing.T][]host
}{hosts: map[*testing.T][]host{}}

func watch(t *testing.T, h host) {
	watched.Lock()
	defer watched.Unlock()
	watched.hosts[t] = append(watched.hosts[t], h)
	t.Cleanup(func() {
		watched.Lock()
		defer watched.Unlock()
		delete(watched.hosts, t)
	})
}

// gone says how a host of the test has ended that should run.
func gone(t *testing.T) (how string) {
	watched.Lock()
	defer watched.Unlock()
	for _, h := range watched.hosts[t] {
		if how = h.Gone(); how != "" {
			break
		}
	}
	return how
}

// account compares what the tenants have offered with what has arrived, and returns the number of repeats.
func account(t *testing.T, arrived map[string]int, tenants ...*tenant.Tenant) (repeated int) {
	t.Helper()
	offered, missing := 0, 0
	for _, tn := range tenants {
		for _, ct := range tenant.ContentTypes() {
			for id := range tn.Account().RecordIDs(ct) {
				offered++
				if arrived[id] == 0 {
					missing++
				}
			}
		}
	}
	for _, n := range arrived {
		repeated += n - 1
	}
	if offered == 0 || missing > 0 || len(arrived) > offered {
		t.Errorf("offered %d records, arrived %d, missing %d, repeated %d", offered, len(arrived), missing, repeated)
	} else {
		t.Logf("offered %d records, missing 0, repeated %d", offered, repeated)
	}
	return repeated
}

func offered(tenants ...*tenant.Tenant) (n int) {
	for _, tn := range tenants {
		for _, o := range tn.Account().Offered {
			n += o.Records
		}
	}
	return n
}

// week offers blobs of all five types, spread over the last six days.
func week(tn *tenant.Tenant, seed uint64, blobs, records int) {
	now := time.Now()
	tn.Publish(tenant.Plan{Seed: seed, Blobs: blobs, Records: records, From: now.Add(-6 * 24 * time.Hour), To: now.Add(-time.Minute)})
}

// mostResident is the peak of the memory that the process has had resident, the pages of mapped files included.
func mostResident(t *testing.T, pid int) (bytes int64) {
	t.Helper()
	return memory(t, pid, "VmHWM")
}

// memory is a line of the process's status (proc_pid_status(5)).
func memory(t *testing.T, pid int, name string) (bytes int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(status), name+":")
	var kB int64
	if _, err := fmt.Sscan(line, &kB); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return kB << 10
}

// readLedger opens a copy of a ledger, since a host may hold it. There may be none yet, and the copy be made in the middle of a write: then it has been
// set aside.
func readLedger(t *testing.T, db string, use func(*ledger.Ledger)) {
	t.Helper()
	content, err := os.ReadFile(db)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(db), "copy")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	use(l)
}

// ledgerStream is what the ledger knows of a content type of the default tenant.
func ledgerStream(l *ledger.Ledger, contentType string) *ledger.Stream {
	return l.Stream(ledger.Key{Cloud: "enterprise", Tenant: tenant.DefaultID, Application: tenant.DefaultClientID, ContentType: contentType})
}

func contains(t *testing.T, log, text string) {
	t.Helper()
	if !strings.Contains(log, text) {
		t.Errorf("no %q in the log:\n%s", text, log)
	}
}
