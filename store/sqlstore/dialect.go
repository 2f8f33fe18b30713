package sqlstore

import (
	"embed"
	"io/fs"
	"strconv"
	"strings"

	"github.com/saas-integrations/integrations/store"
)

// Dialect is a kind of database. Use one of this package's values.
type Dialect struct{ d *dialect }

// dialect is what differs between databases. Queries are written once, with "?"
// for parameters, {p} for the table prefix, {now} for the clock, {ifabsent} at the
// end of an insert that gives way to a row that is there and {bykey} after a table
// whose row is to be found by its primary key. {open} is true of a delivery that is
// pending, in a way that no index knows: a query that has the ids finds it by them. A
// planner that saw the index of the pending ones when it was short reads it from end to
// end when it is long.
type dialect struct {
	name string
	// goName is how the dialect is named in Go, for error messages.
	goName string
	// now is the database's clock in milliseconds since 1970.
	now string
	// numbered says that parameters are $1, $2, … instead of ?.
	numbered bool
	// ifAbsent makes an insert that meets an existing row leave it as it is. It
	// reports one row when it inserted and, whatever the connection counts as
	// affected, another number when it did not.
	ifAbsent string
	// byKey keeps the optimizer from another index: two statements that lock the
	// entries of a row in different order are a deadlock.
	byKey string
	// prepares says that the reads of one row and the inserts into the inbox are
	// worth a prepared statement: each time they are parsed anew otherwise, on MySQL
	// in round trips of their own. Drivers of PostgreSQL keep statements by
	// themselves, in ways a host can turn off where a pooler stands between.
	prepares bool
	// returning says that UPDATE and INSERT give back rows and take a LIMIT in a
	// subquery. Where they do not, a transaction of several statements stands in.
	returning bool
	// inserts is how many transactions that insert into the inbox get on at a time.
	inserts int
	// arrays says that a parameter may be an array: rows go in by one statement
	// whose text does not depend on their number.
	arrays bool
	// skipLocked leaves rows that others have locked out of a claim.
	skipLocked string
	// same compares values of which either may be NULL.
	same string
	// updateRows is a statement that changes rows, nil where one for each is as
	// good.
	updateRows func(d *dialect, t sealedTable, rs []store.Reseal) (query string, args []any)
	// oneUpdater keeps others that change rows of a {table} by updateRows waiting
	// until the end of the transaction. It is for where the optimizer chooses in
	// which order the rows are locked: in different order they would be a deadlock.
	oneUpdater string
	// oneWriter says that writers wait for each other.
	oneWriter bool
	// force makes a query use an index of the inbox. Elsewhere an index that is for
	// some rows only is used by who asks for these.
	force      string
	migrations fs.FS
	// begin, lock, end and undo surround a migration. {lock} is a name of the lock
	// that keeps others out; lock is a query whose answer is 1 once it is taken.
	begin, lock, end, undo string
}

//go:embed migrations
var embedded embed.FS

// SQLite is SQLite 3.42 or newer, through any driver. Give the pool a busy
// timeout and WAL, and let transactions take the write lock when they begin; with
// modernc.org/sqlite:
//
//	file:app.db?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate
var SQLite = Dialect{&dialect{
	name: "sqlite", goName: "sqlstore.SQLite",
	now:      "CAST(unixepoch('subsec')*1000 AS INTEGER)",
	ifAbsent: "ON CONFLICT DO NOTHING", returning: true, prepares: true, inserts: 1, oneWriter: true, same: "IS",
	migrations: sub("migrations/sqlite"),
	begin:      "BEGIN IMMEDIATE", lock: "SELECT 1", end: "COMMIT", undo: "ROLLBACK",
}}

