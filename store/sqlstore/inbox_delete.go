package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// DeleteDeliveries implements store.Inbox. What [Store.Once] noted of them goes too.
func (s *Store) DeleteDeliveries(ctx context.Context, state store.DeliveryState, age time.Duration, limit int) (int, error) {
	n, _, err := s.deleteDeliveries(ctx, "delete deliveries", "status = ? AND updated_at > 0 AND updated_at < {now}-?", "", limit, int(state), millis(age))
	return n, err
}

// TrimDeliveries implements store.Inbox. A row is removed for being at or before
// one that is too many: that it was does not change with what others remove. What
// [Store.Once] noted of it goes too.
func (s *Store) TrimDeliveries(ctx context.Context, state store.DeliveryState, keep, limit int) (int, error) {
	const what = "trim deliveries"
	var id string
	var updated sql.NullInt64
	err := s.db.QueryRowContext(ctx, s.text("SELECT id, updated_at FROM {p}webhook_inbox WHERE status = ? AND updated_at > 0 ORDER BY updated_at DESC, id DESC LIMIT 1 OFFSET ?"),
		int(state), max(keep, 0)).Scan(&id, &updated)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("integrations/store/sqlstore: %s: %w", what, ended(ctx, err))
	}
	n, _, err := s.deleteDeliveries(ctx, what, "status = ? AND updated_at > 0 AND updated_at <= ? AND (updated_at < ? OR id <= ?)", " ORDER BY updated_at, id",
		limit, int(state), updated.Int64, updated.Int64, id)
	return n, err
}

// purgeDeliveries removes up to limit deliveries of a tenant and what [Store.Once]
// noted of them. 0 means that none is left: somebody else may have removed the very
// rows that were picked.
func (s *Store) purgeDeliveries(ctx context.Context, tenant string, limit int) (int, error) {
	for {
		n, found, err := s.deleteDeliveries(ctx, "purge", "tenant_id = ?", "", limit, tenant)
		if err != nil || n > 0 || found == 0 {
			return n, err
		}
	}
}

// deleteDeliveries removes up to limit deliveries that match, with the notes of them,
// some at a time. It reports how many it removed, and how many it found. A row that
// somebody changed meanwhile is judged again.
func (s *Store) deleteDeliveries(ctx context.Context, what, match, order string, limit int, args ...any) (removed, found int, err error) {
	ids, err := s.ids(ctx, what, "SELECT id FROM {p}webhook_inbox WHERE "+match+order+" LIMIT ?", append(slices.Clone(args), max(limit, 0))...)
	if err != nil {
		return 0, 0, err
	}
	var opts *sql.TxOptions
	if !s.dialect.d.returning { // the rows alone are locked, not the gaps where others insert
		opts = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	for part := range slices.Chunk(ids, chunk) {
		var n int64
		if err := s.writeAs(ctx, what, opts, func(tx *sql.Tx) (err error) {
			n, err = s.exec(ctx, tx, "DELETE FROM {p}webhook_inbox WHERE "+match+" AND id IN ("+in(len(part))+")", append(slices.Clone(args), part...)...)
			if err != nil {
				return err
			}
			_, err = s.exec(ctx, tx, "DELETE FROM {p}webhook_once WHERE event_id IN ("+in(len(part))+") AND NOT EXISTS (SELECT 1 FROM {p}webhook_inbox i WHERE i.id = event_id)", part...)
			return err
		}); err != nil {
			return removed, len(ids), err
		}
		removed += int(n)
	}
	return removed, len(ids), nil
}
