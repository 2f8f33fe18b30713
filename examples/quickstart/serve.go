package main

import (
	"context"
	"errors"
	"os"
	"strconv"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/examples/internal/demo"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/webhook"
)

// serve runs the host on PORT (default 8080) against the real services. APP_URL
// is its public URL; the handlers are at APP_URL/integrations. Everybody who
// reaches it is the same user of the tenant "demo": put a login in front.
func serve(ctx context.Context) error {
	db, err := demo.OpenSQLite(ctx, "quickstart.sqlite")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	appID, err := strconv.ParseInt(os.Getenv("GITHUB_APP_ID"), 10, 64)
	if err != nil {
		return errors.New("GITHUB_APP_ID is not a number")
	}
	cfg, err := demo.Config(db,
		slackapp.New(slackapp.Config{
			ClientID: os.Getenv("SLACK_CLIENT_ID"), ClientSecret: os.Getenv("SLACK_CLIENT_SECRET"),
			SigningSecrets: []string{os.Getenv("SLACK_SIGNING_SECRET")}, Scopes: []string{"chat:write", "incoming-webhook"},
		}),
		githubapp.New(githubapp.Config{
			AppID: appID, Slug: os.Getenv("GITHUB_APP_SLUG"), PrivateKeyPEM: os.Getenv("GITHUB_PRIVATE_KEY"),
			ClientID: os.Getenv("GITHUB_CLIENT_ID"), ClientSecret: os.Getenv("GITHUB_CLIENT_SECRET"),
			WebhookSecrets: []string{os.Getenv("GITHUB_WEBHOOK_SECRET")},
		}),
	)
	if err != nil {
		return err
	}
	m, err := integrations.New(ctx, cfg)
	if err != nil {
		return err
	}
	m.OnWebhook(githubapp.Push(func(ctx context.Context, ev webhook.Event, p *github.PushEvent) error {
		conn, err := m.Connection(ctx, ev.TenantID, slackapp.Key)
		if errors.Is(err, integrations.ErrNotConnected) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = slackapp.Notify(ctx, conn, slackapp.Message{Text: p.GetRepo().GetFullName() + " was pushed to " + p.GetRef()})
		return err
	}))
	return demo.Listen(ctx, m, cfg.Logger, slackapp.Key, githubapp.Key)
}
