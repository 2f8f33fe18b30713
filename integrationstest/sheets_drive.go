package integrationstest

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/webhook/webhooktest"
)

// Longest lives of channels.
const (
	fileChannelLife    = 24 * time.Hour
	changesChannelLife = 7 * 24 * time.Hour
	unsaidChannelLife  = time.Hour
)

// driveChannel is a notification channel.
type driveChannel struct {
	id, token, address string
	grant              googleGrant
	file               string // "" for all changes
	resource, uri      string
	expires            time.Time
	sent               int64
}

// driveChange is an entry in the log of changes; its number is its place.
type driveChange struct {
	file    *googleFile
	removed bool
	at      time.Time
}

// record must be called with s.mu held.
func (s *Sheets) record(f *googleFile, removed bool) {
	f.modified = time.Now()
	s.changes = append(s.changes, driveChange{f, removed, f.modified})
}

var driveScopes = []string{"drive", "drive.file", "drive.readonly", "drive.metadata", "drive.metadata.readonly"}

// driveAPI is the part of the Drive API that channels and changes need.
func (s *Sheets) driveAPI() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, fn func(w http.ResponseWriter, r *http.Request, who googleGrant)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if who, ok := s.caller(w, r, driveScopes...); ok {
				fn(w, r, who)
			}
		})
	}
	handle("GET /drive/v3/files/{file}", s.getFile)
	handle("POST /drive/v3/files/{file}/watch", s.watchFile)
	handle("GET /drive/v3/changes/startPageToken", func(w http.ResponseWriter, _ *http.Request, _ googleGrant) {
		s.mu.Lock()
		defer s.mu.Unlock()
		writeJSON(w, http.StatusOK, map[string]any{"kind": "drive#startPageToken", "startPageToken": strconv.Itoa(len(s.changes) + 1)})
	})
	handle("GET /drive/v3/changes", s.listChanges)
	handle("POST /drive/v3/changes/watch", func(w http.ResponseWriter, r *http.Request, who googleGrant) {
		if r.URL.Query().Get("pageToken") == "" {
			googleFault(w, http.StatusBadRequest, "INVALID_ARGUMENT", "Required parameter: pageToken", "required", "")
			return
		}
		s.watch(w, r, who, "")
	})
	handle("POST /drive/v3/channels/stop", s.stopChannel)
	return mux
}

// driveFile returns a file that a grant covers, nil after answering 404.
func (s *Sheets) driveFile(w http.ResponseWriter, r *http.Request, who googleGrant) *googleFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[r.PathValue("file")]
	if f == nil || f.owner != who.sub || !f.within(who, driveScopes) {
		googleFault(w, http.StatusNotFound, "NOT_FOUND", "File not found: "+r.PathValue("file")+".", "notFound", "")
		return nil
	}
	return f
}

func (s *Sheets) getFile(w http.ResponseWriter, r *http.Request, who googleGrant) {
	if f := s.driveFile(w, r, who); f != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		writeJSON(w, http.StatusOK, f.drive())
	}
}

func (f *googleFile) drive() map[string]any {
	return map[string]any{
		"kind": "drive#file", "id": f.id, "name": f.title, "mimeType": "application/vnd.google-apps.spreadsheet",
		"trashed": f.trashed, "modifiedTime": f.modified.UTC().Format("2006-01-02T15:04:05.000Z"),
	}
}

func (s *Sheets) watchFile(w http.ResponseWriter, r *http.Request, who googleGrant) {
	if f := s.driveFile(w, r, who); f != nil {
		s.watch(w, r, who, f.id)
	}
}

// watch opens a channel and sends its first notification.
func (s *Sheets) watch(w http.ResponseWriter, r *http.Request, who googleGrant, file string) {
	var in struct {
		ID         string `json:"id"`
		Type       string `json:"type"`
		Address    string `json:"address"`
		Token      string `json:"token"`
		Expiration any    `json:"expiration"` // a number, or one in quotes
	}
	refuse := func(reason, text string) {
		googleFault(w, http.StatusBadRequest, "INVALID_ARGUMENT", text, reason, "")
	}
	if decodeBody(r, &in) != nil {
		refuse("parseError", "Parse Error")
		return
	}
	c := &driveChannel{
		id: in.ID, token: in.Token, address: in.Address, grant: who, file: file,
		resource: "changes-of-" + who.sub, uri: "https://www.googleapis.com/drive/v3/changes?alt=json&" + r.URL.RawQuery,
	}
	longest := changesChannelLife
	if file != "" {
		longest, c.resource, c.uri = fileChannelLife, "resource-"+file, "https://www.googleapis.com/drive/v3/files/"+file+"?alt=json"
	}
	now := time.Now()
	c.expires = now.Add(unsaidChannelLife)
	if ms, err := strconv.ParseFloat(fmt.Sprint(in.Expiration), 64); err == nil {
		c.expires = time.UnixMilli(int64(ms))
	}
	if c.expires.After(now.Add(longest)) {
		c.expires = now.Add(longest)
	}
	s.mu.Lock()
	switch u, err := url.Parse(in.Address); {
	case in.ID == "" || len(in.ID) > 64 || len(in.Token) > 256:
		s.mu.Unlock()
		refuse("invalid", "Invalid channel id or token")
		return
	case in.Type != "web_hook" && in.Type != "webhook":
		s.mu.Unlock()
		refuse("unknownChannelType", "Unknown channel type")
		return
	case err != nil || u.Scheme != "https":
		s.mu.Unlock()
		refuse("push.webhookUrlNotHttps", "WebHook callback must be HTTPS")
		return
	case s.channels[in.ID] != nil:
		s.mu.Unlock()
		refuse("channelIdNotUnique", "Channel id "+in.ID+" not unique")
		return
	}
	s.channels[c.id] = c
	s.mu.Unlock()
	s.notify(c, "sync")
	answer := map[string]any{
		"kind": "api#channel", "id": c.id, "resourceId": c.resource, "resourceUri": c.uri,
		"expiration": strconv.FormatInt(c.expires.UnixMilli(), 10),
	}
	if c.token != "" {
		answer["token"] = c.token
	}
	writeJSON(w, http.StatusOK, answer)
}

