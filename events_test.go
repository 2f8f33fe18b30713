package integrations_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// failing is a kit whose handler of messages fails until it is mended, with events of
// two tenants that are dead.
func failing(t *testing.T, events int) (kit *integrationstest.Kit, mend func(), ran func() map[string]int) {
	t.Helper()
	kit = newKit(t)
	cfg := kit.Config()
	cfg.Handling = webhook.Handling{MaxStarts: 2, Schedule: []time.Duration{time.Second}}
	m := kit.Use(cfg)
	var mu sync.Mutex
	broken, ids := true, map[string]int{}
	m.OnWebhook(webhook.On(slackapp.Key, "message", func(_ context.Context, ev webhook.Event) error {
		mu.Lock()
		defer mu.Unlock()
		ids[ev.ID]++
		if broken {
			return errors.New("no luck")
		}
		return nil
	}))
	m.OnWebhook(webhook.On(slackapp.Key, "app_mention", func(context.Context, webhook.Event) error { return nil }))
	for i, tenant := range []string{"t1", "t2"} {
		kit.Connect(tenant, slackapp.Key, fmt.Sprint("T", i+1))
		for range events {
			require.Equal(t, 200, kit.Slack.Event(fmt.Sprint("T", i+1), `{"type":"message","user":"U1"}`))
			time.Sleep(10 * time.Millisecond)
		}
		require.Equal(t, 200, kit.Slack.Event(fmt.Sprint("T", i+1), `{"type":"app_mention","user":"U1"}`))
	}
	for range 2 {
		require.NoError(t, m.Drain(t.Context()))
		time.Sleep(2 * time.Second)
	}
	mend = func() {
		mu.Lock()
		defer mu.Unlock()
		broken, ids = false, map[string]int{}
	}
	return kit, mend, func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return ids
	}
}

func TestEventsAreListedByWhatTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, _, _ := failing(t, 5)
		m := kit.Manager()
		list := func(q integrations.EventQuery) []integrations.StoredEvent {
			t.Helper()
			out, err := m.Events(t.Context(), q)
			require.NoError(t, err)
			return out
		}
		dead := list(integrations.EventQuery{TenantID: "t1", States: []integrations.EventState{integrations.EventDead}})
		require.Len(t, dead, 5)
		e := dead[0]
		require.Equal(t, "message", e.Type)
		require.Equal(t, "t1", e.TenantID)
		require.Equal(t, "T1", e.ExternalID)
		require.Equal(t, integrations.EventDead, e.State)
		require.Equal(t, 2, e.Starts)
		require.Equal(t, "no luck", e.LastError)
		require.True(t, dead[0].ReceivedAt.After(dead[4].ReceivedAt), "the newest first")
		require.Len(t, list(integrations.EventQuery{TenantID: "t1", Type: "app_mention", States: []integrations.EventState{integrations.EventDone}}), 1)
		require.Len(t, list(integrations.EventQuery{AllTenants: true, Provider: slackapp.Key}), 12)
		require.Len(t, list(integrations.EventQuery{TenantID: "t1", IDs: []string{dead[1].ID, dead[3].ID}}), 2)
		require.Len(t, list(integrations.EventQuery{TenantID: "t2", IDs: []string{dead[1].ID}}), 0)
		require.Len(t, list(integrations.EventQuery{TenantID: "t1", ReceivedAfter: dead[3].ReceivedAt, ReceivedBefore: dead[0].ReceivedAt, Type: "message"}), 2)

		var pages []string
		q := integrations.EventQuery{TenantID: "t1", Type: "message", Limit: 2}
		for page := list(q); len(page) > 0; page = list(q) {
			for _, e := range page {
				pages = append(pages, e.ID)
			}
			q.OlderThan = &page[len(page)-1]
		}
		require.Equal(t, []string{dead[0].ID, dead[1].ID, dead[2].ID, dead[3].ID, dead[4].ID}, pages)

		raw, err := json.Marshal(e)
		require.NoError(t, err)
		require.Contains(t, string(raw), `"state":"dead"`)
		require.NotContains(t, string(raw), "U1", "no body")
	})
}

func TestReplayOfOneOfAFilterAndOfATenantsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, mend, ran := failing(t, 6)
		m := kit.Manager()
		dead, err := m.Events(t.Context(), integrations.EventQuery{TenantID: "t1", States: []integrations.EventState{integrations.EventDead}})
		require.NoError(t, err)
		require.Len(t, dead, 6)
		replay := func(q integrations.EventQuery) int {
			t.Helper()
			n, err := m.Replay(t.Context(), q)
			require.NoError(t, err)
			require.NoError(t, m.Drain(t.Context()))
			return n
		}
		mend()
		require.Equal(t, 0, replay(integrations.EventQuery{TenantID: "t2", IDs: []string{dead[0].ID}}), "another tenant's")
		require.Equal(t, 1, replay(integrations.EventQuery{TenantID: "t1", IDs: []string{dead[0].ID}}))
		require.Equal(t, map[string]int{dead[0].ID: 1}, ran(), "the same id")
		require.Equal(t, 0, replay(integrations.EventQuery{TenantID: "t1", IDs: []string{dead[0].ID}}), "it is done and was not asked for")
		require.Equal(t, 1, replay(integrations.EventQuery{TenantID: "t1", ReceivedAfter: dead[5].ReceivedAt, ReceivedBefore: dead[3].ReceivedAt}))
		require.Equal(t, 1, ran()[dead[4].ID])
		require.Equal(t, 2, replay(integrations.EventQuery{TenantID: "t1", Limit: 2}))
		require.Equal(t, 2, replay(integrations.EventQuery{TenantID: "t1"}), "the rest")
		require.Len(t, ran(), 6)
		require.Equal(t, 6, replay(integrations.EventQuery{AllTenants: true}), "the other tenant's")
		require.Equal(t, 12, len(ran()))
		require.Equal(t, 6, replay(integrations.EventQuery{TenantID: "t1", Type: "message", States: []integrations.EventState{integrations.EventDone}}), "once more")
	})
}

