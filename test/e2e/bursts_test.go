package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"in_office365/test/tenant"
)

// metric is the value of a metric at metrics_address, the sum of its series. known is false if there is none.
func metric(t *testing.T, address, name string) (value float64, known bool) {
	t.Helper()
	_, text := ask(t, "http://"+address+"/metrics")
	for _, m := range regexp.MustCompile(`(?m)^office365_`+name+`(?:\{.*\})? (\S+)$`).FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatalf("%s: %v", m[0], err)
		}
		value, known = value+n, true
	}
	return value, known
}

// calledSettled says whether the plugin calls everything settled that it has listed.
func calledSettled(t *testing.T, address string) bool {
	t.Helper()
	incomplete, known := metric(t, address, "blobs_incomplete")
	return known && incomplete == 0
}

// httpServer is for the service. With it Fluent Bit has a second thread that has the name of the engine's.
func httpServer(t *testing.T) string {
	t.Helper()
	_, port, _ := strings.Cut(freeAddress(t), ":")
	return fmt.Sprintf("  http_server: on\n  http_listen: 127.0.0.1\n  http_port: %s\n", port)
}

// Every Fluent Bit takes batches as fast as there are any, and a burst is settled soon after its last batch: at first, after a reload, and beside
// Fluent Bit's own server. On a thread of the input it is woken for them, and its count is the receipt; with threaded off what it returns is.
func TestFluentBitTakesBurstsAndGivesReceipts(t *testing.T) {
	t.Parallel()
	const (
		settle = 2 * time.Second
		late   = 2 * time.Second
		leastA = 4 // batches a second, of a burst
	)
	for name, tc := range map[string]struct{ lines, receipts string }{
		"threaded":     {"storage.type: filesystem", "count"},
		"threaded off": {"storage.type: filesystem\n      threaded: off", `"return value"`},
	} {
		for _, server := range []bool{false, true} {
			if server {
				name += ", http_server on"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				fluentBitBinary(t)
				receipts, given := "Fluent Bit gives receipts receipts="+tc.receipts, 1.0
				if tc.receipts == "count" && !fluentBitSince(t, 3, 2, 0) { // it counts behind its filters
					receipts, given = "this Fluent Bit gives no receipts", 0
				}
				tn, dir, address, service := tenant.New(subscribed()), t.TempDir(), freeAddress(t), "  hot_reload: on\n"
				if server {
					service += httpServer(t)
				}
				f := startFluentBit(t, writeConfiguration(t, dir, service, input{
					tag: "OFFICE365_EVENT_DATA", lines: tc.lines, output: fileOutput(dir),
					keys: stanza(serve(t, tn), dir, keys{"batch_size": "64K", "settle": settle.String(), "metrics_address": address, "log_level": "debug"}),
				}))
				value := func(name string) (n float64) {
					n, _ = metric(t, address, name)
					return n
				}
				before := 0.0 // records that the same run has been handed
				for burst := range 3 {
					if burst == 1 {
						f.reload()
						before = 0
					}
					const records = 2000
					tn.Publish(tenant.Plan{Seed: uint64(burst), Blobs: 4, Records: 100, From: time.Now().Add(-50 * time.Minute), To: time.Now().Add(-time.Minute)})
					var first, last time.Time
					batches := value("batches_handed_over_total")
					until(t, "the burst to be handed over", func() bool {
						n := value("records_handed_over_total") - before
						if n > 0 && first.IsZero() {
							first, batches = time.Now(), value("batches_handed_over_total")
						}
						last = time.Now()
						return n == records
					})
					batches, took := value("batches_handed_over_total")-batches, last.Sub(first)
					if batches < leastA*took.Seconds() || first.Equal(last) {
						t.Errorf("%.0f batches in %s, want %d a second", batches, took, leastA)
					}
					until(t, "the burst to be settled", func() bool { return calledSettled(t, address) })
					settled := time.Since(last)
					if settled > settle+late {
						t.Errorf("settled %s after it was handed over, want %s at most", settled, settle+late)
					}
					t.Logf("burst %d: %.0f batches in %s, settled %s later", burst, batches, took.Round(time.Millisecond), settled.Round(time.Millisecond))
					if n, known := metric(t, address, "receipts"); !known || n != given {
						t.Errorf("receipts: %v, known: %v", n, known)
					}
					before += records
				}
				took := f.terminate()
				if took > 2*time.Second || f.cmd.ProcessState.ExitCode() != 0 {
					t.Errorf("it ended after %s with %s", took, f.cmd.ProcessState)
				}
				log := f.log.String()
				if n := strings.Count(log, receipts); n != 2 {
					t.Errorf("%d times in the log %q, want one for each run", n, receipts)
				}
				if strings.Contains(log, "[error]") || strings.Contains(log, "no receipts: ") {
					t.Errorf("something is amiss:\n%s", log)
				}
				out := newOutput(t, dir)
				out.update()
				if repeated := account(t, out.arrived, tn); repeated > 0 {
					t.Errorf("%d records came again", repeated)
				}
			})
		}
	}
}
