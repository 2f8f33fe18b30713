package salesforceapp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

func connectionOf(t *testing.T, kit *integrationstest.Kit, tenant string) *providers.Connection {
	t.Helper()
	conn, err := kit.Manager().Connection(t.Context(), tenant, salesforceapp.Key)
	require.NoError(t, err)
	return conn
}

func TestTheWholeWay(t *testing.T) {
	ctx := t.Context()
	kit := integrationstest.New(t)
	kit.Connect("acme", salesforceapp.Key)
	kit.Connect("beta", salesforceapp.Key)
	m := kit.Manager()
	acme, beta := connectionOf(t, kit, "acme"), connectionOf(t, kit, "beta")

	s, err := acme.Snapshot(ctx)
	require.NoError(t, err)
	require.Equal(t, kit.Salesforce.OrgID("T-acme"), s.ExternalID)
	require.Equal(t, []string{"api", "refresh_token"}, s.Scopes)
	o, err := salesforceapp.ReadOrg(s)
	require.NoError(t, err)
	require.Equal(t, "https://"+kit.Salesforce.MyDomain("T-acme"), o.InstanceURL)

	done, err := salesforceapp.UpsertContact(ctx, acme, "Ext_Id__c", "a/1", salesforceapp.Contact{LastName: "O'Hara", Email: "o'hara@example.com"})
	require.NoError(t, err)
	require.True(t, done.Created)
	c, err := salesforceapp.FindContactByEmail(ctx, acme, "o'hara@example.com")
	require.NoError(t, err)
	require.Equal(t, done.ID, c.ID)
	require.WithinDuration(t, time.Now(), c.SystemModstamp.Time, time.Minute)
	_, err = salesforceapp.FindContactByEmail(ctx, beta, "o'hara@example.com")
	require.ErrorIs(t, err, providers.ErrNotFound)
	require.Len(t, kit.Salesforce.Records("T-acme", "Contact"), 1)

	var mu sync.Mutex
	var handled []string
	handle := func(event string) error {
		mu.Lock()
		defer mu.Unlock()
		handled = append(handled, event)
		return nil
	}
	m.OnWebhook(salesforceapp.OnOutboundMessage("Contact", func(_ context.Context, ev webhook.Event, om *salesforceapp.OutboundMessage[salesforceapp.Contact]) error {
		return handle(ev.TenantID + " " + om.Record.Email)
	}))
	m.OnWebhook(salesforceapp.On("contact.changed", func(_ context.Context, ev webhook.Event, _ *struct{}) error {
		return handle(ev.TenantID + " " + ev.Type)
	}))
	toAcme, err := salesforceapp.OpenWebhook(ctx, acme)
	require.NoError(t, err)
	toBeta, err := salesforceapp.OpenWebhook(ctx, beta)
	require.NoError(t, err)
	body := kit.Salesforce.OutboundBody("T-acme", "Contact", map[string]string{"Email": "1@example.com"}, map[string]string{"Email": "2@example.com"})
	for range 2 { // Salesforce sends at least once
		status, acknowledged := kit.Salesforce.DeliverOutbound(toAcme.URL, body)
		require.Equal(t, http.StatusOK, status)
		require.True(t, acknowledged)
	}
	status, acknowledged := kit.Salesforce.OutboundMessage(toBeta.URL, "T-beta", "Contact", map[string]string{"Email": "3@example.com"})
	require.Equal(t, http.StatusOK, status)
	require.True(t, acknowledged)
	require.Equal(t, http.StatusOK, kit.Salesforce.Callout(toAcme.URL, toAcme.Secret.Reveal(), []byte(`{"type":"contact.changed"}`)))
	require.NoError(t, m.Drain(ctx))
	require.ElementsMatch(t, []string{"acme 1@example.com", "acme 2@example.com", "beta 3@example.com", "acme contact.changed"}, handled)

	// Forged ones: an org's message at another org's endpoint, at no endpoint, at
	// an unknown one; a callout with another endpoint's secret, or with none.
	handled = nil
	unknown := toAcme.URL[:len(toAcme.URL)-1] + "x"
	if strings.HasSuffix(toAcme.URL, "x") {
		unknown = toAcme.URL[:len(toAcme.URL)-1] + "y"
	}
	for _, url := range []string{toBeta.URL, acme.WebhookURL(), unknown} {
		status, acknowledged := kit.Salesforce.DeliverOutbound(url, body)
		require.Equal(t, http.StatusUnauthorized, status)
		require.False(t, acknowledged)
	}
	require.Equal(t, http.StatusUnauthorized, kit.Salesforce.Callout(toAcme.URL, toBeta.Secret.Reveal(), []byte(`{"type":"contact.changed"}`)))
	unsigned := kit.Salesforce.OutboundRequest(toAcme.URL, []byte(`{"type":"contact.changed"}`))
	unsigned.Header.Set("Content-Type", "application/json")
	require.Equal(t, http.StatusUnauthorized, kit.Send(unsigned).StatusCode)
	copied := []byte(`{"type":"contact.changed","organizationId":"` + kit.Salesforce.OrgID("T-beta") + `"}`)
	require.Equal(t, http.StatusBadRequest, kit.Salesforce.Callout(toAcme.URL, toAcme.Secret.Reveal(), copied))
	require.NoError(t, m.Drain(ctx))
	require.Empty(t, handled)

	require.NoError(t, salesforceapp.CloseWebhook(ctx, acme, toAcme.ID))
	status, _ = kit.Salesforce.DeliverOutbound(toAcme.URL, body)
	require.Equal(t, http.StatusUnauthorized, status)

	require.NoError(t, m.Disconnect(ctx, "acme", acme.IntegrationID()))
	require.False(t, kit.Salesforce.Tokens.Live("T-acme"))
	_, err = salesforceapp.Limits(ctx, acme)
	require.ErrorIs(t, err, integrations.ErrDisconnected)
	status, acknowledged = kit.Salesforce.OutboundMessage(toBeta.URL, "T-beta", "Contact", map[string]string{"Email": "4@example.com"})
	require.Equal(t, http.StatusOK, status)
	require.True(t, acknowledged)
	require.NoError(t, m.Disconnect(ctx, "beta", beta.IntegrationID()))
	status, _ = kit.Salesforce.OutboundMessage(toBeta.URL, "T-beta", "Contact", map[string]string{"Email": "5@example.com"})
	require.Equal(t, http.StatusUnauthorized, status)
}

