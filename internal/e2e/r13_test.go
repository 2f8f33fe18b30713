package e2e

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// act is what a tenant does while its token is refreshed.
type act int

const (
	disconnects  act = iota
	reconnects       // the same account, without a disconnect
	comesBack        // disconnects, then connects the same account
	comesAsOther     // disconnects, then connects another account
	doesBoth         // disconnects and connects at the same time
	acts
)

// race is one tenant whose refresh another replica races.
type race struct {
	tenant, other string // other is the account of comesAsOther
	act           act
	at            moment
	inside        bool // the act ends before the refresh goes on
	wide          bool
	id            string
	err           error // of the call that needed the refresh
}

// races are n of them, each combination as often as the next.
func races(n int) []*race {
	out := make([]*race, n)
	for i := range out {
		a := act(i % int(acts))
		k := i / int(acts)
		out[i] = &race{
			tenant: tenantName(i), other: "U-" + tenantName(i), act: a, at: moment(k % int(moments)), inside: k/int(moments)%2 == 0,
			// Where all grants of an account end together, a connect must not overlap
			// with the end of the one before: no client can help that.
			wide: k/int(2*moments)%2 == 1 && a != comesBack && a != doesBoth,
		}
	}
	return out
}

func (r *race) do(t *testing.T, f *fleet, m *integrations.Manager) {
	disconnect := func() {
		if err := m.Disconnect(t.Context(), r.tenant, r.id); err != nil {
			t.Errorf("%+v: disconnect: %v", r, err)
		}
	}
	switch r.act {
	case disconnects:
		disconnect()
	case reconnects:
		f.kit.Connect(r.tenant, replicaKey)
	case comesBack:
		disconnect()
		f.kit.Connect(r.tenant, replicaKey)
	case comesAsOther:
		disconnect()
		f.kit.Connect(r.tenant, replicaKey, r.other)
	case doesBoth:
		var both sync.WaitGroup
		both.Go(disconnect)
		f.kit.Connect(r.tenant, replicaKey)
		both.Wait()
	}
}

// run refreshes at one replica while m is acted on.
func (r *race) run(t *testing.T, f *fleet, g *grants, m, refreshing *integrations.Manager) {
	var once sync.Once
	var acting sync.WaitGroup
	g.mu.Lock()
	g.races[r.tenant] = func(at moment) {
		if at != r.at {
			return
		}
		once.Do(func() {
			acting.Go(func() { r.do(t, f, m) })
			if r.inside {
				acting.Wait()
			}
		})
	}
	g.mu.Unlock()
	r.err = f.orders.call(t.Context(), refreshing, r.tenant)
	acting.Wait()
	g.mu.Lock()
	delete(g.races, r.tenant)
	g.mu.Unlock()
}

