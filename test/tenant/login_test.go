package tenant_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"in_office365/test/tenant"
)

func grant(changes ...string) url.Values {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {tenant.DefaultClientID}, "client_secret": {tenant.DefaultClientSecret},
		"scope": {tenant.DefaultAudience + "/.default"}, "resource": {tenant.DefaultAudience},
	}
	for i := 0; i < len(changes); i += 2 {
		form.Set(changes[i], changes[i+1])
	}
	return form
}

func TestLoginErrors(t *testing.T) {
	const v1, v2 = "/" + tenant.DefaultID + "/oauth2/token", "/" + tenant.DefaultID + "/oauth2/v2.0/token"
	tests := []struct {
		name   string
		path   string
		form   url.Values
		status int
		code   string
		aadsts int
	}{
		{"tenant unknown", "/00000000-0000-4000-8000-000000000000/oauth2/token", grant(), 400, "invalid_request", 90002},
		{"no grant type", v2, grant("grant_type", ""), 400, "invalid_request", 900144},
		{"other grant type", v2, grant("grant_type", "password"), 400, "unsupported_grant_type", 70003},
		{"client unknown", v2, grant("client_id", "00000000-0000-4000-8000-000000000000"), 400, "unauthorized_client", 700016},
		{"secret wrong", v2, grant("client_secret", "guess"), 401, "invalid_client", 7000215},
		{"no secret", v2, grant("client_secret", ""), 401, "invalid_client", 7000216},
		{"v1 without resource", v1, grant("resource", ""), 400, "invalid_request", 900144},
		{"v2 without scope", v2, grant("scope", ""), 400, "invalid_request", 900144},
		{"v2 with a scope not of the default form", v2, grant("scope", tenant.DefaultAudience+"/ActivityFeed.Read"), 400, "invalid_scope", 1002012},
		{"resource unknown", v1, grant("resource", "https://api.contoso.example"), 400, "invalid_resource", 500011},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := inMemory(t, tenant.New(tenant.Config{})).post(test.path, test.form)
			var body struct {
				Error      string
				ErrorCodes []int `json:"error_codes"`
			}
			a.decode(&body)
			if got, want := fmt.Sprint(a.StatusCode, body.Error, body.ErrorCodes), fmt.Sprint(test.status, test.code, []int{test.aadsts}); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestTokenAnswers(t *testing.T) {
	tests := []struct{ name, path, expiresIn string }{
		{"v1: text", "/oauth2/token", `string "3599"`},
		{"v2: number", "/oauth2/v2.0/token", `float64 3599`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, host := range []string{tenant.DefaultID, tenant.DefaultDomain} {
				var body map[string]any
				inMemory(t, tenant.New(tenant.Config{})).post("/"+host+test.path, grant()).decode(&body)
				got := fmt.Sprintf("%T %v", body["expires_in"], body["expires_in"])
				if s, ok := body["expires_in"].(string); ok {
					got = fmt.Sprintf("%T %q", s, s)
				}
				if got != test.expiresIn || body["token_type"] != "Bearer" {
					t.Errorf("expires_in is %s, token_type %v; want %s, Bearer", got, body["token_type"], test.expiresIn)
				}
			}
		})
	}
}

func TestClientMayAuthenticateInTheHeader(t *testing.T) {
	c := inMemory(t, tenant.New(tenant.Config{}))
	form := grant()
	form.Del("client_id")
	form.Del("client_secret")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.base+"/"+tenant.DefaultID+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(tenant.DefaultClientID, tenant.DefaultClientSecret)
	c.do(r).is(200, "")
}

func TestTokensEnd(t *testing.T) {
	const call = "subscriptions/list"
	t.Run("after their life", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := inMemory(t, tenant.New(tenant.Config{})).login()
			time.Sleep(tenant.DefaultTokenLife - time.Second)
			c.get(call).is(200, "")
			time.Sleep(time.Second)
			c.get(call).is(401, "Authorization has been denied for this request.")
			c.login().get(call).is(200, "")
		})
	})
	t.Run("when revoked", func(t *testing.T) {
		c := inMemory(t, tenant.New(tenant.Config{})).login()
		c.tenant.RevokeTokens()
		c.get(call).is(401, "Authorization has been denied for this request.")
	})
	t.Run("not when the secret is rotated", func(t *testing.T) {
		c := inMemory(t, tenant.New(tenant.Config{})).login()
		c.tenant.SetSecret("another")
		c.get(call).is(200, "")
		if a := c.post("/"+tenant.DefaultID+"/oauth2/token", grant()); a.StatusCode != 401 {
			t.Errorf("the old secret: got %d, want 401", a.StatusCode)
		}
		if a := c.post("/"+tenant.DefaultID+"/oauth2/token", grant("client_secret", "another")); a.StatusCode != 200 {
			t.Errorf("the new secret: got %d, want 200", a.StatusCode)
		}
	})
}

func TestATokenForAnotherCloudHasNoPermission(t *testing.T) {
	c := inMemory(t, tenant.New(tenant.Config{}))
	var token struct {
		AccessToken string `json:"access_token"`
	}
	c.post("/"+tenant.DefaultID+"/oauth2/token", grant("resource", "https://manage-gcc.office.com")).decode(&token)
	c.token = token.AccessToken
	c.get("subscriptions/list").is(403, "AF10001")
}
