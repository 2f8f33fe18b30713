package sheetsapp_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// heard is what the handlers of a kit's Manager got.
type heard struct {
	mu             sync.Mutex
	files, changes []string // tenant, and the file or nothing
}

func newHeard(m *integrations.Manager) *heard {
	h := &heard{}
	m.OnWebhook(sheetsapp.On(webhook.AnyType, func(_ context.Context, ev webhook.Event, n *sheetsapp.Notification) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.files = append(h.files, ev.TenantID+" "+ev.Type+" "+n.FileID)
		return nil
	}))
	m.OnWebhook(sheetsapp.OnChange(func(_ context.Context, ev webhook.Event, _ *sheetsapp.Notification) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.changes = append(h.changes, ev.TenantID)
		return nil
	}))
	return h
}

func connected(t *testing.T, kit *integrationstest.Kit, tenant string, account ...string) *providers.Connection {
	t.Helper()
	kit.Connect(tenant, sheetsapp.Key, account...)
	conn, err := kit.Manager().Connection(t.Context(), tenant, sheetsapp.Key)
	require.NoError(t, err)
	return conn
}

// TestTheWholeWay: two tenants connect, one works on a spreadsheet and watches it,
// and what is notified reaches that tenant alone.
func TestTheWholeWay(t *testing.T) {
	kit := integrationstest.New(t)
	m := kit.Manager()
	h := newHeard(m)
	ctx := t.Context()
	acme, beta := connected(t, kit, "acme"), connected(t, kit, "beta")

	snapshot, err := acme.Snapshot(ctx)
	require.NoError(t, err)
	account, err := sheetsapp.ReadAccount(snapshot)
	require.NoError(t, err)
	require.Equal(t, sheetsapp.Account{Email: "T-acme@example.test", Domain: "example.test"}, account)
	list, err := m.Integrations(ctx, "acme")
	require.NoError(t, err)
	require.Empty(t, list[0].MissingScopes)

	book, err := sheetsapp.Create(ctx, acme, "Orders", "Open orders", "It's")
	require.NoError(t, err)
	open := sheetsapp.Range{Sheet: "Open orders", Cells: "B2:D"}
	_, err = sheetsapp.Update(ctx, acme, book.ID, sheetsapp.Range{Sheet: "Open orders", Cells: "B2"}, [][]any{{"ID", "Total", "Paid"}}, nil)
	require.NoError(t, err)
	type row struct {
		ID    string  `sheet:"ID"`
		Total float64 `sheet:"Total"`
		Paid  *bool   `sheet:"Paid"`
	}
	rows := []row{{"=1+1", 12.5, ptr(true)}, {"A-2", 7, nil}}
	done, err := sheetsapp.AppendRows(ctx, acme, book.ID, open, rows, nil)
	require.NoError(t, err)
	require.Equal(t, "'Open orders'!B2:D2", done.Table)
	require.Equal(t, "'Open orders'!B3:D4", done.Range)
	got, err := sheetsapp.ReadRows[row](ctx, acme, book.ID, open, nil)
	require.NoError(t, err)
	require.Equal(t, rows, got)
	// As if typed, a text that begins with "=" is a text still.
	_, err = sheetsapp.AppendRows(ctx, acme, book.ID, open, rows[:1], &sheetsapp.RowOptions{Input: sheetsapp.UserEntered})
	require.NoError(t, err)
	require.Equal(t, [][]any{{}, {"", "ID", "Total", "Paid"}, {"", "=1+1", 12.5, true}, {"", "A-2", 7.0}, {"", "=1+1", 12.5, true}}, kit.Sheets.Values(book.ID, "Open orders"))
	_, err = sheetsapp.Read(ctx, beta, book.ID, open, nil)
	require.ErrorIs(t, err, providers.ErrForbidden)

	cursor := ""
	for range sheetsapp.Changes(ctx, acme, &cursor) {
		t.Fatal("there are none from now on")
	}
	file, err := sheetsapp.WatchFile(ctx, acme, book.ID)
	require.NoError(t, err)
	all, err := sheetsapp.WatchChanges(ctx, acme)
	require.NoError(t, err)
	_, err = sheetsapp.WatchChanges(ctx, beta)
	require.NoError(t, err)
	require.Len(t, kit.Sheets.LiveChannels(), 3)
	require.NoError(t, m.Drain(ctx))
	require.Empty(t, h.files, "sync is no event")
	require.Empty(t, h.changes)

	require.Equal(t, []int{200, 200}, kit.Sheets.Edit(book.ID))
	require.NoError(t, m.Drain(ctx))
	require.Equal(t, []string{"acme drive.file.update " + book.ID}, h.files)
	require.Equal(t, []string{"acme"}, h.changes)
	var changed []string
	for c, err := range sheetsapp.Changes(ctx, acme, &cursor) {
		require.NoError(t, err)
		changed = append(changed, c.FileID+" "+c.File.MimeType)
	}
	require.Equal(t, []string{book.ID + " " + sheetsapp.MimeSpreadsheet}, changed)
	for range sheetsapp.Changes(ctx, acme, &cursor) {
		t.Fatal("they were all seen")
	}

	// The same notification twice is one event; a forged one is none.
	again := kit.Sheets.Notification(file.ID, "update")
	require.Equal(t, 200, kit.Send(again).StatusCode)
	require.Equal(t, 200, kit.Send(again).StatusCode)
	for name, change := range map[string]func(r *http.Request){
		"token":    func(r *http.Request) { r.Header.Set("X-Goog-Channel-Token", "guessed") },
		"no token": func(r *http.Request) { r.Header.Del("X-Goog-Channel-Token") },
		"channel":  func(r *http.Request) { r.Header.Set("X-Goog-Channel-ID", all.ID) },
		"endpoint": func(r *http.Request) { r.URL.Path = "/integrations/google_sheets/webhook/guessed" },
		"no endpoint": func(r *http.Request) {
			r.URL.Path = "/integrations/google_sheets/webhook"
		},
		"another's endpoint": func(r *http.Request) { r.URL.Path = kit.Sheets.Notification(all.ID, "change").URL.Path },
	} {
		r := kit.Sheets.Notification(file.ID, "update")
		change(r)
		require.Equal(t, 401, kit.Send(r).StatusCode, name)
	}
	require.NoError(t, m.Drain(ctx))
	require.Len(t, h.files, 2)

	require.NoError(t, sheetsapp.StopChannel(ctx, acme, file.ID))
	require.Len(t, kit.Sheets.LiveChannels(), 2)
	require.NoError(t, m.Disconnect(ctx, "acme", acme.IntegrationID()))
	require.Len(t, kit.Sheets.LiveChannels(), 1)
	require.False(t, kit.Sheets.Tokens.Live("T-acme"))
	require.True(t, kit.Sheets.Tokens.Live("T-beta"))
	_, err = sheetsapp.Get(ctx, acme, book.ID)
	require.ErrorIs(t, err, integrations.ErrDisconnected)
}

