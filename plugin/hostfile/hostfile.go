// Package hostfile reads a Fluent Bit configuration file, in YAML or in the classic format, as Fluent Bit v5.1.1 does: includes, variables,
// what a key's name may look like, and how instances are named. It reads the service section and the pipeline, and nothing else; it refuses
// what Fluent Bit would refuse on the way there, as far as inputs go.
package hostfile

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Pipeline is what a configuration says of the way of records.
type Pipeline struct {
	Service          *Section
	Inputs           []*Input
	Filters, Outputs []*Section
}

// Input returns the input that has that alias, else that name: what Fluent Bit calls it.
func (p *Pipeline) Input(name string) *Input {
	for _, of := range []func(*Input) string{func(in *Input) string { return in.Get("alias") }, func(in *Input) string { return in.Name }} {
		if i := slices.IndexFunc(p.Inputs, func(in *Input) bool { return of(in) == name }); i >= 0 {
			return p.Inputs[i]
		}
	}
	return nil
}

// An Input is the section of an input.
type Input = Section

// A Section is one section of the configuration: the service, or an instance of a plugin.
type Section struct {
	Name       string   // of the instance, such as office365.0, as Fluent Bit logs it unless it has an alias
	Plugin     string   // such as office365
	Unset      []string // variables that are used but not set
	Processors bool     // it has processors, which only YAML can say
	Routes     bool     // it has routes, likewise (from v4.2): they name outputs whatever those match
	Properties []Property
	first      bool // of several values of a key that is the plugin's, it sees the first: an input
}

// A Property is a key, in lower case, and its value, in the order of the file. A key may have several.
type Property struct{ Key, Value string }

// Get reads a key, in any case. Where it has several values: an input shows its plugin the first (src/flb_kv.c:135); what Fluent Bit reads
// itself it sets with each, so that the last one stays.
func (s *Section) Get(key string) (value string) {
	key = strings.ToLower(key)
	for _, p := range s.Properties {
		if p.Key != key {
			continue
		}
		value = p.Value
		if s.first && !reserved(key) {
			break
		}
	}
	return value
}

// Set writes a key in place of what the file says.
func (s *Section) Set(key, value string) {
	key = strings.ToLower(key)
	s.Properties = slices.DeleteFunc(s.Properties, func(p Property) bool { return p.Key == key })
	s.Properties = append(s.Properties, Property{key, value})
}

// Keys lists the names of the keys, in lower case and sorted.
func (s *Section) Keys() []string {
	keys := map[string]bool{}
	for _, p := range s.Properties {
		keys[p.Key] = true
	}
	return slices.Sorted(maps.Keys(keys))
}

// Fluent Bit keeps these keys of an input to itself, and those that begin so (src/flb_input.c:813).
var (
	reservedKeys     = []string{"name", "tag", "alias", "log_level", "log_suppress_interval", "routable", "mem_buf_limit", "listen", "host", "port", "ipv6", "threaded", "tls"}
	reservedPrefixes = []string{"storage.", "thread.", "rate_window", "rate_gate", "tls.", "net.", "oauth2"}
)

