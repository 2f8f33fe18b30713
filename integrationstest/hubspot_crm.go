package integrationstest

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HubSpotObject is a record of the fake's CRM.
type HubSpotObject struct {
	ID         string
	Properties map[string]string
	Archived   bool

	created, updated time.Time
}

// Bounds of the search.
const (
	hubspotWindow     = 10_000
	hubspotPage       = 200
	hubspotSearchBody = 3_000
)

// crm serves records of every type.
func (h *HubSpot) crm(mux *http.ServeMux) {
	const base = "/crm/objects/2026-09/{type}"
	for pattern, fn := range map[string]func(w http.ResponseWriter, r *http.Request, p *hubspotPortal){
		"GET " + base:                  h.list,
		"POST " + base:                 h.create,
		"GET " + base + "/{id}":        h.get,
		"PATCH " + base + "/{id}":      h.update,
		"DELETE " + base + "/{id}":     h.archive,
		"POST " + base + "/search":     h.search,
		"POST " + base + "/batch/{op}": h.batch,
	} {
		mux.HandleFunc(pattern, h.api(func(w http.ResponseWriter, r *http.Request, p *hubspotPortal) {
			if h.allowed(w, r, p) {
				fn(w, r, p)
			}
		}))
	}
}

// Add puts a record into an account and returns its id.
func (h *HubSpot) Add(account, objectType string, properties map[string]string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.add(h.portal(account), objectType, properties).ID
}

// add must be called with h.mu held.
func (h *HubSpot) add(p *hubspotPortal, objectType string, properties map[string]string) *HubSpotObject {
	h.nextID++
	o := &HubSpotObject{ID: strconv.FormatInt(h.nextID, 10), Properties: map[string]string{}, created: time.Now().UTC()}
	o.updated = o.created
	maps.Copy(o.Properties, properties)
	o.Properties["hs_object_id"] = o.ID
	p.objects[objectType] = append(p.objects[objectType], o)
	return o
}

// Objects are the records of a type in an account, archived ones too, in order of
// their ids.
func (h *HubSpot) Objects(account, objectType string) []HubSpotObject {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []HubSpotObject
	for _, o := range h.portal(account).objects[objectType] {
		c := *o
		c.Properties = maps.Clone(o.Properties)
		out = append(out, c)
	}
	return out
}

// hubspotScoped are the types that need a scope of their own here.
var hubspotScoped = []string{"contacts", "companies", "deals", "tickets"}

// allowed refuses calls that the granted scopes do not cover.
func (h *HubSpot) allowed(w http.ResponseWriter, r *http.Request, p *hubspotPortal) bool {
	objectType := r.PathValue("type")
	right := ".read"
	if r.Method != http.MethodGet && !strings.HasSuffix(r.URL.Path, "/search") && r.PathValue("op") != "read" {
		right = ".write"
	}
	need := "crm.objects." + objectType + right
	if !slices.Contains(hubspotScoped, objectType) || slices.Contains(p.granted, need) {
		return true
	}
	hubspotFault(w, http.StatusForbidden, "MISSING_SCOPES", "This app hasn't been granted all required scopes to make this call.", map[string]any{
		"errors": []any{map[string]any{
			"message": "One or more of the following scopes are required.",
			"context": map[string]any{"requiredGranularScopes": []string{need}},
		}},
	})
	return false
}

// wire is a record as the API writes it.
func (o *HubSpotObject) wire(properties []string) map[string]any {
	if len(properties) == 0 {
		properties = []string{"email", "firstname", "lastname", "name", "domain"}
	}
	shown := map[string]any{"hs_object_id": o.ID, "createdate": o.created.Format(time.RFC3339), "lastmodifieddate": o.updated.Format(time.RFC3339)}
	for _, name := range properties {
		if v, ok := o.Properties[name]; ok && v != "" {
			shown[name] = v
		} else {
			shown[name] = nil
		}
	}
	return map[string]any{
		"id": o.ID, "properties": shown, "createdAt": o.created.Format("2006-01-02T15:04:05.000Z"),
		"updatedAt": o.updated.Format("2006-01-02T15:04:05.000Z"), "archived": o.Archived,
	}
}

// find finds a record by its id or by a value of a property.
func (p *hubspotPortal) find(objectType, key, idProperty string) *HubSpotObject {
	for _, o := range p.objects[objectType] {
		if o.Archived {
			continue
		}
		if idProperty == "" && o.ID == key || idProperty != "" && strings.EqualFold(o.Properties[idProperty], key) {
			return o
		}
	}
	return nil
}

func (p *hubspotPortal) emailTaken(objectType, email string) bool {
	return objectType == "contacts" && email != "" && p.find(objectType, email, "email") != nil
}

func hubspotNotFound(w http.ResponseWriter) {
	hubspotFault(w, http.StatusNotFound, "OBJECT_NOT_FOUND", "resource not found", nil)
}

func hubspotBadRequest(w http.ResponseWriter, text string) {
	hubspotFault(w, http.StatusBadRequest, "VALIDATION_ERROR", text, nil)
}