// TestNoSessionIDIsStored: the fake's messages carry one, as those of some orgs do.
func TestNoSessionIDIsStored(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Connect("acme", salesforceapp.Key)
	var bodies [][]byte
	kit.Manager().OnWebhook(webhook.On(salesforceapp.Key, webhook.AnyType, func(_ context.Context, ev webhook.Event) error {
		bodies = append(bodies, ev.Body)
		return nil
	}))
	endpoint, err := salesforceapp.OpenWebhook(t.Context(), connectionOf(t, kit, "acme"))
	require.NoError(t, err)
	body := kit.Salesforce.OutboundBody("T-acme", "Lead", map[string]string{"Company": "<Initech> & sons"})
	require.Contains(t, string(body), "<SessionId>00D")
	_, acknowledged := kit.Salesforce.DeliverOutbound(endpoint.URL, body)
	require.True(t, acknowledged)
	require.NoError(t, kit.Manager().Drain(t.Context()))
	require.Len(t, bodies, 1)
	require.False(t, bytes.Contains(bodies[0], []byte(kit.Salesforce.OrgID("T-acme")[:15]+"!")))
	var m salesforceapp.OutboundMessage[map[string]string]
	require.NoError(t, json.Unmarshal(bodies[0], &m))
	require.Equal(t, "<Initech> & sons", m.Record["Company"])
}

