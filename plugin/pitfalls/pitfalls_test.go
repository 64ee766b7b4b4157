package pitfalls_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"in_office365/plugin/config"
	"in_office365/plugin/hostfile"
	"in_office365/plugin/pitfalls"
)

// keys are those of a section, "KEY VALUE" each.
type keys []string

// pipeline is a configuration, which is written in either format.
type pipeline struct {
	service keys
	inputs  []keys // one of the plugin is put in front, with the keys of input
	input   keys
	filters []keys
	outputs []keys
}

func (p pipeline) sections() (all []struct {
	kind string
	keys keys
}) {
	add := func(kind string, sections ...keys) {
		for _, k := range sections {
			all = append(all, struct {
				kind string
				keys keys
			}{kind, k})
		}
	}
	add("input", append([]keys{append(keys{"name office365"}, p.input...)}, p.inputs...)...)
	add("filter", p.filters...)
	add("output", p.outputs...)
	return all
}

func (p pipeline) classic() string {
	var s strings.Builder
	write := func(kind string, k keys) {
		fmt.Fprintf(&s, "[%s]\n    %s\n", strings.ToUpper(kind), strings.Join(k, "\n    "))
	}
	write("service", append(keys{"flush 1"}, p.service...))
	for _, section := range p.sections() {
		write(section.kind, section.keys)
	}
	return s.String()
}

func (p pipeline) yaml() string {
	var s strings.Builder
	s.WriteString("service:\n  flush: 1\n")
	for _, k := range p.service {
		key, value, _ := strings.Cut(k, " ")
		fmt.Fprintf(&s, "  %s: %q\n", key, value)
	}
	s.WriteString("pipeline:\n")
	kind := ""
	for _, section := range p.sections() {
		if section.kind != kind {
			kind = section.kind
			fmt.Fprintf(&s, "  %ss:\n", kind)
		}
		values, order := map[string][]string{}, keys{}
		for _, k := range section.keys {
			key, value, _ := strings.Cut(k, " ")
			if values[key] == nil {
				order = append(order, key)
			}
			values[key] = append(values[key], fmt.Sprintf("%q", value))
		}
		for i, key := range order {
			value := values[key][0]
			if len(values[key]) > 1 {
				value = "[" + strings.Join(values[key], ", ") + "]"
			}
			fmt.Fprintf(&s, "    %s %s: %s\n", []string{"-", " "}[min(i, 1)], key, value)
		}
	}
	return s.String()
}

