package jiraapp_test

import (
	"context"
	"errors"
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/andygrunwald/go-jira"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/stretchr/testify/require"
)

func TestCreateIssue(t *testing.T) {
	w := answers(answer(201, `{"id":"10002","key":"ACME-7","self":"https://acme.atlassian.net/rest/api/2/issue/10002"}`))
	issue, err := jiraapp.CreateIssue(t.Context(), connection(t, w), jiraapp.Draft{
		Project: "ACME", Type: "Sub-task", Summary: "Ünsafe <b>", Description: jiraapp.Plain("*x*"), Parent: "ACME-1",
		Labels: []string{"fire"}, Fields: map[string]any{"priority": map[string]string{"name": "High"}, "customfield_10010": 3.5},
	})
	require.NoError(t, err)
	require.Equal(t, &jira.Issue{ID: "10002", Key: "ACME-7", Self: "https://acme.atlassian.net/rest/api/2/issue/10002"}, issue)
	sent := w.one(t)
	require.JSONEq(t, `{"fields":{"project":{"key":"ACME"},"issuetype":{"name":"Sub-task"},"summary":"Ünsafe <b>","description":"\\*x\\*",
		"parent":{"key":"ACME-1"},"labels":["fire"],"priority":{"name":"High"},"customfield_10010":3.5}}`, sent.body)
	sent.body = ""
	require.Equal(t, recorded{method: "POST", url: base + "2/issue", contentType: "application/json", authorization: "Bearer access-1"}, sent)

	w = answers(answer(201, `{"id":"1","key":"A-1"}`))
	_, err = jiraapp.CreateIssue(t.Context(), connection(t, w), jiraapp.Draft{Project: "A", Type: "Task", Summary: "x", Parent: "10001"})
	require.NoError(t, err)
	require.JSONEq(t, `{"fields":{"project":{"key":"A"},"issuetype":{"name":"Task"},"summary":"x","parent":{"id":"10001"}}}`, w.one(t).body)

	_, err = jiraapp.CreateIssue(t.Context(), connection(t, answers(answer(201, `{}`))), jiraapp.Draft{Project: "A", Type: "Task", Summary: "x"})
	require.ErrorIs(t, err, providers.ErrTransient)
}

func TestCreateIssueRefusesDrafts(t *testing.T) {
	good := jiraapp.Draft{Project: "ACME", Type: "Task", Summary: "x"}
	for name, change := range map[string]func(*jiraapp.Draft){
		"no project":        func(d *jiraapp.Draft) { d.Project = "" },
		"project":           func(d *jiraapp.Draft) { d.Project = "AC ME" },
		"no type":           func(d *jiraapp.Draft) { d.Type = "" },
		"no summary":        func(d *jiraapp.Draft) { d.Summary = " " },
		"lines":             func(d *jiraapp.Draft) { d.Summary = "a\nb" },
		"long":              func(d *jiraapp.Draft) { d.Summary = strings.Repeat("é", 256) },
		"parent":            func(d *jiraapp.Draft) { d.Parent = "../1" },
		"a field twice":     func(d *jiraapp.Draft) { d.Fields = map[string]any{"summary": "y"} },
		"a field of no one": func(d *jiraapp.Draft) { d.Fields = map[string]any{"": "y"} },
		"no JSON":           func(d *jiraapp.Draft) { d.Fields = map[string]any{"x": math.Inf(1)} },
	} {
		w := answers(answer(500, ""))
		d := good
		change(&d)
		_, err := jiraapp.CreateIssue(t.Context(), connection(t, w), d)
		require.ErrorIs(t, err, providers.ErrInvalid, name)
		require.Empty(t, w.sent, name)
	}
}

