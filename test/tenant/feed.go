package tenant

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

func (c *call) fail(status int, code, message string) { apiError{status, code, message}.write(c.w) }

func (c *call) serveFeed() {
	method := http.MethodGet
	switch c.op {
	case StartSubscription, StopSubscription:
		method = http.MethodPost
	case Unknown:
		frameworkError(c.w, http.StatusNotFound, "No HTTP resource was found that matches the request URI.")
		return
	}
	if c.r.Method != method {
		frameworkError(c.w, http.StatusMethodNotAllowed, "The requested resource does not support http method '"+c.r.Method+"'.")
		return
	}
	if !c.authorized() {
		return
	}
	if p, ok := c.query["publisheridentifier"]; ok && !isGUID(p[0]) {
		c.fail(http.StatusBadRequest, "AF20002", "The value for parameter PublisherIdentifier is of the wrong type. Expected type: Guid.")
		return
	}
	switch c.op {
	case ListSubscriptions:
		c.listSubscriptions()
		return
	case FetchBlob:
		c.fetchBlob()
		return
	}
	if c.contentType == "" {
		c.fail(http.StatusBadRequest, "AF20001", "Missing parameter: contentType.")
		return
	}
	if !slices.Contains(ContentTypes(), c.contentType) {
		c.fail(http.StatusBadRequest, "AF20020", "The specified content type is not valid.")
		return
	}
	switch c.op {
	case StartSubscription:
		c.startSubscription()
	case StopSubscription:
		c.stopSubscription()
	case ListContent:
		c.listContent()
	}
}

// authorized checks the bearer token and answers when it is not good.
func (c *call) authorized() bool {
	token, ok := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer ")
	c.mu.Lock()
	known, found := c.tokens[token]
	now := c.now()
	c.mu.Unlock()
	if !found && slices.ContainsFunc(c.tenants, func(other *Tenant) bool { return other.issued(token) }) {
		foreignToken(c.config.ID).write(c.w)
		return false
	}
	if !ok || !found || !now.Before(known.expires) {
		frameworkError(c.w, http.StatusUnauthorized, "Authorization has been denied for this request.")
		return false
	}
	if known.audience != c.config.Audience {
		permissionMissing(http.StatusForbidden, "", permissionRead)(c.w)
		return false
	}
	return c.permitted(token)
}

// issued reports whether a token is one of this tenant's.
func (t *Tenant) issued(token string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.tokens[token]
	return ok
}

// foreignToken is the answer to a token of another tenant than the one in the path.
func foreignToken(tenant string) apiError {
	return apiError{http.StatusBadRequest, "AF20010", "The tenant ID passed in the URL (" + tenant + ") does not match the tenant ID passed in the access token."}
}

// permissionMissing is the answer to a token that lacks what the call needs; has is the permissions it has.
func permissionMissing(status int, has, needs string) func(http.ResponseWriter) {
	return apiError{status, "AF10001", "The permission set (" + has + ") sent in the request does not include the expected permission " + needs + "."}.write
}

type subscriptionJSON struct {
	ContentType string `json:"contentType"`
	Status      string `json:"status"`
	Webhook     any    `json:"webhook"`
}

func (s *subscription) status() string {
	if s.enabled {
		return "enabled"
	}
	return "disabled"
}

func (c *call) listSubscriptions() {
	list := []subscriptionJSON{}
	c.mu.Lock()
	for _, ct := range ContentTypes() {
		if s := c.subscriptions[ct]; s != nil {
			list = append(list, subscriptionJSON{ct, s.status(), nil})
		}
	}
	c.mu.Unlock()
	writeJSON(c.w, http.StatusOK, list)
}

func (c *call) startSubscription() {
	if body, err := io.ReadAll(c.r.Body); err != nil || len(body) > 0 && !json.Valid(body) {
		c.fail(http.StatusBadRequest, "AF20002", "The request body is not valid.")
		return
	}
	c.mu.Lock()
	s, now := c.subscription(c.contentType), c.now()
	wait := c.config.StartCooldown - now.Sub(s.started)
	throttled := !s.started.IsZero() && wait > 0
	already := s.enabled
	if !throttled && !already {
		s.enabled, s.started = true, now
	}
	c.mu.Unlock()
	switch {
	case throttled:
		wait = wait.Round(time.Second)
		c.fail(http.StatusForbidden, "429", fmt.Sprintf("Too many requests. Please retry again after %dm %ds", int(wait.Minutes()), int(wait.Seconds())%60))
	case already:
		c.fail(http.StatusBadRequest, "AF20024", "The subscription is already enabled. No property change.")
	default:
		writeJSON(c.w, http.StatusOK, subscriptionJSON{c.contentType, "enabled", nil})
	}
}

func (c *call) stopSubscription() {
	c.mu.Lock()
	s := c.subscriptions[c.contentType]
	if s != nil {
		s.enabled = false
	}
	c.mu.Unlock()
	if s == nil {
		c.fail(http.StatusBadRequest, "AF20022", "No subscription found for the specified content type.")
	}
}

func (c *call) fetchBlob() {
	c.mu.Lock()
	b := c.blobs[c.contentID]
	now := c.now()
	visible := b != nil && b.visible(now)
	c.mu.Unlock()
	switch {
	case strings.Count(c.contentID, "$") != 4:
		c.fail(http.StatusBadRequest, "AF20052", "Content ID "+c.contentID+" in the URL is invalid.")
		return
	case !visible:
		c.fail(http.StatusNotFound, "AF20050", "The specified content ("+c.contentID+") does not exist.")
		return
	case !now.Before(b.Expires):
		c.fail(http.StatusGone, "AF20051", "Content requested with the key "+c.contentID+" has already expired.")
		return
	}
	c.writeBody("application/json; charset=utf-8", func(w io.Writer) error {
		return b.Source.Write(io.MultiWriter(w, &c.sent), b.ContentType, b.Created)
	})
}
