package sheetsapp

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
)

// RowOptions are options of [ReadRows] and [AppendRows]. Nil means the defaults.
type RowOptions struct {
	// Strict refuses a table that has columns which the struct does not. By default
	// they are left out when reading and left empty when appending.
	Strict bool
	// Input is how appended values are taken. Defaults to Raw.
	Input Input
}

func (o *RowOptions) strict() bool { return o != nil && o.Strict }

// HeaderError is a table whose header does not fit the struct. It wraps
// providers.ErrInvalid. Columns are named as the struct or the table names them.
type HeaderError struct {
	// Missing are columns of the struct that the table does not have, Unknown those
	// of the table that the struct does not have, with RowOptions.Strict.
	Missing, Unknown []string
	// Duplicate are columns of the struct that the table has twice.
	Duplicate []string
}

func (e *HeaderError) Error() string {
	return fmt.Sprintf("%v: header: missing %q, unknown %q, duplicate %q", providers.ErrInvalid, e.Missing, e.Unknown, e.Duplicate)
}

// Unwrap returns providers.ErrInvalid.
func (e *HeaderError) Unwrap() error { return providers.ErrInvalid }

// ReadRows reads a table into structs. The first row of the range is the header;
// a field is filled from the column that its tag names, spaces around names aside:
//
//	type Order struct {
//		ID      string     `sheet:"Order ID"`
//		Total   float64    `sheet:"Total"`
//		Shipped *time.Time `sheet:"Shipped,optional"` // the table may lack it
//	}
//
// A field is a string, a bool, a number of any kind, a time.Time, a pointer to one
// of them, which is nil for an empty cell, or an any. Fields without a tag are left
// alone. Rows that are empty are left out, and an empty cell is the zero value. A
// time is what [Append] writes, a date of the spreadsheet, which knows no zone and
// is read as UTC, or "2006-01-02".
//
// A struct that cannot be filled is an error wrapping providers.ErrInvalid before
// anything is sent. A table that does not fit is a [*HeaderError], a cell that does
// not a [*CellError], whose Row counts from the header.
func ReadRows[T any](ctx context.Context, conn *providers.Connection, spreadsheetID string, r Range, opts *RowOptions) ([]T, error) {
	fields, err := fieldsOf[T]()
	if err != nil {
		return nil, err
	}
	values, err := Read(ctx, conn, spreadsheetID, r, nil)
	if err != nil {
		return nil, err
	}
	var header []any
	if len(values.Rows) > 0 {
		header = values.Rows[0]
	}
	columns, err := match(fields, header, opts.strict())
	if err != nil {
		return nil, err
	}
	var out []T
	for i, row := range values.Rows {
		if i == 0 || !slices.ContainsFunc(row, func(v any) bool { return !isEmpty(v) }) {
			continue
		}
		var one T
		into := reflect.ValueOf(&one).Elem()
		for j, f := range columns {
			if f == nil || j >= len(row) {
				continue
			}
			if problem := decodeCell(row[j], into.Field(f.index)); problem != "" {
				return nil, &CellError{Row: i + 1, Column: j + 1, Name: f.name, Problem: problem}
			}
		}
		out = append(out, one)
	}
	return out, nil
}

// AppendRows adds structs below a table: it reads the header, which is the first
// row of the range, and appends the fields in its order. The fields are those of
// [ReadRows]; a nil pointer, a nil any and the zero time leave a cell empty. The
// errors are those of ReadRows and [Append], which has more to say about a lost
// answer.
//
// Sheets takes all cells that touch for one table and writes from its first column
// on, so nothing may stand right beside the table's first column. Where something
// did, the rows went to the wrong columns: the error wraps providers.ErrConflict
// and Updated tells where they are.
func AppendRows[T any](ctx context.Context, conn *providers.Connection, spreadsheetID string, r Range, rows []T, opts *RowOptions) (Updated, error) {
	fields, err := fieldsOf[T]()
	if err != nil {
		return Updated{}, err
	}
	in := Raw
	if opts != nil {
		in = opts.Input
	}
	cells, err := encodeFields(fields, rows, in)
	if err != nil {
		return Updated{}, err
	}
	head, first, err := headerOf(r)
	if err != nil {
		return Updated{}, err
	}
	if err := allowed(ctx, conn, writing); err != nil { // before the header is read
		return Updated{}, err
	}
	values, err := Read(ctx, conn, spreadsheetID, head, nil)
	if err != nil {
		return Updated{}, err
	}
	var header []any
	if len(values.Rows) > 0 {
		header = values.Rows[0]
	}
	columns, err := match(fields, header, opts.strict())
	if err != nil {
		return Updated{}, err
	}
	lead := slices.IndexFunc(header, func(v any) bool { return !isEmpty(v) })
	out := make([][]any, len(rows))
	for i := range rows {
		for j := lead; j < len(header); j++ {
			var v any
			if f := columns[j]; f != nil {
				v = cells[i][f.index]
			}
			out[i] = append(out[i], v)
		}
	}
	// One cell names one table: of several in a range Sheets takes the last.
	first.column += lead
	done, err := Append(ctx, conn, spreadsheetID, Range{Sheet: r.Sheet, Cells: first.String()}, out, &WriteOptions{Input: in})
	if err == nil && !beginsIn(done.Range, first.column) {
		err = &providers.CallError{Adapter: "sheetsapp", Code: "another_table", Kind: providers.ErrConflict}
	}
	return done, err
}

