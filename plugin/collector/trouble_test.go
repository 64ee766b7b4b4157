package collector_test

import (
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"in_office365/test/tenant"
)

// failing is a network that fails while err holds one.
type failing struct {
	http.RoundTripper
	err atomic.Pointer[error]
}

func (f *failing) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := f.err.Load(); err != nil {
		return nil, *err
	}
	return f.RoundTripper.RoundTrip(r)
}

// count is how many lines of the log hold all of the parts.
func (w *world) count(parts ...string) (n int) {
lines:
	for _, line := range strings.Split(w.log.String(), "\n") {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue lines
			}
		}
		n++
	}
	return n
}

// What befalls all content types is told once for all of them, with its cause and what to do, again only after a minute, two, four, and
// when it is over.
func TestSharedCauseIsToldOnce(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		network := &failing{RoundTripper: w.transport}
		w.transport = network
		w.tenant.Publish(tenant.Plan{Blobs: 5, Records: 5, From: ago(time.Hour), To: ago(time.Minute)})
		c := w.open()
		c.Start()
		w.host(c, 10*time.Minute+30*time.Second) // between two polls
		var err error = &net.DNSError{Name: "login.example.com", Err: "no such host", IsNotFound: true}
		network.err.Store(&err)
		w.tenant.RevokeTokens()
		w.host(c, 50*time.Second)
		if n := w.count("level=ERROR"); n != 1 || w.count("access to the API failed: ", "; there is no host login.example.com; check the spelling", "cause=dns") != 1 {
			t.Errorf("%d errors:\n%s", n, w.log.String())
		}
		w.host(c, 10*time.Minute)
		if n := w.count("level=ERROR"); n != 4 {
			t.Errorf("%d errors in eleven minutes:\n%s", n, w.log.String())
		}
		network.err.Store(nil)
		w.tenant.SetSecret("another")
		w.host(c, 6*time.Minute)
		if w.count("access to the API failed: ", "AADSTS7000215", "give the secret's value", "cause=secret") == 0 {
			t.Errorf("a new cause is not told:\n%s", w.log.String())
		}
		w.tenant.SetSecret(tenant.DefaultClientSecret)
		w.host(c, 30*time.Minute)
		w.stop(c)
		if w.count("works again") != 1 || w.count("access to the API works again") != 1 {
			t.Errorf("not over once:\n%s", w.log.String())
		}
	})
}

// What befalls all tenants alike is told once for all of them, and names none; so is that it is over.
func TestCauseOfAllTenantsIsToldOnce(t *testing.T) {
	for kind, err := range map[string]error{
		"dns":     &net.DNSError{Name: "login.example.com", Err: "server misbehaving"},
		"connect": &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
	} {
		t.Run(kind, func(t *testing.T) {
			inWorldOf(t, 20, func(w *world, _ []*tenant.Tenant) {
				network := &failing{RoundTripper: w.transport}
				w.transport = network
				network.err.Store(&err)
				c := w.open()
				c.Start()
				w.host(c, 50*time.Second)
				if n := w.count("level=ERROR"); n != 1 || w.count("access to the API failed: ", "cause="+kind) != 1 || w.count("level=ERROR", "tenant=") != 0 {
					t.Errorf("%d errors:\n%s", n, lastLines(w.log.String(), 30))
				}
				network.err.Store(nil)
				w.host(c, 20*time.Minute)
				w.stop(c)
				if w.count("works again") != 1 || w.count("works again", "tenant=") != 0 {
					t.Errorf("not over once:\n%s", lastLines(w.log.String(), 30))
				}
			})
		})
	}
}

// What the login service says of one tenant is told of that one, known or unknown, and hides nothing of another.
func TestCauseOfOneTenantIsToldOfThatTenant(t *testing.T) {
	for kind, number := range map[string]int{"client": 700016, "credential": 50000} {
		t.Run(kind, func(t *testing.T) {
			inWorldOf(t, 4, func(w *world, tenants []*tenant.Tenant) {
				for _, tn := range tenants[1:3] {
					tn.Inject(tenant.Fault{Operation: tenant.Token}, tenant.LoginError(http.StatusUnauthorized, "invalid_client", number, "Sorry."))
				}
				w.run(50 * time.Second)
				for _, id := range []string{tenantID(1), tenantID(2)} {
					if w.count("level=ERROR", "access to the API failed: ", "cause="+kind, "tenant="+id) != 1 {
						t.Errorf("not told once of %s", id)
					}
				}
				if n := w.count("level=ERROR"); n != 2 {
					t.Errorf("%d errors:\n%s", n, lastLines(w.log.String(), 30))
				}
			})
		})
	}
}

// What befalls one content type is told of that one.
func TestCauseOfOneTypeIsToldOfThatType(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.tenant.SetRoles("ActivityFeed.Read")
		w.run(50 * time.Second)
		if n := w.count("level=ERROR"); n != 1 || w.count("listing content failed: ", "content_type=DLP.All", "AF10001", "cause=read_dlp") != 1 {
			t.Errorf("%d errors:\n%s", n, w.log.String())
		}
	})
}

