package sheetsapp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// endpoints keeps endpoints and subscriptions in memory.
type endpoints struct {
	opened int
	open   []string
	subs   map[string]providers.Subscription
	fail   error // of Save
}

func newEndpoints() *endpoints { return &endpoints{subs: map[string]providers.Subscription{}} }

func (e *endpoints) Open(context.Context) (providers.Endpoint, error) {
	e.opened++
	id := fmt.Sprintf("%032d", e.opened)
	e.open = append(e.open, id)
	return providers.Endpoint{ID: id, URL: "https://app.example.com/google_sheets/webhook/segment-" + id, Secret: token.NewSecret("secret-" + id)}, nil
}

func (e *endpoints) Close(_ context.Context, id string) error {
	e.open = slices.DeleteFunc(e.open, func(o string) bool { return o == id })
	return nil
}

func (e *endpoints) List(context.Context) ([]providers.EndpointInfo, error) {
	var out []providers.EndpointInfo
	for _, id := range e.open {
		out = append(out, providers.EndpointInfo{ID: id})
	}
	return out, nil
}

func (e *endpoints) Rotate(context.Context, string, time.Duration) (providers.Endpoint, error) {
	return providers.Endpoint{}, errors.ErrUnsupported
}

func (e *endpoints) Others(context.Context) ([]string, int, error) { return nil, 0, nil }

func (e *endpoints) Save(_ context.Context, s providers.Subscription) error {
	if e.fail != nil && !strings.HasPrefix(s.Name, "drive.opening:") {
		return e.fail
	}
	e.subs[s.Name] = s
	return nil
}

func (e *endpoints) Subscriptions(context.Context) ([]providers.Subscription, error) {
	var out []providers.Subscription
	for _, s := range e.subs {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b providers.Subscription) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (e *endpoints) Delete(_ context.Context, name string) error {
	delete(e.subs, name)
	return nil
}

func channelID(n int) string { return fmt.Sprintf("%032d", n) }

// channelAnswer is an answer to a watch.
func channelAnswer(resource string, ends time.Time) answer {
	return ok(`{"kind":"api#channel","id":"x","resourceId":"` + resource + `","resourceUri":"https://www.googleapis.com/x","expiration":"` +
		strconv.FormatInt(ends.UnixMilli(), 10) + `"}`)
}

// watchBody is what asks for a channel.
func watchBody(n int, ends time.Time) string {
	id := channelID(n)
	raw, _ := json.Marshal(map[string]string{
		"id": id, "type": "web_hook", "address": "https://app.example.com/google_sheets/webhook/segment-" + id, "token": "secret-" + id,
		"expiration": strconv.FormatInt(ends.UnixMilli(), 10),
	})
	return string(raw)
}

func stopped(n int, resource string) sent {
	return sent{"POST", "https://www.googleapis.com/drive/v3/channels/stop", jsonIn, bearer, `{"id":"` + channelID(n) + `","resourceId":"` + resource + `"}`}
}

const watchFileURL = "https://www.googleapis.com/drive/v3/files/" + sheetID + "/watch?supportsAllDrives=true"

func TestWatchFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ends := begin.Add(24 * time.Hour)
		w := &wire{t: t, answers: []answer{channelAnswer("res-1", ends)}}
		e := newEndpoints()
		conn := connect(t, w, e)
		c, err := sheetsapp.WatchFile(t.Context(), conn, sheetID)
		require.NoError(t, err)
		require.Equal(t, []sent{{"POST", watchFileURL, jsonIn, bearer, watchBody(1, ends)}}, w.sent)
		require.Equal(t, channelID(1), c.ID)
		require.Equal(t, "res-1", c.ResourceID)
		require.Equal(t, sheetID, c.FileID)
		require.Empty(t, c.PageToken)
		require.True(t, c.ExpiresAt.Equal(ends))
		require.Equal(t, begin.Add(24*time.Hour*8/10).UnixMilli(), c.RenewAt.UnixMilli())
		saved := e.subs["drive.file:"+sheetID]
		require.Equal(t, channelID(1), saved.RemoteID)
		require.JSONEq(t, `{"resource_id":"res-1","file_id":"`+sheetID+`"}`, string(saved.Data))
		require.NotContains(t, string(saved.Data), "secret")

		// Watched already: nothing is sent.
		again, err := sheetsapp.WatchFile(t.Context(), conn, sheetID)
		require.NoError(t, err)
		require.Equal(t, c.ID, again.ID)
		require.Len(t, w.sent, 1)

		// Near its end: another one, and then the old one is stopped.
		time.Sleep(20 * time.Hour)
		w.sent, w.answers = nil, []answer{channelAnswer("res-1", time.Now().Add(time.Hour)), {204, ""}}
		asked := time.Now().Add(24 * time.Hour)
		c, err = sheetsapp.WatchFile(t.Context(), conn, sheetID)
		require.NoError(t, err)
		require.Equal(t, []sent{{"POST", watchFileURL, jsonIn, bearer, watchBody(2, asked)}, stopped(1, "res-1")}, w.sent)
		require.Equal(t, channelID(2), c.ID)
		require.Equal(t, 48*time.Minute, time.Until(c.RenewAt), "Google gave it an hour only")
		require.Equal(t, []string{channelID(2)}, e.open)

		list, err := sheetsapp.Channels(t.Context(), conn)
		require.NoError(t, err)
		require.Equal(t, []sheetsapp.Channel{c}, list)
	})
}

func TestWatchChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends := time.Now().Add(7 * 24 * time.Hour)
		w := &wire{t: t, answers: []answer{ok(`{"kind":"drive#startPageToken","startPageToken":"660"}`), channelAnswer("res-c", ends)}}
		e := newEndpoints()
		c, err := sheetsapp.WatchChanges(t.Context(), connect(t, w, e))
		require.NoError(t, err)
		require.Equal(t, []sent{
			{"GET", "https://www.googleapis.com/drive/v3/changes/startPageToken?supportsAllDrives=true", "", bearer, ""},
			{"POST", "https://www.googleapis.com/drive/v3/changes/watch?includeItemsFromAllDrives=true&pageToken=660&supportsAllDrives=true", jsonIn, bearer, watchBody(1, ends)},
		}, w.sent)
		require.Equal(t, "660", c.PageToken)
		require.Empty(t, c.FileID)
		require.JSONEq(t, `{"resource_id":"res-c","page_token":"660"}`, string(e.subs["drive.changes"].Data))
	})
}

func TestWatchWithoutAnEnd(t *testing.T) {
	w := &wire{t: t, answers: []answer{ok(`{"id":"x","resourceId":"r"}`)}}
	c, err := sheetsapp.WatchFile(t.Context(), connect(t, w, newEndpoints()), sheetID)
	require.NoError(t, err)
	require.InDelta(t, time.Hour.Seconds(), time.Until(c.ExpiresAt).Seconds(), 5)
}

func TestWatchFails(t *testing.T) {
	// No channel: its endpoint is closed again.
	for name, c := range map[string]struct {
		ans  answer
		want error
	}{
		"gone":     {answer{404, notFound}, providers.ErrNotFound},
		"down":     {answer{503, ""}, providers.ErrTransient},
		"nonsense": {ok(`{"id":"x"}`), providers.ErrTransient},
		"no https": {answer{400, `{"error":{"code":400,"errors":[{"reason":"push.webhookUrlNotHttps"}]}}`}, providers.ErrInvalid},
	} {
		w, e := &wire{t: t, answers: []answer{c.ans}}, newEndpoints()
		_, err := sheetsapp.WatchFile(t.Context(), connect(t, w, e), sheetID)
		require.ErrorIs(t, err, c.want, name)
		require.Equal(t, 1, e.opened, name)
		require.Empty(t, e.open, name)
		// A channel may be open at Google nevertheless unless it refused.
		require.Equal(t, c.want == providers.ErrTransient, len(e.subs) == 1, name)
	}
	// A channel that cannot be stored is stopped.
	w, e := &wire{t: t, answers: []answer{channelAnswer("res-1", time.Now().Add(time.Hour)), {204, ""}}}, newEndpoints()
	e.fail = errors.New("no disk")
	_, err := sheetsapp.WatchFile(t.Context(), connect(t, w, e), sheetID)
	require.ErrorIs(t, err, e.fail)
	require.Equal(t, stopped(1, "res-1"), w.sent[1])
	require.Empty(t, e.open)

	w = &wire{t: t}
	_, err = sheetsapp.WatchFile(t.Context(), connect(t, w, nil), sheetID)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = sheetsapp.WatchChanges(t.Context(), connect(t, w, nil))
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.Empty(t, w.sent)

	w = &wire{t: t, answers: []answer{ok(`{}`)}}
	_, err = sheetsapp.WatchChanges(t.Context(), connect(t, w, newEndpoints()))
	require.ErrorIs(t, err, providers.ErrTransient)
}

