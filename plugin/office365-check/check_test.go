package main_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"in_office365/test/certificate"
	"in_office365/test/proxy"
	"in_office365/test/tenant"
)

// check is the program, built as make build does.
var check string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "office365-check")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		check = filepath.Join(dir, "office365-check")
		build := exec.Command("go", "build", "-ldflags", "-X main.version=v1.2.3", "-o", check, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

const patience = 2 * time.Minute

// execute runs the program with no environment but that.
func execute(t *testing.T, env []string, args ...string) (out string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, check, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	text, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// finding is what --json says.
type finding struct {
	Version string
	Verdict string
	Cause   string
	Status  int `json:"exit_status"`
	Inputs  []struct {
		Input, Tag, Verdict, Cause string
		Tenant                     string `json:"tenant_id"`
		Steps                      []struct{ Step, Verdict, Cause, What, Do, Detail string }
	}
}

func parse(t *testing.T, out string) (f finding) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), &f); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	return f
}

// keys are those of the input.
type keys map[string]string

func (k keys) args() (args []string) {
	for key, value := range k {
		args = append(args, "--set", key+"="+value)
	}
	return args
}

func with(base keys, more keys) keys {
	all := keys{}
	for _, k := range []keys{base, more} {
		for key, value := range k {
			all[key] = value
		}
	}
	return all
}

// Names that only the test's proxies know.
const (
	loginHost = "login.contoso.example"
	apiHost   = "api.contoso.example"
)

const (
	proxyUser     = "collector"
	proxyPassword = "proxy~password"
)

func application() keys {
	return keys{"tenant_id": tenant.DefaultID, "client_id": tenant.DefaultClientID, "client_secret": tenant.DefaultClientSecret}
}

// onLoopback reaches the tenant without TLS.
func onLoopback(t *testing.T, h http.Handler) keys {
	url := "http://" + proxy.Serve(t, h)
	return with(application(), keys{"authentication_endpoint": url, "api_endpoint": url})
}

// behindProxy reaches whatever h is by the names above through a proxy.
func behindProxy(t *testing.T, h http.Handler) keys {
	return with(application(), keys{"authentication_endpoint": loginHost, "api_endpoint": apiHost, "http_proxy": proxy.Serve(t, h)})
}

// overTLS serves the tenant, with a certificate of a trusted authority, behind a proxy.
func overTLS(t *testing.T, life time.Duration, hosts ...string) keys {
	k, address := trusted(t, life, hosts...)
	return with(behindProxy(t, proxy.To(address)), k)
}

// trusted serves the tenant with a certificate of an authority that the keys trust.
func trusted(t *testing.T, life time.Duration, hosts ...string) (k keys, address string) {
	authority := proxy.NewAuthority(t, "Contoso Root")
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return keys{"ca_file": file}, proxy.ServeTLS(t, busy(), &tls.Config{Certificates: []tls.Certificate{authority.Issue(life, hosts...)}})
}

const day = 24 * time.Hour

// byCertificate is an application whose certificate is good for so long, registered or not.
func byCertificate(t *testing.T, left time.Duration, registered bool) keys {
	pair, tn := certificate.New(t, time.Now().Add(-2*day), time.Now().Add(left)), busy()
	if registered {
		tn.SetCertificates(pair.Certificate)
	}
	path := filepath.Join(write(t, map[string]string{"pem": string(pair.PEM(t))}), "pem")
	return with(onLoopback(t, tn), keys{"client_secret": "", "client_certificate_file": path})
}

// busy is a tenant with content.
func busy() *tenant.Tenant { return busyWith(tenant.Config{}) }

func busyWith(c tenant.Config) *tenant.Tenant {
	c.Subscribed = tenant.ContentTypes()
	tn := tenant.New(c)
	now := time.Now()
	tn.Publish(tenant.Plan{Seed: 1, Blobs: 10, Records: 1, From: now.Add(-23 * time.Hour), To: now.Add(-time.Minute)})
	return tn
}

