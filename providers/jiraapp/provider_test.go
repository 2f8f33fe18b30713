package jiraapp_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/providers/providertest"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
)

func TestProvider(t *testing.T) {
	providertest.Run(t, func(t *testing.T) providertest.Service {
		kit := integrationstest.New(t)
		cloud := kit.Jira.AddSite("ann", "acme")
		kit.Jira.AddSite("ann", "other") // there is a choice
		issue := kit.Jira.AddIssue(cloud, "ACME", "Printer on fire")
		cfg := kit.Jira.App()
		cfg.PreviousClientSecrets = []string{"previous-client-secret"}
		hook := integrationstest.BaseURL + "/jira/webhook"
		body := kit.Jira.EventBody(cloud, jiraapp.TypeIssueUpdated, issue)
		own := &webhook.Endpoint{ID: "e", TenantID: "tenant", IntegrationID: "integration", ExternalID: cloud, Secrets: [][]byte{[]byte("secret-of-the-endpoint")}}
		answer := func(status int, body string) providertest.Answer {
			return providertest.Answer{Status: status, Body: body}
		}
		return providertest.Service{
			Provider: jiraapp.New(cfg), Transport: kit.Network, Account: cloud, Rotates: true,
			Secrets: []string{cfg.ClientSecret, cfg.PreviousClientSecrets[0], string(own.Secrets[0])},
			Consent: func(u string, agree bool) url.Values { return kit.Consent(u, "ann", agree) },
			Call: func(ctx context.Context, conn *providers.Connection) error {
				_, err := jiraapp.GetIssue(ctx, conn, issue, "summary")
				return err
			},
			Live:         func() bool { return kit.Jira.Tokens.Live("ann") },
			DeadGrant:    answer(403, `{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}`),
			AppFault:     answer(401, `{"error":"access_denied","error_description":"Unauthorized"}`),
			TokenRefused: answer(401, `{"code":401,"message":"Unauthorized"}`),
			Limited: providertest.Answer{
				Status: 429, Header: http.Header{"Retry-After": {"30"}, "Ratelimit-Reason": {"jira-burst-based"}}, Body: `{"code":429,"message":"Rate limit exceeded."}`,
			},
			Refusals: []providertest.Refusal{
				{Answer: answer(400, `{"errorMessages":[],"errors":{"summary":"You must specify a summary of the issue."}}`), Want: providers.ErrInvalid},
				{Answer: answer(400, `{"errorMessages":["Unbounded JQL queries are not allowed here."],"errors":{}}`), Want: providers.ErrInvalid},
				{Answer: answer(401, `{"code":401,"message":"Unauthorized; scope does not match"}`), Want: providers.ErrForbidden},
				{Answer: answer(403, `{"errorMessages":["You do not have permission."],"errors":{}}`), Want: providers.ErrForbidden},
				{Answer: answer(404, `{"errorMessages":["Issue does not exist or you do not have permission to see it."],"errors":{}}`), Want: providers.ErrNotFound},
				{Answer: answer(404, `{"code":404,"message":"Not Found"}`), Want: providers.ErrNotFound},
				{Answer: answer(409, `{"errorMessages":["Conflict"],"errors":{}}`), Want: providers.ErrConflict},
				{Answer: answer(410, `{"errorMessages":["The requested API has been removed."],"errors":{}}`), Want: providers.ErrNotFound},
				{Answer: providertest.Answer{Status: 503, Header: http.Header{"Retry-After": {"5"}}}, Want: ratelimit.ErrRateLimited},
				{Answer: answer(200, `{"half":`), Want: providers.ErrTransient},
				{Answer: answer(200, `[]`), Want: providers.ErrTransient},
				{Answer: providertest.Answer{Status: 200, Header: http.Header{"Content-Type": {"text/html"}}, Body: "<html>"}, Want: providers.ErrTransient},
			},
			Webhooks: []providertest.Webhook{{
				Name: "dynamic", URL: hook, Type: jiraapp.TypeIssueUpdated, Signed: []string{"Authorization"}, TimeSigned: true,
				Request: func(at time.Time) *http.Request {
					return webhooktest.JiraDynamic(hook, cfg.ClientSecret, "delivery-1", body, at)
				},
			}, {
				Name: "dynamic, previous secret", URL: hook, Type: jiraapp.TypeIssueUpdated, Signed: []string{"Authorization"}, TimeSigned: true,
				Request: func(at time.Time) *http.Request {
					return webhooktest.JiraDynamic(hook, cfg.PreviousClientSecrets[0], "delivery-1", body, at)
				},
			}, {
				Name: "admin", URL: hook + "/segment", Type: jiraapp.TypeIssueUpdated, Endpoint: own, Signed: []string{"X-Hub-Signature"}, BodySigned: true,
				Request: func(time.Time) *http.Request {
					return webhooktest.JiraAdmin(hook+"/segment", string(own.Secrets[0]), "delivery-1", body)
				},
			}},
		}
	})
}
