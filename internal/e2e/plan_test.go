package e2e

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/stretchr/testify/require"
)

// explain begins a question for a plan.
var explain = map[string]string{"sqlite": "EXPLAIN QUERY PLAN ", "postgres": "EXPLAIN ", "mysql": "EXPLAIN "}

// TestDueUsesItsIndex: the rows that a claim takes are found by the index on due
// rows and come in its order.
func TestDueUsesItsIndex(t *testing.T) {
	crowds(t, func(name string, open func(testing.TB) *crowd) {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			c.grow(t, 5*dueRows)
			said := &recorder{}
			db := sql.OpenDB(said)
			defer func() { require.NoError(t, db.Close()) }()
			st := sqlstore.New(db, c.dialect, &sqlstore.Options{TablePrefix: c.prefix})
			_, err := st.ClaimDue(t.Context(), store.ClaimDue{Owner: "o", Limit: duePage, TTL: time.Minute, Providers: []string{replicaKey, "other"}, Keys: []string{"k1", "k2"}})
			require.NoError(t, err)
			require.NotEmpty(t, said.query)
			plan := c.plan(t, explain[name]+said.query, said.args...)
			require.Contains(t, plan, c.prefix+"integrations_due", plan)
			for _, sorting := range []string{"Sort", "filesort", "TEMP B-TREE"} {
				require.NotContains(t, plan, sorting, plan)
			}
		})
	})
}

// TestMySQLFindsRowsByTheirKey: statements that change one row lock its primary
// key first, also in a small table, where the optimizer likes other indexes as
// well. In different order they would be a deadlock.
func TestMySQLFindsRowsByTheirKey(t *testing.T) {
	s := servers[1]
	db := s.open(t, "")
	prefix := s.prefixed(t, db)
	require.NoError(t, sqlstore.Migrate(t.Context(), db, s.dialect, &sqlstore.MigrateOptions{TablePrefix: prefix}))
	c := newCrowd(t, db, nil, s.dialect, prefix)
	c.grow(t, 1)
	said := &recorder{}
	to := sql.OpenDB(said)
	defer func() { require.NoError(t, to.Close()) }()
	st := sqlstore.New(to, c.dialect, &sqlstore.Options{TablePrefix: prefix})
	tenant, id := crowdTenant(0), crowdID(0)
	for name, change := range map[string]func(ctx context.Context) error{
		"lease": func(ctx context.Context) error {
			_, err := st.Lease(ctx, store.Lease{TenantID: tenant, ID: id, Owner: "o", SeenGen: 1, TTL: time.Minute})
			return err
		},
		"commit": func(ctx context.Context) error {
			_, err := st.CommitTokens(ctx, store.CommitTokens{TenantID: tenant, ID: id, SeenGen: 1})
			return err
		},
		"fail": func(ctx context.Context) error {
			_, err := st.FailRefresh(ctx, store.FailRefresh{TenantID: tenant, ID: id, Owner: "o", SeenGen: 1})
			return err
		},
		"status": func(ctx context.Context) error {
			_, err := st.SetStatus(ctx, store.SetStatus{TenantID: tenant, ID: id, From: []store.Status{store.Active}, To: store.Suspended})
			return err
		},
	} {
		require.NoError(t, change(t.Context()))
		require.Contains(t, c.plan(t, "EXPLAIN "+said.query, said.args...), " PRIMARY 38 ", name) // the key and its length
	}
}

// plan is what the database says it would do.
func (c *crowd) plan(t testing.TB, query string, args ...any) string {
	t.Helper()
	rows, err := c.db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	require.NoError(t, err)
	into := make([]any, len(columns))
	for i := range into {
		into[i] = new(sql.NullString)
	}
	var b strings.Builder
	for rows.Next() {
		require.NoError(t, rows.Scan(into...))
		for _, v := range into {
			_, _ = fmt.Fprint(&b, v.(*sql.NullString).String, " ")
		}
		b.WriteByte('\n')
	}
	require.NoError(t, rows.Err())
	return b.String()
}

// recorder is a database that keeps the last query and answers with no rows.
type recorder struct {
	query string
	args  []any
}

func (r *recorder) Connect(context.Context) (driver.Conn, error) { return recording{r}, nil }
func (r *recorder) Driver() driver.Driver                        { return nil }

type recording struct{ r *recorder }

func (c recording) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.r.query, c.r.args = query, nil
	for _, a := range args {
		c.r.args = append(c.r.args, a.Value)
	}
	return nothing{}, nil
}

func (c recording) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	_, err := c.QueryContext(ctx, query, args)
	return driver.RowsAffected(1), err
}

func (c recording) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	return nothing{}, nil
}
func (c recording) Begin() (driver.Tx, error)           { return nothing{}, nil }
func (c recording) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }
func (c recording) Close() error                        { return nil }

// nothing is an empty answer and an empty transaction.
type nothing struct{}

func (nothing) Columns() []string         { return nil }
func (nothing) Close() error              { return nil }
func (nothing) Next([]driver.Value) error { return io.EOF }
func (nothing) Commit() error             { return nil }
func (nothing) Rollback() error           { return nil }
