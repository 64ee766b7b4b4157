package monitor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"in_office365/o365"
	"in_office365/plugin/collector"
	"in_office365/plugin/diagnosis"
	"in_office365/plugin/handover"
)

// A kind is the kind of reason why an input is not ready. The names are stable: they stand in /readyz.
type kind string

// The kinds, the worst first: what lets nothing in, what is missing for good, what is late, and what threatens.
const (
	fault      kind = "fault"        // the plugin cannot say how it fares
	credential kind = "credential"   // credential, permission or tenant are refused, or the credential has expired
	unlisted   kind = "tenants"      // there may be tenants that are not collected
	listing    kind = "listing"      // the API has not been asked with success for long
	switched   kind = "subscription" // a subscription is off
	lost       kind = "lost"         // something is missing for good
	storage    kind = "storage"      // there is no room for Fluent Bit's chunks
	handOver   kind = "hand_over"    // Fluent Bit does not take what waits
	behind     kind = "behind"       // what is available is not through
	unsaved    kind = "ledger"       // the db cannot be written or read
	starting   kind = "starting"     // it is too early to tell
)

var worstFirst = [...]kind{fault, credential, unlisted, listing, switched, lost, storage, handOver, behind, unsaved, starting}

const (
	// aliveLimit is how long Fluent Bit may ask for no batch: it does once a second, unless an output or a filter holds the engine up.
	aliveLimit = time.Minute
	// listingLimit is the least time without a listing that counts, as a busy API may throttle or fail for minutes; with a long
	// poll_interval listingIntervals of it count.
	listingLimit     = 10 * time.Minute
	listingIntervals = 3
	// handOverLimit is longer than a pause takes in which outputs catch up.
	handOverLimit = 5 * time.Minute
	// behindLimit is far above what is on its way at rest, some minutes; with a long poll_interval listingIntervals of it count.
	behindLimit = time.Hour
	// lossMemory is how long a loss counts: a day, for whoever looks once a day. The counters of /metrics keep it.
	lossMemory = 24 * time.Hour
	// maxReasons is how many reasons an input gives: of 500 tenants without consent a few tell the story.
	maxReasons = 20
)

// A reason is why an input is not ready.
type reason struct {
	Kind        kind             `json:"kind"`
	Tenant      string           `json:"tenant,omitempty"`       // empty: of all
	ContentType o365.ContentType `json:"content_type,omitempty"` // empty: of all
	Reason      string           `json:"reason"`                 // in words, with what to do
	age         time.Duration    // the longer the worse, among those of a kind
}

func (r reason) scope() scope { return scope{r.Tenant, r.ContentType} }

// A scope is what a reason or a trouble is of: an input, a tenant of it, or a content type of that.
type scope struct {
	tenant      string
	contentType o365.ContentType
}

// notReady returns every reason why an input is not ready, the worst first; none if it is. What keeps a tenant or the input from being
// collected is one reason, not one for each of its content types.
func notReady(s *collector.Status, now time.Time) []reason {
	if s.Started.IsZero() {
		return []reason{{Kind: starting, Reason: "collecting has not begun yet"}}
	}
	h := health{status: s, now: now, said: map[scope]bool{}}
	h.ofHost()
	h.ofLedger()
	if t := latest(s.TenantsFile); t != nil {
		h.add(unlisted, scope{}, 0, t.Text)
	}
	refused := h.refused(scope{}, s.Troubles)
	if end := s.CredentialExpires; !refused && !end.IsZero() && !end.After(now) {
		refused = true
		h.add(credential, scope{}, 0, fmt.Sprintf("the credential expired %s ago: put a new one in its place, and register it with the application first", span(now.Sub(end))))
	}
	for i := range s.Tenants {
		tenant := &s.Tenants[i]
		refused := h.refused(scope{tenant: tenant.ID}, tenant.Troubles) || refused
		for j := range tenant.Types {
			t := &tenant.Types[j]
			of := scope{tenant.ID, t.ContentType}
			h.ofLoss(of, t)
			if h.refused(of, t.Troubles) || refused {
				continue
			}
			h.ofSubscription(of, t)
			if !h.ofListing(of, tenant, t) {
				h.ofLag(of, tenant, t)
			}
		}
	}
	slices.SortStableFunc(h.reasons, func(a, b reason) int {
		return cmp.Or(cmp.Compare(rank(a.Kind), rank(b.Kind)), cmp.Compare(b.age, a.age))
	})
	return h.reasons
}

