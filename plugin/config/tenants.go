package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"in_office365/o365"
)

const (
	// MaxTenants bounds what one instance takes on: each tenant costs some 160 kB.
	MaxTenants = 1000
	// maxTenantsFile is more than a file of MaxTenants lines with comments needs.
	maxTenantsFile = 1_000_000
)

// tenants are named by exactly one of tenant_id and tenants_file.
func (r *reader) tenants(c *Config) {
	const allowed = "the directory (tenant) ID, a GUID such as 11111111-2222-3333-4444-555555555555"
	c.TenantsFile = r.get("tenants_file")
	listed := r.list("tenant_id")
	switch {
	case len(listed) > 0 && c.TenantsFile != "":
		r.fail("tenant_id", "", "and tenants_file are both set", "exactly one of them")
	case c.TenantsFile != "":
		var err error
		if c.Tenants, err = ReadTenants(c.TenantsFile); err != nil {
			r.fail("tenants_file", c.TenantsFile, "cannot be used ("+pathless(err)+")", "a file with a tenant's GUID on each line; # begins a comment")
		}
	case len(listed) == 0:
		r.fail("tenant_id", "", "is missing", allowed)
	default:
		known := map[string]bool{}
		for _, written := range listed {
			id := strings.ToLower(written)
			switch {
			case !o365.IsGUID(id):
				r.fail("tenant_id", written, "is not a GUID", allowed)
			case known[id]:
				r.fail("tenant_id", written, "is listed twice", "each tenant once")
			}
			known[id] = true
			c.Tenants = append(c.Tenants, id)
		}
		if len(c.Tenants) > MaxTenants {
			r.fail("tenant_id", "", "lists too many tenants", fmt.Sprintf("%d at most", MaxTenants))
		}
	}
	if len(c.Tenants) > 0 {
		c.TenantID = c.Tenants[0]
	}
}

// ReadTenants reads a tenants_file: a GUID on each line. What follows behind a space, or behind #, is for people.
func ReadTenants(path string) (ids []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTenantsFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxTenantsFile:
		return nil, errors.New("it is larger than " + shortSize(maxTenantsFile))
	}
	known := map[string]int{}
	lines := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	lines.Buffer(nil, maxTenantsFile+1)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		id := strings.ToLower(words[0])
		switch first := known[id]; {
		case !o365.IsGUID(id):
			return nil, fmt.Errorf("line %d does not begin with a GUID", n)
		case first > 0:
			return nil, fmt.Errorf("line %d repeats the tenant of line %d", n, first)
		}
		known[id] = n
		ids = append(ids, id)
	}
	switch {
	case len(ids) == 0:
		return nil, errors.New("it names no tenant")
	case len(ids) > MaxTenants:
		return nil, fmt.Errorf("it names %d tenants, %d at most are allowed", len(ids), MaxTenants)
	}
	return ids, nil
}

// tenantSummary are the pairs of Summary that say which tenants there are.
func (c *Config) tenantSummary() []any {
	switch {
	case c.TenantsFile != "":
		return []any{"tenants_file", c.TenantsFile, "tenants", len(c.Tenants)}
	case len(c.Tenants) > 10:
		return []any{"tenant_id", fmt.Sprintf("%s and %d more", c.TenantID, len(c.Tenants)-1)}
	default:
		return []any{"tenant_id", strings.Join(c.Tenants, ",")}
	}
}

// publisherSummary is what is sent as PublisherIdentifier.
func (c *Config) publisherSummary() string {
	if c.PublisherIdentifier == "" {
		return "each tenant"
	}
	return c.PublisherIdentifier
}
