package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"in_office365/o365"
	"in_office365/o365/auth"
	"in_office365/plugin/config"
	"in_office365/plugin/diagnosis"
)

// The steps, in their order; behind them comes one for each content type.
const (
	stepConfiguration = "configuration"
	stepPipeline      = "pipeline" // one for each thing that is found
	stepDNS           = "dns"
	stepProxy         = "proxy"
	stepConnect       = "connect"
	stepTLS           = "tls"
	stepLogin         = "login host"
	stepClock         = "clock"
	stepCredential    = "credential"
	stepPermissions   = "permissions"
	stepAPI           = "api"
	stepAuditing      = "auditing" // behind the content types
)

// maxAnswer is more than any answer that is not a listing.
const maxAnswer = 256 << 10 // bytes

// walk is the way of one tenant's settings.
type walk struct {
	cfg     *config.Config
	doubts  []string // about the configuration
	behind  []step   // of the pipeline
	timeout time.Duration
	report  func(step)

	transport     *http.Transport
	ahead         time.Duration // this machine's clock less the login service's
	timeKnown     bool
	http          *http.Client
	tokens        *auth.Source
	client        *o365.Client
	token         *oauth2.Token
	withoutDLP    bool // ReadDlp is known to be missing
	subscriptions []o365.Subscription
	listed, blobs int // content types that could be listed, and what they had
}

func newWalk(cfg *config.Config, doubts []string, behind []step, timeout time.Duration, report func(step)) *walk {
	w := &walk{cfg: cfg, doubts: doubts, behind: behind, timeout: timeout, report: report}
	w.http = o365.NewHTTPClient(o365.TransportOptions{
		ProxyURL: cfg.HTTPProxy, RootCAs: cfg.RootCAs, Timeout: min(cfg.HTTPTimeout, timeout), Workers: 1,
	})
	w.transport, _ = w.http.Transport.(*http.Transport)
	return w
}

// A stage is one or more steps that are found out together.
type stage struct {
	steps []string
	do    func(context.Context) []step
}

func single(name string, do func(context.Context) step) stage {
	return stage{[]string{name}, func(ctx context.Context) []step { return []step{do(ctx)} }}
}

// run walks until something is wrong, and skips what comes behind that. The content types lie side by side: what is wrong with one does
// not keep the others from being looked at.
func (w *walk) run(ctx context.Context) {
	defer w.transport.CloseIdleConnections()
	stopped := false
	for _, s := range []stage{
		single(stepConfiguration, w.configuration),
		w.pipeline(),
		{[]string{stepDNS, stepProxy, stepConnect, stepTLS}, w.network},
		single(stepLogin, w.login),
		single(stepClock, w.time),
		single(stepCredential, w.credential),
		single(stepPermissions, w.permissions),
		single(stepAPI, w.api),
	} {
		stopped = w.pass(ctx, s, stopped) || stopped
	}
	for _, t := range w.cfg.ContentTypes {
		w.pass(ctx, single(string(t), func(ctx context.Context) step { return w.content(ctx, t) }), stopped)
	}
	w.pass(ctx, single(stepAuditing, w.auditing), stopped)
}

// pass reports the steps of a stage, and says whether one is wrong.
func (w *walk) pass(ctx context.Context, s stage, skip bool) (failed bool) {
	var done []step
	if !skip {
		limited, cancel := context.WithTimeout(ctx, w.timeout)
		defer cancel()
		done = s.do(limited)
	}
	for _, d := range done {
		w.report(d)
		failed = failed || d.Verdict == wrong
	}
	for _, name := range s.steps[min(len(done), len(s.steps)):] {
		w.report(skips(name, ""))
	}
	return failed
}

// pipeline says what was found out before the walk, if there is a pipeline.
func (w *walk) pipeline() (s stage) {
	if len(w.behind) > 0 {
		s.steps = []string{stepPipeline}
	}
	s.do = func(context.Context) []step { return w.behind }
	return s
}

