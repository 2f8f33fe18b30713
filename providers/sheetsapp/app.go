// Package sheetsapp connects Google accounts for Google Sheets: offline grants
// with checked consent, spreadsheets and their cells, rows as structs, and
// notifications of changes by Google Drive.
//
// [Read], [Update], [Append], [BatchGet], [BatchUpdate] and [Clear] work on cells
// in a [Range]; [ReadRows] and [AppendRows] on tables with a header; [WatchFile]
// and [WatchChanges] open channels whose notifications [On] and [OnChange] handle,
// and [Changes] tells what changed. [Do] calls anything else of the two APIs.
// Google's own client takes the connection's:
// sheets.NewService(ctx, option.WithHTTPClient(conn.HTTPClient())).
//
// # Limits
//
// Sheets answers at most 300 reads and 300 writes a minute for all tenants of an
// app together, and 60 of each for one user; a batch counts once and a payload
// should stay below 2 MB (developers.google.com/sheets/api/limits, checked
// 2026-11). Prefer batches, and [Changes] to reading again and again.
package sheetsapp

import (
	"slices"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
)

// What this package takes from memory, because Google's own pages were not found
// to say it (looked for in 2026-11). Rules that a document states carry it at the
// place they are used.
//
//   - The names of the token endpoint's errors other than invalid_grant,
//     invalid_client and invalid_rapt, and refresh_token_expires_in.
//   - That the scopes email and profile come back under their long names.
//   - That revoking one token ends all grants of the user to this app, and that
//     revoking a dead one is answered with 400 invalid_token.
//   - That a channel's token may have 256 characters, that a channel is stopped by
//     the same user and app only, and how a resource URI is written.
//   - That an apostrophe in a sheet's name is doubled, and that Sheets takes a typed
//     value that begins with one for text and takes it off.
//   - The reasons insufficientPermissions and accessNotConfigured of Drive's errors.

// Key is the default key, and the Kind of every connection of this adapter.
const Key = "google_sheets"

// Scopes that this package's operations can work with
// (google.golang.org/api v0.311.0, the discovery documents, checked 2026-11).
const (
	// ScopeSpreadsheets reads and writes all spreadsheets of the user.
	ScopeSpreadsheets = "https://www.googleapis.com/auth/spreadsheets"
	// ScopeSpreadsheetsReadonly reads them.
	ScopeSpreadsheetsReadonly = "https://www.googleapis.com/auth/spreadsheets.readonly"
	// ScopeDriveFile reads, writes and watches the files that this app made or the
	// user opened with it: with Google's file picker, for example.
	ScopeDriveFile = "https://www.googleapis.com/auth/drive.file"
	// ScopeDriveMetadataReadonly watches all files of the user.
	ScopeDriveMetadataReadonly = "https://www.googleapis.com/auth/drive.metadata.readonly"

	scopeDrive         = "https://www.googleapis.com/auth/drive"
	scopeDriveReadonly = "https://www.googleapis.com/auth/drive.readonly"
	scopeDriveMetadata = "https://www.googleapis.com/auth/drive.metadata"
	scopeOpenID        = "openid"
	scopeEmail         = "https://www.googleapis.com/auth/userinfo.email"
	scopeProfile       = "https://www.googleapis.com/auth/userinfo.profile"
)

// Config is an OAuth client of a Google Cloud project. ClientID, ClientSecret and
// Scopes are required.
type Config struct {
	// Key names this registration. Defaults to "google_sheets".
	Key string
	// ClientID and ClientSecret are of an OAuth client of type "Web application".
	ClientID, ClientSecret string
	// Scopes are what the app needs, such as [ScopeDriveFile]. openid and email are
	// added: they tell whose account it is.
	Scopes []string
	// OptionalScopes are asked for by an upgrade only, and not missed.
	OptionalScopes []string
	// RedirectURL replaces BaseURL/{key}/callback.
	RedirectURL string
	// SelectAccount makes Google ask which account to connect even when the user is
	// signed in to one only.
	SelectAccount bool
	// AllowPartialConsent lets a user connect who unticked some of the scopes: the
	// integration then misses them, and operations that need one return a
	// *providers.MissingScopeError. By default such a connect is refused with
	// [RefusedMissingScopes].
	AllowPartialConsent bool
	// Exclusive lets one tenant only connect an account. By default several may:
	// it is a person's.
	Exclusive bool
	// WatchChanges opens a channel of all changes for every connection, as
	// [WatchChanges] does: the Manager's Run opens it after a connect, within a minute
	// or two, replaces it before it ends, and stops it when this is not set any more.
	// It needs one of Drive's scopes. Defaults to off.
	WatchChanges bool
	// NoNotifications leaves out the webhook path: WatchFile and WatchChanges
	// return an error wrapping errors.ErrUnsupported. A store that keeps no
	// webhooks needs it.
	NoNotifications bool
	// ProjectPerMinute and UserPerMinute are the quotas of the Sheets API that the
	// host's Google Cloud project has, reads and writes each. Default to 300 and 60.
	ProjectPerMinute, UserPerMinute int
}

