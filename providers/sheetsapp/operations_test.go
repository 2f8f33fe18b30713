package sheetsapp_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/stretchr/testify/require"
)

const (
	values = "https://sheets.googleapis.com/v4/spreadsheets/" + sheetID + "/values"
	bearer = "Bearer " + accessToken
	jsonIn = "application/json"
)

// unescaped is a URL with its query in the order of names, readable.
func unescaped(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	q, err := url.QueryUnescape(u.Query().Encode())
	require.NoError(t, err)
	return u.Host + u.Path + "?" + q
}

const spreadsheetAnswer = `{"spreadsheetId":"` + sheetID + `","properties":{"title":"Orders","locale":"de_DE","timeZone":"Europe/Berlin"},
	"sheets":[{"properties":{"sheetId":0,"title":"Data","index":0,"gridProperties":{"rowCount":1000,"columnCount":26}}},
	{"properties":{"sheetId":1234567890123,"title":"It's","index":1,"hidden":true}}],"spreadsheetUrl":"https://docs.google.com/spreadsheets/d/x/edit"}`

var wantSpreadsheet = sheetsapp.Spreadsheet{
	ID: sheetID, URL: "https://docs.google.com/spreadsheets/d/x/edit", Title: "Orders", Locale: "de_DE", TimeZone: "Europe/Berlin",
	Sheets: []sheetsapp.Sheet{{Title: "Data", Rows: 1000, Columns: 26}, {ID: 1234567890123, Title: "It's", Index: 1, Hidden: true}},
}

const fields = "fields=spreadsheetId,spreadsheetUrl,properties(title,locale,timeZone),sheets.properties(sheetId,title,index,hidden,gridProperties(rowCount,columnCount))"

func TestCreate(t *testing.T) {
	w, conn := answering(t, ok(spreadsheetAnswer))
	got, err := sheetsapp.Create(t.Context(), conn, "Orders", "Data", "It's")
	require.NoError(t, err)
	require.Equal(t, wantSpreadsheet, got)
	require.Len(t, w.sent, 1)
	require.Equal(t, "sheets.googleapis.com/v4/spreadsheets?"+fields, unescaped(t, w.sent[0].url))
	require.Equal(t, sent{
		"POST", w.sent[0].url, jsonIn, bearer,
		`{"properties":{"title":"Orders"},"sheets":[{"properties":{"title":"Data"}},{"properties":{"title":"It's"}}]}`,
	}, w.sent[0])
	_, err = sheetsapp.Create(t.Context(), conn, "Orders")
	require.NoError(t, err)
	require.Equal(t, `{"properties":{"title":"Orders"}}`, w.sent[1].body)
}

func TestGet(t *testing.T) {
	w, conn := answering(t, ok(spreadsheetAnswer))
	got, err := sheetsapp.Get(t.Context(), conn, sheetID)
	require.NoError(t, err)
	require.Equal(t, wantSpreadsheet, got)
	require.Equal(t, "sheets.googleapis.com/v4/spreadsheets/"+sheetID+"?"+fields, unescaped(t, w.sent[0].url))
	require.Equal(t, sent{"GET", w.sent[0].url, "", bearer, ""}, w.sent[0])
}

