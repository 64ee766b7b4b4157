package tenant

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// issued is what the tenant knows of a token.
type issued struct {
	expires  time.Time
	audience string
}

// otherResources are known to the identity platform, so a token for one is given out; the API then refuses it.
var otherResources = []string{
	"https://graph.microsoft.com", "https://manage.office.com", "https://manage-gcc.office.com",
	"https://manage.office365.us", "https://manage.protection.apps.mil", "https://manage.office365.cn",
}

// RevokeTokens makes every token issued so far invalid.
func (t *Tenant) RevokeTokens() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.tokens)
}

// serveToken answers the client credentials grant: path is oauth2/token (v1: resource, expires_in a string) or
// oauth2/v2.0/token (v2: scope, expires_in a number).
func (t *Tenant) serveToken(w http.ResponseWriter, r *http.Request, v1 bool) {
	if r.Method != http.MethodPost {
		loginError{http.StatusBadRequest, "invalid_request", 900561, "The endpoint only accepts POST requests."}.write(w)
		return
	}
	if err := r.ParseForm(); err != nil {
		loginError{http.StatusBadRequest, "invalid_request", 900144, "The request body could not be read."}.write(w)
		return
	}
	form := r.PostForm
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if u, p, ok := r.BasicAuth(); ok {
		id, secret = u, p
	}
	t.see(secret, form.Get("client_assertion"))
	fail := func(status int, code string, number int, message string) {
		loginError{status, code, number, message}.write(w)
	}
	switch form.Get("grant_type") {
	case "client_credentials":
	case "":
		fail(http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the following parameter: 'grant_type'.")
		return
	default:
		fail(http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
		return
	}
	if !strings.EqualFold(id, t.config.ClientID) {
		fail(http.StatusBadRequest, "unauthorized_client", 700016, "Application with identifier '"+id+"' was not found in the directory.")
		return
	}
	proof, refused := t.prove(secret, form, scheme(r)+"://"+r.Host+r.URL.Path)
	if refused != nil {
		refused.write(w)
		return
	}
	parameter, audience := "resource", form.Get("resource")
	if !v1 {
		parameter, audience = "scope", form.Get("scope")
	}
	if audience == "" {
		fail(http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the following parameter: '"+parameter+"'.")
		return
	}
	if !v1 {
		var ok bool
		if audience, ok = strings.CutSuffix(audience, "/.default"); !ok {
			fail(http.StatusBadRequest, "invalid_scope", 1002012, "The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier.")
			return
		}
	}
	audience = strings.TrimSuffix(audience, "/")
	if audience != t.config.Audience && !slices.Contains(otherResources, audience) {
		fail(http.StatusBadRequest, "invalid_resource", 500011, "The resource principal named "+audience+" was not found in the tenant.")
		return
	}

	seconds := int(t.config.TokenLife / time.Second)
	answer := map[string]any{"token_type": "Bearer", "access_token": t.issue(audience, proof)}
	if v1 {
		answer["expires_in"] = strconv.Itoa(seconds)
		answer["ext_expires_in"] = strconv.Itoa(seconds)
		answer["expires_on"] = strconv.FormatInt(t.Now().Unix()+int64(seconds), 10)
		answer["resource"] = audience
	} else {
		answer["expires_in"] = seconds
		answer["ext_expires_in"] = seconds
	}
	writeJSON(w, http.StatusOK, answer)
}

// issue makes a token: a JWT whose signature is none, since only the tenant itself checks it, by looking it up. proof is by what.
func (t *Tenant) issue(audience, proof string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	expires := now.Add(t.config.TokenLife)
	t.tokensIssued++
	t.account.Proofs[proof]++
	claims := map[string]any{
		"aud": audience, "tid": t.config.ID, "appid": t.config.ClientID, "iat": now.Unix(), "nbf": now.Unix(), "exp": expires.Unix(),
		"uti": strconv.FormatUint(t.tokensIssued, 10),
	}
	if audience == t.config.Audience {
		claims["roles"] = t.granted
	}
	payload, _ := json.Marshal(claims) // a map of plain values
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"typ":"JWT","alg":"none"}`)) + "." + encode(payload) + "." + encode(fmt.Appendf(nil, "signature of token %d", t.tokensIssued))
	t.credentials.seen[token] = true
	t.tokens[token] = issued{expires: expires, audience: audience}
	return token
}
