package githubapp_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
)

// example ends an example where the kit would end a test.
type example struct{}

func (example) Helper() {}

func (example) Fatalf(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	os.Exit(1)
}

// show is a consumer; a real one writes to a database.
func show(_ context.Context, _ *providers.Connection, item githubapp.SyncItem) error {
	switch item.Kind {
	case githubapp.SyncIssue:
		fmt.Println(item.FullName, "issue", item.Issue.GetNumber(), item.Issue.GetTitle())
	case githubapp.SyncCommit:
		fmt.Println(item.FullName, "commit", item.Commit.GetCommit().GetMessage())
	case githubapp.SyncRemoved:
		fmt.Println(item.FullName, "is gone")
	case githubapp.SyncFailed:
		fmt.Println(item.FullName, item.Stream, item.Err)
	}
	return nil
}

func ExampleSync() {
	ctx := context.Background()
	kit := integrationstest.New(example{})
	id := kit.GitHub.Install("acme", "user-of-tenant-1", "api", "web")
	noon := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	kit.GitHub.PutIssue(id, "api", integrationstest.GitHubIssue{Number: 1, Title: "It is slow", UpdatedAt: noon})
	kit.GitHub.PutCommit(id, "api", "main", integrationstest.GitHubCommit{Message: "Start", At: noon})
	kit.Connect("tenant-1", githubapp.Key, "acme")
	conn, err := kit.Manager().Connection(ctx, "tenant-1", githubapp.Key)
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 { // from a job that runs now and then
		for item, err := range githubapp.Sync(ctx, conn, nil) {
			if err != nil {
				fmt.Println(err) // the next run goes on from here
				break
			}
			_ = show(ctx, conn, item)
		}
		kit.GitHub.PutCommit(id, "api", "main", integrationstest.GitHubCommit{Message: "Make it fast", At: noon.Add(time.Hour)})
		kit.GitHub.RemoveRepository(id, "web")
	}
	// Output:
	// acme/api issue 1 It is slow
	// acme/api commit Start
	// acme/web is gone
	// acme/api commit Make it fast
}

func ExampleSyncOnPush() {
	ctx := context.Background()
	kit := integrationstest.New(example{})
	id := kit.GitHub.Install("acme", "user-of-tenant-1", "api", "web")
	kit.Connect("tenant-1", githubapp.Key, "acme")
	m := kit.Manager()
	m.OnWebhook(githubapp.SyncOnPush(m.ConnectionByID, nil, show))
	kit.GitHub.PutCommit(id, "api", "main", integrationstest.GitHubCommit{Message: "Make it fast", At: time.Now()})
	if kit.GitHub.Push(id, "api", "refs/heads/main") != http.StatusOK {
		fmt.Println("refused")
	}
	if err := m.Drain(ctx); err != nil { // a server calls Run
		fmt.Println(err)
	}
	// Output: acme/api commit Make it fast
}