func TestRead(t *testing.T) {
	w, conn := answering(t, ok(`{"range":"'It''s: 100%/x?'!A1:B3","majorDimension":"ROWS","values":[["a",1.5],[],["",true]]}`))
	got, err := sheetsapp.Read(t.Context(), conn, sheetID, sheetsapp.Range{Sheet: "It's: 100%/x?", Cells: "A1:B3"}, nil)
	require.NoError(t, err)
	require.Equal(t, sheetsapp.Values{Range: "'It''s: 100%/x?'!A1:B3", Rows: [][]any{{"a", 1.5}, {}, {"", true}}}, got)
	require.Equal(t, []sent{{
		"GET", values + "/%27It%27%27s%3A%20100%25%2Fx%3F%27%21A1%3AB3?valueRenderOption=UNFORMATTED_VALUE", "", bearer, "",
	}}, w.sent)
	for render, want := range map[sheetsapp.Render]string{
		sheetsapp.Unformatted: "UNFORMATTED_VALUE", sheetsapp.Formatted: "FORMATTED_VALUE", sheetsapp.Formulas: "FORMULA",
	} {
		w.sent = nil
		_, err = sheetsapp.Read(t.Context(), conn, sheetID, sheetsapp.Range{Sheet: "A1"}, &sheetsapp.ReadOptions{Render: render})
		require.NoError(t, err)
		require.Equal(t, values+"/%27A1%27?valueRenderOption="+want, w.sent[0].url)
	}
	// An empty range has no values at all.
	_, conn = answering(t, ok(`{"range":"Data!A1:B2","majorDimension":"ROWS"}`))
	got, err = sheetsapp.Read(t.Context(), conn, sheetID, someCells, nil)
	require.NoError(t, err)
	require.Empty(t, got.Rows)
}

func TestBatchGet(t *testing.T) {
	w, conn := answering(t, ok(`{"spreadsheetId":"x","valueRanges":[{"range":"Data!A1","values":[["a"]]},{"range":"'B C'!A1:Z1000"}]}`))
	got, err := sheetsapp.BatchGet(t.Context(), conn, sheetID, []sheetsapp.Range{{Cells: "A1"}, {Sheet: "B C"}}, nil)
	require.NoError(t, err)
	require.Equal(t, []sheetsapp.Values{{Range: "Data!A1", Rows: [][]any{{"a"}}}, {Range: "'B C'!A1:Z1000"}}, got)
	require.Equal(t, []sent{{"GET", values + ":batchGet?ranges=A1&ranges=%27B+C%27&valueRenderOption=UNFORMATTED_VALUE", "", bearer, ""}}, w.sent)
}

const updatedAnswer = `{"spreadsheetId":"x","updatedRange":"Data!A1:B2","updatedRows":2,"updatedColumns":2,"updatedCells":3}`

var wantUpdated = sheetsapp.Updated{Range: "Data!A1:B2", Rows: 2, Columns: 2, Cells: 3}

func TestUpdate(t *testing.T) {
	w, conn := answering(t, ok(updatedAnswer))
	rows := [][]any{{"=1+1", 1}, {nil, true}}
	got, err := sheetsapp.Update(t.Context(), conn, sheetID, someCells, rows, nil)
	require.NoError(t, err)
	require.Equal(t, wantUpdated, got)
	_, err = sheetsapp.Update(t.Context(), conn, sheetID, someCells, rows, &sheetsapp.WriteOptions{Input: sheetsapp.UserEntered})
	require.NoError(t, err)
	at := values + "/%27Data%27%21A1%3AB2?valueInputOption="
	require.Equal(t, []sent{
		{"PUT", at + "RAW", jsonIn, bearer, `{"values":[["=1+1",1],[null,true]]}`},
		{"PUT", at + "USER_ENTERED", jsonIn, bearer, `{"values":[["'=1+1",1],[null,true]]}`},
	}, w.sent)
}

func TestAppend(t *testing.T) {
	w, conn := answering(t, ok(`{"spreadsheetId":"x","tableRange":"Data!A1:B9","updates":`+updatedAnswer+`}`))
	got, err := sheetsapp.Append(t.Context(), conn, sheetID, sheetsapp.Range{Sheet: "Data"}, [][]any{{"a"}}, nil)
	require.NoError(t, err)
	want := wantUpdated
	want.Table = "Data!A1:B9"
	require.Equal(t, want, got)
	require.Equal(t, []sent{{
		"POST", values + "/%27Data%27:append?insertDataOption=INSERT_ROWS&valueInputOption=RAW", jsonIn, bearer, `{"values":[["a"]]}`,
	}}, w.sent)
}

