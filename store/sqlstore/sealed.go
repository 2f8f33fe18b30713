package sqlstore

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/saas-integrations/integrations/store"
)

// sealedTable is where the rows of a kind are and what is sealed of them.
type sealedTable struct {
	table  string
	values []string // the sealed columns
	gen    string   // the column of Gen, "" for none
	rows   string   // which rows of the table, "" for all
	touch  string   // what else a reseal sets
	// fixed says that the values never change but by a reseal: the key tells then
	// whether they are the old ones, and the old ones need not be sent.
	fixed bool
}

var sealedTables = map[store.SealedKind]sealedTable{
	store.SealedTokens:  {table: "integrations", values: []string{"access_token", "refresh_token"}, gen: "token_gen", touch: ", updated_at = {now}"},
	store.SealedSecrets: {table: "webhook_endpoints", values: []string{"secret", "previous_secret"}},
	store.SealedBodies:  {table: "webhook_inbox", values: []string{"body"}, rows: "status <> 1", fixed: true},
	store.SealedDone:    {table: "webhook_inbox", values: []string{"body"}, rows: "status = 1", fixed: true},
}

func sealedTableOf(kind store.SealedKind) (sealedTable, error) {
	t, ok := sealedTables[kind]
	if !ok {
		return t, fmt.Errorf("integrations/store/sqlstore: no kind %d of sealed rows", kind)
	}
	return t, nil
}

// which is a condition with the rows of the kind.
func (t sealedTable) which(condition string) string {
	if t.rows == "" {
		return condition
	}
	return t.rows + " AND " + condition
}

// CountSealed implements store.Admin.
func (s *Store) CountSealed(ctx context.Context, kind store.SealedKind) (map[string]int64, error) {
	return s.countKeys(ctx, "count sealed", kind)
}

func (s *Store) countKeys(ctx context.Context, what string, kinds ...store.SealedKind) (map[string]int64, error) {
	n := map[string]int64{}
	for _, kind := range kinds {
		t, err := sealedTableOf(kind)
		if err != nil {
			return nil, err
		}
		query := "SELECT key_id, COUNT(*) FROM {p}" + t.table + " WHERE " + t.which("key_id IS NOT NULL") + " GROUP BY key_id"
		if err := s.rows(ctx, s.db, what, query, nil, func(row scanner) error {
			var key string
			var count int64
			err := row.Scan(&key, &count)
			n[key] += count
			return err
		}); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// sealedPage is how many bytes of sealed values a list returns, but for the row
// that exceeds it: bodies may be large.
const sealedPage = 8 << 20

// ListSealed implements store.Admin.
func (s *Store) ListSealed(ctx context.Context, kind store.SealedKind, keyID, afterID string, limit int) ([]store.Sealed, error) {
	const what = "list sealed"
	t, err := sealedTableOf(kind)
	if err != nil {
		return nil, err
	}
	gen, second := "0", "NULL"
	if t.gen != "" {
		gen = t.gen
	}
	if len(t.values) > 1 {
		second = t.values[1]
	}
	query := "SELECT id, tenant_id, provider, " + gen + ", " + t.values[0] + ", " + second + " FROM {p}" + t.table +
		" WHERE " + t.which("key_id = ? AND id > ?") + " ORDER BY id LIMIT ?"
	rows, err := s.db.QueryContext(ctx, s.text(query), keyID, afterID, max(limit, 0))
	if err != nil {
		return nil, fmt.Errorf("integrations/store/sqlstore: %s: %w", what, ended(ctx, err))
	}
	defer func() { _ = rows.Close() }()
	var out []store.Sealed
	provider := ""
	for size := 0; size < sealedPage && rows.Next(); {
		r := store.Sealed{KeyID: keyID}
		var p sql.RawBytes
		if err := rows.Scan(&r.ID, &r.TenantID, &p, &r.Gen, &r.Values[0], &r.Values[1]); err != nil {
			return nil, fmt.Errorf("integrations/store/sqlstore: %s: %w", what, err)
		}
		if provider != string(p) { // one text for many rows
			provider = string(p)
		}
		r.Provider = provider
		size += len(r.Values[0]) + len(r.Values[1])
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("integrations/store/sqlstore: %s: %w", what, ended(ctx, err))
	}
	return out, nil
}
