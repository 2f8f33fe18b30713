package e2e

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/saas-integrations/integrations/store/storetest"
	"github.com/stretchr/testify/require"
)

// server is a database server that tests share. Each test has tables of its own
// by their prefix.
type server struct {
	name, driver string
	dialect      sqlstore.Dialect
	env, dsn     string
}

var (
	postgres = server{"postgres", "pgx", sqlstore.Postgres, "INTEGRATIONS_TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432/test?sslmode=disable"}
	mysql    = server{"mysql", "mysql", sqlstore.MySQL, "INTEGRATIONS_TEST_MYSQL", "root@tcp(127.0.0.1:3306)/test"}
	servers  = []server{postgres, mysql}
)

func (s server) address() string {
	if dsn := os.Getenv(s.env); dsn != "" {
		return dsn
	}
	return s.dsn
}

// open connects, or leaves the test out where the server is not there and not
// asked for by INTEGRATIONS_TEST_REQUIRE.
func (s server) open(t testing.TB, params string) *sql.DB {
	t.Helper()
	db, err := sql.Open(s.driver, s.address()+params)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		if required(s.name) {
			t.Fatalf("%s is required and does not answer: %v", s.name, err)
		}
		t.Skipf("%s does not answer", s.name)
	}
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// tables are those of the schema.
var tables = []string{"integrations", "oauth_flows", "webhook_inbox", "webhook_once", "checkpoints", "webhook_endpoints", "subscriptions", "integrations_schema"}

// prefixed makes a fresh schema under a prefix of its own, which goes with the
// test.
func (s server) prefixed(t testing.TB, db *sql.DB) string {
	t.Helper()
	var b [5]byte
	_, _ = rand.Read(b[:])
	prefix := "t" + hex.EncodeToString(b[:]) + "_"
	t.Cleanup(func() {
		for _, table := range tables {
			_, err := db.ExecContext(context.Background(), "DROP TABLE IF EXISTS "+prefix+table)
			require.NoError(t, err)
		}
	})
	return prefix
}

func (s server) store(t testing.TB, db *sql.DB) *sqlstore.Store {
	t.Helper()
	prefix := s.prefixed(t, db)
	require.NoError(t, sqlstore.Migrate(t.Context(), db, s.dialect, &sqlstore.MigrateOptions{TablePrefix: prefix}))
	return sqlstore.New(db, s.dialect, &sqlstore.Options{TablePrefix: prefix})
}

// schemas hands out migrated schemas and takes them back empty: making one takes
// longer than most tests.
type schemas struct {
	s    server
	t    testing.TB
	db   *sql.DB
	mu   sync.Mutex
	free []string
}

