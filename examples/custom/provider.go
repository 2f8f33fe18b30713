// Package custom is a provider for a service the library does not know, made with
// providers.NewOAuth2. Its test runs the suite that every provider passes.
package custom

import (
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/webhook"
	"golang.org/x/oauth2"
)

// New returns a provider of Acme CRM. It fails when a webhook secret is too short.
func New(clientID, clientSecret string, webhookSecrets ...string) (providers.Provider, error) {
	signed, err := webhook.NewHMAC(webhook.HMACConfig{
		SignatureHeader: "X-Acme-Signature", Prefix: "sha256=", Signed: "{timestamp}.{body}",
		TimestampHeader: "X-Acme-Timestamp", Secrets: webhookSecrets,
	})
	if err != nil {
		return nil, err
	}
	return providers.NewOAuth2(providers.OAuth2Config{
		Key: "acme_crm", Name: "Acme CRM", ClientID: clientID, ClientSecret: clientSecret,
		Endpoint: oauth2.Endpoint{
			AuthURL: "https://auth.example.test/authorize", TokenURL: "https://auth.example.test/token",
			AuthStyle: oauth2.AuthStyleInParams,
		},
		Scopes: []string{"read", "write"},
		Hosts:  []string{"api.example.test"}, AccountURL: "https://api.example.test/me", AccountID: "account.id",
		RevokeURL: "https://auth.example.test/revoke",
		Webhook:   &providers.OAuth2Webhook{Verifier: signed, Account: "account.id", Type: "type", ID: "id", TimestampSigned: true},
	}), nil
}
