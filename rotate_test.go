package integrations_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/stretchr/testify/require"
)

func TestARotatedEndpointOverlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, _, conn := hookedKit(t)
		ctx := t.Context()
		got := collect(kit, acmeKey)
		opened := time.Now()
		first, err := conn.OpenEndpoint(ctx)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		second, err := conn.RotateEndpoint(ctx, first.ID, 24*time.Hour)
		require.NoError(t, err)
		require.Equal(t, first.ID, second.ID)
		require.NotEqual(t, first.URL, second.URL)
		require.NotEqual(t, first.Secret.Reveal(), second.Secret.Reveal())
		list, err := conn.Endpoints(ctx)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.True(t, list[0].CreatedAt.Equal(opened))
		require.True(t, list[0].PreviousUntil.Equal(opened.Add(25*time.Hour)))

		n := 0
		answers := func() (codes []int) {
			for _, url := range []string{first.URL, second.URL} {
				for _, secret := range []string{first.Secret.Reveal(), second.Secret.Reveal()} {
					n++
					codes = append(codes, kit.Send(sign(url, secret, `{"id":"`+string(rune('a'+n))+`","account":"T-t1"}`)).StatusCode)
				}
			}
			return codes
		}
		require.Equal(t, []int{200, 200, 200, 200}, answers(), "during the overlap")
		time.Sleep(24*time.Hour + time.Second)
		require.Equal(t, []int{401, 401, 401, 200}, answers(), "after it")
		require.NoError(t, kit.Manager().Drain(ctx))
		require.Len(t, got(), 5)

		// A secret that leaked ends at once.
		third, err := conn.RotateEndpoint(ctx, first.ID, 0)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, kit.Send(sign(second.URL, second.Secret.Reveal(), `{"id":"x","account":"T-t1"}`)).StatusCode)
		require.Equal(t, http.StatusUnauthorized, kit.Send(sign(third.URL, second.Secret.Reveal(), `{"id":"y","account":"T-t1"}`)).StatusCode)
		require.Equal(t, http.StatusOK, kit.Send(sign(third.URL, third.Secret.Reveal(), `{"id":"z","account":"T-t1"}`)).StatusCode)

		_, err = conn.RotateEndpoint(ctx, first.ID, -1)
		require.ErrorIs(t, err, providers.ErrInvalid)
		other, err := kit.Manager().Connection(ctx, "t2", acmeKey)
		require.NoError(t, err)
		_, err = other.RotateEndpoint(ctx, first.ID, time.Hour)
		require.ErrorIs(t, err, providers.ErrNotFound, "another integration's")
		require.NoError(t, conn.CloseEndpoint(ctx, first.ID))
		_, err = conn.RotateEndpoint(ctx, first.ID, time.Hour)
		require.ErrorIs(t, err, providers.ErrNotFound)
		require.Equal(t, http.StatusUnauthorized, kit.Send(sign(third.URL, third.Secret.Reveal(), `{"id":"w","account":"T-t1"}`)).StatusCode)
	})
}

// TestRotationsAtOnce: nobody is told of a URL that another's rotation took away
// without a trace.
func TestRotationsAtOnce(t *testing.T) {
	kit, _, conn := hookedKit(t)
	e, err := conn.OpenEndpoint(t.Context())
	require.NoError(t, err)
	var wg sync.WaitGroup
	rotated, errs := make([]providers.Endpoint, 8), make([]error, 8)
	for i := range errs {
		wg.Go(func() { rotated[i], errs[i] = conn.RotateEndpoint(t.Context(), e.ID, time.Hour) })
	}
	wg.Wait()
	won, accepted := 0, 0
	for i, err := range errs {
		if err != nil {
			require.ErrorIs(t, err, providers.ErrConflict)
			continue
		}
		won++
		if kit.Send(sign(rotated[i].URL, rotated[i].Secret.Reveal(), `{"id":"1","account":"T-t1"}`)).StatusCode == http.StatusOK {
			accepted++
		}
	}
	require.Positive(t, won)
	require.Equal(t, min(won, 2), accepted, "the last one and the one before")
}

// TestARotationSealsBothSecretsWithThePrimaryKey: the row names one key.
func TestARotationSealsBothSecretsWithThePrimaryKey(t *testing.T) {
	older, err := crypto.GenerateKey("older")
	require.NoError(t, err)
	newer, err := crypto.GenerateKey("newer")
	require.NoError(t, err)
	ring := func(primary crypto.Key, others ...crypto.Key) crypto.Cipher {
		r, err := crypto.NewKeyring(primary, others...)
		require.NoError(t, err)
		return r
	}
	kit, p, _ := hookedKit(t)
	cfg := kit.Config()
	cfg.Providers, cfg.Cipher = []providers.Provider{p}, ring(older)
	kit.Use(cfg)
	kit.Connect("t1", acmeKey)
	conn, err := kit.Manager().Connection(t.Context(), "t1", acmeKey)
	require.NoError(t, err)
	e, err := conn.OpenEndpoint(t.Context())
	require.NoError(t, err)

	cfg.Cipher = ring(newer, older)
	kit.Use(cfg)
	conn, err = kit.Manager().Connection(t.Context(), "t1", acmeKey)
	require.NoError(t, err)
	_, err = conn.RotateEndpoint(t.Context(), e.ID, time.Hour)
	require.NoError(t, err)
	rows, err := cfg.Store.(store.Endpoints).ListEndpoints(t.Context(), store.Ref{TenantID: "t1", ID: conn.IntegrationID()})
	require.NoError(t, err)
	require.Equal(t, "newer", rows[0].KeyID)

	cfg.Cipher = ring(newer)
	kit.Use(cfg)
	require.Equal(t, http.StatusOK, kit.Send(sign(e.URL, e.Secret.Reveal(), `{"id":"1","account":"T-t1"}`)).StatusCode, "the secret before is under the new key")
}
