package sheetsapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
)

// Longest lives of channels, which is what is asked for
// (developers.google.com/drive/api/guides/push, checked 2026-11). One that Google
// gives no end ends after defaultLife.
const (
	fileLife    = 24 * time.Hour
	changesLife = 7 * 24 * time.Hour
	defaultLife = time.Hour
)

// cleanUpTime bounds what is put right after a failure.
const cleanUpTime = 10 * time.Second

// Channel is a notification channel of Google Drive.
type Channel struct {
	// ID is the channel's id, which notifications carry.
	ID string
	// ResourceID is Google's id of what is watched.
	ResourceID string
	// FileID is the watched file, "" for a channel of all changes.
	FileID string
	// PageToken is, for a channel of all changes, where they began when it was
	// opened first: give it to [Changes].
	PageToken string
	// ExpiresAt is when Google ends the channel, RenewAt when the Manager opens
	// another in its place.
	ExpiresAt, RenewAt time.Time
}

// channelData is what is stored of a channel.
type channelData struct {
	ResourceID string `json:"resource_id"`
	FileID     string `json:"file_id,omitempty"`
	PageToken  string `json:"page_token,omitempty"`
	// Declared says that Config.WatchChanges asked for it.
	Declared bool `json:"declared,omitempty"`
}

// Names of subscriptions.
const (
	changesName = "drive.changes"
	filePrefix  = "drive.file:"
)

func (d channelData) name() string {
	if d.FileID == "" {
		return changesName
	}
	return filePrefix + d.FileID
}

// readChannel reads a stored channel.
func readChannel(s providers.Subscription) (Channel, error) {
	var d channelData
	if json.Unmarshal(s.Data, &d) != nil || s.RemoteID == "" || s.Name != d.name() {
		return Channel{}, fmt.Errorf("%w: a subscription that is no channel of Google Drive", providers.ErrNotFound)
	}
	return Channel{
		ID: s.RemoteID, ResourceID: d.ResourceID, FileID: d.FileID, PageToken: d.PageToken, ExpiresAt: s.ExpiresAt, RenewAt: s.RenewAt,
	}, nil
}

// WatchFile asks Google Drive to notify of changes to a file, such as a
// spreadsheet: to its content, its name, who may see it. It needs one of Drive's
// scopes, such as [ScopeDriveFile]. Notifications come to an endpoint of the
// channel's own and are handled with [On]; they may get lost, and do not say what
// changed. A Manager that runs renews the channel, which Google ends after a day,
// and Disconnect stops it.
//
// A file that is watched already is left so and its channel returned; a channel
// near its end is replaced. An error wrapping providers.ErrConflict says that
// channels of this integration are being opened elsewhere at this moment, one
// wrapping errors.ErrUnsupported that the store keeps no endpoints or that
// Config.NoNotifications is set.
func WatchFile(ctx context.Context, conn *providers.Connection, fileID string) (Channel, error) {
	if err := checkID(fileID); err != nil {
		return Channel{}, err
	}
	return watch(ctx, conn, channelData{FileID: fileID})
}

// WatchChanges asks Google Drive to notify of changes to all files that the
// granted scope covers: a notification says that [Changes] has some. It is like
// [WatchFile] else; the channel lasts a week. Config.WatchChanges does it for every
// connection.
func WatchChanges(ctx context.Context, conn *providers.Connection) (Channel, error) {
	return watch(ctx, conn, channelData{})
}

func watch(ctx context.Context, conn *providers.Connection, d channelData) (Channel, error) {
	if err := allowed(ctx, conn, watching); err != nil {
		return Channel{}, err
	}
	release, err := alone(ctx, conn)
	if err != nil {
		return Channel{}, err
	}
	defer release()
	subs, err := conn.Subscriptions(ctx)
	if err != nil {
		return Channel{}, err
	}
	var old *providers.Subscription
	if i := slices.IndexFunc(subs, func(s providers.Subscription) bool { return s.Name == d.name() }); i >= 0 {
		old = &subs[i]
		if c, err := readChannel(*old); err == nil {
			if time.Now().Before(c.RenewAt) {
				return c, nil
			}
			d = channelData{FileID: c.FileID, PageToken: c.PageToken, Declared: isDeclared(*old)}
		}
	}
	if d.FileID == "" && d.PageToken == "" {
		if d.PageToken, err = startPageToken(ctx, conn); err != nil {
			return Channel{}, err
		}
	}
	s, err := replace(ctx, conn, d, old)
	if err != nil {
		return Channel{}, err
	}
	return readChannel(s)
}

