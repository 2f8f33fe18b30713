package crypto

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// KeySize is the length of a key in bytes: AES-256.
const KeySize = 32

// Key is a master key with its id. It prints as its id alone. The zero Key is no
// key.
type Key struct {
	id string
	// The bytes behind a pointer to a string: where fmt may not call methods it
	// prints the address of one under every verb, and what a pointer to an array
	// or a slice points at under some.
	secret *string
	// extracted is what the keys of tenants are expanded from: the first half of
	// HKDF, which is the same for all of them.
	extracted *string
}

// ID names the key in sealed values. It is not secret.
func (k Key) ID() string { return k.id }

// Reveal returns the key in hex, the form [ParseKey] reads, to be put into a
// secret manager. Every use of it is a place to review.
func (k Key) Reveal() string {
	if k.secret == nil {
		return ""
	}
	return hex.EncodeToString([]byte(*k.secret))
}

// String returns the id and no key material.
func (k Key) String() string { return "key " + k.id }

// GoString returns the id and no key material.
func (k Key) GoString() string { return "key " + k.id }

// Format writes the id for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalText writes the id and no key material.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue is the id and no key material.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// GenerateKey makes a fresh random key. The id matches [a-z0-9_-]{1,32}.
func GenerateKey(id string) (Key, error) {
	if !validKeyID(id) {
		return Key{}, errKeyID
	}
	var b [KeySize]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return makeKey(id, b[:])
}

func makeKey(id string, b []byte) (Key, error) {
	prk, err := hkdf.Extract(sha256.New, b, nil)
	if err != nil {
		return Key{}, fmt.Errorf("integrations/crypto: %w", err)
	}
	secret, extracted := string(b), string(prk)
	return Key{id: id, secret: &secret, extracted: &extracted}, nil
}

// ParseKey reads a key from 64 hexadecimal digits or from base64, standard or
// URL, padded or not. It returns an error wrapping [ErrWeakKey] for a key that is
// not 32 bytes, is all zero or has too few different bytes to be random: a
// passphrase is not a key.
func ParseKey(id, text string) (Key, error) {
	var faults []error
	if !validKeyID(id) {
		faults = append(faults, errKeyID)
	}
	b, ok := decodeKey(strings.TrimSpace(text))
	if !ok {
		faults = append(faults, fmt.Errorf("%w: key %q is not 32 bytes in hex or base64", ErrWeakKey, printable(id)))
	}
	if len(faults) > 0 {
		return Key{}, errors.Join(faults...)
	}
	return newKey(id, b)
}

func decodeKey(text string) ([]byte, bool) {
	if len(text) == 2*KeySize {
		if b, err := hex.DecodeString(text); err == nil {
			return b, true
		}
	}
	unpadded := strings.TrimRight(text, "=")
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := enc.Strict().DecodeString(unpadded); err == nil && len(b) == KeySize {
			return b, true
		}
	}
	return nil, false
}

// newKey checks key material that came from outside and copies it.
func newKey(id string, b []byte) (Key, error) {
	if !validKeyID(id) {
		return Key{}, errKeyID
	}
	if len(b) != KeySize || !looksRandom(b) {
		return Key{}, fmt.Errorf("%w: key %q is not 32 random bytes", ErrWeakKey, id)
	}
	return makeKey(id, b)
}

// leastDistinct is how many different values 32 bytes must have. Random bytes
// have 30 on average and practically never fewer than 16.
const leastDistinct = 16

// looksRandom refuses repeated and counted bytes and printable text. It cannot
// prove randomness; it catches what people type.
func looksRandom(b []byte) bool {
	var seen [256]bool
	distinct, text, steps := 0, true, true
	for i, c := range b {
		if !seen[c] {
			seen[c] = true
			distinct++
		}
		text = text && c >= ' ' && c <= '~'
		steps = steps && (i < 2 || c-b[i-1] == b[1]-b[0])
	}
	return distinct >= leastDistinct && !text && !steps
}

var errKeyID = errors.New("integrations/crypto: a key id must match [a-z0-9_-]{1,32}")

const maxKeyID = 32

func validKeyID(id string) bool {
	if id == "" || len(id) > maxKeyID {
		return false
	}
	for i := range len(id) {
		if !keyIDByte(id[i]) {
			return false
		}
	}
	return true
}

func keyIDByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func printable(id string) string {
	if validKeyID(id) {
		return id
	}
	return "?"
}
