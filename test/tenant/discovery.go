package tenant

import "net/http"

// serveDiscovery tells everybody what the login service knows of the tenant
// (https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc#fetch-the-openid-configuration-document).
func (t *Tenant) serveDiscovery(w http.ResponseWriter, r *http.Request) {
	base := scheme(r) + "://" + r.Host + "/" + t.config.ID
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                  base + "/v2.0",
		"token_endpoint":          base + "/oauth2/v2.0/token",
		"cloud_instance_name":     t.config.CloudInstance,
		"tenant_region_scope":     "EU",
		"tenant_region_sub_scope": nil,
	})
}
