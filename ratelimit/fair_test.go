package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/stretchr/testify/require"
)

// TestQ1NoisyTenantsDoNotDelayAQuietOne: where all tenants share a quota, a call of a
// tenant that stays below its fair share waits for no more than one call of each other
// tenant, however many of theirs wait.
func TestQ1NoisyTenantsDoNotDelayAQuietOne(t *testing.T) {
	quota := &ratelimit.Budget{Name: "project", Units: 240, Window: time.Minute, Burst: 60, Shared: true}
	own := &ratelimit.Budget{Name: "user", Units: 10_000, Window: time.Minute, Burst: 10_000}
	const turn = 250 * time.Millisecond // a unit comes back
	for name, c := range map[string]struct{ noisy, calls int }{"one with 5000 calls": {1, 5000}, "ten with 1000 calls each": {10, 1000}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := ratelimit.NewLocal(&ratelimit.LocalConfig{MaxWait: 24 * time.Hour, MaxWaiting: 10_000})
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for i := range c.noisy * c.calls {
					wg.Go(func() {
						tenant := fmt.Sprint("noisy", i%c.noisy)
						one := call(tenant, of(own, tenant), of(quota, ""))
						switch err := l.Wait(ctx, one); {
						case err == nil:
							l.Done(one, nil)
						case !errors.Is(err, context.Canceled):
							t.Error(err)
						}
					})
				}
				synctest.Wait()
				require.Greater(t, l.View("p", quota, "").Waiting, c.noisy*c.calls/2)

				// Half of its fair share of four a second.
				pause := 2 * time.Duration(c.noisy+1) * turn
				var waits []time.Duration
				for range 200 {
					time.Sleep(pause)
					start := time.Now()
					one := call("quiet", of(own, "quiet"), of(quota, ""))
					require.NoError(t, l.Wait(t.Context(), one))
					l.Done(one, nil)
					waits = append(waits, time.Since(start))
				}
				slices.Sort(waits)
				p99, most := waits[197], time.Duration(c.noisy+1)*turn
				t.Logf("quiet: p50 %v, p99 %v, at most %v by its share; %d of the others still wait", waits[99], p99, most, l.View("p", quota, "").Waiting)
				require.LessOrEqual(t, p99, most)
				require.Greater(t, l.View("p", quota, "").Waiting, 1000, "they were there all the time")
				cancel()
				wg.Wait()
			})
		})
	}
}

// TestBackgroundCallsDoNotDelayInteractiveOnes: not even of the same tenant.
func TestBackgroundCallsDoNotDelayInteractiveOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(&ratelimit.LocalConfig{MaxWait: 24 * time.Hour, MaxWaiting: 10_000})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 2000 {
			wg.Go(func() {
				one := call("t", of(project, ""))
				one.Priority = ratelimit.Background
				if l.Wait(ctx, one) == nil {
					l.Done(one, nil)
				}
			})
		}
		synctest.Wait()
		for range 50 {
			time.Sleep(5 * time.Second)
			start := time.Now()
			one := call("t", of(project, ""))
			require.NoError(t, l.Wait(t.Context(), one))
			l.Done(one, nil)
			require.LessOrEqual(t, time.Since(start), time.Second, "the next unit is its own")
		}
		cancel()
		wg.Wait()
	})
}
