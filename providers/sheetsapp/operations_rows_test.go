package sheetsapp_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/stretchr/testify/require"
)

type order struct {
	ID      string     `sheet:"Order ID"`
	Total   float64    `sheet:"Total"`
	Pieces  int16      `sheet:"Pieces"`
	Paid    bool       `sheet:"Paid"`
	Placed  time.Time  `sheet:"Placed"`
	Shipped *time.Time `sheet:"Shipped,optional"`
	Rebate  *uint      `sheet:"Rebate, in %,optional"`
	State   status     `sheet:"State,optional"`
	Extra   any        `sheet:"Extra,optional"`
	Ignored string
	Skipped string `sheet:"-"`
	private string
}

var orders = sheetsapp.Range{Sheet: "Orders"}

func TestReadRows(t *testing.T) {
	_ = order{}.private
	w, conn := answering(t, ok(`{"range":"Orders!A1:Z1000","values":[
		["Notes"," Order ID ","Total","Pieces","Paid","Placed","Shipped","Rebate, in %","State","Extra"],
		["n","A-1",12.5,3,true,"2026-11-25T13:04:05.6+01:00",46351.5,5,"open",true],
		["","",""],
		[],
		["",1234567890123," 7.25 ","3","FALSE",46351,"2026-11-25","","",1.5],
		["only a note"]]}`))
	got, err := sheetsapp.ReadRows[order](t.Context(), conn, sheetID, orders, nil)
	require.NoError(t, err)
	require.Len(t, w.sent, 1)
	require.Equal(t, values+"/%27Orders%27?valueRenderOption=UNFORMATTED_VALUE", w.sent[0].url)
	require.Len(t, got, 3)
	require.Equal(t, "2026-11-25T13:04:05.6+01:00", got[0].Placed.Format(time.RFC3339Nano))
	got[0].Placed = time.Time{}
	noon, midnight := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	require.Equal(t, []order{
		{ID: "A-1", Total: 12.5, Pieces: 3, Paid: true, Shipped: &noon, Rebate: ptr(uint(5)), State: "open", Extra: true},
		{ID: "1234567890123", Total: 7.25, Pieces: 3, Placed: midnight, Shipped: &midnight, Extra: 1.5},
		{},
	}, got)
}

func TestReadRowsOfCells(t *testing.T) {
	type one[T any] struct {
		V T `sheet:"V"`
	}
	read := func(cell string) *providers.Connection {
		_, conn := answering(t, ok(`{"values":[["V"],[`+cell+`]]}`))
		return conn
	}
	for _, cell := range []string{`1.5`, `"x"`, `true`, `40000`, `-40000`, `"1e3"`} {
		_, err := sheetsapp.ReadRows[one[int16]](t.Context(), read(cell), sheetID, orders, nil)
		var e *sheetsapp.CellError
		require.ErrorAs(t, err, &e, cell)
		require.Equal(t, sheetsapp.CellError{Row: 2, Column: 1, Name: "V", Problem: "not a whole number of the field's size"}, *e)
		require.ErrorIs(t, err, providers.ErrInvalid)
		require.Equal(t, `integrations: invalid request: row 2, column "V": not a whole number of the field's size`, err.Error())
	}
	for _, cell := range []string{`-1`, `256`, `"x"`} {
		_, err := sheetsapp.ReadRows[one[uint8]](t.Context(), read(cell), sheetID, orders, nil)
		require.ErrorIs(t, err, providers.ErrInvalid, cell)
	}
	for _, cell := range []string{`"x"`, `"NaN"`, `"Inf"`, `1e300`} {
		_, err := sheetsapp.ReadRows[one[float32]](t.Context(), read(cell), sheetID, orders, nil)
		require.ErrorIs(t, err, providers.ErrInvalid, cell)
	}
	for _, cell := range []string{`"yes"`, `1`} {
		_, err := sheetsapp.ReadRows[one[bool]](t.Context(), read(cell), sheetID, orders, nil)
		require.ErrorIs(t, err, providers.ErrInvalid, cell)
	}
	for _, cell := range []string{`"yesterday"`, `true`, `-1`, `2958466`} {
		_, err := sheetsapp.ReadRows[one[*time.Time]](t.Context(), read(cell), sheetID, orders, nil)
		require.ErrorIs(t, err, providers.ErrInvalid, cell)
	}
	got, err := sheetsapp.ReadRows[one[string]](t.Context(), read(`false`), sheetID, orders, nil)
	require.NoError(t, err)
	require.Equal(t, "FALSE", got[0].V)
	moment, err := sheetsapp.ReadRows[one[time.Time]](t.Context(), read(`"2026-11-25 13:04:05"`), sheetID, orders, nil)
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 11, 25, 13, 4, 5, 0, time.UTC), moment[0].V)
}

