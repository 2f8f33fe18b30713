// Githubsync copies repositories, issues, pull requests and commits, first all and
// then what changed, and syncs a repository when a push to it is heard of.
//
// It needs no account: a fake GitHub runs in this process. With
// TOKEN_ENCRYPTION_KEY, APP_URL, GITHUB_APP_ID, GITHUB_APP_SLUG,
// GITHUB_PRIVATE_KEY, GITHUB_CLIENT_ID, GITHUB_CLIENT_SECRET and
// GITHUB_WEBHOOK_SECRET set it serves on PORT against the real one.
package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/examples/internal/demo"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
)

var program = demo.Program{
	Key:  githubapp.Key,
	Fake: func(kit *integrationstest.Kit) providers.Provider { return fake(kit) },
	Real: func(getenv func(string) string) providers.Provider {
		id, err := strconv.ParseInt(getenv("GITHUB_APP_ID"), 10, 64)
		if err != nil {
			return nil
		}
		return githubapp.New(githubapp.Config{
			AppID: id, Slug: getenv("GITHUB_APP_SLUG"), PrivateKeyPEM: getenv("GITHUB_PRIVATE_KEY"),
			ClientID: getenv("GITHUB_CLIENT_ID"), ClientSecret: getenv("GITHUB_CLIENT_SECRET"),
			WebhookSecrets: []string{getenv("GITHUB_WEBHOOK_SECRET")},
		})
	},
	Use: func(ctx context.Context, conn *providers.Connection) error {
		for range 2 { // a job runs it now and then; the second run finds no changes
			n := 0
			for item, err := range githubapp.Sync(ctx, conn, &githubapp.SyncOptions{Since: time.Now().AddDate(0, -1, 0)}) {
				if err != nil {
					return err
				}
				n++
				if err := consume(ctx, conn, item); err != nil {
					return err
				}
			}
			demo.Say("a sync told of %d things", n)
		}
		return nil
	},
	Handlers: func(m *integrations.Manager) {
		m.OnWebhook(githubapp.SyncOnPush(m.ConnectionByID, nil, consume))
	},
	Deliver: func(_ context.Context, kit *integrationstest.Kit, _ *providers.Connection) error {
		id := installation(kit)
		kit.GitHub.PutCommit(id, "api", "main", integrationstest.GitHubCommit{Message: "Make it fast", At: time.Now()})
		if status := kit.GitHub.Push(id, "api", "refs/heads/main"); status != http.StatusOK {
			return fmt.Errorf("the push was answered with %d", status)
		}
		return nil
	},
}

// consume is where a real program writes to its database, by the ids of the items:
// after a crash the last page comes again.
func consume(_ context.Context, _ *providers.Connection, item githubapp.SyncItem) error {
	switch item.Kind {
	case githubapp.SyncIssue:
		demo.Say("%s: issue %d, %q", item.FullName, item.Issue.GetNumber(), item.Issue.GetTitle())
	case githubapp.SyncPullRequest:
		demo.Say("%s: pull request %d, %q", item.FullName, item.PullRequest.GetNumber(), item.PullRequest.GetTitle())
	case githubapp.SyncCommit:
		demo.Say("%s: commit %.7s, %q", item.FullName, item.Commit.GetSHA(), item.Commit.GetCommit().GetMessage())
	case githubapp.SyncFailed:
		demo.Say("%s: %s: %v", item.FullName, item.Stream, item.Err)
	case githubapp.SyncRepository, githubapp.SyncRemoved, githubapp.SyncSkipped:
		demo.Say("%s: %s", item.FullName, item.Kind)
	}
	return nil
}

// installation is the one that the program's tenant connects.
func installation(kit *integrationstest.Kit) int64 {
	return kit.GitHub.Install("T-"+demo.Tenant, "user-of-"+demo.Tenant, "api", "web")
}

// fake is the App at a fake GitHub with something in it.
func fake(kit *integrationstest.Kit) providers.Provider {
	id, now := installation(kit), time.Now().Add(-time.Hour)
	kit.GitHub.PutIssue(id, "api", integrationstest.GitHubIssue{Number: 1, Title: "It is slow", UpdatedAt: now})
	kit.GitHub.PutIssue(id, "api", integrationstest.GitHubIssue{Number: 2, Title: "Cache it", Pull: true, UpdatedAt: now})
	kit.GitHub.PutCommit(id, "api", "main", integrationstest.GitHubCommit{Message: "Start", At: now})
	return githubapp.New(kit.GitHub.App())
}

func main() { program.Main() }
