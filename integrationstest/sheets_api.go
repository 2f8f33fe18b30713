package integrationstest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// googleFile is a spreadsheet.
type googleFile struct {
	id, title, owner string
	byApp            bool // made by the app: drive.file covers it
	trashed          bool
	grids            []*googleGrid
	modified         time.Time
}

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

// AddSpreadsheet puts a spreadsheet into a user's Drive that the app did not make,
// and returns its id. Without names it has one sheet, "Sheet1".
func (s *Sheets) AddSpreadsheet(owner, title string, sheets ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(owner, title, sheets, false).id
}

// add must be called with s.mu held.
func (s *Sheets) add(owner, title string, sheets []string, byApp bool) *googleFile {
	if len(sheets) == 0 {
		sheets = []string{"Sheet1"}
	}
	f := &googleFile{id: "1" + randomHex() + randomHex()[:19], title: title, owner: owner, byApp: byApp}
	for i, name := range sheets {
		f.grids = append(f.grids, &googleGrid{id: int64(i * 1001), title: name, rows: 1000, columns: 26, cells: map[[2]int]googleCell{}})
	}
	s.files[f.id] = f
	s.record(f, false)
	return f
}

// Spreadsheets are the ids of a user's spreadsheets.
func (s *Sheets) Spreadsheets(owner string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, id := range slices.Sorted(maps.Keys(s.files)) {
		if s.files[id].owner == owner {
			out = append(out, id)
		}
	}
	return out
}

// Values are the cells of a sheet, with formulas in place of their values, without
// empty rows and cells at the end.
func (s *Sheets) Values(spreadsheetID, sheet string) [][]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[spreadsheetID]; f != nil {
		if g := f.grid(sheet); g != nil {
			return g.read(gridRange{g, 1, 1, g.rows, g.columns}, "FORMULA")
		}
	}
	return nil
}

// SetValues writes rows from A1 on as a user who types would. Nobody is notified;
// see [Sheets.Edit].
func (s *Sheets) SetValues(spreadsheetID, sheet string, rows [][]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[spreadsheetID]; f != nil {
		if g := f.grid(sheet); g != nil {
			g.write(1, 1, rows, true)
			s.record(f, false)
		}
	}
}

func (f *googleFile) grid(title string) *googleGrid {
	for _, g := range f.grids {
		if strings.EqualFold(g.title, title) {
			return g
		}
	}
	return nil
}

var spreadsheetScopes = []string{"spreadsheets", "drive", "drive.file"}

// sheetsAPI is the Sheets API. Its paths end in methods after a colon, which a
// ServeMux does not know.
func (s *Sheets) sheetsAPI(w http.ResponseWriter, r *http.Request) {
	reads := append([]string{"spreadsheets.readonly", "drive.readonly"}, spreadsheetScopes...)
	scopes := spreadsheetScopes
	if r.Method == http.MethodGet {
		scopes = reads
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/v4/spreadsheets")
	if !ok {
		http.NotFound(w, r)
		return
	}
	who, ok := s.caller(w, r, scopes...)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if rest == "" && r.Method == http.MethodPost {
		s.create(w, r, who)
		return
	}
	id, rest, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	f := s.files[id]
	switch {
	case f == nil || f.owner == who.sub && !f.within(who, scopes):
		googleFault(w, http.StatusNotFound, "NOT_FOUND", "Requested entity was not found.", "", "")
		return
	case f.owner != who.sub:
		googleFault(w, http.StatusForbidden, "PERMISSION_DENIED", "The caller does not have permission", "", "")
		return
	}
	name, isValues := strings.CutPrefix(rest, "values/")
	target, method := name, ""
	if i := strings.LastIndex(name, ":"); i >= 0 && (name[i:] == ":append" || name[i:] == ":clear") {
		target, method = name[:i], name[i:]
	}
	switch op := r.Method + " " + rest; {
	case op == "GET ":
		writeJSON(w, http.StatusOK, f.json())
	case op == "GET values:batchGet":
		s.batchGet(w, r, f)
	case op == "POST values:batchUpdate":
		s.batchUpdate(w, r, f)
	case op == "POST values:batchClear":
		s.batchClear(w, r, f)
	case isValues && r.Method == http.MethodGet && method == "":
		if at, ok := f.resolve(w, target); ok {
			writeJSON(w, http.StatusOK, at.json(r.URL.Query().Get("valueRenderOption")))
		}
	case isValues && r.Method == http.MethodPut:
		s.update(w, r, f, target)
	case isValues && r.Method == http.MethodPost && method == ":append":
		s.append(w, r, f, target)
	case isValues && r.Method == http.MethodPost && method == ":clear":
		if at, ok := f.resolve(w, target); ok {
			at.clear()
			s.record(f, false)
			writeJSON(w, http.StatusOK, map[string]any{"spreadsheetId": f.id, "clearedRange": at.String()})
		}
	default:
		googleFault(w, http.StatusNotFound, "NOT_FOUND", "Method not found.", "", "")
	}
}

// within reports whether a grant covers a file of its user: drive.file covers what
// the app made.
func (f *googleFile) within(g googleGrant, scopes []string) bool {
	all := slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return scope == "drive.file" })
	return g.hasAny(all) || f.byApp && g.hasAny([]string{"drive.file"})
}

