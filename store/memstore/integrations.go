package memstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// Connect implements store.Integrations.
func (s *Store) Connect(ctx context.Context, c store.Connect) (store.Integration, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return store.Integration{}, err
	}
	defer unlock()
	if f := s.flows[c.StateHash]; c.StateHash != "" && (f == nil || f.TenantID != c.TenantID) {
		return store.Integration{}, fmt.Errorf("integrations/store/memstore: connect: flow: %w", store.ErrNotFound)
	}
	t := now()
	row := s.findLabel(c.TenantID, c.Provider, c.Label)
	if c.SeenGen > 0 {
		row = s.get(c.TenantID, c.ID)
	}
	switch {
	case c.SeenGen == 0 && (row != nil || s.integrations[c.ID] != nil),
		c.SeenGen > 0 && (row == nil || row.TokenGen != c.SeenGen):
		return store.Integration{}, fmt.Errorf("integrations/store/memstore: connect: %w", store.ErrConflict)
	}
	if c.ExclusiveKey != "" {
		for _, other := range s.integrations {
			if other.ExclusiveKey == c.ExclusiveKey && other.ID != c.ID {
				return store.Integration{}, fmt.Errorf("integrations/store/memstore: connect: %w", store.ErrTaken)
			}
		}
		for _, other := range s.integrations {
			if c.ExternalAlias != "" && other.Provider == c.Provider && other.ExternalAlias == c.ExternalAlias {
				other.ExternalAlias = ""
			}
		}
	}
	if row == nil {
		row = &store.Integration{
			ID: c.ID, TenantID: c.TenantID, Provider: c.Provider, Label: c.Label, Metadata: clone(c.Metadata), CreatedAt: t,
		}
		s.integrations[c.ID] = row
	}
	row.Status, row.StatusReason = store.Active, ""
	row.ExternalID, row.ExternalAlias, row.ExclusiveKey = c.ExternalID, c.ExternalAlias, c.ExclusiveKey
	row.AccessToken, row.RefreshToken, row.KeyID = cloneBytes(c.AccessToken), cloneBytes(c.RefreshToken), c.KeyID
	row.TokenExpiresAt, row.RefreshExpiresAt = after(t, c.ExpiresIn), after(t, c.RefreshExpiresIn)
	row.NextRefreshAt, row.LastRefreshAt = after(t, c.RefreshIn), time.Time{}
	row.GrantEnd, row.VerifyAt = c.GrantEnd, after(t, c.VerifyIn)
	row.Scopes, row.ProviderData = clone(c.Scopes), clone(c.ProviderData)
	row.TokenGen++
	row.Version++
	wellAgain(row)
	row.ConnectedAt, row.UpdatedAt = t, t
	s.release(row)
	if c.Moved {
		s.forgetAccount(store.Ref{TenantID: c.TenantID, ID: c.ID})
	}
	s.insertChange(c.Change, t)
	return copyOut(row, t), nil
}

// wellAgain forgets failed refreshes.
func wellAgain(row *store.Integration) {
	row.RefreshFails, row.RefreshError, row.RefreshReported, row.RefreshFailingSince = 0, "", 0, time.Time{}
}

// Get implements store.Integrations.
func (s *Store) Get(ctx context.Context, tenant, id string) (store.Integration, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return store.Integration{}, err
	}
	defer unlock()
	row := s.get(tenant, id)
	if row == nil {
		return store.Integration{}, fmt.Errorf("integrations/store/memstore: integration: %w", store.ErrNotFound)
	}
	return copyOut(row, now()), nil
}

// GetMany implements store.Integrations.
func (s *Store) GetMany(ctx context.Context, refs []store.Ref) ([]store.Integration, error) {
	wanted := make(map[store.Ref]bool, len(refs))
	for _, r := range refs {
		wanted[r] = true
	}
	return s.list(ctx, func(in *store.Integration) bool { return wanted[store.Ref{TenantID: in.TenantID, ID: in.ID}] }, byID)
}

// Find implements store.Integrations.
func (s *Store) Find(ctx context.Context, tenant, provider, label string) (store.Integration, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return store.Integration{}, err
	}
	defer unlock()
	row := s.findLabel(tenant, provider, label)
	if row == nil {
		return store.Integration{}, fmt.Errorf("integrations/store/memstore: integration: %w", store.ErrNotFound)
	}
	return copyOut(row, now()), nil
}

