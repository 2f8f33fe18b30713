package integrationstest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"sync"
	"time"
)

// Rotation is what a token endpoint does with a refresh token that was used.
type Rotation int

const (
	// Strict replaces it and kills the whole grant when it is used again.
	Strict Rotation = iota
	// Leeway replaces it and accepts it again for a while, as Atlassian does.
	Leeway
	// NonRotating keeps it.
	NonRotating
)

// TokenServer issues the tokens of a fake and counts what is presented to it. It
// is safe for concurrent use.
type TokenServer struct {
	prefix string

	mu          sync.Mutex
	rotation    Rotation
	leeway      time.Duration
	life        time.Duration
	noRefresh   bool
	requirePKCE bool
	killsAccess bool // a refresh ends the old access token at once
	codes       map[string]*code
	access      map[string]*accessToken
	refresh     map[string]*refreshToken
	presented   map[string]int
	calls       int
	reuses      int
}

type code struct {
	clientID, redirectURI, challenge, subject string
	scopes                                    []string
	expires                                   time.Time
	used                                      bool
}

type family struct {
	subject string
	scopes  []string
	dead    bool
	current string // access token
}

type accessToken struct {
	family  *family
	expires time.Time // zero: never
	dead    bool
}

type refreshToken struct {
	family *family
	usedAt time.Time // zero: not used
	dead   bool
}

// issued is a fresh pair of tokens.
type issued struct {
	access, refresh string
	life            time.Duration
	subject         string
	scopes          []string
}

func newTokenServer(prefix string) *TokenServer {
	return &TokenServer{
		prefix: prefix, codes: map[string]*code{}, access: map[string]*accessToken{},
		refresh: map[string]*refreshToken{}, presented: map[string]int{},
	}
}

// SetRotation chooses the rotation; leeway counts for [Leeway] only.
func (s *TokenServer) SetRotation(r Rotation, leeway time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rotation, s.leeway = r, leeway
}

// SetLife chooses how long access tokens last from now on; 0 means they do not
// end and come without a refresh token.
func (s *TokenServer) SetLife(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life, s.noRefresh = d, d == 0
}

// RequirePKCE refuses codes whose flow had no S256 challenge.
func (s *TokenServer) RequirePKCE() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requirePKCE = true
}

// ExpireAccess ends all access tokens; refresh tokens stay good.
func (s *TokenServer) ExpireAccess() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.access {
		a.dead = true
	}
}

// Narrow leaves a subject's grants of before with no scopes but the given ones, as
// a user may at some providers: the next answer says so.
func (s *TokenServer) Narrow(subject string, scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.access {
		if a.family.subject == subject {
			a.family.scopes = slices.Clone(scopes)
		}
	}
}

// Revoke kills all grants of a subject: a Slack workspace, a GitHub user, an
// account of the generic server.
func (s *TokenServer) Revoke(subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.access {
		if a.family.subject == subject {
			a.family.dead = true
		}
	}
	for _, r := range s.refresh {
		if r.family.subject == subject {
			r.family.dead = true
		}
	}
}

// Calls counts the refreshes asked for, whatever came of them.
func (s *TokenServer) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Reuses counts refresh tokens presented after they had been replaced.
func (s *TokenServer) Reuses() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reuses
}

// Current reports whether a refresh token would be taken now and has not been
// replaced.
func (s *TokenServer) Current(refresh string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.refresh[refresh]
	return r != nil && !r.dead && !r.family.dead && r.usedAt.IsZero()
}

// Presented counts how often each token and code was presented, access tokens
// included.
func (s *TokenServer) Presented() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]int, len(s.presented))
	for k, v := range s.presented {
		out[k] = v
	}
	return out
}

// Live reports whether any access token of a subject still works.
func (s *TokenServer) Live(subject string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.access {
		if a.family.subject == subject && a.works() {
			return true
		}
	}
	return false
}

