package hubspotapp_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

func tokens(rt http.RoundTripper) *token.Client {
	return token.NewClient(token.ClientConfig{Transport: rt})
}

func TestAuthorizeURL(t *testing.T) {
	a := app(func(c *hubspotapp.Config) {
		c.OptionalScopes = []string{"tickets", "crm.objects.contacts.read", "e-commerce"}
	})
	got, err := a.AuthorizeURL(providers.Authorize{
		State: "s+1 2", RedirectURL: "https://app.example.com/cb?a=b c", Scopes: []string{"oauth", "crm.objects.contacts.read"},
	})
	require.NoError(t, err)
	require.Equal(t, "https://app.hubspot.com/oauth/authorize?client_id=id-1"+
		"&optional_scope=tickets%20e-commerce&redirect_uri=https%3A%2F%2Fapp.example.com%2Fcb%3Fa%3Db%20c"+
		"&scope=oauth%20crm.objects.contacts.read&state=s%2B1%202", got)

	// What is wished for, or was granted once, must not keep an account from
	// installing the app.
	got, err = a.AuthorizeURL(providers.Authorize{Scopes: []string{"oauth", "tickets", "crm.objects.contacts.read", "of.before"}})
	require.NoError(t, err)
	require.Contains(t, got, "&optional_scope=tickets%20of.before%20e-commerce&")
	require.Contains(t, got, "&scope=oauth%20crm.objects.contacts.read&")

	got, err = app(func(c *hubspotapp.Config) { c.AuthorizeHost, c.PKCE = "app-eu1.hubspot.com", true }).AuthorizeURL(providers.Authorize{
		State: "s", RedirectURL: "https://app.example.com/cb", Challenge: "c", Scopes: []string{"oauth"},
	})
	require.NoError(t, err)
	u, err := url.Parse(got)
	require.NoError(t, err)
	require.Equal(t, "app-eu1.hubspot.com", u.Host)
	require.Equal(t, url.Values{
		"client_id": {"id-1"}, "redirect_uri": {"https://app.example.com/cb"}, "scope": {"oauth"}, "state": {"s"},
		"code_challenge": {"c"}, "code_challenge_method": {"S256"},
	}, u.Query())
}

const granted = `{"token_type":"bearer","token_use":"access_token","refresh_token":"na1-planted-refresh","access_token":"planted-access","hub_id":62515,"user_id":7,"scopes":["oauth","crm.objects.contacts.read"],"expires_in":1800}`

func exchange(a *hubspotapp.App, rt http.RoundTripper, verifier string) (providers.Account, error) {
	return a.Exchange(context.Background(), providers.Exchange{
		Code: "planted-code", RedirectURL: "https://app.example.com/cb", Verifier: verifier, Client: tokens(rt),
	})
}

func TestExchange(t *testing.T) {
	rec := answering(200, granted)
	got, err := exchange(app(func(c *hubspotapp.Config) { c.AppID = 54321 }), rec, "v")
	require.NoError(t, err)
	require.Equal(t, "62515", got.ExternalID)
	require.True(t, got.Exclusive)
	require.JSONEq(t, `{"hub_id":62515,"user_id":7,"app_id":54321}`, string(got.ProviderData))
	require.Equal(t, []any{"planted-access", "na1-planted-refresh", 30 * time.Minute, []string{"oauth", "crm.objects.contacts.read"}},
		[]any{got.Grant.AccessToken.Reveal(), got.Grant.RefreshToken.Reveal(), got.Grant.ExpiresIn, got.Grant.Scopes})
	require.Equal(t, []sent{{
		method: "POST", url: "https://api.hubapi.com/oauth/2026-09/token", contentType: "application/x-www-form-urlencoded",
		body: "client_id=id-1&client_secret=" + clientSecret + "&code=planted-code&code_verifier=v&grant_type=authorization_code&redirect_uri=https%3A%2F%2Fapp.example.com%2Fcb",
	}}, rec.sent)

	got, err = exchange(app(func(c *hubspotapp.Config) { c.Shared = true }), answering(200, granted), "")
	require.NoError(t, err)
	require.False(t, got.Exclusive)
}

