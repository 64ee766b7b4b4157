package monitor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"in_office365/plugin/collector"
)

// sum is what all inputs come to.
type sum struct {
	now            time.Time
	inputs         int
	worst          reason
	of             string // whose that is, in words
	reasons        int
	types, unready int       // content types, and those of them that have not been listed and counted yet
	unknown        int       // content types of which it is not known up to when they are complete
	until          time.Time // that of the others
	behind         time.Duration
	pending        int64
	blobs, gaps    int64 // lost
	hour           struct{ blobs, records uint64 }
}

func overall(views []view, now time.Time) (s sum) {
	s.now, s.inputs = now, len(views)
	for i := range views {
		v := &views[i]
		if len(v.reasons) > 0 && (s.reasons == 0 || rank(v.reasons[0].Kind) < rank(s.worst.Kind)) {
			s.worst = v.reasons[0]
		}
		s.reasons += len(v.reasons)
		for j := range v.status.Tenants {
			for k := range v.status.Tenants[j].Types {
				s.add(&v.status.Tenants[j].Types[k])
			}
		}
	}
	if s.reasons > 0 {
		s.of = whose(s.worst.Kind, views)
	}
	return s
}

func (s *sum) add(t *collector.TypeStatus) {
	s.types++
	if t.CompleteUntil.IsZero() {
		s.unknown++
	}
	if t.Listed.IsZero() || t.CompleteUntil.IsZero() {
		s.unready++
	}
	s.until = earlier(s.until, t.CompleteUntil)
	s.behind = max(s.behind, t.Behind)
	s.pending += t.Pending
	s.blobs += t.Blobs.Lost()
	s.gaps += t.Gaps
	for _, m := range t.History {
		s.hour.blobs += uint64(m.Blobs)
		s.hour.records += uint64(m.Records)
	}
}

// whose says what the reasons of the worst kind are of, as far as there is more than one of it; "" is of everything.
func whose(worst kind, views []view) string {
	inputs, tenants, types := map[string]bool{}, map[string]bool{}, map[string]bool{}
	all := 0
	for i := range views {
		all += len(views[i].status.Tenants)
		for _, r := range views[i].reasons {
			if r.Kind == worst {
				inputs[views[i].name], tenants[r.Tenant], types[string(r.ContentType)] = true, true, true
			}
		}
	}
	var parts []string
	say := func(set map[string]bool, before, several string) {
		switch {
		case set[""]:
		case len(set) > 1:
			parts = append(parts, fmt.Sprintf("%d %s", len(set), several))
		default:
			parts = slices.AppendSeq(parts, maps.Keys(set))
			parts[len(parts)-1] = before + parts[len(parts)-1]
		}
	}
	if len(tenants) == 1 {
		say(types, "", "content types")
	}
	if all > 1 {
		say(tenants, "tenant ", fmt.Sprintf("of %d tenants", all))
	}
	if len(views) > 1 {
		say(inputs, "input ", "inputs")
	}
	return strings.Join(parts, " of ")
}

// known says whether it is known of every content type up to when it is complete.
func (s *sum) known() bool { return s.types > 0 && s.unknown == 0 }

// verdict is one sentence: is everything there, up to when, and if not, why.
func (s *sum) verdict() verdict {
	through := "Nothing is missing so far."
	if s.known() {
		but := ""
		if amount := amounts(s.blobs, s.gaps); amount != "" {
			but = ", but for what is lost: " + amount
		}
		through = fmt.Sprintf("Everything that was available until %s, %s ago, is through%s.", clock(s.until, s.now), span(s.behind), but)
	}
	detail := sentence(cut(s.worst.Reason))
	if s.reasons > 1 {
		detail += fmt.Sprintf(" %s below.", count(int64(s.reasons-1), "more reason"))
	}
	of := func(before string) string {
		if s.of == "" {
			return ""
		}
		return before + s.of
	}
	switch {
	case s.inputs == 0:
		return verdict{bad, "No input runs.", noInput}
	case s.reasons == 0:
		return verdict{good, through, ""}
	case s.worst.Kind == starting && s.types == 0:
		return verdict{wait, "Starting.", detail}
	case s.worst.Kind == starting:
		return verdict{wait, fmt.Sprintf("Starting: %d of %s not listed and counted yet.", s.unready, count(int64(s.types), "content type")), ""}
	case s.worst.Kind == unsaved:
		return verdict{warn, "The db fails" + of(" for ") + ".", through + " " + detail}
	}
	why := map[kind]string{
		fault: "a fault of the plugin" + of(" in "), credential: "access is refused" + of(" for "), listing: "listing fails" + of(" for "),
		unlisted: "there may be tenants that are not collected" + of(" by "), switched: "the subscription is off" + of(" for "),
		lost: "something" + of(" of ") + " is lost for good", storage: "there is no room for Fluent Bit's chunks", handOver: "Fluent Bit takes nothing" + of(" from "), behind: span(s.worst.age) + " behind" + of(" with "),
	}[s.worst.Kind]
	return verdict{states[s.worst.Kind].Level, "Not complete: " + why + ".", detail}
}

func (s *sum) figures() []fact {
	if s.types == 0 {
		return nil
	}
	until, behind := "–", "–"
	if s.known() {
		until, behind = clock(s.until, s.now), span(s.behind)
	}
	return []fact{
		{"Through until", until, ""},
		{"Behind", behind, ""},
		{"Pending", count(s.pending, "blob"), ""},
		{"Lost since the start", cmp.Or(amounts(s.blobs, s.gaps), "nothing"), ""},
		{"In the last hour", count(int64(s.hour.records), "record"), ""},
	}
}
