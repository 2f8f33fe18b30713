package providers_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/providertest"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

func TestOAuth2Provider(t *testing.T) {
	scheme := webhook.HMACConfig{
		SignatureHeader: "X-Acme-Signature", Signed: "{timestamp}.{body}", TimestampHeader: "X-Acme-Time",
		Secrets: []string{"a secret of the webhook"},
	}
	providertest.Run(t, func(t *testing.T) providertest.Service {
		kit := integrationstest.New(t)
		cfg := kit.OAuth.Config("acme")
		verifier, err := webhook.NewHMAC(scheme)
		require.NoError(t, err)
		cfg.Webhook = &providers.OAuth2Webhook{Verifier: verifier, Account: "account.id", Type: "type", ID: "id", TimestampSigned: true}
		return providertest.Service{
			Provider: providers.NewOAuth2(cfg), Transport: kit.Network, Account: "A1", Rotates: true, Plain: true,
			Secrets: []string{cfg.ClientSecret, scheme.Secrets[0]},
			Consent: func(u string, agree bool) url.Values { return kit.Consent(u, "A1", agree) },
			Call: func(ctx context.Context, conn *providers.Connection) error {
				_, err := providers.API{Adapter: "acme"}.Do(ctx, conn.HTTPClient(), providers.APICall{URL: "https://api.example.test/me"})
				return err
			},
			Live:         func() bool { return kit.OAuth.Tokens.Live("A1") },
			DeadGrant:    providertest.Answer{Status: 400, Body: `{"error":"invalid_grant"}`},
			AppFault:     providertest.Answer{Status: 401, Body: `{"error":"invalid_client"}`},
			TokenRefused: providertest.Answer{Status: 401, Body: `{"error":"invalid_token"}`},
			Limited:      providertest.Answer{Status: 429, Header: http.Header{"Retry-After": {"5"}}},
			Refusals: []providertest.Refusal{
				{Answer: providertest.Answer{Status: 404}, Want: providers.ErrNotFound},
				{Answer: providertest.Answer{Status: 403}, Want: providers.ErrForbidden},
				{Answer: providertest.Answer{Status: 409}, Want: providers.ErrConflict},
				{Answer: providertest.Answer{Status: 400, Body: `{"error":"no"}`}, Want: providers.ErrInvalid},
			},
			Webhooks: []providertest.Webhook{{
				Name: "hmac", URL: integrationstest.BaseURL + "/acme/webhook", Type: "contact.created",
				Request: func(at time.Time) *http.Request {
					return webhooktest.HMAC(integrationstest.BaseURL+"/acme/webhook", scheme, []byte(`{"id":"e1","type":"contact.created","account":{"id":"A1"}}`), at)
				},
				Signed: []string{"X-Acme-Signature", "X-Acme-Time"}, BodySigned: true, TimeSigned: true,
			}},
		}
	})
}
