package integrations

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/webhook"
)

// ChangeKind names what happened in an integration's life.
type ChangeKind string

// The kinds of [Change].
const (
	ChangeConnected      ChangeKind = "connected"
	ChangeReconnected    ChangeKind = "reconnected"
	ChangeNeedsReconnect ChangeKind = "needs_reconnect"
	ChangeSuspended      ChangeKind = "suspended"
	ChangeResumed        ChangeKind = "resumed"
	ChangeRevoked        ChangeKind = "revoked"
	ChangeDisconnected   ChangeKind = "disconnected"
	ChangeRefreshFailing ChangeKind = "refresh_failing"
	ChangeRecovered      ChangeKind = "recovered"
	ChangeScopes         ChangeKind = "scopes_changed"
)

// Change is one step in an integration's life. It was stored in the same
// transaction as the step itself and reaches the host as webhooks do: at least
// once, in no promised order.
type Change struct {
	// ID is the idempotency key.
	ID            string     `json:"-"`
	Kind          ChangeKind `json:"kind"`
	TenantID      string     `json:"tenantId"`
	IntegrationID string     `json:"integrationId"`
	Provider      string     `json:"provider"`
	Label         string     `json:"label,omitempty"`
	ExternalID    string     `json:"externalId,omitempty"`
	Status        Status     `json:"status"`
	// Reason is a short code, "" when there is none.
	Reason string `json:"reason,omitempty"`
	// At is when the change was stored.
	At time.Time `json:"-"`
}

// OnChange registers the handler of changes. An error or a panic makes the
// change come again. There is one; a second call panics, as does one after
// [Manager.Run] or [Manager.Drain].
func (m *Manager) OnChange(fn func(ctx context.Context, c Change) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.onChange {
		panic("integrations: OnChange was called twice")
	}
	m.addHandler(webhook.On(store.ChangeProvider, webhook.AnyType, func(ctx context.Context, ev webhook.Event) error {
		c := Change{ID: ev.ID, At: ev.ReceivedAt}
		if err := ev.Decode(&c); err != nil {
			return err
		}
		return fn(ctx, c)
	}))
	m.onChange = true
}

// changeOf makes the inbox row of a change, nil when the store has no inbox.
func (m *Manager) changeOf(c Change) (*store.Delivery, error) {
	if m.inbox == nil {
		return nil, nil
	}
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("integrations: change: %w", err)
	}
	d := store.Delivery{
		ID: webhook.NewID(), Provider: store.ChangeProvider, TenantID: c.TenantID,
		IntegrationID: c.IntegrationID, ExternalID: c.ExternalID, EventType: string(c.Kind),
	}
	d.DeliveryID = d.ID
	if d.Body, err = webhook.SealBody(m.cfg.Cipher, d, body); err != nil {
		return nil, fmt.Errorf("integrations: change: %w", err)
	}
	if d.KeyID, err = m.cfg.Cipher.KeyID(d.Body); err != nil {
		return nil, fmt.Errorf("integrations: change: %w", err)
	}
	return &d, nil
}

// statusChange is the change that goes with a new status.
func (m *Manager) statusChange(in store.Integration, to store.Status, reason string) (*store.Delivery, error) {
	kind := ChangeKind(to)
	if to == store.Active {
		kind = ChangeResumed
	}
	return m.changeOf(Change{
		Kind: kind, TenantID: in.TenantID, IntegrationID: in.ID, Provider: in.Provider, Label: in.Label,
		ExternalID: in.ExternalID, Status: to, Reason: reason,
	})
}
