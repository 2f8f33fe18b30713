// Package providers is what an adapter for a third-party service implements,
// and what a host calls it through.
//
// A [Provider] describes one service to the library: how a tenant connects, how
// tokens are renewed and revoked, how webhooks are verified. Abilities that not
// every service has are small interfaces of their own, found once when the
// Manager is made. [NewOAuth2] makes a Provider of any OAuth 2 server; the
// adapters for particular services are the packages below this one.
//
// A [Connection] is a tenant's usable integration: its HTTP client sends the
// tenant's token, to the provider's hosts and nowhere else.
package providers

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// Provider connects one service. Implementations are immutable and safe for
// concurrent use. They hold no token: everything a call needs is passed in.
type Provider interface {
	// Info describes the provider. It is called once.
	Info() Info

	// Validate reports every fault of the provider's configuration, joined.
	Validate() error

	// AuthorizeURL is where the browser is sent to give consent.
	AuthorizeURL(a Authorize) (string, error)

	// Exchange trades what came back from the provider for a connected account.
	// It must ask the provider whose account it is and believe nothing else in
	// the callback. It returns a [*Refusal] when the account may not be bound,
	// or the token client's error unchanged.
	Exchange(ctx context.Context, x Exchange) (Account, error)
}

// Info describes a provider.
type Info struct {
	// Key names this registration: it is in the redirect path, in webhook paths
	// and in every row. It matches [a-z][a-z0-9_]{0,63}.
	Key string
	// Kind is the adapter's own name, equal for all registrations of one
	// adapter.
	Kind string
	// App is the provider's id of the app, its client id. Registrations of one Kind
	// and App share their grants: none is revoked while another's would end with
	// it. "" shares with none.
	App string
	// Name is for people: "Slack".
	Name string
	// Hosts are where the bearer token may be sent: exact host names, or
	// "*.example.com" for every name below it. See [Hosts].
	Hosts []string
	// Scopes are those the host wants. An integration without one of them is
	// shown as missing it.
	Scopes []string
	// OptionalScopes are further ones that a connect may ask for when the host
	// says so. They are not missed.
	OptionalScopes []string
	// PKCE says that the authorize URL carries a code challenge (RFC 7636, S256).
	PKCE bool
	// RedirectURL replaces BaseURL/{key}/callback for hosts that registered
	// another one. It must lead to the callback handler.
	RedirectURL string
	// Issuer, when not "", must equal the callback's iss parameter where the
	// provider sends one (RFC 9207).
	Issuer string
}

// Authorize is what an authorize URL is made of.
type Authorize struct {
	// State is to be echoed by the provider.
	State string
	// RedirectURL is this library's callback.
	RedirectURL string
	// Challenge is the S256 code challenge, "" without PKCE.
	Challenge string
	// Scopes are those to ask for.
	Scopes []string
	// ExpectExternalID is the account a reconnect has to land on, "" for a new
	// connection.
	ExpectExternalID string
	// Site is where at the provider the user connects, for providers with more
	// than one place to sign in; "" is the usual one. It comes from the browser:
	// AuthorizeURL must check it and return an error wrapping [ErrInvalid].
	Site string
}

// Exchange is a callback whose state, browser and user were checked.
type Exchange struct {
	// Code is the authorization code; "" when the callback has none.
	Code string
	// Query holds all parameters of the callback, each single and bounded. They
	// come from the browser: nothing in them is proof of anything.
	Query url.Values
	// RedirectURL and Verifier are those of the authorize URL.
	RedirectURL, Verifier string
	// ExpectExternalID is the account a reconnect has to land on.
	ExpectExternalID string
	// Site is that of the authorize URL, which accepted it.
	Site string
	// Client makes the token call.
	Client *token.Client
	// HTTP reaches the provider's hosts, without any token of its own.
	HTTP *http.Client
}