func TestHeaders(t *testing.T) {
	type row struct {
		A string `sheet:"A"`
		B string `sheet:"B"`
		C string `sheet:"C,optional"`
	}
	strict := &sheetsapp.RowOptions{Strict: true}
	for name, c := range map[string]struct {
		header string
		opts   *sheetsapp.RowOptions
		want   *sheetsapp.HeaderError
	}{
		"as it is":        {`["A","B","C"]`, strict, nil},
		"another order":   {`["B","A"]`, strict, nil},
		"gaps":            {`["","A","","B"]`, strict, nil},
		"more":            {`["A","B","D","D"]`, nil, nil},
		"more, strictly":  {`["A","B","D","D"]`, strict, &sheetsapp.HeaderError{Unknown: []string{"D", "D"}}},
		"missing":         {`["A"]`, nil, &sheetsapp.HeaderError{Missing: []string{"B"}}},
		"another case":    {`["a","b"]`, nil, &sheetsapp.HeaderError{Missing: []string{"A", "B"}}},
		"twice":           {`["A","B","A","A"]`, nil, &sheetsapp.HeaderError{Duplicate: []string{"A"}}},
		"optional twice":  {`["A","B","C"," C"]`, nil, &sheetsapp.HeaderError{Duplicate: []string{"C"}}},
		"everything":      {`["A","A","D"]`, strict, &sheetsapp.HeaderError{Missing: []string{"B"}, Unknown: []string{"D"}, Duplicate: []string{"A"}}},
		"an empty header": {`[]`, nil, &sheetsapp.HeaderError{Missing: []string{"A", "B"}}},
	} {
		w, conn := answering(t, ok(`{"values":[`+c.header+`]}`), ok(`{"updates":{}}`))
		_, readErr := sheetsapp.ReadRows[row](t.Context(), conn, sheetID, orders, c.opts)
		_, conn = answering(t, ok(`{"values":[`+c.header+`]}`), ok(`{"updates":{}}`))
		_, appendErr := sheetsapp.AppendRows(t.Context(), conn, sheetID, orders, []row{{}}, c.opts)
		for _, err := range []error{readErr, appendErr} {
			if c.want == nil {
				require.NoError(t, err, name)
				continue
			}
			var e *sheetsapp.HeaderError
			require.ErrorAs(t, err, &e, name)
			require.Equal(t, c.want, e, name)
			require.ErrorIs(t, err, providers.ErrInvalid, name)
		}
		require.Len(t, w.sent, 1, name)
	}
	// No table at all.
	_, conn := answering(t, ok(`{"range":"Orders!A1:Z1"}`))
	_, err := sheetsapp.ReadRows[row](t.Context(), conn, sheetID, orders, nil)
	require.ErrorIs(t, err, providers.ErrInvalid)
	type loose struct {
		A string `sheet:"A,optional"`
	}
	_, err = sheetsapp.AppendRows(t.Context(), conn, sheetID, orders, []loose{{"x"}}, nil)
	require.ErrorIs(t, err, providers.ErrInvalid)
}

func TestAppendRows(t *testing.T) {
	at := time.Date(2026, 11, 25, 13, 4, 5, 0, time.UTC)
	rows := []order{{ID: "=A", Total: 1.5, Pieces: -2, Paid: true, Placed: at, Rebate: ptr(uint(7))}, {ID: "B"}}
	header := ok(`{"range":"x","values":[["","Order ID","Notes","Total","Pieces","Paid","Placed","Shipped","Rebate, in %"]]}`)
	done := func(column string) answer {
		return ok(`{"tableRange":"Orders!` + column + `1:I9","updates":{"updatedRange":"'It''s'!` + column + `10:I11","updatedCells":3}}`)
	}
	for name, c := range map[string]struct {
		at                  sheetsapp.Range
		head, table, column string
	}{
		"a sheet": {orders, "%27Orders%27%211%3A1", "%27Orders%27%21B1", "B"},
		"columns": {sheetsapp.Range{Cells: "C:Z"}, "C1%3AZ1", "D1", "D"},
		"a block": {sheetsapp.Range{Sheet: "O", Cells: "C5:Z90"}, "%27O%27%21C5%3AZ5", "%27O%27%21D5", "D"},
		"rows":    {sheetsapp.Range{Sheet: "O", Cells: "5:9"}, "%27O%27%215%3A5", "%27O%27%21B5", "B"},
		"to rows": {sheetsapp.Range{Sheet: "O", Cells: "Z5:9"}, "%27O%27%21Z5%3A5", "%27O%27%21AA5", "AA"},
	} {
		t.Run(name, func(t *testing.T) {
			w, conn := answering(t, header, done(c.column))
			got, err := sheetsapp.AppendRows(t.Context(), conn, sheetID, c.at, rows, nil)
			require.NoError(t, err)
			require.Equal(t, "Orders!"+c.column+"1:I9", got.Table)
			require.Equal(t, []sent{
				{"GET", values + "/" + c.head + "?valueRenderOption=UNFORMATTED_VALUE", "", bearer, ""},
				{
					"POST", values + "/" + c.table + ":append?insertDataOption=INSERT_ROWS&valueInputOption=RAW", jsonIn, bearer,
					`{"values":[["=A",null,1.5,-2,true,"2026-11-25T13:04:05Z",null,7],["B",null,0,0,false,null,null,null]]}`,
				},
			}, w.sent)
		})
	}
	w, conn := answering(t, header, done("B"))
	_, err := sheetsapp.AppendRows(t.Context(), conn, sheetID, orders, rows[:1], &sheetsapp.RowOptions{Input: sheetsapp.UserEntered})
	require.NoError(t, err)
	require.Equal(t, `{"values":[["'=A",null,1.5,-2,true,"2026-11-25 13:04:05",null,7]]}`, w.sent[1].body)
	// Something stands beside the table, and Sheets takes both for one.
	_, conn = answering(t, header, done("A"))
	got, err := sheetsapp.AppendRows(t.Context(), conn, sheetID, orders, rows, nil)
	require.ErrorIs(t, err, providers.ErrConflict)
	require.Equal(t, "'It''s'!A10:I11", got.Range)
}

