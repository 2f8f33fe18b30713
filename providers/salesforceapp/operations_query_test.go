package salesforceapp_test

import (
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/stretchr/testify/require"
)

const noRecords = `{"totalSize":0,"done":true,"records":[]}`

// soqlOf is the query that goes out, or the error that keeps it.
func soqlOf(t testing.TB, soql string, args ...any) (string, error) {
	t.Helper()
	rec := answers(answer{status: 200, body: noRecords})
	for _, err := range salesforceapp.Query[map[string]any](t.Context(), connect(t, rec), soql, args...) {
		require.Error(t, err)
		require.Empty(t, rec.sent)
		return "", err
	}
	u, err := url.Parse(rec.sent[0].url)
	require.NoError(t, err)
	return u.Query().Get("q"), nil
}

func TestPlaceholders(t *testing.T) {
	type named string
	at := time.Date(2026, 11, 25, 13, 30, 0, 5e6, time.FixedZone("", 3600))
	text, number := "it's", 7
	for _, row := range []struct {
		arg  any
		want string
	}{
		{"Lovelace", `'Lovelace'`},
		{"O'Hara", `'O\'Hara'`},
		{`x' OR Name != '`, `'x\' OR Name != \''`},
		{`\`, `'\\'`},
		{`\'`, `'\\\''`},
		{`"quoted"`, `'\"quoted\"'`},
		{"a\nb\rc\td\be\f", `'a\nb\rc\td\be\f'`},
		{"100%_?", `'100%_?'`},
		{"Zoë 東京", `'Zoë 東京'`},
		{"", `''`},
		{named("x'y"), `'x\'y'`},
		{true, `true`},
		{false, `false`},
		{42, `42`},
		{int64(-9007199254740993), `-9007199254740993`},
		{uint16(7), `7`},
		{1.5, `1.5`},
		{float32(0.1), `0.1`},
		{1e21, `1000000000000000000000`},
		{nil, `null`},
		{(*string)(nil), `null`},
		{&text, `'it\'s'`},
		{&number, `7`},
		{at, `2026-11-25T12:30:00.005Z`},
		{&at, `2026-11-25T12:30:00.005Z`},
		{salesforceapp.DateTime{Time: at}, `2026-11-25T12:30:00.005Z`},
		{salesforceapp.DateOf(at), `2026-11-25`},
		{[]string{"a", "b'c"}, `('a', 'b\'c')`},
		{[2]int{1, 2}, `(1, 2)`},
		{[]any{"a", 1, nil, true}, `('a', 1, null, true)`},
		{[]salesforceapp.Date{salesforceapp.DateOf(at)}, `(2026-11-25)`},
		{salesforceapp.StartsWith("100%_'\\"), `'100\%\_\'\\%'`},
		{salesforceapp.EndsWith("x"), `'%x'`},
		{salesforceapp.Contains(""), `'%%'`},
	} {
		got, err := soqlOf(t, "SELECT Id FROM Contact WHERE A = ?", row.arg)
		require.NoError(t, err, "%v", row.arg)
		require.Equal(t, "SELECT Id FROM Contact WHERE A = "+row.want, got)
	}

	got, err := soqlOf(t, `SELECT Id FROM Contact WHERE A = 'why?' AND B = 'it\'s ?' AND C = ? AND D = '\\' AND E = ?`, "c?", 2)
	require.NoError(t, err)
	require.Equal(t, `SELECT Id FROM Contact WHERE A = 'why?' AND B = 'it\'s ?' AND C = 'c?' AND D = '\\' AND E = 2`, got)
}

func TestBadArguments(t *testing.T) {
	for name, row := range map[string]struct {
		soql string
		args []any
	}{
		"too few":                {"SELECT Id FROM A WHERE B = ?", nil},
		"too many":               {"SELECT Id FROM A", []any{1}},
		"one in a literal":       {"SELECT Id FROM A WHERE B = '?'", []any{1}},
		"an open literal":        {"SELECT Id FROM A WHERE B = 'x", nil},
		"an escaped end":         {`SELECT Id FROM A WHERE B = 'x\'`, nil},
		"an open literal before": {"SELECT Id FROM A WHERE B = 'x AND C = ?", []any{"' OR '"}},
		"nothing":                {" ", nil},
		"NUL":                    {"SELECT Id FROM A WHERE B = ?", []any{"a\x00"}},
		"a control":              {"SELECT Id FROM A WHERE B = ?", []any{"a\x1b"}},
		"not UTF-8":              {"SELECT Id FROM A WHERE B = ?", []any{"a\xff"}},
		"a pattern of it":        {"SELECT Id FROM A WHERE B LIKE ?", []any{salesforceapp.Contains("\xff")}},
		"no pattern":             {"SELECT Id FROM A WHERE B LIKE ?", []any{salesforceapp.Pattern{}}},
		"NaN":                    {"SELECT Id FROM A WHERE B = ?", []any{math.NaN()}},
		"infinity":               {"SELECT Id FROM A WHERE B = ?", []any{math.Inf(-1)}},
		"an empty list":          {"SELECT Id FROM A WHERE B IN ?", []any{[]string{}}},
		"nil list":               {"SELECT Id FROM A WHERE B IN ?", []any{[]string(nil)}},
		"a list of lists":        {"SELECT Id FROM A WHERE B IN ?", []any{[][]string{{"a"}}}},
		"bytes":                  {"SELECT Id FROM A WHERE B IN ?", []any{[]byte("a")}},
		"a map":                  {"SELECT Id FROM A WHERE B = ?", []any{map[string]string{}}},
		"a struct":               {"SELECT Id FROM A WHERE B = ?", []any{struct{ A string }{"x"}}},
		"a function":             {"SELECT Id FROM A WHERE B = ?", []any{func() {}}},
		"the zero time":          {"SELECT Id FROM A WHERE B > ?", []any{time.Time{}}},
		"a far time":             {"SELECT Id FROM A WHERE B > ?", []any{time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"no day":                 {"SELECT Id FROM A WHERE B > ?", []any{salesforceapp.Date{Year: 2026, Month: 2, Day: 30}}},
		"a bad one in a list":    {"SELECT Id FROM A WHERE B IN ?", []any{[]any{"a", "\x00"}}},
	} {
		_, err := soqlOf(t, row.soql, row.args...)
		require.ErrorIs(t, err, providers.ErrInvalid, name)
	}
}

// FuzzBind: whatever the text, it stays one literal.
func FuzzBind(f *testing.F) {
	for _, s := range []string{"", "a", "'", `\`, `\'`, `' OR Id != '`, "?", "%", "\n", "\x00", `\\'`, "é'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, arg := range []any{text, salesforceapp.Contains(text)} {
			got, err := soqlOf(t, "A ? B", arg)
			if err != nil {
				require.ErrorIs(t, err, providers.ErrInvalid)
				continue
			}
			inner, ok := strings.CutPrefix(got, "A '")
			require.True(t, ok)
			inner, ok = strings.CutSuffix(inner, "' B")
			require.True(t, ok)
			for i := 0; i < len(inner); i++ { // read as Salesforce does
				require.NotEqual(t, byte('\''), inner[i], got)
				if inner[i] == '\\' {
					i++
					require.Less(t, i, len(inner), got)
				}
			}
		}
	})
}

func TestQueryPages(t *testing.T) {
	next := "/services/data/v66.0/query/01gD0000002HU6KIAW-2000"
	page := func(id, next string, done string) answer {
		return answer{status: 200, body: `{"totalSize":3,"done":` + done + `,"nextRecordsUrl":"` + next + `","records":[{"Id":"` + id + `"}]}`}
	}
	collect := func(rec *recorder) (ids []string, err error) {
		for r, e := range salesforceapp.Query[struct{ ID string }](t.Context(), connect(t, rec), "SELECT Id FROM Contact") {
			if e != nil {
				return ids, e
			}
			ids = append(ids, r.ID)
		}
		return ids, nil
	}
	rec := answers(page("1", next, "false"), page("2", next+"x", "false"), page("3", "", "true"))
	ids, err := collect(rec)
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2", "3"}, ids)
	require.Equal(t, "https://acme.my.salesforce.com"+next, rec.sent[1].url)
	require.Equal(t, "https://acme.my.salesforce.com"+next+"x", rec.sent[2].url)

	// Nothing is read ahead.
	rec = answers(page("1", next, "false"))
	for r, err := range salesforceapp.Query[struct{ ID string }](t.Context(), connect(t, rec), "SELECT Id FROM Contact") {
		require.NoError(t, err)
		require.Equal(t, "1", r.ID)
		break
	}
	require.Len(t, rec.sent, 1)

	// Another place is not gone to, and the same page not twice.
	for _, bad := range []string{
		"", "https://evil.example/services/data/v66.0/query/1", "//evil.example/services/data/", "/services/data/../../x", "/services/apexrest/x", "query/1",
		"/services/data/v66.0/query/1?x=y", "/services/data/%2e%2e/x",
	} {
		rec := answers(page("1", bad, "false"))
		ids, err := collect(rec)
		require.Error(t, err, bad)
		require.Equal(t, []string{"1"}, ids)
		require.Len(t, rec.sent, 1, bad)
	}
	_, err = collect(answers(page("1", next, "false"), page("2", next, "false")))
	require.ErrorIs(t, err, providers.ErrTransient)

	gone := answer{status: 400, body: `[{"message":"invalid query locator","errorCode":"INVALID_QUERY_LOCATOR"}]`}
	ids, err = collect(answers(page("1", next, "false"), gone))
	require.ErrorIs(t, err, providers.ErrNotFound)
	var call *providers.CallError
	require.ErrorAs(t, err, &call)
	require.Equal(t, "INVALID_QUERY_LOCATOR", call.Code)
	require.Equal(t, []string{"1"}, ids)
}