// beginsIn reports whether a range that Sheets named begins in a column.
func beginsIn(a1 string, column int) bool {
	r, err := ParseRange(a1)
	if err != nil {
		return true // nobody knows
	}
	a, err := parseCells(r.Cells)
	return err != nil || a.from.column == column
}

// headerOf is the first row of a range, and where it begins.
func headerOf(r Range) (Range, corner, error) {
	if err := r.Check(); err != nil {
		return Range{}, corner{}, err
	}
	var a area
	if r.Cells != "" {
		a, _ = parseCells(r.Cells) // Check has
	}
	first := corner{max(a.from.column, 1), max(a.from.row, 1)}
	row := strconv.Itoa(first.row)
	head := Range{Sheet: r.Sheet, Cells: row + ":" + row}
	switch {
	case a.from.column != 0 && a.to.column != 0:
		head.Cells = first.String() + ":" + corner{a.to.column, first.row}.String()
	case a.from.column != 0:
		head.Cells = first.String() + ":" + row
	}
	return head, first, nil
}

// field is a field of a struct that is a column.
type field struct {
	name     string
	index    int
	optional bool
}

// fieldsOf are the columns of a struct.
func fieldsOf[T any]() ([]field, error) {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct || t == timeType {
		return nil, invalid("rows are structs, %s is none", t)
	}
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("sheet")
		if !tagged || tag == "-" {
			continue
		}
		name, optional := strings.CutSuffix(tag, ",optional")
		name = strings.TrimSpace(name)
		switch {
		case !f.IsExported():
			return nil, invalid("field %s of %s has a tag and is not exported", f.Name, t)
		case name == "":
			return nil, invalid("field %s of %s names no column", f.Name, t)
		case !isCellType(f.Type):
			return nil, invalid("field %s of %s has a type that no cell has", f.Name, t)
		case slices.ContainsFunc(out, func(o field) bool { return o.name == name }):
			return nil, invalid("two fields of %s are column %q", t, name)
		}
		out = append(out, field{name, i, optional})
	}
	if len(out) == 0 {
		return nil, invalid("%s has no field with a tag `sheet:\"Column\"`", t)
	}
	return out, nil
}

var timeType = reflect.TypeFor[time.Time]()

// isCellType reports whether a field of a type can be a cell.
func isCellType(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	} else if t.Kind() == reflect.Interface {
		return t.NumMethod() == 0
	}
	if t == timeType {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return false
}

// match finds the field of each column of a header, nil for a column that none
// has.
func match(fields []field, header []any, strict bool) ([]*field, error) {
	columns := make([]*field, len(header))
	var e HeaderError
	found := map[string]int{}
	for j, cell := range header {
		name := strings.TrimSpace(cellText(cell))
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		if i < 0 {
			if strict && name != "" {
				e.Unknown = append(e.Unknown, name)
			}
			continue
		}
		if found[name]++; found[name] == 2 {
			e.Duplicate = append(e.Duplicate, name)
		}
		columns[j] = &fields[i]
	}
	for _, f := range fields {
		if found[f.name] == 0 && !f.optional {
			e.Missing = append(e.Missing, f.name)
		}
	}
	if len(e.Missing) == 0 && len(e.Unknown) == 0 && len(e.Duplicate) == 0 {
		if len(found) == 0 { // all are optional, and there is no table
			return nil, &HeaderError{Missing: names(fields)}
		}
		return columns, nil
	}
	return nil, &e
}

func names(fields []field) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.name
	}
	return out
}

// encodeFields checks the fields of all rows and gives them the form in which they
// are sent, by the index of the field.
func encodeFields[T any](fields []field, rows []T, in Input) ([]map[int]any, error) {
	if err := checkWrite(len(rows), in); err != nil {
		return nil, err
	}
	out := make([]map[int]any, len(rows))
	for i := range rows {
		of := reflect.ValueOf(&rows[i]).Elem()
		out[i] = make(map[int]any, len(fields))
		for j, f := range fields {
			v := of.Field(f.index).Interface()
			if t, ok := v.(time.Time); ok && t.IsZero() {
				v = nil
			}
			if _, err := encode(v, in); err != nil {
				return nil, &CellError{Row: i + 1, Column: j + 1, Name: f.name, Problem: err.Error()}
			}
			out[i][f.index] = v
		}
	}
	return out, nil
}
