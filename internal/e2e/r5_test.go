package e2e

import (
	"encoding/json"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/stretchr/testify/require"
)

// slowProvider answers refreshes late, after their work: what a replica does not
// wait for is lost. It knows when which replica called.
type slowProvider struct {
	latency time.Duration
	mu      sync.Mutex
	calls   map[string][]time.Time
	under   map[string]int
}

func (s *slowProvider) refreshed(replica string) {
	s.mu.Lock()
	s.calls[replica] = append(s.calls[replica], time.Now())
	s.under[replica]++
	s.mu.Unlock()
	<-time.After(s.latency)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.under[replica]--
}

func (s *slowProvider) underWay(replica string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.under[replica]
}

// after counts a replica's calls after a moment and says how late the last was.
func (s *slowProvider) after(replica string, t time.Time) (n int, last time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls[replica] {
		if c.After(t) {
			n, last = n+1, max(last, c.Sub(t))
		}
	}
	return n, last
}

// drain ends a replica as an orchestrator does and returns what it reports.
func (f *fleet) drain(name string) drained {
	f.t.Helper()
	f.signal(name, syscall.SIGTERM)
	f.mu.Lock()
	p := f.replicas[name]
	delete(f.replicas, name)
	f.mu.Unlock()
	var d drained
	require.True(f.t, p.out.Scan(), "%s did not end well", name)
	require.NoError(f.t, json.Unmarshal(p.out.Bytes(), &d))
	require.NoError(f.t, p.cmd.Wait())
	return d
}

// TestR5SigtermDrain: replicas are replaced one by one while tokens are refreshed
// all the time at a provider that is slow and forgives nothing. Shutdown waits for
// what is under way, no call follows it, and every answer is in its row.
func TestR5SigtermDrain(t *testing.T) {
	databases(t, func(t *testing.T, f *fleet) {
		replicas, tenants, restarts := sized(2, 3), sized(10, 200), sized(2, 100)
		life := time.Duration(sized(2, 4)) * time.Second // refreshed at half of it or a little later
		f.kit.OAuth.Tokens.SetLife(life)
		f.orders.Callers, f.orders.Stream = 2, 10*time.Millisecond
		f.orders.HTTPTimeout, f.orders.CommitBudget = 10*time.Second, 5*time.Second // nobody dies: the machine may be slow
		m := f.connect(tenants)
		p := &slowProvider{latency: 500 * time.Millisecond, calls: map[string][]time.Time{}, under: map[string]int{}}
		f.onRefresh(p.refreshed)
		f.start(names(replicas)...)
		began := time.Now()
		caught, late, longest, latest := 0, 0, time.Duration(0), time.Duration(0)
		end := func(i int) {
			name := fmt.Sprint("r", i)
			require.Eventually(t, func() bool { return p.underWay(name) > 0 }, 30*time.Second, time.Millisecond, "%s refreshes nothing", name)
			caught += p.underWay(name)
			d := f.drain(name)
			require.Empty(t, d.Err)
			require.Zero(t, d.Failed, "%s: %v", name, d.Errors)
			require.Positive(t, d.OK)
			n, _ := p.after(name, d.Ended)
			require.Zero(t, n, "%s refreshed after Shutdown returned", name)
			n, last := p.after(name, d.Began)
			late, latest, longest = late+n, max(latest, last), max(longest, d.Ended.Sub(d.Began))
		}
		for i := range restarts {
			f.start(fmt.Sprint("r", i+replicas))
			end(i)
		}
		took := time.Since(began)
		calls := f.kit.OAuth.Tokens.Calls()
		for i := range replicas {
			end(restarts + i)
		}
		t.Logf("%d restarts, %.0f refreshes/s, %d under way at the signals; %d begun before reached the provider after, %v at most; longest drain %v",
			restarts, float64(calls)/took.Seconds(), caught, late, latest, longest)

		require.Zero(t, f.kit.OAuth.Tokens.Reuses())
		stored := 0
		for i := range tenants {
			list, err := f.store.List(t.Context(), tenantName(i))
			require.NoError(t, err)
			require.Equal(t, integrations.StatusActive, list[0].Status)
			stored += int(list[0].TokenGen) - 1
		}
		require.Equal(t, f.kit.OAuth.Tokens.Calls(), stored, "answers that are in no row")
		f.current(m)
	})
}
