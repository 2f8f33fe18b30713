package e2e

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

type probe struct {
	*sqlstore.Store
	mu    sync.Mutex
	n     map[string]int
	lines map[string]int
	took  map[string]time.Duration
}

func (p *probe) note(what string, lines int, began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n[what]++
	p.lines[what] += lines
	p.took[what] += time.Since(began)
}

func (p *probe) DueTenants(ctx context.Context, q store.DueQuery) (store.Due, error) {
	b := time.Now()
	d, err := p.Store.DueTenants(ctx, q)
	p.note("due", len(d.Tenants), b)
	return d, err
}
func (p *probe) ClaimDeliveries(ctx context.Context, c store.ClaimDeliveries) (store.Claimed, error) {
	b := time.Now()
	d, err := p.Store.ClaimDeliveries(ctx, c)
	p.note("claim", len(d.Deliveries), b)
	return d, err
}
func (p *probe) RecordDeliveries(ctx context.Context, c store.RecordDeliveries) (store.Recorded, error) {
	b := time.Now()
	d, err := p.Store.RecordDeliveries(ctx, c)
	p.note("record", len(d.Ends), b)
	return d, err
}

func TestZZProbe(t *testing.T) {
	posts(t, func(name string, open func(testing.TB) *post) {
		t.Run(name, func(t *testing.T) {
			for _, tenants := range []int{1, 100} {
				p := open(t)
				const events = 2000
				p.fill(t, "x", events, tenants)
				pr := &probe{Store: p.store, n: map[string]int{}, lines: map[string]int{}, took: map[string]time.Duration{}}
				var n atomic.Int64
				ctx, stop := context.WithCancel(t.Context())
				w, err := webhook.NewWorker(webhook.WorkerConfig{
					Inbox: pr, Cipher: p.cipher, Handling: webhook.Handling{Concurrency: 16, TenantConcurrency: 16, Batch: 16},
					Handlers: []webhook.Handler{webhook.On(replicaKey, "push", func(context.Context, webhook.Event) error { return nil })},
					Observe: func(_ context.Context, o webhook.Observation) {
						if o.Outcome == webhook.OutcomeHandled && n.Add(1) == int64(events) {
							stop()
						}
					},
				})
				require.NoError(t, err)
				b := time.Now()
				require.NoError(t, w.Run(ctx))
				t.Logf("tenants %d: %v; calls %v lines %v took %v", tenants, time.Since(b), pr.n, pr.lines, pr.took)
			}
		})
	})
}
