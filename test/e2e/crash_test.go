package e2e

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"in_office365/plugin/ledger"
	"in_office365/test/events"
	"in_office365/test/host/hosttest"
	"in_office365/test/tenant"
)

var (
	kills    = flag.Int("kills", 3, "how often TestCrash kills each host")
	killSeed = flag.Uint64("kill-seed", uint64(time.Now().UnixNano()), "of the moments at which it does")
)

// A host that is killed again and again over one backlog, at any moment of its life: while it starts, before the first hand-over, between two
// of them, before what was handed over is settled, and after. In the end everything has arrived; what a run repeats is of what the ledger did not
// call settled when the run before was killed, and no more; and what the ledger called settled had left the process.
func TestCrash(t *testing.T) {
	t.Parallel()
	hosts := map[string]struct {
		begin   func(t *testing.T, dir string) crashable
		keys    keys
		records int           // of a blob: more than can be settled meanwhile
		latest  time.Duration // of the moments of the kills
		again   bool          // the host repeats by itself what it was sending when it was killed
	}{
		"Fluent Bit": {newCrashableFluentBit, keys{"settle": "1s"}, 50, 5 * time.Second, true},
		// Without a disk under it settle has to be longer than flush and the output take.
		"Fluent Bit, storage in memory": {newCrashableFluentBit, keys{"settle": "3s", "storage.type": "memory"}, 50, 9 * time.Second, true},
		"minimal host":                  {newCrashableTestHost, keys{"settle": "1s"}, 50, 5 * time.Second, false},
		// What the engine has counted waits for the filter before it is written. The filter is what slows this down.
		"Fluent Bit, a filter of 3 ms":   {newFilteredFluentBit, keys{"settle": "1s", "hand_over_rate": "off"}, 100, 5 * time.Second, true},
		"minimal host, a filter of 3 ms": {newFilteredTestHost, keys{"settle": "1s", "hand_over_rate": "off"}, 100, 5 * time.Second, false},
	}
	tenants := map[string]func(tn *tenant.Tenant) []*tenant.Injected{
		"sound tenant":          func(*tenant.Tenant) []*tenant.Injected { return nil },
		"5 % of the calls fail": failing,
	}
	var mu sync.Mutex
	rows := []string{fmt.Sprintf("%-52s | kills | offered | missing | repeats per kill: median, max | may repeat: median, max | repeated by the host | calls failed", "")}
	t.Cleanup(func() { // after the parallel tests
		t.Log("\n" + strings.Join(rows, "\n"))
	})
	for name, host := range hosts {
		for tenantName, inject := range tenants {
			t.Run(name+"/"+tenantName, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				c := host.begin(t, dir)
				tn := tenant.New(tenant.Config{Subscribed: tenant.ContentTypes(), Latency: 20 * time.Millisecond, Gzip: true, PageSize: 30, Seed: *killSeed})
				week(tn, 1, 6+*kills, host.records)
				faults := inject(tn)
				config := stanza(serve(t, tn), dir, keys{"batch_size": "128K", "buffer_size": "512K", "hand_over_rate": "128K"})
				maps.Copy(config, host.keys)
				a := crash(t, c, tn, config, anyMoments(t, *kills, host.latest))
				for i, k := range a.kills {
					if k.allSettled {
						t.Errorf("kill %d: the backlog was done already", i+1)
					}
				}
				row, byHost := a.row(), a.byHost
				if byHost > 0 && !host.again {
					t.Errorf("%d records were handed over once more in the same run", byHost)
				}
				failed, calls := 0, 0
				for _, fault := range faults {
					failed += fault.Hits()
				}
				for _, n := range tn.Account().Calls {
					calls += n
				}
				if failed == 0 && len(faults) > 0 {
					t.Error("no call has failed")
				}
				mu.Lock()
				defer mu.Unlock()
				rows = append(rows, fmt.Sprintf("%-52s | %s | %d of %d", name+", "+tenantName, row, failed, calls))
			})
		}
	}
}

// failing makes one call of twenty fail, in one of three ways.
func failing(tn *tenant.Tenant) (faults []*tenant.Injected) {
	for _, effect := range []tenant.Effect{
		tenant.HTMLPage(http.StatusServiceUnavailable), tenant.CutConnection(2000), tenant.Throttle(http.StatusTooManyRequests, time.Second),
	} {
		faults = append(faults, tn.Inject(tenant.Fault{Probability: 0.05 / 3}, effect))
	}
	return faults
}

// filtered is how many records TestCrashOnceAllIsCalledComplete has.
var filtered = flag.Int("filtered", 2_500, "records of TestCrashOnceAllIsCalledComplete, each of which takes a filter 3 ms")

