package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"in_office365/plugin/config"
	"in_office365/plugin/hostfile"
	"in_office365/test/tenant"
)

// What office365-check reads out of a configuration is what Fluent Bit shows the plugin, which logs it.
func TestConfigurationIsReadAsFluentBitReadsIt(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"fluent-bit.yaml": {
			"fluent-bit.yaml": `
includes:
  - sub/input.yaml
  - sub/env*.yaml
env:
  POLL: 7m
  OFFICE365_SHADOWED: Audit.Exchange
service:
  flush: 1
`,
			"sub/env1.yaml": "env:\n  - name: DIRECTORY\n    value: STATE\n  - SETTLE: 9s\n",
			"sub/input.yaml": `
pipeline:
  inputs:
    - name: dummy
    - Name: Office365
      tag: records
      tenantId: TENANT
      CLIENT_ID: TENANT
      client_secret: "a # b"
      db: ${DIRECTORY}/office365.db
      pollInterval: ${POLL}
      settle: ${SETTLE}
      workers: 010
      content_types:
        - ${OFFICE365_SHADOWED}
        - Audit.General
      event_tag: ${OFFICE365_NOBODY_SETS_THIS:-fallback}
      raw_key: <${OFFICE365_FROM_OUTSIDE}>
      separator: ${OFFICE365_NOBODY_SETS_THIS}
`,
		},
		"fluent-bit.conf": {
			"fluent-bit.conf": `# comment
@SET DIRECTORY=STATE
@SET OFFICE365_SHADOWED=Audit.Exchange
[SERVICE]
    Flush 1
@INCLUDE sub/input*.conf
[OUTPUT]
    Name  null
    Match *
`,
			"sub/input.conf": "[INPUT]\n\tName dummy\n[input]\n\t# comment\n\tNAME  Office365 \n\tTag records\n\ttenant_id TENANT\n\tClient_ID TENANT\n\tclient_secret a # b\n" +
				"\tdb ${DIRECTORY}/office365.db\n\tDB ignored\n\tpoll_interval 7m\r\n\tsettle ${OFFICE365_NOBODY_SETS_THIS:-9s}\n\tworkers 010\n" +
				"\tcontent_types ${OFFICE365_SHADOWED}\n\traw_key <${OFFICE365_FROM_OUTSIDE}>\n\tseparator ${OFFICE365_NOBODY_SETS_THIS}\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if list := "sub/env1.yaml"; !fluentBitSince(t, 5, 0, 0) && files[list] != "" {
				t.Log("an env that is a list is of Fluent Bit 5.0: read as a map")
				files[list] = "env:\n  DIRECTORY: STATE\n  SETTLE: 9s\n"
			}
			replacer := strings.NewReplacer()
			if !fluentBitSince(t, 4, 2, 0) {
				t.Log("${NAME:-default} is of Fluent Bit 4.2: left out")
				replacer = strings.NewReplacer("${OFFICE365_NOBODY_SETS_THIS:-fallback}", "fallback", "${OFFICE365_NOBODY_SETS_THIS:-9s}", "9s")
			}
			t.Setenv("OFFICE365_FROM_OUTSIDE", "raw")
			t.Setenv("OFFICE365_SHADOWED", "Audit.SharePoint")
			dir := t.TempDir()
			for file, content := range files {
				path := filepath.Join(dir, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				content = replacer.Replace(content)
				content = strings.NewReplacer("STATE", dir, "TENANT", tenant.DefaultID).Replace(content)
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			inputs, err := hostfile.Read(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			in := inputs[len(inputs)-1]
			cfg, err := config.Parse(in)
			if err != nil {
				t.Fatal(err)
			}
			f := startFluentBit(t, filepath.Join(dir, name))
			var line string
			until(t, "the configuration to be logged, or refused", func() bool {
				whole := false
				_, line, _ = strings.Cut(f.log.String(), "[input:office365:"+in.Name+"] starting version=dev ")
				line, _, whole = strings.Cut(line, "\n")
				return whole || strings.Contains(f.log.String(), "cannot start: ")
			})
			line = strings.TrimSpace(strings.TrimSuffix(line, "\x1b[0m"))
			var pairs []string
			for summary := cfg.Summary(); len(summary) > 0; summary = summary[2:] {
				pairs = append(pairs, fmt.Sprintf("%v=%v", summary[0], summary[1]))
			}
			if want := strings.Join(pairs, " "); line != want {
				t.Errorf("Fluent Bit's plugin has\n%s\nread was\n%s", line, want)
			}
			for _, part := range []string{"poll_interval=7m", "settle=9s", "workers=10", "content_types=Audit.Exchange ", "raw_key=<raw>", "separator=_", "db=" + dir} {
				if !strings.Contains(line, part) {
					t.Errorf("no %s in %s", part, line)
				}
			}
			f.terminate()
		})
	}
}
