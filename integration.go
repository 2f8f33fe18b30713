package integrations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

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
	// LastError says in plain words what is wrong now, "" when nothing is. See
	// [Integration.Explain].
	LastError string `json:"lastError,omitempty"`
	// FailingSince is when renewing the access began to fail, or to be held back while
	// calls fail; zero when it does not. FailingCode is a short code of the last
	// failure. GivenUp says that this has lasted for longer than Config.GiveUpAfter and
	// calls fail.
	FailingSince time.Time `json:"failingSince,omitzero"`
	FailingCode  string    `json:"failingCode,omitempty"`
	GivenUp      bool      `json:"givenUp,omitempty"`
	// GrantEndsAt is when the grant ends unless it is renewed before, zero when that
	// is unknown or never. A year after consent some providers' grants end whatever
	// is done.
	GrantEndsAt time.Time `json:"grantEndsAt,omitzero"`
	// GrantRenews says that renewals put GrantEndsAt off, so that Run keeps the grant
	// from ending.
	GrantRenews bool `json:"grantRenews,omitempty"`
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
func (m *Manager) Integrations(ctx context.Context, tenant string) (list []Integration, err error) {
	defer m.recovered(ctx, "list", &err)
	rows, err := m.cfg.Store.List(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("integrations: list: %w", err)
	}
	list = make([]Integration, len(rows))
	for i, in := range rows {
		list[i] = m.view(in)
	}
	return list, nil
}

// SetMetadata replaces the host's JSON of an integration if its Version still is
// the given one, and returns the new Version. It returns an error wrapping
// [ErrInvalid] for metadata that is not JSON or over 64 KiB, [ErrConflict] when
// somebody else changed the integration, [ErrNotConnected] when there is none.
func (m *Manager) SetMetadata(ctx context.Context, tenant, id string, metadata json.RawMessage, version int64) (newVersion int64, err error) {
	defer m.recovered(ctx, "set metadata", &err)
	if len(metadata) > 64<<10 || !json.Valid(metadata) {
		return 0, fmt.Errorf("%w: metadata must be JSON of at most 64 KiB", ErrInvalid)
	}
	newVersion, err = m.cfg.Store.Update(ctx, store.Update{TenantID: tenant, ID: id, Version: version, Metadata: &metadata})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 0, ErrNotConnected
	case errors.Is(err, store.ErrConflict):
		return 0, fmt.Errorf("%w: integration was changed meanwhile", ErrConflict)
	case err != nil:
		return 0, fmt.Errorf("integrations: set metadata: %w", err)
	}
	m.vault.Evict(tenant, id)
	return newVersion, nil
}

const (
	// disconnectTries is how often a disconnect is tried when the tokens change
	// under it.
	disconnectTries = 5
	// endTimeout bounds what is done at the provider after a disconnect.
	endTimeout = 30 * time.Second
)

// Disconnect ends an integration: its tokens are removed here first, so that no
// call goes out any more, then its webhook endpoints; then its subscriptions are
// ended and the grant is revoked at the provider, if the provider can do that and
// no integration that is in use would lose its grant by it. What fails at the provider is logged, not
// returned: the tenant is disconnected all the same, also if ctx ends meanwhile.
// Other replicas notice within Config.CacheFor. Disconnecting twice is no error; an
// unknown integration is an error wrapping [ErrNotConnected], one whose tokens keep
// changing one wrapping [ErrConflict].
func (m *Manager) Disconnect(ctx context.Context, tenant, id string) (err error) {
	defer m.recovered(ctx, "disconnect", &err)
	in, err := m.wipe(ctx, tenant, id)
	if err != nil {
		return err
	}
	m.forget(ctx, tenant, id)
	m.wake()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	m.endAtProvider(ctx, in, m.dropEndpoints(ctx, in))
	return nil
}

// wipe marks a row as disconnected and removes its tokens. It returns the row as
// it was, with the very tokens that were removed; without any when it was
// disconnected before.
func (m *Manager) wipe(ctx context.Context, tenant, id string) (store.Integration, error) {
	for range disconnectTries {
		in, err := m.cfg.Store.Get(ctx, tenant, id)
		if errors.Is(err, store.ErrNotFound) {
			return in, ErrNotConnected
		}
		if err != nil {
			return in, fmt.Errorf("integrations: disconnect: %w", err)
		}
		if in.Status == store.Disconnected && len(in.AccessToken) == 0 {
			return in, nil
		}
		s, err := m.step(in, ChangeDisconnected, "")
		if err != nil {
			return in, err
		}
		if in.Status == store.Disconnected { // by a purge that was interrupted
			s.From, s.Change = []Status{StatusDisconnected}, nil
		}
		// A refresh or a reconnect may have stored other tokens since: those are to
		// be revoked then.
		s.SeenGen = in.TokenGen
		done, err := m.cfg.Store.SetStatus(ctx, s)
		if err != nil {
			return in, fmt.Errorf("integrations: disconnect: %w", err)
		}
		if done {
			return in, nil
		}
	}
	return store.Integration{}, fmt.Errorf("%w: the integration keeps changing", ErrConflict)
}

func (m *Manager) view(in store.Integration) Integration {
	v := Integration{
		ID: in.ID, TenantID: in.TenantID, Provider: in.Provider, Label: in.Label,
		Status: in.Status, Reason: in.StatusReason, ExternalID: in.ExternalID, Scopes: in.Scopes, MissingScopes: m.missing(in.Provider, in.Scopes),
		GrantEndsAt: in.RefreshExpiresAt, GrantRenews: in.GrantEnd == store.EndMoves, FailingSince: in.RefreshFailingSince, GivenUp: token.GivenUp(in), Metadata: in.Metadata, ProviderData: in.ProviderData,
		Version: in.Version, ConnectedAt: in.ConnectedAt, CreatedAt: in.CreatedAt, UpdatedAt: in.UpdatedAt,
	}
	if !v.FailingSince.IsZero() {
		v.FailingCode = in.RefreshError
	}
	if v.Status != StatusActive || !v.FailingSince.IsZero() {
		v.LastError = v.Explain().Sentence
	}
	return v
}
