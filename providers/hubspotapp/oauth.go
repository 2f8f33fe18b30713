package hubspotapp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
	"golang.org/x/oauth2"
)

// Endpoints (github.com/HubSpot/HubSpot-public-api-spec-collection, Auth/Oauth
// 2026-09; developers.hubspot.com, "App uninstalls"; checked 2026-11). Tokens
// that came from /oauth/v1 are good here.
const (
	tokenURL      = apiURL + "/oauth/" + APIVersion + "/token"
	introspectURL = tokenURL + "/introspect"
	revokeURL     = tokenURL + "/revoke"
	uninstallURL  = apiURL + "/appinstalls/" + appVersion + "/external-install"
)

// AuthorizeURL implements providers.Provider. HubSpot's own client writes a space
// as %20, and the parameter's name is optional_scope
// (github.com/HubSpot/hubspot-api-nodejs v14, OauthDiscovery.ts, checked 2026-11).
func (a *App) AuthorizeURL(p providers.Authorize) (string, error) {
	q := p.Query(a.cfg.ClientID)
	// An account whose plan lacks one of scope cannot install the app: what was
	// granted once, or is wished for now, is optional.
	isRequired := func(s string) bool { return slices.Contains(a.cfg.Scopes, s) }
	var required, optional []string
	for _, s := range p.Scopes {
		if isRequired(s) {
			required = append(required, s)
		} else {
			optional = append(optional, s)
		}
	}
	for _, s := range a.cfg.OptionalScopes {
		if !isRequired(s) && !slices.Contains(optional, s) {
			optional = append(optional, s)
		}
	}
	q.Set("scope", strings.Join(required, " "))
	if len(optional) > 0 {
		q.Set("optional_scope", strings.Join(optional, " "))
	}
	// A plus sign of a value is %2B by now.
	return "https://" + a.cfg.AuthorizeHost + "/oauth/authorize?" + strings.ReplaceAll(q.Encode(), "+", "%20"), nil
}

// Exchange implements providers.Provider. The answer names the account and the
// scopes granted; only one that does not is followed by an introspection. A code that HubSpot refuses is
// the token client's error with outcome token.Refused: the user has to start
// again.
func (a *App) Exchange(ctx context.Context, x providers.Exchange) (providers.Account, error) {
	form, err := x.Form()
	if err != nil {
		return providers.Account{}, err
	}
	var p Portal
	g, err := x.Client.Do(ctx, a.request(tokenURL, form, classifyExchange, func(t token.Answer) (token.Grant, error) {
		_ = json.Unmarshal(t.Body, &p) // what is missing is looked for below: the code is spent
		return grant(t)
	}))
	if err != nil {
		return providers.Account{}, err
	}
	if p.HubID <= 0 || g.Scopes == nil {
		told, err := a.introspect(ctx, x.Client, g.AccessToken)
		if err != nil {
			return providers.Account{}, err
		}
		if p.HubID <= 0 {
			p = told.Portal
		}
		if g.Scopes == nil {
			g.Scopes = told.Scopes
		}
	}
	if p.AppID == 0 {
		p.AppID = a.cfg.AppID
	}
	data, err := json.Marshal(p)
	if err != nil {
		return providers.Account{}, err
	}
	return providers.Account{
		ExternalID: strconv.FormatInt(p.HubID, 10), Exclusive: !a.cfg.Shared, Grant: g, ProviderData: data,
	}, nil
}

// introspection is what HubSpot tells of an access token.
type introspection struct {
	Portal
	Scopes []string `json:"scopes"`
}

// introspect asks whose an access token is, and what it is good for.
func (a *App) introspect(ctx context.Context, c *token.Client, access token.Secret) (introspection, error) {
	var p introspection
	form := url.Values{"token": {access.Reveal()}, "token_type_hint": {"access_token"}}
	_, err := c.Do(ctx, a.request(introspectURL, form, classifyExchange, func(t token.Answer) (token.Grant, error) {
		return token.Grant{}, json.Unmarshal(t.Body, &p)
	}))
	if err == nil && p.HubID <= 0 {
		err = errors.New("integrations/hubspotapp: the answer names no account")
	}
	return p, err
}

