// Replicas shows one refresh for a token that ends, whoever asks: this program
// starts itself three times as a process of its own, on one database, and lets all
// of them ask for the same tenant's token at the moment it has ended. A provider
// that allows a refresh token to be used once sees one call.
//
// It needs no account and no network: the provider is a fake that the first
// process serves on loopback, the database a SQLite file that is removed at the
// end. Replicas on several machines share a server instead:
//
//	go run ./examples/replicas -database postgres -dsn 'postgres://postgres@127.0.0.1:5432/test?sslmode=disable'
//	go run ./examples/replicas -database mysql -dsn 'root@tcp(127.0.0.1:3306)/test'
//
// REPLICAS_DATABASE and REPLICAS_DSN say the same. The tables there begin with
// "replicas_example_" and stay.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/examples/internal/demo"
)

const (
	tenant   = "acme"
	replicas = 3
	// callers is how many goroutines ask in each replica.
	callers = 20
	// life is how long the token lasts that all of them find at its end.
	life = 2 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if name := os.Getenv(replicaEnv); name != "" {
		exit(name, replica(ctx, name, os.Stdin, os.Stdout))
	}
	var db database
	flag.StringVar(&db.Kind, "database", os.Getenv("REPLICAS_DATABASE"), "sqlite, postgres or mysql")
	flag.StringVar(&db.DSN, "dsn", os.Getenv("REPLICAS_DSN"), "where the database is; a temporary file if it is empty")
	flag.Parse()
	exit("replicas", run(ctx, db))
}

func exit(who string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", who, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, where database) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if where.DSN == "" {
		if where.Kind != "" && where.Kind != "sqlite" {
			return fmt.Errorf("-database %s needs a -dsn", where.Kind)
		}
		dir, err := os.MkdirTemp("", "replicas")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		where = sqliteFile(filepath.Join(dir, "replicas.sqlite"))
	}
	p := serveProvider()
	defer p.close()
	p.kit.OAuth.Tokens.SetLife(life)

	// All processes have the key: what one seals the others open.
	key, err := crypto.GenerateKey("k1")
	if err != nil {
		return err
	}
	o := orders{Database: where, Key: key.Reveal(), Provider: p.access()}

	// The first process stands for the replica that happens to serve the browser
	// in which the tenant connects.
	cfg, db, err := o.config(ctx, "parent")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	m := p.kit.Use(cfg)
	p.kit.Connect(tenant, providerKey)
	ends := time.Now().Add(life)
	demo.Say("tenant %q has connected on %s; its token %s lasts %v", tenant, where.Kind, p.tokenCalls()[0].Token, life)
	p.kit.OAuth.Tokens.SetLife(time.Hour) // the next one lasts, so that it need not be renewed in turn

	f, err := startFleet(ctx, o)
	if err != nil {
		return err
	}
	defer f.stop() // also when something below fails
	if err := f.ready(); err != nil {
		return err
	}
	demo.Say("%d replicas have started, as processes %v", replicas, f.pids())

	select {
	case <-time.After(time.Until(ends) + 200*time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	demo.Say("the token has ended: each replica asks for it, %d callers at once", callers)
	answers, err := f.ask()
	if err != nil {
		return err
	}
	if err := compare(p.tokenCalls(), answers); err != nil {
		return err
	}

	conn, err := m.Connection(ctx, tenant, providerKey)
	if err != nil {
		return err
	}
	return m.Disconnect(ctx, tenant, conn.IntegrationID())
}

// compare checks what the replicas got against what the provider gave. calls are
// all that asked it for a token: the first is the connect.
func compare(calls []call, answers []answer) error {
	refreshes := calls[1:]
	for _, c := range refreshes {
		demo.Say("%s asked the provider for a refresh: token %s", c.Replica, c.Token)
	}
	if len(refreshes) != 1 {
		return fmt.Errorf("the provider saw %d refreshes, want 1", len(refreshes))
	}
	for _, a := range answers {
		demo.Say("%s got token %s for its %d callers after %v", a.Replica, a.Token, a.Callers, a.Took.Round(time.Millisecond))
		if a.Token != refreshes[0].Token || a.Callers != callers {
			return fmt.Errorf("%s did not get the new token for all of its callers", a.Replica)
		}
	}
	demo.Say("one refresh, and all %d replicas have the same new token", len(answers))
	return nil
}