func reserved(key string) bool {
	return slices.Contains(reservedKeys, key) || slices.ContainsFunc(reservedPrefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}

// PluginKeys lists those of an input's keys that are for its plugin.
func (s *Section) PluginKeys() []string { return slices.DeleteFunc(s.Keys(), reserved) }

// Label is what Fluent Bit calls the instance: its alias, else its name.
func (s *Section) Label() string {
	if alias := s.Get("alias"); alias != "" {
		return alias
	}
	return s.Name
}

// Tag is what an input's records are tagged (src/flb_input.c:1957).
func (s *Section) Tag() string {
	if tag := s.Get("tag"); tag != "" {
		return tag
	}
	return s.Name
}

// maxFiles is how many files Fluent Bit reads at most (src/config_format/flb_cf_fluentbit.c:42).
const maxFiles = 1000

// Read reads the inputs of a file and of those it includes, variables replaced by their values.
func Read(path string) ([]*Input, error) {
	p, err := ReadPipeline(path)
	if err != nil {
		return nil, err
	}
	return p.Inputs, nil
}

// ReadPipeline reads a file and those it includes, variables replaced by their values.
func ReadPipeline(path string) (*Pipeline, error) {
	f := &file{env: map[string]string{}, seen: map[string]bool{}, service: &Section{Name: service}, instances: map[string][]*Section{}}
	read := f.classic
	switch strings.ToLower(filepath.Ext(path)) { // src/config_format/flb_config_format.c:982
	case ".yaml", ".yml":
		read = f.yaml
	}
	f.root = filepath.Dir(path)
	if err := read(path); err != nil {
		return nil, err
	}
	f.expandAll(f.service)
	for _, kind := range []string{inputs, filters, outputs} {
		for i, s := range f.instances[kind] {
			f.expandAll(s)
			s.first = kind == inputs
			s.Plugin = strings.ToLower(s.Get("name"))
			if kind == outputs {
				s.Plugin, _, _ = strings.Cut(s.Plugin, "://") // it may be written as an address (src/flb_output.c:128)
				if s.Plugin == "elasticsearch" {
					s.Plugin = "es" // src/flb_plugin_alias.c:34
				}
			}
			if s.Plugin == "" {
				return nil, fmt.Errorf("%s: %s %d has no name", path, strings.TrimSuffix(kind, "s"), i)
			}
			s.Name = fmt.Sprintf("%s.%d", s.Plugin, i) // over all of the kind, as flb_input_new, flb_filter_new and flb_output_new count
		}
	}
	return &Pipeline{Service: f.service, Inputs: f.instances[inputs], Filters: f.instances[filters], Outputs: f.instances[outputs]}, nil
}

// The sections that are read, as YAML names them; the classic format may leave the plural out.
const (
	service = "service"
	inputs  = "inputs"
	filters = "filters"
	outputs = "outputs"
)

// file is what has been read so far.
type file struct {
	root      string            // directory of the first file
	env       map[string]string // of env sections and @SET
	service   *Section
	instances map[string][]*Section // by inputs, filters, outputs
	seen      map[string]bool       // files
}

// instance begins one of inputs, filters or outputs.
func (f *file) instance(kind string) *Section {
	s := &Section{}
	f.instances[kind] = append(f.instances[kind], s)
	return s
}

func (s *Section) add(key, value string) {
	s.Properties = append(s.Properties, Property{strings.ToLower(strings.TrimSpace(key)), value})
}

// open reads a file, once.
func (f *file) open(path string) ([]byte, error) {
	if f.seen[path] {
		return nil, fmt.Errorf("%s is included twice", path)
	}
	if len(f.seen) >= maxFiles {
		return nil, fmt.Errorf("%s is one file more than the %d that Fluent Bit reads", path, maxFiles)
	}
	f.seen[path] = true
	return os.ReadFile(path)
}

var errNoMatch = errors.New("no file matches")

// include reads a file, or all that a pattern matches: only a * makes one.
func include(path string, read func(string) error) error {
	if !strings.Contains(path, "*") {
		return read(path)
	}
	matches, err := filepath.Glob(path)
	if err == nil && len(matches) == 0 {
		err = fmt.Errorf("%w %s", errNoMatch, path)
	}
	for _, match := range matches {
		if err == nil {
			err = read(match)
		}
	}
	return err
}

// set defines a variable; a value file://path is the content of that file.
func (f *file) set(name, value string) error {
	if path, ok := strings.CutPrefix(value, "file://"); ok {
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("variable %s: %w", name, err)
		}
		value = strings.TrimSuffix(string(content), "\n")
	}
	f.env[name] = value
	return nil
}

func (f *file) expandAll(s *Section) {
	for i := range s.Properties {
		s.Properties[i].Value = strings.TrimSpace(f.expand(s.Properties[i].Value, s))
	}
}

// expand replaces ${NAME} and ${NAME:-default} (src/flb_env.c:300).
func (f *file) expand(value string, of *Section) string {
	var s strings.Builder
	for {
		before, rest, found := strings.Cut(value, "${")
		name, after, closed := strings.Cut(rest, "}")
		if !found || !closed || name == "" {
			s.WriteString(value)
			return s.String()
		}
		name, fallback, hasFallback := strings.Cut(name, ":-")
		v, ok := f.lookup(name)
		switch {
		case v == "" && hasFallback:
			v = fallback
		case !ok && !slices.Contains(of.Unset, name):
			of.Unset = append(of.Unset, name)
		}
		s.WriteString(before + v)
		value = after
	}
}

// lookup prefers what the configuration sets; of the environment, what is empty counts as not set.
func (f *file) lookup(name string) (value string, ok bool) {
	if value, ok = f.env[name]; ok {
		return value, true
	}
	if value = os.Getenv(name); value == "" && name == "HOSTNAME" {
		value, _ = os.Hostname()
	}
	return value, value != ""
}
