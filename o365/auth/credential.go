package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"in_office365/o365"
)

// A Credential is one way for the application to get a token. It is read again
// at every fetch. The kinds are in this package.
type Credential interface {
	// fetch gets a new token; its errors are *o365.Error.
	fetch(ctx context.Context, r request) (*oauth2.Token, error)
}

// A request says what a token is wanted for. Not every kind of credential
// needs all of it: a managed identity has a token endpoint of its own.
type request struct {
	client   *http.Client
	tokenURL string
	v2       bool
	clientID string
	audience string
}

// ClientSecret is a secret given by its value.
func ClientSecret(value string) Credential {
	return clientSecret(func() (string, error) { return value, nil })
}

// ClientSecretFile is a secret in a file, white space around it aside. The file
// may be replaced at any time.
func ClientSecretFile(path string) Credential {
	return clientSecret(func() (string, error) { return ReadSecret(path) })
}

// A clientSecret reads the secret.
type clientSecret func() (string, error)

func (read clientSecret) fetch(ctx context.Context, r request) (*oauth2.Token, error) {
	secret, err := read()
	if err != nil {
		return nil, &o365.Error{Op: opToken, Action: o365.Reconfigure, Err: fmt.Errorf("read the client secret: %w", err)}
	}
	return r.post(ctx, secret, nil)
}

// post asks the token endpoint, with a secret or with other parameters that
// prove who the application is.
func (r request) post(ctx context.Context, secret string, proof url.Values) (*oauth2.Token, error) {
	config := clientcredentials.Config{
		ClientID:       r.clientID,
		ClientSecret:   secret,
		TokenURL:       r.tokenURL,
		EndpointParams: proof,
		AuthStyle:      oauth2.AuthStyleInParams,
	}
	if r.v2 {
		config.Scopes = []string{strings.TrimSuffix(r.audience, "/") + "/.default"}
	} else {
		config.EndpointParams = url.Values{"resource": {r.audience}}
		for key, values := range proof {
			config.EndpointParams[key] = values
		}
	}
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, r.client))
	if err != nil {
		return nil, tokenError(ctx, err, secret)
	}
	return token, nil
}

// maxSecretFile is far more than any secret; a wrong path may be a large file.
const maxSecretFile = 64 << 10 // bytes

// ReadSecret reads a secret from a file, without the white space around it.
func ReadSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(text))
	switch {
	case secret == "":
		return "", errors.New("it is empty")
	case len(text) > maxSecretFile:
		return "", fmt.Errorf("it is larger than %d bytes", maxSecretFile)
	}
	return secret, nil
}
