package integrationstest

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// salesforceRecord is a record with its fields. Id and SystemModstamp are among
// them.
type salesforceRecord struct{ fields map[string]any }

const (
	salesforceData = "/services/data/{version}"
	modstamp       = "SystemModstamp"
	// stampForm is how the API writes times.
	stampForm = "2006-01-02T15:04:05.000-0700"
)

// salesforcePrefixes begin the ids of an object's records.
var salesforcePrefixes = map[string]string{"Contact": "003", "Account": "001", "Lead": "00Q", "Opportunity": "006"}

func salesforcePrefix(object string) string {
	if p := salesforcePrefixes[object]; p != "" {
		return p
	}
	return "a00"
}

// Put adds a record to an account's org and returns its id.
func (s *Salesforce) Put(account, object string, fields map[string]any) string {
	o := s.org(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(o, object, fields)
}

// put must be called with s.mu held.
func (s *Salesforce) put(o *salesforceOrg, object string, fields map[string]any) string {
	s.serial++
	id := salesforceID18(salesforcePrefix(object) + fmt.Sprintf("5e%010d", s.serial))
	r := &salesforceRecord{fields: maps.Clone(fields)}
	if r.fields == nil {
		r.fields = map[string]any{}
	}
	r.fields["Id"] = id
	r.touch()
	o.records[object] = append(o.records[object], r)
	return id
}

func (r *salesforceRecord) touch() { r.fields[modstamp] = time.Now().UTC().Format(stampForm) }

// Records returns the records of an object of an account's org, in order of
// creation.
func (s *Salesforce) Records(account, object string) []map[string]any {
	o := s.org(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]map[string]any, 0, len(o.records[object]))
	for _, r := range o.records[object] {
		out = append(out, maps.Clone(r.fields))
	}
	return out
}

// SetPageSize sets how many records a page of a query has; 2000 at first.
func (s *Salesforce) SetPageSize(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pageSize = n
}

// SetQuota sets how many requests an account's org has in 24 hours, those used
// included; 15000 at first.
func (s *Salesforce) SetQuota(account string, n int) {
	o := s.org(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	o.quota = n
}

func (s *Salesforce) rest(mux *http.ServeMux, o *salesforceOrg) {
	type call func(w http.ResponseWriter, r *http.Request, o *salesforceOrg)
	for pattern, fn := range map[string]call{
		"GET " + salesforceData + "/limits":                              s.limits,
		"GET " + salesforceData + "/query":                               s.query,
		"GET " + salesforceData + "/queryAll":                            s.query,
		"GET " + salesforceData + "/query/{cursor}":                      s.queryMore,
		"GET " + salesforceData + "/sobjects/{object}/describe":          s.describe,
		"POST " + salesforceData + "/sobjects/{object}":                  s.create,
		"GET " + salesforceData + "/sobjects/{object}/{id}":              s.get,
		"PATCH " + salesforceData + "/sobjects/{object}/{id}":            s.update,
		"DELETE " + salesforceData + "/sobjects/{object}/{id}":           s.remove,
		"PATCH " + salesforceData + "/sobjects/{object}/{field}/{value}": s.upsert,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if s.admit(w, r, o) {
				s.mu.Lock()
				defer s.mu.Unlock()
				fn(w, r, o)
			}
		})
	}
}

func salesforceNo(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, []any{map[string]any{"message": message, "errorCode": code}})
}

