package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"in_office365/normalize"
	"in_office365/o365"
	"in_office365/plugin/config"
)

// stanza is an input section; as in Fluent Bit, a key that is not there reads as "".
type stanza map[string]string

func (s stanza) Get(key string) string { return s[key] }

const (
	tenant = "11111111-2222-3333-4444-555555555555"
	client = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
)

// minimal has what has no default. Keys given on top replace it; an empty value removes.
func minimal(keys stanza) stanza {
	s := stanza{"tenant_id": tenant, "client_id": client, "client_secret": "s3cr3t"}
	for k, v := range keys {
		s[k] = v
	}
	return s
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := config.Parse(minimal(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		key       string
		got, want any
	}{
		{"tenant_id", c.TenantID, tenant},
		{"client_id", c.ClientID, client},
		{"cloud", c.Cloud.Name, "enterprise"},
		{"authentication_endpoint", c.Login.String(), "https://login.microsoftonline.com"},
		{"token_path", c.TokenPath, "/oauth2/v2.0/token"},
		{"api_endpoint", c.API.String(), "https://manage.office.com"},
		{"audience", c.Audience, "https://manage.office.com"},
		{"content_types", c.ContentTypes, o365.ContentTypes()},
		{"publisher_identifier", c.PublisherIdentifier, tenant},
		{"start_from", c.Start, config.Start{Back: 7 * 24 * time.Hour}},
		{"poll_interval", c.PollInterval, time.Minute},
		{"db", c.DB, "office365.db"},
		{"workers", c.Workers, 8},
		{"rate_limit", c.RateLimit, 2000},
		{"batch_size", c.BatchSize, 2_100_000},
		{"buffer_size", c.BufferSize, 10_400_000},
		{"hand_over_rate", c.HandOverRate, 26_000_000},
		{"max_record_size", c.MaxRecordSize, 8_000_000},
		{"dedup_window", c.DedupWindow, time.Hour},
		{"settle", c.Settle, 5 * time.Second},
		{"notices", c.Notices, true},
		{"metrics_address", c.MetricsAddress, ""},
		{"metrics_per_tenant", c.MetricsPerTenant, true},
		{"http_timeout", c.HTTPTimeout, time.Minute},
		{"allow_insecure", c.AllowInsecure, false},
		{"record keys", c.Record, normalize.Options{
			Separator: '_', MaxKeys: 512, EventTag: "OFFICE365_EVENT_DATA", PhCustID: 1,
		}},
	} {
		if !reflect.DeepEqual(tc.got, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.key, tc.got, tc.want)
		}
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	names := file(t, "enum,value,name\nRecordType,9999,Brand New\n")
	for _, tc := range []struct {
		name string
		keys stanza
		got  func(*config.Config) any
		want any
	}{
		{"GUIDs in lower case", stanza{"tenant_id": strings.ToUpper(client)}, func(c *config.Config) any { return c.TenantID }, client},
		{"blanks around a value", stanza{"client_id": " " + tenant + "\t"}, func(c *config.Config) any { return c.ClientID }, tenant},
		{"publisher of its own", stanza{"publisher_identifier": client}, func(c *config.Config) any { return c.PublisherIdentifier }, client},
		{"cloud sets the login host", stanza{"cloud": "GCC_High"}, func(c *config.Config) any { return c.Login.String() }, "https://login.microsoftonline.us"},
		{"cloud sets the API host", stanza{"cloud": "dod"}, func(c *config.Config) any { return c.API.String() }, "https://manage.protection.apps.mil"},
		{"cloud sets the audience", stanza{"cloud": "gcc"}, func(c *config.Config) any { return c.Audience }, "https://manage-gcc.office.com"},
		{"host without https", stanza{"authentication_endpoint": "login.example.com"}, func(c *config.Config) any { return c.Login.String() }, "https://login.example.com"},
		{"host with https and a slash", stanza{"api_endpoint": "https://api.example.com/"}, func(c *config.Config) any { return c.API.String() }, "https://api.example.com"},
		{"plain http to loopback", stanza{"api_endpoint": "http://127.0.0.1:8080"}, func(c *config.Config) any { return c.API.String() }, "http://127.0.0.1:8080"},
		{"plain http where allowed", stanza{"api_endpoint": "http://api.example.com", "allow_insecure": "on"}, func(c *config.Config) any { return c.API.String() }, "http://api.example.com"},
		{"audience of its own", stanza{"audience": "https://other.example.com"}, func(c *config.Config) any { return c.Audience }, "https://other.example.com"},
		{"token path v1", stanza{"token_path": "/oauth2/token"}, func(c *config.Config) any { return c.TokenPath }, "/oauth2/token"},
		{"token path without slash", stanza{"token_path": "oauth2/v2.0/token"}, func(c *config.Config) any { return c.TokenPath }, "/oauth2/v2.0/token"},
		{"content types by comma and blank", stanza{"content_types": "dlp.all, Audit.General Audit.General"}, func(c *config.Config) any { return c.ContentTypes }, []o365.ContentType{o365.DLPAll, o365.AuditGeneral}},
		{"start now", stanza{"start_from": "now"}, func(c *config.Config) any { return c.Start }, config.Start{}},
		{"start some time back", stanza{"start_from": "24h"}, func(c *config.Config) any { return c.Start }, config.Start{Back: 24 * time.Hour}},
		{"start at a time", stanza{"start_from": "2026-01-31T12:00:00+01:00"}, func(c *config.Config) any { return c.Start }, config.Start{Time: time.Date(2026, 1, 31, 11, 0, 0, 0, time.UTC)}},
		{"bare seconds", stanza{"poll_interval": "90"}, func(c *config.Config) any { return c.PollInterval }, 90 * time.Second},
		{"days", stanza{"dedup_window": "2d"}, func(c *config.Config) any { return c.DedupWindow }, 48 * time.Hour},
		{"dedup off", stanza{"dedup_window": "off"}, func(c *config.Config) any { return c.DedupWindow }, time.Duration(0)},
		{"bare bytes", stanza{"batch_size": "100000"}, func(c *config.Config) any { return c.BatchSize }, 100_000},
		{"kilobytes", stanza{"batch_size": "512k"}, func(c *config.Config) any { return c.BatchSize }, 512_000},
		{"megabytes", stanza{"buffer_size": "1.5MB", "batch_size": "1M"}, func(c *config.Config) any { return c.BufferSize }, 1_500_000},
		{"four batches", stanza{"batch_size": "3M"}, func(c *config.Config) any { return c.BufferSize }, 12_000_000},
		{"a part of a second's hand-over", stanza{"hand_over_rate": "100M"}, func(c *config.Config) any { return c.BufferSize }, 40_000_000},
		{"no limit", stanza{"hand_over_rate": "off"}, func(c *config.Config) any { return [2]int{c.HandOverRate, c.BufferSize} }, [2]int{0, 80_000_000}},
		{"gigabytes", stanza{"buffer_size": "1G"}, func(c *config.Config) any { return c.BufferSize }, 1_000_000_000},
		{"rate by the second", stanza{"rate_limit": "10/s"}, func(c *config.Config) any { return c.RateLimit }, 600},
		{"bare rate", stanza{"rate_limit": "300"}, func(c *config.Config) any { return c.RateLimit }, 300},
		{"notices off", stanza{"notices": "No"}, func(c *config.Config) any { return c.Notices }, false},
		{"metrics off", stanza{"metrics_address": "Off"}, func(c *config.Config) any { return c.MetricsAddress }, ""},
		{"metrics for this machine", stanza{"metrics_address": "2021"}, func(c *config.Config) any { return c.MetricsAddress }, "127.0.0.1:2021"},
		{"metrics without a host", stanza{"metrics_address": ":2021"}, func(c *config.Config) any { return c.MetricsAddress }, "127.0.0.1:2021"},
		{"metrics for all", stanza{"metrics_address": "0.0.0.0:2021"}, func(c *config.Config) any { return c.MetricsAddress }, "0.0.0.0:2021"},
		{"metrics for all, IPv6 too", stanza{"metrics_address": "[::]:2021"}, func(c *config.Config) any { return c.MetricsAddress }, "[::]:2021"},
		{"metrics at a name", stanza{"metrics_address": "localhost:0"}, func(c *config.Config) any { return c.MetricsAddress }, "localhost:0"},
		{"metrics of all tenants in one", stanza{"metrics_per_tenant": "off"}, func(c *config.Config) any { return c.MetricsPerTenant }, false},
		{"metrics of few tenants apart", stanza{"tenant_id": strings.ReplaceAll(guids(20), "\n", " ")}, func(c *config.Config) any { return c.MetricsPerTenant }, true},
		{"metrics of many tenants in one", stanza{"tenant_id": strings.ReplaceAll(guids(21), "\n", " ")}, func(c *config.Config) any { return c.MetricsPerTenant }, false},
		{"metrics of many tenants apart", stanza{"tenant_id": strings.ReplaceAll(guids(21), "\n", " "), "metrics_per_tenant": "on"}, func(c *config.Config) any { return c.MetricsPerTenant }, true},
		{"format", stanza{"format": "FortiSIEM"}, func(c *config.Config) any { return c.Record.Format }, normalize.FormatFortiSIEM},
		{"separator", stanza{"separator": "."}, func(c *config.Config) any { return c.Record.Separator }, byte('.')},
		{"nulls", stanza{"nulls": "keep"}, func(c *config.Config) any { return c.Record.KeepNulls }, true},
		{"name/value lists", stanza{"name_value": "columns"}, func(c *config.Config) any { return c.Record.NameValueColumns }, true},
		{"keys to expand", stanza{"expand_json": "Data,ModifiedProperties_AppId_NewValue"}, func(c *config.Config) any { return c.Record.ExpandJSON }, []string{"Data", "ModifiedProperties_AppId_NewValue"}},
		{"most keys", stanza{"max_keys": "64"}, func(c *config.Config) any { return c.Record.MaxKeys }, 64},
		{"raw key", stanza{"raw_key": "message"}, func(c *config.Config) any { return c.Record.RawKey }, "message"},
		{"event tag", stanza{"event_tag": "M365"}, func(c *config.Config) any { return c.Record.EventTag }, "M365"},
		{"event tag off", stanza{"event_tag": "off"}, func(c *config.Config) any { return c.Record.EventTag }, ""},
		{"customer", stanza{"phcustid": "2001"}, func(c *config.Config) any { return c.Record.PhCustID }, int64(2001)},
		{"redaction", stanza{"redact_dlp": "on"}, func(c *config.Config) any { return c.Record.RedactDLP }, true},
		{"schema file", stanza{"schema_file": names}, func(c *config.Config) any { return c.Record.Names != nil }, true},
		{"proxy without scheme", stanza{"http_proxy": "proxy.example.com:3128"}, func(c *config.Config) any { return c.HTTPProxy.String() }, "http://proxy.example.com:3128"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, err := config.Parse(minimal(tc.keys))
			if err != nil {
				t.Fatal(err)
			}
			if got := tc.got(c); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// Every refusal is one line that names the key, its value unless that is secret, and what is allowed.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const (
		aTenant    = "the directory (tenant) ID, a GUID such as 11111111-2222-3333-4444-555555555555"
		anApp      = "the application (client) ID, a GUID such as 11111111-2222-3333-4444-555555555555"
		aPublisher = "a GUID: the tenant of whoever operates the collector"
		aDuration  = "a duration such as 30s, 5m, 24h or 7d, "
		aStart     = "now, a duration back of at most 7d (the API keeps no more), or a time such as 2026-01-31T00:00:00Z"
		aProxy     = "host:port or http://host:port, with user:password@ before the host where the proxy asks for it"
		anAddress  = "off, a port such as 2021 (of 127.0.0.1 only), or host:port such as 0.0.0.0:2021 or [::]:2021 (for others to reach)"
		anEnum     = "a CSV file with the columns enum,value,name (enum RecordType, UserType or LogonType)"
	)
	noPEM := file(t, "not a certificate")
	missing := filepath.Join(t.TempDir(), "missing")
	for _, tc := range []struct {
		keys stanza
		want string
	}{
		{stanza{"tenant_id": ""}, "tenant_id is missing: " + aTenant},
		{stanza{"tenant_id": "contoso.example.com"}, `tenant_id "contoso.example.com" is not a GUID: ` + aTenant},
		{stanza{"client_id": ""}, "client_id is missing: " + anApp},
		{stanza{"client_id": tenant[1:]}, `client_id "` + tenant[1:] + `" is not a GUID: ` + anApp},
		{stanza{"publisher_identifier": "me"}, `publisher_identifier "me" is not a GUID: ` + aPublisher},
		{stanza{"metrics_address": "on"}, `metrics_address "on" is no address to listen on: ` + anAddress},
		{stanza{"metrics_address": "127.0.0.1"}, `metrics_address "127.0.0.1" is no address to listen on: ` + anAddress},
		{stanza{"metrics_address": "0.0.0.0:65536"}, `metrics_address "0.0.0.0:65536" is no address to listen on: ` + anAddress},
		{stanza{"metrics_address": "http://localhost:2021"}, `metrics_address "http://localhost:2021" is no address to listen on: ` + anAddress},
		{stanza{"metrics_address": "::1:2021"}, `metrics_address "::1:2021" is no address to listen on: ` + anAddress},
		{stanza{"metrics_per_tenant": "some"}, `metrics_per_tenant "some" is not a boolean: on or off`},
		{stanza{"cloud": "germany"}, `cloud "germany" is not known: one of enterprise, gcc, gcc_high, dod, china`},
		{stanza{"authentication_endpoint": "ftp://login.example.com"}, `authentication_endpoint "ftp://login.example.com" is not a host: a host name such as login.microsoftonline.com, with or without https://`},
		{stanza{"authentication_endpoint": "user:pw@login.example.com"}, `authentication_endpoint "***@login.example.com" is not a host: a host name such as login.microsoftonline.com, with or without https://`},
		{stanza{"api_endpoint": "https://"}, `api_endpoint "https://" is not a host: a host name such as manage.office.com, with or without https://`},
		{stanza{"api_endpoint": "manage.office.com/api/v1.0"}, `api_endpoint "manage.office.com/api/v1.0" is not a host: a host name such as manage.office.com, with or without https://`},
		{stanza{"api_endpoint": "manage.office.com:99999"}, `api_endpoint "manage.office.com:99999" is not a host: a host name such as manage.office.com, with or without https://`},
		{stanza{"api_endpoint": "http://api.example.com"}, `api_endpoint "http://api.example.com" is plain http: https, since the credential travels there; allow_insecure on permits http`},
		{stanza{"token_path": "/token"}, `token_path "/token" is not known: /oauth2/token (v1) or /oauth2/v2.0/token (v2)`},
		{stanza{"content_types": "Audit.General,Audit.Teams"}, `content_types "Audit.Teams" is not a content type: any of Audit.AzureActiveDirectory, Audit.Exchange, Audit.SharePoint, Audit.General, DLP.All`},
		{stanza{"start_from": "yesterday"}, `start_from "yesterday" is not a starting point: ` + aStart},
		{stanza{"start_from": "8d"}, `start_from "8d" is not a starting point: ` + aStart},
		{stanza{"start_from": "2999-01-01T00:00:00Z"}, `start_from "2999-01-01T00:00:00Z" lies in the future: a time that has passed, or now`},
		{stanza{"poll_interval": "often"}, `poll_interval "often" is not a duration in range: ` + aDuration + `from 1s to 1h`},
		{stanza{"poll_interval": "0"}, `poll_interval "0" is not a duration in range: ` + aDuration + `from 1s to 1h`},
		{stanza{"workers": "0"}, `workers "0" is not a number in range: a whole number from 1 to 64`},
		{stanza{"workers": "many"}, `workers "many" is not a number in range: a whole number from 1 to 64`},
		{stanza{"rate_limit": "2000/h"}, `rate_limit "2000/h" is not a rate in range: requests a minute such as 2000/m, at most 1000000/m`},
		{stanza{"rate_limit": "0"}, `rate_limit "0" is not a rate in range: requests a minute such as 2000/m, at most 1000000/m`},
		{stanza{"batch_size": "4"}, `batch_size "4" is not a size in range: a size such as 4M, from 64K to 256M`},
		{stanza{"batch_size": "big"}, `batch_size "big" is not a size in range: a size such as 4M, from 64K to 256M`},
		{stanza{"buffer_size": "1M"}, `buffer_size "1M" is smaller than batch_size: at least batch_size (2100K)`},
		{stanza{"max_record_size": "1G"}, `max_record_size "1G" is not a size in range: a size such as 4M, from 16K to 256M`},
		{stanza{"dedup_window": "30d"}, `dedup_window "30d" is not a duration in range: ` + aDuration + `from 1s to 7d, or off`},
		{stanza{"settle": "100ms"}, `settle "100ms" is not a duration in range: ` + aDuration + `from 1s to 10m`},
		{stanza{"notices": "maybe"}, `notices "maybe" is not a boolean: on or off`},
		{stanza{"format": "cef"}, `format "cef" is not known: one of flat, raw, fortisiem`},
		{stanza{"separator": "#"}, `separator "#" cannot be used: one of _ . - : /`},
		{stanza{"nulls": "some"}, `nulls "some" is not known: one of drop, keep`},
		{stanza{"name_value": "list"}, `name_value "list" is not known: one of fold, columns`},
		{stanza{"max_keys": "0"}, `max_keys "0" is not a number in range: a whole number from 1 to 65535`},
		{stanza{"phcustid": "x"}, `phcustid "x" is not a number in range: a whole number from 1 to 2147483647`},
		{stanza{"schema_file": missing}, `schema_file "` + missing + `" cannot be read (no such file or directory): ` + anEnum},
		{stanza{"redact_dlp": "2"}, `redact_dlp "2" is not a boolean: on or off`},
		{stanza{"http_proxy": "socks5://proxy"}, `http_proxy "socks5://proxy" is not a proxy's address: ` + aProxy},
		{stanza{"http_proxy": "http://me:pw@"}, `http_proxy "***@" is not a proxy's address: ` + aProxy},
		{stanza{"http_proxy": "http://proxy.example.com/?token=x"}, `http_proxy "http://proxy.example.com/" is not a proxy's address: ` + aProxy},
		{stanza{"ca_file": missing}, `ca_file "` + missing + `" cannot be read (no such file or directory): a PEM file of certificates to trust besides the system's`},
		{stanza{"ca_file": noPEM}, `ca_file "` + noPEM + `" holds no certificate: a PEM file of certificates to trust besides the system's`},
		{stanza{"http_timeout": "2h"}, `http_timeout "2h" is not a duration in range: ` + aDuration + `from 1s to 1h`},
		{stanza{"allow_insecure": "1"}, `allow_insecure "1" is not a boolean: on or off`},
	} {
		t.Run(fmt.Sprint(tc.keys), func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse(minimal(tc.keys))
			var refused *config.Error
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want a *config.Error", err)
			}
			if err.Error() != tc.want {
				t.Errorf("got  %s\nwant %s", err, tc.want)
			}
		})
	}
}

