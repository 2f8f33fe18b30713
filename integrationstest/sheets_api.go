package integrationstest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
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
