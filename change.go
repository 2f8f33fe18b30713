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
	// ChangeConnected: a tenant connected an account, for the first time or after
	// a disconnect.
	ChangeConnected ChangeKind = "connected"
	// ChangeReconnected: a tenant replaced the grant of a connected account, for
	// example to grant more scopes.
	ChangeReconnected ChangeKind = "reconnected"
	// ChangeNeedsReconnect: the provider refused the grant for good.
	ChangeNeedsReconnect ChangeKind = "needs_reconnect"
	// ChangeSuspended and ChangeResumed: the provider paused the installation, and
	// ended the pause.
	ChangeSuspended ChangeKind = "suspended"
	ChangeResumed   ChangeKind = "resumed"
	// ChangeRevoked: the app was removed at the provider.
	ChangeRevoked ChangeKind = "revoked"
	// ChangeDisconnected: the tenant disconnected here.
	ChangeDisconnected ChangeKind = "disconnected"
	// ChangeRefreshFailing: renewing the access failed five times in a row; or,
	// with the reason "given_up", failed or was held back for longer than
	// Config.GiveUpAfter while the token has ended, so that calls fail. It is tried
	// on, and the status stays.
	ChangeRefreshFailing ChangeKind = "refresh_failing"
	// ChangeRecovered: renewing works again after a refresh_failing.
	ChangeRecovered ChangeKind = "recovered"
	// ChangeScopes: the provider granted other scopes than before, without a
	// connect; or, with a reason,
	// other permissions or other things to use them on: the repositories of a GitHub
	// installation.
	ChangeScopes ChangeKind = "scopes_changed"
	// ChangeGrantEnding: the grant ends within two weeks, at EndsAt, and renewals do
	// not prolong it. Connecting again does.
	ChangeGrantEnding ChangeKind = "grant_ending"
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
	// PreviousExternalID is the account before, where a tenant connected another
	// one in its place, or another person of the same; else "".
	PreviousExternalID string `json:"previousExternalId,omitempty"`
	Status             Status `json:"status"`
	// Scopes are those granted now, and MissingScopes those that are wanted and were
	// not, for connected, reconnected and scopes_changed.
	Scopes        []string `json:"scopes,omitempty"`
	MissingScopes []string `json:"missingScopes,omitempty"`
	// Reason is a short code, "" when there is none.
	Reason string `json:"reason,omitempty"`
	// Since is when renewing began to fail, for refresh_failing and recovered.
	Since time.Time `json:"since,omitzero"`
	// EndsAt is when the grant ends, for grant_ending.
	EndsAt time.Time `json:"endsAt,omitzero"`
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
