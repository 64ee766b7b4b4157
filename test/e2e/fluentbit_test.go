package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"in_office365/test/logbuffer"
)

// fluentBitBinary skips the test where there is no Fluent Bit.
func fluentBitBinary(t *testing.T) string {
	t.Helper()
	path := findFluentBit()
	if path == "" {
		t.Skip("SKIP: no Fluent Bit found: install it, or set FLUENT_BIT_BINARY to its path")
	}
	return path
}

// findFluentBit returns "" where there is none.
func findFluentBit() (path string) {
	if path = os.Getenv("FLUENT_BIT_BINARY"); path == "" {
		path, _ = exec.LookPath("fluent-bit")
	}
	return path
}

// endsWithoutAnInput says whether this Fluent Bit ends when an input fails to start. Before v4.0.3 it went on without it
// (v3.0.7 src/flb_input_thread.c:574).
func endsWithoutAnInput(t *testing.T) bool {
	t.Helper()
	return fluentBitSince(t, 4, 0, 3)
}

// fluentBitSince says whether this Fluent Bit is of that version or later.
func fluentBitSince(t *testing.T, version ...int) bool {
	t.Helper()
	out, err := exec.Command(fluentBitBinary(t), "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	var is [3]int
	if _, err := fmt.Sscanf(string(out), "Fluent Bit v%d.%d.%d", &is[0], &is[1], &is[2]); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return slices.Compare(is[:], version) >= 0
}

// fluentBit is a running process.
type fluentBit struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  logbuffer.Buffer
	done chan struct{} // closed when it has ended
	err  error         // of its end; after done

	asked atomic.Bool // to end, or to be waited for
}

// startFluentBit runs it with that configuration file. It is killed at the end of the test if it is still there, and its log shown if
// the test has failed.
func startFluentBit(t *testing.T, config string, env ...string) *fluentBit {
	t.Helper()
	return startFluentBitWith(t, plugin, config, env...)
}

// startFluentBitWith is startFluentBit with another build of the plugin.
func startFluentBitWith(t *testing.T, plugin, config string, env ...string) *fluentBit {
	t.Helper()
	return startFluentBitBy(t, plugin, []string{"-c", config}, env...)
}

// startFluentBitBy is startFluentBitWith by other arguments than those that name a configuration file.
func startFluentBitBy(t *testing.T, plugin string, args []string, env ...string) *fluentBit {
	t.Helper()
	f := &fluentBit{t: t, done: make(chan struct{})}
	f.cmd = exec.Command(fluentBitBinary(t), append([]string{"-e", plugin}, args...)...)
	f.cmd.Env = append(os.Environ(), env...)
	f.cmd.Stdout, f.cmd.Stderr = &f.log, &f.log
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		f.err = f.cmd.Wait()
		close(f.done)
	}()
	watch(t, f)
	t.Cleanup(func() {
		f.cmd.Process.Kill()
		<-f.done
		if t.Failed() {
			t.Logf("the log of Fluent Bit:\n%s", tail(f.log.String(), 60))
		}
	})
	return f
}

