package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/faultstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// addKeyed stores an event of an order key.
func (b *bench) addKeyed(t testing.TB, tenant, key, id string) store.Delivery {
	t.Helper()
	d := store.Delivery{ID: webhook.NewID(), Provider: "p", TenantID: tenant, IntegrationID: "i-" + tenant, EventType: "x", DeliveryID: id, OrderKey: key}
	var err error
	d.Body, err = webhook.SealBody(b.cipher, d, []byte(`{}`))
	require.NoError(t, err)
	_, err = b.store.InsertDeliveries(t.Context(), []store.Delivery{d})
	require.NoError(t, err)
	return d
}

// run runs workers until the test's end or stop.
func (b *bench) run(t *testing.T, ws ...*webhook.Worker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, w := range ws {
		wg.Go(func() { _ = w.Run(ctx) })
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// seen is what was noted.
func (b *bench) seen() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.ran)
}

func (b *bench) get(t testing.TB, d store.Delivery) store.Delivery {
	t.Helper()
	got, err := b.store.GetDelivery(t.Context(), d.TenantID, d.ID)
	require.NoError(t, err)
	return got
}

// TestW8SerialKeysInMemory: over several workers, with handlers that fail now and
// then, each key's events succeed in order of arrival and never two at a time.
func TestW8SerialKeysInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, each = 20, 15
		b := newBench(t)
		var mu sync.Mutex
		running, done, overlaps := map[string]int{}, map[string][]string{}, 0
		h := handling(webhook.On("p", "x", func(_ context.Context, ev webhook.Event) error {
			mu.Lock()
			running[ev.OrderKey]++
			if running[ev.OrderKey] > 1 {
				overlaps++
			}
			mu.Unlock()
			time.Sleep(rand.N(50 * time.Millisecond))
			mu.Lock()
			defer mu.Unlock()
			running[ev.OrderKey]--
			if rand.IntN(10) == 0 {
				return errors.New("no luck")
			}
			done[ev.OrderKey] = append(done[ev.OrderKey], ev.DeliveryID)
			return nil
		}))
		stop := b.run(t, b.worker(t, h), b.worker(t, h), b.worker(t, h))
		for i := range each {
			for k := range keys {
				b.addKeyed(t, fmt.Sprint("t", k%3), fmt.Sprint("k", k), fmt.Sprintf("%d-%02d", k, i))
			}
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(3 * time.Hour)
		stop()
		require.Zero(t, overlaps)
		for k := range keys {
			got := done[fmt.Sprint("k", k)]
			require.Len(t, got, each, "key %d", k)
			require.True(t, slices.IsSorted(got), "key %d: %v", k, got)
		}
	})
}

// TestAKeyIsHandledWithoutWaits: the next of a key runs as soon as the one before it
// is over, not at the next poll.
func TestAKeyIsHandledWithoutWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 20 {
			b.addKeyed(t, "t1", "k", fmt.Sprintf("%02d", i))
			time.Sleep(time.Millisecond)
		}
		began := time.Now()
		var n atomic.Int64
		w := b.worker(t, handling(webhook.On("p", "x", func(context.Context, webhook.Event) error { n.Add(1); time.Sleep(10 * time.Millisecond); return nil })))
		defer b.run(t, w)()
		for n.Load() < 20 {
			time.Sleep(time.Millisecond)
		}
		require.Less(t, time.Since(began), 500*time.Millisecond)
	})
}

