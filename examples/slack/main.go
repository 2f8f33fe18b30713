// Slack posts a message to the workspace a tenant connects, and answers mentions.
//
// It needs no account: a fake Slack runs in this process. With
// TOKEN_ENCRYPTION_KEY, APP_URL, SLACK_CLIENT_ID, SLACK_CLIENT_SECRET and
// SLACK_SIGNING_SECRET set it serves on PORT against the real one.
package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/examples/internal/demo"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/slack-go/slack/slackevents"
)

var program = demo.Program{
	Key:  slackapp.Key,
	Fake: func(kit *integrationstest.Kit) providers.Provider { return slackapp.New(kit.Slack.App()) },
	Real: func(getenv func(string) string) providers.Provider {
		if getenv("SLACK_CLIENT_ID") == "" {
			return nil
		}
		return slackapp.New(slackapp.Config{
			ClientID: getenv("SLACK_CLIENT_ID"), ClientSecret: getenv("SLACK_CLIENT_SECRET"),
			SigningSecrets: []string{getenv("SLACK_SIGNING_SECRET")}, Scopes: []string{"chat:write", "app_mentions:read", "incoming-webhook"},
		})
	},
	Use: func(ctx context.Context, conn *providers.Connection) error {
		posted, err := slackapp.Notify(ctx, conn, slackapp.Message{Text: "Connected"})
		if err != nil {
			return err
		}
		demo.Say("posted to %s at %s", posted.Channel, posted.Timestamp)
		return nil
	},
	Handlers: func(m *integrations.Manager) {
		m.OnWebhook(slackapp.On("app_mention", func(ctx context.Context, ev webhook.Event, e *slackevents.AppMentionEvent) error {
			conn, err := m.ConnectionByID(ctx, ev.TenantID, ev.IntegrationID)
			if err != nil {
				return err
			}
			posted, err := slackapp.Notify(ctx, conn, slackapp.Message{Channel: e.Channel, ThreadTS: e.TimeStamp, Text: "At your service."})
			demo.Say("answered %q in %s", e.Text, posted.Channel)
			return err
		}))
	},
	Deliver: func(_ context.Context, kit *integrationstest.Kit, _ *providers.Connection) error {
		status := kit.Slack.Event("T-"+demo.Tenant, `{"type":"app_mention","channel":"C1","ts":"1.2","text":"hello"}`)
		if status != http.StatusOK {
			return fmt.Errorf("the event was answered with %d", status)
		}
		return nil
	},
}

func main() { program.Main() }
