package jiraapp_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

// heard writes down which tenant heard of what.
type heard struct {
	mu     sync.Mutex
	events []string
}

func (h *heard) on(m *integrations.Manager, types ...string) {
	for _, typ := range types {
		m.OnWebhook(jiraapp.OnIssue(typ, func(_ context.Context, ev webhook.Event, e *jiraapp.IssueEvent) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.events = append(h.events, strings.TrimSpace(ev.TenantID+" "+ev.Type+" "+e.Issue.Key))
			return nil
		}))
	}
}

func (h *heard) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.events
	h.events = nil
	slices.Sort(out)
	return out
}

func conn(t *testing.T, m *integrations.Manager, tenant string) *providers.Connection {
	t.Helper()
	c, err := m.Connection(t.Context(), tenant, jiraapp.Key)
	require.NoError(t, err)
	return c
}

func TestTheWholeWay(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Connect("acme", jiraapp.Key)
	kit.Connect("beta", jiraapp.Key)
	m, ctx := kit.Manager(), t.Context()
	var h heard
	h.on(m, jiraapp.TypeIssueCreated, jiraapp.TypeIssueUpdated)
	acme, beta := kit.Jira.Site("T-acme"), kit.Jira.Site("T-beta")

	issue, err := jiraapp.CreateIssue(ctx, conn(t, m, "acme"), jiraapp.Draft{Project: "ACME", Type: "Task", Summary: "x"})
	require.NoError(t, err)
	require.Len(t, kit.Jira.Issues(acme), 1)
	require.Empty(t, kit.Jira.Issues(beta))
	kit.Jira.AddIssue(beta, "OPS", "y")

	// The ids of webhooks begin anew at every site: the site decides.
	for _, tenant := range []string{"acme", "beta"} {
		subs, err := jiraapp.RegisterWebhooks(ctx, conn(t, m, tenant), hook("new", "project = ACME"))
		require.NoError(t, err)
		require.Equal(t, "1", subs[0].RemoteID)
	}
	require.Equal(t, 200, kit.Jira.Event(acme, jiraapp.TypeIssueCreated, issue.Key))
	require.Equal(t, 200, kit.Jira.Event(beta, jiraapp.TypeIssueCreated, "OPS-1"))
	require.Zero(t, kit.Jira.Event(beta, jiraapp.TypeIssueUpdated, "OPS-1"), "nobody registered for it")
	require.NoError(t, m.Drain(ctx))
	require.Equal(t, []string{"acme jira:issue_created ACME-1", "beta jira:issue_created OPS-1"}, h.take())

	// Sent again under the same identifier it is one event; at another site it is another.
	for _, site := range []string{acme, beta} {
		for range 2 {
			require.Equal(t, 200, kit.Jira.Deliver("same", kit.Jira.EventBody(site, jiraapp.TypeIssueCreated, kit.Jira.Issues(site)[0].Key)))
		}
	}
	require.NoError(t, m.Drain(ctx))
	require.Equal(t, []string{"acme jira:issue_created ACME-1", "beta jira:issue_created OPS-1"}, h.take())

	// The API's address names the site as well as its host does.
	body := strings.ReplaceAll(string(kit.Jira.EventBody(acme, jiraapp.TypeIssueCreated, "ACME-1")), "https://"+kit.Jira.Host(acme)+"/", "https://api.atlassian.com/ex/jira/"+acme+"/")
	require.Equal(t, 200, kit.Jira.Deliver("api", []byte(body)))
	// An event of webhooks that nobody keeps, or of a site nobody connected, is stored for nobody.
	require.Equal(t, 200, kit.Jira.Deliver("lost", []byte(strings.ReplaceAll(body, `"matchedWebhookIds":[1]`, `"matchedWebhookIds":[99]`))))
	require.Equal(t, 200, kit.Jira.Deliver("nowhere", []byte(strings.ReplaceAll(body, acme, cloud))))
	require.NoError(t, m.Drain(ctx))
	require.Equal(t, []string{"acme jira:issue_created ACME-1"}, h.take())

	// Forgeries.
	good := kit.Jira.EventBody(acme, jiraapp.TypeIssueCreated, "ACME-1")
	target := integrationstest.BaseURL + "/jira/webhook"
	unsigned := webhooktest.JiraDynamic(target, kit.Jira.ClientSecret(), "f1", good, time.Now())
	unsigned.Header.Del("Authorization")
	for _, r := range []*http.Request{
		unsigned,
		webhooktest.JiraDynamic(target, "not-the-client-secret", "f2", good, time.Now()),
		webhooktest.JiraDynamic(target, kit.Jira.ClientSecret(), "f3", good, time.Now().Add(-time.Hour)),
		webhooktest.JiraAdmin(target, kit.Jira.ClientSecret(), "f4", good),
		webhooktest.JiraDynamic(target+"/0000000000000000000000000000000000000000000", kit.Jira.ClientSecret(), "f5", good, time.Now()),
	} {
		require.Equal(t, 401, kit.Send(r).StatusCode)
	}

	// An endpoint of one tenant is that tenant's, whatever site the body names.
	own, err := jiraapp.AdminWebhook(ctx, conn(t, m, "beta"))
	require.NoError(t, err)
	require.Equal(t, 200, kit.Jira.DeliverAdmin(own.URL, own.Secret.Reveal(), kit.Jira.EventBody(acme, jiraapp.TypeIssueUpdated, "ACME-1")))
	require.Equal(t, 401, kit.Jira.DeliverAdmin(own.URL, kit.Jira.ClientSecret(), good))
	require.NoError(t, m.Drain(ctx))
	require.Equal(t, []string{"beta jira:issue_updated ACME-1"}, h.take())

	// Disconnecting deletes the webhooks at Jira, with a token that has ended too.
	kit.Jira.Tokens.ExpireAccess()
	require.Len(t, kit.Jira.Webhooks(acme), 1)
	require.NoError(t, m.Disconnect(ctx, "acme", conn(t, m, "acme").IntegrationID()))
	require.Empty(t, kit.Jira.Webhooks(acme))
	require.Len(t, kit.Jira.Webhooks(beta), 1)
	require.Equal(t, 200, kit.Jira.Deliver("after", good))
	require.NoError(t, m.Drain(ctx))
	require.Empty(t, h.take())
	_, err = m.Connection(ctx, "acme", jiraapp.Key)
	require.ErrorIs(t, err, integrations.ErrDisconnected)
	_, err = jiraapp.GetIssue(ctx, conn(t, m, "beta"), "OPS-1")
	require.NoError(t, err)
}

