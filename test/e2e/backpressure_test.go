package e2e

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"in_office365/test/tenant"
)

// destination is where Fluent Bit's http output sends to. It may take nothing for a while.
type destination struct {
	hung    chan struct{} // closed when it hangs no more
	refuses int           // how many requests it answers 503 after that

	mu      sync.Mutex
	arrived map[string]int
}

func newDestination(refuses int) *destination {
	return &destination{hung: make(chan struct{}), refuses: refuses, arrived: map[string]int{}}
}

var arrivedID = regexp.MustCompile(`"o365_id":"([^"]*)"`)

func (d *destination) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	select {
	case <-d.hung:
	case <-r.Context().Done():
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuses--; d.refuses >= 0 || err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	for _, found := range arrivedID.FindAllSubmatch(body, -1) {
		d.arrived[string(found[1])]++
	}
}

func (d *destination) received() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.arrived)
}

// pressedInput is an input whose output may stall.
type pressedInput struct {
	tag    string
	limits string // further lines of its stanza
	keys   keys
	output string // lines of the output that matches it
}

// httpOutput sends to that port, again and again.
func httpOutput(port string) string {
	return "name: http\n      format: json\n      host: 127.0.0.1\n      port: " + port
}

func fileOutput(dir string) string {
	return fmt.Sprintf("name: file\n      path: %q\n      file: out", dir)
}

func configurePressed(t *testing.T, dir, service string, inputs ...pressedInput) (path string) {
	t.Helper()
	var in, out strings.Builder
	for _, i := range inputs {
		fmt.Fprintf(&in, "    - name: office365\n      tag: %s\n      %s\n", i.tag, i.limits)
		for _, key := range slices.Sorted(maps.Keys(i.keys)) {
			fmt.Fprintf(&in, "      %s: %s\n", key, strconv.Quote(i.keys[key]))
		}
		fmt.Fprintf(&out, "    - %s\n      match: %s\n      retry_limit: no_limits\n", i.output, i.tag)
	}
	y := fmt.Sprintf("service:\n  flush: 1\n  grace: 5\n  scheduler.base: 1\n  scheduler.cap: 2\n  storage.path: %q\n%spipeline:\n  inputs:\n%s  outputs:\n%s",
		filepath.Join(dir, "chunks"), service, &in, &out)
	path = filepath.Join(dir, "fluent-bit.yaml")
	if err := os.WriteFile(path, []byte(y), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// An output that hangs, and then refuses, in the middle of a blob of 100 MB: Fluent Bit pauses the input. When the output takes records again, all of
// them arrive, without a restart, and memory never held the blob.
func TestFluentBitPausesAndResumes(t *testing.T) {
	t.Parallel()
	const (
		blobSize = 100_000_000
		most     = 180 // MB, of Fluent Bit with the chunks that it has in memory, once more as JSON where it sends them, and of the plugin
	)
	for name, tc := range map[string]struct{ service, limits, pause, resume string }{
		"mem_buf_limit": {
			limits: "mem_buf_limit: 10M",
			pause:  "paused (mem buf overlimit", resume: "resume (mem buf overlimit",
		},
		"storage.pause_on_chunks_overlimit": {
			service: "  storage.max_chunks_up: 4\n",
			limits:  "storage.type: filesystem\n      storage.pause_on_chunks_overlimit: on",
			pause:   "paused (storage buf overlimit", resume: "resume (storage buf overlimit",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fluentBitBinary(t)
			tn, dir := tenant.New(tenant.Config{Subscribed: tenant.ContentTypes(), Gzip: true}), t.TempDir()
			week(tn, 1, 4, 100)
			tn.AddBlob(tenant.General, time.Now().Add(-time.Hour), tenant.Sized(tenant.General, 2, blobSize))
			d := newDestination(3)
			f := startFluentBit(t, configurePressed(t, dir, tc.service, pressedInput{
				"OFFICE365_EVENT_DATA", tc.limits,
				stanza(serve(t, tn), dir, keys{"batch_size": "4M", "buffer_size": "12M"}), httpOutput(port(t, d)),
			}))
			until(t, "a pause", func() bool { return strings.Contains(f.log.String(), tc.pause) })
			if whole := tn.Account().Offered[tenant.General]; whole.Whole == whole.Blobs {
				t.Error("the blob was through before the pause")
			}
			close(d.hung)
			all := offered(tn)
			until(t, "every record", func() bool { return len(d.received()) >= all })
			peak := f.peakMemory()
			f.terminate()
			account(t, d.received(), tn)
			contains(t, f.log.String(), tc.resume)
			t.Logf("%d pauses, peak memory %d MB", strings.Count(f.log.String(), tc.pause), peak)
			if peak > most {
				t.Errorf("peak memory %d MB, more than %d MB", peak, most)
			}
		})
	}
}

// The pause of one input stops the timer of the one that was started last (Fluent Bit v5.1.1 src/flb_plugin_proxy.c:177). Whichever of two that is, both
// deliver everything once the output takes records again.
func TestFluentBitPausesOneInputOfTwo(t *testing.T) {
	t.Parallel()
	for name, stalled := range map[string]int{"the first": 0, "the last": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fluentBitBinary(t)
			const second = "22222222-3333-4444-5555-666666666666"
			dir := t.TempDir()
			tenants := []*tenant.Tenant{
				tenant.New(tenant.Config{Subscribed: tenant.ContentTypes()}),
				tenant.New(tenant.Config{Subscribed: tenant.ContentTypes(), ID: second}),
			}
			week(tenants[0], 1, 20, 100)
			week(tenants[1], 2, 20, 100)
			limits := []string{"storage.type: filesystem", "storage.type: filesystem"}
			limits[stalled] = "mem_buf_limit: 1M"
			outputs := []string{fileOutput(dir), fileOutput(dir)}
			d := newDestination(2)
			outputs[stalled] = httpOutput(port(t, d))
			f := startFluentBit(t, configurePressed(t, dir, "",
				pressedInput{"one", limits[0], stanza(serve(t, tenants[0]), dir, keys{"batch_size": "1M", "buffer_size": "4M"}), outputs[0]},
				pressedInput{"two", limits[1], stanza(serve(t, tenants[1]), dir, keys{
					"batch_size": "1M", "buffer_size": "4M", "tenant_id": second, "db": filepath.Join(dir, "two.db"),
				}), outputs[1]},
			))
			until(t, "a pause", func() bool { return strings.Contains(f.log.String(), "paused (mem buf overlimit") })
			close(d.hung)
			until(t, "every record of the one that was paused", func() bool { return len(d.received()) >= offered(tenants[stalled]) })
			out := newOutput(t, dir)
			out.waitFor(offered(tenants[1-stalled]))
			f.terminate()
			out.update()
			account(t, d.received(), tenants[stalled])
			account(t, out.arrived, tenants[1-stalled])
			contains(t, f.log.String(), "resume (mem buf overlimit")
		})
	}
}

// peakMemory is the most that the process has had resident so far, in MB.
func (f *fluentBit) peakMemory() (megabytes int) {
	f.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.cmd.Process.Pid))
	if err != nil {
		f.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &megabytes); err == nil {
			return megabytes / 1000
		}
	}
	f.t.Fatal("no VmHWM")
	return 0
}
