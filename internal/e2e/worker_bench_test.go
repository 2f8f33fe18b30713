package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// BenchmarkWorker: stored events given to a handler that does nothing. limit is the
// bare SQL of a claim and a finish, a hundred rows at a time, without a start that is
// counted, without opening, order or turns. ns/op is of all events.
func BenchmarkWorker(b *testing.B) {
	events := sized(2_000, 20_000)
	posts(b, func(name string, open func(testing.TB) *post) {
		b.Run("db="+name, func(b *testing.B) {
			for _, tenants := range []int{1, 100} {
				run := func(impl string, all func(p *post)) {
					b.Run(fmt.Sprintf("tenants=%d/impl=%s", tenants, impl), func(b *testing.B) {
						p := open(b)
						round := 0
						for b.Loop() {
							b.StopTimer()
							p.exec(b, "DELETE FROM {p}webhook_inbox")
							round++
							p.fill(b, fmt.Sprint(round), events, tenants)
							b.StartTimer()
							all(p)
						}
						b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
						require.Equal(b, int64(events), p.counts(b).Done)
					})
				}
				run("limit", func(p *post) { p.bare(b) })
				for _, places := range []int{16, 64} {
					run(fmt.Sprintf("ours-%d", places), func(p *post) {
						var n atomic.Int64
						ctx, stop := context.WithCancel(b.Context())
						defer stop()
						w, err := webhook.NewWorker(webhook.WorkerConfig{
							Inbox: p.store, Cipher: p.cipher, Handling: webhook.Handling{Concurrency: places, TenantConcurrency: places, Batch: places},
							Handlers: []webhook.Handler{webhook.On(replicaKey, "push", func(context.Context, webhook.Event) error { return nil })},
							Observe: func(_ context.Context, o webhook.Observation) {
								if o.Outcome == webhook.OutcomeHandled && n.Add(1) == int64(events) {
									stop()
								}
							},
						})
						require.NoError(b, err)
						require.NoError(b, w.Run(ctx))
					})
				}
			}
		})
	})
}

// bare claims and finishes all events.
func (p *post) bare(b *testing.B) {
	b.Helper()
	ctx := b.Context()
	for {
		now := time.Now().UnixMilli() + 1000
		rows, err := p.db.QueryContext(ctx, p.text("SELECT id, body FROM {p}webhook_inbox WHERE status = 0 AND run_at <= ? ORDER BY run_at, id LIMIT 100"), now)
		require.NoError(b, err)
		var ids []any
		for rows.Next() {
			var id string
			var body []byte
			require.NoError(b, rows.Scan(&id, &body))
			ids = append(ids, id)
		}
		require.NoError(b, rows.Err())
		if len(ids) == 0 {
			return
		}
		in := " WHERE id IN (" + strings.TrimSuffix(strings.Repeat("?,", len(ids)), ",") + ")"
		p.exec(b, "UPDATE {p}webhook_inbox SET lease_owner = 'o', claims = claims+1, run_at = "+fmt.Sprint(now+60_000)+in, ids...)
		p.exec(b, "UPDATE {p}webhook_inbox SET lease_owner = NULL, status = 1, updated_at = "+fmt.Sprint(now)+in, ids...)
	}
}
