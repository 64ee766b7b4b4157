package hostfile

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"
)

// yaml reads a YAML file (src/config_format/flb_cf_yaml.c).
func (f *file) yaml(path string) error {
	content, err := f.open(path)
	if err != nil {
		return err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(document.Content) == 0 {
		return nil
	}
	y := &yamlFile{file: f, dir: filepath.Dir(path)}
	err = y.document(document.Content[0])
	if e, ok := errors.AsType[*lineError](err); ok && e.file == "" {
		e.file = path
	}
	return err
}

type yamlFile struct {
	*file
	dir string // includes are relative to it
}

// lineError says where in a file something is wrong.
type lineError struct {
	file    string
	line    int
	problem string
}

func (e *lineError) Error() string { return fmt.Sprintf("%s:%d: %s", e.file, e.line, e.problem) }

func (y *yamlFile) document(n *yaml.Node) error {
	return eachPair(n, "the configuration", func(key string, value *yaml.Node) error {
		switch strings.ToLower(key) {
		case "includes":
			return eachItem(value, "includes", func(n *yaml.Node) error {
				target, err := scalar(n, "an include")
				if err != nil {
					return err
				}
				if filepath.IsAbs(target) {
					return include(target, y.yaml)
				}
				err = include(filepath.Join(y.dir, target), y.yaml)
				if errors.Is(err, errNoMatch) { // which passes, if the pattern is relative (flb_cf_yaml.c:510)
					err = nil
				}
				return err
			})
		case "env":
			return y.environment(value)
		case service:
			return eachPair(value, service, func(key string, value *yaml.Node) error {
				y.property(y.service, key, value)
				return nil
			})
		case "pipeline":
			return eachPair(value, "pipeline", func(key string, value *yaml.Node) error {
				switch kind := strings.ToLower(key); kind {
				case inputs:
					return eachItem(value, inputs, y.input)
				case filters, outputs:
					return eachItem(value, kind, func(n *yaml.Node) error { return y.other(kind, n) })
				}
				return nil
			})
		}
		return nil
	})
}

// environment is a map of variables, or a list of maps: {name, value}, {name, uri}, or {NAME: value}.
func (y *yamlFile) environment(n *yaml.Node) error {
	if n.Kind == yaml.MappingNode {
		return eachPair(n, "env", func(name string, value *yaml.Node) error {
			text, err := scalar(value, "env")
			if err != nil {
				return err
			}
			return y.set(name, text)
		})
	}
	return eachItem(n, "env", func(n *yaml.Node) error {
		var name, text string
		err := eachPair(n, "env", func(key string, value *yaml.Node) (err error) {
			switch strings.ToLower(key) {
			case "name":
				name, err = scalar(value, "env")
			case "value", "uri":
				text, err = scalar(value, "env")
			case "refresh_interval":
			default:
				name = key
				text, err = scalar(value, "env")
			}
			return err
		})
		if err != nil || name == "" {
			return err
		}
		return y.set(name, text)
	})
}

func (y *yamlFile) input(n *yaml.Node) error {
	in := y.instance(inputs)
	return eachPair(n, "an input", func(key string, value *yaml.Node) error {
		if !y.property(in, key, value) {
			return &lineError{line: value.Line, problem: key + " must be a plain value"}
		}
		return nil
	})
}

// other is a filter or an output. What is no plain value in it, such as a condition, is passed over.
func (y *yamlFile) other(kind string, n *yaml.Node) error {
	s := y.instance(kind)
	return eachPair(n, "an item of "+kind, func(key string, value *yaml.Node) error {
		y.property(s, key, value)
		return nil
	})
}

// property takes a key down, once for each of its values, and says whether it could.
func (y *yamlFile) property(s *Section, key string, value *yaml.Node) bool {
	switch key {
	case "processors":
		s.Processors = true
		return true
	case "routes":
		s.Routes = true
		return true
	case "telemetry":
		return true
	}
	values := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		values = value.Content
	}
	for _, v := range values {
		if v.Kind != yaml.ScalarNode {
			return false
		}
		s.add(snakeCase(key), v.Value)
	}
	return true
}

// snakeCase is how a key reaches a plugin: pollInterval as poll_interval (src/config_format/flb_config_format.c:37).
func snakeCase(key string) string {
	if key == "" || !unicode.IsLower(rune(key[0])) || strings.Contains(key, "_") {
		return strings.ToLower(key)
	}
	var s strings.Builder
	for _, c := range key {
		if unicode.IsUpper(c) {
			s.WriteByte('_')
		}
		s.WriteRune(unicode.ToLower(c))
	}
	return s.String()
}

func eachPair(n *yaml.Node, what string, use func(key string, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return &lineError{line: n.Line, problem: what + " must be a map"}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, err := scalar(n.Content[i], "a key")
		if err == nil {
			err = use(key, n.Content[i+1])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func eachItem(n *yaml.Node, what string, use func(*yaml.Node) error) error {
	if n.Kind != yaml.SequenceNode {
		return &lineError{line: n.Line, problem: what + " must be a list"}
	}
	for _, item := range n.Content {
		if err := use(item); err != nil {
			return err
		}
	}
	return nil
}

// scalar is a value as it is written, whatever YAML takes it for.
func scalar(n *yaml.Node, what string) (string, error) {
	if n.Kind != yaml.ScalarNode {
		return "", &lineError{line: n.Line, problem: what + " must be a plain value"}
	}
	return n.Value, nil
}
