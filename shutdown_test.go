package integrations_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// TestR5NoRefreshBeginsAfterShutdown: not even while Shutdown waits for what Run
// has under way.
func TestR5NoRefreshBeginsAfterShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p := fakeKit(t)
		m := kit.Manager()
		kit.Connect("t1", acmeKey)
		time.Sleep(55 * time.Minute) // its token is due
		kit.OAuth.Tokens.SetLife(2 * time.Second)
		kit.Connect("t2", acmeKey)
		late, err := m.Connection(t.Context(), "t2", acmeKey)
		require.NoError(t, err)

		calls := 0
		goOn, running := make(chan struct{}), make(chan error, 1)
		p.renewed = func(token.Grant) {
			if calls++; calls == 1 {
				<-goOn
			}
		}
		go func() { running <- m.Run(t.Context()) }()
		synctest.Wait()
		require.Equal(t, 1, calls)

		ended := make(chan error, 1)
		go func() { ended <- m.Shutdown(t.Context()) }()
		synctest.Wait()
		time.Sleep(3 * time.Second) // t2's token has ended
		_, err = late.Token(t.Context())
		require.ErrorIs(t, err, integrations.ErrTransient)
		require.Equal(t, 1, calls, "a refresh began after Shutdown")
		require.Empty(t, ended, "Shutdown did not wait")
		close(goOn)
		require.NoError(t, <-ended)
		require.NoError(t, <-running)
	})
}

// TestR5AShutdownThatIsGivenUpHasBegun: no refresh begins after it either.
func TestR5AShutdownThatIsGivenUpHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p := fakeKit(t)
		m := kit.Manager()
		kit.Connect("t1", acmeKey)
		conn := connOf(t, kit)
		calls, goOn := 0, make(chan struct{})
		p.renewed = func(token.Grant) {
			if calls++; calls == 1 {
				<-goOn
			}
		}
		time.Sleep(2 * time.Hour)
		running := make(chan error, 1)
		go func() { running <- m.Run(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, m.Shutdown(ctx), context.DeadlineExceeded)
		close(goOn)
		require.NoError(t, <-running)
		time.Sleep(2 * time.Hour)
		_, err := conn.Token(t.Context())
		require.ErrorIs(t, err, integrations.ErrTransient)
		require.Equal(t, 1, calls)
	})
}
