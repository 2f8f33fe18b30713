package sqlstore

import (
	"cmp"
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
 body, key_id, headers, status, claims, starts, last_error, occurred_at, received_at, run_at, updated_at`

func scanDelivery(row scanner) (store.Delivery, error) {
	var (
		d                                store.Delivery
		hash, key                        sql.NullString
		occurred, received, run, updated sql.NullInt64
	)
	err := row.Scan(&d.ID, &d.Provider, &d.DeliveryID, &hash, &d.TenantID, &d.IntegrationID, &d.ExternalID, &d.EventType, &d.OrderKey,
		&d.Body, &key, &d.Headers, &d.State, &d.Claims, &d.Starts, &d.LastError, &occurred, &received, &run, &updated)
	d.BodyHash, d.KeyID = hash.String, key.String
	d.OccurredAt, d.ReceivedAt, d.RunAt, d.UpdatedAt = at(occurred), at(received), at(run), at(updated)
	return d, err
}

// InsertDeliveries implements store.Inbox.
func (s *Store) InsertDeliveries(ctx context.Context, ds []store.Delivery) ([]bool, error) {
	var out []bool
	err := s.write(ctx, "insert deliveries", func(tx *sql.Tx) (err error) {
		out, err = s.insert(ctx, tx, ds)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// insert stores rows that are not there yet and reports which were new.
func (s *Store) insert(ctx context.Context, tx *sql.Tx, ds []store.Delivery) ([]bool, error) {
	fresh := make(map[string]bool, len(ds))
	// In one order, so that batches with the same rows do not wait for each other.
	sorted := slices.Clone(ds)
	slices.SortStableFunc(sorted, func(a, b store.Delivery) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.DeliveryID, b.DeliveryID), cmp.Compare(a.IntegrationID, b.IntegrationID))
	})
	for part := range slices.Chunk(sorted, chunk) {
		args := make([]any, 0, 13*len(part))
		for _, d := range part {
			args = append(args, d.ID, d.Provider, d.DeliveryID, orNull(d.BodyHash), d.TenantID, d.IntegrationID, d.ExternalID,
				d.EventType, d.OrderKey, bytesOrNull(d.Body), orNull(d.KeyID), bytesOrNull(d.Headers), moment(d.OccurredAt))
		}
		values := strings.TrimSuffix(strings.Repeat("(?,?,?,?,?,?,?,?,?,?,?,?,?,0,{now},{now},{now}),", len(part)), ",")
		query := `INSERT INTO {p}webhook_inbox (id, provider, delivery_id, body_hash, tenant_id, integration_id,
 external_id, event_type, order_key, body, key_id, headers, occurred_at, status, run_at, received_at, updated_at)
 VALUES ` + values
		if err := s.insertPart(ctx, tx, query, args, part, func(row scanner) error {
			var id string
			err := row.Scan(&id)
			fresh[id] = true
			return err
		}); err != nil {
			return nil, err
		}
	}
	out := make([]bool, len(ds))
	for i, d := range ds {
		out[i] = fresh[d.ID]
		if out[i] {
			delete(fresh, d.ID) // the same row twice is new once
			continue
		}
		if err := s.revive(ctx, tx, d); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// insertPart inserts rows and hands on the ids of those that are new. A row is
// under its own random id only if it is: where an insert does not tell, a look
// does.
func (s *Store) insertPart(ctx context.Context, tx *sql.Tx, query string, args []any, part []store.Delivery, fresh func(row scanner) error) error {
	if s.dialect.d.returning {
		return s.rows(ctx, tx, "insert", query+" ON CONFLICT DO NOTHING RETURNING id", args, fresh)
	}
	ids := make([]any, len(part))
	for i, d := range part {
		ids[i] = d.ID
	}
	if _, err := s.exec(ctx, tx, query+" ON DUPLICATE KEY UPDATE id = id", args...); err != nil {
		return err
	}
	return s.rows(ctx, tx, "find", "SELECT id FROM {p}webhook_inbox WHERE id IN ("+in(len(ids))+")", ids, fresh)
}

const asNew = "status = 0, claims = 0, starts = 0, last_error = '', run_at = {now}, updated_at = {now}, lease_owner = NULL, lease_until = 0"

// revive makes a dead row that equals d pending again: somebody asked the
// provider to send it once more.
func (s *Store) revive(ctx context.Context, tx *sql.Tx, d store.Delivery) error {
	_, err := s.exec(ctx, tx, "UPDATE {p}webhook_inbox SET "+asNew+
		" WHERE status = 2 AND provider = ? AND integration_id = ? AND (delivery_id = ? OR body_hash = ?)",
		d.Provider, d.IntegrationID, d.DeliveryID, orNull(d.BodyHash))
	return err
}

// ClaimDeliveries implements store.Inbox.
func (s *Store) ClaimDeliveries(ctx context.Context, c store.ClaimDeliveries) ([]store.Delivery, error) {
	if len(c.Match) == 0 || c.Limit <= 0 {
		return nil, ctx.Err()
	}
	match, args := matching(c.Match)
	var out []store.Delivery
	err := s.claim(ctx, claim{
		what: "claim deliveries", table: "webhook_inbox", key: []string{"id"}, columns: deliveryColumns,
		set: "lease_owner = ?, lease_until = {now}+?, claims = claims+1, updated_at = {now}", setArgs: []any{c.Owner, millis(c.TTL)},
		match: "status = 0 AND run_at <= {now} AND lease_until < {now} AND " + match, matchArgs: args,
		order: "run_at, id", limit: c.Limit,
		scan: func(row scanner) error {
			d, err := scanDelivery(row)
			out = append(out, d)
			return err
		},
	})
	slices.SortFunc(out, func(a, b store.Delivery) int { return cmp.Or(a.RunAt.Compare(b.RunAt), cmp.Compare(a.ID, b.ID)) })
	return out, err
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

// StartDelivery implements store.Inbox.
func (s *Store) StartDelivery(ctx context.Context, id, owner string) (bool, error) {
	return s.one(ctx, "start delivery", "UPDATE {p}webhook_inbox SET starts = starts+1 WHERE id = ? AND lease_owner = ? AND status = 0", id, owner)
}

// RenewDeliveries implements store.Inbox.
func (s *Store) RenewDeliveries(ctx context.Context, owner string, ids []string, ttl time.Duration) error {
	for part := range slices.Chunk(ids, chunk) {
		args := []any{millis(ttl), owner}
		for _, id := range part {
			args = append(args, id)
		}
		if _, err := s.one(ctx, "renew deliveries", "UPDATE {p}webhook_inbox SET lease_until = {now}+? WHERE lease_owner = ? AND status = 0 AND id IN ("+in(len(part))+")", args...); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// FinishDelivery implements store.Inbox.
func (s *Store) FinishDelivery(ctx context.Context, f store.FinishDelivery) (bool, error) {
	return s.one(ctx, "finish delivery", `UPDATE {p}webhook_inbox SET status = ?, last_error = ?, lease_owner = NULL, lease_until = 0, updated_at = {now},
 run_at = CASE WHEN ? THEN {now}+? ELSE run_at END WHERE id = ? AND lease_owner = ? AND status = 0`,
		int(f.State), f.Error, f.State == store.Pending, millis(f.RetryIn), f.ID, f.Owner)
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
	add(q.ID != "", "id = ?", q.ID)
	add(q.IntegrationID != "", "integration_id = ?", q.IntegrationID)
	add(q.Provider != "", "provider = ?", q.Provider)
	add(q.EventType != "", "event_type = ?", q.EventType)
	add(!q.ReceivedAfter.IsZero(), "received_at > ?", q.ReceivedAfter.UnixMilli())
	add(!q.ReceivedBefore.IsZero(), "received_at < ?", ceilMillis(q.ReceivedBefore))
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

// DeleteDeliveries implements store.Inbox.
func (s *Store) DeleteDeliveries(ctx context.Context, state store.DeliveryState, age time.Duration, limit int) (int, error) {
	return s.deleteSome(ctx, "delete deliveries", "webhook_inbox", "id", "status = ? AND updated_at < {now}-?", limit, int(state), millis(age))
}

// TrimDeliveries implements store.Inbox. A row is removed for being at or before
// one that is too many: that it was does not change with what others remove.
func (s *Store) TrimDeliveries(ctx context.Context, state store.DeliveryState, keep, limit int) (int, error) {
	var id string
	var updated sql.NullInt64
	err := s.db.QueryRowContext(ctx, s.text("SELECT id, updated_at FROM {p}webhook_inbox WHERE status = ? ORDER BY updated_at DESC, id DESC LIMIT 1 OFFSET ?"),
		int(state), max(keep, 0)).Scan(&id, &updated)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("integrations/store/sqlstore: trim deliveries: %w", ended(ctx, err))
	}
	return s.deleteSome(ctx, "trim deliveries", "webhook_inbox", "id",
		"status = ? AND updated_at <= ? AND (updated_at < ? OR id <= ?) ORDER BY updated_at, id", limit, int(state), updated.Int64, updated.Int64, id)
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
	err := s.rows(ctx, s.db, "count deliveries", "SELECT status, COUNT(*), MAX({now}-run_at) FROM {p}webhook_inbox"+which+" GROUP BY status", args, func(row scanner) error {
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
