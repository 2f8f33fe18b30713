package integrations_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// works makes a call that needs a good token of the very account.
func works(t *testing.T, kit *integrationstest.Kit, conn *providers.Connection, account string) {
	t.Helper()
	to := map[string]string{
		slackapp.Key:      "slack.com/api/auth.test",
		githubapp.Key:     "api.github.com/installation/repositories",
		jiraapp.Key:       "api.atlassian.com/oauth/token/accessible-resources",
		salesforceapp.Key: kit.Salesforce.MyDomain(account) + "/services/data/v66.0/limits",
		hubspotapp.Key:    "api.hubapi.com/account-info/2026-03/details",
		sheetsapp.Key:     "www.googleapis.com/drive/v3/changes/startPageToken",
	}[conn.Kind()]
	resp, err := conn.HTTPClient().Get("https://" + to)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	if conn.Kind() == slackapp.Key { // which refuses with 200
		who, err := slackapp.Client(conn).AuthTestContext(t.Context())
		require.NoError(t, err)
		require.Equal(t, account, who.TeamID)
	}
}

// delivered has an event of an account delivered, where an account's events come to
// one URL, and returns the labels of the integrations that heard of it.
func delivered(t *testing.T, kit *integrationstest.Kit, key, account string, heard *[]string) []string {
	t.Helper()
	*heard = nil
	switch key {
	case slackapp.Key:
		require.Equal(t, http.StatusOK, kit.Slack.Event(account, `{"type":"app_mention"}`))
	case githubapp.Key:
		require.Equal(t, http.StatusOK, kit.GitHub.Push(kit.GitHub.Install(account, "user-of-t1"), "api", "refs/heads/main"))
	case hubspotapp.Key:
		require.Equal(t, http.StatusOK, kit.HubSpot.Deliver(kit.HubSpot.Event(account, "contact.creation", map[string]any{"objectId": 1})))
	}
	require.NoError(t, kit.Manager().Drain(t.Context()))
	return *heard
}

// hearing registers a handler of all events of a provider that notes the label of
// the integration.
func hearing(kit *integrationstest.Kit, key string) *[]string {
	var mu sync.Mutex
	heard := &[]string{}
	m := kit.Manager()
	m.OnWebhook(webhook.On(key, webhook.AnyType, func(ctx context.Context, ev webhook.Event) error {
		conn, err := m.ConnectionByID(ctx, ev.TenantID, ev.IntegrationID)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		*heard = append(*heard, conn.Label())
		return nil
	}))
	return heard
}

// routed are those whose events name the account and come to one URL. Jira's,
// Salesforce's and Google's come to an integration's own: see their packages.
var routed = map[string]bool{slackapp.Key: true, githubapp.Key: true, hubspotapp.Key: true}

// TestSeveralAccounts: two accounts of one provider under two labels live side by
// side, and the end of one is not that of the other.
func TestSeveralAccounts(t *testing.T) {
	for _, p := range adapters {
		t.Run(p.key, func(t *testing.T) {
			kit := integrationstest.New(t)
			cfg := kit.Config()
			cfg.AllowLabel = anyLabel
			m := kit.Use(cfg)
			heard := hearing(kit, p.key)
			ctx := t.Context()
			// The kit's user of t1 may manage both of GitHub's organisations.
			kit.Connect("t1", p.key, "TA")
			kit.ConnectLabel("t1", p.key, "eu", "TB")
			list, err := m.Integrations(ctx, "t1")
			require.NoError(t, err)
			require.Equal(t, []string{"", "eu"}, []string{list[0].Label, list[1].Label})
			require.NotEqual(t, list[0].ExternalID, list[1].ExternalID)
			main, err := m.Connection(ctx, "t1", p.key)
			require.NoError(t, err)
			eu, err := m.Connection(ctx, "t1", p.key, integrations.WithLabel("eu"))
			require.NoError(t, err)
			require.Equal(t, []string{list[0].ID, list[1].ID}, []string{main.IntegrationID(), eu.IntegrationID()})
			works(t, kit, main, "TA")
			works(t, kit, eu, "TB")
			if routed[p.key] {
				require.Equal(t, []string{""}, delivered(t, kit, p.key, "TA", heard))
				require.Equal(t, []string{"eu"}, delivered(t, kit, p.key, "TB", heard))
			}
			require.NoError(t, eu.SaveSubscription(ctx, providers.Subscription{Name: "s", RemoteID: "7"}))

			require.NoError(t, m.Disconnect(ctx, "t1", main.IntegrationID()))
			require.ErrorIs(t, main.Check(ctx), integrations.ErrDisconnected)
			works(t, kit, eu, "TB")
			subs, err := eu.Subscriptions(ctx)
			require.NoError(t, err)
			require.Len(t, subs, 1)
			if routed[p.key] {
				require.Empty(t, delivered(t, kit, p.key, "TA", heard))
				require.Equal(t, []string{"eu"}, delivered(t, kit, p.key, "TB", heard))
			}
			_, err = m.Connection(ctx, "t1", p.key)
			require.ErrorIs(t, err, integrations.ErrDisconnected)
			_, err = m.Connection(ctx, "t1", p.key, integrations.WithLabel("us"))
			require.ErrorIs(t, err, integrations.ErrNotConnected)
		})
	}
}

