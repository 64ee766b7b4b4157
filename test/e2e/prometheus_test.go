package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"in_office365/test/logbuffer"
)

// folder of the rules, the dashboard and the example.
const monitoring = "../../conf/prometheus/"

// program skips the test where a program of Prometheus is missing.
func program(t *testing.T, name string) (path string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIP: no %s found: install Prometheus", name)
	}
	return path
}

// run wants a program to end well, and returns what it has printed.
func run(t *testing.T, dir, program string, args ...string) (printed string) {
	t.Helper()
	c := exec.Command(program, args...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// What makes the project's rules a sixtieth as long: a minute is a second, in durations and in thresholds.
var shorter = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`\b(\d+)m\b`), "${1}s"},
	{regexp.MustCompile(`\b(\d+)h\b`), "${1}m"},
	{regexp.MustCompile(`\b(\d+(?: \* \d+)*) \* 60\b`), "${1}"},
}

func shorterRules(t *testing.T) (rules string) {
	t.Helper()
	b, err := os.ReadFile(monitoring + "office365.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules = string(b)
	for _, s := range shorter {
		if !s.what.MatchString(rules) {
			t.Fatalf("no %s in the rules", s.what)
		}
		rules = s.what.ReplaceAllString(rules, s.by)
	}
	return rules
}

// labels are those of a series or an alert.
type labels map[string]string

func (l labels) has(wanted labels) bool {
	for name, value := range wanted {
		if l[name] != value {
			return false
		}
	}
	return true
}

// watcher is a real Prometheus that looks at the plugin every second.
type watcher struct {
	t     *testing.T
	url   string
	begun time.Time
	log   logbuffer.Buffer

	mu      sync.Mutex
	alarms  []*alarm
	unasked map[string]bool // alerts that fired and that no alarm is about, by name
}

// alarm is an alert that a fault must raise.
type alarm struct {
	w               *watcher
	fault           string
	alert           labels
	begun, mended   time.Time
	fired, resolved time.Time // zero: not, or not yet
}

// startPrometheus watches these addresses by the project's rules, made shorter. It ends with the test.
func startPrometheus(t *testing.T, addresses ...string) *watcher {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	w := &watcher{t: t, url: "http://" + address, begun: time.Now(), unasked: map[string]bool{}}
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\nscrape_configs:\n  - job_name: office365\n    static_configs: [{targets: [%s]}]\n",
		strings.Join(addresses, ", "))
	for name, content := range map[string]string{"prometheus.yml": config, "rules.yml": shorterRules(t)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := exec.CommandContext(ctx, program(t, "prometheus"), "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address)
	c.Stdout, c.Stderr = &w.log, &w.log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() { _ = c.Wait() }) // killed
	t.Cleanup(func() {
		cancel()
		group.Wait()
		if t.Failed() {
			t.Logf("the log of Prometheus:\n%s", tail(w.log.String(), 20))
		}
	})
	until(t, "Prometheus", func() bool {
		r, err := http.Get(w.url + "/-/ready")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	group.Go(func() {
		for tick := time.NewTicker(200 * time.Millisecond); ctx.Err() == nil; {
			select {
			case <-tick.C:
				w.look()
			case <-ctx.Done():
				tick.Stop()
			}
		}
	})
	return w
}

// get asks Prometheus' HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/).
func (w *watcher) get(path string, query url.Values, data any) error {
	r, err := http.Get(w.url + "/api/v1/" + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer r.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", query, answer.Error)
	}
	return nil
}

// look takes note of the alerts that fire.
func (w *watcher) look() {
	var data struct {
		Alerts []struct {
			Labels, Annotations labels
			State               string
		}
	}
	if w.get("alerts", nil, &data) != nil {
		return // it is asked again at once
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	fires := map[*alarm]bool{}
	for _, a := range data.Alerts {
		if a.State != "firing" {
			continue
		}
		w.unasked[a.Labels["alertname"]] = true
		if text := a.Annotations["summary"] + a.Annotations["description"]; strings.Contains(text, "error expanding template") {
			w.t.Error(text)
		}
		for _, alarm := range w.alarms {
			if a.Labels.has(alarm.alert) {
				fires[alarm] = true
			}
		}
	}
	for _, a := range w.alarms {
		delete(w.unasked, a.alert["alertname"])
		switch {
		case fires[a] && a.fired.IsZero():
			a.fired = now
		case fires[a]:
			a.resolved = time.Time{}
		case !a.fired.IsZero() && a.resolved.IsZero():
			a.resolved = now
		}
	}
}

// raises says that a fault that begins now must raise an alert with that name and these labels, by name and value.
func (w *watcher) raises(fault, alert string, more labels) *alarm {
	a := &alarm{w: w, fault: fault, alert: labels{"alertname": alert}, begun: time.Now()}
	maps.Copy(a.alert, more)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alarms = append(w.alarms, a)
	return a
}

func (a *alarm) is(what func() bool) func() bool {
	return func() bool {
		a.w.mu.Lock()
		defer a.w.mu.Unlock()
		return what()
	}
}

func (a *alarm) waitFired() {
	a.w.t.Helper()
	until(a.w.t, a.alert["alertname"]+", for "+a.fault, a.is(func() bool { return !a.fired.IsZero() }))
}

// over says that the fault ends now.
func (a *alarm) over() {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.mended = time.Now()
}

func (a *alarm) waitResolved() {
	a.w.t.Helper()
	until(a.w.t, "the end of "+a.alert["alertname"]+", for "+a.fault, a.is(func() bool { return !a.resolved.IsZero() }))
	if early := a.is(func() bool { return a.resolved.Before(a.mended) })(); early && !slices.Contains(a.w.query("min_over_time(up[5m])"), 0) {
		a.w.t.Errorf("%s ended before %q was mended, and no scrape was missed", a.alert["alertname"], a.fault)
	}
}

// query asks for the values at this moment.
func (w *watcher) query(expr string) (values []float64) {
	w.t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := w.get("query", url.Values{"query": {expr}}, &data); err != nil {
		w.t.Fatal(err)
	}
	for _, r := range data.Result {
		values = append(values, valueOf(w.t, r.Value))
	}
	return values
}

// everAnswered says whether there was an answer that is a number at any moment since the watcher began.
func (w *watcher) everAnswered(expr string) bool {
	w.t.Helper()
	var data struct {
		Result []struct{ Values [][2]any }
	}
	at := func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
	if err := w.get("query_range", url.Values{"query": {expr}, "start": {at(w.begun)}, "end": {at(time.Now())}, "step": {"1"}}, &data); err != nil {
		w.t.Errorf("%s: %v", expr, err)
		return true
	}
	for _, r := range data.Result {
		if slices.ContainsFunc(r.Values, func(v [2]any) bool { return !math.IsNaN(valueOf(w.t, v)) }) {
			return true
		}
	}
	return false
}

// valueOf is the value of a sample, which is a time and a text.
func valueOf(t *testing.T, sample [2]any) float64 {
	t.Helper()
	text, _ := sample[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// uncalledFor names the alerts that have fired and that no alarm is about.
func (w *watcher) uncalledFor() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.unasked))
}

// table says what became of the alarms.
func (w *watcher) table() (rows [][]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	after := func(from, to time.Time) string {
		switch {
		case to.IsZero():
			return "-"
		case to.Before(from): // a scrape was missed, as on a busy machine; an alert begins anew then
			return "early"
		}
		return strconv.Itoa(int(to.Sub(from).Round(time.Second).Seconds())) + " s"
	}
	for _, a := range w.alarms {
		rows = append(rows, []string{a.fault, strings.TrimSpace(a.alert["alertname"] + " " + a.alert["severity"]), after(a.begun, a.fired), after(a.mended, a.resolved)})
	}
	return rows
}

// dashboardQueries are the queries of the panels, the variables filled in, and those that the variables are made of.
func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	b, err := os.ReadFile(monitoring + "office365-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Type, Title, Description string
			Targets                  []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Type, Definition string }
		}
	}
	if err := json.Unmarshal(b, &dashboard); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$instance", ".*", "$input", ".*", "$tenant", ".*", "$content_type", ".*", "$__rate_interval", "5s")
	for _, p := range dashboard.Panels {
		if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("the panel %q answers no question", p.Title)
		}
		for _, target := range p.Targets {
			if strings.Count(target.Expr, "{") != strings.Count(target.Expr, `{instance=~"$instance"`) {
				t.Errorf("the panel %q shows other machines too: %s", p.Title, target.Expr)
			}
			queries = append(queries, fill.Replace(target.Expr))
		}
	}
	values := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	for _, v := range dashboard.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := values.FindStringSubmatch(v.Definition)
		if m == nil {
			t.Fatalf("not a query of a variable: %s", v.Definition)
		}
		queries = append(queries, fmt.Sprintf("count by (%s) (%s)", m[2], fill.Replace(m[1])))
	}
	return queries
}

// recorded are the names of the series that the rules record.
func recorded(t *testing.T) (names []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`- record: (\S+)`).FindAllStringSubmatch(shorterRules(t), -1) {
		names = append(names, m[1])
	}
	if names == nil {
		t.Error("no rule records anything")
	}
	return names
}

func TestRules(t *testing.T) {
	t.Parallel()
	promtool := program(t, "promtool")
	run(t, monitoring, promtool, "check", "rules", "office365.rules.yml")
	run(t, monitoring, promtool, "check", "config", "prometheus.yml")
	run(t, monitoring, promtool, "test", "rules", "office365.rules_test.yml")
}