// TestR13DisconnectReconnectRaces: a tenant disconnects or connects anew while a
// replica refreshes. What the refresh brings then comes into no row; it is revoked
// when nobody uses the account any more, and what somebody uses is not.
func TestR13DisconnectReconnectRaces(t *testing.T) {
	databases(t, func(t *testing.T, f *fleet) {
		g := newGrants(f.kit, f.cipher)
		all := races(sized(60, 1000))
		f.orders.Tenants = len(all)
		cfg := f.kit.Config()
		cfg.Store, cfg.Cipher, cfg.Transport, cfg.CacheFor = watched{f.store, g}, f.cipher, g, replicaCache
		cfg.Providers = []providers.Provider{providers.NewOAuth2(f.kit.OAuth.Config(replicaKey))}
		m := f.kit.Use(cfg)
		refreshing, err := integrations.New(t.Context(), cfg)
		require.NoError(t, err)
		each := func(fn func(r *race)) {
			var work sync.WaitGroup
			next := make(chan *race)
			for range 3 { // SQLite lets many writers starve
				work.Go(func() {
					for r := range next {
						fn(r)
					}
				})
			}
			for _, r := range all {
				next <- r
			}
			close(next)
			work.Wait()
		}
		each(func(r *race) { f.kit.Connect(r.tenant, replicaKey) })
		first := map[string]string{}
		for _, r := range all {
			in, refresh := f.row(r.tenant)
			r.id, first[r.tenant], g.tenant[refresh] = in.ID, refresh, r.tenant
			g.wide["T-"+r.tenant] = r.wide
		}
		f.expire()
		each(func(r *race) { r.run(t, f, g, m, refreshing) })
		require.NoError(t, m.Shutdown(t.Context()))
		require.NoError(t, refreshing.Shutdown(t.Context())) // orphans are revoked by now
		again, err := integrations.New(t.Context(), cfg)
		require.NoError(t, err)

		var orphans, revoked, superseded atomic.Int64
		for _, r := range all {
			in, refresh := f.row(r.tenant)
			r.check(t, f, g, again, in, refresh, first[r.tenant])
			for orphan, tenant := range g.minted {
				if tenant != r.tenant || g.stored[orphan] {
					continue
				}
				if in.Status == store.Active && in.ExternalID == g.account[orphan] || r.act == doesBoth {
					superseded.Add(1)
					continue
				}
				orphans.Add(1)
				revoked.Add(int64(g.revoked[orphan]))
			}
		}
		t.Logf("%d races: %d orphans minted, %d revoked; %d superseded by a grant of the same account", len(all), orphans.Load(), revoked.Load(), superseded.Load())
		require.Positive(t, orphans.Load(), "the window was not hit")
		require.Equal(t, orphans.Load(), revoked.Load())
	})
}

// row is a tenant's row and the refresh token in it.
func (f *fleet) row(tenant string) (store.Integration, string) {
	f.t.Helper()
	list, err := f.store.List(f.t.Context(), tenant)
	require.NoError(f.t, err)
	require.Len(f.t, list, 1)
	_, refresh, err := token.OpenGrant(f.cipher, list[0])
	require.NoError(f.t, err)
	return list[0], refresh.Reveal()
}

// check looks at what a race left behind.
func (r *race) check(t *testing.T, f *fleet, g *grants, m *integrations.Manager, in store.Integration, refresh, first string) {
	t.Helper()
	if r.err != nil && !errors.Is(r.err, integrations.ErrDisconnected) && !errors.Is(r.err, integrations.ErrTransient) {
		t.Errorf("%+v: %v", r, r.err)
	}
	switch r.act {
	case disconnects:
		require.Equal(t, integrations.StatusDisconnected, in.Status, "%+v: resurrected", r)
	case doesBoth:
		require.Contains(t, []integrations.Status{integrations.StatusActive, integrations.StatusDisconnected}, in.Status, "%+v", r)
	default:
		require.Equal(t, integrations.StatusActive, in.Status, "%+v: %s", r, in.StatusReason)
	}
	err := f.orders.call(t.Context(), m, r.tenant)
	if in.Status == integrations.StatusDisconnected {
		require.Empty(t, in.AccessToken, "%+v", r)
		require.Empty(t, in.RefreshToken, "%+v", r)
		require.ErrorIs(t, err, integrations.ErrDisconnected, "%+v", r)
		return
	}
	account := "T-" + r.tenant
	if r.act == comesAsOther {
		account = r.other
	}
	require.Equal(t, account, in.ExternalID, "%+v", r)
	require.NotEqual(t, first, refresh, "%+v: the old grant came back", r)
	require.NoError(t, err, "%+v", r)
	require.True(t, f.kit.OAuth.Tokens.Current(refresh), "%+v: the grant in the row is dead", r)
	require.Zero(t, g.revoked[refresh], "%+v: the grant in the row was revoked", r)
	if r.act != doesBoth {
		require.False(t, g.stored[refresh], "%+v: what the refresh brought is in the row", r)
	}
}
