// Package auth gets access tokens for the Office 365 Management Activity API
// from Microsoft Entra, as an application (OAuth 2.0 client credentials).
//
// A Source keeps one token and renews it in time. How the application proves
// who it is, is a Credential.
package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"in_office365/o365"
)

// The two versions of the token endpoint, as paths behind the tenant. They
// differ in how the audience is asked for.
const (
	TokenPathV1 = "/oauth2/token"
	TokenPathV2 = "/oauth2/v2.0/token"
)

const (
	// A token lives an hour or so; it is renewed renewBefore its end, or at
	// half its life when it is shorter than that.
	renewBefore = 5 * time.Minute
	// assumedLife is for an answer without expires_in.
	assumedLife = time.Hour
	// minUse is how long a token must still be valid to be handed out while it
	// is being renewed, or when renewing fails.
	minUse = 30 * time.Second
	// fetchTimeout bounds one request for a token.
	fetchTimeout = 60 * time.Second
	// A refused token is replaced no sooner than firstSpacing after it was
	// fetched, however many callers are refused; twice as long after each further
	// one in a row, maxSpacing at most.
	firstSpacing = time.Second
	maxSpacing   = 5 * time.Minute
	// A permission shows in a new token some minutes after it was granted, so one
	// that was missed in a token is not looked for sooner.
	minRolesAge = 10 * time.Minute
	// After a failure the login service is left alone for firstPause, twice as
	// long after each further one, maxPause at most: many callers share a Source,
	// and Entra locks out applications that hammer it.
	firstPause = time.Second
	maxPause   = time.Minute
)

// Options configure a Source. Tenant, ClientID (but for a managed identity),
// Credential, LoginURL and Audience are required.
type Options struct {
	Tenant        string          // directory GUID or domain name
	ClientID      string          // application GUID
	Credential    Credential      // proof of being the application
	LoginURL      *url.URL        // as in o365.Cloud.LoginURL
	TokenPath     string          // default: TokenPathV2
	Audience      string          // as in o365.Cloud.Audience
	AllowInsecure bool            // permit http to a host that is not loopback
	HTTPClient    *http.Client    // default: o365.NewHTTPClient; redirects are never followed
	OnToken       func(Claims)    // called with each new token, by the one that fetched it; nil: nobody
	OnCall        func(o365.Call) // told of each attempt to get a token; nil: nobody
}

// A Source supplies tokens. It implements o365.TokenSource; its failures are
// *o365.Error.
type Source struct {
	tenant     string
	credential Credential
	request    request
	onToken    func(Claims)
	onCall     func(o365.Call)
	renewing   chan struct{} // held by the one caller that fetches a token

	mu      sync.Mutex
	token   *oauth2.Token // nil: none, or refused
	fetched time.Time
	spacing time.Duration // before the next one is fetched; 0: none was refused
	pause   time.Duration // after the last failure; 0 after success
	again   time.Time     // no fetch before
	failure error         // the last one
}

var _ o365.TokenSource = (*Source)(nil)

// New returns a source. It gets no token yet.
func New(o Options) (*Source, error) {
	if o.TokenPath == "" {
		o.TokenPath = TokenPathV2
	}
	if o.HTTPClient == nil {
		o.HTTPClient = o365.NewHTTPClient(o365.TransportOptions{})
	}
	if o.OnToken == nil {
		o.OnToken = func(Claims) {}
	}
	_, isManaged := o.Credential.(*managed)
	switch {
	case o.Tenant == "" || o.ClientID == "" && !isManaged || o.Audience == "":
		return nil, errors.New("tenant, client id and audience are required")
	case o.Credential == nil:
		return nil, errors.New("no credential")
	case o.LoginURL == nil:
		return nil, errors.New("no login URL")
	}
	if err := o365.CheckEndpoint(o.LoginURL, o.AllowInsecure); err != nil {
		return nil, fmt.Errorf("login URL: %w", err)
	}
	return &Source{
		tenant:     o.Tenant,
		credential: o.Credential,
		onToken:    o.OnToken,
		onCall:     o.OnCall,
		request: request{
			client:   o365.WithoutRedirects(o.HTTPClient),
			tokenURL: o.LoginURL.JoinPath(o.Tenant, o.TokenPath).String(),
			v2:       o.TokenPath == TokenPathV2,
			clientID: o.ClientID,
			audience: o.Audience,
		},
		renewing: make(chan struct{}, 1),
	}, nil
}

