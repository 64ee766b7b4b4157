package hostfile_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"in_office365/plugin/hostfile"
)

// The same pipeline in both formats.
var pipelines = map[string]string{
	"a.yaml": `
env:
  ROOT: /var/lib
service:
  flush: 1
  storage.path: ${ROOT}/chunks
  telemetry:
    metrics: {logs: on}
pipeline:
  inputs:
    - name: cpu
      tag: cpu
    - name: office365
      alias: audit
      storage.type: filesystem
  filters:
    - name: Grep
      match: office365.*
      regex:
        - Workload Exchange
        - UserId ^a
      exclude: UserId b$
  outputs:
    - name: stdout
      match: cpu
    - name: http://127.0.0.1:8080
      alias: siem
      match_regex: ^office365
      Retry_Limit: no_limits
    - name: elasticsearch
      match: "*"
`,
	"a.conf": `@SET ROOT=/var/lib
[SERVICE]
    flush 1
[SERVICE]
    Storage.Path ${ROOT}/chunks
[INPUT]
    Name cpu
    Tag  cpu
[INPUT]
    Name         office365
    Alias        audit
    storage.type filesystem
[FILTER]
    Name    Grep
    Match   office365.*
    Regex   Workload Exchange
    Regex   UserId ^a
    Exclude UserId b$
[OUTPUT]
    Name  stdout
    Match cpu
[OUTPUT]
    Name        http://127.0.0.1:8080
    Alias       siem
    Match_Regex ^office365
    Retry_Limit no_limits
[OUTPUT]
    Name  elasticsearch
    Match *
`,
}

