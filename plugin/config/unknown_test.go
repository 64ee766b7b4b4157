package config_test

import (
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"in_office365/plugin/config"
)

// written is a stanza whose keys are known.
type written struct{ stanza }

func (w written) PluginKeys() []string { return slices.Sorted(maps.Keys(w.stanza)) }

func TestUnknownKeys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		keys stanza
		want string
	}{
		{"instead of a required one", stanza{"tenant_id": "", "tenant_ids": tenant}, "tenant_ids is not a key of this plugin: did you mean tenant_id?"},
		{"letters left out", stanza{"polinterval": "5m"}, "polinterval is not a key of this plugin: did you mean poll_interval?"},
		{"nothing like it", stanza{"mem_limit": "5M"}, "mem_limit is not a key of this plugin: remove it"},
		{"short", stanza{"id": "x"}, "id is not a key of this plugin: remove it"},
		{"besides a wrong value", stanza{"cloud": "gcchigh", "dbb": "x"}, "dbb is not a key of this plugin: did you mean db?"},
		{"of another credential", stanza{"client_certificate_password": "x"}, "client_certificate_password is set without client_certificate_file: it is the password of a PKCS#12 file"},
		{"none", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			keys := minimal(c.keys)
			maps.DeleteFunc(keys, func(_, value string) bool { return value == "" })
			_, err := config.Parse(written{keys})
			if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// Where nobody can tell which keys were written, they go unnoticed.
func TestUnknownKeysThatNobodyLists(t *testing.T) {
	t.Parallel()
	if _, err := config.Parse(minimal(stanza{"tenant_ids": "x"})); err != nil {
		t.Error(err)
	}
}

// Every key that the README documents is one.
func TestDocumentedKeysExist(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## Keys\n")
	section, _, _ = strings.Cut(section, "\n## ")
	cells := regexp.MustCompile("(?m)^\\| (`[a-z_]+`(?:, `[a-z_]+`)*) \\|").FindAllStringSubmatch(section, -1)
	if len(cells) < 40 {
		t.Fatalf("%d rows", len(cells))
	}
	for _, cell := range cells {
		for _, key := range regexp.MustCompile("[a-z_]+").FindAllString(cell[1], -1) {
			_, err := config.Parse(written{minimal(stanza{key: "?"})})
			if unknown, ok := errors.AsType[*config.UnknownKeyError](err); ok {
				t.Errorf("%s: %v", key, unknown)
			}
		}
	}
}
