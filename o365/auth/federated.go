package auth

import (
	"context"
	"errors"

	"golang.org/x/oauth2"

	"in_office365/o365"
)

// FederatedTokenFile is a token of another identity provider that Entra trusts
// for this application, in a file that the provider renews: a workload identity
// of Kubernetes, for one.
// https://learn.microsoft.com/entra/workload-id/workload-identity-federation
func FederatedTokenFile(path string) Credential { return &federated{path: path} }

// ErrFederatedToken is below the error of a login with such a token that was
// refused: the codes alone do not tell it from a certificate.
var ErrFederatedToken = errors.New("by federated token")

type federated struct {
	end
	refusal
	path string
}

func (c *federated) fetch(ctx context.Context, r request) (*oauth2.Token, error) {
	assertion, err := ReadSecret(c.path)
	if err != nil {
		return nil, unreadable(ctx, "federated token", err)
	}
	return c.post(r, assertion, func() (*oauth2.Token, error) {
		token, err := r.postAssertion(ctx, assertion)
		if e, ok := errors.AsType[*o365.Error](err); ok && e.Action == o365.Reconfigure {
			e.Err = ErrFederatedToken
		}
		return token, err
	})
}