func hubspotNames(list string) []string {
	return strings.FieldsFunc(list, func(c rune) bool { return c == ',' })
}

func (h *HubSpot) get(w http.ResponseWriter, r *http.Request, p *hubspotPortal) {
	q := r.URL.Query()
	o := p.find(r.PathValue("type"), r.PathValue("id"), q.Get("idProperty"))
	if o == nil {
		hubspotNotFound(w)
		return
	}
	writeJSON(w, http.StatusOK, o.wire(hubspotNames(q.Get("properties"))))
}

func (h *HubSpot) list(w http.ResponseWriter, r *http.Request, p *hubspotPortal) {
	q := r.URL.Query()
	limit, err := strconv.Atoi(cmp.Or(q.Get("limit"), "10"))
	if err != nil || limit < 1 || limit > 100 {
		hubspotBadRequest(w, "limit must be from 1 to 100")
		return
	}
	var found []*HubSpotObject
	for _, o := range p.objects[r.PathValue("type")] {
		if o.Archived == (q.Get("archived") == "true") && (q.Get("after") == "" || hubspotLess(q.Get("after"), o.ID) || q.Get("after") == o.ID) {
			found = append(found, o)
		}
	}
	answer := map[string]any{}
	if len(found) > limit {
		answer["paging"] = map[string]any{"next": map[string]any{"after": found[limit].ID, "link": "https://api.hubapi.com/"}}
		found = found[:limit]
	}
	answer["results"] = hubspotWires(found, hubspotNames(q.Get("properties")))
	writeJSON(w, http.StatusOK, answer)
}

func hubspotWires(list []*HubSpotObject, properties []string) []any {
	out := []any{}
	for _, o := range list {
		out = append(out, o.wire(properties))
	}
	return out
}

type hubspotInput struct {
	ID         string            `json:"id"`
	IDProperty string            `json:"idProperty"`
	Properties map[string]string `json:"properties"`
	Trace      string            `json:"objectWriteTraceId"`
}

func (h *HubSpot) create(w http.ResponseWriter, r *http.Request, p *hubspotPortal) {
	var in hubspotInput
	if json.NewDecoder(r.Body).Decode(&in) != nil || in.Properties == nil {
		hubspotBadRequest(w, "Invalid input JSON")
		return
	}
	objectType := r.PathValue("type")
	if p.emailTaken(objectType, in.Properties["email"]) {
		hubspotFault(w, http.StatusConflict, "CONFLICT", "Contact already exists.", nil)
		return
	}
	writeJSON(w, http.StatusCreated, h.add(p, objectType, in.Properties).wire(slices.Sorted(maps.Keys(in.Properties))))
}

func (h *HubSpot) update(w http.ResponseWriter, r *http.Request, p *hubspotPortal) {
	var in hubspotInput
	if json.NewDecoder(r.Body).Decode(&in) != nil || in.Properties == nil {
		hubspotBadRequest(w, "Invalid input JSON")
		return
	}
	o := p.find(r.PathValue("type"), r.PathValue("id"), r.URL.Query().Get("idProperty"))
	if o == nil {
		hubspotNotFound(w)
		return
	}
	o.change(in.Properties)
	writeJSON(w, http.StatusOK, o.wire(slices.Sorted(maps.Keys(in.Properties))))
}

func (o *HubSpotObject) change(properties map[string]string) {
	maps.Copy(o.Properties, properties)
	o.updated = time.Now().UTC()
}

func (h *HubSpot) archive(w http.ResponseWriter, r *http.Request, p *hubspotPortal) {
	if o := p.find(r.PathValue("type"), r.PathValue("id"), ""); o != nil {
		o.Archived = true
	}
	w.WriteHeader(http.StatusNoContent)
}

