package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/stretchr/testify/require"
)

// flow is a connect that has come to its callback.
type flow struct {
	tenant, label string
	browser       *integrationstest.Browser
	callback      string
}

func anyLabel(context.Context, integrations.Identity, string, string) bool { return true }

// contest are replicas that tenants connect an account at, at the same time.
type contest struct {
	t  *testing.T
	f  *fleet
	ms []*integrations.Manager
}

func newContest(t *testing.T, f *fleet, change func(cfg *integrations.Config, o *providers.OAuth2Config)) *contest {
	c := &contest{t: t, f: f}
	for range 2 {
		cfg, oauth := f.kit.Config(), f.kit.OAuth.Config(replicaKey)
		cfg.Store, cfg.Cipher = f.store, f.cipher
		cfg.AllowLabel = anyLabel
		change(&cfg, &oauth)
		cfg.Providers = []providers.Provider{providers.NewOAuth2(oauth)}
		c.ms = append(c.ms, f.kit.Use(cfg))
	}
	return c
}

// begin brings a tenant's user back from the provider, to one of the replicas.
func (c *contest) begin(replica int, tenant, label, account string) flow {
	c.t.Helper()
	fl := flow{tenant: tenant, label: label, browser: c.f.kit.BrowserAt(c.ms[replica%len(c.ms)], tenant, "user-of-"+tenant)}
	fl.browser.Account = account
	v := fl.browser.Do(http.MethodGet, c.f.kit.ConnectURL(replicaKey)+"?label="+url.QueryEscape(label), nil, "none")
	require.Equal(c.t, http.StatusSeeOther, v.Status, v.Body)
	v = fl.browser.Do(http.MethodGet, v.Header.Get("Location"), nil, "cross-site")
	fl.callback = v.Header.Get("Location")
	require.NotEmpty(c.t, fl.callback, v.Body)
	return fl
}

// finish lets all flows end at once, started in the order given, and returns their
// results.
func (c *contest) finish(flows []flow) []string {
	c.t.Helper()
	results := make([]string, len(flows))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, fl := range flows {
		wg.Go(func() {
			<-start
			v := fl.browser.Do(http.MethodGet, fl.callback, nil, "cross-site")
			u, err := url.Parse(v.Header.Get("Location"))
			if err != nil {
				results[i] = err.Error()
				return
			}
			results[i] = u.Query().Get("result")
		})
	}
	close(start)
	wg.Wait()
	// The next round is not to be kept from beginning by the limit of flows.
	c.f.exec("DELETE FROM " + c.f.orders.Prefix + "oauth_flows")
	return results
}

// holders are the integrations in use of an account.
func (c *contest) holders(account string) []store.Integration {
	c.t.Helper()
	rows, err := c.f.store.FindByExternal(c.t.Context(), replicaKey, account)
	require.NoError(c.t, err)
	var out []store.Integration
	for _, in := range rows {
		if in.Status != store.Disconnected {
			out = append(out, in)
		}
	}
	return out
}

// winner is the one flow that ended connected; all others found the account taken.
func (c *contest) winner(flows []flow, results []string) flow {
	c.t.Helper()
	won := -1
	for i, r := range results {
		if r == "connected" {
			require.Equal(c.t, -1, won, "two won: %v", results)
			won = i
			continue
		}
		require.Equal(c.t, "account_taken", r, "%v", results)
	}
	require.NotEqual(c.t, -1, won, "nobody won: %v", results)
	return flows[won]
}

