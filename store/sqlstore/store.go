// Package sqlstore keeps everything in a SQL database through database/sql. The
// host opens the database with a driver of its choice and brings the schema up to
// date with [Migrate]; the store opens nothing, sets nothing and closes nothing.
// Two statements that read a row stay prepared on SQLite and MySQL.
//
// Give a server's pool as many idle connections as open ones (SetMaxIdleConns as
// SetMaxOpenConns): database/sql keeps two by default, and a process that handles
// webhooks then makes a new connection for most statements.
//
// No transaction or connection is held between two calls, and no error of a
// driver is looked into: what a statement did is told by the rows it changed.
package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// Options change [New]. Nil is fine.
type Options struct {
	// TablePrefix stands before the name of every table and index: it must match
	// [a-z0-9_]{0,32}. Defaults to "".
	TablePrefix string
}

// Store is a store.Store in a SQL database, with every optional ability. It is
// safe for concurrent use by any number of processes.
type Store struct {
	db      *sql.DB
	dialect Dialect
	prefix  string
	fault   error    // of the options
	queries sync.Map // of a query as written to the query as sent
	stmts   sync.Map // of a query as sent to its *sql.Stmt
	turn    chan struct{}
}

var (
	_ store.Store       = (*Store)(nil)
	_ store.Inbox       = (*Store)(nil)
	_ store.Checkpoints = (*Store)(nil)
	_ store.Endpoints   = (*Store)(nil)
	_ store.Admin       = (*Store)(nil)
	_ store.Purger      = (*Store)(nil)
)

// New returns a store over db. It does not touch the database; faults of the
// options and a schema that is not up to date are found by Check, which
// integrations.New calls.
func New(db *sql.DB, d Dialect, opts *Options) *Store {
	s := &Store{db: db, dialect: d, turn: make(chan struct{}, 1)}
	if opts != nil {
		s.prefix = opts.TablePrefix
	}
	s.fault = checkPrefix(s.prefix)
	switch {
	case d.d == nil:
		s.fault = errDialect
	case db == nil:
		s.fault = fmt.Errorf("integrations/store/sqlstore: db is nil")
	}
	return s
}

// runner is a database, or a transaction of it.
type runner interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// text is a query as the database understands it. It is made once.
func (s *Store) text(query string) string {
	if q, ok := s.queries.Load(query); ok {
		return q.(string)
	}
	q := s.expand(query)
	s.queries.Store(query, q)
	return q
}

func (s *Store) expand(query string) string {
	d := s.dialect.d
	q := strings.NewReplacer("{p}", s.prefix, "{now}", d.now, "{ifabsent}", d.ifAbsent, "{bykey}", d.byKey, "{open}", "status+0 = 0").Replace(query)
	if d.numbered {
		q = rewrite(q)
	}
	return q
}

// queryRow is QueryRowContext of a query that is asked for often.
func (s *Store) queryRow(ctx context.Context, r runner, query string, args ...any) *sql.Row {
	text := s.text(query)
	if stmt := s.prepared(ctx, r, text); stmt != nil {
		return stmt.QueryRowContext(ctx, args...)
	}
	return r.QueryRowContext(ctx, text, args...)
}

// prepared is the statement of a query, nil where there is none: the query itself
// tells what is wrong then. It lives as long as the host's pool.
func (s *Store) prepared(ctx context.Context, r runner, text string) *sql.Stmt {
	if !s.dialect.d.prepares || r != runner(s.db) {
		return nil
	}
	if stmt, ok := s.stmts.Load(text); ok {
		return stmt.(*sql.Stmt)
	}
	stmt, err := s.db.PrepareContext(ctx, text)
	if err != nil {
		return nil
	}
	if other, loaded := s.stmts.LoadOrStore(text, stmt); loaded {
		_ = stmt.Close()
		return other.(*sql.Stmt)
	}
	return stmt
}