// TestAccountOfTwoTenants: a person may connect for two tenants; when one of them
// disconnects the other's grant stays.
func TestAccountOfTwoTenants(t *testing.T) {
	kit := integrationstest.New(t)
	acme, beta := connected(t, kit, "acme", "107"), connected(t, kit, "beta", "107")
	id := kit.Sheets.AddSpreadsheet("107", "Mine")
	require.NoError(t, kit.Manager().Disconnect(t.Context(), "acme", acme.IntegrationID()))
	_, err := sheetsapp.Get(t.Context(), beta, id)
	require.NoError(t, err)
}

func TestPartialConsent(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Sheets.TickOnly(sheetsapp.ScopeDriveFile)
	result := func(tenant string) string {
		v := kit.Browser(tenant, "u").Open(kit.ConnectURL(sheetsapp.Key))
		u, err := url.Parse(v.Header.Get("Location"))
		require.NoError(t, err)
		return u.Query().Get("result")
	}
	require.Equal(t, "missing_scopes", result("acme"))
	_, err := kit.Manager().Connection(t.Context(), "acme", sheetsapp.Key)
	require.ErrorIs(t, err, integrations.ErrNotConnected)

	partly := kit.Sheets.App()
	partly.AllowPartialConsent = true
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{sheetsapp.New(partly)}
	m := kit.Use(cfg)
	kit.Sheets.TickOnly("nothing")
	require.Equal(t, "connected", result("beta"))
	list, err := m.Integrations(t.Context(), "beta")
	require.NoError(t, err)
	require.Equal(t, []string{sheetsapp.ScopeSpreadsheets, sheetsapp.ScopeDriveFile}, list[0].MissingScopes)
	conn, err := m.Connection(t.Context(), "beta", sheetsapp.Key)
	require.NoError(t, err)
	_, err = sheetsapp.Create(t.Context(), conn, "Orders")
	var missing *providers.MissingScopeError
	require.ErrorAs(t, err, &missing)

	// Connecting again with all of them mends it.
	kit.Sheets.TickOnly()
	require.Equal(t, "connected", result("beta"))
	_, err = sheetsapp.Create(t.Context(), conn, "Orders")
	require.NoError(t, err)
}

