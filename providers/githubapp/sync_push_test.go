package githubapp_test

import (
	"context"
	"errors"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// consumer notes what a handler consumed.
type consumer struct {
	got []string
	err error
}

func (c *consumer) consume(_ context.Context, conn *providers.Connection, item githubapp.SyncItem) error {
	c.got = append(c.got, conn.TenantID()+" "+text(item))
	return c.err
}

// TestSyncOnPush: a signed push of one tenant syncs the pushed repository alone.
func TestSyncOnPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api", "web")
	other := w.gh.Install("beta", "user-of-beta", "api")
	w.kit.Connect("beta", githubapp.Key, "beta")
	var c consumer
	w.m.OnWebhook(githubapp.SyncOnPush(w.m.ConnectionByID, &githubapp.SyncOptions{Repositories: []string{"acme/web"}}, c.consume))
	w.issue("api", 1, 1)
	w.issue("web", 1, 1)
	w.commit("api", 5)
	require.Equal(t, 200, w.gh.Push(w.id, "api", "refs/heads/main"))
	w.wire.take("")
	require.NoError(t, w.m.Drain(t.Context()))
	require.Equal(t, []string{"acme repository api", "acme api#1@1", "acme api:5"}, c.got)
	require.Empty(t, w.wire.take("/web"))

	c.got = nil
	w.commit("api", 6)
	w.gh.PutCommit(other, "api", "main", pushed(9))
	require.Equal(t, 200, w.gh.Push(other, "api", "refs/heads/main"))
	require.NoError(t, w.m.Drain(t.Context()))
	require.Equal(t, []string{"beta repository api", "beta api:9"}, c.got)

	c.got = nil
	require.Equal(t, []string{"api:6", "web#1@1"}, w.all(nil), "a run over everything goes on from there")
	require.NoError(t, w.m.Drain(t.Context()))
	require.Empty(t, c.got)
}

// handle runs a handler for a push to a repository of the world.
func (w *world) handle(c *consumer, repo string) error {
	h := githubapp.SyncOnPush(w.m.ConnectionByID, nil, c.consume)
	require.Equal(w.t, githubapp.Key, h.Provider)
	require.Equal(w.t, "push", h.Type)
	return h.Func(w.t.Context(), webhook.Event{TenantID: "acme", IntegrationID: w.conn.IntegrationID(), Body: w.gh.PushBody(w.id, repo, "refs/heads/main")})
}

func TestSyncOnPushComesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api", "web")
	w.issue("api", 1, 1)
	full := errors.New("disk is full")
	require.ErrorIs(t, w.handle(&consumer{err: full}, "api"), full)
	c := &consumer{}
	require.NoError(t, w.handle(c, "api"))
	require.Equal(t, []string{"acme repository api", "acme api#1@1"}, c.got)

	c = &consumer{}
	_, err := w.sync(t.Context(), nil, func(githubapp.SyncItem) bool {
		err := w.handle(c, "api")
		require.ErrorIs(t, err, providers.ErrTransient, "the sync at work may have read the commits already")
		return false
	})
	require.NoError(t, err)
	require.Equal(t, []string{"acme skipped api"}, c.got)

	w.gh.RefuseRepository(w.id, "web", 502, "Bad Gateway")
	require.ErrorIs(t, w.handle(c, "web"), providers.ErrProviderDown)
	w.gh.RefuseRepository(w.id, "web", 403, "Resource not accessible by integration")
	require.NoError(t, w.handle(c, "web"), "the consumer was told, and another attempt would not help")
	require.ErrorIs(t, w.handle(c, "../web"), providers.ErrInvalid)
	require.NoError(t, w.m.Disconnect(t.Context(), "acme", w.conn.IntegrationID()))
	c = &consumer{}
	require.NoError(t, w.handle(c, "api"))
	require.Empty(t, c.got)

	down := errors.New("store is down")
	h := githubapp.SyncOnPush(func(context.Context, string, string) (*providers.Connection, error) { return nil, down }, nil, c.consume)
	require.ErrorIs(t, h.Func(t.Context(), webhook.Event{IntegrationID: "x", Body: []byte(`{}`)}), down)
	require.NoError(t, h.Func(t.Context(), webhook.Event{Body: []byte(`{}`)}), "nobody's event")
}
