package slackapp

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
	"golang.org/x/oauth2"
)

// Endpoints of OAuth v2 (docs.slack.dev/authentication/installing-with-oauth,
// checked 2026-11).
const (
	authURL   = "https://slack.com/oauth/v2/authorize"
	tokenURL  = "https://slack.com/api/oauth.v2.access"
	revokeURL = "https://slack.com/api/auth.revoke"
)

// refreshLifePKCE is how long a refresh token of an app with PKCE lasts
// (docs.slack.dev/changelog/2026/03/30/pkce, checked 2026-11). Others do not end.
const refreshLifePKCE = 30 * 24 * time.Hour

// AuthorizeURL implements providers.Provider. Slack separates scopes by commas.
func (a *App) AuthorizeURL(p providers.Authorize) (string, error) {
	q := p.Query(a.cfg.ClientID)
	name := "scope"
	if a.userOnly() {
		name = "user_scope"
	}
	q.Set(name, strings.Join(p.Scopes, ","))
	if strings.HasPrefix(p.ExpectExternalID, "T") {
		q.Set("team", p.ExpectExternalID) // Slack preselects the workspace
	}
	return authURL + "?" + q.Encode(), nil
}

// Exchange implements providers.Provider. A code that Slack refuses is the token
// client's error with outcome token.Refused: the user has to start again.
func (a *App) Exchange(ctx context.Context, x providers.Exchange) (providers.Account, error) {
	form, err := x.Form()
	if err != nil {
		return providers.Account{}, err
	}
	form.Del("grant_type") // Slack has one for refreshes only
	read := a.grant
	if a.userOnly() {
		read = a.userGrant
	}
	var body []byte
	g, err := x.Client.Do(ctx, a.request(form, func(t token.Answer) (token.Grant, error) {
		body = t.Body
		return read(t)
	}))
	if err != nil {
		return providers.Account{}, err
	}
	return a.account(body, g)
}

// Renew implements token.Renewer. Slack revokes the old refresh token on use and
// knows no grace (docs.slack.dev/authentication/using-token-rotation, checked
// 2026-11). Without token rotation tokens do not end and there is nothing to
// renew with: the error is a *token.Error with code "no_refresh_token".
func (a *App) Renew(ctx context.Context, r token.Renewal) (token.Grant, error) {
	form, err := providers.RefreshForm(r, "slack.com")
	if err != nil {
		return token.Grant{}, err
	}
	// The answer is flat for a bot's and a user's token alike.
	return r.Client.Do(ctx, a.request(form, a.grant))
}

// Revoke implements providers.Revoker (docs.slack.dev/reference/methods/auth.revoke,
// checked 2026-11). Revoking a bot token deactivates the bot's user and does not
// uninstall the app. An access token that has ended cannot be revoked while its
// refresh token lives on: then a fresh one is fetched and revoked.
func (a *App) Revoke(ctx context.Context, r providers.Revocation) error {
	if r.AccessToken.IsZero() {
		return nil
	}
	err := revoke(ctx, r.Client, r.AccessToken)
	if !providers.IsRefusal(err, "token_expired") {
		return err
	}
	g, err := a.Renew(ctx, token.Renewal{Client: r.Client, RefreshToken: r.RefreshToken})
	var refused *token.Error
	if errors.As(err, &refused) && refused.Outcome == token.DeadGrant {
		return nil // gone already
	}
	if err != nil {
		return err
	}
	return revoke(ctx, r.Client, g.AccessToken)
}

// SameAccount implements providers.AccountMatcher: a user's token is one person's,
// and another member of the workspace is somebody else.
func (a *App) SameAccount(in providers.Snapshot, account providers.Account) bool {
	if !a.userOnly() {
		return true
	}
	w, err := ReadWorkspace(in)
	now, nowErr := ReadWorkspace(providers.Snapshot{ProviderData: account.ProviderData})
	return err == nil && nowErr == nil && (w.AuthedUserID == "" || w.AuthedUserID == now.AuthedUserID)
}

// SharesGrant implements providers.GrantSharer: a revocation ends one token
// (docs.slack.dev/reference/methods/apps.uninstall, checked 2026-11). There is one
// bot token of a workspace, whoever installs the app, and one token of each user.
func (a *App) SharesGrant(in, other providers.Snapshot) bool {
	w, err := ReadWorkspace(in)
	o, otherErr := ReadWorkspace(other)
	switch {
	case err != nil || otherErr != nil || w.TokenType == "" || o.TokenType == "":
		return true // imported: nothing is known
	case w.TokenType != o.TokenType:
		return false
	}
	return w.TokenType != tokenUser || w.AuthedUserID == o.AuthedUserID
}

func revoke(ctx context.Context, c *token.Client, access token.Secret) error {
	_, err := c.Do(ctx, token.Request{
		URL: revokeURL, Classify: classifyToken,
		Header: providers.Bearer(access),
		Decode: func(t token.Answer) (token.Grant, error) { return token.Grant{}, refusal(t.Body) },
	})
	if providers.IsRefusal(err, "token_revoked", "invalid_auth", "account_inactive") {
		return nil // gone already
	}
	return err
}

