// Command demo shows the plugin at work: it serves an emulated tenant on a loopback socket, runs the plugin against it inside
// Fluent Bit, or inside the minimal host where there is no Fluent Bit, prints the first records of each content type and a summary, and ends.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"in_office365/test/events"
	"in_office365/test/tenant"
)

const (
	blobsPerType   = 40
	recordsPerBlob = 100
	timeLimit      = 3 * time.Minute
	stopLimit      = 10 * time.Second

	progressInterval = 200 * time.Millisecond
	shownKeys        = 20 // of a record
	shownBytes       = 90 // of a value
)

func main() {
	plugin := flag.String("plugin", "bin/in_office365.so", "the plugin")
	testHost := flag.String("test-host", "bin/test-host", "the minimal host")
	fluentBit := flag.String("fluent-bit", "", "Fluent Bit's program; empty: the minimal host is used")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *plugin, *testHost, *fluentBit)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, plugin, testHost, fluentBit string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeLimit, fmt.Errorf("not all records arrived within %s", timeLimit))
	defer cancel()
	dir, err := os.MkdirTemp("", "office365-demo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	url, err := serve(ctx)
	if err != nil {
		return err
	}
	h, err := prepare(ctx, dir, plugin, testHost, fluentBit, url)
	if err != nil {
		return err
	}
	fmt.Printf("An emulated tenant offers %d records of %d content types at %s.\n", wanted(), len(tenant.ContentTypes()), url)
	fmt.Printf("The plugin collects them inside %s.\n\n", h.name)
	return h.collect(ctx)
}

func wanted() int { return blobsPerType * recordsPerBlob * len(tenant.ContentTypes()) }

