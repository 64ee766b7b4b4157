package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"in_office365/plugin/ledger"
	"in_office365/test/events"
	"in_office365/test/host/hosttest"
	"in_office365/test/tenant"
)

const day = 24 * time.Hour

// trial is the plugin in the minimal host, run once or several times on one ledger, against a tenant that misbehaves; and the account
// of it. What a host has written to its output has arrived; what it had in its ring when it was killed has not.
type trial struct {
	*testing.T
	tenant *tenant.Tenant
	dir    string
	keys   keys     // besides those of stanza
	env    []string // of the host, besides that of the tests
	seed   uint64

	host   *hosttest.Host
	starts int
	killed bool         // at least once, so not everything has been counted
	out    string       // of the last run
	read   int64        // how much of it
	piped  func() error // waits until what a host has written to a pipe before it ended is in out; nil: it writes to out itself

	arrived  map[string]int    // by o365_id
	distinct map[string]int    // different Ids, by content type
	places   map[string][]int  // of the records of a content type among all
	total    int               // records
	notices  []events.Event    // of all runs
	log      strings.Builder   // of the runs that have ended
	counters map[string]int    // of the lines "stopped", added up
	counted  map[string]bool   // counters that are asked for
	wanted   map[string]bool   // kinds of notices that are asked for
	lost     map[string]string // announced as lost: contentId -> kind of notice
	answers  map[string]string // at metrics_address, by path
	verdict  verdict
}

// verdict is what a row of the table says.
type verdict struct {
	offered, delivered, lost, missing, repeated, bound int
	why, announced, others                             []string
}

func newTrial(t *testing.T, c tenant.Config) *trial {
	t.Helper()
	x := &trial{
		T: t, tenant: tenant.New(c), dir: t.TempDir(), keys: keys{"settle": "1s"},
		arrived: map[string]int{}, distinct: map[string]int{}, places: map[string][]int{},
		counters: map[string]int{}, counted: map[string]bool{}, wanted: map[string]bool{}, lost: map[string]string{},
	}
	x.keys["api_endpoint"] = serve(t, x.tenant)
	x.keys["authentication_endpoint"] = x.keys["api_endpoint"]
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("notices: %v\nlog:\n%s", x.notices, tail(x.wholeLog(), 60))
		}
	})
	return x
}

// ---- what the tenant offers ----

func (x *trial) ago(d time.Duration) time.Time { return x.tenant.Now().Add(-d) }

// offer publishes blobs for each of the content types (none named: all five), created evenly between the two times.
func (x *trial) offer(blobs, records int, from, to time.Time, types ...string) []string {
	x.seed++
	return x.tenant.Publish(tenant.Plan{Seed: x.seed, Blobs: blobs, Records: records, From: from, To: to, ContentTypes: types})
}

// offerBlob publishes one blob.
func (x *trial) offerBlob(contentType string, created time.Time, records int) (id string) {
	x.seed++
	return x.tenant.AddBlob(contentType, created, tenant.Generated{Seed: x.seed, Records: records})
}

// but lists the content types without that one.
func but(contentType string) []string {
	return slices.DeleteFunc(tenant.ContentTypes(), func(t string) bool { return t == contentType })
}

// offeredOf counts the different records of a content type.
func (x *trial) offeredOf(contentType string) int {
	ids := map[string]bool{}
	for id := range x.tenant.Account().RecordIDs(contentType) {
		ids[id] = true
	}
	return len(ids)
}

// ---- runs ----

// start runs the host. Arguments given here count more than the usual ones.
func (x *trial) start(args ...string) { x.startAs(testHost, nil, args...) }

// startAs starts the host by another program, which is given first.
func (x *trial) startAs(program string, first []string, args ...string) {
	x.Helper()
	x.starts++
	x.out, x.read = filepath.Join(x.dir, fmt.Sprintf("out%d", x.starts)), 0
	input := stanza("", x.dir, x.keys)
	args = hostArgs([]keys{input}, append([]string{"--interval-ms", "20", "--output", x.out}, args...)...)
	x.host = startHost(x.T, program, x.env, append(first, args...)...)
}

