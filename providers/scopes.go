package providers

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// MissingScopeError means the grant lacks scopes that the call needs. The tenant
// can add them by connecting again: see the Manager's UpgradeURL. It is an
// [ErrForbidden] for errors.Is.
type MissingScopeError struct {
	// Need lists the missing scopes as the provider spells them, nothing when the
	// provider does not say. Some providers list alternatives, of which one is
	// enough.
	Need []string
}

func (e *MissingScopeError) Error() string {
	if len(e.Need) == 0 {
		return "integrations: missing scope"
	}
	return "integrations: missing scope " + strings.Join(e.Need, ", ")
}

// Is reports whether target is [ErrForbidden].
func (e *MissingScopeError) Is(target error) bool { return target == ErrForbidden }

// MissingScopes lists what was wanted and not granted. With granted nil, of a
// provider that does not tell, nothing is missing: an answer that does not say
// granted what was asked (RFC 6749 section 5.1).
func MissingScopes(wanted, granted []string) []string {
	if granted == nil {
		return nil
	}
	var out []string
	for _, s := range wanted {
		if !slices.Contains(granted, s) {
			out = append(out, s)
		}
	}
	return out
}

// RequireScopes returns a [*MissingScopeError] that names those of scopes which the
// integration was not granted, nil when it has them all or nobody knows: before
// work that would fail half-way. It costs no call to the provider, may be as old
// as the Manager's CacheFor, and says nothing of the status: see
// [Connection.Check]. Other errors are those of [Connection.Snapshot].
func (c *Connection) RequireScopes(ctx context.Context, scopes ...string) error {
	s, err := c.Snapshot(ctx)
	if err != nil {
		return err
	}
	if missing := MissingScopes(scopes, s.Scopes); missing != nil {
		return &MissingScopeError{Need: missing}
	}
	return nil
}

// scopeForm is what scopes of all the services look like: anything else in the
// place of one could be an echo of the request.
var scopeForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/*+-]{0,190}$`)

// PlainScopes returns those of a provider's words that have the form of a scope,
// for a [MissingScopeError].
func PlainScopes(words []string) []string {
	var out []string
	for _, w := range words {
		if scopeForm.MatchString(w) && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

var scopeParameter = regexp.MustCompile(`[ ,]scope="([^"]*)"`)

// insufficientScope reads the challenge of a refusal for lack of a scope
// (RFC 6750 section 3.1), nil for any other.
func insufficientScope(h http.Header) error {
	for _, challenge := range h.Values("WWW-Authenticate") {
		if !strings.Contains(challenge, `error="insufficient_scope"`) {
			continue
		}
		e := &MissingScopeError{}
		if m := scopeParameter.FindStringSubmatch(challenge); m != nil {
			e.Need = PlainScopes(strings.Fields(m[1]))
		}
		return e
	}
	return nil
}
