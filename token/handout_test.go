package token_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// BenchmarkHandOut: a tenant's handle looked up and its token taken, against a
// bare look-up in a map.
func BenchmarkHandOut(b *testing.B) {
	const tenants = 10_000
	names := make([]string, tenants)
	var bare, sources sync.Map
	r := newRig(b)
	// No row is read again while the benchmark runs: that is not what it is about.
	v, err := token.NewVault(token.VaultConfig{
		Store: r.store, Cipher: r.cipher, Client: token.NewClient(token.ClientConfig{}),
		Renewer: func(string) token.Renewer { return r.p }, CacheFor: time.Hour,
	})
	require.NoError(b, err)
	r.v = v
	for i := range names {
		names[i] = fmt.Sprintf("tenant-%05d", i)
		bare.Store(names[i], &names[i])
		sources.Store(names[i], oauth2.ReuseTokenSource(&oauth2.Token{AccessToken: "a", Expiry: time.Now().Add(time.Hour)}, nil))
		r.connect(b, names[i], time.Hour)
		_ = r.handle(b, r.v, names[i])
	}
	held := r.handle(b, r.v, names[0])
	ctx := b.Context()
	modes := func(name string, fn func(i int) bool) {
		b.Run("impl="+name+"/mode=serial", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if !fn(i % tenants) {
					b.Fatal("nothing handed out")
				}
			}
		})
		b.Run("impl="+name+"/mode=parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if !fn(i % tenants) {
						b.Error("nothing handed out")
						return
					}
				}
			})
		})
	}
	ours := func(i int) bool {
		h, err := r.v.Lookup(ctx, names[i], "p", "")
		if err != nil {
			return false
		}
		_, err = h.Token(ctx)
		return err == nil
	}
	hold := func(int) bool {
		_, err := held.Token(ctx)
		return err == nil
	}
	modes("limit", func(i int) bool { _, ok := bare.Load(names[i]); return ok })
	modes("peer-oauth2", func(i int) bool {
		s, ok := sources.Load(names[i])
		if !ok {
			return false
		}
		_, err := s.(oauth2.TokenSource).Token()
		return err == nil
	})
	modes("ours-norun", ours)
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- r.v.Run(run) }()
	modes("ours", ours)
	modes("held", hold)
	stop()
	require.NoError(b, <-done)
}
