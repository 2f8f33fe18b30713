package slackapp_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"
)

func TestNotify(t *testing.T) {
	for name, c := range map[string]struct {
		message slackapp.Message
		data    string
		want    url.Values
	}{
		"text to #general":       {slackapp.Message{Text: "<https://x>"}, "{}", url.Values{"channel": {"#general"}, "text": {"<https://x>"}}},
		"to the install's":       {slackapp.Message{Text: "x"}, `{"default_channel_id":"C1","default_channel":"#c"}`, url.Values{"channel": {"C1"}, "text": {"x"}}},
		"to the message's own":   {slackapp.Message{Text: "x", Channel: "#own"}, `{"default_channel_id":"C1"}`, url.Values{"channel": {"#own"}, "text": {"x"}}},
		"reply":                  {slackapp.Message{Text: "x", Channel: "C1", ThreadTS: "1.0"}, "{}", url.Values{"channel": {"C1"}, "text": {"x"}, "thread_ts": {"1.0"}}},
		"blocks alone":           {slackapp.Message{Channel: "C1", Blocks: []slack.Block{slack.NewDividerBlock()}}, "{}", url.Values{"channel": {"C1"}, "blocks": {`[{"type":"divider"}]`}}},
		"blocks with a fallback": {slackapp.Message{Text: "x", Channel: "C1", Blocks: []slack.Block{slack.NewDividerBlock()}}, "{}", url.Values{"channel": {"C1"}, "text": {"x"}, "blocks": {`[{"type":"divider"}]`}}},
	} {
		t.Run(name, func(t *testing.T) {
			rec := &recorder{t: t, answer: `{"ok":true,"channel":"C9","ts":"1.2"}`}
			posted, err := slackapp.Notify(t.Context(), connection(rec.RoundTrip, c.data), c.message)
			require.NoError(t, err)
			require.Equal(t, slackapp.Posted{Channel: "C9", Timestamp: "1.2"}, posted)
			require.Len(t, rec.sent, 1)
			require.Equal(t, "/api/chat.postMessage", rec.sent[0].URL.Path)
			c.want["unfurl_links"], c.want["unfurl_media"] = []string{"false"}, []string{"false"}
			require.Equal(t, c.want, rec.sent[0].form(t))
		})
	}
}

// disconnected is a source of a connection that is over.
type disconnected struct{ fixed }

func (disconnected) Snapshot(context.Context) (providers.Snapshot, error) {
	return providers.Snapshot{}, providers.ErrDisconnected
}

func TestNotifyFails(t *testing.T) {
	unsent := func(*http.Request) (*http.Response, error) {
		t.Error("sent")
		return nil, errors.New("unsent")
	}
	_, err := slackapp.Notify(t.Context(), connection(unsent, "{}"), slackapp.Message{Channel: "C1"})
	require.ErrorIs(t, err, providers.ErrInvalid)
	_, err = slackapp.Notify(t.Context(), connection(unsent, "[]"), slackapp.Message{Text: "x"})
	require.ErrorIs(t, err, providers.ErrInvalid)
	_, err = slackapp.Notify(t.Context(), connect(t, disconnected{}, unsent), slackapp.Message{Text: "x"})
	require.ErrorIs(t, err, providers.ErrDisconnected)
	_, err = slackapp.Notify(t.Context(), connection(answer(`{"ok":false,"error":"channel_not_found"}`), "{}"), slackapp.Message{Text: "x"})
	require.ErrorIs(t, err, providers.ErrNotFound)
	_, err = slackapp.Notify(t.Context(), connection(status(200, "text/html", "<html>planted</html>"), "{}"), slackapp.Message{Text: "x"})
	require.ErrorIs(t, err, providers.ErrTransient)
	noSecrets(t, err, "planted", "html")
}
