// Package ratelimit decides when a call to a provider may go. A provider's limits
// are [Budget] values; a [Limiter] is asked before each attempt for what the call
// draws from them, and told afterwards what the answer says. [Local] is the
// default, for one process; package redislimit shares budgets between replicas.
package ratelimit

import (
	"context"
	"errors"
	"time"
)

// ErrRateLimited is what every [*Error] is, for errors.Is.
var ErrRateLimited = errors.New("integrations/ratelimit: rate limited")

// Error means the budget of a call is spent, or the wait would outlast the
// caller's deadline. Nothing was sent.
type Error struct {
	// RetryAt is when the call may be tried again.
	RetryAt time.Time
	// Scope names the budget, for example "slack chat.postMessage T0001".
	Scope string
}

func (e *Error) Error() string {
	return "integrations/ratelimit: rate limited until " + e.RetryAt.UTC().Format(time.RFC3339) + ": " + e.Scope
}

// Is reports whether target is [ErrRateLimited].
func (e *Error) Is(target error) bool { return target == ErrRateLimited }

// Call is one attempt of a call. It may be used again once Done was called with it.
type Call struct {
	// Provider is the key of the provider.
	Provider string
	// TenantID is the tenant it is made for: those who wait for a shared budget
	// take turns by tenant.
	TenantID string
	// Priority is the order of those who wait.
	Priority Priority
	// Charges are what it draws, the narrowest budget first: of a call that has to
	// wait for two of them, the units of the other are not kept meanwhile.
	Charges []Charge
	// Handles makes calls of the same caller that come again cheaper. Nil means that
	// budgets are looked up for each.
	Handles *Handles

	by *alone // which of a Shared's limiters let it go
}

// Limiter keeps budgets. Implementations must be safe for concurrent use.
type Limiter interface {
	// Wait returns nil when the call may go; Done must be called once then. It
	// returns an [*Error] at once when the call would have to wait beyond ctx's
	// deadline or too many wait already, and ctx's error when ctx ends first. It
	// does not keep c.
	Wait(ctx context.Context, c *Call) error
	// Done ends a call that went and tells what its answer said of the budgets.
	// Readings of budgets that the call did not draw from are welcome too.
	Done(c *Call, readings []Reading)
}

// Viewer is an optional ability of a [Limiter]: it shows what it knows.
type Viewer interface {
	// View is how a provider's budget of a key stands.
	View(provider string, b *Budget, key string) View
}

// View is how a budget stands.
type View struct {
	// Limit is the number of units of a window, 0 when there is none.
	Limit int
	// Remaining is how many may be spent now.
	Remaining int
	// ResetIn is when all units are there again, 0 when they are.
	ResetIn time.Duration
	// Waiting is how many calls wait.
	Waiting int
}

type priorityKey struct{}

// WithPriority makes the calls under ctx wait as p says.
func WithPriority(ctx context.Context, p Priority) context.Context {
	return context.WithValue(ctx, priorityKey{}, p)
}

// PriorityOf is the priority of calls under ctx, [Interactive] unless
// [WithPriority] said otherwise.
func PriorityOf(ctx context.Context) Priority {
	p, _ := ctx.Value(priorityKey{}).(Priority)
	return p
}
