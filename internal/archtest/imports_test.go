// Package archtest holds what must stay true of the tree as a whole: who imports
// whom, which modules are linked, how long files get. Each failure says what to
// do.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/saas-integrations/integrations"
	root   = "../.."

	oauth2  = "golang.org/x/oauth2"
	xtime   = "golang.org/x/time"
	xsync   = "golang.org/x/sync"
	slackGo = "github.com/slack-go/slack"
	goGH    = "github.com/google/go-github/v62"
	goJira  = "github.com/andygrunwald/go-jira"
	testify = "github.com/stretchr/testify"
)

// allowed is the layer table: what a package of the root module may import of
// ours, by folder, and of others, by module. The standard library is always
// allowed.
var allowed = map[string]struct{ ours, others []string }{
	"crypto":                  {},
	"store":                   {},
	"ratelimit":               {others: []string{xtime}},
	"token":                   {ours: []string{"crypto", "store"}, others: []string{xsync, oauth2}},
	"webhook":                 {ours: []string{"crypto", "store"}},
	"providers":               {ours: []string{"token", "webhook", "ratelimit"}, others: []string{oauth2}},
	"providers/slackapp":      {ours: []string{"providers", "token", "webhook", "ratelimit"}, others: []string{slackGo, oauth2}},
	"providers/githubapp":     {ours: []string{"providers", "token", "webhook", "ratelimit"}, others: []string{goGH, oauth2}},
	"providers/jiraapp":       {ours: []string{"providers", "token", "webhook", "ratelimit"}, others: []string{goJira, oauth2}},
	"providers/hubspotapp":    {ours: []string{"providers", "token", "webhook", "ratelimit"}, others: []string{oauth2}},
	"providers/salesforceapp": {ours: []string{"providers", "token", "webhook", "ratelimit"}, others: []string{oauth2}},
	"providers/sheetsapp":     {ours: []string{"providers", "token", "webhook", "ratelimit"}, others: []string{oauth2}},
	".":                       {ours: []string{"providers", "token", "webhook", "ratelimit", "store", "crypto"}, others: []string{oauth2, xsync}},
	"store/memstore":          {ours: []string{"store"}},
	"store/sqlstore":          {ours: []string{"store"}},
	"store/faultstore":        {ours: []string{"store"}},
	"store/storetest":         {ours: []string{"store"}},
	"webhook/webhooktest":     {ours: []string{"webhook"}},
	"ratelimit/redislimit":    {ours: []string{"ratelimit"}},
	"providers/providertest":  {ours: []string{"providers", "token", "webhook", "ratelimit"}},
	"integrationstest": {
		ours: []string{
			".", "crypto", "token", "providers", "providers/slackapp", "providers/githubapp", "providers/jiraapp", "providers/salesforceapp",
			"providers/hubspotapp", "providers/sheetsapp", "store", "store/memstore", "webhook", "webhook/webhooktest", "ratelimit",
		},
		others: []string{oauth2}, // Endpoint, which a provider's configuration is made of
	},
	"internal/archtest":   {},
	"internal/limitstest": {ours: []string{"providers", "token", "ratelimit"}},
}

// file is a Go file of the root module.
type file struct {
	path, folder string
	test         bool
	imports      []string
	ast          *ast.File
}

// walk parses every Go file of the root module, leaving nested modules out.
func walk(t *testing.T) []file {
	t.Helper()
	var files []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || exists(filepath.Join(path, "go.mod"))) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		f := file{path: rel, folder: filepath.ToSlash(filepath.Dir(rel)), test: strings.HasSuffix(rel, "_test.go"), ast: parsed}
		for _, spec := range parsed.Imports {
			f.imports = append(f.imports, strings.Trim(spec.Path.Value, `"`))
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("found only %d files: the walk is broken", len(files))
	}
	return files
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// fault says what is wrong with an import, "" for nothing.
func fault(folder, path string) string {
	rule, known := allowed[folder]
	switch {
	case !known:
		return fmt.Sprintf("package %s is not in the layer table: add it to allowed in internal/archtest and to CONTRIBUTING.md", folder)
	case !strings.Contains(strings.Split(path, "/")[0], "."):
		return "" // standard library
	case path == module || strings.HasPrefix(path, module+"/"):
		ours := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
		if ours == "" {
			ours = "."
		}
		if !slices.Contains(rule.ours, ours) {
			return fmt.Sprintf("%s may not import %s: move the code to a layer that may, or pass what it needs in", folder, ours)
		}
		return ""
	}
	for _, m := range rule.others {
		if path == m || strings.HasPrefix(path, m+"/") {
			return ""
		}
	}
	return fmt.Sprintf("%s may not import %s: keep to the standard library, or have the dependency reviewed and added to the layer table", folder, path)
}

func TestImports(t *testing.T) {
	for _, f := range walk(t) {
		if f.test {
			continue
		}
		for _, path := range f.imports {
			if msg := fault(f.folder, path); msg != "" {
				t.Errorf("%s: %s", f.path, msg)
			}
		}
	}
}

