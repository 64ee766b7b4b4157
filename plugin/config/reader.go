package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"in_office365/normalize"
	"in_office365/o365"
)

// clockTolerance is how far the local clock may be behind.
const clockTolerance = 24 * time.Hour

// reader takes values out of a stanza and remembers the first that cannot be used, so that Parse reads as a list.
type reader struct {
	stanza   Getter
	fallback map[string]string // values of keys that are not written, before the defaults
	asked    map[string]bool   // every key that there is: Parse asks for all of them, whatever is wrong with some
	err      error
}

func (r *reader) fail(key, value, problem, allowed string) {
	if r.err == nil {
		r.err = &Error{Key: key, Value: value, Problem: problem, Allowed: allowed}
	}
}

func (r *reader) get(key string) string {
	if key != "" {
		r.asked[key] = true
	}
	if v := strings.TrimSpace(r.stanza.Get(key)); v != "" {
		return v
	}
	return strings.TrimSpace(r.fallback[key])
}

func (r *reader) text(key, fallback string) string {
	if v := r.get(key); v != "" {
		return v
	}
	return fallback
}

// guid is kept in lower case, as the API spells it.
func (r *reader) guid(key, allowed string, required bool) string {
	v := r.get(key)
	switch {
	case v == "" && required:
		r.fail(key, "", "is missing", allowed)
	case v != "" && !o365.IsGUID(v):
		r.fail(key, v, "is not a GUID", allowed)
	}
	return strings.ToLower(v)
}

func (r *reader) boolean(key string, fallback bool) bool {
	switch v := r.get(key); strings.ToLower(v) {
	case "":
		return fallback
	case "on", "true", "yes": // the spellings of Fluent Bit v5.1.1 src/flb_utils.c:757
		return true
	case "off", "false", "no":
		return false
	default:
		r.fail(key, v, "is not a boolean", "on or off")
		return fallback
	}
}

// choice takes the first of the allowed words for an absent key.
func (r *reader) choice(key string, allowed ...string) string {
	v := r.get(key)
	if v == "" {
		return allowed[0]
	}
	for _, word := range allowed {
		if strings.EqualFold(v, word) {
			return word
		}
	}
	r.fail(key, v, "is not known", "one of "+strings.Join(allowed, ", "))
	return allowed[0]
}

func (r *reader) number(key string, fallback, least, most int) int {
	v := r.get(key)
	if v == "" {
		return fallback
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		r.fail(key, v, "is not a number in range", fmt.Sprintf("a whole number from %d to %d", least, most))
		return fallback
	}
	return n
}

