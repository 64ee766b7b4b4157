package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"in_office365/o365"
	"in_office365/o365/auth"
)

const (
	tenant   = "11111111-2222-3333-4444-555555555555"
	clientID = "99999999-8888-7777-6666-555555555555"
	secret   = "s3cr~t/of+the=test"
	audience = "https://manage.office.com"
	life     = 3599 * time.Second
)

// source returns a Source whose login service is handler, without a network,
// so that it works inside a synctest bubble.
func source(t testing.TB, handler http.HandlerFunc, change ...func(*auth.Options)) *auth.Source {
	t.Helper()
	login, err := url.Parse("https://login.example.com")
	if err != nil {
		t.Fatal(err)
	}
	o := auth.Options{Tenant: tenant, ClientID: clientID, Credential: auth.ClientSecret(secret), LoginURL: login, Audience: audience,
		HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			answer := httptest.NewRecorder()
			handler(answer, r)
			if err := r.Context().Err(); err != nil {
				return nil, err
			}
			return answer.Result(), nil
		})}}
	for _, f := range change {
		f(&o)
	}
	s, err := auth.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// issue answers with a token of that name.
func issue(w http.ResponseWriter, name string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":%q}`, name)
}

// numbered issues token-1, token-2, ... and counts them.
func numbered(issued *int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		*issued++
		issue(w, fmt.Sprint("token-", *issued))
	}
}

// wantToken checks what Token returns now.
func wantToken(t *testing.T, s *auth.Source, want string) {
	t.Helper()
	token, err := s.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if token.AccessToken != want {
		t.Errorf("got %s, want %s", token.AccessToken, want)
	}
}

func typed(t testing.TB, err error) *o365.Error {
	t.Helper()
	e, ok := errors.AsType[*o365.Error](err)
	if !ok {
		t.Fatalf("got error %v (%T), want an *o365.Error", err, err)
	}
	return e
}

func TestNewRefuses(t *testing.T) {
	good := func() auth.Options {
		return auth.Options{Tenant: tenant, ClientID: clientID, Credential: auth.ClientSecret(secret), Audience: audience,
			LoginURL: &url.URL{Scheme: "https", Host: "login.example.com"}}
	}
	for _, tc := range []struct {
		name   string
		change func(*auth.Options)
		want   string
	}{
		{"no tenant", func(o *auth.Options) { o.Tenant = "" }, "tenant"},
		{"no client id", func(o *auth.Options) { o.ClientID = "" }, "client id"},
		{"no audience", func(o *auth.Options) { o.Audience = "" }, "audience"},
		{"no credential", func(o *auth.Options) { o.Credential = nil }, "no credential"},
		{"no login URL", func(o *auth.Options) { o.LoginURL = nil }, "no login URL"},
		{"clear text", func(o *auth.Options) { o.LoginURL.Scheme = "http" }, "login URL: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := good()
			tc.change(&o)
			if _, err := auth.New(o); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestRequestForAToken(t *testing.T) {
	for _, tc := range []struct {
		name, path string
		answer     string
		wantPath   string
		want       url.Values
	}{
		{"version 1", auth.TokenPathV1, `{"access_token":"token-1","token_type":"Bearer","expires_in":"3599","expires_on":"1767225600","resource":"https://manage.office.com"}`,
			"/" + tenant + "/oauth2/token", url.Values{"resource": {audience}}},
		{"version 2", auth.TokenPathV2, `{"access_token":"token-1","token_type":"Bearer","expires_in":3599}`,
			"/" + tenant + "/oauth2/v2.0/token", url.Values{"scope": {audience + "/.default"}}},
		{"default", "", `{"access_token":"token-1","token_type":"Bearer","expires_in":3599}`,
			"/" + tenant + "/oauth2/v2.0/token", url.Values{"scope": {audience + "/.default"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := source(t, func(w http.ResponseWriter, r *http.Request) {
					if err := r.ParseForm(); err != nil {
						t.Error(err)
					}
					if r.Method != http.MethodPost || r.URL.Path != tc.wantPath || r.URL.RawQuery != "" {
						t.Errorf("called %s %s", r.Method, r.URL)
					}
					want := url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret}}
					for key := range tc.want {
						want[key] = tc.want[key]
					}
					if got := r.PostForm.Encode(); got != want.Encode() {
						t.Errorf("posted %s, want %s", got, want.Encode())
					}
					w.Header().Set("Content-Type", "application/json")
					io.WriteString(w, tc.answer)
				}, func(o *auth.Options) { o.TokenPath = tc.path })
				token, err := s.Token(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if left := time.Until(token.Expiry); token.AccessToken != "token-1" || left != life {
					t.Errorf("got %s for %v, want token-1 for %v", token.AccessToken, left, life)
				}
			})
		})
	}
}

func TestTokenIsRenewedInTime(t *testing.T) {
	for _, tc := range []struct {
		name      string
		expiresIn int           // seconds; 0: not told
		keep      time.Duration // no renewal until
	}{
		{"five minutes before its end", 3599, life - 5*time.Minute},
		{"at half its life when that is short", 60, 30 * time.Second},
		{"after an hour when its end is not told", 0, 55 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issued := 0
				s := source(t, func(w http.ResponseWriter, r *http.Request) {
					issued++
					answer := map[string]any{"access_token": fmt.Sprint("token-", issued)}
					if tc.expiresIn != 0 {
						answer["expires_in"] = tc.expiresIn
					}
					w.Header().Set("Content-Type", "application/json")
					json.NewEncoder(w).Encode(answer)
				})
				wantToken(t, s, "token-1")
				time.Sleep(tc.keep - time.Second)
				wantToken(t, s, "token-1")
				time.Sleep(time.Second)
				wantToken(t, s, "token-2")
			})
		})
	}
}

func TestCallersShareOneRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := 0
		s := source(t, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(3 * time.Second)
			numbered(&issued)(w, r)
		})
		all := func(want string, wait time.Duration) {
			begin := time.Now()
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() { wantToken(t, s, want) })
			}
			wg.Wait()
			if took := time.Since(begin); took != wait {
				t.Errorf("%s took %v, want %v", want, took, wait)
			}
		}
		all("token-1", 3*time.Second)
		all("token-1", 0)
		time.Sleep(time.Minute)
		s.Refuse("token-1")
		s.Refuse("token-1")
		all("token-2", 3*time.Second)
		s.Refuse("token-1") // a late answer to a call made with the old token
		all("token-2", 0)
		if issued != 2 {
			t.Errorf("%d tokens were fetched, want 2", issued)
		}
	})
}

func TestTheOldTokenServesDuringRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := 0
		s := source(t, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(3 * time.Second)
			numbered(&issued)(w, r)
		})
		wantToken(t, s, "token-1")
		time.Sleep(life - 4*time.Minute)
		var wg sync.WaitGroup
		wg.Go(func() { wantToken(t, s, "token-2") })
		synctest.Wait()
		begin := time.Now()
		wantToken(t, s, "token-1")
		if took := time.Since(begin); took != 0 {
			t.Errorf("waited %v", took)
		}
		wg.Wait()
	})
}

func TestAnOutageBeforeTheEndIsNotNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued, down := 0, false
		s := source(t, func(w http.ResponseWriter, r *http.Request) {
			if down {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			numbered(&issued)(w, r)
		})
		wantToken(t, s, "token-1")
		down = true
		time.Sleep(life - 4*time.Minute)
		wantToken(t, s, "token-1")
		time.Sleep(3 * time.Minute)
		wantToken(t, s, "token-1")
		time.Sleep(time.Minute)
		if _, err := s.Token(t.Context()); typed(t, err).Action != o365.Retry {
			t.Errorf("got %v, want Retry", err)
		}
		down = false
		time.Sleep(time.Minute)
		wantToken(t, s, "token-2")
	})
}

