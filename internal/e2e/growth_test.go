package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/stretchr/testify/require"
)

const (
	growthDays = 40 // beyond the longest time that anything is kept
	// How many days of rows a look at the end of a day finds, and of how many days
	// dead letters are kept by their number.
	doneDays, unhandledDays, deadDays = 7, 30, 20
)

// growth is a database to which days pass: its clock cannot be moved, so the rows
// are made older.
type growth struct {
	t      *testing.T
	db     *sql.DB
	store  *sqlstore.Store
	prefix string
	a, b   *integrations.Manager // two replicas
	day    int
	most   time.Duration // that cleaning took
}

// TestQ2Growth: whatever comes in, after any day the tables hold what is kept for a
// while and no more, though two replicas clean at the same time.
func TestQ2Growth(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		db := openSQLite(t, filepath.Join(t.TempDir(), "growth.db"), recommended)
		(&growth{t: t, db: db, store: migrated(t, db, "")}).run()
	})
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			db := s.open(t, "")
			prefix := s.prefixed(t, db)
			require.NoError(t, sqlstore.Migrate(t.Context(), db, s.dialect, &sqlstore.MigrateOptions{TablePrefix: prefix}))
			(&growth{t: t, db: db, store: sqlstore.New(db, s.dialect, &sqlstore.Options{TablePrefix: prefix}), prefix: prefix}).run()
		})
	}
}

func (g *growth) run() {
	kit := integrationstest.New(g.t)
	cfg := kit.Config()
	cfg.Store = g.store
	// In a day: so many events that are handled, and a tenth of it of each other
	// kind of row.
	perDay := sized(30, 1_000_000/growthDays)
	cfg.Retention.DeadLetters = deadDays * (perDay / 10)
	g.a, g.b = kit.Use(cfg), kit.Use(cfg)
	began := time.Now()
	for range growthDays {
		g.day++
		g.events("ok", perDay)
		g.events("bad", perDay/10)
		g.events("nobodys", perDay/10)
		g.flows(perDay / 10)
		g.exec("UPDATE %swebhook_inbox SET status = 1 WHERE status = 0 AND event_type = 'ok'")
		g.exec("UPDATE %swebhook_inbox SET status = 2 WHERE status = 0 AND event_type = 'bad'")
		g.clean() // nothing of today goes
		require.Equal(g.t, perDay/10, g.count("oauth_flows", "1 = 1"), "flows of day %d", g.day)
		g.age(24*time.Hour - time.Hour)
		g.clean()
		for what, want := range map[string]int{
			"status = 1": min(g.day, doneDays) * perDay,
			"status = 2": min(g.day, deadDays) * (perDay / 10),
			fmt.Sprintf("id LIKE 'bad-%d-%%'", g.day):          perDay / 10,
			fmt.Sprintf("id LIKE 'bad-%d-%%'", g.day-deadDays): 0, // the oldest went first
			"status = 0": min(g.day, unhandledDays) * (perDay / 10),
		} {
			require.Equal(g.t, want, g.count("webhook_inbox", what), "%s at the end of day %d", what, g.day)
		}
		require.Zero(g.t, g.count("oauth_flows", "1 = 1"), "flows at the end of day %d", g.day)
		g.age(time.Hour)
	}
	// What is kept of no tenant is one row for each provider whose log is read.
	require.LessOrEqual(g.t, g.count("checkpoints", "tenant_id = ''"), 1)
	for _, table := range []string{"integrations", "checkpoints", "webhook_endpoints", "subscriptions"} {
		require.Zero(g.t, g.count(table, "tenant_id <> ''"), table)
	}
	g.t.Logf("%d events in %d days: %v, cleaning took %v at most", growthDays*(perDay+2*(perDay/10)), growthDays, time.Since(began).Round(time.Millisecond), g.most.Round(time.Millisecond))
}

// events stores events of today.
func (g *growth) events(typ string, n int) {
	g.t.Helper()
	for from := 0; from < n; from += 500 {
		var ds []store.Delivery
		for i := from; i < min(n, from+500); i++ {
			id := fmt.Sprintf("%s-%d-%d", typ, g.day, i)
			ds = append(ds, store.Delivery{
				ID: id, Provider: "acme", DeliveryID: id, TenantID: "t1", IntegrationID: "i1", ExternalID: "e1", EventType: typ,
				Body: []byte("sealed"), KeyID: "k1",
			})
		}
		fresh, err := g.store.InsertDeliveries(g.t.Context(), ds)
		require.NoError(g.t, err)
		require.NotContains(g.t, fresh, false)
	}
}

// flows begins flows of today; every other is finished.
func (g *growth) flows(n int) {
	g.t.Helper()
	for i := range n {
		hash := fmt.Sprintf("%d-%d", g.day, i)
		require.NoError(g.t, g.store.PutFlow(g.t.Context(), store.Flow{StateHash: hash, TenantID: "t1", Provider: "acme", TTL: 10 * time.Minute}))
		if i%2 == 0 {
			_, err := g.store.ConsumeFlow(g.t.Context(), hash)
			require.NoError(g.t, err)
		}
	}
}

// age lets time pass.
func (g *growth) age(d time.Duration) {
	g.t.Helper()
	ms := d.Milliseconds()
	g.exec(fmt.Sprintf("UPDATE %%swebhook_inbox SET run_at = run_at-%[1]d, received_at = received_at-%[1]d, updated_at = updated_at-%[1]d", ms))
	g.exec(fmt.Sprintf("UPDATE %%soauth_flows SET created_at = created_at-%[1]d, expires_at = expires_at-%[1]d", ms))
}

func (g *growth) exec(query string) {
	g.t.Helper()
	_, err := g.db.ExecContext(g.t.Context(), fmt.Sprintf(query, g.prefix))
	require.NoError(g.t, err)
}

// clean lets both replicas do what Run does now and then.
func (g *growth) clean() {
	g.t.Helper()
	began := time.Now()
	var wg sync.WaitGroup
	var errs [2]error
	for i, m := range []*integrations.Manager{g.a, g.b} {
		wg.Go(func() { errs[i] = m.Drain(context.WithoutCancel(g.t.Context())) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(g.t, err)
	}
	g.most = max(g.most, time.Since(began))
}

func (g *growth) count(table, where string) int {
	g.t.Helper()
	var n int
	require.NoError(g.t, g.db.QueryRowContext(g.t.Context(), "SELECT COUNT(*) FROM "+g.prefix+table+" WHERE "+where).Scan(&n))
	return n
}
