package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"in_office365/plugin/ledger"
	"in_office365/test/tenant"
)

var (
	soakFor  = flag.Duration("soak", 0, "how long TestSoak goes on, in a real Fluent Bit where there is one; 0: until every kind of trouble has been met once, in the minimal host")
	soakSeed = flag.Uint64("soak-seed", 0, "of all that TestSoak chooses; 0: 1 for a moment, else any")
)

// TestSoak is everything at once, for long: live blobs of all content types, and all kinds of trouble that come and go, while the host
// reloads, pauses, stops and is killed. What the process holds is sampled and must stay level, and in the end nothing may be missing.
func TestSoak(t *testing.T) {
	t.Parallel()
	s := newSoak(t)
	s.run()
	s.settleAccounts()
}

const soakTick = 200 * time.Millisecond

// pace is how fast everything goes.
type pace struct {
	length    time.Duration
	poll      time.Duration
	blobEvery time.Duration
	records   int           // of a blob, on average
	large     int64         // size of a large blob
	largeEach int           // every so many-th blob is large
	fault     time.Duration // between the beginnings of two faults, on average
	lasting   time.Duration // a fault, on average
	faults    int           // at a time
	rounds    bool          // all kinds come again and again
	history   int           // blobs of the hour before, of each content type
	page      int           // blobs on a listing's page: fewer than that
	stall     time.Duration // that a pause lasts
}

var (
	momentary = pace{
		length: 30 * time.Second, poll: time.Second, blobEvery: 200 * time.Millisecond, records: 10, large: 1e6, largeEach: 60,
		fault: 600 * time.Millisecond, lasting: time.Second, faults: 6, history: 20, page: 15, stall: time.Second,
	}
	// A blob every two seconds, and before that as many as make an hour: then every listing has as many from the beginning.
	lasting = pace{
		poll: 3 * time.Second, blobEvery: 2 * time.Second, records: 60, large: 3e6,
		fault: 12 * time.Second, lasting: 10 * time.Second, faults: 3, rounds: true, history: 360, page: 200, stall: 15 * time.Second,
	}
)

type soak struct {
	*trial
	pace
	rng     *rand.Rand
	process soakHost

	begun      time.Time
	blobs      int // published since
	nextBlob   time.Duration
	originals  []original
	life       int             // of the plugin: another one after every reload and start
	twins      map[string]bool // contentIds of blobs that share their records with another one
	mayRepeat  map[string]int  // how often a record may come again, by Id
	mostAhead  time.Duration   // of the tenant's clock, so far
	plan       []interruption
	troubles   troubles
	samples    []sample
	nextSample time.Duration
	nextSay    time.Duration

	stalled      bool // the output
	pausesBefore int
	flowAt       time.Duration // when it ends; 0: the host has not paused yet
	flowed       time.Duration // when it has ended
}

// original is a blob that may be published again under another contentId.
type original struct {
	id     string
	at     time.Duration
	source tenant.Generated
	life   int
}

func newSoak(t *testing.T) *soak {
	s := &soak{pace: momentary, twins: map[string]bool{}, mayRepeat: map[string]int{}}
	seed := max(*soakSeed, 1)
	if *soakFor > 0 {
		s.pace = lasting
		s.length = *soakFor
		s.fault = min(s.fault, s.length/100)               // every kind comes several times
		s.largeEach = max(int(s.length/6/s.blobEvery), 10) // two in each third
		if *soakSeed == 0 {
			seed = uint64(time.Now().UnixNano()) % 1e6
		}
	}
	s.rng = rand.New(rand.NewPCG(seed, 0))
	c := tenant.Config{Subscribed: tenant.ContentTypes(), Gzip: true, PageSize: s.page, Seed: seed, TokenLife: 5 * time.Minute}
	s.trial = newTrial(t, c)
	s.seed = seed << 32
	secret := filepath.Join(s.dir, "secret")
	s.keys["client_secret"], s.keys["client_secret_file"] = "", secret
	s.writeSecret(tenant.DefaultClientSecret)
	s.keys["poll_interval"], s.keys["http_timeout"], s.keys["settle"] = s.poll.String(), "5s", "2s"
	s.process = s.newHost(buildTelling(t, s.dir))
	s.plan = s.interruptions()
	s.troubles.init(s)
	s.say("soak for %s in %s, -soak-seed=%d", s.length, s.process.name(), seed)
	return s
}

// say prints at once, unlike the log of a test. go test shows it when it is run in this folder.
func (s *soak) say(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }

func (s *soak) writeSecret(secret string) {
	if err := os.WriteFile(filepath.Join(s.dir, "secret"), []byte(secret+"\n"), 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s *soak) run() {
	s.offer(s.history, 2, s.ago(time.Hour), s.ago(time.Second))
	s.process.start()
	s.until("the first records", func() bool { s.process.update(); return len(s.arrived) == offered(s.tenant) })
	s.begun = time.Now()
	tick := time.NewTicker(soakTick)
	defer tick.Stop()
	most := s.length + patience // for trouble that has not been met yet
	for now := time.Duration(0); now < s.length || now < most && (!s.troubles.allMet() || len(s.plan) > 0); now = time.Since(s.begun) {
		s.publish(now)
		s.troubles.tick(s, now)
		s.interrupt(now)
		s.process.update()
		s.takeSample(now)
		<-tick.C
	}
	if len(s.plan) > 0 {
		s.Errorf("%d interruptions have not come", len(s.plan))
	}
	s.flow()
	s.troubles.liftAll(s)
	// An hour later a sweep finds what came too late for the polls, and every blob's turn has come.
	s.tenant.SetSkew(s.mostAhead + time.Hour + time.Minute)
	drained := time.Now()
	s.until("the backlog", func() bool { s.process.update(); return s.missing() == 0 })
	s.say("lifted after %s, drained in another %s", drained.Sub(s.begun).Round(time.Second), time.Since(drained).Round(time.Second))
	s.until("the ledger to know that everything is through", func() bool {
		through := true
		return s.entries(func(_ string, _ int, e ledger.Entry) { through = through && e.State != ledger.Pending }) && through
	})
	s.process.stop(false)
}

// until waits longer than the tests of single faults do: the waits after so many failures have grown.
func (s *soak) until(what string, happened func() bool) {
	s.Helper()
	const most = 10 * time.Minute
	tick := time.NewTicker(soakTick)
	defer tick.Stop()
	for deadline := time.Now().Add(most); !happened(); <-tick.C {
		if time.Now().After(deadline) {
			s.Errorf("waited %s in vain for %s", most, what)
			return
		}
		if how := gone(s.T); how != "" && !happened() {
			s.Fatalf("%s, before %s", how, what)
		}
	}
}

// missing counts the records that have neither arrived nor been announced as lost.
func (s *soak) missing() (n int) {
	for _, e := range s.notices {
		if e.Notice() == "blob_lost" {
			s.lost[notice(e, "content_id")] = "blob_lost"
		}
	}
	for _, b := range s.tenant.Account().Blobs {
		if s.lost[b.ID] != "" {
			continue
		}
		for id := range b.Source.IDs() {
			if s.arrived[id] == 0 {
				n++
			}
		}
	}
	return n
}

// ---- what the tenant offers ----

func (s *soak) publish(now time.Duration) {
	for ; s.nextBlob <= now && now < s.length; s.nextBlob += s.blobEvery {
		s.blobs++
		s.seed++
		contentType := tenant.ContentTypes()[s.rng.IntN(len(tenant.ContentTypes()))]
		source := tenant.Generated{Seed: s.seed, Records: s.records/2 + s.rng.IntN(s.records)}
		created := s.tenant.Now()
		switch {
		case s.blobs%s.largeEach == s.largeEach/2:
			s.tenant.AddBlob(contentType, created, tenant.Sized(contentType, s.seed, s.large))
			continue
		case s.blobs%20 == 0 && len(s.originals) > 0: // of the last half hour, well within dedup_window
			s.originals = slices.DeleteFunc(s.originals, func(o original) bool { return now-o.at > 30*time.Minute })
			s.republish(s.originals[s.rng.IntN(len(s.originals))], created)
			continue
		case s.blobs%10 == 1: // late: a poll finds it
			created = created.Add(-s.between(time.Minute, 50*time.Minute))
		case s.blobs%10 == 6: // later still: a sweep does, or the next start
			created = created.Add(-s.between(2*time.Hour, 5*time.Hour))
		}
		id := s.tenant.AddBlob(contentType, created, source)
		s.originals = append(s.originals, original{id, now, source, s.life})
	}
}

func (s *soak) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.rng.Int64N(int64(most-least)))
}

// republish offers the records of a blob again. They come again if the plugin was started since: it remembers Ids, and the ledger does not.
func (s *soak) republish(o original, created time.Time) {
	twin := s.tenant.Republish(o.id, created)
	s.twins[o.id], s.twins[twin] = true, true
	if o.life < s.life {
		for id := range o.source.IDs() {
			s.mayRepeat[id]++
		}
	}
}

// ---- what becomes of the plugin ----

type interruption struct {
	at      time.Duration
	flowing bool // it waits until the output flows
	do      func(*soak)
}

