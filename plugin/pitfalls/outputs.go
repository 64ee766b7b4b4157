package pitfalls

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"in_office365/normalize"
	"in_office365/plugin/hostfile"
)

// neverRetry are outputs that ask for a retry only for a chunk that cannot be decoded, or never.
var neverRetry = []string{"null", "stdout", "counter", "flowcounter", "plot", "lib"}

// output looks at one that takes records of the input. They may have been changed before.
func (w *way) output(o *hostfile.Section, changed bool) {
	if given, ok := givesUp(o.Get("retry_limit")); ok && !slices.Contains(neverRetry, o.Plugin) {
		w.say("set retry_limit no_limits", "the output %s gives up %s and drops records", o.Label(), given)
	}
	// src/flb_output.c:1154
	if limit := o.Get("storage.total_limit_size"); limit != "" && limit != "0" && !isOff(limit) {
		w.say("remove it, and leave room on the volume of storage.path",
			"the output %s drops its oldest records when more than storage.total_limit_size %s wait for it", o.Label(), limit)
	}
	switch o.Plugin {
	case "syslog":
		w.syslog(o, changed)
	case "es", "opensearch":
		w.index(o)
	}
}

// givesUp says when an output gives up, unless it never does (src/flb_output.c:1000).
func givesUp(limit string) (when string, ok bool) {
	switch strings.ToLower(limit) {
	case "no_limits", "false", "off":
		return "", false
	case "no_retries":
		return "without a retry", true
	}
	digits := strings.TrimLeft(limit, "+")
	if i := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		digits = digits[:i]
	}
	if n, err := strconv.Atoi(digits); err == nil && n > 1 {
		return fmt.Sprintf("after %d retries", n), true
	}
	return "after 1 retry", true // the default, also in place of what is no number
}

// wantedMessage is how long a message should be allowed to be. Few records are longer; conf/outputs allows for more.
const wantedMessage = 64 << 10

// syslog cuts what is longer than a limit, without a word (plugins/out_syslog/syslog.c:859).
func (w *way) syslog(o *hostfile.Section, changed bool) {
	name, key, whole := o.Label(), o.Get("syslog_message_key"), w.wholeKey()
	if mode := strings.ToLower(o.Get("mode")); mode == "" || mode == "udp" {
		w.say("set mode tcp or mode tls", "the output %s sends by UDP, where what is lost is lost in silence", name)
	}
	switch {
	case key == "":
		w.say("set syslog_message_key "+cmp.Or(whole, normalize.DefaultRawKey)+w.raw(), "the output %s sends empty messages without syslog_message_key", name)
		return
	case whole == "" && key == normalize.DefaultRawKey && !changed:
		w.say("set raw_key "+key+" on the input", "the output %s sends empty messages, as records have no key %s", name, key)
		return
	case key != whole && !changed:
		return
	}
	most := 2048 // plugins/out_syslog/syslog_conf.c:155
	if strings.EqualFold(o.Get("syslog_format"), "rfc3164") {
		most = 1024
	}
	if n, ok := bytesOf(o.Get("syslog_maxsize")); ok && n > 0 {
		most = n
	}
	if most < wantedMessage {
		w.say("set syslog_maxsize 1M", "the output %s cuts records at %d bytes", name, most)
	}
}

// raw is what makes records have a key that holds them, if they have none.
func (w *way) raw() string {
	if w.wholeKey() == "" {
		return ", and raw_key " + normalize.DefaultRawKey + " on the input"
	}
	return ""
}

// bytesOf reads a size as Fluent Bit does, to the extent that it matters here (src/flb_utils.c:527).
func bytesOf(size string) (bytes int, ok bool) {
	number := strings.TrimSuffix(strings.ToUpper(size), "B")
	unit := 1
	for suffix, of := range map[string]int{"K": 1_000, "M": 1_000_000, "G": 1_000_000_000} {
		if n, found := strings.CutSuffix(number, suffix); found {
			number, unit = n, of
		}
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	return int(n * float64(unit)), err == nil
}

// index looks at how documents get their ids: by id_key a record that comes again has that of the first, and is refused.
func (w *way) index(o *hostfile.Section) {
	switch {
	case isOn(o.Get("generate_id")), o.Get("upstream") != "": // an id made of the content; nodes with keys of their own
	case o.Get("id_key") == "":
		w.say("set id_key "+w.ownKey("id"), "the output %s stores a record that comes again a second time", o.Label())
	// A record without that key, a notice, is sent under the id of the one before it, unless its line is made anew
	// (plugins/out_es/es.c:889, plugins/out_opensearch/opensearch.c:603).
	case w.cfg.Notices && !isOn(o.Get("logstash_format")) && (o.Plugin != "opensearch" || !strings.Contains(o.Get("index"), "$")):
		w.say("set logstash_format on", "the output %s sends a notice, which has no id, under the id of the record before it, so that the server refuses it", o.Label())
	}
}
