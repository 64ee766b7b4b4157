package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"in_office365/test/tenant"
)

// trouble is a kind of thing that goes wrong for a while: begin lets it, and returns whether it has been met since, and what ends it.
type trouble struct {
	name  string
	begin func(s *soak) (met func() bool, lift func())
}

// troubles come in rounds, in any order: all kinds in the first, and in the others if there is time; else those that have not been met.
type troubles struct {
	kinds    []trouble
	waiting  []trouble
	now      []ongoing
	met      map[string]int // by name
	rounds   int
	next     time.Duration   // when the next one begins
	withheld map[string]bool // contentIds of blobs that are listed and can't be had
}

type ongoing struct {
	trouble
	met   func() bool
	lift  func()
	least time.Duration // it goes on until then, and until it has been met
	most  time.Duration // but no longer
}

func (t *troubles) init(s *soak) {
	t.kinds, t.met, t.withheld = kindsOfTrouble(s), map[string]int{}, map[string]bool{}
}

func (t *troubles) tick(s *soak, now time.Duration) {
	t.now = slices.DeleteFunc(t.now, func(o ongoing) bool {
		met := o.met()
		if !met && now < o.most || now < o.least {
			return false
		}
		t.end(o, met)
		return true
	})
	if len(t.now) >= s.faults || now < t.next {
		return
	}
	if len(t.waiting) == 0 {
		if t.rounds++; t.rounds == 1 || s.rounds && now < s.length {
			t.waiting = slices.Clone(t.kinds)
		} else {
			t.waiting = t.neverMet()
		}
		s.rng.Shuffle(len(t.waiting), func(i, k int) { t.waiting[i], t.waiting[k] = t.waiting[k], t.waiting[i] })
	}
	if len(t.waiting) == 0 {
		return
	}
	kind := t.waiting[0]
	t.waiting = t.waiting[1:]
	met, lift := kind.begin(s)
	t.now = append(t.now, ongoing{kind, met, lift, now + s.between(s.lasting/3, 2*s.lasting), now + max(time.Minute, 3*s.lasting)})
	t.next = now + s.between(s.fault/3, 5*s.fault/3)
}

func (t *troubles) end(o ongoing, met bool) {
	o.lift()
	if met {
		t.met[o.name]++
	}
}

func (t *troubles) liftAll(s *soak) {
	for _, o := range t.now {
		t.end(o, o.met())
	}
	t.now = nil
}

// ongoing names what is amiss now.
func (t *troubles) ongoing() string {
	names := make([]string, len(t.now))
	for i, o := range t.now {
		names[i] = o.name
	}
	return strings.Join(names, ", ")
}

func (t *troubles) allMet() bool { return len(t.met) == len(t.kinds) }

