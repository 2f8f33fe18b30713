package main

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/stretchr/testify/require"
	"google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/sheets/v4"
)

func connect(t *testing.T, scopes ...string) (*integrationstest.Kit, *providers.Connection) {
	t.Helper()
	kit := integrationstest.New(t)
	if len(scopes) > 0 {
		app := kit.Sheets.App()
		app.Scopes = scopes
		cfg := kit.Config()
		cfg.Providers = []providers.Provider{sheetsapp.New(app)}
		kit.Use(cfg)
	}
	kit.Connect("acme", sheetsapp.Key, "107")
	return kit, connection(t, kit, "acme")
}

func connection(t *testing.T, kit *integrationstest.Kit, tenant string) *providers.Connection {
	t.Helper()
	conn, err := kit.Manager().Connection(t.Context(), tenant, sheetsapp.Key)
	require.NoError(t, err)
	return conn
}

func TestRun(t *testing.T) {
	_, conn := connect(t)
	require.NoError(t, run(t.Context(), conn))
}

// TestFakeAnswersAsGoogle: Google's own client reads what the kit's fake answers.
func TestFakeAnswersAsGoogle(t *testing.T) {
	kit, conn := connect(t)
	ctx := t.Context()
	s, d, err := clients(ctx, conn)
	require.NoError(t, err)

	book, err := s.Spreadsheets.Create(&sheets.Spreadsheet{
		Properties: &sheets.SpreadsheetProperties{Title: "Orders"},
		Sheets:     []*sheets.Sheet{{Properties: &sheets.SheetProperties{Title: "It's: 100%"}}},
	}).Context(ctx).Do()
	require.NoError(t, err)
	require.NotEmpty(t, book.SpreadsheetId)
	require.Equal(t, "It's: 100%", book.Sheets[0].Properties.Title)
	require.EqualValues(t, 1000, book.Sheets[0].Properties.GridProperties.RowCount)
	values := s.Spreadsheets.Values
	name := sheetsapp.Range{Sheet: "It's: 100%"}.String()

	got, err := values.Get(book.SpreadsheetId, name).Context(ctx).Do()
	require.NoError(t, err)
	require.Equal(t, name+"!A1:Z1000", got.Range)
	require.Equal(t, "ROWS", got.MajorDimension)
	require.Empty(t, got.Values)

	in := &sheets.ValueRange{Values: [][]any{{"Order", "Total", "Paid"}, {"=A", 12.5, true}}}
	first, err := values.Append(book.SpreadsheetId, name, in).ValueInputOption("RAW").InsertDataOption("INSERT_ROWS").Context(ctx).Do()
	require.NoError(t, err)
	require.Empty(t, first.TableRange, "there was no table")
	require.Equal(t, name+"!A1:C2", first.Updates.UpdatedRange)
	require.EqualValues(t, 6, first.Updates.UpdatedCells)
	require.EqualValues(t, 2, first.Updates.UpdatedRows)
	require.EqualValues(t, 3, first.Updates.UpdatedColumns)
	more, err := values.Append(book.SpreadsheetId, name, &sheets.ValueRange{Values: [][]any{{"B", "2026-11-25", "=1+1"}}}).
		ValueInputOption("USER_ENTERED").Context(ctx).Do()
	require.NoError(t, err)
	require.Equal(t, name+"!A1:C2", more.TableRange)
	require.Equal(t, book.SpreadsheetId, more.Updates.SpreadsheetId)

	up, err := values.Update(book.SpreadsheetId, name+"!B2", &sheets.ValueRange{Values: [][]any{{13}}}).ValueInputOption("RAW").Context(ctx).Do()
	require.NoError(t, err)
	require.Equal(t, name+"!B2", up.UpdatedRange)
	for render, want := range map[string][][]any{
		"FORMATTED_VALUE":   {{"=A", "13", "TRUE"}, {"B", "46351", "0"}},
		"UNFORMATTED_VALUE": {{"=A", 13.0, true}, {"B", 46351.0, 0.0}},
		"FORMULA":           {{"=A", 13.0, true}, {"B", 46351.0, "=1+1"}},
	} {
		batch, err := values.BatchGet(book.SpreadsheetId).Ranges(name+"!A2:C", name+"!A1").ValueRenderOption(render).Context(ctx).Do()
		require.NoError(t, err)
		require.Equal(t, want, batch.ValueRanges[0].Values, render)
		require.Equal(t, [][]any{{"Order"}}, batch.ValueRanges[1].Values)
	}
	wrote, err := values.BatchUpdate(book.SpreadsheetId, &sheets.BatchUpdateValuesRequest{
		ValueInputOption: "RAW", Data: []*sheets.ValueRange{{Range: name + "!A3", Values: [][]any{{"C"}}}, {Range: name + "!E1:F1", Values: [][]any{{1, 2}}}},
	}).Context(ctx).Do()
	require.NoError(t, err)
	require.EqualValues(t, 3, wrote.TotalUpdatedCells)
	require.Equal(t, name+"!E1:F1", wrote.Responses[1].UpdatedRange)
	cleared, err := values.Clear(book.SpreadsheetId, name+"!E:F", &sheets.ClearValuesRequest{}).Context(ctx).Do()
	require.NoError(t, err)
	require.Equal(t, name+"!E1:F1002", cleared.ClearedRange, "two rows were inserted")
	all, err := values.BatchClear(book.SpreadsheetId, &sheets.BatchClearValuesRequest{Ranges: []string{name + "!A3:C3"}}).Context(ctx).Do()
	require.NoError(t, err)
	require.Len(t, all.ClearedRanges, 1)
	require.Equal(t, [][]any{{"Order", "Total", "Paid"}, {"=A", 13.0, true}}, kit.Sheets.Values(book.SpreadsheetId, "It's: 100%"))

	start, err := d.Changes.GetStartPageToken().Context(ctx).Do()
	require.NoError(t, err)
	channel, err := d.Files.Watch(book.SpreadsheetId, &drive.Channel{
		Id: "channel-1", Type: "web_hook", Address: "https://elsewhere.example/hook", Token: "t", Expiration: time.Now().Add(time.Hour).UnixMilli(),
	}).Context(ctx).Do()
	require.NoError(t, err)
	require.Equal(t, "api#channel", channel.Kind)
	require.InDelta(t, time.Now().Add(time.Hour).UnixMilli(), channel.Expiration, 5000)
	kit.Sheets.Edit(book.SpreadsheetId)
	page, err := d.Changes.List(start.StartPageToken).Context(ctx).Do()
	require.NoError(t, err)
	require.Len(t, page.Changes, 1)
	require.Equal(t, book.SpreadsheetId, page.Changes[0].File.Id)
	require.NotEmpty(t, page.NewStartPageToken)
	require.NoError(t, d.Channels.Stop(&drive.Channel{Id: channel.Id, ResourceId: channel.ResourceId}).Context(ctx).Do())
	require.Error(t, d.Channels.Stop(&drive.Channel{Id: channel.Id, ResourceId: channel.ResourceId}).Context(ctx).Do())
}

