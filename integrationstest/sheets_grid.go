package integrationstest

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// googleGrid is a sheet: its cells by row and column from 1.
type googleGrid struct {
	id            int64
	title         string
	rows, columns int
	cells         map[[2]int]googleCell
}

// googleCell is a cell. The value is a string, a float64 or a bool; this fake
// computes nothing, so that of a formula is 0.
type googleCell struct {
	value   any
	formula string
}

// gridRange is a part of a sheet, both ends included.
type gridRange struct {
	*googleGrid
	top, left, bottom, right int
}

var (
	cellsPattern = regexp.MustCompile(`^([A-Z]{0,3})([0-9]*)(?::([A-Z]{0,3})([0-9]*))?$`)
	plainName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// isCells tells cells from a sheet's name: "A1" and "A:C", not "Sum".
func isCells(a1 string) bool {
	m := cellsPattern.FindStringSubmatch(strings.ToUpper(a1))
	return m != nil && (strings.Contains(a1, ":") || m[1] != "" && m[2] != "")
}

// resolve finds a range, or answers that there is none.
func (f *googleFile) resolve(w http.ResponseWriter, a1 string) (gridRange, bool) {
	no := func() (gridRange, bool) {
		badArgument(w, "Unable to parse range: "+a1)
		return gridRange{}, false
	}
	name, cells, quoted := "", a1, strings.HasPrefix(a1, "'")
	switch i := strings.LastIndex(a1, "'"); {
	case quoted && i == len(a1)-1 && i > 0:
		name, cells = a1[1:i], ""
	case quoted && strings.HasPrefix(a1[i:], "'!"):
		name, cells = a1[1:i], a1[i+2:]
	case quoted:
		return no()
	case strings.Contains(a1, "!"):
		name, cells, _ = strings.Cut(a1, "!")
	case !isCells(a1):
		name, cells = a1, ""
	}
	if quoted {
		name = strings.ReplaceAll(name, "''", "'")
	}
	g := f.grids[0]
	if name != "" {
		if g = f.grid(name); g == nil {
			return no()
		}
	}
	at := gridRange{g, 1, 1, g.rows, g.columns}
	if cells == "" {
		return at, true
	}
	m := cellsPattern.FindStringSubmatch(strings.ToUpper(cells))
	if m == nil {
		return no()
	}
	if !strings.Contains(cells, ":") {
		m[3], m[4] = m[1], m[2]
	}
	at.left, at.top = max(columnNumber(m[1]), 1), max(number(m[2]), 1)
	if m[3] != "" {
		at.right = columnNumber(m[3])
	}
	if m[4] != "" {
		at.bottom = number(m[4])
	}
	if at.top > g.rows || at.bottom > g.rows || at.left > g.columns || at.right > g.columns {
		badArgument(w, fmt.Sprintf("Range (%s) exceeds grid limits. Max rows: %d, max columns: %d", a1, g.rows, g.columns))
		return gridRange{}, false
	}
	return at, true
}

func number(s string) int {
	n, _ := strconv.Atoi(s) // "" is 0
	return n
}

func columnNumber(s string) int {
	n := 0
	for _, c := range s {
		n = n*26 + int(c-'A') + 1
	}
	return n
}

func columnLetters(n int) string {
	if n == 0 {
		return ""
	}
	return columnLetters((n-1)/26) + string(rune('A'+(n-1)%26))
}

// String is the range as Google writes it: names are quoted where they must be.
func (a gridRange) String() string {
	name := a.title
	if !plainName.MatchString(name) {
		name = "'" + strings.ReplaceAll(name, "'", "''") + "'"
	}
	from, to := columnLetters(a.left)+strconv.Itoa(a.top), columnLetters(a.right)+strconv.Itoa(a.bottom)
	if from == to {
		return name + "!" + from
	}
	return name + "!" + from + ":" + to
}

func (a gridRange) json(render string) map[string]any {
	out := map[string]any{"range": a.String(), "majorDimension": "ROWS"}
	if rows := a.read(a, render); len(rows) > 0 {
		out["values"] = rows
	}
	return out
}

func (a gridRange) clear() {
	maps.DeleteFunc(a.cells, func(at [2]int, _ googleCell) bool {
		return at[0] >= a.top && at[0] <= a.bottom && at[1] >= a.left && at[1] <= a.right
	})
}

// read returns rows without what is empty at the ends.
func (g *googleGrid) read(a gridRange, render string) [][]any {
	var rows [][]any
	for at := range g.cells {
		if at[0] >= a.top && at[0] <= a.bottom && at[1] >= a.left && at[1] <= a.right {
			for len(rows) <= at[0]-a.top {
				rows = append(rows, []any{})
			}
			row := &rows[at[0]-a.top]
			for len(*row) <= at[1]-a.left {
				*row = append(*row, "")
			}
			(*row)[at[1]-a.left] = g.cells[at].render(render)
		}
	}
	return rows
}

func (c googleCell) render(how string) any {
	switch {
	case how == "FORMULA" && c.formula != "":
		return c.formula
	case how == "FORMULA", how == "UNFORMATTED_VALUE":
		return c.value
	}
	switch v := c.value.(type) {
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strings.ToUpper(strconv.FormatBool(v))
	}
	return c.value
}

// write writes rows from a cell on and returns how many cells; null leaves one.
func (g *googleGrid) write(top, left int, rows [][]any, typed bool) int {
	n := 0
	for i, row := range rows {
		for j, v := range row {
			at := [2]int{top + i, left + j}
			switch {
			case v == nil:
				continue
			case v == "":
				delete(g.cells, at)
			default:
				g.cells[at] = enter(v, typed)
			}
			n++
		}
	}
	return n
}

// spreadsheetEpoch is day 0 of a spreadsheet's dates.
var spreadsheetEpoch = time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)

