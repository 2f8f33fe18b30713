package ratelimit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/stretchr/testify/require"
)

// even is a budget like those that most calls draw from.
var even = &ratelimit.Budget{Name: "even", Units: 600, Window: time.Minute, Burst: 40}

const evenEach = time.Minute / 600

// rush lets many goroutines call at one moment, each as often as it says, and counts
// the units that they got. Time stands still meanwhile.
func rush(t *testing.T, l ratelimit.Limiter, h *ratelimit.Handles, each, cost int) int {
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	// The context has a deadline that nothing can meet that has to wait, and is not over.
	ctx = notOver{ctx}
	var units atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			c := call(fmt.Sprint(i%3), ratelimit.Charge{Budget: even, Key: "k", Cost: cost})
			if i%4 > 0 { // some look the bucket up
				c.Handles = h
			}
			for range each {
				if l.Wait(ctx, c) == nil {
					units.Add(int64(cost))
					l.Done(c, nil)
				}
			}
		})
	}
	wg.Wait()
	return int(units.Load())
}

type notOver struct{ context.Context }

func (notOver) Err() error            { return nil }
func (notOver) Done() <-chan struct{} { return nil }

// TestRushGetsWhatTheModelSays compares the limiter with the plainest model of a
// budget with even refill: a number of units that grows with time and is cut by what
// answers tell. Whatever the goroutines do, they get as many as it has.
func TestRushGetsWhatTheModelSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		l := ratelimit.NewLocal(nil)
		h := new(ratelimit.Handles)
		var missing time.Duration // until all units are there
		held := time.Duration(0)  // until nobody may go
		for round := range 300 {
			step := time.Duration(random.IntN(40)) * evenEach / 4
			time.Sleep(step)
			missing, held = max(0, missing-step), max(0, held-step)
			switch random.IntN(6) {
			case 0:
				left := random.IntN(even.Burst)
				l.Done(call("t"), []ratelimit.Reading{{Budget: even, Key: "k", Remaining: left}})
				missing = max(missing, time.Duration(even.Burst-left)*evenEach)
			case 1:
				wait := time.Duration(1+random.IntN(20)) * evenEach / 4
				l.Done(call("t"), refused(even, "k", wait))
				held = max(held, wait)
			}
			calls := random.IntN(6)
			want := 0
			if held == 0 {
				want = min(16*calls, int((time.Duration(even.Burst)*evenEach-missing)/evenEach))
				missing += time.Duration(want) * evenEach
			}
			require.Equal(t, want, rush(t, l, h, calls, 1), "round %d", round)
		}
	})
}

// TestRushWhileAnswersArrive: answers and calls that cost several units come at the
// same time as others; nobody gets more than the budget holds.
func TestRushWhileAnswersArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(nil)
		h := new(ratelimit.Handles)
		start := time.Now()
		var units atomic.Int64
		for range 100 {
			var wg sync.WaitGroup
			for cost := range 3 {
				wg.Go(func() { units.Add(int64(rush(t, l, h, 3, 1+cost))) })
			}
			wg.Go(func() {
				c := call("t")
				c.Handles = h
				for left := range 60 {
					l.Done(c, []ratelimit.Reading{{Budget: even, Key: "k", Remaining: 60 - left}})
				}
			})
			wg.Wait()
			// The last answer was that one unit is left, and some may have been spent after it.
			require.LessOrEqual(t, l.View("p", even, "k").Remaining, 1)
			require.LessOrEqual(t, units.Load(), int64(even.Burst)+int64(time.Since(start)/evenEach))
			time.Sleep(5 * evenEach)
		}
		require.Greater(t, units.Load(), int64(even.Burst))
		require.LessOrEqual(t, units.Load(), int64(even.Burst+100*5))
	})
}

// TestNoUnitIsSpentTwice: many goroutines draw from a large budget at one moment.
func TestNoUnitIsSpentTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := &ratelimit.Budget{Name: "large", Units: 3600, Window: time.Hour, Burst: 1_000_000}
		l := ratelimit.NewLocal(nil)
		h := new(ratelimit.Handles)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				c := call("t", of(large, "k"))
				c.Handles = h
				for range 100_000 {
					if err := l.Wait(t.Context(), c); err != nil {
						t.Error(err)
						return
					}
					l.Done(c, nil)
				}
			})
		}
		wg.Wait()
		require.Equal(t, 1_000_000-8*100_000, l.View("p", large, "k").Remaining)
	})
}

// TestHandlesDoNotMix: what is remembered is of one limiter, provider, budget and key.
func TestHandlesDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(ratelimit.Handles)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		other := *posts
		for _, l := range []*ratelimit.Local{ratelimit.NewLocal(nil), ratelimit.NewLocal(nil)} {
			for _, provider := range []string{"p", "q"} {
				for _, b := range []*ratelimit.Budget{posts, &other} {
					for _, key := range []string{"1", "2"} {
						c := &ratelimit.Call{Provider: provider, Charges: []ratelimit.Charge{of(b, key)}, Handles: h}
						require.NoError(t, l.Wait(ctx, c))
						require.ErrorIs(t, l.Wait(ctx, c), ratelimit.ErrRateLimited)
					}
				}
			}
		}
	})
}

// TestHandlesOutliveTheirBuckets: a bucket that was dropped because nothing was in it
// is not drawn from any more.
func TestHandlesOutliveTheirBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(nil)
		c := call("t", of(posts, "k"))
		c.Handles = new(ratelimit.Handles)
		for range 3 {
			require.Zero(t, spend(t, l, 1, c)[0])
			time.Sleep(time.Minute)
			for i := range 100_000 { // so many that buckets are dropped
				require.NoError(t, l.Wait(t.Context(), call("t", of(posts, fmt.Sprint(i)))))
			}
			time.Sleep(time.Minute)
			require.Zero(t, spend(t, l, 1, c)[0])
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			require.ErrorIs(t, l.Wait(ctx, call("t", of(posts, "k"))), ratelimit.ErrRateLimited, "one who looks it up draws from the same")
			cancel()
			time.Sleep(time.Minute)
		}
	})
}

func TestGoingAtOnceAllocatesNothing(t *testing.T) {
	l := ratelimit.NewLocal(nil)
	for _, h := range []*ratelimit.Handles{nil, {}} {
		c := call("t", of(plenty, "k"), of(atOnce, "k"))
		c.Handles = h
		readings := []ratelimit.Reading{{Budget: plenty, Key: "k", Remaining: 1 << 30}}
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if l.Wait(t.Context(), c) != nil {
				panic("refused")
			}
			l.Done(c, readings)
		}))
	}
}