// List implements store.Integrations.
func (s *Store) List(ctx context.Context, tenant string) ([]store.Integration, error) {
	return s.list(ctx, func(in *store.Integration) bool { return in.TenantID == tenant }, func(a, b *store.Integration) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Label, b.Label))
	})
}

// FindByExternal implements store.Integrations.
func (s *Store) FindByExternal(ctx context.Context, provider, externalID string) ([]store.Integration, error) {
	if externalID == "" {
		return nil, ctx.Err()
	}
	return s.list(ctx, func(in *store.Integration) bool {
		return in.Provider == provider && (in.ExternalID == externalID || in.ExternalAlias == externalID)
	}, func(a, b *store.Integration) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
}

// Lease implements store.Integrations.
func (s *Store) Lease(ctx context.Context, l store.Lease) (bool, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	t := now()
	row := s.get(l.TenantID, l.ID)
	if row == nil || row.Status != store.Active || row.TokenGen != l.SeenGen || !row.LeaseUntil.Before(t) {
		return false, nil
	}
	s.lease(row, l.Owner, t.Add(l.TTL))
	return true, nil
}

// CommitTokens implements store.Integrations.
func (s *Store) CommitTokens(ctx context.Context, c store.CommitTokens) (bool, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	t := now()
	row := s.get(c.TenantID, c.ID)
	if row == nil || row.Status != store.Active && row.Status != store.Suspended || row.TokenGen != c.SeenGen {
		return false, nil
	}
	row.AccessToken, row.RefreshToken, row.KeyID = cloneBytes(c.AccessToken), cloneBytes(c.RefreshToken), c.KeyID
	row.TokenExpiresAt, row.NextRefreshAt = after(t, c.ExpiresIn), after(t, c.RefreshIn)
	if !c.KeepRefreshExpiry {
		row.RefreshExpiresAt = after(t, c.RefreshExpiresIn)
	}
	if c.GrantEnd == store.EndMoves || c.GrantEnd == store.EndStays && row.GrantEnd != store.EndReported {
		row.GrantEnd = c.GrantEnd
	}
	if c.Scopes != nil {
		row.Scopes = clone(c.Scopes)
	}
	if c.ProviderData != nil {
		row.ProviderData = clone(c.ProviderData)
	}
	row.TokenGen++
	row.Version++
	wellAgain(row)
	row.LastRefreshAt, row.UpdatedAt = t, t
	s.release(row)
	for i := range c.Changes {
		s.insert(&c.Changes[i], t)
	}
	return true, nil
}

// FailRefresh implements store.Integrations.
func (s *Store) FailRefresh(ctx context.Context, f store.FailRefresh) (bool, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	t := now()
	row := s.get(f.TenantID, f.ID)
	if row == nil || s.leases[row.ID] != f.Owner || f.Owner == "" || row.TokenGen != f.SeenGen {
		return false, nil
	}
	if !f.Uncounted {
		if row.RefreshFailingSince.IsZero() {
			row.RefreshFailingSince = t
		}
		row.RefreshFails++
		row.RefreshError = f.Code
		row.RefreshReported = max(row.RefreshReported, f.Report)
	}
	row.NextRefreshAt = millis(t.Add(f.RetryIn))
	s.release(row)
	if f.HoldLease > 0 {
		row.LeaseUntil = millis(t.Add(f.HoldLease))
	}
	s.insertChange(f.Change, t)
	return true, nil
}

// SetStatus implements store.Integrations.
func (s *Store) SetStatus(ctx context.Context, c store.SetStatus) (bool, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	t := now()
	row := s.get(c.TenantID, c.ID)
	switch {
	case row == nil,
		len(c.From) == 0 && row.Status == c.To,
		len(c.From) > 0 && !slices.Contains(c.From, row.Status),
		c.SeenGen != 0 && row.TokenGen != c.SeenGen,
		!c.ConnectedBefore.IsZero() && !row.ConnectedAt.Before(c.ConnectedBefore):
		return false, nil
	}
	row.Status, row.StatusReason = c.To, c.Reason
	row.Version++
	row.UpdatedAt = t
	if c.Wipe {
		row.AccessToken, row.RefreshToken, row.KeyID, row.ExclusiveKey = nil, nil, "", ""
		row.TokenExpiresAt, row.RefreshExpiresAt, row.NextRefreshAt, row.VerifyAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		row.GrantEnd = store.EndUnknown
		row.TokenGen++
	}
	s.release(row)
	s.insertChange(c.Change, t)
	return true, nil
}

// Update implements store.Integrations.
func (s *Store) Update(ctx context.Context, u store.Update) (int64, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	row := s.get(u.TenantID, u.ID)
	if row == nil {
		return 0, fmt.Errorf("integrations/store/memstore: update: %w", store.ErrNotFound)
	}
	if row.Version != u.Version {
		return 0, fmt.Errorf("integrations/store/memstore: update: %w", store.ErrConflict)
	}
	if u.Metadata != nil {
		row.Metadata = clone(*u.Metadata)
	}
	if u.ProviderData != nil {
		row.ProviderData = clone(*u.ProviderData)
	}
	if u.Scopes != nil {
		row.Scopes = clone(*u.Scopes)
	}
	row.Version++
	row.UpdatedAt = now()
	s.insertChange(u.Change, row.UpdatedAt)
	return row.Version, nil
}

// Delete implements store.Integrations.
func (s *Store) Delete(ctx context.Context, tenant, id string) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if s.get(tenant, id) != nil {
		delete(s.integrations, id)
		delete(s.leases, id)
	}
	return nil
}

