package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

type bench struct {
	store  *memstore.Store
	cipher *crypto.Keyring
	mu     sync.Mutex
	ran    []string
}

func newBench(t testing.TB) *bench { return &bench{store: memstore.New(), cipher: ring(t)} }

func (b *bench) add(t testing.TB, provider, typ, tenant string) store.Delivery {
	t.Helper()
	d := store.Delivery{ID: webhook.NewID(), Provider: provider, TenantID: tenant, IntegrationID: "i-" + tenant, EventType: typ}
	if tenant == "" {
		d.IntegrationID = ""
	}
	d.DeliveryID = d.ID
	var err error
	d.Body, err = webhook.SealBody(b.cipher, d, []byte(`{"n":1}`))
	require.NoError(t, err)
	_, err = b.store.InsertDeliveries(t.Context(), []store.Delivery{d})
	require.NoError(t, err)
	return d
}

func (b *bench) note(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ran = append(b.ran, s)
}

func (b *bench) worker(t testing.TB, change ...func(*webhook.WorkerConfig)) *webhook.Worker {
	t.Helper()
	cfg := webhook.WorkerConfig{Inbox: b.store, Cipher: b.cipher}
	for _, fn := range change {
		fn(&cfg)
	}
	w, err := webhook.NewWorker(cfg)
	require.NoError(t, err)
	return w
}

func handling(h ...webhook.Handler) func(*webhook.WorkerConfig) {
	return func(cfg *webhook.WorkerConfig) { cfg.Handlers = h }
}

func TestDrainHandsEventsToTheirHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.add(t, "slack", "message", "t1")
		b.add(t, "slack", "other", "t2")
		b.add(t, "github", "push", "t1")
		b.add(t, "slack", "message", "")
		w := b.worker(t, handling(
			webhook.On("slack", "message", func(_ context.Context, ev webhook.Event) error {
				require.Equal(t, `{"n":1}`, string(ev.Body))
				require.Equal(t, 1, ev.Attempt)
				b.note("message " + ev.TenantID)
				return nil
			}),
			webhook.On("slack", webhook.AnyType, func(_ context.Context, ev webhook.Event) error { b.note(ev.Type + " " + ev.TenantID); return nil }),
		))
		n, err := w.Drain(t.Context())
		require.NoError(t, err)
		require.Equal(t, 3, n)
		require.ElementsMatch(t, []string{"message t1", "other t2"}, b.ran)
		c, err := b.store.CountDeliveries(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, [2]int64{1, 3}, [2]int64{c.Pending, c.Done}, "what nobody here handles is left for others")
		n, err = w.Drain(t.Context())
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

func TestAFailingEventIsTriedEightTimesThenDead(t *testing.T) {
	for name, fail := range map[string]func() error{"error": func() error { return errors.New("no luck") }, "panic": func() error { panic("boom") }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				bad, good := b.add(t, "p", "bad", "t1"), b.add(t, "p", "good", "t1")
				var at []time.Duration
				start := time.Now()
				w := b.worker(t, handling(
					webhook.On("p", "bad", func(context.Context, webhook.Event) error { at = append(at, time.Since(start)); return fail() }),
					webhook.On("p", "good", func(context.Context, webhook.Event) error { return nil }),
				))
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- w.Run(ctx) }()
				time.Sleep(48 * time.Hour)
				stop()
				require.NoError(t, <-done)
				require.Len(t, at, 8)
				for i, want := range []time.Duration{0, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 3 * time.Hour, 8 * time.Hour} {
					if i > 0 {
						require.InDelta(t, want.Seconds(), (at[i] - at[i-1]).Seconds(), 0.1*want.Seconds()+2, "rest before attempt %d", i+1)
					}
				}
				d, err := b.store.GetDelivery(t.Context(), "t1", bad.ID)
				require.NoError(t, err)
				require.Equal(t, store.Dead, d.State)
				require.Equal(t, 8, d.Starts)
				require.NotContains(t, d.LastError, "boom")
				d, err = b.store.GetDelivery(t.Context(), "t1", good.ID)
				require.NoError(t, err)
				require.Equal(t, store.Done, d.State)
			})
		})
	}
}

func TestBeforeRunsFirstAndWithoutAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.add(t, "p", "lifecycle", "t1")
		b.add(t, "p", "both", "t1")
		w := b.worker(t, handling(webhook.On("p", "both", func(context.Context, webhook.Event) error { b.note("handler"); return nil })), func(cfg *webhook.WorkerConfig) {
			cfg.Before = func(_ context.Context, ev webhook.Event) error { b.note("before " + ev.Type); return nil }
			cfg.BeforeTypes = []store.Match{{Provider: "p", EventType: "lifecycle"}, {Provider: "p", EventType: "both"}}
			cfg.Concurrency = 1
		})
		_, err := w.Drain(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"before lifecycle", "before both", "handler"}, b.ran)
	})
}

func TestALongHandlerKeepsItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.add(t, "p", "x", "t1")
		slow := handling(webhook.On("p", "x", func(ctx context.Context, _ webhook.Event) error {
			b.note("start")
			select {
			case <-time.After(4 * time.Minute):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}))
		first, second := b.worker(t, slow), b.worker(t, slow)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, w := range []*webhook.Worker{first, second} {
			wg.Go(func() { require.NoError(t, w.Run(ctx)) })
		}
		time.Sleep(10 * time.Minute)
		stop()
		wg.Wait()
		require.Equal(t, []string{"start"}, b.ran)
		c, err := b.store.CountDeliveries(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, int64(1), c.Done)
	})
}

func TestCancellingDrainsWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.add(t, "p", "x", "t1")
		w := b.worker(t, handling(webhook.On("p", "x", func(ctx context.Context, _ webhook.Event) error {
			b.note("start")
			time.Sleep(5 * time.Second)
			b.note(fmt.Sprint("end ", ctx.Err()))
			return nil
		})))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(time.Second)
		stop()
		require.NoError(t, <-done)
		require.Equal(t, []string{"start", "end <nil>"}, b.ran)
	})
}

func TestABodyThatCannotBeOpenedIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		d := b.add(t, "p", "x", "t1")
		right := b.cipher
		b.cipher = must[*crypto.Keyring](t)(crypto.NewKeyring(must[crypto.Key](t)(crypto.GenerateKey("other"))))
		h := handling(webhook.On("p", "x", func(context.Context, webhook.Event) error { b.note("ran"); return nil }))
		_, err := b.worker(t, h).Drain(t.Context())
		require.NoError(t, err)
		got, err := b.store.GetDelivery(t.Context(), "t1", d.ID)
		require.NoError(t, err)
		require.Equal(t, store.Pending, got.State)
		require.Zero(t, got.Starts)
		b.cipher = right
		time.Sleep(time.Hour)
		_, err = b.worker(t, h).Drain(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"ran"}, b.ran)
	})
}

func TestWorkersWithFaultsAreRefused(t *testing.T) {
	nop := func(context.Context, webhook.Event) error { return nil }
	_, err := webhook.NewWorker(webhook.WorkerConfig{Handlers: []webhook.Handler{webhook.On("p", "x", nop), webhook.On("p", "x", nop)}})
	for _, part := range []string{"Inbox", "Cipher", "x"} {
		require.ErrorContains(t, err, part)
	}
}