func TestGetIssue(t *testing.T) {
	w := answers(answer(200, `{"id":"10002","key":"ACME-7","fields":{"summary":"x","status":{"name":"Done"},"updated":"2026-11-01T10:00:00.000+0000"}}`))
	issue, err := jiraapp.GetIssue(t.Context(), connection(t, w), "ACME-7", "summary", "status", "updated")
	require.NoError(t, err)
	require.Equal(t, "x", issue.Fields.Summary)
	require.Equal(t, "Done", issue.Fields.Status.Name)
	require.True(t, time.Time(issue.Fields.Updated).Equal(time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)))
	require.Equal(t, recorded{"GET", base + "2/issue/ACME-7?fields=summary%2Cstatus%2Cupdated", "application/json", "Bearer access-1", ""}, w.one(t))
	w = answers(answer(200, `{"id":"10002","key":"ACME-7","fields":{}}`))
	_, err = jiraapp.GetIssue(t.Context(), connection(t, w), "10002")
	require.NoError(t, err)
	require.Equal(t, base+"2/issue/10002", w.one(t).url)
}

func TestUpdateIssue(t *testing.T) {
	w := answers(answer(204, ""))
	require.NoError(t, jiraapp.UpdateIssue(t.Context(), connection(t, w), "ACME-7", map[string]any{"summary": "y", "description": jiraapp.Markdown("**b**"), "duedate": nil}))
	sent := w.one(t)
	require.Equal(t, "PUT "+base+"2/issue/ACME-7", sent.method+" "+sent.url)
	require.JSONEq(t, `{"fields":{"summary":"y","description":"*b*","duedate":null}}`, sent.body)
	for _, fields := range []map[string]any{nil, {}, {"x": make(chan int)}} {
		w := answers(answer(204, ""))
		require.ErrorIs(t, jiraapp.UpdateIssue(t.Context(), connection(t, w), "ACME-7", fields), providers.ErrInvalid)
		require.Empty(t, w.sent)
	}
}

const offered = `{"transitions":[{"id":"11","name":"Start work","to":{"name":"In Progress"}},{"id":"21","name":"Done"},{"id":"31","name":"done "}]}`

func TestTransition(t *testing.T) {
	w := answers(answer(200, offered), answer(204, ""))
	require.NoError(t, jiraapp.Transition(t.Context(), connection(t, w), "ACME-7", "start WORK"))
	require.Len(t, w.sent, 2)
	require.Equal(t, "GET "+base+"2/issue/ACME-7/transitions?expand=transitions.fields", w.sent[0].method+" "+w.sent[0].url)
	require.Equal(t, "POST "+base+"2/issue/ACME-7/transitions", w.sent[1].method+" "+w.sent[1].url)
	require.JSONEq(t, `{"transition":{"id":"11"},"fields":{},"update":{}}`, w.sent[1].body)
	require.Zero(t, w.open)

	w = answers(answer(200, offered))
	err := jiraapp.Transition(t.Context(), connection(t, w), "ACME-7", "close")
	require.ErrorIs(t, err, providers.ErrInvalid)
	require.ErrorContains(t, err, `0 transitions are named "close", offered are: "Start work", "Done", "done "`)
	err = jiraapp.Transition(t.Context(), connection(t, answers(answer(200, offered))), "ACME-7", "DONE")
	require.ErrorIs(t, err, providers.ErrInvalid)
	require.ErrorContains(t, err, "2 transitions")
	err = jiraapp.Transition(t.Context(), connection(t, answers(answer(200, offered), answer(409, `{}`))), "ACME-7", "start work")
	require.ErrorIs(t, err, providers.ErrConflict)
}

func TestComment(t *testing.T) {
	w := answers(answer(201, `{"id":"5","body":"x","author":{"accountId":"u1"}}`))
	c, err := jiraapp.Comment(t.Context(), connection(t, w), "ACME-7", jiraapp.Plain("{x}"))
	require.NoError(t, err)
	require.Equal(t, "u1", c.Author.AccountID)
	require.Equal(t, recorded{"POST", base + "2/issue/ACME-7/comment", "application/json", "Bearer access-1", `{"body":"\\{x\\}"}`}, w.one(t))
	w = answers(answer(201, ""))
	_, err = jiraapp.Comment(t.Context(), connection(t, w), "ACME-7", jiraapp.Text{})
	require.ErrorIs(t, err, providers.ErrInvalid)
	require.Empty(t, w.sent)
}

