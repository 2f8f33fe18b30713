package integrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// OnWebhook registers a handler. There is one for each (provider, type), and one
// with type "*" for all types of a provider that have none. It panics on a
// duplicate, on a provider that is not registered, and after [Manager.Run] or
// [Manager.Drain].
func (m *Manager) OnWebhook(h webhook.Handler) {
	if m.providers[h.Provider] == nil {
		panic("integrations: OnWebhook: no provider with key " + h.Provider)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addHandler(h)
}

// addHandler must be called with m.mu held.
func (m *Manager) addHandler(h webhook.Handler) {
	if m.frozen {
		panic("integrations: handlers must be registered before Run and Drain")
	}
	if h.Func == nil || h.Type == "" {
		panic("integrations: webhook handler without a type or a function")
	}
	for _, other := range m.handlers {
		if other.Provider == h.Provider && other.Type == h.Type {
			panic("integrations: a handler of " + h.Provider + " " + h.Type + " is registered already")
		}
	}
	m.handlers = append(m.handlers, h)
}

// addReceiver makes the receiver of a provider that has webhooks.
func (m *Manager) addReceiver(p *provider, budget *webhook.Budget) error {
	wr, ok := p.Provider.(providers.WebhookReceiver)
	if !ok {
		return nil
	}
	src, err := wr.WebhookSource()
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	if m.inbox == nil {
		return fmt.Errorf("integrations: provider %s has webhooks and the store is no store.Inbox: %w", p.info.Key, errors.ErrUnsupported)
	}
	cfg := webhook.ReceiverConfig{
		Provider: p.info.Key, Source: m.ordered(p.info.Key, src), Inbox: m.committer, Cipher: m.cfg.Cipher, Budget: budget,
		URL:   m.base.String() + "/" + p.info.Key + "/webhook",
		Route: m.router(p.info.Key), Logger: m.log, Wake: m.wake,
		Observe: func(ctx context.Context, o webhook.Observation) { m.observe(ctx, o) },
	}
	if e, ok := m.cfg.Store.(store.Endpoints); ok {
		cfg.Endpoint, cfg.Subscribed = m.findEndpoint(e, p.info.Key), m.subscribed(e)
	}
	if m.cfg.Enqueuer != nil {
		m.handlers = append(m.handlers, webhook.On(p.info.Key, webhook.AnyType, m.cfg.Enqueuer.Enqueue))
	}
	p.receiver, err = webhook.NewReceiver(cfg)
	return err
}

// router finds the integrations an account's events are for. What was
// disconnected or uninstalled gets none.
func (m *Manager) router(key string) func(ctx context.Context, account string) ([]webhook.Target, error) {
	return func(ctx context.Context, account string) ([]webhook.Target, error) {
		rows, err := m.cfg.Store.FindByExternal(ctx, key, account)
		if err != nil {
			return nil, err
		}
		targets := make([]webhook.Target, 0, len(rows))
		for _, in := range rows {
			if !over(in) {
				targets = append(targets, webhook.Target{TenantID: in.TenantID, IntegrationID: in.ID})
			}
		}
		return targets, nil
	}
}

// lifecycle changes an integration as a provider's event about it says. It runs
// before the host's handler of the same event.
func (m *Manager) lifecycle(ctx context.Context, ev webhook.Event) error {
	p := m.providers[ev.Provider]
	if p == nil || p.lifecycle == nil || ev.IntegrationID == "" {
		return nil
	}
	in, err := m.cfg.Store.Get(ctx, ev.TenantID, ev.IntegrationID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if ev.ExternalID != "" && ev.ExternalID != in.ExternalID && ev.ExternalID != in.ExternalAlias {
		return nil // of the account that was connected before
	}
	l, err := p.lifecycle.Lifecycle(ev, snapshot(in))
	if err != nil {
		return err
	}
	if err := m.applyStatus(ctx, in, l, happenedAt(ev)); err != nil {
		return err
	}
	if err := m.applyData(ctx, in, l, ev); err != nil {
		return err
	}
	if l.Renew && in.ConnectedAt.Before(happenedAt(ev)) {
		return m.renewNow(ctx, in)
	}
	return nil
}

// renewNow replaces a token that does not have what was granted since. An
// integration that is not in use gets another one when it is again.
func (m *Manager) renewNow(ctx context.Context, in store.Integration) error {
	h, err := m.vault.LookupID(ctx, in.TenantID, in.ID)
	if err != nil {
		return err
	}
	return h.Renew(ctx)
}

// happenedAt is the latest moment an event can be about. Providers give whole
// seconds, so an event of the second in which the account was connected counts
// as later.
func happenedAt(ev webhook.Event) time.Time {
	at := ev.OccurredAt
	if at.IsZero() {
		// The store keeps milliseconds: one received in that of the connect is
		// later too.
		return ev.ReceivedAt.Add(time.Millisecond)
	}
	if at.Nanosecond() == 0 {
		at = at.Add(time.Second - time.Millisecond)
	}
	return at
}

func (m *Manager) applyStatus(ctx context.Context, in store.Integration, l providers.Lifecycle, at time.Time) error {
	kind, changes := lifecycleKinds[l.Kind]
	if !changes {
		return nil
	}
	s, err := m.step(in, kind, l.Reason)
	if err != nil {
		return err
	}
	s.ConnectedBefore = at
	changed, err := m.cfg.Store.SetStatus(ctx, s)
	if err != nil {
		return err
	}
	if changed {
		m.vault.Evict(in.TenantID, in.ID)
		m.wake()
		switch {
		case s.Wipe:
			m.forgetAnswers(ctx, in.TenantID, in.ID)
			m.dropEndpoints(ctx, in)
		case s.To == store.Active:
			m.keepSoon(ctx, in.Provider, store.Ref{TenantID: in.TenantID, ID: in.ID})
		}
	}
	return nil
}

// applyData stores what an event says of permissions and names. Losing a race
// with another writer makes the event come again. An event about an earlier
// installation says nothing about this one.
func (m *Manager) applyData(ctx context.Context, in store.Integration, l providers.Lifecycle, ev webhook.Event) error {
	if l.ProviderData == nil && l.Scopes == nil && l.Kind != providers.Regranted {
		return nil
	}
	// The status change above moved the version.
	in, err := m.cfg.Store.Get(ctx, in.TenantID, in.ID)
	if err != nil {
		return err
	}
	if !in.ConnectedAt.Before(happenedAt(ev)) || over(in) {
		return nil
	}
	u := store.Update{TenantID: in.TenantID, ID: in.ID, Version: in.Version}
	if l.ProviderData != nil {
		u.ProviderData = &l.ProviderData
	}
	if l.Scopes != nil && !token.SameScopes(l.Scopes, in.Scopes) {
		u.Scopes = &l.Scopes
		if u.Change, err = m.changeTo(in, Change{Kind: ChangeScopes, Reason: l.Reason, Scopes: l.Scopes, MissingScopes: m.missing(in.Provider, l.Scopes)}); err != nil {
			return err
		}
	} else if l.Kind == providers.Regranted {
		if u.Change, err = m.changeTo(in, Change{Kind: ChangeScopes, Reason: l.Reason}); err != nil {
			return err
		}
		if u.Change != nil {
			// Nothing in the row tells whether this was told: the event may be handled
			// again.
			u.Change.DeliveryID = "of " + ev.ID
		}
	}
	if _, err := m.cfg.Store.Update(ctx, u); err != nil {
		return err
	}
	m.vault.Evict(in.TenantID, in.ID)
	return nil
}
