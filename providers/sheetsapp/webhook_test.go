package sheetsapp_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

const (
	hookURL   = "https://app.example.com/google_sheets/webhook/segment"
	hookID    = "0123456789abcdef0123456789abcdef"
	hookToken = "planted-channel-token-AAAAAAAAAAAAAAAAAAAAA"
)

func source(t *testing.T) webhook.Source {
	t.Helper()
	src, err := app().WebhookSource()
	require.NoError(t, err)
	return src
}

func endpoint(secrets ...string) *webhook.Endpoint {
	e := &webhook.Endpoint{ID: hookID, TenantID: "tenant-1", IntegrationID: "integration-1", ExternalID: "107"}
	for _, s := range secrets {
		e.Secrets = append(e.Secrets, []byte(s))
	}
	return e
}

func notified(state string, change ...func(http.Header)) *webhook.Request {
	r := webhooktest.Drive(hookURL, webhooktest.DriveNotification{
		ChannelID: hookID, Token: hookToken, ResourceID: "o3hgv1538sdjfh", ResourceURI: "https://www.googleapis.com/drive/v3/files/" + sheetID + "?alt=json",
		State: state, Number: 10, Changed: []string{"content", "properties"}, Expires: time.Date(2026, 11, 25, 13, 4, 5, 0, time.UTC),
	})
	for _, fn := range change {
		fn(r.Header)
	}
	return &webhook.Request{Method: r.Method, URL: hookURL, Header: r.Header, Now: time.Now(), Endpoint: endpoint(hookToken)}
}

func set(name, value string) func(http.Header) {
	return func(h http.Header) { h.Set(name, value) }
}

