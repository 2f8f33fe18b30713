package integrations_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// What is kept how long, as README and T45 of the threat model have it: written
// down once more, so that a change of the constants is noticed.
const (
	flowsKept     = 70 * time.Minute // ten to finish it, an hour to explain why it failed
	doneKept      = 7 * 24 * time.Hour
	unhandledKept = 30 * 24 * time.Hour
	// retried is how long an event that always fails is tried, at most.
	retried = 48 * time.Hour
	// deadKept is how many dead letters are kept of one event an hour.
	deadKept = 300
)

// growth is a host in whose fake time events and flows arrive hour by hour.
type growth struct {
	t    *testing.T
	kit  *integrationstest.Kit
	st   *memstore.Store
	each int // events of each kind in an hour

	mu      sync.Mutex
	handled map[string]int                      // by event id
	removed map[integrations.RetentionEvent]int // what was told, with Removed as the count
	hours   int
}

// TestQ2GrowthInMemory: over forty days no table holds more than what its bounds
// allow, and nothing is removed before its time.
func TestQ2GrowthInMemory(t *testing.T) {
	each := 1
	if os.Getenv("INTEGRATIONS_SOAK") == "1" {
		each = 4
	}
	synctest.Test(t, func(t *testing.T) {
		g := &growth{t: t, kit: newKit(t), st: memstore.New(), each: each, handled: map[string]int{}, removed: map[integrations.RetentionEvent]int{}}
		cfg := g.kit.Config()
		cfg.Store, cfg.Observer, cfg.Retention.DeadLetters = g.st, g, deadKept*each
		m := g.kit.Use(cfg)
		m.OnWebhook(webhook.On(slackapp.Key, "message", g.handle))
		m.OnWebhook(webhook.On(slackapp.Key, "app_mention", func(context.Context, webhook.Event) error { return errors.New("always") }))
		g.kit.Connect("t1", slackapp.Key, "T1")

		var first []byte
		for range 40 * 24 {
			body := g.hour()
			if first == nil {
				first = body
			}
			require.NoError(t, m.Drain(t.Context()))
			g.check()
			if time.Duration(g.hours)*time.Hour == doneKept {
				g.again(first, false)
			}
			time.Sleep(time.Hour)
		}
		g.again(first, true)
		require.Positive(t, g.removed[integrations.RetentionEvent{DeadLetters: true}])
	})
}

// Observe counts what was removed unhandled.
func (g *growth) Observe(_ context.Context, event any) {
	if e, ok := event.(integrations.RetentionEvent); ok {
		n := e.Removed
		e.Removed = 0
		g.removed[e] += n
	}
}

func (g *growth) handle(_ context.Context, ev webhook.Event) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.handled[ev.DeliveryID]++
	return nil
}

// hour is what arrives in an hour: events that are handled, that fail for ever and
// that nobody handles, and flows that are finished and that are not. It returns an
// event of the first kind.
func (g *growth) hour() (body []byte) {
	g.hours++
	for i := range g.each {
		for _, typ := range []string{"message", "app_mention", "reaction_added"} {
			b := g.kit.Slack.EventBody("T1", fmt.Sprintf(`{"type":%q,"user":"U1"}`, typ))
			require.Equal(g.t, 200, g.kit.Slack.Deliver(b))
			if typ == "message" {
				body = b
			}
		}
		for _, end := range []string{"used", "open"} {
			hash := fmt.Sprintf("%s-%d-%d", end, g.hours, i)
			require.NoError(g.t, g.st.PutFlow(g.t.Context(), store.Flow{StateHash: hash, TenantID: "t1", TTL: 10 * time.Minute}))
			if end == "used" {
				_, err := g.st.ConsumeFlow(g.t.Context(), hash)
				require.NoError(g.t, err)
			}
		}
	}
	return body
}

