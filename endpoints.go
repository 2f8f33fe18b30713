package integrations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// endpoints keeps one integration's webhook endpoints and subscriptions in the
// store.
type endpoints struct {
	m        *Manager
	store    store.Endpoints
	provider string
	ref      store.Ref
}

// endpointsOf returns what a connection keeps its endpoints with, nil when the
// store keeps none or the provider has no webhooks.
func (m *Manager) endpointsOf(p *provider, ref store.Ref) providers.Endpoints {
	s, ok := m.cfg.Store.(store.Endpoints)
	if !ok || p.receiver == nil {
		return nil
	}
	return endpoints{m, s, p.info.Key, ref}
}

func (m *Manager) webhookURL(p *provider) string {
	if p.receiver == nil {
		return ""
	}
	return m.base.String() + "/" + p.info.Key + "/webhook"
}

func (e endpoints) Open(ctx context.Context) (providers.Endpoint, error) {
	segment, secret := newSecret(), newSecret()
	row := store.Endpoint{
		ID: newID(), TenantID: e.ref.TenantID, IntegrationID: e.ref.ID, Provider: e.provider, PathHash: hash(segment),
	}
	var err error
	if row.Secret, err = e.m.cfg.Cipher.Seal(nil, []byte(secret), webhook.SecretBinding(row)); err != nil {
		return providers.Endpoint{}, fmt.Errorf("integrations: open endpoint: %w", err)
	}
	if row.KeyID, err = e.m.cfg.Cipher.KeyID(row.Secret); err != nil {
		return providers.Endpoint{}, fmt.Errorf("integrations: open endpoint: %w", err)
	}
	if err := e.store.PutEndpoint(ctx, row); err != nil {
		return providers.Endpoint{}, fmt.Errorf("integrations: open endpoint: %w", err)
	}
	url := e.m.webhookURL(e.m.providers[e.provider]) + "/" + segment
	return providers.Endpoint{ID: row.ID, URL: url, Secret: token.NewSecret(secret)}, nil
}

func (e endpoints) Close(ctx context.Context, id string) error {
	// By (integration, id): a connection closes no endpoint but its own.
	ids, err := e.List(ctx)
	if err != nil || !slices.Contains(ids, id) {
		return err
	}
	if err := e.store.DeleteEndpoint(ctx, e.ref.TenantID, id); err != nil {
		return fmt.Errorf("integrations: close endpoint: %w", err)
	}
	return nil
}

func (e endpoints) List(ctx context.Context) ([]string, error) {
	rows, err := e.store.ListEndpoints(ctx, e.ref)
	if err != nil {
		return nil, fmt.Errorf("integrations: list endpoints: %w", err)
	}
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return ids, nil
}

func (e endpoints) Save(ctx context.Context, s providers.Subscription) error {
	if s.Name == "" || len(s.Name) > 191 || len(s.RemoteID) > 191 {
		return fmt.Errorf("%w: name or id of a subscription is empty or over 191 bytes", ErrInvalid)
	}
	if err := e.store.PutSubscription(ctx, store.Subscription{
		TenantID: e.ref.TenantID, IntegrationID: e.ref.ID, Provider: e.provider,
		Name: s.Name, RemoteID: s.RemoteID, Data: s.Data, ExpiresAt: s.ExpiresAt, RenewAt: s.RenewAt,
	}); err != nil {
		return fmt.Errorf("integrations: save subscription: %w", err)
	}
	return nil
}

func (e endpoints) Subscriptions(ctx context.Context) ([]providers.Subscription, error) {
	rows, err := e.store.ListSubscriptions(ctx, e.ref)
	if err != nil {
		return nil, fmt.Errorf("integrations: list subscriptions: %w", err)
	}
	out := make([]providers.Subscription, len(rows))
	for i, r := range rows {
		out[i] = subscription(r)
	}
	return out, nil
}

func (e endpoints) Delete(ctx context.Context, name string) error {
	if err := e.store.DeleteSubscription(ctx, e.ref, name); err != nil {
		return fmt.Errorf("integrations: delete subscription: %w", err)
	}
	return nil
}

func subscription(s store.Subscription) providers.Subscription {
	return providers.Subscription{Name: s.Name, RemoteID: s.RemoteID, Data: s.Data, ExpiresAt: s.ExpiresAt, RenewAt: s.RenewAt}
}

