package hubspotapp_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

func connection(t *testing.T, kit *integrationstest.Kit, tenant string) *providers.Connection {
	t.Helper()
	conn, err := kit.Manager().Connection(t.Context(), tenant, hubspotapp.Key)
	require.NoError(t, err)
	return conn
}

func TestTheWholeWay(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Connect("acme", hubspotapp.Key, "62515")
	kit.Connect("beta", hubspotapp.Key)
	beta := kit.HubSpot.Portal("T-beta")
	m := kit.Manager()
	var mu sync.Mutex
	var got []string
	m.OnWebhook(hubspotapp.On(webhook.AnyType, func(_ context.Context, ev webhook.Event, n *hubspotapp.Notification) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, ev.TenantID+" "+ev.Type+" "+hubspotapp.Number(float64(n.ObjectID)))
		require.Equal(t, n.SubscriptionType, ev.Type)
		require.WithinDuration(t, time.Now(), ev.OccurredAt, time.Minute)
		return nil
	}))

	conn := connection(t, kit, "acme")
	contact, created, err := hubspotapp.UpsertContact(t.Context(), conn, "ada@example.com", map[string]string{"firstname": "Ada"})
	require.NoError(t, err)
	require.True(t, created)
	again, created, err := hubspotapp.UpsertContact(t.Context(), conn, "ADA@example.com", map[string]string{"firstname": "Augusta"})
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, contact.ID, again.ID)
	require.Len(t, kit.HubSpot.Objects("62515", "contacts"), 1)
	require.Equal(t, "Augusta", kit.HubSpot.Objects("62515", "contacts")[0].Properties["firstname"])
	_, err = hubspotapp.ContactByEmail(t.Context(), connection(t, kit, "beta"), "ada@example.com")
	require.ErrorIs(t, err, providers.ErrNotFound, "accounts are kept apart")

	// One request for both tenants, an account that nobody connected, and one event
	// twice.
	first := kit.HubSpot.Event("62515", "contact.creation", map[string]any{"objectId": 1})
	require.Equal(t, http.StatusOK, kit.HubSpot.Deliver(
		first,
		kit.HubSpot.Event("T-beta", "company.propertyChange", map[string]any{"objectId": 2, "propertyName": "name", "propertyValue": "x"}),
		kit.HubSpot.Event("999", "contact.creation", map[string]any{"objectId": 3}),
		first,
	))
	first["attemptNumber"] = 1
	require.Equal(t, http.StatusOK, kit.HubSpot.Deliver(first))
	require.NoError(t, m.Drain(t.Context()))
	require.ElementsMatch(t, []string{"acme contact.creation 1", "beta company.propertyChange 2"}, got)

	// A forged request, and what the fake's secret did not sign.
	url := kit.ConnectURL(hubspotapp.Key)
	url = url[:len(url)-len("connect")] + "webhook"
	body := mustJSON([]any{kit.HubSpot.Event("62515", "contact.deletion", map[string]any{"objectId": 9})})
	secret := kit.HubSpot.App().ClientSecret
	for name, r := range map[string]*http.Request{
		"another secret": webhooktest.HubSpot(url, "another-client-secret", body, time.Now()),
		"v1 alone":       webhooktest.HubSpotV1(url, secret, body),
		"v2 alone":       webhooktest.HubSpotV2(url, secret, body),
		"too old":        webhooktest.HubSpot(url, secret, body, time.Now().Add(-time.Hour)),
		"another URL":    webhooktest.HubSpot(url+"?x=1", secret, body, time.Now()),
		"nothing":        httptest.NewRequest(http.MethodPost, url, nil),
	} {
		require.Equal(t, http.StatusUnauthorized, kit.Send(r).StatusCode, name)
	}
	require.Equal(t, http.StatusBadRequest, kit.HubSpot.DeliverBody([]byte(`[{"subscriptionType":"contact.creation"}]`)))
	require.NoError(t, m.Drain(t.Context()))
	require.Len(t, got, 2)

	// More than fit one request.
	var many []map[string]any
	for range 250 {
		many = append(many, kit.HubSpot.Event("T-beta", "deal.creation", map[string]any{"objectId": 4}))
	}
	require.Equal(t, http.StatusOK, kit.HubSpot.Deliver(many...))
	for range 10 { // a drain has a limit of its own
		require.NoError(t, m.Drain(t.Context()))
	}
	require.Equal(t, 250, len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s != "beta deal.creation 4" })))

	require.NoError(t, m.Disconnect(t.Context(), "acme", conn.IntegrationID()))
	require.False(t, kit.HubSpot.Renewable("62515"))
	require.False(t, kit.HubSpot.Uninstalled("62515"))
	require.True(t, kit.HubSpot.Renewable("T-beta"))
	_, err = hubspotapp.AccountDetails(t.Context(), conn)
	require.ErrorIs(t, err, integrations.ErrDisconnected)
	details, err := hubspotapp.AccountDetails(t.Context(), connection(t, kit, "beta"))
	require.NoError(t, err)
	require.Equal(t, beta, details.PortalID)
}