func TestADeadEventLetsItsKeyGoUnlessItBlocks(t *testing.T) {
	for _, blocks := range []bool{false, true} {
		t.Run(fmt.Sprint("blocks=", blocks), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				first := b.addKeyed(t, "t1", "k", "first")
				time.Sleep(time.Millisecond)
				second := b.addKeyed(t, "t1", "k", "second")
				var fixed atomic.Bool
				w := b.worker(t, handling(webhook.On("p", "x", func(_ context.Context, ev webhook.Event) error {
					b.note(ev.DeliveryID)
					if !fixed.Load() && ev.DeliveryID == "first" {
						return errors.New("no luck")
					}
					return nil
				})), func(cfg *webhook.WorkerConfig) {
					cfg.MaxStarts, cfg.Schedule, cfg.DeadBlocks = 2, []time.Duration{time.Second}, blocks
				})
				defer b.run(t, w)()
				time.Sleep(time.Minute)
				require.Equal(t, store.Dead, b.get(t, first).State)
				if !blocks {
					require.Equal(t, []string{"first", "first", "second"}, b.seen())
					return
				}
				require.Equal(t, []string{"first", "first"}, b.seen())
				require.Equal(t, store.Pending, b.get(t, second).State)
				fixed.Store(true)
				_, err := b.store.ReplayDeliveries(t.Context(), store.DeliveryQuery{TenantID: "t1", IDs: []string{first.ID}})
				require.NoError(t, err)
				time.Sleep(5 * time.Second)
				require.Equal(t, []string{"first", "first", "first", "second"}, b.seen())
			})
		})
	}
}

// latencies are how long the events of a tenant took, from their storing to the end
// of their handler, while another one floods.
func latencies(t *testing.T, flood bool) []time.Duration {
	var took []time.Duration
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		const handler = 50 * time.Millisecond
		var mu sync.Mutex
		stored := map[string]time.Time{}
		w := b.worker(t, handling(webhook.On("p", "x", func(_ context.Context, ev webhook.Event) error {
			time.Sleep(handler)
			mu.Lock()
			defer mu.Unlock()
			if at, quiet := stored[ev.DeliveryID]; quiet {
				took = append(took, time.Since(at))
			}
			return nil
		})))
		stop := b.run(t, w)
		// Forty events a second of the quiet tenant keep two places busy; four hundred of
		// the other would keep twenty busy, of sixteen.
		for i := range 400 {
			mu.Lock()
			stored[fmt.Sprint("quiet-", i)] = time.Now()
			mu.Unlock()
			b.addKeyed(t, "quiet", "", fmt.Sprint("quiet-", i))
			w.Wake()
			for j := range 10 {
				if flood {
					b.addKeyed(t, "loud", "", fmt.Sprint("loud-", i, "-", j))
					w.Wake()
				}
				time.Sleep(2500 * time.Microsecond)
			}
		}
		time.Sleep(time.Second)
		stop()
		c, err := b.store.CountDeliveries(t.Context(), nil)
		require.NoError(t, err)
		if flood {
			require.Greater(t, c.Pending, int64(1000), "the flood is none")
		}
	})
	require.Len(t, took, 400)
	slices.Sort(took)
	return took
}

// TestQ1NoisyNeighbourWebhooks: a tenant with ten times the events, more than can be
// handled, costs another one no more than a fifth of its latency.
func TestQ1NoisyNeighbourWebhooks(t *testing.T) {
	alone, beside := latencies(t, false), latencies(t, true)
	p99 := func(ds []time.Duration) time.Duration { return ds[len(ds)*99/100] }
	t.Logf("p99 alone %v, beside a flood %v", p99(alone), p99(beside))
	require.LessOrEqual(t, p99(beside), p99(alone)*12/10)
}

// TestTenantsTakeTurns: of many tenants that flood, each gets its share.
func TestTenantsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		n := map[string]int{}
		var mu sync.Mutex
		for i := range 200 {
			for j := range 5 {
				for range 1 + 2*j { // t0 has a ninth of what t4 has
					b.addKeyed(t, fmt.Sprint("t", j), "", fmt.Sprint(i, j, webhook.NewID()))
				}
			}
		}
		stop := b.run(t, b.worker(t, handling(webhook.On("p", "x", func(_ context.Context, ev webhook.Event) error {
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			n[ev.TenantID]++
			return nil
		}))))
		time.Sleep(5 * time.Second)
		mu.Lock()
		for tenant, handled := range n {
			require.InDelta(t, 16*50/5, handled, 40, "%s of %v", tenant, n)
		}
		mu.Unlock()
		stop()
	})
}

