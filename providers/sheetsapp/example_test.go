package sheetsapp_test

import (
	"context"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/webhook"
)

// panics is a test of an example: it has none.
type panics struct{}

func (panics) Helper()                   {}
func (panics) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

// shop is a tenant's connection to a fake Google, and a spreadsheet there.
func shop() (*integrationstest.Kit, *providers.Connection, string) {
	kit := integrationstest.New(panics{})
	kit.Connect("acme", sheetsapp.Key)
	conn, err := kit.Manager().Connection(context.Background(), "acme", sheetsapp.Key)
	if err != nil {
		panic(err)
	}
	book, err := sheetsapp.Create(context.Background(), conn, "Shop", "Orders")
	if err != nil {
		panic(err)
	}
	kit.Sheets.SetValues(book.ID, "Orders", [][]any{{"ID", "Total", "Paid"}, {"A-1", 12.5, true}, {"A-2", 7, false}})
	return kit, conn, book.ID
}

func ExampleNew() {
	app := sheetsapp.New(sheetsapp.Config{ClientID: "1.apps.googleusercontent.com", ClientSecret: "secret", Scopes: []string{sheetsapp.ScopeDriveFile}})
	fmt.Println(app.Info().Key, app.Validate())
	// Output: google_sheets <nil>
}

func ExampleParseRange() {
	r, err := sheetsapp.ParseRange("'It''s'!A1:B2")
	fmt.Println(r.Sheet, r.Cells, r, err)
	// Output: It's A1:B2 'It''s'!A1:B2 <nil>
}

func ExampleCreate() {
	_, conn, _ := shop()
	book, err := sheetsapp.Create(context.Background(), conn, "Report", "2026", "2027")
	fmt.Println(book.Title, len(book.Sheets), err)
	// Output: Report 2 <nil>
}

func ExampleGet() {
	_, conn, id := shop()
	book, err := sheetsapp.Get(context.Background(), conn, id)
	fmt.Println(book.Title, book.Sheets[0].Title, book.Sheets[0].Rows, err)
	// Output: Shop Orders 1000 <nil>
}

func ExampleRead() {
	_, conn, id := shop()
	values, err := sheetsapp.Read(context.Background(), conn, id, sheetsapp.Range{Sheet: "Orders", Cells: "A2:C"}, nil)
	fmt.Println(values.Rows, err)
	// Output: [[A-1 12.5 true] [A-2 7 false]] <nil>
}

func ExampleUpdate() {
	_, conn, id := shop()
	done, err := sheetsapp.Update(context.Background(), conn, id, sheetsapp.Range{Sheet: "Orders", Cells: "B2:C2"}, [][]any{{13, nil}}, nil)
	fmt.Println(done.Range, done.Cells, err)
	// Output: Orders!B2:C2 1 <nil>
}

func ExampleAppend() {
	_, conn, id := shop()
	// What a user typed is stored as it is.
	done, err := sheetsapp.Append(context.Background(), conn, id, sheetsapp.Range{Sheet: "Orders"}, [][]any{{"=A-3", 5, false}}, nil)
	fmt.Println(done.Table, done.Range, err)
	// Output: Orders!A1:C3 Orders!A4:C4 <nil>
}

func ExampleFormula() {
	kit, conn, id := shop()
	_, err := sheetsapp.Update(context.Background(), conn, id, sheetsapp.Range{Sheet: "Orders", Cells: "E1:E2"},
		[][]any{{sheetsapp.Formula("=SUM(B2:B)")}, {"=SUM(B2:B)"}}, &sheetsapp.WriteOptions{Input: sheetsapp.UserEntered})
	fmt.Println(kit.Sheets.Values(id, "Orders")[0][4], err)
	// Output: =SUM(B2:B) <nil>
}

func ExampleBatchGet() {
	_, conn, id := shop()
	list, err := sheetsapp.BatchGet(context.Background(), conn, id, []sheetsapp.Range{{Sheet: "Orders", Cells: "A2:A3"}, {Sheet: "Orders", Cells: "B1"}}, nil)
	fmt.Println(list[0].Rows, list[1].Rows, err)
	// Output: [[A-1] [A-2]] [[Total]] <nil>
}

func ExampleBatchUpdate() {
	_, conn, id := shop()
	done, err := sheetsapp.BatchUpdate(context.Background(), conn, id, []sheetsapp.Block{
		{Range: sheetsapp.Range{Sheet: "Orders", Cells: "C2:C3"}, Rows: [][]any{{true}, {true}}},
		{Range: sheetsapp.Range{Sheet: "Orders", Cells: "E1"}, Rows: [][]any{{time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)}}},
	}, nil)
	fmt.Println(done[0].Cells, done[1].Range, err)
	// Output: 2 Orders!E1 <nil>
}

func ExampleClear() {
	_, conn, id := shop()
	cleared, err := sheetsapp.Clear(context.Background(), conn, id, sheetsapp.Range{Sheet: "Orders", Cells: "A2:C3"})
	fmt.Println(cleared, err)
	// Output: [Orders!A2:C3] <nil>
}

