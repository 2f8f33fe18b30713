package crypto

import (
	"context"
	"fmt"
)

// Unwrapper decrypts a wrapped data key, usually by a key management service.
// The error it returns is passed on: it must not hold key material.
type Unwrapper interface {
	Unwrap(ctx context.Context, wrapped []byte) ([]byte, error)
}

// UnwrapFunc is a function as an [Unwrapper].
type UnwrapFunc func(ctx context.Context, wrapped []byte) ([]byte, error)

// Unwrap calls f.
func (f UnwrapFunc) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	return f(ctx, wrapped)
}

// UnwrapKey returns the key that w finds in wrapped. Call it when the program
// starts and keep the wrapped key in the configuration: replicas that run need
// no key service. What comes out must be 32 random bytes, else the error wraps
// [ErrWeakKey]. The plaintext that w returned is zeroed.
func UnwrapKey(ctx context.Context, w Unwrapper, id string, wrapped []byte) (Key, error) {
	plain, err := w.Unwrap(ctx, wrapped)
	if err != nil {
		return Key{}, fmt.Errorf("integrations/crypto: unwrap key %q: %w", printable(id), err)
	}
	defer clear(plain)
	return newKey(id, plain)
}