// crash claims events as a process that dies over them: their handlers started, and
// nobody says how it went.
func (b *bench) crash(t *testing.T, started func(store.Delivery) bool) {
	t.Helper()
	got, err := b.store.ClaimDeliveries(t.Context(), store.ClaimDeliveries{Owner: "dead", Limit: 1000, TTL: time.Minute, Match: []store.Match{{Provider: "p"}}})
	require.NoError(t, err)
	var r store.RecordDeliveries
	for _, d := range got.Deliveries {
		if started(d) {
			r.Starts = append(r.Starts, store.DeliveryLease{ID: d.ID, Owner: "dead"})
		}
	}
	_, err = b.store.RecordDeliveries(t.Context(), r)
	require.NoError(t, err)
	time.Sleep(time.Minute + time.Millisecond)
}

// TestWhatWasCutShortRunsByItself: of the events whose handlers a crash cut short one
// runs at a time, and others beside it.
func TestWhatWasCutShortRunsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 10 {
			b.addKeyed(t, "t1", "", fmt.Sprint("cut-", i))
		}
		b.crash(t, func(store.Delivery) bool { return true })
		for i := range 10 {
			b.addKeyed(t, "t2", "", fmt.Sprint("fresh-", i))
		}
		var mu sync.Mutex
		running, most := map[string]int{}, map[string]int{}
		w := b.worker(t, handling(webhook.On("p", "x", func(_ context.Context, ev webhook.Event) error {
			mu.Lock()
			running[ev.TenantID]++
			most[ev.TenantID] = max(most[ev.TenantID], running[ev.TenantID])
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			running[ev.TenantID]--
			mu.Unlock()
			return nil
		})))
		n, err := w.Drain(t.Context())
		require.NoError(t, err)
		require.Equal(t, 20, n)
		require.Equal(t, map[string]int{"t1": 1, "t2": 8}, most)
	})
}

// TestAnEventThatEndsItsProcessDiesAlone: whatever runs beside it is done in the
// end.
func TestAnEventThatEndsItsProcessDiesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		poison := b.addKeyed(t, "t1", "", "poison")
		for i := range 40 {
			b.addKeyed(t, "t1", "", fmt.Sprint("good-", i))
		}
		var crash func() // ends the worker's process, as far as the store can see
		starts := 0
		h := func(ctx context.Context, ev webhook.Event) error {
			if ev.ID == poison.ID {
				starts++
				crash()
				<-ctx.Done()
				return ctx.Err() // nothing of this process reaches the store
			}
			time.Sleep(time.Millisecond)
			return nil
		}
		for range 20 {
			dead := &deadStore{Inbox: b.store}
			ctx, cancel := context.WithCancel(context.Background())
			crash = func() { dead.die(); cancel() }
			w, err := webhook.NewWorker(webhook.WorkerConfig{Inbox: dead, Cipher: b.cipher, Handlers: []webhook.Handler{webhook.On("p", "x", h)}, Handling: webhook.Handling{HandlerTimeout: time.Second, DrainTimeout: time.Second}})
			require.NoError(t, err)
			go func() { time.Sleep(10 * time.Minute); cancel() }()
			require.NoError(t, w.Run(ctx))
		}
		got := b.get(t, poison)
		require.Equal(t, store.Dead, got.State)
		require.Equal(t, 8, got.Starts)
		require.Equal(t, 8, starts)
		c, err := b.store.CountDeliveries(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, [3]int64{0, 40, 1}, [3]int64{c.Pending, c.Done, c.Dead})
	})
}

// deadStore is the store as a process sees it that dies: from then on nothing it does
// arrives there.
type deadStore struct {
	store.Inbox
	mu   sync.Mutex
	dead bool
}

func (d *deadStore) die() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
}

func (d *deadStore) alive() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errors.New("this process is dead")
	}
	return nil
}

func (d *deadStore) ClaimDeliveries(ctx context.Context, c store.ClaimDeliveries) (store.Claimed, error) {
	if err := d.alive(); err != nil {
		return store.Claimed{}, err
	}
	return d.Inbox.ClaimDeliveries(ctx, c)
}

func (d *deadStore) RecordDeliveries(ctx context.Context, r store.RecordDeliveries) (store.Recorded, error) {
	if err := d.alive(); err != nil {
		return store.Recorded{}, err
	}
	return d.Inbox.RecordDeliveries(ctx, r)
}