func TestAnEndedSessionIsRenewedAndTheOrgIsFollowed(t *testing.T) {
	ctx := t.Context()
	kit := integrationstest.New(t)
	kit.Connect("acme", salesforceapp.Key)
	conn := connectionOf(t, kit, "acme")
	kit.Salesforce.Tokens.ExpireAccess()
	_, err := salesforceapp.Limits(ctx, conn)
	require.NoError(t, err)
	require.Equal(t, 1, kit.Salesforce.Tokens.Calls())

	// The identity service says so otherwise.
	kit2 := integrationstest.New(t)
	kit2.Connect("acme", salesforceapp.Key)
	kit2.Salesforce.Tokens.ExpireAccess()
	var who struct {
		Org string `json:"organization_id"`
	}
	_, err = salesforceapp.Do(ctx, connectionOf(t, kit2, "acme"), salesforceapp.Request{Path: "/services/oauth2/userinfo", Out: &who})
	require.NoError(t, err)
	require.Equal(t, kit2.Salesforce.OrgID("T-acme"), who.Org)
	require.Equal(t, 1, kit2.Salesforce.Tokens.Calls())

	// A grant that is over is found when it is renewed.
	kit3 := integrationstest.New(t)
	kit3.Connect("acme", salesforceapp.Key)
	kit3.Salesforce.Tokens.Revoke("T-acme")
	_, err = salesforceapp.Limits(ctx, connectionOf(t, kit3, "acme"))
	require.ErrorIs(t, err, integrations.ErrReconnectRequired)
	require.Zero(t, kit3.Salesforce.Tokens.Reuses())

	// While the token endpoint is out, nobody has to connect again.
	kit4 := integrationstest.New(t)
	kit4.Connect("acme", salesforceapp.Key)
	kit4.Salesforce.Tokens.ExpireAccess()
	kit4.Network.Fail("login.salesforce.com", "/services/oauth2/token", integrationstest.Status(503))
	_, err = salesforceapp.Limits(ctx, connectionOf(t, kit4, "acme"))
	require.ErrorIs(t, err, providers.ErrTransient)
	require.NotErrorIs(t, err, integrations.ErrReconnectRequired)
}

// TestAnOrgMoves: the next renewal tells where the API is now.
func TestAnOrgMoves(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Connect("acme", salesforceapp.Key)
	conn := connectionOf(t, kit, "acme")
	kit.Salesforce.Rename("T-acme", "initech")
	kit.Salesforce.Tokens.ExpireAccess()
	_, err := salesforceapp.Do(t.Context(), conn, salesforceapp.Request{Path: "/services/oauth2/userinfo"})
	require.ErrorIs(t, err, providers.ErrNotFound, "the old host is gone")
	require.NoError(t, conn.Check(t.Context()))
	// A host that is told of the move calls at the login host, which knows the token.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://login.salesforce.com/services/oauth2/userinfo", nil)
	require.NoError(t, err)
	resp, err := conn.HTTPClient().Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	_, err = salesforceapp.Limits(t.Context(), conn)
	require.NoError(t, err)
	s, err := conn.Snapshot(t.Context())
	require.NoError(t, err)
	o, err := salesforceapp.ReadOrg(s)
	require.NoError(t, err)
	require.Equal(t, "https://initech.my.salesforce.com", o.InstanceURL)
}