// size follows Fluent Bit: a suffix K, M or G, with or without B, counts thousands (v5.1.1 src/flb_utils.c:527).
func (r *reader) size(key string, fallback, least, most int) int {
	v := r.get(key)
	if v == "" {
		return fallback
	}
	number, unit := strings.ToUpper(v), 1
	number = strings.TrimSuffix(number, "B")
	for suffix, u := range map[string]int{"K": 1_000, "M": 1_000_000, "G": 1_000_000_000} {
		if n, found := strings.CutSuffix(number, suffix); found {
			number, unit = n, u
		}
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if n := f * float64(unit); err == nil && n >= float64(least) && n <= float64(most) {
		return int(n)
	}
	r.fail(key, v, "is not a size in range", fmt.Sprintf("a size such as 4M, from %s to %s", shortSize(least), shortSize(most)))
	return fallback
}

func (r *reader) sizeOrOff(key string, fallback, least, most int) int {
	switch strings.ToLower(r.get(key)) {
	case "off", "false", "no":
		return 0
	}
	return r.size(key, fallback, least, most)
}

func (r *reader) duration(key string, fallback, least, most time.Duration) time.Duration {
	return r.durationOr(key, fallback, least, most, "")
}

func (r *reader) durationOr(key string, fallback, least, most time.Duration, orElse string) time.Duration {
	v := r.get(key)
	if v == "" {
		return fallback
	}
	d, err := parseDuration(v)
	if err != nil || d < least || d > most {
		r.fail(key, v, "is not a duration in range", fmt.Sprintf("a duration such as 30s, 5m, 24h or 7d, from %s to %s%s", shortDuration(least), shortDuration(most), orElse))
		return fallback
	}
	return d
}

func (r *reader) durationOrOff(key string, fallback, least, most time.Duration) time.Duration {
	switch v := r.get(key); strings.ToLower(v) {
	case "off", "false", "no":
		return 0
	default:
		return r.durationOr(key, fallback, least, most, ", or off")
	}
}

// parseDuration reads Go's durations, days ("7d"), and a bare number as seconds, as Fluent Bit does.
func parseDuration(s string) (time.Duration, error) {
	s = strings.ToLower(s)
	if days, found := strings.CutSuffix(s, "d"); found {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	return time.ParseDuration(s)
}

// rate is a number of requests a minute, written 2000/m, 30/s, or 2000.
func (r *reader) rate(key string, fallback int) int {
	v := r.get(key)
	if v == "" {
		return fallback
	}
	number, unit, _ := strings.Cut(strings.ToLower(v), "/")
	perMinute := map[string]int{"": 1, "m": 1, "min": 1, "minute": 1, "s": 60, "sec": 60, "second": 60}[strings.TrimSpace(unit)]
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil || n < 1 || n > MaxRateLimit || perMinute == 0 || n*perMinute > MaxRateLimit {
		r.fail(key, v, "is not a rate in range", fmt.Sprintf("requests a minute such as 2000/m, at most %d/m", MaxRateLimit))
		return fallback
	}
	return n * perMinute
}

func (r *reader) list(key string) []string {
	if r.get(key) == "" {
		return nil
	}
	return strings.FieldsFunc(r.get(key), func(c rune) bool { return c == ',' || c == ' ' || c == '\t' })
}

func (r *reader) contentTypes(key string) []o365.ContentType {
	all := o365.ContentTypes()
	words := r.list(key)
	if len(words) == 0 {
		return all
	}
	var types []o365.ContentType
	seen := map[o365.ContentType]bool{}
	for _, word := range words {
		t, err := o365.ParseContentType(word)
		if err != nil {
			names := make([]string, len(all))
			for i, t := range all {
				names[i] = string(t)
			}
			r.fail(key, word, "is not a content type", "any of "+strings.Join(names, ", "))
			return nil
		}
		if !seen[t] {
			seen[t] = true
			types = append(types, t)
		}
	}
	return types
}

func (r *reader) start(key string) Start {
	v := r.get(key)
	switch strings.ToLower(v) {
	case "":
		return Start{Back: DefaultStart}
	case "now":
		return Start{}
	}
	if t, err := time.Parse(time.RFC3339, strings.ToUpper(v)); err == nil {
		if t.After(time.Now().Add(clockTolerance)) {
			r.fail(key, v, "lies in the future", "a time that has passed, or now")
		}
		return Start{Time: t.UTC()}
	}
	if d, err := parseDuration(v); err == nil && d >= 0 && d <= o365.Retention {
		return Start{Back: d}
	}
	r.fail(key, v, "is not a starting point", "now, a duration back of at most 7d (the API keeps no more), or a time such as 2026-01-31T00:00:00Z")
	return Start{}
}

func (r *reader) separator(key string) byte {
	v := r.get(key)
	if v == "" {
		return normalize.DefaultSeparator
	}
	if len(v) != 1 || strings.IndexByte(normalize.Separators, v[0]) < 0 {
		r.fail(key, v, "cannot be used", "one of "+strings.Join(strings.Split(normalize.Separators, ""), " "))
		return normalize.DefaultSeparator
	}
	return v[0]
}

// endpoint is the address of a host, written with or without its scheme.
func (r *reader) endpoint(key, fallback string, allowInsecure bool) *url.URL {
	v := r.text(key, fallback)
	full := v
	if !strings.Contains(full, "://") {
		full = "https://" + full
	}
	u, err := url.Parse(full)
	switch {
	case err != nil || o365.CheckEndpoint(u, true) != nil || !validPort(u) || strings.Trim(u.Path, "/") != "":
		r.fail(key, redactUserinfo(v), "is not a host", "a host name such as "+strings.TrimPrefix(fallback, "https://")+", with or without https://")
		return nil
	case o365.CheckEndpoint(u, allowInsecure) != nil:
		r.fail(key, v, "is plain http", "https, since the credential travels there; allow_insecure on permits http")
	}
	u.Path = ""
	return u
}

// loopback is where a server listens whose host is not written.
const loopback = "127.0.0.1"

// listenAddress is where a server listens: off, which is "", or a port, or host:port.
func (r *reader) listenAddress(key string) string {
	v := r.get(key)
	switch strings.ToLower(v) {
	case "", "off", "false", "no":
		return ""
	}
	host, port, err := net.SplitHostPort(v)
	if err != nil {
		host, port = "", v // or it is no port either
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil || strings.ContainsAny(host, " /@") {
		r.fail(key, v, "is no address to listen on", "off, a port such as 2021 (of "+loopback+" only), or host:port such as 0.0.0.0:2021 or [::]:2021 (for others to reach)")
		return ""
	}
	if host == "" {
		host = loopback
	}
	return net.JoinHostPort(host, port)
}

func validPort(u *url.URL) bool {
	_, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Port() == "" || err == nil
}

// redactUserinfo hides what may be a password or a key in an address that could not be used: what stands before an @ or behind a ?.
func redactUserinfo(address string) string {
	address, _, _ = strings.Cut(address, "?")
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		return "***@" + address[i+1:]
	}
	return address
}

// pathless is a file error without the path, which the message names already.
func pathless(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
