package sqlstore

import (
	"context"
	"database/sql"

	"github.com/saas-integrations/integrations/store"
)

// CountByKey implements store.Admin.
func (s *Store) CountByKey(ctx context.Context) (map[string]int64, error) {
	n := map[string]int64{}
	err := s.rows(ctx, s.db, "count by key", `SELECT key_id, COUNT(*) FROM (
 SELECT key_id FROM {p}integrations UNION ALL SELECT key_id FROM {p}webhook_endpoints UNION ALL SELECT key_id FROM {p}webhook_inbox WHERE status <> 1
) sealed WHERE key_id IS NOT NULL GROUP BY key_id`, nil, func(row scanner) error {
		var key string
		var count int64
		err := row.Scan(&key, &count)
		n[key] = count
		return err
	})
	return n, err
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

// ListNotUnderKey implements store.Admin.
func (s *Store) ListNotUnderKey(ctx context.Context, keyID, afterID string, limit int) ([]store.Integration, error) {
	return s.list(ctx, "list not under key", "id > ? AND key_id <> ? ORDER BY id LIMIT ?", afterID, keyID, max(limit, 0))
}

// Reseal implements store.Admin. Comparing the old sealed values keeps two who
// reseal at the same time apart.
func (s *Store) Reseal(ctx context.Context, rs []store.Reseal) (int, error) {
	total := 0
	err := s.write(ctx, "reseal", func(tx *sql.Tx) error {
		total = 0
		for _, r := range rs {
			query := `UPDATE {p}integrations {bykey} SET access_token = ?, refresh_token = ?, key_id = ?, updated_at = {now}
 WHERE id = ? AND tenant_id = ? AND token_gen = ? AND access_token = ? AND refresh_token `
			args := []any{
				bytesOrNull(r.AccessToken), bytesOrNull(r.RefreshToken), r.KeyID, r.ID, r.TenantID, r.SeenGen, bytesOrNull(r.OldAccessToken),
			}
			if r.OldRefreshToken == nil {
				query += "IS NULL"
			} else {
				query += "= ?"
				args = append(args, r.OldRefreshToken)
			}
			n, err := s.exec(ctx, tx, query, args...)
			if err != nil {
				return err
			}
			total += int(n)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return total, nil
}
