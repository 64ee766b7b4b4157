package tenant

import (
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The endpoints on a machine in Azure that give out tokens of a managed identity of this tenant. They know the identity of the
// system, and one made by a user: Config.ClientID.
// https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
// https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
// https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication

// VirtualMachine is the endpoint of a virtual machine.
func (t *Tenant) VirtualMachine() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metadata/identity/oauth2/token" || r.Header.Get("Metadata") != "true" {
			identityError(w, http.StatusBadRequest, "bad_request_102", "Required metadata header not specified")
			return
		}
		t.serveIdentity(w, r, "2018-02-01", t.config.ClientID)
	})
}

// AppService is the endpoint of App Service and Container Apps. identityHeader must come with each call.
func (t *Tenant) AppService(identityHeader string) http.Handler {
	t.see(identityHeader)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Identity-Header") != identityHeader {
			writeJSON(w, http.StatusUnauthorized, map[string]any{"statusCode": http.StatusUnauthorized, "message": "The identity header is wrong."})
			return
		}
		t.serveIdentity(w, r, "2019-08-01", t.config.ClientID)
	})
}

// Arc is the endpoint of a machine in Azure Arc. It asks its callers to read a key from folder, another at each call.
func (t *Tenant) Arc(folder string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metadata/identity/oauth2/token" || r.Header.Get("Metadata") != "true" {
			identityError(w, http.StatusBadRequest, "bad_request_102", "Required metadata header not specified")
			return
		}
		if key, given := strings.CutPrefix(r.Header.Get("Authorization"), "Basic "); given {
			name := filepath.Join(folder, "challenge-"+key[:min(8, len(key))]+".key")
			if want, err := os.ReadFile(name); err == nil && string(want) == key && os.Remove(name) == nil {
				t.serveIdentity(w, r, "2020-06-01", "")
				return
			}
		}
		key := rand.Text()
		t.see(key)
		name := filepath.Join(folder, "challenge-"+key[:8]+".key")
		if err := os.WriteFile(name, []byte(key), 0o600); err != nil {
			identityError(w, http.StatusInternalServerError, "internal", err.Error())
			return
		}
		w.Header().Set("WWW-Authenticate", "Basic realm="+name)
		identityError(w, http.StatusUnauthorized, "unauthorized_client", "Missing Basic Authorization header")
	})
}

// serveIdentity gives out a token of the system's identity, or of the one made by a user if there is one.
func (t *Tenant) serveIdentity(w http.ResponseWriter, r *http.Request, version, userAssigned string) {
	query := r.URL.Query()
	id := query.Get("client_id")
	switch {
	case r.Method != http.MethodGet || query.Get("api-version") != version:
		identityError(w, http.StatusBadRequest, "invalid_request", "Method or api-version is wrong")
		return
	case id != "" && !strings.EqualFold(id, userAssigned):
		identityError(w, http.StatusBadRequest, "invalid_request", "Identity not found")
		return
	case strings.TrimSuffix(query.Get("resource"), "/") != t.config.Audience:
		identityError(w, http.StatusBadRequest, "invalid_resource", "AADSTS500011: The resource principal was not found in the tenant.")
		return
	}
	answer := map[string]string{
		"access_token": t.issue(t.config.Audience, byManagedIdentity), "token_type": "Bearer", "resource": t.config.Audience,
		"expires_on": strconv.FormatInt(t.Now().Add(t.config.TokenLife).Unix(), 10),
	}
	if version != "2019-08-01" { // which tells when, not how long
		answer["expires_in"] = strconv.Itoa(int(t.config.TokenLife / time.Second))
	}
	writeJSON(w, http.StatusOK, answer)
}

func identityError(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, map[string]string{"error": code, "error_description": description})
}