// everyOrder calls fn with every order of n.
func everyOrder(n int, fn func(order []int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var permute func(k int)
	permute = func(k int) {
		if k == n {
			fn(order)
			return
		}
		for i := k; i < n; i++ {
			order[k], order[i] = order[i], order[k]
			permute(k + 1)
			order[k], order[i] = order[i], order[k]
		}
	}
	permute(0)
}

// TestM2ExclusiveAccounts: of tenants that connect one exclusive account at the same
// time, at two replicas, exactly one gets it, in whatever order they come and
// whether they were connected before or not; the others have nothing.
func TestM2ExclusiveAccounts(t *testing.T) {
	databases(t, func(t *testing.T, f *fleet) {
		c := newContest(t, f, func(*integrations.Config, *providers.OAuth2Config) {})
		const tenants = 4
		rounds := 0
		everyOrder(tenants, func(order []int) {
			rounds++
			var flows []flow
			for _, i := range order {
				flows = append(flows, c.begin(i, tenantName(i), "", "PRIZE"))
			}
			won := c.winner(flows, c.finish(flows))
			held := c.holders("PRIZE")
			require.Len(t, held, 1)
			require.Equal(t, won.tenant, held[0].TenantID)
			for i := range tenants {
				in, err := f.store.Find(t.Context(), tenantName(i), replicaKey, "")
				switch {
				case tenantName(i) == won.tenant:
					require.NoError(t, err)
					require.Equal(t, []any{store.Active, replicaKey + "|PRIZE"}, []any{in.Status, in.ExclusiveKey})
				case err == nil: // of an earlier round
					require.Equal(t, []any{store.Disconnected, "", 0}, []any{in.Status, in.ExclusiveKey, len(in.AccessToken)})
				default:
					require.ErrorIs(t, err, store.ErrNotFound)
				}
			}
			require.NoError(t, c.ms[rounds%2].Disconnect(t.Context(), won.tenant, held[0].ID))
		})
		require.Equal(t, 24, rounds)
	})
}

// TestM2ConcurrentSwitches: tenants with accounts of their own all switch to one at
// the same time. Those who do not get it keep what they had.
func TestM2ConcurrentSwitches(t *testing.T) {
	databases(t, func(t *testing.T, f *fleet) {
		c := newContest(t, f, func(cfg *integrations.Config, _ *providers.OAuth2Config) { cfg.AllowAccountChange = true })
		const tenants = 4
		for round := range sized(3, 12) {
			prize := fmt.Sprintf("PRIZE-%d", round)
			var flows []flow
			checkpoints := map[string]*providers.Checkpoint{}
			for i := range tenants {
				tenant := fmt.Sprintf("%s-%d", tenantName(i), round)
				own := c.begin(0, tenant, "", "OWN-"+tenant)
				require.Equal(t, []string{"connected"}, c.finish([]flow{own}))
				conn, err := c.ms[0].Connection(t.Context(), tenant, replicaKey)
				require.NoError(t, err)
				checkpoints[tenant] = conn.Checkpoint("cursor")
				require.NoError(t, checkpoints[tenant].Save(t.Context(), []byte("of "+tenant)))
			}
			for i := range tenants {
				flows = append(flows, c.begin(i, fmt.Sprintf("%s-%d", tenantName(i), round), "", prize))
			}
			won := c.winner(flows, c.finish(flows))
			require.Len(t, c.holders(prize), 1)
			require.Empty(t, c.holders("OWN-"+won.tenant))
			for _, fl := range flows {
				v, err := checkpoints[fl.tenant].Load(t.Context())
				require.NoError(t, err)
				if fl.tenant == won.tenant {
					require.Nil(t, v, "the cursor of the account before")
					continue
				}
				require.Equal(t, "of "+fl.tenant, string(v))
				require.Len(t, c.holders("OWN-"+fl.tenant), 1)
				require.True(t, f.kit.OAuth.Tokens.Live("OWN-"+fl.tenant), "its grant is good")
			}
			require.False(t, f.kit.OAuth.Tokens.Live("OWN-"+won.tenant), "the grant of the account that was left")
		}
	})
}

// TestM2LabelsOfOneTenant: exclusive means one integration, also among those of one
// tenant.
func TestM2LabelsOfOneTenant(t *testing.T) {
	databases(t, func(t *testing.T, f *fleet) {
		c := newContest(t, f, func(*integrations.Config, *providers.OAuth2Config) {})
		var flows []flow
		for i, label := range []string{"", "a", "b", "c"} {
			flows = append(flows, c.begin(i, "tenant", label, "PRIZE"))
		}
		won := c.winner(flows, c.finish(flows))
		held := c.holders("PRIZE")
		require.Len(t, held, 1)
		require.Equal(t, won.label, held[0].Label)
	})
}

// TestM2SharedAccounts: of an account that is shared everybody gets a row, and who
// connects it twice at the same time has it once.
func TestM2SharedAccounts(t *testing.T) {
	databases(t, func(t *testing.T, f *fleet) {
		c := newContest(t, f, func(_ *integrations.Config, o *providers.OAuth2Config) { o.Shared = true })
		var flows []flow
		for i := range 6 {
			flows = append(flows, c.begin(i, tenantName(i/2), "", "SHARED"))
		}
		for _, r := range c.finish(flows) {
			require.Equal(t, "connected", r)
		}
		held := c.holders("SHARED")
		require.Len(t, held, 3)
		for _, in := range held {
			conn, err := c.ms[1].ConnectionByID(t.Context(), in.TenantID, in.ID)
			require.NoError(t, err)
			require.NoError(t, conn.Check(t.Context()))
			resp, err := conn.HTTPClient().Get("https://api.example.test/me")
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusOK, resp.StatusCode)
		}
	})
}