// batch reads and writes up to 100 records. Faults of single records come with
// 207.
func (h *HubSpot) batch(w http.ResponseWriter, r *http.Request, p *hubspotPortal) {
	var in struct {
		Inputs     []hubspotInput `json:"inputs"`
		IDProperty string         `json:"idProperty"`
		Properties []string       `json:"properties"`
	}
	if json.NewDecoder(r.Body).Decode(&in) != nil || len(in.Inputs) == 0 || len(in.Inputs) > hubspotBatchSize {
		hubspotBadRequest(w, "inputs must hold 1 to 100 records")
		return
	}
	objectType, op := r.PathValue("type"), r.PathValue("op")
	results, faults := []any{}, []any{}
	for _, input := range in.Inputs {
		property := cmp.Or(input.IDProperty, in.IDProperty)
		o := p.find(objectType, input.ID, property)
		shown := slices.Sorted(maps.Keys(input.Properties))
		switch {
		case op == "create" && p.emailTaken(objectType, input.Properties["email"]):
			faults = append(faults, hubspotBatchFault("CONFLICT", "Contact already exists.", "objectWriteTraceId", input.Trace))
		case op == "create":
			results = append(results, h.add(p, objectType, input.Properties).wire(shown))
		case op == "upsert" && property == "":
			faults = append(faults, hubspotBatchFault("VALIDATION_ERROR", "idProperty is missing", "ids", input.ID))
		case op == "upsert" && o == nil:
			added := h.add(p, objectType, input.Properties)
			added.Properties[property] = input.ID
			results = append(results, hubspotUpserted(added, shown, true))
		case o == nil:
			faults = append(faults, hubspotBatchFault("OBJECT_NOT_FOUND", "Could not get some objects, they may be deleted or not exist.", "ids", input.ID))
		case op == "read":
			results = append(results, o.wire(in.Properties))
		case op == "update":
			o.change(input.Properties)
			results = append(results, o.wire(shown))
		case op == "upsert":
			o.change(input.Properties)
			results = append(results, hubspotUpserted(o, shown, false))
		default:
			http.NotFound(w, r)
			return
		}
	}
	now := time.Now().UTC().Format(time.RFC3339)
	answer := map[string]any{"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
	status := http.StatusOK
	if op == "create" {
		status = http.StatusCreated
	}
	if len(faults) > 0 {
		status, answer["errors"], answer["numErrors"] = http.StatusMultiStatus, faults, len(faults)
	}
	writeJSON(w, status, answer)
}

func hubspotUpserted(o *HubSpotObject, properties []string, isNew bool) map[string]any {
	m := o.wire(properties)
	m["new"] = isNew
	return m
}

func hubspotBatchFault(category, text, name, key string) map[string]any {
	return map[string]any{"status": "error", "category": category, "message": text, "context": map[string]any{name: []string{key}}}
}

type hubspotFilter struct {
	Property  string   `json:"propertyName"`
	Operator  string   `json:"operator"`
	Value     string   `json:"value"`
	HighValue string   `json:"highValue"`
	Values    []string `json:"values"`
}

func (h *HubSpot) search(w http.ResponseWriter, r *http.Request, p *hubspotPortal) {
	var in struct {
		Groups []struct {
			Filters []hubspotFilter `json:"filters"`
		} `json:"filterGroups"`
		Sorts []struct {
			Property  string `json:"propertyName"`
			Direction string `json:"direction"`
		} `json:"sorts"`
		Query, After string
		Properties   []string
		Limit        int
	}
	if json.NewDecoder(r.Body).Decode(&in) != nil || r.ContentLength > hubspotSearchBody || in.Limit < 0 || in.Limit > hubspotPage {
		hubspotBadRequest(w, "There was a problem with the request.")
		return
	}
	limit := cmp.Or(in.Limit, 10)
	after, err := strconv.Atoi(cmp.Or(in.After, "0"))
	if err != nil || after+limit > hubspotWindow {
		hubspotBadRequest(w, "Paging is limited to 10,000 results.")
		return
	}
	var found []*HubSpotObject
	for _, o := range p.objects[r.PathValue("type")] {
		matches := len(in.Groups) == 0
		for _, g := range in.Groups {
			matches = matches || !slices.ContainsFunc(g.Filters, func(f hubspotFilter) bool { return !f.matches(o) })
		}
		if matches && !o.Archived && o.mentions(in.Query) {
			found = append(found, o)
		}
	}
	for _, s := range in.Sorts {
		slices.SortStableFunc(found, func(a, b *HubSpotObject) int {
			switch x, y := a.Properties[s.Property], b.Properties[s.Property]; {
			case x == y:
				return 0
			case hubspotLess(x, y) == (s.Direction != "DESCENDING"):
				return -1
			}
			return 1
		})
	}
	answer := map[string]any{"total": len(found)}
	found = found[min(after, len(found)):]
	if len(found) > limit {
		found = found[:limit]
		answer["paging"] = map[string]any{"next": map[string]any{"after": strconv.Itoa(after + limit)}}
	}
	answer["results"] = hubspotWires(found, in.Properties)
	writeJSON(w, http.StatusOK, answer)
}

func (o *HubSpotObject) mentions(text string) bool {
	if text == "" {
		return true
	}
	for _, v := range o.Properties {
		if strings.Contains(strings.ToLower(v), strings.ToLower(text)) {
			return true
		}
	}
	return false
}

func (f hubspotFilter) matches(o *HubSpotObject) bool {
	v, has := o.Properties[f.Property]
	switch f.Operator {
	case "EQ":
		return v == f.Value
	case "NEQ":
		return v != f.Value
	case "GT":
		return hubspotLess(f.Value, v)
	case "GTE":
		return !hubspotLess(v, f.Value)
	case "LT":
		return hubspotLess(v, f.Value)
	case "LTE":
		return !hubspotLess(f.Value, v)
	case "BETWEEN":
		return !hubspotLess(v, f.Value) && !hubspotLess(f.HighValue, v)
	case "IN":
		return slices.Contains(f.Values, v)
	case "NOT_IN":
		return !slices.Contains(f.Values, v)
	case "HAS_PROPERTY":
		return has && v != ""
	case "NOT_HAS_PROPERTY":
		return v == ""
	case "CONTAINS_TOKEN":
		return strings.Contains(v, strings.Trim(f.Value, "*"))
	}
	return false
}

// hubspotLess compares numbers as numbers.
func hubspotLess(a, b string) bool {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	if errX == nil && errY == nil {
		return x < y
	}
	return a < b
}
