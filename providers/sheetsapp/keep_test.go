package sheetsapp_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/stretchr/testify/require"
)

func declaring(kit *integrationstest.Kit, cfg integrations.Config, watch bool) *integrations.Manager {
	app := kit.Sheets.App()
	app.WatchChanges = watch
	cfg.Providers = []providers.Provider{sheetsapp.New(app)}
	return kit.Use(cfg)
}

func channels(t *testing.T, m *integrations.Manager, tenant string) []sheetsapp.Channel {
	t.Helper()
	conn, err := m.Connection(t.Context(), tenant, sheetsapp.Key)
	require.NoError(t, err)
	list, err := sheetsapp.Channels(t.Context(), conn)
	require.NoError(t, err)
	return list
}

func TestDeclaredChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		m := declaring(kit, cfg, true)
		drain := func() { require.NoError(t, m.Drain(t.Context())) }
		kit.Connect("acme", sheetsapp.Key)
		kit.Connect("beta", sheetsapp.Key)
		drain()
		require.Len(t, kit.Sheets.LiveChannels(), 2)
		first := channels(t, m, "acme")[0].ID

		// For a month, over restarts: one channel each at every moment, another every
		// few days.
		for range 30 * 4 {
			m = declaring(kit, cfg, true)
			time.Sleep(6 * time.Hour)
			drain()
			require.Len(t, kit.Sheets.LiveChannels(), 2)
		}
		require.Len(t, channels(t, m, "acme"), 1)
		require.NotEqual(t, first, channels(t, m, "acme")[0].ID)
		conn, err := m.Connection(t.Context(), "acme", sheetsapp.Key)
		require.NoError(t, err)
		open, err := conn.Endpoints(t.Context())
		require.NoError(t, err)
		require.Len(t, open, 1)

		// Not declared any more; what the host asked for itself stays.
		beta, err := m.Connection(t.Context(), "beta", sheetsapp.Key)
		require.NoError(t, err)
		book, err := sheetsapp.Create(t.Context(), beta, "Book")
		require.NoError(t, err)
		_, err = sheetsapp.WatchFile(t.Context(), beta, book.ID)
		require.NoError(t, err)
		m = declaring(kit, cfg, false)
		drain()
		require.Empty(t, channels(t, m, "acme"))
		require.Len(t, channels(t, m, "beta"), 1)
		require.Len(t, kit.Sheets.LiveChannels(), 1)
		_, err = sheetsapp.WatchChanges(t.Context(), beta)
		require.NoError(t, err)
		time.Sleep(7 * time.Hour)
		drain()
		require.Len(t, channels(t, m, "beta"), 2)
	})
}

// TestAChannelWhoseAnswerWasLost: it is open at Google and nobody stored it.
func TestAChannelWhoseAnswerWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		m := declaring(kit, cfg, true)
		kit.Connect("acme", sheetsapp.Key)
		kit.Network.Fail("www.googleapis.com", "/drive/v3/changes/watch", integrationstest.DropAfterWork())
		require.NoError(t, m.Drain(t.Context()))
		require.Len(t, kit.Sheets.LiveChannels(), 1)
		lost := kit.Sheets.LiveChannels()[0]
		require.Equal(t, 401, kit.Send(kit.Sheets.Notification(lost, "change")).StatusCode)
		require.Empty(t, channels(t, m, "acme"))
		for range 3 {
			time.Sleep(11 * time.Minute)
			require.NoError(t, m.Drain(t.Context()))
		}
		list := channels(t, m, "acme")
		require.Len(t, list, 1)
		require.Equal(t, []string{list[0].ID}, kit.Sheets.LiveChannels(), "the lost one is stopped")
		conn, err := m.Connection(t.Context(), "acme", sheetsapp.Key)
		require.NoError(t, err)
		subs, err := conn.Subscriptions(t.Context())
		require.NoError(t, err)
		require.Len(t, subs, 1)
		open, err := conn.Endpoints(t.Context())
		require.NoError(t, err)
		require.Len(t, open, 1)
	})
}

func TestChannelsAreOpenedByOneAtATime(t *testing.T) {
	kit := integrationstest.New(t)
	m := kit.Manager()
	kit.Connect("acme", sheetsapp.Key)
	conn, err := m.Connection(t.Context(), "acme", sheetsapp.Key)
	require.NoError(t, err)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = sheetsapp.WatchChanges(context.WithoutCancel(t.Context()), conn) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			require.ErrorIs(t, err, providers.ErrConflict)
		}
	}
	require.Len(t, kit.Sheets.LiveChannels(), 1)
	require.Len(t, channels(t, m, "acme"), 1)
}

func TestValidateDeclaredChanges(t *testing.T) {
	require.NoError(t, app(func(c *sheetsapp.Config) {
		c.WatchChanges, c.Scopes = true, []string{sheetsapp.ScopeDriveFile}
	}).Validate())
	err := app(func(c *sheetsapp.Config) {
		c.WatchChanges, c.NoNotifications, c.Scopes = true, true, []string{sheetsapp.ScopeSpreadsheets}
	}).Validate()
	require.ErrorContains(t, err, "WatchChanges and NoNotifications")
	require.ErrorContains(t, err, "WatchChanges needs a scope")
}