func result(t *testing.T, v integrationstest.Visit) string {
	t.Helper()
	u, err := url.Parse(v.Header.Get("Location"))
	require.NoError(t, err)
	return u.Query().Get("result")
}

func TestSitesAreChosen(t *testing.T) {
	kit := integrationstest.New(t)
	first, second := kit.Jira.AddSite("ann", "first"), kit.Jira.AddSite("ann", "second")
	kit.Jira.WithoutJira(kit.Jira.AddSite("ann", "wiki"))
	m := kit.Manager()

	b := kit.Browser("acme", "user-of-acme")
	b.Account = "ann"
	page := b.Open(kit.ConnectURL(jiraapp.Key))
	for _, name := range []string{"first (first.atlassian.net)", "second (second.atlassian.net)"} {
		require.Contains(t, page.Body, name)
	}
	require.NotContains(t, page.Body, "wiki")
	require.Equal(t, "connected", result(t, b.Choose(page, second)))
	s, err := conn(t, m, "acme").Snapshot(t.Context())
	require.NoError(t, err)
	require.Equal(t, second, s.ExternalID)
	site, err := jiraapp.ReadSite(s)
	require.NoError(t, err)
	require.Equal(t, "https://second.atlassian.net", site.URL)

	// A reconnect lands on the same site without asking.
	b = kit.Browser("acme", "user-of-acme")
	b.Account = "ann"
	require.Equal(t, "connected", result(t, b.Open(kit.ConnectURL(jiraapp.Key))))
	s, err = conn(t, m, "acme").Snapshot(t.Context())
	require.NoError(t, err)
	require.Equal(t, second, s.ExternalID)

	// The kit picks by cloud id. A site is one tenant's.
	kit.Connect("beta", jiraapp.Key, first)
	kit.Jira.AddPerson(first, "bob")
	b = kit.Browser("gamma", "user-of-gamma")
	b.Account = "bob"
	require.Equal(t, "account_taken", result(t, b.Open(kit.ConnectURL(jiraapp.Key))))
	b = kit.Browser("delta", "user-of-delta")
	b.Account, b.Deny = "ann", "access_denied"
	require.Equal(t, "denied", result(t, b.Open(kit.ConnectURL(jiraapp.Key))))
}

func TestScopesThatAreMissing(t *testing.T) {
	kit := integrationstest.New(t)
	cfg := kit.Config()
	app := kit.Jira.App()
	app.Scopes = []string{"read:jira-work"}
	cfg.Providers = []providers.Provider{jiraapp.New(app)}
	m := kit.Use(cfg)
	kit.Connect("acme", jiraapp.Key)
	refreshes := kit.Jira.Tokens.Calls()
	_, err := jiraapp.RegisterWebhooks(t.Context(), conn(t, m, "acme"), hook("a", "project = ACME"))
	var missing *integrations.MissingScopeError
	require.ErrorAs(t, err, &missing)
	_, err = jiraapp.CreateIssue(t.Context(), conn(t, m, "acme"), jiraapp.Draft{Project: "ACME", Type: "Task", Summary: "x"})
	require.ErrorIs(t, err, integrations.ErrForbidden)
	require.Equal(t, refreshes, kit.Jira.Tokens.Calls(), "another token would lack it too")
	require.NoError(t, conn(t, m, "acme").Check(t.Context()))
}

