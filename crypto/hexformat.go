package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// HexFormat reads and writes the form "ivHex:tagHex:cipherHex" of AES-256-GCM
// with a 16-byte or 12-byte IV and no additional data, which many applications
// keep tokens in. It is for import and for sharing rows with such an
// application; a [Keyring] never writes it. It is bound to nothing: a value can
// be moved to another row. It is safe for concurrent use.
//
// Under Go's FIPS-only mode a chosen IV is not allowed and every method returns
// an error wrapping errors.ErrUnsupported.
type HexFormat struct {
	iv16, iv12 cipher.AEAD
}

// NewHexFormat returns the format under one key.
func NewHexFormat(key Key) (*HexFormat, error) {
	if key.secret == nil {
		return nil, fmt.Errorf("%w: the zero Key", ErrWeakKey)
	}
	block, err := aes.NewCipher([]byte(*key.secret))
	if err != nil {
		return nil, fmt.Errorf("integrations/crypto: %w", err)
	}
	h := &HexFormat{}
	if fips140.Enforced() {
		return h, nil
	}
	if h.iv16, err = cipher.NewGCMWithNonceSize(block, 16); err != nil {
		return nil, fmt.Errorf("integrations/crypto: %w", err)
	}
	if h.iv12, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("integrations/crypto: %w", err)
	}
	return h, nil
}

var errFIPS = fmt.Errorf("integrations/crypto: the hex form is not allowed in FIPS-only mode: %w", errors.ErrUnsupported)

// Open appends the plaintext of text to dst. It accepts lower-case hex in exactly
// three parts; anything else is an error wrapping [ErrSealed].
func (h *HexFormat) Open(dst []byte, text string) ([]byte, error) {
	if h.iv16 == nil {
		return dst, errFIPS
	}
	iv, rest, ok := strings.Cut(text, ":")
	tag, box, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 || len(text) > 2*maxSealed || !lowerHex(iv) || !lowerHex(tag) || !lowerHex(box) {
		return dst, fmt.Errorf("%w: not of the form ivHex:tagHex:cipherHex", ErrSealed)
	}
	var aead cipher.AEAD
	switch len(iv) {
	case 32:
		aead = h.iv16
	case 24:
		aead = h.iv12
	}
	if aead == nil || len(tag) != 2*tagLen {
		return dst, fmt.Errorf("%w: bad length", ErrSealed)
	}
	raw, err := hex.DecodeString(iv + box + tag)
	if err != nil {
		return dst, fmt.Errorf("%w: not hex", ErrSealed)
	}
	n := len(iv) / 2
	out, err := aead.Open(dst, raw[:n], raw[n:], nil)
	if err != nil {
		return dst, fmt.Errorf("%w: damaged, or under another key", ErrSealed)
	}
	return out, nil
}

// Seal returns plaintext in this form with a random 16-byte IV.
func (h *HexFormat) Seal(plaintext []byte) (string, error) {
	if h.iv16 == nil {
		return "", errFIPS
	}
	var iv [16]byte
	_, _ = rand.Read(iv[:]) // never fails: crypto/rand ends the program instead
	return h.sealWith(iv[:], plaintext), nil
}

func (h *HexFormat) sealWith(iv, plaintext []byte) string {
	box := h.iv16.Seal(nil, iv, plaintext, nil)
	split := len(box) - tagLen
	return hex.EncodeToString(iv) + ":" + hex.EncodeToString(box[split:]) + ":" + hex.EncodeToString(box[:split])
}

func lowerHex(s string) bool {
	if len(s)%2 != 0 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
