package integrations_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
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
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/stretchr/testify/require"
)

// anyLabel lets everybody connect under any label.
func anyLabel(context.Context, integrations.Identity, string, string) bool { return true }

// connectAs walks a user of "t1" through the handlers and returns the result.
func connectAs(t *testing.T, kit *integrationstest.Kit, key, label, account string) string {
	t.Helper()
	return walk(t, kit, "t1", kit.ConnectURL(key)+"?label="+url.QueryEscape(label), account)
}

func walk(t *testing.T, kit *integrationstest.Kit, tenant, connectURL, account string) string {
	t.Helper()
	b := kit.Browser(tenant, "user-of-"+account)
	b.Account = account
	v := b.Open(connectURL)
	if v.Header.Get("Location") == "" {
		v = b.Choose(v, account)
	}
	return result(t, v)
}

// row is the one integration of "t1".
func row(t *testing.T, m *integrations.Manager) integrations.Integration {
	t.Helper()
	list, err := m.Integrations(t.Context(), "t1")
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0]
}

// adapters are the six, and what their reconnects end with.
var adapters = []struct {
	key, refused string
	// live tells whether the grant of an account is good at the provider.
	live func(kit *integrationstest.Kit, account string) bool
	kept bool // nothing can end a grant there
}{
	{key: slackapp.Key, refused: "account_mismatch", live: func(kit *integrationstest.Kit, a string) bool { return kit.Slack.Tokens.Live(a) }},
	// The flow of a reconnect is about the installation it was: who cannot manage
	// that is refused.
	{key: githubapp.Key, refused: "ownership_unverified", live: func(kit *integrationstest.Kit, a string) bool {
		return kit.GitHub.Tokens.Live(fmt.Sprint(kit.GitHub.Install(a, "user-of-"+a)))
	}},
	{key: jiraapp.Key, refused: "account_mismatch", live: func(kit *integrationstest.Kit, a string) bool { return kit.Jira.Tokens.Live(a) }, kept: true},
	{key: salesforceapp.Key, refused: "account_mismatch", live: func(kit *integrationstest.Kit, a string) bool { return kit.Salesforce.Tokens.Live(a) }},
	{key: hubspotapp.Key, refused: "account_mismatch", live: func(kit *integrationstest.Kit, a string) bool { return kit.HubSpot.Renewable(a) }},
	{key: sheetsapp.Key, refused: "account_mismatch", live: func(kit *integrationstest.Kit, a string) bool { return kit.Sheets.Tokens.Live(a) }},
}

// TestO5EveryProvider: a reconnect of a dead grant keeps id, label and metadata;
// another account is refused and changes nothing.
func TestO5EveryProvider(t *testing.T) {
	for _, p := range adapters {
		t.Run(p.key, func(t *testing.T) {
			kit := integrationstest.New(t)
			cfg := kit.Config()
			st := memstore.New()
			cfg.Store, cfg.AllowLabel = st, anyLabel
			m := kit.Use(cfg)
			require.Equal(t, "connected", connectAs(t, kit, p.key, "eu", "TA"))
			first := row(t, m)
			require.Equal(t, "eu", first.Label)
			_, err := m.SetMetadata(t.Context(), "t1", first.ID, []byte(`{"channel":"ops"}`), first.Version)
			require.NoError(t, err)
			done, err := st.SetStatus(t.Context(), store.SetStatus{TenantID: "t1", ID: first.ID, To: store.NeedsReconnect, Reason: "invalid_grant"})
			require.NoError(t, err)
			require.True(t, done)

			require.Equal(t, "connected", connectAs(t, kit, p.key, "eu", "TA"))
			again := row(t, m)
			require.Equal(t, []any{first.ID, "eu", integrations.StatusActive, first.ExternalID, `{"channel":"ops"}`},
				[]any{again.ID, again.Label, again.Status, again.ExternalID, string(again.Metadata)})
			conn, err := m.Connection(t.Context(), "t1", p.key, integrations.WithLabel("eu"))
			require.NoError(t, err)
			require.NoError(t, conn.Check(t.Context()))
			require.True(t, p.live(kit, "TA"), "the new grant is good")

			require.Equal(t, p.refused, connectAs(t, kit, p.key, "eu", "TB"))
			require.Equal(t, again, row(t, m), "nothing changed")
			require.True(t, p.live(kit, "TA"))
		})
	}
}

// TestO5EverySwitch: where the host allows it another account takes the place of
// the one before, whose grant is ended where the provider can end it.
func TestO5EverySwitch(t *testing.T) {
	for _, p := range adapters {
		t.Run(p.key, func(t *testing.T) {
			kit := integrationstest.New(t)
			cfg := kit.Config()
			cfg.AllowLabel, cfg.AllowAccountChange = anyLabel, true
			m := kit.Use(cfg)
			require.Equal(t, "connected", connectAs(t, kit, p.key, "eu", "TA"))
			first := row(t, m)
			v, err := m.SetMetadata(t.Context(), "t1", first.ID, []byte(`{"channel":"ops"}`), first.Version)
			require.NoError(t, err)
			require.Equal(t, first.Version+1, v)
			require.Equal(t, "connected", connectAs(t, kit, p.key, "eu", "TB"))
			switched := row(t, m)
			require.Equal(t, []any{first.ID, "eu", integrations.StatusActive, `{"channel":"ops"}`},
				[]any{switched.ID, switched.Label, switched.Status, string(switched.Metadata)})
			require.NotEqual(t, first.ExternalID, switched.ExternalID)
			require.Equal(t, p.kept, p.live(kit, "TA"), "the grant of the account before")
			require.True(t, p.live(kit, "TB"))
			conn, err := m.ConnectionByID(t.Context(), "t1", first.ID)
			require.NoError(t, err)
			require.NoError(t, conn.Check(t.Context()))
		})
	}
}

