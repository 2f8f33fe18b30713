package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// RenewDeliveries implements store.Inbox. Rows that somebody locks are left out where
// that can be said: they are being written down as started or ended. To wait for one
// with others locked is a deadlock with who does that in another order, and PostgreSQL
// takes a second to find one.
func (s *Store) RenewDeliveries(ctx context.Context, owner string, ids []string, ttl time.Duration) error {
	const what = "renew deliveries"
	for part := range slices.Chunk(ids, chunk) {
		which := "lease_owner = ? AND {open} AND (turn = 0 OR run_at > {now}) AND id IN (" + in(len(part)) + ")"
		if s.dialect.d.returning && s.dialect.d.skipLocked != "" {
			which = "id IN (SELECT id FROM {p}webhook_inbox WHERE " + which + " " + s.dialect.d.skipLocked + ")"
		}
		args := append([]any{millis(ttl), owner}, params(part)...)
		if err := s.again(ctx, what, func() (bool, error) {
			_, err := s.exec(ctx, s.db, "UPDATE {p}webhook_inbox {bykey} SET run_at = {now}+? WHERE "+which, args...)
			return true, err
		}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// RecordDeliveries implements store.Inbox.
func (s *Store) RecordDeliveries(ctx context.Context, r store.RecordDeliveries) (store.Recorded, error) {
	out := store.Recorded{Ends: make([]bool, len(r.Ends)), Starts: make([]bool, len(r.Starts))}
	changes, of, over := endings(r.Ends), map[string]*bool{}, map[string]bool{}
	for i, f := range r.Ends {
		of[f.ID], over[f.ID] = &out.Ends[i], f.State != store.Pending
	}
	if len(r.Starts) > 0 {
		changes = append(changes, change{set: "starts = starts+1", also: " AND run_at > {now}", leases: r.Starts})
		for i, l := range r.Starts {
			of[l.ID] = &out.Starts[i]
		}
	}
	if len(changes) == 0 {
		return out, ctx.Err()
	}
	free, err := s.takeTurn(ctx)
	if err != nil {
		return store.Recorded{}, err
	}
	defer free()
	rows, err := s.change(ctx, "record deliveries", changes)
	if err != nil {
		return store.Recorded{}, err
	}
	next := map[orderKey]bool{}
	for _, row := range rows {
		*of[row.id] = true
		if row.key != "" && over[row.id] {
			next[row.orderKey] = true
		}
	}
	// What is recorded is, whatever becomes of this: the next would be due by itself
	// after a while.
	_ = s.makeNextDue(ctx, next)
	return out, nil
}

type orderKey struct{ integration, key string }

// endings are the changes that finish deliveries: one for all that went well, and
// one for each that did not.
func endings(fs []store.FinishDelivery) []change {
	const freed = "lease_owner = NULL, turn = 0, updated_at = {now}, "
	var done change
	var all []change
	for _, f := range fs {
		lease := store.DeliveryLease{ID: f.ID, Owner: f.Owner}
		if f.State == store.Done && f.Error == "" && !f.Unclaim {
			done.leases = append(done.leases, lease)
			continue
		}
		c := change{leases: []store.DeliveryLease{lease}, set: freed + "status = ?, last_error = ?", args: []any{int(f.State), f.Error}}
		if f.State == store.Pending {
			c.set += ", due_at = NULL, run_at = {now}+?"
			c.args = append(c.args, millis(f.RetryIn))
		}
		if f.Unclaim {
			c.set += ", claims = claims-1"
		}
		all = append(all, c)
	}
	if len(done.leases) > 0 {
		done.set = freed + "status = 1, last_error = ''"
		all = append(all, done)
	}
	return all
}

// makeNextDue tells the deliveries whose turn has come. It is a statement of its
// own, after what finished is seen by all: who put one off at the same time either
// saw that, or is seen here.
func (s *Store) makeNextDue(ctx context.Context, keys map[orderKey]bool) error {
	const set = "UPDATE {p}webhook_inbox SET turn = 0, run_at = {now} WHERE "
	const first = "integration_id = ? AND order_key = ? AND order_key <> '' AND turn > 0 AND turn = 1 ORDER BY received_at, id LIMIT 1"
	if len(keys) == 0 {
		return nil
	}
	var args []any
	for k := range keys {
		if !s.dialect.d.returning { // nor does it look at the table it changes
			if _, err := s.one(ctx, "next delivery", set+"status = 0 AND "+first, k.integration, k.key); err != nil {
				return err
			}
		}
		args = append(args, k.integration, k.key)
	}
	if !s.dialect.d.returning {
		return nil
	}
	one := "(SELECT id FROM {p}webhook_inbox WHERE " + first + "),"
	_, err := s.one(ctx, "next delivery", set+"{open} AND turn+0 = 1 AND id IN ("+strings.TrimSuffix(strings.Repeat(one, len(keys)), ",")+")", args...)
	return err
}

// change is an UPDATE of leased rows whose leases are still held.
type change struct {
	set    string
	args   []any
	also   string // one more condition
	leases []store.DeliveryLease
}

// changedRow is a row that a change has changed.
type changedRow struct {
	id string
	orderKey
}

// change makes changes, in one transaction if there are several, and says of which
// rows.
func (s *Store) change(ctx context.Context, what string, changes []change) ([]changedRow, error) {
	if len(changes) == 1 && len(changes[0].leases) <= chunk && s.dialect.d.returning {
		return s.changePart(ctx, s.db, what, changes[0])
	}
	var rows []changedRow
	err := s.write(ctx, what, func(tx *sql.Tx) error {
		rows = rows[:0]
		for _, c := range changes {
			for part := range slices.Chunk(c.leases, chunk) {
				c.leases = part
				more, err := s.changePart(ctx, tx, what, c)
				if err != nil {
					return err
				}
				rows = append(rows, more...)
			}
		}
		return nil
	})
	return rows, err
}

func (s *Store) changePart(ctx context.Context, r runner, what string, c change) ([]changedRow, error) {
	pairs := make([]string, len(c.leases))
	args := make([]any, 0, 2*len(c.leases))
	for i, l := range c.leases {
		pairs[i] = "id = ? AND lease_owner = ?"
		args = append(args, l.ID, l.Owner)
	}
	const columns = "id, integration_id, order_key"
	update := "UPDATE {p}webhook_inbox {bykey} SET " + c.set + " WHERE "
	where := "{open} AND (" + strings.Join(pairs, " OR ") + ")" + c.also
	query, all := update+where+" RETURNING "+columns, append(slices.Clone(c.args), args...)
	if !s.dialect.d.returning {
		query, all = "SELECT "+columns+" FROM {p}webhook_inbox {bykey} WHERE "+where+" FOR UPDATE", args
	}
	var rows []changedRow
	if err := s.rows(ctx, r, what, query, all, func(row scanner) error {
		var c changedRow
		err := row.Scan(&c.id, &c.integration, &c.key)
		rows = append(rows, c)
		return err
	}); err != nil || len(rows) == 0 || s.dialect.d.returning {
		return rows, err
	}
	all = slices.Clone(c.args)
	for _, row := range rows {
		all = append(all, row.id)
	}
	_, err := s.exec(ctx, r, update+"id IN ("+in(len(rows))+")", all...)
	return rows, err
}
