// Package crypto seals secrets at rest: OAuth tokens, PKCE verifiers, webhook
// secrets and webhook bodies. A sealed value is bound to the tenant, provider,
// integration and field it was made for and cannot be opened anywhere else.
//
// The sealed form is AES-256-GCM with a fresh random nonce for every value,
// under a key derived with HKDF-SHA-256 for each (key, tenant, provider). It
// works under Go's FIPS-only mode. [Keyring] is the implementation; hosts with
// an own key service implement [Cipher].
package crypto

import "errors"

// Errors of this package. They never carry key material or plaintext.
var (
	// ErrSealed means a sealed value could not be opened: it is damaged, was
	// made for another binding, or is not a sealed value at all.
	ErrSealed = errors.New("integrations/crypto: sealed value cannot be opened")
	// ErrUnknownKey means a sealed value names a key that is not in the ring.
	// The value is intact: add the key back and it opens.
	ErrUnknownKey = errors.New("integrations/crypto: unknown key")
	// ErrWeakKey means a key is too short, all zero or has too little entropy.
	ErrWeakKey = errors.New("integrations/crypto: weak key")
)

// Binding names the one place a sealed value belongs to. Opening it with any
// other Binding fails with [ErrSealed].
type Binding struct {
	// Tenant and Provider choose the derived key. Either may be empty for a
	// value that belongs to no tenant, for example an unrouted webhook.
	Tenant, Provider string
	// Integration is the id of the row, Field the name of the column.
	Integration, Field string
}

// Cipher seals and opens. Implementations must be safe for concurrent use,
// must append to dst and return the extended slice, and must never write to
// plaintext, sealed or dst's existing bytes.
type Cipher interface {
	// Seal appends the sealed form of plaintext to dst.
	Seal(dst, plaintext []byte, b Binding) ([]byte, error)
	// Open appends the plaintext of sealed to dst. It returns an error wrapping
	// [ErrSealed] or [ErrUnknownKey], and then dst unchanged.
	Open(dst, sealed []byte, b Binding) ([]byte, error)
	// KeyID reports the id of the key that sealed was made with. It returns an
	// error wrapping [ErrSealed] when sealed has no readable header. It does
	// not tell whether the key is in the ring.
	KeyID(sealed []byte) (string, error)
}

// Bound is a Cipher narrowed to one tenant and provider. It spares the look-up
// of the derived key on every call.
type Bound interface {
	// Seal is [Cipher.Seal] for the bound tenant and provider.
	Seal(dst, plaintext []byte, integration, field string) ([]byte, error)
	// Open is [Cipher.Open] for the bound tenant and provider.
	Open(dst, sealed []byte, integration, field string) ([]byte, error)
}

// Binder is an optional ability of a [Cipher]. A Bound stays valid for the life
// of its Cipher and is safe for concurrent use.
type Binder interface {
	Bind(tenant, provider string) Bound
}

// Ring is an optional ability of a [Cipher]: it tells which keys it has. Key
// rotation and health checks need it.
type Ring interface {
	// PrimaryID is the id of the key that seals.
	PrimaryID() string
	// KeyIDs are the ids of all keys that open, the primary among them.
	KeyIDs() []string
}

// Bind returns c narrowed to a tenant and provider, using [Binder] where c has
// it and forwarding to c otherwise.
func Bind(c Cipher, tenant, provider string) Bound {
	if b, ok := c.(Binder); ok {
		return b.Bind(tenant, provider)
	}
	return forward{c: c, tenant: tenant, provider: provider}
}

type forward struct {
	c                Cipher
	tenant, provider string
}

func (f forward) Seal(dst, plaintext []byte, integration, field string) ([]byte, error) {
	return f.c.Seal(dst, plaintext, Binding{f.tenant, f.provider, integration, field})
}

func (f forward) Open(dst, sealed []byte, integration, field string) ([]byte, error) {
	return f.c.Open(dst, sealed, Binding{f.tenant, f.provider, integration, field})
}
