package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/crypto"
)

func TestKeyPrintsAKeyThatParses(t *testing.T) {
	var out strings.Builder
	if err := run([]string{"key", "-id", "k7"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if _, err := crypto.ParseKey("k7", out.String()); err != nil {
		t.Fatal(err)
	}
}

func TestSchemaPrintsTheTablesWithThePrefix(t *testing.T) {
	for dialect, table := range map[string]string{
		"sqlite": "CREATE TABLE app_integrations (", "postgres": "CREATE TABLE app_integrations (", "mysql": "CREATE TABLE IF NOT EXISTS app_integrations (",
	} {
		var out strings.Builder
		if err := run([]string{"schema", "-prefix", "app_", dialect}, &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), table) || strings.Contains(out.String(), "{p}") {
			t.Fatalf("no table in %q", out.String())
		}
	}
}

func TestFaultsOfTheCommandLine(t *testing.T) {
	for _, args := range [][]string{nil, {"other"}, {"key", "extra"}, {"key", "-nothing"}, {"schema"}, {"schema", "oracle"}} {
		if err := run(args, io.Discard, io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", args, err)
		}
	}
	if err := run([]string{"key", "-id", "NOT AN ID"}, io.Discard, io.Discard); err == nil || errors.Is(err, errUsage) {
		t.Errorf("bad id: %v", err)
	}
}
