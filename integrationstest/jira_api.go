package integrationstest

import (
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// api is what stands below /ex/jira/{cloud}/.
func (j *Jira) api() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern, scope string, fn func(*jiraCall)) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" /ex/jira/{cloud}/rest/"+path, func(w http.ResponseWriter, r *http.Request) { j.serve(w, r, scope, fn) })
	}
	const read, write, user = "read:jira-work", "write:jira-work", "read:jira-user"
	handle("POST api/2/issue", write, (*jiraCall).createIssue)
	handle("GET api/2/issue/{issue}", read, (*jiraCall).getIssue)
	handle("PUT api/2/issue/{issue}", write, (*jiraCall).updateIssue)
	handle("GET api/2/issue/{issue}/transitions", read, (*jiraCall).transitions)
	handle("POST api/2/issue/{issue}/transitions", write, (*jiraCall).doTransition)
	handle("POST api/2/issue/{issue}/comment", write, (*jiraCall).comment)
	handle("PUT api/2/issue/{issue}/assignee", write, (*jiraCall).assign)
	handle("GET api/2/search/jql", read, (*jiraCall).search)
	handle("GET api/2/project/search", read, (*jiraCall).projects)
	handle("GET api/2/myself", user, (*jiraCall).myself)
	for _, version := range []string{"2", "3", "latest"} {
		for _, method := range []string{"GET", "POST"} {
			handle(method+" api/"+version+"/search", read, (*jiraCall).removed)
		}
	}
	const hooks = "manage:jira-webhook"
	handle("POST api/3/webhook", hooks, (*jiraCall).registerHooks)
	handle("GET api/3/webhook", hooks, (*jiraCall).listHooks)
	handle("GET api/3/webhook/failed", hooks, (*jiraCall).failedHooks)
	handle("PUT api/3/webhook/refresh", hooks, (*jiraCall).refreshHooks)
	handle("DELETE api/3/webhook", hooks, (*jiraCall).deleteHooks)
	return mux
}

// jiraCall is a call of somebody who may use a site. j.mu is held.
type jiraCall struct {
	*Jira
	site   *jiraSite
	person string
	w      http.ResponseWriter
	r      *http.Request
}

func (j *Jira) serve(w http.ResponseWriter, r *http.Request, scope string, fn func(*jiraCall)) {
	person, _, ok := j.Tokens.authorize(bearer(r))
	j.mu.Lock()
	defer j.mu.Unlock()
	j.quota--
	h := w.Header()
	h.Set("X-RateLimit-Limit", "65000")
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(j.quota, 0)))
	h.Set("X-RateLimit-NearLimit", strconv.FormatBool(j.quota < 13000))
	site := j.site(r.PathValue("cloud"))
	switch {
	case !ok:
		jiraGateway(w, http.StatusUnauthorized, "Unauthorized")
	case site == nil || site.noJira || !slices.Contains(site.persons, person):
		jiraGateway(w, http.StatusNotFound, "Not Found")
	case !slices.Contains(j.granted[person], scope) || scope == "manage:jira-webhook" && !slices.Contains(j.granted[person], "read:jira-work"):
		jiraGateway(w, http.StatusUnauthorized, "Unauthorized; scope does not match")
	case j.quota < 0:
		reset := time.Now().UTC().Truncate(time.Hour).Add(time.Hour)
		h.Set("Retry-After", strconv.Itoa(int(time.Until(reset).Seconds())+1))
		h.Set("X-RateLimit-Reset", reset.Format("2006-01-02T15:04Z"))
		h.Set("RateLimit-Reason", "jira-quota-global-based")
		jiraGateway(w, http.StatusTooManyRequests, "Rate limit exceeded.")
	default:
		fn(&jiraCall{j, site, person, w, r})
	}
}

// fail is a refusal of Jira: a message, or one for a field.
func (c *jiraCall) fail(status int, message string, field ...string) {
	body := map[string]any{"errorMessages": []string{message}, "errors": map[string]string{}}
	if len(field) > 0 {
		body = map[string]any{"errorMessages": []string{}, "errors": map[string]string{field[0]: message}}
	}
	writeJSON(c.w, status, body)
}

func (c *jiraCall) url(path string) string { return "https://" + c.site.host + "/rest/api/2/" + path }

// issue finds the issue of a path, nil after answering 404.
func (c *jiraCall) issue() *jiraIssue {
	name := c.r.PathValue("issue")
	for _, i := range c.site.issues {
		if strings.EqualFold(i.Key, name) || i.ID == name {
			return i
		}
	}
	c.fail(http.StatusNotFound, "Issue does not exist or you do not have permission to see it.")
	return nil
}

func (c *jiraCall) createIssue() {
	var in struct {
		Fields map[string]any `json:"fields"`
	}
	if decodeBody(c.r, &in) != nil {
		c.fail(http.StatusBadRequest, "Unexpected character")
		return
	}
	project, _ := in.Fields["project"].(map[string]any)
	key, _ := project["key"].(string)
	summary, _ := in.Fields["summary"].(string)
	description, isText := in.Fields["description"].(string)
	switch {
	case !slices.Contains(c.site.projects, key):
		c.fail(http.StatusBadRequest, "valid project is required", "project")
	case in.Fields["issuetype"] == nil:
		c.fail(http.StatusBadRequest, "Specify an issue type", "issuetype")
	case summary == "":
		c.fail(http.StatusBadRequest, "You must specify a summary of the issue.", "summary")
	case in.Fields["description"] != nil && !isText:
		c.fail(http.StatusBadRequest, "Operation value must be a string", "description")
	case len([]rune(description)) > 32767:
		c.fail(http.StatusBadRequest, "The entered text is too long. It exceeds the allowed limit of 32,767 characters.", "description")
	default:
		i := c.addIssue(c.site, key, in.Fields)
		writeJSON(c.w, http.StatusCreated, map[string]any{"id": i.ID, "key": i.Key, "self": c.url("issue/" + i.ID)})
	}
}

// bean is an issue as API v2 shows it.
func (c *jiraCall) bean(i *jiraIssue, fields []string) map[string]any {
	bean := map[string]any{"id": i.ID, "self": c.url("issue/" + i.ID)}
	all := maps.Clone(i.Fields)
	all["status"] = map[string]any{"name": i.Status}
	all["assignee"] = nil
	if i.Assignee != "" {
		all["assignee"] = map[string]any{"accountId": i.Assignee}
	}
	if len(fields) == 1 && fields[0] == "id" {
		return bean
	}
	bean["key"] = i.Key
	if len(fields) > 0 && !slices.Contains(fields, "*all") {
		maps.DeleteFunc(all, func(name string, _ any) bool { return !slices.Contains(fields, name) })
	}
	bean["fields"] = all
	return bean
}

func (c *jiraCall) fields() []string {
	return strings.FieldsFunc(c.r.URL.Query().Get("fields"), func(r rune) bool { return r == ',' })
}

func (c *jiraCall) getIssue() {
	if i := c.issue(); i != nil {
		writeJSON(c.w, http.StatusOK, c.bean(i, c.fields()))
	}
}

func (c *jiraCall) updateIssue() {
	i := c.issue()
	if i == nil {
		return
	}
	var in struct {
		Fields map[string]any `json:"fields"`
	}
	if decodeBody(c.r, &in) != nil || len(in.Fields) == 0 {
		c.fail(http.StatusBadRequest, "one of 'fields' or 'update' required")
		return
	}
	if _, has := in.Fields["status"]; has {
		c.fail(http.StatusBadRequest, "Field 'status' cannot be set.", "status")
		return
	}
	i.Fields = maps.Clone(i.Fields)
	maps.Copy(i.Fields, in.Fields)
	c.w.WriteHeader(http.StatusNoContent)
}

// jiraWorkflow is which transitions lead where.
var jiraWorkflow = []struct{ id, name, from, to string }{
	{"11", "Start work", "To Do", "In Progress"},
	{"21", "Done", "In Progress", "Done"},
	{"31", "Stop work", "In Progress", "To Do"},
	{"41", "Reopen", "Done", "To Do"},
}

func (c *jiraCall) transitions() {
	i := c.issue()
	if i == nil {
		return
	}
	list := []any{}
	for _, t := range jiraWorkflow {
		if t.from == i.Status {
			list = append(list, map[string]any{"id": t.id, "name": t.name, "to": map[string]any{"name": t.to}})
		}
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"expand": "transitions", "transitions": list})
}