// findEndpoint finds an integration's own endpoint by the secret segment of its
// path. One of an integration that is over is none.
func (m *Manager) findEndpoint(s store.Endpoints, key string) func(ctx context.Context, segment string) (*webhook.Endpoint, error) {
	return func(ctx context.Context, segment string) (*webhook.Endpoint, error) {
		e, err := s.FindEndpoint(ctx, key, hash(segment))
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		in, err := m.cfg.Store.Get(ctx, e.TenantID, e.IntegrationID)
		if errors.Is(err, store.ErrNotFound) || err == nil && over(in) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		secrets, err := webhook.OpenSecrets(m.cfg.Cipher, e, time.Now())
		if err != nil {
			return nil, err
		}
		return &webhook.Endpoint{
			ID: e.ID, TenantID: e.TenantID, IntegrationID: e.IntegrationID, ExternalID: in.ExternalID, Secrets: secrets,
		}, nil
	}
}

// subscribed tells whether an integration keeps a subscription with one of the
// provider's ids.
func (m *Manager) subscribed(s store.Endpoints) func(ctx context.Context, t webhook.Target, remoteIDs []string) (bool, error) {
	return func(ctx context.Context, t webhook.Target, remoteIDs []string) (bool, error) {
		rows, err := s.ListSubscriptions(ctx, store.Ref{TenantID: t.TenantID, ID: t.IntegrationID})
		if err != nil {
			return false, err
		}
		return slices.ContainsFunc(rows, func(r store.Subscription) bool { return slices.Contains(remoteIDs, r.RemoteID) }), nil
	}
}

// over reports whether an integration gets no events any more.
func over(in store.Integration) bool {
	return in.Status == store.Disconnected || in.Status == store.Revoked
}

// dropEndpoints removes the endpoints and subscriptions of an integration that
// is over and returns the subscriptions it had.
func (m *Manager) dropEndpoints(ctx context.Context, in store.Integration) ([]providers.Subscription, error) {
	p := m.providers[in.Provider]
	if p == nil {
		return nil, nil
	}
	e := m.endpointsOf(p, store.Ref{TenantID: in.TenantID, ID: in.ID})
	if e == nil {
		return nil, nil
	}
	ids, err := e.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := e.Close(ctx, id); err != nil {
			return nil, err
		}
	}
	subs, err := e.Subscriptions(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range subs {
		if err := e.Delete(ctx, s.Name); err != nil {
			return nil, err
		}
	}
	return subs, nil
}

const (
	// renewEvery is how often subscriptions that are about to end are looked for.
	renewEvery = time.Minute
	// renewAtOnce is how many are taken at a time, renewTTL how long nobody else
	// takes them.
	renewAtOnce = 16
	renewTTL    = 5 * time.Minute
	// renewRetry puts off what could not be renewed.
	renewRetry = 10 * time.Minute
)

// renewSubscriptions renews what is due. What fails is logged and tried again.
func (m *Manager) renewSubscriptions(ctx context.Context) error {
	s, ok := m.cfg.Store.(store.Endpoints)
	if !ok {
		return nil
	}
	rows, err := s.ClaimSubscriptions(ctx, newID(), renewAtOnce, renewTTL)
	if err != nil {
		return fmt.Errorf("integrations: claim subscriptions: %w", err)
	}
	for _, r := range rows {
		if err := m.renewSubscription(ctx, r); err != nil {
			m.log.WarnContext(ctx, "integrations: subscription was not renewed",
				"provider", r.Provider, "tenant", r.TenantID, "integration", r.IntegrationID, "error", err)
		}
	}
	return nil
}

func (m *Manager) renewSubscription(ctx context.Context, r store.Subscription) error {
	p := m.providers[r.Provider]
	if p == nil || p.renewals == nil {
		return nil // of another replica's providers
	}
	e := m.endpointsOf(p, store.Ref{TenantID: r.TenantID, ID: r.IntegrationID})
	if e == nil {
		return nil
	}
	conn, err := m.ConnectionByID(ctx, r.TenantID, r.IntegrationID)
	if errors.Is(err, ErrNotConnected) || errors.Is(err, ErrDisconnected) {
		return e.Delete(ctx, r.Name)
	}
	next := subscription(r)
	if err == nil {
		next, err = p.renewals.RenewSubscription(ctx, conn, next)
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return errors.Join(err, e.Delete(ctx, r.Name))
	case err != nil:
		next = subscription(r)
		next.RenewAt = time.Now().Add(renewRetry)
	}
	next.Name = r.Name
	return errors.Join(err, e.Save(ctx, next))
}
