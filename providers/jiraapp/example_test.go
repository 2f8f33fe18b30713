package jiraapp_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/andygrunwald/go-jira"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/webhook"
)

// tb stands for the *testing.T of a test.
type tb struct{}

func (tb) Helper()                           {}
func (tb) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// connected is a tenant's connection to a site of a fake Jira.
func connected() (*integrationstest.Kit, *providers.Connection) {
	kit := integrationstest.New(tb{})
	kit.Connect("acme", jiraapp.Key)
	conn, err := kit.Manager().Connection(context.Background(), "acme", jiraapp.Key)
	if err != nil {
		panic(err)
	}
	return kit, conn
}

func ExampleNew() {
	app := jiraapp.New(jiraapp.Config{
		ClientID: "client-id", ClientSecret: "a-client-secret-of-atlassian",
		Scopes: []string{"read:jira-work", "write:jira-work", "manage:jira-webhook"},
	})
	fmt.Println(app.Info().Key, app.Validate())
	// Output: jira <nil>
}

func ExampleClient() {
	_, conn := connected()
	ctx := context.Background()
	c, err := jiraapp.Client(ctx, conn)
	if err != nil {
		fmt.Println(err)
		return
	}
	me, _, err := c.User.GetSelfWithContext(ctx)
	if err := jiraapp.Classify(err); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(me.DisplayName)
	// Output: Person T-acme
}

func ExampleClassify() {
	_, conn := connected()
	ctx := context.Background()
	c, err := jiraapp.Client(ctx, conn)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _, err = c.Issue.GetWithContext(ctx, "ACME-404", nil)
	err = jiraapp.Classify(err)
	var said *jira.Error
	fmt.Println(errors.Is(err, providers.ErrNotFound), errors.As(err, &said))
	fmt.Println(said.ErrorMessages[0])
	// Output:
	// true true
	// Issue does not exist or you do not have permission to see it.
}

