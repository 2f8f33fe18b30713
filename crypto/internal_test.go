package crypto

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzF2AAD: two pairs of names give the same bytes only if they are the same.
func FuzzF2AAD(f *testing.F) {
	f.Add("i", "f", "if", "")
	f.Add("", "if", "i", "f")
	f.Add("a\x00\x01", "b", "a", "\x00\x01b")
	f.Fuzz(func(t *testing.T, a1, a2, b1, b2 string) {
		if len(a1) > maxName || len(a2) > maxName || len(b1) > maxName || len(b2) > maxName {
			return
		}
		same := bytes.Equal(new(aadBuffer).additionalData(a1, a2), new(aadBuffer).additionalData(b1, b2))
		require.Equal(t, a1 == b1 && a2 == b2, same)
	})
}

func TestCacheOfDerivedKeysIsBounded(t *testing.T) {
	d := newDerivedKeys(64)
	hot := derivedName{"k", "hot", "p"}
	key, err := GenerateKey("k")
	require.NoError(t, err)
	aead, err := deriveAEAD(key, "t", "p")
	require.NoError(t, err)
	d.put(hot, aead)
	for i := range 1000 {
		d.put(derivedName{"k", fmt.Sprint(i), "p"}, aead)
		require.NotNil(t, d.get(hot), "what is used stays")
	}
	require.Len(t, d.byID, 64)
	require.Len(t, d.ring, 64)
	require.Nil(t, d.get(derivedName{"k", "0", "p"}))
}

// TestDerivedKeysAreThoseOfHKDF: by RFC 5869 in one go.
func TestDerivedKeysAreThoseOfHKDF(t *testing.T) {
	key, err := GenerateKey("k")
	require.NoError(t, err)
	sub, err := hkdf.Key(sha256.New, []byte(*key.secret), nil, "integrations/seal/v2|\x00\x00\x00\x01t\x00\x00\x00\x05slack", KeySize)
	require.NoError(t, err)
	block, err := aes.NewCipher(sub)
	require.NoError(t, err)
	aead, err := cipher.NewGCMWithRandomNonce(block)
	require.NoError(t, err)
	derived, err := deriveAEAD(key, "t", "slack")
	require.NoError(t, err)
	plain, err := derived.Open(nil, nil, aead.Seal(nil, nil, []byte("x"), nil), nil)
	require.NoError(t, err)
	require.Equal(t, "x", string(plain))
}

func TestNamesThatAreTooLongAreRefused(t *testing.T) {
	key, err := GenerateKey("k")
	require.NoError(t, err)
	r, err := NewKeyring(key)
	require.NoError(t, err)
	long := string(bytes.Repeat([]byte("x"), maxName+1))
	_, err = r.Seal(nil, nil, Binding{Integration: long})
	require.ErrorIs(t, err, ErrSealed)
	sealed, err := r.Seal(nil, nil, Binding{})
	require.NoError(t, err)
	_, err = r.Open(nil, sealed, Binding{Field: long})
	require.ErrorIs(t, err, ErrSealed)
}

func benchmark(b *testing.B, seal bool) {
	for _, size := range []int{60, 2048} {
		plain := make([]byte, size)
		_, _ = rand.Read(plain)
		key, err := GenerateKey("k1")
		require.NoError(b, err)
		ring, err := NewKeyring(key)
		require.NoError(b, err)
		var older []Key
		for i := range 99 {
			k, err := GenerateKey(fmt.Sprintf("old%d", i))
			require.NoError(b, err)
			older = append(older, k)
		}
		many, err := NewKeyring(key, older...)
		require.NoError(b, err)
		where := Binding{"tenant-1", "slack", "0123456789abcdef0123456789abcdef", "access_token"}
		aead, err := deriveAEAD(key, where.Tenant, where.Provider)
		require.NoError(b, err)
		hexa, err := NewHexFormat(key)
		require.NoError(b, err)
		bound := ring.Bind(where.Tenant, where.Provider)
		aad := new(aadBuffer).additionalData(where.Integration, where.Field)
		box := aead.Seal(nil, nil, plain, aad)
		sealed, err := ring.Seal(nil, plain, where)
		require.NoError(b, err)
		text, err := hexa.Seal(plain)
		require.NoError(b, err)
		dst := make([]byte, 0, size+128)
		run := func(name string, fn func()) {
			b.Run(fmt.Sprintf("size=%d/impl=%s", size, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					fn()
				}
			})
		}
		if seal {
			run("limit", func() { _ = aead.Seal(dst, nil, plain, aad) })
			run("ours", func() { _, _ = bound.Seal(dst, plain, where.Integration, where.Field) })
			run("ours-lookup", func() { _, _ = ring.Seal(dst, plain, where) })
			run("ours-100keys", func() { _, _ = many.Seal(dst, plain, where) })
			run("hexform", func() { _, _ = hexa.Seal(plain) })
			continue
		}
		run("limit", func() { _, _ = aead.Open(dst, nil, box, aad) })
		run("ours", func() { _, _ = bound.Open(dst, sealed, where.Integration, where.Field) })
		run("ours-lookup", func() { _, _ = ring.Open(dst, sealed, where) })
		run("ours-100keys", func() { _, _ = many.Open(dst, sealed, where) })
		run("hexform", func() { _, _ = hexa.Open(dst, text) })
	}
}

func BenchmarkSeal(b *testing.B) { benchmark(b, true) }
func BenchmarkOpen(b *testing.B) { benchmark(b, false) }
