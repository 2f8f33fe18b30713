package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/stretchr/testify/require"
)

var (
	posts   = &ratelimit.Budget{Name: "chat.postMessage", Units: 1, Window: time.Second}
	core    = &ratelimit.Budget{Name: "core", Units: 10, Window: time.Hour, Refill: ratelimit.Whole}
	project = &ratelimit.Budget{Name: "project", Units: 60, Window: time.Minute, Burst: 5, Shared: true}
	atOnce  = &ratelimit.Budget{Name: "at once", Concurrent: 2}
)

func call(tenant string, charges ...ratelimit.Charge) *ratelimit.Call {
	return &ratelimit.Call{Provider: "p", TenantID: tenant, Charges: charges}
}

func of(b *ratelimit.Budget, key string) ratelimit.Charge {
	return ratelimit.Charge{Budget: b, Key: key}
}

func refused(b *ratelimit.Budget, key string, after time.Duration) []ratelimit.Reading {
	return []ratelimit.Reading{{Budget: b, Key: key, Remaining: -1, Refused: true, RetryAfter: after}}
}

// spend makes calls one after the other and reports when each went.
func spend(t *testing.T, l ratelimit.Limiter, n int, c *ratelimit.Call) []time.Duration {
	t.Helper()
	start := time.Now()
	var at []time.Duration
	for range n {
		require.NoError(t, l.Wait(t.Context(), c))
		at = append(at, time.Since(start))
		l.Done(c, nil)
	}
	return at
}

func TestContinuousBudgetIsSpacedAfterItsBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(nil)
		require.Equal(t, []time.Duration{0, time.Second, 2 * time.Second}, spend(t, l, 3, call("t", of(posts, "C1"))))
		time.Sleep(time.Minute)
		c := call("t", of(project, ""))
		require.Equal(t, []time.Duration{0, 0, 0, 0, 0, time.Second, 2 * time.Second}, spend(t, l, 7, c))
		require.Zero(t, spend(t, l, 1, call("t", of(posts, "C2")))[0], "another channel has a budget of its own")
	})
}

func TestWindowComesBackWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(&ratelimit.LocalConfig{MaxWait: 2 * time.Hour})
		c := call("t", of(core, "42"))
		at := spend(t, l, 12, c)
		require.Zero(t, at[9])
		require.Equal(t, time.Hour, at[10].Round(time.Millisecond))
		require.Equal(t, at[10], at[11])
	})
}

func TestAlignedWindowEndsAtTheFullHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(25 * time.Minute)
		l := ratelimit.NewLocal(&ratelimit.LocalConfig{MaxWait: 2 * time.Hour})
		hourly := &ratelimit.Budget{Name: "hour", Units: 1, Window: time.Hour, Refill: ratelimit.Aligned}
		at := spend(t, l, 2, call("t", of(hourly, "")))
		require.Equal(t, 35*time.Minute, at[1].Round(time.Millisecond))
	})
}

func TestAnswersMoveAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(&ratelimit.LocalConfig{MaxWait: 2 * time.Hour})
		c := call("t", of(core, "42"))
		require.NoError(t, l.Wait(t.Context(), c))
		// Others spent the rest, and the window ends in ten minutes.
		l.Done(c, []ratelimit.Reading{{Budget: core, Key: "42", Limit: 20, Remaining: 2, ResetIn: 10 * time.Minute}})
		require.Equal(t, ratelimit.View{Limit: 20, Remaining: 2, ResetIn: 10 * time.Minute}, l.View("p", core, "42"))
		at := spend(t, l, 3, c)
		require.Zero(t, at[1])
		require.Equal(t, 10*time.Minute, at[2])
		// An answer that was under way meanwhile tells nothing of the new window.
		l.Done(call("t"), []ratelimit.Reading{{Budget: core, Key: "42", Remaining: 0, ResetIn: -1}})
		require.Zero(t, spend(t, l, 1, c)[0])
	})
}

func TestWhatIsNotChargedIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		free := []ratelimit.Reading{{Budget: core, Key: "A", Remaining: -1, Uncharged: true}, {Budget: posts, Key: "A", Remaining: -1, Uncharged: true}}
		l := ratelimit.NewLocal(nil)
		c := call("t", of(posts, "A"), of(core, "A"))
		for range 100 {
			require.NoError(t, l.Wait(t.Context(), c))
			l.Done(c, free)
		}
		require.Equal(t, start, time.Now())
		require.Equal(t, 10, l.View("p", core, "A").Remaining)

		// What the call did not draw is not given back.
		require.NoError(t, l.Wait(t.Context(), call("t", of(core, "B"))))
		l.Done(call("t", of(core, "C")), []ratelimit.Reading{{Budget: core, Key: "B", Remaining: -1, Uncharged: true}})
		require.Equal(t, 9, l.View("p", core, "B").Remaining)

		// What an answer tells holds: others spent more than is known here.
		c = call("t", of(core, "A"))
		require.NoError(t, l.Wait(t.Context(), c))
		l.Done(c, []ratelimit.Reading{{Budget: core, Key: "A", Remaining: -1, Uncharged: true}, {Budget: core, Key: "A", Remaining: 4, ResetIn: time.Hour}})
		require.Equal(t, 4, l.View("p", core, "A").Remaining)

		// Somebody who waits gets what is given back.
		last := call("t", ratelimit.Charge{Budget: core, Key: "A", Cost: 4})
		require.NoError(t, l.Wait(t.Context(), last))
		waited := make(chan error)
		short, cancel := context.WithCancel(t.Context())
		defer cancel()
		patient := ratelimit.NewLocal(&ratelimit.LocalConfig{MaxWait: 2 * time.Hour})
		all := call("t", ratelimit.Charge{Budget: core, Key: "A", Cost: 10})
		require.NoError(t, patient.Wait(short, all))
		go func() { waited <- patient.Wait(short, call("t", of(core, "A"))) }()
		synctest.Wait()
		patient.Done(all, []ratelimit.Reading{{Budget: core, Key: "A", Remaining: -1, Uncharged: true}})
		require.NoError(t, <-waited)
		require.Equal(t, start, time.Now())
	})
}

func TestReserveIsLeftToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &ratelimit.Budget{Name: "core", Units: 10, Window: time.Hour, Refill: ratelimit.Whole, Reserve: 3}
		l := ratelimit.NewLocal(nil)
		c := call("t", of(b, ""))
		spend(t, l, 7, c)
		var limited *ratelimit.Error
		require.ErrorAs(t, l.Wait(t.Context(), c), &limited)
		require.Equal(t, time.Hour, time.Until(limited.RetryAt).Round(time.Second))
	})
}

func TestRefusalStopsEverybodyOfTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(nil)
		c := call("t", of(posts, "C1"))
		spend(t, l, 1, c)
		l.Done(call("t"), refused(posts, "C1", 7*time.Second))
		require.Zero(t, spend(t, l, 1, call("t", of(posts, "C2")))[0])
		require.Equal(t, 7*time.Second, spend(t, l, 1, call("other", of(posts, "C1")))[0])

		l.Done(call("t"), refused(posts, "C1", 0))
		require.Equal(t, time.Minute, spend(t, l, 1, c)[0], "an answer that does not say how long")
		l.Done(call("t"), refused(posts, "C1", 1000*time.Hour))
		var limited *ratelimit.Error
		require.ErrorAs(t, l.Wait(t.Context(), c), &limited)
		require.Equal(t, 24*time.Hour, time.Until(limited.RetryAt), "nobody is believed beyond a day")
	})
}

func TestDeadlineThatCannotBeMetIsAnErrorAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(nil)
		l.Done(call("t"), refused(posts, "C1", 30*time.Second))
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := l.Wait(ctx, call("t", of(posts, "C1")))
		var limited *ratelimit.Error
		require.ErrorAs(t, err, &limited)
		require.ErrorIs(t, err, ratelimit.ErrRateLimited)
		require.Equal(t, start.Add(30*time.Second), limited.RetryAt)
		require.Equal(t, "p chat.postMessage C1", limited.Scope)
		require.Zero(t, time.Since(start))
	})
}