func (d *deadStore) RenewDeliveries(ctx context.Context, owner string, ids []string, ttl time.Duration) error {
	if err := d.alive(); err != nil {
		return err
	}
	return d.Inbox.RenewDeliveries(ctx, owner, ids, ttl)
}

// TestAnEventThatIsNeverStartedIsDead: one over which processes die before they
// start its handler, because it takes all their memory say, is not claimed for ever.
func TestAnEventThatIsNeverStartedIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		d := b.addKeyed(t, "t1", "", "big")
		for range 18 {
			b.crash(t, func(store.Delivery) bool { return false })
		}
		_, err := b.worker(t, handling(webhook.On("p", "x", func(context.Context, webhook.Event) error { b.note("ran"); return nil }))).Drain(t.Context())
		require.NoError(t, err)
		require.Empty(t, b.ran)
		got := b.get(t, d)
		require.Equal(t, store.Dead, got.State)
		require.Equal(t, 18, got.Lost)
		require.Contains(t, got.LastError, "cut short")
	})
}

// TestIdleRunAsksOnceAPoll: a Run with nothing to do asks one question each Poll, that
// changes nothing.
func TestIdleRunAsksOnceAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		st := faultstore.New(b.store)
		w := b.worker(t, handling(webhook.On("p", "x", func(context.Context, webhook.Event) error { return nil })), func(cfg *webhook.WorkerConfig) { cfg.Inbox = st })
		stop := b.run(t, w)
		time.Sleep(10 * time.Minute)
		stop()
		calls := map[string]int{}
		for _, c := range st.Calls() {
			calls[c]++
		}
		t.Logf("in 10 minutes: %v", calls)
		require.InDelta(t, 600, calls["DueTenants"], 60)
		require.Len(t, calls, 1, "%v", calls)
	})
}

// TestWakeIsAtOnce: what this process stored is handled at once, what others stored
// within a poll.
func TestWakeIsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var mu sync.Mutex
		var took []time.Duration
		var stored time.Time
		w := b.worker(t, handling(webhook.On("p", "x", func(context.Context, webhook.Event) error {
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(stored))
			return nil
		})))
		defer b.run(t, w)()
		time.Sleep(5300 * time.Millisecond)
		for _, wake := range []bool{true, false} {
			mu.Lock()
			stored = time.Now()
			mu.Unlock()
			b.addKeyed(t, "t1", "", fmt.Sprint(wake))
			if wake {
				w.Wake()
			}
			time.Sleep(3 * time.Second)
		}
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, took, 2)
		require.LessOrEqual(t, took[0], 10*time.Millisecond)
		require.LessOrEqual(t, took[1], 1100*time.Millisecond)
	})
}

// TestWhatIsNotStartedIsGivenBack: a worker that ends leaves nothing leased, and takes
// its claims out of the count.
func TestWhatIsNotStartedIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var ds []store.Delivery
		for i := range 30 {
			ds = append(ds, b.addKeyed(t, "t1", "", fmt.Sprint(i)))
		}
		w := b.worker(t, handling(webhook.On("p", "x", func(context.Context, webhook.Event) error { time.Sleep(2 * time.Second); return nil })))
		stop := b.run(t, w)
		time.Sleep(time.Second)
		stop()
		done := 0
		for _, d := range ds {
			got := b.get(t, d)
			if got.State == store.Done {
				done++
				continue
			}
			require.Equal(t, [3]int{0, 0, 0}, [3]int{got.Claims, got.Starts, got.Lost})
		}
		require.Equal(t, 8, done)
		n, err := b.worker(t, handling(webhook.On("p", "x", func(context.Context, webhook.Event) error { return nil }))).Drain(t.Context())
		require.NoError(t, err)
		require.Equal(t, 22, n)
	})
}

// panicking is an inbox that panics when it is to record.
type panicking struct{ store.Inbox }

func (panicking) RecordDeliveries(context.Context, store.RecordDeliveries) (store.Recorded, error) {
	panic("boom")
}

