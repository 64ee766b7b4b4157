package e2e

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"in_office365/test/events"
	"in_office365/test/host/hosttest"
	"in_office365/test/tenant"
)

var handOverRecords = flag.Int("handover-records", 30_000, "records of each row of TestHandOver in a real Fluent Bit, up to 300,000")

const (
	// wrongFor is how long the minimal host does wrong, and the engine of Fluent Bit stands still.
	wrongFor, stoppedFor = 20 * time.Second, 10 * time.Second
	// steadyFor is how long a state has to last that is waited for.
	steadyFor = 3 * time.Second
)

// What Fluent Bit has copied and then not kept is handed over again: whatever happens between the hand-over and the chunks, in the end every record
// has arrived at an output that was down meanwhile. What there is no room for waits, and the plugin says so.
func TestHandOver(t *testing.T) {
	t.Parallel()
	table := &handOverTable{rows: make([]string, len(inFluentBit)+len(inMinimalHost))}
	t.Cleanup(func() { table.print(t) }) // after the parallel tests
	for i, row := range inFluentBit {
		t.Run("Fluent Bit/"+row.name, func(t *testing.T) {
			t.Parallel()
			x := newHandOver(t, table, i, row.name)
			fluentBitBinary(t)
			if *handOverRecords < row.least {
				t.Skipf("SKIP: fewer than -handover-records %d do not fill it", row.least)
			}
			x.inFluentBit(row)
		})
	}
	for i, row := range inMinimalHost {
		t.Run("minimal host/"+row.name, func(t *testing.T) {
			t.Parallel()
			newHandOver(t, table, len(inFluentBit)+i, "minimal host: "+row.name).inMinimalHost(row)
		})
	}
}

// noRoom is what handOver.readyz returns while there is no room for chunks.
const noRoom = "503 storage"

// onDisk are the lines of an input whose chunks are kept on a disk.
const onDisk = "storage.type: filesystem"

// fluentBitRow is something that goes wrong in a real Fluent Bit while the output is down.
type fluentBitRow struct {
	name      string
	least     int                          // -handover-records with which it comes about: 1,000 records take 1.3 MB
	volume    func(x *handOverInFluentBit) // makes that of the chunks; nil: they are where everything is
	dbIsThere bool                         // on the same volume as the chunks
	lines     string                       // of the input
	output    string                       // lines of the output besides the usual ones
	keys      keys
	wrong     func(x *handOverInFluentBit) // until the output comes back
	noRoom    bool                         // there is none for the chunks meanwhile
	noNotice  bool                         // that a notice says so is not to be had
	drops     bool                         // what was in flight is dropped, if anything was
	again     string                       // why records may come again; empty: none does
}

