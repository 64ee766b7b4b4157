package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"in_office365/test/logbuffer"
	"in_office365/test/tenant"
)

// host is the process that is measured.
type host struct {
	command *exec.Cmd
	begun   time.Time
	log     logbuffer.Buffer
	count   func(context.Context) (int, error) // records that have come to the end of the pipe
	ended   chan struct{}                      // closed when the process has
}

func (h *host) start() error {
	h.ended = make(chan struct{})
	h.begun = time.Now()
	if err := h.command.Start(); err != nil {
		return err
	}
	go func() {
		defer close(h.ended)
		_ = h.command.Wait() // what it took is in its ProcessState, however it ended
	}()
	return nil
}

func (h *host) kill() {
	h.command.Process.Kill() // an error says that it has ended already
	<-h.ended
}

// pluginKeys are those of one run.
func pluginKeys(url, dir string, more map[string]string) map[string]string {
	keys := map[string]string{
		"tenant_id": tenant.DefaultID, "client_id": tenant.DefaultClientID, "client_secret": tenant.DefaultClientSecret,
		"authentication_endpoint": url, "api_endpoint": url, "db": filepath.Join(dir, "office365.db"),
		"rate_limit": "1000000/m", "notices": "off",
	}
	maps.Copy(keys, more)
	return keys
}

// pluginInput is the plugin's stanza.
func pluginInput(keys map[string]string, disk bool) string {
	var y strings.Builder
	y.WriteString("    - name: office365\n      tag: OFFICE365_EVENT_DATA\n")
	if disk {
		y.WriteString("      storage.type: filesystem\n")
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		fmt.Fprintf(&y, "      %s: %s\n", key, strconv.Quote(keys[key]))
	}
	return y.String()
}

// tailInput reads a file of JSON lines. Its buffer has room for the longest record; the default of 32k would skip some. By default it drops what
// it has read from the page cache; to leave that alone takes it less CPU time.
func tailInput(file string, cache bool) string {
	input := fmt.Sprintf("    - name: tail\n      tag: OFFICE365_EVENT_DATA\n      path: %q\n      parser: json\n      read_from_head: on\n"+
		"      buffer_max_size: 1M\n", file)
	if cache {
		input += "      file_cache_advise: off\n"
	}
	return input
}

// fluentBit is Fluent Bit with one input and the output null, or file with chunks on the disk. The parser is the one of its conf/parsers.conf.
func fluentBit(program, plugin, dir, input string, disk bool) (*host, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	service, output, outputName := "", `name: "null"`, "null.0"
	if disk {
		service = fmt.Sprintf("  storage.path: %q\n", filepath.Join(dir, "chunks"))
		output, outputName = fmt.Sprintf("name: file\n      path: %q\n      file: out", dir), "file.0"
	}
	config := fmt.Sprintf(`service:
  http_server: on
  http_listen: 127.0.0.1
  http_port: %d
%sparsers:
  - name: json
    format: json
    time_key: time
    time_format: "%%d/%%b/%%Y:%%H:%%M:%%S %%z"
pipeline:
  inputs:
%s  outputs:
    - %s
      match: "*"
      retry_limit: no_limits
`, port, service, input, output)
	path := filepath.Join(dir, "fluent-bit.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	args := []string{"-c", path}
	if plugin != "" {
		args = append(args, "-e", plugin)
	}
	h := &host{command: exec.Command(program, args...)}
	h.command.Stdout, h.command.Stderr = &h.log, &h.log
	url := fmt.Sprintf("http://127.0.0.1:%d/api/v1/metrics", port)
	h.count = func(ctx context.Context) (int, error) { return processed(ctx, url, outputName) }
	return h, nil
}

// fluentBitWith starts Fluent Bit with that configuration.
func fluentBitWith(program, plugin, config string) (*host, error) {
	h := &host{command: exec.Command(program, "-e", plugin, "-c", config)}
	h.command.Stdout, h.command.Stderr = &h.log, &h.log
	return h, h.start()
}

// freePort finds a port that is free now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// processed asks Fluent Bit how many records its output has taken.
// https://docs.fluentbit.io/manual/administration/monitoring
func processed(ctx context.Context, url, output string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var metrics struct {
		Output map[string]struct {
			Records int `json:"proc_records"`
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&metrics); err != nil {
		return 0, fmt.Errorf("reading the metrics of Fluent Bit: %w", err)
	}
	return metrics.Output[output].Records, nil
}

// testHost is the minimal host, which prints its statistics when it is asked on its standard input.
func testHost(program, plugin string, keys map[string]string) (*host, error) {
	var args []string
	flag := "--input"
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		args = append(args, flag, key+"="+keys[key])
		flag = "--set"
	}
	h := &host{command: exec.Command(program, append(args, plugin)...)}
	h.command.Stderr = &h.log
	stdin, err := h.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := h.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	answers := json.NewDecoder(stdout)
	h.count = func(context.Context) (int, error) {
		if _, err := io.WriteString(stdin, "stats\n"); err != nil {
			return 0, err
		}
		var stats struct{ Records, Invalid int }
		if err := answers.Decode(&stats); err != nil {
			return 0, fmt.Errorf("reading the statistics of the minimal host: %w", err)
		}
		if stats.Invalid > 0 {
			return stats.Records, errors.New("the minimal host has found events that are none")
		}
		return stats.Records, nil
	}
	return h, nil
}
