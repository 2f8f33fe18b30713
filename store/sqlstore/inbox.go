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

// insertTries is how often a batch is tried: two batches that lock the same rows
// can be made to give way by the database, and a batch can be repeated.
const insertTries = 3

// InsertDeliveries implements store.Inbox.
func (s *Store) InsertDeliveries(ctx context.Context, ds []store.Delivery) ([]bool, error) {
	for try := 1; ; try++ {
		var out []bool
		err := s.write(ctx, "insert deliveries", func(tx *sql.Tx) (err error) {
			out, err = s.insert(ctx, tx, ds)
			return err
		})
		if err == nil {
			return out, nil
		}
		if try == insertTries || ctx.Err() != nil {
			return nil, err
		}
	}
}

// insert stores rows that are not there yet and reports which were new.
func (s *Store) insert(ctx context.Context, tx *sql.Tx, ds []store.Delivery) ([]bool, error) {
	fresh := make(map[string]bool, len(ds))
	for part := range slices.Chunk(ds, chunk) {
		args := make([]any, 0, 13*len(part))
		for _, d := range part {
			args = append(args, d.ID, d.Provider, d.DeliveryID, orNull(d.BodyHash), d.TenantID, d.IntegrationID, d.ExternalID,
				d.EventType, d.OrderKey, bytesOrNull(d.Body), orNull(d.KeyID), bytesOrNull(d.Headers), moment(d.OccurredAt))
		}
		values := strings.TrimSuffix(strings.Repeat("(?,?,?,?,?,?,?,?,?,?,?,?,?,0,{now},{now},{now}),", len(part)), ",")
		err := s.rows(ctx, tx, "insert", `INSERT INTO {p}webhook_inbox (id, provider, delivery_id, body_hash, tenant_id, integration_id,
 external_id, event_type, order_key, body, key_id, headers, occurred_at, status, run_at, received_at, updated_at)
 VALUES `+values+" ON CONFLICT DO NOTHING RETURNING id", args, func(row scanner) error {
			var id string
			err := row.Scan(&id)
			fresh[id] = true
			return err
		})
		if err != nil {
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
	args := []any{c.Owner, millis(c.TTL)}
	var match []string
	for _, m := range c.Match {
		if m.EventType == "" {
			match = append(match, "provider = ?")
			args = append(args, m.Provider)
		} else {
			match = append(match, "provider = ? AND event_type = ?")
			args = append(args, m.Provider, m.EventType)
		}
	}
	args = append(args, c.Limit)
	var out []store.Delivery
	err := s.rows(ctx, s.db, "claim deliveries", `UPDATE {p}webhook_inbox SET lease_owner = ?, lease_until = {now}+?, claims = claims+1, updated_at = {now}
 WHERE id IN (SELECT id FROM {p}webhook_inbox WHERE status = 0 AND run_at <= {now} AND lease_until < {now}
 AND (`+strings.Join(match, " OR ")+`) ORDER BY run_at, id LIMIT ?)
 RETURNING `+deliveryColumns, args, func(row scanner) error {
		d, err := scanDelivery(row)
		out = append(out, d)
		return err
	})
	slices.SortFunc(out, func(a, b store.Delivery) int { return cmp.Or(a.RunAt.Compare(b.RunAt), cmp.Compare(a.ID, b.ID)) })
	return out, err
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
	condition, args, any := where(q)
	if !any {
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
	condition, args, any := where(q)
	if !any {
		return 0, ctx.Err()
	}
	n, err := s.exec(ctx, s.db, "UPDATE {p}webhook_inbox SET "+asNew+" WHERE status <> 0 AND id IN (SELECT id FROM {p}webhook_inbox WHERE "+condition+")", args...)
	if err != nil {
		return 0, fmt.Errorf("integrations/store/sqlstore: replay deliveries: %w", ended(ctx, err))
	}
	return int(n), nil
}

// DeleteDeliveries implements store.Inbox.
func (s *Store) DeleteDeliveries(ctx context.Context, state store.DeliveryState, age time.Duration, limit int) (int, error) {
	return s.deleteSome(ctx, "delete deliveries", "webhook_inbox", "id", "status = ? AND updated_at < {now}-?", limit, int(state), millis(age))
}

// CountDeliveries implements store.Inbox.
func (s *Store) CountDeliveries(ctx context.Context) (store.DeliveryCounts, error) {
	var c store.DeliveryCounts
	err := s.rows(ctx, s.db, "count deliveries", "SELECT status, COUNT(*), MAX({now}-run_at) FROM {p}webhook_inbox GROUP BY status", nil, func(row scanner) error {
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
