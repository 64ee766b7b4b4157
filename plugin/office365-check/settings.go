package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"in_office365/plugin/config"
	"in_office365/plugin/diagnosis"
	"in_office365/plugin/hostfile"
)

const pluginName = "office365"

// chosenInputs are the inputs that the flags ask for.
func chosenInputs(o options) ([]*hostfile.Input, error) {
	if o.file == "" {
		in := &hostfile.Input{Name: "of the command line", Plugin: pluginName}
		o.set.apply(in)
		return []*hostfile.Input{in}, nil
	}
	all, err := hostfile.Read(o.file)
	if err != nil {
		return nil, err
	}
	var chosen []*hostfile.Input
	for i, in := range all {
		if in.Plugin != pluginName {
			continue
		}
		if o.input == "" || slices.Contains([]string{in.Name, strconv.Itoa(i), in.Get("tag"), in.Get("alias")}, o.input) {
			o.set.apply(in)
			chosen = append(chosen, in)
		}
	}
	switch {
	case len(chosen) > 0:
		return chosen, nil
	case o.input != "":
		return nil, fmt.Errorf("%s has no input %s that is %s", o.file, pluginName, o.input)
	}
	return nil, fmt.Errorf("%s has no input %s", o.file, pluginName)
}

func (p pairs) apply(in *hostfile.Input) {
	for _, pair := range p {
		in.Set(pair[0], pair[1])
	}
}

// asked remembers which keys were asked for: those are the plugin's.
type asked struct {
	*hostfile.Input
	keys map[string]bool
}

func (a asked) Get(key string) string {
	a.keys[key] = true
	return a.Input.Get(key)
}

// Fluent Bit keeps these keys of an input to itself, and those that begin so (v5.1.1 src/flb_input.c:813).
var (
	hostKeys     = []string{"name", "tag", "alias", "log_level", "log_suppress_interval", "routable", "mem_buf_limit", "listen", "host", "port", "ipv6", "threaded", "tls"}
	hostPrefixes = []string{"storage.", "thread.", "rate_", "tls.", "net.", "oauth2"}
)

// unknownKeys are keys that neither the plugin nor Fluent Bit knows. Fluent Bit says nothing about them.
func (a asked) unknownKeys() (problems []string) {
	for _, key := range a.Keys() {
		begins := func(prefix string) bool { return strings.HasPrefix(key, prefix) }
		if a.keys[key] || slices.Contains(hostKeys, key) || slices.ContainsFunc(hostPrefixes, begins) {
			continue
		}
		problem := fmt.Sprintf("there is no key %s", key)
		for known := range a.keys {
			if similar(key, known) {
				problem += ", but one " + known
			}
		}
		problems = append(problems, problem)
	}
	return problems
}

// similar says whether two letters written otherwise, left out or added make a of b.
func similar(a, b string) bool {
	const most = 2
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)] <= most
}

// checkInput checks one input, tenant by tenant, until something is wrong that is of all tenants: a wrong secret is sent once.
func checkInput(ctx context.Context, in *hostfile.Input, o options, r reporter) []*result {
	res := &result{Input: in.Name, Tag: in.Get("tag")}
	r.input(res)
	keys := asked{in, map[string]bool{}}
	cfg, err := config.Parse(keys)
	doubts := keys.unknownKeys()
	for _, name := range in.Unset {
		doubts = append(doubts, fmt.Sprintf("the variable %s is used but not set", name))
	}
	if err != nil {
		cause := diagnosis.Cause{Kind: diagnosis.Config, What: err.Error()}
		if e, ok := errors.AsType[*config.Error](err); ok {
			cause.Do = "give " + e.Allowed
			cause.What = strings.TrimSuffix(err.Error(), ": "+e.Allowed)
		}
		cause.What = strings.Join(append([]string{cause.What}, doubts...), "; ")
		r.step(res, fails(stepConfiguration, cause, nil))
		return []*result{res}
	}
	var results []*result
	var ofAll string // what is wrong with all tenants
	for i, id := range cfg.Tenants {
		one := *cfg
		one.TenantID = id
		if i > 0 {
			res = &result{Input: in.Name, Tag: in.Get("tag")}
			r.input(res)
		}
		res.Tenant = id
		results = append(results, res)
		if ofAll != "" {
			r.step(res, skips(stepConfiguration, ofAll))
			continue
		}
		newWalk(&one, doubts, o.timeout, func(s step) {
			r.step(res, s)
			if s.ofAll && ofAll == "" {
				ofAll = fmt.Sprintf("what is wrong with tenant %s is wrong with all (%s)", id, s.Cause)
			}
		}).run(ctx)
		if ctx.Err() != nil {
			break
		}
	}
	return results
}
