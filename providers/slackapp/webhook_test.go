package slackapp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/slack-go/slack/slackevents"
	"github.com/stretchr/testify/require"
)

// TestM1Routing: an event goes to the install it was sent for, whoever caused
// it and wherever.
func TestM1Routing(t *testing.T) {
	event := func(rest string) string {
		return `{"type":"event_callback","event_id":"Ev1","event_time":1700000000,"event":{"type":"message","team":"T-OTHER","user_team":"T-OTHER","source_team":"T-OTHER"},` + rest + `}`
	}
	interaction := func(rest string) string {
		return "payload=" + url.QueryEscape(`{"type":"block_actions","trigger_id":"1.2.3",`+rest+`}`)
	}
	command := func(rest string) string { return "command=%2Fdeploy&trigger_id=1.2&" + rest }
	for name, c := range map[string]struct{ body, want string }{
		"one workspace": {event(`"team_id":"T1","authorizations":[{"team_id":"T1","enterprise_id":null,"is_enterprise_install":false}]`), "T1"},
		"Slack Connect: the author's company stands at the top": {
			event(`"team_id":"T-OTHER","is_ext_shared_channel":true,"context_team_id":"T-OTHER","authorizations":[{"team_id":"T1","enterprise_id":null,"is_enterprise_install":false}]`), "T1",
		},
		"Slack Connect with an organisation": {
			event(`"team_id":"T-OTHER","enterprise_id":"E-OTHER","authorizations":[{"team_id":"T1","enterprise_id":"E1","is_enterprise_install":false}]`), "T1",
		},
		"install on an organisation": {
			event(`"team_id":"T-MEMBER","enterprise_id":"E1","authorizations":[{"team_id":null,"enterprise_id":"E1","is_enterprise_install":true}]`), "E1",
		},
		"install on an organisation, with a team": {
			event(`"team_id":"T-MEMBER","authorizations":[{"team_id":"T-MEMBER","enterprise_id":"E1","is_enterprise_install":true}]`), "E1",
		},
		"the first authorization alone counts": {
			event(`"team_id":"T9","authorizations":[{"team_id":"T1"},{"team_id":"T2"}]`), "T1",
		},
		"no authorizations":    {event(`"team_id":"T1"`), "T1"},
		"empty authorizations": {event(`"team_id":"T1","authorizations":[]`), "T1"},
		"null authorizations":  {event(`"enterprise_id":"E1","team_id":null,"authorizations":null`), "E1"},
		"limit":                {`{"type":"app_rate_limited","team_id":"T1","minute_rate_limited":1700000000,"api_app_id":"A1"}`, "T1"},

		"interaction":                       {interaction(`"team":{"id":"T1","domain":"x"},"user":{"id":"U1","team_id":"T-OTHER"}`), "T1"},
		"interaction of a text team":        {interaction(`"team":"T1"`), "T1"},
		"interaction in an organisation":    {interaction(`"team":null,"enterprise":{"id":"E1"},"is_enterprise_install":true,"user":{"id":"U1","team_id":"T-MEMBER"}`), "E1"},
		"interaction, the team's org":       {interaction(`"team":{"id":"T1","enterprise_id":"E1"},"is_enterprise_install":"true"`), "E1"},
		"interaction of a shared view":      {interaction(`"team":{"id":"T-OTHER"},"view":{"app_installed_team_id":"T1","team_id":"T-OTHER"}`), "T1"},
		"interaction with a user's team":    {interaction(`"team":null,"user":{"id":"U1","team_id":"T1"}`), "T1"},
		"command":                           {command("team_id=T1"), "T1"},
		"command in an organisation":        {command("team_id=T-MEMBER&enterprise_id=E1&is_enterprise_install=true"), "E1"},
		"command in a member of an org":     {command("team_id=T1&enterprise_id=E1&is_enterprise_install=false"), "T1"},
		"nobody's":                          {event(`"x":1`), ""},
		"ids in the inner event are nobody": {event(`"authorizations":[{}]`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(t, app(), c.body)
			require.NoError(t, err)
			require.Len(t, got.Notices, 1)
			require.Equal(t, c.want, got.Notices[0].Account)
		})
	}
	for name, body := range map[string]string{
		"team twice":            event(`"team_id":"T1","team_id":"T2"`),
		"team in another case":  event(`"team_id":"T1","Team_ID":"T2"`),
		"escaped key":           event(`"team_id":"T1","te\u0061m_id":"T2"`),
		"authorizations twice":  event(`"authorizations":[{"team_id":"T1"}],"authorizations":[{"team_id":"T2"}]`),
		"twice in the first":    event(`"authorizations":[{"team_id":"T1","team_id":"T2"}]`),
		"no list":               event(`"authorizations":{"team_id":"T1"}`),
		"a number for a team":   event(`"team_id":"T1","authorizations":[{"team_id":7}]`),
		"an object for a team":  event(`"team_id":{"id":"T1"}`),
		"payload twice":         interaction(`"team":{"id":"T1"}`) + "&payload=%7B%7D",
		"team of command twice": command("team_id=T1&team_id=T2"),
		"no type":               `{"event_id":"Ev1","team_id":"T1"}`,
		"no event id":           `{"type":"event_callback","event":{"type":"message"},"team_id":"T1"}`,
		"no inner type":         `{"type":"event_callback","event_id":"Ev1","event":{},"team_id":"T1"}`,
		"unknown outer type":    `{"type":"something","event_id":"Ev1","team_id":"T1"}`,
		"not an object":         `[1]`,
		"empty":                 ``,
		"an unknown form":       `a=b`,
		"a broken form":         `payload=%zz`,
		"an interaction":        interaction(`"team":{"id":"T1","id":"T2"}`),
		"text after the object": event(`"team_id":"T1"`) + "{}",
	} {
		got, err := read(t, app(), body)
		require.Error(t, err, name)
		require.Empty(t, got.Notices, name)
		if len(body) > 0 {
			require.NotContains(t, err.Error(), "T1", name)
		}
	}
}

