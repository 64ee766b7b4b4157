package config

import (
	"fmt"
	"strings"
	"time"

	"in_office365/normalize"
)

const masked = "***"

// Summary is the effective configuration as key=value pairs, secrets masked, for the one line logged at start.
func (c *Config) Summary() []any {
	onOff := map[bool]string{true: "on", false: "off"}
	types := make([]string, len(c.ContentTypes))
	for i, t := range c.ContentTypes {
		types[i] = string(t)
	}
	pairs := c.tenantSummary()
	if c.ClientID != "" {
		pairs = append(pairs, "client_id", c.ClientID)
	}
	pairs = append(pairs, c.credentialKey...)
	handOver := "off"
	if c.HandOverRate > 0 {
		handOver = shortSize(c.HandOverRate)
	}
	pairs = append(pairs,
		"cloud", c.Cloud.Name,
		"authentication_endpoint", c.Login.String(),
		"token_path", c.TokenPath,
		"api_endpoint", c.API.String(),
		"audience", c.Audience,
		"content_types", strings.Join(types, ","),
		"publisher_identifier", c.publisherSummary(),
		"start_from", c.Start.String(),
		"poll_interval", shortDuration(c.PollInterval),
		"db", c.DB,
		"workers", c.Workers,
		"rate_limit", fmt.Sprintf("%d/m", c.RateLimit),
		"batch_size", shortSize(c.BatchSize),
		"buffer_size", shortSize(c.BufferSize),
		"hand_over_rate", handOver,
		"max_record_size", shortSize(c.MaxRecordSize),
		"format", formats[c.Record.Format],
		"separator", string(rune(c.Record.Separator)),
		"nulls", map[bool]string{true: "keep", false: "drop"}[c.Record.KeepNulls],
		"name_value", map[bool]string{true: "columns", false: "fold"}[c.Record.NameValueColumns],
		"max_keys", c.Record.MaxKeys,
		"event_tag", orOff(c.Record.EventTag),
	)
	if c.StoragePath != "" {
		pairs = append(pairs, "storage_path", c.StoragePath)
	}
	if len(c.Record.ExpandJSON) > 0 {
		pairs = append(pairs, "expand_json", strings.Join(c.Record.ExpandJSON, ","))
	}
	if c.SchemaFile != "" {
		pairs = append(pairs, "schema_file", c.SchemaFile)
	}
	if c.Record.RawKey != "" {
		pairs = append(pairs, "raw_key", c.Record.RawKey)
	}
	if c.Record.Format == normalize.FormatFortiSIEM {
		pairs = append(pairs, "phcustid", c.Record.PhCustID)
	}
	dedup := "off"
	if c.DedupWindow > 0 {
		dedup = shortDuration(c.DedupWindow)
	}
	pairs = append(pairs,
		"redact_dlp", onOff[c.Record.RedactDLP],
		"dedup_window", dedup,
		"settle", shortDuration(c.Settle),
		"notices", onOff[c.Notices],
		"metrics_address", orOff(c.MetricsAddress),
		"metrics_per_tenant", onOff[c.MetricsPerTenant],
		"http_timeout", shortDuration(c.HTTPTimeout),
	)
	if c.HTTPProxy != nil {
		pairs = append(pairs, "http_proxy", c.HTTPProxy.Redacted())
	}
	if c.CAFile != "" {
		pairs = append(pairs, "ca_file", c.CAFile)
	}
	if c.AllowInsecure {
		pairs = append(pairs, "allow_insecure", "on")
	}
	return pairs
}

func orOff(s string) string {
	if s == "" {
		return "off"
	}
	return s
}

// shortDuration writes a duration as a user would: 7d, 24h, 5m, 30s.
func shortDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d > day && d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	default:
		return d.String()
	}
}

// shortSize writes a size as a user would: 4M, 64K.
func shortSize(n int) string {
	switch {
	case n >= 1_000_000_000 && n%1_000_000_000 == 0:
		return fmt.Sprintf("%dG", n/1_000_000_000)
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n >= 1_000 && n%1_000 == 0:
		return fmt.Sprintf("%dK", n/1_000)
	default:
		return fmt.Sprint(n)
	}
}
