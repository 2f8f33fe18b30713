package sheetsapp_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/stretchr/testify/require"
)

type status string

func ptr[T any](v T) *T { return &v }

// written is the JSON of one cell as it goes out.
func written(t *testing.T, v any, in sheetsapp.Input) (string, error) {
	t.Helper()
	w, conn := answering(t, ok("{}"))
	_, err := sheetsapp.Update(t.Context(), conn, sheetID, someCells, [][]any{{v}}, &sheetsapp.WriteOptions{Input: in})
	if err != nil {
		require.Empty(t, w.sent)
		return "", err
	}
	var body struct{ Values [][]json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(w.sent[0].body), &body))
	return string(body.Values[0][0]), nil
}

func TestCells(t *testing.T) {
	at := time.Date(2026, 11, 25, 13, 4, 5, 600_000_000, time.FixedZone("", 3600))
	for name, c := range map[string]struct {
		v          any
		raw, typed string
	}{
		"nil":           {nil, `null`, `null`},
		"text":          {"a \"b\"", `"a \"b\""`, `"a \"b\""`},
		"empty":         {"", `""`, `""`},
		"named text":    {status("open"), `"open"`, `"open"`},
		"true":          {true, `true`, `true`},
		"int":           {-7, `-7`, `-7`},
		"int64":         {int64(1 << 53), `9007199254740992`, `9007199254740992`},
		"uint8":         {uint8(255), `255`, `255`},
		"float":         {0.1, `0.1`, `0.1`},
		"float32":       {float32(0.1), `0.1`, `0.1`},
		"time":          {at, `"2026-11-25T13:04:05.6+01:00"`, `"2026-11-25 13:04:05"`},
		"pointer":       {ptr("x"), `"x"`, `"x"`},
		"time pointer":  {&at, `"2026-11-25T13:04:05.6+01:00"`, `"2026-11-25 13:04:05"`},
		"nil pointer":   {(*string)(nil), `null`, `null`},
		"equals":        {"=HYPERLINK(\"http://evil\")", `"=HYPERLINK(\"http://evil\")"`, `"'=HYPERLINK(\"http://evil\")"`},
		"plus":          {"+1", `"+1"`, `"'+1"`},
		"minus":         {"-1", `"-1"`, `"'-1"`},
		"at":            {"@SUM(1)", `"@SUM(1)"`, `"'@SUM(1)"`},
		"tab":           {"\tx", `"\tx"`, `"'\tx"`},
		"return":        {"\rx", `"\rx"`, `"'\rx"`},
		"line":          {"\n=1", `"\n=1"`, `"'\n=1"`},
		"space":         {" =1", `" =1"`, `"' =1"`},
		"no-break":      {"\u00a0=1", "\"\u00a0=1\"", "\"'\u00a0=1\""},
		"zero width":    {"\u200b=1", "\"\u200b=1\"", "\"'\u200b=1\""},
		"byte order":    {"\ufeff +1", "\"\ufeff +1\"", "\"'\ufeff +1\""},
		"full width":    {"＝1", `"＝1"`, `"'＝1"`},
		"apostrophe":    {"'x", `"'x"`, `"''x"`},
		"named formula": {status("=1"), `"=1"`, `"'=1"`},
		"later":         {"a=1", `"a=1"`, `"a=1"`},
		"date":          {"2026-11-25", `"2026-11-25"`, `"2026-11-25"`},
	} {
		for in, want := range map[sheetsapp.Input]string{sheetsapp.Raw: c.raw, sheetsapp.UserEntered: c.typed} {
			got, err := written(t, c.v, in)
			require.NoError(t, err, name)
			require.JSONEq(t, want, got, name)
		}
	}
	got, err := written(t, sheetsapp.Formula("=SUM(A1:A9)"), sheetsapp.UserEntered)
	require.NoError(t, err)
	require.Equal(t, `"=SUM(A1:A9)"`, got)
}

func TestCellsThatCannotBeWritten(t *testing.T) {
	for name, v := range map[string]any{
		"struct": struct{}{}, "slice": []string{"a"}, "map": map[string]any{}, "bytes": []byte("a"), "func": func() {}, "complex": 1i,
		"nan": math.NaN(), "inf": math.Inf(1), "float32 inf": float32(math.Inf(-1)), "int64": int64(1<<53 + 1), "negative": int64(-1<<53 - 1),
		"uint64": uint64(math.MaxUint64), "utf-8": "a\xff", "pointer to pointer": ptr(ptr("a")), "pointer to struct": &struct{}{}, "channel": make(chan int),
		"formula without =": sheetsapp.Formula("SUM(A1)"), "formula not utf-8": sheetsapp.Formula("=\xff"),
	} {
		_, err := written(t, v, sheetsapp.UserEntered)
		require.ErrorIs(t, err, providers.ErrInvalid, name)
		var cell *sheetsapp.CellError
		require.ErrorAs(t, err, &cell, name)
		require.Equal(t, 1, cell.Row, name)
	}
	_, err := written(t, sheetsapp.Formula("=1"), sheetsapp.Raw)
	require.ErrorContains(t, err, "UserEntered")

	w, conn := answering(t)
	_, err = sheetsapp.Append(t.Context(), conn, sheetID, someCells, [][]any{{1}, {"a", "b", []int{1}}}, nil)
	var cell *sheetsapp.CellError
	require.ErrorAs(t, err, &cell)
	require.Equal(t, [2]int{2, 3}, [2]int{cell.Row, cell.Column})
	require.ErrorContains(t, err, "row 2, column 3: type []int cannot be written")
	require.Empty(t, w.sent)
}
