// Package slackapp connects Slack workspaces: OAuth v2 installs with bot or user
// tokens, token rotation, messages, and webhooks (events, interactivity, slash
// commands).
//
// One registration holds one kind of token. For user tokens beside a bot token
// register a second [App] of the same Slack app under another Key, with UserScopes:
// a tenant then has an integration of each. Slack has one request URL, so events,
// and the news that a token was revoked, come to the Key that the URL names. A
// revoked token of the other one is found at its next call.
//
// The token goes to slack.com and the names below it, and only in the
// Authorization header. [Client] gives slack-go, [Notify] posts a message,
// [Classify] sorts slack-go's errors, [On] makes webhook handlers.
package slackapp

import (
	"slices"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// What this package takes from memory or from others' code, because Slack's own
// pages were not found to say it (looked for in 2026-11). Rules that Slack does
// document carry the page at the place they are used.
//
//   - The codes oauth.v2.access gives for a refused refresh token. Documented are
//     invalid_refresh_token for tooling.tokens.rotate and the codes of all
//     methods; token_expired and invalid_grant are reported by others.
//   - That ssl_check probes come, and that a challenge may be answered as text.
//   - That trigger_id and action_ts tell interactions apart. They are used for
//     nothing else.
//   - That events without authorizations name the install as Bolt reads them.

// Key is the default key, and the Kind of every connection of this adapter.
const Key = "slack"

// Config is a Slack app. ClientID, ClientSecret and one of Scopes and UserScopes
// are required.
type Config struct {
	// Key names this registration. Defaults to "slack".
	Key string
	// ClientID and ClientSecret are on the app's "Basic Information" page.
	ClientID, ClientSecret string
	// SigningSecrets verify webhooks, each of at least 16 bytes; several while one
	// is being replaced. Without any the app receives no webhooks.
	SigningSecrets []string
	// Scopes are for a bot token, UserScopes for a token of the installing user.
	// Set one of them.
	Scopes, UserScopes []string
	// OptionalScopes, of the same kind of token, are asked for by an upgrade only,
	// and not missed. Scopes that are marked optional at Slack can be left out by the
	// user whichever of these they are in.
	OptionalScopes []string
	// RedirectURL replaces BaseURL/{key}/callback.
	RedirectURL string
	// PKCE sends a code challenge. The app must have opted in at Slack, which
	// cannot be undone and makes refresh tokens end after 30 days
	// (docs.slack.dev/changelog/2026/03/30/pkce, checked 2026-11). Defaults to
	// off.
	PKCE bool
	// Shared lets several integrations connect one workspace, of several tenants or
	// under several labels. By default it belongs to the first. With UserScopes set
	// it where several members of a workspace are to connect.
	Shared bool
	// LimitedHistory is for an app that is distributed commercially outside the Slack
	// Marketplace: conversations.history and conversations.replies go once a minute
	// then.
	LimitedHistory bool
}

// App is Slack as a providers.Provider. It is immutable and safe for concurrent
// use.
type App struct {
	cfg    Config // ClientSecret and SigningSecrets are empty here
	secret token.Secret
	signed bool // whether there were signing secrets
	hmac   *webhook.HMAC
	fault  error // of the signing secrets
	limits limits
}

var (
	_ providers.Provider         = (*App)(nil)
	_ providers.Renewer          = (*App)(nil)
	_ providers.Revoker          = (*App)(nil)
	_ providers.Verifier         = (*App)(nil)
	_ providers.AccountMatcher   = (*App)(nil)
	_ providers.GrantSharer      = (*App)(nil)
	_ providers.WebhookReceiver  = (*App)(nil)
	_ providers.LifecycleReader  = (*App)(nil)
	_ providers.AnswerClassifier = (*App)(nil)
	_ providers.BudgetKeeper     = (*App)(nil)
)

// New returns the app. It never fails: the Manager reports every fault of the
// configuration.
func New(cfg Config) *App {
	if cfg.Key == "" {
		cfg.Key = Key
	}
	a := &App{secret: token.NewSecret(cfg.ClientSecret), signed: len(cfg.SigningSecrets) > 0}
	if a.signed {
		a.hmac, a.fault = newVerifier(cfg.SigningSecrets)
	}
	cfg.ClientSecret, cfg.SigningSecrets = "", nil
	cfg.Scopes, cfg.UserScopes, cfg.OptionalScopes = slices.Clone(cfg.Scopes), slices.Clone(cfg.UserScopes), slices.Clone(cfg.OptionalScopes)
	a.cfg = cfg
	a.limits = newLimits(cfg)
	return a
}

// Info implements providers.Provider. The hosts are the Web API's and, for
// files, files.slack.com; slack-go keeps to the same rule (v0.35.0).
func (a *App) Info() providers.Info {
	return providers.Info{
		Key: a.cfg.Key, Kind: Key, App: a.cfg.ClientID, Name: "Slack", Hosts: []string{"slack.com", "*.slack.com"},
		Scopes: slices.Clone(a.scopes()), PKCE: a.cfg.PKCE, RedirectURL: a.cfg.RedirectURL,
		OptionalScopes: slices.Clone(a.cfg.OptionalScopes),
	}
}

// userOnly reports whether this registration holds the user's token.
func (a *App) userOnly() bool { return len(a.cfg.UserScopes) > 0 }

func (a *App) scopes() []string {
	if a.userOnly() {
		return a.cfg.UserScopes
	}
	return a.cfg.Scopes
}

// Validate implements providers.Provider.
func (a *App) Validate() error {
	f := providers.NewFaults("slackapp", a.cfg.Key)
	f.App(a.cfg.ClientID, a.secret, a.cfg.RedirectURL)
	if (len(a.cfg.Scopes) == 0) == (len(a.cfg.UserScopes) == 0) {
		f.Add("set one of Scopes and UserScopes")
	}
	f.Scopes(a.cfg.Scopes)
	f.Scopes(a.cfg.OptionalScopes)
	f.Scopes(a.cfg.UserScopes)
	if a.fault != nil {
		f.Add("SigningSecrets: %w", a.fault)
	}
	return f.Err()
}

// Kinds of token, as Workspace.TokenType.
const (
	tokenBot  = "bot"
	tokenUser = "user"
)

// Workspace is what an install told about itself, kept as ProviderData.
type Workspace struct {
	AppID string `json:"app_id,omitempty"`
	// TeamID and TeamName are empty for an install on a whole organisation.
	TeamID   string `json:"team_id,omitempty"`
	TeamName string `json:"team_name,omitempty"`
	// EnterpriseID and EnterpriseName are set on Enterprise Grid.
	EnterpriseID   string `json:"enterprise_id,omitempty"`
	EnterpriseName string `json:"enterprise_name,omitempty"`
	OrgInstall     bool   `json:"org_install,omitempty"`
	// BotUserID is the bot's user, AuthedUserID the installing one.
	BotUserID    string `json:"bot_user_id,omitempty"`
	AuthedUserID string `json:"authed_user_id,omitempty"`
	// DefaultChannelID and DefaultChannel are of the channel chosen at install
	// when the incoming-webhook scope was asked for.
	DefaultChannelID string `json:"default_channel_id,omitempty"`
	DefaultChannel   string `json:"default_channel,omitempty"`
	// TokenType is "bot" or "user".
	TokenType string `json:"token_type,omitempty"`
}

// ReadWorkspace reads the workspace of a snapshot. The error wraps
// providers.ErrInvalid: the snapshot is not of this adapter.
func ReadWorkspace(s providers.Snapshot) (Workspace, error) {
	var w Workspace
	err := s.ReadData(&w)
	return w, err
}
