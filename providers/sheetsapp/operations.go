package sheetsapp

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"unicode/utf8"

	"github.com/saas-integrations/integrations/providers"
)

// maxRanges bounds the ranges of one batch. It is this package's own: many more
// make URLs that are refused.
const maxRanges = 100

// Spreadsheet is what Sheets tells about a spreadsheet.
type Spreadsheet struct {
	// ID names the spreadsheet in all operations, URL opens it in a browser.
	ID, URL string
	Title   string
	// Locale and TimeZone decide how typed values are read and dates are meant.
	Locale, TimeZone string
	Sheets           []Sheet
}

// Sheet is one sheet (tab) of a spreadsheet.
type Sheet struct {
	// ID is what addresses call gid.
	ID    int64
	Title string
	// Index counts from 0.
	Index  int
	Hidden bool
	// Rows and Columns are the size of the grid, empty cells among them; 0 for a
	// sheet without one, such as a chart.
	Rows, Columns int
}

// spreadsheetFields keeps cells and formats out of answers.
const spreadsheetFields = "spreadsheetId,spreadsheetUrl,properties(title,locale,timeZone)," +
	"sheets.properties(sheetId,title,index,hidden,gridProperties(rowCount,columnCount))"

type spreadsheetAnswer struct {
	SpreadsheetID  string `json:"spreadsheetId"`
	SpreadsheetURL string `json:"spreadsheetUrl"`
	Properties     struct {
		Title    string `json:"title"`
		Locale   string `json:"locale"`
		TimeZone string `json:"timeZone"`
	} `json:"properties"`
	Sheets []struct {
		Properties struct {
			SheetID        int64  `json:"sheetId"`
			Title          string `json:"title"`
			Index          int    `json:"index"`
			Hidden         bool   `json:"hidden"`
			GridProperties struct {
				RowCount    int `json:"rowCount"`
				ColumnCount int `json:"columnCount"`
			} `json:"gridProperties"`
		} `json:"properties"`
	} `json:"sheets"`
}

func (a spreadsheetAnswer) spreadsheet() Spreadsheet {
	s := Spreadsheet{
		ID: a.SpreadsheetID, URL: a.SpreadsheetURL, Title: a.Properties.Title,
		Locale: a.Properties.Locale, TimeZone: a.Properties.TimeZone,
	}
	for _, one := range a.Sheets {
		p := one.Properties
		s.Sheets = append(s.Sheets, Sheet{
			ID: p.SheetID, Title: p.Title, Index: p.Index, Hidden: p.Hidden,
			Rows: p.GridProperties.RowCount, Columns: p.GridProperties.ColumnCount,
		})
	}
	return s
}

// Create makes a spreadsheet in the user's Drive with sheets of the given names,
// or with one of Google's naming. A lost answer is providers.ErrTransient, and the
// spreadsheet may be there: calling again makes another one.
//
// The errors of all operations are those of [Do]. What is wrong with the arguments
// is an error wrapping providers.ErrInvalid and nothing is sent, nor is anything
// sent when the integration lacks the scope.
func Create(ctx context.Context, conn *providers.Connection, title string, sheets ...string) (Spreadsheet, error) {
	if title == "" || !utf8.ValidString(title) {
		return Spreadsheet{}, invalid("a spreadsheet needs a title")
	}
	type properties struct {
		Title string `json:"title"`
	}
	type sheet struct {
		Properties properties `json:"properties"`
	}
	in := struct {
		Properties properties `json:"properties"`
		Sheets     []sheet    `json:"sheets,omitempty"`
	}{Properties: properties{title}}
	seen := map[string]bool{}
	for _, name := range sheets {
		if err := (Range{Sheet: name}).Check(); err != nil {
			return Spreadsheet{}, err
		}
		if seen[name] {
			return Spreadsheet{}, invalid("two sheets of one name")
		}
		seen[name] = true
		in.Sheets = append(in.Sheets, sheet{properties{name}})
	}
	var ans spreadsheetAnswer
	err := call(ctx, conn, writing, providers.APICall{
		Method: http.MethodPost, URL: sheetsURL + "?" + url.Values{"fields": {spreadsheetFields}}.Encode(), In: in, Out: &ans,
	})
	if err != nil {
		return Spreadsheet{}, err
	}
	return ans.spreadsheet(), nil
}