// TestDriveFileCoversTheAppsFilesOnly checks the fake together with the errors that
// hosts get to see.
func TestDriveFileCoversTheAppsFilesOnly(t *testing.T) {
	kit := integrationstest.New(t)
	narrow := kit.Sheets.App()
	narrow.Scopes = []string{sheetsapp.ScopeDriveFile}
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{sheetsapp.New(narrow)}
	kit.Use(cfg)
	conn := connected(t, kit, "acme", "107")
	theirs := kit.Sheets.AddSpreadsheet("107", "Theirs")
	_, err := sheetsapp.Get(t.Context(), conn, theirs)
	require.ErrorIs(t, err, providers.ErrNotFound)
	_, err = sheetsapp.WatchFile(t.Context(), conn, theirs)
	require.ErrorIs(t, err, providers.ErrNotFound)
	ours, err := sheetsapp.Create(t.Context(), conn, "Ours")
	require.NoError(t, err)
	_, err = sheetsapp.Get(t.Context(), conn, ours.ID)
	require.NoError(t, err)
}

func TestRefreshKeepsTheRefreshToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		conn := connected(t, kit, "acme", "107")
		id := kit.Sheets.AddSpreadsheet("107", "Mine")
		for range 3 {
			time.Sleep(time.Hour)
			_, err := sheetsapp.Get(t.Context(), conn, id)
			require.NoError(t, err)
		}
		require.Equal(t, 3, kit.Sheets.Tokens.Calls())
		time.Sleep(time.Hour)
		kit.Network.Fail("oauth2.googleapis.com", "/token", integrationstest.Answer(400, `{"error":"invalid_grant","error_subtype":"invalid_rapt"}`))
		_, err := sheetsapp.Get(t.Context(), conn, id)
		require.ErrorIs(t, err, integrations.ErrReconnectRequired)
		list, err := kit.Manager().Integrations(t.Context(), "acme")
		require.NoError(t, err)
		require.Equal(t, integrations.StatusNeedsReconnect, list[0].Status)
		require.Equal(t, "invalid_rapt", list[0].Reason)
	})
}

// TestTablesBesideEachOther: a table that touches nothing is written to whatever
// else is in the sheet, and one that something touches is a conflict.
func TestTablesBesideEachOther(t *testing.T) {
	type row struct {
		ID string `sheet:"ID"`
	}
	kit := integrationstest.New(t)
	conn := connected(t, kit, "acme", "107")
	id := kit.Sheets.AddSpreadsheet("107", "Mine", "Data")
	kit.Sheets.SetValues(id, "Data", [][]any{{"Other", "", "ID", "", "More"}, {"x", "", "1", "", "y"}, {"x", "", "", "", "y"}})
	at := sheetsapp.Range{Sheet: "Data", Cells: "C:Z"}
	done, err := sheetsapp.AppendRows(t.Context(), conn, id, at, []row{{"2"}}, nil)
	require.NoError(t, err)
	require.Equal(t, "Data!C1:C2", done.Table)
	require.Equal(t, "Data!C3", firstCell(done.Range))
	kit.Sheets.SetValues(id, "Data", [][]any{{"", "touching"}})
	done, err = sheetsapp.AppendRows(t.Context(), conn, id, at, []row{{"3"}}, nil)
	require.ErrorIs(t, err, providers.ErrConflict)
	require.Equal(t, "A", done.Range[len("Data!"):][:1])
}

