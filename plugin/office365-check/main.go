// Command office365-check walks the road that the plugin office365 will take, from the configuration to a first listing, and says
// what is wrong on it. It reads the Fluent Bit configuration that the plugin will run with, starts no subscription and fetches no record.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"in_office365/plugin/diagnosis"
)

// version of the build, set by -ldflags "-X main.version=...".
var version = "dev"

// The exit statuses.
const (
	exitOK         = 0
	exitConfig     = 1
	exitNetwork    = 2
	exitCredential = 3
	exitPermission = 4
	exitService    = 5
	exitClock      = 6
	exitInterrupt  = 130 // as shells have it
)

const usage = `office365-check tells what keeps the Fluent Bit input office365 from collecting.

  office365-check -c fluent-bit.yaml          all office365 inputs of a Fluent Bit configuration, YAML or classic
  office365-check --set tenant_id=... --set client_id=... --set client_secret_file=...

It checks configuration, what in Fluent Bit's pipeline loses records, DNS, proxy, TLS, login host, clock, credential, permissions, subscriptions
and a first listing, and stops at what is wrong. It starts no subscription and fetches no record.

`

const statuses = `
Exit status:
  0    nothing is wrong; there may be warnings
  1    usage or configuration
  2    network: DNS, proxy, connection, TLS, or something else answers than Microsoft
  3    credential: tenant, application, secret, certificate, cloud
  4    permission: consent is missing
  5    the tenant's auditing or subscriptions, or the API
  6    this machine's clock
  130  interrupted
`

func exitStatus(kind diagnosis.Kind) int {
	switch kind {
	case "":
		return exitOK
	case diagnosis.Config:
		return exitConfig
	case diagnosis.DNS, diagnosis.Connect, diagnosis.NoAnswer, diagnosis.Proxy, diagnosis.ProxyAuth, diagnosis.TLSAuthority, diagnosis.TLSExpired, diagnosis.TLSName,
		diagnosis.TLS, diagnosis.LoginHost, diagnosis.APIHost:
		return exitNetwork
	case diagnosis.Tenant, diagnosis.Client, diagnosis.Secret, diagnosis.SecretExpired, diagnosis.Certificate, diagnosis.Credential, diagnosis.Cloud:
		return exitCredential
	case diagnosis.Consent, diagnosis.ReadDLP:
		return exitPermission
	case diagnosis.Clock:
		return exitClock
	case diagnosis.Interrupted:
		return exitInterrupt
	}
	return exitService
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// options are the flags.
type options struct {
	file, input string
	set         pairs
	json        bool
	timeout     time.Duration
	version     bool
}

// pairs are keys and values, in the order of the command line.
type pairs [][2]string

func (p *pairs) String() string { return "" }

func (p *pairs) Set(text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return errors.New("want key=value")
	}
	*p = append(*p, [2]string{key, value})
	return nil
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("office365-check", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		_, _ = io.WriteString(stderr, usage)
		f.PrintDefaults()
		_, _ = io.WriteString(stderr, statuses)
	}
	f.StringVar(&o.file, "c", "", "Fluent Bit configuration `file`: YAML by .yaml or .yml, else the classic format")
	f.StringVar(&o.input, "input", "", "the one input to check, by its `name` such as office365.0, its number there, its tag or its alias (default: all)")
	f.Var(&o.set, "set", "`key=value` of the input, over what the file says; may be repeated")
	f.BoolVar(&o.json, "json", false, "one JSON object instead of a table")
	f.DurationVar(&o.timeout, "timeout", 15*time.Second, "most time for one step")
	f.BoolVar(&o.version, "version", false, "print the version and end")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	var problem string
	switch {
	case o.version:
	case f.NArg() > 0:
		problem = fmt.Sprintf("%q is no flag; the configuration is given by -c", f.Arg(0))
	case o.file == "" && len(o.set) == 0:
		problem = "neither -c nor --set is given; see --help"
	case o.timeout <= 0:
		problem = "--timeout must be positive"
	}
	if problem != "" {
		_, _ = io.WriteString(stderr, "office365-check: "+problem+"\n")
		return o, errors.New(problem)
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitConfig
	case o.version:
		_, _ = io.WriteString(stdout, version+"\n")
		return exitOK
	}
	var r reporter = &table{out: stdout}
	if o.json {
		r = &document{out: stdout}
	}
	r.begin(o)
	var results []*result
	pipeline, inputs, err := chosenInputs(o)
	if err != nil {
		res := &result{Input: "-"}
		r.input(res)
		r.step(res, fails(stepConfiguration, diagnosis.Cause{Kind: diagnosis.Config, What: err.Error()}, nil))
		results = append(results, res)
	}
	for _, in := range inputs {
		results = append(results, checkInput(ctx, pipeline, in, o, r)...)
	}
	var cause diagnosis.Kind
	if i := slices.IndexFunc(results, func(res *result) bool { return res.Verdict == wrong }); i >= 0 {
		cause = results[i].Cause
	}
	status = exitStatus(cause)
	if ctx.Err() != nil { // whatever else was found: this is not all
		status = exitInterrupt
	}
	r.end(results, status)
	return status
}
