package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// TestQ1NoisyNeighbourInbox: what a tenant with few events waits, alone and beside one
// whose flood two processes cannot handle in time, on a real database. In virtual time,
// where nothing but the turns counts, the same test is in package webhook.
func TestQ1NoisyNeighbourInbox(t *testing.T) {
	posts(t, func(name string, open func(testing.TB) *post) {
		t.Run(name, func(t *testing.T) {
			quiet := sized(50, 1_000)
			alone := q1(t, open(t), quiet, 0)
			beside := q1(t, open(t), quiet, 10)
			p := func(ds []time.Duration, percent int) time.Duration {
				return ds[min(len(ds)-1, len(ds)*percent/100)].Round(time.Millisecond)
			}
			t.Logf("alone p50 %v p99 %v; beside a flood p50 %v p99 %v", p(alone, 50), p(alone, 99), p(beside, 50), p(beside, 99))
			// The flood costs the machine too, which two tenants on two machines would not
			// notice: what counts is that nobody waits behind it, for seconds.
			require.LessOrEqual(t, p(beside, 50), p(alone, 50)*12/10+100*time.Millisecond)
			require.Less(t, p(beside, 99), p(alone, 99)*12/10+time.Second)
		})
	})
}

// q1 is how long each event of the quiet tenant took, while another has that many
// times its events, of which a backlog is there already.
func q1(t *testing.T, p *post, quiet, times int) []time.Duration {
	t.Helper()
	const handler = 100 * time.Millisecond
	var mu sync.Mutex
	stored := map[string]time.Time{}
	var took []time.Duration
	handlers := []webhook.Handler{webhook.On(replicaKey, "push", func(_ context.Context, ev webhook.Event) error {
		time.Sleep(handler)
		mu.Lock()
		defer mu.Unlock()
		if at, ok := stored[ev.DeliveryID]; ok {
			took = append(took, time.Since(at))
		}
		return nil
	})}
	backlog := 0
	if times > 0 {
		backlog = 1_500
		var ds []store.Delivery
		for i := range backlog {
			ds = append(ds, p.event(t, fmt.Sprint("backlog-", i), "loud", "push", "", nil))
		}
		for part := range slices.Chunk(ds, 500) {
			_, err := p.store.InsertDeliveries(t.Context(), part)
			require.NoError(t, err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var workers []*webhook.Worker
	for range 2 {
		w, err := webhook.NewWorker(webhook.WorkerConfig{Inbox: p.store, Cipher: p.cipher, Handlers: handlers})
		require.NoError(t, err)
		workers = append(workers, w)
		running.Go(func() { _ = w.Run(ctx) })
	}
	time.Sleep(500 * time.Millisecond) // the flood has taken what it can
	for i := range quiet {
		d := p.event(t, fmt.Sprint("quiet-", i), "quiet", "push", "", nil)
		ds := []store.Delivery{d}
		for j := range times {
			ds = append(ds, p.event(t, fmt.Sprint("loud-", i, "-", j), "loud", "push", "", nil))
		}
		mu.Lock()
		stored[d.DeliveryID] = time.Now()
		mu.Unlock()
		_, err := p.store.InsertDeliveries(t.Context(), ds)
		require.NoError(t, err)
		workers[i%2].Wake()
		time.Sleep(40 * time.Millisecond)
	}
	until(t, time.Minute, "the quiet tenant's events are handled", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(took) == quiet
	})
	if times > 0 {
		require.Positive(t, p.counts(t).Pending, "the flood was none")
	}
	stop()
	running.Wait()
	slices.Sort(took)
	return took
}