var counter = regexp.MustCompile(`(\w+)=(\d+)`)

// stop ends the host as SIGTERM does, and reads what the plugin has counted. Before, it gives what should not come again the time to come.
func (x *trial) stop() {
	x.Helper()
	if x.keys["poll_interval"] == "" {
		x.waitPolls(2)
	}
	r := x.host.Stop()
	clean(x.T, r)
	x.ended()
	x.count(r.Log)
}

// count adds up what the lives of the plugin that ended well have counted.
func (x *trial) count(log string) {
	x.Helper()
	lives := strings.Split(log, "] stopped ")[1:]
	if len(lives) == 0 {
		x.Fatalf("nothing was counted at the end:\n%s", log)
	}
	for _, line := range lives {
		line, _, _ = strings.Cut(line, "\n")
		for _, match := range counter.FindAllStringSubmatch(line, -1) {
			n, _ := strconv.Atoi(match[2])
			x.counters[match[1]] += n
		}
	}
	if n := x.counters["panics"]; n > 0 {
		x.Errorf("%d panics", n)
	}
}

// kill ends the host as kill -9 does.
func (x *trial) kill() {
	x.Helper()
	x.host.Signal(os.Kill)
	x.host.Wait()
	x.killed = true
	x.ended()
}

func (x *trial) ended() {
	if x.piped != nil {
		if err := x.piped(); err != nil {
			x.Error(err)
		}
		x.piped = nil
	}
	x.update()
	x.log.WriteString(x.host.Log())
	x.host = nil
}

func (x *trial) wholeLog() string {
	if x.host != nil {
		return x.log.String() + x.host.Log()
	}
	return x.log.String()
}

// ---- what arrives ----

// update reads what has arrived since it was last called.
func (x *trial) update() {
	x.Helper()
	x.read = readEvents(x.T, x.out, x.read, x.take)
}

// readEvents reads the events of a file from an offset on, as far as they are whole, and returns the offset behind them.
func readEvents(t *testing.T, path string, from int64, each func(events.Event)) (upto int64) {
	t.Helper()
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return from
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, from, 1<<62))
	if err != nil {
		t.Fatal(err)
	}
	for len(b) > 0 {
		e, rest, err := events.NextAdded(b)
		if errors.Is(err, events.ErrShort) { // being written, or a process was killed in the middle of it
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		from += int64(len(b) - len(rest))
		b = rest
		each(e)
	}
	return from
}

func (x *trial) take(e events.Event) {
	if e.Notice() != "" {
		x.notices = append(x.notices, e)
		return
	}
	id, contentType := e.ID(), e.ContentType()
	if x.arrived[id]++; x.arrived[id] == 1 {
		x.distinct[contentType]++
	}
	x.places[contentType] = append(x.places[contentType], x.total)
	x.total++
}

// wait waits until all records offered now under these content types (none named: all five) have arrived.
func (x *trial) wait(types ...string) {
	x.Helper()
	if len(types) == 0 {
		types = tenant.ContentTypes()
	}
	for _, contentType := range types {
		x.waitFor(contentType, x.offeredOf(contentType))
	}
}

func (x *trial) waitFor(contentType string, records int) {
	x.Helper()
	until(x.T, fmt.Sprintf("%d records of %s", records, contentType), func() bool {
		x.update()
		return x.distinct[contentType] >= records
	})
}

// waitForNotice waits for a notice of each of these content types.
func (x *trial) waitForNotice(kind string, types ...string) {
	x.Helper()
	for _, contentType := range types {
		until(x.T, "the notice "+kind+" of "+contentType, func() bool {
			x.update()
			return slices.ContainsFunc(x.notices, func(e events.Event) bool { return e.Notice() == kind && e.ContentType() == contentType })
		})
	}
}

// othersArrive waits for all records of the other content types, while a fault keeps some of this one's away.
func (x *trial) othersArrive(disturbed string) {
	x.Helper()
	x.wait(but(disturbed)...)
	if have, want := x.distinct[disturbed], x.offeredOf(disturbed); have >= want {
		x.Errorf("all %d records of %s have arrived in spite of the fault", want, disturbed)
	}
	x.others("all arrived meanwhile")
}