func TestExchangeAsksForAnAccountThatIsNotNamed(t *testing.T) {
	unnamed := strings.Replace(granted, `"hub_id":62515,"user_id":7,`, "", 1)
	rec := &recorder{answers: []answer{
		{200, unnamed},
		{200, `{"active":true,"token":"planted-access","hub_id":62515,"hub_domain":"acme.example","user":"a@b.c","user_id":8,"app_id":9,"scopes":[]}`},
	}}
	got, err := exchange(app(), rec, "")
	require.NoError(t, err)
	require.Equal(t, "62515", got.ExternalID)
	require.JSONEq(t, `{"hub_id":62515,"user_id":8,"hub_domain":"acme.example","app_id":9}`, string(got.ProviderData))
	require.Equal(t, sent{
		method: "POST", url: "https://api.hubapi.com/oauth/2026-09/token/introspect", contentType: "application/x-www-form-urlencoded",
		body: "client_id=id-1&client_secret=" + clientSecret + "&token=planted-access&token_type_hint=access_token",
	}, rec.sent[1])

	// The scopes are asked for too where the answer has none.
	unscoped := strings.Replace(granted, `"scopes":["oauth","crm.objects.contacts.read"],`, "", 1)
	got, err = exchange(app(), &recorder{answers: []answer{{200, unscoped}, {200, `{"active":true,"hub_id":62515,"hub_domain":"acme.example","scopes":["oauth"]}`}}}, "")
	require.NoError(t, err)
	require.Equal(t, []string{"oauth"}, got.Grant.Scopes)
	require.JSONEq(t, `{"hub_id":62515,"user_id":7}`, string(got.ProviderData))

	for _, second := range []answer{{200, `{"active":false}`}, {500, ""}, {200, "<html>"}, {200, `{"hub_id":-1}`}, {400, `{"status":"BAD_CLIENT_ID"}`}} {
		_, err = exchange(app(), &recorder{answers: []answer{{200, unnamed}, second}}, "")
		require.Error(t, err, second.body)
		noSecrets(t, err)
	}
}

func TestExchangeWithoutACodeOrWithHalfAnAnswer(t *testing.T) {
	rec := answering(200, granted)
	_, err := app().Exchange(context.Background(), providers.Exchange{Client: tokens(rec)})
	var refusal *providers.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Empty(t, rec.sent)
	for _, body := range []string{`{"access`, `{}`, `{"hub_id":62515}`, `[]`, ``} {
		_, err := exchange(app(), answering(200, body), "")
		var e *token.Error
		require.ErrorAs(t, err, &e, body)
		require.Equal(t, token.Ambiguous, e.Outcome, body)
	}
}

