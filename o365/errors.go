package o365

import (
	"cmp"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	jsoniter "github.com/json-iterator/go"
)

// An Action is what a caller should do about an Error.
type Action int

// The actions.
const (
	Retry       Action = iota // transient: try again later, backing off
	Throttle                  // try again later, and slow down
	Reconfigure               // a user must act (permission, tenant, credential, endpoint); try again slowly
	Resubscribe               // the content type has no enabled subscription: start it
	Rewindow                  // the window is refused: clamp it to what can be retrieved
	GiveUp                    // the blob is gone for good
)

func (a Action) String() string {
	switch a {
	case Retry:
		return "retry"
	case Throttle:
		return "throttle"
	case Reconfigure:
		return "reconfigure"
	case Resubscribe:
		return "resubscribe"
	case Rewindow:
		return "rewindow"
	case GiveUp:
		return "give up"
	}
	return "action " + strconv.Itoa(int(a))
}

// OpToken is the Op of an Error of the login service, which package auth makes:
// it concerns all calls of a tenant.
const OpToken = "get token"

// An Error is the failure of a call, to the API or to the login service.
type Error struct {
	Op         string        // what was being done, e.g. "list content"
	Code       string        // the service's code, e.g. "AF20022", "429", "AADSTS7000215"; may be empty
	Message    string        // the service's text, as it came; may be empty
	Status     int           // HTTP status; 0 when no answer came
	Action     Action        // what to do about it
	RetryAfter time.Duration // earliest useful retry as told by the service; 0 when it did not say
	Hint       string        // what a user can do, behind what is wrong and a colon where that needs saying; may be empty
	Err        error         // the cause below; may be nil
}

// Error is one line of printable text, whatever the service sent.
func (e *Error) Error() string {
	var s strings.Builder
	s.WriteString(e.Op)
	if e.Status != 0 && e.Status/100 != 2 {
		fmt.Fprintf(&s, ": HTTP %d %s", e.Status, http.StatusText(e.Status))
	}
	code := e.Code
	if strings.HasPrefix(e.Message, code) { // Entra repeats it
		code = ""
	}
	for _, text := range []string{code, e.Message} {
		if text = printable(text); text != "" {
			s.WriteString(": " + text)
		}
	}
	if e.Err != nil {
		s.WriteString(": " + printable(e.Err.Error()))
	}
	if e.Hint != "" {
		s.WriteString(" (" + e.Hint + ")")
	}
	return s.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// AuditingOff says that the API does not know the tenant, as it answers while unified audit logging is off.
func (e *Error) AuditingOff() bool {
	return e.Code == codeNoSuchTenant || tenantMissing.MatchString(e.Message)
}

// maxText is how much of a service's text goes into an error line, in bytes.
// Microsoft's messages are a sentence or two.
const maxText = 400

// printable makes foreign text fit for one log line: bounded, and without
// control, format and line separating characters.
func printable(text string) string {
	cut := len(text) > maxText
	if cut {
		text = text[:maxText]
	}
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, ""), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if cut {
		text += "..."
	}
	return text
}

// Names of operations that the meaning of an error depends on.
const (
	opStart = "start subscription"
	opList  = "list content"
	opFetch = "fetch blob"
	opRead  = "read blob"
)

// Codes by which the API itself says that a blob is gone for good.
const (
	CodeContentNotFound = "AF20050"
	CodeContentExpired  = "AF20051"
)

const (
	codeNoPermission   = "AF10001"
	codeNoSuchTenant   = "AF20011"
	codeAlreadyEnabled = "AF20024" // undocumented: start of a subscription that is enabled
	codeBadPage        = "AF20031"
	codeCoolDown       = "429" // undocumented: start sooner than StartCoolDown after the last, as 403 or 429

	// StartCoolDown is how long the API refuses to start a subscription again.
	StartCoolDown = 15 * time.Minute
	maxRetryAfter = 15 * time.Minute // a longer Retry-After is taken for a mistake
)

// A verdict is what an error code means.
type verdict struct {
	action Action
	hint   string
}