// Get tells about a spreadsheet and its sheets, without their cells.
func Get(ctx context.Context, conn *providers.Connection, spreadsheetID string) (Spreadsheet, error) {
	if err := checkID(spreadsheetID); err != nil {
		return Spreadsheet{}, err
	}
	var ans spreadsheetAnswer
	err := call(ctx, conn, reading, providers.APICall{
		URL: sheetsURL + "/" + spreadsheetID + "?" + url.Values{"fields": {spreadsheetFields}}.Encode(), Out: &ans,
	})
	if err != nil {
		return Spreadsheet{}, err
	}
	return ans.spreadsheet(), nil
}

// Render is how Sheets writes values that are read.
type Render int

const (
	// Unformatted gives numbers as float64, truth values as bool and everything
	// else as string. Dates are numbers: days since 30 December 1899. This is the
	// default.
	Unformatted Render = iota
	// Formatted gives all values as strings, as people see them.
	Formatted
	// Formulas gives formulas in place of their values.
	Formulas
)

// ReadOptions are options of [Read] and [BatchGet]. Nil means the defaults.
type ReadOptions struct {
	// Render defaults to Unformatted.
	Render Render
}

func (o *ReadOptions) query() url.Values {
	q := url.Values{"valueRenderOption": {"UNFORMATTED_VALUE"}}
	switch {
	case o == nil:
	case o.Render == Formatted:
		q.Set("valueRenderOption", "FORMATTED_VALUE")
	case o.Render == Formulas:
		q.Set("valueRenderOption", "FORMULA")
	}
	return q
}

// Values are the cells of a range that was read.
type Values struct {
	// Range is what was read, in A1 notation.
	Range string `json:"range"`
	// Rows are of different lengths: empty cells at the end of a row and empty rows
	// at the end are left out. Other empty cells are "".
	Rows [][]any `json:"values"`
}

// Read reads a range.
func Read(ctx context.Context, conn *providers.Connection, spreadsheetID string, r Range, opts *ReadOptions) (Values, error) {
	at, err := valuesURL(spreadsheetID, r)
	if err != nil {
		return Values{}, err
	}
	var out Values
	err = call(ctx, conn, reading, providers.APICall{URL: at + "?" + opts.query().Encode(), Out: &out})
	return out, err
}

// BatchGet reads up to 100 ranges, whose values it returns in the same order. It
// counts as one read.
func BatchGet(ctx context.Context, conn *providers.Connection, spreadsheetID string, ranges []Range, opts *ReadOptions) ([]Values, error) {
	names, err := rangeNames(spreadsheetID, ranges)
	if err != nil {
		return nil, err
	}
	q := opts.query()
	q["ranges"] = names
	var ans struct {
		ValueRanges []Values `json:"valueRanges"`
	}
	err = call(ctx, conn, reading, providers.APICall{URL: batchURL(spreadsheetID, "batchGet") + "?" + q.Encode(), Out: &ans})
	return ans.ValueRanges, err
}

// WriteOptions are options of [Update], [Append] and [BatchUpdate]. Nil means the
// defaults.
type WriteOptions struct {
	// Input defaults to Raw.
	Input Input
}

func (o *WriteOptions) input() Input {
	if o == nil {
		return Raw
	}
	return o.Input
}

// Updated is what a write changed.
type Updated struct {
	// Range is where values were written, in A1 notation.
	Range string `json:"updatedRange"`
	// Table is the table that [Append] found, before it grew; "" when there was
	// none.
	Table   string `json:"-"`
	Rows    int    `json:"updatedRows"`
	Columns int    `json:"updatedColumns"`
	Cells   int    `json:"updatedCells"`
}

// Update writes rows into a range. A cell is a string, a bool, a number of any
// kind, a time.Time, a [Formula], or a pointer to one of them; nil leaves the cell
// as it is and "" empties it. A time is written as RFC 3339 with [Raw], and with
// [UserEntered] as "2006-01-02 15:04:05" in its own zone. A whole number must be
// below 2⁵³. Anything else is a [*CellError].
//
// Writing the same once more changes nothing, so a call whose answer was lost may
// be repeated.
func Update(ctx context.Context, conn *providers.Connection, spreadsheetID string, r Range, rows [][]any, opts *WriteOptions) (Updated, error) {
	at, err := valuesURL(spreadsheetID, r)
	if err != nil {
		return Updated{}, err
	}
	cells, err := encodeRows(rows, opts.input())
	if err != nil {
		return Updated{}, err
	}
	var out Updated
	err = call(ctx, conn, writing, providers.APICall{
		Method: http.MethodPut, URL: at + "?valueInputOption=" + opts.input().param(), In: body{Values: cells}, Out: &out,
	})
	return out, err
}