// TestTokenEndpointAnswers is what the answers of the token endpoint mean, to a
// refresh and to a code.
func TestTokenEndpointAnswers(t *testing.T) {
	const html = "<html>planted</html>"
	for _, c := range []struct {
		status            int
		body              string
		refresh, exchange token.Outcome
	}{
		{400, `{"error":"invalid_grant","error_description":"refresh token is invalid, expired or revoked","status":"BAD_REFRESH_TOKEN","message":"planted"}`, token.DeadGrant, token.Refused},
		{400, `{"status":"BAD_REFRESH_TOKEN","message":"planted"}`, token.DeadGrant, token.Refused},
		{400, `{"error":"invalid_grant"}`, token.DeadGrant, token.Refused},
		{401, `{"error":"invalid_grant"}`, token.DeadGrant, token.Refused},
		{400, `{"status":"error","error":"invalid_grant"}`, token.DeadGrant, token.Refused},
		{400, `{"status":"BAD_HUB","message":"missing or unknown hub id","error":"access_denied"}`, token.DeadGrant, token.Refused},
		{400, `{"status":"BAD_HUB"}`, token.DeadGrant, token.Refused},
		{403, `{"error":"access_denied"}`, token.DeadGrant, token.Refused},
		{400, `{"error":"invalid_grant","status":"BAD_AUTH_CODE","message":"missing or unknown auth code"}`, token.AppFault, token.Refused},
		{400, `{"status":"EXPIRED_AUTH_CODE","message":"planted"}`, token.AppFault, token.Refused},
		{400, `{"status":"BAD_CODE_VERIFIER"}`, token.AppFault, token.Refused},
		{400, `{"status":"BAD_REDIRECT_URI"}`, token.AppFault, token.Refused},
		{400, `{"error":"invalid_client","status":"BAD_CLIENT_ID"}`, token.AppFault, token.AppFault},
		{400, `{"status":"BAD_CLIENT_SECRET"}`, token.AppFault, token.AppFault},
		{401, `{"error":"invalid_client"}`, token.AppFault, token.AppFault},
		{400, `{"error":"invalid_grant","status":"BAD_CLIENT_SECRET"}`, token.AppFault, token.AppFault},
		{400, `{"status":"BAD_GRANT_TYPE"}`, token.AppFault, token.AppFault},
		{400, `{"error":"unauthorized_client"}`, token.AppFault, token.AppFault},
		{400, `{"error":"invalid_request"}`, token.AppFault, token.AppFault},
		{401, `{"status":"error","category":"INVALID_AUTHENTICATION"}`, token.AppFault, token.AppFault},
		{404, `{"message":"planted"}`, token.AppFault, token.AppFault},
		{400, `{"status":400,"error":{"x":1}}`, token.AppFault, token.AppFault},
		{400, html, token.Transient, token.Transient},
		{403, html, token.Transient, token.Transient},
		{404, "", token.Transient, token.Transient},
		{400, `["BAD_REFRESH_TOKEN"]`, token.Transient, token.Transient},
		{423, `{"status":"BAD_REFRESH_TOKEN"}`, token.Transient, token.Transient},
		{477, `{"error":"invalid_grant","status":"BAD_REFRESH_TOKEN"}`, token.Transient, token.Transient},
		{429, `{"error":"invalid_grant","policyName":"TEN_SECONDLY_ROLLING"}`, token.Transient, token.Transient},
		{500, `{"error":"invalid_grant"}`, token.Transient, token.Transient},
		{502, html, token.Transient, token.Transient},
		{503, `{"status":"BAD_REFRESH_TOKEN"}`, token.Transient, token.Transient},
	} {
		var e *token.Error
		_, err := app().Renew(context.Background(), token.Renewal{RefreshToken: token.NewSecret("planted-refresh"), Client: tokens(answering(c.status, c.body))})
		require.ErrorAs(t, err, &e)
		require.Equal(t, c.refresh, e.Outcome, "refresh: %d %s", c.status, c.body)
		noSecrets(t, err)
		_, err = exchange(app(), answering(c.status, c.body), "")
		require.ErrorAs(t, err, &e)
		require.Equal(t, c.exchange, e.Outcome, "exchange: %d %s", c.status, c.body)
		noSecrets(t, err)
	}
}

func TestRenew(t *testing.T) {
	rec := answering(200, granted)
	g, err := app().Renew(context.Background(), token.Renewal{RefreshToken: token.NewSecret("planted-refresh"), Client: tokens(rec)})
	require.NoError(t, err)
	require.Equal(t, []string{"planted-access", "na1-planted-refresh", ""}, []string{g.AccessToken.Reveal(), g.RefreshToken.Reveal(), g.TokenType})
	require.Nil(t, g.ProviderData)
	require.Equal(t, []sent{{
		method: "POST", url: "https://api.hubapi.com/oauth/2026-09/token", contentType: "application/x-www-form-urlencoded",
		body: "client_id=id-1&client_secret=" + clientSecret + "&grant_type=refresh_token&refresh_token=planted-refresh",
	}}, rec.sent)
}

func TestTokensAreRenewedAtThreeQuartersOfTheirLife(t *testing.T) {
	const life = 30 * time.Minute
	for _, id := range []string{"a", "b", "0123456789abcdef", "another integration", ""} {
		at := token.RefreshIn(app(), life, id)
		require.GreaterOrEqual(t, at, life*75/100)
		require.LessOrEqual(t, at, life*80/100)
	}
}

func revocation(kit *integrationstest.Kit, a *hubspotapp.App, acc providers.Account) providers.Revocation {
	hosts, err := providers.NewHosts(a.Info().Hosts...)
	if err != nil {
		panic(err)
	}
	return providers.Revocation{
		ExternalID: acc.ExternalID, AccessToken: acc.Grant.AccessToken, RefreshToken: acc.Grant.RefreshToken,
		Client: tokens(kit.Network), HTTP: providers.NewClient(hosts, kit.Network, time.Second),
	}
}

func install(t *testing.T, kit *integrationstest.Kit, a *hubspotapp.App) providers.Account {
	t.Helper()
	to, err := a.AuthorizeURL(providers.Authorize{State: "s", RedirectURL: "https://app.example.com/cb", Scopes: a.Info().Scopes})
	require.NoError(t, err)
	q := kit.Consent(to, account, true)
	acc, err := a.Exchange(t.Context(), providers.Exchange{Code: q.Get("code"), RedirectURL: "https://app.example.com/cb", Client: tokens(kit.Network)})
	require.NoError(t, err)
	return acc
}

