package config_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"in_office365/plugin/config"
)

const second = "22222222-3333-4444-5555-666666666666"

// guids makes n tenants, a line each.
func guids(n int) string {
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "11111111-2222-3333-4444-%012d\n", i)
	}
	return lines.String()
}

func TestTenants(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		listed  string // tenant_id
		file    string // what tenants_file holds
		want    []string
		summary string
	}{
		{"one", tenant, "", []string{tenant}, "tenant_id " + tenant + " "},
		{"several, by comma and blank", tenant + ", " + strings.ToUpper(client) + " " + second, "", []string{tenant, client, second}, "tenant_id " + tenant + "," + client + "," + second + " "},
		{"a file", "", "\xef\xbb\xbf# of the north\r\n" + tenant + "\tContoso Ltd\r\n\r\n  " + strings.ToUpper(client) + "# and of the south", []string{tenant, client}, "tenants 2 "},
		{"a file of one", "", second, []string{second}, "tenants 1 "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			keys := minimal(stanza{"tenant_id": tc.listed})
			if tc.file != "" {
				keys["tenants_file"] = file(t, tc.file)
			}
			c, err := config.Parse(keys)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(c.Tenants, tc.want) || c.TenantID != tc.want[0] {
				t.Errorf("tenants %v, the first %s, want %v", c.Tenants, c.TenantID, tc.want)
			}
			if line := fmt.Sprintln(c.Summary()...); !strings.Contains(line, tc.summary) {
				t.Errorf("no %q in the summary: %s", tc.summary, line)
			}
			// Each tenant's own, but where there is one for good.
			if alone := len(tc.want) == 1 && tc.file == ""; (c.PublisherIdentifier == "") == alone {
				t.Errorf("publisher_identifier %q", c.PublisherIdentifier)
			}
		})
	}
}

func TestLongListOfTenantsMakesNoLongLine(t *testing.T) {
	t.Parallel()
	c, err := config.Parse(minimal(stanza{"tenant_id": strings.ReplaceAll(guids(500), "\n", " ")}))
	if err != nil {
		t.Fatal(err)
	}
	if line := fmt.Sprintln(c.Summary()...); !strings.Contains(line, " and 499 more") || len(line) > 1000 {
		t.Errorf("%d bytes: %s", len(line), line)
	}
}

func TestTenantsRefused(t *testing.T) {
	t.Parallel()
	const aFile = "a file with a tenant's GUID on each line; # begins a comment"
	for _, tc := range []struct {
		listed string
		file   string // what tenants_file holds; "-": there is none
		want   string // FILE stands for its path
	}{
		{tenant + "," + strings.ToUpper(tenant), "", `tenant_id "` + tenant + `" is listed twice: each tenant once`},
		{tenant + " contoso", "", `tenant_id "contoso" is not a GUID: the directory (tenant) ID, a GUID such as 11111111-2222-3333-4444-555555555555`},
		{strings.ReplaceAll(guids(1001), "\n", ","), "", `tenant_id lists too many tenants: 1000 at most`},
		{tenant, second, `tenant_id and tenants_file are both set: exactly one of them`},
		{"", "-", `tenants_file "FILE" cannot be used (no such file or directory): ` + aFile},
		{"", "# nobody\n\n", `tenants_file "FILE" cannot be used (it names no tenant): ` + aFile},
		{"", tenant + "\nContoso\n", `tenants_file "FILE" cannot be used (line 2 does not begin with a GUID): ` + aFile},
		{"", tenant + "\n#\n" + strings.ToUpper(tenant) + "\n", `tenants_file "FILE" cannot be used (line 3 repeats the tenant of line 1): ` + aFile},
		{"", guids(1001), `tenants_file "FILE" cannot be used (it names 1001 tenants, 1000 at most are allowed): ` + aFile},
		{"", strings.Repeat("#", 1_000_001), `tenants_file "FILE" cannot be used (it is larger than 1M): ` + aFile},
	} {
		t.Run(tc.want, func(t *testing.T) {
			t.Parallel()
			keys, path := minimal(stanza{"tenant_id": tc.listed}), ""
			switch tc.file {
			case "":
			case "-":
				path = filepath.Join(t.TempDir(), "missing")
			default:
				path = file(t, tc.file)
			}
			keys["tenants_file"] = path
			_, err := config.Parse(keys)
			var refused *config.Error
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want a *config.Error", err)
			}
			if want := strings.Replace(tc.want, "FILE", path, 1); err.Error() != want {
				t.Errorf("got  %s\nwant %s", err, want)
			}
		})
	}
}
