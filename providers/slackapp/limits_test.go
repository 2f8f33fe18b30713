package slackapp_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/internal/limitstest"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/stretchr/testify/require"
)

// apiCall is a call of a Web API method, as a form or as JSON.
func apiCall(method, body string) *http.Request {
	r, err := http.NewRequest(http.MethodPost, "https://slack.com/api/"+method, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	kind := "application/x-www-form-urlencoded"
	if strings.HasPrefix(body, "{") {
		kind = "application/json; charset=utf-8"
	}
	r.Header.Set("Content-Type", kind)
	return r
}

func TestCharges(t *testing.T) {
	plain, restricted := slackapp.New(slackapp.Config{}), slackapp.New(slackapp.Config{LimitedHistory: true})
	for name, c := range map[string]struct {
		app          *slackapp.App
		method, body string
		want         []string
	}{
		"tier 1":                    {plain, "apps.uninstall", "", []string{"tier1 acct apps.uninstall"}},
		"tier 2":                    {plain, "conversations.list", "", []string{"tier2 acct conversations.list"}},
		"tier 3":                    {plain, "chat.update", "", []string{"tier3 acct chat.update"}},
		"tier 4":                    {plain, "users.info", "", []string{"tier4 acct users.info"}},
		"special":                   {plain, "auth.test", "", []string{"special acct auth.test"}},
		"a list nobody knows":       {plain, "bookmarks.list", "", []string{"tier2 acct bookmarks.list"}},
		"a method nobody knows":     {plain, "bookmarks.add", "", []string{"tier3 acct bookmarks.add"}},
		"history":                   {plain, "conversations.history", "", []string{"tier3 acct conversations.history"}},
		"history, restricted":       {restricted, "conversations.history", "", []string{"history acct conversations.history"}},
		"replies, restricted":       {restricted, "conversations.replies", "", []string{"history acct conversations.replies"}},
		"others, restricted":        {restricted, "conversations.info", "", []string{"tier3 acct conversations.info"}},
		"a message as a form":       {plain, "chat.postMessage", "channel=C1&text=hi", []string{"channel acct C1", "special acct chat.postMessage"}},
		"a message as JSON":         {plain, "chat.postMessage", `{"text":"hi","channel":"C2"}`, []string{"channel acct C2", "special acct chat.postMessage"}},
		"an ephemeral message":      {plain, "chat.postEphemeral", "channel=C1", []string{"channel acct C1", "tier4 acct chat.postEphemeral"}},
		"no channel":                {plain, "chat.postMessage", "text=hi", []string{"special acct chat.postMessage"}},
		"a channel of another kind": {plain, "chat.postMessage", `{"channel":7}`, []string{"special acct chat.postMessage"}},
		"a channel too long":        {plain, "chat.postMessage", "channel=" + strings.Repeat("C", 65), []string{"special acct chat.postMessage"}},
		"no method":                 {plain, "a/b", "", []string{"special acct"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, limitstest.Charges(c.app, apiCall(c.method, c.body)))
		})
	}
	// A body that cannot be read twice is left alone.
	once := httptest.NewRequest(http.MethodPost, "https://slack.com/api/chat.postMessage", strings.NewReader("channel=C1"))
	require.Equal(t, []string{"special acct chat.postMessage"}, limitstest.Charges(plain, once))
	require.Equal(t, []string{"special acct"}, limitstest.Charges(plain, httptest.NewRequest(http.MethodPost, "https://slack.com/services/T/B/x", nil)))
}

func TestReadings(t *testing.T) {
	after := func(v string) http.Header { return http.Header{"Retry-After": {v}} }
	for name, c := range map[string]struct {
		method string
		answer limitstest.Answer
		want   []string
	}{
		"an answer":         {"users.list", limitstest.Answer{Status: 200, Body: `{"ok":true}`}, nil},
		"a refusal":         {"users.list", limitstest.Answer{Status: 429, Header: after("30"), Body: `{"ok":false,"error":"ratelimited"}`}, []string{"tier2 acct users.list refused=30s"}},
		"without a time":    {"users.list", limitstest.Answer{Status: 429}, []string{"tier2 acct users.list refused=1m0s"}},
		"a senseless time":  {"users.list", limitstest.Answer{Status: 429, Header: after("-7")}, []string{"tier2 acct users.list refused=1m0s"}},
		"a pause of a week": {"users.list", limitstest.Answer{Status: 429, Header: after("604800")}, []string{"tier2 acct users.list refused=24h0m0s"}},
		"of another method": {"auth.test", limitstest.Answer{Status: 429, Header: after("1")}, []string{"special acct auth.test refused=1s"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, limitstest.Readings(slackapp.New(slackapp.Config{}), apiCall(c.method, ""), c.answer))
		})
	}
}

func FuzzF11Limits(f *testing.F) {
	f.Add(429, "chat.postMessage", "channel=C1", "99999999999999999999", `{"ok":false,"error":"ratelimited"}`)
	f.Add(200, "users.list", `{"channel":`, "Fri, 31 Dec 9999 23:59:59 GMT", `{"ok":false,"error":"ratelimited"}`)
	app := slackapp.New(slackapp.Config{LimitedHistory: true})
	f.Fuzz(func(t *testing.T, status int, method, sent, retryAfter, body string) {
		r := apiCall("", sent)
		r.URL.Path = "/api/" + method
		if err := limitstest.Check(app, r, limitstest.Answer{Status: status, Header: http.Header{"Retry-After": {retryAfter}}, Body: body}); err != nil {
			t.Fatal(err)
		}
	})
}
