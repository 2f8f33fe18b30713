package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

// dump is every row of every table there is, whatever the schema of today has:
// "table: column=value …".
func (f *fleet) dump() []string {
	f.t.Helper()
	ctx := f.t.Context()
	catalogue := map[string]string{
		"sqlite":   "SELECT name FROM sqlite_master WHERE type = 'table'",
		"postgres": "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()",
		"mysql":    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
	}[f.orders.Dialect]
	names, err := f.db.QueryContext(ctx, catalogue)
	require.NoError(f.t, err)
	var found []string
	for names.Next() {
		var name string
		require.NoError(f.t, names.Scan(&name))
		if strings.HasPrefix(name, f.orders.Prefix) {
			found = append(found, name)
		}
	}
	require.NoError(f.t, names.Err())
	require.NoError(f.t, names.Close())
	require.Subset(f.t, found, []string{f.orders.Prefix + "integrations", f.orders.Prefix + "webhook_inbox"})
	var out []string
	for _, table := range found {
		rows, err := f.db.QueryContext(ctx, "SELECT * FROM "+table)
		require.NoError(f.t, err)
		columns, err := rows.Columns()
		require.NoError(f.t, err)
		for rows.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			require.NoError(f.t, rows.Scan(into...))
			line := strings.TrimPrefix(table, f.orders.Prefix) + ":"
			for i, v := range values {
				if b, ok := v.([]byte); ok {
					v = string(b)
				}
				line += fmt.Sprintf(" %s=%v", columns[i], v)
			}
			out = append(out, line)
		}
		require.NoError(f.t, rows.Err())
		require.NoError(f.t, rows.Close())
	}
	slices.Sort(out)
	return out
}

// with are the lines of a dump that hold one of some words.
func with(dump []string, words ...string) []string {
	var out []string
	for _, line := range dump {
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
			out = append(out, line)
		}
	}
	return out
}

var hookScheme = webhook.HMACConfig{SignatureHeader: "X-Signature", Secrets: []string{"the app's own secret"}}

// withHooks is the generic provider with webhooks.
func (f *fleet) withHooks(change func(*providers.OAuth2Config)) providers.Provider {
	f.t.Helper()
	v, err := webhook.NewHMAC(hookScheme)
	require.NoError(f.t, err)
	cfg := f.kit.OAuth.Config(replicaKey)
	cfg.Webhook = &providers.OAuth2Webhook{Verifier: v, Account: "account", Type: "type", ID: "id", TimestampSigned: true}
	if change != nil {
		change(&cfg)
	}
	return providers.NewOAuth2(cfg)
}

func event(account, id, typ string) *http.Request {
	return webhooktest.HMAC(integrationstest.BaseURL+"/"+replicaKey+"/webhook", hookScheme,
		[]byte(`{"id":"`+id+`","type":"`+typ+`","account":"`+account+`"}`), time.Now())
}