// body is a ValueRange as it is sent.
type body struct {
	Range  string  `json:"range,omitempty"`
	Values [][]any `json:"values"`
}

// Append adds rows below the table that begins in a range; see [Update] for the
// cells. Rows are inserted, so nothing below the table is overwritten.
//
// It is not repeated when its answer is lost, and neither Sheets nor this package
// can tell whether it was done: the error wraps providers.ErrTransient. Look for
// what was to be written before calling again, or the rows may be there twice.
func Append(ctx context.Context, conn *providers.Connection, spreadsheetID string, r Range, rows [][]any, opts *WriteOptions) (Updated, error) {
	at, err := valuesURL(spreadsheetID, r)
	if err != nil {
		return Updated{}, err
	}
	cells, err := encodeRows(rows, opts.input())
	if err != nil {
		return Updated{}, err
	}
	var ans struct {
		TableRange string  `json:"tableRange"`
		Updates    Updated `json:"updates"`
	}
	err = call(ctx, conn, writing, providers.APICall{
		Method: http.MethodPost, URL: at + ":append?insertDataOption=INSERT_ROWS&valueInputOption=" + opts.input().param(),
		In: body{Values: cells}, Out: &ans,
	})
	ans.Updates.Table = ans.TableRange
	return ans.Updates, err
}

// Block is what [BatchUpdate] writes into one range.
type Block struct {
	Range Range
	Rows  [][]any
}

// BatchUpdate writes into up to 100 ranges as [Update] does. It counts as one
// write. What was written is in the order of blocks.
func BatchUpdate(ctx context.Context, conn *providers.Connection, spreadsheetID string, blocks []Block, opts *WriteOptions) ([]Updated, error) {
	ranges := make([]Range, len(blocks))
	for i, b := range blocks {
		ranges[i] = b.Range
	}
	names, err := rangeNames(spreadsheetID, ranges)
	if err != nil {
		return nil, err
	}
	in := struct {
		ValueInputOption string `json:"valueInputOption"`
		Data             []body `json:"data"`
	}{ValueInputOption: opts.input().param()}
	for i, b := range blocks {
		cells, err := encodeRows(b.Rows, opts.input())
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", i+1, err)
		}
		in.Data = append(in.Data, body{names[i], cells})
	}
	var ans struct {
		Responses []Updated `json:"responses"`
	}
	err = call(ctx, conn, writing, providers.APICall{
		Method: http.MethodPost, URL: batchURL(spreadsheetID, "batchUpdate"), In: in, Out: &ans,
	})
	return ans.Responses, err
}

// Clear empties up to 100 ranges and keeps their formats. It returns what was
// cleared, in A1 notation.
func Clear(ctx context.Context, conn *providers.Connection, spreadsheetID string, ranges ...Range) ([]string, error) {
	names, err := rangeNames(spreadsheetID, ranges)
	if err != nil {
		return nil, err
	}
	var ans struct {
		ClearedRanges []string `json:"clearedRanges"`
	}
	err = call(ctx, conn, writing, providers.APICall{
		Method: http.MethodPost, URL: batchURL(spreadsheetID, "batchClear"), In: map[string]any{"ranges": names}, Out: &ans,
	})
	return ans.ClearedRanges, err
}

// valuesURL is where the values of a range are.
func valuesURL(spreadsheetID string, r Range) (string, error) {
	if err := checkID(spreadsheetID); err != nil {
		return "", err
	}
	if err := r.Check(); err != nil {
		return "", err
	}
	return sheetsURL + "/" + spreadsheetID + "/values/" + escape(r.String()), nil
}

func batchURL(spreadsheetID, method string) string {
	return sheetsURL + "/" + spreadsheetID + "/values:" + method
}

// rangeNames checks the ranges of a batch.
func rangeNames(spreadsheetID string, ranges []Range) ([]string, error) {
	if err := checkID(spreadsheetID); err != nil {
		return nil, err
	}
	if len(ranges) == 0 || len(ranges) > maxRanges {
		return nil, invalid("a batch has %d ranges, of 1 to %d", len(ranges), maxRanges)
	}
	names := make([]string, len(ranges))
	for i, r := range ranges {
		if err := r.Check(); err != nil {
			return nil, err
		}
		names[i] = r.String()
	}
	return names, nil
}