func faulty(f tenant.Fault, effects ...tenant.Effect) *tenant.Tenant {
	tn := busy()
	tn.Inject(f, effects...)
	return tn
}

func disabled() *tenant.Tenant {
	tn := busy()
	tn.Disable(tenant.Exchange)
	return tn
}

// tokenFor is an answer with a token for another audience.
func tokenFor(audience string) tenant.Effect {
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"aud":%q,"tid":%q}`, audience, tenant.DefaultID))
	return tenant.Answer(http.StatusOK, `{"token_type":"Bearer","expires_in":3599,"access_token":"e30.`+claims+`.c2lnbmF0dXJl"}`)
}

// nobody is an address that nothing listens on.
func nobody(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// The cause of every set-up is named, by its kind, by the exit status, and in words; the step that it shows in is the only one that is
// not right.
func TestSetUps(t *testing.T) {
	t.Parallel()
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "<html><title>Welcome to the hotel's WLAN</title></html>")
	})
	for _, s := range []struct {
		name   string
		keys   func(t *testing.T) keys
		kind   string // empty: nothing is wrong
		status int
		step   string // that the cause shows in
		says   string
	}{
		{"right", func(t *testing.T) keys { return onLoopback(t, busy()) }, "", 0, "", "enabled; 10 blobs in the last 24 h, the newest 2 h"},
		{"right, over TLS, by a proxy with a password", func(t *testing.T) keys {
			k, address := trusted(t, 2*day, loginHost, apiHost)
			k = with(behindProxy(t, proxy.Wants(proxyUser, proxyPassword, proxy.To(address))), k)
			k["http_proxy"] = proxyUser + ":" + proxyPassword + "@" + k["http_proxy"]
			return k
		}, "", 0, "", "certificate by Contoso until"},
		{"right, by certificate", func(t *testing.T) keys { return byCertificate(t, 365*day, true) }, "", 0, "", "client_certificate_file got a token"},
		{"right, not subscribed yet", func(t *testing.T) keys { return onLoopback(t, tenant.New(tenant.Config{})) }, "", 0, "", "not subscribed; the plugin starts the subscription"},

		{"key without a value", func(*testing.T) keys { return with(application(), keys{"client_secret": ""}) }, "config", 1, "configuration", "client_secret is missing"},
		{"bad value", func(*testing.T) keys { return with(application(), keys{"tenant_id": "contoso"}) }, "config", 1, "configuration", `tenant_id "contoso" is not a GUID`},
		{"misspelled key", func(*testing.T) keys {
			k := with(application(), keys{"client_sceret": "x"})
			delete(k, "client_secret")
			return k
		}, "config", 1, "configuration", "client_sceret is not a key of this plugin"},
		{"endpoints of two clouds", func(*testing.T) keys { return with(application(), keys{"api_endpoint": "manage.office365.us"}) }, "cloud", 3, "configuration",
			"audience https://manage.office.com is of the cloud enterprise, but api_endpoint https://manage.office365.us of gcc_high"},

		{"unknown host", func(*testing.T) keys { return with(application(), keys{"authentication_endpoint": "login.invalid"}) }, "dns", 2, "dns", "login.invalid"},
		{"nothing listens", func(t *testing.T) keys {
			return with(application(), keys{"authentication_endpoint": nobody(t)})
		}, "connect", 2, "connect", "connection refused"},
		{"no proxy there", func(t *testing.T) keys {
			return with(application(), keys{"http_proxy": nobody(t)})
		}, "proxy", 2, "proxy", "the proxy cannot be reached"},
		{"proxy refuses", func(t *testing.T) keys { return behindProxy(t, proxy.Refuses(http.StatusForbidden)) }, "proxy", 2, "proxy",
			"does not connect to login.contoso.example:443: HTTP 403 Forbidden"},
		{"proxy wants a password", func(t *testing.T) keys { return behindProxy(t, proxy.Refuses(http.StatusProxyAuthRequired)) }, "proxy_auth", 2, "proxy",
			"asks for a user and password"},
		{"inspecting proxy", func(t *testing.T) keys {
			authority := proxy.NewAuthority(t, "Contoso TLS Inspection")
			inspector := proxy.ServeTLS(t, busy(), &tls.Config{Certificates: []tls.Certificate{authority.Issue(2*day, loginHost, apiHost)}})
			return behindProxy(t, proxy.To(inspector))
		}, "tls_authority", 2, "tls", "not trusted here: CN=Contoso TLS Inspection,O=Contoso"},
		{"certificate expired", func(t *testing.T) keys { return overTLS(t, time.Hour, loginHost, apiHost) }, "tls_expired", 2, "tls", "is good from"},
		{"certificate for another host", func(t *testing.T) keys { return overTLS(t, 2*day, loginHost) }, "tls_name", 2, "tls",
			"the certificate of api.contoso.example is for other hosts: login.contoso.example"},
		{"TLS 1.1", func(t *testing.T) keys {
			old := proxy.ServeTLS(t, busy(), &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, //nolint:gosec // that is the fault
				Certificates: []tls.Certificate{proxy.NewAuthority(t, "Contoso Root").Issue(2*day, loginHost)}})
			return behindProxy(t, proxy.To(old))
		}, "tls", 2, "tls", "offers no TLS 1.2 or later"},
		{"no TLS", func(t *testing.T) keys { return behindProxy(t, proxy.To(proxy.Serve(t, page))) }, "tls", 2, "tls", "does not speak TLS"},
		{"a page answers", func(t *testing.T) keys { return onLoopback(t, page) }, "login_host", 2, "login host", "does not answer like Microsoft Entra: HTTP 200 OK"},

		{"unknown tenant", func(t *testing.T) keys {
			return with(onLoopback(t, busy()), keys{"tenant_id": "99999999-8888-4777-8666-555555555555"})
		}, "tenant", 3, "login host", "does not know the tenant 99999999"},
		{"login service down", func(t *testing.T) keys {
			return onLoopback(t, faulty(tenant.Fault{Operation: tenant.Discover}, tenant.LoginError(503, "temporarily_unavailable", 90033, "A transient error has occurred.")))
		}, "service", 5, "login host", "Microsoft's side"},
		{"a front door without a service", func(t *testing.T) keys {
			return onLoopback(t, faulty(tenant.Fault{Operation: tenant.Discover}, tenant.HTMLPage(http.StatusServiceUnavailable)))
		}, "service", 5, "login host", "HTTP 503"},
		{"login service busy", func(t *testing.T) keys {
			return onLoopback(t, faulty(tenant.Fault{Operation: tenant.Discover}, tenant.Answer(http.StatusTooManyRequests, "")))
		}, "throttled", 5, "login host", "HTTP 429"},
		{"login service with another word", func(t *testing.T) keys {
			return onLoopback(t, faulty(tenant.Fault{Operation: tenant.Discover}, tenant.LoginError(400, "invalid_request", 900000, "Sorry.")))
		}, "other", 5, "login host", "AADSTS900000"},
		{"tenant of another cloud", func(t *testing.T) keys {
			return onLoopback(t, busyWith(tenant.Config{CloudInstance: "microsoftonline.us"}))
		}, "cloud", 3,
			"login host", "set cloud to gcc_high or dod"},
		{"unknown application", func(t *testing.T) keys {
			return with(onLoopback(t, busy()), keys{"client_id": "99999999-8888-4777-8666-555555555555"})
		}, "client", 3, "credential", "the application is not in this tenant"},
		{"wrong secret", func(t *testing.T) keys { return with(onLoopback(t, busy()), keys{"client_secret": "wrong~secret"}) }, "secret", 3, "credential",
			"give the secret's value, not its ID"},
		{"secret expired", func(t *testing.T) keys {
			return onLoopback(t, faulty(tenant.Fault{Operation: tenant.Token},
				tenant.LoginError(http.StatusUnauthorized, "invalid_client", 7000222, "The provided client secret keys for app are expired.")))
		}, "secret_expired", 3, "credential", "the client secret has expired"},
		{"secret that everybody may read", func(t *testing.T) keys {
			path := filepath.Join(write(t, map[string]string{"secret": tenant.DefaultClientSecret}), "secret")
			if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
			return with(onLoopback(t, busy()), keys{"client_secret": "", "client_secret_file": path})
		}, "config", 0, "configuration", "every user of this machine may read"},
		{"certificate that ends soon", func(t *testing.T) keys { return byCertificate(t, 6*day+time.Hour, true) }, "certificate", 0, "credential", "expires in 6 days"},
		{"certificate that has ended", func(t *testing.T) keys { return byCertificate(t, -day, true) }, "credential", 3, "credential", "the client certificate has expired"},
		{"certificate that Entra does not know", func(t *testing.T) keys { return byCertificate(t, 365*day, false) }, "certificate", 3, "credential",
			"check that the certificate is registered with the application"},
		{"token for another audience", func(t *testing.T) keys {
			return onLoopback(t, faulty(tenant.Fault{Operation: tenant.Token}, tokenFor("https://graph.microsoft.com")))
		}, "cloud", 3, "credential", `the token is for https://graph.microsoft.com, not for https://manage.office.com`},
		{"audience that the tenant does not know", func(t *testing.T) keys {
			return with(onLoopback(t, busy()), keys{"audience": "https://manage.example.com"})
		}, "cloud", 3, "credential", "the tenant does not know the audience"},

		{"no consent", func(t *testing.T) keys { return onLoopback(t, busyWith(tenant.Config{Roles: []string{}})) }, "consent", 4, "permissions",
			"has not been granted ActivityFeed.Read"},
		{"no ReadDlp", func(t *testing.T) keys {
			return onLoopback(t, busyWith(tenant.Config{Roles: []string{"ActivityFeed.Read"}}))
		}, "read_dlp", 0, "permissions",
			"DLP.All will not be collected, the other content types will"},
		{"consent withdrawn since", func(t *testing.T) keys {
			return onLoopback(t, faulty(tenant.Fault{Operation: tenant.ListSubscriptions}, tenant.PermissionMissing(403)))
		},
			"consent", 4, "api", "admin consent"},

		{"auditing off", func(t *testing.T) keys {
			return onLoopback(t, faulty(tenant.Fault{Operation: tenant.ListSubscriptions}, tenant.AuditingOff()))
		}, "auditing", 5, "api", "unified audit logging"},
		{"subscription disabled", func(t *testing.T) keys { return onLoopback(t, disabled()) }, "subscription", 5, "Audit.Exchange", "disabled the subscription"},
		{"subscribed, but no content", func(t *testing.T) keys {
			return onLoopback(t, tenant.New(tenant.Config{Subscribed: tenant.ContentTypes()}))
		}, "auditing", 0,
			"auditing", "that auditing is on"},
		{"API down", func(t *testing.T) keys {
			return onLoopback(t, faulty(tenant.Fault{Operation: tenant.ListSubscriptions}, tenant.HTMLPage(http.StatusServiceUnavailable)))
		}, "service", 5, "api", "Microsoft's side"},
		{"listing throttled", func(t *testing.T) keys {
			return onLoopback(t, faulty(tenant.Fault{Operation: tenant.ListContent, ContentType: tenant.General}, tenant.Throttle(http.StatusForbidden, 0)))
		}, "throttled", 0, "Audit.General", "publisher_identifier"},

		{"clock an hour behind", func(t *testing.T) keys { return onLoopback(t, busyWith(tenant.Config{Skew: time.Hour})) }, "clock", 6, "clock", "1h0m0s behind Microsoft's"},
		{"clock two minutes ahead", func(t *testing.T) keys { return onLoopback(t, busyWith(tenant.Config{Skew: -2 * time.Minute})) }, "clock", 0, "clock", "2m0s ahead of Microsoft's"},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			args := s.keys(t).args()
			table, status := execute(t, nil, args...)
			out, jsonStatus := execute(t, nil, append(args, "--json")...)
			t.Log("\n" + table)
			f := parse(t, out)
			if status != s.status || jsonStatus != s.status || f.Status != s.status {
				t.Errorf("exit status %d, with --json %d, in it %d; want %d", status, jsonStatus, f.Status, s.status)
			}
			verdict := "wrong"
			switch {
			case s.kind == "":
				verdict = "ok"
			case s.status == 0:
				verdict = "warning"
			}
			if f.Verdict != verdict || f.Cause != s.kind {
				t.Errorf("verdict %s, cause %q", f.Verdict, f.Cause)
			}
			for _, step := range f.Inputs[0].Steps {
				if bad := step.Verdict == "wrong" || step.Verdict == "warning"; bad != (step.Step == s.step) {
					t.Errorf("step %s is %s: %s", step.Step, step.Verdict, step.What)
				}
			}
			if !strings.Contains(table, s.says) {
				t.Errorf("the table does not say %q", s.says)
			}
			for _, secret := range []string{tenant.DefaultClientSecret, "wrong~secret", proxyPassword, "e30.", "eyJ"} {
				if strings.Contains(table+out, secret) {
					t.Errorf("%q is shown", secret)
				}
			}
		})
	}
}

