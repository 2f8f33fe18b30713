package integrations_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/stretchr/testify/require"
)

// withOptional is a kit whose Slack has a scope for later.
func withOptional(t *testing.T) (*integrationstest.Kit, *integrations.Manager) {
	kit := integrationstest.New(t)
	cfg := kit.Config()
	app := kit.Slack.App()
	app.OptionalScopes = []string{"users:read", "files:write"}
	cfg.Providers[0] = slackapp.New(app)
	cfg.AllowLabel, cfg.AllowAccountChange = anyLabel, true
	return kit, kit.Use(cfg)
}

// asked are the scopes that the last authorize page was asked for.
func asked(t *testing.T, b *integrationstest.Browser, parameter string) []string {
	t.Helper()
	scopes := []string(nil)
	for _, v := range b.Visits() {
		u, err := url.Parse(v.URL)
		require.NoError(t, err)
		if u.Query().Has(parameter) && !strings.HasPrefix(v.URL, integrationstest.BaseURL) {
			scopes = strings.FieldsFunc(u.Query().Get(parameter), func(c rune) bool { return c == ' ' || c == ',' })
		}
	}
	return scopes
}

// TestUpgrade is the whole way of a scope that a host needs for one feature.
func TestUpgrade(t *testing.T) {
	kit, m := withOptional(t)
	changes := listen(kit)
	kit.ConnectLabel("t1", slackapp.Key, "eu", "TA")
	ctx := t.Context()
	first := row(t, m)
	require.Empty(t, first.MissingScopes, "an optional scope is not missed")
	require.Equal(t, slackApp(kit).Scopes, changes.since(t)[0].Scopes)
	conn, err := m.Connection(ctx, "t1", slackapp.Key, integrations.WithLabel("eu"))
	require.NoError(t, err)

	var missing *integrations.MissingScopeError
	require.ErrorAs(t, conn.RequireScopes(ctx, "chat:write", "users:read"), &missing)
	require.Equal(t, []string{"users:read"}, missing.Need)
	_, err = slackapp.Client(conn).GetUsersContext(ctx)
	require.ErrorAs(t, slackapp.Classify(err), &missing, "Slack says the same")
	require.Equal(t, []string{"users:read"}, missing.Need)

	to, err := m.UpgradeURL(ctx, "t1", first.ID, integrations.ConnectOptions{ReturnTo: "/settings?tab=2", Scopes: missing.Need})
	require.NoError(t, err)
	require.Equal(t, integrationstest.BaseURL+"/slack/connect?label=eu&return_to=%2Fsettings%3Ftab%3D2&scope=users%3Aread&scopes=upgrade", to)
	b := kit.Browser("t1", "u1")
	b.Account = "TA"
	require.Equal(t, "/settings?integration=slack&result=connected&tab=2", b.Open(to).Header.Get("Location"))
	require.Equal(t, append(slackApp(kit).Scopes, "users:read"), asked(t, b, "scope"))
	again := row(t, m)
	require.Equal(t, []any{first.ID, "eu", first.ExternalID}, []any{again.ID, again.Label, again.ExternalID})
	require.Contains(t, again.Scopes, "users:read")
	got := changes.since(t)
	require.Equal(t, integrations.ChangeReconnected, got[0].Kind)
	require.Contains(t, got[0].Scopes, "users:read")
	require.NoError(t, conn.RequireScopes(ctx, "users:read"))
	_, err = slackapp.Client(conn).GetUsersContext(ctx)
	require.NoError(t, err)

	// A reconnect for another reason does not lose it.
	b = kit.Browser("t1", "u1")
	b.Account = "TA"
	require.Equal(t, "connected", result(t, b.Open(kit.ConnectURL(slackapp.Key)+"?label=eu")))
	require.Equal(t, append(slackApp(kit).Scopes, "users:read"), asked(t, b, "scope"))

	// An upgrade has to land on the same account.
	require.Equal(t, "account_mismatch", walk(t, kit, "t1", to, "TB"))

	// What was disconnected is over: the next connect begins with what is wanted.
	require.NoError(t, m.Disconnect(ctx, "t1", first.ID))
	b = kit.Browser("t1", "u1")
	b.Account = "TA"
	require.Equal(t, "connected", result(t, b.Open(kit.ConnectURL(slackapp.Key)+"?label=eu&scopes=upgrade")))
	require.Equal(t, slackApp(kit).Scopes, asked(t, b, "scope"))
}

