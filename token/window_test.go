package token_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// ended is a fleet of n connections whose tokens have ended.
func ended(t *testing.T, n int) *fleet {
	f := newFleet(t, time.Hour)
	for i := range n {
		f.connect(t, i, time.Second)
	}
	time.Sleep(2 * time.Second)
	return f
}

// rounds asks for connections from to to-1 at once and returns how many calls
// were under way in each round trip of the provider.
func (f *fleet) rounds(t *testing.T, v *token.Vault, from, to int) (under []int) {
	var wg sync.WaitGroup
	for i := from; i < to; i++ {
		wg.Go(func() { _ = ask(t.Context(), v, i) })
	}
	time.Sleep(f.latency / 2)
	for {
		f.mu.Lock()
		n := f.under
		f.mu.Unlock()
		if n == 0 {
			break
		}
		under = append(under, n)
		time.Sleep(f.latency)
	}
	wg.Wait()
	return under
}

func TestTheWindowOfRenewals(t *testing.T) {
	t.Run("doubles with each round trip, up to its most", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := ended(t, 1000)
			require.Equal(t, []int{8, 16, 32, 64, 128, 256, 256, 240}, f.rounds(t, f.vault(t, nil), 0, 1000))
		})
	})
	t.Run("shrinks again when it is not used", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := ended(t, 1500)
			v := f.vault(t, nil)
			f.rounds(t, v, 0, 1000)
			for i := range 300 {
				require.NoError(t, ask(t.Context(), v, 1000+i))
			}
			require.Equal(t, 8, f.rounds(t, v, 1300, 1500)[0])
		})
	})
	t.Run("falls to one with a failure", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := ended(t, 100)
			v := f.vault(t, nil)
			f.fail(always(errDown))
			require.Error(t, ask(t.Context(), v, 0))
			f.fail(nil)
			require.Equal(t, []int{1, 2, 4, 8, 16}, f.rounds(t, v, 1, 32))
		})
	})
	t.Run("callers who wait keep their own deadlines", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := ended(t, 100)
			f.latency = 5 * time.Second
			v := f.vault(t, nil)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			start := time.Now()
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					if err := ask(ctx, v, i); err != context.DeadlineExceeded {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			require.Equal(t, 100*time.Millisecond, time.Since(start))
			time.Sleep(30 * time.Second) // the work goes on for the next ones
			require.Zero(t, failures(askAll(t, v, 100)))
			calls, _ := f.seen()
			require.Len(t, calls, 100)
		})
	})
	t.Run("those who wait too long make no call", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := ended(t, 400)
			f.latency = 9 * time.Second
			v := f.vault(t, nil)
			f.fail(always(&token.Error{Outcome: token.Refused, Code: "refused", Status: 400})) // the window stays
			start := time.Now()
			var late []error
			for _, err := range askAll(t, v, 400) {
				var e *token.Error
				require.ErrorAs(t, err, &e)
				if e.Code == "too_many_renewals" {
					late = append(late, err)
				}
			}
			calls, _ := f.seen()
			require.Len(t, calls, 400-len(late))
			require.Len(t, calls, 7*8, "as many as begin within a minute")
			require.Less(t, time.Since(start), 90*time.Second)
			for _, in := range f.rows(t, 400) {
				require.LessOrEqual(t, in.RefreshFails, 1)
			}
		})
	})
	t.Run("a claimed row does not outlive its lease", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := ended(t, 60)
			v := f.vault(t, nil)
			f.fail(always(errDown))
			require.Error(t, ask(t.Context(), v, 0)) // leaves a window of one
			f.fail(nil)
			f.latency = 9 * time.Second
			start := time.Now()
			_, err := v.RefreshDue(t.Context(), []string{"p"})
			require.NoError(t, err)
			calls, _ := f.seen()
			t.Logf("%d calls in %v", len(calls), time.Since(start))
			leases := int64(0)
			for _, in := range f.rows(t, 60) {
				leases += in.LeaseEpoch
			}
			require.Greater(t, leases, int64(len(calls)), "some waited in vain")
			for range 20 {
				time.Sleep(15 * time.Second)
				_, err := v.RefreshDue(t.Context(), []string{"p"})
				require.NoError(t, err)
			}
			for _, in := range f.rows(t, 60) {
				require.Equal(t, int64(2), in.TokenGen)
				require.Zero(t, in.RefreshFails)
			}
			require.Zero(t, f.reuses+f.late)
		})
	})
	t.Run("those who wait do not begin after Shutdown", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := ended(t, 100)
			v := f.vault(t, nil)
			var errs []error
			done := make(chan struct{})
			go func() { errs = askAll(t, v, 100); close(done) }()
			synctest.Wait()
			start := time.Now()
			require.NoError(t, v.Shutdown(t.Context()))
			require.Equal(t, f.latency, time.Since(start))
			<-done
			require.Equal(t, 92, failures(errs))
			calls, _ := f.seen()
			require.Len(t, calls, 8)
			leases := int64(0)
			for _, in := range f.rows(t, 100) {
				leases += in.LeaseEpoch
			}
			require.Equal(t, int64(8), leases)
		})
	})
}

