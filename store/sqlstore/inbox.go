package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/store"
)

const deliveryColumns = `id, provider, delivery_id, body_hash, tenant_id, integration_id, external_id, event_type, order_key,
 body, key_id, headers, status, claims, starts, lost, last_error, occurred_at, received_at, COALESCE(due_at, run_at), updated_at`

func scanDelivery(row scanner) (store.Delivery, error) {
	var (
		d                                store.Delivery
		hash, key                        sql.NullString
		occurred, received, run, updated sql.NullInt64
	)
	err := row.Scan(&d.ID, &d.Provider, &d.DeliveryID, &hash, &d.TenantID, &d.IntegrationID, &d.ExternalID, &d.EventType, &d.OrderKey,
		&d.Body, &key, &d.Headers, &d.State, &d.Claims, &d.Starts, &d.Lost, &d.LastError, &occurred, &received, &run, &updated)
	d.BodyHash, d.KeyID = hash.String, key.String
	d.OccurredAt, d.ReceivedAt, d.RunAt, d.UpdatedAt = at(occurred), at(received), at(run), at(updated)
	return d, err
}

// matching is the condition of some matches, in parentheses.
func matching(ms []store.Match) (string, []any) {
	var conditions []string
	var args []any
	for _, m := range ms {
		if m.EventType == "" {
			conditions = append(conditions, "provider = ?")
			args = append(args, m.Provider)
		} else {
			conditions = append(conditions, "provider = ? AND event_type = ?")
			args = append(args, m.Provider, m.EventType)
		}
	}
	return "(" + strings.Join(conditions, " OR ") + ")", args
}

// GetDelivery implements store.Inbox.
func (s *Store) GetDelivery(ctx context.Context, tenant, id string) (store.Delivery, error) {
	d, err := scanDelivery(s.db.QueryRowContext(ctx, s.text("SELECT "+deliveryColumns+" FROM {p}webhook_inbox WHERE id = ? AND tenant_id = ?"), id, tenant))
	if errors.Is(err, sql.ErrNoRows) {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Delivery{}, fmt.Errorf("integrations/store/sqlstore: get delivery: %w", ended(ctx, err))
	}
	return d, nil
}

// where turns a query into a condition, false when it selects nothing.
func where(q store.DeliveryQuery) (string, []any, bool) {
	if q.TenantID == "" && !q.AllTenants {
		return "", nil, false
	}
	conditions, args := []string{"1 = 1"}, []any{}
	add := func(on bool, condition string, arg any) {
		if on {
			conditions = append(conditions, condition)
			args = append(args, arg)
		}
	}
	add(!q.AllTenants, "tenant_id = ?", q.TenantID)
	add(q.IntegrationID != "", "integration_id = ?", q.IntegrationID)
	add(q.Provider != "", "provider = ?", q.Provider)
	add(q.EventType != "", "event_type = ?", q.EventType)
	add(!q.ReceivedAfter.IsZero(), "received_at > ?", q.ReceivedAfter.UnixMilli())
	add(!q.ReceivedBefore.IsZero(), "received_at < ?", ceilMillis(q.ReceivedBefore))
	if q.IDs != nil {
		if len(q.IDs) == 0 {
			return "", nil, false
		}
		conditions = append(conditions, "id IN ("+in(len(q.IDs))+")")
		for _, id := range q.IDs {
			args = append(args, id)
		}
	}
	if d := q.OlderThan; d != nil {
		conditions = append(conditions, "received_at <= ? AND (received_at < ? OR id < ?)")
		args = append(args, d.ReceivedAt.UnixMilli(), d.ReceivedAt.UnixMilli(), d.ID)
	}
	if len(q.States) > 0 {
		conditions = append(conditions, "status IN ("+in(len(q.States))+")")
		for _, st := range q.States {
			args = append(args, int(st))
		}
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	return strings.Join(conditions, " AND ") + " ORDER BY received_at DESC, id DESC LIMIT ?", append(args, min(limit, 1000)), true
}

// ListDeliveries implements store.Inbox.
func (s *Store) ListDeliveries(ctx context.Context, q store.DeliveryQuery) ([]store.Delivery, error) {
	condition, args, some := where(q)
	if !some {
		return nil, ctx.Err()
	}
	columns := strings.Replace(deliveryColumns, "body, key_id", "NULL, key_id", 1)
	var out []store.Delivery
	err := s.rows(ctx, s.db, "list deliveries", "SELECT "+columns+" FROM {p}webhook_inbox WHERE "+condition, args, func(row scanner) error {
		d, err := scanDelivery(row)
		out = append(out, d)
		return err
	})
	return out, err
}

// ReplayDeliveries implements store.Inbox.
func (s *Store) ReplayDeliveries(ctx context.Context, q store.DeliveryQuery) (int, error) {
	condition, args, some := where(q)
	if !some {
		return 0, ctx.Err()
	}
	var ids []any
	if err := s.rows(ctx, s.db, "replay deliveries", "SELECT id FROM {p}webhook_inbox WHERE status <> 0 AND "+condition, args, func(row scanner) error {
		var id string
		err := row.Scan(&id)
		ids = append(ids, id)
		return err
	}); err != nil {
		return 0, err
	}
	total := 0
	for part := range slices.Chunk(ids, chunk) {
		n, err := s.exec(ctx, s.db, "UPDATE {p}webhook_inbox SET "+asNew+" WHERE status <> 0 AND id IN ("+in(len(part))+")", part...)
		if err != nil {
			return total, fmt.Errorf("integrations/store/sqlstore: replay deliveries: %w", ended(ctx, err))
		}
		total += int(n)
	}
	return total, nil
}

// TrimDeliveries implements store.Inbox. A row is removed for being at or before
// one that is too many: that it was does not change with what others remove.
func (s *Store) TrimDeliveries(ctx context.Context, state store.DeliveryState, keep, limit int) (int, error) {
	var id string
	var updated sql.NullInt64
	err := s.db.QueryRowContext(ctx, s.text("SELECT id, updated_at FROM {p}webhook_inbox WHERE status = ? AND updated_at > 0 ORDER BY updated_at DESC, id DESC LIMIT 1 OFFSET ?"),
		int(state), max(keep, 0)).Scan(&id, &updated)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("integrations/store/sqlstore: trim deliveries: %w", ended(ctx, err))
	}
	return s.deleteSome(ctx, "trim deliveries", "webhook_inbox", "id",
		"status = ? AND updated_at > 0 AND updated_at <= ? AND (updated_at < ? OR id <= ?) ORDER BY updated_at, id", limit, int(state), updated.Int64, updated.Int64, id)
}

// CountDeliveries implements store.Inbox.
func (s *Store) CountDeliveries(ctx context.Context, match []store.Match) (store.DeliveryCounts, error) {
	var c store.DeliveryCounts
	which, args := "", []any(nil)
	if match != nil {
		if len(match) == 0 {
			return c, ctx.Err()
		}
		which, args = matching(match)
		which = " WHERE " + which
	}
	err := s.rows(ctx, s.db, "count deliveries", "SELECT status, COUNT(*), MAX({now}-COALESCE(due_at, run_at)) FROM {p}webhook_inbox"+which+" GROUP BY status", args, func(row scanner) error {
		var state store.DeliveryState
		var n, wait int64
		if err := row.Scan(&state, &n, &wait); err != nil {
			return err
		}
		switch state {
		case store.Pending:
			c.Pending, c.OldestDue = n, time.Duration(max(wait, 0))*time.Millisecond
		case store.Done:
			c.Done = n
		case store.Dead:
			c.Dead = n
		}
		return nil
	})
	return c, err
}
