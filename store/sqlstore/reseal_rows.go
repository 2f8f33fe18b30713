package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"

	"github.com/saas-integrations/integrations/store"
)

// statementBytes is how much one statement carries, but for the row that exceeds
// it. MySQL takes no more than 16 MiB by default.
const statementBytes = 4 << 20

// resealTogether changes many rows with a statement.
func (s *Store) resealTogether(ctx context.Context, tx *sql.Tx, t sealedTable, rs []store.Reseal) (int, error) {
	most := chunk
	if s.dialect.d.arrays {
		most = len(rs)
	}
	if lock := s.dialect.d.oneUpdater; lock != "" {
		if _, err := s.exec(ctx, tx, strings.ReplaceAll(lock, "{table}", "{p}"+t.table)); err != nil {
			return 0, err
		}
	}
	total := 0
	for len(rs) > 0 {
		n, size := 0, 0
		for n < min(len(rs), most) && size < statementBytes {
			for i := range rs[n].Values {
				size += len(rs[n].Old.Values[i]) + len(rs[n].Values[i])
			}
			n++
		}
		query, args := s.dialect.d.updateRows(s.dialect.d, t, rs[:n])
		changed, err := s.exec(ctx, tx, query, args...)
		if err != nil {
			return 0, err
		}
		total += int(changed)
		rs = rs[n:]
	}
	return total, nil
}

// setAndOn are the clauses of an update of a table t by rows v, whose columns are
// c0, c1 and so on: those to match, then those to set.
func (d *dialect) setAndOn(t sealedTable) (set, on string, all []column) {
	match := t.match()
	var sets, ons []string
	for i, c := range match {
		ons = append(ons, "t."+c.name+d.equal(c)+"v.c"+strconv.Itoa(i))
	}
	for i, c := range t.set() {
		sets = append(sets, c.name+" = v.c"+strconv.Itoa(len(match)+i))
	}
	return strings.Join(sets, ", ") + t.touch, strings.Join(ons, " AND "), append(match, t.set()...)
}

// updateArrays is an UPDATE … FROM whose text does not depend on the number of
// rows: with a parameter for each value of each row, reading and planning the
// statement costs as much as the change of the rows. The arrays are written as for
// an insert, see insertArrays.
func updateArrays(d *dialect, t sealedTable, rs []store.Reseal) (string, []any) {
	set, on, all := d.setAndOn(t)
	var columns, types, names []string
	var arrays []*array
	var bytes []byte
	take := func(name, typ string) *array {
		types, names = append(types, "?::"+typ+"[]"), append(names, name)
		arrays = append(arrays, &array{})
		return arrays[len(arrays)-1]
	}
	rows := make([][]any, len(rs))
	for i, r := range rs {
		rows[i] = append(t.matchArgs(r), t.setArgs(r)...)
	}
	for i, c := range all {
		name := "c" + strconv.Itoa(i)
		switch c.typ {
		case textColumn:
			a := take(name, "text")
			for _, row := range rows {
				a.text(row[i].(string))
			}
		case numberColumn:
			a := take(name, "bigint")
			for _, row := range rows {
				a.number(row[i].(int64))
			}
		case bytesColumn:
			at, size := take(name+"_at", "int"), take(name+"_size", "int")
			for _, row := range rows {
				value, _ := row[i].([]byte)
				at.number(int64(len(bytes) + 1))
				size.number(int64(len(value)))
				bytes = append(bytes, value...)
			}
			name = "CASE WHEN " + name + "_size > 0 THEN substr(bytes, " + name + "_at, " + name + "_size) END AS " + name
		}
		columns = append(columns, name)
	}
	args := []any{bytes}
	for _, a := range arrays {
		args = append(args, a.String())
	}
	return "UPDATE {p}" + t.table + " t SET " + set + " FROM (SELECT " + strings.Join(columns, ", ") + " FROM (SELECT ?::bytea AS bytes) b, unnest(" +
		strings.Join(types, ", ") + ") u (" + strings.Join(names, ", ") + ")) v WHERE " + on, args
}

// updateJoin is an UPDATE of a join with the rows, which come first: their order is
// that of the locks.
func updateJoin(d *dialect, t sealedTable, rs []store.Reseal) (string, []any) {
	set, on, all := d.setAndOn(t)
	types := map[columnType]string{textColumn: "CAST(? AS BINARY)", numberColumn: "?", bytesColumn: "CAST(? AS BINARY)"}
	row, first := make([]string, len(all)), make([]string, len(all))
	for i, c := range all {
		row[i] = types[c.typ]
		first[i] = row[i] + " AS c" + strconv.Itoa(i)
	}
	args := make([]any, 0, len(rs)*len(all))
	for _, r := range rs {
		args = append(append(args, t.matchArgs(r)...), t.setArgs(r)...)
	}
	rows := append([]string{strings.Join(first, ",")}, slices.Repeat([]string{strings.Join(row, ",")}, len(rs)-1)...)
	return "UPDATE (SELECT " + strings.Join(rows, " UNION ALL SELECT ") + ") v STRAIGHT_JOIN {p}" + t.table + " t {bykey} ON " + on + " SET " + set, args
}
