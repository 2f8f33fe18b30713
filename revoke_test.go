package integrations_test

import (
	"context"
	"sync"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/stretchr/testify/require"
)

// lookedUp lets something happen right before an account is looked up.
type lookedUp struct {
	*memstore.Store
	once   sync.Once
	before func()
}

func (s *lookedUp) FindByExternal(ctx context.Context, provider, id string) ([]store.Integration, error) {
	if s.before != nil {
		s.once.Do(s.before)
	}
	return s.Store.FindByExternal(ctx, provider, id)
}

// wideRevoker ends all grants of an account with one, as Google does.
type wideRevoker struct {
	*fake
	all func(account string)
}

func (p wideRevoker) Revoke(_ context.Context, r providers.Revocation) error {
	p.all(r.ExternalID)
	return nil
}

// TestR13AReconnectOutlivesTheDisconnectBefore: a tenant that is back before the
// disconnect came to the provider keeps its account.
func TestR13AReconnectOutlivesTheDisconnectBefore(t *testing.T) {
	st := &lookedUp{Store: memstore.New()}
	kit, p := fakeKit(t)
	cfg := kit.Config()
	cfg.Store, cfg.Providers = st, []providers.Provider{wideRevoker{p, kit.OAuth.Tokens.Revoke}}
	m := kit.Use(cfg)
	kit.Connect("t1", acmeKey)
	conn := connOf(t, kit)
	st.before = func() { kit.Connect("t1", acmeKey) }
	require.NoError(t, m.Disconnect(t.Context(), "t1", conn.IntegrationID()))
	resp, err := connOf(t, kit).HTTPClient().Get("https://api.example.test/me")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 200, resp.StatusCode, "the new grant was revoked")
}
