package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// table is what is printed.
type table struct {
	host string
	rows []row
}

type row struct {
	run
	result
	err error
}

func newTable(host string) *table { return &table{host: host} }

func (t *table) add(r run, res result, err error) { t.rows = append(t.rows, row{r, res, err}) }

func (t *table) print(out io.Writer) {
	fmt.Fprintf(out, "%s\n", t.host)
	fmt.Fprintf(out, "CPU: of the host process, user and system, from its start to its end; in \"no start\" less that of the run with nothing to do.\n\n")
	widest := 0
	for _, r := range t.rows {
		widest = max(widest, len(r.title()))
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%-*s\trecords\tJSON MB\tgzip\twall s\trecords/s\tMB/s\tCPU s\tCPU s/GB\tno start\tpeak MB\ttimes ours\tno start\t\n", widest, "run")
	for _, r := range t.rows {
		gzip := "on"
		if r.plain {
			gzip = "off"
		}
		if r.offer.empty() {
			gzip = ""
		}
		fmt.Fprintf(w, "%-*s\t", widest, r.title()) // to the left, unlike the figures
		if r.err != nil {
			fmt.Fprintf(w, "void\t\t\t\t\t\t\t\t\t\t\t\t\n")
			continue
		}
		cpu := r.cpu.Seconds()
		net := cpu - t.start(r.way).Seconds()
		if r.offer.empty() {
			fmt.Fprintf(w, "\t\t\t%.1f\t\t\t%.3f\t\t%.3f s\t%.1f\t\t\t\n", r.wall.Seconds(), cpu, net, megabytes(r.peak))
			continue
		}
		wall, gb := r.wall.Seconds(), megabytes(r.bytes)/1000
		fmt.Fprintf(w, "%d\t%.1f\t%s\t%.1f\t%.0f\t%.1f\t%.2f\t%.2f\t%.2f\t%.1f\t", r.records, megabytes(r.bytes), gzip, wall,
			float64(r.records)/wall, megabytes(r.bytes)/wall, cpu, cpu/gb, net/gb, megabytes(r.peak))
		if total, net, ok := t.timesOurs(r); ok {
			fmt.Fprintf(w, "%.2f\t%.2f\t\n", total, net)
		} else {
			fmt.Fprintf(w, "\t\t\n")
		}
	}
	w.Flush()
}

func megabytes(bytes int64) float64 { return float64(bytes) / megabyte }

// find returns the row of a run that is not void.
func (t *table) find(w way, name string) (row, bool) {
	for _, r := range t.rows {
		if r.way == w && r.name == name && r.err == nil {
			return r, true
		}
	}
	return row{}, false
}

// start is what the host needs with nothing to do.
func (t *table) start(w way) time.Duration {
	r, _ := t.find(w, emptyRun)
	return r.cpu
}

// timesOurs is the CPU time that a run needs for a gigabyte, by that which the plugin needs for the same records; and the same without the start.
// The obvious way is compared with the plugin's run of the same name, the tail input with the plugin's whole pipe.
func (t *table) timesOurs(r row) (total, net float64, ok bool) {
	name := compared
	if r.way == obvious {
		name = r.name
	}
	own, ok := t.find(ours, name)
	if !ok || r.err != nil || r.way == ours {
		return 0, 0, false
	}
	perByte := func(r row, less time.Duration) float64 { return float64(r.cpu-less) / float64(r.bytes) }
	return perByte(r, 0) / perByte(own, 0), perByte(r, t.start(r.way)) / perByte(own, t.start(ours)), true
}
