package providers

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Hosts is a set of host names a bearer token may be sent to. It is immutable
// and safe for concurrent use.
type Hosts struct {
	exact    map[string]struct{}
	suffixes []string // ".example.com"
}

// NewHosts makes a set of patterns: "api.example.com" for that host,
// "*.example.com" for every name below example.com, at any depth, but not
// example.com itself. Patterns are lower-case ASCII names with at least two
// labels; no port, no address. All faults are reported together.
func NewHosts(patterns ...string) (Hosts, error) {
	h := Hosts{exact: make(map[string]struct{}, len(patterns))}
	var faults []error
	for _, p := range patterns {
		name, wild := strings.CutPrefix(p, "*.")
		if !isHostName(name) {
			faults = append(faults, fmt.Errorf("integrations/providers: %q is not a host name or *.name", p))
			continue
		}
		if wild {
			h.suffixes = append(h.suffixes, "."+name)
		} else {
			h.exact[name] = struct{}{}
		}
	}
	if len(patterns) == 0 {
		faults = append(faults, errors.New("integrations/providers: no hosts"))
	}
	if len(faults) > 0 {
		return Hosts{}, errors.Join(faults...)
	}
	return h, nil
}

// Contains reports whether host is in the set. Case does not matter; anything
// that is not a plain ASCII host name (a port, an address, a trailing dot, a
// name in another script) is not in any set.
func (h Hosts) Contains(host string) bool {
	if _, ok := h.exact[host]; ok {
		return true
	}
	host = lowerASCII(host)
	if !isHostName(host) {
		return false
	}
	if _, ok := h.exact[host]; ok {
		return true
	}
	for _, s := range h.suffixes {
		// A suffix starts with a dot, so this cuts at a label's end only.
		if len(host) > len(s) && strings.HasSuffix(host, s) {
			return true
		}
	}
	return false
}

// Check reports whether a token may be sent to u: https, no user information,
// the default port, and a host of the set. The error wraps [ErrHostNotAllowed]
// and names at most the host.
func (h Hosts) Check(u *url.URL) error {
	if u == nil || u.Scheme != "https" || u.User != nil || u.Opaque != "" {
		return fmt.Errorf("%w: not a plain https URL", ErrHostNotAllowed)
	}
	host := u.Host
	if h.Contains(host) {
		return nil
	}
	if name, ok := strings.CutSuffix(host, ":443"); ok && h.Contains(name) {
		return nil
	}
	name := u.Hostname()
	if !isHostName(lowerASCII(name)) {
		name = "(not a host name)"
	}
	return fmt.Errorf("%w: %s", ErrHostNotAllowed, name)
}

// lowerASCII lower-cases ASCII letters only: letters of other scripts that fold
// to ASCII ones, as the Kelvin sign does, must not turn into them.
func lowerASCII(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r >= 'A' && r <= 'Z' }) < 0 {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// isHostName reports whether s is a lower-case ASCII name of at least two
// labels whose last is not a number, so that no spelling of an address passes.
func isHostName(s string) bool {
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	labels, start := 0, 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			c := s[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
			continue
		}
		label := s[start:i]
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		labels++
		if i == len(s) && isNumber(label) {
			return false
		}
		start = i + 1
	}
	return labels >= 2
}

// isNumber follows the WHATWG URL rule: a host whose last label is decimal or
// 0x-hexadecimal is an IPv4 address.
func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		for i := range len(hex) {
			c := hex[i]
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
		return true
	}
	for i := range len(label) {
		if label[i] < '0' || label[i] > '9' {
			return false
		}
	}
	return true
}