func TestBatchUpdate(t *testing.T) {
	w, conn := answering(t, ok(`{"spreadsheetId":"x","totalUpdatedCells":4,"responses":[`+updatedAnswer+`,{"updatedRange":"Data!D1","updatedCells":1}]}`))
	got, err := sheetsapp.BatchUpdate(t.Context(), conn, sheetID, []sheetsapp.Block{
		{Range: someCells, Rows: [][]any{{"a", 1}, {2}}}, {Range: sheetsapp.Range{Cells: "D1"}, Rows: [][]any{{sheetsapp.Formula("=A1")}}},
	}, &sheetsapp.WriteOptions{Input: sheetsapp.UserEntered})
	require.NoError(t, err)
	require.Equal(t, []sheetsapp.Updated{wantUpdated, {Range: "Data!D1", Cells: 1}}, got)
	require.Equal(t, []sent{{
		"POST", values + ":batchUpdate", jsonIn, bearer,
		`{"valueInputOption":"USER_ENTERED","data":[{"range":"'Data'!A1:B2","values":[["a",1],[2]]},{"range":"D1","values":[["=A1"]]}]}`,
	}}, w.sent)
	_, err = sheetsapp.BatchUpdate(t.Context(), conn, sheetID, []sheetsapp.Block{
		{Range: someCells, Rows: [][]any{{1}}}, {Range: someCells, Rows: [][]any{{1, struct{}{}}}},
	}, nil)
	require.ErrorIs(t, err, providers.ErrInvalid)
	require.ErrorContains(t, err, "block 2: ")
	require.ErrorContains(t, err, "row 1, column 2")
	require.Len(t, w.sent, 1)
}

func TestClear(t *testing.T) {
	w, conn := answering(t, ok(`{"spreadsheetId":"x","clearedRanges":["Data!A1:B2","Data!D1:D1000"]}`))
	got, err := sheetsapp.Clear(t.Context(), conn, sheetID, someCells, sheetsapp.Range{Cells: "D:D"})
	require.NoError(t, err)
	require.Equal(t, []string{"Data!A1:B2", "Data!D1:D1000"}, got)
	require.Equal(t, []sent{{"POST", values + ":batchClear", jsonIn, bearer, `{"ranges":["'Data'!A1:B2","D:D"]}`}}, w.sent)
}

func TestDo(t *testing.T) {
	w, conn := answering(t, ok(`{"replies":[{}]}`))
	var out struct{ Replies []any }
	ans, err := sheetsapp.Do(t.Context(), conn, providers.APICall{
		Method: "POST", URL: "https://sheets.googleapis.com/v4/spreadsheets/" + sheetID + ":batchUpdate", In: map[string]any{"requests": []any{}}, Out: &out,
	})
	require.NoError(t, err)
	require.Equal(t, 200, ans.Status)
	require.Len(t, out.Replies, 1)
	require.Equal(t, []sent{{"POST", "https://sheets.googleapis.com/v4/spreadsheets/" + sheetID + ":batchUpdate", jsonIn, bearer, `{"requests":[]}`}}, w.sent)
}