func TestAnAccountBelongsToOneTenant(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Connect("acme", hubspotapp.Key, "62515")
	b := kit.Browser("beta", "user-of-beta")
	b.Account = "62515"
	v := b.Open(kit.ConnectURL(hubspotapp.Key))
	require.Contains(t, v.Header.Get("Location"), "result=account_taken")
}

// TestASharedAccountReachesAllAndIsRevokedByTheLast is two tenants with one
// account.
func TestASharedAccountReachesAllAndIsRevokedByTheLast(t *testing.T) {
	kit := integrationstest.New(t)
	app := kit.HubSpot.App()
	app.Shared, app.UninstallOnDisconnect = true, true
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{hubspotapp.New(app)}
	m := kit.Use(cfg)
	kit.Connect("acme", hubspotapp.Key, "62515")
	kit.Connect("beta", hubspotapp.Key, "62515")
	var mu sync.Mutex
	var got []string
	m.OnWebhook(hubspotapp.On("contact.creation", func(_ context.Context, ev webhook.Event, _ *hubspotapp.Notification) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, ev.TenantID)
		return nil
	}))
	require.Equal(t, http.StatusOK, kit.HubSpot.Deliver(kit.HubSpot.Event("62515", "contact.creation", nil)))
	require.NoError(t, m.Drain(t.Context()))
	require.ElementsMatch(t, []string{"acme", "beta"}, got)

	acme, beta := connection(t, kit, "acme"), connection(t, kit, "beta")
	require.NoError(t, m.Disconnect(t.Context(), "acme", acme.IntegrationID()))
	require.False(t, kit.HubSpot.Uninstalled("62515"))
	_, err := hubspotapp.AccountDetails(t.Context(), beta)
	require.NoError(t, err)
	require.NoError(t, m.Disconnect(t.Context(), "beta", beta.IntegrationID()))
	require.True(t, kit.HubSpot.Uninstalled("62515"))
}

func TestAnAccountThatIsNotNamedIsAskedFor(t *testing.T) {
	kit := integrationstest.New(t)
	kit.HubSpot.OmitHubID()
	kit.Connect("acme", hubspotapp.Key, "62515")
	s, err := connection(t, kit, "acme").Snapshot(t.Context())
	require.NoError(t, err)
	require.Equal(t, "62515", s.ExternalID)
	p, err := hubspotapp.ReadPortal(s)
	require.NoError(t, err)
	require.Equal(t, hubspotapp.Portal{HubID: 62515, UserID: 7, HubDomain: "62515.example.test", AppID: 54321}, p)
}

