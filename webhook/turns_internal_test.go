package webhook

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/stretchr/testify/require"
)

// backlog is a store with so many due events of each tenant, and turns over it.
type backlog struct {
	turns
	have map[string]int
	n    int
}

func newBacklog(h Handling, have map[string]int) *backlog {
	h.setDefaults()
	b := &backlog{turns: newTurns(h), have: have}
	for id := range have {
		b.mark(id, time.Time{})
	}
	return b
}

// claim claims as the store would, and reports how many of whom.
func (b *backlog) claim(t *testing.T, change ...func(*claimed)) map[string]int {
	t.Helper()
	picked, limit := b.pick()
	got := map[string]int{}
	var events []claimed
	var more []string
	for _, p := range picked {
		n := min(limit, b.have[p.TenantID])
		got[p.TenantID], b.have[p.TenantID] = n, b.have[p.TenantID]-n
		for range n {
			b.n++
			c := claimed{store.Delivery{ID: fmt.Sprint(b.n), TenantID: p.TenantID, IntegrationID: "i"}, "o"}
			for _, fn := range change {
				fn(&c)
			}
			events = append(events, c)
		}
		if n == limit {
			more = append(more, p.TenantID)
		}
	}
	for _, c := range b.claimed(picked, events, more) { // no room for so many suspects
		b.have[c.TenantID]++
		b.mark(c.TenantID, time.Time{})
	}
	return got
}

func TestTurnsShareAClaim(t *testing.T) {
	b := newBacklog(Handling{Concurrency: 8, TenantConcurrency: 4, Batch: 16}, map[string]int{"a": 1000, "b": 1000, "c": 3})
	got := b.claim(t)
	require.Equal(t, map[string]int{"a": 5, "b": 5, "c": 3}, got, "a third each of what may wait")
	require.Equal(t, 13, b.waiting)
}

// TestTurnsKeepRoom: a flood of one tenant never takes the places of others, nor
// their places in the queue.
func TestTurnsKeepRoom(t *testing.T) {
	for _, h := range []Handling{{}, {Concurrency: 1}, {Concurrency: 3, TenantConcurrency: 2, Batch: 2}, {Concurrency: 16, TenantConcurrency: 12}} {
		h.setDefaults()
		b := newBacklog(h, map[string]int{"flood": 100_000})
		ran := 0
		for range 100 {
			b.claim(t)
			if c, ok := b.next(); ok {
				require.Equal(t, "flood", c.TenantID)
				ran++
			}
		}
		require.Equal(t, h.TenantConcurrency, ran, "%+v", h)
		b.claim(t)
		if h.TenantConcurrency == h.Concurrency {
			continue
		}
		b.have["late"] = 5
		b.mark("late", time.Time{})
		require.Positive(t, b.claim(t)["late"], "%+v", h)
		c, ok := b.next()
		require.True(t, ok)
		require.Equal(t, "late", c.TenantID, "%+v", h)
	}
}

// TestTurnsForgetTenants: what is over takes no memory.
func TestTurnsForgetTenants(t *testing.T) {
	have, want := map[string]int{}, 0
	for i := range 500 {
		have[fmt.Sprint(i)] = 1 + i%3
		want += 1 + i%3
	}
	b := newBacklog(Handling{}, have)
	total := 0
	for range 2000 {
		b.claim(t)
		for {
			c, ok := b.next()
			if !ok {
				break
			}
			total++
			b.done(c)
		}
	}
	require.Equal(t, want, total)
	require.Empty(t, b.tenants)
	require.Empty(t, b.due)
	require.Empty(t, b.ready)
	require.True(t, b.idle())
}

// TestTurnsAreKeptUnderRandomWork: whatever happens in whatever order, no share is
// exceeded, nothing is lost, and nobody waits while there is room for him.
func TestTurnsAreKeptUnderRandomWork(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		h := Handling{Concurrency: 1 + r.IntN(8), Batch: 1 + r.IntN(20)}
		h.TenantConcurrency = 1 + r.IntN(h.Concurrency)
		have, left := map[string]int{}, 0
		for i := range 1 + r.IntN(6) {
			have[fmt.Sprint(i)] = r.IntN(60)
			left += have[fmt.Sprint(i)]
		}
		b := newBacklog(h, have)
		var running []claimed
		for step := 0; left > 0; step++ {
			require.Less(t, step, 100_000, "seed %d: stuck with %d left", seed, left)
			switch r.IntN(4) {
			case 0:
				b.claim(t, func(c *claimed) {
					if r.IntN(20) == 0 {
						c.Lost, c.Starts = 1, 1
					}
				})
			case 1, 2:
				if len(running) < h.Concurrency {
					if c, ok := b.next(); ok {
						running = append(running, c)
					}
				}
			default:
				if len(running) > 0 {
					i := r.IntN(len(running))
					b.done(running[i])
					running = append(running[:i], running[i+1:]...)
					left--
				}
			}
			of, suspects := map[string]int{}, 0
			for _, c := range running {
				of[c.TenantID]++
				if c.suspect() {
					suspects++
				}
			}
			require.LessOrEqual(t, suspects, 1)
			for id, n := range of {
				require.LessOrEqual(t, n, h.TenantConcurrency, "seed %d: of tenant %s", seed, id)
			}
			require.LessOrEqual(t, b.waiting, h.Batch, "seed %d", seed)
		}
	}
}

func TestTheLeastStartedSuspectRunsFirst(t *testing.T) {
	b := newBacklog(Handling{}, map[string]int{"a": 3, "b": 1})
	starts := []int{4, 1, 2, 0}
	b.claim(t, func(c *claimed) {
		c.Lost, c.Starts = 1, starts[0]
		starts = starts[1:]
	})
	first, ok := b.next()
	require.True(t, ok)
	require.Equal(t, 1, first.Starts)
	other, ok := b.next()
	require.True(t, ok)
	require.False(t, other.suspect(), "a second suspect beside the first")
	_, ok = b.next()
	require.False(t, ok)
	b.done(first)
	second, ok := b.next()
	require.True(t, ok)
	require.Equal(t, 2, second.Starts)
}
