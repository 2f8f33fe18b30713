package slackapp_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

func TestAuthorizeURL(t *testing.T) {
	for name, c := range map[string]struct {
		app  *slackapp.App
		in   providers.Authorize
		want url.Values
	}{
		"bot": {app(), providers.Authorize{Scopes: []string{"a", "b"}}, url.Values{"scope": {"a,b"}}},
		"user with PKCE": {app(userOnly, withPKCE), providers.Authorize{Scopes: []string{"a"}, Challenge: "c"},
			url.Values{"user_scope": {"a"}, "code_challenge": {"c"}, "code_challenge_method": {"S256"}}},
		"reconnect of a workspace":     {app(), providers.Authorize{Scopes: []string{"a"}, ExpectExternalID: "T1"}, url.Values{"scope": {"a"}, "team": {"T1"}}},
		"reconnect of an organisation": {app(), providers.Authorize{Scopes: []string{"a"}, ExpectExternalID: "E1"}, url.Values{"scope": {"a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			c.in.State, c.in.RedirectURL = "the state", "https://app.example.com/cb?x=1"
			raw, err := c.app.AuthorizeURL(c.in)
			require.NoError(t, err)
			u, err := url.Parse(raw)
			require.NoError(t, err)
			require.Equal(t, "https://slack.com/oauth/v2/authorize", u.Scheme+"://"+u.Host+u.Path)
			c.want["client_id"], c.want["state"], c.want["redirect_uri"] = []string{"1.2"}, []string{c.in.State}, []string{c.in.RedirectURL}
			require.Equal(t, c.want, u.Query())
		})
	}
}

// calls records token calls and answers them in turn.
type calls struct {
	answers []transport
	seen    []*http.Request
	forms   []url.Values
}

func (c *calls) client() *token.Client {
	return tokens(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, err
		}
		c.seen, c.forms = append(c.seen, r), append(c.forms, form)
		return c.answers[len(c.seen)-1](r)
	})
}

func exchange(t *testing.T, a *slackapp.App, body string) (providers.Account, error) {
	t.Helper()
	c := calls{answers: []transport{answer(body)}}
	x := providers.Exchange{Code: "the code", RedirectURL: "https://app.example.com/cb", Client: c.client()}
	if a.Info().PKCE {
		x.Verifier = "the verifier"
	}
	acc, err := a.Exchange(t.Context(), x)
	require.Len(t, c.seen, 1)
	require.Equal(t, "https://slack.com/api/oauth.v2.access", c.seen[0].URL.String())
	want := url.Values{"code": {"the code"}, "redirect_uri": {x.RedirectURL}, "client_id": {"1.2"}, "client_secret": {clientSecret}}
	if x.Verifier != "" {
		want["code_verifier"] = []string{x.Verifier}
	}
	require.Equal(t, want, c.forms[0])
	require.Empty(t, c.seen[0].Header["Authorization"])
	return acc, err
}

const botAnswer = `{"ok":true,"app_id":"A1","access_token":"xoxb-1","token_type":"bot","scope":"chat:write,commands","bot_user_id":"UB","team":{"id":"T1","name":"W"},
"enterprise":null,"is_enterprise_install":false,"authed_user":{"id":"U1"},"incoming_webhook":{"url":"https://hooks.slack.com/services/T/B/planted-hook","channel":"#c","channel_id":"C1","configuration_url":"https://w.slack.com/services/B"},
"refresh_token":"xoxe-1-a","expires_in":43200}`

