package e2e

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

// fault is something that single-handedly makes collectors lose or repeat data: a row of the table.
type fault struct {
	name  string
	cases map[string]func(*testing.T) *trial
}

// faults are the rows, from 1.
func faults() []fault {
	type cases = map[string]func(*testing.T) *trial
	return []fault{
		{"second page of a listing fails", cases{"": secondPage}},
		{"late blob, older than the newest seen", cases{"": lateBlob}},
		{"equal contentCreated at a window's border", cases{"": windowBorder}},
		{"AF429 as 403 on a blob", cases{"": throttledBlob}},
		{"5xx on one blob of many", cases{"": serverError}},
		{"blobs of 1, 25 and 100 MB", cases{"": largeBlobs}},
		{"downtime of 25 h, of 8 d", cases{"25 h": downtimeOf25Hours, "8 d": downtimeOf8Days}},
		{"kill -9 before hand-over, before settling", cases{"before hand-over": killedBeforeHandOver, "before settling": killedBeforeSettling}},
		{"token expires in mid-blob", cases{"": tokenExpires}},
		{"clock 10 min ahead, behind", cases{"ahead": clockAhead, "behind": clockBehind}},
		{"start throttled, AF20024", cases{"throttled": startThrottled, "AF20024": alreadyEnabled}},
		{"starttime in lower case in NextPageUri", cases{"": lowerCaseNextPage}},
		{"error in one window, success in the next", cases{"": oneWindowFails}},
		{"first run", cases{"": firstRun}},
		{"one type without permission", cases{"": permissionMissing}},
		{"same blob under a new contentId", cases{"in one run": republishedBlob, "after a restart": republishedAfterARestart}},
		{"body cut short, gzip broken, length wrong", cases{"": brokenBodies}},
		{"NextPageUri to itself, to a foreign host", cases{"itself": nextPageLoop, "foreign host": foreignNextPage}},
		{"pause for minutes, then kill -9", cases{"": pausedThenKilled}},
		{"disk full, ledger damaged", cases{
			"full, then free": diskFullThenFree, "full until a kill": diskFullUntilAKill,
			"damaged": ledgerDamaged(halfSpoilt), "cut": ledgerDamaged(cut), "zeros": ledgerDamaged(zeros), "emptied": ledgerDamaged(emptied),
		}},
		{"secret rotated", cases{"": secretRotated}},
		{"subscription disabled in mid-run", cases{"": subscriptionDisabled}},
	}
}

// What goes first, and side by side, while the parallel tests still wait: both wait more than they work, and the second is held to what it does in a given
// time.
func TestUndisturbed(t *testing.T) {
	t.Run("faults", func(t *testing.T) {
		t.Parallel()
		runFaults(t)
	})
	t.Run("throttled tenant", func(t *testing.T) {
		t.Parallel()
		throttledTenant(t)
	})
}

// Single faults that lose or repeat data in collectors in use, each end to end, each with its full account.
//
// The table goes to the standard output, where go test shows it when it is run in this folder.
func runFaults(t *testing.T) {
	all := faults()
	rows := make([]row, len(all))
	// They wait more than they work, so more of them run than t.Parallel would let. The tests that hold the plugin to times come after.
	slots := make(chan struct{}, 4*runtime.GOMAXPROCS(0))
	var running sync.WaitGroup
	for i, f := range all {
		rows[i].name = f.name
		running.Go(func() {
			rows[i].ok = t.Run(fmt.Sprintf("%02d %s", i+1, f.name), func(t *testing.T) { rows[i].run(t, f, slots) })
		})
	}
	running.Wait()
	printTable(os.Stdout, rows)
}

type row struct {
	name string
	ok   bool

	mu sync.Mutex
	verdict
	said [3][]remark // why, others, announced, by case
}

type remark struct{ name, text string }

func (r *row) run(t *testing.T, f fault, slots chan struct{}) {
	limited := func(test func()) {
		slots <- struct{}{}
		defer func() { <-slots }()
		test()
	}
	if alone := f.cases[""]; alone != nil {
		limited(func() { r.add("", alone(t).verdict) })
		return
	}
	var running sync.WaitGroup
	for name, run := range f.cases {
		running.Go(func() {
			limited(func() {
				t.Run(name, func(t *testing.T) { r.add(name, run(t).verdict) })
			})
		})
	}
	running.Wait()
}

// add sums the cases of a fault up.
func (r *row) add(name string, v verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.offered += v.offered
	r.delivered += v.delivered
	r.lost += v.lost
	r.missing += v.missing
	r.repeated += v.repeated
	r.bound += v.bound
	for column, said := range [][]string{v.why, v.others, v.announced} {
		r.said[column] = append(r.said[column], remark{name, strings.Join(said, ", ")})
	}
}

func printTable(out io.Writer, rows []row) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "#\tfault\toffered\tdelivered\tlost\tmissing\trepeated\tat most\tbecause\tothers\tannounced")
	for i := range rows {
		r := &rows[i]
		if r.ok && r.offered == 0 { // not asked for by -run
			continue
		}
		number := strconv.Itoa(i + 1)
		if !r.ok {
			number += " FAILED"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", number, r.name, r.offered, r.delivered, r.lost, r.missing, r.repeated, r.bound,
			cell(r.said[0]), cell(r.said[1]), cell(r.said[2]))
	}
	w.Flush()
}

// cell joins what is said of the cases; once, if it is the same of all.
func cell(said []remark) string {
	slices.SortFunc(said, func(a, b remark) int { return strings.Compare(a.name, b.name) })
	var parts []string
	for _, r := range said {
		if r.text == said[0].text {
			continue
		}
		for _, r := range said {
			parts = append(parts, r.name+": "+r.text)
		}
		return strings.Join(parts, "; ")
	}
	if len(said) == 0 { // it has failed before
		return ""
	}
	return said[0].text
}
