package sheetsapp

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/saas-integrations/integrations/webhook"
)

// Types of notifications. A state of files that is not among them is the type
// "drive.file." and its name.
const (
	// TypeChange says that there are new [Changes].
	TypeChange = "drive.change"

	TypeFileUpdate  = "drive.file.update"
	TypeFileAdd     = "drive.file.add"
	TypeFileRemove  = "drive.file.remove"
	TypeFileTrash   = "drive.file.trash"
	TypeFileUntrash = "drive.file.untrash"
)

// Notification is the body of an event, made of the headers of what Google sent.
// Google's notifications have no content and say nothing of the file's.
type Notification struct {
	// ChannelID is Channel.ID.
	ChannelID string `json:"channel_id"`
	// ResourceID is Channel.ResourceID.
	ResourceID string `json:"resource_id,omitempty"`
	// FileID is the file of a file's channel, "" when Google did not name it:
	// [Channels] tells by ChannelID.
	FileID string `json:"file_id,omitempty"`
	// State is Google's: "update", "trash", "change" ….
	State string `json:"state"`
	// Changed lists what an update is of: content, properties, parents, children,
	// permissions.
	Changed []string `json:"changed,omitempty"`
	// MessageNumber grows within a channel, with gaps.
	MessageNumber int64 `json:"message_number"`
}

// Headers of a notification.
const (
	headerToken    = "X-Goog-Channel-Token"
	headerChannel  = "X-Goog-Channel-Id"
	headerState    = "X-Goog-Resource-State"
	headerResource = "X-Goog-Resource-Id"
	headerURI      = "X-Goog-Resource-Uri"
	headerNumber   = "X-Goog-Message-Number"
	headerChanged  = "X-Goog-Changed"
	headerEnds     = "X-Goog-Channel-Expiration"
)

// WebhookSource implements providers.WebhookReceiver: notifications of Google Drive
// at the endpoints of channels. Google signs nothing. What proves the sender is the
// channel's token, which only Google was told, at a URL that only Google was told;
// all else in a notification is as trustworthy as whoever knows both. Its body is
// not looked at, and handlers get a [Notification] in its place.
//
// The first notification of a channel, "sync", is acknowledged and not stored.
//
// With Config.NoNotifications the error wraps errors.ErrUnsupported.
func (a *App) WebhookSource() (webhook.Source, error) {
	if a.cfg.NoNotifications {
		return webhook.Source{}, fmt.Errorf("integrations/sheetsapp: NoNotifications: %w", errors.ErrUnsupported)
	}
	return webhook.Source{
		Verifier: channelToken{}, Read: read, MaxBody: 64 << 10,
		// Not the token, and not the URI, which holds page tokens.
		KeepHeaders: []string{headerChannel, headerState, headerResource, headerNumber, headerChanged, headerEnds},
	}, nil
}

// channelToken verifies by the token that the channel was opened with.
type channelToken struct{}

// Verify implements webhook.Verifier. It looks at all secrets whatever the first
// says, and at the channel's id last.
func (channelToken) Verify(r *webhook.Request) error {
	given, ok := single(r.Header, headerToken)
	id, named := single(r.Header, headerChannel)
	if r.Endpoint == nil || !ok || !named {
		return webhook.ErrNotSigned
	}
	sum := sha256.Sum256([]byte(given)) // so that lengths do not show
	same := 0
	for _, s := range r.Endpoint.Secrets {
		if len(s) >= minToken {
			want := sha256.Sum256(s)
			same |= subtle.ConstantTimeCompare(sum[:], want[:])
		}
	}
	if same&subtle.ConstantTimeCompare([]byte(id), []byte(r.Endpoint.ID)) != 1 {
		return webhook.ErrBadSignature
	}
	return nil
}

// minToken is the least a secret must have to prove anything.
const minToken = 16

// single returns a header that is there once and not empty.
func single(h http.Header, name string) (string, bool) {
	v := h[name]
	if len(v) != 1 || v[0] == "" {
		return "", false
	}
	return v[0], true
}

var errNotification = errors.New("integrations/sheetsapp: not a notification of Google Drive")

// read makes an event of a notification's headers
// (developers.google.com/drive/api/guides/push, checked 2026-11).
func read(r *webhook.Request) (webhook.Receipt, error) {
	n, err := notification(r.Header)
	if err != nil || r.Endpoint == nil {
		return webhook.Receipt{}, errNotification
	}
	if n.State == "sync" {
		return webhook.Receipt{}, nil
	}
	notice := webhook.Notice{
		DeliveryID: fmt.Sprintf("%s/%d", n.ChannelID, n.MessageNumber), Type: "drive.file." + n.State, Account: r.Endpoint.ExternalID,
	}
	if n.State == "change" {
		notice.Type = TypeChange
		notice.OrderKey = n.ChannelID // who goes through the changes twice at a time loses the cursor
	}
	if notice.Body, err = json.Marshal(n); err != nil {
		return webhook.Receipt{}, errNotification
	}
	return webhook.Receipt{Notices: []webhook.Notice{notice}}, nil
}

// notification reads the headers of a notification. What it cannot be without is
// refused, what it cannot use is left out.
func notification(h http.Header) (Notification, error) {
	var n Notification
	var ok, named, numbered bool
	n.ChannelID, named = single(h, headerChannel)
	n.State, ok = single(h, headerState)
	number, _ := single(h, headerNumber)
	n.MessageNumber, numbered = webhook.Int([]byte(number))
	if !ok || !named || !numbered || !isPlain(n.ChannelID, 64) || !isWord(n.State) {
		return Notification{}, errNotification
	}
	if id, ok := single(h, headerResource); ok && isPlain(id, 191) {
		n.ResourceID = id
	}
	if n.State != "change" {
		uri, _ := single(h, headerURI)
		n.FileID = fileOf(uri)
	}
	changed, _ := single(h, headerChanged)
	for part := range strings.SplitSeq(changed, ",") {
		if part = strings.TrimSpace(part); isWord(part) && len(n.Changed) < 16 {
			n.Changed = append(n.Changed, part)
		}
	}
	return n, nil
}

// isWord reports whether s is a name of Google's: lower-case letters and "_".
func isWord(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") == ""
}

// isPlain reports whether s is printable ASCII without spaces.
func isPlain(s string, most int) bool {
	return len(s) <= most && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// fileOf is the file that a resource's URI names, "" if it names none.
func fileOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "https" || u.Host != driveHost {
		return ""
	}
	id, ok := strings.CutPrefix(u.Path, "/drive/v3/files/")
	if !ok || checkID(id) != nil {
		return ""
	}
	return id
}

// On returns a handler of one type of notification, or of all with
// webhook.AnyType. Use Handler.For for a registration under another key.
func On(eventType string, fn func(ctx context.Context, ev webhook.Event, n *Notification) error) webhook.Handler {
	return webhook.OnJSON(Key, eventType, fn)
}

// OnChange is [On] for [TypeChange]. The events of a channel are handled one at a
// time: go through [Changes] from where you stopped.
func OnChange(fn func(ctx context.Context, ev webhook.Event, n *Notification) error) webhook.Handler {
	return On(TypeChange, fn)
}
