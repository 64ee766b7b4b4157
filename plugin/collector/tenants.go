package collector

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"in_office365/plugin/config"
)

const (
	// tenantsInterval is how often tenants_file is read again.
	tenantsInterval = 10 * time.Second
	// spreadMost bounds the time over which the first listings of many tenants are spread.
	spreadMost = time.Minute
	// namedMost is how many tenants a line of the log names.
	namedMost = 5
)

// several says that tenants have to be told apart: there are several, or may be.
func (c *Collector) several() bool { return len(c.cfg.Tenants) > 1 || c.cfg.TenantsFile != "" }

// begin starts these tenants, spread over a poll interval; a single one at once. Those that were collected before go on where they were.
func (c *Collector) begin(ctx context.Context, ids []string) error {
	spread := min(c.cfg.PollInterval, spreadMost)
	for i, id := range ids {
		t := c.tenants[id]
		if t == nil {
			var err error
			if t, err = newTenant(c, id); err != nil {
				return err
			}
			c.changeTenants(func() { c.tenants[id] = t })
		}
		t.start(ctx, spread*time.Duration(i)/time.Duration(len(ids)))
		c.changeTenants(func() { c.active = append(c.active, id) })
	}
	return nil
}

func (c *Collector) changeTenants(change func()) {
	c.tenantsChange.Lock()
	defer c.tenantsChange.Unlock()
	change()
}

// watch follows tenants_file. It is read rather than watched by inotify, which does not see what happens to a ConfigMap or behind a bind
// mount. A change counts when it is read twice: once could be in the middle of a write.
func (c *Collector) watch(ctx context.Context) {
	var changed []string
	for sleep(ctx, tenantsInterval) {
		ids, err := config.ReadTenants(c.cfg.TenantsFile)
		if err != nil {
			c.readingTenants.report(err, "the tenants stay as they are until it can be used")
			changed = nil
			continue
		}
		c.readingTenants.over()
		switch added, removed := without(ids, c.active), without(c.active, ids); {
		case len(added)+len(removed) == 0:
			changed = nil
		case !slices.Equal(ids, changed):
			changed = ids
		default:
			if err := c.change(ctx, added, removed); err != nil {
				c.addingTenants.report(err, "")
				continue
			}
			c.addingTenants.over()
			c.log.Info("tenants_file has changed; what the db knows of removed tenants is kept",
				"tenants", len(c.active), "added", names(added), "removed", names(removed))
		}
	}
}

// change stops some tenants and starts others. What the ledger knows of a tenant stays there for when it comes back.
func (c *Collector) change(ctx context.Context, added, removed []string) error {
	for _, id := range removed {
		c.tenants[id].cancel()
	}
	for _, id := range removed {
		c.tenants[id].stop()
	}
	c.changeTenants(func() { c.active = without(c.active, removed) })
	return c.begin(ctx, added)
}

// without returns those of ids that are not among the others.
func without(ids, others []string) (left []string) {
	known := map[string]bool{}
	for _, id := range others {
		known[id] = true
	}
	for _, id := range ids {
		if !known[id] {
			left = append(left, id)
		}
	}
	return left
}

func names(ids []string) string {
	switch n := len(ids); {
	case n == 0:
		return "none"
	case n > namedMost:
		return strings.Join(ids[:namedMost], ",") + " and " + strconv.Itoa(n-namedMost) + " more"
	default:
		return strings.Join(ids, ",")
	}
}
