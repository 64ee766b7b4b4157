package main

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"in_office365/test/tenant"
)

// way is how records come into the host.
type way int

const (
	ours    way = iota // the plugin
	obvious            // the plugin with the obvious way in place of normalize
	inTail             // Fluent Bit's own tail input with its json parser, from a file
)

func (w way) String() string { return [...]string{"plugin", "obvious way", "in_tail, json"}[w] }

// run is one line of the table.
type run struct {
	way   way
	name  string
	offer offer
	plain bool              // no gzip, on the wire or of the file
	cache bool              // the tail input is told to leave the page cache alone
	keys  map[string]string // of the plugin, besides those of every run
	disk  bool              // chunks in files, and the output file in place of null; in Fluent Bit
	idle  time.Duration     // how long the host is watched where nothing is offered
}

func (r run) title() string { return r.way.String() + ": " + r.name }

// offer is what the tenant has at the start. Each content type has as many blobs, of as many records or at least as many bytes.
type offer struct {
	types          []string
	blobs, records int
	bytes          int64
}

func (o offer) empty() bool { return o.blobs == 0 }

const megabyte = 1_000_000

// emptyRun is the name of the run that has nothing to do: what the start and end of the host cost.
const emptyRun = "nothing, 3 s"

// compared is the name of the run of the plugin that the tail input is compared with, and how the names of those begin in which the obvious way
// is.
const compared = "records of 1.4 kB"

// runs lists what is measured. Where CPU time is compared, the plugin hands over as fast as it can.
func runs(o options) []run {
	full, backlogBlobs := 4, 1000
	if o.quick {
		full, backlogBlobs = 1, 50
	}
	one := []string{tenant.SharePoint} // its records have 1.4 kB on average, and none is exceptional
	all := tenant.ContentTypes()
	sized := func(blobs int, bytes int64) offer { return offer{types: one, blobs: blobs, bytes: bytes} }
	// 300 MB in all; these three together have 1.4 kB on average, and some records of 94 kB
	mixed := offer{types: []string{tenant.Exchange, tenant.SharePoint, tenant.General}, blobs: 18 * full, records: 1000}

	list := []run{
		{name: "idle", idle: time.Duration(full) * 15 * time.Second},
		{name: "1 blob of 1 MB", offer: sized(1, megabyte)},
	}
	volume := 25 * full // MB
	for _, size := range []int{1, 25, 100} {
		if size <= volume {
			name := fmt.Sprintf("%d MB in blobs of %d MB", volume, size)
			list = append(list, run{name: name, offer: sized(volume/size, int64(size)*megabyte)})
		}
	}
	for _, workers := range []string{"1", "2", "8"} {
		spread := offer{types: all, blobs: volume / len(all), bytes: megabyte}
		list = append(list, run{name: "workers " + workers, offer: spread, keys: with(unlimited, "workers", workers)})
	}
	backlog := offer{types: one, blobs: backlogBlobs, records: 1000}
	backlogName := fmt.Sprintf("a backlog of %d records", backlog.blobs*backlog.records)
	list = append(list, run{name: backlogName, offer: backlog})
	for _, rate := range []string{"52M", "104M", "off"} {
		list = append(list, run{name: backlogName + ", hand_over_rate " + rate, offer: backlog, keys: map[string]string{"hand_over_rate": rate}})
	}
	list = append(list,
		run{name: compared + ", no gzip", offer: mixed, keys: unlimited, plain: true},
		run{name: compared, offer: mixed, keys: unlimited},
		run{name: compared, offer: mixed, keys: unlimited, way: obvious},
		run{name: compared + ", no gzip", offer: mixed, keys: unlimited, way: obvious, plain: true},
	)
	if o.fluentBit != "" {
		list = append(list,
			run{name: backlogName + ", to a file, chunks on the disk", offer: backlog, disk: true},
			run{name: backlogName + ", to a file, chunks on the disk, hand_over_rate 52M", offer: backlog, disk: true, keys: map[string]string{"hand_over_rate": "52M"}},
			run{name: "a file", offer: mixed, way: inTail, plain: true},
			run{name: "a file, file_cache_advise off", offer: mixed, way: inTail, plain: true, cache: true},
			run{name: "a file.gz", offer: mixed, way: inTail})
	}

	var selected []run
	begun := map[way]bool{}
	for _, r := range list {
		if !o.only.MatchString(r.title()) {
			continue
		}
		if !begun[r.way] { // the others are corrected by it
			begun[r.way] = true
			selected = append(selected, run{way: r.way, name: emptyRun, idle: 3 * time.Second, keys: unlimited})
		}
		selected = append(selected, r)
	}
	return selected
}

// unlimited is as fast as it goes.
var unlimited = map[string]string{"hand_over_rate": "off"}

func with(keys map[string]string, key, value string) map[string]string {
	keys = maps.Clone(keys)
	keys[key] = value
	return keys
}

func (o offer) contentTypes() string { return strings.Join(o.types, ",") }
