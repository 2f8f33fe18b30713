package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/crypto"
)

// TestMain lets the test's program be the replicas too.
func TestMain(m *testing.M) {
	if name := os.Getenv(replicaEnv); name != "" {
		exit(name, replica(context.Background(), name, os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

func TestProgram(t *testing.T) {
	began := time.Now()
	if err := run(t.Context(), database{}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Fatalf("it took %v", took)
	}
}

// TestServers runs it on the servers that the environment names. One that
// INTEGRATIONS_TEST_REQUIRE names must be there.
func TestServers(t *testing.T) {
	required := strings.Split(os.Getenv("INTEGRATIONS_TEST_REQUIRE"), ",")
	for kind, server := range map[string]struct{ env, dsn string }{
		"postgres": {"INTEGRATIONS_TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432/test?sslmode=disable"},
		"mysql":    {"INTEGRATIONS_TEST_MYSQL", "root@tcp(127.0.0.1:3306)/test"},
	} {
		t.Run(kind, func(t *testing.T) {
			dsn := os.Getenv(server.env)
			switch {
			case dsn == "" && slices.Contains(required, kind):
				dsn = server.dsn
			case dsn == "":
				t.Skip(server.env + " is not set")
			}
			if err := run(t.Context(), database{kind, dsn}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestADatabaseIsNotReplacedByAnother(t *testing.T) {
	for _, d := range []database{{Kind: "postgres"}, {DSN: "file:x"}, {Kind: "oracle", DSN: "x"}} {
		if err := run(t.Context(), d); err == nil {
			t.Errorf("%v is taken for a database", d)
		}
	}
}

func TestCompareRefusesWhatIsNotOneRefresh(t *testing.T) {
	connect, one, two := call{"parent", "a"}, call{"replica-1", "b"}, call{"replica-2", "c"}
	got := func(token string, n int) []answer { return []answer{{Replica: "replica-1", Token: token, Callers: n}} }
	if err := compare([]call{connect, one}, got("b", callers)); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"no refresh":        compare([]call{connect}, got("a", callers)),
		"two refreshes":     compare([]call{connect, one, two}, got("b", callers)),
		"the old token":     compare([]call{connect, one}, got("a", callers)),
		"some have another": compare([]call{connect, one}, got("b", callers-1)),
	} {
		if err == nil {
			t.Error(name + " is taken for a success")
		}
	}
}

// TestNoReplicaIsLeft: whatever ends the parent, its replicas end too.
func TestNoReplicaIsLeft(t *testing.T) {
	key, err := crypto.GenerateKey("k1")
	if err != nil {
		t.Fatal(err)
	}
	p := serveProvider()
	defer p.close()
	o := orders{Database: sqliteFile(filepath.Join(t.TempDir(), "r.sqlite")), Key: key.Reveal(), Provider: p.access()}

	// Nobody has connected, so the replicas fail at their start.
	f, err := startFleet(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.ready(); err == nil {
		t.Error("replicas of a tenant that is not connected are ready")
	}
	f.stop()
	if cfg, db, err := o.config(t.Context(), "parent"); err != nil {
		t.Fatal(err)
	} else {
		defer func() { _ = db.Close() }()
		p.kit.Use(cfg)
	}
	p.kit.Connect(tenant, providerKey)

	// The parent is stopped by a signal while they run.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if f, err = startFleet(ctx, o); err != nil {
		t.Fatal(err)
	}
	if err := f.ready(); err != nil {
		t.Fatal(err)
	}
	cancel()
	began := time.Now()
	f.stop()
	if time.Since(began) > 4*time.Second {
		t.Error("they were not killed when the context ended")
	}

	// The parent dies without a word: all that tells is the end of the pipe.
	if f, err = startFleet(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := f.ready(); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	for _, m := range f.members {
		if err := m.in.Close(); err != nil {
			t.Error(err)
		}
		if err := m.cmd.Wait(); err != nil {
			t.Errorf("%s ended with %v", m.name, err)
		}
	}
	if time.Since(began) > 4*time.Second {
		t.Error("they do not end with their input")
	}
	f.cancel()
}