func TestDatesOfASpreadsheet(t *testing.T) {
	type row struct {
		At time.Time `sheet:"At"`
	}
	_, conn := answering(t, ok(`{"values":[["At"],[2.5],[33.625],[46351.544502314814]]}`))
	got, err := sheetsapp.ReadRows[row](t.Context(), conn, sheetID, orders, nil)
	require.NoError(t, err)
	require.Equal(t, []row{
		{time.Date(1900, 1, 1, 12, 0, 0, 0, time.UTC)}, // Google's own examples
		{time.Date(1900, 2, 1, 15, 0, 0, 0, time.UTC)},
		{time.Date(2026, 11, 25, 13, 4, 5, 0, time.UTC)},
	}, got)
}

func TestRowsThatCannotBe(t *testing.T) {
	type noTags struct{ A string }
	type slice struct {
		A []string `sheet:"A"`
	}
	type nested struct {
		A struct{ B string } `sheet:"A"`
	}
	type pointers struct {
		A **string `sheet:"A"`
	}
	type stringer struct {
		A fmt.Stringer `sheet:"A"`
	}
	type hidden struct {
		a string `sheet:"A"`
	}
	type twice struct {
		A string `sheet:"X"`
		B string `sheet:" X ,optional"`
	}
	type unnamed struct {
		A string `sheet:",optional"`
	}
	_ = hidden{}.a
	w, conn := answering(t)
	ctx := t.Context()
	for name, err := range map[string]error{
		"no tags":     second(sheetsapp.ReadRows[noTags](ctx, conn, sheetID, orders, nil)),
		"slice":       second(sheetsapp.ReadRows[slice](ctx, conn, sheetID, orders, nil)),
		"nested":      second(sheetsapp.ReadRows[nested](ctx, conn, sheetID, orders, nil)),
		"pointers":    second(sheetsapp.ReadRows[pointers](ctx, conn, sheetID, orders, nil)),
		"interface":   second(sheetsapp.ReadRows[stringer](ctx, conn, sheetID, orders, nil)),
		"hidden":      second(sheetsapp.ReadRows[hidden](ctx, conn, sheetID, orders, nil)),
		"twice":       second(sheetsapp.ReadRows[twice](ctx, conn, sheetID, orders, nil)),
		"unnamed":     second(sheetsapp.ReadRows[unnamed](ctx, conn, sheetID, orders, nil)),
		"no struct":   second(sheetsapp.ReadRows[string](ctx, conn, sheetID, orders, nil)),
		"a pointer":   second(sheetsapp.ReadRows[*order](ctx, conn, sheetID, orders, nil)),
		"a time":      second(sheetsapp.ReadRows[time.Time](ctx, conn, sheetID, orders, nil)),
		"append":      second(sheetsapp.AppendRows(ctx, conn, sheetID, orders, []slice{{}}, nil)),
		"no rows":     second(sheetsapp.AppendRows(ctx, conn, sheetID, orders, []order{}, nil)),
		"bad range":   second(sheetsapp.AppendRows(ctx, conn, sheetID, sheetsapp.Range{Cells: "x"}, []order{{}}, nil)),
		"bad id":      second(sheetsapp.AppendRows(ctx, conn, "a/b", orders, []order{{}}, nil)),
		"bad any":     second(sheetsapp.AppendRows(ctx, conn, sheetID, orders, []order{{}, {Extra: []int{1}}}, nil)),
		"bad text":    second(sheetsapp.AppendRows(ctx, conn, sheetID, orders, []order{{ID: "\xff"}}, nil)),
		"bad input":   second(sheetsapp.AppendRows(ctx, conn, sheetID, orders, []order{{}}, &sheetsapp.RowOptions{Input: 9})),
		"bad id read": second(sheetsapp.ReadRows[order](ctx, conn, "a/b", orders, nil)),
	} {
		require.ErrorIs(t, err, providers.ErrInvalid, name)
	}
	require.Empty(t, w.sent)
	err := second(sheetsapp.AppendRows(ctx, conn, sheetID, orders, []order{{}, {Extra: []int{1}}}, nil))
	require.ErrorContains(t, err, `row 2, column "Extra": type []int cannot be written`)
}

func second[T any](_ T, err error) error { return err }
