package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"in_office365/test/tenant"
)

// The plugin reads the configuration that Fluent Bit was started with: a key that does not exist ends the start, and what loses records is
// said, once. plugin/config and plugin/pitfalls have the full tables.
func TestFluentBitSaysWhatLosesRecords(t *testing.T) {
	t.Parallel()
	const good = `[SERVICE]
    Flush        1
    storage.path STATE/chunks
[INPUT]
    Name          office365
    Tag           t
    storage.type  filesystem
    tenant_id     TENANT
    client_id     TENANT
    client_secret x
    format        raw
    db            STATE/db
    authentication_endpoint http://127.0.0.1:1
    api_endpoint  http://127.0.0.1:1
[OUTPUT]
    Name            es
    Match           t
    Retry_Limit     no_limits
    Logstash_Format on
    Id_Key          o365_id
[OUTPUT]
    Name               syslog
    Match_Regex        ^t
    Retry_Limit        no_limits
    Mode               tcp
    Syslog_Message_Key message
    Syslog_Maxsize     1M
`
	const goodYAML = `
service:
  flush: 1
  storage.path: STATE/chunks
pipeline:
  inputs:
    - name: office365
      alias: audit
      tag: t
      storage.type: filesystem
      tenant_id: TENANT
      client_id: TENANT
      client_secret: x
      db: STATE/db
      authentication_endpoint: http://127.0.0.1:1
      api_endpoint: http://127.0.0.1:1
  outputs:
    - name: http
      match: t
      retry_limit: no_limits
`
	const loses = "[ warn] [input:office365:office365.0] this configuration loses or repeats records: "
	for _, c := range []struct {
		name, from, to string // what is changed in a good configuration
		want           string // the one line; empty: none
	}{
		{"good", "", "", ""},
		{"good, in YAML", goodYAML, goodYAML, ""},
		{"unknown key", "    format ", "    tenant_ids x\n    format ", "[error] [input:office365:office365.0] cannot start: tenant_ids is not a key of this plugin: did you mean tenant_id?"},
		{"unknown key, in YAML", "      db:", "      poll_intervall: 5m\n      db:",
			"[error] [input:office365:audit] cannot start: poll_intervall is not a key of this plugin: did you mean poll_interval?"},
		{"storage.type", "    storage.type  filesystem\n", "", loses + "the input office365.0 keeps records in memory only, so that those which no output has taken yet " +
			"die with the process: set storage.type filesystem on the input"},
		{"retry_limit", "    Retry_Limit     no_limits\n", "", loses + "the output es.0 gives up after 1 retry and drops records: set retry_limit no_limits"},
		{"no output, in YAML", "match: t", "match: u", "[ warn] [input:office365:audit] this configuration loses or repeats records: " +
			"no output takes the tag t, so that Fluent Bit drops every record: set match t on an output"},
		{"syslog_maxsize", "    Syslog_Maxsize     1M\n", "", loses + "the output syslog.1 cuts records at 2048 bytes: set syslog_maxsize 1M"},
		{"id_key", "    Id_Key          o365_id\n", "", loses + "the output es.0 stores a record that comes again a second time: set id_key o365_id"},
		{"a filter", "[OUTPUT]\n    Name            es", "[FILTER]\n    Name  grep\n    Match *\n    Regex Workload Exchange\n[OUTPUT]\n    Name            es",
			loses + "the filter grep.0 drops every audit record tagged t by regex Workload Exchange: in this format no record has the key Workload: use a key that there is, or format flat"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fluentBitBinary(t)
			dir, file, text := t.TempDir(), "fluent-bit.conf", good
			if strings.HasSuffix(c.name, "YAML") {
				file, text = "fluent-bit.yaml", goodYAML
			}
			if !strings.Contains(text, c.from) {
				t.Fatalf("no %q", c.from)
			}
			text = strings.NewReplacer("STATE", dir, "TENANT", tenant.DefaultID).Replace(strings.Replace(text, c.from, c.to, 1))
			path := filepath.Join(dir, file)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			f := startFluentBit(t, path)
			refused := strings.Contains(c.want, "cannot start")
			until(t, "the start or its end", func() bool {
				return strings.Contains(f.log.String(), "] starting version=") || strings.Contains(f.log.String(), "] cannot start: ")
			})
			if !refused || !endsWithoutAnInput(t) {
				f.terminate()
			} else if f.wait(); f.cmd.ProcessState.ExitCode() == 0 {
				t.Error("Fluent Bit ended well")
			}
			var lines []string
			for line := range strings.Lines(f.log.String()) {
				if strings.Contains(line, "loses or repeats records") || strings.Contains(line, "cannot start") {
					lines = append(lines, strings.TrimSuffix(strings.TrimSpace(line), "\x1b[0m"))
				}
			}
			if c.want == "" && lines != nil || c.want != "" && (len(lines) != 1 || !strings.HasSuffix(lines[0], c.want)) {
				t.Errorf("got %q\nwant %s", lines, c.want)
			}
		})
	}
}

// Where there is no file, as the pipeline is on the command line, the plugin says so at debug and goes on.
func TestFluentBitWithoutAConfigurationFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := stanza("http://127.0.0.1:1", dir, keys{"log_level": "debug", "tenant_ids": "x"})
	args := []string{"-v", "-i", "office365"}
	for key, value := range k {
		args = append(args, "-p", key+"="+value)
	}
	f := startFluentBitBy(t, plugin, append(args, "-o", "null", "-m", "*"))
	until(t, "the start", func() bool { return strings.Contains(f.log.String(), "] starting version=") })
	f.terminate()
	contains(t, f.log.String(), "Fluent Bit's configuration is not looked at for keys that do not exist, and for what loses records "+
		`reason="the command line names no file with the whole configuration: there is -i"`)
	if strings.Contains(f.log.String(), "loses or repeats records") {
		t.Errorf("a warning in\n%s", f.log.String())
	}
}