// What may be said of the other content types where account, which looks at all of them, is the whole test.
const (
	hitAlike       = "hit alike, all arrived" // the fault is none of one content type
	hitAlikeWithin = "hit alike, all but the gap arrived"
	notHit         = "not hit, all arrived" // the fault could not hold the others up
)

// others is how the other content types have fared.
func (x *trial) others(text string) { x.verdict.others = append(x.verdict.others, text) }

// ---- the ledger ----

// entries reads the entries of what has been listed. It returns false where there is no ledger that can be read at this moment.
func (x *trial) entries(use func(contentID string, records int, e ledger.Entry)) (read bool) {
	x.Helper()
	readLedger(x.T, filepath.Join(x.dir, "office365.db"), func(l *ledger.Ledger) {
		if read = l.SetAside() == ""; !read {
			return
		}
		for _, blob := range x.tenant.Account().Blobs {
			if blob.Listed == 0 {
				continue
			}
			e, _, err := ledgerStream(l, blob.ContentType).Get(blob.ID) // what is not known is pending
			if err != nil {
				x.Fatal(err)
			}
			use(blob.ID, blob.Source.Count(), e)
		}
	})
	return read
}

// waitSettled waits until the ledger knows of every blob listed so far that it is through.
func (x *trial) waitSettled() {
	x.Helper()
	x.waitSettledBut("")
}

// waitSettledBut is waitSettled, one blob excepted.
func (x *trial) waitSettledBut(contentID string) {
	x.Helper()
	until(x.T, "everything to settle", func() bool {
		all := true
		return x.entries(func(id string, _ int, e ledger.Entry) { all = all && (id == contentID || e.State == ledger.Done) }) && all
	})
}

// settled is how many records of each blob, by contentId, the ledger knows to be through. It waits until the ledger can be read.
func (x *trial) settled() (records map[string]int) {
	x.Helper()
	until(x.T, "the ledger", func() bool {
		records = map[string]int{}
		return x.entries(func(id string, all int, e ledger.Entry) {
			if records[id] = int(e.Settled); e.State != ledger.Pending {
				records[id] = all
			}
		})
	})
	return records
}

// unsettled counts the records that have arrived and that the ledger does not know to be through: so many may come again.
func (x *trial) unsettled() (records int) {
	x.Helper()
	settled := x.settled()
	for _, blob := range x.tenant.Account().Blobs {
		n := 0
		for id := range blob.Source.IDs() {
			if n++; n > settled[blob.ID] && x.arrived[id] > 0 {
				records++
			}
		}
	}
	return records
}

// ---- what must have been announced ----

// wantLog asks for a line in the log.
func (x *trial) wantLog(text string) {
	x.Helper()
	if !strings.Contains(x.wholeLog(), text) {
		x.Errorf("not in the log: %q", text)
	}
	const shown = 45
	if len(text) > shown {
		text = text[:shown] + "..."
	}
	x.verdict.announced = append(x.verdict.announced, fmt.Sprintf("log %q", text))
}

// wantCounter asks for a number in the lines "stopped" of all runs.
func (x *trial) wantCounter(name string, n int) {
	x.Helper()
	x.counted[name] = true
	if got, known := x.counters[name]; !known || got != n {
		x.Errorf("counted %s=%d, want %d", name, got, n)
	}
	if n > 0 {
		x.verdict.announced = append(x.verdict.announced, fmt.Sprintf("%s=%d", name, n))
	}
}

// wantSome asks for a counter that is not 0: a fault may be met any number of times.
func (x *trial) wantSome(name string) {
	x.Helper()
	if x.counters[name] == 0 {
		x.Errorf("counted no %s", name)
	}
	x.verdict.announced = append(x.verdict.announced, name+">0")
}