// What the encoder refuses comes through as it says it.
func TestRecordKeysThatContradict(t *testing.T) {
	t.Parallel()
	for _, keys := range []stanza{{"raw_key": "o365_id"}, {"raw_key": "message", "format": "fortisiem"}} {
		_, err := config.Parse(minimal(keys))
		if err == nil || !strings.Contains(err.Error(), "raw_key") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", keys, err)
		}
	}
	bad := file(t, "enum,value,name\nColour,1,red\n")
	_, err := config.Parse(minimal(stanza{"schema_file": bad}))
	if err == nil || !strings.HasPrefix(err.Error(), `schema_file "`+bad+`" cannot be used (`) {
		t.Error(err)
	}
}

func TestSummaryMasksSecrets(t *testing.T) {
	t.Parallel()
	c, err := config.Parse(minimal(stanza{"http_proxy": "http://me:proxypw@proxy.example.com"}))
	if err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintln(c.Summary()...)
	for _, secret := range []string{"s3cr3t", "proxypw"} {
		if strings.Contains(line, secret) {
			t.Errorf("the summary shows %q: %s", secret, line)
		}
	}
	for _, part := range []string{"client_secret ***", "me:xxxxx@proxy.example.com", "start_from 7d", "batch_size 2100K", "rate_limit 2000/m", "metrics_address off", "metrics_per_tenant on"} {
		if !strings.Contains(line, part) {
			t.Errorf("no %q in the summary: %s", part, line)
		}
	}
}