// Postgres is PostgreSQL 13 or newer, through any driver that takes numbered
// parameters: pgx's stdlib or lib/pq. It is tested on PostgreSQL 15 with pgx.
var Postgres = Dialect{&dialect{
	name: "postgres", goName: "sqlstore.Postgres",
	// Not clock_timestamp, which an index cannot be searched with because it
	// changes from row to row.
	now:      "(EXTRACT(EPOCH FROM statement_timestamp())*1000)::bigint",
	numbered: true, ifAbsent: "ON CONFLICT DO NOTHING", returning: true, inserts: 2, arrays: true, skipLocked: "FOR UPDATE SKIP LOCKED",
	same: "IS NOT DISTINCT FROM", updateRows: updateArrays,
	oneUpdater: "SELECT pg_advisory_xact_lock(hashtext('{table} reseal'))",
	migrations: sub("migrations/postgres"),
	begin:      "BEGIN", lock: "SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtext('{lock}'))) l", end: "COMMIT", undo: "ROLLBACK",
}}

// MySQL is MySQL 8 or MariaDB 10.6 or newer, through github.com/go-sql-driver/mysql,
// with any of its parameters (clientFoundRows and parseTime among them). It is
// tested on MariaDB 10.11.
var MySQL = Dialect{&dialect{
	name: "mysql", goName: "sqlstore.MySQL",
	// By arithmetic on UTC: UNIX_TIMESTAMP(NOW(3)) jumps by an hour where the
	// session's time zone ends its summer time.
	now: "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)",
	// A row that is there counts as two, one more clash. Setting it to what it is
	// would count as one under clientFoundRows, as an insert does.
	ifAbsent: "ON DUPLICATE KEY UPDATE clashes = clashes+1", byKey: "FORCE INDEX (PRIMARY)", force: "FORCE INDEX ({p}webhook_inbox_%s)", prepares: true, inserts: 2, skipLocked: "FOR UPDATE SKIP LOCKED",
	same: "<=>", updateRows: updateJoin,
	migrations: sub("migrations/mysql"),
	// Its DDL commits by itself: a migration that broke off is applied again, so
	// each statement of one must stand to be repeated.
	begin: "DO 0", lock: "SELECT GET_LOCK('{lock}', 300)", end: "DO RELEASE_LOCK('{lock}')", undo: "DO RELEASE_LOCK('{lock}')",
}}

// dialects are all there are.
var dialects = []Dialect{SQLite, Postgres, MySQL}

// DialectByName returns the dialect called "sqlite", "postgres" or "mysql", false
// for another name.
func DialectByName(name string) (Dialect, bool) {
	for _, d := range dialects {
		if d.d.name == name {
			return d, true
		}
	}
	return Dialect{}, false
}

// String is the name that DialectByName knows, "" for the zero Dialect.
func (d Dialect) String() string {
	if d.d == nil {
		return ""
	}
	return d.d.name
}

func sub(dir string) fs.FS {
	f, err := fs.Sub(embedded, dir)
	if err != nil {
		panic("integrations/store/sqlstore: " + err.Error()) // a fault of this package
	}
	return f
}

// Migrations returns the SQL files of a dialect, in the order of their names,
// for those who apply migrations with a tool of their own. In them {p} stands
// for the table prefix.
func Migrations(d Dialect) fs.FS { return d.d.migrations }

// rewrite puts numbered placeholders in place of question marks, leaving those
// in literals, quoted names and comments alone.
func rewrite(query string) string {
	var b strings.Builder
	b.Grow(len(query) + 16)
	n := 0
	for i := 0; i < len(query); {
		end := i + 1
		switch c := query[i]; {
		case c == '?':
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
			i = end
			continue
		case c == '\'' || c == '"' || c == '`':
			end = closing(query, i, c)
		case strings.HasPrefix(query[i:], "--"):
			end = i + lineEnd(query[i:])
		case strings.HasPrefix(query[i:], "/*"):
			end = i + commentEnd(query[i:])
		}
		b.WriteString(query[i:end])
		i = end
	}
	return b.String()
}

// closing is the index after a quoted run that starts at i. A doubled quote ends
// one run and starts the next, which comes to the same.
func closing(s string, i int, quote byte) int {
	if j := strings.IndexByte(s[i+1:], quote); j >= 0 {
		return i + 1 + j + 1
	}
	return len(s)
}

func lineEnd(s string) int {
	if j := strings.IndexByte(s, '\n'); j >= 0 {
		return j + 1
	}
	return len(s)
}

func commentEnd(s string) int {
	if j := strings.Index(s[2:], "*/"); j >= 0 {
		return 2 + j + 2
	}
	return len(s)
}
