// Package salesforceapp connects Salesforce orgs: the web-server flow with PKCE at
// production, sandbox or My Domain, refresh tokens that rotate, SOQL queries,
// records and contacts, and webhooks (outbound messages and signed callouts).
//
// Operations are functions of this package that take a connection: [Query],
// [Get], [Create], [Update], [Upsert], [Delete], [Describe], [Limits], those for
// a [Contact], and [Do] for everything else of the REST API. They are safe for
// concurrent use and return the errors of package providers.
//
// Salesforce does not say how long an access token lasts: its policy sets a time
// of inactivity. A call that is refused with INVALID_SESSION_ID renews the token
// and is sent once more.
//
// The token goes to names below salesforce.com, and operations send it to the
// connected org's own host only. The client secret goes to login.salesforce.com,
// test.salesforce.com and names below my.salesforce.com.
package salesforceapp

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// What this package takes from memory or from others' code, because Salesforce's
// own pages were not found to say it (looked for in 2026-11). Rules that
// Salesforce does document carry the page at the place they are used.
//
//   - The error codes of the token endpoint besides invalid_grant with "expired
//     access/refresh token", and that every other invalid_grant but "ip
//     restricted" is for good. That a blocked user or org is told as
//     inactive_user and inactive_org.
//   - That instance_url may change on a refresh.
//   - The status 403 of REQUEST_LIMIT_EXCEEDED, and that messages of a limit of
//     long-running calls begin with "Concurrent".
//   - Statuses and bodies of the sObject resources (201, 204, 300), the shapes of
//     describe and limits.
//   - The codes ENTITY_IS_DELETED, DUPLICATES_DETECTED, API_CURRENTLY_DISABLED and
//     the prefix INSUFFICIENT_ACCESS for all of its kind.
//   - The literal form of an outbound message's acknowledgement; its elements are
//     documented.

// Key is the default key, and the Kind of every connection of this adapter.
const Key = "salesforce"

// defaultAPIVersion is Spring '26 (developer.salesforce.com, REST API developer
// guide, "Versions", checked 2026-11).
const defaultAPIVersion = "v66.0"

// defaultIdleLimit is how long an unused refresh token of a partner's app lasts
// (developer.salesforce.com, "Secure Your Connected Apps and External Client
// Apps", checked 2026-11).
const defaultIdleLimit = 30 * 24 * time.Hour

// Config is an External Client App. ClientID and ClientSecret are required.
type Config struct {
	// Key names this registration. Defaults to "salesforce".
	Key string
	// ClientID and ClientSecret are the app's consumer key and consumer secret.
	ClientID, ClientSecret string
	// Site is where users sign in unless a flow names another place: "production"
	// or "sandbox", login.salesforce.com, test.salesforce.com, or the My Domain
	// host of one org, NAME.my.salesforce.com. Defaults to "production".
	Site string
	// Scopes are those to ask for; one of them must be "refresh_token" or its
	// synonym "offline_access". Defaults to "api" and "refresh_token".
	Scopes []string
	// OptionalScopes are asked for by an upgrade only, and not missed.
	OptionalScopes []string
	// Prompt is what Salesforce asks of the user: "login", "consent",
	// "select_account", or several joined by spaces. With "login" a user who is
	// signed in to one org can connect another. Defaults to "", as Salesforce
	// likes.
	Prompt string
	// APIVersion is the version of the REST API, such as "v66.0". It is kept with
	// an integration and follows this field when its token is next renewed.
	// Defaults to "v66.0".
	APIVersion string
	// IdleLimit is how long an unused refresh token lasts by the app's policy. An
	// integration that nobody uses is renewed after half of it. Defaults to 30
	// days; negative means that it does not end.
	IdleLimit time.Duration
	// RedirectURL replaces BaseURL/{key}/callback.
	RedirectURL string
	// NoWebhooks turns webhooks off. By default every integration can open
	// endpoints with [OpenWebhook].
	NoWebhooks bool
	// Shared lets several tenants connect one org. By default it belongs to the
	// first.
	Shared bool
}

// App is Salesforce as a providers.Provider. It is immutable and safe for
// concurrent use.
type App struct {
	cfg     Config // ClientSecret is empty here
	secret  token.Secret
	callout *webhook.HMAC
	budgets budgets
}

var (
	_ providers.Provider         = (*App)(nil)
	_ providers.Renewer          = (*App)(nil)
	_ providers.Revoker          = (*App)(nil)
	_ providers.Verifier         = (*App)(nil)
	_ providers.GrantSharer      = (*App)(nil)
	_ providers.SiteReader       = (*App)(nil)
	_ providers.WebhookReceiver  = (*App)(nil)
	_ providers.AnswerClassifier = (*App)(nil)
	_ providers.BudgetKeeper     = (*App)(nil)
	_ providers.LimitReader      = (*App)(nil)
)