func (w *walk) configuration(context.Context) step {
	c := w.cfg
	if cause, bad := diagnosis.OfEndpoints(c.Login.String(), c.Audience, c.API.String()); bad {
		return fails(stepConfiguration, cause, nil)
	}
	if len(w.doubts) > 0 {
		return warns(stepConfiguration, diagnosis.Cause{
			Kind: diagnosis.Config, What: strings.Join(w.doubts, "; "), Do: "set it in the environment that Fluent Bit will have, or in the configuration",
		})
	}
	if len(c.Exposed) > 0 {
		return warns(stepConfiguration, diagnosis.Cause{
			Kind: diagnosis.Config, What: "every user of this machine may read " + strings.Join(c.Exposed, " and "), Do: "chmod o-r",
		})
	}
	return passes(stepConfiguration, "tenant %s, application %s, cloud %s", c.TenantID, c.ClientID, c.Cloud.Name)
}

// discovery is what the login service tells everybody of a tenant
// (https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc#fetch-the-openid-configuration-document).
type discovery struct {
	TokenEndpoint string `json:"token_endpoint"`
	CloudInstance string `json:"cloud_instance_name"`     // microsoftonline.com, microsoftonline.us, partner.microsoftonline.cn
	Region        string `json:"tenant_region_sub_scope"` // GCC, DODCON (GCC High), DOD; else empty
	Error         string `json:"error"`
	Description   string `json:"error_description"`
}

var regions = map[string]string{"GCC": "gcc", "DODCON": "gcc_high", "DOD": "dod"}

// login asks who answers at the login host, and whether it knows the tenant, before any secret is sent there.
func (w *walk) login(ctx context.Context) step {
	if w.cfg.ByManagedIdentity() {
		return skips(stepLogin, "a managed identity gets its tokens from the machine's own service")
	}
	host := w.cfg.Login.Host
	d, status, err := w.discover(ctx)
	code, _, _ := strings.Cut(d.Description, ":")
	refusal := &o365.Error{Op: "ask for the tenant", Code: code, Status: status, Message: d.Description}
	switch {
	case err != nil:
		return fails(stepLogin, diagnosis.Of(err), err)
	case status == http.StatusTooManyRequests:
		refusal.Action = o365.Throttle
		return fails(stepLogin, diagnosis.Of(refusal), refusal)
	case status >= http.StatusInternalServerError:
		return fails(stepLogin, diagnosis.Of(refusal), refusal)
	case code == "AADSTS90002", code == "AADSTS900023":
		return fails(stepLogin, diagnosis.Cause{
			Kind: diagnosis.Tenant, What: fmt.Sprintf("%s does not know the tenant %s", host, w.cfg.TenantID), Do: "check tenant_id and cloud",
		}, refusal)
	case strings.HasPrefix(code, "AADSTS"):
		return fails(stepLogin, diagnosis.Cause{Kind: diagnosis.Other, What: diagnosis.Text(refusal)}, refusal)
	case d.TokenEndpoint == "":
		return fails(stepLogin, diagnosis.Cause{
			Kind: diagnosis.LoginHost, What: fmt.Sprintf("%s does not answer like Microsoft Entra: HTTP %d %s", host, status, http.StatusText(status)),
			Do: diagnosis.Remedy(diagnosis.LoginHost),
		}, nil)
	}
	if home := o365.CloudsOf("https://login." + d.CloudInstance); home != nil && !slices.Contains(home, w.cfg.Cloud.Name) {
		return fails(stepLogin, diagnosis.Cause{
			Kind: diagnosis.Cloud, What: fmt.Sprintf("the tenant is at home in another cloud than %s: %s", w.cfg.Cloud.Name, d.CloudInstance),
			Do: "set cloud to " + strings.Join(home, " or "),
		}, nil)
	}
	if region := regions[d.Region]; region != "" && region != w.cfg.Cloud.Name {
		return warns(stepLogin, diagnosis.Cause{
			Kind: diagnosis.Cloud, What: fmt.Sprintf("the tenant is one of %s, the cloud set is %s", region, w.cfg.Cloud.Name), Do: "set cloud to " + region,
		})
	}
	return passes(stepLogin, "%s knows the tenant", host)
}