// enter is what a value becomes in a cell, as it is or as if it was typed.
func enter(v any, typed bool) googleCell {
	switch n := v.(type) {
	case int:
		v = float64(n)
	case int64:
		v = float64(n)
	}
	text, isText := v.(string)
	if !isText || !typed {
		return googleCell{value: v}
	}
	if plain, ok := strings.CutPrefix(text, "'"); ok {
		return googleCell{value: plain}
	}
	trimmed := strings.TrimSpace(text)
	if f, err := strconv.ParseFloat(trimmed, 64); err == nil {
		return googleCell{value: f}
	}
	for _, form := range []string{time.DateOnly, time.DateTime} {
		if t, err := time.Parse(form, trimmed); err == nil {
			return googleCell{value: t.Sub(spreadsheetEpoch).Hours() / 24}
		}
	}
	switch {
	case strings.EqualFold(trimmed, "TRUE"), strings.EqualFold(trimmed, "FALSE"):
		return googleCell{value: strings.EqualFold(trimmed, "TRUE")}
	case trimmed != "" && strings.ContainsRune("=+-@", rune(trimmed[0])):
		return googleCell{value: 0.0, formula: "=" + strings.TrimPrefix(trimmed, "=")}
	}
	return googleCell{value: text}
}

// table is the last block of cells that touch, of those that reach into the range.
func (a gridRange) table() (gridRange, bool) {
	t := gridRange{googleGrid: a.googleGrid}
	for at := range a.cells {
		if at[0] >= a.top && at[0] <= a.bottom && at[1] >= a.left && at[1] <= a.right && at[0] > t.bottom {
			t.top, t.left, t.bottom, t.right = at[0], at[1], at[0], at[1]
		}
	}
	for grown := t.top != 0; grown; {
		grown = false
		for at := range a.cells {
			near := at[0] >= t.top-1 && at[0] <= t.bottom+1 && at[1] >= t.left-1 && at[1] <= t.right+1
			if near && (at[0] < t.top || at[0] > t.bottom || at[1] < t.left || at[1] > t.right) {
				t.top, t.left = min(t.top, at[0]), min(t.left, at[1])
				t.bottom, t.right, grown = max(t.bottom, at[0]), max(t.right, at[1]), true
			}
		}
	}
	return t, t.top != 0
}

// insert makes room for n rows at a row.
func (g *googleGrid) insert(row, n int) {
	moved := make(map[[2]int]googleCell, len(g.cells))
	for at, c := range g.cells {
		if at[0] >= row {
			at[0] += n
		}
		moved[at] = c
	}
	g.cells = moved
	g.rows += n
}