func tail(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Gone is that of a host.
func (f *fluentBit) Gone() string {
	select {
	case <-f.done:
		if !f.asked.Load() {
			return "Fluent Bit has ended: " + f.cmd.ProcessState.String()
		}
	default:
	}
	return ""
}

// signal sends a signal, SIGHUP to reload and any other to end.
func (f *fluentBit) signal(s syscall.Signal) {
	f.t.Helper()
	if s != syscall.SIGHUP {
		f.asked.Store(true)
	}
	if err := f.cmd.Process.Signal(s); err != nil {
		f.t.Fatal(err)
	}
}

// wait returns how long the process took to end.
func (f *fluentBit) wait() time.Duration {
	f.t.Helper()
	f.asked.Store(true)
	begun := time.Now()
	select {
	case <-f.done:
	case <-time.After(patience):
		f.t.Fatalf("Fluent Bit did not end within %s", patience)
	}
	return time.Since(begun)
}

func (f *fluentBit) terminate() time.Duration {
	f.t.Helper()
	f.signal(syscall.SIGTERM)
	return f.wait()
}

// stopped is the last line of a life of the plugin, and started the first.
const (
	stopped = "] stopped blobs_listed="
	started = "] starting version="
)

// reload returns when the plugin has stopped and begun again.
func (f *fluentBit) reload() {
	f.t.Helper()
	const refusal = "reloading in progress"               // by one that has not quite ended the reload before (v3.0.7 src/fluent-bit.c:613)
	const slow = "] stopping takes longer than it should" // instead of the last line
	count := func(texts ...string) (n int) {
		for _, text := range texts {
			n += strings.Count(f.log.String(), text)
		}
		return n
	}
	ends, begins, refusals := count(stopped, slow), count(started), count(refusal)
	f.signal(syscall.SIGHUP)
	until(f.t, "the reload", func() bool {
		if n := count(refusal); n > refusals {
			refusals = n
			f.signal(syscall.SIGHUP)
		}
		return count(stopped, slow) > ends && count(started) > begins
	})
}

// configure writes a configuration with these inputs, by tag, and everything to dir/out.
func configure(t *testing.T, dir string, inputs map[string]keys) (path string) {
	t.Helper()
	var all []input
	for _, tag := range slices.Sorted(maps.Keys(inputs)) {
		lines := ""
		if inputs[tag]["storage.type"] == "" {
			lines = "storage.type: filesystem"
		}
		all = append(all, input{tag: tag, lines: lines, keys: inputs[tag]})
	}
	all[0].match, all[0].output = "'*'", fileOutput(dir)
	return writeConfiguration(t, dir, "  hot_reload: on\n", all...)
}

// input is a stanza of the plugin, and that of an output.
type input struct {
	tag    string
	lines  string // besides the keys
	keys   keys
	filter string // lines of a filter, if there is one
	match  string // of the output; the tag if there is none
	output string // lines of an output, if there is one of its own
}

func fileOutput(dir string) string {
	return fmt.Sprintf("name: file\n      path: %q\n      file: out", dir)
}

// writeConfiguration writes one with these lines for the service besides the usual ones. The outputs do not give up.
func writeConfiguration(t *testing.T, dir, service string, inputs ...input) (path string) {
	t.Helper()
	var in, filters, out strings.Builder
	for _, i := range inputs {
		fmt.Fprintf(&in, "    - name: office365\n      tag: %s\n      %s\n", i.tag, i.lines)
		for _, key := range slices.Sorted(maps.Keys(i.keys)) {
			fmt.Fprintf(&in, "      %s: %s\n", key, strconv.Quote(i.keys[key]))
		}
		if i.filter != "" {
			fmt.Fprintf(&filters, "    - %s\n      match: %s\n", i.filter, i.tag)
		}
		if i.output != "" {
			fmt.Fprintf(&out, "    - %s\n      match: %s\n      retry_limit: no_limits\n", i.output, cmp.Or(i.match, i.tag))
		}
	}
	y := fmt.Sprintf("service:\n  flush: 1\n  grace: 5\n  storage.path: %q\n%spipeline:\n  inputs:\n%s", filepath.Join(dir, "chunks"), service, &in)
	if filters.Len() > 0 {
		y += "  filters:\n" + filters.String()
	}
	y += "  outputs:\n" + out.String()
	path = filepath.Join(dir, "fluent-bit.yaml")
	if err := os.WriteFile(path, []byte(y), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// output reads what Fluent Bit's file output has written to dir/out so far, as far as lines are whole.
type output struct {
	t       *testing.T
	path    string
	read    int64
	arrived map[string]int            // by o365_id
	copies  map[delivery]int          // the same, by o365_tag too
	cut     int                       // lines without their end
	tags    map[string]map[string]int // by tag and o365_content_type
	notices map[string]int            // by kind
}

// delivery tells copies of a record apart that were made under different settings of event_tag.
type delivery struct{ id, tag string }

func newOutput(t *testing.T, dir string) *output {
	return &output{
		t: t, path: filepath.Join(dir, "out"),
		arrived: map[string]int{}, copies: map[delivery]int{}, tags: map[string]map[string]int{}, notices: map[string]int{},
	}
}

func (o *output) update() {
	o.t.Helper()
	f, err := os.Open(o.path)
	if os.IsNotExist(err) {
		return
	}
	if err == nil {
		defer f.Close()
		_, err = f.Seek(o.read, io.SeekStart)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	lines := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		if err != nil {
			o.t.Fatal(err)
		}
		o.read += int64(len(line))
		o.line(line)
	}
}

// lineStart is what follows the tag in `tag: [time, {record}]`. It has no like inside of a record: there no space follows a colon but in a string, where
// quotes are escaped.
var lineStart = regexp.MustCompile(`^: \[\d+\.\d+, \{"`)

// line is one of the file output. A process that was killed may have left one without its end, and the next one goes on behind it (Fluent Bit v5.1.1
// plugins/out_file/file.c:1049). Then its chunk is still on the disk and comes again as a whole: only what follows the cut counts.
func (o *output) line(line []byte) {
	var tag, record []byte
	for at := 0; ; at++ {
		next := bytes.Index(line[at:], []byte(": [")) // far faster than to look for the expression
		if next < 0 {
			break
		}
		at += next
		if !lineStart.Match(line[at:]) {
			continue
		}
		if record != nil {
			o.cut++
		}
		tag, record = line[bytes.LastIndexAny(line[:at], " :]")+1:at], line[at:]
	}
	if record == nil || !bytes.HasSuffix(line, []byte("}]\n")) {
		o.t.Fatalf("not a line of the file output: %.200s", line)
	}
	if kind := text(record, "o365_notice"); kind != "" {
		o.notices[kind]++
		return
	}
	types := o.tags[string(tag)]
	if types == nil {
		types = map[string]int{}
		o.tags[string(tag)] = types
	}
	types[text(record, "o365_content_type")]++
	id := text(record, "o365_id")
	o.arrived[id]++
	o.copies[delivery{id, text(record, "o365_tag")}]++
}

// text is the value of one of the added keys, which come last in a record and need no escapes.
func text(record []byte, key string) string {
	start := bytes.LastIndex(record, []byte(`"`+key+`":"`))
	if start < 0 {
		return ""
	}
	value := record[start+len(key)+4:]
	return string(value[:bytes.IndexByte(value, '"')])
}

// waitFor waits until so many different records have arrived.
func (o *output) waitFor(records int) {
	o.t.Helper()
	until(o.t, fmt.Sprintf("%d records", records), func() bool {
		o.update()
		return len(o.arrived) >= records
	})
}