func TestOneBadConnectionOpensNothing(t *testing.T) {
	for name, fault := range map[string]error{"of the app": errSecret, "of the provider": errDown} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := ended(t, 20)
				v := f.vault(t, nil)
				f.fail(func(id string) error {
					if id == "id-t7" {
						return fault
					}
					return nil
				})
				require.Equal(t, 1, failures(askAll(t, v, 20)))
				// The others have good tokens now, so no success comes between.
				for range 50 * 60 {
					require.Error(t, ask(t.Context(), v, 7))
					time.Sleep(time.Second)
				}
				calls, events := f.seen()
				require.Empty(t, events)
				bad := len(calls) - 20
				t.Logf("%d calls in 50 minutes", bad)
				require.Less(t, bad, 100, "its own backoff holds")
				for range 10 {
					time.Sleep(time.Hour)
					require.Equal(t, 1, failures(askAll(t, v, 20)))
				}
				_, events = f.seen()
				require.Empty(t, events)
			})
		})
	}
}

func TestABreakerOfFewConnections(t *testing.T) {
	for _, n := range []int{1, 2} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := ended(t, n)
				v := f.vault(t, nil)
				f.fail(always(errSecret))
				for range 15 * 60 {
					require.Equal(t, n, failures(askAll(t, v, n)))
					time.Sleep(time.Second)
				}
				calls, events := f.seen()
				require.Len(t, events, 1)
				require.True(t, events[0].Open)
				require.Less(t, len(calls), 20)
			})
		})
	}
	t.Run("an outage is a matter of three", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := ended(t, 3)
			v := f.vault(t, nil)
			f.fail(always(errDown))
			for range 600 {
				require.Equal(t, 2, failures(askAll(t, v, 2)))
				time.Sleep(time.Second)
			}
			_, events := f.seen()
			require.Empty(t, events)
			require.Error(t, ask(t.Context(), v, 2))
			_, events = f.seen()
			require.Len(t, events, 1)
		})
	})
}

func TestABreakerLetsOneProbeThrough(t *testing.T) {
	type step struct {
		answer      error
		under, over time.Duration // how long it is open afterwards
	}
	for name, steps := range map[string][]step{
		"success": {{nil, 0, 0}},
		"failures double it, up to four minutes": {
			{errDown, 48 * time.Second, time.Minute}, {errSecret, 96 * time.Second, 2 * time.Minute},
			{errDown, 192 * time.Second, 4 * time.Minute}, {errDown, 192 * time.Second, 4 * time.Minute}, {nil, 0, 0},
		},
		"what tells nothing leaves it open for as long": {
			{&token.Error{Outcome: token.Ambiguous, Code: "timeout"}, 24 * time.Second, 30 * time.Second},
			{&token.Error{Outcome: token.Transient, Code: "too_many_requests", Status: 429}, 24 * time.Second, 30 * time.Second},
			{fmt.Errorf("a fault of the renewer"), 24 * time.Second, 30 * time.Second}, {nil, 0, 0},
		},
		"a provider that judges a grant is up": {{&token.Error{Outcome: token.DeadGrant, Code: "invalid_grant", Status: 400}, 0, 0}},
		"what the provider asks for holds": {
			{&token.Error{Outcome: token.Transient, Code: "server_error", Status: 503, RetryAfter: 100 * time.Second}, 100 * time.Second, 100 * time.Second}, {nil, 0, 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := ended(t, 100)
				v := f.vault(t, nil)
				f.fail(always(errDown))
				require.Equal(t, 20, failures(askAll(t, v, 20)))
				made := 8
				refused := func() time.Duration {
					err := ask(t.Context(), v, 99)
					var e *token.Error
					require.ErrorAs(t, err, &e)
					require.Positive(t, e.RetryAfter)
					return e.RetryAfter
				}
				pause := refused()
				require.LessOrEqual(t, pause, 30*time.Second)
				require.GreaterOrEqual(t, pause, 24*time.Second)
				for i, s := range steps {
					time.Sleep(pause - time.Millisecond)
					refused()
					time.Sleep(time.Millisecond)
					f.fail(always(s.answer))
					var wg sync.WaitGroup
					wg.Go(func() { _ = ask(t.Context(), v, 50+i) })
					synctest.Wait()
					require.Equal(t, time.Second, refused(), "while the probe is under way")
					wg.Wait()
					made++
					calls, _ := f.seen()
					require.Len(t, calls, made)
					if s.over == 0 {
						f.fail(nil)
						require.NoError(t, ask(t.Context(), v, 99))
						break
					}
					pause = refused()
					require.GreaterOrEqual(t, pause, s.under)
					require.LessOrEqual(t, pause, s.over)
				}
				_, events := f.seen()
				require.Len(t, events, 2)
				require.Equal(t, token.FaultEvent{Provider: "p", Outcome: token.Transient, Code: "server_error"}, events[1])
			})
		})
	}
}

func TestWhileABreakerIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := ended(t, 100)
		f.connect(t, 100, time.Hour)
		v := f.vault(t, nil)
		f.fail(always(errDown))
		require.Equal(t, 100, failures(askAll(t, v, 100)))
		rows := func() []store.Integration {
			rows := f.rows(t, 101)
			for i := range rows {
				rows[i].ReadAt = time.Time{}
			}
			return rows
		}
		before := rows()
		for range 20 {
			n, err := v.RefreshDue(t.Context(), []string{"p"})
			require.NoError(t, err)
			require.Zero(t, n)
			require.Equal(t, 100, failures(askAll(t, v, 100)))
			require.NoError(t, ask(t.Context(), v, 100), "a token that lasts")
			time.Sleep(time.Second)
		}
		require.Equal(t, before, rows(), "nothing is written")

		// A report of a refused token that could not be acted on is not remembered.
		h, err := v.LookupID(t.Context(), "t100", "id-t100")
		require.NoError(t, err)
		_, again, err := h.Rejected(t.Context(), 1, true)
		require.NoError(t, err)
		require.False(t, again)
		f.fail(nil)
		time.Sleep(10 * time.Second)
		n, err := v.RefreshDue(t.Context(), []string{"p"})
		require.NoError(t, err)
		require.Equal(t, 1, n, "the probe")
		_, again, err = h.Rejected(t.Context(), 1, true)
		require.NoError(t, err)
		require.True(t, again)
		n, err = v.RefreshDue(t.Context(), []string{"p"})
		require.NoError(t, err)
		require.Greater(t, n, 90)
		require.Zero(t, failures(askAll(t, v, 101)))
	})
}

// hosts is a fleet whose odd connections are at a host of their own.
type hosts struct{ *fleet }

func (hosts) RenewHost(r token.Renewal) string {
	if r.RefreshToken != (token.Secret{}) || r.Client != nil || r.TenantID == "" {
		panic("not what is promised")
	}
	if r.IntegrationID[len(r.IntegrationID)-1]%2 == 1 {
		return "odd.test"
	}
	return ""
}

func TestAHostThatIsDownLeavesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := ended(t, 200)
		v := f.vault(t, func(cfg *token.VaultConfig) { cfg.Renewer = func(string) token.Renewer { return hosts{f} } })
		odd := func(id string) error {
			if id[len(id)-1]%2 == 1 {
				return errDown
			}
			return nil
		}
		f.fail(odd)
		n, err := v.RefreshDue(t.Context(), []string{"p"})
		require.NoError(t, err)
		require.Equal(t, 200, n, "each row is claimed once")
		counted := 0
		for i, in := range f.rows(t, 200) {
			if i%2 == 0 {
				require.Equal(t, int64(2), in.TokenGen)
				continue
			}
			require.Equal(t, int64(1), in.TokenGen)
			require.True(t, in.NextRefreshAt.After(in.ReadAt))
			require.True(t, in.LeaseUntil.IsZero(), "given back")
			counted += in.RefreshFails
		}
		require.LessOrEqual(t, counted, 8)
		_, events := f.seen()
		require.Len(t, events, 1)
		require.Equal(t, "odd.test", events[0].Host)
		f.fail(nil)
		time.Sleep(time.Minute)
		require.Equal(t, 99, failures(askAll(t, v, 200)), "one is the probe")
		require.Zero(t, failures(askAll(t, v, 200)))
		require.Zero(t, f.reuses+f.late)
	})
}
