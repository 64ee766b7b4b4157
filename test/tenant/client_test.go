package tenant_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"in_office365/test/tenant"
)

const publisher = "11111111-aaaa-4bbb-8ccc-222222222222"

// client is a plain net/http client of one tenant.
type client struct {
	t      *testing.T
	tenant *tenant.Tenant
	http   *http.Client
	base   string
	token  string
}

// inMemory connects to the tenant without a socket.
func inMemory(t *testing.T, tn *tenant.Tenant) *client {
	return &client{t: t, tenant: tn, http: &http.Client{Transport: tn.RoundTripper()}, base: "https://manage.office.com"}
}

// overSocket connects to the tenant through net/http's server and transport.
func overSocket(t *testing.T, tn *tenant.Tenant) *client {
	server := httptest.NewServer(tn)
	t.Cleanup(server.Close)
	return &client{t: t, tenant: tn, http: server.Client(), base: server.URL}
}

var connections = map[string]func(*testing.T, *tenant.Tenant) *client{"in memory": inMemory, "over a socket": overSocket}

// login fetches a token.
func (c *client) login() *client {
	c.t.Helper()
	config := c.tenant.Config()
	a := c.post("/"+config.ID+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {config.ClientID}, "client_secret": {config.ClientSecret},
		"scope": {config.Audience + "/.default"},
	})
	var token struct {
		AccessToken string `json:"access_token"`
	}
	a.decode(&token)
	c.token = token.AccessToken
	return c
}

func (c *client) post(path string, form url.Values) answer {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.do(r)
}

// feed calls the API: target is what follows /activity/feed/, or a whole URL.
func (c *client) feed(method, target string) answer {
	c.t.Helper()
	return c.do(c.request(c.t.Context(), method, target))
}

func (c *client) get(target string) answer { c.t.Helper(); return c.feed(http.MethodGet, target) }

func (c *client) request(ctx context.Context, method, target string) *http.Request {
	c.t.Helper()
	if !strings.Contains(target, "://") {
		target = c.base + "/api/v1.0/" + c.tenant.Config().ID + "/activity/feed/" + target
	}
	r, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	return r
}

// answer is a response, its body read.
type answer struct {
	t *testing.T
	*http.Response
	body string
	err  error // of reading the body
}

func (c *client) do(r *http.Request) answer {
	c.t.Helper()
	response, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{c.t, response, string(body), err}
}

func (a answer) decode(v any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		a.t.Fatalf("status %d: %v in %s", a.StatusCode, err, a.body)
	}
}

// code is the code of the API's error, or the text of its framework's.
func (a answer) code() string {
	var body struct {
		Error   struct{ Code string }
		Message string
	}
	if json.Unmarshal([]byte(a.body), &body) != nil || body.Error.Code == "" {
		return body.Message
	}
	return body.Error.Code
}

// is checks the status and the error's code, "" for none.
func (a answer) is(status int, code string) {
	a.t.Helper()
	if a.err != nil {
		a.t.Errorf("reading the body: %v", a.err)
	}
	if got := a.code(); a.StatusCode != status || got != code {
		a.t.Errorf("got %d %q, want %d %q", a.StatusCode, got, status, code)
	}
}

// listing is the target of a ListContent call.
func listing(contentType string, from, to time.Time) string {
	const form = "2006-01-02T15:04:05"
	return "subscriptions/content?contentType=" + contentType + "&startTime=" + from.UTC().Format(form) + "&endTime=" + to.UTC().Format(form)
}

// item is an element of a listing.
type item struct{ ContentURI, ContentID, ContentType, ContentCreated, ContentExpiration string }

func (a answer) items() []item {
	a.t.Helper()
	var items []item
	a.decode(&items)
	return items
}

// recordIDs reads the records of a blob.
func (a answer) recordIDs() []string {
	a.t.Helper()
	var records []struct {
		ID string `json:"Id"`
	}
	a.decode(&records)
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.ID
	}
	return ids
}