func subscribed(e *endpoints, n int, d string) providers.Subscription {
	_, _ = e.Open(context.Background())
	s := providers.Subscription{
		Name: "drive.file:" + sheetID, RemoteID: channelID(n), Data: json.RawMessage(d), ExpiresAt: time.Now().Add(time.Hour), RenewAt: time.Now(),
	}
	if !strings.Contains(d, "file_id") {
		s.Name = "drive.changes"
	}
	e.subs[s.Name] = s
	return s
}

func TestRenewSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoints()
		old := subscribed(e, 1, `{"resource_id":"res-1","file_id":"`+sheetID+`"}`)
		ends := time.Now().Add(24 * time.Hour)
		w := &wire{t: t, answers: []answer{channelAnswer("res-1", ends), {204, ""}}}
		next, err := app().RenewSubscription(t.Context(), connect(t, w, e), old)
		require.NoError(t, err)
		require.Equal(t, []sent{{"POST", watchFileURL, jsonIn, bearer, watchBody(2, ends)}, stopped(1, "res-1")}, w.sent)
		require.Equal(t, old.Name, next.Name)
		require.Equal(t, channelID(2), next.RemoteID)
		require.Equal(t, next, e.subs[old.Name], "it is stored before the old one is stopped")
		require.Equal(t, []string{channelID(2)}, e.open)

		// A channel of all changes goes on from the page token it has.
		e = newEndpoints()
		old = subscribed(e, 1, `{"resource_id":"res-c","page_token":"660"}`)
		w = &wire{t: t, answers: []answer{channelAnswer("res-c", ends), {404, notFound}}}
		_, err = app().RenewSubscription(t.Context(), connect(t, w, e), old)
		require.NoError(t, err)
		require.Contains(t, w.sent[0].url, "/changes/watch?includeItemsFromAllDrives=true&pageToken=660&")
		require.Equal(t, []string{channelID(2)}, e.open)
	})
}

func TestRenewSubscriptionFails(t *testing.T) {
	const data = `{"resource_id":"res-1","file_id":"` + sheetID + `"}`
	// Later, the old one is there still.
	e := newEndpoints()
	old := subscribed(e, 1, data)
	w := &wire{t: t, answers: []answer{{503, ""}}}
	_, err := app().RenewSubscription(t.Context(), connect(t, w, e), old)
	require.ErrorIs(t, err, providers.ErrTransient)
	require.NotErrorIs(t, err, providers.ErrNotFound)
	require.Len(t, w.sent, 1)
	require.Equal(t, []string{channelID(1)}, e.open)
	require.Equal(t, old, e.subs[old.Name])

	// The file is gone, and so is all of its channel.
	w = &wire{t: t, answers: []answer{{404, notFound}, {404, notFound}}}
	_, err = app().RenewSubscription(t.Context(), connect(t, w, e), old)
	require.ErrorIs(t, err, providers.ErrNotFound)
	require.Equal(t, stopped(1, "res-1"), w.sent[1])
	require.Empty(t, e.open)

	// Of somebody else: it is forgotten.
	for _, s := range []providers.Subscription{
		{Name: "x", RemoteID: "1", Data: json.RawMessage(data)}, {Name: "drive.changes", RemoteID: "1"}, {Name: "drive.changes", Data: json.RawMessage(`{}`)},
		{Name: "drive.changes", RemoteID: "1", Data: json.RawMessage(`[]`)},
	} {
		w = &wire{t: t}
		_, err = app().RenewSubscription(t.Context(), connect(t, w, e), s)
		require.ErrorIs(t, err, providers.ErrNotFound)
		require.Empty(t, w.sent)
	}
}

func TestStopChannel(t *testing.T) {
	for name, c := range map[string]struct {
		ans  answer
		want error
	}{
		"stopped": {answer{204, ""}, nil}, "over": {answer{404, notFound}, nil}, "later": {answer{503, ""}, providers.ErrTransient},
	} {
		e := newEndpoints()
		s := subscribed(e, 1, `{"resource_id":"res-1","file_id":"`+sheetID+`"}`)
		e.subs["another"] = providers.Subscription{Name: "another", RemoteID: channelID(9)}
		w := &wire{t: t, answers: []answer{c.ans}}
		conn := connect(t, w, e)
		require.ErrorIs(t, sheetsapp.StopChannel(t.Context(), conn, channelID(9)), providers.ErrNotFound, name)
		require.Empty(t, w.sent)
		err := sheetsapp.StopChannel(t.Context(), conn, channelID(1))
		require.Equal(t, []sent{stopped(1, "res-1")}, w.sent, name)
		if c.want != nil {
			require.ErrorIs(t, err, c.want, name)
			require.Contains(t, e.subs, s.Name, name)
			require.Len(t, e.open, 1, name)
			continue
		}
		require.NoError(t, err, name)
		require.NotContains(t, e.subs, s.Name, name)
		require.Empty(t, e.open, name)
	}
	require.ErrorIs(t, sheetsapp.StopChannel(t.Context(), connect(t, &wire{t: t}, nil), "x"), errors.ErrUnsupported)
}