func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		kit.Connect("acme", jiraapp.Key)
		m, ctx := kit.Manager(), t.Context()
		key := kit.Jira.AddIssue(kit.Jira.Site("T-acme"), "ACME", "x")
		c := conn(t, m, "acme")
		get := func() error {
			_, err := jiraapp.GetIssue(ctx, c, key)
			return err
		}
		kit.Jira.Tokens.ExpireAccess()
		require.NoError(t, get())
		require.Equal(t, 1, kit.Jira.Tokens.Calls())

		// Revoked by the user: the next refresh says so, once. None is made within five
		// minutes of the last one that a refused call caused.
		kit.Jira.Tokens.Revoke("T-acme")
		require.ErrorIs(t, get(), integrations.ErrTransient)
		require.Equal(t, 1, kit.Jira.Tokens.Calls())
		time.Sleep(6 * time.Minute)
		require.ErrorIs(t, get(), integrations.ErrReconnectRequired)
		calls := kit.Jira.Tokens.Calls()
		require.ErrorIs(t, get(), integrations.ErrReconnectRequired)
		require.Equal(t, calls, kit.Jira.Tokens.Calls())
		kit.Connect("acme", jiraapp.Key)
		require.NoError(t, get())
	})
}

// TestLostAnswer: within ten minutes Atlassian takes the old refresh token again.
func TestLostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		kit.Connect("acme", jiraapp.Key)
		key := kit.Jira.AddIssue(kit.Jira.Site("T-acme"), "ACME", "x")
		c := conn(t, kit.Manager(), "acme")
		time.Sleep(2 * time.Hour) // of the bubble's clock
		kit.Network.Fail("auth.atlassian.com", "/oauth/token", integrationstest.DropAfterWork())
		_, err := jiraapp.GetIssue(t.Context(), c, key)
		require.ErrorIs(t, err, integrations.ErrTransient)
		time.Sleep(5 * time.Minute)
		_, err = jiraapp.GetIssue(t.Context(), c, key)
		require.NoError(t, err)
		require.Equal(t, 1, kit.Jira.Tokens.Reuses())
	})
}

func TestWebhooksAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		kit.Connect("acme", jiraapp.Key)
		m := kit.Manager()
		site := kit.Jira.Site("T-acme")
		_, err := jiraapp.RegisterWebhooks(t.Context(), conn(t, m, "acme"), hook("a", "project = ACME"))
		require.NoError(t, err)
		time.Sleep(24 * 24 * time.Hour) // of the bubble's clock
		require.NoError(t, m.Drain(t.Context()))
		require.Less(t, time.Until(kit.Jira.Webhooks(site)[0].ExpiresAt), 7*24*time.Hour, "too early")
		time.Sleep(2 * 24 * time.Hour)
		require.NoError(t, m.Drain(t.Context()))
		hooks := kit.Jira.Webhooks(site)
		require.Len(t, hooks, 1)
		require.Greater(t, time.Until(hooks[0].ExpiresAt), 28*24*time.Hour)

		kit.Jira.DropWebhooks(site)
		time.Sleep(26 * 24 * time.Hour)
		require.NoError(t, m.Drain(t.Context()))
		require.Len(t, kit.Jira.Webhooks(site), 1, "registered again")
		subs, err := conn(t, m, "acme").Subscriptions(t.Context())
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(kit.Jira.Webhooks(site)[0].ID), subs[0].RemoteID)
	})
}

func TestFiveWebhooksAndOneURL(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Connect("acme", jiraapp.Key)
	var hooks []jiraapp.Webhook
	for _, name := range strings.Fields("a b c d e f") {
		hooks = append(hooks, hook(name, "project = ACME"))
	}
	subs, err := jiraapp.RegisterWebhooks(t.Context(), conn(t, kit.Manager(), "acme"), hooks...)
	require.ErrorIs(t, err, providers.ErrInvalid)
	require.ErrorContains(t, err, `webhook "f"`)
	require.Len(t, subs, 5)
	require.NoError(t, jiraapp.DeleteWebhooks(t.Context(), conn(t, kit.Manager(), "acme")))
	require.Empty(t, kit.Jira.Webhooks(kit.Jira.Site("T-acme")))
}
