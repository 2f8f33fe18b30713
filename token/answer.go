package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// DecodeOAuth reads a token answer of RFC 6749 section 5.1, as JSON or, as
// GitHub sends it by default, form-encoded. It is lenient with everything but
// the access token: an answer that has one was a success, and its token may be
// single-use. An answer with an "error" member is an [*Error] whatever its
// status.
func DecodeOAuth(a Answer) (Grant, error) {
	m, ok := members(a.Body)
	if !ok {
		return Grant{}, errors.New("integrations/token: answer is neither JSON nor a form")
	}
	access := text(m["access_token"])
	if access == "" {
		if code := ErrorCode(a.Body); code != "" {
			return Grant{}, &Error{Code: code}
		}
		return Grant{}, errors.New("integrations/token: answer has no access token")
	}
	g := Grant{
		AccessToken:      NewSecret(access),
		RefreshToken:     NewSecret(text(m["refresh_token"])),
		TokenType:        text(m["token_type"]),
		ExpiresIn:        duration(m["expires_in"]),
		RefreshExpiresIn: duration(m["refresh_token_expires_in"]),
		Scopes:           scopes(m["scope"]),
	}
	if g.RefreshExpiresIn == 0 {
		g.RefreshExpiresIn = duration(m["x_refresh_token_expires_in"])
	}
	if g.Scopes == nil {
		g.Scopes = scopes(m["scopes"])
	}
	return g, nil
}

// ErrorCode returns the error code of a token endpoint's answer (RFC 6749
// section 5.2) in lower case, or "" when there is none of the form [a-z_]{1,64}.
// Only such codes go into errors: anything else could be an echo of the request.
func ErrorCode(body []byte) string {
	m, ok := members(body)
	if !ok {
		return ""
	}
	for _, name := range []string{"error", "status"} { // HubSpot's older form: {"status":"BAD_REFRESH_TOKEN"}
		code := strings.ToLower(text(m[name]))
		if code != "error" && isCode(code) {
			return code
		}
	}
	return ""
}

// isCode reports whether a text has the form [a-z_]{1,64}.
func isCode(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") == ""
}

// members reads the top level of a JSON object or a form.
func members(body []byte) (map[string]any, bool) {
	trimmed := bytes.TrimSpace(body)
	if len(trimmed) > 0 && trimmed[0] == '{' {
		d := json.NewDecoder(bytes.NewReader(trimmed))
		d.UseNumber()
		var m map[string]any
		if d.Decode(&m) != nil {
			return nil, false
		}
		return m, true
	}
	form, err := url.ParseQuery(string(trimmed))
	if err != nil || len(form) == 0 {
		return nil, false
	}
	m := make(map[string]any, len(form))
	for k, v := range form {
		m[k] = v[0]
	}
	return m, true
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// duration reads a number of seconds, given as a number or a string.
func duration(v any) time.Duration {
	var s string
	switch v := v.(type) {
	case json.Number:
		s = v.String()
	case string:
		s = strings.TrimSpace(v)
	default:
		return 0
	}
	d, _ := parseSeconds(s)
	return d
}

// longestLife caps a lifetime. Nothing is planned further ahead.
const longestLife = 10 * 365 * 24 * time.Hour

// parseSeconds reads a whole or fractional number of seconds, capped to
// [0, ten years].
func parseSeconds(s string) (time.Duration, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if math.IsNaN(f) || (err != nil && !math.IsInf(f, 0)) {
		return 0, false
	}
	if f <= 0 {
		return 0, true
	}
	if f >= longestLife.Seconds() {
		return longestLife, true
	}
	return time.Duration(f * float64(time.Second)), true
}

// scopes reads a list given as JSON array or as text separated by spaces or
// commas. Nil means the answer does not say.
func scopes(v any) []string {
	switch v := v.(type) {
	case string:
		list := strings.FieldsFunc(v, func(r rune) bool { return r == ' ' || r == ',' })
		if list == nil {
			return nil
		}
		return list
	case []any:
		list := make([]string, 0, len(v))
		for _, e := range v {
			if s := text(e); s != "" {
				list = append(list, s)
			}
		}
		return list
	default:
		return nil
	}
}