// wantNotice asks for exactly one notice of that kind for each of the content types ("": of none), and returns them in that order.
func (x *trial) wantNotice(kind string, types ...string) (found []events.Event) {
	x.Helper()
	x.wanted[kind] = true
	x.verdict.announced = append(x.verdict.announced, fmt.Sprintf("%s x%d", kind, len(types)))
	for _, contentType := range types {
		i := slices.IndexFunc(x.notices, func(e events.Event) bool { return e.Notice() == kind && e.ContentType() == contentType })
		if i < 0 {
			x.Fatalf("no notice %s of %q", kind, contentType)
		}
		e := x.notices[i]
		found = append(found, e)
		if e.Body["o365_tenant"] != tenant.DefaultID || notice(e, "reason") == "" {
			x.Errorf("the notice lacks a key: %v", e.Body)
		}
		switch kind {
		case "gap":
			x.markLost(kind, func(b tenant.BlobAccount) bool {
				return b.ContentType == contentType && !b.Created.Before(noticeTime(x.T, e, "from")) && b.Created.Before(noticeTime(x.T, e, "to"))
			})
		case "blob_lost":
			x.markLost(kind, func(b tenant.BlobAccount) bool {
				return b.ID == notice(e, "content_id") &&
					b.Created.Truncate(time.Second).Equal(noticeTime(x.T, e, "from")) && b.Expires.Truncate(time.Second).Equal(noticeTime(x.T, e, "to"))
			})
		}
	}
	if n := x.noticesOf(kind); n != len(types) {
		x.Errorf("%d notices %s, want %d", n, kind, len(types))
	}
	return found
}

func (x *trial) noticesOf(kind string) (n int) {
	for _, e := range x.notices {
		if e.Notice() == kind {
			n++
		}
	}
	return n
}

func (x *trial) markLost(kind string, lost func(tenant.BlobAccount) bool) {
	for _, b := range x.tenant.Account().Blobs {
		if lost(b) {
			x.lost[b.ID] = kind
		}
	}
}

func notice(e events.Event, key string) string {
	text, _ := e.Body["o365_notice_"+key].(string)
	return text
}

func noticeTime(t *testing.T, e events.Event, key string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, notice(e, key))
	if err != nil {
		t.Errorf("o365_notice_%s of %v: %v", key, e.Body, err)
	}
	return at
}

// ---- the account ----

// oneRun is why nothing may come again where the plugin is started once.
const oneRun = "no restart"

// account compares what was offered with what has arrived and what was announced as lost. At most bound records may have come again; and dedup_window
// has not hidden that more were queued again, unless the trial has asked for that.
func (x *trial) account(bound int, why string) {
	x.Helper()
	if !x.counted["repeated"] {
		x.wantCounter("repeated", 0)
	}
	v := &x.verdict
	v.bound, v.why = bound, []string{why}
	offered := map[string]bool{}
	for _, b := range x.tenant.Account().Blobs {
		for id := range b.Source.IDs() {
			if offered[id] {
				continue
			}
			offered[id] = true
			v.offered++
			switch {
			case x.arrived[id] > 0:
				v.delivered++
			case x.lost[b.ID] != "":
				v.lost++
			default:
				v.missing++
			}
		}
	}
	for id, n := range x.arrived {
		v.repeated += n - 1
		if !offered[id] {
			x.Errorf("record %s was never offered", id)
		}
	}
	if v.offered == 0 || v.missing > 0 || v.repeated > bound {
		x.Errorf("offered %d records, delivered %d, announced as lost %d, missing %d, repeated %d (at most %d may be)",
			v.offered, v.delivered, v.lost, v.missing, v.repeated, bound)
	}
	if len(v.announced) == 0 {
		v.announced = []string{"not needed"}
	}
	if !x.wanted["gap"] && x.counters["gaps"] != 0 || !x.wanted["blob_lost"] && x.counters["blobs_lost"] != 0 {
		x.Errorf("counted %d gaps and %d lost blobs", x.counters["gaps"], x.counters["blobs_lost"])
	}
	if n := x.counters["notices"]; !x.killed && n != len(x.notices) {
		x.Errorf("counted %d notices, while %d have arrived", n, len(x.notices))
	}
	for _, e := range x.notices {
		if !x.wanted[e.Notice()] {
			x.Errorf("a notice that nothing calls for: %v", e.Body)
		}
	}
}
