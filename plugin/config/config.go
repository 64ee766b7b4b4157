// Package config turns the keys of a Fluent Bit input stanza into a validated [Config].
//
// It reads through [Getter], as Fluent Bit offers a plugin no list of the keys a user wrote. Where they are known nevertheless, [Lister],
// those that do not exist are refused; for where they are not, [Config.Summary] is to be logged once at start.
package config

import (
	"crypto/x509"
	"fmt"
	"math"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"in_office365/normalize"
	"in_office365/normalize/schema"
	"in_office365/o365"
	"in_office365/o365/auth"
)

// Getter reads one key of the stanza; an absent key and an empty one are both "".
type Getter interface {
	Get(key string) string
}

// A Lister is a Getter that knows which keys were written.
type Lister interface {
	Getter
	PluginKeys() []string
}

// Config is everything a user can decide. Each field is named after its key.
type Config struct {
	TenantID      string   // the first of Tenants
	Tenants       []string // of tenant_id, or what tenants_file named at the start
	TenantsFile   string
	ClientID      string          // empty with the system's managed identity
	Credential    auth.Credential // of whichever keys
	credentialKey []any           // its keys and values for the summary, secrets masked
	Exposed       []string        // files with a secret that every user of the machine may read

	Cloud               o365.Cloud
	Login               *url.URL // authentication_endpoint, or the cloud's
	TokenPath           string
	API                 *url.URL // api_endpoint, or the cloud's
	Audience            string
	ContentTypes        []o365.ContentType
	PublisherIdentifier string // empty: each tenant's own

	Start         Start
	PollInterval  time.Duration
	DB            string
	Workers       int
	RateLimit     int           // requests a minute
	BatchSize     int           // bytes
	BufferSize    int           // bytes
	HandOverRate  int           // bytes a second; 0: no limit
	StoragePath   string        // empty: as Fluent Bit's configuration has it
	MaxRecordSize int           // bytes
	DedupWindow   time.Duration // 0: off
	Settle        time.Duration
	Notices       bool

	MetricsAddress   string // host:port; empty: off
	MetricsPerTenant bool   // label metrics by tenant

	Record     normalize.Options // format, separator, nulls, name_value, expand_json, max_keys, raw_key, event_tag, phcustid, redact_dlp
	SchemaFile string

	HTTPProxy     *url.URL // nil: from the environment
	CAFile        string
	RootCAs       *x509.CertPool // nil: the system's
	HTTPTimeout   time.Duration
	AllowInsecure bool
}

// Start says how far back a first run reaches: to Time if it is set, else Back before now.
type Start struct {
	Time time.Time
	Back time.Duration
}

// From is the moment that a first run at now starts from.
func (s Start) From(now time.Time) time.Time {
	if !s.Time.IsZero() {
		return s.Time
	}
	return now.Add(-s.Back)
}

func (s Start) String() string {
	switch {
	case !s.Time.IsZero():
		return s.Time.Format(time.RFC3339)
	case s.Back == 0:
		return "now"
	default:
		return shortDuration(s.Back)
	}
}

// Defaults and bounds of the keys. The bounds keep a typing error ("4" for "4M") from becoming a collector that crawls or
// swallows the machine.
const (
	DefaultCloud        = "enterprise"
	DefaultStart        = o365.Retention
	DefaultPollInterval = time.Minute
	DefaultDB           = "office365.db"
	DefaultWorkers      = 8
	DefaultRateLimit    = 2000
	DefaultBatchSize    = 2_100_000  // Fluent Bit adds nothing to a chunk of more than 2,048,000 bytes (v5.1.1 src/flb_input_chunk.c:3388): one makes one
	DefaultHandOverRate = 26_000_000 // bytes a second: some 16,000 records
	DefaultBatches      = 4          // in the buffer at least
	// BufferedShare of a second's hand-over fits into the buffer: more than half of it may be in flight, and Fluent Bit looks for that
	// every 250 ms.
	BufferedShare      = 0.4
	DefaultMaxRecord   = 8_000_000
	DefaultDedupWindow = time.Hour
	DefaultSettle      = 5 * time.Second
	DefaultHTTPTimeout = time.Minute
	// DefaultPerTenant is the number of tenants up to which metrics_per_tenant is on: with five content types each, some 4,000 series.
	DefaultPerTenant = 20

	MaxWorkers    = 64
	MaxRateLimit  = 1_000_000
	MinBatchSize  = 64_000
	MaxBatchSize  = 256_000_000
	MaxBufferSize = 2_000_000_000
	MinRate       = 16_000
	// UnlimitedRate is what a buffer is made for where hand_over_rate is off: more than a machine normalizes.
	UnlimitedRate = 200_000_000
	MinRecordSize = 16_000
	MaxRecordSize = 256_000_000
	MaxMaxKeys    = 65_535
)