// Account is a freshly connected account.
type Account struct {
	// ExternalID is the provider's stable id of the account. Required, except
	// with Choices.
	ExternalID string
	// Alias is another name of the account that webhooks use instead of
	// ExternalID, as unforgeable as that; "" when there is none.
	Alias string
	// Exclusive says that only one integration may hold this account.
	Exclusive bool
	// Grant is what was granted. AccessToken is required.
	Grant token.Grant
	// ProviderData is JSON the adapter needs later. Hosts can read it, not
	// change it.
	ProviderData json.RawMessage
	// Choices are the accounts the grant is good for when it is good for
	// several: the user picks one of them, whose fields then take the place of
	// those above. With ExpectExternalID or with a single choice nobody is asked.
	Choices []Choice
}

// Choice is one of several accounts of a grant.
type Choice struct {
	ExternalID, Alias string
	// Name is what the user gets to see, at most 100 bytes.
	Name         string
	Exclusive    bool
	ProviderData json.RawMessage
}

// Refusal says why a connect flow ended without a connection. It is not a
// failure of anything: the user or the provider said no, or a check did.
type Refusal struct {
	// Code is a short code for the return URL, one of the Refused constants or
	// an adapter's own [a-z_]{1,64}.
	Code string
}

func (r *Refusal) Error() string { return "integrations/providers: connect refused: " + r.Code }

// Codes of a [Refusal].
const (
	// RefusedDenied: the user did not consent.
	RefusedDenied = "denied"
	// RefusedOwnership: it could not be proved that the user may bind the
	// account.
	RefusedOwnership = "ownership_unverified"
	// RefusedRequested: the user asked an administrator to approve; the account
	// can be connected after that.
	RefusedRequested = "install_requested"
	// RefusedNoAccount: the user has no account of the wanted kind.
	RefusedNoAccount = "no_account"
)

// The optional abilities of a [Provider].
type (
	// Renewer is [token.Renewer]: tokens that end are renewed.
	Renewer = token.Renewer

	// Revoker ends a grant at the provider. Revoking one that is already gone is
	// no error.
	Revoker interface {
		Revoke(ctx context.Context, r Revocation) error
	}

	// WebhookReceiver has webhooks. WebhookSource returns an error wrapping
	// errors.ErrUnsupported when the configuration has no secret to verify with.
	WebhookReceiver interface {
		WebhookSource() (webhook.Source, error)
	}

	// LifecycleReader reads the provider's events about the connection itself.
	// The library looks at them before the host's handler does.
	LifecycleReader interface {
		// LifecycleTypes are the event types to look at.
		LifecycleTypes() []string
		// Lifecycle tells what a verified event means. The zero Lifecycle means
		// nothing.
		Lifecycle(ev webhook.Event, in Snapshot) (Lifecycle, error)
	}

	// AnswerClassifier reads refusals that the HTTP status does not show.
	AnswerClassifier interface {
		// ClassifyAnswer judges an answer. head is the first 512 bytes of the
		// body at most, and only of JSON answers and of plain text that is not a
		// success.
		ClassifyAnswer(status int, header http.Header, head []byte) Answer
	}

	// LimitReader is an ability of an [AnswerClassifier] whose service says in the
	// body how long a limit lasts.
	LimitReader interface {
		// LimitedFor is how long to wait after an answer that was judged
		// [AnswerLimited]; 0 leaves it to its Retry-After.
		LimitedFor(header http.Header, head []byte) time.Duration
	}

	// Lander answers callbacks that carry no state because the user started at
	// the provider. Nothing is ever bound by them.
	Lander interface {
		// Land returns ok false for a callback it does not know.
		Land(q url.Values) (l Landing, ok bool)
	}

	// SiteReader knows at which of several sites an account was connected, so
	// that a reconnect starts there.
	SiteReader interface {
		// SiteOf returns a site that AuthorizeURL takes, "" for the usual one.
		SiteOf(s Snapshot) string
	}

	// PermissionsPage is for providers where an account's administrators grant an
	// app more at a page of the provider's own, not by connecting again.
	PermissionsPage interface {
		// PermissionsURL is that page for an integration. An error wrapping
		// errors.ErrUnsupported means that scopes are asked for by connecting.
		PermissionsURL(s Snapshot) (string, error)
	}

	// SubscriptionRenewer renews what an integration subscribed to before the
	// provider ends it.
	SubscriptionRenewer interface {
		// RenewSubscription renews s and returns what is to be stored in its
		// place, under the same name. An error wrapping [ErrNotFound] means that
		// it cannot be renewed any more: it is forgotten.
		RenewSubscription(ctx context.Context, conn *Connection, s Subscription) (Subscription, error)
	}

	// Verifier asks the service whether a grant still works, for integrations that no
	// renewal asks for: those whose tokens do not end.
	Verifier interface {
		// Verify makes one cheap call through conn, where a refused token is dealt
		// with as in every call. An error wrapping [ErrReconnectRequired] means that
		// the service refused the grant for good; any other says nothing about it, as
		// does one wrapping errors.ErrUnsupported.
		Verify(ctx context.Context, conn *Connection) error
	}

	// AccountMatcher knows more of an account than its ExternalID: whose token it is.
	AccountMatcher interface {
		// SameAccount reports whether a reconnect that brought a, whose ExternalID is
		// in's, is of the account of in.
		SameAccount(in Snapshot, a Account) bool
	}

	// GrantSharer knows what ends with a grant. Without it revoking one is taken
	// to end all that the app was granted by the same account, so that none is
	// revoked while another integration of the account is in use.
	GrantSharer interface {
		// SharesGrant reports whether Revoke, given a grant of in, may also end the
		// grant of other, an integration of the same account and app; or of the same
		// integration with a newer grant.
		SharesGrant(in, other Snapshot) bool
	}

	// SubscriptionEnder ends an integration's subscriptions at the provider when
	// the tenant disconnects. It is called before Revoke, also where other
	// integrations go on using the account, and its failure stops nothing.
	SubscriptionEnder interface {
		// EndSubscriptions ends r.Subscriptions. One that is already gone is no
		// error.
		EndSubscriptions(ctx context.Context, r Revocation) error
	}
)