// write makes files under a new folder.
func write(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Each of several tenants is checked: what is wrong with one says nothing of the other.
func TestEachTenantIsChecked(t *testing.T) {
	t.Parallel()
	out, status := execute(t, nil, append(with(onLoopback(t, busy()), keys{"tenant_id": tenant.DefaultID + "," + stranger}).args(), "--json")...)
	f := parse(t, out)
	if status != 3 || f.Cause != "tenant" || len(f.Inputs) != 2 {
		t.Fatalf("exit status %d:\n%s", status, out)
	}
	for i, want := range []struct{ tenant, verdict string }{{tenant.DefaultID, "ok"}, {stranger, "wrong"}} {
		if got := f.Inputs[i]; got.Tenant != want.tenant || got.Verdict != want.verdict {
			t.Errorf("got %s for %s, want %s for %s", got.Verdict, got.Tenant, want.verdict, want.tenant)
		}
	}
}

// What is wrong with all tenants is found out once: a wrong secret is sent for one of them.
func TestWhatIsWrongWithAllTenants(t *testing.T) {
	t.Parallel()
	tenants := []*tenant.Tenant{busy(), busyWith(tenant.Config{ID: stranger})}
	k := with(onLoopback(t, tenant.Handler(tenants...)), keys{"tenant_id": tenant.DefaultID + "," + stranger, "client_secret": "wrong~secret"})
	out, status := execute(t, nil, append(k.args(), "--json")...)
	f := parse(t, out)
	if status != 3 || f.Cause != "secret" || len(f.Inputs) != 2 || f.Inputs[1].Verdict != "skipped" || f.Inputs[1].Tenant != stranger || len(f.Inputs[1].Steps) != 1 ||
		!strings.Contains(f.Inputs[1].Steps[0].What, "tenant "+tenant.DefaultID+" is wrong with all (secret)") {
		t.Errorf("exit status %d:\n%s", status, out)
	}
	if first, second := tenants[0].Account().Calls, tenants[1].Account().Calls; first[tenant.Token] != 1 || len(second) != 0 {
		t.Errorf("calls: %v, %v", first, second)
	}
}

// Throttling is nothing wrong, and holds nobody up; nor does a rate_limit that is low.
func TestThrottledListing(t *testing.T) {
	t.Parallel()
	tn := faulty(tenant.Fault{Operation: tenant.ListContent, ContentType: tenant.Exchange}, tenant.Throttle(http.StatusForbidden, time.Minute))
	out, status := execute(t, nil, append(with(onLoopback(t, tn), keys{"rate_limit": "5/m"}).args(), "--timeout", "5s", "--json")...)
	f := parse(t, out)
	if status != 0 || f.Verdict != "warning" || f.Cause != "throttled" {
		t.Fatalf("exit status %d:\n%s", status, out)
	}
	held := 0
	for _, step := range f.Inputs[0].Steps {
		if step.Cause == "throttled" && step.Verdict == "warning" {
			held++
		}
	}
	if calls := tn.Account().Calls[tenant.ListContent]; held < 2 || calls > 3 {
		t.Errorf("%d content types are throttled after %d listings:\n%s", held, calls, out)
	}
}

// A key is one even where another is wrong.
func TestUnknownCloud(t *testing.T) {
	t.Parallel()
	out, status := execute(t, nil, with(onLoopback(t, busy()), keys{"cloud": "gcchigh"}).args()...)
	if status != 1 || !strings.Contains(out, `cloud "gcchigh" is not known`) || strings.Contains(out, "is not a key") {
		t.Errorf("exit status %d:\n%s", status, out)
	}
}

func TestConfigurationFile(t *testing.T) {
	t.Parallel()
	url := "http://" + proxy.Serve(t, busy())
	dir := write(t, map[string]string{"fluent-bit.yaml": `
env:
  CLIENT: ` + tenant.DefaultClientID + `
service:
  storage.path: /var/lib/fluent-bit/chunks
pipeline:
  inputs:
    - name: dummy
    - name: office365
      tag: first
      storage.type: filesystem
      tenant_id: ` + tenant.DefaultID + `
      client_id: ${CLIENT}
      client_secret: ${SECRET}
      authentication_endpoint: ` + url + `
      api_endpoint: ` + url + `
    - name: office365
      tag: second
      tenant_id: ` + tenant.DefaultID + `
      client_id: ${CLIENT}
      client_secret: ${NO_SECRET}
  outputs:
    - name: http
      match: first
      retry_limit: no_limits
`})
	file, env := filepath.Join(dir, "fluent-bit.yaml"), []string{"SECRET=" + tenant.DefaultClientSecret}
	t.Run("all inputs", func(t *testing.T) {
		t.Parallel()
		out, status := execute(t, env, "-c", file, "--json")
		f := parse(t, out)
		if status != 1 || f.Version != "v1.2.3" || len(f.Inputs) != 2 || f.Inputs[0].Input != "office365.1" || f.Inputs[0].Verdict != "ok" || f.Inputs[0].Tenant != tenant.DefaultID {
			t.Fatalf("exit status %d\n%s", status, out)
		}
		second := f.Inputs[1].Steps[0]
		for _, part := range []string{"client_secret is missing", "the variable NO_SECRET is used but not set"} {
			if !strings.Contains(second.What, part) {
				t.Errorf("no %q in %q", part, second.What)
			}
		}
	})
	for _, by := range []string{"office365.1", "1", "first"} {
		t.Run("input "+by, func(t *testing.T) {
			t.Parallel()
			out, status := execute(t, env, "-c", file, "--input", by, "--json")
			f := parse(t, out)
			if status != 0 || len(f.Inputs) != 1 || f.Inputs[0].Tag != "first" || f.Verdict != "ok" {
				t.Errorf("exit status %d\n%s", status, out)
			}
		})
	}
	t.Run("a key that does not exist", func(t *testing.T) {
		t.Parallel()
		out, status := execute(t, env, "-c", file, "--input", "first", "--set", "pol_interval=5m", "--json")
		step := parse(t, out).Inputs[0].Steps[0]
		if status != 1 || step.What != "pol_interval is not a key of this plugin" || step.Do != "did you mean poll_interval?" {
			t.Errorf("exit status %d\n%s", status, out)
		}
	})
	t.Run("a pipeline that loses records", func(t *testing.T) {
		t.Parallel()
		out, status := execute(t, env, "-c", file, "--input", "first", "--set", "storage.type=memory", "--set", "tag=third", "--set", "tenant_id="+tenant.DefaultID+","+stranger, "--json")
		f := parse(t, out)
		var found []string
		for _, in := range f.Inputs { // one for each tenant
			for _, step := range in.Steps {
				if step.Step == "pipeline" {
					found = append(found, step.Verdict+" "+step.What+" -> "+step.Do)
				}
			}
		}
		if status != 3 || len(found) != 2 || !strings.HasPrefix(found[0], "warning the input office365.1 keeps records in memory only") ||
			found[1] != "warning no output takes the tag third, so that Fluent Bit drops every record -> set match third on an output" {
			t.Errorf("exit status %d, found %q", status, found)
		}
	})
	for name, args := range map[string][]string{
		"no such file":   {"-c", filepath.Join(dir, "none.yaml")},
		"no such input":  {"-c", file, "--input", "third"},
		"no input":       {"-c", filepath.Join(write(t, map[string]string{"empty.conf": "[SERVICE]\n    Flush 1\n"}), "empty.conf")},
		"nothing to do":  {},
		"unknown flag":   {"--colour"},
		"no flag":        {file},
		"no time at all": {"-c", file, "--timeout", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out, status := execute(t, env, args...); status != 1 || out == "" {
				t.Errorf("exit status %d: %s", status, out)
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	if out, status := execute(t, nil, "--version"); status != 0 || out != "v1.2.3\n" {
		t.Errorf("exit status %d: %s", status, out)
	}
	out, status := execute(t, nil, "--help")
	if status != 0 || !strings.Contains(out, "Exit status:") || !strings.Contains(out, "-set key=value") {
		t.Errorf("exit status %d: %s", status, out)
	}
}

// A host that says nothing costs --timeout and no more; and Ctrl-C ends the wait at once.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	silent := onLoopback(t, faulty(tenant.Fault{Operation: tenant.Discover}, tenant.Hang())).args()
	out, status := execute(t, nil, append(silent, "--timeout", "1s", "--json")...)
	if f := parse(t, out); status != 2 || f.Cause != "no_answer" {
		t.Errorf("exit status %d\n%s", status, out)
	}

	rest, status := interrupt(t, "  tls ", append(silent, "--timeout", "1h")...)
	if status != 130 || !strings.Contains(rest, "interrupted") {
		t.Errorf("exit status %d: %s", status, rest)
	}
}

// Ctrl-C ends with its own status, whatever is wrong with the tenants before.
func TestInterruptedAtALaterTenant(t *testing.T) {
	t.Parallel()
	first, second := busy(), busyWith(tenant.Config{ID: stranger})
	first.Inject(tenant.Fault{Operation: tenant.ListSubscriptions}, tenant.AuditingOff())
	second.Inject(tenant.Fault{Operation: tenant.ListSubscriptions}, tenant.Hang())
	k := with(onLoopback(t, tenant.Handler(first, second)), keys{"tenant_id": tenant.DefaultID + "," + stranger})
	if rest, status := interrupt(t, "tenant "+stranger, append(k.args(), "--timeout", "1h")...); status != 130 {
		t.Errorf("exit status %d: %s", status, rest)
	}
}

const stranger = "99999999-8888-4777-8666-555555555555"

// interrupt runs the program, and sends SIGINT once it has written that.
func interrupt(t *testing.T, after string, args ...string) (rest string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), check, args...)
	read, written, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cmd.Stdout = written
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	written.Close()
	var text bytes.Buffer
	for buffer := make([]byte, 4096); !strings.Contains(text.String(), after); {
		n, err := read.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(buffer[:n])
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	left, _ := io.ReadAll(read)
	_ = cmd.Wait()
	return string(left), cmd.ProcessState.ExitCode()
}

// The check changes nothing and takes no record.
func TestItOnlyLooks(t *testing.T) {
	t.Parallel()
	tn := tenant.New(tenant.Config{Subscribed: []string{tenant.SharePoint}})
	tn.AddBlob(tenant.SharePoint, time.Now().Add(-time.Hour), tenant.Generated{Seed: 1, Records: 1})
	out, status := execute(t, nil, onLoopback(t, tn).args()...)
	if status != 0 || !strings.Contains(out, "1 blob in the last 24 h") {
		t.Errorf("exit status %d\n%s", status, out)
	}
	a := tn.Account()
	if len(a.Starts) > 0 || len(a.Statuses[tenant.FetchBlob]) > 0 || len(a.Statuses[tenant.StopSubscription]) > 0 {
		t.Errorf("starts %v, calls %v", a.Starts, a.Statuses)
	}
}
