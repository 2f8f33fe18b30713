// Package githubapp connects GitHub: installations of a GitHub App with minted
// tokens, users of a GitHub App, and users of a classic OAuth App, with
// go-github clients and signed webhooks.
//
// One registration works in one [Mode]:
//
//   - [ModeInstallation] is for what an organisation gives to your service: its
//     repositories, its webhooks. Nobody has to stay employed for it to go on.
//   - [ModeUser] is for what a person does through your service: calls are that
//     person's, within what both the person and the App may do.
//   - [ModeOAuthApp] is for OAuth Apps that exist already. Scopes are coarse,
//     tokens do not end, and nobody tells when one is revoked.
//
// For several register several providers, each under a Key of its own. A GitHub
// App has one webhook URL: give it to the key in ModeInstallation.
//
// What is said about GitHub was read in docs.github.com and github.com/github/docs
// in November 2026 where a comment names the page. From memory, and not
// confirmed by a document, are: the paths of an App and the host for uploads on
// SUBDOMAIN.ghe.com; 401 and 422 as answers to minting; 404 and 422 for a commit
// that does not exist; that pull requests are listed by page numbers at any size.
// [Sync] relies on answers that others have reported: 409 for the commits of an
// empty repository (github/rest-api-description#385), 410 for issues that are
// turned off (ossf/allstar#64), 404 "No common ancestor" (caarlos0/fork-cleaner#31),
// and lists of issues that take no page numbers (google/go-github#3565).
package githubapp

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// Key is the default key, and the Kind of every connection of this adapter.
const Key = "github"

// Mode is what a tenant connects.
type Mode int

const (
	// ModeInstallation connects an installation of a GitHub App on an
	// organisation or a user. Calls are the App's own. An installation belongs to
	// one tenant unless Config.Shared is set. This is the default.
	ModeInstallation Mode = iota
	// ModeUser connects a person through a GitHub App. Calls are that person's,
	// within the App's permissions. Several tenants may connect one person.
	ModeUser
	// ModeOAuthApp connects a person through a classic OAuth App with scopes.
	// Several tenants may connect one person.
	ModeOAuthApp
)

// Config is a GitHub App or OAuth App. ClientID and ClientSecret are required;
// ModeInstallation needs AppID and PrivateKeyPEM too.
type Config struct {
	// Key names this registration. Defaults to "github".
	Key string
	// Mode is what a tenant connects. Defaults to ModeInstallation.
	Mode Mode
	// AppID is the App's number.
	AppID int64
	// Slug is the App's name in its URL, github.com/apps/SLUG. With it a new
	// connection starts at the page where the App is installed; this library's
	// callback must then be the first of the App's callback URLs. Without it the
	// user is only asked to authorize, and must have exactly one installation.
	Slug string
	// PrivateKeyPEM is the App's private key, RSA of at least 2048 bits in
	// PKCS #1, as GitHub makes it, or PKCS #8.
	PrivateKeyPEM string
	// ClientID and ClientSecret are on the App's settings page. In
	// ModeInstallation "Request user authorization (OAuth) during installation"
	// must be on: without the user's code nobody proves that an installation is
	// theirs.
	ClientID, ClientSecret string
	// WebhookSecrets verify webhooks, each of at least 16 bytes; several while one
	// is being replaced. Without any the app receives none.
	WebhookSecrets []string
	// Scopes are those to ask for, of an OAuth App. In ModeInstallation they are the
	// permissions that the App needs, as "issues:write": the App's settings at GitHub
	// ask for them, and an installation that has not accepted one is shown as
	// missing it.
	Scopes []string
	// OptionalScopes of an OAuth App are asked for by an upgrade only, and not
	// missed.
	OptionalScopes []string
	// RedirectURL replaces BaseURL/{key}/callback.
	RedirectURL string
	// EnterpriseHost is where the App is registered when that is not github.com:
	// the host name of an Enterprise Server, on port 443, or SUBDOMAIN.ghe.com.
	// Clients come from [App.Client] then.
	EnterpriseHost string
	// UninstallOnDisconnect removes the installation from GitHub when a tenant
	// disconnects it. By default only the token is revoked and the App stays
	// installed.
	UninstallOnDisconnect bool
	// NoRecovery does not ask GitHub to send again what it could not deliver. By
	// default the Manager's Run does, in ModeInstallation with webhook secrets; see
	// [App.RedeliverMissed].
	NoRecovery bool
	// Shared lets several tenants connect one installation. By default it belongs
	// to the first. Users are always shared.
	Shared bool
	// Reserve is how many requests of an account's hour are left to others: when only
	// so many remain, calls wait for the next hour or get a *ratelimit.Error.
	// Defaults to 100; negative leaves none.
	Reserve int
	// PortableETags lets what the Manager's ResponseCache keeps outlive the hourly
	// change of an installation's token. GitHub's ETags belong to a token, so without it
	// every answer is asked for in full after the change. How GitHub makes them is not
	// documented: each is checked against the formula before it is relied on, and where
	// GitHub does not agree the answer comes in full, as without it. Without a
	// ResponseCache it does nothing.
	PortableETags bool
}

