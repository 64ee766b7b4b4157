// Package hostfile reads the inputs out of a Fluent Bit configuration file, in YAML or in the classic format, as Fluent Bit v5.1.1 does:
// includes, variables, and what a key's name may look like. It reads nothing else of the file, and refuses what Fluent Bit would refuse
// on the way there.
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

// An Input is one input of the configuration.
type Input struct {
	Name   string            // of the instance, such as office365.0, as Fluent Bit logs it
	Plugin string            // such as office365
	Unset  []string          // variables that are used but not set
	keys   map[string]string // in lower case
}

// Get reads a key, in any case. Where a key has several values, Fluent Bit shows a plugin the first.
func (in *Input) Get(key string) string { return in.keys[strings.ToLower(key)] }

// Set writes a key in place of what the file says.
func (in *Input) Set(key, value string) {
	if in.keys == nil {
		in.keys = map[string]string{}
	}
	in.keys[strings.ToLower(key)] = value
}

// Keys lists the names of the keys, in lower case.
func (in *Input) Keys() []string { return slices.Sorted(maps.Keys(in.keys)) }

// maxFiles is how many files Fluent Bit reads at most (src/config_format/flb_cf_fluentbit.c:42).
const maxFiles = 1000

// Read reads the inputs of a file and of those it includes, variables replaced by their values.
func Read(path string) ([]*Input, error) {
	f := &file{env: map[string]string{}, seen: map[string]bool{}}
	read := f.classic
	switch strings.ToLower(filepath.Ext(path)) { // src/config_format/flb_config_format.c:982
	case ".yaml", ".yml":
		read = f.yaml
	}
	f.root = filepath.Dir(path)
	if err := read(path); err != nil {
		return nil, err
	}
	inputs := make([]*Input, 0, len(f.inputs))
	for i, raw := range f.inputs {
		in := &Input{keys: map[string]string{}}
		for key, value := range raw {
			in.keys[key] = strings.TrimSpace(f.expand(value, in))
		}
		in.Plugin = strings.ToLower(in.Get("name"))
		if in.Plugin == "" {
			return nil, fmt.Errorf("%s: input %d has no name", path, i)
		}
		in.Name = fmt.Sprintf("%s.%d", in.Plugin, i) // over all inputs, as flb_input_new counts
		inputs = append(inputs, in)
	}
	return inputs, nil
}

// file is what has been read so far.
type file struct {
	root   string            // directory of the first file
	env    map[string]string // of env sections and @SET
	inputs []map[string]string
	seen   map[string]bool // files
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

// expand replaces ${NAME} and ${NAME:-default} (src/flb_env.c:300).
func (f *file) expand(value string, in *Input) string {
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
		case !ok && !slices.Contains(in.Unset, name):
			in.Unset = append(in.Unset, name)
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

// add takes a key of an input down. Of several values a plugin sees the first.
func add(input map[string]string, key, value string) {
	if _, again := input[key]; !again {
		input[key] = value
	}
}