func TestExchange(t *testing.T) {
	bot := token.Grant{AccessToken: token.NewSecret("xoxb-1")}
	for name, c := range map[string]struct {
		app             *slackapp.App
		body, id        string
		access, refresh string
		life, grantLife time.Duration
		scopes          []string
		want            slackapp.Workspace
	}{
		"bot with rotation": {
			app(), botAnswer, "T1", "xoxb-1", "xoxe-1-a", 12 * time.Hour, 0, []string{"chat:write", "commands"},
			slackapp.Workspace{AppID: "A1", TeamID: "T1", TeamName: "W", BotUserID: "UB", AuthedUserID: "U1", DefaultChannelID: "C1", DefaultChannel: "#c", TokenType: "bot"},
		},
		"bot of an app with PKCE": {
			app(withPKCE), `{"ok":true,"access_token":"xoxb-1","refresh_token":"xoxe-1-a","expires_in":43200,"team":{"id":"T1"}}`,
			"T1", "xoxb-1", "xoxe-1-a", 12 * time.Hour, 30 * 24 * time.Hour, nil, slackapp.Workspace{TeamID: "T1", TokenType: "bot"},
		},
		"bot without rotation, PKCE": {
			app(withPKCE), `{"ok":true,"access_token":"xoxb-1","team":{"id":"T1"}}`,
			"T1", "xoxb-1", "", 0, 0, nil, slackapp.Workspace{TeamID: "T1", TokenType: "bot"},
		},
		"bot, and a user's token nobody asked for": {
			app(), `{"ok":true,"access_token":"xoxb-1","scope":"a","team":{"id":"T1"},"authed_user":{"id":"U1","access_token":"xoxp-1","refresh_token":"xoxe-1-u","expires_in":5}}`,
			"T1", "xoxb-1", "", 0, 0, []string{"a"}, slackapp.Workspace{TeamID: "T1", AuthedUserID: "U1", TokenType: "bot"},
		},
		"user only": {
			app(userOnly), `{"ok":true,"app_id":"A1","team":{"id":"T1","name":"W"},"authed_user":{"id":"U1","scope":"search:read","access_token":"xoxp-1","token_type":"user"}}`,
			"T1", "xoxp-1", "", 0, 0, []string{"search:read"}, slackapp.Workspace{AppID: "A1", TeamID: "T1", TeamName: "W", AuthedUserID: "U1", TokenType: "user"},
		},
		"user with rotation, beside a bot": {
			app(userOnly), `{"ok":true,"access_token":"xoxb-1","refresh_token":"xoxe-1-b","expires_in":9,"team":{"id":"T1"},"authed_user":{"id":"U1","access_token":"xoxe.xoxp-1","refresh_token":"xoxe-1-u","expires_in":43200}}`,
			"T1", "xoxe.xoxp-1", "xoxe-1-u", 12 * time.Hour, 0, nil, slackapp.Workspace{TeamID: "T1", AuthedUserID: "U1", TokenType: "user"},
		},
		"organisation": {
			app(), `{"ok":true,"access_token":"xoxb-1","team":null,"enterprise":{"id":"E1","name":"Org"},"is_enterprise_install":true}`,
			"E1", "xoxb-1", "", 0, 0, nil, slackapp.Workspace{EnterpriseID: "E1", EnterpriseName: "Org", OrgInstall: true, TokenType: "bot"},
		},
		"workspace of an organisation": {
			app(), `{"ok":true,"access_token":"xoxb-1","team":{"id":"T1","name":"W"},"enterprise":{"id":"E1","name":"Org"},"is_enterprise_install":false}`,
			"T1", "xoxb-1", "", 0, 0, nil, slackapp.Workspace{TeamID: "T1", TeamName: "W", EnterpriseID: "E1", EnterpriseName: "Org", TokenType: "bot"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			acc, err := exchange(t, c.app, c.body)
			require.NoError(t, err)
			require.Equal(t, c.id, acc.ExternalID)
			require.True(t, acc.Exclusive)
			require.Equal(t, c.access, acc.Grant.AccessToken.Reveal())
			require.Equal(t, c.refresh, acc.Grant.RefreshToken.Reveal())
			require.Equal(t, []time.Duration{c.life, c.grantLife}, []time.Duration{acc.Grant.ExpiresIn, acc.Grant.RefreshExpiresIn})
			require.Equal(t, c.scopes, acc.Grant.Scopes)
			require.Equal(t, bot.TokenType, acc.Grant.TokenType)
			w, err := slackapp.ReadWorkspace(providers.Snapshot{ProviderData: acc.ProviderData})
			require.NoError(t, err)
			require.Equal(t, c.want, w)
			require.NotContains(t, string(acc.ProviderData), "hooks.slack.com")
		})
	}
	shared, err := exchange(t, app(func(c *slackapp.Config) { c.Shared = true }), botAnswer)
	require.NoError(t, err)
	require.False(t, shared.Exclusive)
}