func slackApp(kit *integrationstest.Kit) slackapp.Config { return kit.Slack.App() }

func TestAScopeThatIsLeftOutIsTold(t *testing.T) {
	kit, m := withOptional(t)
	changes := listen(kit)
	b := kit.Browser("t1", "u1")
	b.Account, b.Untick = "TA", []string{"channels:read", "users:read"}
	v := b.Open(kit.ConnectURL(slackapp.Key))
	require.Equal(t, "/?integration=slack&result=connected&scopes=missing", v.Header.Get("Location"))
	in := row(t, m)
	require.Equal(t, []string{"channels:read"}, in.MissingScopes)
	require.Equal(t, integrations.ActionUpgrade, in.Explain().Action)
	require.Equal(t, []string{"channels:read"}, changes.since(t)[0].MissingScopes)

	// What was asked for on purpose counts too, and nothing is said when all is there.
	b.Untick = []string{"users:read"}
	v = b.Open(kit.ConnectURL(slackapp.Key) + "?scope=users:read&return_to=" + url.QueryEscape("/x?scopes=missing"))
	require.Equal(t, "/x?integration=slack&result=connected&scopes=missing", v.Header.Get("Location"))
	require.Empty(t, row(t, m).MissingScopes)
	b.Untick = nil
	v = b.Open(kit.ConnectURL(slackapp.Key) + "?scope=users:read&return_to=" + url.QueryEscape("/x?scopes=missing"))
	require.Equal(t, "/x?integration=slack&result=connected", v.Header.Get("Location"))
}

func TestScopesOfTheBrowserAreThoseOfTheConfiguration(t *testing.T) {
	kit, m := withOptional(t)
	for _, scope := range []string{"admin", "users:read admin", "users:read,files:write"} {
		v := kit.Browser("t1", "u1").Open(kit.ConnectURL(slackapp.Key) + "?scope=" + url.QueryEscape(scope))
		refused(t, v, http.StatusBadRequest, "invalid_request")
	}
	nothingStored(t, kit)
	rec, req := newRequest("t1", "u1")
	_, err := m.ConnectURL(rec, req, slackapp.Key, integrations.ConnectOptions{Scopes: []string{"admin"}})
	require.ErrorIs(t, err, integrations.ErrInvalid)

	t.Run("a GET from another site asks first and keeps them", func(t *testing.T) {
		b := kit.Browser("t1", "u1")
		b.Account = "TA"
		v := b.Do(http.MethodGet, kit.ConnectURL(slackapp.Key)+"?scope=users:read", nil, "cross-site")
		require.Equal(t, http.StatusOK, v.Status)
		require.Equal(t, "connected", result(t, b.Press(v)))
		require.Contains(t, row(t, m).Scopes, "users:read")
	})
}

func TestUpgradeURLRefuses(t *testing.T) {
	kit, m := withOptional(t)
	kit.Connect("t1", slackapp.Key)
	in := row(t, m)
	ctx := t.Context()
	for name, c := range map[string]struct {
		tenant, id string
		opts       integrations.ConnectOptions
		want       error
	}{
		"another tenant's":       {"t2", in.ID, integrations.ConnectOptions{}, integrations.ErrNotConnected},
		"unknown":                {"t1", "nothing", integrations.ConnectOptions{}, integrations.ErrNotConnected},
		"a return path abroad":   {"t1", in.ID, integrations.ConnectOptions{ReturnTo: "//evil.example"}, integrations.ErrInvalid},
		"scopes nobody declared": {"t1", in.ID, integrations.ConnectOptions{Scopes: []string{"admin", "search:read"}}, integrations.ErrInvalid},
	} {
		_, err := m.UpgradeURL(ctx, c.tenant, c.id, c.opts)
		require.ErrorIs(t, err, c.want, name)
	}
	// Of alternatives that a provider names, the app has one.
	to, err := m.UpgradeURL(ctx, "t1", in.ID, integrations.ConnectOptions{Scopes: []string{"admin", "users:read"}})
	require.NoError(t, err)
	require.Equal(t, integrationstest.BaseURL+"/slack/connect?scope=users%3Aread&scopes=upgrade", to)
	// Nothing in particular: what the configuration has by now.
	to, err = m.UpgradeURL(ctx, "t1", in.ID, integrations.ConnectOptions{})
	require.NoError(t, err)
	require.Equal(t, integrationstest.BaseURL+"/slack/connect?scopes=upgrade", to)
}

