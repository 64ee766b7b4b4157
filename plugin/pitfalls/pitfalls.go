// Package pitfalls finds what in a Fluent Bit configuration loses the records of an input, or stores them twice. Fluent Bit tells an input
// nothing of that. It says what is certain or nearly so; what cannot be known, such as what a Lua script does, it leaves alone. What it says
// of Fluent Bit is read in the source of v5.1.1.
package pitfalls

import (
	"fmt"
	"slices"
	"strings"

	"in_office365/plugin/config"
	"in_office365/plugin/hostfile"
)

// A Finding is one thing that loses records or stores them twice.
type Finding struct {
	What string
	Do   string // the line to change
}

func (f Finding) String() string { return f.What + ": " + f.Do }

// Find looks along the way of one input's records: the input, its tag, filters, outputs.
func Find(p *hostfile.Pipeline, in *hostfile.Input, cfg *config.Config) []Finding {
	w := &way{pipeline: p, in: in, cfg: cfg}
	w.follow(in.Tag())
	w.storage()
	w.untaken()
	changed := in.Processors
	for _, f := range p.Filters {
		if tag, ok := w.tagFor(f); ok {
			w.filter(f, tag, changed)
			changed = changed || !leavesKeys[f.Plugin]
		}
	}
	for _, o := range p.Outputs {
		if _, ok := w.tagFor(o); ok && !in.Routes || w.takesUnmatched(o) {
			w.output(o, changed)
		}
	}
	return w.findings
}

// way is that of one input's records.
type way struct {
	pipeline *hostfile.Pipeline
	in       *hostfile.Input
	cfg      *config.Config
	tags     []given // of the input, and those that filters give
	findings []Finding
}

// given is a tag, and the filter that gives it: nil for the input's own. In one that a filter gives, * is what only a record tells.
type given struct {
	tag    string
	by     *hostfile.Section
	copies bool // the records keep the tag that they had, too
	toAll  bool // every record gets it, and every notice
}

func (w *way) say(do, what string, args ...any) {
	w.findings = append(w.findings, Finding{What: fmt.Sprintf(what, args...), Do: do})
}

// mostTags bounds how far tags are followed: filters may give each other's for ever.
const mostTags = 20

// follow finds out the tags that the records will have. A filter that gives a tag emits the records anew, for all filters to take.
func (w *way) follow(tag string) {
	w.tags = []given{{tag: tag}}
	for i := 0; i < len(w.tags) && i < mostTags; i++ {
		for _, f := range w.pipeline.Filters {
			if f.Plugin != rewriteTag || f == w.tags[i].by || !takes(f, w.tags[i].tag) {
				continue
			}
			for _, g := range w.retags(f, w.tags[i].tag) {
				known := slices.ContainsFunc(w.tags, func(h given) bool { return h.tag == g.tag })
				if !known && g.tag != "*" {
					w.tags = append(w.tags, g)
				}
			}
		}
	}
}

// tagFor is the first of the records' tags that a filter or output certainly takes.
func (w *way) tagFor(s *hostfile.Section) (tag string, ok bool) {
	i := slices.IndexFunc(w.tags, func(g given) bool { return takes(s, g.tag) })
	if i < 0 {
		return "", false
	}
	return w.tags[i].tag, true
}

func takes(s *hostfile.Section, tag string) bool { return mayTake(s, tag) == yes }

// An answer may be that it cannot be told.
type answer int

const (
	unknown answer = iota
	no
	yes
)

// mayTake says whether a filter or output takes a tag in which * is any text.
func mayTake(s *hostfile.Section, tag string) answer {
	if strings.Contains(tag, "*") {
		switch match := s.Get("match"); {
		case match != "" && overlap(match, tag):
			return yes
		case s.Get("match_regex") != "":
			return unknown
		}
		return no
	}
	switch took, known := s.Takes(tag); {
	case !known:
		return unknown
	case took:
		return yes
	}
	return no
}

// overlap says whether two patterns, in which * is any text, are both meant for some tag.
func overlap(a, b string) bool {
	switch {
	case a == "" || b == "":
		return strings.Trim(a+b, "*") == ""
	case a[0] == '*':
		return overlap(a[1:], b) || overlap(a, b[1:])
	case b[0] == '*':
		return overlap(b, a)
	}
	return a[0] == b[0] && overlap(a[1:], b[1:])
}

// inputMakers are filters that make inputs of their own (plugins/filter_rewrite_tag/rewrite_tag.c:50 and alike).
var inputMakers = map[string]bool{rewriteTag: true, "multiline": true, logToMetrics: true}

// takesUnmatched says whether an output that matches nothing takes all, as of one input and one output it does (src/flb_router.c:200).
// With storage.path there is one more, for what was left there (src/flb_storage.c:745).
func (w *way) takesUnmatched(o *hostfile.Section) bool {
	p := w.pipeline
	makesInput := func(f *hostfile.Section) bool { return inputMakers[f.Plugin] }
	return o.Get("match") == "" && o.Get("match_regex") == "" && len(p.Inputs) == 1 && len(p.Outputs) == 1 && p.Service.Get(storagePath) == "" &&
		!slices.ContainsFunc(p.Filters, makesInput)
}

// untaken looks for tags that no output takes.
func (w *way) untaken() {
	outputs := w.pipeline.Outputs
	if w.in.Routes || slices.ContainsFunc(outputs, w.takesUnmatched) { // routes name outputs, whatever those match
		return
	}
	for _, g := range w.tags {
		if g.copies || slices.ContainsFunc(outputs, func(o *hostfile.Section) bool { return mayTake(o, g.tag) != no }) {
			continue
		}
		do := "set match " + g.tag + " on an output"
		switch retagged := w.tags[1:]; {
		case g.by != nil:
			w.say(do, "the filter %s gives records the tag %s, which no output takes, so that Fluent Bit drops them", g.by.Label(), g.tag)
		case slices.ContainsFunc(retagged, func(h given) bool { return h.toAll }):
		case len(retagged) > 0:
			w.say(do, "no output takes the tag %s, so that Fluent Bit drops the records which no filter gives another, such as notices", g.tag)
		default:
			w.say(do, "no output takes the tag %s, so that Fluent Bit drops every record", g.tag)
		}
	}
}

const storagePath = "storage.path"

// storage looks at where records wait for outputs (src/flb_storage.c:534).
func (w *way) storage() {
	const filesystem = "filesystem"
	service, name := w.pipeline.Service, w.in.Label()
	kind := strings.ToLower(w.in.Get("storage.type"))
	if kind == "" && isOn(service.Get("storage.inherit")) { // from v4.1 on
		kind = strings.ToLower(service.Get("storage.type"))
	}
	do := "set storage.type filesystem on the input"
	if service.Get(storagePath) == "" {
		do += ", and storage.path in the service section"
	}
	switch kind {
	case filesystem:
		if service.Get(storagePath) == "" {
			w.say("set storage.path in the service section", "Fluent Bit does not start with storage.type filesystem on the input %s and no storage.path", name)
		}
	case "memrb":
		w.say(do, "the input %s has storage.type memrb, so that the oldest records are dropped when it is full", name)
	default:
		w.say(do, "the input %s keeps records in memory only, so that those which no output has taken yet die with the process", name)
	}
}

// isOn is how Fluent Bit reads a boolean (src/flb_utils.c:757).
func isOn(v string) bool { return slices.Contains([]string{"on", "true", "yes"}, strings.ToLower(v)) }

func isOff(v string) bool { return slices.Contains([]string{"off", "false", "no"}, strings.ToLower(v)) }
