package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/stretchr/testify/require"
)

// TestTheKeeperUsesIndexes: what Run looks for now and then is found by an index and
// comes in its order, in a big table of which little is due.
func TestTheKeeperUsesIndexes(t *testing.T) {
	crowds(t, func(name string, open func(testing.TB) *crowd) {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			c.grow(t, 5*dueRows)
			for _, q := range []string{
				"UPDATE {p}integrations SET grant_end = 2, refresh_expires_at = token_expires_at WHERE id LIKE '%7'",
				"UPDATE {p}integrations SET grant_end = 1, refresh_expires_at = token_expires_at WHERE id LIKE '%6'",
				"UPDATE {p}integrations SET verify_at = next_refresh_at WHERE id LIKE '%5'",
			} {
				_, err := c.db.ExecContext(t.Context(), c.query(q))
				require.NoError(t, err)
			}
			c.analyze(t, "integrations")
			said := &recorder{}
			db := sql.OpenDB(said)
			defer func() { require.NoError(t, db.Close()) }()
			st := sqlstore.New(db, c.dialect, &sqlstore.Options{TablePrefix: c.prefix})
			keys := []string{replicaKey, "other"}
			for index, ask := range map[string]func(ctx context.Context) error{
				"integrations_end": func(ctx context.Context) error {
					_, err := st.ListEnding(ctx, store.ListEnding{Within: time.Minute, Limit: 100})
					return err
				},
				"integrations_due": func(ctx context.Context) error {
					_, err := st.ListDue(ctx, store.ListDue{After: time.Now().Add(-time.Minute), AfterID: "a", Limit: 100, Providers: keys})
					return err
				},
				"integrations_verify": func(ctx context.Context) error {
					_, err := st.ClaimVerify(ctx, store.ClaimVerify{Limit: 10, Again: time.Hour, Providers: keys})
					return err
				},
			} {
				said.query = ""
				require.NoError(t, ask(t.Context()))
				require.NotEmpty(t, said.query)
				plan := c.plan(t, explain[name]+said.query, said.args...)
				require.Contains(t, plan, c.prefix+index, plan)
				for _, sorting := range []string{"Sort", "filesort", "TEMP B-TREE"} {
					require.NotContains(t, plan, sorting, plan)
				}
			}
		})
	})
}

// observed counts calls to providers by tenant.
type observed struct {
	mu sync.Mutex
	n  map[string]int
}

func (o *observed) Observe(_ context.Context, event any) {
	if e, ok := event.(providers.Call); ok {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.n[e.TenantID]++
	}
}

// drainAll lets replicas do what is due at the same time.
func drainAll(t *testing.T, ms []*integrations.Manager) {
	t.Helper()
	var work sync.WaitGroup
	errs := make([]error, len(ms))
	for i, m := range ms {
		work.Go(func() { errs[i] = m.Drain(t.Context()) })
	}
	work.Wait()
	require.NoError(t, errors.Join(errs...))
}