func (c *jiraCall) doTransition() {
	i := c.issue()
	if i == nil {
		return
	}
	var in struct {
		Transition struct {
			ID string `json:"id"`
		} `json:"transition"`
	}
	if err := decodeBody(c.r, &in); err == nil {
		for _, t := range jiraWorkflow {
			if t.from == i.Status && t.id == in.Transition.ID {
				i.Status = t.to
				c.w.WriteHeader(http.StatusNoContent)
				return
			}
		}
	}
	c.fail(http.StatusBadRequest, "It seems that you have tried to perform a workflow operation that is not valid for the current state of this issue.")
}

func (c *jiraCall) comment() {
	i := c.issue()
	if i == nil {
		return
	}
	var in struct {
		Body string `json:"body"`
	}
	if decodeBody(c.r, &in) != nil || in.Body == "" {
		c.fail(http.StatusBadRequest, "Comment body can not be empty!", "comment")
		return
	}
	i.Comments = append(i.Comments, in.Body)
	c.nextID++
	id, now := strconv.FormatInt(c.nextID, 10), time.Now().Format("2006-01-02T15:04:05.000-0700")
	writeJSON(c.w, http.StatusCreated, map[string]any{
		"self": c.url("issue/" + i.ID + "/comment/" + id), "id": id, "body": in.Body, "author": c.user(), "updateAuthor": c.user(),
		"created": now, "updated": now, "jsdPublic": true,
	})
}

func (c *jiraCall) assign() {
	i := c.issue()
	if i == nil {
		return
	}
	in := map[string]*string{}
	if decodeBody(c.r, &in) != nil {
		c.fail(http.StatusBadRequest, "Unexpected character")
		return
	}
	id, named := in["accountId"]
	if !named {
		c.fail(http.StatusBadRequest, "The account ID is required.", "assignee")
		return
	}
	i.Assignee = ""
	if id != nil {
		i.Assignee = *id
	}
	c.w.WriteHeader(http.StatusNoContent)
}

func (c *jiraCall) user() map[string]any {
	return map[string]any{"self": c.url("user?accountId=" + c.person), "accountId": c.person, "accountType": "atlassian", "displayName": "Person " + c.person, "active": true}
}

func (c *jiraCall) myself() { writeJSON(c.w, http.StatusOK, c.user()) }

func (c *jiraCall) removed() {
	c.fail(http.StatusGone, "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.")
}

// search is search/jql: pages by a token, no total.
func (c *jiraCall) search() {
	q := c.r.URL.Query()
	match, fault := parseJQL(q.Get("jql"))
	if fault != "" {
		c.fail(http.StatusBadRequest, fault)
		return
	}
	size, err := strconv.Atoi(q.Get("maxResults"))
	if err != nil {
		size = 50
	}
	from := 0
	if t := q.Get("nextPageToken"); t != "" {
		raw, err := base64.RawURLEncoding.DecodeString(t)
		offset, jql, _ := strings.Cut(string(raw), "|")
		from, _ = strconv.Atoi(offset)
		if err != nil || jql != q.Get("jql") {
			c.fail(http.StatusBadRequest, "The provided next page token is invalid or expired.")
			return
		}
	}
	fields := c.fields()
	if len(fields) == 0 {
		fields = []string{"id"}
	}
	issues, seen := []any{}, 0
	answer := map[string]any{"isLast": true}
	for _, i := range c.site.issues {
		if !match(i) {
			continue
		}
		if seen++; seen <= from {
			continue
		}
		if len(issues) == size {
			answer["isLast"] = false
			answer["nextPageToken"] = base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(from+size) + "|" + q.Get("jql")))
			break
		}
		issues = append(issues, c.bean(i, fields))
	}
	answer["issues"] = issues
	writeJSON(c.w, http.StatusOK, answer)
}

func (c *jiraCall) projects() {
	q := c.r.URL.Query()
	from, _ := strconv.Atoi(q.Get("startAt"))
	size, err := strconv.Atoi(q.Get("maxResults"))
	if err != nil || size > 100 {
		size = 50
	}
	all := slices.Sorted(slices.Values(c.site.projects))
	from = min(max(from, 0), len(all))
	to := min(from+size, len(all))
	values := []any{}
	for n, key := range all[from:to] {
		id := strconv.Itoa(10000 + from + n)
		values = append(values, map[string]any{"id": id, "key": key, "name": "Project " + key, "self": c.url("project/" + id), "projectTypeKey": "software"})
	}
	writeJSON(c.w, http.StatusOK, map[string]any{
		"self": c.url("project/search"), "maxResults": size, "startAt": from, "total": len(all), "isLast": to == len(all), "values": values,
	})
}
