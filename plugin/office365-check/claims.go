package main

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"in_office365/plugin/diagnosis"
)

// claimsOf reads what an access token says of itself; nobody but the API can verify it. ok is false if it is no JWT.
func claimsOf(token string) (claims diagnosis.Claims, ok bool) {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return claims, false
	}
	var c struct {
		Audience string   `json:"aud"`
		Tenant   string   `json:"tid"`
		App      string   `json:"appid"`
		Roles    []string `json:"roles"`
	}
	if json.Unmarshal(text, &c) != nil {
		return claims, false
	}
	return diagnosis.Claims{Audience: c.Audience, Tenant: c.Tenant, App: c.App, Roles: c.Roles}, true
}
