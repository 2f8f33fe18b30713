package providers_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/stretchr/testify/require"
)

// stuck is a store that does not answer releases.
type stuck struct{ providers.Syncs }

func (stuck) TryLease(context.Context, string, string, time.Duration) (bool, error) { return true, nil }
func (stuck) Release(ctx context.Context, _, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestAReleaseEnds: it is made though its context has ended, and it gives up where
// the store does not answer.
func TestAReleaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, err := providers.NewHosts("api.example.test")
		require.NoError(t, err)
		conn, err := providers.NewConnection(providers.ConnectionConfig{Provider: "p", Hosts: hosts, Source: noSource{}, Syncs: stuck{}})
		require.NoError(t, err)
		l, ok, err := conn.TryLease(t.Context(), "x", time.Minute)
		require.NoError(t, err)
		require.True(t, ok)
		for _, end := range []bool{false, true} {
			ctx, cancel := context.WithCancel(t.Context())
			if end {
				cancel()
			}
			began := time.Now()
			require.ErrorIs(t, l.Release(ctx), context.DeadlineExceeded)
			require.Equal(t, 5*time.Second, time.Since(began))
			cancel()
		}
	})
}

// noSource gives no token.
type noSource struct{ providers.Source }
