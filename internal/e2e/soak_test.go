package e2e

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/store"
	"github.com/stretchr/testify/require"
)

// TestSoakRandomKills lets replicas on PostgreSQL renew tokens that end all the
// time while they are killed at random, whatever they are doing. With a provider
// that takes a refresh token again for a while nothing is lost; with one that
// forgives nothing no more than the answers that a killed replica had not stored.
func TestSoakRandomKills(t *testing.T) {
	t.Parallel()
	for name, rotation := range map[string]integrationstest.Rotation{"leeway": integrationstest.Leeway, "strict": integrationstest.Strict} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := postgres.fleet(t)
			f.kit.OAuth.Tokens.SetRotation(rotation, 10*time.Minute)
			f.orders.Callers = 2
			// A machine with other things to do must not look like a lost answer.
			f.orders.HTTPTimeout, f.orders.CommitBudget = 3*time.Second, 2*time.Second
			s := &soakRun{f: f, m: f.connect(8), strict: rotation == integrationstest.Strict, answers: map[string][]time.Time{}}
			s.run(t, time.Duration(sized(8, 20*60))*time.Second)
		})
	}
}

// soakRun counts what happens to a fleet.
type soakRun struct {
	f      *fleet
	m      *integrations.Manager
	strict bool

	mu        sync.Mutex
	answers   map[string][]time.Time // of the provider, by replica
	explained int                    // answers that a killed replica may not have stored

	calls, failed, deaths atomic.Int64
	lost                  int
}

func (s *soakRun) run(t *testing.T, length time.Duration) {
	f := s.f
	f.onRefresh(s.answered)
	replicas := names(3)
	f.start(replicas...)
	end := time.Now().Add(length)
	var wg sync.WaitGroup
	for _, name := range replicas {
		wg.Go(func() {
			for round := 0; time.Now().Before(end); round++ {
				r, alive := f.round(name, round)
				if !alive {
					s.deaths.Add(1)
					f.start(name)
					continue
				}
				s.calls.Add(int64(r.OK))
				s.failed.Add(int64(r.Failed))
			}
		})
	}
	wg.Go(func() {
		for time.Now().Before(end) {
			time.Sleep(500*time.Millisecond + rand.N(2*time.Second))
			s.kill(replicas[rand.N(len(replicas))])
		}
	})
	for time.Now().Before(end) {
		f.expire()
		time.Sleep(200*time.Millisecond + rand.N(600*time.Millisecond))
		s.reconnect(t)
	}
	wg.Wait()

	// Whatever a dead replica left behind is over after its lease.
	time.Sleep(f.leaseTTL())
	f.onRefresh(nil)
	last := func(name string) report {
		for {
			if r, alive := f.round(name, -1); alive {
				return r
			}
			s.deaths.Add(1) // the last one killed
			f.start(name)
		}
	}
	for _, name := range replicas {
		last(name)
	}
	s.reconnect(t)
	for _, name := range replicas {
		r := last(name)
		require.Zero(t, r.Failed+r.Transient, "%s: %v", name, r.Errors)
	}
	f.current(s.m)
	told, err := f.store.ListDeliveries(t.Context(), store.DeliveryQuery{
		AllTenants: true, Provider: store.ChangeProvider, EventType: string(integrations.ChangeNeedsReconnect), Limit: 1000,
	})
	require.NoError(t, err)
	t.Logf("%v: %d replicas killed, %d calls and %d refreshes, %d lost of at most %d explained by a kill",
		length, s.deaths.Load(), s.calls.Load(), f.kit.OAuth.Tokens.Calls(), s.lost, s.explained)
	require.Positive(t, s.deaths.Load())
	require.Len(t, told, min(s.lost, 1000), "each loss is told once")
	if !s.strict {
		require.Zero(t, s.lost)
		require.Zero(t, s.failed.Load())
	}
	require.LessOrEqual(t, s.lost, s.explained)
}

// answered is called when the provider has done its work and not answered yet; a
// slow way back is a good moment to die.
func (s *soakRun) answered(replica string) {
	s.mu.Lock()
	s.answers[replica] = append(s.answers[replica], time.Now())
	s.mu.Unlock()
	time.Sleep(rand.N(200 * time.Millisecond))
}

// kill kills a replica. What the provider answered it within the time that a commit
// may take is not known to be stored.
func (s *soakRun) kill(name string) {
	s.f.kill(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.answers[name] {
		if time.Since(at) < s.f.orders.CommitBudget {
			s.explained++
		}
	}
	s.answers[name] = nil
}

// reconnect lets the tenants of lost grants connect again.
func (s *soakRun) reconnect(t *testing.T) {
	for _, in := range s.f.all(s.m) {
		if in.Status == integrations.StatusActive {
			continue
		}
		require.Equal(t, integrations.StatusNeedsReconnect, in.Status)
		require.Equal(t, "rotation_lost", in.Reason)
		s.lost++
		s.f.kit.Connect(in.TenantID, replicaKey)
	}
}
