package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"in_office365/plugin/diagnosis"
)

// A verdict is how a step ended.
type verdict string

const (
	ok      verdict = "ok"
	warning verdict = "warning"
	wrong   verdict = "wrong"
	skipped verdict = "skipped"
)

// A step is one stretch of the road.
type step struct {
	Step    string         `json:"step"`
	Verdict verdict        `json:"verdict"`
	Cause   diagnosis.Kind `json:"cause,omitempty"`
	What    string         `json:"what"`
	Do      string         `json:"do,omitempty"`
	Detail  string         `json:"detail,omitempty"` // the error, as it came

	ofAll bool // what is wrong is of all tenants of the input
}

func passes(name, format string, args ...any) step {
	return step{Step: name, Verdict: ok, What: fmt.Sprintf(format, args...)}
}

func skips(name, why string) step { return step{Step: name, Verdict: skipped, What: why} }

func warns(name string, c diagnosis.Cause) step {
	return step{Step: name, Verdict: warning, Cause: c.Kind, What: c.What, Do: c.Do}
}

func fails(name string, c diagnosis.Cause, err error) step {
	s := step{Step: name, Verdict: wrong, Cause: c.Kind, What: c.What, Do: c.Do, ofAll: c.OfInstance(err)}
	switch name {
	case stepConfiguration, stepDNS, stepProxy, stepConnect, stepTLS, stepClock: // the same way for all, and the same clock
		s.ofAll = true
	}
	if err != nil && !strings.Contains(c.What, diagnosis.Text(err)) {
		s.Detail = diagnosis.Text(err)
	}
	return s
}

// A result is what came of one tenant of one input.
type result struct {
	Input   string         `json:"input"`
	Tag     string         `json:"tag,omitempty"`
	Tenant  string         `json:"tenant_id,omitempty"`
	Verdict verdict        `json:"verdict"`
	Cause   diagnosis.Kind `json:"cause,omitempty"` // of the first thing wrong, else of the first warning
	Steps   []step         `json:"steps"`
}

func (r *result) add(s step) {
	r.Steps = append(r.Steps, s)
	rank := map[verdict]int{"": 0, skipped: 1, ok: 2, warning: 3, wrong: 4}
	if rank[s.Verdict] > rank[r.Verdict] {
		r.Verdict, r.Cause = s.Verdict, s.Cause
	}
}

// A reporter writes down what the check finds, as it finds it.
type reporter interface {
	begin(o options)
	input(*result)
	step(*result, step)
	end(results []*result, status int)
}

// table is for people.
type table struct {
	out     io.Writer
	skipped []string // steps that have nothing to say for themselves
}

func (t *table) print(format string, args ...any) {
	_, _ = fmt.Fprintf(t.out, format, args...) // the reader has left
}

func (t *table) begin(o options) {
	from := "the command line"
	if o.file != "" {
		from = o.file
	}
	t.print("office365-check %s: %s\n", version, from)
}

func (t *table) input(r *result) {
	t.flush()
	if r.Input == "-" {
		return
	}
	t.print("\ninput %s", r.Input)
	if r.Tag != "" {
		t.print(", tag %s", r.Tag)
	}
	t.print("\n")
}

// The columns' widths; the longest step is Audit.AzureActiveDirectory.
const rowFormat = "  %-26s %-8s %s\n"

func (t *table) step(r *result, s step) {
	r.add(s)
	if s.Verdict == skipped && s.What == "" {
		t.skipped = append(t.skipped, s.Step)
		return
	}
	t.print(rowFormat, s.Step, s.Verdict, s.What)
	if s.Do != "" {
		t.print(rowFormat, "", "", "-> "+s.Do)
	}
	if s.Detail != "" {
		t.print(rowFormat, "", "", "("+s.Detail+")")
	}
}

// flush names what was skipped.
func (t *table) flush() {
	if len(t.skipped) > 0 {
		t.print("  not looked at: %s\n", strings.Join(t.skipped, ", "))
	}
	t.skipped = nil
}

func (t *table) end(results []*result, status int) {
	t.flush()
	t.print("\n")
	for _, r := range results {
		var subject string
		if len(results) > 1 {
			subject = strings.TrimSpace(r.Input+" "+r.Tenant) + ": "
		}
		t.print("%s%s", subject, r.Verdict)
		if r.Cause != "" {
			t.print(" (%s)", r.Cause)
		}
		t.print("\n")
	}
	if status != exitOK {
		t.print("exit status %d\n", status)
	}
}

// document is for machines.
type document struct{ out io.Writer }

func (d *document) begin(options)          {}
func (d *document) input(*result)          {}
func (d *document) step(r *result, s step) { r.add(s) }
func (d *document) end(results []*result, status int) {
	whole := struct {
		Version string         `json:"version"`
		Verdict verdict        `json:"verdict"`
		Cause   diagnosis.Kind `json:"cause,omitempty"`
		Status  int            `json:"exit_status"`
		Inputs  []*result      `json:"inputs"`
	}{Version: version, Status: status, Inputs: results}
	var worst result
	for _, r := range results {
		worst.add(step{Verdict: r.Verdict, Cause: r.Cause})
	}
	whole.Verdict, whole.Cause = worst.Verdict, worst.Cause
	e := json.NewEncoder(d.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(whole) // the reader has left
}