// TestO5NothingOfTheOldAccountStays: what belonged to the account before goes
// when the host allows the switch, here and at the provider.
func TestO5NothingOfTheOldAccountStays(t *testing.T) {
	kit, p := fakeKit(t, func(c *integrations.Config, _ *providers.OAuth2Config) { c.AllowAccountChange = true })
	changes := listen(kit)
	p.id = "A"
	kit.Connect("t1", acmeKey)
	conn := connOf(t, kit)
	ctx := t.Context()
	old, err := conn.Token(ctx)
	require.NoError(t, err)
	endpoint, err := conn.OpenEndpoint(ctx)
	require.NoError(t, err)
	require.NoError(t, conn.SaveSubscription(ctx, providers.Subscription{Name: "s", RemoteID: "of A"}))
	require.NoError(t, conn.Checkpoint("issues").Save(ctx, []byte("cursor of A")))
	changes.since(t)

	p.id = "B"
	kit.Connect("t1", acmeKey)
	got := changes.since(t)
	require.Len(t, got, 1)
	require.Equal(t, []any{integrations.ChangeReconnected, "A", "B"}, []any{got[0].Kind, got[0].PreviousExternalID, got[0].ExternalID})
	require.Equal(t, 401, kit.Send(sign(endpoint.URL, endpoint.Secret.Reveal(), `{"id":"1","account":"A"}`)).StatusCode)
	subs, err := conn.Subscriptions(ctx)
	require.NoError(t, err)
	require.Empty(t, subs)
	require.Equal(t, []providers.Subscription{{Name: "s", RemoteID: "of A"}}, *p.ended, "they are ended at the provider")
	v, err := conn.Checkpoint("issues").Load(ctx)
	require.NoError(t, err)
	require.Nil(t, v)
	require.Equal(t, []string{old.Reveal()}, p.access, "the grant of A is revoked, and no other")

	kit.Connect("t1", acmeKey)
	got = changes.since(t)
	require.Len(t, got, 1)
	require.Empty(t, got[0].PreviousExternalID)
	require.Len(t, p.access, 1, "a grant of an account in use is not revoked")
}

// TestO5ASwitchToATakenAccount changes nothing at all.
func TestO5ASwitchToATakenAccount(t *testing.T) {
	kit, p := fakeKit(t, func(c *integrations.Config, _ *providers.OAuth2Config) { c.AllowAccountChange = true })
	p.id = "A"
	kit.Connect("t1", acmeKey)
	conn := connOf(t, kit)
	endpoint, err := conn.OpenEndpoint(t.Context())
	require.NoError(t, err)
	require.NoError(t, conn.SaveSubscription(t.Context(), providers.Subscription{Name: "s", RemoteID: "of A"}))
	p.id = "B"
	kit.Connect("t2", acmeKey)
	require.Equal(t, "account_taken", connectAs(t, kit, acmeKey, "", "T-t1"))
	require.Equal(t, "A", row(t, kit.Manager()).ExternalID)
	require.NoError(t, conn.Check(t.Context()))
	require.Equal(t, 200, kit.Send(sign(endpoint.URL, endpoint.Secret.Reveal(), `{"id":"1","account":"A"}`)).StatusCode)
	subs, err := conn.Subscriptions(t.Context())
	require.NoError(t, err)
	require.Len(t, subs, 1)
	require.Empty(t, p.access)
	require.Empty(t, *p.ended)
}

// TestO5AnotherTenantsGrantOutlivesTheSwitch: the account that was left is still
// another tenant's.
func TestO5AnotherTenantsGrantOutlivesTheSwitch(t *testing.T) {
	kit, p := fakeKit(t, func(c *integrations.Config, o *providers.OAuth2Config) { c.AllowAccountChange, o.Shared = true, true })
	p.id = "A"
	kit.Connect("t1", acmeKey)
	kit.Connect("t2", acmeKey)
	p.id = "B"
	kit.Connect("t1", acmeKey)
	require.Empty(t, p.access)
}

// lonely is a provider each of whose grants stands alone.
type lonely struct {
	*fake
	asked *[]string
}

func (p lonely) SharesGrant(in, other providers.Snapshot) bool {
	*p.asked = append(*p.asked, in.TenantID+" "+other.TenantID)
	return false
}

func TestAReplacedGrantIsRevokedWhereItStandsAlone(t *testing.T) {
	kit, p := fakeKit(t, func(_ *integrations.Config, o *providers.OAuth2Config) { o.Shared = true })
	p.id = "A"
	asked := []string{}
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{lonely{p, &asked}}
	m := kit.Use(cfg)
	kit.Connect("t1", acmeKey)
	kit.Connect("t2", acmeKey)
	conn := connOf(t, kit)
	first, err := conn.Token(t.Context())
	require.NoError(t, err)
	require.Empty(t, p.access)
	kit.Connect("t1", acmeKey)
	require.Equal(t, []string{first.Reveal()}, p.access)
	slices.Sort(asked)
	require.Equal(t, []string{"t1 t1", "t1 t2"}, asked, "the integration itself and the other one of the account")
	second, err := connOf(t, kit).Token(t.Context())
	require.NoError(t, err)
	require.NoError(t, m.Disconnect(t.Context(), "t1", conn.IntegrationID()))
	require.Equal(t, []string{first.Reveal(), second.Reveal()}, p.access, "another tenant's use is no reason to keep it")
}
