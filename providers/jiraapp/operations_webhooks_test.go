package jiraapp_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/andygrunwald/go-jira"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/stretchr/testify/require"
)

func hook(name, jql string) jiraapp.Webhook {
	return jiraapp.Webhook{Name: name, Events: []string{"jira:issue_created", "comment_created"}, JQL: jql}
}

// kept makes a connection whose subscriptions the test sees.
func kept(t *testing.T, w *wire) (*providers.Connection, *memory) {
	m := &memory{subs: map[string]providers.Subscription{}}
	return connection(t, w, func(c *providers.ConnectionConfig) { c.Endpoints = m }), m
}

func TestRegisterWebhooks(t *testing.T) {
	w := answers(answer(200, `{"webhookRegistrationResult":[{"createdWebhookId":1000},{"errors":["The clause watchCount is unsupported"]},{"createdWebhookId":1001}]}`))
	conn, m := kept(t, w)
	third := hook("c", "project = C")
	third.FieldIDs, third.PropertyKeys = []string{"summary"}, []string{"p"}
	subs, err := jiraapp.RegisterWebhooks(t.Context(), conn, hook("a", "project = A"), hook("b", "watchCount > 1"), third)
	sent := w.one(t)
	require.Equal(t, "POST "+base+"3/webhook", sent.method+" "+sent.url)
	require.JSONEq(t, `{"url":"https://app.example.test/integrations/jira/webhook","webhooks":[
		{"events":["jira:issue_created","comment_created"],"jqlFilter":"project = A"},
		{"events":["jira:issue_created","comment_created"],"jqlFilter":"watchCount > 1"},
		{"events":["jira:issue_created","comment_created"],"jqlFilter":"project = C","fieldIdsFilter":["summary"],"issuePropertyKeysFilter":["p"]}]}`, sent.body)
	require.ErrorIs(t, err, providers.ErrInvalid)
	require.EqualError(t, err, `webhook "b": integrations/jiraapp: status 200 webhook_refused: integrations: invalid request`)
	var said *jira.Error
	require.ErrorAs(t, err, &said)
	require.Equal(t, []string{"The clause watchCount is unsupported"}, said.ErrorMessages)
	require.Len(t, subs, 2)
	require.Len(t, m.subs, 2)
	for name, id := range map[string]string{"a": "1000", "c": "1001"} {
		s := m.subs[name]
		require.Equal(t, id, s.RemoteID)
		require.WithinDuration(t, time.Now().Add(30*24*time.Hour), s.ExpiresAt, time.Minute)
		require.WithinDuration(t, time.Now().Add(25*24*time.Hour), s.RenewAt, time.Minute)
		require.True(t, json.Valid(s.Data))
	}
}

func TestRegisterWebhooksTwice(t *testing.T) {
	w := answers(answer(200, `{"webhookRegistrationResult":[{"createdWebhookId":1}]}`))
	conn, m := kept(t, w)
	first, err := jiraapp.RegisterWebhooks(t.Context(), conn, hook("a", "project = A"))
	require.NoError(t, err)

	// As some stores write JSON anew.
	s := m.subs["a"]
	var data map[string]any
	require.NoError(t, json.Unmarshal(s.Data, &data))
	s.Data, err = json.MarshalIndent(data, "", " ")
	require.NoError(t, err)
	m.subs["a"] = s
	again, err := jiraapp.RegisterWebhooks(t.Context(), conn, hook("a", "project = A"))
	require.NoError(t, err)
	require.Len(t, w.sent, 1, "what is registered is not registered again")
	require.Equal(t, first[0].RemoteID, again[0].RemoteID)

	// Another filter, and one that is over, are new ones; the old ones are deleted after.
	for _, change := range []func() jiraapp.Webhook{
		func() jiraapp.Webhook { return hook("a", "project = B") },
		func() jiraapp.Webhook {
			s := m.subs["a"]
			s.ExpiresAt = time.Now().Add(-time.Hour)
			m.subs["a"] = s
			return hook("a", "project = B")
		},
	} {
		h := change()
		old := m.subs["a"].RemoteID
		w.sent, w.answers = nil, answers(answer(200, `{"webhookRegistrationResult":[{"createdWebhookId":`+old+`2}]}`), answer(202, "")).answers
		_, err = jiraapp.RegisterWebhooks(t.Context(), conn, h)
		require.NoError(t, err)
		require.Len(t, w.sent, 2)
		require.Equal(t, "DELETE", w.sent[1].method)
		require.JSONEq(t, `{"webhookIds":[`+old+`]}`, w.sent[1].body)
		require.Equal(t, old+"2", m.subs["a"].RemoteID)
	}

	// One that Jira refuses leaves the old one as it is.
	w.sent, w.answers = nil, answers(answer(200, `{"webhookRegistrationResult":[{"errors":["no"]}]}`)).answers
	before := m.subs["a"]
	_, err = jiraapp.RegisterWebhooks(t.Context(), conn, hook("a", "project = C"))
	require.ErrorIs(t, err, providers.ErrInvalid)
	require.Len(t, w.sent, 1)
	require.Equal(t, before, m.subs["a"])
}