// TestReplayReachesAllOnce: more than one page of events, while a worker handles
// what was replayed.
func TestReplayReachesAllOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, mend, ran := failing(t, 1200)
		mend()
		m := kit.Manager()
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { require.NoError(t, m.Run(ctx)) })
		n, err := m.Replay(t.Context(), integrations.EventQuery{TenantID: "t1", States: []integrations.EventState{integrations.EventDead, integrations.EventDone}, Type: "message"})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		stop()
		wg.Wait()
		require.Equal(t, 1200, n)
		require.Len(t, ran(), 1200)
		for id, times := range ran() {
			require.Equal(t, 1, times, id)
		}
	})
}

func TestQueriesOfEventsThatAreRefused(t *testing.T) {
	kit := newKit(t)
	m := kit.Manager()
	for _, q := range []integrations.EventQuery{{}, {TenantID: "t1", AllTenants: true}, {TenantID: "t1", States: []integrations.EventState{"lost"}}, {TenantID: "t1", IDs: make([]string, 1001)}} {
		_, err := m.Events(t.Context(), q)
		require.Error(t, err)
		_, err = m.Replay(t.Context(), q)
		require.Error(t, err)
	}
	cfg := kit.Config()
	cfg.Store = bare{cfg.Store}
	cfg.Providers = []providers.Provider{providers.NewOAuth2(kit.OAuth.Config("acme"))}
	m = kit.Use(cfg)
	_, err := m.Events(t.Context(), integrations.EventQuery{TenantID: "t1"})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = m.Replay(t.Context(), integrations.EventQuery{TenantID: "t1"})
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func TestOrderKeysOfTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := newKit(t)
		cfg := kit.Config()
		cfg.OrderKey = func(provider string, n webhook.Notice) string {
			var body struct {
				Event struct {
					Channel string `json:"channel"`
				} `json:"event"`
			}
			require.NoError(t, json.Unmarshal(n.Body, &body))
			return provider + " " + n.Type + " " + body.Event.Channel
		}
		m := kit.Use(cfg)
		var mu sync.Mutex
		running, most, keys := 0, 0, map[string]bool{}
		m.OnWebhook(webhook.On(slackapp.Key, "message", func(_ context.Context, ev webhook.Event) error {
			mu.Lock()
			running++
			most = max(most, running)
			keys[ev.OrderKey] = true
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			return nil
		}))
		kit.Connect("t1", slackapp.Key, "T1")
		for range 5 {
			require.Equal(t, 200, kit.Slack.Event("T1", `{"type":"message","channel":"C1"}`))
		}
		require.NoError(t, m.Drain(t.Context()))
		require.Equal(t, 1, most)
		require.Equal(t, map[string]bool{"slack message C1": true}, keys)
	})
}

// queue is a queue of the host's own. It fails as often as it is told to.
type queue struct {
	mu    sync.Mutex
	fails int
	jobs  []webhook.Event
}

func (q *queue) Enqueue(_ context.Context, ev webhook.Event) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.fails > 0 {
		q.fails--
		return errors.New("the queue is down")
	}
	q.jobs = append(q.jobs, ev)
	return nil
}

func TestAnEnqueuerTakesWhatHasNoHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := newKit(t)
		cfg := kit.Config()
		q := &queue{fails: 1}
		cfg.Enqueuer = q
		m := kit.Use(cfg)
		var handled []string
		m.OnWebhook(webhook.On(slackapp.Key, "app_mention", func(_ context.Context, ev webhook.Event) error {
			handled = append(handled, ev.Type)
			return nil
		}))
		require.Panics(t, func() {
			m.OnWebhook(webhook.On(slackapp.Key, webhook.AnyType, func(context.Context, webhook.Event) error { return nil }))
		})
		kit.Connect("t1", slackapp.Key, "T1")
		for _, typ := range []string{"message", "app_mention"} {
			require.Equal(t, 200, kit.Slack.Event("T1", fmt.Sprintf(`{"type":%q,"user":"U1"}`, typ)))
		}
		h, err := m.Health(t.Context())
		require.NoError(t, err)
		require.Positive(t, h.Pending)
		require.NoError(t, m.Drain(t.Context()))
		require.Equal(t, []string{"app_mention"}, handled)
		require.Empty(t, q.jobs, "the queue was down, and nothing is done before it has the event")
		time.Sleep(10 * time.Second)
		require.NoError(t, m.Drain(t.Context()))
		require.Len(t, q.jobs, 1)
		require.Equal(t, "message", q.jobs[0].Type)
		require.Equal(t, "t1", q.jobs[0].TenantID)
		require.Contains(t, string(q.jobs[0].Body), "U1")
		done, err := m.Events(t.Context(), integrations.EventQuery{TenantID: "t1", Provider: slackapp.Key, States: []integrations.EventState{integrations.EventDone}})
		require.NoError(t, err)
		require.Len(t, done, 2)
	})
}

func TestFaultsOfHandlingAreReported(t *testing.T) {
	kit := newKit(t)
	for _, h := range []webhook.Handling{{Concurrency: -1}, {TenantConcurrency: -1}, {Lease: -1}, {Schedule: []time.Duration{0}}} {
		cfg := kit.Config()
		cfg.Handling = h
		_, err := integrations.New(t.Context(), cfg)
		require.ErrorContains(t, err, "Handling", "%+v", h)
	}
}
