package jiraapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
	"golang.org/x/oauth2"
)

// Endpoints of OAuth 2.0 (3LO) (developer.atlassian.com/cloud/jira/platform,
// "OAuth 2.0 (3LO) apps", checked 2026-11).
const (
	authHost = "auth.atlassian.com"
	authURL  = "https://" + authHost + "/authorize"
	tokenURL = "https://" + authHost + "/oauth/token"
	sitesURL = "https://" + apiHost + "/oauth/token/accessible-resources"
)

// Lives of a refresh token: unused, and of the grant as a whole however often it
// is used (community.developer.atlassian.com/t/60806, an answer of Atlassian's
// staff, checked 2026-11).
const (
	idleLife  = 90 * 24 * time.Hour
	grantLife = 365 * 24 * time.Hour
)

// maxName bounds the names users get to see.
const maxName = 100

// AuthorizeURL implements providers.Provider. Consent is always asked for: it is
// where the user picks the site.
func (a *App) AuthorizeURL(p providers.Authorize) (string, error) {
	scopes := slices.Clone(p.Scopes)
	if !slices.Contains(scopes, offlineAccess) {
		scopes = append(scopes, offlineAccess)
	}
	q := p.Query(a.cfg.ClientID)
	q.Set("audience", apiHost)
	q.Set("prompt", "consent")
	q.Set("response_type", "code")
	q.Set("scope", strings.Join(scopes, " "))
	return authURL + "?" + q.Encode(), nil
}

// Exchange implements providers.Provider. Every site of the grant that Jira is
// on is a choice, sites the user granted before among them: none is taken
// without being asked for. Without any the error is a *providers.Refusal.
func (a *App) Exchange(ctx context.Context, x providers.Exchange) (providers.Account, error) {
	form, err := x.Form()
	if err != nil {
		return providers.Account{}, err
	}
	g, err := x.Client.Do(ctx, a.request(form))
	if err != nil {
		return providers.Account{}, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	g.RefreshExpiresIn = refreshLife(now, now)
	choices, err := a.choices(ctx, x.HTTP, g.AccessToken, now)
	if err != nil {
		return providers.Account{}, err
	}
	return providers.Account{Grant: g, Choices: choices}, nil
}

// choices asks which sites a token is good for
// (developer.atlassian.com/cloud/jira/platform, "OAuth 2.0 (3LO) apps", checked
// 2026-11).
func (a *App) choices(ctx context.Context, c *http.Client, access token.Secret, granted time.Time) ([]providers.Choice, error) {
	var sites []struct {
		ID     string   `json:"id"`
		Name   string   `json:"name"`
		URL    string   `json:"url"`
		Scopes []string `json:"scopes"`
	}
	if _, err := api.Do(ctx, c, providers.APICall{URL: sitesURL, Header: providers.Bearer(access), Out: &sites}); err != nil {
		return nil, err
	}
	var out []providers.Choice
	for _, s := range sites {
		host := siteHost(s.URL)
		if !isCloudID(s.ID) || !slices.ContainsFunc(s.Scopes, isJiraScope) {
			continue // of Confluence, or nothing that could be called
		}
		if slices.ContainsFunc(out, func(c providers.Choice) bool { return c.ExternalID == s.ID }) {
			continue // listed once for each product
		}
		data, err := json.Marshal(Site{CloudID: s.ID, URL: s.URL, Name: s.Name, GrantedAt: granted})
		if err != nil {
			return nil, err
		}
		out = append(out, providers.Choice{
			ExternalID: s.ID, Alias: host, Name: siteName(s.Name, host, s.ID), Exclusive: !a.cfg.Shared, ProviderData: data,
		})
	}
	if out == nil {
		return nil, &providers.Refusal{Code: providers.RefusedNoAccount}
	}
	return out, nil
}

// siteName is what a user tells sites apart by: the host when it fits, because
// several sites may have one name.
func siteName(name, host, id string) string {
	for _, text := range []string{name + " (" + host + ")", host, name} {
		if host != "" && len(text) <= maxName {
			return text
		}
	}
	return strings.ToValidUTF8(id, "")
}

// siteHost is the host name of a site's address in lower case, "" for an address
// that is not plain.
func siteHost(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" {
		return ""
	}
	host := strings.ToLower(u.Host)
	if hosts, err := providers.NewHosts(host); err != nil || !hosts.Contains(host) || host == apiHost {
		return ""
	}
	return host
}

