package integrations

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

const (
	// flowTTL is how long a user may take between the two redirects.
	flowTTL = 10 * time.Minute
	// flowsPerMinute bounds the flows a tenant starts.
	flowsPerMinute = 20
	// cookiesPerBrowser bounds the open flows of one browser.
	cookiesPerBrowser = 8
	// secretLen is the length of state and cookie: 32 random bytes, base64url.
	secretLen = 43
	// maxSite is the width of the store's column.
	maxSite = 255

	cookieName   = "int_"
	cookiePrefix = "__Host-" // binds a cookie to this very host (RFC 6265bis section 4.1.3.2)
)

// newSecret returns 32 random bytes in base64url.
func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// isSecret reports whether s has the form newSecret makes. What has not is never
// hashed or looked up.
func isSecret(s string) bool {
	if len(s) != secretLen {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// sameHash compares the hash of a value from outside with a stored one.
func sameHash(value, stored string) bool {
	return value != "" && stored != "" && subtle.ConstantTimeCompare([]byte(hash(value)), []byte(stored)) == 1
}

// flowCookie is the cookie of one flow. Each flow has its own, so that flows in
// several tabs do not disturb each other.
func (m *Manager) flowCookie(state, value string, maxAge int) *http.Cookie {
	sum := sha256.Sum256([]byte(state))
	c := &http.Cookie{
		Name:  cookieName + base64.RawURLEncoding.EncodeToString(sum[:])[:12],
		Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: true,
		// Lax, not Strict: the callback is a top-level navigation from the
		// provider's site.
		SameSite: http.SameSiteLaxMode,
	}
	if m.base.Scheme == "http" {
		c.Secure = false
	} else {
		c.Name = cookiePrefix + c.Name
	}
	return c
}

// setFlowCookie binds a flow to the browser and drops the oldest of too many.
// Browsers send older cookies first (RFC 6265 section 5.4).
func (m *Manager) setFlowCookie(w http.ResponseWriter, r *http.Request, state, value string) {
	var open []*http.Cookie
	for _, c := range r.Cookies() {
		if strings.HasPrefix(strings.TrimPrefix(c.Name, cookiePrefix), cookieName) {
			open = append(open, c)
		}
	}
	for i := 0; i <= len(open)-cookiesPerBrowser; i++ {
		http.SetCookie(w, &http.Cookie{
			Name: open[i].Name, Path: "/", MaxAge: -1, HttpOnly: true,
			Secure: m.base.Scheme == "https", SameSite: http.SameSiteLaxMode,
		})
	}
	http.SetCookie(w, m.flowCookie(state, value, int(flowTTL.Seconds())))
}
