package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// What the column turn says of a pending delivery with an order key.
const (
	noTurn  = 0 // it waits as any other
	putOff  = 1 // one before it is not finished: run_at is when to look again
	hasTurn = 2 // it is leased
)

// DueTenants implements store.Inbox.
func (s *Store) DueTenants(ctx context.Context, q store.DueQuery) (store.Due, error) {
	var due store.Due
	match, args := "1 = 0", []any(nil)
	if len(q.Match) > 0 {
		match, args = matching(q.Match)
	}
	// The last row is the clock's.
	query := `SELECT tenant_id, MIN(run_at), 0 FROM {p}webhook_inbox ` + s.by("due") + ` WHERE status = 0 AND claims >= 0 AND run_at >= ? AND run_at <= {now} AND ` + match + `
 GROUP BY tenant_id UNION ALL SELECT '', {now}, 1`
	err := s.rows(ctx, s.db, "due tenants", query, append([]any{since(q.Since)}, args...), func(row scanner) error {
		var tenant string
		var ms int64
		var clock bool
		if err := row.Scan(&tenant, &ms, &clock); err != nil {
			return err
		}
		if clock {
			due.At = time.UnixMilli(ms).UTC()
		} else {
			due.Tenants = append(due.Tenants, store.DueTenant{TenantID: tenant, Since: time.UnixMilli(ms).UTC()})
		}
		return nil
	})
	return due, err
}