func TestPipeline(t *testing.T) {
	for name := range pipelines {
		t.Run(name, func(t *testing.T) {
			p, err := hostfile.ReadPipeline(write(t, pipelines, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Service.Get("storage.path"); got != "/var/lib/chunks" {
				t.Errorf("storage.path %q", got)
			}
			var names []string
			for _, s := range slices.Concat(p.Inputs, p.Filters, p.Outputs) {
				names = append(names, s.Name+" "+s.Label())
			}
			if want := []string{"cpu.0 cpu.0", "office365.1 audit", "grep.0 grep.0", "stdout.0 stdout.0", "http.1 siem", "es.2 es.2"}; !slices.Equal(names, want) {
				t.Errorf("instances and what they are called: %q", names)
			}
			if in := p.Input("audit"); in == nil || in.Name != "office365.1" || in.Tag() != "office365.1" || p.Input("cpu.0") != p.Inputs[0] || p.Input("office365.0") != nil {
				t.Errorf("the input audit is %v", in)
			}
			want := []hostfile.Property{{"regex", "Workload Exchange"}, {"regex", "UserId ^a"}, {"exclude", "UserId b$"}}
			if got := p.Filters[0].Properties[2:]; !slices.Equal(got, want) {
				t.Errorf("rules in their order: %q", got)
			}
			if got := p.Outputs[1].Get("RETRY_LIMIT"); got != "no_limits" {
				t.Errorf("retry_limit %q", got)
			}
		})
	}
}

func TestWhatOnlyYAMLCanSay(t *testing.T) {
	p, err := hostfile.ReadPipeline(write(t, map[string]string{"a.yaml": `
pipeline:
  inputs:
    - name: office365
      processors:
        logs:
          - name: content_modifier
    - name: office365
      routes:
        logs:
          - name: all
            to: {outputs: [{name: stdout}]}
  outputs:
    - name: stdout
      cloud: {id: a}
`}, "a.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if one, two := p.Inputs[0], p.Inputs[1]; !one.Processors || one.Routes || two.Processors || !two.Routes {
		t.Errorf("processors %v, %v, routes %v, %v", one.Processors, two.Processors, one.Routes, two.Routes)
	}
}

// Of several values Fluent Bit shows a plugin the first, and takes the last for itself.
func TestKeysThatAreWrittenTwice(t *testing.T) {
	p, err := hostfile.ReadPipeline(write(t, map[string]string{
		"a.conf": "[INPUT]\n Name office365\n tag a\n tag b\n db a\n db b\n[OUTPUT]\n Name http\n match a\n match b\n",
	}, "a.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if in := p.Inputs[0]; in.Get("db") != "a" || in.Tag() != "b" || p.Outputs[0].Get("match") != "b" {
		t.Errorf("db %s, tag %s, match %s", in.Get("db"), in.Tag(), p.Outputs[0].Get("match"))
	}
}

func TestKeysOfThePlugin(t *testing.T) {
	in := &hostfile.Input{}
	for _, key := range []string{"name", "Tag", "alias", "mem_buf_limit", "storage.type", "thread.ring_buffer.capacity", "rate_gate.max_bytes", "rate_limit", "tenant_ids", "db"} {
		in.Set(key, "x")
	}
	if got := in.PluginKeys(); !slices.Equal(got, []string{"db", "rate_limit", "tenant_ids"}) {
		t.Errorf("got %q", got)
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, tag string
		want         bool
	}{
		{"a", "a", true},
		{"a", "ab", false},
		{"ab", "a", false},
		{"A", "a", false},
		{"", "a", false},
		{"*", "a", true},
		{"*", "", true},
		{"a*", "a", true},
		{"a*", "ab", true},
		{"a*", "ba", false},
		{"*a", "aba", true},
		{"*a", "ab", false},
		{"a*c", "abcbc", true},
		{"a*b*c", "abbc", true},
		{"a*b*c", "acb", false},
		{"a**c", "ac", true},
		{"office365.*", "office365.0", true},
		{"office365.*", "office365", false},
	} {
		if got := hostfile.Matches(c.pattern, c.tag); got != c.want {
			t.Errorf("%q, %q: %v", c.pattern, c.tag, got)
		}
	}
}

func TestTakes(t *testing.T) {
	const tag = "office365.0"
	for _, c := range []struct {
		match, expression string
		takes, known      bool
	}{
		{"office365.*", "", true, true},
		{"", "", false, true},
		{"cpu", "", false, true},
		{"cpu", "^office365", true, true},
		{"", `office365\.\d`, true, true},
		{"", "(cpu|office)", true, true},
		{"", "365", false, true}, // an expression matches from the beginning
		{"", "x*", false, true},  // and at least one byte
		{"", "[^c]", true, true},
		{"", "(?i)OFFICE", false, false},
		{"", "/OFFICE/i", false, false},
		{"", "[a-z&&[^b]]", false, false},
		{"", `\h+`, false, false},
		{"office365.0", `\h+`, true, true},
	} {
		s := &hostfile.Section{}
		s.Set("match", c.match)
		s.Set("match_regex", c.expression)
		if takes, known := s.Takes(tag); takes != c.takes || known != c.known {
			t.Errorf("match %q, match_regex %q: %v, %v", c.match, c.expression, takes, known)
		}
	}
}

// What Fluent Bit's command line says of the configuration is told by a process that was started with it: this one, again.
func TestOfProcess(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.conf")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		want string // of the path; empty: says
		says string
	}{
		{"-c FILE", path, ""},
		{"-cFILE", path, ""},
		{"--config FILE", path, ""},
		{"--config=FILE", path, ""},
		{"--conf=FILE", path, ""},
		{"-vYcFILE", path, ""},
		{"-e -c -c FILE", path, ""},
		{"-c x -R parsers.conf --trace-output stdout -c FILE rest", path, ""},
		{"-w DIR -c a.conf", "a.conf", ""},
		{"", "", "there is no -c"},
		{"-v -- -c FILE", "", "there is no -c"},
		{"-i office365 -o stdout", "", "there is -i"},
		{"-c FILE -o stdout", "", "there is -o"},
		{"-c FILE --filter=grep", "", "there is -F"},
		{"-c FILE --storage_path=x", "", "there is -b"},
		{"-c FILE --nothing", "", "--nothing is no option"},
		{"-c DIR/none", "", "no such file"},
		{"-c DIR", "", "is no regular file"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(strings.NewReplacer("FILE", path, "DIR", dir).Replace(c.args))
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Args, cmd.Dir = append(cmd.Args, args...), dir
			cmd.Env = append(os.Environ(), tellOfProcess+"=1")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatal(err)
			}
			if got := string(out); c.says == "" && got != c.want || !strings.Contains(got, c.says) {
				t.Errorf("got %s, want %s%s", got, c.want, c.says)
			}
		})
	}
}

// tellOfProcess makes the process say what OfProcess says.
const tellOfProcess = "HOSTFILE_TEST_OF_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(tellOfProcess) == "" {
		os.Exit(m.Run())
	}
	path, err := hostfile.OfProcess()
	if err != nil {
		path = err.Error()
	}
	fmt.Print(path)
}