// Verify implements providers.Verifier by auth.test, which needs no scope
// (docs.slack.dev/reference/methods/auth.test, checked 2026-11). It is asked of
// tokens without rotation. Only token_revoked and account_inactive are a refusal for
// good.
func (a *App) Verify(ctx context.Context, conn *providers.Connection) error {
	_, err := Client(conn).AuthTestContext(ctx)
	return Classify(err)
}

// request is a call of oauth.v2.access
// (docs.slack.dev/reference/methods/oauth.v2.access, checked 2026-11).
func (a *App) request(form url.Values, read func(token.Answer) (token.Grant, error)) token.Request {
	return token.Request{
		URL: tokenURL, Form: form, AuthStyle: oauth2.AuthStyleInParams, ClientID: a.cfg.ClientID, ClientSecret: a.secret,
		Decode: read, Classify: classifyToken,
	}
}

var errAnswer = errors.New("integrations/slackapp: answer is not Slack's JSON")

// refusal is the error of an answer, nil when it has "ok": true. Slack says no
// with HTTP 200. A code that does not look like one could be an echo of the
// request and is not passed on.
func refusal(body []byte) error {
	var ans struct {
		OK    *bool `json:"ok"`
		Error any   `json:"error"`
	}
	if json.Unmarshal(body, &ans) != nil || ans.OK == nil {
		return errAnswer
	}
	if *ans.OK {
		return nil
	}
	code := token.ErrorCode(body)
	switch {
	case ans.Error == nil, ans.Error == "":
		code = "not_ok"
	case code == "":
		code = "unknown_error"
	}
	return &token.Error{Code: code}
}

// grant reads the token at the top level of an answer.
func (a *App) grant(t token.Answer) (token.Grant, error) {
	if err := refusal(t.Body); err != nil {
		return token.Grant{}, err
	}
	return a.read(t.Body)
}

// userGrant reads the user's token, which an install keeps apart.
func (a *App) userGrant(t token.Answer) (token.Grant, error) {
	if err := refusal(t.Body); err != nil {
		return token.Grant{}, err
	}
	var ans struct {
		AuthedUser json.RawMessage `json:"authed_user"`
	}
	if json.Unmarshal(t.Body, &ans) != nil {
		return token.Grant{}, errAnswer
	}
	return a.read(ans.AuthedUser)
}

// read reads a token of an answer without an error. Nothing but a missing token
// is a fault: its refresh token was rotated by this answer.
func (a *App) read(object []byte) (token.Grant, error) {
	g, err := token.DecodeOAuth(token.Answer{Body: object})
	if err != nil {
		return token.Grant{}, errAnswer
	}
	g.TokenType = "" // Slack says "bot" or "user"; both are bearer tokens
	if a.cfg.PKCE && !g.RefreshToken.IsZero() {
		g.RefreshExpiresIn = refreshLifePKCE
	}
	return g, nil
}

// account reads whose token an install's answer holds.
func (a *App) account(body []byte, g token.Grant) (providers.Account, error) {
	type named struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	var ans struct {
		AppID           string   `json:"app_id"`
		BotUserID       string   `json:"bot_user_id"`
		Team            named    `json:"team"`
		Enterprise      named    `json:"enterprise"`
		OrgInstall      bool     `json:"is_enterprise_install"`
		AuthedUser      named    `json:"authed_user"`
		IncomingWebhook struct { // its url is a secret and is not read
			Channel   string `json:"channel"`
			ChannelID string `json:"channel_id"`
		} `json:"incoming_webhook"`
	}
	if json.Unmarshal(body, &ans) != nil {
		return providers.Account{}, errAnswer
	}
	w := Workspace{
		AppID: ans.AppID, OrgInstall: ans.OrgInstall, BotUserID: ans.BotUserID, AuthedUserID: ans.AuthedUser.ID,
		TeamID: ans.Team.ID, TeamName: ans.Team.Name, EnterpriseID: ans.Enterprise.ID, EnterpriseName: ans.Enterprise.Name,
		DefaultChannelID: ans.IncomingWebhook.ChannelID, DefaultChannel: ans.IncomingWebhook.Channel, TokenType: tokenBot,
	}
	if a.userOnly() {
		w.TokenType = tokenUser
	}
	id := w.TeamID
	if w.OrgInstall {
		id = w.EnterpriseID // team is null then
	}
	if id == "" {
		return providers.Account{}, errors.New("integrations/slackapp: the answer names no workspace")
	}
	data, err := json.Marshal(w)
	if err != nil {
		return providers.Account{}, err
	}
	return providers.Account{ExternalID: id, Exclusive: !a.cfg.Shared, Grant: g, ProviderData: data}, nil
}