// TestUpgradeOfEveryProvider: what each is asked for, and that what is granted is
// what is recorded.
func TestUpgradeOfEveryProvider(t *testing.T) {
	kit := integrationstest.New(t)
	jira, salesforce, hubspot, sheets, oauthApp, acme := kit.Jira.App(), kit.Salesforce.App(), kit.HubSpot.App(), kit.Sheets.App(), kit.GitHub.App(), kit.OAuth.Config(acmeKey)
	jira.OptionalScopes = []string{"read:board-scope:jira-software"}
	salesforce.OptionalScopes = []string{"chatter_api"}
	hubspot.OptionalScopes = []string{"tickets"}
	sheets.OptionalScopes = []string{sheetsapp.ScopeDriveMetadataReadonly}
	oauthApp.Mode, oauthApp.Scopes, oauthApp.OptionalScopes = githubapp.ModeOAuthApp, []string{"user", "user:email"}, []string{"gist"}
	acme.OptionalScopes = []string{"admin"}
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{
		jiraapp.New(jira), salesforceapp.New(salesforce), hubspotapp.New(hubspot), sheetsapp.New(sheets), githubapp.New(oauthApp), providers.NewOAuth2(acme),
	}
	m := kit.Use(cfg)
	for _, c := range []struct {
		key, optional, parameter string
		first                    []string // asked for by a first connect
	}{
		{jiraapp.Key, jira.OptionalScopes[0], "scope", append(jira.Scopes, "offline_access")},
		{salesforceapp.Key, "chatter_api", "scope", []string{"api", "refresh_token"}},
		{hubspotapp.Key, "tickets", "optional_scope", []string{"tickets"}}, // at every connect: HubSpot leaves out what the plan lacks
		{sheetsapp.Key, sheetsapp.ScopeDriveMetadataReadonly, "scope", []string{"openid", "https://www.googleapis.com/auth/userinfo.email", sheetsapp.ScopeSpreadsheets, sheetsapp.ScopeDriveFile}},
		{githubapp.Key, "gist", "scope", []string{"user"}},
		{acmeKey, "admin", "scope", []string{"read", "write"}},
	} {
		t.Run(c.key, func(t *testing.T) {
			tenant := "tenant-" + c.key
			open := func(to string) integrations.Integration {
				b := kit.Browser(tenant, "user-of-"+tenant)
				b.Account = "TA"
				require.Equal(t, "connected", result(t, b.Open(to)))
				want := c.first
				if to != kit.ConnectURL(c.key) && c.parameter == "scope" {
					want = append(want[:len(want):len(want)], c.optional)
				}
				require.ElementsMatch(t, want, asked(t, b, c.parameter))
				require.NotContains(t, b.Visits()[1].URL, "include_granted_scopes", "another tenant's grants stay out of it")
				list, err := m.Integrations(t.Context(), tenant)
				require.NoError(t, err)
				require.Empty(t, list[0].MissingScopes)
				return list[0]
			}
			in := open(kit.ConnectURL(c.key))
			conn, err := m.ConnectionByID(t.Context(), tenant, in.ID)
			require.NoError(t, err)
			if c.key != hubspotapp.Key {
				require.NotContains(t, in.Scopes, c.optional)
				var missing *integrations.MissingScopeError
				require.ErrorAs(t, conn.RequireScopes(t.Context(), c.optional), &missing)
			}
			to, err := m.UpgradeURL(t.Context(), tenant, in.ID, integrations.ConnectOptions{Scopes: []string{c.optional}})
			require.NoError(t, err)
			again := open(to)
			require.Equal(t, in.ID, again.ID)
			require.Contains(t, again.Scopes, c.optional)
			require.NoError(t, conn.RequireScopes(t.Context(), c.optional))
		})
	}
}

