package e2e

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/stretchr/testify/require"
)

func TestTwoManagersOnOneDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	kit := integrationstest.New(t)
	cfg := kit.Config()
	cfg.CacheFor = 50 * time.Millisecond
	cfg.Store = migrated(t, openSQLite(t, path, recommended), "")
	m := kit.Use(cfg)
	cfg.Store = sqlstore.New(openSQLite(t, path, recommended), sqlstore.SQLite, nil)
	other, err := integrations.New(t.Context(), cfg)
	require.NoError(t, err)
	kit.Connect("t1", slackapp.Key)
	conn, err := other.Connection(t.Context(), "t1", slackapp.Key)
	require.NoError(t, err)
	require.NoError(t, conn.Check(t.Context()))
	require.NoError(t, m.Disconnect(t.Context(), "t1", conn.IntegrationID()))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for conn.Check(ctx) == nil {
		require.NoError(t, ctx.Err(), "the disconnect is not seen")
	}
	require.ErrorIs(t, conn.Check(t.Context()), integrations.ErrDisconnected)
}