// New returns the app. It never fails: the Manager reports every fault of the
// configuration.
func New(cfg Config) *App {
	if cfg.Key == "" {
		cfg.Key = Key
	}
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"api", scopeRefresh}
	}
	if cfg.IdleLimit == 0 {
		cfg.IdleLimit = defaultIdleLimit
	}
	a := &App{secret: token.NewSecret(cfg.ClientSecret), callout: newCalloutVerifier()}
	cfg.ClientSecret = ""
	cfg.Scopes = oneSpelling(cfg.Scopes)
	if len(cfg.OptionalScopes) > 0 {
		cfg.OptionalScopes = oneSpelling(cfg.OptionalScopes)
	}
	a.cfg = cfg
	a.budgets = newBudgets()
	return a
}

// Info implements providers.Provider. The instance of an org may have any name
// below salesforce.com.
func (a *App) Info() providers.Info {
	return providers.Info{
		Key: a.cfg.Key, Kind: Key, App: a.cfg.ClientID, Name: "Salesforce", Hosts: []string{"*." + domain},
		Scopes: slices.Clone(a.cfg.Scopes), PKCE: true, RedirectURL: a.cfg.RedirectURL,
		OptionalScopes: slices.Clone(a.cfg.OptionalScopes),
	}
}

var (
	versionForm = regexp.MustCompile(`^v[1-9][0-9]{1,2}\.0$`)
	promptForm  = regexp.MustCompile(`^(login|consent|select_account)( (login|consent|select_account))*$`)
)

// Validate implements providers.Provider.
func (a *App) Validate() error {
	f := providers.NewFaults("salesforceapp", a.cfg.Key)
	f.App(a.cfg.ClientID, a.secret, a.cfg.RedirectURL)
	f.Scopes(a.cfg.Scopes)
	f.Scopes(a.cfg.OptionalScopes)
	if !slices.Contains(a.cfg.Scopes, scopeRefresh) {
		f.Add("Scopes lack refresh_token: access tokens end and nothing would renew them")
	}
	if _, err := authHost(a.cfg.Site); err != nil {
		f.Add("Site: %w", err)
	}
	if a.cfg.APIVersion != "" && !versionForm.MatchString(a.cfg.APIVersion) {
		f.Add("APIVersion must look like %q", defaultAPIVersion)
	}
	if a.cfg.Prompt != "" && !promptForm.MatchString(a.cfg.Prompt) {
		f.Add("Prompt must be made of login, consent and select_account")
	}
	return f.Err()
}

// Org is what is known of a connected org, kept as ProviderData.
type Org struct {
	// ID and UserID are the 18-character ids of the org and of the user who
	// connected it.
	ID     string `json:"org_id,omitempty"`
	UserID string `json:"user_id,omitempty"`
	// InstanceURL is where the org's API is, "https://" and a host.
	InstanceURL string `json:"instance_url,omitempty"`
	// AuthHost is the host that issued the grant and renews it.
	AuthHost string `json:"auth_host,omitempty"`
	// APIVersion is Config.APIVersion, "" for the default.
	APIVersion string `json:"api_version,omitempty"`
}

// ReadOrg reads the org of a snapshot and checks its hosts again. The error wraps
// providers.ErrInvalid: the snapshot is not of this adapter.
func ReadOrg(s providers.Snapshot) (Org, error) {
	var o Org
	if err := s.ReadData(&o); err != nil {
		return Org{}, err
	}
	if err := o.check(); err != nil {
		return Org{}, err
	}
	return o, nil
}

// check refuses hosts that neither the token nor the client secret may go to.
func (o Org) check() error {
	if _, ok := instanceHost(o.InstanceURL); !ok && o.InstanceURL != "" {
		return fmt.Errorf("%w: instance_url is not of Salesforce", providers.ErrInvalid)
	}
	if !authHosts.Contains(o.AuthHost) && o.AuthHost != "" {
		return fmt.Errorf("%w: auth_host is not of Salesforce", providers.ErrInvalid)
	}
	if !versionForm.MatchString(o.APIVersion) && o.APIVersion != "" {
		return fmt.Errorf("%w: api_version is none", providers.ErrInvalid)
	}
	return nil
}

func (o Org) json() json.RawMessage {
	b, _ := json.Marshal(o) // strings alone: never fails
	return b
}
