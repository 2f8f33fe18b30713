package crypto

import (
	"crypto/cipher"
	"fmt"
	"slices"
)

// The sealed form, in bytes:
//
//	version(1) | key id length(1) | key id | nonce(12) | ciphertext | tag(16)
//
// The derived key binds key id, tenant and provider; the additional data binds
// version, integration and field. Nothing else needs to be in it.
const (
	sealedVersion = 2
	headerLen     = 2
	nonceLen      = 12
	tagLen        = 16

	// maxSealed bounds what is opened: the largest webhook body a provider sends
	// (25 MiB, GitHub) with room to spare.
	maxSealed = 32 << 20
	// maxName bounds integration and field so that additional data fits a buffer
	// on the stack.
	maxName = 255
)

// parseSealed splits a sealed value into its key id and the rest, which is nonce,
// ciphertext and tag.
func parseSealed(sealed []byte) (kid, box []byte, err error) {
	if len(sealed) < headerLen || sealed[0] != sealedVersion {
		return nil, nil, fmt.Errorf("%w: unknown form", ErrSealed)
	}
	n := int(sealed[1])
	if n == 0 || n > maxKeyID || len(sealed) < headerLen+n+nonceLen+tagLen || len(sealed) > maxSealed {
		return nil, nil, fmt.Errorf("%w: bad length", ErrSealed)
	}
	kid, box = sealed[headerLen:headerLen+n], sealed[headerLen+n:]
	for _, c := range kid {
		if !keyIDByte(c) {
			return nil, nil, fmt.Errorf("%w: bad key id", ErrSealed)
		}
	}
	return kid, box, nil
}

// appendHeader appends what a value sealed with a key begins with.
func appendHeader(dst []byte, kid string) []byte {
	dst = append(dst, sealedVersion, byte(len(kid)))
	return append(dst, kid...)
}

// primaryBox is parseSealed for what was sealed with the primary key, which is
// most of what is opened: false for all else.
func (r *Keyring) primaryBox(sealed []byte) ([]byte, bool) {
	n := len(r.header)
	if len(sealed) < n+nonceLen+tagLen || len(sealed) > maxSealed || string(sealed[:n]) != r.header {
		return nil, false
	}
	return sealed[n:], true
}

// aadBuffer is large enough for any additional data. It is pooled: on the stack
// it would escape through the cipher.AEAD interface, one allocation a call.
type aadBuffer [5 + 2*maxName]byte

// additionalData is what a sealed value is bound to besides its derived key: the
// version and the length-prefixed names, so that no two pairs of names give the
// same bytes. Neither name may be longer than maxName.
func (buf *aadBuffer) additionalData(integration, field string) []byte {
	buf[0], buf[1], buf[2] = sealedVersion, byte(len(integration)>>8), byte(len(integration))
	n := 3 + copy(buf[3:], integration)
	buf[n], buf[n+1] = byte(len(field)>>8), byte(len(field))
	n += 2
	return buf[:n+copy(buf[n:], field)]
}

// seal appends the sealed form of plaintext under a derived key of the primary.
func (r *Keyring) seal(dst, plaintext []byte, aead cipher.AEAD, integration, field string) ([]byte, error) {
	if len(integration) > maxName || len(field) > maxName {
		return dst, errName
	}
	if len(plaintext) > maxSealed-headerLen-maxKeyID-nonceLen-tagLen {
		return dst, errTooLong
	}
	buf := r.buffers.Get().(*aadBuffer)
	out := append(slices.Grow(dst, len(r.header)+nonceLen+len(plaintext)+tagLen), r.header...)
	// NewGCMWithRandomNonce puts a fresh nonce before the ciphertext itself.
	out = aead.Seal(out, nil, plaintext, buf.additionalData(integration, field))
	r.buffers.Put(buf)
	return out, nil
}

// open appends the plaintext of a box under one derived key.
func (r *Keyring) open(dst, box []byte, aead cipher.AEAD, integration, field string) ([]byte, error) {
	if len(integration) > maxName || len(field) > maxName {
		return dst, errName
	}
	buf := r.buffers.Get().(*aadBuffer)
	out, err := aead.Open(dst, nil, box, buf.additionalData(integration, field))
	r.buffers.Put(buf)
	if err != nil {
		return dst, fmt.Errorf("%w: damaged, or made for another place", ErrSealed)
	}
	return out, nil
}

var (
	errName    = fmt.Errorf("%w: integration and field are at most %d bytes", ErrSealed, maxName)
	errTooLong = fmt.Errorf("%w: plaintext is over %d MiB", ErrSealed, maxSealed>>20)
)
