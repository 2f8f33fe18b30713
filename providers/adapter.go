package providers

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/token"
)

// Faults collects the faults of an adapter's configuration, so that they are
// reported together.
type Faults struct {
	prefix string
	list   []error
}

// NewFaults begins with the key of a registration.
func NewFaults(adapter, key string) *Faults {
	f := &Faults{prefix: "integrations/" + adapter + ": " + key + ": "}
	if !ValidKey(key) {
		f.Add("Key must match [a-z][a-z0-9_]{0,63}")
	}
	return f
}

// Add adds a fault.
func (f *Faults) Add(format string, args ...any) {
	// The prefix holds the host's text: it is no format.
	f.list = append(f.list, fmt.Errorf("%s%w", f.prefix, fmt.Errorf(format, args...)))
}

// App checks what every OAuth app is made of.
func (f *Faults) App(clientID string, secret token.Secret, redirectURL string) {
	if clientID == "" {
		f.Add("ClientID is empty")
	}
	if secret.IsZero() {
		f.Add("ClientSecret is empty")
	}
	f.redirect(redirectURL)
}

func (f *Faults) redirect(raw string) {
	if raw == "" {
		return
	}
	if u, err := url.Parse(raw); err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || u.Fragment != "" {
		f.Add("RedirectURL is not an absolute URL")
	}
}

// Scopes checks that each scope is one.
func (f *Faults) Scopes(scopes []string) {
	for _, s := range scopes {
		if s == "" || strings.ContainsAny(s, ", ") {
			f.Add("scope %q: give each scope an element of its own", s)
		}
	}
}

// Err is all faults joined, nil without any.
func (f *Faults) Err() error { return errors.Join(f.list...) }

// Query is the part of an authorize URL that is the same everywhere (RFC 6749
// section 4.1.1, RFC 7636 section 4.3). Scopes are written in several ways and
// response_type is not a parameter everywhere: both are left to the adapter.
func (a Authorize) Query(clientID string) url.Values {
	q := url.Values{"client_id": {clientID}, "redirect_uri": {a.RedirectURL}, "state": {a.State}}
	if a.Challenge != "" {
		q.Set("code_challenge", a.Challenge)
		q.Set("code_challenge_method", "S256")
	}
	return q
}

// Form is the code's token request (RFC 6749 section 4.1.3, RFC 7636 section
// 4.5). A callback without a code is a [*Refusal].
func (x Exchange) Form() (url.Values, error) {
	if x.Code == "" {
		return nil, &Refusal{Code: RefusedOwnership}
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {x.Code}, "redirect_uri": {x.RedirectURL}}
	if x.Verifier != "" {
		form.Set("code_verifier", x.Verifier)
	}
	return form, nil
}

// RefreshForm is a refresh request (RFC 6749 section 6). Without a refresh token
// there is nothing to renew with: the error is a *token.Error with the code
// "no_refresh_token".
func RefreshForm(r token.Renewal, host string) (url.Values, error) {
	if r.RefreshToken.IsZero() {
		return nil, &token.Error{Outcome: token.DeadGrant, Code: "no_refresh_token", Host: host}
	}
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {r.RefreshToken.Reveal()}}, nil
}

// NoGrant reads the answer of a call that grants nothing, such as a revocation.
func NoGrant(token.Answer) (token.Grant, error) { return token.Grant{}, nil }

// IsRefusal reports whether err is a token call that was refused with one of the
// given codes.
func IsRefusal(err error, codes ...string) bool {
	var e *token.Error
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.Code == c {
			return true
		}
	}
	return false
}

// ReadData reads an adapter's data into a struct of its own. A snapshot without
// any leaves it as it is. The error wraps [ErrInvalid]: the snapshot is not of
// that adapter.
func (s Snapshot) ReadData(into any) error {
	if len(s.ProviderData) == 0 {
		return nil
	}
	if json.Unmarshal(s.ProviderData, into) != nil {
		return fmt.Errorf("%w: the integration's data is not of this provider", ErrInvalid)
	}
	return nil
}

// unknownPause is how long to wait after a limit that comes without a time.
const unknownPause = time.Minute

// retryAt is when a refused call may be tried again.
func retryAt(h http.Header) time.Time {
	now := time.Now()
	if wait := token.ParseRetryAfter(h, now); wait > 0 {
		return now.Add(wait)
	}
	return now.Add(unknownPause)
}
