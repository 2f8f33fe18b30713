package memstore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/store"
)

type checkpointKey struct {
	ref  store.Ref
	name string
}

// checkpoint is a named value and a named lease: they share names, not rows.
type checkpoint struct {
	value   []byte
	version int64
	owner   string
	until   time.Time
}

type subscriptionKey struct {
	ref  store.Ref
	name string
}

type subscription struct {
	store.Subscription
	owner string
	until time.Time
}

func (s *Store) checkpoint(ref store.Ref, name string) *checkpoint {
	key := checkpointKey{ref, name}
	c := s.checkpoints[key]
	if c == nil {
		c = &checkpoint{}
		s.checkpoints[key] = c
	}
	return c
}

// forgetAccount removes what is kept for an integration beside its row. It must be
// called with the lock held.
func (s *Store) forgetAccount(ref store.Ref) {
	maps.DeleteFunc(s.checkpoints, func(key checkpointKey, _ *checkpoint) bool { return key.ref == ref })
	maps.DeleteFunc(s.subscriptions, func(key subscriptionKey, _ *subscription) bool { return key.ref == ref })
	maps.DeleteFunc(s.endpoints, func(_ string, e *store.Endpoint) bool {
		return e.TenantID == ref.TenantID && e.IntegrationID == ref.ID
	})
}

// Checkpoint implements store.Checkpoints.
func (s *Store) Checkpoint(ctx context.Context, ref store.Ref, name string) ([]byte, int64, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer unlock()
	if c := s.checkpoints[checkpointKey{ref, name}]; c != nil {
		return clone(c.value), c.version, nil
	}
	return nil, 0, nil
}

// SaveCheckpoint implements store.Checkpoints.
func (s *Store) SaveCheckpoint(ctx context.Context, ref store.Ref, name string, value []byte, version int64) (int64, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	c := s.checkpoint(ref, name)
	if c.version != version {
		return 0, fmt.Errorf("integrations/store/memstore: checkpoint: %w", store.ErrConflict)
	}
	c.value = cloneBytes(value)
	c.version++
	return c.version, nil
}

// TryLease implements store.Checkpoints.
func (s *Store) TryLease(ctx context.Context, ref store.Ref, name, owner string, ttl time.Duration) (bool, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	c, t := s.checkpoint(ref, name), now()
	if c.owner != owner && !c.until.Before(t) {
		return false, nil
	}
	c.owner, c.until = owner, t.Add(ttl)
	return true, nil
}

// ReleaseLease implements store.Checkpoints.
func (s *Store) ReleaseLease(ctx context.Context, ref store.Ref, name, owner string) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if c := s.checkpoint(ref, name); c.owner == owner {
		c.owner, c.until = "", time.Time{}
	}
	return nil
}

// DeleteCheckpoints implements store.Checkpoints.
func (s *Store) DeleteCheckpoints(ctx context.Context, ref store.Ref) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for key := range s.checkpoints {
		if key.ref == ref {
			delete(s.checkpoints, key)
		}
	}
	return nil
}

// PutEndpoint implements store.Endpoints.
func (s *Store) PutEndpoint(ctx context.Context, e store.Endpoint) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	old := s.endpoints[e.ID]
	taken := old != nil && old.TenantID != e.TenantID
	for _, other := range s.endpoints {
		taken = taken || other.ID != e.ID && other.Provider == e.Provider && other.PathHash == e.PathHash
	}
	if taken {
		return fmt.Errorf("integrations/store/memstore: endpoint: %w", store.ErrConflict)
	}
	row := copyEndpoint(e)
	row.CreatedAt = now()
	if old != nil {
		row.CreatedAt = old.CreatedAt
	}
	s.endpoints[e.ID] = &row
	return nil
}

// RotateEndpoint implements store.Endpoints.
func (s *Store) RotateEndpoint(ctx context.Context, r store.RotateEndpoint) (bool, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	e := s.endpoints[r.ID]
	if e == nil || e.TenantID != r.TenantID || e.PathHash != r.SeenPathHash {
		return false, nil
	}
	next := copyEndpoint(store.Endpoint{Secret: r.Secret, PreviousSecret: r.PreviousSecret, PreviousUntil: now().Add(r.Overlap)})
	e.PathHash, e.PreviousPathHash, e.KeyID = r.PathHash, r.SeenPathHash, r.KeyID
	e.Secret, e.PreviousSecret, e.PreviousUntil = next.Secret, next.PreviousSecret, next.PreviousUntil
	return true, nil
}

// FindEndpoint implements store.Endpoints.
func (s *Store) FindEndpoint(ctx context.Context, provider, pathHash string) (store.Endpoint, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return store.Endpoint{}, err
	}
	defer unlock()
	for _, e := range s.endpoints {
		if e.Provider == provider && (e.PathHash == pathHash || e.PreviousPathHash == pathHash && pathHash != "" && e.PreviousUntil.After(now())) {
			return copyEndpoint(*e), nil
		}
	}
	return store.Endpoint{}, fmt.Errorf("integrations/store/memstore: endpoint: %w", store.ErrNotFound)
}

