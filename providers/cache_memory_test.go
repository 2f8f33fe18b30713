package providers_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/stretchr/testify/require"
)

func keyOf(connection, request byte) providers.CacheKey {
	return providers.CacheKey{Connection: [32]byte{connection}, Request: [32]byte{request}}
}

func TestAMemoryCacheKeepsWhatWasUsedLast(t *testing.T) {
	ctx := t.Context()
	c := providers.NewMemoryCache(&providers.MemoryCacheConfig{MaxBytes: 4000, MaxEntryBytes: 700})
	for n := range byte(3) {
		c.Put(ctx, keyOf(1, n), make([]byte, 700))
	}
	require.Equal(t, 3, c.Stats().Entries)
	_, ok := c.Get(ctx, keyOf(1, 0))
	require.True(t, ok)
	c.Put(ctx, keyOf(1, 3), make([]byte, 700)) // 1 was not used for longest
	for n, want := range []bool{true, false, true, true} {
		_, ok := c.Get(ctx, keyOf(1, byte(n)))
		require.Equal(t, want, ok, n)
	}
	require.LessOrEqual(t, c.Stats().Bytes, 4000)

	c.Put(ctx, keyOf(1, 3), make([]byte, 701))
	_, ok = c.Get(ctx, keyOf(1, 3))
	require.False(t, ok, "too big to keep, and what was there is older")

	before := c.Stats().Bytes
	c.Put(ctx, keyOf(1, 0), []byte("x"))
	v, ok := c.Get(ctx, keyOf(1, 0))
	require.True(t, ok)
	require.Equal(t, "x", string(v))
	require.Less(t, c.Stats().Bytes, before, "what was there is not counted any more")

	spare := make([]byte, 1, 100_000)
	c.Put(ctx, keyOf(1, 9), spare)
	require.LessOrEqual(t, c.Stats().Bytes, 4000, "the memory behind a slice counts")
}

func TestAMemoryCacheForgetsAConnection(t *testing.T) {
	ctx := t.Context()
	c := providers.NewMemoryCache(nil)
	for n := range byte(4) {
		c.Put(ctx, keyOf(n%2, n), []byte("x"))
	}
	c.Forget(ctx, [32]byte{1})
	for n, want := range []bool{true, false, true, false} {
		_, ok := c.Get(ctx, keyOf(byte(n)%2, byte(n)))
		require.Equal(t, want, ok)
	}
	c.Forget(ctx, [32]byte{0})
	require.Equal(t, providers.MemoryCacheStats{}, c.Stats())
}

func TestAMemoryCacheForgetsWhatNobodyAsksFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		c := providers.NewMemoryCache(&providers.MemoryCacheConfig{MaxIdle: time.Hour})
		c.Put(ctx, keyOf(1, 1), []byte("x"))
		c.Put(ctx, keyOf(1, 2), []byte("x"))
		time.Sleep(40 * time.Minute)
		_, ok := c.Get(ctx, keyOf(1, 1))
		require.True(t, ok)
		time.Sleep(30 * time.Minute)
		_, ok = c.Get(ctx, keyOf(1, 1))
		require.True(t, ok, "it was used meanwhile")
		require.Equal(t, 1, c.Stats().Entries)
		time.Sleep(time.Hour)
		_, ok = c.Get(ctx, keyOf(1, 1))
		require.False(t, ok)
		require.Zero(t, c.Stats().Bytes)
	})
}
