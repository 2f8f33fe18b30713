// Package ratelimit decides when a call to a provider may go. A [Limiter] is
// asked before each attempt and told each answer. [Local] is the default, for
// one process.
package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// ErrRateLimited is what every [*Error] is, for errors.Is.
var ErrRateLimited = errors.New("integrations/ratelimit: rate limited")

// Error means the budget of a call is spent, or the wait would outlast the
// caller's deadline. Nothing was sent.
type Error struct {
	// RetryAt is when the call may be tried again.
	RetryAt time.Time
	// Scope names the budget, for example "slack T0001 chat.postMessage".
	Scope string
}

func (e *Error) Error() string {
	return "integrations/ratelimit: rate limited until " + e.RetryAt.UTC().Format(time.RFC3339) + ": " + e.Scope
}

// Is reports whether target is [ErrRateLimited].
func (e *Error) Is(target error) bool { return target == ErrRateLimited }

// Call is one attempt of a call.
type Call struct {
	// Provider is the key of the provider, Account its external account: limits
	// of providers are kept for each account, whoever of our tenants calls.
	Provider, Account string
	TenantID          string
	// Bucket is the part of the provider's API with a limit of its own, "" when
	// there is only one.
	Bucket string
	// Cost is how much the call draws from its budget, at least 1.
	Cost int
}

// Answer is what came back of a call.
type Answer struct {
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	Header http.Header
	// Limited says that the provider refused the call because of a limit.
	Limited bool
	// RetryAfter is how long the provider asked to wait; 0 when it did not say.
	RetryAfter time.Duration
}

// Limiter keeps budgets. Implementations must be safe for concurrent use.
type Limiter interface {
	// Wait returns when the call may go. It returns an [*Error] at once when
	// that would be after ctx's deadline, and ctx's error when ctx ends first.
	Wait(ctx context.Context, c Call) error
	// Answered reports the answer of a call that went.
	Answered(c Call, a Answer)
}