func ExampleReadRows() {
	type order struct {
		ID    string  `sheet:"ID"`
		Total float64 `sheet:"Total"`
		Note  *string `sheet:"Note,optional"`
	}
	_, conn, id := shop()
	orders, err := sheetsapp.ReadRows[order](context.Background(), conn, id, sheetsapp.Range{Sheet: "Orders"}, nil)
	fmt.Println(len(orders), orders[0].ID, orders[0].Total, orders[0].Note == nil, err)
	// Output: 2 A-1 12.5 true <nil>
}

func ExampleAppendRows() {
	type order struct {
		Paid bool   `sheet:"Paid"`
		ID   string `sheet:"ID"`
	}
	kit, conn, id := shop()
	_, err := sheetsapp.AppendRows(context.Background(), conn, id, sheetsapp.Range{Sheet: "Orders"}, []order{{true, "A-3"}}, nil)
	fmt.Printf("%q %v\n", kit.Sheets.Values(id, "Orders")[3], err)
	// Output: ["A-3" "" %!q(bool=true)] <nil>
}

func ExampleWatchFile() {
	kit, conn, id := shop()
	kit.Manager().OnWebhook(sheetsapp.On(sheetsapp.TypeFileUpdate, func(_ context.Context, ev webhook.Event, n *sheetsapp.Notification) error {
		fmt.Println(ev.TenantID, n.FileID == id, n.Changed)
		return nil
	}))
	channel, err := sheetsapp.WatchFile(context.Background(), conn, id)
	fmt.Println(channel.FileID == id, time.Until(channel.RenewAt).Round(time.Minute), err)
	kit.Sheets.Edit(id)
	_ = kit.Manager().Drain(context.Background()) // a server calls Run instead
	// Output:
	// true 19h12m0s <nil>
	// acme true [content properties]
}

func ExampleWatchChanges() {
	kit, conn, id := shop()
	channel, err := sheetsapp.WatchChanges(context.Background(), conn)
	cursor := channel.PageToken
	kit.Manager().OnWebhook(sheetsapp.OnChange(func(ctx context.Context, ev webhook.Event, _ *sheetsapp.Notification) error {
		conn, err := kit.Manager().ConnectionByID(ctx, ev.TenantID, ev.IntegrationID)
		if err != nil {
			return err
		}
		for c, err := range sheetsapp.Changes(ctx, conn, &cursor) {
			if err != nil {
				return err
			}
			fmt.Println(c.FileID == id, c.File.Name)
		}
		return nil // and keep the cursor
	}))
	fmt.Println(channel.FileID == "", err)
	kit.Sheets.Edit(id)
	_ = kit.Manager().Drain(context.Background())
	// Output:
	// true <nil>
	// true Shop
}

func ExampleChanges() {
	kit, conn, id := shop()
	cursor := "" // begins now
	for range sheetsapp.Changes(context.Background(), conn, &cursor) {
	}
	kit.Sheets.Trash(id)
	for c, err := range sheetsapp.Changes(context.Background(), conn, &cursor) {
		fmt.Println(c.File.Name, c.File.Trashed, err)
	}
	// Output: Shop true <nil>
}

func ExampleStopChannel() {
	_, conn, id := shop()
	channel, err := sheetsapp.WatchFile(context.Background(), conn, id)
	if err != nil {
		panic(err)
	}
	err = sheetsapp.StopChannel(context.Background(), conn, channel.ID)
	list, _ := sheetsapp.Channels(context.Background(), conn)
	fmt.Println(len(list), err)
	// Output: 0 <nil>
}

func ExampleChannels() {
	_, conn, id := shop()
	if _, err := sheetsapp.WatchFile(context.Background(), conn, id); err != nil {
		panic(err)
	}
	list, err := sheetsapp.Channels(context.Background(), conn)
	fmt.Println(len(list), list[0].FileID == id, err)
	// Output: 1 true <nil>
}

func ExampleDo() {
	_, conn, id := shop()
	var file struct{ Name string }
	_, err := sheetsapp.Do(context.Background(), conn, providers.APICall{URL: "https://www.googleapis.com/drive/v3/files/" + id + "?fields=name", Out: &file})
	fmt.Println(file.Name, err)
	// Output: Shop <nil>
}

// A channel of all changes for every connection is declared once.
func ExampleConfig_watchChanges() {
	kit := integrationstest.New(panics{})
	app := kit.Sheets.App() // ClientID, ClientSecret and Scopes
	app.WatchChanges = true
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{sheetsapp.New(app)}
	m := kit.Use(cfg)
	kit.Connect("acme", sheetsapp.Key)
	if err := m.Drain(context.Background()); err != nil { // a server calls Run instead
		fmt.Println(err)
		return
	}
	fmt.Println(len(kit.Sheets.LiveChannels()))
	// Output: 1
}
