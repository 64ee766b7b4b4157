package collector

import (
	"context"
	"slices"
	"sync"
	"time"

	"in_office365/normalize"
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
	noticeStorageFull          = "storage_full"          // there is no room for Fluent Bit's chunks: nothing is handed over
)

// noticeKinds are all of them.
var noticeKinds = [...]string{
	noticeGap, noticeBlobLost, noticeSubscriptionStarted, noticeSubscriptionDisabled, noticeAccessRefused, noticeCredentialExpiring, noticeThrottled,
	noticeLedgerReset, noticeLedgerUnwritable, noticeStorageFull,
}

// throttleNoticeInterval is the shortest time between two notices of throttling.
const throttleNoticeInterval = 15 * time.Minute

// announce puts a notice on its way to the host; then, which may be nil, runs once it has settled. It waits while the queue is full. The
// only error is that of ctx: a notice that ends with the process is made again by the next, as what it stands for is not settled.
func (c *Collector) announce(ctx context.Context, n *normalize.Notice, then func()) error {
	c.stats.notice(n.Kind)
	c.given.add(NoticeStatus{At: time.Now(), Kind: n.Kind, Tenant: n.Tenant, ContentType: n.ContentType, Reason: n.Reason})
	if !c.cfg.Notices {
		if then != nil {
			then()
		}
		return nil
	}
	event := c.encodeNotice(n)
	return c.queue.PutNotice(ctx, event, &noticeOnItsWay{c: c, event: event, then: then})
}

// announceOfAll announces what concerns the whole instance: under the name of its tenant, if that is the only one.
func (c *Collector) announceOfAll(ctx context.Context, n *normalize.Notice) {
	if !c.several() {
		_ = c.tenants[c.cfg.Tenants[0]].announce(ctx, n, nil)
		return
	}
	n.Time = c.client.Now()
	_ = c.announce(ctx, n, nil)
}

func (c *Collector) encodeNotice(n *normalize.Notice) []byte {
	c.notices.Lock()
	defer c.notices.Unlock()
	return c.notices.encoder.AppendNotice(nil, n)
}

// keptNotices is how many notices a status has.
const keptNotices = 50

// notices are the last that were given.
type notices struct {
	mu   sync.Mutex
	kept []NoticeStatus // the oldest first
}

func (n *notices) add(s NoticeStatus) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.kept) == keptNotices {
		n.kept = slices.Delete(n.kept, 0, 1)
	}
	n.kept = append(n.kept, s)
}

// last returns them, the newest first.
func (n *notices) last() []NoticeStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := slices.Clone(n.kept)
	slices.Reverse(last)
	return last
}