// good loses nothing.
func good() pipeline {
	return pipeline{
		service: keys{"storage.path /var/lib/fluent-bit/chunks"},
		input: keys{"tag t", "storage.type filesystem", "tenant_id 11111111-2222-3333-4444-555555555555",
			"client_id aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "client_secret x"},
		outputs: []keys{
			{"name http", "match t", "retry_limit no_limits"},
			{"name es", "match *", "retry_limit false", "logstash_format on", "id_key o365_id"},
			{"name stdout", "match t*"},
		},
	}
}

func find(t *testing.T, file, content string) (found []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := hostfile.ReadPipeline(path)
	if err != nil {
		t.Fatalf("%v in\n%s", err, content)
	}
	cfg, err := config.Parse(p.Inputs[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range pitfalls.Find(p, p.Inputs[0], cfg) {
		found = append(found, f.String())
	}
	return found
}

func output(k ...string) func(*pipeline) {
	return func(p *pipeline) { p.outputs = append(p.outputs, k) }
}

func filter(k ...string) func(*pipeline) {
	return func(p *pipeline) { p.filters = append(p.filters, k) }
}

// input changes keys of the input; one without a value is removed.
func input(k ...string) func(*pipeline) {
	return func(p *pipeline) { p.input = replace(p.input, k) }
}

func service(k ...string) func(*pipeline) {
	return func(p *pipeline) { p.service = replace(p.service, k) }
}

func replace(in, by keys) keys {
	for _, k := range by {
		key, value, _ := strings.Cut(k, " ")
		in = slices.DeleteFunc(in, func(old string) bool { return strings.HasPrefix(old, key+" ") })
		if value != "" {
			in = append(in, k)
		}
	}
	return in
}

func only(k ...string) func(*pipeline) {
	return func(p *pipeline) { p.outputs = []keys{k} }
}

const (
	inMemory   = "keeps records in memory only, so that those which no output has taken yet die with the process: set storage.type filesystem on the input"
	noRetry    = "retry_limit no_limits"
	unlimited  = "set retry_limit no_limits"
	everRecord = "drops every audit record tagged t by "
)

// Each configuration is the good one but for one thing, which is found, in both formats; or for something that is none.
func TestFind(t *testing.T) {
	t.Parallel()
	type change = func(*pipeline)
	for _, c := range []struct {
		name    string
		changes []change
		want    []string
	}{
		{"good", nil, nil},

		{"storage.type missing", []change{input("storage.type")}, []string{"the input office365.0 " + inMemory}},
		{"storage.type memory, and an alias", []change{input("storage.type Memory", "alias audit")}, []string{"the input audit " + inMemory}},
		{"storage.type and storage.path missing", []change{input("storage.type"), service("storage.path")},
			[]string{"the input office365.0 " + inMemory + ", and storage.path in the service section"}},
		{"storage.type memrb", []change{input("storage.type memrb")},
			[]string{"the input office365.0 has storage.type memrb, so that the oldest records are dropped when it is full: set storage.type filesystem on the input"}},
		{"storage.path missing", []change{service("storage.path")},
			[]string{"Fluent Bit does not start with storage.type filesystem on the input office365.0 and no storage.path: set storage.path in the service section"}},
		{"storage.type of the service, inherited", []change{input("storage.type"), service("storage.inherit on", "storage.type filesystem")}, nil},
		{"storage.type of the service, not inherited", []change{input("storage.type"), service("storage.type filesystem")}, []string{"the input office365.0 " + inMemory}},

		{"retry_limit missing", []change{output("name forward", "match t")}, []string{"the output forward.3 gives up after 1 retry and drops records: " + unlimited}},
		{"retry_limit a number", []change{output("name forward", "match t", "retry_limit 5")}, []string{"the output forward.3 gives up after 5 retries and drops records: " + unlimited}},
		{"retry_limit no number", []change{output("name forward", "match t", "retry_limit -1")}, []string{"the output forward.3 gives up after 1 retry and drops records: " + unlimited}},
		{"retry_limit no_retries", []change{output("name forward", "alias siem", "match_regex ^t$", "retry_limit no_retries")},
			[]string{"the output siem gives up without a retry and drops records: " + unlimited}},
		{"retry_limit missing where nobody tries again", []change{output("name null", "match t")}, nil},
		{"retry_limit missing on another's output", []change{output("name forward", "match cpu*")}, nil},
		{"retry_limit missing where it cannot be told", []change{output("name forward", `match_regex \p{Alnum}`)}, nil},

		{"storage.total_limit_size", []change{output("name forward", "match t", noRetry, "storage.total_limit_size 1G")},
			[]string{"the output forward.3 drops its oldest records when more than storage.total_limit_size 1G wait for it: remove it, and leave room on the volume of storage.path"}},
		{"storage.total_limit_size off", []change{output("name forward", "match t", noRetry, "storage.total_limit_size off")}, nil},

		{"no output", []change{only("name http", "match cpu")}, []string{"no output takes the tag t, so that Fluent Bit drops every record: set match t on an output"}},
		{"no output for the default tag", []change{input("tag"), only("name http", "match t", noRetry)},
			[]string{"no output takes the tag office365.0, so that Fluent Bit drops every record: set match office365.0 on an output"}},
		{"an output that may take it", []change{only("name http", `match_regex \p{Alnum}`)}, nil},
		{"an output without match, with storage.path", []change{only("name http", noRetry)}, []string{"no output takes the tag t, so that Fluent Bit drops every record: set match t on an output"}},
		{"the only output, without match, of the only input, in memory", []change{input("storage.type"), service("storage.path"), only("name http", noRetry)},
			[]string{"the input office365.0 " + inMemory + ", and storage.path in the service section"}},

		{"id_key missing", []change{output("name opensearch", "match t", noRetry, "logstash_format on")},
			[]string{"the output opensearch.3 stores a record that comes again a second time: set id_key o365_id"}},
		{"id_key missing, by another name of the output", []change{input("separator -"), output("name elasticsearch", "match t", noRetry)},
			[]string{"the output es.3 stores a record that comes again a second time: set id_key o365-id"}},
		{"id_key missing, but an id is made", []change{output("name es", "match t", noRetry, "generate_id on")}, nil},
		{"id_key, and one index for all", []change{output("name es", "match t", noRetry, "index audit", "id_key o365_id")},
			[]string{"the output es.3 sends a notice, which has no id, under the id of the record before it, so that the server refuses it: set logstash_format on"}},
		{"id_key, one index for all, and no notices", []change{input("notices off"), output("name es", "match t", noRetry, "index audit", "id_key o365_id")}, nil},
		{"id_key, and an index by record", []change{output("name opensearch", "match t", noRetry, "index $o365_content_type", "id_key o365_id")}, nil},

		{"syslog", []change{input("raw_key message"),
			output("name syslog", "match t", noRetry, "mode tcp", "syslog_message_key message", "syslog_maxsize 1M")}, nil},
		{"syslog_maxsize missing", []change{input("raw_key message"), output("name syslog", "match t", noRetry, "mode tls", "syslog_message_key message")},
			[]string{"the output syslog.3 cuts records at 2048 bytes: set syslog_maxsize 1M"}},
		{"syslog_maxsize missing, RFC 3164", []change{input("format fortisiem"),
			output("name syslog", "match t", noRetry, "mode tcp", "syslog_message_key message", "syslog_format rfc3164")},
			[]string{"the output syslog.3 cuts records at 1024 bytes: set syslog_maxsize 1M"}},
		{"syslog_maxsize too small", []change{input("format raw"),
			output("name syslog", "match t", noRetry, "mode tcp", "syslog_message_key message", "syslog_maxsize 8k")},
			[]string{"the output syslog.3 cuts records at 8000 bytes: set syslog_maxsize 1M"}},
		{"syslog_maxsize missing for one key", []change{output("name syslog", "match t", noRetry, "mode tcp", "syslog_message_key Operation")}, nil},
		{"syslog by UDP", []change{input("format raw"), output("name syslog", "match t", noRetry, "syslog_message_key message", "syslog_maxsize 1M")},
			[]string{"the output syslog.3 sends by UDP, where what is lost is lost in silence: set mode tcp or mode tls"}},
		{"syslog_message_key missing", []change{output("name syslog", "match t", noRetry, "mode tcp")},
			[]string{"the output syslog.3 sends empty messages without syslog_message_key: set syslog_message_key message, and raw_key message on the input"}},
		{"raw_key missing", []change{output("name syslog", "match t", noRetry, "mode tcp", "syslog_message_key message")},
			[]string{"the output syslog.3 sends empty messages, as records have no key message: set raw_key message on the input"}},
		{"raw_key missing, but a filter may make it", []change{filter("name lua", "match t"),
			output("name syslog", "match t", noRetry, "mode tcp", "syslog_message_key message", "syslog_maxsize 1M")}, nil},

		{"grep that leaves some", []change{filter("name grep", "match t", "regex Workload Exchange"), filter("name grep", "match t", "exclude Operation ^FileAccessed$")}, nil},
		{"grep that excludes what every record has", []change{filter("name grep", "match t", "exclude Workload Exchange", "exclude o365_tenant .*")},
			[]string{"the filter grep.0 " + everRecord + "exclude o365_tenant .*: it matches them all: remove the rule"}},
		{"grep that excludes another's", []change{filter("name grep", "match cpu", "exclude o365_tenant .*")}, nil},
		{"grep that first keeps some", []change{filter("name grep", "match t", "regex Workload Exchange", "exclude o365_tenant .*")}, nil},
		{"grep for a number", []change{filter("name grep", "match *", "regex RecordType ^15$")},
			[]string{"the filter grep.0 " + everRecord + "regex RecordType ^15$: grep looks at texts only, and RecordType is none: use o365_record_type"}},
		{"grep for a key with a dot", []change{input("separator ."), only("name http", "match t", noRetry), filter("name grep", "match t", "regex Actor.ID a@b")},
			[]string{"the filter grep.0 " + everRecord + "regex Actor.ID a@b: Fluent Bit looks for ID inside of Actor, and records are flat: set separator _ on the input, and use it in the key"}},
		{"grep for a key that the format has not", []change{input("format raw"), filter("name grep", "match t", "regex $Workload Exchange")},
			[]string{"the filter grep.0 " + everRecord + "regex $Workload Exchange: in this format no record has the key Workload: use a key that there is, or format flat"}},
		{"grep for a key that the format has", []change{input("format raw"), filter("name grep", "match t", "regex o365_category mailbox", "regex message x")}, nil},
		{"grep for a key that a filter may make", []change{input("format raw"), filter("name parser", "match t"), filter("name grep", "match t", "regex Workload Exchange")}, nil},
		{"grep for one of two, none of which can be", []change{filter("name grep", "match t", "logical_op or", "regex RecordType 8", "regex UserType 0")},
			[]string{"the filter grep.0 " + everRecord + "regex UserType 0: grep looks at texts only, and UserType is none: use o365_user_type"}},
		{"grep for one of two, one of which can be", []change{filter("name grep", "match t", "logical_op or", "regex RecordType 8", "regex Workload x")}, nil},
		{"grep for two, one of which cannot be", []change{filter("name grep", "match t", "logical_op AND", "regex Workload x", "regex Version 1")},
			[]string{"the filter grep.0 " + everRecord + "regex Version 1: grep looks at texts only, and Version is none: use a key that is a text"}},
		{"grep that excludes one of two, one of which all are", []change{filter("name grep", "match t", "logical_op or", "exclude Workload x", "exclude Id .")},
			[]string{"the filter grep.0 " + everRecord + "exclude Id .: it matches them all: remove the rule"}},
		{"grep that excludes two, one of which may not be", []change{filter("name grep", "match t", "logical_op and", "exclude Id .", "exclude Workload x")}, nil},

		{"throttle", []change{filter("name throttle", "match t", "interval 1m")},
			[]string{"the filter throttle.0 drops what exceeds a rate of 1 in 1m, of records tagged t: remove the filter, or let it match another tag"}},
		{"log_to_metrics", []change{filter("name log_to_metrics", "match t")}, nil},
		{"log_to_metrics that discards", []change{filter("name log_to_metrics", "match t", "discard_logs true")},
			[]string{"the filter log_to_metrics.0 drops every record tagged t: set discard_logs off"}},

		{"rewrite_tag", []change{filter("name rewrite_tag", "match t", "rule $Workload ^(.+)$ t.$1 false", "emitter_storage.type filesystem")}, nil},
		{"rewrite_tag in memory", []change{filter("name rewrite_tag", "match t", "rule $Workload ^(.+)$ t.$1 false")},
			[]string{"the filter rewrite_tag.0 keeps the records that it gives a tag in memory only, so that those which no output has taken yet die with the process: " +
				"set emitter_storage.type filesystem on the filter"}},
		{"rewrite_tag to a tag that nobody takes", []change{only("name http", "match t", noRetry),
			filter("name rewrite_tag", "match t", "rule $Workload ^(.+)$ t.$1 false", "emitter_storage.type filesystem")},
			[]string{"the filter rewrite_tag.0 gives records the tag t.*, which no output takes, so that Fluent Bit drops them: set match t.* on an output"}},
		{"rewrite_tag of copies to a tag that nobody takes", []change{only("name http", "match t", noRetry),
			filter("name rewrite_tag", "match t", "rule $Workload ^(.+)$ t.$1 true", "emitter_storage.type filesystem")}, nil},
		{"rewrite_tag, and what keeps its tag is taken by nobody", []change{only("name http", "match t.*", noRetry),
			filter("name rewrite_tag", "match t", "rule $Workload ^(.+)$ t.$1 false", "emitter_storage.type filesystem")},
			[]string{"no output takes the tag t, so that Fluent Bit drops the records which no filter gives another, such as notices: set match t on an output"}},
		{"rewrite_tag of all", []change{only("name http", "match all.t", noRetry),
			filter("name rewrite_tag", "match t", "rule $o365_tenant .* all.$TAG false", "emitter_storage.type filesystem")}, nil},
		{"rewrite_tag to an output that gives up", []change{only("name http", "match t.Exchange"), output("name null", "match *"),
			filter("name rewrite_tag", "match t", "rule $Workload ^(.+)$ t.$1 false", "emitter_storage.type filesystem")},
			[]string{"the output http.0 gives up after 1 retry and drops records: " + unlimited}},

		{"several, in the order of the way", []change{input("storage.type"), filter("name throttle", "match t", "rate 5"), only("name es", "match t")}, []string{
			"the input office365.0 " + inMemory,
			"the filter throttle.0 drops what exceeds a rate of 5 in 1s, of records tagged t: remove the filter, or let it match another tag",
			"the output es.0 gives up after 1 retry and drops records: " + unlimited,
			"the output es.0 stores a record that comes again a second time: set id_key o365_id",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := good()
			for _, change := range c.changes {
				change(&p)
			}
			for file, content := range map[string]string{"a.conf": p.classic(), "a.yaml": p.yaml()} {
				if got := find(t, file, content); !slices.Equal(got, c.want) {
					t.Errorf("%s: found\n%s\nwant\n%s\nin\n%s", file, strings.Join(got, "\n"), strings.Join(c.want, "\n"), content)
				}
			}
		})
	}
}

// What only YAML can say.
func TestProcessorsAndRoutes(t *testing.T) {
	t.Parallel()
	p := good()
	p.outputs = []keys{{"name http", "match cpu"}}
	p.filters = []keys{{"name grep", "match t", "regex RecordType 15"}}
	const end = "    - name: \"office365\"\n"
	content := p.yaml()
	if !strings.Contains(content, end) {
		t.Fatal(content)
	}
	routes := "      routes:\n        logs:\n          - name: all\n            to: {outputs: [{name: http}]}\n"
	processors := "      processors:\n        logs:\n          - name: content_modifier\n"
	if got := find(t, "a.yaml", strings.Replace(content, end, end+routes+processors, 1)); got != nil {
		t.Errorf("routes may name the output, and processors make RecordType a text: found %q", got)
	}
}

// The configurations that users copy lose nothing, with everything switched on that they offer.
func TestConfigurationsInConf(t *testing.T) {
	for name, value := range map[string]string{
		"TENANT_ID": "11111111-2222-3333-4444-555555555555", "CLIENT_ID": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "CLIENT_SECRET": "x", "STATE": t.TempDir(),
	} {
		t.Setenv("OFFICE365_"+name, value)
	}
	for file, replacer := range map[string]*strings.Replacer{
		"office365.yaml": strings.NewReplacer("  # - ", "  - ", "# raw_key:", "raw_key:"),
		"office365.conf": strings.NewReplacer("# @INCLUDE", "@INCLUDE", "# raw_key", "raw_key"),
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS("../../conf")); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, file)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for what, text := range map[string]string{"as it stands": string(content), "with everything": replacer.Replace(string(content))} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			p, err := hostfile.ReadPipeline(path)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := config.Parse(p.Inputs[0])
			if err != nil {
				t.Fatal(err)
			}
			if found := pitfalls.Find(p, p.Inputs[0], cfg); len(found) > 0 {
				t.Errorf("%s, %s: %q", file, what, found)
			}
			outputs := map[string]bool{}
			for _, o := range p.Outputs {
				outputs[o.Plugin] = true
			}
			if what == "with everything" && len(outputs) != 5 {
				t.Errorf("%s: outputs %q", file, slices.Sorted(maps.Keys(outputs)))
			}
		}
	}
}