// verdicts follow
// https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-reference#errors
// and for the codes marked so what the API was seen to do. Other codes go by the status.
var verdicts = map[string]verdict{
	codeNoPermission:    {Reconfigure, "grant the application ActivityFeed.Read (DLP.All: ActivityFeed.ReadDlp) of the Office 365 Management APIs as application permission with admin consent; it takes some minutes to show"},
	"AF20001":           {Reconfigure, ""},
	"AF20002":           {Reconfigure, "check that the publisher identifier is a GUID"},
	"AF20010":           {Reconfigure, "the tenant is not the one the token was issued for: check tenant and credential"},
	codeNoSuchTenant:    {Reconfigure, "the API does not know the tenant: check tenant and cloud, and that unified audit logging is on; that takes up to 60 minutes to show"},
	"AF20012":           {Reconfigure, "the tenant is misconfigured at Microsoft's end: open a support ticket if it stays"},
	"AF20013":           {Reconfigure, "give the tenant as its GUID, not as a domain name"},
	"AF20020":           {Reconfigure, "check the content types"},
	"AF20022":           {Resubscribe, ""},
	"AF20023":           {Resubscribe, "an administrator or Microsoft disabled the subscription, or it was started just now: find out who switched it off"},
	"AF20030":           {Rewindow, ""},
	"AF20055":           {Rewindow, ""},
	codeBadPage:         {Retry, ""},
	CodeContentNotFound: {GiveUp, ""},
	CodeContentExpired:  {GiveUp, ""},
	"AF20052":           {GiveUp, "if this befalls every blob, the token is for another cloud: check cloud and audience"},
	"AF429":             {Throttle, ""}, // as 429 or 403
	codeCoolDown:        {Throttle, ""},
	"AF50000":           {Retry, ""},
	"AF50005":           {Retry, ""}, // undocumented
	"AF50006":           {Retry, ""}, // undocumented
}

var (
	emptyPermissionSet = regexp.MustCompile(`permission set \(\s*\)`)
	tenantMissing      = regexp.MustCompile(`(?i)tenant \S+ does not exist`)
	coolDownLeft       = regexp.MustCompile(`(?i)retry again after ((?:\d+[hms] ?)+)`)
)

// classify sets Action, Hint and, for a start, RetryAfter: by the code first,
// since the statuses vary, then by the status.
func classify(e *Error) {
	v, known := verdicts[e.Code]
	if !known {
		v = byStatus(e)
	}
	switch {
	case e.Code == codeNoPermission && emptyPermissionSet.MatchString(e.Message):
		v.hint = "the token carries no permission at all: it is for another cloud or audience, or admin consent is missing"
	case !known && e.AuditingOff():
		v = verdict{Reconfigure, "unified audit logging is off: turn it on in the tenant; it takes up to 60 minutes to show"}
	case e.Code == codeCoolDown && e.Op == opStart && e.RetryAfter == 0:
		e.RetryAfter = StartCoolDown
		if m := coolDownLeft.FindStringSubmatch(e.Message); m != nil {
			if d, err := time.ParseDuration(strings.ReplaceAll(m[1], " ", "")); err == nil && d < StartCoolDown {
				e.RetryAfter = d
			}
		}
	}
	e.Action, e.Hint = v.action, v.hint
}

func byStatus(e *Error) verdict {
	switch s := e.Status; {
	case s == http.StatusTooManyRequests:
		return verdict{Throttle, ""}
	case s == http.StatusUnauthorized:
		return verdict{Reconfigure, "the API refuses a fresh token: check tenant, cloud and audience"}
	case s == http.StatusForbidden:
		return verdict{Reconfigure, "check the application's permissions, and proxies on the way"}
	case s == http.StatusProxyAuthRequired:
		return verdict{Reconfigure, "the proxy wants credentials"}
	case e.Op == opFetch && (s == http.StatusNotFound || s == http.StatusGone):
		return verdict{GiveUp, ""}
	case s == http.StatusNotFound || s == http.StatusGone || s/100 == 3:
		return verdict{Reconfigure, "this does not answer like the API: check cloud, API endpoint and proxies on the way"}
	}
	return verdict{Retry, ""}
}

var (
	quotedCode    = regexp.MustCompile(`(?i)["']code["']\s*:\s*["']?([\w.-]+)`)
	quotedMessage = regexp.MustCompile(`(?is)["']message["']\s*:\s*["'](.*?)["']\s*[,}]`)
	htmlTitle     = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)
)

// parseErrorBody finds code and message in the body of an error answer:
// {"error":{"code":"AF20022","message":"..."}}, the same in single quotes,
// which the API was seen to send, or the page of a front door or proxy.
func parseErrorBody(text []byte) (code, message string) {
	var doc struct {
		Error         struct{ Code, Message any }
		Code, Message any
	}
	if jsoniter.ConfigCompatibleWithStandardLibrary.Unmarshal(text, &doc) == nil {
		return cmp.Or(scalar(doc.Error.Code), scalar(doc.Code)), cmp.Or(scalar(doc.Error.Message), scalar(doc.Message))
	}
	if m := quotedCode.FindSubmatch(text); m != nil {
		code = string(m[1])
	}
	if m := quotedMessage.FindSubmatch(text); m != nil {
		message = string(m[1])
	} else if m := htmlTitle.FindSubmatch(text); m != nil {
		message = html.UnescapeString(string(m[1]))
	} else if code == "" {
		message = string(text)
	}
	return code, message
}

// scalar is the text of a JSON string or number.
func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// RetryAfter reads the Retry-After header, in seconds or as a date, which is
// compared with the Date beside it. It is 0 when there is none, and 15 minutes
// at most.
func RetryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
