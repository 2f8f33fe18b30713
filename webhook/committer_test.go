package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// gate is an inbox whose inserts wait until they are let through, and may fail.
type gate struct {
	leaders int
	open    chan struct{} // nil lets all through
	fail    func(ds []store.Delivery) error

	mu      sync.Mutex
	calls   [][]string // delivery ids
	stored  map[string]bool
	running int
	most    int
}

func (g *gate) ParallelInserts() int { return g.leaders }

func (g *gate) InsertDeliveries(ctx context.Context, ds []store.Delivery) ([]bool, error) {
	ids := make([]string, len(ds))
	for i, d := range ds {
		ids[i] = d.DeliveryID
	}
	g.mu.Lock()
	g.calls = append(g.calls, ids)
	g.running++
	g.most = max(g.most, g.running)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.running--
	}()
	if g.open != nil {
		select {
		case <-g.open:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if g.fail != nil {
		if err := g.fail(ds); err != nil {
			return nil, err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	isNew := make([]bool, len(ds))
	for i, d := range ds {
		isNew[i] = !g.stored[d.DeliveryID]
		g.stored[d.DeliveryID] = true
	}
	return isNew, nil
}

func (g *gate) seen() [][]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.calls)
}

func newGate() *gate { return &gate{leaders: 1, stored: map[string]bool{}} }

func row(id string) store.Delivery {
	return store.Delivery{ID: "row-" + id + "-" + webhook.NewID()[:8], Provider: "p", DeliveryID: id, EventType: "x", Body: []byte(id)}
}

// result is what a caller was told.
type result struct {
	isNew []bool
	err   error
}

// insert calls a committer in a goroutine of its own.
func insert(ctx context.Context, c *webhook.Committer, ids ...string) <-chan result {
	ds := make([]store.Delivery, len(ids))
	for i, id := range ids {
		ds[i] = row(id)
	}
	out := make(chan result, 1)
	go func() {
		isNew, err := c.InsertDeliveries(ctx, ds)
		out <- result{isNew, err}
	}()
	return out
}

func TestCallersWhoComeMeanwhileAreStoredTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		g.open = make(chan struct{})
		c := must[*webhook.Committer](t)(webhook.NewCommitter(g))
		first := insert(t.Context(), c, "a")
		synctest.Wait()
		require.Equal(t, [][]string{{"a"}}, g.seen(), "who comes alone waits for nobody")
		var others []<-chan result
		for _, ids := range [][]string{{"b", "a"}, {"c"}, {"a"}, {"d", "d"}} {
			others = append(others, insert(t.Context(), c, ids...))
			synctest.Wait() // so that they come in this order
		}
		require.Len(t, g.seen(), 1)
		g.open <- struct{}{}
		require.Equal(t, result{isNew: []bool{true}}, <-first)
		synctest.Wait()
		require.Equal(t, [][]string{{"a"}, {"b", "a", "c", "a", "d", "d"}}, g.seen())
		select {
		case r := <-others[0]:
			t.Fatalf("told %v before its rows are stored", r)
		default:
		}
		close(g.open)
		require.Equal(t, result{isNew: []bool{true, false}}, <-others[0])
		require.Equal(t, result{isNew: []bool{true}}, <-others[1])
		require.Equal(t, result{isNew: []bool{false}}, <-others[2])
		require.Equal(t, result{isNew: []bool{true, false}}, <-others[3])
	})
}

func TestACallerWhoseTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		g.open = make(chan struct{})
		c := must[*webhook.Committer](t)(webhook.NewCommitter(g))
		// The first leads and is not held up by its own context's end.
		ctx, cancel := context.WithCancel(t.Context())
		first := insert(ctx, c, "a")
		synctest.Wait()
		cancel()
		// One leaves the queue, and its rows with it.
		gone, leave := context.WithCancel(t.Context())
		second := insert(gone, c, "b")
		synctest.Wait()
		third := insert(t.Context(), c, "c")
		synctest.Wait()
		leave()
		require.ErrorIs(t, (<-second).err, context.Canceled)
		g.open <- struct{}{}
		require.NoError(t, (<-first).err, "what was begun is finished")
		g.open <- struct{}{}
		require.NoError(t, (<-third).err)
		require.Equal(t, [][]string{{"a"}, {"c"}}, g.seen())
	})
}

