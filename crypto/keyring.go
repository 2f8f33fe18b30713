package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Keyring is the [Cipher] of the library: it seals with its primary key and
// opens with the key a sealed value names. It is immutable but for its cache and
// safe for concurrent use.
//
// To rotate keys, add the new key as an older one everywhere, then make it the
// primary everywhere, then call integrations.Rewrap, then drop the old one:
// docs/keys.md.
type Keyring struct {
	primary string
	header  string // what is sealed with primary begins with
	keys    map[string]Key
	derived *derivedKeys
	buffers sync.Pool // of *aadBuffer
}

var (
	_ Cipher = (*Keyring)(nil)
	_ Binder = (*Keyring)(nil)
	_ Ring   = (*Keyring)(nil)
)

// NewKeyring returns a ring that seals with primary and opens with any of its
// keys. Ids must be unique, and so must keys. All faults are reported together.
func NewKeyring(primary Key, older ...Key) (*Keyring, error) {
	r := &Keyring{
		primary: primary.id,
		header:  string(appendHeader(nil, primary.id)),
		keys:    make(map[string]Key, 1+len(older)),
		derived: newDerivedKeys(maxDerived),
	}
	r.buffers.New = func() any { return new(aadBuffer) }
	var faults []error
	byBytes := make(map[string]string, 1+len(older))
	for _, k := range append([]Key{primary}, older...) {
		switch {
		case k.secret == nil:
			faults = append(faults, fmt.Errorf("%w: a key of the ring is the zero Key", ErrWeakKey))
			continue
		case r.keys[k.id].secret != nil:
			faults = append(faults, fmt.Errorf("integrations/crypto: key id %q is used twice", k.id))
		case byBytes[*k.secret] != "":
			faults = append(faults, fmt.Errorf("integrations/crypto: keys %q and %q are the same", byBytes[*k.secret], k.id))
		}
		r.keys[k.id] = k
		byBytes[*k.secret] = k.id
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return r, nil
}

// PrimaryID implements [Ring].
func (r *Keyring) PrimaryID() string { return r.primary }

// KeyIDs implements [Ring]. They are sorted.
func (r *Keyring) KeyIDs() []string {
	ids := make([]string, 0, len(r.keys))
	for id := range r.keys {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Seal implements [Cipher]. The result is at most 30 bytes and the key id longer
// than plaintext. dst and plaintext must not overlap, except that dst may be
// empty.
func (r *Keyring) Seal(dst, plaintext []byte, b Binding) ([]byte, error) {
	aead, err := r.aead(r.primary, b.Tenant, b.Provider)
	if err != nil {
		return dst, err
	}
	return r.seal(dst, plaintext, aead, b.Integration, b.Field)
}

// Open implements [Cipher].
func (r *Keyring) Open(dst, sealed []byte, b Binding) ([]byte, error) {
	kid := r.primary
	box, ok := r.primaryBox(sealed)
	if !ok {
		named, rest, err := parseSealed(sealed)
		if err != nil {
			return dst, err
		}
		k, ok := r.keys[string(named)]
		if !ok {
			return dst, fmt.Errorf("%w %q", ErrUnknownKey, named)
		}
		kid, box = k.id, rest
	}
	aead, err := r.aead(kid, b.Tenant, b.Provider)
	if err != nil {
		return dst, err
	}
	return r.open(dst, box, aead, b.Integration, b.Field)
}

// KeyID implements [Cipher].
func (r *Keyring) KeyID(sealed []byte) (string, error) {
	if _, ok := r.primaryBox(sealed); ok {
		return r.primary, nil
	}
	kid, _, err := parseSealed(sealed)
	if err != nil {
		return "", err
	}
	if k, ok := r.keys[string(kid)]; ok {
		return k.id, nil
	}
	return string(kid), nil
}

// Bind implements [Binder]. The derived primary key is kept in the result; a
// value under an older key costs a look-up.
func (r *Keyring) Bind(tenant, provider string) Bound {
	aead, err := r.aead(r.primary, tenant, provider)
	if err != nil {
		return forward{c: r, tenant: tenant, provider: provider}
	}
	return &bound{ring: r, aead: aead, tenant: tenant, provider: provider}
}

type bound struct {
	ring             *Keyring
	aead             cipher.AEAD // of the primary key
	tenant, provider string
}

func (b *bound) Seal(dst, plaintext []byte, integration, field string) ([]byte, error) {
	return b.ring.seal(dst, plaintext, b.aead, integration, field)
}

func (b *bound) Open(dst, sealed []byte, integration, field string) ([]byte, error) {
	box, ok := b.ring.primaryBox(sealed)
	if !ok {
		return b.ring.Open(dst, sealed, Binding{b.tenant, b.provider, integration, field})
	}
	return b.ring.open(dst, box, b.aead, integration, field)
}

// aead returns the cipher of a derived key, from the cache where it is.
func (r *Keyring) aead(kid, tenant, provider string) (cipher.AEAD, error) {
	name := derivedName{kid, tenant, provider}
	if a := r.derived.get(name); a != nil {
		return a, nil
	}
	a, err := deriveAEAD(r.keys[kid], tenant, provider)
	if err != nil {
		return nil, fmt.Errorf("integrations/crypto: derive: %w", err)
	}
	r.derived.put(name, a)
	return a, nil
}

// deriveAEAD makes the cipher of one (key, tenant, provider). A key of its own
// for each keeps the number of random nonces under one key far below the 2^32 of
// NIST SP 800-38D section 8.3, however many tenants there are.
func deriveAEAD(k Key, tenant, provider string) (cipher.AEAD, error) {
	info := make([]byte, 0, 64+len(tenant)+len(provider))
	info = append(info, "integrations/seal/v2|"...)
	info = binary.BigEndian.AppendUint32(info, uint32(len(tenant)))
	info = append(info, tenant...)
	info = binary.BigEndian.AppendUint32(info, uint32(len(provider)))
	info = append(info, provider...)
	sub, err := hkdf.Expand(sha256.New, []byte(*k.extracted), string(info), KeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(sub)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
