package store

import (
	"encoding/json"
	"time"
)

// Status is the state of an integration. A transient failure is not a status:
// it is RefreshFails above 0 beside [Active].
type Status string

const (
	// Active means the grant works, as far as anybody knows.
	Active Status = "active"
	// NeedsReconnect means the provider refused the grant for good. The tenant
	// has to connect again.
	NeedsReconnect Status = "needs_reconnect"
	// Suspended means the provider paused the installation.
	Suspended Status = "suspended"
	// Revoked means the app was uninstalled or its access revoked at the
	// provider.
	Revoked Status = "revoked"
	// Disconnected means the tenant disconnected here.
	Disconnected Status = "disconnected"
)

// Ambiguous is the RefreshError of a row of which nobody knows whether the
// provider saw the last refresh, and so whether the refresh token is still good.
const Ambiguous = "ambiguous"

// Integration is one connected account of one tenant.
type Integration struct {
	// ID is the library's id, at most 36 bytes, unique over all tenants.
	ID string
	// TenantID is the host's tenant, at most 191 bytes.
	TenantID string
	// Provider is the key of the provider, at most 64 bytes.
	Provider string
	// Label tells several accounts of one provider apart, at most 64 bytes; ""
	// is the default one. (TenantID, Provider, Label) is unique.
	Label string

	Status Status
	// StatusReason is a short code, at most 64 bytes: why the status is not
	// active.
	StatusReason string

	// ExternalID is the provider's id of the account, at most 191 bytes; "" while
	// unknown.
	ExternalID string
	// ExternalAlias is another name of the account that webhooks use, at most 191
	// bytes; "" when there is none.
	ExternalAlias string
	// ExclusiveKey is unique over all rows while it is not "": set for accounts
	// that only one integration may hold, at most 300 bytes.
	ExclusiveKey string

	// AccessToken and RefreshToken are sealed; nil means there is none.
	AccessToken, RefreshToken []byte
	// KeyID names the key both are sealed with.
	KeyID string
	// TokenExpiresAt is when the access token ends; zero means unknown or never.
	TokenExpiresAt time.Time
	// RefreshExpiresAt is when the grant ends unless used or renewed; zero means
	// unknown or never.
	RefreshExpiresAt time.Time
	// Scopes are those the provider granted.
	Scopes []string

	// Metadata is JSON written by the host, nil when there is none.
	Metadata json.RawMessage
	// ProviderData is JSON written only by the library: team name, default
	// channel, instance URL. Hosts must not be able to change it: it decides
	// where tokens are sent.
	ProviderData json.RawMessage

	// TokenGen moves when, and only when, token material changes.
	TokenGen int64
	// Version moves on every change visible to the host.
	Version int64

	// LeaseUntil is when the last refresh lease runs out; zero means none.
	LeaseUntil time.Time
	// LeaseEpoch counts the leases ever taken.
	LeaseEpoch int64
	// RefreshFails counts failed refreshes since the last success.
	RefreshFails int
	// RefreshError is a short code of the last failure, "" after a success; or
	// [Ambiguous].
	RefreshError string
	// RefreshFailingSince is when the first of RefreshFails failed, or when the first
	// ReportHeld found that none was tried; zero when neither was since the last
	// success.
	RefreshFailingSince time.Time
	// RefreshReported is the highest FailRefresh.Report or ReportHeld.Report since
	// the last success.
	RefreshReported int
	// NextRefreshAt is when a refresh is due or may be tried again; zero means
	// never.
	NextRefreshAt time.Time
	// LastRefreshAt is when tokens were last stored by a refresh.
	LastRefreshAt time.Time
	// GrantEnd is what is known of RefreshExpiresAt.
	GrantEnd GrantEnd
	// VerifyAt is when the provider is to be asked whether the grant still works;
	// zero means never.
	VerifyAt time.Time

	// ConnectedAt is when the tenant last completed the connect flow. Events of
	// the provider that are older than this are about an earlier installation.
	ConnectedAt          time.Time
	CreatedAt, UpdatedAt time.Time

	// ReadAt is the store's clock at the moment of reading. Differences to it
	// are true whatever the replica's own clock says. It is not stored.
	ReadAt time.Time
}