// Renew implements token.Renewer. HubSpot's refresh tokens do not end; one that
// comes with the answer takes the place of the old one.
func (a *App) Renew(ctx context.Context, r token.Renewal) (token.Grant, error) {
	form, err := providers.RefreshForm(r, apiHost)
	if err != nil {
		return token.Grant{}, err
	}
	return r.Client.Do(ctx, a.request(tokenURL, form, classifyRefresh, grant))
}

// RenewEarly implements token.EarlyRenewer: tokens live for 30 minutes, and are
// renewed after 75 to 80 % of that, because HubSpot asks to refresh by time and
// not when a call is refused (developers.hubspot.com, "Usage guidelines", checked
// 2026-11).
func (a *App) RenewEarly(life time.Duration) time.Duration { return life * 9 / 40 }

// Revoke implements providers.Revoker: it revokes the refresh token. Access
// tokens live on until they end, for 30 minutes at most, and the app stays
// installed unless Config.UninstallOnDisconnect is set.
func (a *App) Revoke(ctx context.Context, r providers.Revocation) error {
	var err error
	if a.cfg.UninstallOnDisconnect {
		r.RefreshToken, err = a.uninstall(ctx, r)
	}
	if r.RefreshToken.IsZero() {
		return err
	}
	form := url.Values{"token": {r.RefreshToken.Reveal()}, "token_type_hint": {"refresh_token"}}
	_, revokeErr := r.Client.Do(ctx, a.request(revokeURL, form, classifyRefresh, providers.NoGrant))
	if outcomeOf(revokeErr) == token.DeadGrant || providers.IsRefusal(revokeErr, "invalid_token") {
		revokeErr = nil // gone already
	}
	return errors.Join(err, revokeErr)
}

// uninstall removes the app from the account. It needs an access token that is
// good: one that has ended is renewed first. The refresh token that is now the
// current one is returned.
func (a *App) uninstall(ctx context.Context, r providers.Revocation) (token.Secret, error) {
	err := error(&providers.CallError{Adapter: adapter, Status: http.StatusUnauthorized, Kind: providers.ErrReconnectRequired})
	if !r.AccessToken.IsZero() {
		err = deleteInstall(ctx, r.HTTP, r.AccessToken)
	}
	var refused *providers.CallError
	if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized || r.RefreshToken.IsZero() {
		return r.RefreshToken, err
	}
	g, err := a.Renew(ctx, token.Renewal{Client: r.Client, RefreshToken: r.RefreshToken})
	if outcomeOf(err) == token.DeadGrant {
		return token.Secret{}, nil // gone already
	}
	if err != nil {
		return r.RefreshToken, err
	}
	if g.RefreshToken.IsZero() {
		g.RefreshToken = r.RefreshToken
	}
	return g.RefreshToken, deleteInstall(ctx, r.HTTP, g.AccessToken)
}

func deleteInstall(ctx context.Context, c *http.Client, access token.Secret) error {
	_, err := api.Do(ctx, c, providers.APICall{Method: http.MethodDelete, URL: uninstallURL, Header: providers.Bearer(access)})
	if errors.Is(err, providers.ErrNotFound) {
		return nil // gone already
	}
	return err
}

// request is a call of the token endpoints: a form, with the client's id and
// secret in it, and nothing in the query.
func (a *App) request(
	to string, form url.Values, classify func(token.Answer, string) (token.Outcome, bool), read func(token.Answer) (token.Grant, error),
) token.Request {
	return token.Request{
		URL: to, Form: form, AuthStyle: oauth2.AuthStyleInParams, ClientID: a.cfg.ClientID, ClientSecret: a.secret,
		Decode: read, Classify: classify,
	}
}

// grant reads a token answer. The scopes granted are an array.
func grant(t token.Answer) (token.Grant, error) {
	g, err := token.DecodeOAuth(t)
	g.TokenType = "" // "bearer"
	return g, err
}