func (s *Sheets) create(w http.ResponseWriter, r *http.Request, who googleGrant) {
	type properties struct {
		Title string `json:"title"`
	}
	var in struct {
		Properties properties `json:"properties"`
		Sheets     []struct {
			Properties properties `json:"properties"`
		} `json:"sheets"`
	}
	if decodeBody(r, &in) != nil {
		badArgument(w, "Invalid JSON payload received.")
		return
	}
	var names []string
	for _, one := range in.Sheets {
		names = append(names, one.Properties.Title)
	}
	writeJSON(w, http.StatusOK, s.add(who.sub, cmp.Or(in.Properties.Title, "Untitled spreadsheet"), names, true).json())
}

func badArgument(w http.ResponseWriter, text string) {
	googleFault(w, http.StatusBadRequest, "INVALID_ARGUMENT", text, "", "")
}

func (f *googleFile) json() map[string]any {
	sheets := make([]any, len(f.grids))
	for i, g := range f.grids {
		sheets[i] = map[string]any{"properties": map[string]any{
			"sheetId": g.id, "title": g.title, "index": i, "sheetType": "GRID",
			"gridProperties": map[string]any{"rowCount": g.rows, "columnCount": g.columns},
		}}
	}
	return map[string]any{
		"spreadsheetId": f.id, "spreadsheetUrl": "https://docs.google.com/spreadsheets/d/" + f.id + "/edit", "sheets": sheets,
		"properties": map[string]any{"title": f.title, "locale": "en_US", "timeZone": "Etc/GMT", "autoRecalc": "ON_CHANGE"},
	}
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
	case !cellsPattern.MatchString(strings.ToUpper(a1)):
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

// valueInput is a ValueRange as it is sent.
type valueInput struct {
	Range  string  `json:"range"`
	Values [][]any `json:"values"`
}

// typedInput reads valueInputOption, or answers that it is none.
func typedInput(w http.ResponseWriter, option string) (typed, ok bool) {
	switch option {
	case "RAW", "USER_ENTERED":
		return option == "USER_ENTERED", true
	}
	badArgument(w, "'valueInputOption' is required but not specified")
	return false, false
}

// put writes into a range and describes it as Google does. A range of several
// cells must hold all of them.
func (a gridRange) put(w http.ResponseWriter, f *googleFile, rows [][]any, typed bool) (map[string]any, bool) {
	width := 0
	for _, row := range rows {
		width = max(width, len(row))
		for _, v := range row {
			switch v.(type) {
			case nil, string, bool, float64:
			default:
				badArgument(w, "Invalid values: a cell is a list or a struct")
				return nil, false
			}
		}
	}
	many := a.top != a.bottom || a.left != a.right
	if many && (len(rows) > a.bottom-a.top+1 || width > a.right-a.left+1) {
		badArgument(w, fmt.Sprintf("Requested writing within range [%s], but tried writing outside of it", a))
		return nil, false
	}
	written := gridRange{a.googleGrid, a.top, a.left, a.top + max(len(rows), 1) - 1, a.left + max(width, 1) - 1}
	n := a.write(a.top, a.left, rows, typed)
	return map[string]any{
		"spreadsheetId": f.id, "updatedRange": written.String(), "updatedRows": len(rows), "updatedColumns": width, "updatedCells": n,
	}, true
}

func (s *Sheets) update(w http.ResponseWriter, r *http.Request, f *googleFile, target string) {
	var in valueInput
	typed, ok := typedInput(w, r.URL.Query().Get("valueInputOption"))
	if !ok || !decoded(w, r, &in) {
		return
	}
	if at, ok := f.resolve(w, target); ok {
		if done, ok := at.put(w, f, in.Values, typed); ok {
			s.record(f, false)
			writeJSON(w, http.StatusOK, done)
		}
	}
}

func decoded(w http.ResponseWriter, r *http.Request, into any) bool {
	if json.NewDecoder(r.Body).Decode(into) != nil {
		badArgument(w, "Invalid JSON payload received.")
		return false
	}
	return true
}

// append finds the table that begins in a range and writes below it.
func (s *Sheets) append(w http.ResponseWriter, r *http.Request, f *googleFile, target string) {
	var in valueInput
	typed, ok := typedInput(w, r.URL.Query().Get("valueInputOption"))
	if !ok || !decoded(w, r, &in) {
		return
	}
	at, ok := f.resolve(w, target)
	if !ok {
		return
	}
	answer := map[string]any{"spreadsheetId": f.id}
	row, column := at.top, at.left
	if table, ok := at.table(); ok {
		answer["tableRange"] = table.String()
		row, column = table.bottom+1, table.left
	}
	if r.URL.Query().Get("insertDataOption") == "INSERT_ROWS" {
		at.insert(row, len(in.Values))
	}
	at.rows = max(at.rows, row+len(in.Values)-1)
	done, ok := gridRange{at.googleGrid, row, column, row, column}.put(w, f, in.Values, typed)
	if !ok {
		return
	}
	answer["updates"] = done
	s.record(f, false)
	writeJSON(w, http.StatusOK, answer)
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

func (s *Sheets) batchGet(w http.ResponseWriter, r *http.Request, f *googleFile) {
	q := r.URL.Query()
	out := []any{}
	for _, a1 := range q["ranges"] {
		at, ok := f.resolve(w, a1)
		if !ok {
			return
		}
		out = append(out, at.json(q.Get("valueRenderOption")))
	}
	writeJSON(w, http.StatusOK, map[string]any{"spreadsheetId": f.id, "valueRanges": out})
}

func (s *Sheets) batchUpdate(w http.ResponseWriter, r *http.Request, f *googleFile) {
	var in struct {
		ValueInputOption string       `json:"valueInputOption"`
		Data             []valueInput `json:"data"`
	}
	if !decoded(w, r, &in) {
		return
	}
	typed, ok := typedInput(w, in.ValueInputOption)
	if !ok {
		return
	}
	targets := make([]gridRange, len(in.Data))
	for i, d := range in.Data {
		if targets[i], ok = f.resolve(w, d.Range); !ok {
			return
		}
	}
	rows, columns, cells := 0, 0, 0
	out := []any{}
	for i, d := range in.Data {
		done, ok := targets[i].put(w, f, d.Values, typed)
		if !ok {
			return
		}
		rows, columns, cells = rows+done["updatedRows"].(int), columns+done["updatedColumns"].(int), cells+done["updatedCells"].(int)
		out = append(out, done)
	}
	s.record(f, false)
	writeJSON(w, http.StatusOK, map[string]any{
		"spreadsheetId": f.id, "totalUpdatedRows": rows, "totalUpdatedColumns": columns, "totalUpdatedCells": cells,
		"totalUpdatedSheets": 1, "responses": out,
	})
}

func (s *Sheets) batchClear(w http.ResponseWriter, r *http.Request, f *googleFile) {
	var in struct {
		Ranges []string `json:"ranges"`
	}
	if !decoded(w, r, &in) {
		return
	}
	cleared := []string{}
	for _, a1 := range in.Ranges {
		at, ok := f.resolve(w, a1)
		if !ok {
			return
		}
		at.clear()
		cleared = append(cleared, at.String())
	}
	s.record(f, false)
	writeJSON(w, http.StatusOK, map[string]any{"spreadsheetId": f.id, "clearedRanges": cleared})
}