func rank(k kind) int { return slices.Index(worstFirst[:], k) }

// health gathers the reasons.
type health struct {
	status  *collector.Status
	now     time.Time
	reasons []reason
	said    map[scope]bool // listing fails there
}

func (h *health) add(k kind, of scope, age time.Duration, text string) {
	h.reasons = append(h.reasons, reason{k, of.tenant, of.contentType, text, age})
}

// refused says whether credential, permission or tenant are refused there.
func (h *health) refused(of scope, troubles []collector.TroubleStatus) bool {
	i := slices.IndexFunc(troubles, func(t collector.TroubleStatus) bool { return !t.Works && isRefusal(t.Cause) })
	if i < 0 {
		return false
	}
	h.add(credential, of, 0, troubles[i].Text)
	return true
}

// isRefusal says whether a trouble's cause is of the credential, the permission or the tenant.
func isRefusal(cause string) bool {
	switch diagnosis.Kind(cause) {
	case diagnosis.Tenant, diagnosis.Client, diagnosis.Secret, diagnosis.SecretExpired, diagnosis.Certificate, diagnosis.Credential,
		diagnosis.Cloud, diagnosis.Consent, diagnosis.ReadDLP, diagnosis.Auditing:
		return true
	}
	return false
}

func (h *health) ofHost() {
	const remedy = "an output is down or too slow, or storage is full: look at Fluent Bit's log"
	host, queue := h.status.Host, h.status.Queue
	if queue.Hold.Kind == handover.HoldStorage {
		h.add(storage, scope{}, h.now.Sub(queue.Hold.Since), fmt.Sprintf("%s: nothing is handed over for %s; free space there or let the outputs catch up, and it goes on by itself",
			queue.Hold.Why, span(h.now.Sub(queue.Hold.Since))))
	} else if paused := h.now.Sub(host.PausedSince); !host.PausedSince.IsZero() && paused >= handOverLimit {
		h.add(handOver, scope{}, paused, fmt.Sprintf("Fluent Bit has paused the input for %s: %s", span(paused), remedy))
	} else if waiting := h.now.Sub(queue.WaitingSince); !queue.WaitingSince.IsZero() && waiting >= handOverLimit {
		why := "Fluent Bit has taken nothing of what waits"
		if queue.Hold.Why != "" {
			why = queue.Hold.Why
		}
		h.add(handOver, scope{}, waiting, fmt.Sprintf("%s, for %s: %s", why, span(waiting), remedy))
	}
}

func (h *health) ofLedger() {
	if t := latest(h.status.Ledger.Troubles); t != nil {
		h.add(unsaved, scope{}, 0, t.Text)
	}
}

func (h *health) ofLoss(of scope, t *collector.TypeStatus) {
	if t.LastLoss.IsZero() || h.now.Sub(t.LastLoss) >= lossMemory {
		return
	}
	h.add(lost, of, 0, fmt.Sprintf("lost since the start: %s; the last %s ago. Nothing brings it back through this API: search the audit log in Purview",
		losses(t), span(h.now.Sub(t.LastLoss))))
}

// losses says what was lost: "2 blobs, 1 gap of 3 h".
func losses(t *collector.TypeStatus) string {
	var parts []string
	if n := t.Blobs.Lost(); n > 0 {
		parts = append(parts, count(n, "blob"))
	}
	if t.Gaps > 0 {
		parts = append(parts, count(t.Gaps, "gap")+" of "+span(t.GapTime))
	}
	return strings.Join(parts, ", ")
}