// App is Google Sheets as a providers.Provider. It is immutable and safe for
// concurrent use.
type App struct {
	cfg    Config // ClientSecret is empty here
	secret token.Secret
	limits limits
}

var (
	_ providers.Provider            = (*App)(nil)
	_ providers.Renewer             = (*App)(nil)
	_ providers.Revoker             = (*App)(nil)
	_ providers.WebhookReceiver     = (*App)(nil)
	_ providers.AnswerClassifier    = (*App)(nil)
	_ providers.BudgetKeeper        = (*App)(nil)
	_ providers.SubscriptionRenewer = (*App)(nil)
	_ providers.SubscriptionEnder   = (*App)(nil)
	_ providers.SubscriptionKeeper  = (*App)(nil)
)

// New returns the app. It never fails: the Manager reports every fault of the
// configuration.
func New(cfg Config) *App {
	if cfg.Key == "" {
		cfg.Key = Key
	}
	a := &App{secret: token.NewSecret(cfg.ClientSecret)}
	cfg.ClientSecret = ""
	a.cfg = cfg
	a.limits = newLimits(cfg)
	a.cfg.Scopes = normalScopes(append([]string{scopeOpenID, scopeEmail}, cfg.Scopes...))
	if len(cfg.OptionalScopes) > 0 {
		a.cfg.OptionalScopes = normalScopes(cfg.OptionalScopes)
	}
	return a
}

// Info implements providers.Provider.
func (a *App) Info() providers.Info {
	return providers.Info{
		Key: a.cfg.Key, Kind: Key, App: a.cfg.ClientID, Name: "Google Sheets", Hosts: []string{sheetsHost, driveHost},
		Scopes: slices.Clone(a.cfg.Scopes), PKCE: true, RedirectURL: a.cfg.RedirectURL,
		OptionalScopes: slices.Clone(a.cfg.OptionalScopes),
	}
}

// Validate implements providers.Provider.
func (a *App) Validate() error {
	f := providers.NewFaults("sheetsapp", a.cfg.Key)
	f.App(a.cfg.ClientID, a.secret, a.cfg.RedirectURL)
	f.Scopes(a.cfg.Scopes)
	f.Scopes(a.cfg.OptionalScopes)
	if !slices.ContainsFunc(a.cfg.Scopes, func(s string) bool { return !isSignIn(s) }) {
		f.Add("Scopes is empty: name what the app needs, such as ScopeDriveFile")
	}
	if a.cfg.WatchChanges && a.cfg.NoNotifications {
		f.Add("WatchChanges and NoNotifications are both set")
	}
	if a.cfg.WatchChanges && !slices.ContainsFunc(a.cfg.Scopes, func(s string) bool { return slices.Contains(watching.any, s) }) {
		f.Add("WatchChanges needs a scope of Google Drive, such as ScopeDriveFile")
	}
	return f.Err()
}

// normalScopes spells scopes as token answers do, each once: email and profile
// are short names.
func normalScopes(scopes []string) []string {
	out := make([]string, 0, len(scopes))
	for _, s := range scopes {
		switch s {
		case "email":
			s = scopeEmail
		case "profile":
			s = scopeProfile
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// isSignIn reports whether a scope is one of signing in, which users cannot
// untick.
func isSignIn(scope string) bool {
	return scope == scopeOpenID || scope == scopeEmail || scope == scopeProfile
}

// Account is what Google told about a connected account, kept as ProviderData.
// The integration's external id is the account's sub.
type Account struct {
	// Email may change, and is then that of the last connect.
	Email string `json:"email,omitempty"`
	// Domain is the Workspace domain ("hd"), "" for other accounts.
	Domain string `json:"hd,omitempty"`
	// Name is known with the scope profile only.
	Name string `json:"name,omitempty"`
}

// ReadAccount reads the account of a snapshot. The error wraps
// providers.ErrInvalid: the snapshot is not of this adapter.
func ReadAccount(s providers.Snapshot) (Account, error) {
	var a Account
	err := s.ReadData(&a)
	return a, err
}
