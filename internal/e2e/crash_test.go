package e2e

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/store"
	"github.com/stretchr/testify/require"
)

// killer kills the replica whose refresh the provider has just done, before it
// gets the answer, and does so for every tenth refresh until it has killed enough.
type killer struct {
	f     *fleet
	most  int
	seen  atomic.Int64
	kills atomic.Int64
}

func (k *killer) refreshed(replica string) {
	if replica == "" || k.seen.Add(1)%3 != 0 || k.kills.Load() >= int64(k.most) {
		return
	}
	k.kills.Add(1)
	k.f.kill(replica)
}

// crashes expires all tokens again and again while replicas die in the window
// between the provider's rotation and the commit, and starts others in their
// place. It returns how many died.
func (f *fleet) crashes(kills int) int {
	k := &killer{f: f, most: kills}
	f.onRefresh(k.refreshed)
	for round := 0; k.kills.Load() < int64(kills); round++ {
		f.expire()
		alive := f.rounds(round)
		f.mu.Lock()
		var dead []string
		for name := range f.replicas {
			if _, ok := alive[name]; !ok {
				dead = append(dead, name)
			}
		}
		f.mu.Unlock()
		f.start(dead...)
	}
	f.onRefresh(nil)
	return int(k.kills.Load())
}

// TestR3KillDashNineInTheWindow: a provider with a reuse window, as Atlassian's,
// takes the same refresh token again, so nothing is lost: whoever comes next
// repeats the refresh once the dead holder's lease is over.
func TestR3KillDashNineInTheWindow(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, f *fleet) {
		f.kit.OAuth.Tokens.SetRotation(integrationstest.Leeway, 10*time.Minute)
		f.orders.Callers = 2
		m := f.connect(4)
		f.start(names(3)...)
		kills := f.crashes(sized(4, 200))
		t.Logf("%d replicas killed", kills)
		began := time.Now()
		for name, r := range f.rounds(-1) {
			require.Zero(t, r.Failed+r.Transient, "%s: %v", name, r.Errors)
		}
		require.Less(t, time.Since(began), f.leaseTTL()+5*time.Second, "recovery")
		list := f.all(m)
		require.Len(t, list, 4)
		for _, in := range list {
			require.Equal(t, integrations.StatusActive, in.Status, "%s was lost: %s", in.TenantID, in.Reason)
		}
	})
}

// TestR4KillDashNineStrict: with a provider that forgives nothing, a refresh whose
// holder died before it stored the answer may cost the grant. What is lost is
// called that, is told once, and is not asked about again.
func TestR4KillDashNineStrict(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, f *fleet) {
		f.orders.Callers, f.orders.OneByOne = 2, true // so that a kill costs one at most
		m := f.connect(sized(12, 200))
		f.start(names(3)...)
		kills := f.crashes(sized(3, 100))
		f.rounds(-1)
		time.Sleep(f.leaseTTL()) // the last holder's lease, by the database's clock
		f.rounds(-2)
		lost := 0
		for _, in := range f.all(m) {
			if in.Status == integrations.StatusActive {
				continue
			}
			lost++
			require.Equal(t, integrations.StatusNeedsReconnect, in.Status)
			require.Equal(t, "rotation_lost", in.Reason)
		}
		t.Logf("%d replicas killed, %d grants lost", kills, lost)
		require.Positive(t, lost, "the window was not hit")
		require.LessOrEqual(t, lost, kills)
		calls := f.kit.OAuth.Tokens.Calls()
		for range 3 {
			f.rounds(-3)
		}
		require.Equal(t, calls, f.kit.OAuth.Tokens.Calls(), "a dead grant is asked about again")
		told := map[string]int{}
		for _, d := range f.changes() {
			if d.EventType == string(integrations.ChangeNeedsReconnect) {
				told[d.TenantID]++
			}
		}
		require.Len(t, told, lost)
		for tenant, n := range told {
			require.Equal(t, 1, n, tenant)
		}
	})
}

// TestR14PausedHolder: a holder that is stopped with the answer on its way delays
// the others by its lease and no more, and puts back nothing old when it goes on.
func TestR14PausedHolder(t *testing.T) {
	databases(t, func(t *testing.T, f *fleet) {
		f.kit.OAuth.Tokens.SetRotation(integrationstest.Leeway, 10*time.Minute)
		f.orders.Callers = 2
		// One tenant: a process that is stopped while it writes something else would
		// keep SQLite's lock.
		m := f.connect(1)
		f.start(names(2)...)
		for round := range sized(2, 50) {
			var paused sync.Map
			var once sync.Once
			f.onRefresh(func(replica string) {
				once.Do(func() {
					paused.Store(replica, true)
					f.signal(replica, syscall.SIGSTOP)
				})
			})
			f.expire()
			results := make(chan report, 2)
			began := time.Now()
			for _, name := range names(2) {
				go func() {
					r, _ := f.round(name, round)
					results <- r
				}()
			}
			first := <-results
			require.Zero(t, first.Failed+first.Transient, "%v", first.Errors)
			require.Less(t, time.Since(began), f.leaseTTL()+5*time.Second, "the other waited longer than a lease")
			f.onRefresh(nil)
			paused.Range(func(name, _ any) bool { f.signal(name.(string), syscall.SIGCONT); return true })
			second := <-results
			require.Zero(t, second.Failed, "%v", second.Errors) // it may have been stopped past its own limits
		}
		for name, r := range f.rounds(-1) {
			require.Zero(t, r.Failed+r.Transient, "%s: %v", name, r.Errors)
		}
		for _, in := range f.all(m) {
			require.Equal(t, integrations.StatusActive, in.Status)
		}
	})
}

// signal sends s, and waits until a process that is to stop has stopped: on a busy
// machine it goes on for some milliseconds, and may have begun to write by then.
func (f *fleet) signal(name string, s syscall.Signal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.replicas[name].cmd.Process
	require.NoError(f.t, p.Signal(s))
	if s == syscall.SIGSTOP {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(p.Pid, &status, syscall.WUNTRACED, nil)
		require.NoError(f.t, err)
		require.True(f.t, status.Stopped(), "the process has ended")
	}
}

// all are the integrations of all tenants.
func (f *fleet) all(m *integrations.Manager) []integrations.Integration {
	f.t.Helper()
	var out []integrations.Integration
	for i := range f.orders.Tenants {
		list, err := m.Integrations(f.t.Context(), tenantName(i))
		require.NoError(f.t, err)
		out = append(out, list...)
	}
	return out
}

// changes are the changes in the inbox, handled or not.
func (f *fleet) changes() []store.Delivery {
	f.t.Helper()
	out, err := f.store.ListDeliveries(context.Background(), store.DeliveryQuery{AllTenants: true, Provider: store.ChangeProvider, Limit: 1000})
	require.NoError(f.t, err)
	slices.SortFunc(out, func(a, b store.Delivery) int { return a.ReceivedAt.Compare(b.ReceivedAt) })
	return out
}