// isCloudID reports whether a text is a UUID in lower case, which cloud ids are.
func isCloudID(id string) bool {
	if len(id) != 36 {
		return false
	}
	for i := range len(id) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		c := id[i]
		if dash != (c == '-') || !dash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Renew implements token.Renewer. Each refresh replaces the refresh token; the
// old one is accepted for ten minutes more, so that an answer that was lost ends
// nothing (developer.atlassian.com/cloud/oauth, "Rotating refresh tokens",
// checked 2026-11).
func (a *App) Renew(ctx context.Context, r token.Renewal) (token.Grant, error) {
	form, err := providers.RefreshForm(r, authHost)
	if err != nil {
		return token.Grant{}, err
	}
	g, err := r.Client.Do(ctx, a.request(form))
	if err != nil {
		return token.Grant{}, err
	}
	// Data that cannot be read has no date: the grant is taken for a fresh one.
	site, _ := ReadSite(providers.Snapshot{ProviderData: r.ProviderData})
	g.RefreshExpiresIn = refreshLife(site.GrantedAt, time.Now())
	return g, nil
}

// refreshLife is how long a refresh token that was given now lasts: 90 days
// without use, and a year from the user's consent at most.
func refreshLife(granted, now time.Time) time.Duration {
	left := granted.Add(grantLife).Sub(now)
	if granted.IsZero() || left <= 0 {
		return idleLife // imported, or Atlassian renewed it in spite of the year
	}
	return min(idleLife, left)
}

// request is a token call.
func (a *App) request(form url.Values) token.Request {
	return token.Request{
		URL: tokenURL, Form: form, AuthStyle: oauth2.AuthStyleInParams, ClientID: a.cfg.ClientID, ClientSecret: a.secret,
		Classify: classifyToken,
	}
}

// Revoke implements providers.Revoker and says that nothing was revoked: the error
// wraps errors.ErrUnsupported, which the Manager does not report as a failure.
// Atlassian documents no call that revokes a grant (looked for in 2026-11). Tokens
// that were forgotten here end by themselves, within an hour and 90 days, or when
// the user removes the app at id.atlassian.com under "Connected apps".
func (a *App) Revoke(context.Context, providers.Revocation) error { return errNoRevocation }

var errNoRevocation = fmt.Errorf("integrations/jiraapp: Atlassian has no call that revokes a grant: %w", errors.ErrUnsupported)

// EndSubscriptions implements providers.SubscriptionEnder: it deletes the dynamic
// webhooks of an integration that is over, of which nobody would hear any more and
// which would count among the user's five for up to 30 days. A token that has ended
// is renewed once; nobody else will.
func (a *App) EndSubscriptions(ctx context.Context, r providers.Revocation) error {
	if len(r.Subscriptions) == 0 {
		return nil
	}
	if !isCloudID(r.ExternalID) {
		return fmt.Errorf("%w: the integration's external id is no cloud id", providers.ErrInvalid)
	}
	ids, err := webhookIDs(r.Subscriptions)
	if err != nil {
		return err
	}
	drop := func(access token.Secret) error {
		_, err := api.Do(ctx, r.HTTP, providers.APICall{
			Method: http.MethodDelete, URL: siteURL(r.ExternalID) + webhookPath, Header: providers.Bearer(access), In: webhookList{ids},
		})
		return err
	}
	if !r.AccessToken.IsZero() {
		err = drop(r.AccessToken)
		if ended := isStatus(err, http.StatusUnauthorized) && !errors.Is(err, providers.ErrForbidden); !ended {
			return gone(err)
		}
	}
	g, err := a.Renew(ctx, token.Renewal{Client: r.Client, RefreshToken: r.RefreshToken})
	var refused *token.Error
	if errors.As(err, &refused) && refused.Outcome == token.DeadGrant {
		return nil // nobody can, and they end by themselves
	}
	if err != nil {
		return err
	}
	return gone(drop(g.AccessToken))
}

// gone is err unless it says that there is nothing to delete.
func gone(err error) error {
	if errors.Is(err, providers.ErrNotFound) {
		return nil
	}
	return err
}

func isStatus(err error, statuses ...int) bool {
	var e *providers.CallError
	return errors.As(err, &e) && slices.Contains(statuses, e.Status)
}
