package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"in_office365/test/tenant"
)

// What /readyz says in each state, of the plugin in Fluent Bit if there is one, else in the minimal host. States that take minutes to come
// about, as when the host takes nothing, are tested in plugin/monitor.
func TestReadiness(t *testing.T) {
	t.Parallel()
	blob := func(tn *tenant.Tenant, effect tenant.Effect) *tenant.Injected {
		id := tn.AddBlob(tenant.SharePoint, tn.Now().Add(-2*time.Hour), tenant.Generated{Records: 3})
		return tn.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: id}, effect)
	}
	for name, tc := range map[string]struct {
		set         func(tn *tenant.Tenant) *tenant.Injected // nil, or what must have happened before the answer counts
		status      int
		kind        string // of the first reason
		contentType string
		reason      []string // parts of it
	}{
		"ready": {
			set: func(tn *tenant.Tenant) *tenant.Injected {
				week(tn, 1, 3, 3)
				return nil
			},
			status: http.StatusOK,
		},
		"nothing has answered yet": {
			set: func(tn *tenant.Tenant) *tenant.Injected {
				return tn.Inject(tenant.Fault{Operation: tenant.ListContent}, tenant.Hang())
			},
			status: http.StatusServiceUnavailable, kind: "starting", contentType: "any", reason: []string{"not listed yet"},
		},
		"the secret is refused": {
			set: func(tn *tenant.Tenant) *tenant.Injected {
				return tn.Inject(tenant.Fault{Operation: tenant.Token}, tenant.LoginError(http.StatusUnauthorized, "invalid_client", 7000222, "The provided client secret keys are expired."))
			},
			status: http.StatusServiceUnavailable, kind: "credential", reason: []string{"AADSTS7000222"},
		},
		"a content type is not listed": {
			set: func(tn *tenant.Tenant) *tenant.Injected {
				return tn.Inject(tenant.Fault{Operation: tenant.ListContent, ContentType: tenant.DLP}, tenant.AnswerError(http.StatusInternalServerError, "AF50000", "internal"))
			},
			status: http.StatusServiceUnavailable, kind: "listing", contentType: tenant.DLP, reason: []string{"AF50000"},
		},
		"a blob of two hours ago can't be had": {
			set: func(tn *tenant.Tenant) *tenant.Injected {
				return blob(tn, tenant.AnswerError(http.StatusServiceUnavailable, "", "busy"))
			},
			status: http.StatusServiceUnavailable, kind: "behind", contentType: tenant.SharePoint, reason: []string{"1 blob pending", "fetching content failed"},
		},
		"a blob is lost": {
			set: func(tn *tenant.Tenant) *tenant.Injected {
				return blob(tn, tenant.AnswerError(http.StatusNotFound, "AF20050", "gone"))
			},
			status: http.StatusServiceUnavailable, kind: "lost", contentType: tenant.SharePoint, reason: []string{"1 blob"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tn, dir, address := tenant.New(subscribed()), t.TempDir(), freeAddress(t)
			happens := tc.set(tn)
			input := stanza(serve(t, tn), dir, keys{"metrics_address": address})
			if findFluentBit() != "" {
				startFluentBit(t, configure(t, dir, map[string]keys{"OFFICE365_EVENT_DATA": input}))
			} else {
				startTestHost(t, []keys{input}, "--output", filepath.Join(dir, "out"))
			}
			var status int
			var text string
			until(t, "that state", func() bool {
				if happens != nil && happens.Hits() == 0 {
					return false
				}
				status, text = ask(t, "http://"+address+"/readyz")
				var answer readiness
				if json.Unmarshal([]byte(text), &answer) != nil || len(answer.Inputs) != 1 || status != tc.status || answer.Ready != (tc.kind == "") {
					return false
				}
				if tc.kind == "" {
					return true
				}
				for _, r := range answer.Inputs[0].Reasons[:1] {
					return r.Kind == tc.kind && (tc.contentType == "any" || r.ContentType == tc.contentType) &&
						!slices.ContainsFunc(tc.reason, func(part string) bool { return !strings.Contains(r.Reason, part) })
				}
				return false
			})
			t.Logf("HTTP %d %s", status, text)
		})
	}
}

// readiness is what /readyz answers.
type readiness struct {
	Ready  bool
	Inputs []struct {
		Reasons []struct {
			Kind        string
			ContentType string `json:"content_type"`
			Reason      string
		}
	}
}

// ask gets what a plugin answers, 0 as long as there is no answer.
func ask(t *testing.T, url string) (status int, text string) {
	t.Helper()
	r, err := http.Get(url) //nolint:gosec // on loopback
	if err != nil {
		return 0, ""
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, ""
	}
	return r.StatusCode, string(b)
}