func (s *Sheets) stopChannel(w http.ResponseWriter, r *http.Request, who googleGrant) {
	var in struct {
		ID         string `json:"id"`
		ResourceID string `json:"resourceId"`
	}
	_ = decodeBody(r, &in) // of another form: no channel
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[in.ID]
	if c == nil || c.resource != in.ResourceID || c.grant.sub != who.sub || time.Now().After(c.expires) {
		googleFault(w, http.StatusNotFound, "NOT_FOUND", "Channel '"+in.ID+"' not found for project '1'", "channelNotFound", "")
		return
	}
	delete(s.channels, in.ID)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Sheets) listChanges(w http.ResponseWriter, r *http.Request, who googleGrant) {
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	from, err := strconv.Atoi(q.Get("pageToken"))
	if err != nil || from < 1 || from > len(s.changes)+1 {
		googleFault(w, http.StatusBadRequest, "INVALID_ARGUMENT", "Invalid Value", "invalid", "")
		return
	}
	size, err := strconv.Atoi(q.Get("pageSize"))
	if err != nil || size < 1 || size > 1000 {
		size = 100
	}
	list := []any{}
	next := from
	for ; next <= len(s.changes) && len(list) < size; next++ {
		c := s.changes[next-1]
		if c.file.owner != who.sub || !c.file.within(who, driveScopes) {
			continue
		}
		one := map[string]any{
			"kind": "drive#change", "changeType": "file", "fileId": c.file.id, "removed": c.removed,
			"time": c.at.UTC().Format("2006-01-02T15:04:05.000Z"),
		}
		if !c.removed {
			one["file"] = c.file.drive()
		}
		list = append(list, one)
	}
	answer := map[string]any{"kind": "drive#changeList", "changes": list}
	if next > len(s.changes) {
		answer["newStartPageToken"] = strconv.Itoa(next)
	} else {
		answer["nextPageToken"] = strconv.Itoa(next)
	}
	writeJSON(w, http.StatusOK, answer)
}

// LiveChannels are the ids of the channels that are neither stopped nor over.
func (s *Sheets) LiveChannels() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, id := range slices.Sorted(maps.Keys(s.channels)) {
		if time.Now().Before(s.channels[id].expires) {
			out = append(out, id)
		}
	}
	return out
}

// Edit is a change of a spreadsheet by somebody at Google: its channels and those
// of all changes are notified. It returns the statuses that the Manager answered,
// in the order of the channels' ids. Writes through the API are in the list of
// changes and notify nobody.
func (s *Sheets) Edit(spreadsheetID string) []int { return s.happen(spreadsheetID, "update") }

// Trash moves a spreadsheet to the bin; see [Sheets.Edit].
func (s *Sheets) Trash(spreadsheetID string) []int { return s.happen(spreadsheetID, "trash") }

// Delete removes a spreadsheet for good; see [Sheets.Edit].
func (s *Sheets) Delete(spreadsheetID string) []int { return s.happen(spreadsheetID, "remove") }

func (s *Sheets) happen(spreadsheetID, state string) []int {
	s.mu.Lock()
	f := s.files[spreadsheetID]
	if f == nil {
		s.mu.Unlock()
		return nil
	}
	f.trashed = f.trashed || state == "trash"
	s.record(f, state == "remove")
	if state == "remove" {
		delete(s.files, f.id)
	}
	var told []*driveChannel
	for _, id := range slices.Sorted(maps.Keys(s.channels)) {
		c := s.channels[id]
		all := c.file == "" && c.grant.sub == f.owner && f.within(c.grant, driveScopes)
		if (all || c.file == f.id) && time.Now().Before(c.expires) {
			told = append(told, c)
		}
	}
	s.mu.Unlock()
	var statuses []int
	for _, c := range told {
		what := state
		if c.file == "" {
			what = "change"
		}
		statuses = append(statuses, s.notify(c, what))
	}
	return statuses
}

// Notification is the next notification of a channel, in its place: what it was
// opened with can be read from it. Nothing is sent; see [Kit.Send].
func (s *Sheets) Notification(channelID, state string) *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[channelID]
	if c == nil {
		s.kit.t.Fatalf("integrationstest: no channel %q", channelID)
		return nil
	}
	return c.next(state)
}

// next must be called with s.mu held. Numbers grow with gaps.
func (c *driveChannel) next(state string) *http.Request {
	c.sent += 1 + c.sent%3
	n := webhooktest.DriveNotification{
		ChannelID: c.id, Token: c.token, ResourceID: c.resource, ResourceURI: c.uri, State: state, Number: c.sent, Expires: c.expires,
	}
	if state == "update" {
		n.Changed = []string{"content", "properties"}
	}
	return webhooktest.Drive(c.address, n)
}

// notify delivers a notification, if the channel's address is the kit's app.
func (s *Sheets) notify(c *driveChannel, state string) int {
	if !strings.HasPrefix(c.address, s.kit.baseURL()+"/") {
		return 0
	}
	s.mu.Lock()
	r := c.next(state)
	s.mu.Unlock()
	return s.kit.deliver(r)
}
