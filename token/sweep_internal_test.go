package token

import (
	"testing"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/stretchr/testify/require"
)

// TestR7SweepKeepsTheOnlyCopy: a handle that nobody uses is dropped, unless it
// holds a grant that the store does not have yet.
func TestR7SweepKeepsTheOnlyCopy(t *testing.T) {
	key, err := crypto.GenerateKey("k")
	require.NoError(t, err)
	ring, err := crypto.NewKeyring(key)
	require.NoError(t, err)
	v, err := NewVault(VaultConfig{Store: memstore.New(), Cipher: ring, Client: NewClient(ClientConfig{}), Renewer: func(string) Renewer { return nil }})
	require.NoError(t, err)
	idle := v.register(v.newHandle(store.Integration{ID: "idle", TenantID: "t", Provider: "p", Label: "a"}))
	holder := v.register(v.newHandle(store.Integration{ID: "holder", TenantID: "t", Provider: "p", Label: "b"}))
	holder.unsaved.Store(&unsaved{grant: Grant{AccessToken: NewSecret("a"), RefreshToken: NewSecret("the only copy")}})
	for range idleSweeps + 1 {
		v.sweep()
	}
	require.Nil(t, v.cached(store.Ref{TenantID: "t", ID: idle.id}))
	require.Same(t, holder, v.cached(store.Ref{TenantID: "t", ID: holder.id}))
}
