package slackapp_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/providertest"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
)

func TestProvider(t *testing.T) {
	providertest.Run(t, func(t *testing.T) providertest.Service {
		kit := integrationstest.New(t)
		kit.Slack.Tokens.SetLife(12 * time.Hour)
		cfg := kit.Slack.App()
		body := kit.Slack.EventBody("T0001", `{"type":"app_mention","text":"hello"}`)
		return providertest.Service{
			Provider: slackapp.New(cfg), Transport: kit.Network, Account: "T0001", Rotates: true,
			Secrets: []string{cfg.ClientSecret, kit.Slack.SigningSecret()},
			Consent: func(u string, agree bool) url.Values { return kit.Consent(u, "T0001", agree) },
			Call: func(ctx context.Context, conn *providers.Connection) error {
				_, err := slackapp.Notify(ctx, conn, slackapp.Message{Text: "hello"})
				return err
			},
			Live:         func() bool { return kit.Slack.Tokens.Live("T0001") },
			DeadGrant:    providertest.Answer{Status: 200, Body: `{"ok":false,"error":"invalid_refresh_token"}`},
			AppFault:     providertest.Answer{Status: 200, Body: `{"ok":false,"error":"bad_client_secret"}`},
			TokenRefused: providertest.Answer{Status: 200, Body: `{"ok":false,"error":"token_expired"}`},
			Limited:      providertest.Answer{Status: 429, Header: http.Header{"Retry-After": {"30"}}, Body: `{"ok":false,"error":"ratelimited"}`},
			Refusals: []providertest.Refusal{
				{Answer: providertest.Answer{Status: 200, Body: `{"ok":false,"error":"channel_not_found"}`}, Want: providers.ErrNotFound},
				{Answer: providertest.Answer{Status: 200, Body: `{"ok":false,"error":"is_archived"}`}, Want: providers.ErrForbidden},
				{Answer: providertest.Answer{Status: 200, Body: `{"ok":false,"error":"msg_too_long"}`}, Want: providers.ErrInvalid},
				{Answer: providertest.Answer{Status: 200, Body: `{"ok":false,"error":"internal_error"}`}, Want: providers.ErrProviderDown},
			},
			Webhooks: []providertest.Webhook{{
				Name: "event", URL: integrationstest.BaseURL + "/slack/webhook", Type: "app_mention",
				Request: func(at time.Time) *http.Request {
					return webhooktest.Slack(integrationstest.BaseURL+"/slack/webhook", kit.Slack.SigningSecret(), body, at)
				},
				Signed: []string{"X-Slack-Signature", "X-Slack-Request-Timestamp"}, BodySigned: true, TimeSigned: true,
			}},
		}
	})
}
