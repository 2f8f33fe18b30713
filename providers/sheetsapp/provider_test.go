package sheetsapp_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/providertest"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
)

// Answers of the APIs, as Google's own pages and clients show them.
const (
	unauthenticated = `{"error":{"code":401,"message":"Request had invalid authentication credentials.","status":"UNAUTHENTICATED"}}`
	quotaExceeded   = `{"error":{"code":429,"message":"Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute per user' of service 'sheets.googleapis.com' for consumer 'project_number:1'.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","metadata":{"quota_limit":"ReadRequestsPerMinutePerUser"}}]}}`
	userRate        = `{"error":{"errors":[{"domain":"usageLimits","reason":"userRateLimitExceeded","message":"User Rate Limit Exceeded"}],"code":403,"message":"User Rate Limit Exceeded"}}`
	denied          = `{"error":{"code":403,"message":"The caller does not have permission","status":"PERMISSION_DENIED"}}`
	disabledAPI     = `{"error":{"code":403,"message":"Google Sheets API has not been used in project 1 before or it is disabled.","status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVICE_DISABLED","domain":"googleapis.com"}]}}`
	noScope         = `{"error":{"code":403,"message":"Request had insufficient authentication scopes.","errors":[{"message":"Insufficient Permission","domain":"global","reason":"insufficientPermissions"}],"status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"ACCESS_TOKEN_SCOPE_INSUFFICIENT","domain":"googleapis.com"}]}}`
	notFound        = `{"error":{"code":404,"message":"Requested entity was not found.","status":"NOT_FOUND"}}`
	badRange        = `{"error":{"code":400,"message":"Unable to parse range: Nowhere!A1","status":"INVALID_ARGUMENT"}}`
)

func TestProvider(t *testing.T) {
	providertest.Run(t, func(t *testing.T) providertest.Service {
		kit := integrationstest.New(t)
		cfg := kit.Sheets.App()
		id := kit.Sheets.AddSpreadsheet("10769150350006150715113082367", "Orders", "It's")
		endpoint := &webhook.Endpoint{ID: "0123456789abcdef0123456789abcdef", Secrets: [][]byte{[]byte("planted-channel-token-0123456789abcdef")}}
		const at = integrationstest.BaseURL + "/google_sheets/webhook/segment"
		notification := func(state, uri string, changed ...string) func(time.Time) *http.Request {
			return func(time.Time) *http.Request {
				return webhooktest.Drive(at, webhooktest.DriveNotification{
					ChannelID: endpoint.ID, Token: string(endpoint.Secrets[0]), ResourceID: "res", ResourceURI: uri,
					State: state, Number: 10, Changed: changed, Expires: time.Now().Add(time.Hour),
				})
			}
		}
		signed := []string{"X-Goog-Channel-Token", "X-Goog-Channel-Id"}
		return providertest.Service{
			Provider: sheetsapp.New(cfg), Transport: kit.Network, Account: "10769150350006150715113082367",
			Secrets: []string{cfg.ClientSecret, string(endpoint.Secrets[0])},
			Consent: func(u string, agree bool) url.Values {
				return kit.Consent(u, "10769150350006150715113082367", agree)
			},
			Call: func(ctx context.Context, conn *providers.Connection) error {
				_, err := sheetsapp.Append(ctx, conn, id, sheetsapp.Range{Sheet: "It's"}, [][]any{{"a", 1}}, nil)
				return err
			},
			Live:         func() bool { return kit.Sheets.Tokens.Live("10769150350006150715113082367") },
			DeadGrant:    providertest.Answer{Status: 400, Body: `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`},
			AppFault:     providertest.Answer{Status: 401, Body: `{"error":"invalid_client","error_description":"Unauthorized"}`},
			TokenRefused: providertest.Answer{Status: 401, Body: unauthenticated},
			Limited:      providertest.Answer{Status: 429, Body: quotaExceeded},
			Refusals: []providertest.Refusal{
				{Answer: providertest.Answer{Status: 403, Body: userRate}, Want: ratelimit.ErrRateLimited},
				{Answer: providertest.Answer{Status: 403, Body: denied}, Want: providers.ErrForbidden},
				{Answer: providertest.Answer{Status: 403, Body: disabledAPI}, Want: providers.ErrAppMisconfigured},
				{Answer: providertest.Answer{Status: 404, Body: notFound}, Want: providers.ErrNotFound},
				{Answer: providertest.Answer{Status: 400, Body: badRange}, Want: providers.ErrInvalid},
				{Answer: providertest.Answer{Status: 409, Body: `{"error":{"code":409,"status":"ABORTED"}}`}, Want: providers.ErrConflict},
				{Answer: providertest.Answer{Status: 412, Body: `{"error":{"code":412}}`}, Want: providers.ErrConflict},
				{Answer: providertest.Answer{Status: 200, Body: `{"updates":`}, Want: providers.ErrTransient},
			},
			Webhooks: []providertest.Webhook{
				{
					Name: "file", URL: at, Endpoint: endpoint, Type: sheetsapp.TypeFileUpdate, Signed: signed,
					Request: notification("update", "https://www.googleapis.com/drive/v3/files/"+id+"?alt=json", "content"),
				},
				{
					Name: "changes", URL: at, Endpoint: endpoint, Type: sheetsapp.TypeChange, Signed: signed,
					Request: notification("change", "https://www.googleapis.com/drive/v3/changes?pageToken=12"),
				},
			},
		}
	})
}
