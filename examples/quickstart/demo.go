package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/examples/internal/demo"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
)

// tour is the host of the demonstration and what it needs to look behind the
// scenes.
type tour struct {
	db  *sql.DB
	kit *integrationstest.Kit
	m   *integrations.Manager

	mu     sync.Mutex
	pushes []string // "tenant ref" of handled pushes
}

// failure ends the demonstration where the kit would end a test.
type failure struct{}

func (failure) Helper() {}

func (failure) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "quickstart: "+format+"\n", args...)
	os.Exit(1)
}

func tourOf(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "quickstart")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	t := &tour{kit: integrationstest.New(failure{})}
	if t.db, err = demo.OpenSQLite(ctx, filepath.Join(dir, "quickstart.sqlite")); err != nil {
		return err
	}
	defer func() { _ = t.db.Close() }()

	cfg := t.kit.Config() // Slack and GitHub at the fakes
	cfg.Store = sqlstore.New(t.db, sqlstore.SQLite, nil)
	t.kit.Slack.Tokens.SetLife(12 * time.Hour) // Slack's token rotation
	t.m = t.kit.Use(cfg)
	t.m.OnWebhook(githubapp.Push(t.pushed))

	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- t.m.Run(running) }()
	steps := []struct {
		title string
		run   func(context.Context) error
	}{
		{"Two tenants connect through the real handlers, with cookies, state and PKCE", t.connect},
		{"What lies in the database is sealed", t.sealed},
		{"A Slack message through slack-go", t.notify},
		{"Repositories through go-github", t.repositories},
		{"A token ends: 50 callers, one refresh", t.refresh},
		{"A signed webhook reaches the right tenant", t.webhook},
		{"A forged webhook is refused", t.forged},
		{"A disconnect ends all calls", t.disconnect},
	}
	for i, s := range steps {
		fmt.Printf("%d. %s\n", i+1, s.title)
		if err := s.run(ctx); err != nil {
			stop()
			return errors.Join(fmt.Errorf("step %d: %w", i+1, err), <-done)
		}
	}
	stop()
	if err := errors.Join(t.m.Shutdown(ctx), <-done); err != nil {
		return err
	}
	fmt.Println("Done.")
	return nil
}

func say(format string, args ...any) { fmt.Printf("   "+format+"\n", args...) }

// pushed is the host's webhook handler.
func (t *tour) pushed(_ context.Context, ev webhook.Event, p *github.PushEvent) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pushes = append(t.pushes, ev.TenantID+" "+p.GetRef())
	return nil
}

func (t *tour) connect(ctx context.Context) error {
	for _, tenant := range []string{"acme", "globex"} {
		for _, key := range []string{slackapp.Key, githubapp.Key} {
			b := t.kit.Browser(tenant, "ann@"+tenant)
			b.Account = map[string]string{slackapp.Key: "T" + strings.ToUpper(tenant), githubapp.Key: tenant}[key]
			v := b.Open(t.kit.ConnectURL(key))
			if !strings.HasSuffix(v.Header.Get("Location"), "result=connected") {
				return fmt.Errorf("connecting %s for %s ended with status %d", key, tenant, v.Status)
			}
			say("%-6s %-6s -> %s", tenant, key, v.Header.Get("Location"))
		}
		list, err := t.m.Integrations(ctx, tenant)
		if err != nil {
			return err
		}
		for _, in := range list {
			say("%-6s has %s account %s, %s", tenant, in.Provider, in.ExternalID, in.Status)
		}
	}
	return nil
}

func (t *tour) sealed(ctx context.Context) error {
	rows, err := t.db.QueryContext(ctx, "SELECT tenant_id, provider, key_id, access_token FROM integrations ORDER BY tenant_id, provider")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var tenant, provider, key string
		var token []byte
		if err := rows.Scan(&tenant, &provider, &key, &token); err != nil {
			return err
		}
		for _, prefix := range []string{"xoxb-", "ghu_"} {
			if strings.Contains(string(token), prefix) {
				return errors.New("a token lies in the database in the clear")
			}
		}
		say("%-6s %-6s key %s: %x… (%d bytes)", tenant, provider, key, token[:20], len(token))
	}
	return rows.Err()
}

