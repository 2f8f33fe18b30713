package integrationstest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
)

const (
	jiraHookLife   = 30 * 24 * time.Hour
	jiraHooksMost  = 5
	jiraTimeLayout = "2006-01-02T15:04:05.000-0700"
)

type jiraHook struct {
	JiraWebhook
	person string
}

// JiraWebhook is a dynamic webhook of a site.
type JiraWebhook struct {
	ID                     int64
	URL, JQL               string
	Events                 []string
	FieldIDs, PropertyKeys []string
	ExpiresAt              time.Time
}

// Webhooks are the dynamic webhooks of a site.
func (j *Jira) Webhooks(cloudID string) []JiraWebhook {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []JiraWebhook
	if s := j.site(cloudID); s != nil {
		for _, h := range s.hooks {
			out = append(out, h.JiraWebhook)
		}
	}
	return out
}

// DropWebhooks ends all dynamic webhooks of a site, as Jira does after 30 days.
func (j *Jira) DropWebhooks(cloudID string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := j.site(cloudID); s != nil {
		s.hooks = nil
	}
}

func (c *jiraCall) registerHooks() {
	var in struct {
		URL      string `json:"url"`
		Webhooks []struct {
			Events       []string `json:"events"`
			JQL          string   `json:"jqlFilter"`
			FieldIDs     []string `json:"fieldIdsFilter"`
			PropertyKeys []string `json:"issuePropertyKeysFilter"`
		} `json:"webhooks"`
	}
	if decodeBody(c.r, &in) != nil || !strings.HasPrefix(in.URL, "https://") || len(in.Webhooks) == 0 {
		c.fail(http.StatusBadRequest, "url or webhooks is missing")
		return
	}
	results := []any{}
	for _, w := range in.Webhooks {
		fault := ""
		switch {
		case w.JQL == "":
			fault = "jqlFilter must not be empty"
		case strings.Contains(w.JQL, "~"):
			fault = "The clause watchCount is unsupported"
		case len(w.Events) == 0:
			fault = "events must not be empty"
		case slices.ContainsFunc(c.sites, func(s *jiraSite) bool {
			return slices.ContainsFunc(s.hooks, func(h *jiraHook) bool { return h.URL != in.URL })
		}):
			fault = "Only a single URL per app is allowed to be registered via REST API"
		case c.hooksOf() >= jiraHooksMost:
			fault = "The maximum number of webhooks has been reached"
		}
		if fault != "" {
			results = append(results, map[string]any{"errors": []string{fault}})
			continue
		}
		// Numbers begin anew at every site.
		id := int64(1)
		for _, h := range c.site.hooks {
			id = max(id, h.ID+1)
		}
		c.site.hooks = append(c.site.hooks, &jiraHook{
			JiraWebhook{
				ID: id, URL: in.URL, JQL: w.JQL, Events: w.Events, FieldIDs: w.FieldIDs, PropertyKeys: w.PropertyKeys,
				ExpiresAt: time.Now().Add(jiraHookLife),
			}, c.person,
		})
		results = append(results, map[string]any{"createdWebhookId": id})
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"webhookRegistrationResult": results})
}

func (c *jiraCall) hooksOf() int {
	n := 0
	for _, h := range c.site.hooks {
		if h.person == c.person {
			n++
		}
	}
	return n
}

func (c *jiraCall) listHooks() {
	values := []any{}
	for _, h := range c.site.hooks {
		if h.person == c.person {
			values = append(values, map[string]any{
				"id": h.ID, "jqlFilter": h.JQL, "events": h.Events, "fieldIdsFilter": h.FieldIDs, "issuePropertyKeysFilter": h.PropertyKeys,
				"url": h.URL, "expirationDate": h.ExpiresAt.UTC().Format(jiraTimeLayout),
			})
		}
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"startAt": 0, "maxResults": 100, "total": len(values), "isLast": true, "values": values})
}