func TestFakeRefusesAsGoogle(t *testing.T) {
	kit, conn := connect(t, sheetsapp.ScopeSpreadsheetsReadonly)
	ctx := t.Context()
	s, d, err := clients(ctx, conn)
	require.NoError(t, err)
	mine, theirs := kit.Sheets.AddSpreadsheet("107", "Mine"), kit.Sheets.AddSpreadsheet("108", "Theirs")
	refused := func(err error) *googleapi.Error {
		t.Helper()
		var e *googleapi.Error
		require.ErrorAs(t, err, &e)
		return e
	}
	_, err = s.Spreadsheets.Get("unknown").Context(ctx).Do()
	require.Equal(t, http.StatusNotFound, refused(err).Code)
	_, err = s.Spreadsheets.Get(theirs).Context(ctx).Do()
	require.Equal(t, http.StatusForbidden, refused(err).Code)
	_, err = s.Spreadsheets.Values.Get(mine, "Nowhere!A1").Context(ctx).Do()
	require.Equal(t, http.StatusBadRequest, refused(err).Code)
	require.Equal(t, "Unable to parse range: Nowhere!A1", refused(err).Message)
	_, err = s.Spreadsheets.Values.Update(mine, "A1", &sheets.ValueRange{Values: [][]any{{1}}}).ValueInputOption("RAW").Context(ctx).Do()
	e := refused(err)
	require.Equal(t, http.StatusForbidden, e.Code)
	raw, err := json.Marshal(e.Details)
	require.NoError(t, err)
	require.Contains(t, string(raw), "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
	_, err = d.Files.Get(mine).Context(ctx).Do()
	require.Equal(t, "insufficientPermissions", refused(err).Errors[0].Reason)

	// The connection's own errors come through.
	kit.Connect("beta", sheetsapp.Key, "109")
	other := connection(t, kit, "beta")
	s2, _, err := clients(ctx, other)
	require.NoError(t, err)
	kit.Sheets.LimitNext(1)
	_, err = s2.Spreadsheets.Get(mine).Context(ctx).Do()
	require.Equal(t, http.StatusTooManyRequests, refused(err).Code)
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err = s2.Spreadsheets.Get(mine).Context(soon).Do()
	require.ErrorIs(t, err, integrations.ErrRateLimited)
	require.NoError(t, kit.Manager().Disconnect(ctx, "acme", conn.IntegrationID()))
	_, err = s.Spreadsheets.Get(mine).Context(ctx).Do()
	require.ErrorIs(t, err, integrations.ErrDisconnected)
}