// TestDeadlineBehindOthersThatWait: who comes after them is told as well.
func TestDeadlineBehindOthersThatWait(t *testing.T) {
	for name, b := range map[string]*ratelimit.Budget{
		"window":   {Name: "core", Units: 1, Window: time.Hour, Refill: ratelimit.Whole},
		"even":     {Name: "even", Units: 1, Window: time.Hour},
		"refusals": {Name: "refusals", Concurrent: 100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := ratelimit.NewLocal(&ratelimit.LocalConfig{MaxWait: 2 * time.Hour})
				spend(t, l, 1, call("t", of(b, "")))
				if b.Units == 0 {
					l.Done(call("t"), refused(b, "", time.Hour))
				}
				var wg sync.WaitGroup
				wg.Go(func() { spend(t, l, 1, call("t", of(b, ""))) })
				synctest.Wait()
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var limited *ratelimit.Error
				require.ErrorAs(t, l.Wait(ctx, call("t", of(b, ""))), &limited)
				require.Zero(t, time.Since(start))
				require.GreaterOrEqual(t, time.Until(limited.RetryAt), time.Hour-time.Millisecond)
				wg.Wait()
			})
		})
	}
}

// TestWaitingForTwoBudgets: callers who wait for one budget and then another all go, as
// soon as the narrowest allows. (When they went back to the first line each time, this
// took 25 times the processor time.)
func TestWaitingForTwoBudgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(&ratelimit.LocalConfig{MaxWait: 10 * time.Hour, MaxWaiting: 10_000})
		minute := &ratelimit.Budget{Name: "minute", Units: 60, Window: time.Minute, Burst: 20}
		hour := &ratelimit.Budget{Name: "hour", Units: 400, Window: time.Hour, Refill: ratelimit.Whole}
		window := &ratelimit.Budget{Name: "window", Units: 30, Window: 10 * time.Second, Refill: ratelimit.Whole}
		var went atomic.Int64
		start := time.Now()
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				c := call("t", of(window, ""), of(minute, ""), of(hour, ""), of(atOnce, ""))
				if err := l.Wait(t.Context(), c); err != nil {
					t.Error(err)
					return
				}
				went.Add(1)
				time.Sleep(100 * time.Millisecond)
				l.Done(c, nil)
			})
		}
		wg.Wait()
		require.EqualValues(t, 1000, went.Load())
		require.WithinDuration(t, start.Add(2*time.Hour+200*time.Second), time.Now(), 30*time.Second)
	})
}

func TestAnEndedContextEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(nil)
		l.Done(call("t"), refused(posts, "C1", 30*time.Second))
		c := call("t", of(posts, "C1"))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		require.ErrorIs(t, l.Wait(ctx, c), context.Canceled)
		require.Equal(t, time.Second, time.Since(start))
		require.ErrorIs(t, l.Wait(ctx, call("t")), context.Canceled)
		require.Equal(t, 29*time.Second, spend(t, l, 1, c)[0], "its turn went on to the next")
	})
}

func TestOneBudgetThatRefusesCostsTheOthersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(nil)
		l.Done(call("t"), refused(project, "", 10*time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, l.Wait(ctx, call("t", of(core, "42"), of(project, ""))), ratelimit.ErrRateLimited)
		require.Equal(t, 10, l.View("p", core, "42").Remaining)
	})
}

func TestCallsUnderWayAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(nil)
		var mu sync.Mutex
		now, most := 0, 0
		var wg sync.WaitGroup
		start := time.Now()
		for range 10 {
			wg.Go(func() {
				c := call("t", of(atOnce, ""))
				if err := l.Wait(t.Context(), c); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				now--
				mu.Unlock()
				l.Done(c, nil)
			})
		}
		wg.Wait()
		require.Equal(t, 2, most)
		require.Equal(t, 5*time.Second, time.Since(start))
	})
}

func TestSlowStartAfterARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &ratelimit.Budget{Name: "secondary", Concurrent: 100, SlowStart: true}
		l := ratelimit.NewLocal(nil)
		c := call("t", of(b, ""))
		require.NoError(t, l.Wait(t.Context(), c))
		l.Done(c, refused(b, "", 10*time.Second))
		start := time.Now()
		var wg sync.WaitGroup
		for range 15 {
			wg.Go(func() {
				c := call("t", of(b, ""))
				if err := l.Wait(t.Context(), c); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Second)
				l.Done(c, []ratelimit.Reading{{Budget: b, Remaining: -1}})
			})
		}
		wg.Wait()
		// After the pause 1 goes, then 2, then 4 …: 1+2+4+8 in four seconds.
		require.Equal(t, 14*time.Second, time.Since(start))
	})
}