func TestRevokeEndsTheRefreshTokenAndLeavesTheAppInstalled(t *testing.T) {
	kit := integrationstest.New(t)
	a := hubspotapp.New(kit.HubSpot.App())
	acc := install(t, kit, a)
	require.NoError(t, a.Revoke(t.Context(), revocation(kit, a, acc)))
	require.False(t, kit.HubSpot.Renewable(account))
	require.True(t, kit.HubSpot.Tokens.Live(account), "access tokens live on until they end")
	require.False(t, kit.HubSpot.Uninstalled(account))

	rec := answering(200, "")
	require.NoError(t, app().Revoke(t.Context(), providers.Revocation{RefreshToken: token.NewSecret("planted-refresh"), Client: tokens(rec)}))
	require.Equal(t, []sent{{
		method: "POST", url: "https://api.hubapi.com/oauth/2026-09/token/revoke", contentType: "application/x-www-form-urlencoded",
		body: "client_id=id-1&client_secret=" + clientSecret + "&token=planted-refresh&token_type_hint=refresh_token",
	}}, rec.sent)
	require.NoError(t, app().Revoke(t.Context(), providers.Revocation{}))

	for _, c := range []struct {
		answer answer
		ok     bool
	}{
		{answer{400, `{"error":"invalid_grant","status":"BAD_REFRESH_TOKEN"}`}, true},
		{answer{400, `{"status":"BAD_HUB"}`}, true},
		{answer{400, `{"error":"invalid_token"}`}, true},
		{answer{400, `{"error":"invalid_client"}`}, false},
		{answer{503, `{"error":"invalid_grant"}`}, false},
	} {
		err := app().Revoke(t.Context(), providers.Revocation{RefreshToken: token.NewSecret("planted-refresh"), Client: tokens(&recorder{answers: []answer{c.answer}})})
		require.Equal(t, c.ok, err == nil, "%s: %v", c.answer.body, err)
	}
}

func TestUninstallOnDisconnect(t *testing.T) {
	const path = "/appinstalls/2026-03/external-install"
	for name, c := range map[string]struct {
		before      func(kit *integrationstest.Kit, r *providers.Revocation)
		refreshes   int
		uninstalled bool
		ok          bool
	}{
		"fresh token": {func(*integrationstest.Kit, *providers.Revocation) {}, 0, true, true},
		"token has ended": {func(kit *integrationstest.Kit, _ *providers.Revocation) {
			kit.HubSpot.Tokens.ExpireAccess()
		}, 1, true, true},
		"no access token": {func(_ *integrationstest.Kit, r *providers.Revocation) { r.AccessToken = token.Secret{} }, 1, true, true},
		"no token": {func(_ *integrationstest.Kit, r *providers.Revocation) {
			*r = providers.Revocation{Client: r.Client, HTTP: r.HTTP}
		}, 0, false, false},
		"gone already": {func(kit *integrationstest.Kit, _ *providers.Revocation) { kit.HubSpot.Uninstall(account) }, 1, true, true},
		"not installed": {func(kit *integrationstest.Kit, _ *providers.Revocation) {
			kit.Network.Fail("api.hubapi.com", path, integrationstest.Answer(404, "{}"))
		}, 0, false, true},
		"HubSpot is down": {func(kit *integrationstest.Kit, _ *providers.Revocation) {
			kit.Network.Fail("api.hubapi.com", path, integrationstest.Status(503))
		}, 0, false, false},
		"refresh fails": {func(kit *integrationstest.Kit, _ *providers.Revocation) {
			kit.HubSpot.Tokens.ExpireAccess()
			kit.Network.Fail("api.hubapi.com", "/oauth/2026-09/token", integrationstest.Status(503))
		}, 0, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			kit := integrationstest.New(t)
			cfg := kit.HubSpot.App()
			cfg.UninstallOnDisconnect = true
			a := hubspotapp.New(cfg)
			r := revocation(kit, a, install(t, kit, a))
			c.before(kit, &r)
			err := a.Revoke(t.Context(), r)
			require.Equal(t, c.ok, err == nil, "%v", err)
			require.Equal(t, c.uninstalled, kit.HubSpot.Uninstalled(account))
			require.Equal(t, c.refreshes, kit.HubSpot.Tokens.Calls())
			require.Equal(t, name == "no token", kit.HubSpot.Renewable(account))
		})
	}
}
