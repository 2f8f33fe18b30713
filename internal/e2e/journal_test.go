package e2e

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/stretchr/testify/require"
)

// TestR4WithJournalKillDashNineStrict: with a provider that forgives nothing, a
// replica that dies after it wrote the provider's answer down, and before it stored
// it, costs no grant when it comes back within its lease.
func TestR4WithJournalKillDashNineStrict(t *testing.T) {
	databases(t, func(t *testing.T, f *fleet) {
		// One refresh at a time in a replica, so that none other dies with it between
		// the answer and the journal. A lease that outlasts a slow start on a machine
		// with other things to do.
		f.orders.Callers, f.orders.OneByOne = 2, true
		f.orders.HTTPTimeout, f.orders.CommitBudget = 5*time.Second, 5*time.Second
		m := f.connect(sized(6, 40))
		dir := t.TempDir()
		const replicas = 3
		start := func(name string, dieAt int64) {
			o := f.orders
			o.Journal, o.DieAt = filepath.Join(dir, name), dieAt
			f.startWith(name, o)
		}
		kills := int64(sized(6, 200))
		for i, name := range names(replicas) {
			start(name, int64(1+i%2))
		}
		var died, failed atomic.Int64
		rounds := 0
		for ; died.Load() < kills; rounds++ {
			require.Less(t, rounds, 100*int(kills), "replicas do not die")
			f.expire()
			var wg sync.WaitGroup
			for _, name := range names(replicas) {
				wg.Go(func() {
					for {
						r, alive := f.round(name, rounds)
						if alive {
							failed.Add(int64(r.Failed + r.Transient))
							return
						}
						f.wasKilled(name)
						dieAt := int64(0)
						if n := died.Add(1); n < kills {
							dieAt = 1 + n%3
						}
						start(name, dieAt)
					}
				})
			}
			wg.Wait()
		}
		f.rounds(-1)
		t.Logf("%d replicas killed in %d rounds, %d calls failed meanwhile", died.Load(), rounds, failed.Load())
		require.Zero(t, failed.Load())
		for _, in := range f.all(m) {
			require.Equal(t, integrations.StatusActive, in.Status, "%s was lost: %s", in.TenantID, in.Reason)
		}
		f.current(m)
		require.Zero(t, f.kit.OAuth.Tokens.Reuses(), "a spent refresh token was sent again")
		for _, name := range names(replicas) {
			left, err := os.ReadDir(filepath.Join(dir, name))
			require.NoError(t, err)
			require.Empty(t, left, "records of %s", name)
		}
	})
}

// wasKilled checks that a replica that is gone was killed, and did not fail.
func (f *fleet) wasKilled(name string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	state := f.replicas[name].cmd.ProcessState
	status, ok := state.Sys().(syscall.WaitStatus)
	require.True(f.t, ok && status.Signaled() && status.Signal() == syscall.SIGKILL, "%s: %s", name, state)
}