// admit checks the token, which must be of this very org, and the allowance.
func (s *Salesforce) admit(w http.ResponseWriter, r *http.Request, o *salesforceOrg) bool {
	account, _, ok := s.Tokens.authorize(bearer(r))
	if !ok || account != o.account {
		salesforceNo(w, http.StatusUnauthorized, "INVALID_SESSION_ID", "Session expired or invalid")
		return false
	}
	if scopes := s.Tokens.scopesOf(bearer(r)); !slices.Contains(scopes, "api") && !slices.Contains(scopes, "full") {
		salesforceNo(w, http.StatusUnauthorized, "INVALID_SESSION_ID", "This session is not valid for use with the REST API")
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.used >= o.quota {
		salesforceNo(w, http.StatusForbidden, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
		return false
	}
	o.used++
	w.Header().Set("Sforce-Limit-Info", fmt.Sprintf("api-usage=%d/%d", o.used, o.quota))
	return true
}

func (s *Salesforce) limits(w http.ResponseWriter, _ *http.Request, o *salesforceOrg) {
	writeJSON(w, http.StatusOK, map[string]any{"DailyApiRequests": map[string]any{"Max": o.quota, "Remaining": o.quota - o.used}})
}

func (s *Salesforce) describe(w http.ResponseWriter, r *http.Request, o *salesforceOrg) {
	object := r.PathValue("object")
	names := map[string]bool{"Id": true, modstamp: true}
	if object == "Contact" {
		for _, n := range []string{"FirstName", "LastName", "Email", "Phone", "AccountId"} {
			names[n] = true
		}
	}
	for _, rec := range o.records[object] {
		for n := range rec.fields {
			names[n] = true
		}
	}
	var fields []any
	for _, n := range slices.Sorted(maps.Keys(names)) {
		kind := "string"
		switch n {
		case "Id":
			kind = "id"
		case modstamp:
			kind = "datetime"
		}
		fields = append(fields, map[string]any{
			"name": n, "label": n, "type": kind, "length": 80, "custom": strings.HasSuffix(n, "__c"), "nillable": n != "Id" && n != "LastName",
			"createable": kind == "string", "updateable": kind == "string", "externalId": strings.HasPrefix(n, "Ext"), "referenceTo": []string{}, "picklistValues": []any{},
		})
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"name": object, "label": object, "keyPrefix": salesforcePrefix(object), "custom": strings.HasSuffix(object, "__c"),
		"createable": true, "updateable": true, "deletable": true, "queryable": true, "fields": fields,
	})
}

func (o *salesforceOrg) find(object, field, value string) []*salesforceRecord {
	var out []*salesforceRecord
	for _, r := range o.records[object] {
		have, _ := r.fields[field].(string)
		if have == value || field == "Id" && len(value) == 15 && have[:15] == value {
			out = append(out, r)
		}
	}
	return out
}

// byID finds the record a path names, or answers.
func (o *salesforceOrg) byID(w http.ResponseWriter, r *http.Request) *salesforceRecord {
	found := o.find(r.PathValue("object"), "Id", r.PathValue("id"))
	if len(found) == 0 {
		salesforceNo(w, http.StatusNotFound, "NOT_FOUND", "The requested resource does not exist")
		return nil
	}
	return found[0]
}

func (s *Salesforce) get(w http.ResponseWriter, r *http.Request, o *salesforceOrg) {
	rec := o.byID(w, r)
	if rec == nil {
		return
	}
	out := map[string]any{"attributes": attributes(r.PathValue("version"), r.PathValue("object"), rec)}
	if list := r.URL.Query().Get("fields"); list != "" {
		for n := range strings.SplitSeq(list, ",") {
			out[n] = rec.fields[n]
		}
		out["Id"] = rec.fields["Id"]
	} else {
		maps.Copy(out, rec.fields)
	}
	writeJSON(w, http.StatusOK, out)
}

func attributes(version, object string, r *salesforceRecord) map[string]any {
	return map[string]any{"type": object, "url": fmt.Sprintf("/services/data/%s/sobjects/%s/%s", version, object, r.fields["Id"])}
}

// written reads the fields of a write, or answers.
func written(w http.ResponseWriter, r *http.Request) map[string]any {
	var fields map[string]any
	if decodeBody(r, &fields) != nil || fields == nil {
		salesforceNo(w, http.StatusBadRequest, "JSON_PARSER_ERROR", "Unexpected character")
		return nil
	}
	for _, n := range []string{"Id", modstamp} {
		if _, has := fields[n]; has {
			salesforceNo(w, http.StatusBadRequest, "INVALID_FIELD_FOR_INSERT_UPDATE", "Unable to create/update fields: "+n)
			return nil
		}
	}
	return fields
}

func (s *Salesforce) create(w http.ResponseWriter, r *http.Request, o *salesforceOrg) {
	fields := written(w, r)
	if fields == nil {
		return
	}
	if id, ok := s.insert(w, o, r.PathValue("object"), fields); ok {
		writeJSON(w, http.StatusCreated, map[string]any{"id": id, "success": true, "errors": []any{}})
	}
}

func (s *Salesforce) insert(w http.ResponseWriter, o *salesforceOrg, object string, fields map[string]any) (string, bool) {
	if name, _ := fields["LastName"].(string); object == "Contact" && name == "" {
		writeJSON(w, http.StatusBadRequest, []any{map[string]any{
			"message": "Required fields are missing: [LastName]", "errorCode": "REQUIRED_FIELD_MISSING", "fields": []string{"LastName"},
		}})
		return "", false
	}
	return s.put(o, object, fields), true
}

func (s *Salesforce) update(w http.ResponseWriter, r *http.Request, o *salesforceOrg) {
	rec := o.byID(w, r)
	if rec == nil {
		return
	}
	fields := written(w, r)
	if fields == nil {
		return
	}
	maps.Copy(rec.fields, fields)
	rec.touch()
	w.WriteHeader(http.StatusNoContent)
}

func (s *Salesforce) upsert(w http.ResponseWriter, r *http.Request, o *salesforceOrg) {
	object, field, value := r.PathValue("object"), r.PathValue("field"), r.PathValue("value")
	fields := written(w, r)
	if fields == nil {
		return
	}
	switch found := o.find(object, field, value); len(found) {
	case 0:
		fields[field] = value
		if id, ok := s.insert(w, o, object, fields); ok {
			writeJSON(w, http.StatusCreated, map[string]any{"id": id, "success": true, "errors": []any{}, "created": true})
		}
	case 1:
		maps.Copy(found[0].fields, fields)
		found[0].touch()
		writeJSON(w, http.StatusOK, map[string]any{"id": found[0].fields["Id"], "success": true, "errors": []any{}, "created": false})
	default:
		var urls []string
		for _, rec := range found {
			urls = append(urls, fmt.Sprint(attributes(r.PathValue("version"), object, rec)["url"]))
		}
		writeJSON(w, http.StatusMultipleChoices, urls)
	}
}

func (s *Salesforce) remove(w http.ResponseWriter, r *http.Request, o *salesforceOrg) {
	rec := o.byID(w, r)
	if rec == nil {
		return
	}
	object := r.PathValue("object")
	o.records[object] = slices.DeleteFunc(o.records[object], func(other *salesforceRecord) bool { return other == rec })
	w.WriteHeader(http.StatusNoContent)
}

func (s *Salesforce) query(w http.ResponseWriter, r *http.Request, o *salesforceOrg) {
	q, err := parseSOQL(r.URL.Query().Get("q"))
	if err != nil {
		salesforceNo(w, http.StatusBadRequest, "MALFORMED_QUERY", err.Error())
		return
	}
	version := r.PathValue("version")
	var rows []map[string]any
	for _, rec := range q.run(o.records[q.object]) {
		row := map[string]any{"attributes": attributes(version, q.object, rec)}
		for _, f := range q.fields {
			row[f] = rec.fields[f]
		}
		rows = append(rows, row)
	}
	s.page(w, o, version, rows, len(rows), 0, "01g"+randomHex()[:12])
}

// page answers with the rows that follow the first skip ones.
func (s *Salesforce) page(w http.ResponseWriter, o *salesforceOrg, version string, rows []map[string]any, total, skip int, id string) {
	rest := rows[min(skip, len(rows)):]
	answer := map[string]any{"totalSize": total, "done": len(rest) <= s.pageSize, "records": rest[:min(len(rest), s.pageSize)]}
	if len(rest) > s.pageSize {
		o.cursors[id] = rows
		answer["nextRecordsUrl"] = "/services/data/" + version + "/query/" + url.PathEscape(id+"-"+strconv.Itoa(skip+s.pageSize))
	}
	if len(rest) == 0 {
		answer["records"] = []any{}
	}
	writeJSON(w, http.StatusOK, answer)
}

// ForgetQueries makes all pages that were not read yet unknown.
func (s *Salesforce) ForgetQueries(account string) {
	o := s.org(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(o.cursors)
}

func (s *Salesforce) queryMore(w http.ResponseWriter, r *http.Request, o *salesforceOrg) {
	id, at, _ := strings.Cut(r.PathValue("cursor"), "-")
	skip, err := strconv.Atoi(at)
	rows, ok := o.cursors[id]
	if err != nil || skip < 0 || !ok {
		salesforceNo(w, http.StatusBadRequest, "INVALID_QUERY_LOCATOR", "invalid query locator")
		return
	}
	s.page(w, o, r.PathValue("version"), rows, len(rows), skip, id)
}