func (t *tour) notify(ctx context.Context) error {
	conn, err := t.m.Connection(ctx, "acme", slackapp.Key)
	if err != nil {
		return err
	}
	posted, err := slackapp.Notify(ctx, conn, slackapp.Message{Text: "Deployed"})
	if err != nil {
		return err
	}
	say("posted to %s at %s", posted.Channel, posted.Timestamp)
	if sent := t.kit.Slack.Sent(); len(sent) != 1 || sent[0].Team != "TACME" || t.kit.Slack.Misplaced() != 0 {
		return errors.New("the message did not reach the tenant's workspace with the token in the header")
	}
	return nil
}

func (t *tour) repositories(ctx context.Context) error {
	conn, err := t.m.Connection(ctx, "acme", githubapp.Key)
	if err != nil {
		return err
	}
	n := 0
	for repo, err := range githubapp.Repositories(ctx, conn) {
		if err != nil {
			return err
		}
		say("%s", repo.GetFullName())
		n++
	}
	if n != 2 {
		return fmt.Errorf("%d repositories, want 2", n)
	}
	return nil
}

func (t *tour) refresh(ctx context.Context) error {
	conn, err := t.m.Connection(ctx, "acme", slackapp.Key)
	if err != nil {
		return err
	}
	before := t.kit.Slack.Tokens.Calls()
	t.kit.Slack.Tokens.ExpireAccess()
	var failed atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := slackapp.Client(conn).AuthTestContext(ctx); err != nil {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	calls := t.kit.Slack.Tokens.Calls() - before
	say("50 calls, %d failed, %d refresh, refresh tokens used twice: %d", failed.Load(), calls, t.kit.Slack.Tokens.Reuses())
	if failed.Load() != 0 || calls != 1 || t.kit.Slack.Tokens.Reuses() != 0 {
		return errors.New("want 0 failed calls and 1 refresh")
	}
	return nil
}

// installation is the id of a tenant's GitHub installation.
func (t *tour) installation(ctx context.Context, tenant string) (int64, error) {
	conn, err := t.m.Connection(ctx, tenant, githubapp.Key)
	if err != nil {
		return 0, err
	}
	s, err := conn.Snapshot(ctx)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(s.ExternalID, 10, 64)
}

func (t *tour) webhook(ctx context.Context) error {
	id, err := t.installation(ctx, "globex")
	if err != nil {
		return err
	}
	status := t.kit.GitHub.Push(id, "api", "refs/heads/main")
	say("delivered: %d", status)
	for status == http.StatusOK {
		t.mu.Lock()
		handled := append([]string(nil), t.pushes...)
		t.mu.Unlock()
		if len(handled) > 0 {
			say("handled for %s", handled[0])
			if handled[0] != "globex refs/heads/main" || len(handled) != 1 {
				return fmt.Errorf("handled %q", handled)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return fmt.Errorf("webhook was answered with %d", status)
}

func (t *tour) forged(ctx context.Context) error {
	id, err := t.installation(ctx, "globex")
	if err != nil {
		return err
	}
	r := webhooktest.GitHub(integrationstest.BaseURL+"/github/webhook", "not the real secret", "push", "forged-1", t.kit.GitHub.PushBody(id, "api", "refs/heads/evil"))
	resp := t.kit.Send(r)
	say("answered: %d", resp.StatusCode)
	if resp.StatusCode != http.StatusUnauthorized {
		return errors.New("want 401")
	}
	return nil
}

func (t *tour) disconnect(ctx context.Context) error {
	conn, err := t.m.Connection(ctx, "acme", slackapp.Key)
	if err != nil {
		return err
	}
	if err := t.m.Disconnect(ctx, "acme", conn.IntegrationID()); err != nil {
		return err
	}
	_, err = slackapp.Notify(ctx, conn, slackapp.Message{Text: "Still there?"})
	say("a call after it: %v", err)
	if !errors.Is(err, integrations.ErrDisconnected) {
		return errors.New("want ErrDisconnected")
	}
	if t.kit.Slack.Tokens.Live("TACME") {
		return errors.New("the token still works at Slack")
	}
	say("and the token is revoked at Slack")
	if _, err := t.m.Connection(ctx, "globex", slackapp.Key); err != nil {
		return err
	}
	say("the other tenant is still connected")
	return nil
}