func TestReadTellsTheKindsApart(t *testing.T) {
	body := `{"type":"event_callback","event_id":"Ev1","event_time":1700000000,"event":{"type":"app_mention"},"team_id":"T1"}`
	got, err := read(t, app(), body)
	require.NoError(t, err)
	require.Equal(t, []webhook.Notice{{DeliveryID: "Ev1", Type: "app_mention", Account: "T1", OccurredAt: time.Unix(1700000000, 0)}}, got.Notices)

	payload := `{"type":"view_submission","trigger_id":"1.2.3","team":{"id":"T1"}}`
	got, err = read(t, app(), "payload="+url.QueryEscape(payload))
	require.NoError(t, err)
	require.Equal(t, []webhook.Notice{{DeliveryID: "view_submission:1.2.3", Type: "view_submission", Account: "T1", Body: []byte(payload)}}, got.Notices)

	command := "command=%2Fdeploy&text=api&team_id=T1&trigger_id=1.2"
	got, err = read(t, app(), command)
	require.NoError(t, err)
	require.Equal(t, []webhook.Notice{{DeliveryID: "slash_command:1.2", Type: slackapp.TypeSlashCommand, Account: "T1"}}, got.Notices)
	form, err := slackapp.ReadCommand(webhook.Event{Type: slackapp.TypeSlashCommand, Body: []byte(command)})
	require.NoError(t, err)
	require.Equal(t, "api", form.Get("text"))
	for _, ev := range []webhook.Event{{Type: "message", Body: []byte(command)}, {Type: slackapp.TypeSlashCommand, Body: []byte("a=b")}, {Type: slackapp.TypeSlashCommand, Body: []byte("%zz")}} {
		_, err := slackapp.ReadCommand(ev)
		require.ErrorIs(t, err, providers.ErrInvalid)
	}

	// Without an id of Slack's, an equal body is the same delivery.
	closed := func(view string) string {
		got, err := read(t, app(), "payload="+url.QueryEscape(`{"type":"view_closed","team":{"id":"T1"},"view":{"id":"`+view+`"}}`))
		require.NoError(t, err)
		return got.Notices[0].DeliveryID
	}
	require.Equal(t, closed("V1"), closed("V1"))
	require.NotEqual(t, closed("V1"), closed("V2"))

	got, err = read(t, app(), `{"type":"url_verification","token":"x","challenge":"3eZbrw1a"}`)
	require.NoError(t, err)
	require.Empty(t, got.Notices)
	require.Equal(t, &webhook.Reply{ContentType: "text/plain; charset=utf-8", Body: []byte("3eZbrw1a")}, got.Reply)
	got, err = read(t, app(), "ssl_check=1&token=x")
	require.NoError(t, err)
	require.Equal(t, &webhook.Reply{}, got.Reply)
	for _, bad := range []string{`{"type":"url_verification"}`, `{"type":"url_verification","challenge":7}`, `{"type":"url_verification","challenge":"` + strings.Repeat("x", 1025) + `"}`, `{"type":"url_verification","challenge":"a","challenge":"b"}`} {
		_, err := read(t, app(), bad)
		require.Error(t, err, bad)
	}
}

