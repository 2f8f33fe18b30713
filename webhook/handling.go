package webhook

import (
	"fmt"
	"time"
)

// Handling says how stored events are handled. The zero value is right for most
// hosts: every field has a default.
type Handling struct {
	// Concurrency is how many events a process handles at a time. Defaults to 16.
	Concurrency int
	// TenantConcurrency is how many of them may be of one tenant, so that a flood of
	// its events leaves room for the others' and costs them no wait. Tenants take
	// turns beyond that. A host with one tenant sets it to Concurrency. Defaults to
	// half of Concurrency.
	TenantConcurrency int
	// Batch is how many events are claimed at a time and wait in the process, with
	// their bodies in memory. Defaults to twice Concurrency.
	Batch int
	// Lease is how long a claim lasts; it is renewed at a third of it. After a crash
	// its events run elsewhere when it is over. Defaults to 60 s.
	Lease time.Duration
	// HandlerTimeout ends a handler's context. One that does not return within 5 s
	// after that is left behind: the event counts as failed, and may come again
	// while the first handler still runs. Defaults to 5 minutes.
	HandlerTimeout time.Duration
	// MaxStarts is how often an event's handler is started before the event is
	// dead. Starts that a crash cut short count; claims do not, but ten more of them
	// than that, each of which a crash ended before the start, make an event dead
	// too. Defaults to 8.
	MaxStarts int
	// Schedule is how long an event rests after its first, second, … failed
	// attempt, give or take a tenth; the last entry stands for all that follow.
	// Defaults to 5 s, 30 s, 2 min, 10 min, 1 h, 3 h, 8 h.
	Schedule []time.Duration
	// DeadBlocks keeps the events of an order key back while an older one of it is
	// dead, until that is replayed or removed. By default a dead one lets the next
	// go. See [Event].OrderKey.
	DeadBlocks bool
	// Poll is how often Run looks for events that other processes stored and for
	// those that are due again. Defaults to 1 s.
	Poll time.Duration
	// DrainTimeout is how long running handlers may go on once Run's context has
	// ended. Defaults to 15 s.
	DrainTimeout time.Duration
}

// handlerGrace is how long a handler may take to return after its context
// ended. One that hangs must not keep its place from other events for good.
const handlerGrace = 5 * time.Second

// moreLost is how many leases of an event may run out beyond MaxStarts.
const moreLost = 10

func (h *Handling) setDefaults() {
	if h.Concurrency == 0 {
		h.Concurrency = 16
	}
	if h.TenantConcurrency == 0 {
		h.TenantConcurrency = max(1, h.Concurrency/2)
	}
	if h.Batch == 0 {
		h.Batch = 2 * h.Concurrency
	}
	if h.Lease == 0 {
		h.Lease = 60 * time.Second
	}
	if h.HandlerTimeout == 0 {
		h.HandlerTimeout = 5 * time.Minute
	}
	if h.MaxStarts == 0 {
		h.MaxStarts = 8
	}
	if len(h.Schedule) == 0 {
		h.Schedule = []time.Duration{
			5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 3 * time.Hour, 8 * time.Hour,
		}
	}
	if h.Poll == 0 {
		h.Poll = time.Second
	}
	if h.DrainTimeout == 0 {
		h.DrainTimeout = 15 * time.Second
	}
}

// Validate reports the faults of h. Fields at zero have defaults and are none.
func (h Handling) Validate() error {
	for _, n := range []int{h.Concurrency, h.TenantConcurrency, h.Batch, h.MaxStarts} {
		if n < 0 {
			return fmt.Errorf("integrations/webhook: Concurrency, TenantConcurrency, Batch and MaxStarts must not be negative")
		}
	}
	for _, d := range []time.Duration{h.Lease, h.HandlerTimeout, h.Poll, h.DrainTimeout} {
		if d < 0 {
			return fmt.Errorf("integrations/webhook: Lease, HandlerTimeout, Poll and DrainTimeout must not be negative")
		}
	}
	for _, d := range h.Schedule {
		if d <= 0 {
			return fmt.Errorf("integrations/webhook: Schedule must be positive")
		}
	}
	return nil
}

// restFor is how long an event rests after its n-th failure.
func (h *Handling) restFor(n int) time.Duration {
	return jitter(h.Schedule[max(0, min(n, len(h.Schedule))-1)])
}
