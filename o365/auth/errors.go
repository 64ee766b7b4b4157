package auth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/oauth2"

	"in_office365/o365"
)

// Numbers of the login service that more depends on than a hint.
const (
	codeSecretWrong      = "AADSTS7000215"
	codeSecretExpired    = "AADSTS7000222"
	codeAssertionRefused = "AADSTS700027"
	codeLoop             = "AADSTS50196"
)

// hints say what to do about errors of the login service that a user must act
// on, by AADSTS number, or by OAuth code for other numbers. Source:
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
var hints = map[string]string{
	codeSecretWrong:      "the client secret is wrong: give the secret's value, not its ID",
	codeSecretExpired:    "the client secret has expired: create a new one",
	"AADSTS700016":       "the application is not in this tenant: check client id, tenant and cloud",
	codeAssertionRefused: "the client assertion is not accepted: check that the certificate is registered with the application and in date",
	"AADSTS700021":       "the client assertion names another application: check client id",
	"AADSTS50012":        "the client assertion is for another audience: check authentication_endpoint and token_path",
	"AADSTS700024":       "the client assertion is out of date: check this machine's clock; of a federated token, that its file is renewed",
	"AADSTS700211":       "the application has no federated credential with the token's issuer",
	"AADSTS700212":       "the application has no federated credential with the token's audience",
	"AADSTS700213":       "the application has no federated credential with the token's subject",
	"AADSTS700038":       "the client id is not one of an application: check client id",
	"AADSTS7000112":      "the application is disabled in the tenant",
	"AADSTS7000229":      "the application has no service principal in the tenant: grant admin consent",
	"AADSTS90002":        "there is no such tenant in this cloud: check tenant and cloud",
	"AADSTS900023":       "the tenant is neither a GUID nor a domain name",
	"AADSTS500011":       "the tenant does not know the audience: check cloud and audience",
	"AADSTS500014":       "the service principal of the API is disabled in the tenant: enable Office 365 Management APIs among its enterprise applications, and check its licence",
	"AADSTS650052":       "the tenant does not have the API: check its licence, and that it has a service principal of Office 365 Management APIs",
	"AADSTS1002012":      "the audience is not valid: check cloud and audience",
	"AADSTS53003":        "a conditional access policy blocks the application",
	codeLoop:             "the login service takes the many like requests of the application for a loop: wait, and look for what else uses it",

	"invalid_client":      "check client id and credential",
	"unauthorized_client": "check client id and tenant, and that the application may use client credentials",
	"invalid_resource":    "check cloud and audience",
	"invalid_scope":       "check cloud and audience",
	"invalid_request":     "check tenant, client id and token path",
	"access_denied":       "an administrator must allow the application",
}

// hide replaces what is confidential in a text of a service, or of a gateway
// before it, which may repeat the request: by itself, or as it is in a form or URL.
func hide(text, confidential string) string {
	if confidential == "" {
		return text
	}
	for _, form := range []string{confidential, url.QueryEscape(confidential), url.PathEscape(confidential)} {
		text = strings.ReplaceAll(text, form, "[secret]")
	}
	return text
}

var aadsts = regexp.MustCompile(`AADSTS\d+`)

// tokenError makes an *o365.Error of a failed fetch. The cause is kept only
// where it cannot hold the form that was posted: the error of x/oauth2 leads to
// the whole request.
func tokenError(ctx context.Context, err error, confidential string) error {
	e := &o365.Error{Op: o365.OpToken}
	if ctx.Err() != nil {
		e.Err = ctx.Err()
		return e
	}
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		e.Err = err
		if u, ok := errors.AsType[*url.Error](err); ok {
			e.Err = u.Err
		}
		return e
	}
	e.Status = answer.Response.StatusCode
	e.Code, e.Message = hide(answer.ErrorCode, confidential), hide(answer.ErrorDescription, confidential)
	e.RetryAfter = o365.RetryAfter(answer.Response.Header)
	number := aadsts.FindString(e.Message)
	hint, known := hints[number]
	if !known {
		hint, known = hints[e.Code]
	}
	if number != "" {
		e.Code = number
	}
	switch s := e.Status; {
	case number == codeLoop:
		e.Action, e.Hint = o365.Throttle, hint
	case s == http.StatusTooManyRequests:
		e.Action = o365.Throttle
	case s >= 500 || s == http.StatusRequestTimeout || answer.ErrorCode == "temporarily_unavailable":
		e.Action = o365.Retry
	default:
		e.Action, e.Hint = o365.Reconfigure, hint
		if !known {
			e.Hint = "check login host, token path, tenant and credential"
		}
	}
	return e
}
