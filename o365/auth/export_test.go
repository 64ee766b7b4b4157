package auth

import (
	"context"
	"net/http"
	"time"
)

// ArcIdentity is the identity of a machine in Azure Arc whose keys are in that folder.
func ArcIdentity(folder string, environment func(string) string) (Credential, error) {
	c, err := ManagedIdentity(SystemIdentity, environment)
	if err == nil {
		c.(*managed).arcKeys = folder
	}
	return c, err
}

// EndpointWithArcAgent is where ManagedIdentity asks on a machine with that file for Azure Arc's agent.
func EndpointWithArcAgent(agent string, environment func(string) string) (string, error) {
	c, err := managedIdentity(SystemIdentity, environment, agent)
	if err != nil {
		return "", err
	}
	return c.(*managed).endpoint.String() + "?" + c.(*managed).query.Encode(), nil
}

// Proxied says whether requests for a managed identity may go by a proxy.
func Proxied(c Credential) bool {
	return c.(*managed).client.Transport.(*http.Transport).Proxy != nil
}

// RunForSecret runs a command, for so long at most.
func RunForSecret(ctx context.Context, argv []string, timeout time.Duration) (string, error) {
	return runForSecret(ctx, argv, timeout)
}

// Shared returns a function that shares readings.
func Shared[T any](read func(context.Context) (T, error)) func(context.Context) (T, error) {
	return newShared(read).get
}
