// Quickstart runs the library's main job: two tenants connect Slack and GitHub,
// the host calls them, and their webhooks arrive.
//
// Without configuration it uses fake providers in this process and a SQLite file
// that is removed at the end: no account, no network. With TOKEN_ENCRYPTION_KEY,
// APP_URL, SLACK_CLIENT_ID, SLACK_CLIENT_SECRET, SLACK_SIGNING_SECRET,
// GITHUB_APP_ID, GITHUB_PRIVATE_KEY, GITHUB_WEBHOOK_SECRET, GITHUB_CLIENT_ID and
// GITHUB_CLIENT_SECRET set it serves the same host against the real services.
// GITHUB_APP_SLUG makes a connect start where the App is installed.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := tourOf
	if os.Getenv("TOKEN_ENCRYPTION_KEY") != "" {
		run = serve
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}
