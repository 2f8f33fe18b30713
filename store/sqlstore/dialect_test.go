package sqlstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRewrite(t *testing.T) {
	for in, want := range map[string]string{
		"a = ? AND b = ?":                 "a = $1 AND b = $2",
		"a = '?' AND b = ?":               "a = '?' AND b = $1",
		"a = 'it''s ?' AND b = ?":         "a = 'it''s ?' AND b = $1",
		`"a?" = ? AND ` + "`b?`" + ` = ?`: `"a?" = $1 AND ` + "`b?`" + ` = $2`,
		"a = ? -- why?\n AND b = ?":       "a = $1 -- why?\n AND b = $2",
		"a = ? /* why? */ AND b = ?":      "a = $1 /* why? */ AND b = $2",
		"?,?,?":                           "$1,$2,$3", "": "", "'": "'", "/*?": "/*?", "--?": "--?", "?'?": "$1'?",
	} {
		require.Equal(t, want, rewrite(in), in)
	}
}

// FuzzF13Rewrite: placeholders are numbered in order, and what is not one stays.
func FuzzF13Rewrite(f *testing.F) {
	for _, s := range []string{"a = ? AND b = '?' -- ?\n OR c = ?", "'?''?' ? \"?\" `?` /* ? */ ?", "?", "'", "--", "/*", "é?"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, q string) {
		if strings.ContainsRune(q, '$') {
			return // a number of ours could not be told from one that was there
		}
		// Numbering is undone by taking the numbers out again, in order.
		got, n, back := rewrite(q), 0, ""
		for rest := got; rest != ""; {
			mark := "$" + strconv.Itoa(n+1)
			i := strings.IndexByte(rest, '$')
			if i < 0 {
				back += rest
				break
			}
			require.True(t, strings.HasPrefix(rest[i:], mark), "%q", got)
			back += rest[:i] + "?"
			rest = rest[i+len(mark):]
			n++
		}
		require.Equal(t, q, back)
		require.LessOrEqual(t, n, strings.Count(q, "?"))
		if !strings.ContainsAny(q, "'\"`-/") {
			require.Equal(t, strings.Count(q, "?"), n)
		}
	})
}

func TestFaultsAreFoundBeforeTheDatabaseIsTouched(t *testing.T) {
	ctx := context.Background()
	require.ErrorContains(t, New(nil, SQLite, nil).Check(ctx), "db is nil")
	require.ErrorContains(t, New(nil, Dialect{}, nil).Check(ctx), "zero Dialect")
	require.ErrorContains(t, Migrate(ctx, nil, SQLite, &MigrateOptions{TablePrefix: "a; DROP"}), "TablePrefix")
	require.Error(t, checkPrefix("A"))
	require.NoError(t, checkPrefix("app_"))
}

func TestMigrationsAreNumberedFromOne(t *testing.T) {
	all, err := migrations(SQLite)
	require.NoError(t, err)
	for i, m := range all {
		require.Equal(t, i+1, m.version)
		for _, s := range statements(m.sql, "x_") {
			require.NotContains(t, s, "{p}")
			require.NotContains(t, s, "--")
		}
	}
}

func ExampleMigrations() {
	entries, err := Migrations(SQLite).Open("0001_init.sql")
	fmt.Println(entries != nil, err)
	// Output: true <nil>
}
