package main

import (
	"encoding/base64"
	"testing"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
	"gocloud.dev/secrets"
)

func TestRun(t *testing.T) { require.NoError(t, run(t.Context())) }

func service(t *testing.T) tink.AEAD {
	t.Helper()
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	a, err := aead.New(handle)
	require.NoError(t, err)
	return a
}

func keeper(t *testing.T) *secrets.Keeper {
	t.Helper()
	k, err := secrets.OpenKeeper(t.Context(), "base64key://")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	return k
}

// TestAKeyComesBackAsItWasWrapped: and opens what it sealed before.
func TestAKeyComesBackAsItWasWrapped(t *testing.T) {
	k, a := keeper(t), service(t)
	for name, c := range map[string]struct {
		wrap   func(plain []byte) ([]byte, error)
		unwrap crypto.Unwrapper
		others map[string]crypto.Unwrapper
	}{
		"gocloud": {
			func(plain []byte) ([]byte, error) { return k.Encrypt(t.Context(), plain) }, fromKeeper(k),
			map[string]crypto.Unwrapper{"another key of the service": fromKeeper(keeper(t))},
		},
		"tink": {
			func(plain []byte) ([]byte, error) { return a.Encrypt(plain, []byte("k1")) }, fromTink(a, []byte("k1")),
			map[string]crypto.Unwrapper{"another key of the service": fromTink(service(t), []byte("k1")), "another id": fromTink(a, []byte("k2"))},
		},
	} {
		var plain []byte
		text, err := wrapped("k1", func(p []byte) ([]byte, error) {
			plain = append(plain, p...)
			return c.wrap(p)
		})
		require.NoError(t, err, name)
		key, err := crypto.ParseKey("k1", base64.StdEncoding.EncodeToString(plain))
		require.NoError(t, err, name)
		before, err := crypto.NewKeyring(key)
		require.NoError(t, err)
		where := crypto.Binding{Tenant: "t", Provider: "p", Integration: "i", Field: "f"}
		sealed, err := before.Seal(nil, []byte("token"), where)
		require.NoError(t, err)

		again, err := unwrapped(t.Context(), c.unwrap, "k1", text)
		require.NoError(t, err, name)
		after, err := crypto.NewKeyring(again)
		require.NoError(t, err)
		opened, err := after.Open(nil, sealed, where)
		require.NoError(t, err, name)
		require.Equal(t, "token", string(opened))
		for other, u := range c.others {
			_, err := unwrapped(t.Context(), u, "k1", text)
			require.Error(t, err, "%s: %s", name, other)
		}
	}
}

// TestWhatIsNoKeyIsRefused: a service may hold anything.
func TestWhatIsNoKeyIsRefused(t *testing.T) {
	a := service(t)
	blob, err := a.Encrypt([]byte("a passphrase"), []byte("k1"))
	require.NoError(t, err)
	_, err = unwrapped(t.Context(), fromTink(a, []byte("k1")), "k1", base64.StdEncoding.EncodeToString(blob))
	require.ErrorIs(t, err, crypto.ErrWeakKey)
}