var inFluentBit = []fluentBitRow{
	{
		name: "no space, 12 MB", volume: inMemoryOf("size=12m"), lines: onDisk,
		wrong: (*handOverInFluentBit).waitForNoRoom, noRoom: true,
	},
	{
		name: "no space, 12 MB, db there too", volume: inMemoryOf("size=12m"), dbIsThere: true, lines: onDisk,
		wrong: (*handOverInFluentBit).waitForNoRoom, noRoom: true,
	},
	{
		name: "no space, 12 MB, kill -9", volume: inMemoryOf("size=12m"), lines: onDisk,
		wrong: (*handOverInFluentBit).killWithoutRoom, noRoom: true, again: "a kill",
	},
	{
		name: "no space, 12 MB, db there too, kill -9", volume: inMemoryOf("size=12m"), dbIsThere: true, lines: onDisk,
		wrong: (*handOverInFluentBit).killWithoutRoom, noRoom: true, again: "a kill",
	},
	{
		name: "no space, 64 MB", least: 100_000, volume: inMemoryOf("size=64m"), lines: onDisk,
		wrong: (*handOverInFluentBit).waitForNoRoom, noRoom: true,
	},
	{
		name: "storage.total_limit_size 10M", lines: onDisk, output: "storage.total_limit_size: 10M",
		wrong: (*handOverInFluentBit).waitForNoRoom, noRoom: true,
	},
	{
		name: "storage.total_limit_size 10M, kill -9", lines: onDisk, output: "storage.total_limit_size: 10M",
		wrong: (*handOverInFluentBit).killWithoutRoom, noRoom: true, again: "a kill",
	},
	{
		name: "no inodes", volume: inMemoryOf("size=1g,nr_inodes=40"), lines: onDisk,
		wrong: (*handOverInFluentBit).useUpFiles, noRoom: true,
	},
	{
		name: "mem_buf_limit 10M", lines: "mem_buf_limit: 10M",
		wrong: (*handOverInFluentBit).waitForPause,
	},
	{
		name: "volume read-only", volume: inMemoryOf("size=1g"), lines: onDisk, keys: keys{"hand_over_rate": "8M"},
		wrong: (*handOverInFluentBit).makeReadOnly, noRoom: true, drops: true, again: "what is in flight with what was dropped",
	},
	// What Fluent Bit had written stands on the disk here. The plugin cannot know more than that it was written: of a disk that loses it before
	// the system has put it there, and storage.sync is not full, nobody would say so. The notice dies with the process, which cannot get rid of it.
	{
		name: "disk fails, is replaced", volume: onDevice, lines: onDisk, keys: keys{"hand_over_rate": "8M"},
		wrong: (*handOverInFluentBit).replaceDisk, noRoom: true, noNotice: true, drops: true, again: "a kill",
	},
	{
		name: "engine stopped", lines: onDisk, keys: keys{"batch_size": "64K", "buffer_size": "128M", "hand_over_rate": "off"},
		wrong: (*handOverInFluentBit).stopEngine,
	},
}

// minimalHostRow is something that goes wrong in the minimal host, which has no disk.
type minimalHostRow struct {
	name  string
	lacks []hosttest.Lack
	args  []string
	keys  keys
	wrong func(x *handOver, h *hosttest.Host)
	drops bool   // the host drops what it has copied, before it counts
	again string // why records may come again; empty: none does
}

var inMinimalHost = []minimalHostRow{
	{
		name: "no chunk can be had", drops: true, again: "what is in flight with what was dropped",
		wrong: func(x *handOver, h *hosttest.Host) { x.between(h, "chunks none", "chunks ok") },
	},
	{
		name:  "appending fails",
		wrong: func(x *handOver, h *hosttest.Host) { x.between(h, "append fails", "append ok") },
	},
	{
		name:  "engine stands still",
		wrong: func(x *handOver, h *hosttest.Host) { x.between(h, "stall", "go") },
	},
	{
		name: "engine stands still, ring of 16", args: []string{"--ring-entries", "16"},
		wrong: func(x *handOver, h *hosttest.Host) { x.between(h, "stall", "go") },
	},
	// Asked for one batch a second.
	{name: "host without the exports", lacks: []hosttest.Lack{hosttest.Handover}, keys: keys{"batch_size": "1M"}},
	{name: "host without the count", lacks: []hosttest.Lack{hosttest.Count}},
}

// handOver is the account of a row.
type handOver struct {
	*testing.T
	row       string
	begun     time.Time
	tenant    *tenant.Tenant
	dir       string
	address   string // of the plugin's metrics
	take      func() // what has arrived since it was last called
	arrived   arrivals
	notices   map[string]int
	dropped   float64 // records, by the plugin's count
	meanwhile string  // what the plugin said of itself while something was wrong
	after     string  // and in the end
}

func newHandOver(t *testing.T, table *handOverTable, index int, row string) *handOver {
	t.Helper()
	x := &handOver{
		T: t, row: row, begun: time.Now(), tenant: tenant.New(tenant.Config{Subscribed: tenant.ContentTypes()}),
		dir: t.TempDir(), address: freeAddress(t), arrived: arrivals{}, notices: map[string]int{},
	}
	t.Cleanup(func() { table.set(index, x) })
	return x
}

