package ratelimit

import "time"

// Budget is one limit of a provider, as data: so many units in a window, or so
// many calls at a time. It is declared once and used by pointer; it must not be
// changed afterwards. What a provider's answers tell of it moves what is kept for
// each key, not the Budget.
type Budget struct {
	// Name tells it from the provider's other budgets, for example "core" or
	// "chat.postMessage". Required, unique within a provider.
	Name string
	// Units may be spent in each Window. 0 means that only Concurrent bounds it.
	Units  int
	Window time.Duration
	// Refill says how units come back.
	Refill Refill
	// Burst is how many units of a [Continuous] budget may go at once after a
	// rest. Within any Window no more than Units + Burst are ever spent, so a
	// provider that counts exactly needs Units below its limit by Burst. Defaults
	// to 1.
	Burst int
	// Concurrent is how many calls may be under way at a time; 0 means no bound.
	Concurrent int
	// Reserve is how many units of a window are left to others: when only so many
	// remain, callers wait for the next window.
	Reserve int
	// Shared says that all tenants of the host draw from it, so that those who
	// wait for it take turns by tenant.
	Shared bool
	// SlowStart lets calls go one by one at first after the provider refused one,
	// twice as many at a time with each that is not refused.
	SlowStart bool
}

// Refill is how units of a [Budget] come back.
type Refill uint8

const (
	// Continuous: evenly over the window.
	Continuous Refill = iota
	// Whole: all at once when the window ends. A window begins with the first call
	// after the last one ended, unless an answer tells when it ends.
	Whole
	// Aligned is Whole with windows that end at whole multiples of Window in UTC,
	// for example at the top of the hour.
	Aligned
)

// Charge is what one call draws from one budget.
type Charge struct {
	Budget *Budget
	// Key says whose: the account, the user, the channel; "" is the whole app's.
	Key string
	// Cost is in units. 0 counts as 1.
	Cost int
}

// Reading is what an answer tells of a budget.
type Reading struct {
	Budget *Budget
	Key    string
	// Limit is the number of units of a window, 0 when the answer does not tell.
	Limit int
	// Remaining is how many units are left, negative when the answer does not tell.
	Remaining int
	// ResetIn is when the window ends, 0 when the answer does not tell, negative when
	// that is past: such an answer tells nothing of the present window. Anything
	// beyond a day, or twice the budget's Window when that is more, is not believed.
	ResetIn time.Duration
	// Refused says that the provider refused the call because of this budget:
	// everybody who draws from it waits for RetryAfter, or ResetIn, or a minute.
	Refused    bool
	RetryAfter time.Duration
	// Uncharged says that the provider did not charge the call to this budget: what
	// the call drew from it is given back.
	Uncharged bool
}

// Priority is the order in which those who wait for a budget go.
type Priority uint8

const (
	// Interactive is for calls that somebody waits for. It is what a call has that
	// says nothing else.
	Interactive Priority = iota
	// Background is for syncs and jobs: it goes when nobody interactive waits.
	Background
)
