package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// claim is a change of the first rows that match a condition, whose rows are then
// given back. Rows that somebody else is changing are passed over, where the
// database can tell.
type claim struct {
	what, table string
	// key are the columns of the primary key.
	key []string
	// set, match and order are SQL with the arguments beside them.
	set       string
	setArgs   []any
	match     string
	matchArgs []any
	order     string
	limit     int
	columns   string
	scan      func(row scanner) error
}

func (s *Store) claim(ctx context.Context, c claim) error {
	if !s.dialect.d.returning {
		return s.claimInSteps(ctx, c)
	}
	key := tuple(c.key)
	query := "UPDATE {p}" + c.table + " SET " + c.set + " WHERE " + key + " IN (" + s.first(c) + ") RETURNING " + c.columns
	args := append(append(append([]any{}, c.setArgs...), c.matchArgs...), c.limit)
	return s.rows(ctx, s.db, c.what, query, args, c.scan)
}

// first selects the keys of the rows to claim.
func (s *Store) first(c claim) string {
	return "SELECT " + strings.Join(c.key, ", ") + " FROM {p}" + c.table + " WHERE " + c.match + " ORDER BY " + c.order + " LIMIT ? " + s.dialect.d.skipLocked
}

// claimInSteps is for databases whose UPDATE gives back nothing. Under READ
// COMMITTED only the rows themselves are locked, not the gaps between them, where
// others insert.
func (s *Store) claimInSteps(ctx context.Context, c claim) error {
	err := s.writeAs(ctx, c.what, &sql.TxOptions{Isolation: sql.LevelReadCommitted}, func(tx *sql.Tx) error {
		var keys []any
		n := 0
		if err := s.rows(ctx, tx, "find", s.first(c), append(append([]any{}, c.matchArgs...), c.limit), func(row scanner) error {
			parts := make([]string, len(c.key))
			into := make([]any, len(c.key))
			for i := range parts {
				into[i] = &parts[i]
			}
			err := row.Scan(into...)
			for _, p := range parts {
				keys = append(keys, p)
			}
			n++
			return err
		}); err != nil || n == 0 {
			return err
		}
		one := "(" + in(len(c.key)) + "),"
		these := " WHERE " + tuple(c.key) + " IN (" + strings.TrimSuffix(strings.Repeat(one, n), ",") + ")"
		if _, err := s.exec(ctx, tx, "UPDATE {p}"+c.table+" SET "+c.set+these, append(append([]any{}, c.setArgs...), keys...)...); err != nil {
			return err
		}
		return s.rows(ctx, tx, "read", "SELECT "+c.columns+" FROM {p}"+c.table+these, keys, c.scan)
	})
	return err
}

// tuple is a row value, or a single column as it is.
func tuple(columns []string) string {
	if len(columns) == 1 {
		return columns[0]
	}
	return "(" + strings.Join(columns, ", ") + ")"
}

// deleteSome removes up to limit rows that match.
func (s *Store) deleteSome(ctx context.Context, what, table, key, where string, limit int, args ...any) (int, error) {
	query := "DELETE FROM {p}" + table + " WHERE " + key + " IN (SELECT " + key + " FROM {p}" + table + " WHERE " + where + " LIMIT ?)"
	if !s.dialect.d.returning { // nor does it limit in a subquery
		query = "DELETE FROM {p}" + table + " WHERE " + where + " LIMIT ?"
	}
	n, err := s.exec(ctx, s.db, query, append(args, max(limit, 0))...)
	if err != nil {
		return 0, fmt.Errorf("integrations/store/sqlstore: %s: %w", what, ended(ctx, err))
	}
	return int(n), nil
}
