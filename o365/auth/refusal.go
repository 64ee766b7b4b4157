package auth

import (
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"in_office365/o365"
)

// ofApplication are the numbers by which the login service refuses a proof for
// every tenant alike: a wrong secret, an expired one, an unknown certificate.
var ofApplication = map[string]bool{codeSecretWrong: true, codeSecretExpired: true, codeAssertionRefused: true}

// A refusal remembers the proof that the login service refused last. One
// tenant goes on trying it; the others that share the credential have the same
// error without asking, or an application of 500 tenants would be seen posting
// a bad secret 500 times a minute. Another proof is posted at once.
type refusal struct {
	mu    sync.Mutex
	proof [sha256.Size]byte
	by    string    // the token URL of the one that tries it
	at    time.Time // of the last try
	err   error     // nil: nothing is refused
}

// post posts a proof of the application, unless that is known to be refused.
func (f *refusal) post(r request, proof string, post func() (*oauth2.Token, error)) (*oauth2.Token, error) {
	hash := sha256.Sum256([]byte(r.clientID + " " + proof))
	if err := f.known(r, hash); err != nil {
		return nil, err
	}
	token, err := post()
	e, failed := errors.AsType[*o365.Error](err)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case failed && ofApplication[e.Code]:
		f.proof, f.by, f.at, f.err = hash, r.tokenURL, time.Now(), err
	case f.proof == hash:
		f.err = nil
	}
	return token, err
}

// known is the error of a proof that another one tries. If nobody has done so
// for as long as a Source pauses at most, the caller takes that over.
func (f *refusal) known(r request, proof [sha256.Size]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil || f.proof != proof {
		return nil
	}
	if f.by != r.tokenURL && time.Since(f.at) <= maxPause {
		return f.err
	}
	f.by, f.at = r.tokenURL, time.Now()
	return nil
}
