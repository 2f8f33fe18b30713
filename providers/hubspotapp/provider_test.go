package hubspotapp_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/providers/providertest"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
)

const account = "62515"

// refusal is an answer of HubSpot's JSON.
func refusal(status int, body string) providertest.Answer {
	return providertest.Answer{Status: status, Body: body}
}

func service(t *testing.T, change func(*hubspotapp.Config)) (*integrationstest.Kit, hubspotapp.Config, providertest.Service) {
	kit := integrationstest.New(t)
	kit.HubSpot.Add(account, "contacts", map[string]string{"email": "ada@example.com", "firstname": "Ada"})
	cfg := kit.HubSpot.App()
	cfg.PreviousClientSecrets = []string{previousSecret}
	change(&cfg)
	return kit, cfg, providertest.Service{
		Provider: hubspotapp.New(cfg), Transport: kit.Network, Account: account, Secrets: []string{cfg.ClientSecret, previousSecret},
		Consent: func(u string, agree bool) url.Values { return kit.Consent(u, account, agree) },
		Call: func(ctx context.Context, conn *providers.Connection) error {
			_, err := hubspotapp.ContactByEmail(ctx, conn, "ada@example.com")
			return err
		},
		Live:         func() bool { return kit.HubSpot.Renewable(account) },
		DeadGrant:    refusal(400, `{"error":"invalid_grant","error_description":"refresh token is invalid, expired or revoked","status":"BAD_REFRESH_TOKEN","message":"refresh token is invalid, expired or revoked"}`),
		AppFault:     refusal(400, `{"error":"invalid_client","status":"BAD_CLIENT_SECRET","message":"missing or invalid client secret"}`),
		TokenRefused: refusal(401, `{"status":"error","message":"The OAuth token used to make this call expired 5 hour(s) ago.","category":"EXPIRED_AUTHENTICATION"}`),
		Limited:      refusal(429, `{"status":"error","message":"You have reached your ten_secondly_rolling limit.","errorType":"RATE_LIMIT","policyName":"TEN_SECONDLY_ROLLING"}`),
		Refusals: []providertest.Refusal{
			{Answer: refusal(404, `{"status":"error","message":"resource not found","category":"OBJECT_NOT_FOUND"}`), Want: providers.ErrNotFound},
			{Answer: refusal(404, `<html>`), Want: providers.ErrNotFound},
			{Answer: refusal(403, `{"status":"error","category":"BANNED"}`), Want: providers.ErrForbidden},
			{Answer: refusal(409, `{"status":"error","category":"CONFLICT"}`), Want: providers.ErrConflict},
			{Answer: refusal(400, `{"status":"error","message":"Property \"planted\" does not exist","category":"VALIDATION_ERROR"}`), Want: providers.ErrInvalid},
			{Answer: refusal(400, `["not","an","object"]`), Want: providers.ErrInvalid},
			{Answer: refusal(423, `{"status":"error","message":"locked"}`), Want: providers.ErrTransient},
			{Answer: refusal(477, `{"status":"error","message":"migration in progress"}`), Want: providers.ErrTransient},
			{Answer: refusal(477, `{"status":"error","message":"migration in progress"}`), Want: ratelimit.ErrRateLimited},
			{Answer: refusal(429, `{"policyName":"DAILY"}`), Want: ratelimit.ErrRateLimited},
		},
	}
}

func TestProvider(t *testing.T) {
	providertest.Run(t, func(t *testing.T) providertest.Service {
		kit, cfg, s := service(t, func(*hubspotapp.Config) {})
		to := integrationstest.BaseURL + "/hubspot/webhook"
		body := mustJSON([]any{kit.HubSpot.Event(account, "contact.creation", map[string]any{"objectId": 123})})
		s.Webhooks = []providertest.Webhook{{
			Name: "subscription", URL: to, Type: "contact.creation",
			Request: func(at time.Time) *http.Request { return webhooktest.HubSpot(to, cfg.ClientSecret, body, at) },
			Signed:  []string{"X-HubSpot-Signature-v3", "X-HubSpot-Request-Timestamp"}, BodySigned: true, TimeSigned: true,
		}}
		return s
	})
}

// TestProviderLegacy is with everything that is off by default.
func TestProviderLegacy(t *testing.T) {
	providertest.Run(t, func(t *testing.T) providertest.Service {
		kit, cfg, s := service(t, func(c *hubspotapp.Config) {
			c.AllowLegacySignatures, c.PKCE, c.UninstallOnDisconnect, c.Shared = true, true, true, true
		})
		to := integrationstest.BaseURL + "/hubspot/webhook"
		event := mustJSON([]any{kit.HubSpot.Event(account, "contact.creation", map[string]any{"objectId": 123})})
		action := []byte(`{"callbackId":"ap-62515-1-2-0","origin":{"portalId":62515,"actionDefinitionId":2},"object":{"objectId":4,"objectType":"CONTACT"},"inputFields":{}}`)
		legacy := []string{"X-HubSpot-Signature", "X-HubSpot-Signature-Version"}
		s.Webhooks = []providertest.Webhook{
			{
				Name: "v3", URL: to, Type: "contact.creation",
				Request: func(at time.Time) *http.Request { return webhooktest.HubSpot(to, cfg.ClientSecret, event, at) },
				Signed:  []string{"X-HubSpot-Signature-v3", "X-HubSpot-Request-Timestamp"}, BodySigned: true, TimeSigned: true,
			},
			{
				Name: "v1", URL: to, Type: "contact.creation", Signed: legacy, BodySigned: true,
				Request: func(time.Time) *http.Request { return webhooktest.HubSpotV1(to, cfg.ClientSecret, event) },
			},
			{
				Name: "v2", URL: to, Type: hubspotapp.TypeWorkflowAction, Signed: legacy, BodySigned: true,
				Request: func(time.Time) *http.Request { return webhooktest.HubSpotV2(to, cfg.ClientSecret, action) },
			},
		}
		return s
	})
}