// TestALeaderWhoseTimeIsUpStillLeads: the next leader's context has ended when it
// is its turn. Others wait for it.
func TestALeaderWhoseTimeIsUpStillLeads(t *testing.T) {
	for range 50 { // which of the two comes first is chance
		synctest.Test(t, func(t *testing.T) {
			g := newGate()
			g.open = make(chan struct{})
			c := must[*webhook.Committer](t)(webhook.NewCommitter(g))
			first := insert(t.Context(), c, "a")
			synctest.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			second := insert(ctx, c, "b")
			synctest.Wait()
			third := insert(t.Context(), c, "c")
			synctest.Wait()
			go cancel()
			close(g.open)
			require.NoError(t, (<-first).err)
			if r := <-second; r.err != nil {
				require.ErrorIs(t, r.err, context.Canceled)
			}
			require.NoError(t, (<-third).err)
			require.NoError(t, (<-insert(t.Context(), c, "d")).err)
		})
	}
}

var errRefused = errors.New("refused")

// TestOneThatTheStoreRefusesFailsAlone: the others are stored.
func TestOneThatTheStoreRefusesFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		g.open = make(chan struct{})
		g.fail = func(ds []store.Delivery) error {
			if slices.ContainsFunc(ds, func(d store.Delivery) bool { return d.DeliveryID == "poison" }) {
				return errRefused
			}
			return nil
		}
		c := must[*webhook.Committer](t)(webhook.NewCommitter(g))
		results := map[string]<-chan result{}
		for _, id := range []string{"first", "a", "poison", "b", "c"} {
			results[id] = insert(t.Context(), c, id)
			synctest.Wait()
		}
		close(g.open)
		for id, r := range results {
			if r := <-r; id == "poison" {
				require.ErrorIs(t, r.err, errRefused)
			} else {
				require.Equal(t, result{isNew: []bool{true}}, r, id)
			}
		}
		all := []string{"a", "poison", "b", "c"}
		require.Equal(t, [][]string{{"first"}, all, all, {"a"}, {"poison"}, {"b"}, {"c"}}, g.seen())
	})
}

// TestAStoreThatIsDownIsNotAskedForEach: of hundreds that wait.
func TestAStoreThatIsDownIsNotAskedForEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		g.open = make(chan struct{})
		g.fail = func([]store.Delivery) error { return errRefused }
		c := must[*webhook.Committer](t)(webhook.NewCommitter(g))
		var results []<-chan result
		for i := range 300 {
			results = append(results, insert(t.Context(), c, fmt.Sprint(i)))
		}
		synctest.Wait()
		close(g.open)
		for _, r := range results {
			require.ErrorIs(t, (<-r).err, errRefused)
		}
		require.Len(t, g.seen(), 2+2+3)
		g.fail = nil
		require.NoError(t, (<-insert(t.Context(), c, "healed")).err)
	})
}

func TestAStoreThatDoesNotReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		g.open = make(chan struct{})
		c := must[*webhook.Committer](t)(webhook.NewCommitter(g))
		began := time.Now()
		first := insert(t.Context(), c, "a")
		synctest.Wait()
		second := insert(t.Context(), c, "b")
		require.ErrorIs(t, (<-first).err, context.DeadlineExceeded)
		require.Equal(t, 10*time.Second, time.Since(began))
		require.ErrorIs(t, (<-second).err, context.DeadlineExceeded)
		close(g.open)
		require.NoError(t, (<-insert(t.Context(), c, "c")).err)
	})
}

func TestAQueueThatIsFullRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		g.open = make(chan struct{})
		c := must[*webhook.Committer](t)(webhook.NewCommitter(g))
		many := make([]string, 4000)
		for i := range many {
			many[i] = fmt.Sprint("m", i)
		}
		results := []<-chan result{insert(t.Context(), c, "first")}
		synctest.Wait()
		for range 2 {
			results = append(results, insert(t.Context(), c, many...))
			synctest.Wait()
		}
		require.ErrorContains(t, (<-insert(t.Context(), c, many...)).err, "too many")
		require.NotContains(t, fmt.Sprint(g.seen()), "m0", "what is refused is not stored")
		close(g.open)
		for _, r := range results {
			require.NoError(t, (<-r).err)
		}
		require.Equal(t, []int{1, 4000, 4000}, sizes(g.seen()), "one caller's rows stay together")
	})
}

func sizes(calls [][]string) []int {
	out := make([]int, len(calls))
	for i, c := range calls {
		out[i] = len(c)
	}
	return out
}

func TestTransactionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		g.open = make(chan struct{})
		c := must[*webhook.Committer](t)(webhook.NewCommitter(g))
		results := []<-chan result{insert(t.Context(), c, "first")}
		synctest.Wait()
		large := strings.Repeat("x", 3<<20)
		for i := range 2 {
			results = append(results, insert(t.Context(), c, fmt.Sprint(i)+large)) // its body too
			synctest.Wait()
		}
		for i := range 1500 {
			results = append(results, insert(t.Context(), c, fmt.Sprint("s", i)))
		}
		synctest.Wait()
		close(g.open)
		for _, r := range results {
			require.NoError(t, (<-r).err)
		}
		require.Equal(t, []int{1, 1, 1000, 501}, sizes(g.seen()))
	})
}

// TestAsManyLeadersAsTheInboxAsksFor: and none is lost, whatever befalls them.
func TestAsManyLeadersAsTheInboxAsksFor(t *testing.T) {
	for _, leaders := range []int{-1, 1, 2, 3} {
		g := newGate()
		g.leaders = leaders
		stored := map[string]bool{}
		var mu sync.Mutex
		g.fail = func(ds []store.Delivery) error {
			runtime.Gosched()
			mu.Lock()
			defer mu.Unlock()
			switch rand.IntN(20) {
			case 0:
				return errRefused
			case 1:
				panic("the store panics")
			case 2:
				mu.Unlock()
				defer mu.Lock() // for the deferred one
				runtime.Goexit()
			}
			return nil
		}
		c := must[*webhook.Committer](t)(webhook.NewCommitter(g))
		var callers sync.WaitGroup
		for i := range 64 {
			callers.Go(func() {
				for j := range 50 {
					ctx, cancel := context.WithCancel(t.Context())
					if rand.IntN(4) == 0 {
						go cancel()
					}
					id := fmt.Sprint(i, "-", j)
					done := make(chan struct{})
					go func() { // because the store may end it
						defer close(done)
						if _, err := c.InsertDeliveries(ctx, []store.Delivery{row(id)}); err == nil {
							mu.Lock()
							defer mu.Unlock()
							stored[id] = true
						}
					}()
					<-done
					cancel()
				}
			})
		}
		callers.Wait()
		g.fail = nil
		_, err := c.InsertDeliveries(t.Context(), []store.Delivery{row("last")})
		require.NoError(t, err)
		require.LessOrEqual(t, g.most, max(leaders, 1))
		require.Equal(t, max(leaders, 1) > 1, g.most > 1)
		for id := range stored {
			require.True(t, g.stored[id], "what was acknowledged is stored")
		}
		require.Greater(t, len(stored), 64*50/3)
	}
}

// liar is an inbox that says nothing of use.
type liar struct{ store.Inbox }

func (liar) InsertDeliveries(context.Context, []store.Delivery) ([]bool, error) { return nil, nil }

func TestAnInboxThatSaysNothingHasStoredNothing(t *testing.T) {
	c := must[*webhook.Committer](t)(webhook.NewCommitter(liar{}))
	_, err := c.InsertDeliveries(t.Context(), []store.Delivery{row("a")})
	require.Error(t, err)
	_, err = webhook.NewCommitter(nil)
	require.Error(t, err)
	require.Equal(t, 503, serve(receiver(t, liar{}, ring(t)), signed(`{"id":"1","account":"A"}`)).Code)
}