// TestScopesOfEveryRefresh: a refresh records what its answer says, and tells when
// that is something else.
func TestScopesOfEveryRefresh(t *testing.T) {
	for _, c := range []struct {
		key    string
		tokens func(kit *integrationstest.Kit) *integrationstest.TokenServer
		narrow func(kit *integrationstest.Kit)
		left   []string // nil: the provider does not narrow a grant
	}{
		{slackapp.Key, func(kit *integrationstest.Kit) *integrationstest.TokenServer { return kit.Slack.Tokens }, nil, nil},
		{jiraapp.Key, func(kit *integrationstest.Kit) *integrationstest.TokenServer { return kit.Jira.Tokens }, nil, nil},
		{sheetsapp.Key, func(kit *integrationstest.Kit) *integrationstest.TokenServer { return kit.Sheets.Tokens }, nil, nil},
		{salesforceapp.Key, func(kit *integrationstest.Kit) *integrationstest.TokenServer { return kit.Salesforce.Tokens }, func(kit *integrationstest.Kit) { kit.Salesforce.Tokens.Narrow("TA", "refresh_token") }, []string{"refresh_token"}},
		{hubspotapp.Key, func(kit *integrationstest.Kit) *integrationstest.TokenServer { return kit.HubSpot.Tokens },
			func(kit *integrationstest.Kit) { kit.HubSpot.Lack("TA", hubspotWrite...) }, []string{"oauth", "crm.objects.contacts.read", "crm.objects.companies.read"}},
		{acmeKey, func(kit *integrationstest.Kit) *integrationstest.TokenServer { return kit.OAuth.Tokens }, func(kit *integrationstest.Kit) { kit.OAuth.Tokens.Narrow("TA", "read") }, []string{"read"}},
	} {
		t.Run(c.key, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kit := newKit(t)
				kit.Slack.Tokens.SetLife(12 * time.Hour)
				changes := listen(kit)
				kit.Connect("t1", c.key, "TA")
				in := row(t, kit.Manager())
				require.NotEmpty(t, in.Scopes)
				conn, err := kit.Manager().Connection(t.Context(), "t1", c.key)
				require.NoError(t, err)
				changes.since(t)
				tokens := c.tokens(kit)
				renew := func() {
					time.Sleep(24 * time.Hour) // beyond the life of any token, and of the last renewal
					tokens.ExpireAccess()
					calls := tokens.Calls()
					resp, err := conn.HTTPClient().Get("https://" + probes[c.key](kit))
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
					require.Equal(t, calls+1, tokens.Calls())
				}
				renew()
				require.Equal(t, in.Scopes, row(t, kit.Manager()).Scopes)
				require.Empty(t, changes.since(t))
				if c.left == nil {
					return
				}
				c.narrow(kit)
				renew()
				after := row(t, kit.Manager())
				require.ElementsMatch(t, c.left, after.Scopes)
				require.NotEmpty(t, after.MissingScopes)
				got := changes.since(t)
				require.Len(t, got, 1)
				require.Equal(t, integrations.ChangeScopes, got[0].Kind)
				require.Equal(t, after.Scopes, got[0].Scopes)
				require.Equal(t, after.MissingScopes, got[0].MissingScopes)
			})
		})
	}
}

var hubspotWrite = []string{"crm.objects.contacts.write", "crm.objects.companies.write"}

// probes are calls that need a good token, by provider.
var probes = map[string]func(kit *integrationstest.Kit) string{
	slackapp.Key:  func(*integrationstest.Kit) string { return "slack.com/api/auth.test" },
	jiraapp.Key:   func(*integrationstest.Kit) string { return "api.atlassian.com/oauth/token/accessible-resources" },
	sheetsapp.Key: func(*integrationstest.Kit) string { return "sheets.googleapis.com/v4/spreadsheets/none" },
	salesforceapp.Key: func(kit *integrationstest.Kit) string {
		return kit.Salesforce.MyDomain("TA") + "/services/data/v66.0/limits"
	},
	hubspotapp.Key: func(*integrationstest.Kit) string { return "api.hubapi.com/account-info/2026-03/details" },
	acmeKey:        func(*integrationstest.Kit) string { return "api.example.test/me" },
}