func TestExchangeRefused(t *testing.T) {
	for body, want := range map[string]struct {
		outcome token.Outcome
		code    string
	}{
		`{"ok":false,"error":"invalid_code"}`:                                    {token.Refused, "invalid_code"},
		`{"ok":false,"error":"code_already_used"}`:                               {token.Refused, "code_already_used"},
		`{"ok":false,"error":"bad_client_secret"}`:                               {token.AppFault, "bad_client_secret"},
		`{"ok":false,"error":"bad_redirect_uri"}`:                                {token.AppFault, "bad_redirect_uri"},
		`{"ok":false,"error":"internal_error"}`:                                  {token.Transient, "internal_error"},
		`{"ok":false,"error":""}`:                                                {token.Transient, "not_ok"},
		`{"ok":false}`:                                                           {token.Transient, "not_ok"},
		`{"ok":false,"error":"xoxb-echo-1"}`:                                     {token.Refused, "unknown_error"},
		`{"ok":false,"access_token":"xoxb-1"}`:                                   {token.Transient, "not_ok"},
		`{"ok":true}`:                                                            {token.Ambiguous, "bad_answer"},
		`{"access_token":"xoxb-1"}`:                                              {token.Ambiguous, "bad_answer"},
		`{"ok":true,"authed_user":{"access_token":"xoxp-1"},"team":{"id":"T1"}}`: {token.Ambiguous, "bad_answer"},
		`<html>`: {token.Ambiguous, "bad_answer"},
	} {
		_, err := exchange(t, app(), body)
		var e *token.Error
		require.ErrorAs(t, err, &e, body)
		require.Equal(t, want.outcome, e.Outcome, body)
		require.Equal(t, want.code, e.Code, body)
	}
	_, err := exchange(t, app(userOnly), botAnswer)
	require.Error(t, err, "a bot's token does for no user")
	for name, body := range map[string]string{
		"no team":                        `{"ok":true,"access_token":"xoxb-1","team":null}`,
		"organisation without its id":    `{"ok":true,"access_token":"xoxb-1","team":{"id":"T1"},"is_enterprise_install":true}`,
		"flag of another type than bool": `{"ok":true,"access_token":"xoxb-1","team":{"id":"T1"},"is_enterprise_install":"true"}`,
	} {
		_, err := exchange(t, app(), body)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "xoxb-1", name)
	}
	_, err = app().Exchange(t.Context(), providers.Exchange{})
	var refusal *providers.Refusal
	require.ErrorAs(t, err, &refusal)
}

func renew(t *testing.T, a *slackapp.App, base transport) (token.Grant, error) {
	t.Helper()
	c := calls{answers: []transport{base}}
	g, err := a.Renew(t.Context(), token.Renewal{RefreshToken: token.NewSecret("xoxe-1-old"), Client: c.client()})
	require.Len(t, c.seen, 1, "a refresh token is sent once")
	require.Equal(t, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"xoxe-1-old"}, "client_id": {"1.2"}, "client_secret": {clientSecret}}, c.forms[0])
	return g, err
}

func TestRenew(t *testing.T) {
	for name, c := range map[string]struct {
		app             *slackapp.App
		body            string
		life, grantLife time.Duration
		scopes          []string
	}{
		"bot": {app(), `{"ok":true,"access_token":"new","refresh_token":"xoxe-1-new","expires_in":43200,"token_type":"bot","scope":"a,b","team":{"id":"T1"},"enterprise":null}`,
			12 * time.Hour, 0, []string{"a", "b"}},
		"user":           {app(userOnly), `{"ok":true,"access_token":"new","refresh_token":"xoxe-1-new","expires_in":43200,"token_type":"user"}`, 12 * time.Hour, 0, nil},
		"PKCE":           {app(withPKCE), `{"ok":true,"access_token":"new","refresh_token":"xoxe-1-new"}`, 0, 30 * 24 * time.Hour, nil},
		"life as text":   {app(), `{"ok":true,"access_token":"new","refresh_token":"xoxe-1-new","expires_in":"43200"}`, 12 * time.Hour, 0, nil},
		"life with part": {app(), `{"ok":true,"access_token":"new","refresh_token":"xoxe-1-new","expires_in":43200.0}`, 12 * time.Hour, 0, nil},
		"odd fields":     {app(), `{"ok":true,"error":{},"access_token":"new","refresh_token":"xoxe-1-new","expires_in":{},"scope":7,"team":"T1","authed_user":[]}`, 0, 0, nil},
		"absurd life":    {app(), `{"ok":true,"access_token":"new","refresh_token":"xoxe-1-new","expires_in":1e300}`, 10 * 365 * 24 * time.Hour, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := renew(t, c.app, answer(c.body))
			require.NoError(t, err)
			require.Equal(t, "new xoxe-1-new", g.AccessToken.Reveal()+" "+g.RefreshToken.Reveal())
			require.Equal(t, []time.Duration{c.life, c.grantLife}, []time.Duration{g.ExpiresIn, g.RefreshExpiresIn})
			require.Equal(t, c.scopes, g.Scopes)
		})
	}
}

func TestRenewRefused(t *testing.T) {
	no := func(code string) transport { return answer(`{"ok":false,"error":"` + code + `"}`) }
	for outcome, codes := range map[token.Outcome][]string{
		token.DeadGrant: {"invalid_refresh_token", "token_revoked", "token_expired", "account_inactive", "invalid_grant"},
		token.AppFault: {"bad_client_secret", "invalid_client_id", "invalid_client", "bad_redirect_uri", "invalid_grant_type", "unauthorized_client",
			"oauth_authorization_url_mismatch", "cannot_install_an_org_installed_app"},
		token.Transient: {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org", "org_login_required"},
		token.Refused:   {"invalid_auth", "something_new"},
	} {
		for _, code := range codes {
			_, err := renew(t, app(), no(code))
			var e *token.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, outcome, e.Outcome, code)
			require.Equal(t, code, e.Code)
		}
	}
	// A status that says "later" wins over any code, and no page is quoted.
	for code, want := range map[int]token.Outcome{500: token.Transient, 503: token.Transient, 429: token.Transient, 408: token.Transient, 400: token.DeadGrant} {
		_, err := renew(t, app(), status(code, "application/json", `{"ok":false,"error":"invalid_grant"}`))
		var e *token.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, want, e.Outcome, code)
	}
	_, err := renew(t, app(), status(502, "text/html", "<html>xoxe-1-old</html>"))
	require.NotContains(t, err.Error(), "xoxe")

	_, err = app().Renew(t.Context(), token.Renewal{Client: tokens(nil)})
	var e *token.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, []any{token.DeadGrant, "no_refresh_token"}, []any{e.Outcome, e.Code})
}