// A host that is killed once the plugin calls everything complete, behind a filter that takes longer for a batch than settle: nothing is missing, nor
// did any of it have to be fetched again. What is on its way to the filter takes no more memory than buffer_size.
func TestCrashOnceAllIsCalledComplete(t *testing.T) {
	t.Parallel()
	const (
		bufferSize = 10_400_000  // by default
		besides    = 110_000_000 // Fluent Bit, the plugin, and what a filter makes of a batch
	)
	for name, begin := range map[string]func(t *testing.T, dir string) crashable{
		"Fluent Bit": newFilteredFluentBit,
		"Fluent Bit, http_server on": func(t *testing.T, dir string) crashable {
			c := newFilteredFluentBit(t, dir).(*crashableFluentBit)
			c.service += httpServer(t)
			return c
		},
		"minimal host": newFilteredTestHost,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, address := t.TempDir(), freeAddress(t)
			c := begin(t, dir)
			tn := tenant.New(tenant.Config{Subscribed: tenant.ContentTypes(), Gzip: true})
			week(tn, 1, *filtered/len(tenant.ContentTypes())/50, 50)
			config := stanza(serve(t, tn), dir, keys{"settle": "1s", "metrics_address": address})
			begun, peak := time.Now(), int64(0)
			a := crash(t, c, tn, config, []func() string{func() string {
				until(t, "everything to be called complete", func() bool {
					status, _ := ask(t, "http://"+address+"/readyz")
					return status == http.StatusOK && calledSettled(t, address)
				})
				peak = mostResident(t, c.pid())
				return time.Since(begun).Round(time.Millisecond).String()
			}})
			if k := a.kills[0]; k.arrived != offered(tn) {
				t.Errorf("%d records have arrived of %d that were called complete", k.arrived, offered(tn))
			}
			t.Logf("%d records; peak memory %d MB", offered(tn), peak/1e6)
			if peak > bufferSize+besides {
				t.Errorf("peak memory %d MB, more than buffer_size and %d MB", peak/1e6, besides/1_000_000)
			}
		})
	}
}

// crashable is a host in which the plugin can be killed and started again.
type crashable interface {
	// start runs the plugin with these keys. Runs are counted from 1; in the last one nothing is in the way.
	start(run int, last bool, k keys)
	pid() int
	kill()
	// finish lets the last run go on until so many different records have arrived, and ends it.
	finish(records int)
	// arrivals are all records that have left the process for good, in whichever run, by their Id and o365_tag; and their notices.
	arrivals() (records map[delivery]int, notices map[string]int)
	log() string // of the last run
}

// anyMoments are for kills at any moment up to the latest. Each three are spread over the first, second and third part of the time, so that three are
// enough to see all sorts.
func anyMoments(t *testing.T, kills int, latest time.Duration) (moments []func() string) {
	t.Helper()
	const soonest = 100 * time.Millisecond
	t.Logf("-kill-seed %d", *killSeed)
	rng := rand.New(rand.NewPCG(*killSeed, 0))
	var thirds []int
	for range kills {
		if len(thirds) == 0 {
			thirds = rng.Perm(3)
		}
		after := soonest + time.Duration((float64(thirds[0])+rng.Float64())/3*float64(latest-soonest)).Round(time.Millisecond)
		thirds = thirds[1:]
		moments = append(moments, func() string {
			<-time.After(after) // no wait for something: the moment is what is tried out
			return after.String()
		})
	}
	return moments
}

// crash kills the host when each of the moments has come, which say when that is, and keeps the account.
func crash(t *testing.T, host crashable, tn *tenant.Tenant, config keys, moments []func() string) *crashAccount {
	t.Helper()
	a := &crashAccount{blobs: tn.Account().Blobs}
	for i, moment := range moments {
		run := i + 1
		config["event_tag"] = runTag(run)
		host.start(run, false, config)
		after := moment()
		host.kill()
		a.kills = append(a.kills, killed{after: after, settled: a.settled(t, config["db"])})
		for _, bad := range []string{"panic", "damaged"} {
			if strings.Contains(host.log(), bad) {
				t.Fatalf("the log of run %d:\n%s", run, tail(host.log(), 60))
			}
		}
	}
	last := len(moments) + 1
	config["event_tag"] = runTag(last)
	config["batch_size"], config["buffer_size"], config["hand_over_rate"] = "16M", "64M", "off" // the rest at once
	host.start(last, true, config)
	host.finish(offered(tn))

	var notices map[string]int
	a.copies, notices = host.arrivals()
	a.report(t)
	ids := map[string]int{}
	for d, n := range a.copies {
		ids[d.id] += n
	}
	account(t, ids, tn)
	for _, kind := range []string{"gap", "blob_lost", "ledger_reset", "ledger_unwritable"} {
		if notices[kind] > 0 {
			t.Errorf("%d notices of %s", notices[kind], kind)
		}
	}
	return a
}