func (a *accessToken) works() bool {
	return !a.dead && !a.family.dead && (a.expires.IsZero() || time.Now().Before(a.expires))
}

func (s *TokenServer) newCode(clientID, redirectURI, challenge, subject string, scopes []string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := "code-" + randomHex()
	s.codes[c] = &code{
		clientID: clientID, redirectURI: redirectURI, challenge: challenge, subject: subject, scopes: scopes,
		expires: time.Now().Add(10 * time.Minute),
	}
	return c
}

// exchange spends a code. It returns false for one that is unknown, used,
// expired, of another client or redirect, or whose verifier does not fit.
func (s *TokenServer) exchange(value, clientID, redirectURI, verifier string) (issued, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.presented[value]++
	c := s.codes[value]
	if c == nil || c.used || time.Now().After(c.expires) || c.clientID != clientID || c.redirectURI != redirectURI {
		return issued{}, false
	}
	if c.challenge == "" && s.requirePKCE {
		return issued{}, false
	}
	if c.challenge != "" {
		sum := sha256.Sum256([]byte(verifier))
		if base64.RawURLEncoding.EncodeToString(sum[:]) != c.challenge {
			return issued{}, false
		}
	}
	c.used = true
	return s.issue(&family{subject: c.subject, scopes: c.scopes}), true
}

// renew spends a refresh token.
func (s *TokenServer) renew(value string) (issued, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.presented[value]++
	s.calls++
	r := s.refresh[value]
	if r == nil {
		return issued{}, false
	}
	if !r.usedAt.IsZero() && s.rotation != NonRotating {
		s.reuses++
		if s.rotation == Strict || time.Since(r.usedAt) > s.leeway {
			r.family.dead = true
		}
	}
	if r.dead || r.family.dead {
		return issued{}, false
	}
	if s.killsAccess {
		if old := s.access[r.family.current]; old != nil {
			old.dead = true
		}
	}
	if s.rotation == NonRotating {
		out := s.issue(r.family)
		delete(s.refresh, out.refresh)
		out.refresh = ""
		return out, true
	}
	if r.usedAt.IsZero() {
		r.usedAt = time.Now()
	}
	return s.issue(r.family), true
}

// issue must be called with s.mu held.
func (s *TokenServer) issue(f *family) issued {
	out := issued{access: s.prefix + "a-" + randomHex(), life: s.life, subject: f.subject, scopes: f.scopes}
	a := &accessToken{family: f}
	if s.life > 0 {
		a.expires = time.Now().Add(s.life)
	}
	s.access[out.access], f.current = a, out.access
	if !s.noRefresh {
		out.refresh = s.prefix + "r-" + randomHex()
		s.refresh[out.refresh] = &refreshToken{family: f}
	}
	return out
}

// mint issues an access token without a refresh token.
func (s *TokenServer) mint(subject string, life time.Duration) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	value := s.prefix + "m-" + randomHex()
	s.access[value] = &accessToken{family: &family{subject: subject}, expires: time.Now().Add(life)}
	return value
}

// authorize reports whose access token this is. known says that it was issued
// here, ok that it still works.
func (s *TokenServer) authorize(value string) (subject string, known, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.presented[value]++
	a := s.access[value]
	if a == nil {
		return "", false, false
	}
	return a.family.subject, true, a.works()
}

// scopesOf are the scopes of an access token.
func (s *TokenServer) scopesOf(value string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.access[value]; a != nil {
		return a.family.scopes
	}
	return nil
}

// dead reports whether a known token is revoked rather than expired.
func (s *TokenServer) revoked(value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.access[value]
	return a != nil && a.family.dead
}

// kill ends the grant of an access or refresh token.
func (s *TokenServer) kill(value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.access[value]; a != nil && !a.family.dead {
		a.family.dead = true
		return true
	}
	if r := s.refresh[value]; r != nil && !r.family.dead {
		r.family.dead = true
		return true
	}
	return false
}

func randomHex() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}
