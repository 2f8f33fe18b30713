package sqlstore

import (
	"embed"
	"io/fs"
	"strconv"
	"strings"
)

// Dialect is a kind of database. Use one of this package's values.
type Dialect struct{ d *dialect }

// dialect is what differs between databases. Queries are written once, with "?"
// for parameters, {p} for the table prefix and {now} for the clock.
type dialect struct {
	name string
	// now is the database's clock in milliseconds since 1970.
	now string
	// numbered says that parameters are $1, $2, … instead of ?.
	numbered   bool
	migrations fs.FS
	// goName is how the dialect is named in Go, for error messages.
	goName string
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
	now:        "CAST(unixepoch('subsec')*1000 AS INTEGER)",
	migrations: sub("migrations/sqlite"),
}}

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