// App is GitHub as a providers.Provider. It is immutable and safe for concurrent
// use.
type App struct {
	cfg     Config // without the secrets
	site    site
	secret  token.Secret
	key     *privateKey
	keyErr  error         // why there is no key
	hmac    *webhook.HMAC // nil without secrets
	hmacErr error         // why there is none in spite of secrets
	limits  limits
}

var (
	_ providers.Provider         = (*App)(nil)
	_ providers.Renewer          = (*App)(nil)
	_ token.EarlyRenewer         = (*App)(nil)
	_ providers.Revoker          = (*App)(nil)
	_ providers.Verifier         = (*App)(nil)
	_ providers.GrantSharer      = (*App)(nil)
	_ providers.WebhookReceiver  = (*App)(nil)
	_ providers.LifecycleReader  = (*App)(nil)
	_ providers.AnswerClassifier = (*App)(nil)
	_ providers.BudgetKeeper     = (*App)(nil)
	_ providers.Lander           = (*App)(nil)
	_ providers.Redeliverer      = (*App)(nil)
	_ providers.PermissionsPage  = (*App)(nil)
)

// New returns the app. It never fails: the Manager reports every fault of the
// configuration.
func New(cfg Config) *App {
	if cfg.Key == "" {
		cfg.Key = Key
	}
	a := &App{site: siteOf(cfg.EnterpriseHost), secret: token.NewSecret(cfg.ClientSecret)}
	a.key, a.keyErr = parsePrivateKey(cfg.PrivateKeyPEM)
	if len(cfg.WebhookSecrets) > 0 {
		a.hmac, a.hmacErr = newVerifier(cfg.WebhookSecrets)
	}
	a.limits = newLimits(max(0, cmp.Or(cfg.Reserve, defaultReserve)))
	cfg.ClientSecret, cfg.PrivateKeyPEM, cfg.WebhookSecrets = "", "", nil
	a.cfg = cfg
	return a
}

// Info implements providers.Provider.
func (a *App) Info() providers.Info {
	i := providers.Info{
		Key: a.cfg.Key, Kind: Key, App: a.cfg.ClientID, Name: "GitHub", Hosts: a.site.hosts(), PKCE: true, RedirectURL: a.cfg.RedirectURL,
	}
	i.Scopes, i.OptionalScopes = slices.Clone(a.cfg.Scopes), slices.Clone(a.cfg.OptionalScopes)
	return i
}

// Validate implements providers.Provider. It names every fault of the Config
// given to New.
func (a *App) Validate() error {
	f := providers.NewFaults("githubapp", a.cfg.Key)
	f.App(a.cfg.ClientID, a.secret, a.cfg.RedirectURL)
	f.Scopes(a.cfg.Scopes)
	f.Scopes(a.cfg.OptionalScopes)
	if a.hmacErr != nil {
		f.Add("WebhookSecrets: %w", a.hmacErr)
	}
	if !isEnterpriseHost(a.cfg.EnterpriseHost) {
		f.Add("EnterpriseHost must be a plain host name or SUBDOMAIN.ghe.com, and empty for github.com")
	}
	switch a.cfg.Mode {
	case ModeInstallation:
		if a.cfg.AppID <= 0 {
			f.Add("AppID is missing")
		}
		if a.keyErr != nil {
			f.Add("PrivateKeyPEM %w", a.keyErr)
		}
		if strings.ContainsAny(a.cfg.Slug, "/:. ") {
			f.Add("Slug is the App's name in its URL, not the URL")
		}
	case ModeUser, ModeOAuthApp:
	default:
		f.Add("Mode is unknown")
	}
	if a.cfg.Mode == ModeUser && len(a.cfg.Scopes) > 0 || a.cfg.Mode != ModeOAuthApp && len(a.cfg.OptionalScopes) > 0 {
		f.Add("Scopes of users, and OptionalScopes, are of an OAuth App only: a GitHub App has permissions")
	}
	for _, s := range a.cfg.Scopes {
		if a.cfg.Mode == ModeInstallation && !permissionForm.MatchString(s) {
			f.Add("scope %q: a GitHub App's permission looks like %q", s, "issues:write")
		}
	}
	return f.Err()
}

// Account is what GitHub told about a connected account, kept as ProviderData.
type Account struct {
	// Login, ID and Type ("Organization" or "User") are of the account the App is
	// installed on, or of the user.
	Login string `json:"login,omitempty"`
	ID    int64  `json:"id,omitempty"`
	Type  string `json:"type,omitempty"`
	// AppID, Permissions, RepositorySelection ("all" or "selected") and Suspended
	// are of an installation. Its own id is the integration's external id.
	AppID               int64             `json:"app_id,omitempty"`
	Permissions         map[string]string `json:"permissions,omitempty"`
	RepositorySelection string            `json:"repository_selection,omitempty"`
	Suspended           bool              `json:"suspended,omitempty"`
	// UpdatedAt is when the installation was like this, by GitHub's clock.
	UpdatedAt time.Time `json:"updated_at,omitzero"`
	// Host is Config.EnterpriseHost, "" on github.com.
	Host string `json:"host,omitempty"`
}

// ReadAccount reads the account of a snapshot. The error wraps
// providers.ErrInvalid.
func ReadAccount(s providers.Snapshot) (Account, error) {
	var a Account
	err := s.ReadData(&a)
	return a, err
}
