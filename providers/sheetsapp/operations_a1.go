package sheetsapp

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Range is a part of a spreadsheet. What a user typed may go into it: a sheet's
// name is always quoted, and Cells has a form of its own.
type Range struct {
	// Sheet is the name of a sheet (a tab) as people see it, "" for the first one
	// that is visible.
	Sheet string
	// Cells are in A1 notation: "B2", "A1:C10", "A:C", "2:5", "A2:C". "" is the
	// whole sheet, and needs Sheet.
	Cells string
}

// Bounds of a range. Columns end at ZZZ, of which each is one of at most three
// letters.
const (
	maxSheetName = 400 // bytes
	maxColumn    = 18278
	maxRow       = 10_000_000
)

// String is the range in A1 notation (developers.google.com/sheets/api/guides/concepts,
// "A1 notation", checked 2026-11). A quoted name means a sheet even where it looks
// like cells or like a named range.
func (r Range) String() string {
	if r.Sheet == "" {
		return r.Cells
	}
	quoted := "'" + strings.ReplaceAll(r.Sheet, "'", "''") + "'"
	if r.Cells == "" {
		return quoted
	}
	return quoted + "!" + r.Cells
}

// Check returns an error wrapping providers.ErrInvalid unless the range is one.
// Operations check their ranges before they send anything.
func (r Range) Check() error {
	switch {
	case r.Sheet == "" && r.Cells == "":
		return invalid("a range without sheet and cells")
	case len(r.Sheet) > maxSheetName || !utf8.ValidString(r.Sheet) || strings.ContainsFunc(r.Sheet, isControl):
		return invalid("a sheet's name of over %d bytes or with control characters", maxSheetName)
	case r.Cells == "":
		return nil
	}
	_, err := parseCells(r.Cells)
	return err
}

// ParseRange reads A1 notation: cells, a sheet's name, or both with a "!" between
// them. A name is quoted when it has an apostrophe, which is doubled then, a "!" or
// a form that could be cells:
//
//	'It''s'!A1:B2
//
// The error wraps providers.ErrInvalid.
func ParseRange(a1 string) (Range, error) {
	var r Range
	name, quoted := strings.CutPrefix(a1, "'")
	if quoted {
		var closed bool
		if r.Sheet, a1, closed = unquote(name); !closed || r.Sheet == "" {
			return Range{}, invalid("the quotes around a sheet's name are not a pair")
		}
		if a1 != "" {
			var ok bool
			if r.Cells, ok = strings.CutPrefix(a1, "!"); !ok || r.Cells == "" {
				return Range{}, invalid("something other than !cells follows a sheet's name")
			}
		}
	} else {
		sheet, cells, both := strings.Cut(a1, "!")
		_, err := parseCells(a1)
		switch {
		case both && (sheet == "" || cells == ""):
			return Range{}, invalid("nothing stands before or after the ! of a range")
		case both:
			r.Sheet, r.Cells = sheet, cells
		case err == nil:
			r.Cells = a1
		default:
			r.Sheet = a1
		}
		if strings.ContainsRune(r.Sheet, '\'') {
			return Range{}, invalid("a sheet's name with an apostrophe is not quoted")
		}
	}
	if err := r.Check(); err != nil {
		return Range{}, err
	}
	return r, nil
}

// unquote reads a quoted name after its first quote and returns what follows it.
func unquote(s string) (name, rest string, closed bool) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "'")
		if !found {
			return "", "", false
		}
		b.WriteString(before)
		if !strings.HasPrefix(after, "'") {
			return b.String(), after, true
		}
		b.WriteByte('\'')
		s = after[1:]
	}
}

// corner is one side of cells; 0 stands for a column or row that is not named.
type corner struct{ column, row int }

// area is what Range.Cells means. A single cell is both corners.
type area struct{ from, to corner }

func parseCells(s string) (area, error) {
	first, second, both := strings.Cut(s, ":")
	var a area
	var ok, fine bool
	a.from, ok = parseCorner(first)
	a.to, fine = a.from, true
	if both {
		a.to, fine = parseCorner(second)
	} else if a.from.column == 0 || a.from.row == 0 {
		ok = false // "A" and "1" are no ranges
	}
	switch {
	case !ok || !fine,
		// "A:5" says where the columns begin and the rows end, and nothing else.
		a.from.column == 0 && a.to.column != 0, a.from.row == 0 && a.to.row != 0:
		return area{}, invalid("cells are written like B2, A1:C10, A:C, 2:5 or A2:C")
	case a.to.column != 0 && a.to.column < a.from.column, a.to.row != 0 && a.to.row < a.from.row:
		return area{}, invalid("cells end before they begin")
	}
	return a, nil
}

func parseCorner(s string) (corner, bool) {
	letters := len(s) - len(strings.TrimLeft(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
	var c corner
	if letters > 3 || s == "" {
		return corner{}, false
	}
	for _, l := range []byte(strings.ToUpper(s[:letters])) {
		c.column = c.column*26 + int(l-'A') + 1
	}
	digits := s[letters:]
	if digits == "" {
		return c, true
	}
	if digits[0] == '0' || strings.Trim(digits, "0123456789") != "" || len(digits) > 8 {
		return corner{}, false
	}
	c.row, _ = strconv.Atoi(digits) // at most 8 digits
	return c, c.row <= maxRow
}

// columnName is the name of a column counted from 1.
func columnName(n int) string {
	var b []byte
	for ; n > 0; n = (n - 1) / 26 {
		b = append([]byte{byte('A' + (n-1)%26)}, b...)
	}
	return string(b)
}

// String is the corner's half of A1 notation.
func (c corner) String() string {
	if c.row == 0 {
		return columnName(c.column)
	}
	return columnName(c.column) + strconv.Itoa(c.row)
}
