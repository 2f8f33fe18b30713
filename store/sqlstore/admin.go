package sqlstore

import (
	"context"

	"github.com/saas-integrations/integrations/store"
)

// CountByKey implements store.Admin.
func (s *Store) CountByKey(ctx context.Context) (map[string]int64, error) {
	return s.countKeys(ctx, "count by key", store.SealedTokens, store.SealedSecrets, store.SealedBodies)
}

// CountByStatus implements store.Admin.
func (s *Store) CountByStatus(ctx context.Context) (map[store.Status]int64, error) {
	n := map[store.Status]int64{}
	err := s.rows(ctx, s.db, "count by status", "SELECT status, COUNT(*) FROM {p}integrations GROUP BY status", nil, func(row scanner) error {
		var status store.Status
		var count int64
		err := row.Scan(&status, &count)
		n[status] = count
		return err
	})
	return n, err
}

// ListAll implements store.Admin.
func (s *Store) ListAll(ctx context.Context, afterID string, limit int) ([]store.Integration, error) {
	return s.list(ctx, "list all", "id > ? ORDER BY id LIMIT ?", afterID, max(limit, 0))
}