// GrantEnd says what renewals do to the end of a grant.
type GrantEnd int8

const (
	// EndUnknown: nothing is known yet.
	EndUnknown GrantEnd = 0
	// EndMoves: each renewal puts the end off.
	EndMoves GrantEnd = 1
	// EndStays: renewals do not put it off, or there are none.
	EndStays GrantEnd = 2
	// EndReported is EndStays after the host was told.
	EndReported GrantEnd = 3
)

// Ref names an integration.
type Ref struct{ TenantID, ID string }

// Connect is a fresh grant from the connect flow. See [Integrations.Connect].
type Connect struct {
	ID, TenantID, Provider, Label string
	// SeenGen is the TokenGen the caller read, 0 when there was no row.
	SeenGen int64
	// StateHash, when not "", is that of the flow the grant comes from, which must
	// still be there, used or not: one that was removed brings nothing any more.
	StateHash string

	ExternalID, ExternalAlias string
	ExclusiveKey              string
	AccessToken, RefreshToken []byte
	KeyID                     string
	// ExpiresIn and RefreshExpiresIn count from the store's now; 0 means unknown
	// or never.
	ExpiresIn, RefreshExpiresIn time.Duration
	// RefreshIn is when the next refresh is due, VerifyIn when the grant is to be
	// verified, from the store's now; 0 means never.
	RefreshIn, VerifyIn time.Duration
	// GrantEnd is EndUnknown or EndStays.
	GrantEnd     GrantEnd
	Scopes       []string
	ProviderData json.RawMessage
	// Moved says that the row's account is another one than before. See
	// [Integrations.Connect].
	Moved bool
	// Metadata is used for a new row only.
	Metadata json.RawMessage
	// Change, if not nil, needs a store that is an [Inbox].
	Change *Delivery
}

// Lease asks for the right to refresh. See [Integrations.Lease].
type Lease struct {
	TenantID, ID string
	// Owner is unique to the caller, at most 32 bytes.
	Owner   string
	SeenGen int64
	TTL     time.Duration
}

// CommitTokens is the answer of a refresh. See [Integrations.CommitTokens].
type CommitTokens struct {
	TenantID, ID              string
	SeenGen                   int64
	AccessToken, RefreshToken []byte
	KeyID                     string
	// ExpiresIn, RefreshExpiresIn and RefreshIn count from the store's now; 0
	// means unknown or never.
	ExpiresIn, RefreshExpiresIn, RefreshIn time.Duration
	// KeepRefreshExpiry leaves RefreshExpiresAt as it is and ignores
	// RefreshExpiresIn.
	KeepRefreshExpiry bool
	// GrantEnd replaces the row's: EndUnknown leaves it, and EndStays leaves
	// EndReported.
	GrantEnd GrantEnd
	// Scopes replaces the granted scopes unless it is nil, ProviderData likewise.
	Scopes       []string
	ProviderData json.RawMessage
	Changes      []Delivery
}

// FailRefresh records a failed refresh. See [Integrations.FailRefresh].
type FailRefresh struct {
	TenantID, ID, Owner string
	SeenGen             int64
	// Code says what went wrong, at most 64 bytes, never text of the provider.
	Code string
	// RetryIn puts off the next attempt.
	RetryIn time.Duration
	// HoldLease keeps the lease for so long instead of giving it back: used when
	// nobody knows whether the provider saw the request.
	HoldLease time.Duration
	// Report, when above the row's RefreshReported, replaces it: how much of the
	// failing the host has been told, which Change tells now.
	Report int
	// Uncounted leaves the row's account of its failures as it is: nothing was
	// tried, or what went wrong is not the integration's fault.
	Uncounted bool
	Change    *Delivery
}

