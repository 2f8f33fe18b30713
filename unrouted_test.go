package integrations_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

// TestM2UnknownAccounts: an event of an account that nobody connected is answered
// as the provider wants it to be, so that it neither sends it again nor gives the
// endpoint up, and is kept for nobody. Slack counts answers that are not 200, and
// HubSpot sends again whatever is not 2xx.
func TestM2UnknownAccounts(t *testing.T) {
	now := time.Now()
	url := func(key string) string { return integrationstest.BaseURL + "/" + key + "/webhook" }
	slack := func(body string) func(kit *integrationstest.Kit) *http.Request {
		return func(kit *integrationstest.Kit) *http.Request {
			return webhooktest.Slack(url(slackapp.Key), kit.Slack.SigningSecret(), []byte(body), now)
		}
	}
	github := func(event, body string) func(kit *integrationstest.Kit) *http.Request {
		return func(kit *integrationstest.Kit) *http.Request {
			return webhooktest.GitHub(url(githubapp.Key), kit.GitHub.WebhookSecret(), event, "guid-1", []byte(body))
		}
	}
	jira := func(body string) func(kit *integrationstest.Kit) *http.Request {
		return func(kit *integrationstest.Kit) *http.Request {
			return webhooktest.JiraDynamic(url(jiraapp.Key), kit.Jira.App().ClientSecret, "webhook-1", []byte(body), now)
		}
	}
	for name, c := range map[string]struct {
		request func(kit *integrationstest.Kit) *http.Request
		rows    int
	}{
		"slack event":                    {slack(`{"type":"event_callback","team_id":"TNOBODY","event_id":"Ev1","event":{"type":"app_mention"}}`), 1},
		"slack org install":              {slack(`{"type":"event_callback","event_id":"Ev1","event":{"type":"app_mention"},"authorizations":[{"enterprise_id":"ENOBODY","team_id":null,"is_enterprise_install":true}]}`), 1},
		"slack interaction":              {slack("payload=%7B%22type%22%3A%22block_actions%22%2C%22trigger_id%22%3A%221%22%2C%22team%22%3A%7B%22id%22%3A%22TNOBODY%22%7D%7D"), 1},
		"slack command":                  {slack("command=%2Fx&trigger_id=1&team_id=TNOBODY"), 1},
		"slack without a team":           {slack(`{"type":"event_callback","event_id":"Ev1","event":{"type":"app_mention"}}`), 1},
		"github issue":                   {github("issues", `{"action":"opened","issue":{"id":1},"installation":{"id":999}}`), 1},
		"github without an installation": {github("issues", `{"action":"opened","issue":{"id":1}}`), 1},
		"github user":                    {github("github_app_authorization", `{"action":"revoked","sender":{"id":999}}`), 1},
		"github event of next year":      {github("an_event_of_next_year", `{"action":"opened","installation":{"id":999}}`), 1},
		"jira":                           {jira(`{"webhookEvent":"jira:issue_created","issue":{"self":"https://nobody.atlassian.net/rest/api/2/issue/1"},"matchedWebhookIds":[1]}`), 1},
		"jira by cloud id":               {jira(`{"webhookEvent":"jira:issue_created","issue":{"self":"https://api.atlassian.com/ex/jira/11111111-2222-3333-4444-555555555555/rest/api/2/issue/1"}}`), 1},
		"jira without an address":        {jira(`{"webhookEvent":"jira:issue_created"}`), 1},
		"hubspot batch": {func(kit *integrationstest.Kit) *http.Request {
			body := fmt.Sprintf(`[{"eventId":1,"portalId":1,"appId":%[1]d,"subscriptionType":"contact.creation","objectId":7},{"eventId":2,"portalId":2,"appId":%[1]d,"subscriptionType":"contact.creation","objectId":8}]`, kit.HubSpot.App().AppID)
			return webhooktest.HubSpot(url(hubspotapp.Key), kit.HubSpot.App().ClientSecret, []byte(body), now)
		}, 2},
		"hubspot empty batch": {func(kit *integrationstest.Kit) *http.Request {
			return webhooktest.HubSpot(url(hubspotapp.Key), kit.HubSpot.App().ClientSecret, []byte(`[]`), now)
		}, 0},
	} {
		kit := newKit(t)
		cfg := kit.Config()
		m := kit.Use(cfg)
		inbox := cfg.Store.(store.Inbox)
		for range 2 { // a repeat is answered the same
			resp := kit.Send(c.request(kit))
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, resp.StatusCode, name)
			require.Empty(t, body, name)
		}
		rows, err := inbox.ListDeliveries(t.Context(), store.DeliveryQuery{AllTenants: true})
		require.NoError(t, err)
		require.Len(t, rows, c.rows, name)
		for _, d := range rows {
			require.Empty(t, d.TenantID+d.IntegrationID, name)
		}
		require.NoError(t, m.Drain(t.Context()))
	}
}

// TestM2ClosedEndpointsAreRefused: where the path is what tells whom a request is
// for, one that is nobody's proves nothing. Salesforce sends again for a day and
// then drops the message; Google sends again after 5xx only.
func TestM2ClosedEndpointsAreRefused(t *testing.T) {
	kit := newKit(t)
	kit.Connect("t1", salesforceapp.Key, "acme")
	conn, err := kit.Manager().Connection(t.Context(), "t1", salesforceapp.Key)
	require.NoError(t, err)
	e, err := salesforceapp.OpenWebhook(t.Context(), conn)
	require.NoError(t, err)
	status, acknowledged := kit.Salesforce.OutboundMessage(e.URL, "acme", "Contact", map[string]string{"Email": "a@b.c"})
	require.True(t, acknowledged, status)
	require.NoError(t, salesforceapp.CloseWebhook(t.Context(), conn, e.ID))
	status, acknowledged = kit.Salesforce.OutboundMessage(e.URL, "acme", "Contact", map[string]string{"Email": "a@b.c"})
	require.Equal(t, http.StatusUnauthorized, status)
	require.False(t, acknowledged)
	drive := webhooktest.Drive(integrationstest.BaseURL+"/google_sheets/webhook/"+strings.Repeat("A", 43), webhooktest.DriveNotification{ChannelID: "c", Token: strings.Repeat("t", 43), State: "change", Number: 2})
	require.Equal(t, http.StatusUnauthorized, kit.Send(drive).StatusCode)
}

// TestARepeatAfterTheConnectIsRouted: what was kept for nobody does not stand in
// the way of the same delivery once somebody has connected the account.
func TestARepeatAfterTheConnectIsRouted(t *testing.T) {
	kit := newKit(t)
	got := collect(kit, githubapp.Key)
	body := kit.GitHub.PushBody(kit.GitHub.Install("acme", "u"), "repo", "refs/heads/main")
	require.Equal(t, http.StatusOK, kit.GitHub.Redeliver("push", "guid", body))
	require.NoError(t, kit.Manager().Drain(t.Context()))
	require.Empty(t, got())
	kit.Connect("t1", githubapp.Key, "acme")
	require.Equal(t, http.StatusOK, kit.GitHub.Redeliver("push", "guid", body))
	require.NoError(t, kit.Manager().Drain(t.Context()))
	require.Equal(t, []string{"t1 push"}, got())
}
