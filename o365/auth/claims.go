package auth

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"

	jsoniter "github.com/json-iterator/go"

	"in_office365/o365"
)

// The permissions of the API, as a token's roles name them:
// https://learn.microsoft.com/office/office-365-management-api/get-started-with-office-365-management-apis
const (
	PermissionRead    = "ActivityFeed.Read"
	PermissionReadDLP = "ActivityFeed.ReadDlp"
)

// Claims are what an access token says of itself. Nobody but the API can verify
// it: it is good for explanations only.
type Claims struct {
	Audience string   // the resource that the token is for
	Tenant   string   // the tenant that it is for
	App      string   // the application that it was issued to
	Roles    []string // application permissions with consent
}

// ParseClaims decodes the claims of a token. It returns false for one that is
// no JWT, which Microsoft may make of its tokens at any time.
func ParseClaims(accessToken string) (Claims, bool) {
	parts := strings.Split(accessToken, ".")
	if len(parts) != 3 {
		return Claims{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Claims{}, false
	}
	var doc struct {
		Aud, Tid, AppID, Azp string // the application is appid in tokens of version 1.0, azp in those of 2.0
		Roles                []string
	}
	if jsoniter.ConfigCompatibleWithStandardLibrary.Unmarshal(payload, &doc) != nil {
		return Claims{}, false
	}
	return Claims{Audience: doc.Aud, Tenant: doc.Tid, App: cmp.Or(doc.AppID, doc.Azp), Roles: doc.Roles}, true
}

// May says whether the token carries a permission.
func (c Claims) May(permission string) bool { return slices.Contains(c.Roles, permission) }

// A MismatchError is a token that is for another tenant or another API than it was wanted for.
type MismatchError struct {
	OfTenant   bool // else of the audience
	Have, Want string
}

func (e *MismatchError) Error() string {
	what := ""
	if e.OfTenant {
		what = "tenant "
	}
	return fmt.Sprintf("the token is for %s%s, not for %s", what, e.Have, e.Want)
}

// mismatch is the error of a token that is for another tenant or cloud.
func (c Claims) mismatch(tenant, audience string) error {
	e := &o365.Error{Op: o365.OpToken, Action: o365.Reconfigure}
	switch {
	case c.Tenant != "" && o365.IsGUID(tenant) && !strings.EqualFold(c.Tenant, tenant):
		e.Err = &MismatchError{OfTenant: true, Have: c.Tenant, Want: tenant}
		e.Hint = "check tenant and credential"
		if o365.IsGUID(c.Tenant) { // else it is whatever the token says
			e.Hint = "set tenant_id to " + c.Tenant + ", or take a credential of the other tenant"
		}
	case !sameHost(c.Audience, audience):
		e.Err = &MismatchError{Have: c.Audience, Want: audience}
		e.Hint = "check cloud and audience"
		if names := o365.CloudsOf(c.Audience); len(names) > 0 {
			e.Hint = "set cloud to " + strings.Join(names, " or ") + ", or check audience"
		}
	default:
		return nil
	}
	return e
}

// sameHost compares audiences that are URLs. They may also be the GUID of the
// API's application, which is the same in all clouds.
func sameHost(a, b string) bool {
	u, errU := url.Parse(a)
	v, errV := url.Parse(b)
	return errU != nil || errV != nil || u.Host == "" || v.Host == "" || strings.EqualFold(u.Host, v.Host)
}
