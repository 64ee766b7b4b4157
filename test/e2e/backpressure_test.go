package e2e

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"in_office365/test/tenant"
)

var stall = flag.Duration("stall", 3*time.Second, "how long the outputs take nothing once nothing can be collected any more")

// sending counts what a tenant sends of its blobs.
type sending struct {
	http.ResponseWriter
	bytes *atomic.Int64
}

func (s sending) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p)
	s.bytes.Add(int64(n))
	return n, err
}

func (s sending) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// serveCounting is serve, and bytes what is sent of blobs.
func serveCounting(t *testing.T, tn *tenant.Tenant) (url string, bytes *atomic.Int64) {
	t.Helper()
	bytes = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/"+string(tenant.FetchBlob)+"/") {
			w = sending{w, bytes}
		}
		tn.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL, bytes
}

// waitForStandstill waits until nothing has been sent for as long as -stall says.
func waitForStandstill(t *testing.T, bytes *atomic.Int64) {
	t.Helper()
	sent, since := int64(-1), time.Now()
	until(t, "nothing more to be sent", func() bool {
		if n := bytes.Load(); n != sent {
			sent, since = n, time.Now()
		}
		return time.Since(since) >= *stall
	})
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
			d, received := &destination{refuses: 3}, arrivals{}
			d.stall()
			url, sent := serveCounting(t, tn)
			f := startFluentBit(t, writeConfiguration(t, dir, pressed+tc.service, input{
				tag: "OFFICE365_EVENT_DATA", lines: tc.limits, keys: stanza(url, dir, keys{"batch_size": "4M", "buffer_size": "12M"}), output: httpOutput(port(t, d)),
			}))
			until(t, "a pause", func() bool { return strings.Contains(f.log.String(), tc.pause) })
			waitForStandstill(t, sent)
			if whole := tn.Account().Offered[tenant.General]; whole.Whole == whole.Blobs {
				t.Error("the blob was through in spite of the pause")
			}
			d.flow()
			all := offered(tn)
			until(t, "every record", func() bool { d.take(t, received.add); return len(received) >= all })
			peak := mostResident(t, f.cmd.Process.Pid) / 1e6
			f.terminate()
			d.take(t, received.add)
			account(t, received, tn)
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
			d, received := &destination{refuses: 2}, arrivals{}
			d.stall()
			outputs[stalled] = httpOutput(port(t, d))
			first := stanza(serve(t, tenants[0]), dir, keys{"batch_size": "1M", "buffer_size": "4M"})
			last := stanza(serve(t, tenants[1]), dir, keys{"batch_size": "1M", "buffer_size": "4M", "tenant_id": second, "db": filepath.Join(dir, "two.db")})
			f := startFluentBit(t, writeConfiguration(t, dir, pressed,
				input{tag: "one", lines: limits[0], keys: first, output: outputs[0]},
				input{tag: "two", lines: limits[1], keys: last, output: outputs[1]},
			))
			until(t, "a pause", func() bool { return strings.Contains(f.log.String(), "paused (mem buf overlimit") })
			d.flow()
			until(t, "every record of the one that was paused", func() bool { d.take(t, received.add); return len(received) >= offered(tenants[stalled]) })
			out := newOutput(t, dir)
			out.waitFor(offered(tenants[1-stalled]))
			f.terminate()
			out.update()
			d.take(t, received.add)
			account(t, received, tenants[stalled])
			account(t, out.arrived, tenants[1-stalled])
			contains(t, f.log.String(), "resume (mem buf overlimit")
		})
	}
}
