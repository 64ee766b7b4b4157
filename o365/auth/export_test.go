package auth

import (
	"context"
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

// RunForSecret runs a command, for so long at most.
func RunForSecret(ctx context.Context, argv []string, timeout time.Duration) (string, error) {
	return runForSecret(ctx, argv, timeout)
}

// Shared returns a function that shares readings.
func Shared[T any](read func(context.Context) (T, error)) func(context.Context) (T, error) {
	return newShared(read).get
}
