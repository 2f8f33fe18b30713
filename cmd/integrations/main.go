// Command integrations prints what a host needs once: a fresh key, and the
// schema for those who apply it with a tool of their own.
//
//	integrations key [-id k1]
//	integrations schema [-prefix app_] sqlite|postgres|mysql
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store/sqlstore"
)

const usage = `usage:
  integrations key [-id k1]                      print a fresh key in hex
  integrations schema [-prefix app_] DIALECT     print the schema's SQL, of sqlite,
                                                 postgres or mysql (MariaDB too)
`

// errUsage is a fault of the command line.
var errUsage = errors.New("see usage")

func main() {
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "integrations:", err)
		os.Exit(1)
	}
}

func run(args []string, out, errOut io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(errOut)
	switch args[0] {
	case "key":
		id := flags.String("id", "k1", "id of the key, which stands in every sealed value")
		if flags.Parse(args[1:]) != nil || flags.NArg() > 0 {
			return errUsage
		}
		key, err := crypto.GenerateKey(*id)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, key.Reveal())
		return err
	case "schema":
		prefix := flags.String("prefix", "", "prefix of table names")
		if flags.Parse(args[1:]) != nil || flags.NArg() != 1 {
			return errUsage
		}
		return schema(out, flags.Arg(0), *prefix)
	}
	return errUsage
}

func schema(out io.Writer, name, prefix string) error {
	dialect, ok := sqlstore.DialectByName(name)
	if !ok {
		return errUsage
	}
	files := sqlstore.Migrations(dialect)
	return fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		_, err = io.WriteString(out, strings.ReplaceAll(string(text), "{p}", prefix))
		return err
	})
}