// offer publishes that many records, or a few more.
func (x *handOver) offer(records int) {
	const perBlob = 500
	types := len(tenant.ContentTypes())
	week(x.tenant, 1, (records+types*perBlob-1)/(types*perBlob), perBlob)
}

// keys are those of the stanza and more, of which the last counts.
func (x *handOver) keys(more ...keys) keys {
	k := stanza(serve(x.T, x.tenant), x.dir, keys{"metrics_address": x.address})
	for _, m := range more {
		maps.Copy(k, m)
	}
	return k
}

func (x *handOver) count(e events.Event) {
	if kind := e.Notice(); kind != "" {
		x.notices[kind]++
	}
	x.arrived.add(e)
}

// readyz is what the plugin says of itself: 200, or 503 and the kind of the first reason; "0" as long as it says nothing.
func (x *handOver) readyz() string {
	status, text := ask(x.T, "http://"+x.address+"/readyz")
	var answer readiness
	if status != http.StatusServiceUnavailable || json.Unmarshal([]byte(text), &answer) != nil || len(answer.Inputs) != 1 || len(answer.Inputs[0].Reasons) == 0 {
		return strconv.Itoa(status)
	}
	return fmt.Sprint(status, " ", answer.Inputs[0].Reasons[0].Kind)
}

// metric adds up what the plugin says under that name. It is not known while it says nothing.
func (x *handOver) metric(name string) (sum float64, known bool) {
	_, text := ask(x.T, "http://"+x.address+"/metrics")
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if labels, found := strings.CutPrefix(lines.Text(), name+"{"); found {
			value, err := strconv.ParseFloat(labels[strings.LastIndexByte(labels, ' ')+1:], 64)
			if err != nil {
				x.Fatal(err)
			}
			sum, known = sum+value, true
		}
	}
	return sum, known
}

// steadily waits until something has been so for a while.
func (x *handOver) steadily(what string, is func() bool) {
	x.Helper()
	since := time.Now()
	until(x.T, what, func() bool {
		if !is() {
			since = time.Now()
		}
		return time.Since(since) >= steadyFor
	})
}

// waitForHandedOver waits until a quarter of all has been handed over.
func (x *handOver) waitForHandedOver() {
	x.Helper()
	least := float64(offered(x.tenant)) / 4
	until(x.T, "a quarter to be handed over", func() bool {
		n, _ := x.metric("office365_records_handed_over_total")
		return n >= least
	})
}

// complete waits until every record has arrived, and the plugin knows that. What it has counted is of its last run.
func (x *handOver) complete() {
	x.Helper()
	all := offered(x.tenant)
	until(x.T, "every record", func() bool {
		x.take()
		return len(x.arrived) >= all
	})
	until(x.T, "the plugin to be ready, and nothing incomplete", func() bool {
		incomplete, known := x.metric("office365_blobs_incomplete")
		return known && incomplete == 0 && x.readyz() == "200"
	})
	x.after = x.readyz()
	x.dropped, _ = x.metric("office365_records_dropped_total")
}

// account closes the account. Why records may have come again is empty where none may have.
func (x *handOver) account(again string) {
	x.Helper()
	if repeated := account(x.T, x.arrived, x.tenant); repeated > 0 && again == "" {
		x.Errorf("%d records came again", repeated)
	}
	if x.notices["gap"]+x.notices["blob_lost"] > 0 {
		x.Errorf("something is announced as lost: %v", x.notices)
	}
}

// ---- in Fluent Bit ----

// handOverInFluentBit is a row there.
type handOverInFluentBit struct {
	*handOver
	config  string
	volume  string  // where the chunks are
	device  *device // that it is on; nil: it is on none that can fail
	running *fluentBit
	mend    func() // what is wrong besides the output, when it comes back; may be nil
}

