package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/saas-integrations/integrations/store"
)

// MigrateOptions change [Migrate]. Nil is fine.
type MigrateOptions struct {
	// TablePrefix is that of [Options].
	TablePrefix string
}

// migration is one SQL file, named 0001_words.sql.
type migration struct {
	version int
	sql     string
}

// Migrate brings the schema up to date. Any number of processes may call it at
// the same time: one migrates, the others wait for it. It only ever adds: calling
// it again changes nothing. On SQLite and PostgreSQL a migration is one
// transaction; MySQL commits each statement by itself, and a migration that broke
// off there is completed by the next call.
func Migrate(ctx context.Context, db *sql.DB, d Dialect, opts *MigrateOptions) error {
	prefix, all, err := plan(d, opts)
	if err != nil {
		return err
	}
	// One connection, because the lock belongs to a connection.
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("integrations/store/sqlstore: migrate: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := apply(ctx, conn, d.d, prefix, all); err != nil {
		return fmt.Errorf("integrations/store/sqlstore: migrate: %w", err)
	}
	return nil
}

// plan checks the parameters of a migration.
func plan(d Dialect, opts *MigrateOptions) (prefix string, all []migration, err error) {
	if opts != nil {
		prefix = opts.TablePrefix
	}
	if err := checkPrefix(prefix); err != nil {
		return "", nil, err
	}
	all, err = migrations(d)
	return prefix, all, err
}

// apply applies what is missing, under the lock.
func apply(ctx context.Context, conn *sql.Conn, d *dialect, prefix string, all []migration) (err error) {
	table := prefix + schemaTable
	named := strings.NewReplacer("{lock}", table)
	if _, err := conn.ExecContext(ctx, d.begin); err != nil {
		return err
	}
	defer func() {
		end := d.end
		if err != nil {
			end = d.undo
		}
		_, endErr := conn.ExecContext(context.WithoutCancel(ctx), named.Replace(end))
		err = errors.Join(err, endErr)
	}()
	var locked sql.NullInt64
	if err := conn.QueryRowContext(ctx, named.Replace(d.lock)).Scan(&locked); err != nil {
		return err
	}
	if locked.Int64 != 1 {
		return errors.New("somebody else has been migrating for too long")
	}
	if _, err := conn.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+table+" (version INTEGER NOT NULL PRIMARY KEY)"); err != nil {
		return err
	}
	have, err := applied(ctx, conn, table)
	if err != nil {
		return err
	}
	for _, m := range all {
		if have[m.version] {
			continue
		}
		for _, statement := range statements(m.sql, prefix) {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("version %d: %w", m.version, err)
			}
		}
		if _, err := conn.ExecContext(ctx, "INSERT INTO "+table+" (version) VALUES ("+strconv.Itoa(m.version)+")"); err != nil {
			return fmt.Errorf("version %d: %w", m.version, err)
		}
	}
	return nil
}

// schemaTable lists the versions that were applied.
const schemaTable = "integrations_schema"

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func applied(ctx context.Context, q querier, table string) (map[int]bool, error) {
	rows, err := q.QueryContext(ctx, "SELECT version FROM "+table)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	have := map[int]bool{}
	for rows.Next() {
		var version int
		if err := rows.Scan(&version); err != nil {
			return nil, err
		}
		have[version] = true
	}
	return have, rows.Err()
}

// Migration is one step of the schema, as [Plan] lists it.
type Migration struct {
	// Version counts from 1.
	Version int
	// Applied says that the database has it.
	Applied bool
	// SQL is what it executes, with the table prefix filled in.
	SQL string
}