// Token returns a valid token. One caller at a time fetches a new one, on its
// own context; the others wait for it, or go on with the old token while that
// is good. After a failure the same error is returned for a while.
func (s *Source) Token(ctx context.Context) (*oauth2.Token, error) {
	token, fresh := s.current()
	if fresh {
		return token, nil
	}
	select {
	case s.renewing <- struct{}{}:
	default:
		if token != nil {
			return token, nil
		}
		select {
		case s.renewing <- struct{}{}:
		case <-ctx.Done():
			return nil, &o365.Error{Op: o365.OpToken, Err: ctx.Err()}
		}
	}
	defer func() { <-s.renewing }()

	token, fresh = s.current() // another caller may have renewed it meanwhile
	if fresh {
		return token, nil
	}
	renewed, err := s.renew(ctx)
	if err != nil {
		if token, _ = s.current(); token != nil { // the old one, if it has outlived the attempt
			return token, nil
		}
	}
	return renewed, err
}

// renew fetches a token as soon as that is decent. The caller holds s.renewing.
func (s *Source) renew(ctx context.Context) (*oauth2.Token, error) {
	s.mu.Lock()
	paused, failure := time.Until(s.again) > 0, s.failure
	wait := time.Until(s.fetched.Add(firstSpacing))
	s.mu.Unlock()
	if paused {
		return nil, failure
	}
	if wait > 0 {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, &o365.Error{Op: o365.OpToken, Err: ctx.Err()}
		}
	}
	fetching, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	began := time.Now()
	token, err := s.fetch(fetching)
	if s.onCall != nil && ctx.Err() == nil {
		s.onCall(o365.Call{Op: o365.OpToken, Took: time.Since(began), Err: err})
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		if token.Expiry.IsZero() {
			token.Expiry = time.Now().Add(assumedLife)
		}
		if s.token != nil { // none has refused it
			s.spacing = 0
		}
		s.token, s.fetched, s.pause = token, time.Now(), 0
	case ctx.Err() == nil: // a caller that left says nothing about the service
		s.pause = min(max(2*s.pause, firstPause), maxPause)
		wait := s.pause
		if e, ok := errors.AsType[*o365.Error](err); ok {
			wait = max(wait, e.RetryAfter)
		}
		s.failure, s.again = err, time.Now().Add(wait)
	}
	return token, err
}

// fetch gets a token that is for this tenant and audience, as far as it says.
func (s *Source) fetch(ctx context.Context) (*oauth2.Token, error) {
	token, err := s.credential.fetch(ctx, s.request)
	if err != nil {
		return nil, err
	}
	if claims, ok := ParseClaims(token.AccessToken); ok {
		if err := claims.mismatch(s.tenant, s.request.audience); err != nil {
			return nil, err
		}
		s.onToken(claims)
	}
	return token, nil
}

// Claims returns what the current token says of itself. It is false where there
// is no token, or one that is no JWT.
func (s *Source) Claims() (Claims, bool) {
	token, _ := s.current()
	if token == nil {
		return Claims{}, false
	}
	return ParseClaims(token.AccessToken)
}

// Expires is when the current token ends; zero if there is none.
func (s *Source) Expires() time.Time {
	token, _ := s.current()
	if token == nil {
		return time.Time{}
	}
	return token.Expiry
}

// current returns the token, if there is a usable one, and whether it needs no
// renewal yet.
func (s *Source) current() (token *oauth2.Token, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == nil {
		return nil, false
	}
	left, life := time.Until(s.token.Expiry), s.token.Expiry.Sub(s.fetched)
	if left <= min(minUse, life/4) {
		return nil, false
	}
	return s.token, left > min(renewBefore, life/2)
}

// Refuse forgets a token that the API refused, so that the next Token reads the
// credential again and fetches a new one. One that has just been fetched stays:
// another would fare no better, and it may serve other calls.
func (s *Source) Refuse(accessToken string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == nil || s.token.AccessToken != accessToken {
		return
	}
	age := time.Since(s.fetched)
	if age > maxSpacing { // it has been good
		s.spacing = 0
	}
	if age < s.spacing {
		return
	}
	s.token = nil
	s.spacing = min(max(2*s.spacing, firstSpacing), maxSpacing)
}

// RefuseRoles forgets a token in which the API misses a permission, if it is so
// old that the permission may have been granted since.
func (s *Source) RefuseRoles(accessToken string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != nil && s.token.AccessToken == accessToken && time.Since(s.fetched) >= minRolesAge {
		s.token = nil
	}
}