// since is a moment of the store's clock, 0 for zero.
func since(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// leasing is what a claim finds out about the rows it changes.
type leasing struct {
	leased []store.Delivery
	// ordered are those of them that have an order key, waiting are rows that were
	// put off.
	ordered, waiting []any
	seen             map[string]int // rows by tenant
}

func (l *leasing) add(d store.Delivery, turn int) {
	l.seen[d.TenantID]++
	switch turn {
	case putOff:
		l.waiting = append(l.waiting, d.ID)
		return
	case hasTurn:
		l.ordered = append(l.ordered, d.ID)
	}
	l.leased = append(l.leased, d)
}

// ClaimDeliveries implements store.Inbox.
func (s *Store) ClaimDeliveries(ctx context.Context, c store.ClaimDeliveries) (store.Claimed, error) {
	if len(c.Match) == 0 || c.Limit <= 0 {
		return store.Claimed{}, ctx.Err()
	}
	free, err := s.takeTurn(ctx)
	if err != nil {
		return store.Claimed{}, err
	}
	defer free()
	var l leasing
	if s.dialect.d.returning {
		l.seen = map[string]int{}
		err = s.claimAtOnce(ctx, c, &l)
	} else {
		err = s.writeAs(ctx, "claim deliveries", &sql.TxOptions{Isolation: sql.LevelReadCommitted}, func(tx *sql.Tx) error {
			l = leasing{seen: map[string]int{}}
			return s.claimStepwise(ctx, tx, c, &l)
		})
	}
	if err == nil && !s.dialect.d.oneWriter { // else nothing happened in between
		err = s.lookAgain(ctx, c, &l)
	}
	if err != nil {
		return store.Claimed{}, err
	}
	out := store.Claimed{Deliveries: l.leased}
	slices.SortFunc(out.Deliveries, func(a, b store.Delivery) int {
		return cmp.Or(a.RunAt.Compare(b.RunAt), cmp.Compare(a.ID, b.ID))
	})
	for _, t := range c.Tenants {
		if l.seen[t.TenantID] >= c.Limit {
			out.More = append(out.More, t.TenantID)
		}
	}
	return out, nil
}

// candidates selects rows that are due, for each tenant apart.
func (s *Store) candidates(c store.ClaimDeliveries) (string, []any) {
	match, matchArgs := matching(c.Match)
	one := func(index, which string) string {
		return `SELECT id, order_key FROM {p}webhook_inbox ` + s.by(index) + ` WHERE status = 0 AND ` + which + ` AND run_at <= {now} AND ` + match +
			` ORDER BY run_at, id LIMIT ? ` + s.dialect.d.skipLocked
	}
	if len(c.Tenants) == 0 {
		return one("due", "claims >= 0"), append(matchArgs, c.Limit)
	}
	parts, args := make([]string, len(c.Tenants)), []any{}
	for i, t := range c.Tenants {
		parts[i] = fmt.Sprintf("SELECT id, order_key FROM (%s) t%d", one("next", "starts >= 0 AND tenant_id = ? AND run_at >= ?"), i)
		args = append(append(append(args, t.TenantID, since(t.Since)), matchArgs...), c.Limit)
	}
	return strings.Join(parts, " UNION ALL "), args
}

// by is the index to use, where a query can say so.
func (s *Store) by(index string) string {
	if s.dialect.d.force == "" {
		return ""
	}
	return fmt.Sprintf(s.dialect.d.force, index)
}

// ofKey are the rows of c's order key, by an index on it.
func (s *Store) ofKey(index string) string {
	return "{p}webhook_inbox o " + s.by(index) + " WHERE o.integration_id = c.integration_id AND o.order_key = c.order_key AND o.order_key <> ''"
}

// anotherLeased is true of a row c of whose key another one is leased.
func (s *Store) anotherLeased() string {
	return "EXISTS (SELECT 1 FROM " + s.ofKey("turn") + " AND o.turn > 0 AND o.turn = 2 AND o.run_at > {now} AND o.id <> c.id)"
}

// turnOf tells what the turn of row c is, as a leased one or one put off. Only the
// first of a key is leased, and none while another one is.
func (s *Store) turnOf(c store.ClaimDeliveries) (string, []any) {
	match, args := matching(c.Match)
	query := `CASE WHEN c.order_key = '' THEN 0
 WHEN c.id <> (SELECT o.id FROM ` + s.ofKey("order") + ` AND o.status = 0 AND ` + match + ` ORDER BY o.received_at, o.id LIMIT 1) THEN 1
 WHEN ` + s.anotherLeased() + ` THEN 1`
	if c.DeadBlocks {
		query += `
 WHEN EXISTS (SELECT 1 FROM ` + s.ofKey("order") + ` AND o.status = 2 AND (o.received_at < c.received_at OR o.received_at = c.received_at AND o.id < c.id) AND ` + match + `) THEN 1`
		args = append(args, args...)
	}
	return query + " ELSE 2 END", args
}

// A row that is put off is looked at again after as long as it has waited, in
// these bounds: in case nobody lived to tell it that it is next.
const putOffFor = "CASE WHEN {now}-received_at < 5000 THEN 5000 WHEN {now}-received_at > 300000 THEN 300000 ELSE {now}-received_at END"

// keepDue and countLost are parts of an UPDATE that come before run_at and
// lease_owner: MySQL takes the new values of what it has set already.
const (
	keepDue   = "due_at = COALESCE(due_at, run_at)"
	countLost = "lost = lost + CASE WHEN lease_owner IS NULL THEN 0 ELSE 1 END"
)

// claimedColumns are those that a claim reads: no body of what is put off.
var claimedColumns = "turn, " + strings.Replace(deliveryColumns, "body, key_id", "CASE WHEN turn = 1 THEN NULL ELSE body END, key_id", 1)

// claimAtOnce is a claim in one statement.
func (s *Store) claimAtOnce(ctx context.Context, c store.ClaimDeliveries, l *leasing) error {
	picked, args := s.candidates(c)
	turn, turnArgs := s.turnOf(c)
	query := `WITH picked AS MATERIALIZED (` + picked + `),
 judged AS MATERIALIZED (SELECT c.id AS judged_id, ` + turn + ` AS place FROM {p}webhook_inbox c WHERE c.id IN (SELECT id FROM picked))
 UPDATE {p}webhook_inbox SET ` + keepDue + `, ` + countLost + `, turn = place, claims = claims + CASE WHEN place = 1 THEN 0 ELSE 1 END,
 lease_owner = CASE WHEN place = 1 THEN NULL ELSE ? END,
 run_at = {now} + CASE WHEN place = 1 THEN ` + putOffFor + ` ELSE ? END
 FROM judged WHERE id = judged_id RETURNING ` + claimedColumns
	args = append(append(args, turnArgs...), c.Owner, millis(c.TTL))
	return s.rows(ctx, s.db, "claim deliveries", query, args, l.scan)
}

func (l *leasing) scan(row scanner) error {
	var turn int
	d, err := scanDelivery(after{row, []any{&turn}})
	if err == nil {
		l.add(d, turn)
	}
	return err
}

// after scans columns that stand before others.
type after struct {
	scanner
	first []any
}

func (a after) Scan(dest ...any) error { return a.scanner.Scan(append(a.first, dest...)...) }

// claimStepwise is a claim where an UPDATE gives back nothing and may not look at
// its own table.
func (s *Store) claimStepwise(ctx context.Context, tx *sql.Tx, c store.ClaimDeliveries, l *leasing) error {
	picked, args := s.candidates(c)
	turns := map[string]int{}
	var keyed []any
	if err := s.rows(ctx, tx, "find", picked, args, func(row scanner) error {
		var id, key string
		err := row.Scan(&id, &key)
		turns[id] = noTurn
		if key != "" {
			keyed = append(keyed, id)
		}
		return err
	}); err != nil || len(turns) == 0 {
		return err
	}
	if len(keyed) > 0 {
		turn, args := s.turnOf(c)
		query := "SELECT c.id, " + turn + " FROM {p}webhook_inbox c WHERE c.id IN (" + in(len(keyed)) + ")"
		if err := s.rows(ctx, tx, "judge", query, append(args, keyed...), func(row scanner) error {
			var id string
			var turn int
			err := row.Scan(&id, &turn)
			turns[id] = turn
			return err
		}); err != nil {
			return err
		}
	}
	byTurn := map[int][]any{}
	all := make([]any, 0, len(turns))
	for id, turn := range turns {
		byTurn[turn] = append(byTurn[turn], id)
		all = append(all, id)
	}
	for turn, ids := range byTurn {
		set, args := "claims = claims+1, lease_owner = ?, run_at = {now}+?", []any{turn, c.Owner, millis(c.TTL)}
		if turn == putOff {
			set, args = "lease_owner = NULL, run_at = {now} + "+putOffFor, []any{turn}
		}
		if _, err := s.exec(ctx, tx, "UPDATE {p}webhook_inbox {bykey} SET "+keepDue+", "+countLost+", turn = ?, "+set+" WHERE id IN ("+in(len(ids))+")", append(args, ids...)...); err != nil {
			return err
		}
	}
	return s.rows(ctx, tx, "read", "SELECT "+claimedColumns+" FROM {p}webhook_inbox WHERE id IN ("+in(len(all))+")", all, l.scan)
}

// lookAgain makes up for what happened while the claim was under way, now that
// others see it. Two claims may each have leased one of a key, unseen by the other:
// whoever sees it gives its own back. And one that was put off may have become the
// first of its key before others saw that it was put off: nobody but us tells it.
func (s *Store) lookAgain(ctx context.Context, c store.ClaimDeliveries, l *leasing) error {
	if len(l.ordered) > 0 {
		two, err := s.ids(ctx, "two of a key", `SELECT c.id FROM {p}webhook_inbox c WHERE c.id IN (`+in(len(l.ordered))+`) AND c.lease_owner = ? AND `+s.anotherLeased(), append(slices.Clone(l.ordered), c.Owner)...)
		if err != nil {
			return err
		}
		if len(two) > 0 {
			args := append(append([]any{20 + rand.IntN(100)}, two...), c.Owner)
			if _, err := s.one(ctx, "give back", `UPDATE {p}webhook_inbox SET turn = 1, lease_owner = NULL, claims = claims-1, run_at = {now}+?
 WHERE id IN (`+in(len(two))+`) AND lease_owner = ?`, args...); err != nil {
				return err
			}
			l.leased = slices.DeleteFunc(l.leased, func(d store.Delivery) bool { return slices.Contains(two, any(d.ID)) })
		}
	}
	if len(l.waiting) == 0 {
		return nil
	}
	turn, args := s.turnOf(c)
	next, err := s.ids(ctx, "next of a key", `SELECT c.id FROM {p}webhook_inbox c WHERE c.id IN (`+in(len(l.waiting))+`) AND c.status+0 = 0 AND c.turn+0 = 1 AND `+turn+` <> 1`, append(slices.Clone(l.waiting), args...)...)
	if err != nil || len(next) == 0 {
		return err
	}
	_, err = s.one(ctx, "make due", "UPDATE {p}webhook_inbox SET turn = 0, run_at = {now} WHERE id IN ("+in(len(next))+") AND {open} AND turn+0 = 1", next...)
	return err
}

// ids runs a query for ids.
func (s *Store) ids(ctx context.Context, what, query string, args ...any) ([]any, error) {
	var out []any
	err := s.rows(ctx, s.db, what, query, args, func(row scanner) error {
		var id string
		err := row.Scan(&id)
		out = append(out, id)
		return err
	})
	return out, err
}