func TestAWaitingCallerCanLeave(t *testing.T) {
	for _, tc := range []struct {
		name  string
		first bool // leave the caller that fetches, or one that waits for it
	}{{"that fetches", true}, {"that waits", false}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issued := 0
				s := source(t, func(w http.ResponseWriter, r *http.Request) {
					select {
					case <-time.After(10 * time.Second):
						numbered(&issued)(w, r)
					case <-r.Context().Done():
					}
				})
				leaving, leave := context.WithCancel(t.Context())
				first, second := t.Context(), leaving
				if tc.first {
					first, second = leaving, t.Context()
				}
				errs := make([]error, 2)
				var wg sync.WaitGroup
				wg.Go(func() { _, errs[0] = s.Token(first) })
				synctest.Wait()
				wg.Go(func() { _, errs[1] = s.Token(second) })
				synctest.Wait()
				leave()
				wg.Wait()
				left, stayed := errs[1], errs[0]
				if tc.first {
					left, stayed = stayed, left
				}
				if typed(t, left); !errors.Is(left, context.Canceled) {
					t.Errorf("the one that left got %v", left)
				}
				if stayed != nil {
					t.Errorf("the other got %v", stayed)
				}
			})
		})
	}
}

func TestAHangingLoginServiceIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := source(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		begin := time.Now()
		_, err := s.Token(t.Context())
		if e := typed(t, err); e.Action != o365.Retry || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a timeout to retry", err)
		}
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("took %v, want 1m", took)
		}
	})
}

// A refused token is replaced at once. Those that are refused in a row are replaced ever more slowly, and serve whoever they are good for meanwhile.
func TestRefusedTokensAreReplacedSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := 0
		s := source(t, numbered(&issued))
		wantToken(t, s, "token-1")
		time.Sleep(time.Minute)
		for begin := time.Now(); time.Since(begin) < time.Hour; time.Sleep(time.Second) {
			s.Refuse(must(s.Token(t.Context())).AccessToken)
			asked := time.Now()
			must(s.Token(t.Context()))
			if took := time.Since(asked); took > time.Second {
				t.Fatalf("a token took %v", took)
			}
		}
		if issued < 15 || issued > 25 { // after 1, 2, 4 ... 256 seconds, and then every 5 minutes
			t.Errorf("%d tokens in an hour", issued)
		}
		time.Sleep(6 * time.Minute) // nobody has refused it
		before := issued
		s.Refuse(must(s.Token(t.Context())).AccessToken)
		wantToken(t, s, fmt.Sprint("token-", before+1))
	})
}

// A permission that one content type of several lacks is looked for in new tokens now and then, not at each listing.
func TestMissingRolesCostATokenInTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := 0
		s := source(t, numbered(&issued))
		for range 4 * 60 {
			token := must(s.Token(t.Context())).AccessToken
			s.RefuseRoles(token)
			s.RefuseRoles("another token")
			time.Sleep(time.Minute)
		}
		if want := 22; issued != want { // at each first listing after ten minutes
			t.Errorf("%d tokens in four hours, want %d", issued, want)
		}
	})
}

// A token that ended while a new one was waited for is not handed out.
func TestTheOldTokenDoesNotOutliveAnAttempt(t *testing.T) {
	for left, good := range map[time.Duration]bool{80 * time.Second: false, 2 * time.Minute: true} { // after a minute 30 s must be left
		synctest.Test(t, func(t *testing.T) {
			hangs := false
			s := source(t, func(w http.ResponseWriter, r *http.Request) {
				if hangs {
					<-r.Context().Done()
				}
				issue(w, "token")
			})
			wantToken(t, s, "token")
			hangs = true
			time.Sleep(life - left)
			if token, err := s.Token(t.Context()); (err == nil) != good {
				t.Errorf("with %v left: got %v, %v", left, token, err)
			}
		})
	}
}

func TestFailuresAreRepeatedSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		s := source(t, func(w http.ResponseWriter, r *http.Request) {
			tries++
			w.WriteHeader(http.StatusInternalServerError)
		})
		for range 10 * 60 * 10 { // ten minutes of ten calls a second
			if _, err := s.Token(t.Context()); typed(t, err).Action != o365.Retry {
				t.Errorf("got %v, want Retry", err)
			}
			time.Sleep(time.Second / 10)
		}
		// 1+2+4+8+16+32 seconds, then one a minute.
		if want := 15; tries != want {
			t.Errorf("%d tries, want %d", tries, want)
		}
	})
}

