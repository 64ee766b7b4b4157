package auth_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"in_office365/o365"
	"in_office365/o365/auth"
)

func TestEndpointsOfManagedIdentities(t *testing.T) {
	const aUser = "99999999-8888-7777-6666-555555555555"
	for _, tc := range []struct {
		name, identity string
		environment    func(string) string
		want           string // a part of the error; empty: it may be used
	}{
		{"virtual machine", "system", environment(), ""},
		{"virtual machine, identity of a user", aUser, environment(), ""},
		{"App Service", aUser, environment("IDENTITY_ENDPOINT", "http://169.254.130.2:8081/msi/token", "IDENTITY_HEADER", "x"), ""},
		{"Container Apps", aUser, environment("IDENTITY_ENDPOINT", "http://localhost:42356/msi/token", "IDENTITY_HEADER", "x"), ""},
		{"private address", "system", environment("IDENTITY_ENDPOINT", "http://172.16.0.2:8081/msi/token", "IDENTITY_HEADER", "x"), ""},
		{"elsewhere, in clear text", "system", environment("IDENTITY_ENDPOINT", "http://192.0.2.1/msi/token", "IDENTITY_HEADER", "x"), "not on this machine: 192.0.2.1"},
		{"elsewhere, over TLS", "system", environment("IDENTITY_ENDPOINT", "https://identity.contoso.example/", "IDENTITY_HEADER", "x"), ""},
		{"Azure Arc", "system", environment("IDENTITY_ENDPOINT", "http://localhost:40342/metadata/identity/oauth2/token", "IMDS_ENDPOINT", "http://localhost:40342"), ""},
		{"Azure Arc, identity of a user", aUser, environment("IDENTITY_ENDPOINT", "http://localhost:40342/", "IMDS_ENDPOINT", "http://localhost:40342"), "the system's identity only"},
		{"Azure Arc, next door", "system", environment("IDENTITY_ENDPOINT", "http://10.0.0.1:40342/", "IMDS_ENDPOINT", "http://10.0.0.1:40342"), "not on this machine: 10.0.0.1"},
		{"no URL", "system", environment("IDENTITY_ENDPOINT", "localhost", "IDENTITY_HEADER", "x"), "no URL"},
	} {
		_, err := auth.ManagedIdentity(tc.identity, tc.environment)
		if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}

// Fluent Bit started by systemd has none of the agent's variables.
func TestArcIsFoundByItsAgent(t *testing.T) {
	const arc, vm = "http://127.0.0.1:40342/metadata/identity/oauth2/token?api-version=2020-06-01", "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01"
	agent := write(t, nil)
	for _, tc := range []struct {
		name, agent string
		environment func(string) string
		want        string
	}{
		{"agent", agent, environment(), arc},
		{"no agent", agent + ".none", environment(), vm},
		{"agent, and variables", agent, environment("IDENTITY_ENDPOINT", "http://localhost:1/", "IMDS_ENDPOINT", "http://localhost:1"), "http://localhost:1/?api-version=2020-06-01"},
		{"agent, and the endpoint moved", agent, environment("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1"),
			"http://127.0.0.1:1/metadata/identity/oauth2/token?api-version=2018-02-01"},
	} {
		if got, err := auth.EndpointWithArcAgent(tc.agent, tc.environment); got != tc.want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", tc.name, got, err, tc.want)
		}
	}
}

// A proxy of the environment would be given the machine's token.
func TestManagedIdentitiesPassNoProxy(t *testing.T) {
	if auth.Proxied(must(auth.ManagedIdentity("system", environment()))) {
		t.Error("by proxy")
	}
}

