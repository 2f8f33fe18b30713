package sheetsapp_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

func TestAuthorizeURL(t *testing.T) {
	p := providers.Authorize{
		State: "the-state", RedirectURL: "https://app.example.com/cb", Challenge: "the-challenge",
		Scopes: []string{"openid", "email", sheetsapp.ScopeDriveFile}, ExpectExternalID: "1",
	}
	for name, c := range map[string]struct {
		app    *sheetsapp.App
		prompt string
	}{
		"as usual":       {app(), "consent"},
		"select account": {app(func(c *sheetsapp.Config) { c.SelectAccount = true }), "select_account consent"},
	} {
		t.Run(name, func(t *testing.T) {
			to, err := c.app.AuthorizeURL(p)
			require.NoError(t, err)
			u, err := url.Parse(to)
			require.NoError(t, err)
			require.Equal(t, "https://accounts.google.com/o/oauth2/v2/auth", u.Scheme+"://"+u.Host+u.Path)
			require.Equal(t, url.Values{
				"response_type": {"code"}, "access_type": {"offline"}, "prompt": {c.prompt}, "client_id": {clientID},
				"redirect_uri": {p.RedirectURL}, "state": {"the-state"}, "scope": {"openid " + emailScope + " " + sheetsapp.ScopeDriveFile},
				"code_challenge": {"the-challenge"}, "code_challenge_method": {"S256"},
			}, u.Query())
		})
	}
}

