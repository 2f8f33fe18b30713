package sheetsapp

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/saas-integrations/integrations/providers"
)

// Input says how Sheets takes values that are written.
type Input int

const (
	// Raw stores values as they are: a text stays a text, whatever it begins with.
	// This is the default.
	Raw Input = iota
	// UserEntered takes values as if a user typed them: "7%", "2026-11-25" and
	// "TRUE" become a number, a date and a truth value. A text that Sheets would
	// take for a formula is written as text all the same; a [Formula] is not.
	UserEntered
)

func (i Input) param() string {
	if i == UserEntered {
		return "USER_ENTERED"
	}
	return "RAW"
}

// Formula is a cell's formula, beginning with "=". It is for [UserEntered] only.
// What users typed must not get into one: a formula can read other cells and send
// them away.
type Formula string

// The form of a time in a cell. Raw keeps all of it as text; as UserEntered it is
// a date of the spreadsheet, which knows no zones.
const (
	rawTime   = time.RFC3339Nano
	typedTime = "2006-01-02 15:04:05"
)

// maxWhole is the largest whole number that Sheets, which counts in floating
// point, does not round.
const maxWhole = 1 << 53

// CellError is a value that cannot be written, or a cell that cannot be read into
// a field. It wraps providers.ErrInvalid and tells nothing of the value.
type CellError struct {
	// Row and Column count from 1 within the values.
	Row, Column int
	// Name is the column's name where the values have a header, else "".
	Name string
	// Problem says what is wrong.
	Problem string
}

func (e *CellError) Error() string {
	if e.Name != "" {
		return fmt.Sprintf("%v: row %d, column %q: %s", providers.ErrInvalid, e.Row, e.Name, e.Problem)
	}
	return fmt.Sprintf("%v: row %d, column %d: %s", providers.ErrInvalid, e.Row, e.Column, e.Problem)
}

// Unwrap returns providers.ErrInvalid.
func (e *CellError) Unwrap() error { return providers.ErrInvalid }

// encodeRows checks values and gives them the form in which they are sent.
func encodeRows(rows [][]any, in Input) ([][]any, error) {
	if err := checkWrite(len(rows), in); err != nil {
		return nil, err
	}
	out := make([][]any, len(rows))
	for i, row := range rows {
		out[i] = make([]any, len(row))
		for j, v := range row {
			cell, err := encode(v, in)
			if err != nil {
				return nil, &CellError{Row: i + 1, Column: j + 1, Problem: err.Error()}
			}
			out[i][j] = cell
		}
	}
	return out, nil
}

func checkWrite(rows int, in Input) error {
	switch {
	case rows == 0:
		return invalid("no rows to write")
	case in != Raw && in != UserEntered:
		return invalid("unknown Input")
	}
	return nil
}

func encode(v any, in Input) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case Formula:
		return encodeFormula(string(v), in)
	case time.Time:
		if in == UserEntered {
			return v.Format(typedTime), nil
		}
		return v.Format(rawTime), nil
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Pointer:
		if r.IsNil() {
			return nil, nil
		}
		if r.Elem().Kind() == reflect.Pointer {
			return nil, fmt.Errorf("type %T cannot be written", v)
		}
		return encode(r.Elem().Interface(), in)
	case reflect.String:
		return encodeText(r.String(), in)
	case reflect.Bool:
		return r.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if n := r.Int(); n <= maxWhole && n >= -maxWhole {
			return n, nil
		}
		return nil, errTooWhole
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n := r.Uint(); n <= maxWhole {
			return n, nil
		}
		return nil, errTooWhole
	case reflect.Float32, reflect.Float64:
		f := r.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, errors.New("a number that is infinite or none")
		}
		if r.Kind() == reflect.Float32 {
			return float32(f), nil // as short as it was written
		}
		return f, nil
	}
	return nil, fmt.Errorf("type %T cannot be written", v)
}

var errTooWhole = errors.New("a whole number over 2^53, which Sheets would round: write it as a string")

func encodeFormula(f string, in Input) (any, error) {
	switch {
	case in != UserEntered:
		return nil, errors.New("a Formula needs UserEntered")
	case !strings.HasPrefix(f, "=") || !utf8.ValidString(f):
		return nil, errors.New(`a Formula does not begin with "="`)
	}
	return f, nil
}

func encodeText(s string, in Input) (any, error) {
	if !utf8.ValidString(s) {
		return nil, errors.New("a text that is not UTF-8")
	}
	if in == UserEntered && looksTyped(s) {
		return "'" + s, nil // Sheets takes the apostrophe off and leaves the rest
	}
	return s, nil
}

// looksTyped reports whether a text, entered by a user, could become a formula:
// "=", "+", "-" and "@" begin one, perhaps in full width, or after spaces and other characters
// that do not show. An apostrophe would be lost.
func looksTyped(s string) bool {
	if s == "" {
		return false
	}
	if strings.ContainsAny(s[:1], "'\t\r\n") {
		return true
	}
	s = strings.TrimLeftFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) })
	first, _ := utf8.DecodeRuneInString(s)
	return strings.ContainsRune("=+-@＝＋－＠", first)
}

func isEmpty(v any) bool { return v == nil || v == "" }

// cellText is a cell as text.
func cellText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strings.ToUpper(strconv.FormatBool(v))
	}
	return ""
}

// decodeCell reads a cell into a field and returns what is wrong with it, "" for
// nothing.
func decodeCell(v any, into reflect.Value) string {
	if into.Kind() == reflect.Interface {
		if v != nil {
			into.Set(reflect.ValueOf(v))
		}
		return ""
	}
	if isEmpty(v) {
		return "" // the zero value
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	if into.Type() == timeType {
		t, ok := cellTime(v)
		if !ok {
			return "not a time"
		}
		into.Set(reflect.ValueOf(t))
		return ""
	}
	text := strings.TrimSpace(cellText(v))
	switch into.Kind() {
	case reflect.String:
		into.SetString(cellText(v))
	case reflect.Bool:
		b := strings.EqualFold(text, "TRUE")
		if !b && !strings.EqualFold(text, "FALSE") {
			return "not a truth value"
		}
		into.SetBool(b)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || into.OverflowFloat(f) {
			return "not a number of the field's size"
		}
		into.SetFloat(f)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || into.OverflowUint(n) {
			return "not a whole number of the field's size"
		}
		into.SetUint(n)
	default:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || into.OverflowInt(n) {
			return "not a whole number of the field's size"
		}
		into.SetInt(n)
	}
	return ""
}

// epoch is day 0 of the dates of a spreadsheet
// (developers.google.com/sheets/api/reference/rest/v4/DateTimeRenderOption, checked
// 2026-11); maxSerial is in the year 9999.
var epoch = time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)

const maxSerial = 2958466

func cellTime(v any) (time.Time, bool) {
	switch v := v.(type) {
	case float64:
		if v < 0 || v >= maxSerial {
			return time.Time{}, false
		}
		days, part := math.Modf(v)
		day := epoch.AddDate(0, 0, int(days))
		return day.Add(time.Duration(math.Round(part*86_400_000)) * time.Millisecond), true
	case string:
		for _, form := range []string{rawTime, typedTime, time.DateOnly} {
			if t, err := time.Parse(form, strings.TrimSpace(v)); err == nil {
				return t, true
			}
		}
	}
	return time.Time{}, false
}