// TestBadArguments: nothing goes out for what is not of the right form.
func TestBadArguments(t *testing.T) {
	w, conn := answering(t)
	ctx := t.Context()
	one := [][]any{{1}}
	refused := func(what string, err error) {
		t.Helper()
		require.ErrorIs(t, err, providers.ErrInvalid, what)
	}
	for _, id := range []string{
		"", "a/b", "..", "a?b", "a#b", "a:append", "a%2Fb", "a b", "a\x00", "a\n", "é", strings.Repeat("a", 129),
		"https://docs.google.com/spreadsheets/d/1/edit",
	} {
		what := fmt.Sprintf("id %q", id)
		_, err := sheetsapp.Get(ctx, conn, id)
		refused(what, err)
		_, err = sheetsapp.Read(ctx, conn, id, someCells, nil)
		refused(what, err)
		_, err = sheetsapp.Update(ctx, conn, id, someCells, one, nil)
		refused(what, err)
		_, err = sheetsapp.Append(ctx, conn, id, someCells, one, nil)
		refused(what, err)
		_, err = sheetsapp.BatchGet(ctx, conn, id, []sheetsapp.Range{someCells}, nil)
		refused(what, err)
		_, err = sheetsapp.BatchUpdate(ctx, conn, id, []sheetsapp.Block{{Range: someCells, Rows: one}}, nil)
		refused(what, err)
		_, err = sheetsapp.Clear(ctx, conn, id, someCells)
		refused(what, err)
		_, err = sheetsapp.WatchFile(ctx, conn, id)
		refused(what, err)
	}
	for _, r := range []sheetsapp.Range{
		{}, {Cells: "A"}, {Cells: "1"}, {Cells: "A1:B2:clear"}, {Cells: "A1!B2"}, {Cells: "A1:B2?x=1"}, {Cells: "A0"}, {Cells: "AAAA1"}, {Cells: "A10000001"},
		{Cells: "B2:A3"}, {Cells: "A3:B2"}, {Cells: "A:5"}, {Cells: "5:A"}, {Cells: ":B2"}, {Cells: "A1:"}, {Cells: "$A$1"}, {Cells: "R1C1"}, {Cells: "MyRange"},
		{Cells: "A１"}, {Cells: "A1 "}, {Cells: "'x'!A1"}, {Cells: "A-1"}, {Sheet: "a\nb"}, {Sheet: "a\x00"}, {Sheet: "\xff"}, {Sheet: strings.Repeat("a", 401)},
	} {
		what := fmt.Sprintf("%#v", r)
		refused(what, r.Check())
		_, err := sheetsapp.Read(ctx, conn, sheetID, r, nil)
		refused(what, err)
		_, err = sheetsapp.Update(ctx, conn, sheetID, r, one, nil)
		refused(what, err)
		_, err = sheetsapp.Append(ctx, conn, sheetID, r, one, nil)
		refused(what, err)
		_, err = sheetsapp.BatchGet(ctx, conn, sheetID, []sheetsapp.Range{someCells, r}, nil)
		refused(what, err)
		_, err = sheetsapp.BatchUpdate(ctx, conn, sheetID, []sheetsapp.Block{{Range: r, Rows: one}}, nil)
		refused(what, err)
		_, err = sheetsapp.Clear(ctx, conn, sheetID, r)
		refused(what, err)
	}
	many := make([]sheetsapp.Range, 101)
	blocks := make([]sheetsapp.Block, 101)
	for i := range many {
		many[i], blocks[i] = someCells, sheetsapp.Block{Range: someCells, Rows: one}
	}
	for _, n := range []int{0, 101} {
		_, err := sheetsapp.BatchGet(ctx, conn, sheetID, many[:n], nil)
		refused("ranges", err)
		_, err = sheetsapp.Clear(ctx, conn, sheetID, many[:n]...)
		refused("ranges", err)
		_, err = sheetsapp.BatchUpdate(ctx, conn, sheetID, blocks[:n], nil)
		refused("blocks", err)
	}
	_, err := sheetsapp.Update(ctx, conn, sheetID, someCells, nil, nil)
	refused("no rows", err)
	_, err = sheetsapp.Update(ctx, conn, sheetID, someCells, one, &sheetsapp.WriteOptions{Input: 7})
	refused("input", err)
	for _, sheets := range [][]string{{""}, {"a", "a"}, {"a\nb"}} {
		_, err = sheetsapp.Create(ctx, conn, "T", sheets...)
		refused("sheets", err)
	}
	for _, title := range []string{"", "\xff"} {
		_, err = sheetsapp.Create(ctx, conn, title)
		refused("title", err)
	}
	require.Empty(t, w.sent)
}