func TestSitesThroughTheHandlers(t *testing.T) {
	kit := integrationstest.New(t)
	b := kit.Browser("acme", "ada")
	b.Account = "uat"
	host := kit.Salesforce.MyDomain("uat")
	for _, bad := range []string{"evil.example", "uat.lightning.force.com", "https://" + host} {
		require.Equal(t, http.StatusBadRequest, b.Open(kit.ConnectURL(salesforceapp.Key)+"?site="+bad).Status)
	}
	v := b.Open(kit.ConnectURL(salesforceapp.Key) + "?site=" + host)
	require.Contains(t, v.Header.Get("Location"), "result=connected")
	conn := connectionOf(t, kit, "acme")
	kit.Salesforce.Tokens.ExpireAccess() // renewed at the same host: another refuses
	_, err := salesforceapp.Limits(t.Context(), conn)
	require.NoError(t, err)

	// A reconnect goes to the same place, and another org is refused.
	seen := len(b.Visits())
	v = b.Open(kit.ConnectURL(salesforceapp.Key))
	require.Contains(t, v.Header.Get("Location"), "result=connected")
	require.True(t, strings.HasPrefix(b.Visits()[seen+1].URL, "https://"+host+"/services/oauth2/authorize?"))
	b.Account = "other"
	v = b.Open(kit.ConnectURL(salesforceapp.Key) + "?site=production")
	require.Contains(t, v.Header.Get("Location"), "result=account_mismatch")

	// An org belongs to one tenant.
	other := kit.Browser("beta", "bob")
	other.Account = "uat"
	require.Contains(t, other.Open(kit.ConnectURL(salesforceapp.Key)).Header.Get("Location"), "result=account_taken")

	// What is not signed connects nothing.
	kit.Salesforce.Unsigned()
	other.Account = "third"
	require.Contains(t, other.Open(kit.ConnectURL(salesforceapp.Key)).Header.Get("Location"), "result=ownership_unverified")
	require.Empty(t, kit.Salesforce.Tokens.Reuses())
}

func TestPagesOfAQuery(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Salesforce.SetPageSize(2)
	for range 5 {
		kit.Salesforce.Put("T-acme", "Contact", map[string]any{"LastName": "x"})
	}
	kit.Connect("acme", salesforceapp.Key)
	conn := connectionOf(t, kit, "acme")
	n := 0
	for _, err := range salesforceapp.Query[salesforceapp.Contact](t.Context(), conn, "SELECT Id FROM Contact WHERE LastName = ?", "x") {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 5, n)
	n = 0
	for _, err := range salesforceapp.Query[salesforceapp.Contact](t.Context(), conn, "SELECT Id FROM Contact") {
		if n == 2 {
			require.ErrorIs(t, err, providers.ErrNotFound)
			break
		}
		require.NoError(t, err)
		n++
		kit.Salesforce.ForgetQueries("T-acme")
	}
	require.Equal(t, 2, n)
	for _, err := range salesforceapp.Query[salesforceapp.Contact](t.Context(), conn, "SELECT FROM WHERE") {
		require.ErrorIs(t, err, providers.ErrInvalid)
	}
}

func TestASpentAllowancePausesTheOrg(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Connect("acme", salesforceapp.Key)
	conn := connectionOf(t, kit, "acme")
	kit.Salesforce.SetQuota("T-acme", 1)
	_, err := salesforceapp.Limits(t.Context(), conn)
	require.NoError(t, err)
	_, err = salesforceapp.Limits(t.Context(), conn)
	require.ErrorIs(t, err, ratelimit.ErrRateLimited)

	// From now on nothing is sent at all.
	kit.Salesforce.SetQuota("T-acme", 1000)
	_, err = salesforceapp.Limits(t.Context(), conn)
	var limited *ratelimit.Error
	require.ErrorAs(t, err, &limited)
	require.Greater(t, time.Until(limited.RetryAt), 4*time.Minute)
}

// TestAnIdleOrgStaysConnected: nobody uses the integration, and its refresh token
// is renewed before it ends.
func TestAnIdleOrgStaysConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		kit.Connect("acme", salesforceapp.Key)
		m := kit.Manager()
		after := func(d time.Duration, renewals int) {
			t.Helper()
			time.Sleep(d)
			require.NoError(t, m.Drain(t.Context()))
			require.Equal(t, renewals, kit.Salesforce.Tokens.Calls())
		}
		const day = 24 * time.Hour
		after(14*day, 0)
		after(2*day, 1)
		after(14*day, 1)
		after(2*day, 2)
		require.Zero(t, kit.Salesforce.Tokens.Reuses())
		_, err := salesforceapp.Limits(t.Context(), connectionOf(t, kit, "acme"))
		require.NoError(t, err)
	})
}
