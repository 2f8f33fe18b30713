// Github lists the repositories of the installation a tenant connects, and hears
// of pushes.
//
// It needs no account: a fake GitHub runs in this process. With
// TOKEN_ENCRYPTION_KEY, APP_URL, GITHUB_APP_ID, GITHUB_APP_SLUG,
// GITHUB_PRIVATE_KEY, GITHUB_CLIENT_ID, GITHUB_CLIENT_SECRET and
// GITHUB_WEBHOOK_SECRET set it serves on PORT against the real one.
package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/examples/internal/demo"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/webhook"
)

var program = demo.Program{
	Key:  githubapp.Key,
	Fake: func(kit *integrationstest.Kit) providers.Provider { return githubapp.New(kit.GitHub.App()) },
	Real: func(getenv func(string) string) providers.Provider {
		id, err := strconv.ParseInt(getenv("GITHUB_APP_ID"), 10, 64)
		if err != nil {
			return nil
		}
		return githubapp.New(githubapp.Config{
			AppID: id, Slug: getenv("GITHUB_APP_SLUG"), PrivateKeyPEM: getenv("GITHUB_PRIVATE_KEY"),
			ClientID: getenv("GITHUB_CLIENT_ID"), ClientSecret: getenv("GITHUB_CLIENT_SECRET"),
			WebhookSecrets: []string{getenv("GITHUB_WEBHOOK_SECRET")},
		})
	},
	Use: func(ctx context.Context, conn *providers.Connection) error {
		for repo, err := range githubapp.Repositories(ctx, conn) {
			if err != nil {
				return err
			}
			demo.Say("repository %s", repo.GetFullName())
		}
		return nil
	},
	Handlers: func(m *integrations.Manager) {
		m.OnWebhook(githubapp.Push(func(_ context.Context, ev webhook.Event, p *github.PushEvent) error {
			demo.Say("a push to %s of %s", p.GetRef(), p.GetRepo().GetFullName())
			return nil
		}))
	},
	Deliver: func(ctx context.Context, kit *integrationstest.Kit, conn *providers.Connection) error {
		s, err := conn.Snapshot(ctx)
		if err != nil {
			return err
		}
		id, err := strconv.ParseInt(s.ExternalID, 10, 64)
		if err != nil {
			return err
		}
		if status := kit.GitHub.Push(id, "api", "refs/heads/main"); status != http.StatusOK {
			return fmt.Errorf("the push was answered with %d", status)
		}
		return nil
	},
}

func main() { program.Main() }
