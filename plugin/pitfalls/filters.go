package pitfalls

import (
	"cmp"
	"strings"

	"in_office365/normalize"
	"in_office365/normalize/schema"
	"in_office365/plugin/hostfile"
)

// Names of filters.
const (
	rewriteTag   = "rewrite_tag"
	logToMetrics = "log_to_metrics"
)

// leavesKeys are filters that let records pass or not, and change none.
var leavesKeys = map[string]bool{"grep": true, "throttle": true, "stdout": true, rewriteTag: true, logToMetrics: true}

// filter looks at one that takes a tag. The records may have been changed before.
func (w *way) filter(f *hostfile.Section, tag string, changed bool) {
	switch f.Plugin {
	case "grep":
		if rule, m := w.grepDrops(f, changed); rule != "" {
			w.say(m.do, "the filter %s drops every audit record tagged %s by %s: %s", f.Label(), tag, rule, m.why)
		}
	case "throttle": // plugins/filter_throttle/throttle.c:99, throttle.h
		w.say("remove the filter, or let it match another tag", "the filter %s drops what exceeds a rate of %s in %s, of records tagged %s",
			f.Label(), cmp.Or(f.Get("rate"), "1"), cmp.Or(f.Get("interval"), "1s"), tag)
	case logToMetrics: // plugins/filter_log_to_metrics/log_to_metrics.c:1144
		if isOn(f.Get("discard_logs")) {
			w.say("set discard_logs off", "the filter %s drops every record tagged %s", f.Label(), tag)
		}
	case rewriteTag: // plugins/filter_rewrite_tag/rewrite_tag.c:602
		if kind := f.Get("emitter_storage.type"); kind == "" || strings.EqualFold(kind, "memory") {
			w.say("set emitter_storage.type filesystem on the filter",
				"the filter %s keeps the records that it gives a tag in memory only, so that those which no output has taken yet die with the process", f.Label())
		}
	}
}

// retags are the tags that a filter gives to records with that one, by rules KEY REGEX NEW_TAG KEEP.
func (w *way) retags(f *hostfile.Section, tag string) (tags []given) {
	for _, p := range f.Properties {
		fields := strings.Fields(p.Value)
		if p.Key != "rule" || len(fields) != 4 {
			continue
		}
		g := given{tag: strings.ReplaceAll(fields[2], "$TAG.", tag+"."), by: f, copies: isOn(fields[3])}
		if rest, ok := strings.CutSuffix(g.tag, "$TAG"); ok {
			g.tag = rest + tag
		}
		if before, _, ok := strings.Cut(g.tag, "$"); ok {
			g.tag = before + "*"
		}
		key := strings.TrimPrefix(fields[0], "$")
		g.toAll = !g.copies && everything[fields[1]] && (key == w.ownKey("tenant") || key == w.ownKey("tag") && w.inEveryRecord(key)) // notices have these too
		tags = append(tags, g)
	}
	return tags
}

// A match is what a rule of grep makes of audit records.
type match struct {
	answer  answer // yes: it matches all; no: none
	why, do string
}

// grepDrops names a rule of grep by which no record is left, "" if there may be some (plugins/filter_grep/grep.c:165, :240).
func (w *way) grepDrops(f *hostfile.Section, changed bool) (rule string, m match) {
	for _, p := range f.Properties {
		if p.Key != "regex" && p.Key != "exclude" {
			continue
		}
		keeps := p.Key == "regex"
		key, expression, _ := strings.Cut(p.Value, " ")
		rule, m = p.Key+" "+p.Value, w.matchesRecords(key, strings.TrimSpace(expression), changed)
		drops := keeps && m.answer == no || !keeps && m.answer == yes
		switch operation := strings.ToLower(f.Get("logical_op")); {
		case operation == "or" && keeps, operation == "and" && !keeps: // all rules have to
			if !drops {
				return "", m
			}
		case drops:
			return rule, m
		case keeps && operation != "and": // what it matches is kept, whatever follows
			return "", m
		default:
			rule = ""
		}
	}
	return rule, m
}

// matchesRecords says whether an expression matches the key of every audit record, or of none, and why. Only texts can match
// (src/flb_ra_key.c:374), and a dot or bracket leads into a map (src/flb_record_accessor.c), of which there is none.
func (w *way) matchesRecords(key, expression string, changed bool) match {
	if changed {
		return match{}
	}
	key = strings.TrimPrefix(key, "$")
	record, own := w.cfg.Record, w.ownKey("")
	top, inside, _ := strings.Cut(strings.ReplaceAll(key, "[", "."), ".")
	switch {
	case record.Format != normalize.FormatFlat && top != w.wholeKey() && !strings.HasPrefix(top, own):
		return match{no, "in this format no record has the key " + top, "use a key that there is, or format flat"}
	case record.Separator == '.' && inside != "" && !strings.Contains(key, "["):
		return match{no, "Fluent Bit looks for " + inside + " inside of " + top + ", and records are flat", "set separator _ on the input, and use it in the key"}
	case record.Format == normalize.FormatFlat && schema.StableType([]byte(key)) != schema.Any:
		do := "use a key that is a text"
		if name, ok := nameKeys[key]; ok {
			do = "use " + w.ownKey(name)
		}
		return match{no, "grep looks at texts only, and " + key + " is none", do}
	}
	if everything[expression] && w.inEveryRecord(key) {
		return match{yes, "it matches them all", "remove the rule"}
	}
	return match{}
}

// everything are expressions that match any text but an empty one.
var everything = map[string]bool{
	".": true, ".*": true, ".+": true, "^": true, "^.": true, "^.*": true, "^.+": true, "^.*$": true, "^.+$": true, "(.*)": true, "(.+)": true, "^(.*)$": true, "^(.+)$": true,
}

// nameKeys are the keys that the plugin adds with the names of numbers.
var nameKeys = map[string]string{"RecordType": "record_type", "UserType": "user_type", "LogonType": "logon_type"}

// ownKey is a key that the plugin adds.
func (w *way) ownKey(name string) string { return "o365" + string(w.cfg.Record.Separator) + name }

// inEveryRecord says whether every audit record has a key, by the plugin or by the common schema
// (https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-schema#common-schema), but for unreadable ones.
func (w *way) inEveryRecord(key string) bool {
	switch key {
	case w.ownKey("id"), w.ownKey("tenant"), w.ownKey("content_type"), w.wholeKey():
		return true
	case w.ownKey("tag"):
		return w.cfg.Record.EventTag != ""
	case "Id", "CreationTime", "Operation", "OrganizationId", "UserId", "Workload":
		return w.cfg.Record.Format == normalize.FormatFlat
	}
	return false
}

// wholeKey is the key that has all of a record as one line, "" if there is none.
func (w *way) wholeKey() string {
	switch w.cfg.Record.Format {
	case normalize.FormatFortiSIEM:
		return "message"
	case normalize.FormatRaw:
		return cmp.Or(w.cfg.Record.RawKey, normalize.DefaultRawKey)
	}
	return w.cfg.Record.RawKey
}
