// Sheets makes a spreadsheet in the account a tenant connects, adds rows to it,
// reads them back and hears of changes.
//
// It needs no account: a fake Google runs in this process. With
// TOKEN_ENCRYPTION_KEY, APP_URL, GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET set it
// serves on PORT against the real one, which notifies an https APP_URL only.
package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/examples/internal/demo"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/webhook"
)

// order is a row of the program's table.
type order struct {
	ID    string  `sheet:"Order"`
	Total float64 `sheet:"Total"`
	Note  string  `sheet:"Note,optional"`
}

var orders = sheetsapp.Range{Sheet: "Orders"}

var program = demo.Program{
	Key:  sheetsapp.Key,
	Fake: func(kit *integrationstest.Kit) providers.Provider { return sheetsapp.New(kit.Sheets.App()) },
	Real: func(getenv func(string) string) providers.Provider {
		if getenv("GOOGLE_CLIENT_ID") == "" {
			return nil
		}
		return sheetsapp.New(sheetsapp.Config{
			ClientID: getenv("GOOGLE_CLIENT_ID"), ClientSecret: getenv("GOOGLE_CLIENT_SECRET"),
			Scopes: []string{sheetsapp.ScopeDriveFile}, // what this program makes, and nothing else
		})
	},
	Use: func(ctx context.Context, conn *providers.Connection) error {
		book, err := sheetsapp.Create(ctx, conn, "Orders of "+conn.TenantID(), orders.Sheet)
		if err != nil {
			return err
		}
		demo.Say("made %s", book.URL)
		if _, err = sheetsapp.Update(ctx, conn, book.ID, sheetsapp.Range{Sheet: orders.Sheet, Cells: "A1"}, [][]any{{"Order", "Total", "Note"}}, nil); err != nil {
			return err
		}
		done, err := sheetsapp.AppendRows(ctx, conn, book.ID, orders, []order{{"A-1", 12.5, "=a text, no formula"}, {"A-2", 7, ""}}, nil)
		if err != nil {
			return err
		}
		rows, err := sheetsapp.ReadRows[order](ctx, conn, book.ID, orders, nil)
		if err != nil {
			return err
		}
		demo.Say("wrote %s and read %d orders back", done.Range, len(rows))
		channel, err := sheetsapp.WatchFile(ctx, conn, book.ID)
		if err != nil {
			return err
		}
		demo.Say("watching until %s", channel.ExpiresAt.Format("Mon 15:04"))
		return nil
	},
	Handlers: func(m *integrations.Manager) {
		m.OnWebhook(sheetsapp.On(webhook.AnyType, func(ctx context.Context, ev webhook.Event, n *sheetsapp.Notification) error {
			conn, err := m.ConnectionByID(ctx, ev.TenantID, ev.IntegrationID)
			if err != nil {
				return err
			}
			rows, err := sheetsapp.ReadRows[order](ctx, conn, n.FileID, orders, nil)
			demo.Say("%s of tenant %q: %d orders now", ev.Type, ev.TenantID, len(rows))
			return err
		}))
	},
	Deliver: func(ctx context.Context, kit *integrationstest.Kit, conn *providers.Connection) error {
		channels, err := sheetsapp.Channels(ctx, conn)
		if err != nil {
			return err
		}
		kit.Sheets.SetValues(channels[0].FileID, orders.Sheet, [][]any{{"Order", "Total"}, {"A-1", 12.5}, {"A-2", 7}, {"A-3", 1}})
		if statuses := kit.Sheets.Edit(channels[0].FileID); !slices.Equal(statuses, []int{http.StatusOK}) {
			return fmt.Errorf("the notification was answered with %v", statuses)
		}
		return nil
	},
}

func main() { program.Main() }
