package integrations

import (
	"context"
	"crypto/rand"
	"encoding/base64"
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

// newSigningSecret makes a secret that schemes use as text and Standard Webhooks
// decodes: 32 random bytes in base64.
func newSigningSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return base64.StdEncoding.EncodeToString(b[:])
}

// endpointsOf returns what a connection keeps its endpoints with, nil when the
// store keeps none or the provider has no webhooks.
func (m *Manager) endpointsOf(p *provider, ref store.Ref) providers.Endpoints {
	s, ok := m.cfg.Store.(store.Endpoints)
	if !ok || p.receiver == nil {
		return nil
	}
	return guardedEndpoints{endpoints{m, s, p.info.Key, ref}, m}
}

func (m *Manager) webhookURL(p *provider) string {
	if p.receiver == nil {
		return ""
	}
	return p.webhookURL
}

func (e endpoints) Open(ctx context.Context) (providers.Endpoint, error) {
	segment, secret := newSecret(), newSigningSecret()
	row := store.Endpoint{
		ID: newID(), TenantID: e.ref.TenantID, IntegrationID: e.ref.ID, Provider: e.provider, PathHash: hash(segment),
	}
	var err error
	if row.Secret, row.KeyID, err = e.seal(row, secret); err != nil {
		return providers.Endpoint{}, fmt.Errorf("integrations: open endpoint: %w", err)
	}
	if err := e.m.inTime(ctx, e.ref, func(ctx context.Context) error { return e.store.PutEndpoint(ctx, row) }); err != nil {
		return providers.Endpoint{}, fmt.Errorf("integrations: open endpoint: %w", err)
	}
	return e.shown(row.ID, segment, secret), nil
}

// seal seals a secret of an endpoint and names the key.
func (e endpoints) seal(row store.Endpoint, secret string) (sealed []byte, keyID string, err error) {
	if sealed, err = e.m.cfg.Cipher.Seal(nil, []byte(secret), webhook.SecretBinding(row)); err != nil {
		return nil, "", err
	}
	keyID, err = e.m.cfg.Cipher.KeyID(sealed)
	return sealed, keyID, err
}

// shown is an endpoint as it can be seen once.
func (e endpoints) shown(id, segment, secret string) providers.Endpoint {
	url := e.m.webhookURL(e.m.providers[e.provider]) + "/" + segment
	return providers.Endpoint{ID: id, URL: url, Secret: token.NewSecret(secret)}
}

func (e endpoints) Close(ctx context.Context, id string) error {
	// By (integration, id): a connection closes no endpoint but its own.
	rows, err := e.rows(ctx)
	if err != nil || !slices.ContainsFunc(rows, func(r store.Endpoint) bool { return r.ID == id }) {
		return err
	}
	if err := e.store.DeleteEndpoint(ctx, e.ref.TenantID, id); err != nil {
		return fmt.Errorf("integrations: close endpoint: %w", err)
	}
	return nil
}

func (e endpoints) rows(ctx context.Context) ([]store.Endpoint, error) {
	rows, err := e.store.ListEndpoints(ctx, e.ref)
	if err != nil {
		return nil, fmt.Errorf("integrations: list endpoints: %w", err)
	}
	return rows, nil
}

func (e endpoints) List(ctx context.Context) ([]providers.EndpointInfo, error) {
	rows, err := e.rows(ctx)
	out := make([]providers.EndpointInfo, len(rows))
	for i, r := range rows {
		out[i] = providers.EndpointInfo{ID: r.ID, CreatedAt: r.CreatedAt, PreviousUntil: r.PreviousUntil}
	}
	return out, err
}

func (e endpoints) Save(ctx context.Context, s providers.Subscription) error {
	if s.Name == "" || s.Name == keeperName || len(s.Name) > 191 || len(s.RemoteID) > 191 {
		return fmt.Errorf("%w: name or id of a subscription is empty, taken or over 191 bytes", ErrInvalid)
	}
	row := store.Subscription{
		TenantID: e.ref.TenantID, IntegrationID: e.ref.ID, Provider: e.provider,
		Name: s.Name, RemoteID: s.RemoteID, Data: s.Data, ExpiresAt: s.ExpiresAt, RenewAt: s.RenewAt,
	}
	if err := e.m.inTime(ctx, e.ref, func(ctx context.Context) error { return e.store.PutSubscription(ctx, row) }); err != nil {
		return fmt.Errorf("integrations: save subscription: %w", err)
	}
	return nil
}

func (e endpoints) Subscriptions(ctx context.Context) ([]providers.Subscription, error) {
	rows, err := e.store.ListSubscriptions(ctx, e.ref)
	if err != nil {
		return nil, fmt.Errorf("integrations: list subscriptions: %w", err)
	}
	out := make([]providers.Subscription, 0, len(rows))
	for _, r := range rows {
		if r.Name != keeperName {
			out = append(out, subscription(r))
		}
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
		if !isSecret(segment) {
			return nil, nil // not one of ours, and not worth a look
		}
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
		// By the store's clock, which said until when.
		secrets, err := webhook.OpenSecrets(m.cfg.Cipher, e, in.ReadAt)
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
		return slices.ContainsFunc(rows, func(r store.Subscription) bool {
			return r.Name != keeperName && slices.Contains(remoteIDs, r.RemoteID)
		}), nil
	}
}

