package records_test

import (
	"encoding/json"
	"strings"
	"testing"

	"in_office365/test/tenant/records"
)

// decode makes record i of a family and decodes it into v.
func decode(t *testing.T, family string, i uint64, v any) {
	t.Helper()
	if err := json.Unmarshal(records.AppendFamily(nil, family, 1, i, noon), v); err != nil {
		t.Fatal(err)
	}
}

func TestDirectoryChangesHoldIndentedJSONText(t *testing.T) {
	var r struct {
		ModifiedProperties []struct{ Name, NewValue string }
	}
	decode(t, "entra-directory", 0, &r)
	for _, p := range r.ModifiedProperties {
		if p.Name != "StrongAuthenticationMethod" {
			continue
		}
		if !strings.HasPrefix(p.NewValue, "[\r\n  {\r\n    \"MethodType\": ") || !json.Valid([]byte(p.NewValue)) {
			t.Errorf("NewValue = %q, want an indented list", p.NewValue)
		}
		return
	}
	t.Error("no StrongAuthenticationMethod")
}

func TestAlertsHoldJSONTextThatParses(t *testing.T) {
	for i := range uint64(200) { // titles in it have escapes of their own
		var alert struct{ Data string }
		var investigation struct {
			Data    string
			Actions []string
		}
		decode(t, "security-alert", i, &alert)
		decode(t, "automated-investigation", i, &investigation)
		for _, text := range append(investigation.Actions, alert.Data, investigation.Data) {
			var object map[string]any
			if err := json.Unmarshal([]byte(text), &object); err != nil {
				t.Fatalf("record %d: %v in %s", i, err, text)
			}
		}
	}
}

func TestDLPMatchesAreDeep(t *testing.T) {
	for _, family := range []string{"dlp-exchange", "dlp-sharepoint"} {
		var r any
		decode(t, family, 0, &r)
		if got := depth(r); got < 8 || got > 11 {
			t.Errorf("%s: depth %d, want 8 to 11", family, got)
		}
	}
}

// depth counts the objects and arrays on the longest way down.
func depth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, member := range v {
			deepest = max(deepest, depth(member))
		}
	case []any:
		for _, element := range v {
			deepest = max(deepest, depth(element))
		}
	default:
		return 0
	}
	return deepest + 1
}

func TestTenantSettingsAreLarge(t *testing.T) {
	for i := range uint64(20) {
		if n := len(records.AppendFamily(nil, "teams-settings", 1, i, noon)); n < 88_000 || n > 105_000 {
			t.Errorf("record %d: %d bytes, want 88 to 105 kB", i, n)
		}
	}
}

func TestInsightsAreFlat(t *testing.T) {
	var r map[string]any
	decode(t, "insights-api", 0, &r)
	if len(r) < 11 || len(r) > 15 || depth(r) != 1 {
		t.Errorf("%d keys of depth %d, want 11 to 15 of depth 1", len(r), depth(r))
	}
}

func TestEveryFormOfAddressOccurs(t *testing.T) {
	forms := map[string]func(string) bool{
		"IPv4":              func(s string) bool { return strings.Count(s, ".") == 3 && strings.Trim(s, "0123456789.") == "" },
		"IPv4 with a port":  func(s string) bool { return strings.Count(s, ":") == 1 && strings.Count(s, ".") == 3 && s[0] != '[' },
		"IPv6":              func(s string) bool { return strings.HasPrefix(s, "2001:db8:") },
		"[IPv6]":            func(s string) bool { return strings.HasPrefix(s, "[2001:") && strings.HasSuffix(s, "]") },
		"[IPv6] with port":  func(s string) bool { return strings.HasPrefix(s, "[2001:") && strings.Contains(s, "]:") },
		"[IPv4] with port":  func(s string) bool { return strings.HasPrefix(s, "[") && strings.Contains(s, ".") },
		"mapped":            func(s string) bool { return strings.HasPrefix(s, "::ffff:") },
		"mapped, broken":    func(s string) bool { return strings.HasPrefix(s, "ffff:") },
		"empty":             func(s string) bool { return s == "" },
		"the text <null>":   func(s string) bool { return s == "<null>" },
		"a trailing blank":  func(s string) bool { return strings.HasSuffix(s, " ") },
		"masked":            func(s string) bool { return strings.HasPrefix(s, "XX.") },
		"a host":            func(s string) bool { return s == "gateway.contoso.example" },
		"a host and a port": func(s string) bool { return s == "localhost:8080" },
		"no address at all": func(s string) bool { return strings.HasPrefix(s, "NOTANIPV4") },
	}
	for i := range uint64(2000) {
		var r struct{ ClientIP *string }
		decode(t, "unheard-of", i, &r)
		if r.ClientIP == nil {
			continue
		}
		for name, is := range forms {
			if is(*r.ClientIP) {
				delete(forms, name)
			}
		}
	}
	for name := range forms {
		t.Errorf("%s: does not occur", name)
	}
}

func TestLargeIntegersKeepTheirDigits(t *testing.T) {
	const beyondFloat64 = 1 << 53
	var r struct{ MessageId, ThreadId uint64 }
	decode(t, "viva-engage", 0, &r)
	if r.MessageId <= beyondFloat64 || r.ThreadId <= beyondFloat64 {
		t.Errorf("MessageId %d, ThreadId %d; want both beyond 2^53", r.MessageId, r.ThreadId)
	}
}
