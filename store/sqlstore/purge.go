package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/saas-integrations/integrations/store"
)

// purgeKeys are the primary keys of a tenant's tables.
var purgeKeys = map[store.Table][]string{
	store.TableIntegrations:  {"id"},
	store.TableFlows:         {"state_hash"},
	store.TableDeliveries:    {"id"}, // see purgeDeliveries
	store.TableCheckpoints:   {"tenant_id", "integration_id", "name"},
	store.TableEndpoints:     {"id"},
	store.TableSubscriptions: {"tenant_id", "integration_id", "name"},
}

// PurgeRows implements store.Purger.
func (s *Store) PurgeRows(ctx context.Context, tenant string, t store.Table, limit int) (int, error) {
	key, known := purgeKeys[t]
	if !known {
		return 0, fmt.Errorf("integrations/store/sqlstore: purge: no table %q", t)
	}
	if tenant == "" || limit <= 0 {
		return 0, ctx.Err()
	}
	if t == store.TableDeliveries {
		return s.purgeDeliveries(ctx, tenant, limit)
	}
	from, where := "DELETE FROM {p}"+string(t), " WHERE tenant_id = ?"
	if t == store.TableIntegrations {
		where += " AND status = '" + string(store.Disconnected) + "'"
	}
	query, opts := from+where+" LIMIT ?", &sql.TxOptions{Isolation: sql.LevelReadCommitted} // the rows alone are locked, not the gaps where others insert
	args := []any{tenant, limit}
	if s.dialect.d.returning {
		// The condition stands in both: a row that somebody changed meanwhile is
		// judged by the outer one.
		query, opts = from+where+" AND "+tuple(key)+" IN (SELECT "+strings.Join(key, ", ")+" FROM {p}"+string(t)+where+" LIMIT ?)", nil
		args = []any{tenant, tenant, limit}
	}
	for {
		var n int64
		err := s.writeAs(ctx, "purge", opts, func(tx *sql.Tx) (err error) {
			n, err = s.exec(ctx, tx, query, args...)
			return err
		})
		if err != nil || n > 0 {
			return int(n), err
		}
		// Somebody else may have removed the very rows that were picked.
		var left int
		if err := s.db.QueryRowContext(ctx, s.text("SELECT COUNT(*) FROM (SELECT 1 FROM {p}"+string(t)+where+" LIMIT 1) l"), tenant).Scan(&left); err != nil {
			return 0, fmt.Errorf("integrations/store/sqlstore: purge: %w", ended(ctx, err))
		}
		if left == 0 {
			return 0, nil
		}
	}
}

// holdFlow keeps a tenant's flow from being removed before what comes of it is done;
// it fails when it was removed already. A value that changes whatever it was is counted
// as changed by every connection.
func (s *Store) holdFlow(ctx context.Context, tx *sql.Tx, tenant, stateHash string) error {
	if stateHash == "" {
		return nil
	}
	n, err := s.exec(ctx, tx, "UPDATE {p}oauth_flows SET consumed_at = COALESCE(consumed_at, {now})+1 WHERE state_hash = ? AND tenant_id = ?", stateHash, tenant)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}
