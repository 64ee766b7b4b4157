package monitor

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"in_office365/plugin/collector"
	"in_office365/plugin/diagnosis"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string

	pageTemplate = template.Must(template.New("page").Parse(pageHTML))

	// pagePolicy allows the page's own style, and nothing else at all.
	pagePolicy = "default-src 'none'; style-src 'sha256-" + digest(pageCSS) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

const (
	// tenantsAPage keeps the page of many tenants short enough to read, and to render at once.
	tenantsAPage = 50
	// notesARow is how much a row says of why; its tenant's page has the rest.
	notesARow = 2
	// maxNote cuts what somebody else's error says, in bytes.
	maxNote = 1000
	// catchingUp is more than what is on its way at rest.
	catchingUp = 15 * time.Minute
)

// page answers with the status of all inputs, of ?input=, or of one tenant of it, ?tenant=; ?page= is of its tenants.
func (m *Monitor) page(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	p := newPage(m.view(), r.URL.Query(), time.Now())
	if err := pageTemplate.Execute(&body, p); err != nil {
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", pagePolicy)
	header.Set("Referrer-Policy", "no-referrer")
	if len(p.Inputs) == 0 && p.Empty != noInput {
		w.WriteHeader(http.StatusNotFound)
	}
	_, _ = body.WriteTo(w) // whoever asked has gone
}

// The levels of a state: colour, mark, and order.
const (
	bad  = "bad"
	warn = "warn"
	wait = "wait"
	good = "good"
)

var levels = [...]string{bad, warn, wait, good}

// A state is how something fares, in a word.
type state struct{ Level, Word string }

func (s state) compare(other state) int {
	return cmp.Compare(slices.Index(levels[:], s.Level), slices.Index(levels[:], other.Level))
}

var (
	complete = state{good, "complete"}

	states = map[kind]state{
		fault: {bad, "fault"}, credential: {bad, "no access"}, unlisted: {bad, "tenants missing"}, listing: {bad, "not listed"}, switched: {bad, "switched off"}, lost: {bad, "lost some"}, storage: {bad, "no room"}, handOver: {bad, "held up"},
		behind: {warn, "behind"}, unsaved: {warn, "db fails"}, starting: {wait, "starting"},
	}
)

// What the template shows.
type (
	page struct {
		Title   string
		Style   template.CSS
		At      string
		Verdict verdict
		Figures []fact
		Inputs  []inputSection
		Empty   string // why there is none
	}
	verdict      struct{ Level, Sentence, Detail string }
	fact         struct{ Name, Value, More string }
	inputSection struct {
		Name, Href string
		State      state
		Facts      []fact
		Notes      []note
		Tenant     *tenantSection // of which Rows are the content types
		Of         string         // what a row is
		Rows       []row
		Pages      *pages
		Notices    []notice
	}
	tenantSection struct {
		Name  string
		State state
		All   string
		Facts []fact
		Notes []note
	}
	row struct {
		Name, Href   string
		State        state
		Behind       string
		Pending      string
		Since        string
		Listed       moment
		Blobs        chart
		Records      chart
		Lost         string
		Subscription string
		Notes        []note
	}
	note   struct{ Level, Of, Text string }
	moment struct{ Ago, At string }
	chart  struct{ Title, Total, Path string }
	pages  struct{ Before, Here, After string }
	notice struct {
		At               moment
		Kind, Of, Reason string
	}
)

func newPage(views []view, query url.Values, now time.Time) *page {
	p := &page{Style: template.CSS(pageCSS), At: now.UTC().Format("2006-01-02 15:04:05 UTC"), Empty: noInput} //nolint:gosec // it is ours
	total := overall(views, now)
	p.Verdict, p.Figures = total.verdict(), total.figures()
	p.Title = p.Verdict.Sentence
	wanted, tenant := query.Get("input"), strings.ToLower(query.Get("tenant"))
	for i := range views {
		v := &views[i]
		if wanted != "" && v.name != wanted {
			continue
		}
		if s, ok := newInputSection(v, tenant, query.Get("page"), now); ok {
			if len(views) == 1 && total.reasons > 0 && total.worst.scope() == (scope{}) {
				s.Notes = s.Notes[1:] // the verdict says it
			}
			p.Inputs = append(p.Inputs, s)
		}
	}
	if len(p.Inputs) == 0 && len(views) > 0 {
		p.Empty = "There is no such input or tenant."
	}
	return p
}

// inputPage is a view of an input at work.
type inputPage struct {
	*view
	now     time.Time
	reasons map[scope][]reason
}

func newInputSection(v *view, tenant, pageNumber string, now time.Time) (inputSection, bool) {
	in := inputPage{v, now, map[scope][]reason{}}
	for _, r := range v.reasons {
		in.reasons[r.scope()] = append(in.reasons[r.scope()], r)
	}
	s := inputSection{Name: v.name, Href: link(v.name, "", ""), State: complete, Facts: in.facts(), Notes: in.notes(scope{}, slices.Concat(v.status.Troubles, v.status.TenantsFile, v.status.Ledger.Troubles))}
	if len(v.reasons) > 0 {
		s.State = states[v.reasons[0].Kind]
	}
	tenants := v.status.Tenants
	switch i := slices.IndexFunc(tenants, func(t collector.TenantStatus) bool { return strings.ToLower(t.ID) == tenant }); {
	case i >= 0:
		in.showTenant(&s, &tenants[i])
	case tenant != "":
		return s, false
	case len(tenants) == 1:
		in.showTenant(&s, &tenants[0])
	default:
		in.showTenants(&s, pageNumber)
	}
	for _, n := range v.status.Notices {
		if tenant == "" || n.Tenant == "" || strings.ToLower(n.Tenant) == tenant {
			of := strings.TrimSpace(n.ContentType)
			if n.Tenant != "" && len(tenants) > 1 {
				of = strings.TrimSpace(n.Tenant + " " + of)
			}
			s.Notices = append(s.Notices, notice{in.moment(n.At), strings.ReplaceAll(n.Kind, "_", " "), of, cut(n.Reason)})
		}
	}
	return s, true
}

func (in *inputPage) showTenant(s *inputSection, t *collector.TenantStatus) {
	s.Of = "Content type"
	for i := range t.Types {
		s.Rows = append(s.Rows, in.typeRow(t, &t.Types[i]))
	}
	s.Tenant = &tenantSection{Name: t.ID, State: in.tenantState(t), Facts: in.tenantFacts(t), Notes: in.notes(scope{tenant: t.ID}, t.Troubles)}
	if len(in.status.Tenants) > 1 {
		s.Tenant.All = s.Href
	}
}

// showTenants shows one page of the tenants, the worst first.
func (in *inputPage) showTenants(s *inputSection, pageNumber string) {
	type ranked struct {
		*collector.TenantStatus
		state state
	}
	tenants := make([]ranked, len(in.status.Tenants))
	for i := range tenants {
		t := &in.status.Tenants[i]
		tenants[i] = ranked{t, in.tenantState(t)}
	}
	slices.SortStableFunc(tenants, func(a, b ranked) int { return a.state.compare(b.state) })
	last := max(1, (len(tenants)+tenantsAPage-1)/tenantsAPage)
	number, err := strconv.Atoi(pageNumber)
	if err != nil {
		number = 1
	}
	number = min(max(number, 1), last)
	from := (number - 1) * tenantsAPage
	to := min(from+tenantsAPage, len(tenants))
	s.Of = "Tenant"
	for _, t := range tenants[from:to] {
		s.Rows = append(s.Rows, in.tenantRow(t.TenantStatus, t.state))
	}
	if last == 1 {
		return
	}
	s.Pages = &pages{Here: fmt.Sprintf("%d to %d of %d tenants, the worst first", from+1, to, len(tenants))}
	if number > 1 {
		s.Pages.Before = link(in.name, "page", strconv.Itoa(number-1))
	}
	if number < last {
		s.Pages.After = link(in.name, "page", strconv.Itoa(number+1))
	}
}

// link is the page of an input, or with a key more, of a part of it.
func link(input, key, value string) string {
	query := url.Values{"input": {input}}
	if key != "" {
		query.Set(key, value)
	}
	return "/?" + query.Encode()
}

// typeState is the worst of what is of a content type, its tenant and the input.
func (in *inputPage) typeState(tenant *collector.TenantStatus, t *collector.TypeStatus) state {
	for _, of := range [...]scope{{}, {tenant: tenant.ID}, {tenant.ID, t.ContentType}} {
		for _, r := range in.reasons[of] { // the worst comes first
			switch r.Kind {
			case credential, listing, fault:
				return states[r.Kind]
			}
		}
	}
	if r := in.reasons[scope{tenant.ID, t.ContentType}]; len(r) > 0 {
		return states[r[0].Kind]
	}
	trouble := cmp.Or(latest(t.Troubles), latest(tenant.Troubles))
	switch {
	case tenant.Budget.HeldUntil.After(in.now), trouble != nil && trouble.Cause == string(diagnosis.Throttled):
		return state{warn, "throttled"}
	case trouble != nil:
		return state{warn, "failing"}
	case t.Subscription == "disabled":
		return state{warn, "switched off"}
	case len(in.reasons[scope{}]) > 0:
		return states[in.reasons[scope{}][0].Kind]
	case t.Behind > catchingUp:
		return state{wait, "catching up"}
	}
	return complete
}

func (in *inputPage) tenantState(tenant *collector.TenantStatus) state {
	worst := complete
	for i := range tenant.Types {
		if s := in.typeState(tenant, &tenant.Types[i]); s.compare(worst) < 0 {
			worst = s
		}
	}
	return worst
}

// notes are why something is as it is: the reasons that it is not ready, and what else fails.
func (in *inputPage) notes(of scope, troubles []collector.TroubleStatus) (notes []note) {
	for _, r := range in.reasons[of] {
		if r.Kind != starting || of == (scope{}) { // else its state says it all
			notes = append(notes, note{Level: states[r.Kind].Level, Text: sentence(cut(r.Reason))})
		}
	}
	for _, t := range troubles {
		if slices.ContainsFunc(in.reasons[of], func(r reason) bool { return strings.Contains(r.Reason, t.Text) }) {
			continue
		}
		text := sentence(cut(t.Text))
		if t.Count > 1 {
			text += fmt.Sprintf(" %s times for %s.", number(int64(t.Count)), span(in.now.Sub(t.Since)))
		}
		level := warn
		if t.Works {
			level, text = wait, text+" It works again."
		}
		notes = append(notes, note{Level: level, Text: text})
	}
	return notes
}

func (in *inputPage) typeRow(tenant *collector.TenantStatus, t *collector.TypeStatus) row {
	r := in.row(tenant, []collector.TypeStatus{*t})
	r.Name = string(t.ContentType)
	r.State = in.typeState(tenant, t)
	r.Subscription = t.Subscription
	r.Notes = in.notes(scope{tenant.ID, t.ContentType}, t.Troubles)
	return r
}

func (in *inputPage) tenantRow(t *collector.TenantStatus, s state) row {
	r := in.row(t, t.Types)
	r.Name, r.Href, r.State = t.ID, link(in.name, "tenant", t.ID), s
	enabled := 0
	for i := range t.Types {
		if t.Types[i].Subscription == "enabled" {
			enabled++
		}
	}
	r.Subscription = fmt.Sprintf("%d of %d enabled", enabled, len(t.Types))
	r.Notes = in.notes(scope{tenant: t.ID}, t.Troubles)
	for i := range t.Types {
		for _, n := range in.notes(scope{t.ID, t.Types[i].ContentType}, t.Types[i].Troubles) {
			n.Of = string(t.Types[i].ContentType)
			r.Notes = append(r.Notes, n)
		}
	}
	if more := len(r.Notes) - notesARow; more > 0 {
		slices.SortStableFunc(r.Notes, func(a, b note) int { return state{Level: a.Level}.compare(state{Level: b.Level}) })
		r.Notes = append(r.Notes[:notesARow:notesARow], note{Level: r.Notes[notesARow].Level, Text: fmt.Sprintf("and %d more", more)})
	}
	return r
}

// row is what content types of a tenant come to.
func (in *inputPage) row(tenant *collector.TenantStatus, types []collector.TypeStatus) (r row) {
	var pending, lostBlobs, gaps int64
	known, everListed := len(types) > 0, len(types) > 0
	var lag time.Duration
	var oldest, listed time.Time
	var history collector.History
	for i := range types {
		t := &types[i]
		pending += t.Pending
		oldest = earlier(oldest, t.OldestPending)
		listed = earlier(listed, t.Listed)
		everListed = everListed && !t.Listed.IsZero()
		known = known && !t.CompleteUntil.IsZero()
		lag = max(lag, t.Behind)
		lostBlobs += t.Blobs.Lost()
		gaps += t.Gaps
		for m := range history {
			history[m].Blobs += t.History[m].Blobs
			history[m].Records += t.History[m].Records
		}
	}
	if known {
		r.Behind = span(lag)
	}
	r.Pending = number(pending)
	if !oldest.IsZero() && pending > 0 {
		r.Since = "since " + in.moment(oldest).At
	}
	if everListed {
		r.Listed = in.moment(listed)
	}
	r.Blobs, r.Records = charts(&history)
	r.Lost = amounts(lostBlobs, gaps)
	return r
}

// earlier is the earlier of two moments, of which the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (in *inputPage) moment(t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	return moment{span(in.now.Sub(t)) + " ago", strings.TrimSuffix(clock(t, in.now), " UTC")} // the page says that all are
}