// check compares what is there with the bounds. Rows that are too many are a leak,
// rows that are too few were removed before their time.
func (g *growth) check() {
	g.t.Helper()
	ctx := g.t.Context()
	hours := func(d time.Duration) int64 { return int64(min(g.hours, int(d/time.Hour)+1)) * int64(g.each) }
	flows, err := g.st.CountFlows(ctx, "t1", 365*24*time.Hour)
	require.NoError(g.t, err)
	connect := 0
	if g.hours <= 2 {
		connect = 1 // that of the Connect
	}
	require.Equal(g.t, 2*int(hours(flowsKept))+connect, flows, "flows after %d hours", g.hours)

	count := func(typ string) store.DeliveryCounts {
		c, err := g.st.CountDeliveries(ctx, []store.Match{{Provider: slackapp.Key, EventType: typ}})
		require.NoError(g.t, err)
		return c
	}
	handled, failed, nobodys := count("message"), count("app_mention"), count("reaction_added")
	require.Equal(g.t, store.DeliveryCounts{Done: hours(doneKept)}, handled, "handled events after %d hours", g.hours)
	nobodys.OldestDue = 0
	require.Equal(g.t, store.DeliveryCounts{Pending: hours(unhandledKept)}, nobodys, "events nobody handles after %d hours", g.hours)
	// All that failed is there, as a dead letter or on its way to be one, but for what
	// was told.
	limit, gone := int64(deadKept*g.each), int64(g.removed[integrations.RetentionEvent{DeadLetters: true}])
	require.LessOrEqual(g.t, failed.Dead, limit, "dead letters after %d hours", g.hours)
	require.LessOrEqual(g.t, failed.Pending, hours(retried), "events on their way to be dead letters after %d hours", g.hours)
	require.Equal(g.t, int64(g.hours*g.each)-gone, failed.Dead+failed.Pending, "failed events after %d hours", g.hours)
	if gone > 0 {
		require.Equal(g.t, limit, failed.Dead, "dead letters after %d hours", g.hours)
	}
	// So is what nobody handles, the change of the Connect among it.
	change := int64(g.hours*g.each) + 1 - nobodys.Pending - int64(g.removed[integrations.RetentionEvent{}])
	require.True(g.t, change == 0 || change == 1, "%d events that nobody handles are missing", change-1)

	changes, err := g.st.CountDeliveries(ctx, []store.Match{{Provider: store.ChangeProvider}})
	require.NoError(g.t, err)
	require.LessOrEqual(g.t, changes.Pending, int64(1), "the change of the Connect, which nobody handles")
}

// again lets the provider send an event again: what the inbox remembers is not
// handled twice.
func (g *growth) again(body []byte, fresh bool) {
	g.t.Helper()
	var ev struct {
		ID string `json:"event_id"`
	}
	require.NoError(g.t, json.Unmarshal(body, &ev))
	before := g.handled[ev.ID]
	require.Equal(g.t, 200, g.kit.Slack.Deliver(body))
	require.NoError(g.t, g.kit.Manager().Drain(g.t.Context()))
	want := before
	if fresh {
		want++
	}
	require.Equal(g.t, want, g.handled[ev.ID], "%s after %d hours", ev.ID, g.hours)
}

// TestRunRemovesOldRows: the janitor is part of Run, and removes all that is over,
// not a batch of it.
func TestRunRemovesOldRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		kit := newKit(t)
		cfg := kit.Config()
		cfg.Store = st
		m := kit.Use(cfg)
		for i := range 2500 {
			require.NoError(t, st.PutFlow(t.Context(), store.Flow{StateHash: fmt.Sprint(i), TenantID: "t1", TTL: 10 * time.Minute}))
		}
		ctx, cancel := context.WithTimeout(t.Context(), flowsKept+10*time.Minute+time.Second)
		defer cancel()
		require.NoError(t, m.Run(ctx))
		n, err := st.CountFlows(t.Context(), "t1", 24*time.Hour)
		require.NoError(t, err)
		require.Zero(t, n)
	})
}
