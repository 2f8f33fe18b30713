package sheetsapp

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/saas-integrations/integrations/webhook"
)

// identity is what an id token says.
type identity struct {
	Sub, Email, HD, Name string
}

var errIDToken = errors.New("integrations/sheetsapp: the answer has no id token for this app")

// maxIDToken bounds what is parsed. Google's have about 1 KiB.
const maxIDToken = 16 << 10

// strict64 refuses a second spelling of the same bytes.
var strict64 = base64.RawURLEncoding.Strict()

// parseIDToken reads an id token that the token endpoint answered with. Its
// signature is not checked: it came from Google itself over TLS, in the answer to
// this app's own request, which OpenID Connect Core section 3.1.3.7 (rule 6) takes
// as proof in the signature's place. Never give it a token that came another way.
//
// Everything else is checked: one JSON object with each claim once, the issuer,
// that it was made for this client, and that it has not ended. Claims that decide
// nothing are left out when they are not plain strings.
func parseIDToken(text, clientID string, now time.Time) (identity, error) {
	if len(text) > maxIDToken || clientID == "" {
		return identity{}, errIDToken
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 || parts[2] == "" || strings.ContainsAny(text, "\r\n") {
		return identity{}, errIDToken
	}
	for _, i := range []int{0, 2} {
		if _, err := strict64.DecodeString(parts[i]); err != nil {
			return identity{}, errIDToken
		}
	}
	payload, err := strict64.DecodeString(parts[1])
	if err != nil {
		return identity{}, errIDToken
	}
	v, err := webhook.Pick(payload, "iss", "aud", "sub", "exp", "email", "hd", "name")
	if err != nil {
		return identity{}, errIDToken
	}
	iss, _ := webhook.String(v[0])
	aud, _ := webhook.String(v[1])
	sub, _ := webhook.String(v[2])
	exp, ok := webhook.Int(v[3])
	switch {
	case iss != "https://accounts.google.com" && iss != "accounts.google.com",
		aud != clientID,
		!ok || exp <= now.Unix(),
		!isSub(sub):
		return identity{}, errIDToken
	}
	return identity{Sub: sub, Email: claim(v[4]), HD: claim(v[5]), Name: claim(v[6])}, nil
}

// isSub reports whether a subject is one that can be stored: printable ASCII
// (OpenID Connect Core section 2) of at most 191 bytes.
func isSub(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= 191
}

// claim reads a text for people.
func claim(raw []byte) string {
	s, ok := webhook.String(raw)
	if !ok || len(s) > 320 || !utf8.ValidString(s) || strings.ContainsFunc(s, isControl) {
		return ""
	}
	return s
}

func isControl(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }
