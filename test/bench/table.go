package main

import (
	"fmt"
	"math"
)

// musts are how many times as fast as others flat must be.
type musts struct{ obvious, valid, slowestParser float64 }

// Figures that fall short are marked. Besides, nothing may be allocated per record in any family and format.
var (
	mustMixed  = musts{obvious: 15, valid: 1.3, slowestParser: 1}
	mustFamily = musts{valid: 0.8}
)

const mark = "!"

// wholeJobs are the contestants whose allocations are shown.
var wholeJobs = []int{theObvious, flat, raw, fortiSIEM}

// table prints a row as soon as it is measured.
type table struct {
	contestants []contestant
	rounds      int
	missed      int // figures that are marked
}

func (t *table) header() {
	fmt.Printf("\n%-30s %7s %6s |", "", "", "")
	fmt.Printf(" %-*s|", 10*len(t.contestants), "MB/s of JSON")
	fmt.Printf(" %-*s|", 10*len(wholeJobs), "allocations per record")
	fmt.Printf(" flat is ... times as fast as (least..most within one of %d rounds)\n", t.rounds)
	fmt.Printf("%-30s %7s %6s |", "family", "records", "kB")
	for _, c := range t.contestants {
		fmt.Printf(" %9s", c.name)
	}
	fmt.Print(" |")
	for _, i := range wholeJobs {
		fmt.Printf(" %9s", t.contestants[i].name)
	}
	fmt.Printf(" | %-22s %-22s %s\n", "obvious", "Valid", "slowest parser")
}

func (t *table) row(b blob, r results) {
	fmt.Printf("%-30s %7d %6.0f |", b.name, len(b.records), float64(len(b.text))/1e3)
	for i, c := range t.contestants {
		switch {
		case c.absent != "":
			fmt.Printf(" %9s", c.absent)
		case len(r[i]) == 0:
			fmt.Printf(" %9s", "refuses")
		default:
			fmt.Printf(" %9.0f", r.speed(i)/1e6)
		}
	}
	fmt.Print(" |")
	for _, i := range wholeJobs {
		// The runtime allocates for itself now and then: less than one in 100 records is none per record.
		allocs := math.Trunc(r.allocs(i)*100) / 100
		fmt.Printf(" %8.2f%s", allocs, t.mark(i != theObvious && allocs > 0))
	}
	must := mustFamily
	if b.name == mixed {
		must = mustMixed
	}
	slowest := r.slowest(parsers)
	fmt.Printf(" | %s %s %s %s\n", t.ratio(r.ratio(flat, theObvious), must.obvious), t.ratio(r.ratio(flat, jsonValid), must.valid),
		t.ratio(r.ratio(flat, slowest), must.slowestParser), t.contestants[slowest].name)
}

func (t *table) ratio(r ratio, must float64) string {
	return fmt.Sprintf("%6.2f%s (%5.2f..%5.2f)", r.fastest, t.mark(r.fastest < must), r.least, r.most)
}

// mark counts a figure that falls short.
func (t *table) mark(short bool) string {
	if !short {
		return " "
	}
	t.missed++
	return mark
}

func (t *table) legend() {
	fmt.Printf(`
All contestants go over the same bytes on one core, in turns of %v or more, for %d rounds; speeds are those of the fastest
turn, ratios are between those, with the least and the most within one round in brackets. Garbage collection as usual. Records are generated, from a fixed seed.
  obvious    the whole job by way of maps, json-iterator and fluent-bit-go's encoder, see test/obvious
  Valid      encoding/json.Valid over the blob: it parses and keeps nothing
  fastjson   only parses, record by record, with a reused Parser
  simdjson   only parses, the blob, with reused memory and without copying strings
  sonic      only parses, the blob, by ast.Preorder with a visitor that does nothing
  jsonparser only parses, the blob, by ObjectEach and ArrayEach down to every value
  gjson      only parses, the blob, by ValidBytes, and ForEach down to every value
  flat, raw, fortisiem   the whole job in these formats: normalize.Reader and Encoder, from the blob's bytes to Fluent Bit events
%s marks what falls short: flat over the mixed blob must be %v times as fast as obvious, %v times as Valid, and as fast as the slowest
parser; over any family %v times as fast as Valid; and nothing is allocated per record.
`, turnTime, t.rounds, mark, mustMixed.obvious, mustMixed.valid, mustFamily.valid)
}