// ListEndpoints implements store.Endpoints.
func (s *Store) ListEndpoints(ctx context.Context, ref store.Ref) ([]store.Endpoint, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var out []store.Endpoint
	for _, e := range s.endpoints {
		if e.TenantID == ref.TenantID && e.IntegrationID == ref.ID {
			out = append(out, copyEndpoint(*e))
		}
	}
	slices.SortFunc(out, func(a, b store.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// DeleteEndpoint implements store.Endpoints.
func (s *Store) DeleteEndpoint(ctx context.Context, tenant, id string) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if e := s.endpoints[id]; e != nil && e.TenantID == tenant {
		delete(s.endpoints, id)
	}
	return nil
}

// PutSubscription implements store.Endpoints.
func (s *Store) PutSubscription(ctx context.Context, sub store.Subscription) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	t := now()
	key := subscriptionKey{store.Ref{TenantID: sub.TenantID, ID: sub.IntegrationID}, sub.Name}
	row := &subscription{Subscription: copySubscription(sub)}
	row.CreatedAt, row.UpdatedAt = t, t
	if old := s.subscriptions[key]; old != nil {
		row.CreatedAt = old.CreatedAt
	}
	s.subscriptions[key] = row
	return nil
}

// ListSubscriptions implements store.Endpoints.
func (s *Store) ListSubscriptions(ctx context.Context, ref store.Ref) ([]store.Subscription, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var out []store.Subscription
	for key, sub := range s.subscriptions {
		if key.ref == ref {
			out = append(out, copySubscription(sub.Subscription))
		}
	}
	slices.SortFunc(out, func(a, b store.Subscription) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// ClaimSubscriptions implements store.Endpoints.
func (s *Store) ClaimSubscriptions(ctx context.Context, c store.ClaimSubscriptions) ([]store.Subscription, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	t := now()
	var due []*subscription
	for _, sub := range s.subscriptions {
		if !sub.RenewAt.IsZero() && !sub.RenewAt.After(t) && sub.until.Before(t) && slices.Contains(c.Providers, sub.Provider) {
			due = append(due, sub)
		}
	}
	slices.SortFunc(due, func(a, b *subscription) int {
		return cmp.Or(a.RenewAt.Compare(b.RenewAt), cmp.Compare(a.Name, b.Name))
	})
	due = due[:min(len(due), max(c.Limit, 0))]
	out := make([]store.Subscription, len(due))
	for i, sub := range due {
		sub.owner, sub.until = c.Owner, t.Add(c.TTL)
		out[i] = copySubscription(sub.Subscription)
	}
	return out, nil
}

// FinishSubscription implements store.Endpoints.
func (s *Store) FinishSubscription(ctx context.Context, f store.FinishSubscription) (bool, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	key := subscriptionKey{store.Ref{TenantID: f.Subscription.TenantID, ID: f.Subscription.IntegrationID}, f.Subscription.Name}
	row := s.subscriptions[key]
	if row == nil || f.Owner == "" || row.owner != f.Owner {
		return false, nil
	}
	if f.Delete {
		delete(s.subscriptions, key)
		return true, nil
	}
	created := row.CreatedAt
	*row = subscription{Subscription: copySubscription(f.Subscription)}
	row.CreatedAt, row.UpdatedAt = created, now()
	if f.RenewIn != 0 {
		row.RenewAt = row.UpdatedAt.Add(f.RenewIn).Truncate(time.Millisecond)
	}
	return true, nil
}

// DeleteSubscription implements store.Endpoints.
func (s *Store) DeleteSubscription(ctx context.Context, ref store.Ref, name string) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	delete(s.subscriptions, subscriptionKey{ref, name})
	return nil
}

// EnsureSubscriptions implements store.Endpoints.
func (s *Store) EnsureSubscriptions(ctx context.Context, e store.EnsureSubscriptions) (int, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	n, t := 0, now()
	for _, in := range s.integrations {
		if n >= e.Limit {
			break
		}
		key := subscriptionKey{store.Ref{TenantID: in.TenantID, ID: in.ID}, e.Name}
		old := s.subscriptions[key]
		if in.Provider != e.Provider || in.Status != store.Active || old != nil && old.RemoteID == e.RemoteID {
			continue
		}
		n++
		row := &subscription{Subscription: store.Subscription{
			TenantID: in.TenantID, IntegrationID: in.ID, Provider: e.Provider, Name: e.Name, RemoteID: e.RemoteID,
			RenewAt: t, CreatedAt: t, UpdatedAt: t,
		}}
		if old != nil {
			row.CreatedAt = old.CreatedAt
		}
		s.subscriptions[key] = row
	}
	return n, nil
}

func copyEndpoint(e store.Endpoint) store.Endpoint {
	e.Secret, e.PreviousSecret = cloneBytes(e.Secret), cloneBytes(e.PreviousSecret)
	e.PreviousUntil = millis(e.PreviousUntil)
	return e
}

func copySubscription(s store.Subscription) store.Subscription {
	s.Data = cloneBytes(s.Data)
	s.ExpiresAt, s.RenewAt = millis(s.ExpiresAt), millis(s.RenewAt)
	return s
}

// millis is t as the store keeps it.
func millis(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}
