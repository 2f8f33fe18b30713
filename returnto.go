package integrations

import (
	"net/url"
	"strings"
)

// safeReturnTo reports whether a browser may be sent to raw after a flow: a path
// of this site, or a URL at one of the allowed origins. It is strict about what
// parsers disagree on: no backslash, no control byte, no "//" at the start.
func (m *Manager) safeReturnTo(raw string) bool {
	if raw == "" || len(raw) > 2048 {
		return false
	}
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Opaque != "" {
		return false
	}
	if strings.HasPrefix(raw, "/") {
		return !strings.HasPrefix(raw, "//") && u.Scheme == "" && u.Host == ""
	}
	return u.Host != "" && m.origins[u.Scheme+"://"+u.Host] && strings.HasPrefix(raw, u.Scheme+"://"+u.Host)
}

// returnURL adds the result of a flow to its return path.
func returnURL(returnTo, key string, end ending) string {
	u, err := url.Parse(returnTo)
	if err != nil {
		return "/"
	}
	q := u.Query()
	q.Set("integration", key)
	q.Set("result", end.code)
	if q.Del("scopes"); end.lacking { // the page that the flow began at may have it
		q.Set("scopes", "missing")
	}
	u.RawQuery = q.Encode()
	return u.String()
}
