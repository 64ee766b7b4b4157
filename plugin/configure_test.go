package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"in_office365/plugin/hostfile"
	"in_office365/plugin/storage"
)

// What Fluent Bit's configuration says besides the instance's properties: keys that do not exist, and what loses records.
func TestConfigurationThatFluentBitRunsWith(t *testing.T) {
	const (
		input  = "[INPUT]\n    Name dummy\n[INPUT]\n    Name office365\n    Alias audit\n    Tag t\n"
		output = "[OUTPUT]\n    Name http\n    Match t\n"
	)
	for _, c := range []struct {
		name    string
		host    string            // what the instance is called
		keys    map[string]string // that the host hands over, besides those that are needed
		content string            // empty: there is no file
		fails   string
		lines   []string // at warn and debug, by what they begin with
	}{
		{"good", "audit", nil, input + "    storage.type filesystem\n[SERVICE]\n    storage.path /x\n" + output + "    Retry_Limit no_limits\n", "", nil},
		{"lossy", "audit", nil, input + output, "", []string{
			"WARN this configuration loses or repeats records: the input audit keeps records in memory only",
			"WARN this configuration loses or repeats records: the output http.0 gives up after 1 retry and drops records: set retry_limit no_limits",
		}},
		{"a key that does not exist", "audit", map[string]string{"tenant_ids": "x"}, input + "    tenant_ids x\n" + output,
			"tenant_ids is not a key of this plugin: did you mean tenant_id?", nil},
		{"a key that Fluent Bit keeps", "audit", nil, input + "    storage.type filesystem\n    some_key_of_2030 x\n[SERVICE]\n    storage.path /x\n" + output + "    Retry_Limit off\n", "", nil},
		{"no file", "audit", nil, "", "", []string{"DEBUG Fluent Bit's configuration is not looked at for keys that do not exist, and for what loses records reason=no file"}},
		{"no such input", "office365.0", nil, input + output, "", []string{"DEBUG Fluent Bit's configuration is not looked at"}},
		{"an input of another plugin", "dummy.0", nil, input + output, "", []string{"DEBUG Fluent Bit's configuration is not looked at"}},
		{"an input without a name", "", nil, input + output, "", []string{"DEBUG Fluent Bit's configuration is not looked at"}},
		{"no configuration", "audit", nil, "[INPUT\n", "", []string{"DEBUG Fluent Bit's configuration is not looked at"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newConfiguredHost(t, "off")
			h.name = c.host
			for key, value := range c.keys {
				h.keys[key] = value
			}
			path := filepath.Join(t.TempDir(), "a.conf")
			file := func() (string, error) { return "", errors.New("no file") }
			if c.content != "" {
				if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
					t.Fatal(err)
				}
				file = func() (string, error) { return path, nil }
			}
			var log strings.Builder
			_, _, err := configure(h, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), file)
			if c.fails == "" && err != nil || c.fails != "" && (err == nil || err.Error() != c.fails) {
				t.Fatalf("got %v, want %s", err, c.fails)
			}
			lines := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
			if log.Len() == 0 {
				lines = nil
			}
			if len(lines) != len(c.lines) {
				t.Fatalf("logged %q", lines)
			}
			for i, line := range lines {
				level, text, _ := strings.Cut(c.lines[i], " ")
				if !strings.Contains(strings.ReplaceAll(line, `"`, ""), fmt.Sprintf("level=%s msg=%s", level, text)) {
					t.Errorf("got %s, want %s", line, c.lines[i])
				}
			}
		})
	}
}

// The process of the tests is no Fluent Bit: it starts as where nothing can be read.
func TestOtherProcess(t *testing.T) {
	h := newConfiguredHost(t, "off")
	var log strings.Builder
	if _, _, err := configure(h, slog.New(slog.NewTextHandler(&log, nil)), hostfile.OfProcess); err != nil || log.Len() > 0 {
		t.Errorf("%v, logged %s", err, &log)
	}
}

// Where the chunks go, and whether the host's count can be believed, is known from the file; else from keys, or it is found out later.
func TestWhatIsBehindTheInput(t *testing.T) {
	const input, processors = "pipeline:\n  inputs:\n    - name: office365\n      alias: audit\n", "      processors:\n        logs:\n          - name: sql\n"
	for name, c := range map[string]struct {
		host, key, content string
		want               string
	}{
		"a volume":               {"audit", "", "service:\n  storage.path: /chunks\n" + input + "      storage.type: filesystem\n", "*storage.Volume /chunks"},
		"memory":                 {"audit", "", input, "<nil>"},
		"a key":                  {"audit", "/other", input, "*storage.Volume /other"},
		"processors":             {"audit", "", input + processors, "<nil> the input has processors, and what they drop Fluent Bit does not count"},
		"routes":                 {"audit", "", input + "      routes:\n        logs:\n          - name: all\n", "<nil> the input has routes, and Fluent Bit counts what each of them takes"},
		"another file":           {"elsewhere.0", "", input, "*storage.Unknown elsewhere.0"},
		"another file, with key": {"elsewhere.0", "/chunks", input, "*storage.Volume /chunks"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newConfiguredHost(t, "off")
			h.name, h.keys["storage_path"] = c.host, c.key
			path := filepath.Join(t.TempDir(), "a.yaml")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, b, err := configure(h, slog.New(slog.DiscardHandler), func() (string, error) { return path, nil })
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("%T", b.room)
			switch room := b.room.(type) {
			case *storage.Volume:
				got += " " + room.Path
			case *storage.Unknown:
				got += " " + room.Input
			}
			if got = strings.TrimSpace(got + " " + b.noReceipts); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
