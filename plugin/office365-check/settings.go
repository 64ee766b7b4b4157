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
	"in_office365/plugin/pitfalls"
)

const pluginName = "office365"

// chosenInputs are the inputs that the flags ask for, and the pipeline that they are in: nil if there is no file.
func chosenInputs(o options) (*hostfile.Pipeline, []*hostfile.Input, error) {
	if o.file == "" {
		in := &hostfile.Input{Name: "of the command line", Plugin: pluginName}
		o.set.apply(in)
		return nil, []*hostfile.Input{in}, nil
	}
	pipeline, err := hostfile.ReadPipeline(o.file)
	if err != nil {
		return nil, nil, err
	}
	var chosen []*hostfile.Input
	for i, in := range pipeline.Inputs {
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
		return pipeline, chosen, nil
	case o.input != "":
		return nil, nil, fmt.Errorf("%s has no input %s that is %s", o.file, pluginName, o.input)
	}
	return nil, nil, fmt.Errorf("%s has no input %s", o.file, pluginName)
}

func (p pairs) apply(in *hostfile.Input) {
	for _, pair := range p {
		in.Set(pair[0], pair[1])
	}
}

// lookAt says what loses or repeats records behind the plugin.
func lookAt(pipeline *hostfile.Pipeline, in *hostfile.Input, cfg *config.Config) (steps []step) {
	for _, f := range pitfalls.Find(pipeline, in, cfg) {
		steps = append(steps, warns(stepPipeline, diagnosis.Cause{Kind: diagnosis.Config, What: f.What, Do: f.Do}))
	}
	if steps == nil {
		steps = []step{passes(stepPipeline, "nothing is known to lose records behind the input")}
	}
	return steps
}

// checkInput checks one input, tenant by tenant, until something is wrong that is of all tenants: a wrong secret is sent once.
func checkInput(ctx context.Context, pipeline *hostfile.Pipeline, in *hostfile.Input, o options, r reporter) []*result {
	res := &result{Input: in.Name, Tag: in.Get("tag")}
	r.input(res)
	cfg, err := config.Parse(in)
	var doubts []string
	for _, name := range in.Unset {
		doubts = append(doubts, fmt.Sprintf("the variable %s is used but not set", name))
	}
	if err != nil {
		cause := diagnosis.Cause{Kind: diagnosis.Config, What: err.Error()}
		if e, ok := errors.AsType[*config.Error](err); ok {
			cause.Do = "give " + e.Allowed
			cause.What = strings.TrimSuffix(err.Error(), ": "+e.Allowed)
		}
		if e, ok := errors.AsType[*config.UnknownKeyError](err); ok {
			cause.What, cause.Do = e.Problem(), e.Hint()
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
		var behind []step
		if pipeline != nil && i == 0 { // the same for all tenants
			behind = lookAt(pipeline, in, cfg)
		}
		newWalk(&one, doubts, behind, o.timeout, func(s step) {
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