func (w *walk) discover(ctx context.Context) (d discovery, status int, err error) {
	u := w.cfg.Login.JoinPath(w.cfg.TenantID, "v2.0/.well-known/openid-configuration")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return d, 0, err
	}
	sent := time.Now()
	res, err := w.http.Do(req)
	if err != nil {
		return d, 0, bare(err)
	}
	defer res.Body.Close()
	w.ahead, w.timeKnown = aheadOf(res.Header, sent, time.Now())
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return d, 0, err
	}
	if json.Unmarshal(text, &d) != nil {
		d = discovery{} // a page of somebody else
	}
	return d, res.StatusCode, nil
}

func (w *walk) time(context.Context) step {
	if !w.timeKnown {
		return skips(stepClock, "no answer has told the time")
	}
	switch cause, slight, bad := diagnosis.OfClock(w.ahead); {
	case bad:
		return fails(stepClock, cause, nil)
	case slight:
		return warns(stepClock, cause)
	}
	return passes(stepClock, "right to within %s", span(max(w.ahead.Abs(), time.Second)))
}

func (w *walk) credential(ctx context.Context) step {
	c := w.cfg
	var err error
	w.tokens, err = auth.New(auth.Options{
		Tenant: c.TenantID, ClientID: c.ClientID, Credential: c.Credential, LoginURL: c.Login, TokenPath: c.TokenPath, Audience: c.Audience,
		AllowInsecure: c.AllowInsecure, HTTPClient: w.http,
	})
	if err == nil {
		w.token, err = w.tokens.Token(ctx)
	}
	if err != nil {
		return fails(stepCredential, diagnosis.Of(err), err)
	}
	if cause, soon := diagnosis.OfExpiry(c.Credential.Expires(), time.Now()); soon {
		return warns(stepCredential, cause)
	}
	return passes(stepCredential, "%s got a token for %s", c.CredentialKey(), span(time.Until(w.token.Expiry)))
}

func (w *walk) permissions(context.Context) step {
	claims, ok := auth.ParseClaims(w.token.AccessToken)
	if !ok {
		return skips(stepPermissions, "the token does not tell")
	}
	switch cause, bad := diagnosis.OfPermissions(claims, w.cfg.ContentTypes); {
	case bad && cause.Kind == diagnosis.ReadDLP:
		w.withoutDLP = true
		return warns(stepPermissions, cause)
	case bad:
		return fails(stepPermissions, cause, nil)
	}
	return passes(stepPermissions, "%s", strings.Join(claims.Roles, ", "))
}

// api asks for the list of subscriptions, the first call that the API itself answers.
func (w *walk) api(ctx context.Context) (s step) {
	c := w.cfg
	var err error
	w.client, err = o365.New(o365.Options{
		Tenant: c.TenantID, Publisher: c.PublisherIdentifier, APIURL: c.API, AllowInsecure: c.AllowInsecure,
		HTTPClient: w.http, Tokens: w.tokens, RequestsPerMinute: max(c.RateLimit, o365.DefaultRequestsPerMinute), BodyIdleTimeout: min(c.HTTPTimeout, w.timeout),
		UserAgent: "office365-check/" + version,
	})
	if err == nil {
		w.subscriptions, err = w.client.Subscriptions(ctx)
	}
	if err != nil {
		return fails(stepAPI, diagnosis.Of(err), err)
	}
	enabled := 0
	for _, sub := range w.subscriptions {
		if sub.Enabled() {
			enabled++
		}
	}
	return passes(stepAPI, "%s answers; this application has %d subscriptions, %d of them enabled", c.API.Host, len(w.subscriptions), enabled)
}

