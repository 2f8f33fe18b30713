package sqlstore

import (
	"context"
	"database/sql"
	"strings"

	"github.com/saas-integrations/integrations/store"
)

// Reseal implements store.Admin. Comparing the old sealed values, or their key,
// keeps two who reseal at the same time apart.
func (s *Store) Reseal(ctx context.Context, kind store.SealedKind, rs []store.Reseal) (int, error) {
	t, err := sealedTableOf(kind)
	if err != nil {
		return 0, err
	}
	if len(rs) == 0 {
		return 0, ctx.Err()
	}
	var opts *sql.TxOptions
	change := s.resealEach
	if s.dialect.d.updateRows != nil {
		change = s.resealTogether
	}
	if !s.dialect.d.returning { // as for a claim: no gap is locked where a row is gone
		opts = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	total := 0
	err = s.writeAs(ctx, "reseal", opts, func(tx *sql.Tx) (err error) {
		total, err = change(ctx, tx, t, rs)
		return err
	})
	if err != nil {
		return 0, err
	}
	return total, nil
}

// column is one that an update of many rows sets or goes by.
type column struct {
	name string
	typ  columnType
}

type columnType int

const (
	textColumn columnType = iota
	numberColumn
	bytesColumn // may be NULL, which equals NULL
)

// match are the columns that tell that a row still is as it was listed.
func (t sealedTable) match() []column {
	columns := []column{{"id", textColumn}, {"tenant_id", textColumn}}
	if t.gen != "" {
		columns = append(columns, column{t.gen, numberColumn})
	}
	if t.fixed {
		return append(columns, column{"key_id", textColumn})
	}
	return append(columns, t.sealed()...)
}

func (t sealedTable) matchArgs(r store.Reseal) []any {
	args := []any{r.Old.ID, r.Old.TenantID}
	if t.gen != "" {
		args = append(args, r.Old.Gen)
	}
	if t.fixed {
		return append(args, r.Old.KeyID)
	}
	return append(args, t.sealedArgs(r.Old.Values)...)
}

// set are the columns that change.
func (t sealedTable) set() []column { return append(t.sealed(), column{"key_id", textColumn}) }

func (t sealedTable) setArgs(r store.Reseal) []any {
	return append(t.sealedArgs(r.Values), r.KeyID)
}

func (t sealedTable) sealed() []column {
	columns := make([]column, len(t.values))
	for i, name := range t.values {
		columns[i] = column{name, bytesColumn}
	}
	return columns
}

func (t sealedTable) sealedArgs(values [2][]byte) []any {
	args := make([]any, len(t.values))
	for i := range args {
		args[i] = bytesOrNull(values[i])
	}
	return args
}

// equal is the comparison of a column with a value of its type.
func (d *dialect) equal(c column) string {
	if c.typ == bytesColumn {
		return " " + d.same + " "
	}
	return " = "
}

// resealEach runs a statement for each row: the fastest where the database is in
// this process.
func (s *Store) resealEach(ctx context.Context, tx *sql.Tx, t sealedTable, rs []store.Reseal) (int, error) {
	var set, match []string
	for _, c := range t.set() {
		set = append(set, c.name+" = ?")
	}
	for _, c := range t.match() {
		match = append(match, c.name+s.dialect.d.equal(c)+"?")
	}
	stmt, err := tx.PrepareContext(ctx, s.text("UPDATE {p}"+t.table+" SET "+strings.Join(set, ", ")+t.touch+" WHERE "+strings.Join(match, " AND ")))
	if err != nil {
		return 0, err
	}
	defer func() { _ = stmt.Close() }()
	total := 0
	rest := context.WithoutCancel(ctx) // drivers watch each call otherwise, which costs as much as the call
	for i, r := range rs {
		with := rest
		if i == 0 { // it may wait for the lock
			with = ctx
		}
		res, err := stmt.ExecContext(with, append(t.setArgs(r), t.matchArgs(r)...)...)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		total += int(n)
	}
	return total, nil
}
