package integrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
)

// Errors of the connect flow.
var (
	// ErrUnauthenticated is for Config.Identify to return when nobody is signed
	// in.
	ErrUnauthenticated = errors.New("integrations: not signed in")
	// ErrAccountTaken means another integration holds the account: another tenant's,
	// or the tenant's own under another label.
	ErrAccountTaken = errors.New("integrations: account is connected already")
	// ErrAccountMismatch means a reconnect landed on another external account, or
	// on another person's where the account is one person's.
	ErrAccountMismatch = errors.New("integrations: reconnected another account")
	// ErrOwnershipUnverified means it was not proved that the user may bind the
	// account.
	ErrOwnershipUnverified = errors.New("integrations: ownership of the account was not proved")
)

// Errors of the packages below, under the names hosts use most.
var (
	ErrNotConnected      = providers.ErrNotConnected
	ErrReconnectRequired = providers.ErrReconnectRequired
	ErrSuspended         = providers.ErrSuspended
	ErrDisconnected      = providers.ErrDisconnected
	ErrTransient         = providers.ErrTransient
	ErrProviderDown      = providers.ErrProviderDown
	ErrAppMisconfigured  = providers.ErrAppMisconfigured
	ErrNotFound          = providers.ErrNotFound
	ErrConflict          = providers.ErrConflict
	ErrInvalid           = providers.ErrInvalid
	ErrWrongProvider     = providers.ErrWrongProvider
	ErrHostNotAllowed    = providers.ErrHostNotAllowed
	ErrRateLimited       = ratelimit.ErrRateLimited
	ErrSealed            = crypto.ErrSealed
	ErrUnknownKey        = crypto.ErrUnknownKey
	ErrWeakKey           = crypto.ErrWeakKey
	ErrSchema            = store.ErrSchema

	// ErrForbidden is also for Config.Identify to return when the user may not
	// manage integrations.
	ErrForbidden = providers.ErrForbidden
)

// MissingScopeError is [providers.MissingScopeError].
type MissingScopeError = providers.MissingScopeError

// RateLimitError is [ratelimit.Error].
type RateLimitError = ratelimit.Error

// usable maps what the vault reports to the errors hosts branch on. The cause
// stays reachable for errors.As.
func usable(err error) error {
	if err == nil {
		return nil
	}
	var status *token.StatusError
	if errors.As(err, &status) {
		return statusError(status.Status, status.Reason)
	}
	var call *token.Error
	if errors.As(err, &call) {
		return callError(call)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return ErrNotConnected
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, ErrSealed), errors.Is(err, ErrUnknownKey):
		return err
	default:
		return fmt.Errorf("%w: %w", ErrTransient, err)
	}
}

func statusError(s store.Status, reason string) error {
	base := ErrDisconnected
	switch s {
	case store.Active:
		return nil
	case store.NeedsReconnect:
		base = ErrReconnectRequired
	case store.Suspended:
		base = ErrSuspended
	}
	if reason == "" {
		return base
	}
	return fmt.Errorf("%w: %s", base, reason)
}

func callError(e *token.Error) error {
	switch {
	case e.Outcome == token.DeadGrant:
		return fmt.Errorf("%w: %w", ErrReconnectRequired, e)
	case e.Outcome == token.AppFault:
		return fmt.Errorf("%w: %w", ErrAppMisconfigured, e)
	case e.Status == 429:
		return fmt.Errorf("%w: %w", &ratelimit.Error{RetryAt: time.Now().Add(e.RetryAfter), Scope: e.Host + " token endpoint"}, e)
	case e.Status >= 500:
		return fmt.Errorf("%w: %w: %w", ErrTransient, ErrProviderDown, e)
	default:
		return fmt.Errorf("%w: %w", ErrTransient, e)
	}
}