// neverMet are the kinds that have not been met, and are not there now.
func (t *troubles) neverMet() (kinds []trouble) {
	for _, kind := range t.kinds {
		now := slices.ContainsFunc(t.now, func(o ongoing) bool { return o.name == kind.name })
		if t.met[kind.name] == 0 && !now {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

func (t *troubles) summary() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(t.met)) {
		parts = append(parts, fmt.Sprintf("%s x%d", name, t.met[name]))
	}
	return strings.Join(parts, ", ")
}

func kindsOfTrouble(s *soak) []trouble {
	anyOf := func(all ...tenant.Operation) []tenant.Operation { return all }
	calls := anyOf(tenant.ListContent, tenant.FetchBlob)
	lists, blobs := anyOf(tenant.ListContent), anyOf(tenant.FetchBlob)
	foreign := "https://foreign.example"
	return []trouble{
		effect("slow answer", calls, func() tenant.Effect { return tenant.Latency(s.between(100*time.Millisecond, 2*time.Second)) }),
		effect("no answer", calls, tenant.Hang),
		held(),
		effect("503", calls, func() tenant.Effect { return tenant.Answer(http.StatusServiceUnavailable, "") }),
		effect("AF50000", calls, func() tenant.Effect {
			return tenant.AnswerError(http.StatusInternalServerError, "AF50000", "An internal error occurred.")
		}),
		effect("HTML page", calls, func() tenant.Effect { return tenant.HTMLPage(http.StatusBadGateway) }),
		effect("throttled, 403", calls, func() tenant.Effect { return tenant.Throttle(http.StatusForbidden, 0) }),
		effect("throttled, Retry-After", calls, func() tenant.Effect { return tenant.Throttle(http.StatusTooManyRequests, 2*time.Second) }),
		effect("401", calls, tenant.Unauthorized),
		effect("no permission", calls, func() tenant.Effect { return tenant.PermissionMissing(http.StatusForbidden) }),
		effect("connection cut", calls, func() tenant.Effect { return tenant.CutConnection(s.rng.Int64N(10_000)) }),
		effect("body ends early", calls, func() tenant.Effect { return tenant.EndEarly(s.rng.Int64N(10_000)) }),
		effect("body stalls", calls, func() tenant.Effect { return tenant.Stall(s.rng.Int64N(10_000)) }),
		effect("gzip broken", calls, func() tenant.Effect { return tenant.BreakGzip(s.rng.Int64N(10_000)) }),
		effect("length too great", blobs, func() tenant.Effect { return tenant.LengthOff(s.rng.Int64N(1000) + 1) }),
		effect("length too small", blobs, func() tenant.Effect { return tenant.LengthOff(-s.rng.Int64N(1000) - 1) }),
		effect("foreign NextPageUri", lists, func() tenant.Effect { return tenant.NextPage(foreign + "/api/v1/next") }),
		effect("NextPageUri to itself", lists, tenant.NextPageLoop),
		effect("no NextPageUri", lists, tenant.NoNextPage),
		effect("foreign contentUri", lists, func() tenant.Effect { return tenant.ContentURIBase(foreign) }),
		{"login fails", loginFails},
		{"tokens revoked", tokensRevoked},
		{"secret rotated", secretIsRotated},
		{"subscription disabled", subscriptionOff},
		{"clock moved", clockMoved},
		{"fewer calls allowed", fewerCalls},
		{"blob listed and gone", blobWithheld},
	}
}

// effect befalls some of the calls of an operation, of one content type or of all.
func effect(name string, operations []tenant.Operation, choose func() tenant.Effect) trouble {
	return trouble{name, func(s *soak) (func() bool, func()) {
		f := tenant.Fault{Operation: operations[s.rng.IntN(len(operations))], Probability: .2 + .8*s.rng.Float64()}
		if s.rng.IntN(2) == 0 {
			f.ContentType = tenant.ContentTypes()[s.rng.IntN(len(tenant.ContentTypes()))]
		}
		return s.inject(f, choose())
	}}
}

func (s *soak) inject(f tenant.Fault, effects ...tenant.Effect) (met func() bool, lift func()) {
	in := s.tenant.Inject(f, effects...)
	return func() bool { return in.Hits() > 0 }, in.Remove
}

// held keeps answers back until it ends.
func held() trouble {
	return trouble{"answer held back", func(s *soak) (func() bool, func()) {
		done := make(chan struct{})
		met, lift := s.inject(tenant.Fault{Operation: tenant.FetchBlob, Times: 3}, tenant.Until(done))
		return met, func() { lift(); close(done) }
	}}
}

func loginFails(s *soak) (met func() bool, lift func()) {
	s.tenant.RevokeTokens()
	return s.inject(tenant.Fault{Operation: tenant.Token}, tenant.LoginError(http.StatusServiceUnavailable, "temporarily_unavailable", 90033, "A transient error has occurred."))
}

// more tells whether a count has grown since.
func more(count func() int) func() bool {
	before := count()
	return func() bool { return count() > before }
}

func (s *soak) answered(op tenant.Operation, status int) func() int {
	return func() int { return s.tenant.Account().Statuses[op][status] }
}

func tokensRevoked(s *soak) (met func() bool, lift func()) {
	met = more(func() int { return s.tenant.Account().TokensIssued })
	s.tenant.RevokeTokens()
	return met, func() {}
}

// secretIsRotated lets the file lag behind.
func secretIsRotated(s *soak) (met func() bool, lift func()) {
	met = more(s.answered(tenant.Token, http.StatusUnauthorized))
	secret := fmt.Sprintf("example~secret~%d", s.rng.Uint32())
	s.tenant.SetSecret(secret)
	s.tenant.RevokeTokens()
	return met, func() { s.writeSecret(secret) }
}

// subscriptionOff ends by an administrator's hand: the plugin switches a type on once, and the API takes no second start within 15 minutes.
func subscriptionOff(s *soak) (met func() bool, lift func()) {
	contentType := tenant.ContentTypes()[s.rng.IntN(len(tenant.ContentTypes()))]
	met = more(s.answered(tenant.ListContent, http.StatusBadRequest))
	s.tenant.Disable(contentType)
	return met, func() { s.tenant.Enable(contentType) }
}

// clockMoved moves the tenant's clock, since the local one is not ours to move.
func clockMoved(s *soak) (met func() bool, lift func()) {
	by := s.between(-5*time.Minute, 5*time.Minute)
	s.mostAhead = max(s.mostAhead, by)
	met = more(func() int { return s.tenant.Account().Calls[tenant.ListContent] })
	s.tenant.SetSkew(by)
	return met, func() {
		if s.rng.IntN(2) == 0 {
			s.tenant.SetSkew(0)
		}
	}
}

func fewerCalls(s *soak) (met func() bool, lift func()) {
	met = more(s.answered(tenant.ListContent, http.StatusTooManyRequests))
	s.tenant.SetCallsPerMinute(10 + s.rng.IntN(50))
	return met, func() { s.tenant.SetCallsPerMinute(0) }
}

// blobWithheld is a blob that is listed, and that the API does not know when it is asked for. That is to be announced, once for all.
func blobWithheld(s *soak) (met func() bool, lift func()) {
	contentType := tenant.ContentTypes()[s.rng.IntN(len(tenant.ContentTypes()))]
	id := s.offerBlob(contentType, s.tenant.Now(), s.records)
	fault := s.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: id},
		tenant.AnswerError(http.StatusNotFound, "AF20050", "The specified content ("+id+") does not exist."))
	s.troubles.withheld[id] = true
	return func() bool { return fault.Hits() > 0 }, func() {}
}