// TestTheSameAccountTwice: exclusive means one integration, not one tenant.
func TestTheSameAccountTwice(t *testing.T) {
	kit := newKit(t, func(c *integrations.Config) { c.AllowLabel = anyLabel })
	kit.Connect("t1", slackapp.Key, "TA")
	require.Equal(t, "account_taken", connectAs(t, kit, slackapp.Key, "eu", "TA"))
}

// TestSiblingsThatShareAnAccount: the grant of one integration outlives the end of
// another one of the same account; when nobody uses the account any more nothing
// is left at the provider that the provider can end.
func TestSiblingsThatShareAnAccount(t *testing.T) {
	kit := integrationstest.New(t)
	slack, github, jira, salesforce, hubspot := kit.Slack.App(), kit.GitHub.App(), kit.Jira.App(), kit.Salesforce.App(), kit.HubSpot.App()
	slack.Shared, github.Shared, jira.Shared, salesforce.Shared, hubspot.Shared = true, true, true, true, true
	uninstalling, uninstalled := github, hubspot
	uninstalling.UninstallOnDisconnect, uninstalled.UninstallOnDisconnect = true, true
	for name, p := range map[string]providers.Provider{
		"slack": slackapp.New(slack), "github": githubapp.New(github), "jira": jiraapp.New(jira), "salesforce": salesforceapp.New(salesforce),
		"hubspot": hubspotapp.New(hubspot), "sheets": sheetsapp.New(kit.Sheets.App()),
		"github, uninstalling": githubapp.New(uninstalling), "hubspot, uninstalling": hubspotapp.New(uninstalled),
	} {
		t.Run(name, func(t *testing.T) {
			key, account := p.Info().Key, "T"+strconv.Itoa(len(name))
			cfg := kit.Config()
			cfg.Providers, cfg.AllowLabel = []providers.Provider{p}, anyLabel
			m := kit.Use(cfg)
			heard := hearing(kit, key)
			kit.GitHub.Install(account, "user-of-t2")
			var conns []*providers.Connection
			connect := func(tenant, label string) {
				kit.ConnectLabel(tenant, key, label, account)
				c, err := m.Connection(t.Context(), tenant, key, integrations.WithLabel(label))
				require.NoError(t, err)
				conns = append(conns, c)
			}
			connect("t1", "")
			connect("t1", "b")
			connect("t2", "c")
			for i, c := range conns {
				for _, left := range conns[i:] {
					works(t, kit, left, account)
				}
				if routed[key] {
					require.ElementsMatch(t, []string{"", "b", "c"}[i:], delivered(t, kit, key, account, heard))
				}
				require.False(t, kit.HubSpot.Uninstalled(account))
				require.NoError(t, m.Disconnect(t.Context(), c.TenantID(), c.IntegrationID()))
			}
			// A Slack and a HubSpot may give the same grant to all: theirs is ended with
			// the last one only.
			switch key {
			case githubapp.Key, salesforceapp.Key, sheetsapp.Key:
				for _, a := range adapters {
					require.False(t, a.key == key && a.live(kit, account))
				}
			case hubspotapp.Key:
				require.Equal(t, name != key, kit.HubSpot.Uninstalled(account))
			}
		})
	}
}

