// Package e2e tests the library against real databases. It is a module of its
// own so that no driver is a dependency of the library.
package e2e

import (
	"database/sql"
	"path/filepath"
	"sync"
	"testing"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/saas-integrations/integrations/store/storetest"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)

const recommended = "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate"

func openSQLite(t testing.TB, path, params string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+params)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func migrated(t testing.TB, db *sql.DB, prefix string) *sqlstore.Store {
	t.Helper()
	require.NoError(t, sqlstore.Migrate(t.Context(), db, sqlstore.SQLite, &sqlstore.MigrateOptions{TablePrefix: prefix}))
	return sqlstore.New(db, sqlstore.SQLite, &sqlstore.Options{TablePrefix: prefix})
}

func TestSQLiteStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		return migrated(t, openSQLite(t, filepath.Join(t.TempDir(), "s.db"), recommended), "")
	})
}

// TestSQLiteStoreWithoutWAL: with no more than a busy timeout and a prefix every
// promise holds too.
func TestSQLiteStoreWithoutWAL(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		return migrated(t, openSQLite(t, filepath.Join(t.TempDir(), "s.db"), "?_pragma=busy_timeout(20000)"), "app_")
	})
}

func TestMigrateByManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		db := openSQLite(t, path, recommended)
		wg.Go(func() { errs[i] = sqlstore.Migrate(t.Context(), db, sqlstore.SQLite, nil) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	db := openSQLite(t, path, recommended)
	require.NoError(t, sqlstore.New(db, sqlstore.SQLite, nil).Check(t.Context()))
	require.NoError(t, sqlstore.Migrate(t.Context(), db, sqlstore.SQLite, nil))
	var n int
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM integrations_schema").Scan(&n))
	require.Equal(t, 1, n)
}

func TestCheckNamesTheCallToMake(t *testing.T) {
	db := openSQLite(t, filepath.Join(t.TempDir(), "s.db"), recommended)
	st := sqlstore.New(db, sqlstore.SQLite, nil)
	err := st.Check(t.Context())
	require.ErrorIs(t, err, store.ErrSchema)
	require.ErrorContains(t, err, "sqlstore.Migrate(ctx, db, sqlstore.SQLite, nil)")

	require.NoError(t, sqlstore.Migrate(t.Context(), db, sqlstore.SQLite, nil))
	_, err = db.Exec("DELETE FROM integrations_schema")
	require.NoError(t, err)
	require.ErrorIs(t, st.Check(t.Context()), store.ErrSchema)
	_, err = db.Exec("INSERT INTO integrations_schema (version) VALUES (9999)")
	require.NoError(t, err)
	err = st.Check(t.Context())
	require.ErrorIs(t, err, store.ErrSchema)
	require.ErrorContains(t, err, "newer release")

	other := sqlstore.New(db, sqlstore.SQLite, &sqlstore.Options{TablePrefix: "x_"})
	require.ErrorContains(t, other.Check(t.Context()), `TablePrefix: "x_"`)
}
