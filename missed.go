package integrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/webhook"
)

const (
	// redeliverEvery is how often a provider's log of deliveries is looked at, by
	// all replicas together: whoever takes the lease keeps others from it for so
	// long. redeliverLook is how often a replica tries to, redeliverTimeout bounds
	// the work within the lease.
	redeliverEvery   = 5 * time.Minute
	redeliverLook    = time.Minute
	redeliverTimeout = 4 * time.Minute
)

// RecoveryEvent tells the [Observer] of webhooks that did not arrive.
type RecoveryEvent struct {
	Provider string
	// TenantID and IntegrationID are "" for what belongs to a whole app.
	TenantID, IntegrationID string
	// Requested counts those that the provider was asked to send again, Stored
	// those that were read there and stored.
	Requested, Stored int
	Err               error
}

// redeliverMissed has providers send again what did not arrive. What fails is
// logged and tried at the next time.
func (m *Manager) redeliverMissed(ctx context.Context) error {
	c, ok := m.cfg.Store.(store.Checkpoints)
	if !ok {
		return nil // without a lease each replica would ask for all of it
	}
	for _, key := range m.keys {
		p := m.providers[key]
		if p.redeliverer == nil || p.receiver == nil {
			continue
		}
		name := "redeliver/" + key
		won, err := c.TryLease(ctx, store.Ref{}, name, newID(), redeliverEvery)
		if err != nil {
			return fmt.Errorf("integrations: missed webhooks: %w", err)
		}
		if !won {
			continue
		}
		n, err := m.redeliver(ctx, p, providers.NewCheckpoint(checkpoints{m, c, store.Ref{}}, name))
		if errors.Is(err, errors.ErrUnsupported) || ctx.Err() != nil {
			continue
		}
		if n > 0 || err != nil {
			m.observe(ctx, RecoveryEvent{Provider: key, Requested: n, Err: err})
		}
		if err != nil {
			m.log.WarnContext(ctx, "integrations: missed webhooks were not asked for", "provider", key, "requested", n, "error", err)
		}
	}
	return nil
}

// redeliver asks the adapter. A panic of it is an error, as in renewed.
func (m *Manager) redeliver(ctx context.Context, p *provider, log *providers.Checkpoint) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("integrations: missed webhooks: panic of type %T", v)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, redeliverTimeout)
	defer cancel()
	return p.redeliverer.RedeliverMissed(ctx, providers.Redelivery{HTTP: p.http, Log: log})
}

// readMissed stores what the provider gave up on delivering to an integration.
func (m *Manager) readMissed(ctx context.Context, p *provider, conn *providers.Connection) error {
	in, err := m.cfg.Store.Get(ctx, conn.TenantID(), conn.IntegrationID())
	if err != nil {
		return fmt.Errorf("integrations: missed webhooks: %w", err)
	}
	accounts := []string{in.ExternalID, in.ExternalAlias}
	target := webhook.Target{TenantID: in.TenantID, IntegrationID: in.ID}
	stored := 0
	err = p.missed.ReadMissed(ctx, conn, func(ctx context.Context, d providers.MissedDelivery) error {
		n, err := p.receiver.StoreMissed(ctx, target, accounts, d.Header, d.Body)
		stored += n
		if errors.Is(err, webhook.ErrUnreadable) {
			// It will be no better next time, and others wait behind it.
			m.log.WarnContext(ctx, "integrations: missed webhook is not readable",
				"provider", in.Provider, "tenant", in.TenantID, "integration", in.ID, "error", err)
			return nil
		}
		return err
	})
	if stored > 0 || err != nil {
		m.observe(ctx, RecoveryEvent{Provider: in.Provider, TenantID: in.TenantID, IntegrationID: in.ID, Stored: stored, Err: err})
	}
	return err
}
