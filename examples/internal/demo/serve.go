package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"golang.org/x/sync/errgroup"
	_ "modernc.org/sqlite" // the driver of the programs' database
)

// OpenSQLite opens a database file and brings its schema up to date.
func OpenSQLite(ctx context.Context, path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4) // SQLite has one writer: more wait on its lock one against the other
	if err := sqlstore.Migrate(ctx, db, sqlstore.SQLite, nil); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Config is what all programs have in common when they talk to real services:
// the key from TOKEN_ENCRYPTION_KEY, handlers below APP_URL/integrations.
// Everybody who reaches them is the same user of one tenant: put a login in front.
func Config(db *sql.DB, list ...providers.Provider) (integrations.Config, error) {
	key, err := crypto.ParseKey("k1", os.Getenv("TOKEN_ENCRYPTION_KEY"))
	if err != nil {
		return integrations.Config{}, err
	}
	ring, err := crypto.NewKeyring(key)
	return integrations.Config{
		Store: sqlstore.New(db, sqlstore.SQLite, nil), Cipher: ring, BaseURL: os.Getenv("APP_URL") + "/integrations",
		Identify: func(*http.Request) (integrations.Identity, error) {
			return integrations.Identity{TenantID: Tenant, UserID: Tenant}, nil
		},
		Providers: list, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), AllowInsecureLocalhost: true,
	}, err
}

// serve waits for the tenant to connect the real service and then shows Use.
func (p Program) serve(ctx context.Context, real providers.Provider) error {
	db, err := OpenSQLite(ctx, p.Key+".sqlite")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	cfg, err := Config(db, real)
	if err != nil {
		return err
	}
	m, err := integrations.New(ctx, cfg)
	if err != nil {
		return err
	}
	if p.Handlers != nil {
		p.Handlers(m)
	}
	m.OnChange(func(ctx context.Context, c integrations.Change) error {
		Say("%s: %s", c.Provider, c.Kind)
		if c.Status != integrations.StatusActive {
			return nil
		}
		conn, err := m.ConnectionByID(ctx, c.TenantID, c.IntegrationID)
		if err != nil {
			return err
		}
		if err := p.Use(ctx, conn); err != nil {
			Say("%v", err)
		}
		return nil
	})
	return Listen(ctx, m, cfg.Logger, p.Key)
}

// Listen serves the handlers and a page that links to them on PORT, 8080 by
// default, and runs the Manager, until ctx ends.
func Listen(ctx context.Context, m *integrations.Manager, logger *slog.Logger, keys ...string) error {
	mux := http.NewServeMux()
	mux.Handle("/integrations/", m.Handler())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><title>Integrations</title>`)
		for _, key := range keys {
			fmt.Fprintf(w, `<p><a href="/integrations/%s/connect">Connect %s</a>`, key, key)
		}
		list, err := m.Integrations(r.Context(), Tenant)
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
