package salesforceapp_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/providertest"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/webhook"
)

func service(kit *integrationstest.Kit, site string) providertest.Service {
	cfg := kit.Salesforce.App()
	refused := func(status int, body string, want error) providertest.Refusal {
		return providertest.Refusal{Answer: providertest.Answer{Status: status, Body: body}, Want: want}
	}
	text := http.Header{"Content-Type": {"text/plain; charset=UTF-8"}}
	endpoint := webhook.Endpoint{
		ID: "e", TenantID: "tenant", IntegrationID: "integration", ExternalID: kit.Salesforce.OrgID("acme"),
		Secrets: [][]byte{[]byte("a secret of an endpoint, 32 bytes")},
	}
	url1 := integrationstest.BaseURL + "/salesforce/webhook/the-secret-segment"
	message := kit.Salesforce.OutboundBody("acme", "Contact", map[string]string{"Email": "a@example.com"}, map[string]string{"Email": "b@example.com"})
	return providertest.Service{
		Provider: salesforceapp.New(cfg), Transport: kit.Network, Site: site,
		Account: kit.Salesforce.OrgID("acme"), Rotates: true,
		Secrets: []string{cfg.ClientSecret, string(endpoint.Secrets[0])},
		Consent: func(u string, agree bool) url.Values { return kit.Consent(u, "acme", agree) },
		Call: func(ctx context.Context, conn *providers.Connection) error {
			_, err := salesforceapp.Limits(ctx, conn)
			return err
		},
		Live:         func() bool { return kit.Salesforce.Tokens.Live("acme") },
		DeadGrant:    providertest.Answer{Status: 400, Body: `{"error":"invalid_grant","error_description":"expired access/refresh token"}`},
		AppFault:     providertest.Answer{Status: 400, Body: `{"error":"invalid_client","error_description":"invalid client credentials"}`},
		TokenRefused: providertest.Answer{Status: 401, Body: `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`},
		Limited:      providertest.Answer{Status: 403, Body: `[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`},
		Refusals: []providertest.Refusal{
			refused(404, `[{"message":"The requested resource does not exist","errorCode":"NOT_FOUND"}]`, providers.ErrNotFound),
			refused(404, `[{"message":"entity is deleted","errorCode":"ENTITY_IS_DELETED"}]`, providers.ErrNotFound),
			refused(400, `[{"message":"invalid query locator","errorCode":"INVALID_QUERY_LOCATOR"}]`, providers.ErrNotFound),
			refused(400, `[{"message":"No such column 'Nope'","errorCode":"INVALID_FIELD"}]`, providers.ErrInvalid),
			refused(400, `[{"message":"unexpected token","errorCode":"MALFORMED_QUERY"}]`, providers.ErrInvalid),
			refused(400, `[{"message":"Required fields are missing: [LastName]","errorCode":"REQUIRED_FIELD_MISSING","fields":["LastName"]}]`, providers.ErrInvalid),
			refused(403, `[{"message":"insufficient access rights on object id","errorCode":"INSUFFICIENT_ACCESS_OR_READONLY"}]`, providers.ErrForbidden),
			refused(400, `[{"message":"insufficient access rights on cross-reference id","errorCode":"INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY","fields":[]}]`, providers.ErrForbidden),
			refused(403, `[{"message":"The REST API is not enabled for this Organization.","errorCode":"API_DISABLED_FOR_ORG"}]`, providers.ErrForbidden),
			refused(400, `[{"message":"unable to obtain exclusive access to this record","errorCode":"UNABLE_TO_LOCK_ROW","fields":[]}]`, providers.ErrTransient),
			refused(400, `[{"message":"Your query request was running for too long.","errorCode":"QUERY_TIMEOUT"}]`, providers.ErrTransient),
			refused(400, `[{"message":"duplicate value found: Email on record","errorCode":"DUPLICATE_VALUE","fields":[]}]`, providers.ErrConflict),
			refused(400, `[{"message":"Use one of these records?","errorCode":"DUPLICATES_DETECTED","fields":[]}]`, providers.ErrConflict),
			refused(300, `["/services/data/v66.0/sobjects/Contact/003ak00000IiFInAAN"]`, providers.ErrConflict),
			refused(500, `[{"message":"An unexpected error occurred.","errorCode":"UNKNOWN_EXCEPTION"}]`, providers.ErrProviderDown),
			refused(503, `[{"message":"Server is busy","errorCode":"SERVER_UNAVAILABLE"}]`, providers.ErrTransient),
			refused(401, `[{"message":"This session is not valid for use with the REST API","errorCode":"INVALID_SESSION_ID"}]`, providers.ErrForbidden),
			refused(401, `[{"message":"Connected app is not attached to Agent","errorCode":"INVALID_SESSION_ID"}]`, providers.ErrForbidden),
			{Answer: providertest.Answer{Status: 403, Header: text, Body: "Missing_OAuth_Token"}, Want: providers.ErrForbidden},
			{Answer: providertest.Answer{Status: 200, Header: text, Body: "not JSON"}, Want: providers.ErrTransient},
		},
		Webhooks: []providertest.Webhook{{
			Name: "outbound message", URL: url1, Endpoint: &endpoint, Type: "outbound_message.Contact",
			Request: func(time.Time) *http.Request { return kit.Salesforce.OutboundRequest(url1, message) },
		}, {
			Name: "signed callout", URL: url1, Endpoint: &endpoint, Type: "contact.changed",
			Request: func(at time.Time) *http.Request {
				body := []byte(`{"type":"contact.changed","id":"e-1","organizationId":"` + kit.Salesforce.OrgID("acme")[:15] + `"}`)
				return kit.Salesforce.CalloutRequest(url1, string(endpoint.Secrets[0]), body, at)
			},
			Signed: []string{"X-Signature", "X-Timestamp"}, BodySigned: true, TimeSigned: true,
		}},
	}
}

func TestProvider(t *testing.T) {
	for _, site := range []string{"", "sandbox", "my domain"} {
		t.Run("at "+site, func(t *testing.T) {
			providertest.Run(t, func(t *testing.T) providertest.Service {
				kit := integrationstest.New(t)
				if site == "my domain" {
					return service(kit, kit.Salesforce.MyDomain("acme"))
				}
				return service(kit, site)
			})
		})
	}
}
