package o365

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestParseErrorBody(t *testing.T) {
	for _, tc := range []struct{ name, body, code, message string }{
		{"as documented", `{"error":{"code":"AF20022","message":"No subscription."}}`, "AF20022", "No subscription."},
		{"in single quotes", `{'error':{'code':'AF50000','message':'An internal error occurred. Don\'t retry.'}}`, "AF50000", `An internal error occurred. Don\'t retry.`},
		{"with a number as code", `{"error":{"code":429,"message":"Too many requests."}}`, "429", "Too many requests."},
		{"without the outer object", `{"code":"AF429","message":"Too many requests."}`, "AF429", "Too many requests."},
		{"of the web server", `{"Message":"Authorization has been denied for this request."}`, "", "Authorization has been denied for this request."},
		{"with a byte order mark", "\xef\xbb\xbf" + `{"error":{"code":"AF20022","message":"No subscription."}}`, "AF20022", "No subscription."},
		{"cut short", `{"error":{"code":"AF20022","mess`, "AF20022", ""},
		{"a page of HTML", "<!DOCTYPE html><html><head><title>Bad Gateway &amp; more</title></head><body>...</body></html>", "", "Bad Gateway & more"},
		{"plain text", "upstream connect error", "", "upstream connect error"},
		{"empty", "", "", ""},
		{"another document", `{"value":1}`, "", ""},
		{"odd types", `{"error":{"code":["x"],"message":{"y":1}},"code":null}`, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if code, message := parseErrorBody([]byte(tc.body)); code != tc.code || message != tc.message {
				t.Errorf("got %q, %q, want %q, %q", code, message, tc.code, tc.message)
			}
		})
	}
}

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		status        int
		code, message string
		want          Action
		hint          string // a part of it; empty: no hint
	}{
		{403, "AF10001", "The permission set (ServiceHealth.Read) sent in the request does not include the expected permission.", Reconfigure, "ActivityFeed.Read"},
		{401, "AF10001", "The permission set () sent in the request did not include the expected permission ActivityFeed.Read.", Reconfigure, "another cloud or audience"},
		{400, "AF20001", "Missing parameter: contentType.", Reconfigure, ""},
		{400, "AF20002", "Invalid parameter type: PublisherIdentifier. Expected type: guid", Reconfigure, "publisher"},
		{401, "AF20010", "The tenant ID passed in the URL does not match the tenant ID passed in the access token.", Reconfigure, "tenant"},
		{400, "AF20011", "The tenant does not exist in the system or has been deleted.", Reconfigure, "cloud"},
		{400, "AF20012", "The tenant is incorrectly configured in the system.", Reconfigure, "support ticket"},
		{400, "AF20013", "The tenant ID passed in the URL is not a valid GUID.", Reconfigure, "GUID"},
		{400, "AF20020", "The specified content type is not valid.", Reconfigure, "content types"},
		{400, "AF20022", "No subscription found for the specified content type.", Resubscribe, ""},
		{403, "AF20023", "The subscription was disabled.", Resubscribe, "administrator"},
		{400, "AF20030", "Start time and end time must both be specified.", Rewindow, ""},
		{400, "AF20055", "Start time and end time must be less than or equal to 24 hours apart.", Rewindow, ""},
		{400, "AF20031", "Invalid nextPage Input.", Retry, ""},
		{404, "AF20050", "The specified content does not exist.", GiveUp, ""},
		{410, "AF20051", "Content requested with the key has already expired.", GiveUp, ""},
		{400, "AF20052", "Content ID in the URL is invalid.", GiveUp, "audience"},
		{403, "AF429", "Too many requests.", Throttle, ""},
		{403, "429", "Too many requests.", Throttle, ""},
		{500, "AF50000", "An internal error occurred. Retry the request.", Retry, ""},
		{500, "AF50005", "An internal error occurred.", Retry, ""},
		{400, "AF77777", "A code of the future.", Retry, ""},
		{400, "StartSubscription", "Exception Tenant 11111111-2222-3333-4444-555555555555 does not exist.", Reconfigure, "audit logging"},
		{401, "", "", Reconfigure, "fresh token"},
		{403, "", "", Reconfigure, "permissions"},
		{407, "", "", Reconfigure, "proxy"},
		{404, "", "", Reconfigure, "endpoint"},
		{302, "", "", Reconfigure, "endpoint"},
		{408, "", "", Retry, ""},
		{429, "", "", Throttle, ""},
		{500, "", "", Retry, ""},
		{503, "", "", Retry, ""},
	} {
		e := &Error{Op: opList, Status: tc.status, Code: tc.code, Message: tc.message}
		classify(e)
		if e.Action != tc.want || !strings.Contains(e.Hint, tc.hint) || (tc.hint == "") != (e.Hint == "") {
			t.Errorf("%d %s: got %v, hint %q, want %v, hint %q", tc.status, tc.code, e.Action, e.Hint, tc.want, tc.hint)
		}
	}
}

func TestErrorText(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  Error
		want string
	}{
		{"an answer", Error{Op: "list content", Status: 400, Code: "AF20022", Message: "No subscription."},
			"list content: HTTP 400 Bad Request: AF20022: No subscription."},
		{"no answer", Error{Op: "fetch blob", Err: errors.New("connection refused"), Hint: "check the network"},
			"fetch blob: connection refused (check the network)"},
		{"a good status", Error{Op: "read blob", Status: 200, Err: io.ErrUnexpectedEOF}, "read blob: unexpected EOF"},
		{"text of many lines and colours", Error{Op: "get token", Message: "one\r\n\ttwo\x1b[31m\u2028three\u202e\x00 \xff!"},
			"get token: one two [31m three !"},
		{"text without end", Error{Op: "list content", Message: strings.Repeat("x", 1000)},
			"list content: " + strings.Repeat("x", 400) + "..."},
		{"a cut through a character", Error{Op: "list content", Message: strings.Repeat("x", 399) + "é"},
			"list content: " + strings.Repeat("x", 399) + "..."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.err.Error(); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestErrorUnwraps(t *testing.T) {
	if err := error(&Error{Err: context.Canceled}); !errors.Is(err, context.Canceled) {
		t.Error("the cause is not found")
	}
}

func TestActionNames(t *testing.T) {
	for a, want := range map[Action]string{Retry: "retry", Throttle: "throttle", Reconfigure: "reconfigure",
		Resubscribe: "resubscribe", Rewindow: "rewindow", GiveUp: "give up", 17: "action 17"} {
		if got := a.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Whatever a server says makes one line of bounded, printable text.
func FuzzErrorBody(f *testing.F) {
	for _, seed := range []string{
		`{"error":{"code":"AF20022","message":"No subscription."}}`, `{'error':{'code':'AF50000','message':'x'}}`,
		"<title>Bad Gateway</title>", "\xff\x00\u2028", `{"error":{"code":[1],"message":{}}}`,
	} {
		f.Add(400, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		e := &Error{Op: opStart, Status: status}
		e.Code, e.Message = parseErrorBody(body)
		classify(e)
		text := e.Error()
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("not printable: %q", text)
		}
		if len(text) > 3*maxText {
			t.Errorf("%d bytes long", len(text))
		}
		if e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter {
			t.Errorf("retry after %v", e.RetryAfter)
		}
	})
}