// listed is how far back the first listing looks. One listing takes o365.MaxWindow at most.
const listed = 24 * time.Hour

// content says how the subscription of a content type stands, and what it has had of late.
func (w *walk) content(ctx context.Context, t o365.ContentType) step {
	i := slices.IndexFunc(w.subscriptions, func(s o365.Subscription) bool { return s.ContentType == t })
	switch {
	case t == o365.DLPAll && w.withoutDLP:
		return skips(string(t), "without ActivityFeed.ReadDlp there is nothing to be had")
	case i < 0:
		return passes(string(t), "not subscribed; the plugin starts the subscription, and first content may take hours")
	case !w.subscriptions[i].Enabled():
		return fails(string(t), diagnosis.Cause{
			Kind: diagnosis.Subscription, What: "an administrator or Microsoft disabled the subscription: records since then are missing",
			Do: "find out who switched it off and why; the plugin starts it again when it starts",
		}, nil)
	}
	var blobs content
	now := w.client.Now()
	for _, from := range []time.Time{now.Add(-listed), now.Add(-time.Hour)} { // two, as one takes less than a day
		to := now
		if now.Sub(from) > time.Hour {
			to = now.Add(-time.Hour)
		}
		if err := w.client.ListContent(ctx, t, from, to, blobs.add); err != nil {
			if errors.Is(err, context.DeadlineExceeded) && blobs.ids != nil {
				return passes(string(t), "enabled; %s, and more than could be listed in %s", blobs.text(now), w.timeout)
			}
			cause := diagnosis.Of(err).For(t)
			if cause.Kind == diagnosis.Throttled || cause.Kind == diagnosis.ReadDLP {
				return warns(string(t), cause)
			}
			return fails(string(t), cause, err)
		}
	}
	w.listed++
	w.blobs += len(blobs.ids)
	return passes(string(t), "enabled; %s", blobs.text(now))
}

// auditing is on where there is content; where there is none it may be off.
func (w *walk) auditing(context.Context) step {
	switch {
	case w.listed == 0:
		return skips(stepAuditing, "shows only once a content type is subscribed")
	case w.blobs == 0:
		return warns(stepAuditing, diagnosis.Cause{
			Kind: diagnosis.Auditing, What: "no content type has had any content in the last 24 h",
			Do: "unless the subscriptions are new or nobody works in the tenant, check in the Purview portal, Audit, that auditing is on",
		})
	}
	return passes(stepAuditing, "on, as there is content")
}

// content is what a listing holds.
type content struct {
	ids            map[string]bool // a listing may repeat itself
	newest, oldest time.Time
}

func (c *content) add(blobs []o365.Blob) error {
	if c.ids == nil {
		c.ids = map[string]bool{}
	}
	for _, b := range blobs {
		c.ids[b.ID] = true
		if c.newest.IsZero() || b.Created.After(c.newest) {
			c.newest = b.Created
		}
		if c.oldest.IsZero() || b.Created.Before(c.oldest) {
			c.oldest = b.Created
		}
	}
	return nil
}

func (c *content) text(now time.Time) string {
	if len(c.ids) == 0 {
		return "no content in the last 24 h"
	}
	blobs := "blobs"
	if len(c.ids) == 1 {
		blobs = "blob"
	}
	return fmt.Sprintf("%d %s in the last 24 h, the newest %s old, the oldest %s", len(c.ids), blobs, span(now.Sub(c.newest)), span(now.Sub(c.oldest)))
}

// span is a time as people say it.
func span(d time.Duration) string {
	switch minutes := int(max(d, 0).Round(time.Minute) / time.Minute); {
	case minutes >= 120:
		return fmt.Sprintf("%d h %d min", minutes/60, minutes%60)
	case minutes >= 2:
		return fmt.Sprintf("%d min", minutes)
	}
	return fmt.Sprintf("%d s", int(max(d, 0)/time.Second))
}
