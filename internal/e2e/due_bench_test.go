package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/stretchr/testify/require"
)

const (
	duePage  = 500
	dueFirst = "SELECT id FROM {p}integrations WHERE status = 'active' AND next_refresh_at > 0 AND next_refresh_at <= ? ORDER BY next_refresh_at, id LIMIT 500"
)

// BenchmarkDue: a page of due rows claimed, of a table that grows tenfold while
// as many are due. limit is the bare select of the keys by the index,
// limit-update that and the bare update of these rows by key. x-smaller is the
// time against that of the smaller table.
func BenchmarkDue(b *testing.B) {
	crowds(b, func(name string, open func(testing.TB) *crowd) {
		b.Run("db="+name, func(b *testing.B) {
			c := open(b)
			least := map[string]float64{}
			for _, rows := range []int{sized(10_000, 100_000), sized(100_000, 1_000_000)} {
				smaller := least
				least = map[string]float64{}
				measure := func(impl string, page func(ctx context.Context) (int, error)) {
					b.Run(fmt.Sprintf("rows=%d/impl=%s", rows, impl), func(b *testing.B) {
						c.grow(b, rows)
						c.release(b)
						for b.Loop() {
							n, err := page(b.Context())
							if err != nil || n != duePage {
								b.Fatal(n, err)
							}
							b.StopTimer()
							c.release(b)
							b.StartTimer()
						}
						ns := float64(b.Elapsed()) / float64(b.N)
						if l := least[impl]; l == 0 || ns < l {
							least[impl] = ns
						}
						if s := smaller[impl]; s > 0 {
							b.ReportMetric(ns/s, "x-smaller")
						}
					})
				}
				measure("limit", func(ctx context.Context) (int, error) {
					keys, err := c.due(ctx, c.db)
					return len(keys), err
				})
				measure("limit-update", c.bareClaim)
				measure("ours", func(ctx context.Context) (int, error) {
					list, err := c.store.ClaimDue(ctx, store.ClaimDue{Owner: "owner", Limit: duePage, TTL: time.Minute, Providers: []string{replicaKey}, Keys: []string{"k1"}})
					return len(list), err
				})
			}
		})
	})
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// due reads the keys of a page.
func (c *crowd) due(ctx context.Context, q querier) ([]any, error) {
	rows, err := q.QueryContext(ctx, c.query(dueFirst), time.Now().UnixMilli())
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	keys := make([]any, 0, duePage)
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		keys = append(keys, id)
	}
	return keys, rows.Err()
}

// bareClaim leases a page without anything around it.
func (c *crowd) bareClaim(ctx context.Context) (int, error) {
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }()
	keys, err := c.due(ctx, tx)
	if err != nil {
		return 0, err
	}
	update := "UPDATE {p}integrations SET lease_owner = 'owner', lease_until = ? WHERE id IN (" + strings.TrimSuffix(strings.Repeat("?,", len(keys)), ",") + ")"
	args := append([]any{time.Now().Add(time.Minute).UnixMilli()}, keys...)
	if _, err := tx.ExecContext(ctx, c.query(update), args...); err != nil {
		return 0, err
	}
	return len(keys), tx.Commit()
}

// release ends the leases of the rows that are due.
func (c *crowd) release(t testing.TB) {
	t.Helper()
	_, err := c.db.ExecContext(t.Context(), c.query("UPDATE {p}integrations SET lease_owner = NULL, lease_until = 0 WHERE lease_until > 0 AND status = 'active' AND next_refresh_at > 0 AND next_refresh_at <= ?"), time.Now().UnixMilli())
	require.NoError(t, err)
}
