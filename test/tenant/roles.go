package tenant

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// The application permissions of the API.
const (
	permissionRead    = "ActivityFeed.Read"
	permissionReadDLP = "ActivityFeed.ReadDlp"
)

// SetRoles changes what is granted to the application: tokens issued from now on carry that.
func (t *Tenant) SetRoles(roles ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.granted = slices.Clone(roles)
}

// rolesOf reads a token's roles, as the API does.
func rolesOf(token string) []string {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, _ := base64.RawURLEncoding.DecodeString(payload) // of a token that this package issued
	var claims struct{ Roles []string }
	_ = json.Unmarshal(text, &claims)
	return claims.Roles
}

// permitted checks what the token has been granted and answers when it is not enough.
func (c *call) permitted(token string) bool {
	roles := rolesOf(token)
	for _, want := range []struct {
		permission string
		needed     bool
	}{{permissionRead, true}, {permissionReadDLP, c.contentType == DLP}} {
		if want.needed && !slices.Contains(roles, want.permission) {
			permissionMissing(http.StatusForbidden, strings.Join(roles, " "), want.permission)(c.w)
			return false
		}
	}
	return true
}
