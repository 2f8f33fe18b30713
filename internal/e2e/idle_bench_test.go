package e2e

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// idleTenants are connections that are in the cache and that nobody uses.
const idleTenants = 100_000

// BenchmarkIdle: the memory of a cached connection, rows and derived keys apart,
// whose number is bounded. limit is a map of the tenants' names to their tokens,
// ours-handle the vault alone, peer-oauth2 a map of token sources. ns/op means
// nothing.
func BenchmarkIdle(b *testing.B) {
	measure := func(impl string, fill func(b *testing.B) any) {
		b.Run("impl="+impl, func(b *testing.B) {
			var bytes uint64
			for b.Loop() {
				before := heap()
				kept := fill(b)
				bytes += heap() - before
				runtime.KeepAlive(kept)
			}
			b.ReportMetric(float64(bytes)/float64(b.N)/idleTenants, "B/conn")
		})
	}
	key, err := crypto.GenerateKey("k1")
	require.NoError(b, err)
	ring, err := crypto.NewKeyring(key)
	require.NoError(b, err)
	st := sealed{Store: memstore.New(), cipher: ring}
	for i := range 10_000 { // fills the cache of derived keys
		_, err := st.Find(b.Context(), fmt.Sprint("warm-", i), replicaKey, "")
		require.NoError(b, err)
	}
	measure("limit", func(*testing.B) any {
		m := &sync.Map{}
		for i := range idleTenants {
			access := idleAccess(i)
			m.Store(crowdTenant(i), &access)
		}
		return m
	})
	measure("peer-oauth2", func(*testing.B) any {
		m := &sync.Map{}
		var cfg oauth2.Config
		for i := range idleTenants {
			m.Store(crowdTenant(i), cfg.TokenSource(context.Background(), &oauth2.Token{
				AccessToken: idleAccess(i), RefreshToken: idleAccess(-i), TokenType: "bearer", Expiry: time.Now().Add(time.Hour),
			}))
		}
		return m
	})
	measure("ours-handle", func(b *testing.B) any {
		v, err := token.NewVault(token.VaultConfig{
			Store: st, Cipher: ring, Client: token.NewClient(token.ClientConfig{}), Renewer: func(string) token.Renewer { return formRenewer{} },
		})
		require.NoError(b, err)
		for i := range idleTenants {
			_, err := v.Lookup(b.Context(), crowdTenant(i), replicaKey, "")
			require.NoError(b, err)
		}
		return v
	})
	measure("ours", func(b *testing.B) any {
		kit := integrationstest.New(b)
		cfg := kit.Config()
		cfg.Store, cfg.Cipher = st, ring
		cfg.Providers = []providers.Provider{providers.NewOAuth2(kit.OAuth.Config(replicaKey))}
		m, err := integrations.New(b.Context(), cfg)
		require.NoError(b, err)
		for i := range idleTenants {
			_, err := m.Connection(b.Context(), crowdTenant(i), replicaKey)
			require.NoError(b, err)
		}
		return []any{kit, m}
	})
}

// heap is what lives.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first one's finalizers let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func idleAccess(i int) string { return fmt.Sprintf("access-0123456789-0123456789-0123456789-%08d", i) }

// sealed is a store that makes its rows when they are read, so that only what a
// reader keeps of them takes memory.
type sealed struct {
	*memstore.Store
	cipher crypto.Cipher
}

// Find implements store.Integrations.
func (s sealed) Find(_ context.Context, tenant, provider, label string) (store.Integration, error) {
	now := time.Now().UTC()
	in := store.Integration{
		ID: "0123456789abcdef0123" + tenant, TenantID: string([]byte(tenant)), Provider: string([]byte(provider)), Label: label, Status: store.Active,
		ExternalID: "account-" + tenant, Scopes: []string{"read", "write"}, TokenGen: 1, Version: 1,
		TokenExpiresAt: now.Add(time.Hour), NextRefreshAt: now.Add(50 * time.Minute), ReadAt: now, ConnectedAt: now, CreatedAt: now, UpdatedAt: now,
	}
	g := token.Grant{AccessToken: token.NewSecret("access-0123456789-0123456789-0123456789-" + tenant[len(tenant)-4:]), RefreshToken: token.NewSecret("refresh")}
	var err error
	in.AccessToken, in.RefreshToken, in.KeyID, err = token.SealGrant(s.cipher, tenant, provider, in.ID, g)
	return in, err
}
