// Package token keeps OAuth tokens: it talks to token endpoints, stores what
// they answer sealed, hands tokens out from memory, and refreshes each one
// exactly once however many goroutines and replicas ask.
//
// [Client] makes one token call and classifies the answer. [Vault] hands out.
// Providers implement [Renewer].
package token

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Grant is a provider's answer to a code, a refresh token or a signed
// assertion.
type Grant struct {
	AccessToken Secret
	// RefreshToken is zero when the answer has none; the stored one is kept
	// then.
	RefreshToken Secret
	// TokenType is as the provider spells it; "" means Bearer.
	TokenType string
	// ExpiresIn is the access token's remaining life; 0 means unknown or never.
	ExpiresIn time.Duration
	// RefreshExpiresIn is the grant's remaining life; 0 means the answer does
	// not say.
	RefreshExpiresIn time.Duration
	// Scopes are those granted; nil means the answer does not say.
	Scopes []string
	// ProviderData, when not nil, replaces what the adapter stored at connect. It
	// is for renewals only.
	ProviderData json.RawMessage
}

// Renewer gets a fresh access token for a stored grant: by refresh token, or by
// minting one with a signed assertion. Providers implement it.
//
// Renew must make at most one request that spends the grant, through r.Client,
// and must return the client's *[Error] unchanged when it fails. It must be
// safe for concurrent use.
type Renewer interface {
	Renew(ctx context.Context, r Renewal) (Grant, error)
}

// EarlyRenewer is an optional ability of a [Renewer]: how long before its end an
// access token of the given life should be renewed. The default is 10 % of the
// life, at least 5 minutes, at most half of it.
type EarlyRenewer interface {
	RenewEarly(life time.Duration) time.Duration
}

// HostRenewer is an optional ability of a [Renewer]: the host that renews a
// grant, for providers with several, "" for the usual one. When a host is down,
// renewals are held back there and go on at the others. r holds no Client and no
// tokens. It must not block and must be safe for concurrent use.
type HostRenewer interface {
	RenewHost(r Renewal) string
}

// Renewal is what a [Renewer] gets.
type Renewal struct {
	// Client makes the token call.
	Client *Client

	TenantID, IntegrationID, ExternalID string
	// AccessToken and RefreshToken are the stored ones; RefreshToken is zero
	// when there is none.
	AccessToken, RefreshToken Secret
	Scopes                    []string
	// ProviderData is what the adapter stored at connect.
	ProviderData json.RawMessage
}

// Outcome classifies a token call that did not succeed. Only DeadGrant ever
// changes the status of an integration.
type Outcome int

const (
	// Transient means the grant was not spent or not judged: 408, 425, 429, 5xx,
	// or the request was never sent.
	Transient Outcome = iota
	// Ambiguous means the request was sent and no usable answer came: nobody
	// knows whether the provider rotated the token.
	Ambiguous
	// DeadGrant means the provider refused this very grant for good.
	DeadGrant
	// AppFault means the provider refused the app, not the grant: a wrong client
	// secret or a blocked app. No tenant is at fault.
	AppFault
	// Refused means another 4xx: something is wrong and nobody knows with what.
	Refused
)

func (o Outcome) String() string {
	switch o {
	case Transient:
		return "transient"
	case Ambiguous:
		return "ambiguous"
	case DeadGrant:
		return "dead grant"
	case AppFault:
		return "app fault"
	default:
		return "refused"
	}
}

// MarshalText writes what String returns.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Error is a token call that did not succeed. It holds no token, body or URL.
type Error struct {
	Outcome Outcome
	// Code is the provider's error code if it has the form of one, else a short
	// code of this package such as "timeout" or "bad_answer".
	Code string
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// Host is the token endpoint's host.
	Host string
	// RetryAfter is what the provider asked for, at most 24 hours; 0 when it did
	// not. While renewals are held back (see [FaultEvent]) it is when the next call
	// may be made; the other fields are those of the last failure then.
	RetryAfter time.Duration

	// uncalled says that no call was made for this error.
	uncalled bool
}

func (e *Error) Error() string {
	return fmt.Sprintf("integrations/token: %s from %s (status %d): %s", e.Code, e.Host, e.Status, e.Outcome)
}

// Token is an access token as it is handed out. It is immutable and may be
// shared.
type Token struct {
	// Access is the token itself.
	Access Secret
	// Header is the ready value of the Authorization header. It must not be
	// changed.
	Header []string
	// Gen is the generation of the token material it belongs to.
	Gen int64
}

// Format writes the generation and no token, for every verb.
func (t Token) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "token of generation %d %s", t.Gen, redacted)
}

// MarshalJSON writes "[redacted]".
func (t Token) MarshalJSON() ([]byte, error) { return t.Access.MarshalJSON() }