// serve starts the emulated tenant. It ends with ctx.
func serve(ctx context.Context) (url string, err error) {
	tn := tenant.New(tenant.Config{Gzip: true, PageSize: 25})
	now := time.Now()
	tn.Publish(tenant.Plan{
		Seed: uint64(now.UnixNano()), Blobs: blobsPerType, Records: recordsPerBlob, From: now.Add(-6 * 24 * time.Hour), To: now.Add(-time.Minute),
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: tn, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { server.Close() })
	go server.Serve(listener)
	return "http://" + listener.Addr().String(), nil
}

// host is the program that loads the plugin, and how to read what it writes.
type host struct {
	name    string
	command *exec.Cmd
	output  string
	next    func([]byte) (e events.Event, rest []byte, err error) // events.ErrShort: there is no whole event yet
}

func prepare(ctx context.Context, dir, plugin, testHost, fluentBit, url string) (*host, error) {
	stanza := [][2]string{
		{"tenant_id", tenant.DefaultID},
		{"client_id", tenant.DefaultClientID},
		{"client_secret", tenant.DefaultClientSecret},
		{"authentication_endpoint", url},
		{"api_endpoint", url},
		{"db", filepath.Join(dir, "office365.db")},
	}
	output := filepath.Join(dir, "records")
	if fluentBit == "" {
		args, flag := []string{"--output", output}, "--input"
		for _, pair := range stanza {
			args = append(args, flag, pair[0]+"="+pair[1])
			flag = "--set"
		}
		return &host{"the minimal host, as no Fluent Bit was found", exec.CommandContext(ctx, testHost, append(args, plugin)...), output, events.Next}, nil
	}
	config := "service:\n  flush: 1\npipeline:\n  inputs:\n    - name: office365\n      tag: OFFICE365_EVENT_DATA\n"
	for _, pair := range stanza {
		config += fmt.Sprintf("      %s: %q\n", pair[0], pair[1])
	}
	config += fmt.Sprintf("  outputs:\n    - name: file\n      match: '*'\n      path: %q\n      file: records\n      format: plain\n", dir)
	path := filepath.Join(dir, "fluent-bit.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	version, err := exec.CommandContext(ctx, fluentBit, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fluentBit, err)
	}
	name, _, _ := strings.Cut(string(version), "\n")
	return &host{name, exec.CommandContext(ctx, fluentBit, "-e", plugin, "-c", path), output, nextLine}, nil
}

// nextLine reads a record of Fluent Bit's file output, one a line.
func nextLine(b []byte) (e events.Event, rest []byte, err error) {
	line, rest, whole := bytes.Cut(b, []byte("\n"))
	if !whole {
		return e, b, events.ErrShort
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	return e, rest, decoder.Decode(&e.Body)
}

// collect runs the host until every record has arrived.
func (h *host) collect(ctx context.Context) error {
	var log bytes.Buffer
	h.command.Stdout, h.command.Stderr = &log, &log
	if err := h.command.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- h.command.Wait() }()

	begun := time.Now()
	seen := newSummary()
	var unread []byte
	read := int64(0)
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for seen.total() < wanted() {
		select {
		case <-ctx.Done():
			h.stop(ended)
			return fmt.Errorf("%w; the log of the host:\n%s", context.Cause(ctx), log.String())
		case err := <-ended:
			return fmt.Errorf("the host has ended (%w); its log:\n%s", err, log.String())
		case <-tick.C:
		}
		added, err := readFrom(h.output, read)
		if err != nil {
			return err
		}
		read += int64(len(added))
		for unread = append(unread, added...); ; {
			e, rest, err := h.next(unread)
			if errors.Is(err, events.ErrShort) {
				break
			}
			if err != nil {
				return err
			}
			seen.add(e)
			unread = rest
		}
		fmt.Fprintf(os.Stderr, "\r%d of %d records after %.0f s ", seen.total(), wanted(), time.Since(begun).Seconds())
	}
	took := time.Since(begun)
	fmt.Fprint(os.Stderr, "\n\n")
	if err := h.stop(ended); err != nil {
		return err
	}
	seen.print(took)
	return nil
}

// readFrom reads what a file holds behind an offset; a file that is not there yet holds nothing.
func readFrom(path string, offset int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

func (h *host) stop(ended <-chan error) error {
	if err := h.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-time.After(stopLimit):
		return errors.Join(errors.New("the host does not stop"), h.command.Process.Kill())
	}
}

// summary is what is shown in the end.
type summary struct {
	perType     map[string]int // records by content type
	ids         map[string]bool
	recordTypes map[any]bool
	repeated    int
	notices     []events.Event
	first       []events.Event // of each content type
}

func newSummary() *summary {
	return &summary{perType: map[string]int{}, ids: map[string]bool{}, recordTypes: map[any]bool{}}
}

func (s *summary) total() int { return len(s.ids) }

func (s *summary) add(e events.Event) {
	if e.Notice() != "" {
		s.notices = append(s.notices, e)
		return
	}
	if s.ids[e.ID()] {
		s.repeated++
		return
	}
	s.ids[e.ID()] = true
	if s.perType[e.ContentType()]++; s.perType[e.ContentType()] == 1 {
		s.first = append(s.first, e)
	}
	s.recordTypes[e.Body["RecordType"]] = true
}

func (s *summary) print(took time.Duration) {
	slices.SortFunc(s.first, func(a, b events.Event) int { return strings.Compare(a.ContentType(), b.ContentType()) })
	for _, e := range s.first {
		fmt.Printf("The first record of %s:\n", e.ContentType())
		printRecord(e)
	}
	fmt.Println("Records by content type:")
	for _, ct := range slices.Sorted(maps.Keys(s.perType)) {
		fmt.Printf("  %-28s %6d\n", ct, s.perType[ct])
	}
	fmt.Printf("  %-28s %6d of %d offered, %d repeated, of %d record types\n", "all", s.total(), wanted(), s.repeated, len(s.recordTypes))
	fmt.Printf("  %-28s %6d (subscriptions that were started)\n", "notices", len(s.notices))
	fmt.Printf("%.0f records a second, from the start of the host to the last record in its output.\n", float64(s.total())/took.Seconds())
}

// printRecord shows the keys that every record has, then the first of its own.
func printRecord(e events.Event) {
	keys := slices.Sorted(maps.Keys(e.Body))
	slices.SortStableFunc(keys, func(a, b string) int { return rank(a) - rank(b) })
	for i, key := range keys {
		if i == shownKeys {
			fmt.Printf("  ... and %d keys more\n", len(keys)-shownKeys)
			break
		}
		value, err := json.Marshal(e.Body[key])
		if err != nil {
			value = []byte(err.Error())
		}
		if len(value) > shownBytes {
			value = append(value[:shownBytes:shownBytes], "..."...)
		}
		fmt.Printf("  %-28s %s\n", key, value)
	}
	fmt.Println()
}

func rank(key string) int {
	switch {
	case key == "CreationTime":
		return 0
	case key == "Operation" || key == "Workload" || key == "RecordType" || key == "UserId":
		return 1
	case strings.HasPrefix(key, "o365_"):
		return 2
	default:
		return 3
	}
}
