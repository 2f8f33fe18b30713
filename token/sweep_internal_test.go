package token

import (
	"testing"

	"github.com/saas-integrations/integrations/store"
	"github.com/stretchr/testify/require"
)

// TestR7SweepKeepsTheOnlyCopy: a handle that nobody uses is dropped, unless it
// holds a grant that the store does not have yet.
func TestR7SweepKeepsTheOnlyCopy(t *testing.T) {
	v := newTestVault(t)
	v.register(v.newHandle(store.Integration{ID: "idle", TenantID: "t", Provider: "p", Label: "a"}))
	holder := v.register(v.newHandle(store.Integration{ID: "holder", TenantID: "t", Provider: "p", Label: "b"}))
	holder.excepted().unsaved.Store(&unsaved{grant: Grant{AccessToken: NewSecret("a"), RefreshToken: NewSecret("the only copy")}})
	for range idleSweeps + 1 {
		v.sweep()
	}
	require.Nil(t, v.cached("t", "idle"))
	require.Same(t, holder, v.cached("t", "holder"))
}
