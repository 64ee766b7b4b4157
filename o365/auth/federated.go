package auth

import (
	"context"

	"golang.org/x/oauth2"
)

// FederatedTokenFile is a token of another identity provider that Entra trusts
// for this application, in a file that the provider renews: a workload identity
// of Kubernetes, for one.
// https://learn.microsoft.com/entra/workload-id/workload-identity-federation
func FederatedTokenFile(path string) Credential { return &federated{path: path} }

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
	return c.post(r, assertion, func() (*oauth2.Token, error) { return r.postAssertion(ctx, assertion) })
}