func TestAssign(t *testing.T) {
	for id, body := range map[string]string{
		"5b10a2844c20165700ede21g": `{"accountId":"5b10a2844c20165700ede21g"}`, "557058:f58131cb-b67d-43c7-b30d-6b58d40bd077": `{"accountId":"557058:f58131cb-b67d-43c7-b30d-6b58d40bd077"}`,
		"-1": `{"accountId":"-1"}`, "": `{"accountId":null}`,
	} {
		w := answers(answer(204, ""))
		require.NoError(t, jiraapp.Assign(t.Context(), connection(t, w), "ACME-7", id))
		require.Equal(t, recorded{"PUT", base + "2/issue/ACME-7/assignee", "application/json", "Bearer access-1", body}, w.one(t))
	}
	for _, id := range []string{"ann@example.com", "a b", "a\"", strings.Repeat("a", 129)} {
		w := answers(answer(204, ""))
		require.ErrorIs(t, jiraapp.Assign(t.Context(), connection(t, w), "ACME-7", id), providers.ErrInvalid)
		require.Empty(t, w.sent)
	}
}

// operations are all that take a connection and an issue.
func operations(ctx context.Context, conn *providers.Connection, issue string) map[string]error {
	_, get := jiraapp.GetIssue(ctx, conn, issue)
	_, comment := jiraapp.Comment(ctx, conn, issue, jiraapp.Plain("x"))
	return map[string]error{
		"get": get, "comment": comment, "update": jiraapp.UpdateIssue(ctx, conn, issue, map[string]any{"summary": "x"}),
		"transition": jiraapp.Transition(ctx, conn, issue, "Done"), "assign": jiraapp.Assign(ctx, conn, issue, ""),
	}
}

func TestIssuesAreCheckedByForm(t *testing.T) {
	for _, issue := range []string{
		"", "ACME", "ACME-", "-1", "ACME-0", "ACME-01", "ACME-1/../../x", "../1", "ACME-1?x=1", "ACME-1#x", "ACME 1", "AC-ME-1", "1ACME-1",
		"ACME-1%2f", "ACMÉ-1", "ACME-1\n", "0", "01", "1.5", "9999999999999999999", strings.Repeat("A", 65) + "-1",
	} {
		w := answers(answer(500, ""))
		for name, err := range operations(t.Context(), connection(t, w), issue) {
			require.ErrorIs(t, err, providers.ErrInvalid, "%s of %q", name, issue)
		}
		require.Empty(t, w.sent)
	}
	for _, issue := range []string{"A-1", "ACME_2-10", "acme-9", "10002"} {
		_, err := jiraapp.GetIssue(t.Context(), connection(t, answers(answer(200, `{}`))), issue)
		require.NoError(t, err)
	}
}

// every is operations and those without an issue.
func every(ctx context.Context, conn *providers.Connection) map[string]error {
	all := operations(ctx, conn, "ACME-1")
	_, all["create"] = jiraapp.CreateIssue(ctx, conn, jiraapp.Draft{Project: "ACME", Type: "Task", Summary: "x"})
	_, all["client"] = jiraapp.Client(ctx, conn)
	_, all["register"] = jiraapp.RegisterWebhooks(ctx, conn, jiraapp.Webhook{Name: "n", Events: []string{"jira:issue_created"}, JQL: "project = A"})
	all["delete"] = jiraapp.DeleteWebhooks(ctx, conn)
	_, all["renew"] = app().RenewSubscription(ctx, conn, providers.Subscription{Name: "n", RemoteID: "1"})
	for _, err := range jiraapp.Search(ctx, conn, "project = A", nil) {
		all["search"] = err
	}
	for _, err := range jiraapp.Projects(ctx, conn) {
		all["projects"] = err
	}
	return all
}

func TestOperationsPassOnWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		change func(*providers.ConnectionConfig)
		want   error
	}{
		{func(c *providers.ConnectionConfig) { c.Kind = "slack" }, providers.ErrWrongProvider},
		{func(c *providers.ConnectionConfig) { c.Source = source{err: providers.ErrDisconnected} }, providers.ErrDisconnected},
		{func(c *providers.ConnectionConfig) {
			c.Source = source{snapshot: providers.Snapshot{ExternalID: "../x"}}
		}, providers.ErrInvalid},
		{func(c *providers.ConnectionConfig) { c.Source = source{} }, providers.ErrInvalid},
	} {
		w := answers(answer(500, ""))
		all := every(t.Context(), connection(t, w, c.change))
		require.Len(t, all, 12)
		for name, err := range all {
			require.ErrorIs(t, err, c.want, name)
		}
		require.Empty(t, w.sent)
	}
	w := answers(answer(500, ""))
	_, err := jiraapp.AdminWebhook(t.Context(), connection(t, w, func(c *providers.ConnectionConfig) { c.Kind = "slack" }))
	require.ErrorIs(t, err, providers.ErrWrongProvider)
}

func collect(ctx context.Context, conn *providers.Connection, jql string, opts *jiraapp.SearchOptions) (keys []string, err error) {
	for issue, err := range jiraapp.Search(ctx, conn, jql, opts) {
		if err != nil {
			return keys, err
		}
		keys = append(keys, issue.Key)
	}
	return keys, nil
}

func TestSearch(t *testing.T) {
	w := answers(
		answer(200, `{"issues":[{"key":"A-1"},{"key":"A-2"}],"nextPageToken":"t1","isLast":false}`),
		answer(200, `{"issues":[],"nextPageToken":"t2"}`),
		answer(200, `{"issues":[{"key":"A-3"}],"isLast":true,"nextPageToken":"t3"}`),
	)
	keys, err := collect(t.Context(), connection(t, w), `project = "A"`, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"A-1", "A-2", "A-3"}, keys)
	require.Len(t, w.sent, 3)
	for i, next := range []string{"", "t1", "t2"} {
		u, err := url.Parse(w.sent[i].url)
		require.NoError(t, err)
		require.Equal(t, base+"2/search/jql", u.Scheme+"://"+u.Host+u.Path)
		want := url.Values{"jql": {`project = "A"`}, "maxResults": {"100"}, "fields": {"summary,status,issuetype,project,assignee,priority,labels,created,updated"}}
		if next != "" {
			want.Set("nextPageToken", next)
		}
		require.Equal(t, want, u.Query())
	}

	w = answers(answer(200, `{"issues":[]}`))
	_, err = collect(t.Context(), connection(t, w), "project = A", &jiraapp.SearchOptions{Fields: []string{"id", "customfield_1"}, PageSize: 5000, Reconcile: []int{1, 2}})
	require.NoError(t, err)
	require.Equal(t, base+"2/search/jql?fields=id%2Ccustomfield_1&jql=project+%3D+A&maxResults=5000&reconcileIssues=1%2C2", w.one(t).url)
}