func TestRevoke(t *testing.T) {
	revoke := func(answers ...string) (*calls, error) {
		c := &calls{}
		for _, a := range answers {
			c.answers = append(c.answers, answer(a))
		}
		err := app().Revoke(context.Background(), providers.Revocation{
			AccessToken: token.NewSecret("xoxb-1"), RefreshToken: token.NewSecret("xoxe-1-a"), Client: c.client(),
		})
		require.Len(t, c.seen, len(answers))
		require.Equal(t, "https://slack.com/api/auth.revoke", c.seen[0].URL.String())
		require.Equal(t, []string{"Bearer xoxb-1"}, c.seen[0].Header["Authorization"])
		require.Empty(t, c.forms[0])
		return c, err
	}
	for _, body := range []string{
		`{"ok":true,"revoked":true}`, `{"ok":false,"error":"token_revoked"}`, `{"ok":false,"error":"invalid_auth"}`, `{"ok":false,"error":"account_inactive"}`,
	} {
		_, err := revoke(body)
		require.NoError(t, err, body)
	}
	for body, outcome := range map[string]token.Outcome{
		`{"ok":false,"error":"internal_error"}`: token.Transient, `{"ok":false}`: token.Transient, `{}`: token.Ambiguous, `<html>`: token.Ambiguous, `{"ok":false,"error":"missing_scope"}`: token.Refused,
	} {
		_, err := revoke(body)
		var e *token.Error
		require.ErrorAs(t, err, &e, body)
		require.Equal(t, outcome, e.Outcome, body)
	}
	const ended = `{"ok":false,"error":"token_expired"}`
	t.Run("ended, renewable", func(t *testing.T) {
		c, err := revoke(ended, `{"ok":true,"access_token":"xoxb-2","refresh_token":"xoxe-1-b"}`, `{"ok":true,"revoked":true}`)
		require.NoError(t, err)
		require.Equal(t, "xoxe-1-a", c.forms[1].Get("refresh_token"))
		require.Equal(t, []string{"Bearer xoxb-2"}, c.seen[2].Header["Authorization"])
	})
	t.Run("ended, and so is the grant", func(t *testing.T) {
		_, err := revoke(ended, `{"ok":false,"error":"invalid_refresh_token"}`)
		require.NoError(t, err)
	})
	t.Run("ended, nobody can say", func(t *testing.T) {
		_, err := revoke(ended, `{"ok":false,"error":"internal_error"}`)
		require.Error(t, err)
	})
	require.NoError(t, app().Revoke(t.Context(), providers.Revocation{}), "nothing to revoke")
}

// TestL1OAuthErrorsHoldNoSecret has Slack echo everything it was sent.
func TestL1OAuthErrorsHoldNoSecret(t *testing.T) {
	const access, refresh, code = "planted-access", "planted-refresh", "planted-code"
	echo := access + refresh + code + clientSecret
	for _, base := range []transport{
		answer(`{"ok":false,"error":"` + echo + `"}`), answer(`{"ok":true,"echo":"` + echo + `"}`), answer(echo),
		answer(`{"ok":true,"access_token":"` + access + `","refresh_token":"` + refresh + `"}`),
		status(500, "text/html", echo), status(400, "application/json", `{"error":"`+echo+`"}`),
		func(r *http.Request) (*http.Response, error) {
			return nil, &url.Error{Op: "Post", URL: r.URL.String() + "?" + echo, Err: io.ErrUnexpectedEOF}
		},
	} {
		_, exchanged := app().Exchange(t.Context(), providers.Exchange{Code: code, Verifier: code, Client: tokens(base)})
		_, renewed := app(userOnly).Renew(t.Context(), token.Renewal{RefreshToken: token.NewSecret(refresh), Client: tokens(base)})
		revoked := app().Revoke(t.Context(), providers.Revocation{AccessToken: token.NewSecret(access), RefreshToken: token.NewSecret(refresh), Client: tokens(base)})
		for _, err := range []error{exchanged, renewed, revoked} {
			if err != nil {
				noSecrets(t, err, access, refresh, code, clientSecret)
			}
		}
	}
}