// The o365_tag tells which run a record comes from.
func runTag(run int) string { return fmt.Sprint("run ", run) }

func runOf(t *testing.T, d delivery) int {
	t.Helper()
	run, err := strconv.Atoi(strings.TrimPrefix(d.tag, "run "))
	if err != nil {
		t.Fatalf("the o365_tag of %s: %v", d.id, err)
	}
	return run
}

// crashAccount says what each kill may have repeated, and what it did.
type crashAccount struct {
	blobs  []tenant.BlobAccount
	kills  []killed
	copies map[delivery]int

	// What report has found.
	offered, missing int
	byHost           int // records that came twice from one run
}

// killed is one kill.
type killed struct {
	after   string
	settled []int // records from the beginning of each blob, as the ledger knew it then

	// What report has found.
	arrived    int // records that had left the process for good
	allSettled bool
	mayRepeat  int // of those that had arrived, the ones not settled
	repeated   int // in the next run
}

// settled reads a copy of the ledger, as the next run is to find it as the kill left it.
func (a *crashAccount) settled(t *testing.T, db string) []int {
	t.Helper()
	settled := make([]int, len(a.blobs))
	readLedger(t, db, func(l *ledger.Ledger) {
		if l.SetAside() != "" {
			t.Fatal("a kill has damaged the ledger")
		}
		for i, b := range a.blobs {
			e, known, err := ledgerStream(l, b.ContentType).Get(b.ID)
			switch {
			case err != nil:
				t.Fatal(err)
			case known && e.State == ledger.Done:
				settled[i] = b.Source.Count()
			case known && e.State == ledger.Lost:
				t.Errorf("blob %s is given up", b.ID)
			case known:
				settled[i] = int(e.Settled)
			}
		}
	})
	return settled
}

// report compares, for each kill, three things: what had reached the destination or Fluent Bit's storage (it is in the destination in the end, with the
// tag of that run or an earlier one), what of it the ledger called settled, and what the next run delivered again.
func (a *crashAccount) report(t *testing.T) {
	t.Helper()
	runs := map[string][]int{} // that delivered a record
	for d, n := range a.copies {
		runs[d.id] = append(runs[d.id], runOf(t, d))
		a.byHost += n - 1 // the plugin drops an Id that it has handed over in the same run
	}
	for _, r := range runs {
		slices.Sort(r)
	}
	for _, b := range a.blobs {
		for id := range b.Source.IDs() {
			a.offered++
			a.missing += count(runs[id] == nil)
		}
	}
	t.Log("kill | after  | arrived | settled | may repeat | repeated")
	for i := range a.kills {
		k, run, settled := &a.kills[i], i+1, 0
		for n, b := range a.blobs {
			settled += k.settled[n]
			index := 0
			for id := range b.Source.IDs() {
				isSettled := index < k.settled[n]
				index++
				arrived := len(runs[id]) > 0 && runs[id][0] <= run
				again := arrived && slices.Contains(runs[id], run+1)
				switch {
				case isSettled && !arrived:
					t.Errorf("kill %d: %s was called settled, but no run up to then has delivered it", run, id)
				case isSettled && again:
					t.Errorf("kill %d: %s was settled, and delivered again", run, id)
				}
				k.arrived += count(arrived)
				k.mayRepeat += count(arrived && !isSettled)
				k.repeated += count(again)
			}
		}
		k.allSettled = settled == a.offered
		t.Logf("%4d | %6s | %7d | %7d | %10d | %d", run, k.after, k.arrived, settled, k.mayRepeat, k.repeated)
	}
}

