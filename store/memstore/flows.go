package memstore

import (
	"context"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/store"
)

type flow struct {
	store.Flow
	expires time.Time
	used    bool
}

// PutFlow implements store.Flows.
func (s *Store) PutFlow(ctx context.Context, f store.Flow) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if s.flows[f.StateHash] != nil {
		return fmt.Errorf("integrations/store/memstore: put flow: %w", store.ErrConflict)
	}
	if first := s.flows[f.Continues]; f.Continues != "" && (first == nil || first.TenantID != f.TenantID) {
		return fmt.Errorf("integrations/store/memstore: put flow: %w", store.ErrNotFound)
	}
	t := now()
	f.Continues = ""
	f.Verifier, f.Scopes, f.CreatedAt = clone(f.Verifier), clone(f.Scopes), t
	s.flows[f.StateHash] = &flow{Flow: f, expires: t.Add(f.TTL)}
	return nil
}

// ConsumeFlow implements store.Flows.
func (s *Store) ConsumeFlow(ctx context.Context, stateHash string) (store.Flow, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return store.Flow{}, err
	}
	defer unlock()
	f := s.flows[stateHash]
	if f == nil || f.used || !f.expires.After(now()) {
		return store.Flow{}, fmt.Errorf("integrations/store/memstore: flow: %w", store.ErrNotFound)
	}
	f.used = true
	out := f.Flow
	out.Verifier, out.Scopes, out.TTL = cloneBytes(f.Verifier), clone(f.Scopes), 0
	f.Verifier = nil
	return out, nil
}

// CountFlows implements store.Flows.
func (s *Store) CountFlows(ctx context.Context, tenant string, window time.Duration) (int, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	since, n := now().Add(-window), 0
	for _, f := range s.flows {
		if f.TenantID == tenant && f.CreatedAt.After(since) {
			n++
		}
	}
	return n, nil
}

// DeleteFlows implements store.Flows.
func (s *Store) DeleteFlows(ctx context.Context, age time.Duration, limit int) (int, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	before, n := now().Add(-age), 0
	for hash, f := range s.flows {
		if n < limit && f.expires.Before(before) {
			delete(s.flows, hash)
			n++
		}
	}
	return n, nil
}
