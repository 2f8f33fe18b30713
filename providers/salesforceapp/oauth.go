package salesforceapp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
	"golang.org/x/oauth2"
)

// Paths of OAuth at every site (help.salesforce.com, "OAuth Endpoints", checked
// 2026-11).
const (
	authorizePath = "/services/oauth2/authorize"
	tokenPath     = "/services/oauth2/token"
	revokePath    = "/services/oauth2/revoke"
)

// scopeRefresh and scopeOffline are two spellings of one scope (help.salesforce.com,
// "OAuth Tokens and Scopes", checked 2026-11). Only the first is kept.
const (
	scopeRefresh = "refresh_token"
	scopeOffline = "offline_access"

	scopeAPI  = "api"
	scopeFull = "full" // all but scopeRefresh
)

// AuthorizeURL implements providers.Provider. Authorize.Site is a place as in
// Config.Site, "" for that of the Config; any other is an error wrapping
// providers.ErrInvalid.
func (a *App) AuthorizeURL(p providers.Authorize) (string, error) {
	host, err := a.hostOf(p.Site)
	if err != nil {
		return "", err
	}
	q := p.Query(a.cfg.ClientID)
	q.Set("response_type", "code")
	q.Set("scope", strings.Join(p.Scopes, " "))
	if a.cfg.Prompt != "" {
		q.Set("prompt", a.cfg.Prompt)
	}
	return "https://" + host + authorizePath + "?" + q.Encode(), nil
}

func (a *App) hostOf(site string) (string, error) {
	if site == "" {
		site = a.cfg.Site
	}
	return authHost(site)
}

// SiteOf implements providers.SiteReader: a reconnect starts where the grant came
// from.
func (a *App) SiteOf(s providers.Snapshot) string {
	o, err := ReadOrg(s)
	if err != nil {
		return ""
	}
	return o.AuthHost
}

// Exchange implements providers.Provider. The answer is signed with the client
// secret: one whose signature is missing or wrong, or whose identity URL is not
// of a Salesforce org and user, is a *providers.Refusal with RefusedOwnership. A
// code that Salesforce refuses is the token client's error.
func (a *App) Exchange(ctx context.Context, x providers.Exchange) (providers.Account, error) {
	form, err := x.Form()
	if err != nil {
		return providers.Account{}, err
	}
	host, err := a.hostOf(x.Site)
	if err != nil {
		return providers.Account{}, err
	}
	var body []byte
	g, err := x.Client.Do(ctx, a.request(host, form, func(t token.Answer) (token.Grant, error) {
		body = t.Body
		return a.read(t)
	}))
	if err != nil {
		return providers.Account{}, err
	}
	return a.account(host, body, g)
}

// Renew implements token.Renewer, at the host that issued the grant. With
// rotation a used refresh token that is presented again ends the whole grant, and
// there is no grace (help.salesforce.com article 005316711, checked 2026-11).
func (a *App) Renew(ctx context.Context, r token.Renewal) (token.Grant, error) {
	host, old, err := a.grantedAt(r.ProviderData)
	if err != nil {
		return token.Grant{}, err
	}
	form, err := providers.RefreshForm(r, host)
	if err != nil {
		return token.Grant{}, err
	}
	next := old
	g, err := r.Client.Do(ctx, a.request(host, form, func(t token.Answer) (token.Grant, error) {
		var ans answer
		if json.Unmarshal(t.Body, &ans) == nil {
			// A bad one is ignored: the tokens that come with it may have been rotated.
			if instance, ok := instanceHost(ans.InstanceURL); ok {
				next.InstanceURL = "https://" + instance
			}
		}
		return a.read(t)
	}))
	if err != nil {
		return token.Grant{}, err
	}
	if g.RefreshToken.IsZero() {
		// Kept, and its time of inactivity begins again.
		g.RefreshToken, g.RefreshExpiresIn = r.RefreshToken, a.idleLimit()
	}
	if next.APIVersion = a.cfg.APIVersion; next != old {
		g.ProviderData = next.json()
	}
	return g, nil
}

// grantedAt reads where a grant is renewed and revoked from an adapter's data. An
// imported integration may have none and is of the configured site.
func (a *App) grantedAt(data json.RawMessage) (string, Org, error) {
	o, err := ReadOrg(providers.Snapshot{ProviderData: data})
	if err != nil {
		return "", o, &token.Error{Outcome: token.Refused, Code: "bad_provider_data"}
	}
	if o.AuthHost != "" {
		return strings.ToLower(o.AuthHost), o, nil
	}
	host, err := authHost(a.cfg.Site)
	return host, o, err
}

