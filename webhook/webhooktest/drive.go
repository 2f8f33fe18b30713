package webhooktest

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// DriveNotification is a notification of Google Drive.
type DriveNotification struct {
	// ChannelID and Token are those the channel was opened with.
	ChannelID, Token        string
	ResourceID, ResourceURI string
	// State is "sync", "update", "change" …, Number the message's number.
	State  string
	Number int64
	// Changed is what an update is of.
	Changed []string
	// Expires is the channel's end, zero for none.
	Expires time.Time
}

// Drive returns a request as Google Drive notifies the address of a channel. It has
// no body and no signature: the token is what proves the sender.
func Drive(url string, n DriveNotification) *http.Request {
	r := post(url, nil)
	h := r.Header
	h.Del("Content-Type")
	h.Set("User-Agent", "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)")
	h.Set("X-Goog-Channel-ID", n.ChannelID)
	h.Set("X-Goog-Message-Number", strconv.FormatInt(n.Number, 10))
	h.Set("X-Goog-Resource-ID", n.ResourceID)
	h.Set("X-Goog-Resource-State", n.State)
	h.Set("X-Goog-Resource-URI", n.ResourceURI)
	if n.Token != "" {
		h.Set("X-Goog-Channel-Token", n.Token)
	}
	if len(n.Changed) > 0 {
		h.Set("X-Goog-Changed", strings.Join(n.Changed, ","))
	}
	if !n.Expires.IsZero() {
		h.Set("X-Goog-Channel-Expiration", n.Expires.UTC().Format(http.TimeFormat))
	}
	return r
}
