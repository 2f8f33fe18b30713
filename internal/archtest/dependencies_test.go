package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goTool runs the go command in a folder, apart from any workspace and without
// the network.
func goTool(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOPROXY=off", "GONOSUMDB=*", "GOFLAGS=-mod=mod")
	if args[0] == "list" && dir == root {
		cmd.Env = append(cmd.Env, "GOFLAGS=-mod=readonly")
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

type listed struct {
	ImportPath string
	Standard   bool
	Module     *struct{ Path, Version string }
}

func list(t *testing.T, dir string, patterns ...string) []listed {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(goTool(t, dir, append([]string{"list", "-deps", "-json=ImportPath,Standard,Module"}, patterns...)...)))
	var out []listed
	for {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
}

// TestD1Dependencies: what the library links is what was reviewed, and what was
// downloaded is what was published.
func TestD1Dependencies(t *testing.T) {
	var have []string
	for _, p := range list(t, root, "./...") {
		if p.Module != nil && p.Module.Path != module {
			have = append(have, p.Module.Path+" "+p.Module.Version)
		}
	}
	slices.Sort(have)
	have = slices.Compact(have)
	text, err := os.ReadFile("dependencies.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSpace(string(text)), "\n")
	for _, m := range have {
		if !slices.Contains(want, m) {
			t.Errorf("the library links %s, which is not in internal/archtest/dependencies.txt: review it, then add it", m)
		}
	}
	for _, m := range want {
		if !slices.Contains(have, m) {
			t.Errorf("%s is in internal/archtest/dependencies.txt and not linked any more: remove it", m)
		}
	}
	goTool(t, root, "mod", "verify")

	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, no := range []string{"modernc.org/sqlite", "jackc/pgx", "go-sql-driver", "go-redis", "rueidis", "cloud.google.com", "aws-sdk", "opentelemetry", "google.golang.org/api"} {
		if strings.Contains(string(mod), no) {
			t.Errorf("the root go.mod names %s: drivers and tools belong to a nested module", no)
		}
	}
}

// TestConsumer: a host that imports the root and one adapter gets a short list.
func TestConsumer(t *testing.T) {
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.test/host\n\ngo 1.26.0\n\nrequire (\n\t"+module+" v0.0.0\n)\n\nreplace "+module+" => "+here+"\n")
	write("main.go", "package main\n\nimport (\n\t_ \""+module+"\"\n\t_ \""+module+"/providers/slackapp\"\n)\n\nfunc main() {}\n")
	// Listing what is linked writes the go.mod and go.sum a host ends up with.
	linked := list(t, dir, "./...")
	tidy, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(tidy), "\n"); n > 20 {
		t.Errorf("a host's go.sum has %d lines, want 20 at most:\n%s", n, tidy)
	}
	var third []string
	for _, p := range linked {
		if !p.Standard && p.Module != nil && p.Module.Path != module && p.Module.Path != "example.test/host" {
			third = append(third, p.ImportPath)
		}
	}
	t.Logf("go.sum: %d lines; third-party packages linked: %d", strings.Count(string(tidy), "\n"), len(third))
	if len(third) > 16 {
		t.Errorf("a host links %d third-party packages, want 16 at most:\n%s", len(third), strings.Join(third, "\n"))
	}
}
