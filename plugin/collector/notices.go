package collector

import (
	"context"
	"time"

	"in_office365/normalize"
	"in_office365/o365"
)

// The kinds of notices: o365_notice of the records that the collector makes itself.
const (
	noticeGap                  = "gap"                   // a span that can't be listed any more and never was
	noticeBlobLost             = "blob_lost"             // a blob that expired or vanished before it could be fetched
	noticeSubscriptionStarted  = "subscription_started"  // a content type was not subscribed; it is now
	noticeSubscriptionDisabled = "subscription_disabled" // a content type was switched off while it was collected
	noticeAccessRefused        = "access_refused"        // the tenant, the credential or the permission is refused
	noticeCredentialExpiring   = "credential_expiring"   // the credential ends soon, or has ended
	noticeThrottled            = "throttled"             // the API asked for fewer requests
	noticeLedgerReset          = "ledger_reset"          // the db was damaged and begun anew
	noticeLedgerUnwritable     = "ledger_unwritable"     // the db can't be written: a restart would repeat records
)

// noticeKinds are all of them.
var noticeKinds = [...]string{
	noticeGap, noticeBlobLost, noticeSubscriptionStarted, noticeSubscriptionDisabled, noticeAccessRefused, noticeCredentialExpiring, noticeThrottled,
	noticeLedgerReset, noticeLedgerUnwritable,
}

// throttleNoticeInterval is the shortest time between two notices of throttling.
const throttleNoticeInterval = 15 * time.Minute

// announce puts a notice on its way to the host; then, which may be nil, runs once it has settled. It waits while the queue is full.
func (c *Collector) announce(ctx context.Context, n *normalize.Notice, then func()) {
	c.stats.notice(n.Kind)
	if !c.cfg.Notices {
		if then != nil {
			then()
		}
		return
	}
	n.Tenant, n.Time = c.cfg.TenantID, c.client.Now()
	event := c.encodeNotice(n)
	// The only error is that of ctx. A notice that ends with the process is made again by the next, as what it stands for is not settled.
	_ = c.queue.putNotice(ctx, event, then)
}

func (c *Collector) encodeNotice(n *normalize.Notice) []byte {
	c.notices.Lock()
	defer c.notices.Unlock()
	return c.notices.encoder.AppendNotice(nil, n)
}

func (c *Collector) announceThrottling(ctx context.Context, t o365.ContentType, err error) {
	now := time.Now()
	c.notices.Lock()
	announce := c.notices.throttled.IsZero() || now.Sub(c.notices.throttled) >= throttleNoticeInterval
	if announce {
		c.notices.throttled = now
	}
	c.notices.Unlock()
	if announce {
		c.announce(ctx, &normalize.Notice{Kind: noticeThrottled, ContentType: string(t), Reason: err.Error()}, nil)
	}
}