// idToken makes an id token of claims; a claim of nil is left out.
func idToken(t *testing.T, change map[string]any) string {
	t.Helper()
	claims := map[string]any{
		"iss": "https://accounts.google.com", "aud": clientID, "sub": "10769150350006150715113082367", "exp": time.Now().Add(time.Hour).Unix(),
		"email": "a@example.com", "hd": "example.com", "name": "A B",
	}
	for k, v := range change {
		if claims[k] = v; v == nil {
			delete(claims, k)
		}
	}
	raw, err := json.Marshal(claims)
	require.NoError(t, err)
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"RS256"}`)) + "." + part(raw) + "." + part([]byte("signature"))
}

// tokenAnswer is an answer of the token endpoint; a member of nil is left out.
func tokenAnswer(t *testing.T, change map[string]any) answer {
	t.Helper()
	m := map[string]any{
		"access_token": accessToken, "expires_in": 3599, "refresh_token": "1//0gplanted-refresh", "token_type": "Bearer",
		"scope":    "openid https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/spreadsheets",
		"id_token": idToken(t, nil),
	}
	for k, v := range change {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	raw, err := json.Marshal(m)
	require.NoError(t, err)
	return ok(string(raw))
}

func exchange(t *testing.T, a *sheetsapp.App, ans answer) (providers.Account, *wire, error) {
	t.Helper()
	w := &wire{t: t, answers: []answer{ans}}
	acc, err := a.Exchange(t.Context(), providers.Exchange{
		Code: "4/0planted-code", RedirectURL: "https://app.example.com/cb", Verifier: "the-verifier",
		Client: token.NewClient(token.ClientConfig{Transport: w}),
	})
	return acc, w, err
}

func TestExchange(t *testing.T) {
	acc, w, err := exchange(t, app(), tokenAnswer(t, map[string]any{"refresh_token_expires_in": 604799}))
	require.NoError(t, err)
	require.Len(t, w.sent, 1)
	require.Equal(t, "POST", w.sent[0].method)
	require.Equal(t, "https://oauth2.googleapis.com/token", w.sent[0].url)
	require.Empty(t, w.sent[0].authorization, "Google takes no Basic")
	form, err := url.ParseQuery(w.sent[0].body)
	require.NoError(t, err)
	require.Equal(t, url.Values{
		"grant_type": {"authorization_code"}, "code": {"4/0planted-code"}, "redirect_uri": {"https://app.example.com/cb"},
		"code_verifier": {"the-verifier"}, "client_id": {clientID}, "client_secret": {clientSecret},
	}, form)
	require.Equal(t, "10769150350006150715113082367", acc.ExternalID)
	require.False(t, acc.Exclusive)
	require.Equal(t, accessToken, acc.Grant.AccessToken.Reveal())
	require.Equal(t, "1//0gplanted-refresh", acc.Grant.RefreshToken.Reveal())
	require.Equal(t, 3599*time.Second, acc.Grant.ExpiresIn)
	require.Equal(t, 604799*time.Second, acc.Grant.RefreshExpiresIn)
	require.Equal(t, []string{"openid", emailScope, sheetsapp.ScopeSpreadsheets}, acc.Grant.Scopes)
	require.JSONEq(t, `{"email":"a@example.com","hd":"example.com","name":"A B"}`, string(acc.ProviderData))

	acc, _, err = exchange(t, app(func(c *sheetsapp.Config) { c.Exclusive = true }), tokenAnswer(t, nil))
	require.NoError(t, err)
	require.True(t, acc.Exclusive)
}

func TestExchangeReadsShortScopeNames(t *testing.T) {
	a := app(func(c *sheetsapp.Config) { c.Scopes = append(c.Scopes, "profile") })
	acc, _, err := exchange(t, a, tokenAnswer(t, map[string]any{"scope": "email profile openid " + sheetsapp.ScopeSpreadsheets}))
	require.NoError(t, err)
	require.ElementsMatch(t, a.Info().Scopes, acc.Grant.Scopes)
	// An answer that does not say granted all.
	acc, _, err = exchange(t, a, tokenAnswer(t, map[string]any{"scope": nil}))
	require.NoError(t, err)
	require.Nil(t, acc.Grant.Scopes)
}

func TestExchangeRefuses(t *testing.T) {
	partial := tokenAnswer(t, map[string]any{"scope": "openid " + emailScope})
	for name, c := range map[string]struct {
		ans  answer
		code string
	}{
		"no refresh token": {tokenAnswer(t, map[string]any{"refresh_token": nil}), sheetsapp.RefusedOffline},
		"partial consent":  {partial, sheetsapp.RefusedMissingScopes},
	} {
		_, _, err := exchange(t, app(), c.ans)
		var refusal *providers.Refusal
		require.ErrorAs(t, err, &refusal, name)
		require.Equal(t, c.code, refusal.Code, name)
	}
	acc, _, err := exchange(t, app(func(c *sheetsapp.Config) { c.AllowPartialConsent = true }), partial)
	require.NoError(t, err)
	require.Equal(t, []string{"openid", emailScope}, acc.Grant.Scopes)
}

func TestExchangeNeedsAnIDToken(t *testing.T) {
	for name, change := range map[string]map[string]any{
		"none":            {"id_token": nil},
		"empty":           {"id_token": ""},
		"a number":        {"id_token": 1},
		"another client":  {"id_token": idToken(t, map[string]any{"aud": "2-b.apps.googleusercontent.com"})},
		"several clients": {"id_token": idToken(t, map[string]any{"aud": []string{clientID, "2-b"}})},
		"another issuer":  {"id_token": idToken(t, map[string]any{"iss": "https://accounts.google.com.evil.example"})},
		"over":            {"id_token": idToken(t, map[string]any{"exp": time.Now().Add(-time.Second).Unix()})},
		"no subject":      {"id_token": idToken(t, map[string]any{"sub": nil})},
	} {
		_, _, err := exchange(t, app(), tokenAnswer(t, change))
		require.ErrorContains(t, err, "id token", name)
		require.NotContains(t, err.Error(), "planted", name)
	}
}

// TestTokenErrors is what answers of the token endpoint mean.
func TestTokenErrors(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		body    string
		outcome token.Outcome
		code    string
	}{
		"revoked":        {400, `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`, token.DeadGrant, "invalid_grant"},
		"reauth":         {400, `{"error":"invalid_grant","error_description":"reauth related error (invalid_rapt)","error_uri":"https://support.google.com/a/answer/9368756","error_subtype":"invalid_rapt"}`, token.DeadGrant, "invalid_rapt"},
		"reauth alone":   {400, `{"error":"invalid_rapt"}`, token.DeadGrant, "invalid_rapt"},
		"bad request":    {400, `{"error":"invalid_grant","error_description":"Bad Request"}`, token.DeadGrant, "invalid_grant"},
		"deleted user":   {400, `{"error":"invalid_grant","error_description":"Account has been deleted"}`, token.DeadGrant, "invalid_grant"},
		"wrong secret":   {401, `{"error":"invalid_client","error_description":"Unauthorized"}`, token.AppFault, "invalid_client"},
		"wrong client":   {401, `{"error":"unauthorized_client","error_description":"Unauthorized"}`, token.AppFault, "unauthorized_client"},
		"deleted client": {401, `{"error":"deleted_client"}`, token.AppFault, "deleted_client"},
		"disabled":       {401, `{"error":"disabled_client"}`, token.AppFault, "disabled_client"},
		"redirect":       {400, `{"error":"redirect_uri_mismatch"}`, token.AppFault, "redirect_uri_mismatch"},
		"internal app":   {403, `{"error":"org_internal"}`, token.AppFault, "org_internal"},
		"not enabled":    {403, `{"error":"access_not_configured"}`, token.AppFault, "access_not_configured"},
		"policy":         {400, `{"error":"admin_policy_enforced"}`, token.Refused, "admin_policy_enforced"},
		"unknown":        {400, `{"error":"something_new"}`, token.Refused, "something_new"},
		"no code":        {400, `<html>bad</html>`, token.Refused, "refused"},
		"internal":       {400, `{"error":"internal_failure"}`, token.Transient, "internal_failure"},
		"temporarily":    {400, `{"error":"temporarily_unavailable"}`, token.Transient, "temporarily_unavailable"},
		"429":            {429, `{"error":"invalid_grant","error_subtype":"invalid_rapt"}`, token.Transient, "invalid_grant"},
		"500":            {500, `{"error":"invalid_grant"}`, token.Transient, "invalid_grant"},
		"503":            {503, `<html>down</html>`, token.Transient, "server_error"},
		"half an answer": {200, `{"access_`, token.Ambiguous, "bad_answer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &wire{t: t, answers: []answer{{c.status, c.body}}}
			_, err := app().Renew(t.Context(), token.Renewal{
				Client: token.NewClient(token.ClientConfig{Transport: w}), RefreshToken: token.NewSecret("1//planted"),
			})
			var e *token.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.outcome, e.Outcome)
			require.Equal(t, c.code, e.Code)
			require.Equal(t, "oauth2.googleapis.com", e.Host)
			require.Len(t, w.sent, 1)
			require.NotContains(t, err.Error(), "planted")
		})
	}
}

