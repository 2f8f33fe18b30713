package githubapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
	"golang.org/x/oauth2"
)

// installationPages bounds the look through a user's installations, of which a
// page holds installationsPerPage.
const (
	installationPages    = 100
	installationsPerPage = 100
)

// Codes of a *providers.Refusal beside those of package providers.
const (
	// RefusedChoose means the user has several installations and none was named.
	RefusedChoose = "choose_installation"
	// RefusedSuspended means the installation is suspended at GitHub.
	RefusedSuspended = "installation_suspended"
)

// startsAtInstallPage reports whether a flow starts at the page where the App is
// installed. That page takes neither a redirect URL nor a PKCE challenge.
func (a *App) startsAtInstallPage(expect string) bool {
	return a.cfg.Mode == ModeInstallation && a.cfg.Slug != "" && expect == ""
}

// AuthorizeURL implements providers.Provider. A new installation starts at the
// page where the App is installed; all else at the page where a user authorizes
// it (docs.github.com, "Authorizing OAuth apps" and "Sharing your GitHub App",
// checked 2026-11).
func (a *App) AuthorizeURL(p providers.Authorize) (string, error) {
	if a.startsAtInstallPage(p.ExpectExternalID) {
		return a.site.installURL(a.cfg.Slug) + "?" + url.Values{"state": {p.State}}.Encode(), nil
	}
	q := p.Query(a.cfg.ClientID)
	if a.cfg.Mode == ModeOAuthApp {
		q.Set("scope", strings.Join(leastScopes(p.Scopes), " "))
	}
	return a.site.authorizeURL() + "?" + q.Encode(), nil
}

// Exchange implements providers.Provider. An installation is bound only if
// GitHub lists it for the user whose code came back: the installation_id of a
// callback can be anything (docs.github.com, "About the setup URL", checked
// 2026-11).
func (a *App) Exchange(ctx context.Context, x providers.Exchange) (providers.Account, error) {
	if x.Query.Get("setup_action") == "request" {
		return providers.Account{}, &providers.Refusal{Code: providers.RefusedRequested}
	}
	form, err := x.Form()
	if err != nil {
		return providers.Account{}, err
	}
	form.Del("grant_type") // GitHub has one for refreshes only
	if a.startsAtInstallPage(x.ExpectExternalID) {
		// Decided by what was sent to GitHub, not by what the browser brought back.
		form.Del("code_verifier")
	}
	user, err := x.Client.Do(ctx, a.tokenRequest(form))
	if err != nil {
		return providers.Account{}, err
	}
	if a.cfg.Mode == ModeInstallation {
		return a.bindInstallation(ctx, x, user.AccessToken)
	}
	return a.bindUser(ctx, x, user)
}

// owner is an organisation or a user in GitHub's answers.
type owner struct {
	Login string `json:"login"`
	ID    int64  `json:"id"`
	Type  string `json:"type"`
}

func (a *App) bindUser(ctx context.Context, x providers.Exchange, g token.Grant) (providers.Account, error) {
	var who owner
	if _, err := a.site.get(ctx, x.HTTP, "/user", g.AccessToken, &who); err != nil {
		return providers.Account{}, err
	}
	if who.ID <= 0 {
		return providers.Account{}, errAnswer
	}
	data, err := json.Marshal(Account{Login: who.Login, ID: who.ID, Type: who.Type, Host: a.cfg.EnterpriseHost})
	if err != nil {
		return providers.Account{}, err
	}
	if a.cfg.Mode == ModeOAuthApp {
		g.Scopes = allScopes(g.Scopes) // none is an empty text
	}
	return providers.Account{ExternalID: strconv.FormatInt(who.ID, 10), Grant: g, ProviderData: data}, nil
}

// installation is one of GET /user/installations, and of an installation event.
type installation struct {
	ID                  int64             `json:"id"`
	AppID               int64             `json:"app_id"`
	Account             owner             `json:"account"`
	Permissions         map[string]string `json:"permissions"`
	RepositorySelection string            `json:"repository_selection"`
	SuspendedAt         *time.Time        `json:"suspended_at"`
	UpdatedAt           instant           `json:"updated_at"`
}

// instant is a time that stands there in RFC 3339 or in seconds since 1970: of an
// installation both occur (docs.github.com, "Webhook events and payloads", checked
// 2026-11).
type instant struct{ time.Time }

func (i *instant) UnmarshalJSON(raw []byte) error {
	if seconds, ok := webhook.Int(raw); ok {
		i.Time = time.Unix(seconds, 0).UTC()
		return nil
	}
	return json.Unmarshal(raw, &i.Time)
}

// providerData is what is kept of an installation.
func (a *App) providerData(in installation) (json.RawMessage, error) {
	return json.Marshal(Account{
		Login: in.Account.Login, ID: in.Account.ID, Type: in.Account.Type,
		AppID: in.AppID, Permissions: in.Permissions, RepositorySelection: in.RepositorySelection,
		Suspended: in.SuspendedAt != nil, Host: a.cfg.EnterpriseHost, UpdatedAt: in.UpdatedAt.Time,
	})
}