// formats are the values of the key format, in the order of normalize's constants.
var formats = [...]string{normalize.FormatFlat: "flat", normalize.FormatRaw: "raw", normalize.FormatFortiSIEM: "fortisiem"}

// Error is a key that cannot be used: one line that names the key, its value (never a secret) and what is allowed.
type Error struct {
	Key     string
	Value   string // as written; empty for a missing key, and for secrets
	Problem string // "is not a GUID"
	Allowed string // what to write instead
}

func (e *Error) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s %s: %s", e.Key, e.Problem, e.Allowed)
	}
	return fmt.Sprintf("%s %q %s: %s", e.Key, e.Value, e.Problem, e.Allowed)
}

// UnknownKeyError is a key that was written and does not exist.
type UnknownKeyError struct{ Key, Nearest string } // the key that was meant, probably, or ""

func (e *UnknownKeyError) Error() string { return e.Problem() + ": " + e.Hint() }

// Problem is the error without its hint.
func (e *UnknownKeyError) Problem() string { return e.Key + " is not a key of this plugin" }

// Hint says what to do.
func (e *UnknownKeyError) Hint() string {
	if e.Nearest == "" {
		return "remove it"
	}
	return "did you mean " + e.Nearest + "?"
}

// Parse reads, completes and checks the stanza. It opens files that keys name, and nothing else. The error is one line that names the
// key and what is allowed.
func Parse(stanza Getter) (*Config, error) {
	r := &reader{stanza: stanza, asked: map[string]bool{}}
	c := &Config{AllowInsecure: r.boolean("allow_insecure", false)}
	kind := r.credentialKind()
	r.tenants(c)
	c.ClientID = r.guid("client_id", "the application (client) ID, a GUID such as 11111111-2222-3333-4444-555555555555", kind != managedIdentityKey)
	c.PublisherIdentifier = r.guid("publisher_identifier", "a GUID: the tenant of whoever operates the collector", false)
	if c.PublisherIdentifier == "" && len(c.Tenants) == 1 && c.TenantsFile == "" {
		c.PublisherIdentifier = c.TenantID
	}
	r.credential(c, kind)
	r.endpoints(c)
	c.ContentTypes = r.contentTypes("content_types")
	c.Start = r.start("start_from")
	c.PollInterval = r.duration("poll_interval", DefaultPollInterval, time.Second, time.Hour)
	c.DB = r.text("db", DefaultDB)
	c.Workers = r.number("workers", DefaultWorkers, 1, MaxWorkers)
	c.RateLimit = r.rate("rate_limit", DefaultRateLimit)
	c.BatchSize = r.size("batch_size", DefaultBatchSize, MinBatchSize, MaxBatchSize)
	c.HandOverRate = r.sizeOrOff("hand_over_rate", DefaultHandOverRate, MinRate, MaxBufferSize)
	rate := c.HandOverRate
	if rate == 0 {
		rate = UnlimitedRate
	}
	c.BufferSize = r.size("buffer_size", max(DefaultBatches*c.BatchSize, int(BufferedShare*float64(rate))), MinBatchSize, MaxBufferSize)
	if c.BufferSize < c.BatchSize {
		r.fail("buffer_size", r.get("buffer_size"), "is smaller than batch_size", fmt.Sprintf("at least batch_size (%s)", shortSize(c.BatchSize)))
	}
	c.StoragePath = r.get("storage_path")
	c.MaxRecordSize = r.size("max_record_size", DefaultMaxRecord, MinRecordSize, MaxRecordSize)
	c.DedupWindow = r.durationOrOff("dedup_window", DefaultDedupWindow, time.Second, o365.Retention)
	c.Settle = r.duration("settle", DefaultSettle, time.Second, 10*time.Minute)
	c.Notices = r.boolean("notices", true)
	c.MetricsAddress = r.listenAddress("metrics_address")
	c.MetricsPerTenant = r.boolean("metrics_per_tenant", len(c.Tenants) <= DefaultPerTenant)
	r.record(&c.Record)
	c.SchemaFile = r.get("schema_file")
	c.Record.Names = r.schemaFile("schema_file", c.SchemaFile)
	r.proxy(c)
	r.certificates(c)
	c.HTTPTimeout = r.duration("http_timeout", DefaultHTTPTimeout, time.Second, time.Hour)
	if err := r.unknownKey(); err != nil { // before others: the key that was meant may be missing
		return nil, err
	}
	if r.err != nil {
		return nil, r.err
	}
	return c, nil
}

