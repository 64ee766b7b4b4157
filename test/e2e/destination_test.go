package e2e

import (
	"io"
	"net/http"
	"sync"
	"testing"

	"in_office365/test/events"
)

// destination is where Fluent Bit's http output sends to, in the format msgpack. It may take nothing for a while, or refuse. What it has not answered has
// not arrived.
type destination struct {
	mu       sync.Mutex
	stalled  chan struct{} // closed when it takes records again; nil: it does
	refuses  int           // how many requests it answers 503 before it takes one
	received [][]byte
}

func (d *destination) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil { // Fluent Bit has ended, and the next one sends this chunk again
		return
	}
	d.mu.Lock()
	stalled := d.stalled
	d.mu.Unlock()
	if stalled != nil {
		select {
		case <-stalled:
		case <-r.Context().Done():
			return
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuses > 0 {
		d.refuses--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	d.received = append(d.received, body)
}

func (d *destination) stall() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stalled = make(chan struct{})
}

func (d *destination) flow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.stalled)
	d.stalled = nil
}

// take hands over the events that have arrived since it was called last.
func (d *destination) take(t *testing.T, each func(events.Event)) {
	t.Helper()
	d.mu.Lock()
	bodies := d.received
	d.received = nil
	d.mu.Unlock()
	for _, body := range bodies {
		for len(body) > 0 {
			e, rest, err := events.NextAdded(body)
			if err != nil {
				t.Fatal(err)
			}
			each(e)
			body = rest
		}
	}
}

// httpOutput sends to that port.
func httpOutput(port string) string {
	return "name: http\n      format: msgpack\n      host: 127.0.0.1\n      port: " + port
}

// pressed is for the service: an output that has failed is soon tried again.
const pressed = "  scheduler.base: 1\n  scheduler.cap: 2\n"