func TestImportsCheckerFindsFaults(t *testing.T) {
	for _, c := range [][2]string{
		{"crypto", module + "/store"}, {"store", "golang.org/x/sync/errgroup"}, {"providers", module + "/store"},
		{"providers", module + "/providers/slackapp"}, {"providers/slackapp", goGH + "/github"}, {"providers/slackapp", module},
		{"token", testify + "/require"}, {".", module + "/store/sqlstore"}, {".", module + "/providers/githubapp"}, {"helpers", "fmt"},
	} {
		if fault(c[0], c[1]) == "" {
			t.Errorf("%s importing %s is not found", c[0], c[1])
		}
	}
	for _, c := range [][2]string{{"crypto", "crypto/aes"}, {"token", "golang.org/x/sync/singleflight"}, {".", module + "/token"}, {"providers/githubapp", goGH + "/github"}} {
		if msg := fault(c[0], c[1]); msg != "" {
			t.Errorf("%s importing %s: %s", c[0], c[1], msg)
		}
	}
}

// TestTestify: of testify, tests use package require and nothing that ships uses
// any of it.
func TestTestify(t *testing.T) {
	for _, f := range walk(t) {
		for _, path := range f.imports {
			if strings.HasPrefix(path, testify) && (!f.test || path != testify+"/require") {
				t.Errorf("%s imports %s: only _test.go files may use testify, and only its package require", f.path, path)
			}
		}
	}
}

func TestNames(t *testing.T) {
	empty := []string{"util", "utils", "common", "helpers", "types", "models", "base"}
	for _, f := range walk(t) {
		for part := range strings.SplitSeq(f.folder, "/") {
			if slices.Contains(empty, part) {
				t.Errorf("%s: a folder named %s says nothing: name it for what it does", f.path, part)
			}
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" && !f.test {
				t.Errorf("%s has an init function: packages do nothing when they are imported", f.path)
			}
		}
	}
}

// adapterFiles are the names every adapter uses for the same things. A part of one
// may have a file of its own: operations_watch.go beside operations.go.
var adapterFiles = []string{"app.go", "oauth.go", "client.go", "operations.go", "webhook.go", "errors.go", "limits.go", "example_test.go"}

// moreAdapterFiles are reviewed exceptions.
var moreAdapterFiles = map[string][]string{"providers/githubapp": {"jwt.go", "sync.go"}}

// topic is the name of the file that a file is a part of.
func topic(name string) string {
	before, _, part := strings.Cut(strings.TrimSuffix(name, ".go"), "_")
	if !part {
		return name
	}
	return before + ".go"
}

func TestAdapterFiles(t *testing.T) {
	have := map[string][]string{}
	for _, f := range walk(t) {
		if strings.HasPrefix(f.folder, "providers/") && strings.HasSuffix(f.folder, "app") {
			name := filepath.Base(f.path)
			have[f.folder] = append(have[f.folder], name)
			if !f.test && !slices.Contains(adapterFiles, topic(name)) && !slices.Contains(moreAdapterFiles[f.folder], topic(name)) {
				t.Errorf("%s: adapters use the same file names (%s): put it into one of them, or review it and add it to moreAdapterFiles", f.path, strings.Join(adapterFiles, " "))
			}
		}
	}
	if len(have) < 2 {
		t.Fatalf("found adapters %v: the check is broken", have)
	}
	for folder, names := range have {
		for _, need := range []string{"app.go", "oauth.go", "client.go", "operations.go", "webhook.go", "errors.go", "example_test.go"} {
			if !slices.Contains(names, need) {
				t.Errorf("%s has no %s: every adapter has", folder, need)
			}
		}
	}
}

// Lines a file should and must not have more of.
const (
	aim   = 400
	limit = 800
)

func TestFileLength(t *testing.T) {
	for _, f := range walk(t) {
		text, err := os.ReadFile(filepath.Join(root, f.path))
		if err != nil {
			t.Fatal(err)
		}
		switch n := strings.Count(string(text), "\n"); {
		case n > limit && !f.test:
			t.Errorf("%s has %d lines: split it by topic, %d is the limit", f.path, n, limit)
		case n > aim && !f.test:
			t.Logf("%s has %d lines, the aim is %d", f.path, n, aim)
		}
	}
}

// constructors are the prefixes of functions that make what the rest of a
// package is used through.
var constructors = []string{"New", "Parse", "Generate", "Unwrap", "Migrat"}

// noExample are reviewed exceptions.
var noExample = []string{
	"token.ParseRetryAfter", // a reader of one header
}

// TestExamples: every constructor shows how it is used.
func TestExamples(t *testing.T) {
	made, shown := map[string]string{}, map[string]bool{}
	for _, f := range walk(t) {
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil {
				continue
			}
			name := fn.Name.Name
			if after, ok := strings.CutPrefix(name, "Example"); ok && f.test {
				shown[f.folder+"."+after] = true
			}
			if !f.test && slices.ContainsFunc(constructors, func(p string) bool { return strings.HasPrefix(name, p) }) {
				made[f.folder+"."+name] = f.path
			}
		}
	}
	if len(made) < 20 {
		t.Fatalf("found constructors %v: the check is broken", made)
	}
	for name, path := range made {
		if !shown[name] && !slices.Contains(noExample, name) {
			t.Errorf("%s: %s has no Example%s: every constructor has one", path, name, name[strings.LastIndex(name, ".")+1:])
		}
	}
}