func changesURL(token string) string {
	return "www.googleapis.com/drive/v3/changes?fields=nextPageToken,newStartPageToken,changes(fileId,removed,time,file(name,mimeType,trashed,modifiedTime))" +
		"&includeItemsFromAllDrives=true&pageSize=100&pageToken=" + token + "&supportsAllDrives=true"
}

func TestChanges(t *testing.T) {
	pages := func() []answer {
		return []answer{
			ok(`{"nextPageToken":"12","changes":[{"fileId":"f1","time":"2026-11-25T13:04:05.678Z","file":{"name":"N","mimeType":"application/vnd.google-apps.spreadsheet","modifiedTime":"2026-11-25T13:04:04Z"}},{"changeType":"drive","driveId":"d"}]}`),
			ok(`{"newStartPageToken":"13","changes":[{"fileId":"f2","removed":true,"time":"2026-11-25T13:04:06Z"}]}`),
		}
	}
	w, conn := answering(t, pages()...)
	cursor := "11"
	var got []sheetsapp.Change
	var cursors []string
	for c, err := range sheetsapp.Changes(t.Context(), conn, &cursor) {
		require.NoError(t, err)
		got, cursors = append(got, c), append(cursors, cursor)
	}
	require.Equal(t, []sheetsapp.Change{
		{FileID: "f1", Time: time.Date(2026, 11, 25, 13, 4, 5, 678e6, time.UTC), File: &sheetsapp.File{Name: "N", MimeType: sheetsapp.MimeSpreadsheet, ModifiedTime: time.Date(2026, 11, 25, 13, 4, 4, 0, time.UTC)}},
		{FileID: "f2", Removed: true, Time: time.Date(2026, 11, 25, 13, 4, 6, 0, time.UTC)},
	}, got)
	require.Equal(t, []string{"11", "12"}, cursors, "a page counts when it was consumed")
	require.Equal(t, "13", cursor)
	require.Equal(t, []string{changesURL("11"), changesURL("12")}, []string{unescaped(t, w.sent[0].url), unescaped(t, w.sent[1].url)})
	require.Equal(t, "GET", w.sent[0].method)

	// Who leaves early sees the page again.
	_, conn = answering(t, pages()...)
	cursor = "11"
	for range sheetsapp.Changes(t.Context(), conn, &cursor) {
		break
	}
	require.Equal(t, "11", cursor)

	// An empty cursor begins now.
	w, conn = answering(t, ok(`{"startPageToken":"660"}`))
	cursor = ""
	for range sheetsapp.Changes(t.Context(), conn, &cursor) {
		t.Fatal("yielded something")
	}
	require.Equal(t, "660", cursor)
	require.Equal(t, "https://www.googleapis.com/drive/v3/changes/startPageToken?supportsAllDrives=true", w.sent[0].url)
}

func TestChangesEndAfterTheFirstError(t *testing.T) {
	for name, c := range map[string]struct {
		cursor  string
		answers []answer
		want    error
		after   string
	}{
		"bad token":       {"x", []answer{{400, badRange}}, providers.ErrInvalid, "x"},
		"second page":     {"1", []answer{ok(`{"nextPageToken":"2","changes":[{"fileId":"f"}]}`), {503, ""}}, providers.ErrTransient, "2"},
		"no way on":       {"1", []answer{ok(`{"changes":[]}`)}, providers.ErrTransient, "1"},
		"round and round": {"1", []answer{ok(`{"nextPageToken":"1","changes":[]}`)}, providers.ErrTransient, "1"},
		"no start":        {"", []answer{{503, ""}}, providers.ErrTransient, ""},
	} {
		_, conn := answering(t, c.answers...)
		cursor := c.cursor
		var errs []error
		for _, err := range sheetsapp.Changes(t.Context(), conn, &cursor) {
			if err != nil {
				errs = append(errs, err)
			}
		}
		require.Len(t, errs, 1, name)
		require.ErrorIs(t, errs[0], c.want, name)
		require.Equal(t, c.after, cursor, name)
	}
}