func TestRetryAfterOfTheLoginService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := 0
		s := source(t, func(w http.ResponseWriter, r *http.Request) {
			if issued++; issued == 1 {
				w.Header().Set("Retry-After", "120")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			issue(w, "token")
		})
		_, err := s.Token(t.Context())
		if e := typed(t, err); e.Action != o365.Throttle || e.RetryAfter != 2*time.Minute {
			t.Errorf("got %#v, want Throttle for 2m", e)
		}
		time.Sleep(2*time.Minute - time.Nanosecond)
		if _, again := s.Token(t.Context()); again != err {
			t.Errorf("got %v, want the same error", again)
		}
		time.Sleep(time.Nanosecond)
		wantToken(t, s, "token")
	})
}

func TestSecretFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "secret")
		write := func(text string) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := source(t, func(w http.ResponseWriter, r *http.Request) { issue(w, "for "+r.PostFormValue("client_secret")) },
			func(o *auth.Options) { o.Credential = auth.ClientSecretFile(file) })

		_, err := s.Token(t.Context())
		if e := typed(t, err); e.Action != o365.Reconfigure || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want Reconfigure for a missing file", err)
		}
		time.Sleep(time.Minute)
		write(" \n")
		if _, err := s.Token(t.Context()); typed(t, err).Action != o365.Reconfigure || !strings.Contains(err.Error(), "is empty") {
			t.Errorf("got %v, want Reconfigure for an empty file", err)
		}
		time.Sleep(time.Minute)
		write("old\n")
		wantToken(t, s, "for old")
		write("new\r\n")
		wantToken(t, s, "for old")
		s.Refuse("for old")
		wantToken(t, s, "for new")
		write("newer")
		time.Sleep(life)
		wantToken(t, s, "for newer")
		write(strings.Repeat("x", 64<<10+1))
		s.Refuse("for newer")
		if _, err := s.Token(t.Context()); typed(t, err).Action != o365.Reconfigure || !strings.Contains(err.Error(), "larger than") {
			t.Errorf("got %v, want Reconfigure for a large file", err)
		}
	})
}

// What never ends, or waits for a writer, would hold up start and stop.
func TestASecretFileIsARegularFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, "/dev/zero", t.TempDir()} {
		read := make(chan error, 1)
		go func() {
			_, err := auth.ReadSecret(path)
			read <- err
		}()
		select {
		case err := <-read:
			if err == nil || !strings.Contains(err.Error(), path+": it is no regular file") {
				t.Errorf("%s: got %v", path, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: still waiting", path)
		}
	}
}

func TestTokenErrors(t *testing.T) {
	describe := func(code string, number int) string {
		return fmt.Sprintf(`{"error":%q,"error_description":"AADSTS%d: What is wrong. Trace ID: 0","error_codes":[%[2]d]}`, code, number)
	}
	for _, tc := range []struct {
		name   string
		status int
		answer string
		code   string
		want   o365.Action
		hint   string // a part of it; empty: no hint
	}{
		{"wrong secret", 401, describe("invalid_client", 7000215), "AADSTS7000215", o365.Reconfigure, "secret is wrong"},
		{"expired secret", 401, describe("invalid_client", 7000222), "AADSTS7000222", o365.Reconfigure, "expired"},
		{"unknown application", 400, describe("unauthorized_client", 700016), "AADSTS700016", o365.Reconfigure, "client id"},
		{"unknown tenant", 400, describe("invalid_request", 90002), "AADSTS90002", o365.Reconfigure, "no such tenant"},
		{"unknown audience", 400, describe("invalid_resource", 500011), "AADSTS500011", o365.Reconfigure, "audience"},
		{"a number of the future", 400, describe("unauthorized_client", 7999999), "AADSTS7999999", o365.Reconfigure, "client credentials"},
		{"without a number", 400, `{"error":"unauthorized_client"}`, "unauthorized_client", o365.Reconfigure, "client credentials"},
		{"unknown altogether", 400, `{"error":"odd"}`, "odd", o365.Reconfigure, "check login host"},
		{"API disabled", 400, describe("invalid_resource", 500014), "AADSTS500014", o365.Reconfigure, "disabled in the tenant"},
		{"API missing", 400, describe("invalid_request", 650052), "AADSTS650052", o365.Reconfigure, "does not have the API"},
		{"no application", 400, describe("invalid_request", 700038), "AADSTS700038", o365.Reconfigure, "check client id"},
		{"assertion of another application", 401, describe("invalid_client", 700021), "AADSTS700021", o365.Reconfigure, "check client id"},
		{"assertion for another audience", 401, describe("invalid_client", 50012), "AADSTS50012", o365.Reconfigure, "check authentication_endpoint and token_path"},
		{"taken for a loop", 400, describe("invalid_grant", 50196), "AADSTS50196", o365.Throttle, "loop"},
		{"busy", 400, describe("temporarily_unavailable", 90033), "AADSTS90033", o365.Retry, ""},
		{"too many requests", 429, describe("invalid_request", 90055), "AADSTS90055", o365.Throttle, ""},
		{"server error", 503, "<html>Service unavailable</html>", "", o365.Retry, ""},
		{"not the login service", 404, "<html>Not found</html>", "", o365.Reconfigure, "check login host"},
		{"a redirect", 302, "", "", o365.Reconfigure, "check login host"},
		{"a page under status 200", 200, "<html>Welcome</html>", "", o365.Retry, ""},
		{"no token under status 200", 200, "{}", "", o365.Retry, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := source(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Location", "https://login.example.net/")
				w.WriteHeader(tc.status)
				io.WriteString(w, tc.answer)
			})
			_, err := s.Token(t.Context())
			e := typed(t, err)
			if e.Action != tc.want || e.Code != tc.code || !strings.Contains(e.Hint, tc.hint) || (tc.hint == "") != (e.Hint == "") {
				t.Errorf("got %#v\nwant %v, code %q, hint %q", e, tc.want, tc.code, tc.hint)
			}
		})
	}
}