func (x *handOver) inFluentBit(row fluentBitRow) {
	x.Helper()
	f := &handOverInFluentBit{handOver: x, volume: filepath.Join(x.dir, "volume")}
	if row.volume != nil {
		row.volume(f)
	}
	db := keys{}
	if row.dbIsThere {
		db["db"] = filepath.Join(f.volume, "office365.db")
	}
	f.offer(*handOverRecords)
	outputAddress := freeAddress(f.T)
	_, port, err := net.SplitHostPort(outputAddress)
	if err != nil {
		f.Fatal(err)
	}
	output := httpOutput(port)
	if row.output != "" {
		output += "\n      " + row.output
	}
	// The path of chunks that writeConfiguration has is set once more, which counts: Fluent Bit takes the last.
	f.config = writeConfiguration(f.T, f.dir, pressed+fmt.Sprintf("  storage.path: %q\n", filepath.Join(f.volume, "chunks")),
		input{tag: "OFFICE365_EVENT_DATA", lines: row.lines, keys: f.keys(db, row.keys), output: output})
	f.start()
	row.wrong(f)
	if f.mend != nil {
		f.mend()
	}
	d := &destination{}
	f.take = func() { d.take(f.T, f.count) }
	listenAt(f.T, outputAddress, d)
	f.complete()
	if row.noRoom && !row.noNotice {
		until(f.T, "the notice", func() bool {
			f.take()
			return f.notices["storage_full"] > 0
		})
	}
	if (f.meanwhile == noRoom) != row.noRoom {
		f.Errorf("meanwhile /readyz said %q", f.meanwhile)
	}
	if f.dropped > 0 && !row.drops {
		f.Errorf("the plugin counts %.0f records as dropped", f.dropped)
	}
	f.running.terminate()
	f.take()
	f.account(row.again)
	if got, want := f.notices["storage_full"], count(row.noRoom && !row.noNotice); got != want {
		f.Errorf("%d notices storage_full, want %d", got, want)
	}
}

func inMemoryOf(options string) func(x *handOverInFluentBit) {
	return func(x *handOverInFluentBit) { mountMemory(x.T, x.volume, options) }
}

func onDevice(x *handOverInFluentBit) { x.device = newDevice(x.T, x.volume) }

// listenAt serves on an address on which nobody has listened so far.
func listenAt(t *testing.T, address string, handler http.Handler) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}} //nolint:gosec // on loopback
	server.Start()
	t.Cleanup(server.Close)
}

func (x *handOverInFluentBit) start() { x.running = startFluentBit(x.T, x.config) }

func (x *handOverInFluentBit) kill() {
	x.Helper()
	x.running.signal(syscall.SIGKILL)
	x.running.wait()
}

func (x *handOverInFluentBit) waitForNoRoom() {
	x.Helper()
	x.steadily("/readyz to say that there is no room", func() bool { return x.readyz() == noRoom })
	x.meanwhile = noRoom
	contains(x.T, x.running.log.String(), "handing over failed")
}

// killWithoutRoom kills it when there is no room. The next run has none either.
func (x *handOverInFluentBit) killWithoutRoom() {
	x.Helper()
	x.waitForNoRoom()
	x.kill()
	x.start()
	x.waitForNoRoom()
}

// useUpFiles has the chunks use up the inodes, and others the rest of them.
func (x *handOverInFluentBit) useUpFiles() {
	x.Helper()
	x.waitForNoRoom()
	x.mend = useUpFiles(x.T, x.volume)
	x.waitForNoRoom()
}

// waitForPause waits until Fluent Bit has paused the input, and nothing moves any more.
func (x *handOverInFluentBit) waitForPause() {
	x.Helper()
	x.steadily("a pause", func() bool {
		paused, _ := x.metric("office365_paused")
		return paused == 1
	})
	contains(x.T, x.running.log.String(), "paused (mem buf overlimit")
	x.meanwhile = x.readyz()
}

// makeReadOnly takes the volume from Fluent Bit for writing, in the middle of the load, but for chunks that it has open.
func (x *handOverInFluentBit) makeReadOnly() {
	x.Helper()
	x.waitForHandedOver()
	x.mend = readOnly(x.T, x.volume)
	x.waitForNoRoom()
}