func TestSearchEnds(t *testing.T) {
	_, err := collect(t.Context(), connection(t, answers(answer(200, `{"issues":[],"nextPageToken":"same"}`))), "project = A", nil)
	require.ErrorIs(t, err, providers.ErrTransient, "a token that comes again does not lead anywhere")

	keys, err := collect(t.Context(), connection(t, answers(answer(200, `{"issues":[{"key":"A-1"}],"nextPageToken":"t"}`), answer(429, ""))), "project = A", nil)
	require.ErrorContains(t, err, "rate limited")
	require.Equal(t, []string{"A-1"}, keys)

	w := answers(answer(200, `{"issues":[{"key":"A-1"},{"key":"A-2"}],"nextPageToken":"t"}`))
	for range jiraapp.Search(t.Context(), connection(t, w), "project = A", nil) {
		break
	}
	require.Len(t, w.sent, 1, "pages are read as they are consumed")

	for jql, opts := range map[string]*jiraapp.SearchOptions{" ": nil, "a = 1": {PageSize: -1}, "b = 1": {PageSize: 5001}, "c = 1": {Reconcile: make([]int, 51)}} {
		w := answers(answer(500, ""))
		_, err := collect(t.Context(), connection(t, w), jql, opts)
		require.ErrorIs(t, err, providers.ErrInvalid)
		require.Empty(t, w.sent)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, conn := kitConnection(t)
	_, err = collect(ctx, conn, "project = A", nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestProjects(t *testing.T) {
	w := answers(
		answer(200, `{"values":[{"id":"1","key":"A","name":"Alpha"},{"id":"2","key":"B"}],"isLast":false}`),
		answer(200, `{"values":[{"id":"3","key":"C"}],"isLast":true}`),
	)
	var keys []string
	for p, err := range jiraapp.Projects(t.Context(), connection(t, w)) {
		require.NoError(t, err)
		keys = append(keys, p.Key)
	}
	require.Equal(t, []string{"A", "B", "C"}, keys)
	require.Equal(t, base+"2/project/search?maxResults=50&orderBy=key&startAt=0", w.sent[0].url)
	require.Equal(t, base+"2/project/search?maxResults=50&orderBy=key&startAt=2", w.sent[1].url)
	for _, err := range jiraapp.Projects(t.Context(), connection(t, answers(answer(403, "{}")))) {
		require.ErrorIs(t, err, providers.ErrForbidden)
	}
	for p := range jiraapp.Projects(t.Context(), connection(t, answers(answer(200, `{"values":[],"isLast":false}`)))) {
		t.Errorf("yielded %v", p)
	}
}

func TestJQL(t *testing.T) {
	for _, c := range []struct {
		query string
		args  []any
		want  string
	}{
		{"project = ACME", nil, "project = ACME"},
		{"project = ? AND summary ~ ?", []any{"ACME", "fire"}, `project = "ACME" AND summary ~ "fire"`},
		{"a = ?", []any{`x" OR project = "SECRET`}, `a = "x\" OR project = \"SECRET"`},
		{"a = ?", []any{`\`}, `a = "\\"`},
		{"a = ?", []any{"\\\"\n\r\t\x01\u2028'"}, `a = "\\\"\n\r\t\u0001\u2028'"`},
		{"a = ?", []any{"?"}, `a = "?"`},
		{"a = ? AND b = ?", []any{"?", "x"}, `a = "?" AND b = "x"`},
		{"a IN ? AND n > ? AND m < ?", []any{[]string{"x", `"`}, 3, int64(-4)}, `a IN ("x", "\"") AND n > 3 AND m < -4`},
		{`a = "what?" AND b = 'it\'s?' AND c = ?`, []any{"x"}, `a = "what?" AND b = 'it\'s?' AND c = "x"`},
	} {
		got, err := jiraapp.JQL(c.query, c.args...)
		require.NoError(t, err, c.query)
		require.Equal(t, c.want, got)
	}
	for _, c := range []struct {
		query string
		args  []any
	}{
		{"a = ?", nil}, {"a = 1", []any{"x"}}, {"a = ?", []any{"x", "y"}}, {"a IN ?", []any{[]string{}}}, {"a = ?", []any{1.5}}, {"a = ?", []any{nil}},
		{"a = ?", []any{time.Now()}}, {"a = ?", []any{"\x00"}}, {"a = ?", []any{"\xff"}}, {"a IN ?", []any{[]string{"\xff"}}}, {`a = "?`, nil}, {`a = '\'`, nil},
	} {
		_, err := jiraapp.JQL(c.query, c.args...)
		require.ErrorIs(t, err, providers.ErrInvalid, "%q %v", c.query, c.args)
	}
}

// FuzzJQL lets the fake, which reads JQL by its own means, look for an issue by a
// value: it finds that one alone, whatever the value is.
func FuzzJQL(f *testing.F) {
	for _, s := range []string{"x", `"`, `\`, `" OR project = "OPS`, "\n", "ü?", `\u0022`, "a' b"} {
		f.Add(s)
	}
	kit, conn := kitConnection(f)
	site := kit.Jira.Site("T-acme")
	kit.Jira.SetQuota(1 << 40)
	kit.Jira.AddIssue(site, "OPS", "another")
	kit.Jira.AddIssue(site, "ACME", "another")
	key := kit.Jira.AddIssue(site, "ACME", "to be found")
	f.Fuzz(func(t *testing.T, value string) {
		if strings.EqualFold(value, "another") {
			return
		}
		query, err := jiraapp.JQL("project = ? AND summary = ?", "ACME", value)
		if err != nil {
			require.ErrorIs(t, err, providers.ErrInvalid)
			return
		}
		require.NoError(t, jiraapp.UpdateIssue(t.Context(), conn, key, map[string]any{"summary": value}))
		keys, err := collect(t.Context(), conn, query, nil)
		require.NoError(t, err, "%q", query)
		require.Equal(t, []string{key}, keys, "%q", query)
	})
}

// kitConnection is a connection at the kit's fake.
func kitConnection(t integrationstest.TB) (*integrationstest.Kit, *providers.Connection) {
	t.Helper()
	kit := integrationstest.New(t)
	kit.Connect("acme", jiraapp.Key)
	conn, err := kit.Manager().Connection(context.Background(), "acme", jiraapp.Key)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return kit, conn
}

// TestGoJiraAgrees lets go-jira read what the adapter wrote at the fake.
func TestGoJiraAgrees(t *testing.T) {
	kit, conn := kitConnection(t)
	ctx := t.Context()
	created, err := jiraapp.CreateIssue(ctx, conn, jiraapp.Draft{Project: "OPS", Type: "Task", Summary: "x", Description: jiraapp.Markdown("# h"), Labels: []string{"l"}})
	require.NoError(t, err)
	require.NoError(t, jiraapp.UpdateIssue(ctx, conn, created.Key, map[string]any{"summary": "y"}))
	require.NoError(t, jiraapp.Transition(ctx, conn, created.Key, "start work"))
	require.NoError(t, jiraapp.Assign(ctx, conn, created.Key, "u1"))
	_, err = jiraapp.Comment(ctx, conn, created.Key, jiraapp.Plain("hi"))
	require.NoError(t, err)

	c, err := jiraapp.Client(ctx, conn)
	require.NoError(t, err)
	issue, _, err := c.Issue.GetWithContext(ctx, created.ID, nil)
	require.NoError(t, err)
	require.Equal(t, "y", issue.Fields.Summary)
	require.Equal(t, "h1. h", issue.Fields.Description)
	require.Equal(t, "In Progress", issue.Fields.Status.Name)
	require.Equal(t, "u1", issue.Fields.Assignee.AccountID)
	require.Equal(t, []string{"l"}, issue.Fields.Labels)
	require.Equal(t, []string{"hi"}, kit.Jira.Issues(kit.Jira.Site("T-acme"))[0].Comments)
	require.NoError(t, jiraapp.Assign(ctx, conn, created.Key, ""))
	require.Empty(t, kit.Jira.Issues(kit.Jira.Site("T-acme"))[0].Assignee)

	_, _, err = c.Issue.SearchWithContext(ctx, "project = OPS", nil) // removed
	require.ErrorIs(t, jiraapp.Classify(err), providers.ErrNotFound)
	_, err = collect(ctx, conn, "ORDER BY created", nil)
	require.ErrorIs(t, err, providers.ErrInvalid)
	for range 250 {
		kit.Jira.AddIssue(kit.Jira.Site("T-acme"), "ACME", "many")
	}
	keys, err := collect(ctx, conn, "project = ACME", nil)
	require.NoError(t, err)
	require.Len(t, keys, 250)
	req, err := c.NewRequestWithContext(ctx, "GET", "rest/api/3/webhook", nil) // the way to any endpoint
	require.NoError(t, err)
	var page struct{ Total int }
	_, err = c.Do(req, &page)
	require.NoError(t, err)

	_, err = jiraapp.CreateIssue(ctx, conn, jiraapp.Draft{Project: "NONE", Type: "Task", Summary: "x"})
	require.ErrorIs(t, err, providers.ErrInvalid)
	var said *jira.Error
	require.True(t, errors.As(err, &said))
	require.Equal(t, map[string]string{"project": "valid project is required"}, said.Errors)
	kit.Jira.SetQuota(0)
	_, err = jiraapp.GetIssue(ctx, conn, "OPS-1")
	require.ErrorContains(t, err, "jira-quota-global-based")
}