func (h *health) ofSubscription(of scope, t *collector.TypeStatus) {
	if t.Subscription != "disabled" {
		return
	}
	text := "the subscription is off, and nothing new is recorded: find out who switched it off; it is started again"
	if trouble := latest(t.Troubles); trouble != nil {
		text += "; " + trouble.Text
	}
	h.add(switched, of, 0, text)
}

// ofListing says whether a content type is not listed as it should. The reason is given once where the trouble is.
func (h *health) ofListing(of scope, tenant *collector.TenantStatus, t *collector.TypeStatus) (wrong bool) {
	trouble, at := h.troubleOf(of, tenant, t)
	age := h.now.Sub(t.Listed)
	switch {
	case !t.Listed.IsZero() && age <= max(listingLimit, listingIntervals*h.status.PollInterval):
		return false
	case h.said[at]:
		return true
	case t.Listed.IsZero() && trouble == nil:
		h.add(starting, of, 0, "not listed yet")
		return true
	}
	h.said[at] = true
	text := "no listing for " + span(age)
	if t.Listed.IsZero() {
		text, age = "not listed yet", h.now.Sub(t.Began)
	}
	switch {
	case trouble != nil:
		text += ": " + trouble.Text
	case tenant.Budget.HeldUntil.After(h.now):
		text += ": the API has asked for no calls until " + clock(tenant.Budget.HeldUntil, h.now)
	default:
		text += ", and no error: the calls that rate_limit allows may be too few"
	}
	h.add(listing, at, age, text)
	return true
}

func (h *health) ofLag(of scope, tenant *collector.TenantStatus, t *collector.TypeStatus) {
	if t.CompleteUntil.IsZero() {
		h.add(starting, of, 0, "listed, and not counted yet")
		return
	}
	if t.Behind <= max(behindLimit, listingIntervals*h.status.PollInterval) {
		return
	}
	text := fmt.Sprintf("%s behind: %s pending", span(t.Behind), count(t.Pending, "blob"))
	if !t.OldestPending.IsZero() {
		text += ", the oldest of " + clock(t.OldestPending, h.now)
	}
	if trouble, _ := h.troubleOf(of, tenant, t); trouble != nil {
		text += "; " + trouble.Text
	} else {
		text += "; if it does not shrink, raise batch_size and workers"
	}
	h.add(behind, of, t.Behind, text)
}

// troubleOf is the latest trouble that a content type has, and whose it is: its own, its tenant's, or everyone's.
func (h *health) troubleOf(of scope, tenant *collector.TenantStatus, t *collector.TypeStatus) (*collector.TroubleStatus, scope) {
	if trouble := latest(t.Troubles); trouble != nil {
		return trouble, of
	}
	if trouble := latest(tenant.Troubles); trouble != nil {
		return trouble, scope{tenant: of.tenant}
	}
	if trouble := latest(h.status.Troubles); trouble != nil {
		return trouble, scope{}
	}
	return nil, of
}

// latest is the trouble of the last failure that keeps something from coming in; nil: there is none, or it works again.
func latest(troubles []collector.TroubleStatus) (last *collector.TroubleStatus) {
	for i := range troubles {
		if t := &troubles[i]; !t.Works && (last == nil || t.Last.After(last.Last)) {
			last = t
		}
	}
	return last
}

// stalled says why Fluent Bit seems not to call an input that was added then; empty: it does, or pauses it.
func stalled(s *collector.Status, added, now time.Time) string {
	since, what := s.Host.Called, "has asked for no batch for "
	if since.IsZero() {
		since, what = added, "has not begun to ask for batches, for "
	}
	if age := now.Sub(since); age > aliveLimit && s.Host.PausedSince.IsZero() {
		return "Fluent Bit " + what + span(age) + ": its engine hangs, or the input's thread does"
	}
	return ""
}
