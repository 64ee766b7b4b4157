package collector_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"in_office365/test/certificate"
	"in_office365/test/tenant"
)

// A certificate that ends soon is announced at each start, and when a threshold passes, and collecting goes on.
func TestCertificateThatExpiresIsAnnounced(t *testing.T) {
	key := certificate.NewKey(t)
	inWorld(t, tenant.Config{Subscribed: tenant.ContentTypes()}, func(w *world) {
		pair := certificate.Of(w.t, key, time.Now().AddDate(-1, 0, 0), time.Now().Add(7*24*time.Hour+10*time.Minute))
		w.tenant.SetCertificates(pair.Certificate)
		path := filepath.Join(filepath.Dir(w.keys["db"]), "certificate.pem")
		w.write(path, string(pair.PEM(w.t)))
		w.keys["client_secret"], w.keys["client_certificate_file"] = "", path
		w.lastWeek(2, 2)
		w.run(30 * time.Minute)
		w.wantLog("the credential expires in 7 days, at ")
		if n := w.notices["credential_expiring"]; n != 2 {
			w.t.Errorf("%d notices, want one at the start and one 7 days before", n)
		}
		w.run(30 * time.Minute)
		if n := w.notices["credential_expiring"]; n != 3 {
			w.t.Errorf("%d notices, want one more at the next start", n)
		}
		w.verdict(0)
	})
}

// That a secret has expired is known from its refusal only, and announced once beside that.
func TestExpiredSecretIsAnnounced(t *testing.T) {
	inWorld(t, tenant.Config{Subscribed: tenant.ContentTypes()}, func(w *world) {
		path := filepath.Join(filepath.Dir(w.keys["db"]), "secret")
		w.write(path, tenant.DefaultClientSecret)
		w.keys["client_secret"], w.keys["client_secret_file"] = "", path
		w.lastWeek(2, 2)
		c := w.open()
		c.Start()
		w.host(c, 5*time.Minute)
		w.tenant.ExpireSecret()
		w.tenant.RevokeTokens()
		w.host(c, 30*time.Minute)
		if got := fmt.Sprint(w.notices["credential_expiring"], w.notices["access_refused"]); got != "1 5" {
			w.t.Errorf("notices credential_expiring, access_refused: got %s, want 1 5", got)
		}
		w.wantLog("the credential has expired: ")
		w.wantLog("AADSTS7000222")
		w.tenant.SetSecret("the~next~secret")
		w.write(path, "the~next~secret")
		w.tenant.Publish(tenant.Plan{Blobs: 2, Records: 2, From: ago(time.Hour), To: ago(time.Minute), Seed: 8})
		w.host(c, 30*time.Minute)
		w.stop(c)
		w.verdict(0)
		for _, secret := range w.tenant.Confidential() {
			if strings.Contains(w.log.String(), secret) {
				w.t.Errorf("the log shows %s", secret)
			}
		}
	})
}
