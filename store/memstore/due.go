package memstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// ListEnding implements store.Integrations.
func (s *Store) ListEnding(ctx context.Context, l store.ListEnding) ([]store.Integration, error) {
	until := now().Add(l.Within)
	return s.first(ctx, l.Limit, func(row *store.Integration) bool {
		return row.GrantEnd == store.EndStays && !row.RefreshExpiresAt.IsZero() && !row.RefreshExpiresAt.After(until)
	}, func(row *store.Integration) time.Time { return row.RefreshExpiresAt })
}

// ReportEnds implements store.Integrations.
func (s *Store) ReportEnds(ctx context.Context, rs []store.ReportEnd) (int, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	t, n := now(), 0
	for _, r := range rs {
		row := s.get(r.TenantID, r.ID)
		if row == nil || row.Status != store.Active || row.TokenGen != r.SeenGen || row.GrantEnd != store.EndStays {
			continue
		}
		row.GrantEnd = store.EndReported
		s.insertChange(r.Change, t)
		n++
	}
	return n, nil
}

// ListDue implements store.Integrations.
func (s *Store) ListDue(ctx context.Context, l store.ListDue) ([]store.Integration, error) {
	t := now()
	return s.first(ctx, l.Limit, func(row *store.Integration) bool {
		return slices.Contains(l.Providers, row.Provider) && !row.NextRefreshAt.IsZero() && !row.NextRefreshAt.After(t) &&
			cmp.Or(row.NextRefreshAt.Compare(millis(l.After)), cmp.Compare(row.ID, l.AfterID)) > 0
	}, func(row *store.Integration) time.Time { return row.NextRefreshAt })
}

// ReportHeld implements store.Integrations.
func (s *Store) ReportHeld(ctx context.Context, rs []store.ReportHeld) (int, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	t, n := now(), 0
	for _, r := range rs {
		row := s.get(r.TenantID, r.ID)
		if row == nil || row.Status != store.Active || row.TokenGen != r.SeenGen ||
			!row.RefreshFailingSince.IsZero() && row.RefreshReported >= r.Report {
			continue
		}
		if row.RefreshFailingSince.IsZero() {
			row.RefreshFailingSince = t
		}
		if row.RefreshError == "" {
			row.RefreshError = r.Code
		}
		row.RefreshReported = max(row.RefreshReported, r.Report)
		s.insertChange(r.Change, t)
		n++
	}
	return n, nil
}

// ClaimVerify implements store.Integrations.
func (s *Store) ClaimVerify(ctx context.Context, c store.ClaimVerify) ([]store.Integration, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	t := now()
	due := s.active(c.Limit, func(row *store.Integration) bool {
		return slices.Contains(c.Providers, row.Provider) && !row.VerifyAt.IsZero() && !row.VerifyAt.After(t)
	}, func(row *store.Integration) time.Time { return row.VerifyAt })
	out := make([]store.Integration, len(due))
	for i, row := range due {
		row.VerifyAt = millis(t.Add(c.Again))
		out[i] = copyOut(row, t)
	}
	return out, nil
}

// first returns copies of the first active rows that are wanted, by a time and the
// id.
func (s *Store) first(ctx context.Context, limit int, wanted func(*store.Integration) bool, by func(*store.Integration) time.Time) ([]store.Integration, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	t := now()
	var out []store.Integration
	for _, row := range s.active(limit, wanted, by) {
		out = append(out, copyOut(row, t))
	}
	return out, nil
}

func (s *Store) active(limit int, wanted func(*store.Integration) bool, by func(*store.Integration) time.Time) []*store.Integration {
	var rows []*store.Integration
	for _, row := range s.integrations {
		if row.Status == store.Active && wanted(row) {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b *store.Integration) int { return cmp.Or(by(a).Compare(by(b)), cmp.Compare(a.ID, b.ID)) })
	return rows[:min(len(rows), max(limit, 0))]
}
