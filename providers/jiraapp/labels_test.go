package jiraapp_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// TestTwoSitesOfOneTenant: one person's sites, each under a label of its own and
// each with a grant of its own, which rotates by itself.
func TestTwoSitesOfOneTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		cfg.AllowLabel = func(context.Context, integrations.Identity, string, string) bool { return true }
		m, ctx := kit.Use(cfg), t.Context()
		sites := map[string]string{"": kit.Jira.AddSite("ann", "first"), "second": kit.Jira.AddSite("ann", "second")}
		var mu sync.Mutex // handlers run side by side
		var labels []string
		m.OnWebhook(jiraapp.OnIssue(jiraapp.TypeIssueCreated, func(ctx context.Context, ev webhook.Event, _ *jiraapp.IssueEvent) error {
			c, err := m.ConnectionByID(ctx, ev.TenantID, ev.IntegrationID)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			labels = append(labels, c.Label())
			return nil
		}))
		deliver := func() []string {
			labels = nil
			for _, label := range []string{"", "second"} {
				kit.Jira.Event(sites[label], jiraapp.TypeIssueCreated, "ACME-1") // 0 where nobody registered
			}
			require.NoError(t, m.Drain(ctx))
			return labels
		}
		for _, label := range []string{"", "second"} {
			kit.ConnectLabel("acme", jiraapp.Key, label, sites[label])
			kit.Jira.AddIssue(sites[label], "ACME", "x")
			c, err := m.Connection(ctx, "acme", jiraapp.Key, integrations.WithLabel(label))
			require.NoError(t, err)
			s, err := c.Snapshot(ctx)
			require.NoError(t, err)
			require.Equal(t, sites[label], s.ExternalID)
			_, err = jiraapp.RegisterWebhooks(ctx, c, hook("new", "project = ACME"))
			require.NoError(t, err)
		}
		require.ElementsMatch(t, []string{"", "second"}, deliver())

		first, err := m.Connection(ctx, "acme", jiraapp.Key)
		require.NoError(t, err)
		second, err := m.Connection(ctx, "acme", jiraapp.Key, integrations.WithLabel("second"))
		require.NoError(t, err)
		for range 3 {
			time.Sleep(2 * time.Hour)
			for _, c := range []interface{ Check(context.Context) error }{first, second} {
				require.NoError(t, c.Check(ctx))
			}
		}
		require.Equal(t, 6, kit.Jira.Tokens.Calls())
		require.Zero(t, kit.Jira.Tokens.Reuses(), "no refresh token is the other's")

		require.NoError(t, m.Disconnect(ctx, "acme", first.IntegrationID()))
		require.Empty(t, kit.Jira.Webhooks(sites[""]))
		require.Len(t, kit.Jira.Webhooks(sites["second"]), 1)
		_, err = jiraapp.GetIssue(ctx, second, "ACME-1")
		require.NoError(t, err)
		require.Equal(t, []string{"second"}, deliver())
	})
}