func ExampleCreateIssue() {
	_, conn := connected()
	issue, err := jiraapp.CreateIssue(context.Background(), conn, jiraapp.Draft{
		Project: "ACME", Type: "Bug", Summary: "Printer on fire",
		Description: jiraapp.Markdown("Seen in **two** rooms:\n\n- kitchen\n- lobby"),
		Fields:      map[string]any{"priority": map[string]string{"name": "High"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(issue.Key)
	// Output: ACME-1
}

func ExampleGetIssue() {
	kit, conn := connected()
	key := kit.Jira.AddIssue(kit.Jira.Site("T-acme"), "ACME", "Printer on fire")
	issue, err := jiraapp.GetIssue(context.Background(), conn, key, "summary", "status")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(issue.Fields.Summary, "/", issue.Fields.Status.Name)
	// Output: Printer on fire / To Do
}

func ExampleUpdateIssue() {
	kit, conn := connected()
	key := kit.Jira.AddIssue(kit.Jira.Site("T-acme"), "ACME", "Printer on fire")
	fmt.Println(jiraapp.UpdateIssue(context.Background(), conn, key, map[string]any{
		"summary": "Printer was on fire", "description": jiraapp.Plain("It is *out*."),
	}))
	// Output: <nil>
}

func ExampleTransition() {
	kit, conn := connected()
	key := kit.Jira.AddIssue(kit.Jira.Site("T-acme"), "ACME", "Printer on fire")
	fmt.Println(jiraapp.Transition(context.Background(), conn, key, "start work"))
	fmt.Println(jiraapp.Transition(context.Background(), conn, key, "reopen"))
	// Output:
	// <nil>
	// integrations: invalid request: 0 transitions are named "reopen", offered are: "Done", "Stop work"
}

func ExampleComment() {
	kit, conn := connected()
	key := kit.Jira.AddIssue(kit.Jira.Site("T-acme"), "ACME", "Printer on fire")
	c, err := jiraapp.Comment(context.Background(), conn, key, jiraapp.Plain("[~admin] says: *help*"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Body)
	// Output: \[\~admin\] says: \*help\*
}

func ExampleAssign() {
	kit, conn := connected()
	site := kit.Jira.Site("T-acme")
	key := kit.Jira.AddIssue(site, "ACME", "Printer on fire")
	fmt.Println(jiraapp.Assign(context.Background(), conn, key, "5b10a2844c20165700ede21g"))
	fmt.Println(kit.Jira.Issues(site)[0].Assignee)
	// Output:
	// <nil>
	// 5b10a2844c20165700ede21g
}

func ExampleSearch() {
	kit, conn := connected()
	for _, summary := range []string{"Printer on fire", "Coffee is cold", "Printer is wet"} {
		kit.Jira.AddIssue(kit.Jira.Site("T-acme"), "ACME", summary)
	}
	query, err := jiraapp.JQL("project = ? AND summary ~ ? ORDER BY created", "ACME", "printer")
	if err != nil {
		fmt.Println(err)
		return
	}
	for issue, err := range jiraapp.Search(context.Background(), conn, query, nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(issue.Key, issue.Fields.Summary)
	}
	// Output:
	// ACME-1 Printer on fire
	// ACME-3 Printer is wet
}

func ExampleJQL() {
	query, err := jiraapp.JQL(`summary ~ ? AND status IN ?`, `" OR project = SECRET`, []string{"To Do", "Done"})
	fmt.Println(query, err)
	// Output: summary ~ "\" OR project = SECRET" AND status IN ("To Do", "Done") <nil>
}

func ExampleProjects() {
	_, conn := connected()
	for project, err := range jiraapp.Projects(context.Background(), conn) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(project.Key, project.Name)
	}
	// Output:
	// ACME Project ACME
	// OPS Project OPS
}

func ExampleRegisterWebhooks() {
	_, conn := connected()
	subs, err := jiraapp.RegisterWebhooks(context.Background(), conn, jiraapp.Webhook{
		Name: "issues", Events: []string{jiraapp.TypeIssueCreated, jiraapp.TypeIssueUpdated}, JQL: "project = ACME",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(subs[0].Name, subs[0].RenewAt.Before(subs[0].ExpiresAt), time.Until(subs[0].ExpiresAt) > 29*24*time.Hour)
	// Output: issues true true
}

func ExampleDeleteWebhooks() {
	kit, conn := connected()
	ctx := context.Background()
	_, err := jiraapp.RegisterWebhooks(ctx, conn, jiraapp.Webhook{Name: "issues", Events: []string{jiraapp.TypeIssueCreated}, JQL: "project = ACME"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(jiraapp.DeleteWebhooks(ctx, conn), len(kit.Jira.Webhooks(kit.Jira.Site("T-acme"))))
	// Output: <nil> 0
}

func ExampleAdminWebhook() {
	kit, conn := connected()
	hook, err := jiraapp.AdminWebhook(context.Background(), conn)
	if err != nil {
		fmt.Println(err)
		return
	}
	// An administrator pastes hook.URL and hook.Secret at Jira.
	body := kit.Jira.EventBody(kit.Jira.Site("T-acme"), "project_created", "")
	fmt.Println(kit.Jira.DeliverAdmin(hook.URL, hook.Secret.Reveal(), body))
	// Output: 200
}

func ExampleOnIssue() {
	kit, conn := connected()
	kit.Manager().OnWebhook(jiraapp.OnIssue(jiraapp.TypeIssueUpdated, func(_ context.Context, ev webhook.Event, e *jiraapp.IssueEvent) error {
		fmt.Println(ev.TenantID, e.Issue.Key, e.Issue.Fields.Summary)
		return nil
	}))
	ctx := context.Background()
	_, err := jiraapp.RegisterWebhooks(ctx, conn, jiraapp.Webhook{Name: "issues", Events: []string{jiraapp.TypeIssueUpdated}, JQL: "project = ACME"})
	if err != nil {
		fmt.Println(err)
		return
	}
	site := kit.Jira.Site("T-acme")
	kit.Jira.Event(site, jiraapp.TypeIssueUpdated, kit.Jira.AddIssue(site, "ACME", "Printer on fire"))
	if err := kit.Manager().Drain(ctx); err != nil { // a server calls Run instead
		fmt.Println(err)
	}
	// Output: acme ACME-1 Printer on fire
}

func ExampleMarkdown() {
	fmt.Println(jiraapp.Markdown("# Fire\n\n**Two** rooms, see [the map](https://example.com/map):\n\n1. `kitchen`\n2. lobby {unlocked}"))
	// Output:
	// h1. Fire
	//
	// *Two* rooms, see [the map|https://example.com/map]:
	//
	// # {{kitchen}}
	// # lobby \{unlocked\}
}

func ExamplePlain() {
	fmt.Println(jiraapp.Plain("h1. *not* a heading, !no-image.png!"))
	// Output: h1&#46; \*not\* a heading, \!no\-image.png\!
}

// Webhooks that all tenants are to have are declared once.
func ExampleConfig_webhooks() {
	kit := integrationstest.New(tb{})
	app := kit.Jira.App() // ClientID, ClientSecret and Scopes
	app.Webhooks = []jiraapp.Webhook{
		{Name: "issues", Events: []string{jiraapp.TypeIssueCreated, jiraapp.TypeIssueUpdated}, JQL: "project != null"},
	}
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{jiraapp.New(app)}
	m := kit.Use(cfg)
	kit.Connect("acme", jiraapp.Key)
	kit.Connect("beta", jiraapp.Key)
	if err := m.Drain(context.Background()); err != nil { // a server calls Run instead
		fmt.Println(err)
		return
	}
	for _, tenant := range []string{"acme", "beta"} {
		fmt.Println(tenant, kit.Jira.Webhooks(kit.Jira.Site("T-" + tenant))[0].JQL)
	}
	// Output:
	// acme project != null
	// beta project != null
}