// RenewSubscription implements providers.SubscriptionRenewer: Google renews no
// channel, so another one is opened, under another id, before the old one is
// stopped. A file that is gone is providers.ErrNotFound.
func (a *App) RenewSubscription(ctx context.Context, conn *providers.Connection, s providers.Subscription) (providers.Subscription, error) {
	release, err := alone(ctx, conn)
	if err != nil {
		return providers.Subscription{}, err
	}
	defer release()
	if strings.HasPrefix(s.Name, openingPrefix) {
		return providers.Subscription{}, closeUnfinished(ctx, conn, s)
	}
	c, err := readChannel(s)
	if err != nil {
		return providers.Subscription{}, err
	}
	next, err := replace(ctx, conn, channelData{FileID: c.FileID, PageToken: c.PageToken, Declared: isDeclared(s)}, &s)
	if errors.Is(err, providers.ErrNotFound) {
		retire(ctx, conn, s)
	}
	return next, err
}

// replace opens a channel, stores it, and stops the one that was there.
func replace(ctx context.Context, conn *providers.Connection, d channelData, old *providers.Subscription) (providers.Subscription, error) {
	s, err := open(ctx, conn, d)
	if err != nil {
		return providers.Subscription{}, err
	}
	if err := conn.SaveSubscription(ctx, s); err != nil {
		retire(ctx, conn, s)
		return providers.Subscription{}, err
	}
	finished(ctx, conn, s.RemoteID)
	if old != nil {
		retire(ctx, conn, *old)
	}
	return s, nil
}

// open opens a channel with an endpoint of its own: the endpoint's id is the
// channel's, its secret the channel's token.
func open(ctx context.Context, conn *providers.Connection, d channelData) (providers.Subscription, error) {
	e, err := conn.OpenEndpoint(ctx)
	if err != nil {
		return providers.Subscription{}, err
	}
	if err := unfinished(ctx, conn, e.ID, d); err != nil {
		closeEndpoint(ctx, conn, e.ID)
		return providers.Subscription{}, err
	}
	at, life := driveURL+"/files/"+d.FileID+"/watch?supportsAllDrives=true", fileLife
	if d.FileID == "" {
		at, life = driveURL+"/changes/watch?"+changesQuery(d.PageToken).Encode(), changesLife
	}
	now := time.Now()
	var ans struct {
		ResourceID string      `json:"resourceId"`
		Expiration json.Number `json:"expiration"` // in quotes
	}
	err = call(ctx, conn, watching, providers.APICall{
		Method: http.MethodPost, URL: at, Out: &ans, In: map[string]string{
			"id": e.ID, "type": "web_hook", "address": e.URL, "token": e.Secret.Reveal(),
			"expiration": strconv.FormatInt(now.Add(life).UnixMilli(), 10),
		},
	})
	if err == nil && ans.ResourceID == "" {
		err = &providers.CallError{Adapter: "sheetsapp", Code: "bad_answer", Kind: providers.ErrTransient}
	}
	if err != nil {
		var refused *providers.CallError
		if errors.As(err, &refused) && refused.Status/100 == 4 {
			finished(ctx, conn, e.ID)
		} // else it may be open: that is looked into later
		closeEndpoint(ctx, conn, e.ID)
		return providers.Subscription{}, err
	}
	d.ResourceID = ans.ResourceID
	data, err := json.Marshal(d)
	if err != nil {
		return providers.Subscription{}, err
	}
	ends := now.Add(defaultLife)
	if ms, err := ans.Expiration.Int64(); err == nil && ms > 0 {
		ends = time.UnixMilli(ms)
	}
	return providers.Subscription{
		Name: d.name(), RemoteID: e.ID, Data: data, ExpiresAt: ends, RenewAt: now.Add(ends.Sub(now) * 8 / 10),
	}, nil
}

// retire stops a channel and closes its endpoint, best effort: what is not stopped
// ends by itself, and its notifications are refused once the endpoint is closed.
func retire(ctx context.Context, conn *providers.Connection, s providers.Subscription) {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	if c, err := readChannel(s); err == nil {
		_ = call(within, conn, watching, stopCall(c, nil))
	}
	closeEndpoint(ctx, conn, s.RemoteID)
}

// closeEndpoint closes an endpoint that nothing uses. One that stays leads nowhere
// but to this integration, and only for who knows its secrets.
func closeEndpoint(ctx context.Context, conn *providers.Connection, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	_ = conn.CloseEndpoint(ctx, id)
}

// stopCall is channels.stop.
func stopCall(c Channel, header http.Header) providers.APICall {
	return providers.APICall{
		Method: http.MethodPost, URL: driveURL + "/channels/stop", Header: header,
		In: map[string]string{"id": c.ID, "resourceId": c.ResourceID},
	}
}