// TestTwoKeysOfOneGoogleClient: revoking a grant there ends all that the person
// gave to the client, under whatever key.
func TestTwoKeysOfOneGoogleClient(t *testing.T) {
	kit := integrationstest.New(t)
	second := kit.Sheets.App()
	second.Key, second.Scopes = "google_drive", []string{sheetsapp.ScopeDriveFile}
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{sheetsapp.New(kit.Sheets.App()), sheetsapp.New(second)}
	m := kit.Use(cfg)
	kit.Connect("t1", sheetsapp.Key, "107")
	kit.Connect("t1", "google_drive", "107")
	first, err := m.Connection(t.Context(), "t1", sheetsapp.Key)
	require.NoError(t, err)
	other, err := m.Connection(t.Context(), "t1", "google_drive")
	require.NoError(t, err)
	require.NoError(t, m.Disconnect(t.Context(), "t1", first.IntegrationID()))
	works(t, kit, other, "107")
	require.NoError(t, m.Disconnect(t.Context(), "t1", other.IntegrationID()))
	require.False(t, kit.Sheets.Tokens.Live("107"))
}

// TestAUserTokenBesideABotToken: two registrations of one Slack app.
func TestAUserTokenBesideABotToken(t *testing.T) {
	kit := integrationstest.New(t)
	user := kit.Slack.App()
	user.Key, user.Scopes, user.UserScopes, user.SigningSecrets, user.Shared = "slack_user", nil, []string{"users:read"}, nil, true
	cfg := kit.Config()
	cfg.Providers, cfg.AllowLabel = []providers.Provider{slackapp.New(kit.Slack.App()), slackapp.New(user)}, anyLabel
	m := kit.Use(cfg)
	ctx := t.Context()
	kit.Connect("t1", slackapp.Key, "TA")
	kit.Connect("t1", "slack_user", "TA")
	kit.ConnectLabel("t2", "slack_user", "mine", "TA") // another person of the workspace
	connection := func(tenant, key, label string) *providers.Connection {
		c, err := m.Connection(ctx, tenant, key, integrations.WithLabel(label))
		require.NoError(t, err)
		return c
	}
	bot, ann, bob := connection("t1", slackapp.Key, ""), connection("t1", "slack_user", ""), connection("t2", "slack_user", "mine")
	who := func(c *providers.Connection) string {
		ans, err := slackapp.Client(c).AuthTestContext(ctx)
		require.NoError(t, err)
		return ans.UserID
	}
	require.Equal(t, []string{"UBOTTA", "UUSEROFT1", "UUSEROFT2"}, []string{who(bot), who(ann), who(bob)})
	require.NoError(t, ann.RequireScopes(ctx, "users:read"))
	require.Error(t, bot.RequireScopes(ctx, "users:read"))

	// Another member of the workspace is another account.
	b := kit.Browser("t1", "somebody-else")
	b.Account = "TA"
	require.Equal(t, "account_mismatch", result(t, b.Open(kit.ConnectURL("slack_user"))))
	require.Equal(t, "UUSEROFT1", who(ann))
	b = kit.Browser("t1", "user-of-t1")
	b.Account = "TA"
	require.Equal(t, "connected", result(t, b.Open(kit.ConnectURL("slack_user"))))

	// Each is ended by itself, and nothing else with it.
	annToken, err := ann.Token(ctx)
	require.NoError(t, err)
	require.NoError(t, m.Disconnect(ctx, "t1", ann.IntegrationID()))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://slack.com/api/auth.test", http.NoBody)
	require.NoError(t, err)
	req.Header = providers.Bearer(annToken)
	resp, err := kit.Network.RoundTrip(req)
	require.NoError(t, err)
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Contains(t, string(answer), "token_revoked")
	require.Equal(t, []string{"UBOTTA", "UUSEROFT2"}, []string{who(bot), who(bob)})
	require.NoError(t, m.Disconnect(ctx, "t1", bot.IntegrationID()))
	require.Equal(t, "UUSEROFT2", who(bob))
}

// TestM2RefusedConnectsKeepTheHoldersGrant: whoever is refused an account gets
// nothing, and the holder loses nothing.
func TestM2RefusedConnectsKeepTheHoldersGrant(t *testing.T) {
	for _, p := range adapters {
		if p.key == sheetsapp.Key {
			continue // a person's, and shared
		}
		t.Run(p.key, func(t *testing.T) {
			kit := integrationstest.New(t)
			m := kit.Manager()
			account := "TA"
			kit.GitHub.Install(account, "user-of-TA")
			kit.Connect("t1", p.key, account)
			conn, err := m.Connection(t.Context(), "t1", p.key)
			require.NoError(t, err)
			for i := range 3 {
				require.Equal(t, "account_taken", walk(t, kit, fmt.Sprintf("thief%d", i), kit.ConnectURL(p.key), account))
			}
			works(t, kit, conn, account)
			require.True(t, p.live(kit, account))
		})
	}
}