// TestPurgeLeavesNoRow: after it no column of any table holds the tenant's id or one
// of its integrations', and nobody else's row is another.
func TestPurgeLeavesNoRow(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, f *fleet) {
		const victim, bystander = "victim-7f3a9c", "bystander-1b2c"
		cfg := f.kit.Config()
		cfg.Store, cfg.Cipher, cfg.CacheFor = f.store, f.cipher, replicaCache
		cfg.Providers = append(cfg.Providers, f.withHooks(nil))
		cfg.AllowLabel = func(context.Context, integrations.Identity, string, string) bool { return true }
		m := f.kit.Use(cfg)
		m.OnWebhook(webhook.On(replicaKey, "changed", func(context.Context, webhook.Event) error { return nil }))
		keys := []string{slackapp.Key, githubapp.Key, jiraapp.Key, salesforceapp.Key, hubspotapp.Key, sheetsapp.Key, replicaKey}
		words := []string{victim}
		for _, tenant := range []string{victim, bystander} {
			for _, key := range keys {
				f.kit.Connect(tenant, key)
			}
			b := f.kit.Browser(tenant, "u")
			b.Account = "L-" + tenant
			b.Open(f.kit.ConnectURL(replicaKey) + "?label=eu")
			f.kit.Browser(tenant, "u").Do(http.MethodGet, f.kit.ConnectURL(slackapp.Key), nil, "none") // begun
			conn, err := m.Connection(t.Context(), tenant, replicaKey)
			require.NoError(t, err)
			_, err = conn.OpenEndpoint(t.Context())
			require.NoError(t, err)
			require.NoError(t, conn.SaveSubscription(t.Context(), providers.Subscription{Name: "s", RemoteID: "7", RenewAt: time.Now().Add(time.Hour)}))
			require.NoError(t, conn.Checkpoint("cursor").Save(t.Context(), []byte("3")))
			_, _, err = conn.TryLease(t.Context(), "sync", time.Hour)
			require.NoError(t, err)
			for _, typ := range []string{"changed", "doomed"} {
				require.Equal(t, http.StatusOK, f.kit.Send(event("T-"+tenant, typ+tenant, typ)).StatusCode)
			}
			list, err := m.Integrations(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, list, len(keys)+1)
			if tenant == victim {
				for _, in := range list {
					words = append(words, in.ID)
				}
			}
		}
		doomed, err := f.store.ClaimDeliveries(t.Context(), store.ClaimDeliveries{
			Owner: "w", Limit: 10, TTL: time.Hour, Match: []store.Match{{Provider: replicaKey, EventType: "doomed"}},
		})
		require.NoError(t, err)
		require.Len(t, doomed.Deliveries, 2)
		for _, d := range doomed.Deliveries {
			_, err := f.store.RecordDeliveries(t.Context(), store.RecordDeliveries{Ends: []store.FinishDelivery{{ID: d.ID, Owner: "w", State: store.Dead, Error: "never"}}})
			require.NoError(t, err)
		}
		require.NoError(t, m.Drain(t.Context()))
		for _, tenant := range []string{victim, bystander} {
			require.Equal(t, http.StatusOK, f.kit.Send(event("T-"+tenant, "waiting"+tenant, "changed")).StatusCode)
		}
		before := f.dump()
		for _, table := range tables[:len(tables)-1] {
			if table == "webhook_once" {
				continue // names no tenant
			}
			require.True(t, slices.ContainsFunc(with(before, words...), func(l string) bool { return strings.HasPrefix(l, table+":") }), "nothing in "+table)
		}
		counts, err := f.store.CountDeliveries(t.Context(), nil)
		require.NoError(t, err)
		require.Positive(t, counts.Pending)
		require.Positive(t, counts.Done)
		require.Positive(t, counts.Dead)

		r, err := m.Purge(t.Context(), victim)
		require.NoError(t, err)
		after := f.dump()
		require.Empty(t, with(after, words...))
		others := slices.DeleteFunc(slices.Clone(before), func(l string) bool { return len(with([]string{l}, words...)) > 0 })
		require.Equal(t, others, after, "somebody else's rows")
		n := r.Removed
		require.Equal(t, len(before)-len(after), n.Integrations+n.Flows+n.Deliveries+n.Checkpoints+n.Endpoints+n.Subscriptions)

		ends := map[string]integrations.GrantEnd{}
		for _, in := range r.Integrations {
			require.Empty(t, in.Error, in.Provider)
			ends[in.Provider+in.Label] = in.Grant
		}
		require.Equal(t, map[string]integrations.GrantEnd{
			slackapp.Key: integrations.GrantRevoked, githubapp.Key: integrations.GrantRevoked, jiraapp.Key: integrations.GrantUnsupported,
			salesforceapp.Key: integrations.GrantRevoked, hubspotapp.Key: integrations.GrantRevoked, sheetsapp.Key: integrations.GrantRevoked,
			replicaKey: integrations.GrantRevoked, replicaKey + "eu": integrations.GrantRevoked,
		}, ends)
		again, err := m.Purge(t.Context(), victim)
		require.NoError(t, err)
		require.Zero(t, again.Removed)
		require.Equal(t, after, f.dump())
		for _, key := range keys {
			conn, err := m.Connection(t.Context(), bystander, key)
			require.NoError(t, err, key)
			require.NoError(t, conn.Check(t.Context()), key)
		}
	})
}

