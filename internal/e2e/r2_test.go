package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestR2ReplicaHerd: many processes, each with many callers, find the same tokens
// at their end. Each is refreshed once, and a provider that revokes the grant on
// any reuse sees none.
func TestR2ReplicaHerd(t *testing.T) {
	databases(t, func(t *testing.T, f *fleet) {
		replicas, tenants, rounds := sized(4, 8), sized(8, 50), sized(3, 10)
		f.orders.Callers = sized(10, 200)
		// Nobody dies here, so the lease may be long: the machine may be slow.
		f.orders.HTTPTimeout, f.orders.CommitBudget = 10*time.Second, 5*time.Second
		m := f.connect(tenants)
		f.start(names(replicas)...)
		for round := range rounds {
			f.expire()
			for name, r := range f.rounds(round) {
				require.Zero(t, r.Failed+r.Transient, "%s: %v", name, r.Errors)
				require.Equal(t, tenants*f.orders.Callers, r.OK)
			}
			require.Equal(t, (round+1)*tenants, f.kit.OAuth.Tokens.Calls(), "token calls")
		}
		require.Zero(t, f.kit.OAuth.Tokens.Reuses())
		f.current(m)
	})
}