// ClaimDue implements store.Integrations.
func (s *Store) ClaimDue(ctx context.Context, c store.ClaimDue) ([]store.Integration, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	t := now()
	due := s.active(c.Limit, func(row *store.Integration) bool {
		return slices.Contains(c.Providers, row.Provider) && row.LeaseUntil.Before(t) && !row.NextRefreshAt.IsZero() && !row.NextRefreshAt.After(t) &&
			(len(c.Keys) == 0 || row.KeyID == "" || slices.Contains(c.Keys, row.KeyID))
	}, func(row *store.Integration) time.Time { return row.NextRefreshAt })
	out := make([]store.Integration, len(due))
	for i, row := range due {
		s.lease(row, c.Owner, t.Add(c.TTL))
		out[i] = copyOut(row, t)
	}
	return out, nil
}

func (s *Store) list(ctx context.Context, keep func(*store.Integration) bool, order func(a, b *store.Integration) int) ([]store.Integration, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var rows []*store.Integration
	for _, row := range s.integrations {
		if keep(row) {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, order)
	t := now()
	out := make([]store.Integration, len(rows))
	for i, row := range rows {
		out[i] = copyOut(row, t)
	}
	return out, nil
}

func byID(a, b *store.Integration) int { return cmp.Compare(a.ID, b.ID) }

func (s *Store) get(tenant, id string) *store.Integration {
	if row := s.integrations[id]; row != nil && row.TenantID == tenant {
		return row
	}
	return nil
}

func (s *Store) findLabel(tenant, provider, label string) *store.Integration {
	for _, row := range s.integrations {
		if row.TenantID == tenant && row.Provider == provider && row.Label == label {
			return row
		}
	}
	return nil
}

func (s *Store) lease(row *store.Integration, owner string, until time.Time) {
	s.leases[row.ID] = owner
	if !row.LeaseUntil.IsZero() {
		row.RefreshError = store.Ambiguous // the last one was not given back
	}
	row.LeaseUntil = until.Truncate(time.Millisecond)
	row.LeaseEpoch++
}

func (s *Store) release(row *store.Integration) {
	delete(s.leases, row.ID)
	row.LeaseUntil = time.Time{}
}

// copyOut is a copy that shares nothing with the row.
func copyOut(row *store.Integration, readAt time.Time) store.Integration {
	out := *row
	out.AccessToken, out.RefreshToken = clone(row.AccessToken), clone(row.RefreshToken)
	out.Scopes = clone(row.Scopes)
	out.Metadata, out.ProviderData = clone(row.Metadata), clone(row.ProviderData)
	out.ReadAt = readAt
	return out
}
