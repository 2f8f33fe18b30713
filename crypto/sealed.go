package crypto

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
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

// additionalData appends what a sealed value is bound to besides its derived
// key: the version and the length-prefixed names, so that no two pairs of names
// give the same bytes.
func additionalData(dst []byte, integration, field string) []byte {
	dst = append(dst, sealedVersion)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(integration)))
	dst = append(dst, integration...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(field)))
	return append(dst, field...)
}

// aadBuffer is large enough for any additional data. It is pooled: on the stack
// it would escape through the cipher.AEAD interface, one allocation a call.
type aadBuffer [5 + 2*maxName]byte

// seal appends the sealed form of plaintext under one derived key.
func (r *Keyring) seal(dst, plaintext []byte, kid string, aead cipher.AEAD, integration, field string) ([]byte, error) {
	if len(integration) > maxName || len(field) > maxName {
		return dst, errName
	}
	if len(plaintext) > maxSealed-headerLen-maxKeyID-nonceLen-tagLen {
		return dst, errTooLong
	}
	buf := r.buffers.Get().(*aadBuffer)
	aad := additionalData(buf[:0], integration, field)
	out := append(dst, sealedVersion, byte(len(kid)))
	out = append(out, kid...)
	// NewGCMWithRandomNonce puts a fresh nonce before the ciphertext itself.
	out = aead.Seal(out, nil, plaintext, aad)
	r.buffers.Put(buf)
	return out, nil
}

// open appends the plaintext of a box under one derived key.
func (r *Keyring) open(dst, box []byte, aead cipher.AEAD, integration, field string) ([]byte, error) {
	if len(integration) > maxName || len(field) > maxName {
		return dst, errName
	}
	buf := r.buffers.Get().(*aadBuffer)
	out, err := aead.Open(dst, nil, box, additionalData(buf[:0], integration, field))
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
