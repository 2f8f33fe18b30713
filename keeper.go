package integrations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
)

// keeperName is the name of a row among an integration's subscriptions that is
// none: when it is due the integration's subscriptions are compared with what is
// declared. Its RemoteID is what was declared when it was made due.
const keeperName = "integrations.keeper"

const (
	// keepEvery is how often an integration's subscriptions are looked at, give or
	// take a tenth, so that those of a busy hour do not stay together. Jira keeps
	// what it could not deliver for three days.
	keepEvery = 6 * time.Hour
	// keepUnusable puts off an integration that cannot be used now: what makes it
	// usable again makes it due too.
	keepUnusable = time.Hour
	// keepElsewhere puts off what another configuration than this process's has made
	// due, as long as a deploy lasts: one of its processes may take it.
	keepElsewhere = time.Minute
	// keepLongest bounds the pause after failures, which begins with renewRetry and
	// doubles.
	keepLongest = 12 * time.Hour
	// ensureEvery is how often integrations are looked for whose row is missing or
	// has another declaration in it: those connected at a moment when a process died,
	// imported ones, and all after a deploy. ensureAtOnce are taken at a time.
	ensureEvery  = time.Hour
	ensureAtOnce = 200
)

// kept says that the provider's side of the integrations' webhooks is looked
// after.
func (p *provider) kept() bool { return p.keeper != nil || p.missed != nil }

// findKeeper looks up the abilities of this file.
func (p *provider) findKeeper() {
	p.keeper, _ = p.Provider.(providers.SubscriptionKeeper)
	p.missed, _ = p.Provider.(providers.MissedDeliveries)
	p.redeliverer, _ = p.Provider.(providers.Redeliverer)
	if p.keeper != nil {
		p.declared = hash(p.keeper.DeclaredSubscriptions())
	}
}

// keepSoon makes an integration due that was connected or came back. What fails is
// logged: ensureKeepers finds it.
func (m *Manager) keepSoon(ctx context.Context, key string, ref store.Ref) {
	p := m.providers[key]
	s, ok := m.cfg.Store.(store.Endpoints)
	if !ok || p == nil || p.receiver == nil || !p.kept() {
		return
	}
	if err := s.PutSubscription(ctx, store.Subscription{
		TenantID: ref.TenantID, IntegrationID: ref.ID, Provider: key, Name: keeperName, RemoteID: p.declared, RenewAt: time.Now(),
	}); err != nil {
		m.log.WarnContext(ctx, "integrations: subscriptions are looked after later",
			"provider", key, "tenant", ref.TenantID, "integration", ref.ID, "error", err)
	}
}

// ensureKeepers makes those integrations due that have no row or one of another
// declaration. Any number of replicas may do it.
func (m *Manager) ensureKeepers(ctx context.Context) error {
	s, ok := m.cfg.Store.(store.Endpoints)
	if !ok {
		return nil
	}
	for _, key := range m.keys {
		p := m.providers[key]
		if !p.kept() || p.receiver == nil {
			continue
		}
		e := store.EnsureSubscriptions{Provider: key, Name: keeperName, RemoteID: p.declared, Limit: ensureAtOnce}
		for n := e.Limit; n == e.Limit; {
			var err error
			if n, err = s.EnsureSubscriptions(ctx, e); err != nil {
				return fmt.Errorf("integrations: look for subscriptions to keep: %w", err)
			}
		}
	}
	return nil
}

// keeperData is what a keeper's row remembers.
type keeperData struct {
	Failures int `json:"failures"`
}

// keepSubscriptions looks after one integration, whose row is claimed.
func (m *Manager) keepSubscriptions(ctx context.Context, s store.Endpoints, r store.Subscription, owner string) error {
	f := store.FinishSubscription{Owner: owner, Subscription: r}
	err := errElsewhere
	if p := m.providers[r.Provider]; r.RemoteID == p.declared {
		err = m.keep(ctx, p, r)
	}
	var wait time.Duration
	switch {
	case err == nil:
		f.Subscription.Data = nil
		wait = keepEvery - keepEvery/10 + rand.N(keepEvery/5)
	case errors.Is(err, errElsewhere):
		err, wait = nil, keepElsewhere
	case errors.Is(err, ErrNotConnected), errors.Is(err, ErrDisconnected):
		err, f.Delete = nil, true
	case errors.Is(err, ErrReconnectRequired), errors.Is(err, ErrSuspended):
		err, wait = nil, keepUnusable
	default:
		f.Subscription.Data, wait = afterFailure(r.Data)
	}
	f.Subscription.RenewAt = time.Now().Add(wait)
	return errors.Join(err, m.finishSubscription(ctx, s, f))
}

var errElsewhere = errors.New("integrations: declared by another configuration")

// afterFailure counts a failure and says when to try again.
func afterFailure(data []byte) ([]byte, time.Duration) {
	var d keeperData
	_ = json.Unmarshal(data, &d) // what cannot be read counts as none
	wait := keepLongest
	if d.Failures < 6 {
		wait = renewRetry << max(d.Failures, 0)
	}
	d.Failures = min(d.Failures+1, 1000)
	next, err := json.Marshal(d)
	if err != nil {
		return nil, wait
	}
	return next, wait
}

// keep asks the adapter. A panic of it is an error, as in renewed.
func (m *Manager) keep(ctx context.Context, p *provider, r store.Subscription) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("integrations: keep subscriptions: panic of type %T", v)
		}
	}()
	conn, err := m.ConnectionByID(ctx, r.TenantID, r.IntegrationID)
	if err != nil {
		return err
	}
	if p.keeper != nil {
		if err := p.keeper.KeepSubscriptions(ctx, conn); err != nil {
			return err
		}
	}
	if p.missed == nil {
		return nil
	}
	return m.readMissed(ctx, p, conn)
}

// Others implements providers.Endpoints.
func (e endpoints) Others(ctx context.Context) ([]string, int, error) {
	fail := func(err error) ([]string, int, error) {
		return nil, 0, fmt.Errorf("integrations: subscriptions of others: %w", err)
	}
	in, err := e.m.cfg.Store.Get(ctx, e.ref.TenantID, e.ref.ID)
	if err != nil {
		return fail(err)
	}
	rows, err := e.m.cfg.Store.FindByExternal(ctx, e.provider, in.ExternalID)
	if err != nil {
		return fail(err)
	}
	var ids []string
	others := 0
	for _, o := range rows {
		if o.ID == in.ID || o.Status == store.Disconnected {
			continue
		}
		others++
		subs, err := e.store.ListSubscriptions(ctx, store.Ref{TenantID: o.TenantID, ID: o.ID})
		if err != nil {
			return fail(err)
		}
		subs = slices.DeleteFunc(subs, func(s store.Subscription) bool { return s.Name == keeperName })
		for _, s := range subs {
			ids = append(ids, s.RemoteID)
		}
	}
	return ids, others, nil
}