func firstCell(a1 string) string { first, _, _ := strings.Cut(a1, ":"); return first }

// TestARefusedTokenIsNoDeadGrant: only renewing tells that a grant is over.
func TestARefusedTokenIsNoDeadGrant(t *testing.T) {
	kit := integrationstest.New(t)
	conn := connected(t, kit, "acme", "107")
	file := kit.Sheets.AddSpreadsheet("107", "Orders")
	kit.Network.Fail("sheets.googleapis.com", "/v4", integrationstest.Answer(http.StatusUnauthorized, unauthenticated))
	kit.Network.Fail("oauth2.googleapis.com", "/token", integrationstest.Status(http.StatusServiceUnavailable))
	_, err := sheetsapp.Get(t.Context(), conn, file)
	require.ErrorIs(t, err, integrations.ErrTransient)
	require.NotErrorIs(t, err, integrations.ErrReconnectRequired)
	_, err = sheetsapp.Get(t.Context(), conn, file)
	require.NoError(t, err)
}

func TestNoNotifications(t *testing.T) {
	kit := integrationstest.New(t)
	quiet := kit.Sheets.App()
	quiet.NoNotifications = true
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{sheetsapp.New(quiet)}
	kit.Use(cfg)
	conn := connected(t, kit, "acme", "107")
	book, err := sheetsapp.Create(t.Context(), conn, "Ours")
	require.NoError(t, err)
	_, err = sheetsapp.WatchFile(t.Context(), conn, book.ID)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, integrationstest.BaseURL+"/google_sheets/webhook/x", nil)
	require.NoError(t, err)
	require.Equal(t, 404, kit.Send(r).StatusCode)
}

func TestQuota(t *testing.T) {
	kit := integrationstest.New(t)
	conn := connected(t, kit, "acme", "107")
	id := kit.Sheets.AddSpreadsheet("107", "Mine")
	kit.Sheets.LimitNext(1)
	_, err := sheetsapp.Get(t.Context(), conn, id)
	require.ErrorIs(t, err, integrations.ErrRateLimited)
}

// TestChannelsAreRenewed: the Manager opens another channel before the day is over,
// and notifications go on.
func TestChannelsAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		m := kit.Manager()
		h := newHeard(m)
		ctx := t.Context()
		conn := connected(t, kit, "acme", "107")
		book, err := sheetsapp.Create(ctx, conn, "Ours")
		require.NoError(t, err)
		id := book.ID
		first, err := sheetsapp.WatchFile(ctx, conn, id)
		require.NoError(t, err)
		old := kit.Sheets.Notification(first.ID, "update")

		time.Sleep(19 * time.Hour)
		require.NoError(t, m.Drain(ctx))
		require.Equal(t, []string{first.ID}, kit.Sheets.LiveChannels(), "not yet")
		time.Sleep(time.Hour)
		require.NoError(t, m.Drain(ctx))
		list, err := sheetsapp.Channels(ctx, conn)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.NotEqual(t, first.ID, list[0].ID)
		require.Equal(t, []string{list[0].ID}, kit.Sheets.LiveChannels())
		require.Equal(t, 401, kit.Send(old).StatusCode, "of a channel that was replaced")
		require.Equal(t, []int{200}, kit.Sheets.Edit(id))

		// The file goes, and so does the subscription.
		require.Equal(t, []int{200}, kit.Sheets.Delete(id))
		time.Sleep(20 * time.Hour)
		require.NoError(t, m.Drain(ctx))
		require.ElementsMatch(t, []string{"acme drive.file.update " + id, "acme drive.file.remove " + id}, h.files)
		list, err = sheetsapp.Channels(ctx, conn)
		require.NoError(t, err)
		require.Empty(t, list)
		require.Empty(t, kit.Sheets.LiveChannels())
		open, err := conn.Endpoints(ctx)
		require.NoError(t, err)
		require.Empty(t, open)
	})
}
