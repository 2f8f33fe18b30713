package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// StartDeliveries implements store.Inbox.
func (s *Store) StartDeliveries(ctx context.Context, ls []store.DeliveryLease) ([]bool, error) {
	out := make([]bool, 0, len(ls))
	for part := range slices.Chunk(ls, chunk) {
		started := map[string]bool{}
		err := s.change(ctx, "start deliveries", []change{{set: "starts = starts+1", also: "run_at > {now}", leases: part}}, func(id, _, _ string) { started[id] = true })
		if err != nil {
			return nil, err
		}
		for _, l := range part {
			out = append(out, started[l.ID])
		}
	}
	return out, nil
}

// RenewDeliveries implements store.Inbox.
func (s *Store) RenewDeliveries(ctx context.Context, owner string, ids []string, ttl time.Duration) error {
	for part := range slices.Chunk(ids, chunk) {
		args := []any{millis(ttl), owner}
		for _, id := range part {
			args = append(args, id)
		}
		if _, err := s.one(ctx, "renew deliveries", `UPDATE {p}webhook_inbox {bykey} SET run_at = {now}+?
 WHERE lease_owner = ? AND status = 0 AND (turn = 0 OR run_at > {now}) AND id IN (`+in(len(part))+")", args...); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// FinishDeliveries implements store.Inbox.
func (s *Store) FinishDeliveries(ctx context.Context, fs []store.FinishDelivery) ([]bool, error) {
	out := make([]bool, 0, len(fs))
	for part := range slices.Chunk(fs, chunk) {
		finished, next := map[string]bool{}, map[orderKey]bool{}
		over := map[string]bool{}
		for _, f := range part {
			over[f.ID] = f.State != store.Pending
		}
		err := s.change(ctx, "finish deliveries", endings(part), func(id, integration, key string) {
			finished[id] = true
			if key != "" && over[id] {
				next[orderKey{integration, key}] = true
			}
		})
		if err != nil {
			return nil, err
		}
		if err := s.makeNextDue(ctx, next); err != nil {
			return nil, err
		}
		for _, f := range part {
			out = append(out, finished[f.ID])
		}
	}
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
	const set = "UPDATE {p}webhook_inbox SET turn = 0, run_at = {now} WHERE status = 0 AND "
	const first = "integration_id = ? AND order_key = ? AND order_key <> '' AND turn > 0 AND turn = 1 ORDER BY received_at, id LIMIT 1"
	if len(keys) == 0 {
		return nil
	}
	var args []any
	for k := range keys {
		if !s.dialect.d.returning { // nor does it look at the table it changes
			if _, err := s.one(ctx, "next delivery", set+first, k.integration, k.key); err != nil {
				return err
			}
		}
		args = append(args, k.integration, k.key)
	}
	if !s.dialect.d.returning {
		return nil
	}
	one := "(SELECT id FROM {p}webhook_inbox WHERE " + first + "),"
	_, err := s.one(ctx, "next delivery", set+"turn = 1 AND id IN ("+strings.TrimSuffix(strings.Repeat(one, len(keys)), ",")+")", args...)
	return err
}

// change is an UPDATE of leased rows whose leases are still held.
type change struct {
	set    string
	args   []any
	also   string // one more condition
	leases []store.DeliveryLease
}

// condition selects the rows.
func (c change) condition() (string, []any) {
	pairs := make([]string, len(c.leases))
	args := make([]any, 0, 2*len(c.leases))
	for i, l := range c.leases {
		pairs[i] = "id = ? AND lease_owner = ?"
		args = append(args, l.ID, l.Owner)
	}
	where := "status = 0 AND (" + strings.Join(pairs, " OR ") + ")"
	if c.also != "" {
		where += " AND " + c.also
	}
	return where, args
}

// change makes changes, in one transaction if there are several, and says of which
// rows.
func (s *Store) change(ctx context.Context, what string, changes []change, changed func(id, integration, key string)) error {
	const columns = "id, integration_id, order_key"
	var rows [][3]string
	scan := func(row scanner) error {
		var r [3]string
		err := row.Scan(&r[0], &r[1], &r[2])
		rows = append(rows, r)
		return err
	}
	apply := func(r runner, c change) error {
		where, args := c.condition()
		update := "UPDATE {p}webhook_inbox {bykey} SET " + c.set + " WHERE "
		if s.dialect.d.returning {
			return s.rows(ctx, r, what, update+where+" RETURNING "+columns, append(c.args, args...), scan)
		}
		before := len(rows)
		if err := s.rows(ctx, r, what, "SELECT "+columns+" FROM {p}webhook_inbox {bykey} WHERE "+where+" FOR UPDATE", args, scan); err != nil || len(rows) == before {
			return err
		}
		ids := append([]any{}, c.args...)
		for _, row := range rows[before:] {
			ids = append(ids, row[0])
		}
		_, err := s.exec(ctx, r, update+"id IN ("+in(len(rows)-before)+")", ids...)
		return err
	}
	var err error
	if len(changes) == 1 && s.dialect.d.returning {
		err = apply(s.db, changes[0])
	} else {
		err = s.write(ctx, what, func(tx *sql.Tx) error {
			rows = rows[:0]
			for _, c := range changes {
				if err := apply(tx, c); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return err
	}
	for _, r := range rows {
		changed(r[0], r[1], r[2])
	}
	return nil
}
