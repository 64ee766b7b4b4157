// Command bench compares package normalize with the obvious way to do its job, and with parsers that only parse, over generated
// content blobs. It prints one table.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/klauspost/cpuid/v2"

	"in_office365/test/tenant/records"
)

// named are the families that are measured besides the mixed blob if not all are.
var named = []string{
	"exchange-admin",
	"sharepoint-file",
	"entra-signin",
	"entra-directory", // changes, with large values
	"mail-items-accessed",
	"dlp-exchange",
	"teams-settings", // some 90 kB each
}

func main() {
	log.SetFlags(0)
	all := flag.Bool("all", false, "measure every family of records")
	check := flag.Bool("check", false, "exit 1 if a figure is marked with !")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %s", flag.Arg(0))
	}

	runtime.GOMAXPROCS(1)
	families, rounds := named, rounds
	if *all {
		families, rounds = records.Families(), fewRounds
	}
	blobs := []blob{mixedBlob()}
	for _, family := range families {
		blobs = append(blobs, familyBlob(family))
	}
	missed, err := run(blobs, rounds)
	if err != nil {
		log.Fatal(err)
	}
	if missed > 0 && *check {
		log.Printf("%d figures are below what they must be", missed)
		os.Exit(1)
	}
}

func run(blobs []blob, rounds int) (missed int, err error) {
	contestants := contestants()
	table := table{contestants: contestants, rounds: rounds}
	fmt.Println(machine())
	table.header()
	for _, b := range blobs {
		r, err := measure(contestants, b, rounds)
		if err != nil {
			return table.missed, err
		}
		table.row(b, r)
	}
	times, allocated, err := linear(contestants[flat])
	if err != nil {
		return table.missed, err
	}
	gunzips, err := compareGunzips(rounds)
	if err != nil {
		return table.missed, err
	}
	fmt.Println("\n" + gunzips)
	fmt.Printf("Ten times the records take flat %.1f times as long; a pass over them allocates %d bytes.\n", times, allocated)
	table.legend()
	return table.missed, nil
}

// machine is what the figures depend on besides this source.
func machine() string {
	text := fmt.Sprintf("%s, %s %s/%s, GOMAXPROCS 1 of %d", cpuid.CPU.BrandName, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return text
	}
	for _, dependency := range build.Deps {
		for _, suffix := range []string{"/fastjson", "/simdjson-go", "/sonic", "json-iterator/go", "klauspost/compress", "/fluent-bit-go", "ugorji/go/codec"} {
			if strings.HasSuffix(dependency.Path, suffix) {
				text += "\n" + dependency.Path + " " + dependency.Version
			}
		}
	}
	return text
}