// What befalls all content types of a tenant, though each is refused for itself, is told once.
func TestCauseOfATenantIsToldOnce(t *testing.T) {
	for kind, spoil := range map[string]func(*tenant.Tenant){
		"auditing": func(tn *tenant.Tenant) {
			for _, op := range []tenant.Operation{tenant.ListSubscriptions, tenant.ListContent, tenant.StartSubscription} {
				tn.Inject(tenant.Fault{Operation: op}, tenant.AuditingOff())
			}
		},
		"consent": func(tn *tenant.Tenant) { tn.SetRoles("ServiceHealth.Read") },
		"api_host": func(tn *tenant.Tenant) {
			for _, op := range []tenant.Operation{tenant.ListSubscriptions, tenant.ListContent, tenant.StartSubscription} {
				tn.Inject(tenant.Fault{Operation: op}, tenant.HTMLPage(http.StatusNotFound))
			}
		},
	} {
		t.Run(kind, func(t *testing.T) {
			inWorldOf(t, 2, func(w *world, tenants []*tenant.Tenant) {
				spoil(tenants[1])
				w.run(55 * time.Second)
				if n := w.count("level=ERROR"); n != 1 || w.count("access to the API failed: ", "tenant="+tenantID(1), "cause="+kind) != 1 {
					t.Errorf("%d errors:\n%s", n, w.log.String())
				}
			})
		})
	}
}

// That start_from can't be had is of the configuration, not of each content type.
func TestStartTooFarBackIsToldOnce(t *testing.T) {
	inWorldOf(t, 2, func(w *world, _ []*tenant.Tenant) {
		w.keys["start_from"] = ago(9 * 24 * time.Hour).Format(time.RFC3339)
		w.run(2 * time.Minute)
		if n := w.count("further back than the API reaches"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

func TestWrongClockIsToldOnce(t *testing.T) {
	for skew, want := range map[time.Duration]int{time.Hour: 1, time.Minute: 0} {
		c := subscribed
		c.Skew = skew
		t.Run(skew.String(), func(t *testing.T) {
			inWorld(t, c, func(w *world) {
				w.run(5 * time.Minute)
				if n := w.count("this machine's clock is", "cause=clock"); n != want {
					t.Errorf("told %d times", n)
				}
			})
		})
	}
}

// A credential that is refused for one tenant goes on being told while another works with the token that it has, and is over when both work.
func TestTroubleOfOneTenantIsNotHiddenByAnother(t *testing.T) {
	for kind, number := range map[string]int{"secret_expired": 7000222, "client": 700016} { // of all tenants, and of the one
		t.Run(kind, func(t *testing.T) {
			inWorldOf(t, 2, func(w *world, tenants []*tenant.Tenant) {
				c := w.open()
				c.Start()
				w.host(c, 75*time.Second) // between the polls of both
				refused := tenants[1].Inject(tenant.Fault{Operation: tenant.Token}, tenant.LoginError(http.StatusUnauthorized, "invalid_client", number, "Sorry."))
				tenants[1].RevokeTokens()
				w.host(c, 7*time.Minute)
				for range 600 {
					w.host(c, time.Second)
					if failing := troublesOf(c.Status()); len(failing) != 1 || failing[0].Cause != kind {
						t.Errorf("refused: %+v", failing)
						break
					}
				}
				refused.Remove()
				w.host(c, 20*time.Minute)
				s := c.Status()
				if len(s.Troubles)+len(s.Tenants[0].Troubles)+len(s.Tenants[1].Troubles) != 0 || w.count("access to the API works again") != 1 {
					t.Errorf("mended: %+v", s)
				}
				w.stop(c)
			})
		})
	}
}

// A trouble that one tenant alone had, though it is told of all of them, ends when the tenant is removed.
func TestTroubleEndsWithItsTenant(t *testing.T) {
	inWorldOf(t, 2, func(w *world, tenants []*tenant.Tenant) {
		write := w.tenantsFile(tenantID(0), tenantID(1))
		tenants[1].Inject(tenant.Fault{Operation: tenant.Token}, tenant.LoginError(http.StatusUnauthorized, "invalid_client", 7000222, "Sorry."))
		c := w.open()
		c.Start()
		w.host(c, 2*time.Minute)
		if s := c.Status(); len(s.Troubles) != 1 || s.Troubles[0].Works {
			t.Errorf("refused: %+v", s.Troubles)
		}
		write(tenantID(0))
		w.host(c, 8*time.Minute)
		if s := c.Status(); len(s.Troubles) != 0 || len(s.Tenants) != 1 {
			t.Errorf("removed: %+v", s)
		}
		w.stop(c)
	})
}

// What a tenant does not get for its secret works again with the first call that succeeds, though a blob that failed meanwhile is not tried for long.
func TestAccessWorksAgainBeforeEveryBlobDoes(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		id := w.tenant.AddBlob(tenant.General, ago(time.Hour), tenant.Generated{Records: 3})
		w.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: id}, tenant.AnswerError(http.StatusServiceUnavailable, "", "busy"))
		c := w.open()
		c.Start()
		w.host(c, 10*time.Minute)
		refused := w.tenant.Inject(tenant.Fault{Operation: tenant.Token}, tenant.LoginError(http.StatusUnauthorized, "invalid_client", 7000215, "Invalid client secret provided."))
		w.tenant.RevokeTokens()
		w.host(c, 30*time.Minute)
		if s := c.Status(); len(s.Troubles) != 1 || s.Troubles[0].Works {
			t.Errorf("refused: %+v", s.Troubles)
		}
		refused.Remove()
		works := func() bool { s := c.Status(); return len(s.Troubles) == 0 || s.Troubles[0].Works }
		for range 7 * time.Minute / time.Second { // listing is tried every five minutes or so
			if works() {
				break
			}
			w.host(c, time.Second)
		}
		w.host(c, time.Minute)
		if !works() {
			t.Errorf("mended: %+v", c.Status().Troubles)
		}
		w.stop(c)
	})
}
