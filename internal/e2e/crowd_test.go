package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// crowd is a database with many integrations.
type crowd struct {
	db      *sql.DB
	dialect sqlstore.Dialect
	prefix  string
	store   *sqlstore.Store
	cipher  crypto.Cipher
	rows    int
}

// dueRows are how many of a crowd are due, whatever its size: the work is the
// same then.
const dueRows = 2000

// crowds runs fn on each database with an empty crowd.
func crowds(t testing.TB, run func(name string, open func(t testing.TB) *crowd)) {
	t.Helper()
	run("sqlite", func(t testing.TB) *crowd {
		db := openSQLite(t, filepath.Join(t.TempDir(), "crowd.db"), recommended)
		return newCrowd(t, db, migrated(t, db, ""), sqlstore.SQLite, "")
	})
	for _, s := range servers {
		run(s.name, func(t testing.TB) *crowd {
			db := s.open(t, "")
			prefix := s.prefixed(t, db)
			require.NoError(t, sqlstore.Migrate(t.Context(), db, s.dialect, &sqlstore.MigrateOptions{TablePrefix: prefix}))
			return newCrowd(t, db, sqlstore.New(db, s.dialect, &sqlstore.Options{TablePrefix: prefix}), s.dialect, prefix)
		})
	}
}

func newCrowd(t testing.TB, db *sql.DB, st *sqlstore.Store, d sqlstore.Dialect, prefix string) *crowd {
	t.Helper()
	key, err := crypto.GenerateKey("k1")
	require.NoError(t, err)
	ring, err := crypto.NewKeyring(key)
	require.NoError(t, err)
	return &crowd{db: db, dialect: d, prefix: prefix, store: st, cipher: ring}
}

// query is a query for the crowd's database: {p} is the prefix, "?" a parameter.
func (c *crowd) query(q string) string {
	q = strings.ReplaceAll(q, "{p}", c.prefix)
	if c.dialect.String() != sqlstore.Postgres.String() {
		return q
	}
	var b strings.Builder
	n := 0
	for _, r := range q {
		if r == '?' {
			n++
			b.WriteString("$" + strconv.Itoa(n))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func crowdTenant(i int) string { return fmt.Sprintf("tenant-%08d", i) }
func crowdID(i int) string     { return fmt.Sprintf("integration-%08d", i) }

// grow makes it n rows, loaded in one transaction.
func (c *crowd) grow(t testing.TB, n int) {
	t.Helper()
	ctx := t.Context()
	tx, err := c.db.BeginTx(ctx, nil)
	require.NoError(t, err)
	const batch = 100
	const columns = "id, tenant_id, provider, status, external_id, access_token, refresh_token, key_id, scopes, token_expires_at, next_refresh_at, token_gen, version, connected_at, created_at, updated_at"
	row := "(?,?,?,'active',?,?,?,?,?,?,?,1,1,?,?,?),"
	now := time.Now().UnixMilli()
	for c.rows < n {
		size := min(batch, n-c.rows)
		var args []any
		for i := c.rows; i < c.rows+size; i++ {
			tenant, id := crowdTenant(i), crowdID(i)
			access, refresh, keyID, err := token.SealGrant(c.cipher, tenant, replicaKey, id, token.Grant{
				AccessToken: token.NewSecret("access-0123456789-0123456789-0123456789-" + id), RefreshToken: token.NewSecret("refresh-0123456789-0123456789-" + id),
			})
			require.NoError(t, err)
			next := now + int64(time.Hour/time.Millisecond) + int64(i)*7919%int64(24*time.Hour/time.Millisecond)
			if i < dueRows {
				next = now - 1000 - int64(i)*7919%60_000
			}
			args = append(args, id, tenant, replicaKey, "account-"+id, access, refresh, keyID, `["read","write"]`,
				next+int64(time.Hour/time.Millisecond), next, now, now, now)
		}
		_, err := tx.ExecContext(ctx, c.query("INSERT INTO {p}integrations ("+columns+") VALUES "+strings.TrimSuffix(strings.Repeat(row, size), ",")), args...)
		require.NoError(t, err)
		c.rows += size
	}
	require.NoError(t, tx.Commit())
	c.analyze(t)
}

// analyze lets the database count its rows.
func (c *crowd) analyze(t testing.TB) {
	t.Helper()
	analyze := "ANALYZE {p}integrations"
	if c.dialect.String() == sqlstore.MySQL.String() {
		analyze = "ANALYZE TABLE {p}integrations"
	}
	rows, err := c.db.QueryContext(context.Background(), c.query(analyze)) // MySQL answers with rows
	require.NoError(t, err)
	require.NoError(t, rows.Close())
}