// StopChannel stops a channel of this integration and forgets it. One that Google
// has ended already is no error; an id that is none of this integration's channels
// is providers.ErrNotFound.
func StopChannel(ctx context.Context, conn *providers.Connection, channelID string) error {
	if err := allowed(ctx, conn, watching); err != nil {
		return err
	}
	subs, err := conn.Subscriptions(ctx)
	if err != nil {
		return err
	}
	for _, s := range subs {
		c, err := readChannel(s)
		if err != nil || c.ID != channelID {
			continue
		}
		if err := call(ctx, conn, watching, stopCall(c, nil)); err != nil && !errors.Is(err, providers.ErrNotFound) {
			return err
		}
		return errors.Join(conn.DeleteSubscription(ctx, s.Name), conn.CloseEndpoint(ctx, c.ID))
	}
	return fmt.Errorf("%w: no such channel", providers.ErrNotFound)
}

// Channels lists the channels of this integration.
func Channels(ctx context.Context, conn *providers.Connection) ([]Channel, error) {
	if err := conn.RequireKind(Key); err != nil {
		return nil, err
	}
	subs, err := conn.Subscriptions(ctx)
	if err != nil {
		return nil, err
	}
	var out []Channel
	for _, s := range subs {
		if c, err := readChannel(s); err == nil {
			out = append(out, c)
		}
	}
	return out, nil
}

// MimeSpreadsheet is File.MimeType of a spreadsheet.
const MimeSpreadsheet = "application/vnd.google-apps.spreadsheet"

// File is what a change tells about a file.
type File struct {
	Name         string    `json:"name"`
	MimeType     string    `json:"mimeType"`
	Trashed      bool      `json:"trashed"`
	ModifiedTime time.Time `json:"modifiedTime"`
}

// Change is one change to a file.
type Change struct {
	FileID string `json:"fileId"`
	// Removed says that the file was deleted or is out of reach; File is nil then.
	Removed bool      `json:"removed"`
	Time    time.Time `json:"time"`
	File    *File     `json:"file"`
}

// Changes yields what changed since a page token, page by page as it is consumed,
// and ends after the first error. When all changes of a page were consumed *cursor
// is set to where to go on: keep it, in a checkpoint of the connection for example.
// Changes of a page that was left early come again. With *cursor "" nothing is
// yielded and it is set to now.
func Changes(ctx context.Context, conn *providers.Connection, cursor *string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		if *cursor == "" {
			start, err := startPageToken(ctx, conn)
			if err != nil {
				yield(Change{}, err)
				return
			}
			*cursor = start
			return
		}
		for {
			page, err := changesPage(ctx, conn, *cursor)
			if err != nil {
				yield(Change{}, err)
				return
			}
			for _, c := range page.Changes {
				if c.FileID != "" && !yield(c, nil) { // others are of shared drives themselves
					return
				}
			}
			if page.NewStartPageToken != "" {
				*cursor = page.NewStartPageToken
				return
			}
			*cursor = page.NextPageToken
		}
	}
}

type changesAnswer struct {
	NextPageToken     string   `json:"nextPageToken"`
	NewStartPageToken string   `json:"newStartPageToken"`
	Changes           []Change `json:"changes"`
}

func changesPage(ctx context.Context, conn *providers.Connection, cursor string) (changesAnswer, error) {
	q := changesQuery(cursor)
	q.Set("pageSize", "100")
	q.Set("fields", "nextPageToken,newStartPageToken,changes(fileId,removed,time,file(name,mimeType,trashed,modifiedTime))")
	var page changesAnswer
	err := call(ctx, conn, watching, providers.APICall{URL: driveURL + "/changes?" + q.Encode(), Out: &page})
	if err == nil && page.NewStartPageToken == "" && (page.NextPageToken == "" || page.NextPageToken == cursor) {
		// There is nowhere to go on from, and no end.
		err = &providers.CallError{Adapter: "sheetsapp", Code: "bad_answer", Kind: providers.ErrTransient}
	}
	return page, err
}

// changesQuery asks for changes in shared drives too.
func changesQuery(cursor string) url.Values {
	return url.Values{"pageToken": {cursor}, "includeItemsFromAllDrives": {"true"}, "supportsAllDrives": {"true"}}
}

func startPageToken(ctx context.Context, conn *providers.Connection) (string, error) {
	var ans struct {
		StartPageToken string `json:"startPageToken"`
	}
	err := call(ctx, conn, watching, providers.APICall{URL: driveURL + "/changes/startPageToken?supportsAllDrives=true", Out: &ans})
	if err == nil && ans.StartPageToken == "" {
		err = &providers.CallError{Adapter: "sheetsapp", Code: "bad_answer", Kind: providers.ErrTransient}
	}
	return ans.StartPageToken, err
}
