package custom_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/examples/custom"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/providertest"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
)

const webhookURL = integrationstest.BaseURL + "/acme_crm/webhook"

// scheme is how the service signs, written down once more to sign with.
var scheme = webhook.HMACConfig{
	SignatureHeader: "X-Acme-Signature", Prefix: "sha256=", Signed: "{timestamp}.{body}",
	TimestampHeader: "X-Acme-Timestamp", Secrets: []string{"a secret of Acme's webhooks"},
}

func TestProvider(t *testing.T) {
	providertest.Run(t, func(t *testing.T) providertest.Service {
		kit := integrationstest.New(t)
		fake := kit.OAuth.Config("acme_crm") // the kit's OAuth 2 server stands in for Acme
		p, err := custom.New(fake.ClientID, fake.ClientSecret, scheme.Secrets...)
		if err != nil {
			t.Fatal(err)
		}
		return providertest.Service{
			Provider: p, Transport: kit.Network, Account: "A1", Rotates: true, Plain: true,
			Secrets: []string{fake.ClientSecret, scheme.Secrets[0]},
			Consent: func(u string, agree bool) url.Values { return kit.Consent(u, "A1", agree) },
			Call: func(ctx context.Context, conn *providers.Connection) error {
				_, err := providers.API{Adapter: "acme_crm"}.Do(ctx, conn.HTTPClient(), providers.APICall{URL: "https://api.example.test/me"})
				return err
			},
			Live:         func() bool { return kit.OAuth.Tokens.Live("A1") },
			DeadGrant:    providertest.Answer{Status: 400, Body: `{"error":"invalid_grant"}`},
			AppFault:     providertest.Answer{Status: 401, Body: `{"error":"invalid_client"}`},
			TokenRefused: providertest.Answer{Status: 401},
			Limited:      providertest.Answer{Status: 429, Header: http.Header{"Retry-After": {"5"}}},
			Refusals:     []providertest.Refusal{{Answer: providertest.Answer{Status: 404}, Want: providers.ErrNotFound}},
			Webhooks: []providertest.Webhook{{
				Name: "contact.created", URL: webhookURL, Type: "contact.created",
				Request: func(at time.Time) *http.Request {
					return webhooktest.HMAC(webhookURL, scheme, []byte(`{"id":"e1","type":"contact.created","account":{"id":"A1"}}`), at)
				},
				Signed: []string{"X-Acme-Signature", "X-Acme-Timestamp"}, BodySigned: true, TimeSigned: true,
			}},
		}
	})
}