// However a fetch fails, neither the error nor what hangs on it holds the secret.
func TestErrorsHoldNoSecret(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"echoed in the description": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": "bad " + r.PostFormValue("client_secret")})
		},
		"echoed as posted": func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			json.NewEncoder(w).Encode(map[string]string{"error": "bad_request", "error_description": "cannot forward " + string(body)})
		},
		"echoed as in a URL": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			json.NewEncoder(w).Encode(map[string]string{"error": "bad_request", "error_description": "bad /" + url.PathEscape(r.PostFormValue("client_secret"))})
		},
		"echoed as the code": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			json.NewEncoder(w).Encode(map[string]string{"error": r.PostFormValue("client_secret")})
		},
		"echoed in a page": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			r.ParseForm()
			fmt.Fprint(w, r.PostForm)
		},
		"a connection that breaks": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(handler)
			defer server.Close()
			s := source(t, nil, func(o *auth.Options) {
				o.LoginURL, _ = url.Parse(server.URL)
				o.HTTPClient = server.Client()
			})
			_, err := s.Token(t.Context())
			typed(t, err)
			for ; err != nil; err = errors.Unwrap(err) {
				text := fmt.Sprintf("%v %+v %#v", err, err, err)
				if strings.Contains(text, secret) || strings.Contains(text, url.QueryEscape(secret)) || strings.Contains(text, url.PathEscape(secret)) {
					t.Errorf("%T holds the secret: %s", err, text)
				}
			}
		})
	}
}

func TestAttemptsToGetATokenAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []o365.Call
		refuse := false
		s := source(t, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			if refuse {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			issue(w, "token")
		}, func(o *auth.Options) { o.OnCall = func(call o365.Call) { told = append(told, call) } })
		if end := s.Expires(); !end.IsZero() {
			t.Errorf("no token yet, which ends at %v", end)
		}
		wantToken(t, s, "token")
		wantToken(t, s, "token")
		if end := s.Expires(); time.Until(end) < life-2*time.Second || time.Until(end) > life {
			t.Errorf("the token ends in %v, want %v", time.Until(end), life)
		}
		refuse = true
		time.Sleep(2 * time.Hour)
		_, _ = s.Token(t.Context())
		if len(told) != 2 || told[0].Op != o365.OpToken || told[0].Took != time.Second || told[0].Err != nil || told[1].Err == nil {
			t.Errorf("told of %+v", told)
		}
	})
}