func TestWebhookSource(t *testing.T) {
	src := source(t)
	require.Equal(t, int64(64<<10), src.MaxBody)
	for _, h := range src.KeepHeaders {
		require.NotContains(t, []string{"X-Goog-Channel-Token", "X-Goog-Resource-Uri"}, http.CanonicalHeaderKey(h))
	}
	_, err := app(func(c *sheetsapp.Config) { c.NoNotifications = true }).WebhookSource()
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func TestVerify(t *testing.T) {
	verify := source(t).Verifier.Verify
	require.NoError(t, verify(notified("update")))
	r := notified("update")
	r.Endpoint = endpoint("another-secret-of-the-same-endpoint", hookToken)
	require.NoError(t, verify(r), "two secrets while one is replaced")

	for name, c := range map[string]struct {
		endpoint *webhook.Endpoint
		change   func(http.Header)
		want     error
	}{
		"no endpoint":         {nil, nil, webhook.ErrNotSigned},
		"no token":            {endpoint(hookToken), func(h http.Header) { h.Del("X-Goog-Channel-Token") }, webhook.ErrNotSigned},
		"empty token":         {endpoint(hookToken), set("X-Goog-Channel-Token", ""), webhook.ErrNotSigned},
		"two tokens":          {endpoint(hookToken), func(h http.Header) { h.Add("X-Goog-Channel-Token", hookToken) }, webhook.ErrNotSigned},
		"another token":       {endpoint(hookToken), set("X-Goog-Channel-Token", hookToken[1:]), webhook.ErrBadSignature},
		"token with a space":  {endpoint(hookToken), set("X-Goog-Channel-Token", hookToken+" "), webhook.ErrBadSignature},
		"no channel":          {endpoint(hookToken), func(h http.Header) { h.Del("X-Goog-Channel-Id") }, webhook.ErrNotSigned},
		"another channel":     {endpoint(hookToken), set("X-Goog-Channel-Id", strings.Repeat("0", 32)), webhook.ErrBadSignature},
		"longer channel":      {endpoint(hookToken), set("X-Goog-Channel-Id", hookID+"0"), webhook.ErrBadSignature},
		"two channels":        {endpoint(hookToken), func(h http.Header) { h.Add("X-Goog-Channel-Id", "other") }, webhook.ErrNotSigned},
		"another endpoint":    {endpoint("the-secret-of-another-endpoint-000000000000"), nil, webhook.ErrBadSignature},
		"no secrets":          {endpoint(), nil, webhook.ErrBadSignature},
		"an empty secret":     {endpoint(""), set("X-Goog-Channel-Token", ""), webhook.ErrNotSigned},
		"a secret too short":  {endpoint("short"), set("X-Goog-Channel-Token", "short"), webhook.ErrBadSignature},
		"a decoy":             {&webhook.Endpoint{Secrets: [][]byte{[]byte(hookToken)}}, nil, webhook.ErrBadSignature},
		"a decoy and no name": {&webhook.Endpoint{Secrets: [][]byte{[]byte(hookToken)}}, set("X-Goog-Channel-Id", ""), webhook.ErrNotSigned},
	} {
		r := notified("update")
		r.Endpoint = c.endpoint
		if c.change != nil {
			c.change(r.Header)
		}
		require.ErrorIs(t, verify(r), c.want, name)
	}
}

func TestReadNotifications(t *testing.T) {
	src := source(t)
	for name, c := range map[string]struct {
		r    *webhook.Request
		typ  string
		body string
	}{
		"update": {notified("update"), sheetsapp.TypeFileUpdate, `{"channel_id":"` + hookID + `","resource_id":"o3hgv1538sdjfh","file_id":"` + sheetID + `","state":"update","changed":["content","properties"],"message_number":10}`},
		"trash":  {notified("trash", func(h http.Header) { h.Del("X-Goog-Changed") }), sheetsapp.TypeFileTrash, `{"channel_id":"` + hookID + `","resource_id":"o3hgv1538sdjfh","file_id":"` + sheetID + `","state":"trash","message_number":10}`},
		"add":    {notified("add", set("X-Goog-Changed", "")), sheetsapp.TypeFileAdd, `{"channel_id":"` + hookID + `","resource_id":"o3hgv1538sdjfh","file_id":"` + sheetID + `","state":"add","message_number":10}`},
		"change": {notified("change", set("X-Goog-Changed", ""), set("X-Goog-Message-Number", "9007199254740993")), sheetsapp.TypeChange, `{"channel_id":"` + hookID + `","resource_id":"o3hgv1538sdjfh","state":"change","message_number":9007199254740993}`},
		"what cannot be used": {
			notified("remove", set("X-Goog-Changed", " content , <b>,,permissions"), set("X-Goog-Resource-Id", "a b"), set("X-Goog-Resource-Uri", "https://evil.example/drive/v3/files/x")),
			sheetsapp.TypeFileRemove, `{"channel_id":"` + hookID + `","state":"remove","changed":["content","permissions"],"message_number":10}`,
		},
		"a new state": {notified("renamed", set("X-Goog-Changed", ""), set("X-Goog-Resource-Uri", "::")), "drive.file.renamed", `{"channel_id":"` + hookID + `","resource_id":"o3hgv1538sdjfh","state":"renamed","message_number":10}`},
	} {
		c.r.Body = []byte(`{"kind":"drive#changes","state":"planted"}`) // never looked at
		receipt, err := src.Read(c.r)
		require.NoError(t, err, name)
		require.Nil(t, receipt.Reply, name)
		require.Len(t, receipt.Notices, 1, name)
		n := receipt.Notices[0]
		require.Equal(t, c.typ, n.Type, name)
		require.Equal(t, hookID+"/"+c.r.Header.Get("X-Goog-Message-Number"), n.DeliveryID, name)
		require.Equal(t, "107", n.Account, name)
		require.JSONEq(t, c.body, string(n.Body), name)
		require.NotContains(t, string(n.Body), "planted", name)
		require.Equal(t, c.typ == sheetsapp.TypeChange, n.OrderKey == hookID, name)
		require.False(t, n.DedupBody, name)
	}
	receipt, err := src.Read(notified("sync"))
	require.NoError(t, err)
	require.Empty(t, receipt.Notices)
	require.Nil(t, receipt.Reply)
}

func TestReadRefuses(t *testing.T) {
	for name, change := range map[string]func(http.Header){
		"no state":       func(h http.Header) { h.Del("X-Goog-Resource-State") },
		"two states":     func(h http.Header) { h.Add("X-Goog-Resource-State", "trash") },
		"a bad state":    set("X-Goog-Resource-State", "up date"),
		"a long state":   set("X-Goog-Resource-State", strings.Repeat("a", 33)),
		"no number":      func(h http.Header) { h.Del("X-Goog-Message-Number") },
		"two numbers":    func(h http.Header) { h.Add("X-Goog-Message-Number", "11") },
		"a bad number":   set("X-Goog-Message-Number", "-1"),
		"a large number": set("X-Goog-Message-Number", "9223372036854775808"),
		"a long channel": set("X-Goog-Channel-Id", strings.Repeat("a", 65)),
		"a bad channel":  set("X-Goog-Channel-Id", "a\nb"),
	} {
		receipt, err := source(t).Read(notified("update", change))
		require.Error(t, err, name)
		require.Empty(t, receipt.Notices, name)
	}
	r := notified("update")
	r.Endpoint = nil
	_, err := source(t).Read(r)
	require.Error(t, err)
}

func TestHandlers(t *testing.T) {
	var got []sheetsapp.Notification
	keep := func(_ context.Context, _ webhook.Event, n *sheetsapp.Notification) error {
		got = append(got, *n)
		return nil
	}
	ev := webhook.Event{Body: []byte(`{"channel_id":"c","state":"update","changed":["content"],"message_number":7}`)}
	h := sheetsapp.On(sheetsapp.TypeFileUpdate, keep)
	require.Equal(t, [2]string{"google_sheets", "drive.file.update"}, [2]string{h.Provider, h.Type})
	require.NoError(t, h.Func(t.Context(), ev))
	h = sheetsapp.OnChange(keep).For("sheets_eu")
	require.Equal(t, [2]string{"sheets_eu", "drive.change"}, [2]string{h.Provider, h.Type})
	require.Error(t, h.Func(t.Context(), webhook.Event{Body: []byte("x")}))
	require.Equal(t, []sheetsapp.Notification{{ChannelID: "c", State: "update", Changed: []string{"content"}, MessageNumber: 7}}, got)
}

// FuzzF9Notification: whatever the headers say, nothing without the token and the
// channel's id is accepted, and what is read can be stored and says what the headers
// say.
func FuzzF9Notification(f *testing.F) {
	f.Add(hookToken, hookID, "update", "10", "content,properties", "res", "https://www.googleapis.com/drive/v3/files/x?alt=json", "")
	f.Add(hookToken, hookID, "change", "9223372036854775807", "", "", "https://www.googleapis.com/drive/v3/changes?pageToken=1", `{"kind":"drive#changes"}`)
	f.Add(hookToken, hookID, "sync", "1", "", "", "", "")
	f.Add("", "", "", "", ",,", "\x00", "https://www.googleapis.com/drive/v3/files/../x", "")
	f.Add(hookToken+"x", hookID, "UPDATE", "01", "a,b", "\xff", "%zz", "x")
	f.Fuzz(func(t *testing.T, token, id, state, number, changed, resource, uri, body string) {
		src := source(t)
		h := http.Header{
			"X-Goog-Channel-Token": {token}, "X-Goog-Channel-Id": {id}, "X-Goog-Resource-State": {state}, "X-Goog-Message-Number": {number},
			"X-Goog-Changed": {changed}, "X-Goog-Resource-Id": {resource}, "X-Goog-Resource-Uri": {uri},
		}
		r := &webhook.Request{Method: http.MethodPost, URL: hookURL, Header: h, Body: []byte(body), Endpoint: endpoint(hookToken)}
		err := src.Verifier.Verify(r)
		require.Equal(t, token == hookToken && id == hookID, err == nil)
		receipt, err := src.Read(r)
		if err != nil || state == "sync" {
			require.Empty(t, receipt.Notices)
			return
		}
		require.Len(t, receipt.Notices, 1)
		n := receipt.Notices[0]
		require.Equal(t, id+"/"+number, n.DeliveryID)
		require.True(t, n.Type == "drive.change" && state == "change" || n.Type == "drive.file."+state)
		require.LessOrEqual(t, max(len(n.DeliveryID), len(n.Type), len(n.OrderKey)), 191)
		var got sheetsapp.Notification
		d := json.NewDecoder(strings.NewReader(string(n.Body)))
		d.DisallowUnknownFields()
		require.NoError(t, d.Decode(&got))
		require.Equal(t, [2]string{id, state}, [2]string{got.ChannelID, got.State})
		if !strings.Contains(resource+changed+uri, hookToken) {
			require.NotContains(t, string(n.Body), hookToken)
		}
		if got.FileID != "" {
			require.Contains(t, uri, got.FileID)
		}
	})
}