// interruptions lets the process that took the backlog live up to the last tenth, through all reloads, so that what it gathers shows. One without
// that backlog behind it would be growing to what it once needs, for half an hour.
func (s *soak) interruptions() (plan []interruption) {
	add := func(at float64, flowing bool, do func(*soak)) {
		plan = append(plan, interruption{time.Duration(at * float64(s.length)), flowing, do})
	}
	terminate := func(s *soak) { s.anew(func() { s.process.stop(false); s.process.start() }) }
	kill := func(s *soak) { s.anew(func() { s.process.stop(true); s.process.start() }) }
	reload := func(s *soak) { s.anew(s.process.reload) }
	rounds := 8
	if s.length < time.Minute {
		rounds = 3
	}
	for i := range rounds {
		step := .88 / float64(rounds)
		at := .03 + (float64(i)+s.rng.Float64()/5)*step
		add(at, true, (*soak).stall)
		add(at+step/2, true, reload)
	}
	add(.93, true, (*soak).stall)
	add(.94, false, terminate) // in the middle of that, if it lasts so long
	add(.96, true, kill)
	add(.98, true, kill)
	return plan
}

// afterFlow lets the host hear of what the output has taken: what it has not heard of, it sends again after a kill.
const afterFlow = 2 * time.Second

func (s *soak) interrupt(now time.Duration) {
	switch {
	case !s.stalled:
	case s.flowAt == 0 && s.process.pauses() > s.pausesBefore:
		s.flowAt = now + s.pace.stall
	case s.flowAt > 0 && now >= s.flowAt:
		s.flow()
		s.flowed = now
	}
	if now < s.flowed+afterFlow {
		return
	}
	for len(s.plan) > 0 && now >= s.plan[0].at && (!s.stalled || !s.plan[0].flowing) {
		do := s.plan[0].do
		s.plan = s.plan[1:]
		do(s)
	}
}

// stall keeps the output from taking anything until some time after the host has paused the plugin for it.
func (s *soak) stall() {
	s.stalled, s.flowAt, s.pausesBefore = true, 0, s.process.pauses()
	s.process.stall(true)
}

func (s *soak) flow() {
	if s.stalled {
		s.stalled = false
		s.process.stall(false)
	}
}

// anew ends the plugin and begins it again. What was fetched and does not stand in the ledger as done may come again then.
func (s *soak) anew(restart func()) {
	settled := s.settled()
	restart()
	s.life++
	for _, b := range s.tenant.Account().Blobs {
		if b.Whole+b.Partial == 0 && !s.twins[b.ID] {
			continue
		}
		n := 0
		for id := range b.Source.IDs() {
			if n++; n > settled[b.ID] {
				s.mayRepeat[id]++
			}
		}
	}
}

// ---- the account ----

func (s *soak) settleAccounts() {
	log := s.wholeLog()
	s.count(log)
	if strings.Contains(log, "panic in ") || strings.Contains(log, "panic while ") {
		s.Error("a panic, see the log")
	}

	lost := map[string]bool{}
	for _, b := range s.tenant.Account().Blobs {
		if s.lost[b.ID] == "" {
			continue
		}
		if !s.troubles.withheld[b.ID] {
			s.Errorf("blob %s of %s was given up, which the tenant has", b.ID, b.Created)
		}
		for id := range b.Source.IDs() {
			lost[id] = true
		}
	}
	offered, delivered, announced, missing := map[string]bool{}, 0, 0, 0
	for _, contentType := range tenant.ContentTypes() {
		for id := range s.tenant.Account().RecordIDs(contentType) {
			if offered[id] {
				continue
			}
			offered[id] = true
			switch {
			case s.arrived[id] > 0:
				delivered++
			case lost[id]:
				announced++
			default:
				missing++
			}
		}
	}
	repeated, explained, bound := 0, 0, 0
	for id, n := range s.arrived {
		if !offered[id] {
			s.Errorf("record %s was never offered", id)
		}
		repeated += n - 1
		explained += min(n-1, s.mayRepeat[id])
	}
	for _, n := range s.mayRepeat {
		bound += n
	}
	kinds := map[string]int{}
	for _, e := range s.notices {
		kinds[e.Notice()]++
	}
	for _, kind := range []string{"gap", "ledger_reset", "ledger_unwritable"} {
		if kinds[kind] > 0 {
			s.Errorf("%d notices %s, which nothing calls for", kinds[kind], kind)
		}
	}
	for id := range s.troubles.withheld {
		if s.lost[id] == "" {
			s.Errorf("blob %s was lost, and nobody said so", id)
		}
	}
	s.say("\nlives of the plugin: %d; pauses: %d; trouble met: %s", s.life+1, s.process.pauses(), s.troubles.summary())
	s.say("records offered %d, delivered %d, announced as lost %d, missing %d, repeated %d (%d of them as the plugin began anew, which might have repeated %d)",
		len(offered), delivered, announced, missing, repeated, explained, bound)
	s.say("announced: %v", kinds)
	s.say("counted by lives that ended well: %v\n", s.counters)
	if missing > 0 || explained < repeated {
		s.Errorf("%d records are missing, %d came again without a reason", missing, repeated-explained)
	}
	for _, kind := range s.troubles.neverMet() {
		s.Errorf("not met: %s", kind.name)
	}
	if s.process.pauses() == 0 {
		s.Error("the host has never paused")
	}
	s.table()
}
