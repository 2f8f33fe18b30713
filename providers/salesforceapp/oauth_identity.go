package salesforceapp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
)

// Prefixes of ids.
const (
	orgPrefix  = "00D"
	userPrefix = "005"
)

// signedBy reports whether an answer carries Salesforce's signature: base64 of
// HMAC-SHA256, keyed with the client secret, over id and issued_at
// (help.salesforce.com, "OAuth 2.0 Web Server Flow for Web App Integration",
// checked 2026-11).
func signedBy(secret token.Secret, ans answer) bool {
	have, err := base64.StdEncoding.Strict().DecodeString(ans.Signature)
	if err != nil || ans.ID == "" || ans.IssuedAt == "" {
		return false
	}
	mac := hmac.New(sha256.New, secret.AppendTo(nil))
	mac.Write([]byte(ans.ID + ans.IssuedAt))
	return hmac.Equal(have, mac.Sum(nil))
}

// readIdentity reads an identity URL, https://HOST/id/ORG/USER
// (help.salesforce.com, "Identity URLs", checked 2026-11).
func readIdentity(identity string) (org, user string, ok bool) {
	rest, ok := strings.CutPrefix(identity, "https://")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 4 || !authHosts.Contains(parts[0]) || parts[1] != "id" ||
		!strings.HasPrefix(parts[2], orgPrefix) || !strings.HasPrefix(parts[3], userPrefix) {
		return "", "", false
	}
	org, ok = longID(parts[2])
	if !ok {
		return "", "", false
	}
	user, ok = longID(parts[3])
	return org, user, ok
}

// LongID returns the 18-character form of a record's or an org's id, whose last
// three characters are a checksum of the case of the others. Ids differ in case
// only: compare long ones. The error wraps providers.ErrInvalid: id has neither 15
// nor 18 letters and digits, or a wrong checksum.
func LongID(id string) (string, error) {
	long, ok := longID(id)
	if !ok {
		return "", fmt.Errorf("%w: not a Salesforce id", providers.ErrInvalid)
	}
	return long, nil
}

const (
	shortLen, longLen = 15, 18
	// checkDigits are 32 characters, one for each set of upper-case letters among
	// five.
	checkDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
)

func longID(id string) (string, bool) {
	if len(id) != shortLen && len(id) != longLen {
		return "", false
	}
	long := make([]byte, 0, longLen)
	long = append(long, id[:shortLen]...)
	for block := 0; block < shortLen; block += 5 {
		upper := 0
		for j := range 5 {
			switch c := id[block+j]; {
			case c >= 'A' && c <= 'Z':
				upper |= 1 << j
			case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			default:
				return "", false
			}
		}
		long = append(long, checkDigits[upper])
	}
	return string(long), len(id) == shortLen || id == string(long)
}