// takeTurn lets those who write often and at the same time wait for each other here,
// where the database has one writer: there they would sleep and try again, for
// longer than each takes.
func (s *Store) takeTurn(ctx context.Context) (free func(), err error) {
	if !s.dialect.d.oneWriter {
		return func() {}, nil
	}
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// exec runs a statement and reports how many rows it changed.
func (s *Store) exec(ctx context.Context, r runner, query string, args ...any) (int64, error) {
	res, err := r.ExecContext(ctx, s.text(query), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// writeTries is how often a transaction is tried whose statements fail: a
// database may ask one of two that lock the same rows to give way, and what that
// is called is not looked into.
const writeTries = 5

// write runs fn in a transaction. Its first statement should write: then SQLite
// waits for the lock instead of finding, when a reader starts to write, that
// somebody else was faster. fn may run several times. What it did is not repeated
// when it is the commit that fails: nobody knows then whether it holds.
func (s *Store) write(ctx context.Context, what string, fn func(tx *sql.Tx) error) error {
	return s.writeAs(ctx, what, nil, fn)
}

func (s *Store) writeAs(ctx context.Context, what string, opts *sql.TxOptions, fn func(tx *sql.Tx) error) error {
	return s.again(ctx, what, func() (bool, error) { return s.writeOnce(ctx, opts, fn) })
}

// again calls fn until it succeeds, up to writeTries times. fn tells whether what
// failed may be tried again.
func (s *Store) again(ctx context.Context, what string, fn func() (more bool, err error)) error {
	for try := 1; ; try++ {
		more, err := fn()
		if err == nil {
			return nil
		}
		if more && try < writeTries {
			more = pause(ctx, time.Duration(try)*5*time.Millisecond)
		}
		if !more || try == writeTries {
			return fmt.Errorf("integrations/store/sqlstore: %s: %w", what, ended(ctx, err))
		}
	}
}

// pause waits for about d and reports whether ctx still lasts.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// writeOnce reports whether what failed may be tried again.
func (s *Store) writeOnce(ctx context.Context, opts *sql.TxOptions, fn func(tx *sql.Tx) error) (again bool, err error) {
	tx, err := s.db.BeginTx(ctx, opts)
	if err != nil {
		return true, err
	}
	if err := fn(tx); err != nil {
		_ = tx.Rollback()
		known := errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrTaken) || errors.Is(err, store.ErrNotFound)
		return !known, err
	}
	return false, tx.Commit()
}

// one runs a single statement and reports whether it changed a row.
func (s *Store) one(ctx context.Context, what, query string, args ...any) (bool, error) {
	n, err := s.exec(ctx, s.db, query, args...)
	if err != nil {
		return false, fmt.Errorf("integrations/store/sqlstore: %s: %w", what, ended(ctx, err))
	}
	return n > 0, nil
}

// inserted runs an insert that ends in {ifabsent} and reports whether the row is
// new.
func (s *Store) inserted(ctx context.Context, r runner, query string, args ...any) (bool, error) {
	n, err := s.exec(ctx, r, query, args...)
	return n == 1, err
}

// withChange is withChanges for one change, or for nil.
func (s *Store) withChange(ctx context.Context, what string, change *store.Delivery, query string, args ...any) (bool, error) {
	if change == nil {
		return s.one(ctx, what, query, args...)
	}
	return s.withChanges(ctx, what, []store.Delivery{*change}, query, args...)
}

// withChanges runs a conditional statement and, if it changed a row, inserts the
// changes in the same transaction.
func (s *Store) withChanges(ctx context.Context, what string, changes []store.Delivery, query string, args ...any) (bool, error) {
	if len(changes) == 0 {
		return s.one(ctx, what, query, args...)
	}
	changed := false
	err := s.write(ctx, what, func(tx *sql.Tx) error {
		changed = false
		n, err := s.exec(ctx, tx, query, args...)
		if err != nil || n == 0 {
			return err
		}
		changed = true
		return s.insert(ctx, tx, changes)
	})
	return changed && err == nil, err
}

// ended prefers the context's word to the driver's about an ended context.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// rows runs a query and calls scan for each row.
func (s *Store) rows(ctx context.Context, r runner, what, query string, args []any, scan func(row scanner) error) error {
	rows, err := r.QueryContext(ctx, s.text(query), args...)
	if err != nil {
		return fmt.Errorf("integrations/store/sqlstore: %s: %w", what, ended(ctx, err))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("integrations/store/sqlstore: %s: %w", what, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("integrations/store/sqlstore: %s: %w", what, ended(ctx, err))
	}
	return nil
}

type scanner interface{ Scan(dest ...any) error }

// in is a list of n parameters: "?,?,?".
func in(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }

// params are texts as the parameters of a list.
func params(texts []string) []any {
	out := make([]any, len(texts))
	for i, t := range texts {
		out[i] = t
	}
	return out
}

// chunk is how many rows or names go into one statement: far below any
// database's limit of parameters.
const chunk = 200

// millis is a duration as the database adds it.
func millis(d time.Duration) int64 { return d.Milliseconds() }

// orNever is a duration to add to the clock, NULL for 0: "{now}+?" is NULL then.
func orNever(d time.Duration) any {
	if d == 0 {
		return nil
	}
	return max(millis(d), 1)
}

// orNull is NULL for an empty string.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// bytesOrNull is NULL for no bytes.
func bytesOrNull(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// textOrNull is JSON in a text column, NULL for nil.
func textOrNull(b json.RawMessage) any {
	if b == nil {
		return nil
	}
	return string(b)
}

// wordList is a list of words in a text column, NULL for nil.
func wordList(words []string) (any, error) {
	if words == nil {
		return nil, nil
	}
	b, err := json.Marshal(words)
	return string(b), err
}

func words(s sql.NullString) ([]string, error) {
	if !s.Valid {
		return nil, nil
	}
	var out []string
	err := json.Unmarshal([]byte(s.String), &out)
	return out, err
}

func rawJSON(s sql.NullString) json.RawMessage {
	if !s.Valid {
		return nil
	}
	return json.RawMessage(s.String)
}

// at is a moment of the database, zero for NULL and 0.
func at(ms sql.NullInt64) time.Time {
	if !ms.Valid || ms.Int64 == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms.Int64).UTC()
}

// moment is a time of the caller's for the database, NULL for zero.
func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}