// Revoke implements providers.Revoker (help.salesforce.com, "Revoke OAuth Tokens",
// checked 2026-11). Revoking a refresh token ends its access tokens too.
func (a *App) Revoke(ctx context.Context, r providers.Revocation) error {
	t := r.RefreshToken
	if t.IsZero() {
		t = r.AccessToken
	}
	if t.IsZero() {
		return nil
	}
	host, _, err := a.grantedAt(r.ProviderData)
	if err != nil {
		return err
	}
	_, err = r.Client.Do(ctx, token.Request{
		URL: "https://" + host + revokePath, Form: url.Values{"token": {t.Reveal()}},
		Decode: providers.NoGrant, Classify: classifyToken,
	})
	if providers.IsRefusal(err, "invalid_token") {
		return nil // gone already
	}
	return err
}

// Verify implements providers.Verifier by a call of "limits". It is asked of grants
// that no policy ends: others are renewed. An access token that has ended is renewed
// by it, and a refusal of that ends the grant.
func (a *App) Verify(ctx context.Context, conn *providers.Connection) error {
	_, err := Limits(ctx, conn)
	return err
}

// SharesGrant implements providers.GrantSharer: every approval makes a grant of its
// own. A user has five of one app at most, and the sixth ends the oldest, so one
// that was replaced is revoked although the org is in use.
func (a *App) SharesGrant(providers.Snapshot, providers.Snapshot) bool { return false }

func (a *App) request(host string, form url.Values, read func(token.Answer) (token.Grant, error)) token.Request {
	return token.Request{
		URL: "https://" + host + tokenPath, Form: form, AuthStyle: oauth2.AuthStyleInParams,
		ClientID: a.cfg.ClientID, ClientSecret: a.secret, Decode: read, Classify: classifyToken,
	}
}

// answer is what a token answer has besides RFC 6749 (help.salesforce.com, "OAuth
// 2.0 Web Server Flow for Web App Integration", checked 2026-11). It has no
// expires_in.
type answer struct {
	InstanceURL string `json:"instance_url"`
	ID          string `json:"id"`
	IssuedAt    string `json:"issued_at"`
	Signature   string `json:"signature"`
}

var errAnswer = errors.New("integrations/salesforceapp: answer is not Salesforce's JSON")

// read reads the tokens of an answer. Nothing but a missing one is a fault: the
// refresh token may have been rotated by this answer.
func (a *App) read(t token.Answer) (token.Grant, error) {
	if !isObject(t.Body) {
		return token.Grant{}, errAnswer
	}
	g, err := token.DecodeOAuth(t)
	if err != nil {
		return token.Grant{}, err
	}
	if g.Scopes != nil {
		g.Scopes = oneSpelling(g.Scopes)
	}
	if !g.RefreshToken.IsZero() && g.RefreshExpiresIn == 0 {
		g.RefreshExpiresIn = a.idleLimit()
	}
	return g, nil
}

func isObject(body []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) }

// idleLimit is 0 for a refresh token that does not end.
func (a *App) idleLimit() time.Duration { return max(a.cfg.IdleLimit, 0) }

// oneSpelling returns scopes with refresh_token for its synonym.
func oneSpelling(scopes []string) []string {
	out := make([]string, 0, len(scopes))
	for _, s := range scopes {
		if s == scopeOffline {
			s = scopeRefresh
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// account reads whose token an answer holds.
func (a *App) account(host string, body []byte, g token.Grant) (providers.Account, error) {
	var ans answer
	if json.Unmarshal(body, &ans) != nil {
		return providers.Account{}, errAnswer
	}
	if !signedBy(a.secret, ans) {
		return providers.Account{}, &providers.Refusal{Code: providers.RefusedOwnership}
	}
	o := Org{AuthHost: host, APIVersion: a.cfg.APIVersion}
	var ok bool
	if o.ID, o.UserID, ok = readIdentity(ans.ID); !ok {
		return providers.Account{}, &providers.Refusal{Code: providers.RefusedOwnership}
	}
	instance, ok := instanceHost(ans.InstanceURL)
	if !ok {
		return providers.Account{}, errors.New("integrations/salesforceapp: instance_url is not of Salesforce")
	}
	o.InstanceURL = "https://" + instance
	return providers.Account{ExternalID: o.ID, Exclusive: !a.cfg.Shared, Grant: g, ProviderData: o.json()}, nil
}