// SetStatus is a conditional change of status. See [Integrations.SetStatus].
type SetStatus struct {
	TenantID, ID string
	// From lists the statuses the row may have; empty means any but To.
	From []Status
	// SeenGen, when not 0, must be the row's TokenGen.
	SeenGen int64
	// ConnectedBefore, when not zero, must be later than the row's ConnectedAt:
	// an event about an earlier installation changes nothing.
	ConnectedBefore time.Time

	To     Status
	Reason string
	// Wipe removes the tokens and gives up the exclusive key.
	Wipe   bool
	Change *Delivery
}

// Update changes what is not token material. See [Integrations.Update]. Nil
// fields stay as they are.
type Update struct {
	TenantID, ID string
	Version      int64
	Metadata     *json.RawMessage
	ProviderData *json.RawMessage
	Scopes       *[]string
	Change       *Delivery
}

// ClaimDue asks for rows to refresh ahead. See [Integrations.ClaimDue].
type ClaimDue struct {
	Owner string
	Limit int
	TTL   time.Duration
	// Providers limits the claim to these keys; empty means none is claimed.
	Providers []string
	// Keys, when not empty, leaves out rows whose KeyID is another: a row that
	// cannot be opened stays as it is.
	Keys []string
}

// ListEnding asks for grants that are about to end. See [Integrations.ListEnding].
type ListEnding struct {
	// Within is how soon they end, from the store's now.
	Within time.Duration
	Limit  int
}

// ReportEnd says that the host is told of the end of a grant. See
// [Integrations.ReportEnds].
type ReportEnd struct {
	TenantID, ID string
	// SeenGen must be the row's TokenGen.
	SeenGen int64
	Change  *Delivery
}

// ListDue asks for rows whose refresh is due. See [Integrations.ListDue].
type ListDue struct {
	// After and AfterID are NextRefreshAt and ID of the row before the first.
	After   time.Time
	AfterID string
	Limit   int
	// Providers limits the list to these keys; empty means none.
	Providers []string
}

// ReportHeld says that a refresh that is due is not tried, and what the host is
// told of that. See [Integrations.ReportHeld].
type ReportHeld struct {
	TenantID, ID string
	// SeenGen must be the row's TokenGen.
	SeenGen int64
	// Code says why, at most 64 bytes. It is kept where there is no RefreshError.
	Code string
	// Report is how much of it the host has been told, which Change tells now.
	Report int
	Change *Delivery
}

// ClaimVerify asks for rows whose grant is to be verified. See
// [Integrations.ClaimVerify].
type ClaimVerify struct {
	Limit int
	// Again is when the rows are to be verified the next time, from the store's now.
	Again time.Duration
	// Providers limits the claim to these keys; empty means none is claimed.
	Providers []string
}

// Flow is one OAuth flow on its way through the browser. Neither the state nor
// the cookie is stored, only their SHA-256 in hex.
type Flow struct {
	StateHash, BrowserHash                 string
	TenantID, ActorID, SessionHash         string
	Provider, Label, RedirectURI, ReturnTo string
	// Verifier is the PKCE verifier, sealed; nil without PKCE. While the user
	// picks one of several accounts it is the grant, sealed.
	Verifier []byte
	// Site is where at the provider the user connects, at most 255 bytes; "" is
	// the usual place.
	Site string
	// Scopes are those asked for.
	Scopes []string
	// ExpectExternalID, when not "", is the account a reconnect must land on.
	ExpectExternalID string
	// TTL is how long the flow may take. It is used by PutFlow only.
	TTL time.Duration
	// Continues, when not "", is the StateHash of the tenant's flow that this one goes
	// on with, which must still be there, used or not. It is used by PutFlow only.
	Continues string
	// CreatedAt is set by the store.
	CreatedAt time.Time
}