// TestPermissionsAreAcceptedAtGitHub: an App's permissions are its scopes. They are
// accepted at GitHub, which the upgrade leads to, and used at once.
func TestPermissionsAreAcceptedAtGitHub(t *testing.T) {
	kit := integrationstest.New(t)
	app := kit.GitHub.App()
	app.Scopes = []string{"contents:read", "issues:write"}
	cfg := kit.Config()
	cfg.Providers[1] = githubapp.New(app)
	m := kit.Use(cfg)
	changes := listen(kit)
	id := kit.GitHub.Install("acme", "user-of-t1", "api")
	b := kit.Browser("t1", "user-of-t1")
	b.Account = "acme"
	require.Equal(t, "/?integration=github&result=connected&scopes=missing", b.Open(kit.ConnectURL(githubapp.Key)).Header.Get("Location"))
	in := row(t, m)
	require.Equal(t, []string{"issues:write"}, in.MissingScopes)
	require.Equal(t, []string{"issues:write"}, changes.since(t)[0].MissingScopes)
	conn, err := m.Connection(t.Context(), "t1", githubapp.Key)
	require.NoError(t, err)
	create := func() error {
		_, _, err := githubapp.Client(conn).Issues.Create(t.Context(), "acme", "api", &github.IssueRequest{Title: github.String("x")})
		return githubapp.Classify(err)
	}
	var missing *integrations.MissingScopeError
	require.ErrorAs(t, create(), &missing)
	require.Equal(t, []string{"issues:write"}, missing.Need)
	require.ErrorAs(t, conn.RequireScopes(t.Context(), "issues:read", "issues:write"), &missing)
	require.Equal(t, []string{"issues:write"}, missing.Need)

	to, err := m.UpgradeURL(t.Context(), "t1", in.ID, integrations.ConnectOptions{Scopes: missing.Need, ReturnTo: "/settings"})
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("https://github.com/organizations/acme/settings/installations/%d", id), to)
	mints := kit.GitHub.Mints()
	require.Equal(t, http.StatusOK, kit.GitHub.Accept(id, map[string]string{"issues": "write"}))
	got := changes.since(t)
	require.Len(t, got, 1)
	require.Equal(t, integrations.ChangeScopes, got[0].Kind)
	require.Contains(t, got[0].Scopes, "issues:write")
	require.Empty(t, got[0].MissingScopes)
	require.Empty(t, row(t, m).MissingScopes)
	require.Equal(t, mints+1, kit.GitHub.Mints(), "the token of before would not do")
	require.NoError(t, conn.RequireScopes(t.Context(), "issues:write"))
	require.NoError(t, create())

	// Another one within minutes is used at once too.
	require.Equal(t, http.StatusOK, kit.GitHub.Accept(id, map[string]string{"checks": "write"}))
	require.Len(t, changes.since(t), 1)
	require.Equal(t, mints+2, kit.GitHub.Mints())

	// One that is over is connected again, at this app's own handler.
	require.NoError(t, m.Disconnect(t.Context(), "t1", in.ID))
	to, err = m.UpgradeURL(t.Context(), "t1", in.ID, integrations.ConnectOptions{})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(to, integrationstest.BaseURL+"/github/connect?"))
}

// TestARefusedPartialConsentChangesNothing: at Google the untick is a slip most of
// the time, and the grant of before is the better one.
func TestARefusedPartialConsentChangesNothing(t *testing.T) {
	kit := integrationstest.New(t)
	m := kit.Manager()
	kit.Connect("t1", sheetsapp.Key, "107")
	before := row(t, m)
	kit.Sheets.TickOnly(sheetsapp.ScopeDriveFile)
	require.Equal(t, sheetsapp.RefusedMissingScopes, walk(t, kit, "t1", kit.ConnectURL(sheetsapp.Key), "107"))
	require.Equal(t, before, row(t, m))
	conn, err := m.Connection(t.Context(), "t1", sheetsapp.Key)
	require.NoError(t, err)
	require.NoError(t, conn.Check(t.Context()))
}

func TestSalesforceSaysThatTheScopeIsMissing(t *testing.T) {
	kit := integrationstest.New(t)
	app := kit.Salesforce.App()
	app.Scopes = []string{"openid", "refresh_token"}
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{salesforceapp.New(app)}
	m := kit.Use(cfg)
	kit.Connect("t1", salesforceapp.Key)
	conn, err := m.Connection(t.Context(), "t1", salesforceapp.Key)
	require.NoError(t, err)
	refreshes := kit.Salesforce.Tokens.Calls()
	_, err = salesforceapp.Limits(t.Context(), conn)
	var missing *integrations.MissingScopeError
	require.True(t, errors.As(err, &missing))
	require.Equal(t, []string{"api"}, missing.Need)
	require.Equal(t, refreshes, kit.Salesforce.Tokens.Calls(), "another token would lack it too")
}
