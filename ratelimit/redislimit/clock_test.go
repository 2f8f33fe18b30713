package redislimit_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/ratelimit/redislimit"
	"github.com/stretchr/testify/require"
)

// TestNoClockOfAProcessDecides: nothing that is sent to the server is a time of day, so
// a replica whose clock is wrong, or jumps, changes nothing for the others.
func TestNoClockOfAProcessDecides(t *testing.T) {
	var mu sync.Mutex
	visits := 0
	eval := func(_ context.Context, _ string, keys []string, args ...any) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		visits++
		now := time.Now()
		for _, a := range args {
			var n int64
			switch v := a.(type) {
			case int:
				n = int64(v)
			case int64:
				n = v
			}
			for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond, time.Nanosecond} {
				away := time.Duration(n-now.UnixNano()/int64(unit)) * unit
				require.False(t, away > -24*time.Hour && away < 24*time.Hour && n > 1e9, "%d is a time of day", n)
			}
		}
		answer := []any{int64(1)}
		for range len(keys) - 1 {
			answer = append(answer, int64(1), int64(time.Minute/time.Microsecond), int64(0))
		}
		return answer, nil
	}
	l, err := redislimit.New(eval, redislimit.Config{Strict: true})
	require.NoError(t, err)
	for _, b := range []*ratelimit.Budget{
		{Name: "even", Units: 10, Window: time.Minute, Burst: 5},
		{Name: "whole", Units: 10, Window: time.Hour, Refill: ratelimit.Whole},
		{Name: "aligned", Units: 10, Window: time.Hour, Refill: ratelimit.Aligned},
	} {
		c := &ratelimit.Call{Provider: "p", TenantID: "t", Charges: []ratelimit.Charge{{Budget: b, Key: "k"}}}
		require.NoError(t, l.Wait(t.Context(), c))
		l.Done(c, []ratelimit.Reading{{Budget: b, Key: "k", Limit: 100, Remaining: 50, ResetIn: 10 * time.Minute, Refused: true, RetryAfter: time.Minute}})
	}
	require.Equal(t, 6, visits, "each asked once and told once")
}