func (p *schemas) store(t *testing.T) store.Store {
	p.mu.Lock()
	prefix := ""
	if n := len(p.free); n > 0 {
		prefix, p.free = p.free[n-1], p.free[:n-1]
	}
	p.mu.Unlock()
	if prefix == "" {
		prefix = p.s.prefixed(p.t, p.db)
		require.NoError(t, sqlstore.Migrate(t.Context(), p.db, p.s.dialect, &sqlstore.MigrateOptions{TablePrefix: prefix}))
	}
	t.Cleanup(func() {
		for _, table := range tables[:len(tables)-1] {
			_, err := p.db.ExecContext(context.Background(), "DELETE FROM "+prefix+table)
			require.NoError(t, err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.free = append(p.free, prefix)
	})
	return sqlstore.New(p.db, p.s.dialect, &sqlstore.Options{TablePrefix: prefix})
}

// connections are parameters that a host may have and that must not matter.
var connections = map[string][]string{
	"postgres": {"", "&timezone=America/New_York&default_query_exec_mode=exec"},
	"mysql":    {"", "?clientFoundRows=true&parseTime=true&interpolateParams=true&time_zone=%27-05:00%27"},
}

func TestServerStores(t *testing.T) {
	t.Parallel()
	for _, s := range servers {
		for _, params := range connections[s.name] {
			t.Run(s.name+params, func(t *testing.T) {
				p := &schemas{s: s, t: t, db: s.open(t, params)}
				storetest.Run(t, p.store)
			})
		}
	}
}

func TestServersAreMigratedByManyAtOnce(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			db := s.open(t, "")
			opts := &sqlstore.MigrateOptions{TablePrefix: s.prefixed(t, db)}
			plan, err := sqlstore.Plan(t.Context(), db, s.dialect, opts)
			require.NoError(t, err)
			require.False(t, plan[0].Applied)
			require.Contains(t, plan[0].SQL, opts.TablePrefix+"integrations (")
			st := sqlstore.New(db, s.dialect, &sqlstore.Options{TablePrefix: opts.TablePrefix})
			err = st.Check(t.Context())
			require.ErrorIs(t, err, store.ErrSchema)
			require.ErrorContains(t, err, fmt.Sprintf("sqlstore.Migrate(ctx, db, %s, &sqlstore.MigrateOptions{TablePrefix: %q})", map[string]string{"postgres": "sqlstore.Postgres", "mysql": "sqlstore.MySQL"}[s.name], opts.TablePrefix))

			var wg sync.WaitGroup
			errs := make([]error, 8)
			for i := range errs {
				wg.Go(func() { errs[i] = sqlstore.Migrate(t.Context(), db, s.dialect, opts) })
			}
			wg.Wait()
			for _, err := range errs {
				require.NoError(t, err)
			}
			require.NoError(t, st.Check(t.Context()))
			plan, err = sqlstore.Plan(t.Context(), db, s.dialect, opts)
			require.NoError(t, err)
			for _, m := range plan {
				require.True(t, m.Applied)
			}
		})
	}
}

// TestMySQLMigrationIsCompleted: MySQL commits each statement, so a migration may
// break off in the middle.
func TestMySQLMigrationIsCompleted(t *testing.T) {
	s := servers[1]
	db := s.open(t, "")
	opts := &sqlstore.MigrateOptions{TablePrefix: s.prefixed(t, db)}
	require.NoError(t, sqlstore.Migrate(t.Context(), db, s.dialect, opts))
	for _, undo := range []string{"DROP TABLE " + opts.TablePrefix + "subscriptions", "DELETE FROM " + opts.TablePrefix + "integrations_schema"} {
		_, err := db.ExecContext(t.Context(), undo)
		require.NoError(t, err)
	}
	require.NoError(t, sqlstore.Migrate(t.Context(), db, s.dialect, opts))
	st := sqlstore.New(db, s.dialect, &sqlstore.Options{TablePrefix: opts.TablePrefix})
	require.NoError(t, st.Check(t.Context()))
	_, err := st.ListSubscriptions(t.Context(), store.Ref{TenantID: "t", ID: "i"})
	require.NoError(t, err)
}

// TestTenantsThatCollationsConfuse: names that differ in case, accents or
// trailing spaces are different tenants on every database.
func TestTenantsThatCollationsConfuse(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			st := s.store(t, s.open(t, ""))
			names := []string{"acme", "Acme", "acme ", "acmé", "ａcme", "acme\t"}
			for i, tenant := range names {
				_, err := st.Connect(t.Context(), store.Connect{ID: fmt.Sprint("i", i), TenantID: tenant, Provider: "slack", ExternalID: tenant, ExclusiveKey: "slack|" + tenant, AccessToken: []byte{1}})
				require.NoError(t, err, tenant)
			}
			for i, tenant := range names {
				list, err := st.List(t.Context(), tenant)
				require.NoError(t, err)
				require.Len(t, list, 1, "%q", tenant)
				require.Equal(t, fmt.Sprint("i", i), list[0].ID)
				found, err := st.FindByExternal(t.Context(), "slack", tenant)
				require.NoError(t, err)
				require.Len(t, found, 1, "%q", tenant)
			}
		})
	}
}

// required reports whether a server that is not there is a failure.
func required(server string) bool {
	return slices.Contains(strings.Split(os.Getenv("INTEGRATIONS_TEST_REQUIRE"), ","), server)
}
