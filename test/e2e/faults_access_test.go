package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"in_office365/test/tenant"
)

// A start that was throttled is announced, holds nobody else up, and is not made again at once but by the next run. That it is made again when the API
// said, and not before, takes minutes: the tests of plugin/collector have them.
func startThrottled(t *testing.T) *trial {
	c := subscribed()
	c.Subscribed = but(tenant.Exchange)
	x := newTrial(t, c)
	x.offer(6, 3, x.ago(6*day), x.ago(time.Minute))
	x.tenant.Inject(tenant.Fault{Operation: tenant.StartSubscription, ContentType: tenant.Exchange, Times: 1},
		tenant.AnswerError(http.StatusForbidden, "429", "Too many requests. Please retry again after 14m 56s"))
	x.start()
	x.othersArrive(tenant.Exchange)
	x.waitForNotice("throttled", tenant.Exchange)
	x.waitSettled()
	x.stop()
	if n := x.tenant.Account().Starts[tenant.Exchange]; n != 1 {
		x.Errorf("%d starts, while the API said to wait", n)
	}
	x.start()
	x.wait()
	x.waitForNotice("subscription_started", tenant.Exchange)
	x.stop()
	if n := x.tenant.Account().Starts[tenant.Exchange]; n != 2 {
		x.Errorf("%d starts", n)
	}
	x.wantLog("subscribing failed: starting the subscription: start subscription: HTTP 403 Forbidden: 429")
	x.wantNotice("throttled", tenant.Exchange)
	x.wantNotice("subscription_started", tenant.Exchange)
	x.account(0, settledAtStop)
	return x
}

// The list of subscriptions lacks what is subscribed, so it is started, and the API refuses that as there is nothing to change.
func alreadyEnabled(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.offer(6, 3, x.ago(6*day), x.ago(time.Minute))
	x.tenant.Inject(tenant.Fault{Operation: tenant.ListSubscriptions}, tenant.Answer(http.StatusOK, "[]"))
	x.start()
	x.wait()
	x.waitForNotice("subscription_started", tenant.ContentTypes()...)
	x.stop()
	if n := x.tenant.Account().Statuses[tenant.StartSubscription][http.StatusBadRequest]; n != len(tenant.ContentTypes()) {
		x.Errorf("%d starts were answered with AF20024", n)
	}
	x.others(hitAlike)
	x.wantNotice("subscription_started", tenant.ContentTypes()...)
	x.account(0, oneRun)
	return x
}

func permissionMissing(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.offer(6, 3, x.ago(6*day), x.ago(time.Minute))
	fault := x.tenant.Inject(tenant.Fault{ContentType: tenant.DLP}, tenant.PermissionMissing(http.StatusForbidden))
	x.start()
	x.othersArrive(tenant.DLP)
	x.waitForNotice("access_refused", tenant.DLP)
	fault.Remove()
	x.wait()
	x.stop()
	x.wantLog("AF10001")
	x.wantNotice("access_refused", tenant.DLP)
	x.account(0, oneRun)
	return x
}

// The secret is another one before the file says so, and nobody starts the plugin again.
func secretRotated(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	path := filepath.Join(x.dir, "secret")
	write := func(secret string) {
		if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(tenant.DefaultClientSecret)
	x.keys["client_secret"], x.keys["client_secret_file"] = "", path
	x.offer(6, 3, x.ago(6*day), x.ago(time.Minute))
	x.start()
	x.wait()
	x.tenant.SetSecret("example~secret~that~comes~next")
	x.tenant.RevokeTokens()
	x.waitForNotice("access_refused", tenant.ContentTypes()...)
	x.offer(3, 3, x.ago(10*time.Minute), x.ago(time.Minute))
	write("example~secret~that~comes~next")
	x.wait()
	x.stop()
	x.others(hitAlike)
	x.wantLog("AADSTS7000215")
	x.wantNotice("access_refused", tenant.ContentTypes()...)
	x.account(0, oneRun)
	return x
}

func subscriptionDisabled(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.offer(6, 3, x.ago(6*day), x.ago(time.Minute))
	x.start()
	x.wait()
	start := make(chan struct{})
	x.tenant.Inject(tenant.Fault{Operation: tenant.StartSubscription}, tenant.Until(start))
	x.tenant.Disable(tenant.Exchange)
	x.offer(3, 3, x.ago(10*time.Minute), x.ago(time.Minute))
	x.othersArrive(tenant.Exchange)
	close(start)
	x.wait()
	x.waitForNotice("subscription_disabled", tenant.Exchange)
	x.stop()
	if n := x.tenant.Account().Starts[tenant.Exchange]; n != 1 {
		x.Errorf("%d starts", n)
	}
	x.wantLog("the subscription was disabled while it was collected, and has been started again")
	x.wantNotice("subscription_disabled", tenant.Exchange)
	x.account(0, oneRun)
	return x
}
