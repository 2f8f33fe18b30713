package integrations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
)

// Status is the state of an integration.
type Status = store.Status

// The states of an integration. See package store.
const (
	StatusActive         = store.Active
	StatusNeedsReconnect = store.NeedsReconnect
	StatusSuspended      = store.Suspended
	StatusRevoked        = store.Revoked
	StatusDisconnected   = store.Disconnected
)

// Integration is a connected account as a host may show it: no token material.
type Integration struct {
	ID       string `json:"id"`
	TenantID string `json:"tenantId"`
	Provider string `json:"provider"`
	Label    string `json:"label,omitempty"`
	Status   Status `json:"status"`
	// Reason is a short code: why Status is not active.
	Reason string `json:"reason,omitempty"`
	// ExternalID is the provider's id of the account.
	ExternalID string   `json:"externalId,omitempty"`
	Scopes     []string `json:"scopes,omitempty"`
	// MissingScopes are those the host wants and the provider did not grant.
	MissingScopes []string `json:"missingScopes,omitempty"`
	// LastError says in plain words what is wrong now, "" when nothing is.
	LastError string `json:"lastError,omitempty"`
	// Metadata is the host's JSON, ProviderData the library's.
	Metadata     json.RawMessage `json:"metadata,omitempty"`
	ProviderData json.RawMessage `json:"providerData,omitempty"`
	// Version is for SetMetadata.
	Version     int64     `json:"version"`
	ConnectedAt time.Time `json:"connectedAt"`
	CreatedAt   time.Time `json:"createdAt"`
	UpdatedAt   time.Time `json:"updatedAt"`
}

// Integrations lists a tenant's integrations, ordered by provider and label.
func (m *Manager) Integrations(ctx context.Context, tenant string) ([]Integration, error) {
	rows, err := m.cfg.Store.List(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("integrations: list: %w", err)
	}
	out := make([]Integration, len(rows))
	for i, in := range rows {
		out[i] = m.view(in)
	}
	return out, nil
}

// SetMetadata replaces the host's JSON of an integration if its Version still is
// the given one, and returns the new Version. It returns an error wrapping
// [ErrInvalid] for metadata that is not JSON or over 64 KiB, [ErrConflict] when
// somebody else changed the integration, [ErrNotConnected] when there is none.
func (m *Manager) SetMetadata(ctx context.Context, tenant, id string, metadata json.RawMessage, version int64) (int64, error) {
	if len(metadata) > 64<<10 || !json.Valid(metadata) {
		return 0, fmt.Errorf("%w: metadata must be JSON of at most 64 KiB", ErrInvalid)
	}
	v, err := m.cfg.Store.Update(ctx, store.Update{TenantID: tenant, ID: id, Version: version, Metadata: &metadata})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 0, ErrNotConnected
	case errors.Is(err, store.ErrConflict):
		return 0, fmt.Errorf("%w: integration was changed meanwhile", ErrConflict)
	case err != nil:
		return 0, fmt.Errorf("integrations: set metadata: %w", err)
	}
	m.vault.Evict(tenant, id)
	return v, nil
}

// Disconnect ends an integration: its tokens are removed here first, so that no
// call goes out any more, then the grant is revoked at the provider if the
// provider can do that and no other integration uses the account. A revocation
// that fails is logged, not returned: the tenant is disconnected all the same.
// Other replicas notice within Config.CacheFor. Disconnecting twice is no error;
// an unknown integration is an error wrapping [ErrNotConnected].
func (m *Manager) Disconnect(ctx context.Context, tenant, id string) error {
	in, err := m.cfg.Store.Get(ctx, tenant, id)
	if errors.Is(err, store.ErrNotFound) {
		return ErrNotConnected
	}
	if err != nil {
		return fmt.Errorf("integrations: disconnect: %w", err)
	}
	if in.Status == store.Disconnected {
		return nil
	}
	change, err := m.statusChange(in, store.Disconnected, "")
	if err != nil {
		return err
	}
	if _, err = m.cfg.Store.SetStatus(ctx, store.SetStatus{
		TenantID: tenant, ID: id, To: store.Disconnected, Wipe: true, Change: change,
	}); err != nil {
		return fmt.Errorf("integrations: disconnect: %w", err)
	}
	m.vault.Evict(tenant, id)
	subs, err := m.dropEndpoints(ctx, in)
	if err != nil {
		// They lead nowhere any more: the integration they belong to is over.
		m.log.WarnContext(ctx, "integrations: webhook endpoints were not removed",
			"provider", in.Provider, "tenant", in.TenantID, "integration", in.ID, "error", err)
	}
	m.revoke(ctx, in, subs)
	return nil
}

// revoke ends the grant of a row that was wiped, best effort.
func (m *Manager) revoke(ctx context.Context, in store.Integration, subs []providers.Subscription) {
	p := m.providers[in.Provider]
	if p == nil || p.revoker == nil || len(in.AccessToken) == 0 {
		return
	}
	others, err := m.cfg.Store.FindByExternal(ctx, in.Provider, in.ExternalID)
	if err == nil && slices.ContainsFunc(others, func(o store.Integration) bool {
		return o.ID != in.ID && o.Status == store.Active
	}) {
		return
	}
	var access, refresh token.Secret
	if err == nil {
		access, refresh, err = token.OpenGrant(m.cfg.Cipher, in)
	}
	if err == nil {
		err = p.revoker.Revoke(ctx, providers.Revocation{
			ExternalID: in.ExternalID, AccessToken: access, RefreshToken: refresh,
			ProviderData: in.ProviderData, Subscriptions: subs, Client: m.client, HTTP: p.http,
		})
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		m.log.WarnContext(ctx, "integrations: grant was not revoked at the provider",
			"provider", in.Provider, "tenant", in.TenantID, "integration", in.ID, "error", err)
	}
}

func (m *Manager) view(in store.Integration) Integration {
	v := Integration{
		ID: in.ID, TenantID: in.TenantID, Provider: in.Provider, Label: in.Label,
		Status: in.Status, Reason: in.StatusReason, ExternalID: in.ExternalID, Scopes: in.Scopes,
		LastError: lastError(in), Metadata: in.Metadata, ProviderData: in.ProviderData,
		Version: in.Version, ConnectedAt: in.ConnectedAt, CreatedAt: in.CreatedAt, UpdatedAt: in.UpdatedAt,
	}
	if p := m.providers[in.Provider]; p != nil {
		v.MissingScopes = missing(p.info.Scopes, in.Scopes)
	}
	return v
}

// missing lists what was wanted and not granted. An integration whose provider
// does not tell the granted scopes misses none.
func missing(wanted, granted []string) []string {
	if granted == nil {
		return nil
	}
	var out []string
	for _, s := range wanted {
		if !slices.Contains(granted, s) {
			out = append(out, s)
		}
	}
	return out
}

func lastError(in store.Integration) string {
	switch in.Status {
	case store.NeedsReconnect:
		return "The provider no longer accepts this connection. Connect again."
	case store.Suspended:
		return "The provider has suspended this connection."
	case store.Revoked:
		return "The app was removed at the provider. Connect again."
	case store.Disconnected:
		return "Disconnected."
	}
	if in.RefreshFails > 0 {
		return fmt.Sprintf("Refreshing the access fails at the moment (%s); it is tried again.", in.RefreshError)
	}
	return ""
}