// bindInstallation proves that the wanted installation is one of the user's and
// of this App, and mints its first token. The user's token has done its work by
// then and is not kept.
func (a *App) bindInstallation(ctx context.Context, x providers.Exchange, user token.Secret) (providers.Account, error) {
	wanted, named := x.ExpectExternalID, x.ExpectExternalID != ""
	if !named {
		wanted, named = x.Query.Get("installation_id"), x.Query.Has("installation_id")
	}
	var id int64
	if named {
		var ok bool
		if id, ok = webhook.Int([]byte(wanted)); !ok || id == 0 {
			return providers.Account{}, &providers.Refusal{Code: providers.RefusedOwnership}
		}
	}
	found, err := a.findInstallation(ctx, x.HTTP, user, id)
	if err != nil {
		return providers.Account{}, err
	}
	if found.SuspendedAt != nil {
		return providers.Account{}, &providers.Refusal{Code: RefusedSuspended}
	}
	data, err := a.providerData(found)
	if err != nil {
		return providers.Account{}, err
	}
	external := strconv.FormatInt(found.ID, 10)
	g, err := a.mint(ctx, x.Client, external)
	if err != nil {
		return providers.Account{}, err
	}
	return providers.Account{ExternalID: external, Exclusive: !a.cfg.Shared, Grant: g, ProviderData: data}, nil
}

// findInstallation looks through all of the user's installations of this App for
// the wanted one, or for the only one when wanted is 0
// (docs.github.com/rest/apps/installations, "List app installations accessible to
// the user access token", checked 2026-11).
func (a *App) findInstallation(ctx context.Context, c *http.Client, user token.Secret, wanted int64) (installation, error) {
	var ours []installation
	for page := 1; page <= installationPages; page++ {
		var answer struct {
			Installations []installation `json:"installations"`
		}
		path := "/user/installations?per_page=" + strconv.Itoa(installationsPerPage) + "&page=" + strconv.Itoa(page)
		more, err := a.site.get(ctx, c, path, user, &answer)
		if err != nil {
			return installation{}, err
		}
		for _, in := range answer.Installations {
			if in.AppID != a.cfg.AppID || in.ID <= 0 {
				continue
			}
			if in.ID == wanted {
				return in, nil
			}
			ours = append(ours, in)
		}
		if !more && len(answer.Installations) < installationsPerPage {
			break
		}
	}
	switch {
	case wanted != 0:
		return installation{}, &providers.Refusal{Code: providers.RefusedOwnership}
	case len(ours) == 0:
		return installation{}, &providers.Refusal{Code: providers.RefusedNoAccount}
	case len(ours) > 1:
		return installation{}, &providers.Refusal{Code: RefusedChoose}
	}
	return ours[0], nil
}

// Renew implements token.Renewer: an installation's token is minted with the
// App's key, a user's is refreshed, an OAuth App's cannot be renewed. Minting
// for a suspended installation fails with code "suspended", which ends nothing;
// for one that is gone with "installation_gone", which does.
func (a *App) Renew(ctx context.Context, r token.Renewal) (token.Grant, error) {
	switch {
	case a.cfg.Mode == ModeInstallation:
		return a.mint(ctx, r.Client, r.ExternalID)
	case a.cfg.Mode == ModeOAuthApp:
		r.RefreshToken = token.Secret{}
	}
	form, err := providers.RefreshForm(r, a.site.web)
	if err != nil {
		return token.Grant{}, err
	}
	return r.Client.Do(ctx, a.tokenRequest(form))
}

// RenewEarly implements token.EarlyRenewer. Refreshing a user's token ends the
// old access token at once, so it is done late (docs.github.com, "Refreshing user
// access tokens", checked 2026-11); minting disturbs nobody.
func (a *App) RenewEarly(life time.Duration) time.Duration {
	if a.cfg.Mode == ModeInstallation {
		return min(10*time.Minute, life/2)
	}
	return 2 * time.Minute
}

func (a *App) tokenRequest(form url.Values) token.Request {
	return token.Request{
		URL: a.site.tokenURL(), Form: form, AuthStyle: oauth2.AuthStyleInParams,
		ClientID: a.cfg.ClientID, ClientSecret: a.secret, Classify: classifyToken,
	}
}

// mint gets a token of an installation, which lasts an hour
// (docs.github.com/rest/apps/apps, "Create an installation access token for an
// app", checked 2026-11).
func (a *App) mint(ctx context.Context, c *token.Client, id string) (token.Grant, error) {
	header, err := a.appHeader()
	if err != nil {
		return token.Grant{}, err
	}
	var code string // what GitHub's answer is called, which has no OAuth code
	g, err := c.Do(ctx, token.Request{
		URL: a.site.apiURL() + "/app/installations/" + url.PathEscape(id) + "/access_tokens", JSON: []byte("{}"),
		Header: header, Decode: decodeMinted,
		Classify: func(ans token.Answer, _ string) (o token.Outcome, ok bool) {
			o, code = classifyMint(ans)
			return o, code != ""
		},
	})
	var refused *token.Error
	if errors.As(err, &refused) && code != "" {
		refused.Code = code
	}
	return g, err
}

