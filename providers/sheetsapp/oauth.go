package sheetsapp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
	"golang.org/x/oauth2"
)

// Endpoints (npm google-auth-library 11.3.4, checked 2026-11).
const (
	authURL   = "https://accounts.google.com/o/oauth2/v2/auth"
	tokenHost = "oauth2.googleapis.com"
	tokenURL  = "https://" + tokenHost + "/token"
	revokeURL = "https://" + tokenHost + "/revoke"
)

// Codes of a *providers.Refusal beside those of package providers.
const (
	// RefusedMissingScopes means the user unticked some of the scopes. Google keeps
	// what was granted; connecting again asks for all of them.
	RefusedMissingScopes = "missing_scopes"
	// RefusedOffline means Google gave no refresh token: the connection would end
	// within the hour.
	RefusedOffline = "offline_access_missing"
)

// AuthorizeURL implements providers.Provider
// (developers.google.com/identity/protocols/oauth2/web-server, checked 2026-11).
// prompt=consent is always sent: without it only the first connect of an account
// would get a refresh token. include_granted_scopes is never sent: the token would
// be good for what other tenants of the same user granted.
func (a *App) AuthorizeURL(p providers.Authorize) (string, error) {
	q := p.Query(a.cfg.ClientID)
	q.Set("response_type", "code")
	q.Set("access_type", "offline")
	q.Set("prompt", "consent")
	if a.cfg.SelectAccount {
		q.Set("prompt", "select_account consent")
	}
	q.Set("scope", strings.Join(normalScopes(p.Scopes), " "))
	return authURL + "?" + q.Encode(), nil
}

// Exchange implements providers.Provider. Whose account it is says the id token.
func (a *App) Exchange(ctx context.Context, x providers.Exchange) (providers.Account, error) {
	form, err := x.Form()
	if err != nil {
		return providers.Account{}, err
	}
	var body []byte
	g, err := x.Client.Do(ctx, a.request(form, func(t token.Answer) (token.Grant, error) {
		body = t.Body
		return decode(t)
	}))
	if err != nil {
		return providers.Account{}, err
	}
	var ans struct {
		IDToken string `json:"id_token"`
	}
	if json.Unmarshal(body, &ans) != nil {
		return providers.Account{}, errIDToken
	}
	who, err := parseIDToken(ans.IDToken, a.cfg.ClientID, time.Now())
	if err != nil {
		return providers.Account{}, err
	}
	switch {
	case g.RefreshToken.IsZero():
		return providers.Account{}, &providers.Refusal{Code: RefusedOffline}
	case !a.cfg.AllowPartialConsent && len(providers.MissingScopes(a.cfg.Scopes, g.Scopes)) > 0:
		return providers.Account{}, &providers.Refusal{Code: RefusedMissingScopes}
	}
	data, err := json.Marshal(Account{Email: who.Email, Domain: who.HD, Name: who.Name})
	if err != nil {
		return providers.Account{}, err
	}
	return providers.Account{ExternalID: who.Sub, Exclusive: a.cfg.Exclusive, Grant: g, ProviderData: data}, nil
}

// Renew implements token.Renewer. Google keeps the refresh token and leaves it out
// of the answer. A session that a Workspace administrator limited ends the grant
// with code "invalid_rapt"
// (support.google.com/a/answer/9368756, checked 2026-11).
func (a *App) Renew(ctx context.Context, r token.Renewal) (token.Grant, error) {
	form, err := providers.RefreshForm(r, tokenHost)
	if err != nil {
		return token.Grant{}, err
	}
	req := a.request(form, decode)
	var reauth bool
	req.Classify = func(t token.Answer, code string) (token.Outcome, bool) {
		reauth = code == "invalid_grant" && isReauth(t.Body)
		return classifyToken(t, code)
	}
	g, err := r.Client.Do(ctx, req)
	var refused *token.Error
	if errors.As(err, &refused) && reauth {
		refused.Code = "invalid_rapt"
	}
	return g, err
}

// request is a call of the token endpoint, which takes the client's secret in the
// form only (golang.org/x/oauth2 v0.37.0, google.Endpoint, checked 2026-11).
func (a *App) request(form url.Values, read func(token.Answer) (token.Grant, error)) token.Request {
	return token.Request{
		URL: tokenURL, Form: form, AuthStyle: oauth2.AuthStyleInParams, ClientID: a.cfg.ClientID, ClientSecret: a.secret,
		Decode: read, Classify: classifyToken,
	}
}

// decode reads a token answer.
func decode(t token.Answer) (token.Grant, error) {
	g, err := token.DecodeOAuth(t)
	if g.Scopes != nil {
		g.Scopes = normalScopes(g.Scopes)
	}
	return g, err
}

// Revoke implements providers.Revoker. It revokes the refresh token, which ends
// every grant of this user to this app: the Manager does not ask for it while
// another integration of the account is active.
func (a *App) Revoke(ctx context.Context, r providers.Revocation) error {
	secret := r.RefreshToken
	if secret.IsZero() {
		secret = r.AccessToken
	}
	if secret.IsZero() {
		return nil
	}
	_, err := r.Client.Do(ctx, token.Request{
		URL: revokeURL, Form: url.Values{"token": {secret.Reveal()}}, Decode: providers.NoGrant, Classify: classifyRevoke,
	})
	if providers.IsRefusal(err, "invalid_token") {
		return nil // gone already
	}
	return err
}

// EndSubscriptions implements providers.SubscriptionEnder: it stops channels with
// the grant's token, or with a fresh one if that has ended. What is not stopped
// ends by itself, and until then its notifications are refused: their endpoints
// are gone.
func (a *App) EndSubscriptions(ctx context.Context, r providers.Revocation) error {
	access := r.AccessToken
	var failed error
	for _, s := range r.Subscriptions {
		c, err := readChannel(s)
		if err != nil || access.IsZero() {
			continue
		}
		ans, err := api.Do(ctx, r.HTTP, stopCall(c, providers.Bearer(access)))
		if ans.Status == http.StatusUnauthorized {
			g, renewErr := a.Renew(ctx, token.Renewal{Client: r.Client, RefreshToken: r.RefreshToken})
			if renewErr != nil {
				return renewErr
			}
			access = g.AccessToken
			_, err = api.Do(ctx, r.HTTP, stopCall(c, providers.Bearer(access)))
		}
		if !errors.Is(err, providers.ErrNotFound) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