// row is one of TestCrash's table.
func (a *crashAccount) row() string {
	var repeated, mayRepeat []int
	for _, k := range a.kills {
		repeated, mayRepeat = append(repeated, k.repeated), append(mayRepeat, k.mayRepeat)
	}
	slices.Sort(repeated)
	slices.Sort(mayRepeat)
	half, last := len(repeated)/2, len(repeated)-1
	return fmt.Sprintf("%5d | %7d | %7d | %21d, %6d | %15d, %6d | %20d",
		len(repeated), a.offered, a.missing, repeated[half], repeated[last], mayRepeat[half], mayRepeat[last], a.byHost)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// crashableFluentBit keeps chunks on the disk, unless the keys say otherwise.
type crashableFluentBit struct {
	t       *testing.T
	dir     string
	service string
	filter  string // but in the last run
	out     *output
	running *fluentBit
}

func newCrashableFluentBit(t *testing.T, dir string) crashable {
	fluentBitBinary(t)
	return &crashableFluentBit{t: t, dir: dir, out: newOutput(t, dir)}
}

// newFilteredFluentBit has a filter that takes 3 ms for a record: it works for one, and waits for the next.
func newFilteredFluentBit(t *testing.T, dir string) crashable {
	fluentBitBinary(t)
	const script = `
local ffi = require("ffi")
ffi.cdef("int usleep(unsigned int microseconds);")
local waits = false
function slow(tag, timestamp, record)
    waits = not waits
    if waits then
        ffi.C.usleep(3000)
    else
        local ends = os.clock() + 0.003
        while os.clock() < ends do end
    end
    return 0, timestamp, record
end
`
	path := filepath.Join(dir, "slow.lua")
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	return &crashableFluentBit{t: t, dir: dir, out: newOutput(t, dir), filter: fmt.Sprintf("name: lua\n      script: %q\n      call: slow", path)}
}

func (c *crashableFluentBit) start(_ int, last bool, k keys) {
	i := input{tag: "OFFICE365_EVENT_DATA", lines: "storage.type: filesystem", keys: k, output: fileOutput(c.dir)}
	if k["storage.type"] != "" {
		i.lines = ""
	}
	if !last {
		i.filter = c.filter
	}
	c.running = startFluentBit(c.t, writeConfiguration(c.t, c.dir, c.service, i))
}

func (c *crashableFluentBit) pid() int { return c.running.cmd.Process.Pid }

func (c *crashableFluentBit) kill() {
	c.running.signal(syscall.SIGKILL)
	c.running.wait()
}

func (c *crashableFluentBit) finish(records int) {
	c.out.waitFor(records)
	c.running.terminate()
	c.out.update()
}

func (c *crashableFluentBit) arrivals() (map[delivery]int, map[string]int) {
	c.t.Logf("%d lines of the file output were cut by a kill", c.out.cut)
	return c.out.copies, c.out.notices
}

func (c *crashableFluentBit) log() string { return c.running.log.String() }

// crashableTestHost writes what its main thread has taken from the ring to a file for each run.
type crashableTestHost struct {
	t       *testing.T
	dir     string
	filter  []string // but in the last run
	outs    []string
	running *hosttest.Host
}

func newCrashableTestHost(t *testing.T, dir string) crashable {
	return &crashableTestHost{t: t, dir: dir}
}

// newFilteredTestHost spends 3 ms on a record.
func newFilteredTestHost(t *testing.T, dir string) crashable {
	return &crashableTestHost{t: t, dir: dir, filter: []string{"--filter-us", "3000"}}
}

func (c *crashableTestHost) start(run int, last bool, k keys) {
	out := filepath.Join(c.dir, fmt.Sprintf("out-%d", run))
	c.outs = append(c.outs, out)
	args := []string{"--output", out}
	if !last {
		args = append(args, c.filter...)
	}
	c.running = startTestHost(c.t, []keys{k}, args...)
}

func (c *crashableTestHost) pid() int { return c.running.Pid() }

func (c *crashableTestHost) kill() {
	c.running.Signal(syscall.SIGKILL)
	c.running.Wait()
}

func (c *crashableTestHost) finish(records int) {
	until(c.t, fmt.Sprintf("%d records", records), func() bool {
		ids := map[string]bool{}
		all, _ := c.arrivals()
		for d := range all {
			ids[d.id] = true
		}
		return len(ids) >= records
	})
	clean(c.t, c.running.Stop())
}

func (c *crashableTestHost) arrivals() (map[delivery]int, map[string]int) {
	c.t.Helper()
	records, notices := map[delivery]int{}, map[string]int{}
	for _, out := range c.outs {
		b, err := os.ReadFile(out)
		if errors.Is(err, os.ErrNotExist) {
			continue // killed before it came so far
		}
		if err != nil {
			c.t.Fatal(err)
		}
		all, err := events.Decode(b)
		if err != nil && !errors.Is(err, events.ErrShort) { // a kill may cut the last event
			c.t.Fatal(err)
		}
		for _, e := range all {
			if e.Notice() != "" {
				notices[e.Notice()]++
				continue
			}
			tag, _ := e.Body["o365_tag"].(string)
			records[delivery{e.ID(), tag}]++
		}
	}
	return records, notices
}

func (c *crashableTestHost) log() string { return c.running.Log() }
