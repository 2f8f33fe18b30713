package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"github.com/stretchr/testify/require"
)

const rewrapPage = 500

// BenchmarkRewrap: all rows of a table move to another key; rows/s is what counts.
// limit is the bare SQL of it in the same batches, without opening or sealing
// anything: a page is read by the key's index and written by compare-and-set on
// the generation and both old values, with the fastest statement that the driver
// takes. one-by-one is a bare compare-and-set of each row in a transaction of its
// own. of-limit and x-one are the speed of ours against theirs, each round of it
// against a round of theirs beside it, the median of all rounds: a busy machine
// slows them alike.
func BenchmarkRewrap(b *testing.B) {
	crowds(b, func(name string, open func(testing.TB) *crowd) {
		rows := sized(10_000, 200_000)
		few := rows / 20
		// rounds make a crowd and move it to another key each time they are called.
		rounds := func(b *testing.B, rows int, move func(c *crowd, from, to string) (int, error)) func() time.Duration {
			c, n := open(b), 0
			c.grow(b, rows)
			keys := []string{"k1", "k2"}
			return func() time.Duration {
				began := time.Now()
				moved, err := move(c, keys[n%2], keys[(n+1)%2])
				require.NoError(b, err)
				require.Equal(b, rows, moved)
				n++
				return time.Since(began)
			}
		}
		limit := func(b *testing.B) func() time.Duration {
			return rounds(b, rows, func(c *crowd, from, to string) (int, error) {
				return c.bareRewrap(b.Context(), from, to, map[string]func(context.Context, []store.Sealed, string) (int, error){
					"sqlite": c.barePrepared, postgres.name: c.bareUnnest, mysql.name: c.bareJoin,
				}[name])
			})
		}
		one := func(b *testing.B) func() time.Duration {
			return rounds(b, few, func(c *crowd, from, to string) (int, error) { return c.bareRewrap(b.Context(), from, to, c.bareEach) })
		}
		report := func(b *testing.B, rows int) { b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s") }
		b.Run(fmt.Sprintf("db=%s/rows=%d/impl=one-by-one", name, few), func(b *testing.B) {
			for round := one(b); b.Loop(); round() {
			}
			report(b, few)
		})
		b.Run(fmt.Sprintf("db=%s/rows=%d/impl=limit", name, rows), func(b *testing.B) {
			for round := limit(b); b.Loop(); round() {
			}
			report(b, rows)
		})
		b.Run(fmt.Sprintf("db=%s/rows=%d/impl=ours", name, rows), func(b *testing.B) {
			limit, one := limit(b), one(b)
			ours := rounds(b, rows, func(c *crowd, _, to string) (int, error) {
				done, err := integrations.Rewrap(b.Context(), c.store, c.ring(b, to), &integrations.RewrapOptions{RowsPerSecond: -1})
				return int(done.Moved), err
			})
			var ofLimit, xOne []float64
			for b.Loop() {
				b.StopTimer()
				bare, slow := limit(), one()*time.Duration(rows/few)
				b.StartTimer()
				took := ours()
				ofLimit = append(ofLimit, float64(bare)/float64(took))
				xOne = append(xOne, float64(slow)/float64(took))
			}
			slices.Sort(ofLimit)
			slices.Sort(xOne)
			report(b, rows)
			b.ReportMetric(ofLimit[len(ofLimit)/2], "of-limit")
			b.ReportMetric(xOne[len(xOne)/2], "x-one")
		})
	})
}

// ring has both keys of a crowd, with the named one as the primary.
func (c *crowd) ring(t testing.TB, primary string) *crypto.Keyring {
	t.Helper()
	if c.other.ID() == "" {
		var err error
		c.other, err = crypto.GenerateKey("k2")
		require.NoError(t, err)
	}
	keys := []crypto.Key{c.key, c.other}
	if primary == c.other.ID() {
		slices.Reverse(keys)
	}
	ring, err := crypto.NewKeyring(keys[0], keys[1])
	require.NoError(t, err)
	return ring
}

// bareRewrap reads pages and hands them to write. No context is watched: some
// drivers do so at a cost.
func (c *crowd) bareRewrap(ctx context.Context, from, to string, write func(ctx context.Context, page []store.Sealed, to string) (int, error)) (int, error) {
	ctx = context.WithoutCancel(ctx)
	total := 0
	for after := ""; ; {
		page, err := c.barePage(ctx, from, after)
		if err != nil || len(page) == 0 {
			return total, err
		}
		after = page[len(page)-1].ID
		n, err := write(ctx, page, to)
		if err != nil {
			return total, err
		}
		total += n
	}
}

func (c *crowd) barePage(ctx context.Context, key, after string) ([]store.Sealed, error) {
	rows, err := c.db.QueryContext(ctx, c.query("SELECT id, tenant_id, provider, token_gen, access_token, refresh_token FROM {p}integrations WHERE key_id = ? AND id > ? ORDER BY id LIMIT ?"), key, after, rewrapPage)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := make([]store.Sealed, 0, rewrapPage)
	for rows.Next() {
		var s store.Sealed
		if err := rows.Scan(&s.ID, &s.TenantID, &s.Provider, &s.Gen, &s.Values[0], &s.Values[1]); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// other is a value as long as v and another.
func other(v []byte) []byte {
	v = bytes.Clone(v)
	v[len(v)-1]++
	return v
}

const bareUpdate = "UPDATE {p}integrations SET access_token = ?, refresh_token = ?, key_id = ?, updated_at = 5 WHERE id = ? AND tenant_id = ? AND token_gen = ? AND access_token = ? AND refresh_token = ?"

func bareArgs(s store.Sealed, to string) []any {
	return []any{other(s.Values[0]), other(s.Values[1]), to, s.ID, s.TenantID, s.Gen, s.Values[0], s.Values[1]}
}

// bareEach commits each row.
func (c *crowd) bareEach(ctx context.Context, page []store.Sealed, to string) (int, error) {
	stmt, err := c.db.PrepareContext(ctx, c.query(bareUpdate))
	if err != nil {
		return 0, err
	}
	defer func() { _ = stmt.Close() }()
	return changes(page, func(s store.Sealed) (sql.Result, error) { return stmt.ExecContext(ctx, bareArgs(s, to)...) })
}

func changes(page []store.Sealed, exec func(s store.Sealed) (sql.Result, error)) (int, error) {
	total := 0
	for _, s := range page {
		res, err := exec(s)
		if err != nil {
			return 0, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		total += int(n)
	}
	return total, nil
}

// inTx runs fn in a transaction.
func (c *crowd) inTx(ctx context.Context, fn func(tx *sql.Tx) (int, error)) (int, error) {
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }()
	n, err := fn(tx)
	if err != nil {
		return 0, err
	}
	return n, tx.Commit()
}

func (c *crowd) barePrepared(ctx context.Context, page []store.Sealed, to string) (int, error) {
	return c.inTx(ctx, func(tx *sql.Tx) (int, error) {
		stmt, err := tx.PrepareContext(ctx, c.query(bareUpdate))
		if err != nil {
			return 0, err
		}
		defer func() { _ = stmt.Close() }()
		return changes(page, func(s store.Sealed) (sql.Result, error) { return stmt.ExecContext(ctx, bareArgs(s, to)...) })
	})
}

// bareUnnest gives whole columns as arrays, which pgx encodes in binary.
func (c *crowd) bareUnnest(ctx context.Context, page []store.Sealed, to string) (int, error) {
	var ids, tenants []string
	var gens []int64
	var values [4][][]byte
	for _, s := range page {
		ids, tenants, gens = append(ids, s.ID), append(tenants, s.TenantID), append(gens, s.Gen)
		for i, v := range [][]byte{s.Values[0], s.Values[1], other(s.Values[0]), other(s.Values[1])} {
			values[i] = append(values[i], v)
		}
	}
	return c.inTx(ctx, func(tx *sql.Tx) (int, error) {
		res, err := tx.ExecContext(ctx, c.query(`UPDATE {p}integrations t SET access_token = v.a2, refresh_token = v.r2, key_id = ?, updated_at = 5
 FROM unnest(?::text[], ?::text[], ?::bigint[], ?::bytea[], ?::bytea[], ?::bytea[], ?::bytea[]) v (id, tenant, gen, a, r, a2, r2)
 WHERE t.id = v.id AND t.tenant_id = v.tenant AND t.token_gen = v.gen AND t.access_token = v.a AND t.refresh_token = v.r`),
			to, ids, tenants, gens, values[0], values[1], values[2], values[3])
		if err != nil {
			return 0, err
		}
		n, err := res.RowsAffected()
		return int(n), err
	})
}

// bareJoin gives the rows as a union of selects.
func (c *crowd) bareJoin(ctx context.Context, page []store.Sealed, to string) (int, error) {
	return c.inTx(ctx, func(tx *sql.Tx) (int, error) {
		total := 0
		for part := range slices.Chunk(page, 200) {
			args := []any{}
			for _, s := range part {
				args = append(args, s.ID, s.TenantID, s.Gen, s.Values[0], s.Values[1], other(s.Values[0]), other(s.Values[1]))
			}
			const b = "CAST(? AS BINARY)"
			row := strings.Join([]string{b, b, "?", b, b, b, b}, ",")
			first := fmt.Sprintf("%[1]s id, %[1]s tenant, ? gen, %[1]s a, %[1]s r, %[1]s a2, %[1]s r2", b)
			res, err := tx.ExecContext(ctx, c.query("UPDATE (SELECT "+first+strings.Repeat(" UNION ALL SELECT "+row, len(part)-1)+`) v STRAIGHT_JOIN {p}integrations t ON t.id = v.id
 SET t.access_token = v.a2, t.refresh_token = v.r2, t.key_id = ?, t.updated_at = 5
 WHERE t.tenant_id = v.tenant AND t.token_gen = v.gen AND t.access_token = v.a AND t.refresh_token = v.r`), append(args, to)...)
			if err != nil {
				return 0, err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return 0, err
			}
			total += int(n)
		}
		return total, nil
	})
}

// BenchmarkRewrapTokens: tokens are handed out, 300 a second at an even pace, most
// of them not in the cache, with nothing else going on and while all rows move to
// another key. ns/op means nothing.
func BenchmarkRewrapTokens(b *testing.B) {
	crowds(b, func(name string, open func(testing.TB) *crowd) {
		rows := sized(10_000, 200_000)
		for _, speed := range []int{0, 10_000, -1} { // 0 is the default
			b.Run(fmt.Sprintf("db=%s/rows=%d/speed=%d", name, rows, speed), func(b *testing.B) {
				c := open(b)
				c.grow(b, rows)
				_, err := c.db.ExecContext(b.Context(), c.query("UPDATE {p}integrations SET next_refresh_at = 0, token_expires_at = NULL")) // nothing is to be refreshed
				require.NoError(b, err)
				var idle, busy []time.Duration
				moved, took := 0, time.Duration(0)
				keys := []string{"k1", "k2"}
				for n := 0; b.Loop(); n++ {
					ring := c.ring(b, keys[(n+1)%2])
					c.cipher = ring
					idle = append(idle, c.handOut(b, func() { time.Sleep(3 * time.Second) })...)
					busy = append(busy, c.handOut(b, func() {
						began := time.Now()
						done, err := integrations.Rewrap(b.Context(), c.store, ring, &integrations.RewrapOptions{RowsPerSecond: speed})
						require.NoError(b, err)
						took += time.Since(began)
						moved += int(done.Moved)
					})...)
				}
				slices.Sort(idle)
				slices.Sort(busy)
				at := func(all []time.Duration, share float64) float64 {
					return float64(all[int(float64(len(all)-1)*share)]) / float64(time.Microsecond)
				}
				b.ReportMetric(at(idle, 0.5), "p50-idle-µs")
				b.ReportMetric(at(busy, 0.5), "p50-µs")
				b.ReportMetric(at(idle, 0.99), "p99-idle-µs")
				b.ReportMetric(at(busy, 0.99), "p99-µs")
				b.ReportMetric(at(busy, 0.99)/at(idle, 0.99), "x-idle")
				b.ReportMetric(float64(moved)/took.Seconds(), "rows/s")
			})
		}
	})
}

// handOut asks for tokens of any tenant while fn runs and returns how long each
// took.
func (c *crowd) handOut(b *testing.B, fn func()) []time.Duration {
	b.Helper()
	m := c.manager(b)
	ctx, stop := context.WithCancel(b.Context())
	var mu sync.Mutex
	var took []time.Duration
	var work sync.WaitGroup
	work.Go(func() {
		for n, began := 0, time.Now(); ctx.Err() == nil; n++ {
			time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / 300)))
			work.Go(func() {
				began := time.Now()
				conn, err := m.Connection(b.Context(), crowdTenant(rand.IntN(c.rows)), replicaKey)
				if err == nil {
					_, err = conn.Token(b.Context())
				}
				d := time.Since(began)
				if err != nil {
					b.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, d)
			})
		}
	})
	fn()
	stop()
	work.Wait()
	return took
}
