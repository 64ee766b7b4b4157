package hostfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// classic reads a file of the classic format (src/config_format/flb_cf_fluentbit.c:399).
func (f *file) classic(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !filepath.IsAbs(path) {
		path = filepath.Join(f.root, path)
	}
	content, err := f.open(path)
	if err != nil {
		return err
	}
	c := &classicFile{file: f}
	for i, line := range strings.Split(string(content), "\n") {
		if err := c.line(strings.TrimSuffix(line, "\r")); err != nil {
			return fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
	}
	return nil
}

type classicFile struct {
	*file
	indent  string   // of the first key
	section *Section // nil: none yet; a group and any section that is not read have one that nobody looks at
	around  *Section // the section around a group
}

func (c *classicFile) line(line string) error {
	const includeWord = "@include "
	switch {
	case line == "" || line[0] == '#':
		return nil
	case len(line) > len(includeWord) && strings.EqualFold(line[:len(includeWord)], includeWord):
		target := line[len(includeWord):]
		if strings.Contains(target, "*") && !filepath.IsAbs(target) {
			target = filepath.Join(c.root, target)
		}
		return include(target, c.classic)
	case line[0] == '@':
		return c.meta(line[1:])
	case line[0] == '[':
		return c.begin(line)
	}
	return c.entry(line)
}

// meta is a command; SET is the only one.
func (c *classicFile) meta(line string) error {
	command, argument, _ := strings.Cut(line, " ")
	if !strings.EqualFold(command, "set") {
		return nil // as Fluent Bit passes over it
	}
	name, value, ok := strings.Cut(strings.TrimSpace(argument), "=")
	if !ok {
		return errors.New("@SET wants name=value")
	}
	return c.set(name, value)
}

func (c *classicFile) begin(line string) error {
	name, _, ok := strings.Cut(line[1:], "]")
	if !ok {
		return errors.New("a section wants a ]")
	}
	switch name = strings.ToLower(name); name { // src/config_format/flb_config_format.c:190
	case service:
		c.section = c.service // of several, all are one
	case inputs, filters, outputs:
		c.section = c.instance(name)
	case "input", "filter", "output":
		c.section = c.instance(name + "s")
	default:
		c.section = &Section{}
	}
	c.around = c.section
	return nil
}

func (c *classicFile) entry(line string) error {
	text := strings.TrimLeft(line, " \t")
	indent := line[:len(line)-len(text)]
	if text == "" {
		return nil
	}
	switch {
	case indent == "":
		return errors.New("a key must be indented")
	case c.indent == "":
		c.indent = indent
		fallthrough
	case indent == c.indent:
		c.section = c.around // a group ends
	case indent != c.indent+c.indent: // that of a group
		return errors.New("the indentation differs from that of the first key")
	}
	if text[0] == '#' {
		return nil
	}
	if c.section == nil {
		return errors.New("a key outside of any section")
	}
	if text[0] == '[' {
		c.section = &Section{}
		return nil
	}
	key, value, ok := strings.Cut(text, " ")
	if value = strings.TrimSpace(value); !ok || value == "" {
		return fmt.Errorf("the key %s has no value", key)
	}
	c.section.add(key, value)
	return nil
}
