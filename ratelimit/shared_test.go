package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/stretchr/testify/require"
)

// pot is a source that has so many units of everything, and counts its visits.
type pot struct {
	mu       sync.Mutex
	left     int
	visits   int
	replicas int
	err      error
	told     []ratelimit.Reading
}

func (p *pot) Take(_ context.Context, asks []ratelimit.Ask) ([]ratelimit.Grant, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.visits++
	if p.err != nil {
		return nil, p.err
	}
	out := make([]ratelimit.Grant, len(asks))
	for i, a := range asks {
		out[i].Replicas = p.replicas
		if p.left < a.Least {
			out[i].RetryIn = time.Hour
			continue
		}
		out[i].Units, out[i].Lasts = min(a.Want, p.left), time.Minute
		p.left -= out[i].Units
	}
	return out, nil
}

func (p *pot) Report(_ context.Context, _ string, readings []ratelimit.Reading) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, readings...)
	return p.err
}

var many = &ratelimit.Budget{Name: "many", Units: 4000, Window: time.Hour, Refill: ratelimit.Whole}

func shared(t *testing.T, p *pot, change ...func(*ratelimit.SharedConfig)) *ratelimit.Shared {
	cfg := ratelimit.SharedConfig{Source: p}
	for _, fn := range change {
		fn(&cfg)
	}
	s, err := ratelimit.NewShared(cfg)
	require.NoError(t, err)
	return s
}

func TestUnitsAreTakenAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, strict := range []bool{false, true} {
			p := &pot{left: 1000, replicas: 2}
			s := shared(t, p, func(cfg *ratelimit.SharedConfig) { cfg.Strict = strict })
			c := call("t", of(many, "k"))
			for range 1000 {
				require.NoError(t, s.Wait(t.Context(), c))
				s.Done(c, nil)
			}
			require.ErrorIs(t, s.Wait(t.Context(), c), ratelimit.ErrRateLimited)
			if strict {
				require.Equal(t, 1001, p.visits, "one for each call")
			} else {
				require.Less(t, p.visits, 150, "ten units at a time before long")
			}
		}
	})
}

func TestASourceThatIsAwayLeavesEachItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pot{left: 10, replicas: 4}
		var events []ratelimit.SourceEvent
		s := shared(t, p, func(cfg *ratelimit.SharedConfig) {
			cfg.Observe = func(e ratelimit.SourceEvent) { events = append(events, e) }
		})
		c := call("t", of(many, "k"))
		require.NoError(t, s.Wait(t.Context(), c))
		s.Done(c, nil)

		p.err = errors.New("connection refused")
		n := 0
		for s.Wait(t.Context(), c) == nil {
			s.Done(c, nil)
			n++
		}
		require.LessOrEqual(t, n, 1000+10, "a quarter of the budget, and what was taken before")
		require.GreaterOrEqual(t, n, 1000)
		require.Len(t, events, 1)
		require.Error(t, events[0].Err)
		require.InDelta(t, 0.25, events[0].Share, 0.001)

		p.err, p.left = nil, 10
		time.Sleep(2 * time.Second)
		require.NoError(t, s.Wait(t.Context(), c))
		s.Done(c, nil)
		require.Len(t, events, 2)
		require.NoError(t, events[1].Err)
	})
}

func TestTheSourceIsToldOfRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pot{left: 10, replicas: 1}
		s := shared(t, p)
		c := call("t", of(many, "k"))
		require.NoError(t, s.Wait(t.Context(), c))
		s.Done(c, refused(many, "k", 5*time.Second))
		require.Len(t, p.told, 1)
		start := time.Now()
		require.NoError(t, s.Wait(t.Context(), c))
		require.Equal(t, 5*time.Second, time.Since(start), "nor is it asked meanwhile")
	})
}

func TestNewSharedNeedsASource(t *testing.T) {
	_, err := ratelimit.NewShared(ratelimit.SharedConfig{})
	require.ErrorContains(t, err, "Source")
}

func ExampleNewShared() {
	limiter, err := ratelimit.NewShared(ratelimit.SharedConfig{Source: &pot{left: 1, replicas: 1}})
	if err != nil {
		fmt.Println(err)
		return
	}
	c := &ratelimit.Call{Provider: "github", Charges: []ratelimit.Charge{{Budget: many, Key: "42"}}}
	fmt.Println(limiter.Wait(context.Background(), c))
	limiter.Done(c, nil)
	// Output: <nil>
}

func TestWhatIsNotChargedIsSpentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pot{left: 4000, replicas: 1}
		l := shared(t, p)
		c := call("t", of(many, "A"))
		for range 1000 {
			require.NoError(t, l.Wait(t.Context(), c))
			l.Done(c, []ratelimit.Reading{{Budget: many, Key: "A", Remaining: -1, Uncharged: true}})
		}
		require.Less(t, 4000-p.left, 50, "few units were taken for calls that cost none")
	})
}
