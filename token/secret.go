package token

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret holds a token, code or client secret and prints as "[redacted]" under
// every fmt verb, in slog, JSON and text encodings, also inside an unexported
// field of a printed struct. The zero Secret is empty. Secrets are immutable
// and safe for concurrent use; compare the revealed text, never two Secrets.
type Secret struct {
	// A pointer to a string: fmt does not call methods of unexported fields and
	// would print a string there, but it prints only the address of this, under
	// every verb.
	p *string
}

// NewSecret wraps s.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{p: &s}
}

// Reveal returns the text. Every use of it is a place to review.
func (s Secret) Reveal() string {
	if s.p == nil {
		return ""
	}
	return *s.p
}

// AppendTo appends the text to dst.
func (s Secret) AppendTo(dst []byte) []byte {
	if s.p == nil {
		return dst
	}
	return append(dst, *s.p...)
}

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.p == nil }

// String returns "[redacted]".
func (s Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (s Secret) GoString() string { return redacted }

// Format writes "[redacted]" for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON writes "[redacted]".
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText writes "[redacted]".
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
