package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/saas-integrations/integrations/webhook"
	"golang.org/x/sync/errgroup"
)

// serve runs the host on PORT (default 8080) against the real services. APP_URL
// is its public URL; the handlers are at APP_URL/integrations. Everybody who
// reaches it is the same user of the tenant "demo": put a login in front.
func serve(ctx context.Context) error {
	key, err := crypto.ParseKey("k1", os.Getenv("TOKEN_ENCRYPTION_KEY"))
	if err != nil {
		return err
	}
	ring, err := crypto.NewKeyring(key)
	if err != nil {
		return err
	}
	db, err := openSQLite(ctx, "quickstart.sqlite")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	appID, err := strconv.ParseInt(os.Getenv("GITHUB_APP_ID"), 10, 64)
	if err != nil {
		return errors.New("GITHUB_APP_ID is not a number")
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	m, err := integrations.New(ctx, integrations.Config{
		Store: sqlstore.New(db, sqlstore.SQLite, nil), Cipher: ring, BaseURL: os.Getenv("APP_URL") + "/integrations",
		Identify: func(*http.Request) (integrations.Identity, error) {
			return integrations.Identity{TenantID: "demo", UserID: "demo"}, nil
		},
		Providers: []providers.Provider{
			slackapp.New(slackapp.Config{
				ClientID: os.Getenv("SLACK_CLIENT_ID"), ClientSecret: os.Getenv("SLACK_CLIENT_SECRET"),
				SigningSecrets: []string{os.Getenv("SLACK_SIGNING_SECRET")}, Scopes: []string{"chat:write", "incoming-webhook"},
			}),
			githubapp.New(githubapp.Config{
				AppID: appID, Slug: os.Getenv("GITHUB_APP_SLUG"), PrivateKeyPEM: os.Getenv("GITHUB_PRIVATE_KEY"),
				ClientID: os.Getenv("GITHUB_CLIENT_ID"), ClientSecret: os.Getenv("GITHUB_CLIENT_SECRET"),
				WebhookSecrets: []string{os.Getenv("GITHUB_WEBHOOK_SECRET")},
			}),
		},
		Logger: logger, AllowInsecureLocalhost: true,
	})
	if err != nil {
		return err
	}
	m.OnWebhook(githubapp.Push(func(ctx context.Context, ev webhook.Event, p *github.PushEvent) error {
		conn, err := m.Connection(ctx, ev.TenantID, slackapp.Key)
		if errors.Is(err, integrations.ErrNotConnected) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = slackapp.Notify(ctx, conn, slackapp.Message{Text: p.GetRepo().GetFullName() + " was pushed to " + p.GetRef()})
		return err
	}))
	return listen(ctx, m, logger)
}

func listen(ctx context.Context, m *integrations.Manager, logger *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("/integrations/", m.Handler())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><title>Quickstart</title><p><a href="/integrations/slack/connect">Connect Slack</a> <a href="/integrations/github/connect">Connect GitHub</a>`)
		list, err := m.Integrations(r.Context(), "demo")
		if err != nil {
			logger.ErrorContext(r.Context(), "list integrations", "error", err)
			return
		}
		for _, in := range list {
			fmt.Fprintf(w, "<p>%s: %s", in.Provider, in.Status)
		}
	})
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	srv := &http.Server{Addr: ":" + port, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return m.Run(ctx) })
	group.Go(func() error {
		logger.Info("listening", "address", srv.Addr)
		if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		return errors.Join(srv.Shutdown(stop), m.Shutdown(stop))
	})
	return group.Wait()
}
