package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/stretchr/testify/require"
)

// TestClaimsUseTheirIndexes: what is due, whose turn it is and what is first of its
// key are found by an index each, in its order, however long the table is.
func TestClaimsUseTheirIndexes(t *testing.T) {
	explain := map[string]string{"sqlite": "EXPLAIN QUERY PLAN ", "postgres": "EXPLAIN ", "mysql": "EXPLAIN "}
	posts(t, func(name string, open func(testing.TB) *post) {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			p.plansByID(t, explain[name]) // which the planner makes before it knows the table
			p.fill(t, "x", 4000, 40)
			for from := range 4 { // keys with many events that wait
				var ds []store.Delivery
				for i := range 500 {
					ds = append(ds, p.event(t, fmt.Sprint("k", from, "-", i), tenantName(0), "push", fmt.Sprint("k", i%2), nil))
				}
				_, err := p.store.InsertDeliveries(t.Context(), ds)
				require.NoError(t, err)
			}
			p.plansByID(t, explain[name])
			p.analyze(t)
			p.plansByID(t, explain[name])
			match := []store.Match{{Provider: replicaKey}, {Provider: "other", EventType: "x"}}
			for what, c := range map[string]struct {
				ask  func(st *sqlstore.Store) error
				uses []string
			}{
				"due": {func(st *sqlstore.Store) error {
					_, err := st.DueTenants(t.Context(), store.DueQuery{Match: match, Since: time.Now().Add(-time.Millisecond)})
					return err
				}, []string{"webhook_inbox_due"}},
				"claim": {func(st *sqlstore.Store) error {
					_, err := st.ClaimDeliveries(t.Context(), store.ClaimDeliveries{
						Owner: "o", Limit: 4, TTL: time.Minute, Match: match, Tenants: []store.DueTenant{{TenantID: tenantName(0)}, {TenantID: tenantName(1)}}, DeadBlocks: true,
					})
					return err
				}, []string{"webhook_inbox_next"}},
			} {
				said := &recorder{}
				db := sql.OpenDB(said)
				st := sqlstore.New(db, p.dialect, &sqlstore.Options{TablePrefix: p.prefix})
				_ = c.ask(st) // there is no database behind it
				require.NoError(t, db.Close())
				require.NotEmpty(t, said.query, what)
				plan := p.plan(t, explain[name]+said.query, said.args...)
				for _, index := range c.uses {
					require.Contains(t, plan, p.prefix+index, "%s: %s", what, plan)
				}
				require.NotContains(t, plan, "Seq Scan on "+p.prefix+"webhook_inbox", plan)
				if what == "claim" {
					require.NotContains(t, plan, p.prefix+"webhook_inbox_due ", plan)
				}
				if what == "claim" && name != "mysql" { // which asks for the order in a query of its own
					require.Contains(t, plan, p.prefix+"webhook_inbox_order", plan)
					require.Contains(t, plan, p.prefix+"webhook_inbox_turn", plan)
				}
			}
		})
	})
}

// plansByID: leased rows, whose ids are known, are found by nothing else. The index of
// those that are pending looks as good to a planner that sees it when it is short.
func (p *post) plansByID(t testing.TB, explain string) {
	t.Helper()
	for what, ask := range map[string]func(st *sqlstore.Store) error{
		"renew": func(st *sqlstore.Store) error {
			return st.RenewDeliveries(t.Context(), "o", []string{"a", "b", "c"}, time.Minute)
		},
		"record": func(st *sqlstore.Store) error {
			_, err := st.RecordDeliveries(t.Context(), store.RecordDeliveries{Starts: []store.DeliveryLease{{ID: "a", Owner: "o"}, {ID: "b", Owner: "o"}}})
			return err
		},
	} {
		said := &recorder{}
		db := sql.OpenDB(said)
		_ = ask(sqlstore.New(db, p.dialect, &sqlstore.Options{TablePrefix: p.prefix})) // there is no database behind it
		require.NoError(t, db.Close())
		require.NotEmpty(t, said.query, what)
		plan := p.plan(t, explain+said.query, said.args...)
		for _, index := range []string{"due", "next", "order", "turn", "tenant", "end", "key"} {
			require.NotContains(t, plan, p.prefix+"webhook_inbox_"+index+" ", "%s: %s", what, plan)
		}
	}
}

func (p *post) analyze(t testing.TB) {
	t.Helper()
	query := "ANALYZE {p}webhook_inbox"
	if p.dialect.String() == "mysql" {
		query = "ANALYZE TABLE {p}webhook_inbox"
	}
	rows, err := p.db.QueryContext(context.Background(), p.text(query)) // MySQL answers with rows
	require.NoError(t, err)
	require.NoError(t, rows.Close())
}

func (p *post) plan(t testing.TB, query string, args ...any) string {
	return (&crowd{db: p.db}).plan(t, query, args...)
}

// BenchmarkOrder: a claim and a finish of one key, of which ever more events wait.
// x-shorter is the time against that of the shortest.
func BenchmarkOrder(b *testing.B) {
	posts(b, func(name string, open func(testing.TB) *post) {
		b.Run("db="+name, func(b *testing.B) {
			shortest := 0.0
			for _, n := range []int{100, sized(2_000, 20_000)} {
				b.Run(fmt.Sprintf("waiting=%d", n), func(b *testing.B) {
					p := open(b)
					for from := 0; from < n; from += 500 {
						var ds []store.Delivery
						for i := from; i < min(n, from+500); i++ {
							ds = append(ds, p.event(b, fmt.Sprint(i), "t1", "push", "k", nil))
						}
						_, err := p.store.InsertDeliveries(b.Context(), ds)
						require.NoError(b, err)
					}
					match := []store.Match{{Provider: replicaKey}}
					round := 0
					claim := func(limit int) []store.Delivery {
						round++
						got, err := p.store.ClaimDeliveries(b.Context(), store.ClaimDeliveries{Owner: fmt.Sprint(round), Limit: limit, TTL: time.Minute, Match: match, Tenants: []store.DueTenant{{TenantID: "t1"}}})
						require.NoError(b, err)
						return got.Deliveries
					}
					held := claim(n) // puts the others off
					p.analyze(b)
					for b.Loop() {
						require.Len(b, held, 1)
						_, err := p.store.RecordDeliveries(b.Context(), store.RecordDeliveries{Ends: []store.FinishDelivery{{ID: held[0].ID, Owner: fmt.Sprint(round), State: store.Done}}})
						require.NoError(b, err)
						if held = claim(16); len(held) == 0 { // all are done
							b.StopTimer()
							p.exec(b, "UPDATE {p}webhook_inbox SET status = 0, turn = 0, run_at = 0, lease_owner = NULL, due_at = NULL")
							held = claim(n)
							b.StartTimer()
						}
					}
					ns := float64(b.Elapsed()) / float64(b.N)
					if shortest == 0 {
						shortest = ns
					}
					b.ReportMetric(ns/shortest, "x-shorter")
				})
			}
		})
	})
}
