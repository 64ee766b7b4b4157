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
		begin  func(t *testing.T, dir string) crashable
		keys   keys
		latest time.Duration // of the moments of the kills
		again  bool          // the host repeats by itself what it was sending when it was killed
	}{
		"Fluent Bit": {newCrashableFluentBit, keys{"settle": "1s"}, 5 * time.Second, true},
		// Without a disk under it settle has to be longer than flush and the output take.
		"Fluent Bit, storage in memory": {newCrashableFluentBit, keys{"settle": "3s", "storage.type": "memory"}, 9 * time.Second, true},
		"minimal host":                  {newCrashableTestHost, keys{"settle": "1s"}, 5 * time.Second, false},
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
				week(tn, 1, 6+*kills, 50) // more than can be settled meanwhile
				faults := inject(tn)
				config := stanza(serve(t, tn), dir, keys{"batch_size": "128K", "buffer_size": "512K"})
				maps.Copy(config, host.keys)
				row, byHost := crash(t, c, tn, config, host.latest)
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

// crashable is a host in which the plugin can be killed and started again.
type crashable interface {
	// start runs the plugin with these keys. Runs are counted from 1.
	start(run int, k keys)
	kill()
	// finish lets the last run go on until so many different records have arrived, and ends it.
	finish(records int)
	// arrivals are all records that have left the process for good, in whichever run, by their Id and o365_tag; and their notices.
	arrivals() (records map[delivery]int, notices map[string]int)
	log() string // of the last run
}

// crash kills the host *kills times, and keeps the account, of which it returns the row of a table and how many records came twice from one run.
func crash(t *testing.T, host crashable, tn *tenant.Tenant, config keys, latest time.Duration) (row string, byHost int) {
	t.Helper()
	const soonest = 100 * time.Millisecond
	t.Logf("-kill-seed %d", *killSeed)
	rng := rand.New(rand.NewPCG(*killSeed, 0))
	a := crashAccount{blobs: tn.Account().Blobs}
	// Each three kills are spread over the first, second and third part of the time, so that three are enough to see all sorts.
	var thirds []int
	for run := 1; run <= *kills; run++ {
		if len(thirds) == 0 {
			thirds = rng.Perm(3)
		}
		after := soonest + time.Duration((float64(thirds[0])+rng.Float64())/3*float64(latest-soonest)).Round(time.Millisecond)
		thirds = thirds[1:]
		config["event_tag"] = runTag(run)
		host.start(run, config)
		<-time.After(after) // no wait for something: the moment is what is tried out
		host.kill()
		a.kills = append(a.kills, killed{after: after, settled: a.settled(t, config["db"])})
		for _, bad := range []string{"panic", "damaged"} {
			if strings.Contains(host.log(), bad) {
				t.Fatalf("the log of run %d:\n%s", run, tail(host.log(), 60))
			}
		}
	}
	config["event_tag"] = runTag(*kills + 1)
	config["batch_size"], config["buffer_size"] = "16M", "64M" // the rest at once
	host.start(*kills+1, config)
	host.finish(offered(tn))

	var notices map[string]int
	a.copies, notices = host.arrivals()
	row, byHost = a.report(t)
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
	return row, byHost
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
}

// killed is one kill.
type killed struct {
	after   time.Duration
	settled []int // records from the beginning of each blob, as the ledger knew it then
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
func (a *crashAccount) report(t *testing.T) (row string, byHost int) {
	t.Helper()
	runs := map[string][]int{} // that delivered a record
	for d, n := range a.copies {
		runs[d.id] = append(runs[d.id], runOf(t, d))
		byHost += n - 1 // the plugin drops an Id that it has handed over in the same run
	}
	for _, r := range runs {
		slices.Sort(r)
	}
	offered, missing := 0, 0
	for _, b := range a.blobs {
		for id := range b.Source.IDs() {
			offered++
			missing += count(runs[id] == nil)
		}
	}
	var repeats, bounds []int
	t.Log("kill | after  | arrived | settled | may repeat | repeated")
	for i, k := range a.kills {
		run, reached, settled, bound, repeated := i+1, 0, 0, 0, 0
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
				reached += count(arrived)
				bound += count(arrived && !isSettled)
				repeated += count(again)
			}
		}
		t.Logf("%4d | %5.2fs | %7d | %7d | %10d | %d", run, k.after.Seconds(), reached, settled, bound, repeated)
		repeats, bounds = append(repeats, repeated), append(bounds, bound)
		if settled == offered {
			t.Errorf("kill %d: the backlog was done already", run)
		}
	}
	slices.Sort(repeats)
	slices.Sort(bounds)
	half, last := len(repeats)/2, len(repeats)-1
	return fmt.Sprintf("%5d | %7d | %7d | %21d, %6d | %15d, %6d | %20d",
		len(repeats), offered, missing, repeats[half], repeats[last], bounds[half], bounds[last], byHost), byHost
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
	out     *output
	running *fluentBit
}

func newCrashableFluentBit(t *testing.T, dir string) crashable {
	fluentBitBinary(t)
	return &crashableFluentBit{t: t, dir: dir, out: newOutput(t, dir)}
}

func (c *crashableFluentBit) start(_ int, k keys) {
	c.running = startFluentBit(c.t, configure(c.t, c.dir, map[string]keys{"OFFICE365_EVENT_DATA": k}))
}

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
	outs    []string
	running *hosttest.Host
}

func newCrashableTestHost(t *testing.T, dir string) crashable {
	return &crashableTestHost{t: t, dir: dir}
}

func (c *crashableTestHost) start(run int, k keys) {
	out := filepath.Join(c.dir, fmt.Sprintf("out-%d", run))
	c.outs = append(c.outs, out)
	c.running = startTestHost(c.t, []keys{k}, "--output", out)
}

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