func TestAnswersOfManagedIdentities(t *testing.T) {
	on := time.Now().Add(2 * time.Hour).Unix()
	for _, tc := range []struct {
		name   string
		status int
		answer string
		want   o365.Action
		life   time.Duration // of a token; 0: there is none
		text   string        // in the error
	}{
		{"expires_in", 200, `{"access_token":"token","expires_in":"7200","expires_on":"1"}`, 0, 2 * time.Hour, ""},
		{"expires_in, a number", 200, `{"access_token":"token","expires_in":7200}`, 0, 2 * time.Hour, ""},
		{"expires_on", 200, fmt.Sprintf(`{"access_token":"token","expires_on":"%d"}`, on), 0, 2 * time.Hour, ""},
		{"neither", 200, `{"access_token":"token"}`, 0, time.Hour, ""},
		{"no token", 200, `{}`, o365.Retry, 0, "holds no token"},
		{"no identity", 400, `{"error":"invalid_request","error_description":"Identity not found"}`, o365.Reconfigure, 0, "invalid_request: Identity not found (assign the managed identity"},
		{"App Service's errors", 400, `{"statusCode":400,"message":"No MSI found."}`, o365.Reconfigure, 0, "No MSI found."},
		{"being updated", 410, "", o365.Retry, 0, "410"},
		{"not there yet", 404, "", o365.Retry, 0, "404"},
		{"too many requests", 429, "", o365.Throttle, 0, "429"},
		{"broken", 500, "<html>", o365.Retry, 0, "500"},
		{"a redirect", 302, "", o365.Reconfigure, 0, "302"},
		{"an endless header", 200, "header", o365.Retry, 0, "server response headers exceeded 65536 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "http://192.0.2.1/")
				if tc.answer == "header" {
					w.Header().Set("X", strings.Repeat("x", 70<<10))
				}
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.answer)
			}))
			s := source(t, nil, func(o *auth.Options) {
				o.ClientID = ""
				o.Credential = must(auth.ManagedIdentity("system", environment("AZURE_POD_IDENTITY_AUTHORITY_HOST", url)))
			})
			token, err := s.Token(t.Context())
			if tc.life == 0 {
				if e := typed(t, err); e.Action != tc.want || !strings.Contains(e.Error(), tc.text) {
					t.Errorf("got %v (%v), want %q (%v)", err, e.Action, tc.text, tc.want)
				}
				return
			}
			if err != nil || time.Until(token.Expiry) > tc.life || time.Until(token.Expiry) < tc.life-time.Minute {
				t.Errorf("got %v until %v, want %v", err, token.Expiry, tc.life)
			}
		})
	}
}

func TestNoManagedIdentity(t *testing.T) {
	gone := serve(t, http.NotFoundHandler()) + "1" // a port that nobody listens at, or none at all
	s := source(t, nil, func(o *auth.Options) {
		o.Credential = must(auth.ManagedIdentity("system", environment("AZURE_POD_IDENTITY_AUTHORITY_HOST", gone)))
	})
	_, err := s.Token(t.Context())
	if e := typed(t, err); e.Action != o365.Retry || !strings.Contains(e.Hint, "no managed identity here?") {
		t.Errorf("got %v", err)
	}
}

// Who has taken the port of Azure Arc's agent gets no file but those that the agent puts down for that.
func TestArcIsAskedForItsOwnKeysOnly(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, "tokens")
	put := func(path, content string) string {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, elsewhere := put("tokens/good.key", "the key\n"), put("other/shadow.key", "the key")
	link := filepath.Join(folder, "link.key")
	if err := os.Symlink(elsewhere, link); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, challenge string
		given           bool
	}{
		{"a key", "Basic realm=" + good, true},
		{"a key in quotes", `Basic realm="` + good + `"`, true},
		{"no challenge", "", false},
		{"another scheme", "Bearer realm=" + good, false},
		{"no path", "Basic realm=", false},
		{"another folder", "Basic realm=" + elsewhere, false},
		{"another folder, by way of the right one", "Basic realm=" + folder + "/../other/shadow.key", false},
		{"a folder below", "Basic realm=" + put("tokens/below/a.key", "the key"), false},
		{"another ending", "Basic realm=" + put("tokens/passwd", "the key"), false},
		{"a link to elsewhere", "Basic realm=" + link, false},
		{"a folder for a file", "Basic realm=" + filepath.Dir(put("tokens/folder.key/x", "")), false},
		{"no file", "Basic realm=" + folder + "/none.key", false},
		{"too large", "Basic realm=" + put("tokens/large.key", strings.Repeat("k", 4097)), false},
		{"empty", "Basic realm=" + put("tokens/empty.key", ""), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var given []string
			url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if a := r.Header.Get("Authorization"); a != "" {
					given = append(given, a)
					issue(w, "token")
					return
				}
				w.Header().Set("WWW-Authenticate", tc.challenge)
				w.WriteHeader(http.StatusUnauthorized)
			}))
			s := source(t, nil, func(o *auth.Options) {
				o.Credential = must(auth.ArcIdentity(folder, environment("IDENTITY_ENDPOINT", url, "IMDS_ENDPOINT", url)))
			})
			_, err := s.Token(t.Context())
			if tc.given {
				if err != nil || fmt.Sprint(given) != "[Basic the key]" {
					t.Errorf("gave %q, %v", given, err)
				}
				return
			}
			if e := typed(t, err); e.Action != o365.Reconfigure || len(given) > 0 {
				t.Errorf("gave %q, %v", given, err)
			}
		})
	}
}