func (r *reader) endpoints(c *Config) {
	name := r.text("cloud", DefaultCloud)
	cloud, ok := o365.LookupCloud(strings.ToLower(name))
	if !ok {
		r.fail("cloud", name, "is not known", "one of "+strings.Join(o365.CloudNames(), ", "))
		cloud, _ = o365.LookupCloud(DefaultCloud) // to read on: who asked for no key could not tell that it is one
	}
	c.Cloud = cloud
	c.Login = r.endpoint("authentication_endpoint", cloud.LoginURL, c.AllowInsecure)
	c.API = r.endpoint("api_endpoint", cloud.APIURL, c.AllowInsecure)
	c.Audience = r.text("audience", cloud.Audience)
	path := r.text("token_path", auth.TokenPathV2)
	c.TokenPath = "/" + strings.Trim(path, "/")
	if c.TokenPath != auth.TokenPathV1 && c.TokenPath != auth.TokenPathV2 {
		r.fail("token_path", path, "is not known", auth.TokenPathV1+" (v1) or "+auth.TokenPathV2+" (v2)")
	}
}

func (r *reader) record(o *normalize.Options) {
	o.Format = normalize.Format(slices.Index(formats[:], r.choice("format", formats[:]...)))
	o.Separator = r.separator("separator")
	o.KeepNulls = r.choice("nulls", "drop", "keep") == "keep"
	o.NameValueColumns = r.choice("name_value", "fold", "columns") == "columns"
	o.ExpandJSON = r.list("expand_json")
	o.MaxKeys = r.number("max_keys", normalize.DefaultMaxKeys, 1, MaxMaxKeys)
	o.RawKey = r.get("raw_key")
	o.EventTag = r.text("event_tag", normalize.DefaultEventTag)
	if strings.EqualFold(o.EventTag, "off") { // Fluent Bit hands an empty value over as an absent key, so empty cannot say it
		o.EventTag = ""
	}
	o.PhCustID = int64(r.number("phcustid", normalize.DefaultPhCustID, 1, math.MaxInt32))
	o.RedactDLP = r.boolean("redact_dlp", false)
	if r.err != nil {
		return
	}
	if _, err := normalize.NewEncoder(*o); err != nil {
		r.err = err
	}
}

func (r *reader) schemaFile(key, path string) *schema.Names {
	if path == "" {
		return nil
	}
	const allowed = "a CSV file with the columns enum,value,name (enum RecordType, UserType or LogonType)"
	f, err := os.Open(path)
	if err != nil {
		r.fail(key, path, "cannot be read ("+pathless(err)+")", allowed)
		return nil
	}
	defer f.Close()
	names, err := schema.LoadNames(f)
	if err != nil {
		r.fail(key, path, "cannot be used ("+err.Error()+")", allowed)
	}
	return names
}

func (r *reader) proxy(c *Config) {
	v := r.get("http_proxy")
	if v == "" {
		return
	}
	full := v
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	if err != nil || u.Hostname() == "" || !validPort(u) || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		r.fail("http_proxy", redactUserinfo(v), "is not a proxy's address", "host:port or http://host:port, with user:password@ before the host where the proxy asks for it")
		return
	}
	c.HTTPProxy = u
}

func (r *reader) certificates(c *Config) {
	c.CAFile = r.get("ca_file")
	if c.CAFile == "" {
		return
	}
	const allowed = "a PEM file of certificates to trust besides the system's"
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		r.fail("ca_file", c.CAFile, "cannot be read ("+pathless(err)+")", allowed)
		return
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		r.fail("ca_file", c.CAFile, "holds no certificate", allowed)
		return
	}
	c.RootCAs = pool
}
