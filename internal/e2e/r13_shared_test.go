package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// sharing is a race of a tenant whose account another integration holds too.
type sharing struct {
	race
	tenant2, label2 string // the other's
	theirs          string // refresh token of the other
}

// TestR13SharedAccounts: as TestR13DisconnectReconnectRaces, where another tenant,
// or the same one under a label, holds the account. Its access is never taken away.
// Where a provider ends one grant alone, nothing of the racing one is left alive.
func TestR13SharedAccounts(t *testing.T) {
	for _, one := range []bool{false, true} {
		t.Run(fmt.Sprint("each grant ends alone ", one), func(t *testing.T) {
			databases(t, func(t *testing.T, f *fleet) { shareAccounts(t, f, one) })
		})
	}
}

func shareAccounts(t *testing.T, f *fleet, one bool) {
	g := newGrants(f.kit, f.cipher)
	oauth := f.kit.OAuth.Config(replicaKey)
	oauth.Shared, oauth.RevokesOneGrant = true, one
	cfg := f.kit.Config()
	cfg.Store, cfg.Cipher, cfg.Transport, cfg.CacheFor = watched{f.store, g}, f.cipher, g, replicaCache
	cfg.AllowLabel = func(context.Context, integrations.Identity, string, string) bool { return true }
	cfg.Providers = []providers.Provider{providers.NewOAuth2(oauth)}
	m := f.kit.Use(cfg)
	refreshing, err := integrations.New(t.Context(), cfg)
	require.NoError(t, err)
	var all []*sharing
	for i := range sized(24, 240) {
		s := &sharing{race: race{tenant: fmt.Sprintf("mine-%03d", i), at: moment(i / 8 % int(moments)), inside: i%2 == 0, wide: !one}}
		s.act = []act{disconnects, reconnects, comesBack, doesBoth}[i/2%4]
		s.tenant2, s.label2 = "theirs-"+s.tenant, ""
		if i/24%2 == i%2 {
			s.tenant2, s.label2 = s.tenant, "eu"
		}
		all = append(all, s)
	}
	f.orders.Tenants = len(all)
	for _, s := range all {
		f.kit.Connect(s.tenant, replicaKey)
		b := f.kit.Browser(s.tenant2, "u")
		b.Account = "T-" + s.tenant
		b.Open(f.kit.ConnectURL(replicaKey) + "?label=" + s.label2)
		in, refresh := f.rowUnder(s.tenant, "")
		s.id, g.tenant[refresh], g.wide["T-"+s.tenant] = in.ID, s.tenant, s.wide
		_, s.theirs = f.rowUnder(s.tenant2, s.label2)
	}
	for _, s := range all { // the others' tokens last
		f.exec("UPDATE " + f.orders.Prefix + "integrations SET token_expires_at = 1, next_refresh_at = 1 WHERE id = '" + s.id + "'")
	}
	var work sync.WaitGroup
	next := make(chan *sharing)
	for range 3 { // SQLite lets many writers starve
		work.Go(func() {
			for s := range next {
				s.run(t, f, g, m, refreshing)
			}
		})
	}
	for _, s := range all {
		next <- s
	}
	close(next)
	work.Wait()
	require.NoError(t, m.Shutdown(t.Context()))
	require.NoError(t, refreshing.Shutdown(t.Context())) // orphans are revoked by now

	orphans := 0
	for _, s := range all {
		in, current := f.rowUnder(s.tenant, "")
		require.True(t, f.kit.OAuth.Tokens.Current(s.theirs), "%+v: the other's access was taken away", s)
		if in.Status == store.Active {
			require.True(t, f.kit.OAuth.Tokens.Current(current), "%+v: the grant in the row is dead", s)
		}
		for refresh, account := range g.account {
			if account != "T-"+s.tenant || refresh == s.theirs || refresh == current {
				continue
			}
			if !one {
				require.Zero(t, g.revoked[refresh], "%+v", s)
				continue
			}
			require.False(t, f.kit.OAuth.Tokens.Current(refresh), "%+v: a grant that nobody holds is alive", s)
			if g.minted[refresh] == s.tenant && !g.stored[refresh] {
				orphans++
				require.Equal(t, 1, g.revoked[refresh], "%+v", s)
			}
		}
	}
	if one {
		t.Logf("%d races: %d orphans, each revoked", len(all), orphans)
		require.Positive(t, orphans, "the window was not hit")
	}
	// When the last is gone, all are.
	again, err := integrations.New(t.Context(), cfg)
	require.NoError(t, err)
	for _, s := range all {
		for _, label := range []struct{ tenant, label string }{{s.tenant, ""}, {s.tenant2, s.label2}} {
			in, _ := f.rowUnder(label.tenant, label.label)
			require.NoError(t, again.Disconnect(t.Context(), label.tenant, in.ID))
		}
		require.False(t, f.kit.OAuth.Tokens.Live("T-"+s.tenant), "%+v", s)
	}
}

// rowUnder is a tenant's row under a label and the refresh token in it, "" when it
// has none.
func (f *fleet) rowUnder(tenant, label string) (store.Integration, string) {
	f.t.Helper()
	in, err := f.store.Find(f.t.Context(), tenant, replicaKey, label)
	require.NoError(f.t, err)
	_, refresh, err := token.OpenGrant(f.cipher, in)
	require.NoError(f.t, err)
	return in, refresh.Reveal()
}