// replaceDisk has the disk fail in the middle of the load. Fluent Bit has to begin anew before another can take its place.
func (x *handOverInFluentBit) replaceDisk() {
	x.Helper()
	x.waitForHandedOver()
	x.device.fail(x.T)
	x.waitForNoRoom()
	x.kill()
	x.device.replace(x.T)
	x.start()
}

// stopEngine stops the thread that takes batches off the ring buffer, in the middle of the load.
func (x *handOverInFluentBit) stopEngine() {
	x.Helper()
	x.waitForHandedOver()
	withThreadStopped(x.T, thread(x.T, x.running.cmd.Process.Pid, "flb-pipeline"), func() {
		<-time.After(stoppedFor) // no wait for something: that nothing happens is what is tried out
		if inFlight, _ := x.metric("office365_in_flight_bytes"); inFlight == 0 {
			x.Error("nothing was in flight")
		}
		x.meanwhile = x.readyz()
	})
}

// ---- in the minimal host ----

func (x *handOver) inMinimalHost(row minimalHostRow) {
	x.Helper()
	const records = 5_000
	program := testHost
	if row.lacks != nil {
		var err error
		if program, err = hosttest.BuildHost("../host", x.dir, row.lacks...); err != nil {
			x.Fatal(err)
		}
	}
	x.offer(records)
	out, read := filepath.Join(x.dir, "out"), int64(0)
	x.take = func() { read = readEvents(x.T, out, read, x.count) }
	config := x.keys(keys{"batch_size": "64K", "buffer_size": "8M", "hand_over_rate": "2M"}, row.keys)
	h := startHost(x.T, program, nil, hostArgs([]keys{config}, append(row.args, "--output", out)...)...)
	if row.wrong != nil {
		row.wrong(x, h)
	}
	x.complete()
	r := h.Stop()
	sound(x.T, r)
	x.take()
	x.account(row.again)
	if (x.dropped > 0) != row.drops {
		x.Errorf("the plugin counts %.0f records as dropped", x.dropped)
	}
	if s := r.Stats; row.lacks != nil && s.Appended > 0 && row.lacks[0] == hosttest.Handover {
		x.Errorf("%d batches were appended", s.Appended)
	}
	if row.lacks != nil {
		contains(x.T, r.Log, "this Fluent Bit gives no receipts")
	}
}

// between has the minimal host do wrong for a while, in the middle of the load.
func (x *handOver) between(h *hosttest.Host, wrong, right string) {
	x.Helper()
	x.waitForHandedOver()
	h.Send(wrong)
	<-time.After(wrongFor) // no wait for something: the time is what is tried out
	x.meanwhile = x.readyz()
	h.Send(right)
}

// ---- the table ----

type handOverTable struct {
	mu   sync.Mutex
	rows []string
}

// set takes a row down when its test has ended.
func (tb *handOverTable) set(index int, x *handOver) {
	text := "SKIPPED"
	if !x.Skipped() {
		missing, repeated := 0, 0
		for _, ct := range tenant.ContentTypes() {
			for id := range x.tenant.Account().RecordIDs(ct) {
				missing += count(x.arrived[id] == 0)
			}
		}
		for _, n := range x.arrived {
			repeated += n - 1
		}
		text = fmt.Sprintf("%7d | %7d | %8d | %6d | %s / %s | %.0f", offered(x.tenant), missing, repeated, x.notices["storage_full"],
			cmp.Or(x.meanwhile, "-"), cmp.Or(x.after, "-"), time.Since(x.begun).Seconds())
	}
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.rows[index] = fmt.Sprintf("%-46s | %s", x.row, text)
}

func (tb *handOverTable) print(t *testing.T) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	t.Logf("\n%-46s | offered | missing | repeated | notice | ready meanwhile / after | seconds\n%s", "", strings.Join(tb.rows, "\n"))
}
