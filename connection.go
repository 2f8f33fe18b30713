package integrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
)

// ConnectionOption narrows [Manager.Connection].
type ConnectionOption struct{ label string }

// WithLabel picks the integration connected under a label.
func WithLabel(label string) ConnectionOption { return ConnectionOption{label: label} }

// Connection returns the tenant's connection to a provider. It is a live handle:
// keep it, share it, or ask again, which costs about a map look-up.
//
// It returns an error wrapping [ErrNotConnected], [ErrReconnectRequired],
// [ErrSuspended] or [ErrDisconnected] when there is no usable integration, and
// [ErrInvalid] for a key that no provider has.
func (m *Manager) Connection(ctx context.Context, tenant, key string, opts ...ConnectionOption) (*providers.Connection, error) {
	if m.providers[key] == nil {
		return nil, fmt.Errorf("%w: no provider %q", ErrInvalid, key)
	}
	label := ""
	for _, o := range opts {
		label = o.label
	}
	h, err := m.vault.Lookup(ctx, tenant, key, label)
	if err != nil {
		return nil, usable(err)
	}
	return m.usableConnection(ctx, h)
}

// ConnectionByID is [Manager.Connection] by the id of the integration.
func (m *Manager) ConnectionByID(ctx context.Context, tenant, integrationID string) (*providers.Connection, error) {
	h, err := m.vault.LookupID(ctx, tenant, integrationID)
	if err != nil {
		return nil, usable(err)
	}
	if m.providers[h.Provider()] == nil {
		return nil, fmt.Errorf("%w: no provider %q", ErrInvalid, h.Provider())
	}
	return m.usableConnection(ctx, h)
}

func (m *Manager) usableConnection(ctx context.Context, h *token.Handle) (*providers.Connection, error) {
	if err := h.Usable(ctx); err != nil {
		return nil, usable(err)
	}
	return h.Attached().(*providers.Connection), nil
}

// attach makes the one Connection of a handle.
func (m *Manager) attach(h *token.Handle) any {
	p := m.providers[h.Provider()]
	if p == nil {
		return nil
	}
	return p.connections.Of(&source{m, h})
}

// connections is what makes a provider's connections.
func (m *Manager) connections(p *provider) (*providers.Connections, error) {
	return providers.NewConnections(providers.ConnectionConfig{
		Provider: p.info.Key, Kind: p.info.Kind, Hosts: p.hosts, Transport: m.cfg.Transport, Limiter: m.cfg.Limiter,
		Classifier: p.classifier, Budgets: p.budgets, Cache: m.cfg.ResponseCache, ETags: p.etags, Retries: m.cfg.Retries, Observe: m.observeCall(), WebhookURL: m.webhookURL(p),
	})
}

// forget removes what this process keeps of an integration that came to its end:
// its token and its answers.
func (m *Manager) forget(ctx context.Context, tenant, id string) {
	m.vault.Evict(tenant, id)
	m.forgetAnswers(ctx, tenant, id)
}

// forgetAnswers removes what providers answered to the grant before.
func (m *Manager) forgetAnswers(ctx context.Context, tenant, id string) {
	if c := m.cfg.ResponseCache; c != nil {
		c.Forget(ctx, providers.CacheConnection(tenant, id))
	}
}

// observeCall is nil without an observer, so that calls are not timed for
// nobody.
func (m *Manager) observeCall() func(context.Context, providers.Call) {
	if m.cfg.Observer == nil {
		return nil
	}
	return func(ctx context.Context, c providers.Call) { m.observe(ctx, c) }
}

// source is a vault's handle as a connection sees it.
type source struct {
	m *Manager
	h *token.Handle
}

func (s *source) TenantID() string      { return s.h.TenantID() }
func (s *source) IntegrationID() string { return s.h.ID() }
func (s *source) Label() string         { return s.h.Label() }
func (s *source) Account() string       { return s.h.ExternalID() }
func (s *source) ref() store.Ref        { return store.Ref{TenantID: s.h.TenantID(), ID: s.h.ID()} }

// Syncs returns the store's checkpoints for one integration, nil when it keeps
// none.
func (s *source) Syncs() providers.Syncs {
	c, ok := s.m.cfg.Store.(store.Checkpoints)
	if !ok {
		return nil
	}
	return guardedSyncs{checkpoints{s.m, c, s.ref()}, s.m}
}

func (s *source) Endpoints() providers.Endpoints {
	return s.m.endpointsOf(s.m.providers[s.h.Provider()], s.ref())
}

func (s *source) Token(ctx context.Context) (*token.Token, error) {
	t, err := s.h.Token(ctx)
	if err != nil {
		return nil, usable(err)
	}
	return t, nil
}

func (s *source) Rejected(ctx context.Context, gen int64, dead bool) (*token.Token, bool, error) {
	t, again, err := s.h.Rejected(ctx, gen, dead)
	return t, again, usable(err)
}

func (s *source) Snapshot(ctx context.Context) (providers.Snapshot, error) {
	in, err := s.h.Info(ctx)
	if err != nil {
		return providers.Snapshot{}, usable(err)
	}
	return providers.Snapshot{
		TenantID: s.h.TenantID(), IntegrationID: s.h.ID(), Provider: s.h.Provider(), Label: s.h.Label(),
		ExternalID: in.ExternalID, Scopes: in.Scopes, Metadata: in.Metadata, ProviderData: in.ProviderData,
	}, nil
}

func snapshot(in store.Integration) providers.Snapshot {
	return providers.Snapshot{
		TenantID: in.TenantID, IntegrationID: in.ID, Provider: in.Provider, Label: in.Label, ExternalID: in.ExternalID,
		Scopes: in.Scopes, Metadata: in.Metadata, ProviderData: in.ProviderData,
	}
}

type checkpoints struct {
	m     *Manager
	store store.Checkpoints
	ref   store.Ref
}

func (c checkpoints) Load(ctx context.Context, name string) ([]byte, int64, error) {
	return c.store.Checkpoint(ctx, c.ref, name)
}

func (c checkpoints) Save(ctx context.Context, name string, value []byte, version int64) (next int64, err error) {
	err = c.m.inTime(ctx, c.ref, func(ctx context.Context) (err error) {
		next, err = c.store.SaveCheckpoint(ctx, c.ref, name, value, version)
		return err
	})
	if errors.Is(err, store.ErrConflict) {
		return 0, fmt.Errorf("%w: checkpoint was saved by somebody else", ErrConflict)
	}
	return next, err
}

func (c checkpoints) TryLease(ctx context.Context, name, owner string, ttl time.Duration) (ok bool, err error) {
	err = c.m.inTime(ctx, c.ref, func(ctx context.Context) (err error) {
		ok, err = c.store.TryLease(ctx, c.ref, name, owner, ttl)
		return err
	})
	return ok, err
}

func (c checkpoints) Release(ctx context.Context, name, owner string) error {
	return c.store.ReleaseLease(ctx, c.ref, name, owner)
}
