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
// the same time; each migration is applied once, in a transaction of its own.
// It only ever adds: calling it again changes nothing.
func Migrate(ctx context.Context, db *sql.DB, d Dialect, opts *MigrateOptions) error {
	prefix := ""
	if opts != nil {
		prefix = opts.TablePrefix
	}
	if err := checkPrefix(prefix); err != nil {
		return err
	}
	all, err := migrations(d)
	if err != nil {
		return err
	}
	// One connection, because SQLite's lock belongs to a connection.
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("integrations/store/sqlstore: migrate: %w", err)
	}
	defer func() { _ = conn.Close() }()
	table := prefix + "integrations_schema"
	if _, err := conn.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+table+" (version INTEGER NOT NULL PRIMARY KEY)"); err != nil {
		return fmt.Errorf("integrations/store/sqlstore: migrate: %w", err)
	}
	for _, m := range all {
		if err := apply(ctx, conn, table, prefix, m); err != nil {
			return fmt.Errorf("integrations/store/sqlstore: migrate to version %d: %w", m.version, err)
		}
	}
	return nil
}

// apply applies one migration unless it is there. The row that claims its
// version is written first, so that of several processes one goes on and the
// others wait for it.
func apply(ctx context.Context, conn *sql.Conn, table, prefix string, m migration) (err error) {
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		end := "COMMIT"
		if err != nil {
			end = "ROLLBACK"
		}
		_, endErr := conn.ExecContext(context.WithoutCancel(ctx), end)
		err = errors.Join(err, endErr)
	}()
	version := strconv.Itoa(m.version)
	var there int
	if err := conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table+" WHERE version = "+version).Scan(&there); err != nil {
		return err
	}
	if there > 0 {
		return nil
	}
	for _, statement := range statements(m.sql, prefix) {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	_, err = conn.ExecContext(ctx, "INSERT INTO "+table+" (version) VALUES ("+version+")")
	return err
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
	if err := s.db.QueryRowContext(ctx, "SELECT MAX(version) FROM "+s.prefix+"integrations_schema").Scan(&have); err != nil {
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