// appHeader authenticates as the App itself.
func (a *App) appHeader() (http.Header, error) {
	jwt, err := a.jwt(time.Now())
	if err != nil {
		return nil, &token.Error{Outcome: token.AppFault, Code: "private_key", Host: a.site.api}
	}
	return bearerHeader(jwt), nil
}

func bearerHeader(bearer string) http.Header {
	h := providers.Bearer(token.NewSecret(bearer))
	h["Accept"], h["X-Github-Api-Version"] = []string{mediaType}, []string{apiVersion}
	return h
}

func decodeMinted(t token.Answer) (token.Grant, error) {
	var ans struct {
		Token       string            `json:"token"`
		ExpiresAt   time.Time         `json:"expires_at"`
		Permissions map[string]string `json:"permissions"`
	}
	if json.Unmarshal(t.Body, &ans) != nil || ans.Token == "" {
		return token.Grant{}, errAnswer
	}
	// The life by GitHub's own clock, whatever this machine's says.
	now := time.Now()
	if d, err := http.ParseTime(t.Header.Get("Date")); err == nil {
		now = d
	}
	g := token.Grant{AccessToken: token.NewSecret(ans.Token), Scopes: permissionScopes(ans.Permissions)}
	if !ans.ExpiresAt.IsZero() {
		g.ExpiresIn = max(ans.ExpiresAt.Sub(now), time.Second)
	}
	return g, nil
}

// Revoke implements providers.Revoker. A user's or an installation's token is
// revoked (docs.github.com/rest/apps/oauth-applications, "Delete an app token",
// and /rest/apps/installations, "Revoke an installation access token", checked
// 2026-11); the installation itself is removed with Config.UninstallOnDisconnect
// only.
func (a *App) Revoke(ctx context.Context, r providers.Revocation) error {
	req := token.Request{Method: http.MethodDelete, Decode: providers.NoGrant, Classify: classifyRevoke}
	gone := []int{http.StatusNotFound}
	switch {
	case a.cfg.Mode == ModeInstallation && a.cfg.UninstallOnDisconnect:
		header, err := a.appHeader()
		if err != nil {
			return err
		}
		req.URL, req.Header = a.site.apiURL()+"/app/installations/"+url.PathEscape(r.ExternalID), header
	case r.AccessToken.IsZero():
		return nil
	case a.cfg.Mode == ModeInstallation:
		req.URL, req.Header = a.site.apiURL()+"/installation/token", bearerHeader(r.AccessToken.Reveal())
		gone = append(gone, http.StatusUnauthorized) // the token authenticates the call
	default:
		body, err := json.Marshal(map[string]string{"access_token": r.AccessToken.Reveal()})
		if err != nil {
			return err
		}
		req.URL = a.site.apiURL() + "/applications/" + url.PathEscape(a.cfg.ClientID) + "/token"
		req.JSON, req.AuthStyle, req.ClientID, req.ClientSecret = body, oauth2.AuthStyleInHeader, a.cfg.ClientID, a.secret
		gone = append(gone, http.StatusUnprocessableEntity)
	}
	_, err := r.Client.Do(ctx, req)
	var e *token.Error
	if errors.As(err, &e) && slices.Contains(gone, e.Status) {
		return nil
	}
	return err
}

// Verify implements providers.Verifier by GET /user. It is asked of users' tokens
// that do not end: those of OAuth Apps, and of Apps that opted out of expiry. 401 is
// GitHub's answer to a token that is none any more
// (docs.github.com/rest/authentication/authenticating-to-the-rest-api, "Failed login
// limit", checked 2026-11).
func (a *App) Verify(ctx context.Context, conn *providers.Connection) error {
	ans, err := api.Do(ctx, conn.ClientFor(Key), providers.APICall{URL: a.site.apiURL() + "/user", MaxBody: maxAnswer})
	if ans.Status == http.StatusUnauthorized {
		return fmt.Errorf("%w: %w", providers.ErrReconnectRequired, err)
	}
	return err
}

// SharesGrant implements providers.GrantSharer: a revocation ends one token, and
// every connect makes one of its own. Removing an installation ends all of it.
func (a *App) SharesGrant(_, other providers.Snapshot) bool {
	if a.cfg.Mode != ModeInstallation || !a.cfg.UninstallOnDisconnect {
		return false
	}
	acc, err := ReadAccount(other)
	return err != nil || acc.AppID != 0 // of an installation
}

// Land implements providers.Lander: who installs or changes the App at GitHub
// comes back without a state.
func (a *App) Land(q url.Values) (providers.Landing, bool) {
	switch q.Get("setup_action") {
	case "install":
		return providers.Landing{OfferConnect: true}, true
	case "update":
		return providers.Landing{Result: "updated"}, true
	case "request":
		return providers.Landing{Result: providers.RefusedRequested}, true
	}
	return providers.Landing{}, false
}