func TestPanicsOfTheStoreAndTheObserverEndNoProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		d := b.addKeyed(t, "t1", "", "a")
		h := handling(webhook.On("p", "x", func(context.Context, webhook.Event) error { b.note("ran"); return nil }))
		_, err := b.worker(t, h, func(cfg *webhook.WorkerConfig) { cfg.Inbox = panicking{b.store} }).Drain(t.Context())
		var p *webhook.PanicError
		require.ErrorAs(t, err, &p)
		require.Empty(t, b.ran)
		time.Sleep(2 * time.Minute)
		_, err = b.worker(t, h, func(cfg *webhook.WorkerConfig) {
			cfg.Observe = func(context.Context, webhook.Observation) { panic("boom") }
		}).Drain(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"ran"}, b.ran)
		require.Equal(t, store.Done, b.get(t, d).State)
	})
}

// typed is an error whose text panics when it is nil, as one that was returned by
// mistake.
type typed struct{ text string }

func (e *typed) Error() string { return e.text }

// badCipher panics on one event.
type badCipher struct {
	crypto.Cipher
	bad string
}

func (c badCipher) Open(dst, sealed []byte, b crypto.Binding) ([]byte, error) {
	if b.Integration == c.bad {
		panic("boom")
	}
	return c.Cipher.Open(dst, sealed, b)
}

func TestAnErrorThatPanicsAndACipherThatDoesHarmTheirEventOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		bad, odd, good := b.addKeyed(t, "t1", "", "bad"), b.addKeyed(t, "t1", "", "odd"), b.addKeyed(t, "t1", "", "good")
		w := b.worker(t, handling(webhook.On("p", "x", func(_ context.Context, ev webhook.Event) error {
			if ev.ID == odd.ID {
				var err *typed
				return err
			}
			return nil
		})), func(cfg *webhook.WorkerConfig) {
			cfg.Cipher, cfg.Concurrency = badCipher{b.cipher, bad.ID}, 1
		})
		_, err := w.Drain(t.Context())
		var p *webhook.PanicError
		require.ErrorAs(t, err, &p)
		require.Equal(t, store.Done, b.get(t, good).State)
		require.Contains(t, b.get(t, odd).LastError, "panic")
		require.Equal(t, store.Pending, b.get(t, bad).State)
	})
}

func TestEventsGoThroughJSON(t *testing.T) {
	ev := webhook.Event{
		ID: "id", Provider: "p", Type: "t", DeliveryID: "d", TenantID: "t1", IntegrationID: "i1", ExternalID: "e", OrderKey: "k", Body: []byte{0, 255, '"'},
		Header: http.Header{"X": {"y"}}, OccurredAt: time.UnixMilli(1700000000123).UTC(), ReceivedAt: time.UnixMilli(1700000000456).UTC(), Attempt: 3,
	}
	raw, err := json.Marshal(ev)
	require.NoError(t, err)
	var back webhook.Event
	require.NoError(t, json.Unmarshal(raw, &back))
	require.Equal(t, ev, back)
}

// TestAHandlerThatHangsIsLeftBehind: one that does not return after its context ended
// keeps its place for five seconds more and not for good.
func TestAHandlerThatHangsIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		d, good := b.addKeyed(t, "t1", "", "hangs"), b.addKeyed(t, "t1", "", "good")
		release := make(chan struct{})
		began := time.Now()
		var goodAfter time.Duration
		w := b.worker(t, handling(webhook.On("p", "x", func(_ context.Context, ev webhook.Event) error {
			if ev.ID == d.ID {
				<-release
				return nil // too late to count
			}
			goodAfter = time.Since(began)
			return nil
		})), func(cfg *webhook.WorkerConfig) {
			cfg.Concurrency, cfg.HandlerTimeout, cfg.MaxStarts = 1, time.Minute, 1
		})
		n, err := w.Drain(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, n)
		close(release)
		require.LessOrEqual(t, goodAfter, 66*time.Second)
		require.Equal(t, store.Done, b.get(t, good).State)
		require.Equal(t, store.Dead, b.get(t, d).State)
		require.Contains(t, b.get(t, d).LastError, "did not return")
	})
}