func TestRegisterWebhooksFails(t *testing.T) {
	for name, hooks := range map[string][]jiraapp.Webhook{
		"no name":   {hook("", "project = A")},
		"no events": {{Name: "a", JQL: "project = A"}},
		"an event":  {{Name: "a", JQL: "project = A", Events: []string{"jira:issue_created\n"}}},
		"no filter": {hook("a", " ")},
		"twice":     {hook("a", "project = A"), hook("a", "project = B")},
	} {
		w := answers(answer(500, ""))
		conn, _ := kept(t, w)
		_, err := jiraapp.RegisterWebhooks(t.Context(), conn, hooks...)
		require.ErrorIs(t, err, providers.ErrInvalid, name)
		require.Empty(t, w.sent)
	}
	for name, change := range map[string]func(*providers.ConnectionConfig){
		"no store": func(c *providers.ConnectionConfig) { c.Endpoints = nil },
		"no URL":   func(c *providers.ConnectionConfig) { c.WebhookURL = "" },
	} {
		w := answers(answer(500, ""))
		_, err := jiraapp.RegisterWebhooks(t.Context(), connection(t, w, change), hook("a", "project = A"))
		require.ErrorIs(t, err, errors.ErrUnsupported, name)
		require.Empty(t, w.sent)
	}
	for _, c := range []struct {
		body string
		want error
	}{{`{"webhookRegistrationResult":[]}`, providers.ErrTransient}, {`{"webhookRegistrationResult":[{}]}`, providers.ErrInvalid}, {`[]`, providers.ErrTransient}} {
		conn, m := kept(t, answers(answer(200, c.body)))
		_, err := jiraapp.RegisterWebhooks(t.Context(), conn, hook("a", "project = A"))
		require.ErrorIs(t, err, c.want, c.body)
		require.Empty(t, m.subs)
	}
	// What cannot be stored is deleted again.
	w := answers(answer(200, `{"webhookRegistrationResult":[{"createdWebhookId":9}]}`), answer(202, ""))
	conn, m := kept(t, w)
	m.fail = errors.New("the store is down")
	subs, err := jiraapp.RegisterWebhooks(t.Context(), conn, hook("a", "project = A"))
	require.ErrorIs(t, err, m.fail)
	require.Empty(t, subs)
	require.Equal(t, `{"webhookIds":[9]}`, w.sent[1].body)
}

// leases is Syncs of which only the leases work.
type leases struct {
	providers.Syncs
	taken, released bool
}

func (l *leases) TryLease(context.Context, string, string, time.Duration) (bool, error) {
	return !l.taken, nil
}
func (l *leases) Release(context.Context, string, string) error { l.released = true; return nil }

func TestRegisterWebhooksByOneAtATime(t *testing.T) {
	w := answers(answer(200, `{"webhookRegistrationResult":[{"createdWebhookId":9}]}`))
	l := &leases{taken: true}
	conn := connection(t, w, func(c *providers.ConnectionConfig) { c.Syncs = l })
	_, err := jiraapp.RegisterWebhooks(t.Context(), conn, hook("a", "project = A"))
	require.ErrorIs(t, err, providers.ErrConflict)
	require.Empty(t, w.sent)
	l.taken = false
	_, err = jiraapp.RegisterWebhooks(t.Context(), conn, hook("a", "project = A"))
	require.NoError(t, err)
	require.True(t, l.released)
}

