package tenant

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// apiError is an error answer of the Management Activity API.
type apiError struct {
	status        int
	code, message string
}

func (e apiError) write(w http.ResponseWriter) { writeJSON(w, e.status, e.body()) }

func (e apiError) body() any {
	return map[string]any{"error": map[string]string{"code": e.code, "message": e.message}}
}

// loginError is an error answer of the identity platform
// (https://learn.microsoft.com/entra/identity-platform/reference-error-codes).
type loginError struct {
	status  int
	code    string // OAuth 2.0's
	number  int    // AADSTS
	message string
}

func (e loginError) write(w http.ResponseWriter) {
	writeJSON(w, e.status, map[string]any{
		"error":             e.code,
		"error_description": fmt.Sprintf("AADSTS%d: %s", e.number, e.message),
		"error_codes":       []int{e.number},
		"trace_id":          "11111111-2222-4333-8444-555555555555",
		"correlation_id":    "66666666-7777-4888-8999-aaaaaaaaaaaa",
	})
}

// frameworkError is what the API's web framework answers before the API sees a call.
func frameworkError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]string{"Message": message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // the client has left
}