// named are the caller's webhooks that a body names.
func (c *jiraCall) named() []*jiraHook {
	var in struct {
		IDs []int64 `json:"webhookIds"`
	}
	if decodeBody(c.r, &in) != nil {
		return nil
	}
	var out []*jiraHook
	for _, h := range c.site.hooks {
		if h.person == c.person && slices.Contains(in.IDs, h.ID) {
			out = append(out, h)
		}
	}
	return out
}

func (c *jiraCall) refreshHooks() {
	hooks := c.named()
	if len(hooks) == 0 {
		c.fail(http.StatusBadRequest, "No webhooks were found for the given ids.")
		return
	}
	until := time.Now().Add(jiraHookLife)
	for _, h := range hooks {
		h.ExpiresAt = until
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"expirationDate": until.UTC().Format(jiraTimeLayout)})
}

func (c *jiraCall) deleteHooks() {
	hooks := c.named()
	c.site.hooks = slices.DeleteFunc(c.site.hooks, func(h *jiraHook) bool { return slices.Contains(hooks, h) })
	c.w.WriteHeader(http.StatusAccepted)
}

// EventBody is the body of an event about an issue of a site, with the ids of the
// dynamic webhooks that want events of that type. Filters by JQL are not looked
// at.
func (j *Jira) EventBody(cloudID, eventType, issue string) []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.site(cloudID)
	if s == nil {
		j.kit.t.Fatalf("integrationstest: no site %s", cloudID)
		return nil
	}
	c := &jiraCall{Jira: j, site: s, person: s.persons[0]}
	body := map[string]any{"timestamp": time.Now().UnixMilli(), "webhookEvent": eventType, "user": c.user()}
	for _, i := range s.issues {
		if i.Key == issue {
			body["issue"] = c.bean(i, []string{"*all"})
		}
	}
	ids := []int64{}
	for _, h := range s.hooks {
		if slices.Contains(h.Events, eventType) {
			ids = append(ids, h.ID)
		}
	}
	if len(ids) > 0 {
		body["matchedWebhookIds"] = ids
	}
	return mustJSON(body)
}

// Event delivers an event about an issue of a site to the Manager as a dynamic
// webhook, and returns the answer's status. It is for those who registered for
// the type; without any it is not sent and the status is 0.
func (j *Jira) Event(cloudID, eventType, issue string) int {
	body := j.EventBody(cloudID, eventType, issue)
	if !strings.Contains(string(body), `"matchedWebhookIds"`) {
		return 0
	}
	return j.Deliver(j.identifier(), body)
}

// Deliver delivers a body as a dynamic webhook under an identifier.
func (j *Jira) Deliver(identifier string, body []byte) int {
	return j.kit.deliver(webhooktest.JiraDynamic(j.kit.webhookURL(jiraapp.Key), j.clientSecret, identifier, body, time.Now()))
}

// DeliverAdmin delivers a body as the webhook that an administrator made with an
// endpoint's URL and secret.
func (j *Jira) DeliverAdmin(url, secret string, body []byte) int {
	return j.kit.deliver(webhooktest.JiraAdmin(url, secret, j.identifier(), body))
}

func (j *Jira) identifier() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.nextID++
	return "webhook-" + strconv.FormatInt(j.nextID, 10)
}

