// Jira files an issue at the site a tenant connects, comments on it, moves it on,
// searches for it, and hears of changes.
//
// It needs no account: a fake Jira runs in this process. With
// TOKEN_ENCRYPTION_KEY, APP_URL, JIRA_CLIENT_ID, JIRA_CLIENT_SECRET and
// JIRA_PROJECT set it serves on PORT against the real one.
package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/examples/internal/demo"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/webhook"
)

var program = demo.Program{
	Key:  jiraapp.Key,
	Fake: func(kit *integrationstest.Kit) providers.Provider { return jiraapp.New(kit.Jira.App()) },
	Real: func(getenv func(string) string) providers.Provider {
		if getenv("JIRA_CLIENT_ID") == "" {
			return nil
		}
		return jiraapp.New(jiraapp.Config{
			ClientID: getenv("JIRA_CLIENT_ID"), ClientSecret: getenv("JIRA_CLIENT_SECRET"),
			Scopes: []string{"read:jira-work", "write:jira-work", "read:jira-user", "manage:jira-webhook"},
		})
	},
	Handlers: func(m *integrations.Manager) {
		m.OnWebhook(jiraapp.OnIssue(jiraapp.TypeIssueUpdated, func(_ context.Context, ev webhook.Event, e *jiraapp.IssueEvent) error {
			demo.Say("%s was changed at the site of tenant %q", e.Issue.Key, ev.TenantID)
			return nil
		}))
	},
	Use: func(ctx context.Context, conn *providers.Connection) error {
		project := cmp.Or(os.Getenv("JIRA_PROJECT"), "ACME")
		issue, err := jiraapp.CreateIssue(ctx, conn, jiraapp.Draft{
			Project: project, Type: "Task", Summary: "Printer on fire",
			Description: jiraapp.Markdown("Seen in **two** rooms:\n\n- kitchen\n- lobby"),
		})
		if err != nil {
			return err
		}
		demo.Say("created %s", issue.Key)
		if _, err := jiraapp.Comment(ctx, conn, issue.Key, jiraapp.Plain("A user wrote: *help* [~admin]")); err != nil {
			return err
		}
		query, err := jiraapp.JQL("project = ? AND summary ~ ?", project, "printer")
		if err != nil {
			return err
		}
		for found, err := range jiraapp.Search(ctx, conn, query, nil) {
			if err != nil {
				return err
			}
			demo.Say("found %s: %s", found.Key, found.Fields.Summary)
		}
		subs, err := jiraapp.RegisterWebhooks(ctx, conn, jiraapp.Webhook{
			Name: "issues", Events: []string{jiraapp.TypeIssueUpdated}, JQL: "project = " + project,
		})
		if err != nil {
			return err
		}
		demo.Say("webhook %s is renewed from %s on", subs[0].RemoteID, subs[0].RenewAt.Format("2 January"))
		return nil
	},
	Deliver: func(ctx context.Context, kit *integrationstest.Kit, conn *providers.Connection) error {
		s, err := conn.Snapshot(ctx)
		if err != nil {
			return err
		}
		if err := jiraapp.Transition(ctx, conn, "ACME-1", "Start work"); err != nil {
			return err
		}
		if status := kit.Jira.Event(s.ExternalID, jiraapp.TypeIssueUpdated, "ACME-1"); status != http.StatusOK {
			return fmt.Errorf("the event was answered with %d", status)
		}
		return nil
	},
}

func main() { program.Main() }