// TestPurgeBesideEverything: tenants are purged while replicas refresh, users
// connect, webhooks arrive and syncs save. Nothing of them is left, and no grant is
// alive.
func TestPurgeBesideEverything(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, f *fleet) {
		g := newGrants(f.kit, f.cipher)
		tenants := sized(8, 40)
		cfg := f.kit.Config()
		cfg.Store, cfg.Cipher, cfg.Transport, cfg.CacheFor = watched{f.store, g}, f.cipher, g, replicaCache
		cfg.AllowLabel = func(context.Context, integrations.Identity, string, string) bool { return true }
		cfg.Providers = []providers.Provider{f.withHooks(func(o *providers.OAuth2Config) { o.Shared = true })}
		m := f.kit.Use(cfg)
		refreshing, err := integrations.New(t.Context(), cfg)
		require.NoError(t, err)
		name := func(i int) string { return fmt.Sprintf("gone-%03d", i) }
		conns := make([]*providers.Connection, tenants)
		for i := range tenants {
			f.kit.Connect(name(i), replicaKey)
			f.kit.Connect("stays-"+name(i), replicaKey, "S-"+name(i))
			conns[i], err = refreshing.Connection(t.Context(), name(i), replicaKey)
			require.NoError(t, err)
			_, refresh := f.row(name(i))
			g.tenant[refresh] = name(i)
		}
		kept := map[string]string{}
		for i := range tenants {
			_, kept["stays-"+name(i)] = f.row("stays-" + name(i))
		}
		f.exec("UPDATE " + f.orders.Prefix + "integrations SET token_expires_at = 1, next_refresh_at = 1 WHERE tenant_id LIKE 'gone%'")

		// Callbacks that the purge overtakes or not.
		browsers, callbacks := make([]*integrationstest.Browser, tenants), make([]string, tenants)
		for i := range tenants {
			b := f.kit.Browser(name(i), "u")
			b.Account = "C-" + name(i)
			v := b.Do(http.MethodGet, f.kit.ConnectURL(replicaKey)+"?label=eu", nil, "none")
			v = b.Do(http.MethodGet, v.Header.Get("Location"), nil, "cross-site")
			browsers[i], callbacks[i] = b, v.Header.Get("Location")
		}
		atOnce := make(chan struct{}, 8)
		var work, purges sync.WaitGroup
		var over atomic.Bool
		var refused, stored, saved atomic.Int64
		for i := range tenants {
			work.Go(func() { // a sync on another replica, which refreshes
				for n := 0; !over.Load(); n++ {
					if err := conns[i].Check(t.Context()); err == nil && conns[i].Checkpoint(fmt.Sprint(n)).Save(t.Context(), []byte("x")) == nil {
						saved.Add(1)
					}
					time.Sleep(time.Duration(tenants) * time.Millisecond) // a page of a sync
				}
			})
			work.Go(func() {
				for n := 0; !over.Load(); n++ {
					if f.kit.Send(event("T-"+name(i), fmt.Sprint(name(i), n), "changed")).StatusCode == http.StatusOK {
						stored.Add(1)
					}
					time.Sleep(time.Duration(tenants) * time.Millisecond)
				}
			})
			work.Go(func() {
				v := browsers[i].Do(http.MethodGet, callbacks[i], nil, "cross-site")
				if !strings.Contains(v.Header.Get("Location"), "result=connected") {
					refused.Add(1)
				}
			})
			purges.Go(func() {
				atOnce <- struct{}{}
				defer func() { <-atOnce }()
				_, err := m.Purge(t.Context(), name(i))
				for n := 0; err != nil && n < 9; n++ { // SQLite lets writers starve; the next call finishes
					_, err = m.Purge(t.Context(), name(i))
				}
				if err != nil {
					t.Errorf("%s: %v", name(i), err)
				}
			})
		}
		purges.Wait()
		over.Store(true)
		work.Wait()
		require.NoError(t, m.Shutdown(t.Context()))
		require.NoError(t, refreshing.Shutdown(t.Context()))
		t.Logf("%d tenants: %d webhooks and %d checkpoints stored meanwhile, %d connects refused", tenants, stored.Load(), saved.Load(), refused.Load())
		require.Positive(t, stored.Load())

		require.Empty(t, with(f.dump(), "tenant_id=gone-"))
		for i := range tenants {
			require.False(t, f.kit.OAuth.Tokens.Live("T-"+name(i)), "a grant of %s is alive", name(i))
			require.False(t, f.kit.OAuth.Tokens.Live("C-"+name(i)), "a grant of %s is alive", name(i))
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		for refresh, account := range g.account {
			if strings.Contains(account, "gone-") && !strings.HasPrefix(account, "S-") {
				require.False(t, f.kit.OAuth.Tokens.Current(refresh), "a refresh token of %s is alive", account)
			}
		}
		for tenant, refresh := range kept {
			require.True(t, f.kit.OAuth.Tokens.Current(refresh), tenant)
		}
	})
}

// TestPurgeOfALargeInbox: rows go in batches, and the last take no longer than the
// first.
func TestPurgeOfALargeInbox(t *testing.T) {
	databases(t, func(t *testing.T, f *fleet) {
		rows := sized(5_000, 200_000)
		batch := make([]store.Delivery, 0, 500)
		for i := range rows {
			id := fmt.Sprintf("%026d", i)
			batch = append(batch, store.Delivery{ID: id, Provider: "x", DeliveryID: id, TenantID: "big", IntegrationID: "i", EventType: "t", Body: make([]byte, 200)})
			if len(batch) == cap(batch) || i == rows-1 {
				_, err := f.store.InsertDeliveries(t.Context(), batch)
				require.NoError(t, err)
				batch = batch[:0]
			}
		}
		cfg := f.kit.Config()
		cfg.Store, cfg.Cipher = f.store, f.cipher
		m := f.kit.Use(cfg)
		began := time.Now()
		r, err := m.Purge(t.Context(), "big")
		require.NoError(t, err)
		require.Equal(t, rows, r.Removed.Deliveries)
		t.Logf("%d deliveries removed in %v", rows, time.Since(began).Round(time.Millisecond))
		require.Empty(t, with(f.dump(), "tenant_id=big"))
	})
}