func TestDeleteWebhooks(t *testing.T) {
	w := answers(answer(202, ""))
	conn, m := kept(t, w)
	for name, id := range map[string]string{"a": "1", "b": "2", "c": "3"} {
		m.subs[name] = providers.Subscription{Name: name, RemoteID: id}
	}
	require.NoError(t, jiraapp.DeleteWebhooks(t.Context(), conn, "b", "unknown"))
	require.Equal(t, recorded{"DELETE", base + "3/webhook", "application/json", "Bearer access-1", `{"webhookIds":[2]}`}, w.one(t))
	require.Len(t, m.subs, 2)
	require.NoError(t, jiraapp.DeleteWebhooks(t.Context(), conn, "unknown"))
	require.Len(t, w.sent, 1)
	w.answers = answers(answer(404, "{}")).answers // gone at Jira
	require.NoError(t, jiraapp.DeleteWebhooks(t.Context(), conn))
	require.Equal(t, `{"webhookIds":[1,3]}`, w.sent[1].body)
	require.Empty(t, m.subs)
	m.subs["d"] = providers.Subscription{Name: "d", RemoteID: "4"}
	w.answers = answers(answer(503, "")).answers
	require.ErrorIs(t, jiraapp.DeleteWebhooks(t.Context(), conn), providers.ErrProviderDown)
	require.Len(t, m.subs, 1, "what Jira still has is not forgotten")
	m.subs["d"] = providers.Subscription{Name: "d", RemoteID: "x"}
	require.ErrorIs(t, jiraapp.DeleteWebhooks(t.Context(), conn), providers.ErrInvalid)
}

func TestRenewSubscription(t *testing.T) {
	old := providers.Subscription{
		Name: "a", RemoteID: "7", ExpiresAt: time.Now().Add(time.Hour),
		Data: json.RawMessage(`{"events":["jira:issue_created"],"jqlFilter":"project = A","url":"https://old.example/webhook"}`),
	}
	renew := func(w *wire, s providers.Subscription) (providers.Subscription, error) {
		return app().RenewSubscription(t.Context(), connection(t, w), s)
	}
	w := answers(answer(200, `{"expirationDate":"2027-01-01T12:42:30.000+0000"}`))
	s, err := renew(w, old)
	require.NoError(t, err)
	require.Equal(t, recorded{"PUT", base + "3/webhook/refresh", "application/json", "Bearer access-1", `{"webhookIds":[7]}`}, w.one(t))
	require.Equal(t, time.Date(2027, 1, 1, 12, 42, 30, 0, time.UTC), s.ExpiresAt)
	require.Equal(t, s.ExpiresAt.Add(-5*24*time.Hour), s.RenewAt)
	require.Equal(t, "7", s.RemoteID)

	s, err = renew(answers(answer(200, `{"expirationDate":"soon"}`)), old)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(30*24*time.Hour), s.ExpiresAt, time.Minute)

	for _, status := range []int{400, 404} {
		w = answers(answer(status, `{"errorMessages":["No webhooks"]}`), answer(200, `{"webhookRegistrationResult":[{"createdWebhookId":8}]}`))
		s, err = renew(w, old)
		require.NoError(t, err)
		require.Equal(t, "8", s.RemoteID)
		require.Equal(t, "a", s.Name)
		require.JSONEq(t, `{"events":["jira:issue_created"],"jqlFilter":"project = A","url":"https://app.example.test/integrations/jira/webhook"}`, string(s.Data))
		require.JSONEq(t, `{"url":"https://app.example.test/integrations/jira/webhook","webhooks":[{"events":["jira:issue_created"],"jqlFilter":"project = A"}]}`, w.sent[1].body)
	}
	_, err = renew(answers(answer(404, `{}`), answer(200, `{"webhookRegistrationResult":[{"errors":["no"]}]}`)), old)
	require.ErrorIs(t, err, providers.ErrInvalid)
	require.NotErrorIs(t, err, providers.ErrNotFound, "the Manager would forget it")
	_, err = renew(answers(answer(503, ``)), old)
	require.ErrorIs(t, err, providers.ErrProviderDown)
	old.Data = json.RawMessage(`[]`)
	_, err = renew(answers(answer(404, `{}`)), old)
	require.ErrorIs(t, err, providers.ErrNotFound)
	old.RemoteID = "x"
	_, err = renew(answers(answer(200, `{}`)), old)
	require.ErrorIs(t, err, providers.ErrInvalid)
}

func TestAdminWebhook(t *testing.T) {
	conn, _ := kept(t, answers(answer(500, "")))
	e, err := jiraapp.AdminWebhook(t.Context(), conn)
	require.NoError(t, err)
	require.Equal(t, "endpoint-secret", e.Secret.Reveal())
	_, err = jiraapp.AdminWebhook(t.Context(), connection(t, answers(answer(500, "")), func(c *providers.ConnectionConfig) { c.Endpoints = nil }))
	require.ErrorIs(t, err, errors.ErrUnsupported)
}