// Plan lists all migrations, says which of them the database has, and gives the
// SQL of each, for those who look before they migrate or apply it with a tool of
// their own. A database without the library's tables has none. It changes
// nothing.
func Plan(ctx context.Context, db *sql.DB, d Dialect, opts *MigrateOptions) ([]Migration, error) {
	prefix, all, err := plan(d, opts)
	if err != nil {
		return nil, err
	}
	if err := db.PingContext(ctx); err != nil {
		return nil, fmt.Errorf("integrations/store/sqlstore: plan: %w", err)
	}
	// That the table is missing shows as an error of the driver, which is not
	// looked into: a database that answered the ping has no schema then.
	have, err := applied(ctx, db, prefix+schemaTable)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("integrations/store/sqlstore: plan: %w", ctx.Err())
	}
	out := make([]Migration, len(all))
	for i, m := range all {
		out[i] = Migration{Version: m.version, Applied: have[m.version], SQL: strings.ReplaceAll(m.sql, "{p}", prefix)}
	}
	return out, nil
}

var comment = regexp.MustCompile(`(?m)^\s*--.*$`)

// statements splits a migration at its semicolons. The files hold no literal
// with one.
func statements(text, prefix string) []string {
	text = strings.ReplaceAll(comment.ReplaceAllString(text, ""), "{p}", prefix)
	var out []string
	for s := range strings.SplitSeq(text, ";") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

var fileName = regexp.MustCompile(`^([0-9]{4})_[a-z0-9_]+\.sql$`)

func migrations(d Dialect) ([]migration, error) {
	if d.d == nil {
		return nil, errDialect
	}
	entries, err := fs.ReadDir(d.d.migrations, ".")
	if err != nil {
		return nil, fmt.Errorf("integrations/store/sqlstore: migrations: %w", err)
	}
	var all []migration
	for _, e := range entries {
		m := fileName.FindStringSubmatch(e.Name())
		if m == nil {
			return nil, fmt.Errorf("integrations/store/sqlstore: migration %s is not named 0001_words.sql", e.Name())
		}
		version, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, err
		}
		text, err := fs.ReadFile(d.d.migrations, e.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, migration{version, string(text)})
	}
	slices.SortFunc(all, func(a, b migration) int { return a.version - b.version })
	return all, nil
}

var (
	prefixPattern = regexp.MustCompile(`^[a-z0-9_]{0,32}$`)
	errDialect    = errors.New("integrations/store/sqlstore: the zero Dialect is no database; use sqlstore.SQLite")
)

func checkPrefix(prefix string) error {
	if !prefixPattern.MatchString(prefix) {
		return errors.New("integrations/store/sqlstore: TablePrefix must match [a-z0-9_]{0,32}")
	}
	return nil
}

// Check implements store.Store.
func (s *Store) Check(ctx context.Context) error {
	if s.fault != nil {
		return s.fault
	}
	if err := s.db.PingContext(ctx); err != nil {
		return fmt.Errorf("integrations/store/sqlstore: %w", err)
	}
	all, err := migrations(s.dialect)
	if err != nil {
		return err
	}
	want := all[len(all)-1].version
	options := "nil"
	if s.prefix != "" {
		options = fmt.Sprintf("&sqlstore.MigrateOptions{TablePrefix: %q}", s.prefix)
	}
	call := fmt.Sprintf("sqlstore.Migrate(ctx, db, %s, %s)", s.dialect.d.goName, options)
	var have sql.NullInt64
	// That the table is missing shows as an error of the driver, which is not
	// looked into: a store that answered the ping has no schema then.
	if err := s.db.QueryRowContext(ctx, "SELECT MAX(version) FROM "+s.prefix+schemaTable).Scan(&have); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("integrations/store/sqlstore: %w", ctx.Err())
		}
		return fmt.Errorf("%w: there is none; call %s", store.ErrSchema, call)
	}
	switch {
	case have.Int64 < int64(want):
		return fmt.Errorf("%w: it is at version %d, this library needs %d; call %s", store.ErrSchema, have.Int64, want, call)
	case have.Int64 > int64(want):
		return fmt.Errorf("%w: it is at version %d, this library knows %d; use a newer release of the library", store.ErrSchema, have.Int64, want)
	}
	return nil
}