// TestReplicasShareTheKeepersWork: of grants that end and grants that are verified
// each is told or asked for once, by six replicas at the same time.
func TestReplicasShareTheKeepersWork(t *testing.T) {
	const n, each = 6, 30
	crowds(t, func(name string, open func(testing.TB) *crowd) {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			kit, seen := integrationstest.New(t), &observed{n: map[string]int{}}
			cfg := kit.Config()
			cfg.Store, cfg.Observer = c.store, seen
			var ms []*integrations.Manager
			for range n {
				ms = append(ms, kit.Use(cfg))
			}
			for i := range each {
				kit.Connect(fmt.Sprint("t", i), slackapp.Key)
			}
			gone := []string{"t3", "t4", "t5"}
			for _, tenant := range gone {
				kit.Slack.Tokens.Revoke("T-" + tenant)
			}
			ends := time.Now().Add(10 * 24 * time.Hour).UnixMilli()
			_, err := c.db.ExecContext(t.Context(), c.query("UPDATE {p}integrations SET verify_at = 1, grant_end = 2, refresh_expires_at = ?"), ends)
			require.NoError(t, err)
			for range 2 {
				drainAll(t, ms)
			}
			told := map[string]int{}
			list, err := c.store.ListDeliveries(t.Context(), store.DeliveryQuery{AllTenants: true, Limit: 1000})
			require.NoError(t, err)
			for _, d := range list {
				told[d.TenantID+" "+d.EventType]++
			}
			for i := range each {
				tenant := fmt.Sprint("t", i)
				require.Equal(t, 1, seen.n[tenant], tenant)
				in, err := c.store.Find(t.Context(), tenant, slackapp.Key, "")
				require.NoError(t, err)
				require.True(t, in.VerifyAt.After(in.ReadAt.Add(20*time.Hour)))
				dead := in.Status == store.NeedsReconnect
				require.Equal(t, slices.Contains(gone, tenant), dead, tenant)
				if dead {
					require.Equal(t, 1, told[tenant+" needs_reconnect"], tenant)
					require.LessOrEqual(t, told[tenant+" grant_ending"], 1, tenant) // whichever was first
					continue
				}
				require.Equal(t, 1, told[tenant+" grant_ending"], tenant)
				require.Equal(t, store.EndReported, in.GrantEnd)
			}
		})
	})
}

// TestReplicasTellOfHeldBackRenewalsOnce: six replicas report the same rows.
func TestReplicasTellOfHeldBackRenewalsOnce(t *testing.T) {
	const n, each = 6, 20
	crowds(t, func(name string, open func(testing.TB) *crowd) {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			kit := integrationstest.New(t)
			oauth := kit.OAuth.Config("acme")
			kit.OAuth.Tokens.SetLife(time.Hour)
			cfg := kit.Config()
			cfg.Store, cfg.Providers = c.store, []providers.Provider{providers.NewOAuth2(oauth)}
			kit.Use(cfg)
			for i := range each {
				kit.Connect(fmt.Sprint("t", i), "acme")
			}
			oauth.ClientSecret = "wrong, and long enough"
			cfg.Providers = []providers.Provider{providers.NewOAuth2(oauth)}
			var ms []*integrations.Manager
			for range n {
				ms = append(ms, kit.Use(cfg))
			}
			exec := func(q string, args ...any) {
				_, err := c.db.ExecContext(t.Context(), c.query(q), args...)
				require.NoError(t, err)
			}
			// Each replica opens its own breaker, and what it tried is due again.
			exec("UPDATE {p}integrations SET token_expires_at = 1")
			for _, m := range ms {
				exec("UPDATE {p}integrations SET next_refresh_at = 1, lease_until = 0")
				require.NoError(t, m.Drain(t.Context()))
			}
			exec("UPDATE {p}integrations SET next_refresh_at = 1, lease_until = 0, refresh_failing_since = NULL")
			drainAll(t, ms)
			for _, m := range ms {
				h, err := m.Health(t.Context())
				require.NoError(t, err)
				require.Len(t, h.HeldBack, 1)
			}
			marked := 0
			list, err := c.store.ListAll(t.Context(), "", 100)
			require.NoError(t, err)
			for _, in := range list {
				require.Zero(t, in.RefreshFails)
				if !in.RefreshFailingSince.IsZero() {
					marked++
				}
			}
			require.Equal(t, each, marked)
			exec("UPDATE {p}integrations SET refresh_failing_since = 1, next_refresh_at = 1")
			drainAll(t, ms)
			drainAll(t, ms)
			changes, err := c.store.ListDeliveries(t.Context(), store.DeliveryQuery{AllTenants: true, EventType: "refresh_failing", Limit: 1000})
			require.NoError(t, err)
			told := map[string]int{}
			for _, d := range changes {
				told[d.TenantID]++
			}
			require.Len(t, told, each)
			for tenant, k := range told {
				require.Equal(t, 1, k, tenant)
			}
		})
	})
}
