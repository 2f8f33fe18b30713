// Package hubspotapp connects HubSpot accounts: OAuth on HubSpot's dated
// endpoints, CRM records of every kind, and signed webhooks.
//
// The token goes to api.hubapi.com, which serves all of HubSpot's regions, and
// nowhere else. [Get], [Create], [Update], [Search] and the batch functions work
// on any type of record, [Do] makes any other call, [On] makes webhook handlers.
package hubspotapp

import (
	"net/url"
	"slices"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// What this package takes from others' code and texts, or from memory, because
// HubSpot's own pages were not found to say it (looked for in 2026-11). Rules
// that HubSpot does document carry the page at the place they are used.
//
//   - Of the token endpoint: all values of "status" but EXPIRED_AUTH_CODE, that a
//     refresh returns the refresh token unchanged, that a revocation answers 200
//     and leaves access tokens good until they end.
//   - Which twelve escapes of a URL are decoded before it is signed. Only that
//     some are is documented, and no signature over a query string was seen.
//   - What identifies an event. That eventId alone does not is documented.
//   - The members of association, merge and conversation events, and of a custom
//     workflow action.
//   - Of the API: the bodies of 401, of 403 with its requiredGranularScopes and of
//     207; that 423 means to wait two seconds and 477 that an account is moved;
//     that a daily limit ends at midnight where the account is.
//   - Of searches: the operators, filters by association, one rule of order, 3,000
//     characters, and that results lag behind writes. Of batches: that inputs with
//     an objectWriteTraceId are created one by one, and that an upsert of contacts
//     by email is written whole or not at all.

// Key is the default key, and the Kind of every connection of this adapter.
const Key = "hubspot"

// APIVersion is the version of HubSpot's API that this package calls: the paths
// are /oauth/{version}/… and /crm/objects/{version}/…. Versions come out each
// March and September and are served for 18 months; /oauth/v1 stops on 16
// February 2027 (developers.hubspot.com/changelog, "v1 OAuth API deprecation",
// checked 2026-11).
const APIVersion = "2026-09"

// appVersion is that of the account's details and of uninstalling, which were
// found described for no later one.
const appVersion = "2026-03"

// Config is a HubSpot app. ClientID, ClientSecret and Scopes are required.
type Config struct {
	// Key names this registration. Defaults to "hubspot".
	Key string
	// ClientID and ClientSecret are on the app's "Auth" page. HubSpot signs
	// webhooks with the client secret.
	ClientID, ClientSecret string
	// PreviousClientSecrets verify webhooks too, while the client secret is being
	// replaced. Secrets have at least 16 bytes.
	PreviousClientSecrets []string
	// Scopes must be all that the app's configuration at HubSpot requires, "oauth"
	// among them: HubSpot refuses the install otherwise.
	Scopes []string
	// OptionalScopes are asked for by every connect, granted where the account's plan
	// has them, and silently left out elsewhere. They are not missed: look at
	// Snapshot.Scopes or ask Connection.RequireScopes.
	OptionalScopes []string
	// RedirectURL replaces BaseURL/{key}/callback.
	RedirectURL string
	// AuthorizeHost is where users sign in. Defaults to "app.hubspot.com", which
	// leads to the user's region; "app-eu1.hubspot.com" is the European one.
	AuthorizeHost string
	// PKCE sends a code challenge. Defaults to off: HubSpot takes one and asks for
	// none.
	PKCE bool
	// AppID is the app's number. When it is set, events of another app are
	// ignored.
	AppID int64
	// PublicURL is the target URL as it is registered at HubSpot, when that is not
	// BaseURL/{key}/webhook: behind another path, or with a query string. The
	// signature covers it, so it must be the same to the letter. A target URL
	// without a query string is the safer choice.
	PublicURL string
	// AllowLegacySignatures also takes requests that carry no v3 signature but one
	// of v1 or v2. Custom workflow actions are signed with v2. Neither covers a
	// time: whoever got hold of such a request can send it again for ever. Defaults
	// to off.
	AllowLegacySignatures bool
	// SkipImports ignores events whose changeSource is IMPORT: an import sends one
	// for each record.
	SkipImports bool
	// NoWebhooks makes the app receive none, for a store without an inbox.
	NoWebhooks bool
	// UninstallOnDisconnect removes the app from the account when a tenant
	// disconnects it; HubSpot tells the account's administrators by e-mail. By
	// default only the refresh token is revoked and the app stays installed.
	UninstallOnDisconnect bool
	// Shared lets several tenants connect one account. By default it belongs to
	// the first.
	Shared bool
}

// defaultAuthorizeHost leads users to their region.
const defaultAuthorizeHost = "app.hubspot.com"

// App is HubSpot as a providers.Provider. It is immutable and safe for concurrent
// use.
type App struct {
	cfg      Config // without the secrets
	secret   token.Secret
	verifier *verifier
	fault    error // of the secrets
	limits   limits
}

var (
	_ providers.Provider         = (*App)(nil)
	_ providers.Renewer          = (*App)(nil)
	_ token.EarlyRenewer         = (*App)(nil)
	_ providers.Revoker          = (*App)(nil)
	_ providers.WebhookReceiver  = (*App)(nil)
	_ providers.AnswerClassifier = (*App)(nil)
	_ providers.BudgetKeeper     = (*App)(nil)
	_ providers.LimitReader      = (*App)(nil)
	_ webhook.Verifier           = (*verifier)(nil)
)

// New returns the app. It never fails: the Manager reports every fault of the
// configuration.
func New(cfg Config) *App {
	if cfg.Key == "" {
		cfg.Key = Key
	}
	if cfg.AuthorizeHost == "" {
		cfg.AuthorizeHost = defaultAuthorizeHost
	}
	a := &App{secret: token.NewSecret(cfg.ClientSecret)}
	if cfg.ClientSecret != "" {
		a.verifier, a.fault = newVerifier(cfg)
	}
	cfg.ClientSecret, cfg.PreviousClientSecrets = "", nil
	cfg.Scopes, cfg.OptionalScopes = slices.Clone(cfg.Scopes), slices.Clone(cfg.OptionalScopes)
	a.cfg = cfg
	a.limits = newLimits()
	return a
}

// Info implements providers.Provider. The scopes are those without which
// something is missing, so the optional ones are not among them.
func (a *App) Info() providers.Info {
	return providers.Info{
		Key: a.cfg.Key, Kind: Key, App: a.cfg.ClientID, Name: "HubSpot", Hosts: []string{apiHost}, Scopes: slices.Clone(a.cfg.Scopes),
		PKCE: a.cfg.PKCE, RedirectURL: a.cfg.RedirectURL,
		OptionalScopes: slices.Clone(a.cfg.OptionalScopes),
	}
}

// Validate implements providers.Provider.
func (a *App) Validate() error {
	f := providers.NewFaults("hubspotapp", a.cfg.Key)
	f.App(a.cfg.ClientID, a.secret, a.cfg.RedirectURL)
	if len(a.cfg.Scopes) == 0 {
		f.Add("Scopes is empty")
	}
	f.Scopes(a.cfg.Scopes)
	f.Scopes(a.cfg.OptionalScopes)
	if a.fault != nil {
		f.Add("ClientSecret and PreviousClientSecrets: %w", a.fault)
	}
	if !isAuthorizeHost(a.cfg.AuthorizeHost) {
		f.Add("AuthorizeHost must be a host below hubspot.com")
	}
	if a.cfg.AppID < 0 {
		f.Add("AppID is negative")
	}
	if a.cfg.PublicURL != "" && !isPublicURL(a.cfg.PublicURL) {
		f.Add("PublicURL is not an absolute https URL without a fragment")
	}
	return f.Err()
}

func isAuthorizeHost(host string) bool {
	h, err := providers.NewHosts("*.hubspot.com")
	return err == nil && h.Contains(host)
}

func isPublicURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && u.Fragment == ""
}

// Portal is what HubSpot told about a connected account, kept as ProviderData.
// HubSpot's older name for an account is portal. [AccountDetails] knows more.
type Portal struct {
	// HubID is the account's id, which is the integration's external id too.
	HubID int64 `json:"hub_id"`
	// UserID is the user who installed the app, 0 when HubSpot did not say.
	UserID int64 `json:"user_id,omitempty"`
	// HubDomain is the account's domain, "" when HubSpot did not say.
	HubDomain string `json:"hub_domain,omitempty"`
	// AppID is the app's number, 0 when it is not known.
	AppID int64 `json:"app_id,omitempty"`
}

// ReadPortal reads the account of a snapshot. The error wraps
// providers.ErrInvalid: the snapshot is not of this adapter.
func ReadPortal(s providers.Snapshot) (Portal, error) {
	var p Portal
	err := s.ReadData(&p)
	return p, err
}
