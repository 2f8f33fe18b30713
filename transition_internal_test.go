package integrations

import (
	"testing"

	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// TestTheTableOfTransitionsIsWhole: what is told has a row, and each row leads to
// a status that a host can see and somebody can leave again.
func TestTheTableOfTransitionsIsWhole(t *testing.T) {
	for _, k := range []token.TurnKind{token.TurnDead, token.TurnFailing, token.TurnRecovered, token.TurnScopes} {
		require.Contains(t, transitions, ChangeKind(k))
	}
	require.Contains(t, transitions, ChangeGrantEnding)
	for _, k := range lifecycleKinds {
		require.Contains(t, transitions, k)
	}
	leaves := map[Status]bool{}
	for kind, step := range transitions {
		require.NotEmpty(t, step.from, kind)
		if kind != ChangeReconnected { // another grant is a step of its own
			require.NotContains(t, step.from, step.to, "%s is no step", kind)
		}
		require.Equal(t, kind == ChangeRevoked || kind == ChangeDisconnected, step.wipe, kind)
		for _, s := range step.from {
			leaves[s] = leaves[s] || step.to != ""
		}
	}
	for _, s := range []Status{StatusActive, StatusNeedsReconnect, StatusSuspended, StatusRevoked, StatusDisconnected} {
		require.True(t, leaves[s], s)
	}
}
