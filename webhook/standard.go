package webhook

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Bounds of Standard Webhooks 1.0.0.
const (
	// minStandardSecret is the least length of a decoded secret.
	minStandardSecret = 24
	// maxSignatures is how many entries of the signature list are looked at. A
	// sender needs one for each secret it is changing between.
	maxSignatures = 32
)

// StandardWebhooks is a [Verifier] of Standard Webhooks 1.0.0
// (standard-webhooks/standard-webhooks, spec/standard-webhooks.md): the headers
// webhook-id, webhook-timestamp and webhook-signature, with symmetric "v1"
// signatures. Of a list of signatures one must be right. The signed time may be
// 5 minutes from now, in the past and in the future. It is safe for concurrent
// use.
type StandardWebhooks struct {
	keys []*macKey
}

// NewStandardWebhooks returns a verifier that accepts any of the secrets, each
// base64 of at least 24 bytes with or without the prefix "whsec_". There must be
// one. The error joins all faults.
//
// A request to an endpoint of an integration's own must be signed with one of
// Request.Endpoint.Secrets, written the same way, instead.
func NewStandardWebhooks(secrets ...string) (*StandardWebhooks, error) {
	var faults []error
	if len(secrets) == 0 {
		faults = append(faults, errors.New("integrations/webhook: Standard Webhooks: no secret: an unsigned webhook is never accepted"))
	}
	v := &StandardWebhooks{}
	for i, s := range secrets {
		key, ok := standardKey(s)
		if !ok {
			faults = append(faults, fmt.Errorf("integrations/webhook: Standard Webhooks: secret %d of %d is not whsec_ and base64 of at least %d bytes",
				i+1, len(secrets), minStandardSecret))
			continue
		}
		v.keys = append(v.keys, newMACKey(key))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return v, nil
}

func standardKey(secret string) ([]byte, bool) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	return key, err == nil && len(key) >= minStandardSecret
}

// Verify implements [Verifier].
func (v *StandardWebhooks) Verify(r *Request) error {
	id, haveID := single(r.Header, "Webhook-Id")
	timestamp, haveTime := single(r.Header, "Webhook-Timestamp")
	list, haveList := single(r.Header, "Webhook-Signature")
	// A dot in the id would let the pieces of the signed text be cut otherwise.
	if !haveID || !haveTime || !haveList || strings.Contains(id, ".") {
		return ErrNotSigned
	}
	signed, ok := parseTime(timestamp, false)
	if !ok {
		return ErrNotSigned
	}
	var macs [maxSignatures][sha256.Size]byte
	n := parseSignatures(&macs, list)
	if n == 0 {
		return ErrNotSigned
	}

	valid := false
	for _, k := range v.keysFor(r.Endpoint) {
		s := k.get()
		s.scratch = append(append(append(append(s.scratch[:0], id...), '.'), timestamp...), '.')
		s.Write(s.scratch)
		s.Write(r.Body)
		s.finish()
		for i := range n {
			valid = s.equal(&macs[i]) || valid
		}
		k.put(s)
	}
	if !valid {
		return ErrBadSignature
	}
	return checkTime(r.Now, signed, defaultTolerance)
}

func (v *StandardWebhooks) keysFor(e *Endpoint) []*macKey {
	if e == nil {
		return v.keys
	}
	keys := make([]*macKey, 0, len(e.Secrets))
	for _, s := range e.Secrets {
		if key, ok := standardKey(string(s)); ok {
			keys = append(keys, newMACKey(key))
		}
	}
	return keys
}

// parseSignatures reads the "v1" entries among the first maxSignatures of a
// space separated list and returns how many there are. Other versions and what
// cannot be decoded are passed over, as the specification asks.
func parseSignatures(macs *[maxSignatures][sha256.Size]byte, list string) int {
	n := 0
	for range maxSignatures {
		entry, rest, more := strings.Cut(list, " ")
		if encoded, ok := strings.CutPrefix(entry, "v1,"); ok && decodeBase64(&macs[n], encoded) {
			n++
		}
		if !more {
			break
		}
		list = rest
	}
	return n
}
