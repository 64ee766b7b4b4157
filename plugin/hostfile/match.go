package hostfile

import (
	"regexp"
	"strings"
)

// Takes says whether a filter or an output takes a tag, by its match and its match_regex, and whether that can be told.
func (s *Section) Takes(tag string) (takes, known bool) {
	if match := s.Get("match"); match != "" && Matches(match, tag) {
		return true, true
	}
	expression := s.Get("match_regex")
	if expression == "" {
		return false, true
	}
	return matchesExpression(expression, tag)
}

// Matches says whether a tag is one that the value of match is meant for, in which * is any text (src/flb_router.c:39).
func Matches(pattern, tag string) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == tag
	}
	tag, found := strings.CutPrefix(tag, before)
	if !found {
		return false
	}
	for i := range len(tag) + 1 {
		if Matches(after, tag[i:]) {
			return true
		}
	}
	return false
}

// plain are expressions that mean the same in Go as in Onigmo, Fluent Bit's library, with ONIG_SYNTAX_RUBY: letters, classes of them,
// groups, alternatives, and what repeats them.
var plain = regexp.MustCompile(`^(?:[A-Za-z0-9_.*+?^$|()-]|\\[.dw$*+?|()-]|\[\^?[A-Za-z0-9_.-]+\])*$`)

// matchesExpression says whether an expression matches the tag from its beginning, with at least one byte (src/flb_router.c:71), and whether
// that can be told.
func matchesExpression(expression, tag string) (matches, known bool) {
	if !plain.MatchString(expression) || strings.Contains(expression, "(?") {
		return false, false
	}
	r, err := regexp.Compile("^(?:" + expression + ")")
	if err != nil {
		return false, false
	}
	return len(r.FindString(tag)) > 0, true
}
