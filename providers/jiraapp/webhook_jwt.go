package jiraapp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

const (
	// minSecret is the least length of a key of HS256 that is taken, as of every
	// other webhook secret of this library.
	minSecret = 16
	// maxJWT bounds what is looked at.
	maxJWT = 8 << 10
	// skew is how far Atlassian's clock may be off.
	skew = time.Minute
	// maxJWTLife is how long a JWT may be good for: one that was caught can be sent
	// again with any body until it ends.
	maxJWTLife = 24 * time.Hour
)

// jwtVerifier verifies the bearer token of dynamic webhooks, a JWT signed with
// the app's client secret (developer.atlassian.com/cloud/jira/platform/webhooks,
// checked 2026-11). RFC 7515 and 7519 leave much open that is closed here: one
// algorithm, one spelling, each member once, an end.
type jwtVerifier struct{ keys []token.Secret }

func newJWTVerifier(secrets []string) (*jwtVerifier, error) {
	v := &jwtVerifier{}
	var faults []error
	for i, s := range secrets {
		name := "ClientSecret"
		if i > 0 {
			name = fmt.Sprintf("PreviousClientSecrets[%d]", i-1)
		}
		if len(s) < minSecret {
			faults = append(faults, fmt.Errorf("%s has %d bytes, webhooks need at least %d", name, len(s), minSecret))
			continue
		}
		v.keys = append(v.keys, token.NewSecret(s))
	}
	if len(v.keys) == 0 && len(faults) == 0 {
		faults = append(faults, errors.New("no client secret"))
	}
	return v, errors.Join(faults...)
}

// Verify implements webhook.Verifier.
func (v *jwtVerifier) Verify(r *webhook.Request) error {
	header := r.Header["Authorization"]
	if len(header) != 1 || len(header[0]) > maxJWT {
		return webhook.ErrNotSigned
	}
	scheme, jwt, _ := strings.Cut(header[0], " ")
	if !strings.EqualFold(scheme, "Bearer") { // RFC 9110 section 11.1
		return webhook.ErrNotSigned
	}
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return webhook.ErrNotSigned
	}
	var decoded [3][]byte
	for i, p := range parts {
		var ok bool
		if decoded[i], ok = decodePart(p); !ok {
			return webhook.ErrNotSigned
		}
	}
	if !isHS256(decoded[0]) {
		return webhook.ErrNotSigned
	}
	if !v.signed(parts[0]+"."+parts[1], decoded[2]) {
		return webhook.ErrBadSignature
	}
	return checkClaims(decoded[1], r.Now)
}

// signed reports whether one of the keys made a signature. All are tried, whatever
// the first says.
func (v *jwtVerifier) signed(message string, signature []byte) bool {
	valid := false
	for _, k := range v.keys {
		mac := hmac.New(sha256.New, k.AppendTo(nil))
		mac.Write([]byte(message))
		valid = hmac.Equal(mac.Sum(nil), signature) || valid
	}
	return valid
}

// strictURL refuses a second spelling of the same bytes.
var strictURL = base64.RawURLEncoding.Strict()

// decodePart decodes a part of a JWT. The decoder skips line breaks, which are no
// part of one.
func decodePart(p string) ([]byte, bool) {
	if p == "" || strings.ContainsAny(p, "\r\n") {
		return nil, false
	}
	b, err := strictURL.DecodeString(p)
	return b, err == nil
}

// isHS256 reads a JOSE header: the algorithm is HS256 and nothing in it asks for
// more than that (RFC 7515 section 4.1).
func isHS256(header []byte) bool {
	if !unique(header) {
		return false
	}
	v, err := webhook.Pick(header, "alg", "typ", "crit", "b64")
	if err != nil || v[2] != nil || v[3] != nil {
		return false
	}
	alg, _ := webhook.String(v[0])
	typ, ok := webhook.String(v[1])
	return alg == "HS256" && (v[1] == nil || ok && strings.EqualFold(typ, "JWT"))
}

// checkClaims reads the claims of a JWT whose signature is good: it must have
// begun and not have ended (RFC 7519 section 4.1).
func checkClaims(claims []byte, now time.Time) error {
	if !unique(claims) {
		return webhook.ErrBadSignature
	}
	v, err := webhook.Pick(claims, "iat", "exp", "nbf")
	if err != nil {
		return webhook.ErrBadSignature
	}
	iat, okIat := webhook.Int(v[0])
	exp, okExp := webhook.Int(v[1])
	nbf, okNbf := webhook.Int(v[2])
	const latest = 1 << 40 // seconds, and what time.Time can still compute with
	if !okIat || !okExp || v[2] != nil && !okNbf || max(iat, exp, nbf) > latest {
		return webhook.ErrBadSignature
	}
	issued, ends := time.Unix(iat, 0), time.Unix(exp, 0)
	switch {
	case !ends.After(issued) || ends.Sub(issued) > maxJWTLife:
		return webhook.ErrBadSignature
	case !now.Before(ends.Add(skew)):
		return webhook.ErrTooOld
	case issued.After(now.Add(skew)) || okNbf && time.Unix(nbf, 0).After(now.Add(skew)):
		return webhook.ErrTooNew
	}
	return nil
}

// unique reports whether a JSON object has no member twice, however spelled.
func unique(object []byte) bool {
	seen := map[string]bool{}
	once := true
	err := webhook.Fields(object, func(key, _ []byte) bool {
		var name string
		if json.Unmarshal([]byte(`"`+string(key)+`"`), &name) != nil || seen[name] {
			once = false
		}
		seen[name] = true
		return once
	})
	return once && err == nil
}
