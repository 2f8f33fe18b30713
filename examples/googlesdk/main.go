// Googlesdk gives a tenant's connection to Google's own client for Go: it makes a
// spreadsheet with package sheets and looks it up with package drive. The
// connection sends the token, renews it, and keeps it from other hosts.
//
// It is a module of its own because google.golang.org/api links two dozen others. It
// needs no account: a fake Google runs in this process.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/api/sheets/v4"
)

// clients returns Google's clients for a connection. Make them where they are
// needed: they are cheap. All other options about authentication are ignored with
// option.WithHTTPClient.
func clients(ctx context.Context, conn *providers.Connection) (*sheets.Service, *drive.Service, error) {
	hc := conn.HTTPClient()
	s, err := sheets.NewService(ctx, option.WithHTTPClient(hc))
	if err != nil {
		return nil, nil, err
	}
	d, err := drive.NewService(ctx, option.WithHTTPClient(hc))
	return s, d, err
}

// run shows the clients at work on a connection.
func run(ctx context.Context, conn *providers.Connection) error {
	s, d, err := clients(ctx, conn)
	if err != nil {
		return err
	}
	book, err := s.Spreadsheets.Create(&sheets.Spreadsheet{Properties: &sheets.SpreadsheetProperties{Title: "Orders"}}).Context(ctx).Do()
	if err != nil {
		return err
	}
	rows := &sheets.ValueRange{Values: [][]any{{"Order", "Total"}, {"A-1", 12.5}}}
	done, err := s.Spreadsheets.Values.Append(book.SpreadsheetId, "Sheet1", rows).
		ValueInputOption("RAW").InsertDataOption("INSERT_ROWS").Context(ctx).Do()
	if err != nil {
		return err
	}
	fmt.Printf("- appended %s\n", done.Updates.UpdatedRange)
	file, err := d.Files.Get(book.SpreadsheetId).SupportsAllDrives(true).Context(ctx).Do()
	if err != nil {
		return err
	}
	fmt.Printf("- Drive calls it %q\n", file.Name)

	// Google's errors stay Google's.
	_, err = s.Spreadsheets.Get("unknown").Context(ctx).Do()
	var refused *googleapi.Error
	if !errors.As(err, &refused) || refused.Code != http.StatusNotFound {
		return fmt.Errorf("an unknown spreadsheet is %w", err)
	}
	fmt.Printf("- an unknown one is refused with %d\n", refused.Code)
	return nil
}

func main() {
	ctx := context.Background()
	kit := integrationstest.New(failure{})
	kit.Connect("demo", sheetsapp.Key)
	conn, err := kit.Manager().Connection(ctx, "demo", sheetsapp.Key)
	if err == nil {
		err = run(ctx, conn)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "googlesdk:", err)
		os.Exit(1)
	}
}

// failure ends the program where the kit would end a test.
type failure struct{}

func (failure) Helper() {}

func (failure) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}