// over reports whether an integration gets no events any more.
func over(in store.Integration) bool {
	return in.Status == store.Disconnected || in.Status == store.Revoked
}

// dropEndpoints removes the endpoints and subscriptions of an integration that is
// over and returns the subscriptions it had.
// What fails is logged: they lead nowhere any more.
func (m *Manager) dropEndpoints(ctx context.Context, in store.Integration) []providers.Subscription {
	p := m.providers[in.Provider]
	if p == nil {
		return nil
	}
	e := m.endpointsOf(p, store.Ref{TenantID: in.TenantID, ID: in.ID})
	if e == nil {
		return nil
	}
	subs, err := e.Subscriptions(ctx)
	for _, s := range subs {
		err = errors.Join(err, e.Delete(ctx, s.Name))
	}
	own, listErr := e.List(ctx)
	err = errors.Join(err, e.Delete(ctx, keeperName), listErr)
	for _, o := range own {
		err = errors.Join(err, e.Close(ctx, o.ID))
	}
	if err != nil {
		m.log.WarnContext(ctx, "integrations: webhook endpoints were not removed",
			"provider", in.Provider, "tenant", in.TenantID, "integration", in.ID, "error", err)
	}
	return subs
}

const (
	// renewEvery is how often subscriptions that are about to end are looked for.
	renewEvery = time.Minute
	// renewAtOnce is how many are taken at a time, renewTTL how long nobody else
	// takes them, and renewTimeout bounds the renewal of one.
	renewAtOnce  = 16
	renewTTL     = 10 * time.Minute
	renewTimeout = 30 * time.Second
	// renewRetry puts off what could not be renewed.
	renewRetry = 10 * time.Minute
)

// renewSubscriptions renews all that is due. What fails is logged and tried again.
// When ctx ends no more are taken, and those that were are finished.
func (m *Manager) renewSubscriptions(ctx context.Context) error {
	s, ok := m.cfg.Store.(store.Endpoints)
	if !ok {
		return nil
	}
	var keys []string
	for _, key := range m.keys {
		if p := m.providers[key]; (p.renewals != nil || p.kept()) && p.receiver != nil {
			keys = append(keys, key)
		}
	}
	for len(keys) > 0 && ctx.Err() == nil {
		owner := newID()
		rows, err := s.ClaimSubscriptions(ctx, store.ClaimSubscriptions{Owner: owner, Limit: renewAtOnce, TTL: renewTTL, Providers: keys})
		if err != nil {
			return fmt.Errorf("integrations: claim subscriptions: %w", err)
		}
		for _, r := range rows {
			if err := m.renewSubscription(context.WithoutCancel(ctx), s, r, owner); err != nil {
				m.log.WarnContext(ctx, "integrations: subscription was not renewed",
					"provider", r.Provider, "tenant", r.TenantID, "integration", r.IntegrationID, "error", err)
			}
		}
		if len(rows) < renewAtOnce {
			return nil
		}
	}
	return nil
}

// renewSubscription renews a claimed row and ends the claim, unless somebody put
// another subscription in its place meanwhile.
func (m *Manager) renewSubscription(ctx context.Context, s store.Endpoints, r store.Subscription, owner string) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	if r.Name == keeperName {
		return m.keepSubscriptions(ctx, s, r, owner)
	}
	next, err := m.renewed(ctx, r)
	f := store.FinishSubscription{Owner: owner, Subscription: r}
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrNotConnected), errors.Is(err, ErrDisconnected):
		f.Delete = true
	case err != nil:
		f.RenewIn = renewRetry
	default:
		f.Subscription.RemoteID, f.Subscription.Data = next.RemoteID, next.Data
		f.Subscription.ExpiresAt, f.Subscription.RenewAt = next.ExpiresAt, next.RenewAt
	}
	return errors.Join(err, m.finishSubscription(ctx, s, f))
}

// finishSubscription writes down what was done, also when the time for doing it is
// over.
func (m *Manager) finishSubscription(ctx context.Context, s store.Endpoints, f store.FinishSubscription) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.CommitBudget)
	defer stop()
	_, err := s.FinishSubscription(ctx, f)
	return err
}

// renewed asks the adapter. A panic of it is an error: on a goroutine of ours it
// would end the process.
func (m *Manager) renewed(ctx context.Context, r store.Subscription) (next providers.Subscription, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("integrations: renew subscription: panic of type %T", v)
		}
	}()
	renewals := m.providers[r.Provider].renewals
	if renewals == nil {
		return next, fmt.Errorf("integrations: provider %s renews no subscriptions: %w", r.Provider, errors.ErrUnsupported)
	}
	conn, err := m.ConnectionByID(ctx, r.TenantID, r.IntegrationID)
	if err != nil {
		return next, err
	}
	return renewals.RenewSubscription(ctx, conn, subscription(r))
}
