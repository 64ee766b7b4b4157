package o365

import (
	"fmt"
	"strings"
	"time"
)

// A ContentType is one of the feeds a tenant can subscribe to.
type ContentType string

// The content types, spelled as the API wants them.
const (
	AuditAzureActiveDirectory ContentType = "Audit.AzureActiveDirectory"
	AuditExchange             ContentType = "Audit.Exchange"
	AuditSharePoint           ContentType = "Audit.SharePoint" // with OneDrive
	AuditGeneral              ContentType = "Audit.General"    // all workloads without a type of their own
	DLPAll                    ContentType = "DLP.All"          // data loss prevention events of all workloads
)

// ContentTypes lists every content type.
func ContentTypes() []ContentType {
	return []ContentType{AuditAzureActiveDirectory, AuditExchange, AuditSharePoint, AuditGeneral, DLPAll}
}

// ParseContentType finds a content type by its name in any case.
func ParseContentType(name string) (ContentType, error) {
	for _, ct := range ContentTypes() {
		if strings.EqualFold(name, string(ct)) {
			return ct, nil
		}
	}
	return "", fmt.Errorf("unknown content type %q (known: %s, %s, %s, %s, %s)", name,
		AuditAzureActiveDirectory, AuditExchange, AuditSharePoint, AuditGeneral, DLPAll)
}

// A Subscription is the tenant's standing order for a content type. Blobs are
// produced only while it is enabled.
type Subscription struct {
	ContentType ContentType
	Status      string // "enabled", "disabled", or empty when the API left it out
}

// Enabled reports whether the subscription yields content. An absent status
// counts as enabled: the API's own sample answer has none.
func (s Subscription) Enabled() bool { return s.Status == "" || strings.EqualFold(s.Status, "enabled") }

// A Blob is a content blob as a listing announces it: a batch of audit records
// that never changes and is fetched as a whole.
type Blob struct {
	ContentType ContentType
	ID          string    // contentId: opaque, 70 to 150 characters, unique within the tenant
	URI         string    // contentUri: where to fetch it
	Created     time.Time // when it became available: what listings select by
	Expires     time.Time // when it can no longer be fetched
}