func TestLifecycle(t *testing.T) {
	bot := providers.Snapshot{ProviderData: []byte(`{"authed_user_id":"U1","token_type":"bot"}`)}
	user := providers.Snapshot{ProviderData: []byte(`{"authed_user_id":"U1","token_type":"user"}`)}
	tokens := func(list string) webhook.Event {
		return webhook.Event{Type: "tokens_revoked", Body: []byte(`{"event":{"type":"tokens_revoked","tokens":{` + list + `}}}`)}
	}
	for name, c := range map[string]struct {
		app  *slackapp.App
		ev   webhook.Event
		in   providers.Snapshot
		want providers.LifecycleKind
	}{
		"uninstalled":                   {app(), webhook.Event{Type: "app_uninstalled", Body: []byte(`{}`)}, bot, providers.Uninstalled},
		"bot token":                     {app(), tokens(`"bot":["UBOT"]`), bot, providers.Uninstalled},
		"bot app, a user's token":       {app(), tokens(`"oauth":["U1"],"bot":[]`), bot, providers.Unchanged},
		"the installing user's token":   {app(userOnly), tokens(`"oauth":["U9","U1"]`), user, providers.Uninstalled},
		"another user's token":          {app(userOnly), tokens(`"oauth":["U9"]`), user, providers.Unchanged},
		"user app, a bot token":         {app(userOnly), tokens(`"bot":["UBOT"]`), user, providers.Unchanged},
		"an event that means something": {app(), webhook.Event{Type: "message", Body: []byte(`{}`)}, bot, providers.Unchanged},
	} {
		got, err := c.app.Lifecycle(c.ev, c.in)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got.Kind, name)
	}
	_, err := app().Lifecycle(tokens(`"bot":7`), bot)
	require.Error(t, err)
	require.Equal(t, []string{"app_uninstalled", "tokens_revoked"}, app().LifecycleTypes())
}

func TestTypedHandlers(t *testing.T) {
	var text string
	h := slackapp.On("app_mention", func(_ context.Context, _ webhook.Event, e *slackevents.AppMentionEvent) error {
		text = e.Text
		return nil
	})
	require.Equal(t, "slack", h.Provider)
	require.Equal(t, "app_mention", h.Type)
	require.NoError(t, h.Func(t.Context(), webhook.Event{Body: []byte(`{"type":"event_callback","event":{"type":"app_mention","text":"hi"}}`)}))
	require.Equal(t, "hi", text)
	whole := slackapp.On("block_actions", func(_ context.Context, _ webhook.Event, e *struct{ Type string }) error {
		text = e.Type
		return nil
	})
	require.NoError(t, whole.Func(t.Context(), webhook.Event{Body: []byte(`{"type":"block_actions"}`)}))
	require.Equal(t, "block_actions", text)
	err := h.Func(t.Context(), webhook.Event{Body: []byte(`{"type":"event_callback","event":{"text":7,"words":"private"}}`)})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "private")
}

// routing are the keys that decide whose event it is.
var routing = []string{"type", "event_id", "event", "authorizations", "team_id", "enterprise_id", "is_enterprise_install"}

// strict reads an object with encoding/json and refuses one in which a key of
// routing occurs twice, in any case.
func strict(raw []byte) (map[string]json.RawMessage, bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	out, seen := map[string]json.RawMessage{}, map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, false
		}
		key := t.(string)
		var v json.RawMessage
		folded := strings.ToLower(key)
		if d.Decode(&v) != nil || seen[folded] && slices.Contains(routing, folded) {
			return nil, false
		}
		seen[folded], out[key] = true, v
	}
	return out, true
}

// FuzzF9Slack: the account of an event is that of a strict reading that knows
// encoding/json only.
func FuzzF9Slack(f *testing.F) {
	const head = `{"type":"event_callback","event_id":"E","event":{"type":"m"},`
	for _, s := range []string{
		head + `"team_id":"T1"}`, head + `"team_id":"T1","team_id":"T2"}`, head + `"authorizations":[{"team_id":"T1","enterprise_id":null}],"team_id":"T2"}`,
		head + `"authorizations":[{"enterprise_id":"E1","is_enterprise_install":true}]}`, head + `"authorizations":[],"enterprise_id":"E1"}`,
		head + `"authorizations":null}`, `payload={"type":"a"}`, `command=x&team_id=T1`, `{"type":"app_rate_limited","team_id":"T1"}`,
	} {
		f.Add([]byte(s))
	}
	src, err := app().WebhookSource()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := src.Read(&webhook.Request{Method: http.MethodPost, Body: body})
		if err != nil || len(got.Notices) == 0 {
			return
		}
		require.Len(t, got.Notices, 1)
		top := bytes.TrimLeft(body, " \t\r\n")
		if top[0] != '{' {
			return // a form: url.ParseQuery is what every reader has
		}
		fields, ok := strict(top)
		require.True(t, ok, "an ambiguous body was read")
		where := fields
		var list []json.RawMessage
		if json.Unmarshal(fields["authorizations"], &list) == nil && len(list) > 0 && string(list[0]) != "null" {
			where, ok = strict(list[0])
			require.True(t, ok)
		}
		var team, enterprise string
		_ = json.Unmarshal(where["team_id"], &team)
		_ = json.Unmarshal(where["enterprise_id"], &enterprise)
		org := string(where["is_enterprise_install"])
		if org == "true" || org == `"true"` || team == "" {
			team = enterprise
		}
		require.Equal(t, team, got.Notices[0].Account)
	})
}
