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
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"in_office365/o365"
)

// A Credential is one way for the application to get a token. It is read again
// at every fetch, and may serve several Sources at once. The kinds are in this
// package.
type Credential interface {
	// Expires is when the credential ends or has ended, as it was last read or
	// heard of; zero where that is not known. Of a secret only the login service
	// knows, and says so when it has expired.
	Expires() time.Time
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

// assertionType is that of a JWT in place of a secret (RFC 7523 section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func (r request) postSecret(ctx context.Context, secret string) (*oauth2.Token, error) {
	return r.post(ctx, clientcredentials.Config{ClientSecret: secret}, secret)
}

func (r request) postAssertion(ctx context.Context, assertion string) (*oauth2.Token, error) {
	proof := url.Values{"client_assertion_type": {assertionType}, "client_assertion": {assertion}}
	return r.post(ctx, clientcredentials.Config{EndpointParams: proof}, assertion)
}

// post asks the token endpoint. config holds the proof of who the application
// is, confidential what of it must not show in an error.
func (r request) post(ctx context.Context, config clientcredentials.Config, confidential string) (*oauth2.Token, error) {
	config.ClientID, config.TokenURL, config.AuthStyle = r.clientID, r.tokenURL, oauth2.AuthStyleInParams
	if r.v2 {
		config.Scopes = []string{strings.TrimSuffix(r.audience, "/") + "/.default"}
	} else {
		if config.EndpointParams == nil {
			config.EndpointParams = url.Values{}
		}
		config.EndpointParams.Set("resource", r.audience)
	}
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, r.client))
	if err != nil {
		return nil, tokenError(ctx, err, confidential)
	}
	return token, nil
}

// end is when a credential ends. The zero value does not know.
type end struct{ at atomic.Pointer[time.Time] }

// Expires implements Credential.
func (e *end) Expires() time.Time {
	if at := e.at.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

func (e *end) note(at time.Time) { e.at.Store(&at) }

// shared lets callers that want something read at the same time share one
// reading: each gets what was read after it had asked.
type shared[T any] struct {
	turn    chan struct{} // held by the one that reads
	read    func(context.Context) (T, error)
	begun   atomic.Int64 // readings
	aborted bool         // the last one, as its caller left
	value   T
	err     error
}

func newShared[T any](read func(context.Context) (T, error)) *shared[T] {
	return &shared[T]{turn: make(chan struct{}, 1), read: read}
}

func (s *shared[T]) get(ctx context.Context) (T, error) {
	asked := s.begun.Load()
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
	defer func() { <-s.turn }()
	if s.begun.Load() == asked || s.aborted {
		s.begun.Add(1)
		s.value, s.err = s.read(ctx)
		s.aborted = ctx.Err() != nil
	}
	return s.value, s.err
}

// maxSecretFile is far more than any secret; a wrong path may be a large file.
const maxSecretFile = 64 << 10 // bytes

// ReadSecret reads a secret from a file, without the white space around it.
func ReadSecret(path string) (string, error) {
	text, err := readFile(path, maxSecretFile)
	if err != nil {
		return "", err
	}
	return trimSecret(text)
}

func trimSecret(text []byte) (string, error) {
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", errors.New("it is empty")
	}
	return secret, nil
}

// readFile reads a file of so many bytes at most. It waits for nobody: a named
// pipe is refused.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: path, Err: errors.New("it is no regular file")}
	}
	return readAll(f, most)
}

func readAll(r io.Reader, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		return nil, fmt.Errorf("it is larger than %d bytes", most)
	}
	return b, err
}

// unreadable is the error of a credential that could not be read, or that is
// not fit to be sent.
func unreadable(ctx context.Context, what string, err error) error {
	e := &o365.Error{Op: o365.OpToken, Err: fmt.Errorf("read the %s: %w", what, err)}
	if ctx.Err() == nil {
		e.Action = o365.Reconfigure
	}
	return e
}
