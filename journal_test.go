package integrations_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/faultstore"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// crashed is a host whose process died with a refreshed token in its journal and
// not in the store, at a provider that forgives nothing.
type crashed struct {
	kit     *integrationstest.Kit
	cfg     integrations.Config
	st      *faultstore.Store
	journal string
	log     bytes.Buffer
}

func newCrashed(t *testing.T) *crashed {
	t.Helper()
	c := &crashed{kit: integrationstest.New(t), st: faultstore.New(memstore.New()), journal: filepath.Join(t.TempDir(), "journal")}
	c.cfg = c.kit.Config()
	c.cfg.Providers = []providers.Provider{providers.NewOAuth2(c.kit.OAuth.Config(acmeKey))}
	c.cfg.Logger = slog.New(slog.NewTextHandler(&c.log, nil))
	var err error
	c.cfg.Journal, err = token.NewDirJournal(c.journal)
	require.NoError(t, err)
	dying := faultstore.New(c.st)
	cfg := c.cfg
	cfg.Store, c.cfg.Store = dying, c.st
	c.kit.Use(cfg)
	c.kit.Connect("t1", acmeKey)
	time.Sleep(2 * time.Hour) // the token has ended
	dying.Fail(func(_ int, method string) (faultstore.When, error) {
		if method == "CommitTokens" {
			return faultstore.Before, errors.New("the disk is full")
		}
		return faultstore.Before, nil
	})
	require.NoError(t, c.call(t, c.kit.Manager()))
	time.Sleep(2 * time.Minute) // it is past trying
	dying.Fail(func(int, string) (faultstore.When, error) { return faultstore.Before, errors.New("dead") })
	require.Len(t, c.records(t), 1)
	return c
}

func (c *crashed) call(t *testing.T, m *integrations.Manager) error {
	t.Helper()
	conn, err := m.Connection(t.Context(), "t1", acmeKey)
	require.NoError(t, err)
	_, err = providers.API{Adapter: "acme"}.Do(t.Context(), conn.HTTPClient(), providers.APICall{URL: "https://api.example.test/me"})
	return err
}

func (c *crashed) records(t *testing.T) []os.DirEntry {
	t.Helper()
	list, err := os.ReadDir(c.journal)
	require.NoError(t, err)
	return list
}

// well checks that the row has the provider's current refresh token, and that no
// other was sent twice.
func (c *crashed) well(t *testing.T) {
	t.Helper()
	list, err := c.st.List(t.Context(), "t1")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, store.Active, list[0].Status)
	_, refresh, err := token.OpenGrant(c.cfg.Cipher, list[0])
	require.NoError(t, err)
	require.True(t, c.kit.OAuth.Tokens.Current(refresh.Reveal()), "the row holds a refresh token that was replaced")
	require.Zero(t, c.kit.OAuth.Tokens.Reuses())
	require.Empty(t, c.records(t))
}

func TestNewReplaysTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrashed(t)
		m, err := integrations.New(t.Context(), c.cfg)
		require.NoError(t, err)
		c.well(t)
		require.NoError(t, c.call(t, m))
		c.well(t)
	})
}

func TestRunReplaysWhatNewCouldNot(t *testing.T) {
	for _, drain := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCrashed(t)
			c.st.Fail(func(_ int, method string) (faultstore.When, error) {
				if method == "CommitTokens" {
					return faultstore.Before, errors.New("the disk is full")
				}
				return faultstore.Before, nil
			})
			m, err := integrations.New(t.Context(), c.cfg)
			require.NoError(t, err, "a store that is out for a moment")
			require.Len(t, c.records(t), 1)
			require.Contains(t, c.log.String(), "the disk is full")
			if drain {
				c.st.Fail(nil)
				require.NoError(t, m.Drain(t.Context()))
				c.well(t)
				return
			}
			ctx, stop := context.WithCancel(t.Context())
			over := make(chan error, 1)
			go func() { over <- m.Run(ctx) }()
			time.Sleep(time.Minute)
			synctest.Wait()
			require.Len(t, c.records(t), 1)
			require.Equal(t, 1, strings.Count(c.log.String(), "not all of the journal"), "the same fault is logged once")
			c.st.Fail(nil)
			time.Sleep(time.Minute)
			synctest.Wait()
			c.well(t)
			stop()
			require.NoError(t, <-over)
		})
	}
}
