package hostfile_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"in_office365/plugin/hostfile"
)

// write makes files under a new folder and returns the path of the first.
func write(t *testing.T, files map[string]string, first string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(content, "DIR", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, first)
}

// keys are those of the first input office365.
func keys(t *testing.T, path string) map[string]string {
	t.Helper()
	inputs, err := hostfile.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(inputs, func(in *hostfile.Input) bool { return in.Plugin == "office365" })
	if i < 0 {
		t.Fatal("no input office365")
	}
	got := map[string]string{}
	for _, key := range inputs[i].Keys() {
		got[key] = inputs[i].Get(key)
	}
	delete(got, "name")
	return got
}

func TestKeysAsFluentBitReadsThem(t *testing.T) {
	t.Setenv("OFFICE365_TEST", "from the environment")
	t.Setenv("OFFICE365_EMPTY", "")
	for _, c := range []struct {
		name, file string
		files      map[string]string
		want       map[string]string
	}{
		{"YAML: names of keys, and values as they are written", "a.yaml", map[string]string{"a.yaml": `
pipeline:
  inputs:
    - Name: Office365
      tenant_ID: a
      pollInterval: 010
      Settle: on
      db: "quoted # no comment"
      content_types:
        - first
        - second
      processors:
        logs:
          - name: content_modifier
`}, map[string]string{"tenant_id": "a", "poll_interval": "010", "settle": "on", "db": "quoted # no comment", "content_types": "first"}},

		{"YAML: includes, relative to their file, and env anywhere", "a.yml", map[string]string{
			"a.yml":         "includes:\n  - sub/b.yaml\n  - none*.yaml\nservice:\n  flush: 1\n",
			"sub/b.yaml":    "includes: [env*.yaml]\npipeline:\n  inputs:\n    - name: office365\n      db: ${DIRECTORY}/x\n      tag: ${LISTED}\n",
			"sub/env.yaml":  "env:\n  DIRECTORY: /var\n  OFFICE365_TEST: x\n",
			"sub/env2.yaml": "env:\n  - name: LISTED\n    value: y\n",
		}, map[string]string{"db": "/var/x", "tag": "y"}},

		{"YAML: variables", "a.yaml", map[string]string{"secret": "s3\n", "a.yaml": `
env:
  FILE: file://DIR/secret
  SHADOWED: ours
pipeline:
  inputs:
    - name: ${NOTHING:-office365}
      a: <${FILE}|${OFFICE365_TEST}>
      b: ${OFFICE365_EMPTY:-fallback}
      c: ${OFFICE365_EMPTY}
      d: ${open
      e: $HOME
`}, map[string]string{"a": "<s3|from the environment>", "b": "fallback", "c": "", "d": "${open", "e": "$HOME"}},

		{"classic", "a.conf", map[string]string{
			"a.conf": "# comment\n@SET DIRECTORY=/var lib\n[SERVICE]\n    Flush 1\n\n[INPUT]\n    Name   Office365\n    # comment\n    Tenant_ID  a b \n    db ${DIRECTORY}/x\r\n" +
				"    DB second\n    [GROUP]\n        db third\n    tag ${OFFICE365_TEST}\n@INCLUDE sub/b.conf\n[OUTPUT]\n    Name stdout\n    db fourth\n",
			"sub/b.conf": "[INPUT]\n\tName dummy\n",
		}, map[string]string{"tenant_id": "a b", "db": "/var lib/x", "tag": "from the environment"}},

		{"classic: an include by a pattern", "a.conf", map[string]string{"a.conf": "@include sub/*.conf\n", "sub/b.conf": "[input]\n  name office365\n  db x\n"},
			map[string]string{"db": "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := keys(t, write(t, c.files, c.file)); !maps.Equal(got, c.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestInputsAreNamedAsInFluentBitsLog(t *testing.T) {
	path := write(t, map[string]string{"a.conf": "[INPUT]\n Name cpu\n[INPUT]\n Name office365\n db ${NOBODY_SETS_THIS}\n[FILTER]\n Name grep\n[INPUT]\n Name office365\n"}, "a.conf")
	inputs, err := hostfile.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, in := range inputs {
		names = append(names, in.Name)
	}
	if !slices.Equal(names, []string{"cpu.0", "office365.1", "office365.2"}) || !slices.Equal(inputs[1].Unset, []string{"NOBODY_SETS_THIS"}) || inputs[2].Unset != nil {
		t.Errorf("names %q, unset %q", names, inputs[1].Unset)
	}
}

func TestWhatFluentBitRefusesIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		says  string
	}{
		"no YAML":                   {map[string]string{"a.yaml": "pipeline: [\n"}, "a.yaml"},
		"a map as value":            {map[string]string{"a.yaml": "pipeline:\n  inputs:\n    - name: office365\n      db:\n        a: b\n"}, "a.yaml:5: db must be a plain value"},
		"inputs as a map":           {map[string]string{"a.yaml": "pipeline:\n  inputs:\n    name: office365\n"}, "a.yaml:3: inputs must be a list"},
		"an alias":                  {map[string]string{"a.yaml": "pipeline:\n  inputs:\n    - name: &n office365\n      db: *n\n"}, "a.yaml:4:"},
		"a missing include":         {map[string]string{"a.yaml": "includes: [none.yaml]\n"}, "none.yaml"},
		"a pattern without a match": {map[string]string{"a.yaml": "includes: [DIR/none*.yaml]\n"}, "no file matches"},
		"an include of itself":      {map[string]string{"a.yaml": "includes: [a.yaml]\n"}, "included twice"},
		"an input without name":     {map[string]string{"a.yaml": "pipeline:\n  inputs:\n    - db: x\n"}, "no name"},
		"an unreadable variable":    {map[string]string{"a.yaml": "env:\n  X: file:///no/such/file\n"}, "variable X"},
		"classic: no value":         {map[string]string{"a.conf": "[INPUT]\n    Name\n"}, "a.conf:2: the key Name has no value"},
		"classic: no section":       {map[string]string{"a.conf": "    Name office365\n"}, "a.conf:1: a key outside"},
		"classic: no indent":        {map[string]string{"a.conf": "[INPUT]\nName office365\n"}, "a.conf:2: a key must be indented"},
		"classic: uneven":           {map[string]string{"a.conf": "[INPUT]\n    Name office365\n   db x\n"}, "a.conf:3: the indentation"},
		"classic: header":           {map[string]string{"a.conf": "[INPUT\n"}, "a.conf:1: a section wants a ]"},
		"classic: pattern":          {map[string]string{"a.conf": "@INCLUDE none*.conf\n"}, "no file matches"},
	} {
		t.Run(name, func(t *testing.T) {
			first := slices.Sorted(maps.Keys(c.files))[0]
			if _, err := hostfile.Read(write(t, c.files, first)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// The configurations that users copy are read as they are.
func TestConfigurationsInConf(t *testing.T) {
	t.Setenv("OFFICE365_STATE", "/var/lib/fluent-bit")
	for _, file := range []string{"office365.yaml", "office365.conf"} {
		if got := keys(t, filepath.Join("../../conf", file)); got["db"] != "/var/lib/fluent-bit/office365.db" || got["tag"] != "OFFICE365_EVENT_DATA" {
			t.Errorf("%s: %q", file, got)
		}
	}
}