// parseJQL reads the part of JQL that tests need: clauses of project, status,
// summary, assignee and key with =, ~ and IN, joined by AND, and an order, which
// is not kept. It returns what is wrong with a query, in Jira's manner.
func parseJQL(jql string) (func(*jiraIssue) bool, string) {
	words, fault := jqlWords(jql)
	if fault != "" {
		return nil, fault
	}
	var tests []func(*jiraIssue) bool
	for len(words) > 0 && !strings.EqualFold(words[0].text, "order") {
		if len(tests) > 0 {
			if !strings.EqualFold(words[0].text, "and") || words[0].quoted {
				return nil, fmt.Sprintf("Error in the JQL Query: Expecting operator but got '%s'.", words[0].text)
			}
			words = words[1:]
		}
		if len(words) < 3 {
			return nil, "Error in the JQL Query: Expecting either a value, list or function before the end of the query."
		}
		field, operator := strings.ToLower(words[0].text), strings.ToLower(words[1].text)
		words = words[2:]
		var values []string
		if words[0].text == "(" && !words[0].quoted {
			for words = words[1:]; len(words) > 0 && (words[0].text != ")" || words[0].quoted); words = words[1:] {
				if words[0].text != "," || words[0].quoted {
					values = append(values, words[0].text)
				}
			}
			if len(words) == 0 {
				return nil, "Error in the JQL Query: Expecting ')' before the end of the query."
			}
		} else {
			values = []string{words[0].text}
		}
		words = words[1:]
		if !slices.Contains([]string{"project", "status", "summary", "assignee", "key"}, field) || !slices.Contains([]string{"=", "~", "in"}, operator) {
			return nil, fmt.Sprintf("Field '%s' does not exist or you do not have permission to view it.", field)
		}
		tests = append(tests, func(i *jiraIssue) bool {
			have := i.jqlField(field)
			return slices.ContainsFunc(values, func(v string) bool {
				if operator == "~" {
					return strings.Contains(strings.ToLower(have), strings.ToLower(v))
				}
				return strings.EqualFold(have, v)
			})
		})
	}
	if len(tests) == 0 {
		return nil, "Unbounded JQL queries are not allowed here. Please add a search restriction to your query."
	}
	return func(i *jiraIssue) bool {
		return !slices.ContainsFunc(tests, func(t func(*jiraIssue) bool) bool { return !t(i) })
	}, ""
}

func (i *jiraIssue) jqlField(name string) string {
	switch name {
	case "project":
		project, _, _ := strings.Cut(i.Key, "-")
		return project
	case "status":
		return i.Status
	case "assignee":
		return i.Assignee
	case "key":
		return i.Key
	}
	text, _ := i.Fields[name].(string)
	return text
}

type jqlWord struct {
	text   string
	quoted bool
}

// jqlWords cuts a query into words, quoted ones without their quotes and escapes.
func jqlWords(jql string) ([]jqlWord, string) {
	var out []jqlWord
	r := []rune(jql)
	for i := 0; i < len(r); {
		switch c := r[i]; {
		case c == ' ' || c == '\t' || c == '\n':
			i++
		case c == '"' || c == '\'':
			var b strings.Builder
			for i++; ; i++ {
				if i >= len(r) {
					return nil, "Error in the JQL Query: The quoted string has not been completed."
				}
				if r[i] == c {
					break
				}
				if r[i] != '\\' {
					b.WriteRune(r[i])
					continue
				}
				i++
				text, n := jqlEscape(r[min(i, len(r)):])
				if n == 0 {
					return nil, "Error in the JQL Query: an illegal JQL escape sequence."
				}
				b.WriteString(text)
				i += n - 1
			}
			i++
			out = append(out, jqlWord{b.String(), true})
		case strings.ContainsRune("()=~,", c):
			out = append(out, jqlWord{string(c), false})
			i++
		default:
			start := i
			for i < len(r) && !strings.ContainsRune(" \t\n\"'()=~,", r[i]) {
				i++
			}
			out = append(out, jqlWord{string(r[start:i]), false})
		}
	}
	return out, ""
}

// jqlEscape reads what follows a backslash and returns its length.
func jqlEscape(r []rune) (string, int) {
	if len(r) == 0 {
		return "", 0
	}
	switch r[0] {
	case '"', '\'', '\\', ' ':
		return string(r[0]), 1
	case 'n':
		return "\n", 1
	case 'r':
		return "\r", 1
	case 't':
		return "\t", 1
	case 'u':
		if len(r) >= 5 {
			if n, err := strconv.ParseUint(string(r[1:5]), 16, 16); err == nil {
				return string(rune(n)), 5
			}
		}
	}
	return "", 0
}