func TestRenew(t *testing.T) {
	w := &wire{t: t, answers: []answer{tokenAnswer(t, map[string]any{"refresh_token": nil, "scope": "email " + sheetsapp.ScopeSpreadsheets})}}
	g, err := app().Renew(t.Context(), token.Renewal{
		Client: token.NewClient(token.ClientConfig{Transport: w}), RefreshToken: token.NewSecret("1//planted"),
	})
	require.NoError(t, err)
	require.Equal(t, "https://oauth2.googleapis.com/token", w.sent[0].url)
	form, err := url.ParseQuery(w.sent[0].body)
	require.NoError(t, err)
	require.Equal(t, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {"1//planted"}, "client_id": {clientID}, "client_secret": {clientSecret},
	}, form)
	require.True(t, g.RefreshToken.IsZero(), "the stored one is kept")
	require.Equal(t, []string{emailScope, sheetsapp.ScopeSpreadsheets}, g.Scopes)
}

func TestRevoke(t *testing.T) {
	channel := providers.Subscription{
		Name: "drive.file:" + sheetID, RemoteID: "channel-1", Data: json.RawMessage(`{"resource_id":"res-1","file_id":"` + sheetID + `"}`),
	}
	other := providers.Subscription{Name: "of somebody else", RemoteID: "2", Data: json.RawMessage(`{}`)}
	revoke := func(w *wire, r providers.Revocation) error {
		r.Client = token.NewClient(token.ClientConfig{Transport: w})
		hosts, err := providers.NewHosts(app().Info().Hosts...)
		require.NoError(t, err)
		r.HTTP = providers.NewClient(hosts, w, time.Second)
		return app().Revoke(t.Context(), r)
	}
	end := func(w *wire, r providers.Revocation) error {
		r.Client = token.NewClient(token.ClientConfig{Transport: w})
		hosts, err := providers.NewHosts(app().Info().Hosts...)
		require.NoError(t, err)
		r.HTTP = providers.NewClient(hosts, w, time.Second)
		return app().EndSubscriptions(t.Context(), r)
	}
	stop := sent{"POST", "https://www.googleapis.com/drive/v3/channels/stop", "application/json", "Bearer access", `{"id":"channel-1","resourceId":"res-1"}`}
	gone := sent{"POST", "https://oauth2.googleapis.com/revoke", "application/x-www-form-urlencoded", "", "token=1%2F%2Frefresh"}
	both := providers.Revocation{
		AccessToken: token.NewSecret("access"), RefreshToken: token.NewSecret("1//refresh"), Subscriptions: []providers.Subscription{other, channel},
	}

	w := &wire{t: t, answers: []answer{{204, ""}, {200, "{}"}}}
	require.NoError(t, end(w, both))
	require.NoError(t, revoke(w, both))
	require.Equal(t, []sent{stop, gone}, w.sent)

	// The access token has ended: another one stops the channel.
	w = &wire{t: t, answers: []answer{{401, unauthenticated}, tokenAnswer(t, map[string]any{"access_token": "next"}), {204, ""}}}
	require.NoError(t, end(w, both))
	require.Len(t, w.sent, 3)
	require.Equal(t, "https://oauth2.googleapis.com/token", w.sent[1].url)
	again := stop
	again.authorization = "Bearer next"
	require.Equal(t, again, w.sent[2])

	// One that is gone is no error, other failures are told.
	w = &wire{t: t, answers: []answer{{404, notFound}}}
	require.NoError(t, end(w, both))
	require.Equal(t, []sent{stop}, w.sent)
	w = &wire{t: t, answers: []answer{{401, unauthenticated}, {400, `{"error":"invalid_grant"}`}}}
	require.Error(t, end(w, both))
	w = &wire{t: t, answers: []answer{{503, "down"}}}
	require.ErrorIs(t, end(w, both), providers.ErrProviderDown)
	w = &wire{t: t}
	require.NoError(t, end(w, providers.Revocation{}))
	require.Empty(t, w.sent)

	w = &wire{t: t, answers: []answer{{200, "{}"}}}
	require.NoError(t, revoke(w, providers.Revocation{AccessToken: token.NewSecret("access")}))
	require.Equal(t, "token=access", w.sent[0].body)
	w = &wire{t: t}
	require.NoError(t, revoke(w, providers.Revocation{}))
	require.Empty(t, w.sent)

	w = &wire{t: t, answers: []answer{{400, `{"error":"invalid_token","error_description":"Token expired or revoked"}`}}}
	require.NoError(t, revoke(w, providers.Revocation{RefreshToken: token.NewSecret("1//refresh")}))
	for _, a := range []answer{{400, `{"error":"invalid_request"}`}, {503, "down"}} {
		w = &wire{t: t, answers: []answer{a}}
		var e *token.Error
		require.ErrorAs(t, revoke(w, providers.Revocation{RefreshToken: token.NewSecret("1//planted")}), &e)
		require.NotEqual(t, token.AppFault, e.Outcome)
		require.NotEqual(t, token.DeadGrant, e.Outcome)
		require.NotContains(t, e.Error(), "planted")
	}
}

