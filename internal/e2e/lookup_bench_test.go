package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/stretchr/testify/require"
)

// rowColumns are those that a look-up reads.
const rowColumns = `id, tenant_id, provider, label, status, status_reason, external_id, external_alias, exclusive_key,
 access_token, refresh_token, key_id, token_expires_at, refresh_expires_at, scopes, metadata, provider_data,
 token_gen, version, lease_until, lease_epoch, refresh_fails, refresh_error, refresh_failing_since, refresh_reported, next_refresh_at, last_refresh_at,
 connected_at, created_at, updated_at`

// BenchmarkLookup: a tenant's connection that is not in the cache, of many,
// against a bare read of its row by the primary key. ours-row is the row alone,
// without the opening of the token.
func BenchmarkLookup(b *testing.B) {
	crowds(b, func(name string, open func(testing.TB) *crowd) {
		rows := sized(100_000, 1_000_000)
		b.Run(fmt.Sprintf("db=%s/rows=%d", name, rows), func(b *testing.B) {
			c := open(b)
			c.grow(b, rows)
			ctx := context.Background()
			measure := func(impl string, fresh func(), one func(i int) error) {
				b.Run("impl="+impl, func(b *testing.B) {
					b.ReportAllocs()
					fresh()
					at := 0
					for n := 1; b.Loop(); n++ {
						if n%rows == 0 {
							b.StopTimer()
							fresh() // all are in the cache now
							b.StartTimer()
						}
						at = (at + 7919) % rows // prime: meets every row
						if err := one(at); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			bare, err := c.db.PrepareContext(ctx, c.query("SELECT "+rowColumns+" FROM {p}integrations WHERE id = ?"))
			require.NoError(b, err)
			defer func() { _ = bare.Close() }()
			into := make([]any, strings.Count(rowColumns, ",")+1)
			for i := range into {
				into[i] = new(any)
			}
			measure("limit", func() {}, func(i int) error { return bare.QueryRowContext(ctx, crowdID(i)).Scan(into...) })
			measure("ours-row", func() {}, func(i int) error {
				_, err := c.store.Find(ctx, crowdTenant(i), replicaKey, "")
				return err
			})
			var m *integrations.Manager
			measure("ours", func() { m = c.manager(b) }, func(i int) error {
				_, err := m.Connection(ctx, crowdTenant(i), replicaKey)
				return err
			})
		})
	})
}

// manager is a Manager that knows nothing yet.
func (c *crowd) manager(t testing.TB) *integrations.Manager {
	t.Helper()
	kit := integrationstest.New(t)
	cfg := kit.Config()
	cfg.Store, cfg.Cipher = c.store, c.cipher
	cfg.Providers = []providers.Provider{providers.NewOAuth2(kit.OAuth.Config(replicaKey))}
	m, err := integrations.New(t.Context(), cfg)
	require.NoError(t, err)
	return m
}
