package integrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/store"
)

const (
	// cleanEvery is how often rows that are over are removed, cleanBatch how many
	// at a time.
	cleanEvery = 10 * time.Minute
	cleanBatch = 1000
	// keepFlows: an unfinished flow is worth nothing after its end.
	keepFlows = time.Hour

	// redelivery is how long providers may send an event again: what is kept of it is
	// how that is noticed. retries is longer than an event that fails waits for its
	// next try.
	redelivery = 7 * 24 * time.Hour
	retries    = 24 * time.Hour
)

// Retention is how long the store keeps webhooks and changes. [Manager.Run] and
// [Manager.Drain] remove the rest, in batches.
type Retention struct {
	// Done is how long those are kept that were handled. One that the provider sends
	// again is known by it and not handled twice. Defaults to 7 days and is at least
	// that.
	Done time.Duration
	// Unhandled is how long those are kept that nobody has a handler for. Defaults to
	// 30 days and is at least 24 h.
	Unhandled time.Duration
	// DeadLetters is how many of those are kept that failed too often. They are kept
	// until they are replayed, whatever their age; of more than this the oldest are
	// removed, and that is told: see [RetentionEvent]. Defaults to 100,000.
	DeadLetters int
}

func (r *Retention) setDefaults() {
	if r.Done == 0 {
		r.Done = redelivery
	}
	if r.Unhandled == 0 {
		r.Unhandled = 30 * 24 * time.Hour
	}
	if r.DeadLetters == 0 {
		r.DeadLetters = 100_000
	}
}

func (r *Retention) validate() error {
	var faults []error
	if r.Done < redelivery {
		faults = append(faults, errors.New("integrations: Retention.Done is under 7 days: events that providers send again would be handled twice"))
	}
	if r.Unhandled < retries {
		faults = append(faults, errors.New("integrations: Retention.Unhandled is under 24 h: events that wait for their next try would be removed"))
	}
	if r.DeadLetters < 0 {
		faults = append(faults, errors.New("integrations: Retention.DeadLetters must not be negative"))
	}
	return errors.Join(faults...)
}

// RetentionEvent says that webhooks or changes were removed without having been
// handled, as an [Observer] sees it. It is logged too.
type RetentionEvent struct {
	// DeadLetters says that they had failed too often and that there were more of them
	// than Retention.DeadLetters; else nobody had a handler for them within
	// Retention.Unhandled.
	DeadLetters bool
	// Removed is how many, of all tenants.
	Removed int
}

// clean removes rows that are over, in batches that hold no lock for long.
func (m *Manager) clean(ctx context.Context) error {
	if _, err := inBatches(ctx, func() (int, error) { return m.cfg.Store.DeleteFlows(ctx, keepFlows, cleanBatch) }); err != nil {
		return fmt.Errorf("integrations: remove flows: %w", err)
	}
	if m.inbox == nil {
		return nil
	}
	keep := m.cfg.Retention
	_, err := inBatches(ctx, func() (int, error) { return m.inbox.DeleteDeliveries(ctx, store.Done, keep.Done, cleanBatch) })
	if err != nil {
		return fmt.Errorf("integrations: remove handled deliveries: %w", err)
	}
	n, err := inBatches(ctx, func() (int, error) { return m.inbox.DeleteDeliveries(ctx, store.Pending, keep.Unhandled, cleanBatch) })
	m.tellRemoved(ctx, RetentionEvent{Removed: n})
	if err != nil {
		return fmt.Errorf("integrations: remove deliveries that nobody handles: %w", err)
	}
	n, err = inBatches(ctx, func() (int, error) { return m.inbox.TrimDeliveries(ctx, store.Dead, keep.DeadLetters, cleanBatch) })
	m.tellRemoved(ctx, RetentionEvent{DeadLetters: true, Removed: n})
	if err != nil {
		return fmt.Errorf("integrations: remove dead letters: %w", err)
	}
	return nil
}

// tellRemoved says what was removed unhandled, if anything was.
func (m *Manager) tellRemoved(ctx context.Context, e RetentionEvent) {
	switch {
	case e.Removed == 0:
		return
	case e.DeadLetters:
		m.log.ErrorContext(ctx, "integrations: the oldest dead letters were removed, because there are more than Retention.DeadLetters",
			"removed", e.Removed, "limit", m.cfg.Retention.DeadLetters)
	default:
		m.log.InfoContext(ctx, "integrations: webhooks or changes that nobody handles were removed", "removed", e.Removed)
	}
	m.observe(ctx, e)
}

// inBatches calls del until it has removed less than a batch, and returns how many
// it removed.
func inBatches(ctx context.Context, del func() (int, error)) (int, error) {
	for total := 0; ; {
		n, err := del()
		total += n
		if err != nil || n < cleanBatch {
			return total, err
		}
		if ctx.Err() != nil {
			return total, ctx.Err()
		}
	}
}
