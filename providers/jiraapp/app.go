// Package jiraapp connects Jira Cloud sites through OAuth 2.0 (3LO): issues,
// comments, transitions, searches, and webhooks that are registered by this
// library or by an administrator of the site.
//
// A connection is one site: what a user's consent is good for is asked of
// Atlassian, and with several sites the user picks one. The token goes to
// api.atlassian.com only. [Client] gives go-jira, [CreateIssue] and its
// neighbours are the operations, [Search] and [Projects] iterate, [Classify]
// sorts errors, [RegisterWebhooks] subscribes and [On] makes webhook handlers.
//
// Jira Data Center is another service and is not supported.
package jiraapp

import (
	"slices"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// What this package takes from memory or from others' code, because Atlassian's
// own pages were not found to say it (looked for in 2026-11). Rules that
// Atlassian does document carry the page at the place they are used.
//
//   - The claims of the JWT on dynamic webhooks. Production code of others
//     requires iat and exp, and so does this; that a JWT lasts no more than a day
//     is an assumption of this package.
//   - That "unauthorized_client" with "refresh_token is invalid" is said of a dead
//     grant, that token calls take forms as well as JSON, and that 3LO takes PKCE.
//   - That a site that is gone is a 404 of the gateway, and "Unauthorized; scope
//     does not match" the 401 of a missing scope.
//   - That webhooks are never about a site under another name than the one of
//     accessible-resources or the API's.
//   - The limits of webhooks beside their number, the points of calls, and that
//     some 503 are rate limits.
//   - The escapes of JQL strings; that a JQL string may hold them all.
//   - How Jira reads HTML entities in wiki markup.

// Key is the default key, and the Kind of every connection of this adapter.
const Key = "jira"

// offlineAccess is the scope without which there is no refresh token.
const offlineAccess = "offline_access"

// Config is an OAuth 2.0 (3LO) app of developer.atlassian.com. ClientID,
// ClientSecret and Scopes are required.
type Config struct {
	// Key names this registration. Defaults to "jira".
	Key string
	// ClientID and ClientSecret are on the app's "Settings" page. Atlassian signs
	// dynamic webhooks with the client secret.
	ClientID, ClientSecret string
	// PreviousClientSecrets still verify webhooks while the client secret is being
	// replaced. Token calls use ClientSecret alone.
	PreviousClientSecrets []string
	// Scopes are those to ask for, for example read:jira-work, write:jira-work and
	// read:jira-user; dynamic webhooks need manage:jira-webhook and read:jira-work.
	// offline_access is added.
	Scopes []string
	// OptionalScopes are asked for by an upgrade only, and not missed.
	OptionalScopes []string
	// RedirectURL replaces BaseURL/{key}/callback.
	RedirectURL string
	// PKCE sends a code challenge. Atlassian does not document it for 3LO.
	// Defaults to off.
	PKCE bool
	// Webhooks are the dynamic webhooks that every connection is to have, at most
	// five, each with a Name of its own. The Manager's Run registers them after a
	// connect, within a minute or two, renews them, registers again what Jira has
	// lost, and deletes what is not in this list any more; it compares every few
	// hours. They need the scopes manage:jira-webhook and read:jira-work and a store
	// that keeps subscriptions. For webhooks that differ between tenants see
	// [RegisterWebhooks].
	Webhooks []Webhook
	// NoRecovery does not ask Jira for webhooks it could not deliver. Defaults to
	// off.
	NoRecovery bool
	// NoWebhooks receives no webhooks, for stores that have no inbox. Defaults to
	// off.
	NoWebhooks bool
	// Shared lets several tenants connect one site. By default it belongs to the
	// first.
	Shared bool
	// HourlyPoints is how many points of Jira's API the app may spend in an hour.
	// Defaults to 65,000, which all sites share. PointsBySite says that Atlassian has
	// given the app an allowance for each site, which HourlyPoints is then.
	HourlyPoints int
	PointsBySite bool
}

// App is Jira as a providers.Provider. It is immutable and safe for concurrent
// use.
type App struct {
	cfg      Config // without the secrets
	secret   token.Secret
	verifier webhook.Verifier
	fault    error // of the secrets
	limits   limits
}

var (
	_ providers.Provider            = (*App)(nil)
	_ providers.Renewer             = (*App)(nil)
	_ providers.Revoker             = (*App)(nil)
	_ providers.WebhookReceiver     = (*App)(nil)
	_ providers.AnswerClassifier    = (*App)(nil)
	_ providers.BudgetKeeper        = (*App)(nil)
	_ providers.LimitReader         = (*App)(nil)
	_ providers.SubscriptionRenewer = (*App)(nil)
	_ providers.SubscriptionEnder   = (*App)(nil)
	_ providers.SubscriptionKeeper  = (*App)(nil)
	_ providers.MissedDeliveries    = (*App)(nil)
)

// New returns the app. It never fails: the Manager reports every fault of the
// configuration.
func New(cfg Config) *App {
	if cfg.Key == "" {
		cfg.Key = Key
	}
	a := &App{secret: token.NewSecret(cfg.ClientSecret)}
	a.verifier, a.fault = newVerifier(append([]string{cfg.ClientSecret}, cfg.PreviousClientSecrets...))
	cfg.ClientSecret, cfg.PreviousClientSecrets = "", nil
	cfg.Scopes, cfg.OptionalScopes, cfg.Webhooks = slices.Clone(cfg.Scopes), slices.Clone(cfg.OptionalScopes), slices.Clone(cfg.Webhooks)
	a.cfg = cfg
	a.limits = newLimits(cfg)
	return a
}

// Info implements providers.Provider.
func (a *App) Info() providers.Info {
	return providers.Info{
		Key: a.cfg.Key, Kind: Key, App: a.cfg.ClientID, Name: "Jira", Hosts: []string{apiHost},
		Scopes: slices.Clone(a.cfg.Scopes), PKCE: a.cfg.PKCE, RedirectURL: a.cfg.RedirectURL,
		OptionalScopes: slices.Clone(a.cfg.OptionalScopes),
	}
}

// Validate implements providers.Provider.
func (a *App) Validate() error {
	f := providers.NewFaults("jiraapp", a.cfg.Key)
	f.App(a.cfg.ClientID, a.secret, a.cfg.RedirectURL)
	f.Scopes(a.cfg.Scopes)
	f.Scopes(a.cfg.OptionalScopes)
	if !slices.ContainsFunc(a.cfg.Scopes, isJiraScope) {
		f.Add("Scopes has no scope of Jira: without one there is no site to connect")
	}
	if a.fault != nil && !a.secret.IsZero() && !a.cfg.NoWebhooks {
		f.Add("%w", a.fault)
	}
	a.validateWebhooks(f)
	return f.Err()
}

func (a *App) validateWebhooks(f *providers.Faults) {
	if len(a.cfg.Webhooks) == 0 {
		return
	}
	if a.cfg.NoWebhooks {
		f.Add("Webhooks are declared and NoWebhooks is set")
	}
	if len(a.cfg.Webhooks) > webhooksMost {
		f.Add("Webhooks has %d elements, Jira takes %d", len(a.cfg.Webhooks), webhooksMost)
	}
	names := map[string]bool{}
	for _, w := range a.cfg.Webhooks {
		if err := w.check(); err != nil {
			f.Add("%w", err)
		}
		if names[w.Name] {
			f.Add("webhook %q is declared twice", w.Name)
		}
		names[w.Name] = true
	}
	if !slices.ContainsFunc(a.cfg.Scopes, func(s string) bool { return s == "manage:jira-webhook" || strings.HasSuffix(s, ":webhook:jira") }) {
		f.Add("Webhooks need the scope manage:jira-webhook")
	}
}

// isJiraScope tells scopes of Jira, classic ("read:jira-work") and granular
// ("read:issue:jira"), from those of other products (developer.atlassian.com,
// "Scopes for OAuth 2.0 (3LO) and Forge apps", checked 2026-11).
func isJiraScope(scope string) bool {
	_, what, ok := strings.Cut(scope, ":")
	return ok && (strings.HasPrefix(what, "jira-") || strings.HasSuffix(what, ":jira") ||
		strings.HasSuffix(what, ":jira-software") || strings.HasSuffix(what, ":jira-service-management") ||
		strings.HasPrefix(what, "servicedesk-"))
}

// Site is what Atlassian told about a connected site, kept as ProviderData.
type Site struct {
	// CloudID is the site's id, which is the integration's external id too.
	CloudID string `json:"cloud_id"`
	// URL is the site's address, "https://acme.atlassian.net", Name its name, as
	// they were when the tenant connected.
	URL  string `json:"site_url,omitempty"`
	Name string `json:"site_name,omitempty"`
	// GrantedAt is when the user consented. A grant ends a year later.
	GrantedAt time.Time `json:"granted_at,omitzero"`
}

// ReadSite reads the site of a snapshot. The error wraps providers.ErrInvalid:
// the snapshot is not of this adapter.
func ReadSite(s providers.Snapshot) (Site, error) {
	var site Site
	err := s.ReadData(&site)
	return site, err
}