func TestTokensAreRefreshedByTimeAndOnceWhenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		kit.Connect("acme", hubspotapp.Key, "62515")
		conn := connection(t, kit, "acme")
		use := func() error {
			_, err := hubspotapp.AccountDetails(t.Context(), conn)
			synctest.Wait() // for a renewal ahead of time
			return err
		}
		time.Sleep(22 * time.Minute)
		require.NoError(t, use())
		require.Zero(t, kit.HubSpot.Tokens.Calls(), "not before 75 % of its life")
		for i := 1; i <= 3; i++ { // with the same refresh token each time
			time.Sleep(24 * time.Minute)
			require.NoError(t, use())
			require.Equal(t, i, kit.HubSpot.Tokens.Calls())
		}
		kit.HubSpot.Tokens.ExpireAccess()
		require.NoError(t, use())
		require.Equal(t, 4, kit.HubSpot.Tokens.Calls())

		// Nobody tells when the app is uninstalled: a call finds out.
		time.Sleep(6 * time.Minute)
		kit.HubSpot.Uninstall("62515")
		require.ErrorIs(t, use(), integrations.ErrReconnectRequired)
		require.ErrorIs(t, use(), integrations.ErrReconnectRequired)
		require.Equal(t, 5, kit.HubSpot.Tokens.Calls(), "a dead grant is remembered")
		kit.Connect("acme", hubspotapp.Key, "62515")
		require.NoError(t, use())
	})
}

// TestARefusedTokenIsNoDeadGrant: only renewing tells that a grant is over.
func TestARefusedTokenIsNoDeadGrant(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Connect("acme", hubspotapp.Key, "62515")
	conn := connection(t, kit, "acme")
	const path = "/account-info/2026-03/details"
	kit.Network.Fail("api.hubapi.com", path, integrationstest.Answer(http.StatusUnauthorized, `{"category":"INVALID_AUTHENTICATION"}`))
	kit.Network.Fail("api.hubapi.com", "/oauth/2026-09/token", integrationstest.Status(http.StatusServiceUnavailable))
	_, err := hubspotapp.AccountDetails(t.Context(), conn)
	require.ErrorIs(t, err, integrations.ErrTransient)
	require.NotErrorIs(t, err, integrations.ErrReconnectRequired)
	_, err = hubspotapp.AccountDetails(t.Context(), conn)
	require.NoError(t, err)
}

func TestOptionalScopesAreLeftOutByThePlan(t *testing.T) {
	kit := integrationstest.New(t)
	app := kit.HubSpot.App()
	app.OptionalScopes = []string{"crm.objects.deals.read", "tickets"}
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{hubspotapp.New(app)}
	m := kit.Use(cfg)
	kit.HubSpot.Lack("62515", "crm.objects.deals.read")
	kit.Connect("acme", hubspotapp.Key, "62515")
	conn := connection(t, kit, "acme")
	s, err := conn.Snapshot(t.Context())
	require.NoError(t, err)
	require.Contains(t, s.Scopes, "tickets")
	require.NotContains(t, s.Scopes, "crm.objects.deals.read")
	list, err := m.Integrations(t.Context(), "acme")
	require.NoError(t, err)
	require.Empty(t, list[0].MissingScopes, "an optional scope is not missed")

	_, err = hubspotapp.Get(t.Context(), conn, "deals", "1", nil)
	var missing *integrations.MissingScopeError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, []string{"crm.objects.deals.read"}, missing.Need)
}

func TestTheLimitOfTheFake(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Connect("acme", hubspotapp.Key, "62515")
	conn := connection(t, kit, "acme")
	kit.HubSpot.SetQuota("62515", 1)
	resp, err := conn.HTTPClient().Get("https://api.hubapi.com/account-info/2026-03/details")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, []string{"110", "0", "10000"}, []string{
		resp.Header.Get("X-HubSpot-RateLimit-Max"), resp.Header.Get("X-HubSpot-RateLimit-Remaining"), resp.Header.Get("X-HubSpot-RateLimit-Interval-Milliseconds"),
	})
	_, err = hubspotapp.AccountDetails(t.Context(), conn)
	require.ErrorIs(t, err, integrations.ErrRateLimited)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = hubspotapp.AccountDetails(ctx, conn)
	require.ErrorIs(t, err, integrations.ErrRateLimited)
}
