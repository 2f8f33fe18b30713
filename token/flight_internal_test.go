package token

import (
	"context"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/stretchr/testify/require"
)

// TestFlightsAreOfOneHandle: what two handles do at the same time is two things,
// even for one integration, and what they do may come to nothing.
func TestFlightsAreOfOneHandle(t *testing.T) {
	v := newTestVault(t)
	in := store.Integration{TenantID: "t", ID: "i", Provider: "p"}
	a, b := v.newHandle(in), v.newHandle(in)
	require.NotEqual(t, a.flight("read").key, b.flight("read").key)
	require.NotEqual(t, a.flight("read").key, a.flight("renew").key)

	nothing := func(context.Context) (any, error) { return nil, nil }
	val, err := share(t.Context(), v, a.flight("end"), time.Minute, nothing)
	require.NoError(t, err)
	require.Nil(t, val)

	// A handle lives at least as long as others may join its flight.
	r := <-start(t.Context(), v, a.flight("read"), time.Minute, nothing)
	require.Same(t, a, r.Val.(*flown).of)
	r = <-start(t.Context(), v, b.flight("read"), time.Minute, func(context.Context) (any, error) { panic("renewer") })
	require.ErrorContains(t, r.Err, "panic of type string")
	require.Same(t, b, r.Val.(*flown).of)
}
