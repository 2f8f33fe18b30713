package integrationstest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

func TestTheWholeWay(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Connect("acme", slackapp.Key)
	kit.Connect("acme", githubapp.Key)
	kit.Connect("beta", slackapp.Key)
	m := kit.Manager()
	ctx := t.Context()

	var pushed []string
	m.OnWebhook(githubapp.Push(func(_ context.Context, ev webhook.Event, p *github.PushEvent) error {
		pushed = append(pushed, ev.TenantID+" "+p.GetRef())
		return nil
	}))
	var mu sync.Mutex
	var changes []string
	m.OnChange(func(_ context.Context, c integrations.Change) error {
		mu.Lock()
		defer mu.Unlock()
		changes = append(changes, c.TenantID+" "+c.Provider+" "+string(c.Kind))
		return nil
	})

	conn, err := m.Connection(ctx, "acme", slackapp.Key)
	require.NoError(t, err)
	posted, err := slackapp.Notify(ctx, conn, slackapp.Message{Text: "Deployed"})
	require.NoError(t, err)
	require.Equal(t, "CT-acme", posted.Channel)
	sent := kit.Slack.Sent()
	require.Len(t, sent, 1)
	require.Equal(t, "T-acme", sent[0].Team)
	require.Equal(t, "false", sent[0].UnfurlLinks)
	require.Zero(t, kit.Slack.Misplaced())

	gh, err := m.Connection(ctx, "acme", githubapp.Key)
	require.NoError(t, err)
	var repos []string
	for r, err := range githubapp.Repositories(ctx, gh) {
		require.NoError(t, err)
		repos = append(repos, r.GetFullName())
	}
	require.Equal(t, []string{"T-acme/api", "T-acme/web"}, repos)

	snapshot, err := gh.Snapshot(ctx)
	require.NoError(t, err)
	var id int64
	_, err = fmt.Sscan(snapshot.ExternalID, &id)
	require.NoError(t, err)
	require.Equal(t, 200, kit.GitHub.Push(id, "api", "refs/heads/main"))
	require.NoError(t, m.Drain(ctx))
	require.Equal(t, []string{"acme refs/heads/main"}, pushed)
	require.ElementsMatch(t, []string{"acme slack connected", "acme github connected", "beta slack connected"}, changes)

	require.Equal(t, 200, kit.Slack.Uninstall("T-acme"))
	require.NoError(t, m.Drain(ctx))
	_, err = slackapp.Notify(ctx, conn, slackapp.Message{Text: "again"})
	require.ErrorIs(t, err, integrations.ErrDisconnected)
	_, err = m.Connection(ctx, "beta", slackapp.Key)
	require.NoError(t, err)
	_, err = m.Connection(ctx, "gamma", slackapp.Key)
	require.True(t, errors.Is(err, integrations.ErrNotConnected))
}
