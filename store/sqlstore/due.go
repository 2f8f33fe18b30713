package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/saas-integrations/integrations/store"
)

// ListEnding implements store.Integrations.
func (s *Store) ListEnding(ctx context.Context, l store.ListEnding) ([]store.Integration, error) {
	return s.list(ctx, "list ending", "status = 'active' AND grant_end = 2 AND refresh_expires_at <= {now}+? ORDER BY refresh_expires_at, id LIMIT ?",
		millis(l.Within), max(l.Limit, 0))
}

// ReportEnds implements store.Integrations.
func (s *Store) ReportEnds(ctx context.Context, rs []store.ReportEnd) (int, error) {
	rs = slices.SortedFunc(slices.Values(rs), func(a, b store.ReportEnd) int { return strings.Compare(a.ID, b.ID) })
	return s.reportEach(ctx, "report ends", len(rs), func(i int) (string, []any, *store.Delivery) {
		r := rs[i]
		return `UPDATE {p}integrations {bykey} SET grant_end = 3 WHERE id = ? AND tenant_id = ? AND status = 'active' AND token_gen = ? AND grant_end = 2`,
			[]any{r.ID, r.TenantID, r.SeenGen}, r.Change
	})
}

// ListDue implements store.Integrations.
func (s *Store) ListDue(ctx context.Context, l store.ListDue) ([]store.Integration, error) {
	if len(l.Providers) == 0 {
		return nil, ctx.Err()
	}
	after := int64(0)
	if !l.After.IsZero() {
		after = l.After.UnixMilli()
	}
	args := append([]any{after, after, l.AfterID}, params(l.Providers)...)
	return s.list(ctx, "list due", `status = 'active' AND next_refresh_at > 0 AND next_refresh_at <= {now} AND next_refresh_at >= ?
 AND (next_refresh_at > ? OR id > ?) AND provider IN (`+in(len(l.Providers))+`) ORDER BY next_refresh_at, id LIMIT ?`, append(args, max(l.Limit, 0))...)
}

// ReportHeld implements store.Integrations.
func (s *Store) ReportHeld(ctx context.Context, rs []store.ReportHeld) (int, error) {
	rs = slices.SortedFunc(slices.Values(rs), func(a, b store.ReportHeld) int { return strings.Compare(a.ID, b.ID) })
	return s.reportEach(ctx, "report held", len(rs), func(i int) (string, []any, *store.Delivery) {
		r := rs[i]
		return `UPDATE {p}integrations {bykey} SET refresh_failing_since = COALESCE(refresh_failing_since, {now}),
 refresh_error = CASE WHEN refresh_error = '' THEN ? ELSE refresh_error END,
 refresh_reported = CASE WHEN refresh_reported < ? THEN ? ELSE refresh_reported END
 WHERE id = ? AND tenant_id = ? AND status = 'active' AND token_gen = ? AND (refresh_failing_since IS NULL OR refresh_reported < ?)`,
			[]any{r.Code, r.Report, r.Report, r.ID, r.TenantID, r.SeenGen, r.Report}, r.Change
	})
}

// reportEach runs n conditional statements that change a row each and inserts the
// changes of those that did, all in one transaction. The rows must come in one
// order, so that two who report the same ones do not wait for each other.
func (s *Store) reportEach(ctx context.Context, what string, n int, statement func(i int) (query string, args []any, change *store.Delivery)) (int, error) {
	if n == 0 {
		return 0, ctx.Err()
	}
	changed := 0
	err := s.write(ctx, what, func(tx *sql.Tx) error {
		changed = 0
		var changes []store.Delivery
		for i := range n {
			query, args, change := statement(i)
			rows, err := s.exec(ctx, tx, query, args...)
			if err != nil {
				return err
			}
			if rows == 0 {
				continue
			}
			changed++
			if change != nil {
				changes = append(changes, *change)
			}
		}
		return s.insert(ctx, tx, changes)
	})
	if err != nil {
		return 0, err
	}
	return changed, nil
}

// ClaimVerify implements store.Integrations.
func (s *Store) ClaimVerify(ctx context.Context, c store.ClaimVerify) ([]store.Integration, error) {
	if len(c.Providers) == 0 || c.Limit <= 0 {
		return nil, ctx.Err()
	}
	args := params(c.Providers)
	var out []store.Integration
	err := s.claim(ctx, claim{
		what: "claim verify", table: "integrations", key: []string{"id"}, columns: integrationColumns,
		set: "verify_at = {now}+?", setArgs: []any{millis(c.Again)},
		match: "status = 'active' AND verify_at > 0 AND verify_at <= {now} AND provider IN (" + in(len(args)) + ")", matchArgs: args,
		order: "verify_at, id", limit: c.Limit,
		scan: func(row scanner) error {
			i, err := scanIntegration(row)
			out = append(out, i)
			return err
		},
	})
	return out, err
}
