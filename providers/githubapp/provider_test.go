package githubapp_test

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/providertest"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
)

// service is the App at the kit's GitHub, with what is the same in every mode.
func service(kit *integrationstest.Kit, cfg githubapp.Config) providertest.Service {
	return providertest.Service{
		Provider: githubapp.New(cfg), Transport: kit.Network,
		Secrets: []string{cfg.ClientSecret, kit.GitHub.WebhookSecret(), cfg.PrivateKeyPEM},
		Consent: func(u string, agree bool) url.Values { return kit.Consent(u, "acme", agree) },
		Call: func(ctx context.Context, conn *providers.Connection) error {
			_, _, err := githubapp.Client(conn).Users.Get(ctx, "")
			return githubapp.Classify(err)
		},
		DeadGrant:    providertest.Answer{Status: 200, Body: `{"error":"bad_refresh_token","error_description":"The refresh token passed is incorrect or expired."}`},
		AppFault:     providertest.Answer{Status: 200, Body: `{"error":"incorrect_client_credentials"}`},
		TokenRefused: providertest.Answer{Status: 401, Body: `{"message":"Bad credentials"}`},
		Limited:      providertest.Answer{Status: 403, Header: http.Header{"Retry-After": {"60"}}, Body: `{"message":"You have exceeded a secondary rate limit."}`},
		Refusals: []providertest.Refusal{
			{Answer: providertest.Answer{Status: 404, Body: `{"message":"Not Found"}`}, Want: providers.ErrNotFound},
			{Answer: providertest.Answer{Status: 403, Body: `{"message":"Resource not accessible by integration"}`}, Want: providers.ErrForbidden},
			{Answer: providertest.Answer{Status: 409, Body: `{"message":"Conflict"}`}, Want: providers.ErrConflict},
			{Answer: providertest.Answer{Status: 422, Body: `{"message":"Validation Failed"}`}, Want: providers.ErrInvalid},
		},
	}
}

func delivery(kit *integrationstest.Kit, event string, body []byte) providertest.Webhook {
	u := integrationstest.BaseURL + "/github/webhook"
	return providertest.Webhook{
		Name: event, URL: u, Type: event, Signed: []string{"X-Hub-Signature-256"}, BodySigned: true,
		Request: func(time.Time) *http.Request {
			return webhooktest.GitHub(u, kit.GitHub.WebhookSecret(), event, "72d3162e-cc78-11e3-81ab-4c9367dc0958", body)
		},
	}
}

func TestProviderInstallation(t *testing.T) {
	providertest.Run(t, func(t *testing.T) providertest.Service {
		kit := integrationstest.New(t)
		id := kit.GitHub.Install("acme", "user-of-acme")
		s := service(kit, kit.GitHub.App())
		s.Account, s.Mints = strconv.FormatInt(id, 10), true
		s.Live = func() bool { return kit.GitHub.Tokens.Live(s.Account) }
		s.DeadGrant = providertest.Answer{Status: 404, Body: `{"message":"Not Found"}`}
		s.AppFault = providertest.Answer{Status: 401, Body: `{"message":"A JSON web token could not be decoded"}`}
		s.Call = func(ctx context.Context, conn *providers.Connection) error {
			for _, err := range githubapp.Repositories(ctx, conn) {
				if err != nil {
					return err
				}
			}
			return nil
		}
		s.Webhooks = []providertest.Webhook{delivery(kit, "push", kit.GitHub.PushBody(id, "api", "refs/heads/main"))}
		return s
	})
}

func TestProviderUser(t *testing.T) {
	providertest.Run(t, func(t *testing.T) providertest.Service {
		kit := integrationstest.New(t)
		cfg := kit.GitHub.App()
		cfg.Mode = githubapp.ModeUser
		s := service(kit, cfg)
		s.Account, s.Rotates = "1", true
		s.Live = func() bool { return kit.GitHub.Tokens.Live("user-of-acme") }
		s.Webhooks = []providertest.Webhook{delivery(kit, "github_app_authorization", []byte(`{"action":"revoked","sender":{"login":"user-of-acme","id":1}}`))}
		return s
	})
}