// TestTenantsTakeTurns: a tenant with many calls does not hold up another one.
func TestTenantsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(&ratelimit.LocalConfig{MaxWait: time.Hour})
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		go1 := func(tenant string) {
			wg.Go(func() {
				c := call(tenant, of(project, ""))
				if err := l.Wait(t.Context(), c); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, tenant)
				mu.Unlock()
				l.Done(c, nil)
			})
		}
		for range 50 {
			go1("flood")
		}
		synctest.Wait()
		for range 3 {
			go1("b")
			go1("c")
		}
		wg.Wait()
		require.Len(t, order, 56)
		// Five went at once; from the sixth on the three tenants alternate.
		last := 0
		for i, who := range order {
			if who != "flood" {
				last = i
			}
		}
		require.LessOrEqual(t, last, 5+3*3, "%v", order)
	})
}

func TestInteractiveOvertakesBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(nil)
		var mu sync.Mutex
		var order []ratelimit.Priority
		var wg sync.WaitGroup
		start := func(p ratelimit.Priority) {
			wg.Go(func() {
				c := call("t", of(posts, "C"))
				c.Priority = p
				if err := l.Wait(t.Context(), c); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, p)
				mu.Unlock()
				l.Done(c, nil)
			})
		}
		spend(t, l, 1, call("t", of(posts, "C")))
		for range 3 {
			start(ratelimit.Background)
		}
		synctest.Wait()
		for range 2 {
			start(ratelimit.Interactive)
		}
		wg.Wait()
		require.Equal(t, []ratelimit.Priority{0, 0, 1, 1, 1}, order)
		require.Equal(t, ratelimit.Background, ratelimit.PriorityOf(ratelimit.WithPriority(t.Context(), ratelimit.Background)))
		require.Equal(t, ratelimit.Interactive, ratelimit.PriorityOf(t.Context()))
	})
}

func TestTooManyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(&ratelimit.LocalConfig{MaxWaiting: 3, MaxWait: time.Hour})
		spend(t, l, 1, call("t", of(posts, "C")))
		var wg sync.WaitGroup
		var mu sync.Mutex
		limited := 0
		for range 10 {
			wg.Go(func() {
				c := call("t", of(posts, "C"))
				if err := l.Wait(t.Context(), c); err != nil {
					mu.Lock()
					limited++
					mu.Unlock()
					require.ErrorIs(t, err, ratelimit.ErrRateLimited)
					return
				}
				l.Done(c, nil)
			})
		}
		wg.Wait()
		require.Equal(t, 7, limited)
	})
}

// TestNeverMoreThanTheBudget: whatever the callers do, no window holds more.
func TestNeverMoreThanTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal(&ratelimit.LocalConfig{MaxWait: time.Hour})
		var mu sync.Mutex
		var at []time.Time
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				c := call(fmt.Sprint(i%7), of(core, "k"), of(project, ""))
				for range 5 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Minute)
					err := l.Wait(ctx, c)
					cancel()
					if err != nil {
						continue
					}
					mu.Lock()
					at = append(at, time.Now())
					mu.Unlock()
					l.Done(c, nil)
				}
			})
		}
		wg.Wait()
		require.Len(t, at, 10, "the window of an hour holds ten")
	})
}

func ExampleNewLocal() {
	hourly := &ratelimit.Budget{Name: "core", Units: 1, Window: time.Hour, Refill: ratelimit.Whole}
	l := ratelimit.NewLocal(nil)
	c := &ratelimit.Call{Provider: "github", TenantID: "tenant-1", Charges: []ratelimit.Charge{{Budget: hourly, Key: "42"}}}

	fmt.Println(l.Wait(context.Background(), c))
	l.Done(c, nil)
	fmt.Println(errors.Is(l.Wait(context.Background(), c), ratelimit.ErrRateLimited))
	// Output:
	// <nil>
	// true
}
