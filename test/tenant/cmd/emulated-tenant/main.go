// Command emulated-tenant serves an emulated Office 365 tenant on a loopback address, for trying the plugin by hand
// and for end-to-end tests.
//
// Its first line of output is a JSON object with the URL (login endpoint and API alike), the tenant's ids, and how many records it
// offers from the start. On SIGTERM or SIGINT it prints the account of what was offered and fetched as a second JSON object, and ends.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"in_office365/test/tenant"
	"in_office365/test/tenant/records"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "emulated-tenant:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	listen    string
	config    tenant.Config
	types     string
	blobs     int
	records   int
	bytes     int64
	family    string
	span      time.Duration
	live      time.Duration
	lateEvery int
	lateBy    time.Duration
	errorRate float64
	ids       string
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var subscribed bool
	f := flag.NewFlagSet("emulated-tenant", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "loopback `address` to listen on")
	f.StringVar(&o.config.ID, "tenant", tenant.DefaultID, "tenant `GUID`")
	f.StringVar(&o.config.ClientID, "client-id", tenant.DefaultClientID, "application `GUID`")
	f.StringVar(&o.config.ClientSecret, "client-secret", tenant.DefaultClientSecret, "client secret")
	f.StringVar(&o.config.Audience, "audience", tenant.DefaultAudience, "`resource` that tokens must be for")
	f.DurationVar(&o.config.TokenLife, "token-life", tenant.DefaultTokenLife, "life of a token")
	f.IntVar(&o.config.PageSize, "page-size", tenant.DefaultPageSize, "blobs per listing page")
	f.BoolVar(&o.config.Gzip, "gzip", false, "compress for clients that accept it")
	f.DurationVar(&o.config.Latency, "latency", 0, "added to every call")
	f.IntVar(&o.config.CallsPerMinute, "rate-limit", 0, "calls per minute before AF429; 0: no limit")
	f.DurationVar(&o.config.Skew, "skew", 0, "the tenant's clock less the local one")
	f.Uint64Var(&o.config.Seed, "seed", 1, "of the records and the errors")
	f.BoolVar(&subscribed, "subscribed", false, "all content types are subscribed from the start")
	f.StringVar(&o.types, "content-types", strings.Join(tenant.ContentTypes(), ","), "comma-separated `list` of the content types that have blobs")
	f.IntVar(&o.blobs, "blobs", 10, "blobs per content type at the start")
	f.IntVar(&o.records, "records", 100, "records per blob")
	f.Int64Var(&o.bytes, "bytes", 0, "least size of a blob instead of -records")
	f.StringVar(&o.family, "family", "", "`name` of the family all records are of; with -records only")
	f.DurationVar(&o.span, "span", 24*time.Hour, "contentCreated of the blobs is spread over this time before the start")
	f.DurationVar(&o.live, "live", 0, "a new blob per content type each so often; 0: none")
	f.IntVar(&o.lateEvery, "late-every", 0, "every so many-th blob is listed late; 0: none")
	f.DurationVar(&o.lateBy, "late-by", 30*time.Minute, "how late")
	f.Float64Var(&o.errorRate, "error-rate", 0, "share of the API calls answered with status 503, 0 to 1")
	f.StringVar(&o.ids, "ids", "", "at the end, `file` to write a line for each record offered to: content type, contentId, Id")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if subscribed {
		o.config.Subscribed = tenant.ContentTypes()
	}
	return o, o.check()
}

func (o *options) check() error {
	host, _, err := net.SplitHostPort(o.listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("-listen %s: not a loopback address", o.listen)
	}
	for _, ct := range o.contentTypes() {
		if !slices.Contains(tenant.ContentTypes(), ct) {
			return fmt.Errorf("-content-types: %q is none of %s", ct, strings.Join(tenant.ContentTypes(), ", "))
		}
	}
	if o.family != "" && !slices.Contains(records.Families(), o.family) {
		return fmt.Errorf("-family: %q is none of %s", o.family, strings.Join(records.Families(), ", "))
	}
	switch {
	case o.errorRate < 0 || o.errorRate > 1:
		return fmt.Errorf("-error-rate %v: not between 0 and 1", o.errorRate)
	case o.blobs < 0 || o.records < 0 || o.bytes < 0 || o.config.PageSize < 1 || o.live < 0 || o.config.TokenLife < time.Second:
		return fmt.Errorf("-blobs, -records, -bytes, -live must not be negative, -page-size at least 1, -token-life at least 1s")
	}
	return nil
}

func (o *options) contentTypes() []string { return strings.Split(o.types, ",") }

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	t := tenant.New(o.config)
	p := publisher{tenant: t, options: &o}
	now := t.Now()
	for i := range o.blobs {
		p.publish(now.Add(-o.span + time.Duration(float64(o.span)*float64(i)/float64(o.blobs))))
	}
	if o.errorRate > 0 {
		for _, op := range []tenant.Operation{tenant.ListSubscriptions, tenant.StartSubscription, tenant.ListContent, tenant.FetchBlob} {
			t.Inject(tenant.Fault{Operation: op, Probability: o.errorRate}, tenant.HTMLPage(http.StatusServiceUnavailable))
		}
	}

	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: t, ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	out := json.NewEncoder(stdout)
	err = out.Encode(map[string]any{
		"url": "http://" + listener.Addr().String(), "tenant_id": t.Config().ID, "client_id": t.Config().ClientID, "records": p.records,
	})
	if err != nil {
		server.Close()
		<-served
		return err
	}

	var tick <-chan time.Time
	if o.live > 0 {
		ticker := time.NewTicker(o.live)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-tick:
			p.publish(t.Now())
			continue
		case err = <-served:
			return err
		case <-ctx.Done():
		}
		break
	}
	server.Close() // in mid-answer too: whoever listens sees the connection break
	<-served
	account := t.Account()
	if o.ids != "" {
		if err := writeIDs(o.ids, account); err != nil {
			return err
		}
	}
	return out.Encode(account)
}

// publisher makes the blobs.
type publisher struct {
	tenant  *tenant.Tenant
	options *options
	blobs   int
	records uint64
}

// publish offers a blob per content type.
func (p *publisher) publish(created time.Time) {
	for _, ct := range p.options.contentTypes() {
		source := tenant.Generated{Seed: p.options.config.Seed, First: p.records, Records: p.options.records, Family: p.options.family}
		if p.options.bytes > 0 {
			// A seed of its own: where the next blob's records begin is known only when this one's are counted.
			source = tenant.Sized(ct, p.options.config.Seed+uint64(p.blobs)<<32, p.options.bytes)
		}
		c := tenant.Content{ContentType: ct, Created: created, Source: source}
		p.blobs++
		p.records += uint64(source.Records)
		if p.options.lateEvery > 0 && p.blobs%p.options.lateEvery == 0 {
			c.Visible = created.Add(p.options.lateBy)
		}
		p.tenant.Add(c)
	}
}

func writeIDs(path string, a tenant.Account) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	w := bufio.NewWriter(f)
	for _, b := range a.Blobs {
		for id := range b.Source.IDs() {
			fmt.Fprintf(w, "%s %s %s\n", b.ContentType, b.ID, id) // a write error stays with w
		}
	}
	return w.Flush()
}