// facts are of the input as a whole.
func (in *inputPage) facts() []fact {
	s, now := &in.status, in.now
	if s.At.IsZero() {
		return nil // the source says nothing
	}
	facts := []fact{{"Version", s.Version, ""}}
	if !s.Started.IsZero() {
		facts = append(facts, fact{"Up", span(now.Sub(s.Started)), "since " + clock(s.Started, now)})
	}
	host := fact{"Fluent Bit", "has not asked yet", ""}
	switch {
	case !s.Host.PausedSince.IsZero():
		host = fact{"Fluent Bit", "paused for " + span(now.Sub(s.Host.PausedSince)), "since " + clock(s.Host.PausedSince, now)}
	case !s.Host.Called.IsZero():
		host = fact{"Fluent Bit", "asked " + span(now.Sub(s.Host.Called)) + " ago", ""}
		if s.Host.Pauses > 0 {
			host.More = fmt.Sprintf("%s, %s in all", count(s.Host.Pauses, "pause"), span(s.Host.Paused))
		}
	}
	if s.Queue.Dropped > 0 {
		host.More = strings.TrimPrefix(host.More+", dropped "+count(s.Queue.DroppedRecords, "record")+", which it was handed again", ", ")
	}
	queue := fact{"Queue", size(int64(s.Queue.Bytes)) + " of " + size(int64(s.Queue.Limit)), ""}
	if s.Queue.Waiting+s.Queue.Unsettled > 0 {
		queue.More = fmt.Sprintf("%d waiting, %d unsettled", s.Queue.Waiting, s.Queue.Unsettled)
	}
	if hold := s.Queue.Hold; hold.Kind != "" {
		queue.More = fmt.Sprintf("held for %s: %s", span(now.Sub(hold.Since)), hold.Why)
	}
	ledger := fact{"Ledger", size(s.Ledger.Size), ""}
	if s.Ledger.Failures > 0 {
		ledger.More = count(s.Ledger.Failures, "failed write")
	}
	facts = append(facts, host, queue, ledger)
	if end := s.CredentialExpires; !end.IsZero() {
		value := "ends in " + span(end.Sub(now))
		if !end.After(now) {
			value = "ended " + span(now.Sub(end)) + " ago"
		}
		facts = append(facts, fact{"Credential", value, clock(end, now)})
	}
	if len(s.Tenants) != 1 {
		facts = append(facts, fact{"Tenants", number(int64(len(s.Tenants))), ""})
	}
	return facts
}

func (in *inputPage) tenantFacts(t *collector.TenantStatus) []fact {
	token := fact{"Access token", "none", ""}
	if end := t.TokenExpires; end.After(in.now) {
		token = fact{"Access token", "for " + span(end.Sub(in.now)), "until " + clock(end, in.now)}
	}
	calls := fact{"Calls in the last minute", fmt.Sprintf("%s of %s", number(int64(t.Budget.Used)), number(int64(t.Budget.PerMinute))), ""}
	switch {
	case t.Budget.HeldUntil.After(in.now):
		calls.More = "none before " + clock(t.Budget.HeldUntil, in.now) + ", as the API asked"
	case t.Budget.Allowed < t.Budget.PerMinute:
		calls.More = number(int64(t.Budget.Allowed)) + " allowed since it was throttled"
	}
	return []fact{calls, token}
}