// Revocation is a grant to end.
type Revocation struct {
	ExternalID                string
	AccessToken, RefreshToken token.Secret
	ProviderData              json.RawMessage
	// Subscriptions are those to end, for EndSubscriptions only.
	Subscriptions []Subscription
	// Client makes token-endpoint calls, HTTP reaches the provider's hosts
	// without any token of its own.
	Client *token.Client
	HTTP   *http.Client
}

// Snapshot is what is known of an integration.
type Snapshot struct {
	TenantID, IntegrationID, Provider, Label, ExternalID string
	// Scopes are those granted.
	Scopes []string
	// Metadata is the host's JSON, ProviderData the library's.
	Metadata, ProviderData json.RawMessage
}

// Lifecycle is what an event does to an integration.
type Lifecycle struct {
	Kind LifecycleKind
	// Reason is a short code, at most 64 bytes.
	Reason string
	// ProviderData and Scopes replace the stored ones when not nil.
	ProviderData json.RawMessage
	Scopes       []string
	// Renew says that tokens of before do not have what was granted now: another
	// one is got at once.
	Renew bool
}

// LifecycleKind says what happened.
type LifecycleKind int

const (
	// Unchanged: the event does not change the status.
	Unchanged LifecycleKind = iota
	// Uninstalled: the app was removed or its access revoked. The tokens are
	// dead.
	Uninstalled
	// Suspended: the provider paused the installation.
	Suspended
	// Resumed: a pause ended.
	Resumed
	// Regranted: the account gives other permissions, or other things to use them
	// on, than before. The status stays; the host is told.
	Regranted
)

// Landing is what a user who started at the provider gets to see.
type Landing struct {
	// OfferConnect shows a button that starts a normal flow.
	OfferConnect bool
	// Result is the code for the return URL when there is nothing to offer.
	Result string
}

// Answer is a judgement on a provider's answer.
type Answer int

const (
	// AnswerOK is everything that needs no action of the transport.
	AnswerOK Answer = iota
	// AnswerTokenExpired: the token is refused; renew it and send again.
	AnswerTokenExpired
	// AnswerTokenDead: the token is refused for good.
	AnswerTokenDead
	// AnswerLimited: refused because of a rate limit.
	AnswerLimited
)