// TestFakeFollowsGooglesOfflineRules checks the fake, not the adapter.
func TestFakeFollowsGooglesOfflineRules(t *testing.T) {
	kit := integrationstest.New(t)
	cfg := kit.Sheets.App()
	ask := func(change func(url.Values)) map[string]any {
		q := url.Values{
			"client_id": {cfg.ClientID}, "redirect_uri": {"https://app.example.com/cb"}, "response_type": {"code"}, "scope": {"openid email profile"},
			"access_type": {"offline"}, "prompt": {"consent"}, "state": {"s"},
		}
		change(q)
		back := kit.Consent("https://accounts.google.com/o/oauth2/v2/auth?"+q.Encode(), "1", true)
		require.Equal(t, "s", back.Get("state"))
		form := url.Values{
			"grant_type": {"authorization_code"}, "code": {back.Get("code")}, "redirect_uri": {"https://app.example.com/cb"},
			"client_id": {cfg.ClientID}, "client_secret": {cfg.ClientSecret},
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://oauth2.googleapis.com/token", strings.NewReader(form.Encode()))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := kit.Network.RoundTrip(r)
		require.NoError(t, err)
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, errors.Join(err, resp.Body.Close()))
		require.Equal(t, 200, resp.StatusCode, string(raw))
		var m map[string]any
		require.NoError(t, json.Unmarshal(raw, &m))
		return m
	}
	first := ask(func(q url.Values) { q.Del("prompt") })
	require.Contains(t, first, "refresh_token", "the first consent")
	require.Equal(t, "openid "+emailScope+" "+profileScope, first["scope"])
	require.NotContains(t, ask(func(q url.Values) { q.Del("prompt") }), "refresh_token", "consent was not shown again")
	require.Contains(t, ask(func(url.Values) {}), "refresh_token")
	require.NotContains(t, ask(func(q url.Values) { q.Del("access_type") }), "refresh_token")
	require.NotContains(t, ask(func(q url.Values) { q.Set("scope", "email") }), "id_token")
}
