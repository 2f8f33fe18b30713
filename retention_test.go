package integrations_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// removals is an observer of RetentionEvents.
type removals []integrations.RetentionEvent

func (r *removals) Observe(_ context.Context, event any) {
	if e, ok := event.(integrations.RetentionEvent); ok {
		*r = append(*r, e)
	}
}

// dead puts n dead letters with ids prefix-0 to prefix-(n-1) into a store, in that
// order.
func dead(t *testing.T, st *memstore.Store, prefix string, n int) {
	for i := range n {
		id := fmt.Sprint(prefix, "-", i)
		_, err := st.InsertDeliveries(t.Context(), []store.Delivery{{ID: id, DeliveryID: id, Provider: "p", TenantID: "t1", EventType: "x"}})
		require.NoError(t, err)
		_, err = st.ClaimDeliveries(t.Context(), store.ClaimDeliveries{Owner: "o", Limit: 1, TTL: time.Minute, Match: []store.Match{{Provider: "p"}}})
		require.NoError(t, err)
		_, err = st.RecordDeliveries(t.Context(), store.RecordDeliveries{Ends: []store.FinishDelivery{{ID: id, Owner: "o", State: store.Dead, Error: "x"}}})
		require.NoError(t, err)
		time.Sleep(time.Second)
	}
}

// TestDeadLettersAreKeptByNumber: whatever their age, up to the limit; the oldest go
// first and that is told.
func TestDeadLettersAreKeptByNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, st, seen := integrationstest.New(t), memstore.New(), &removals{}
		var log bytes.Buffer
		cfg := kit.Config()
		cfg.Store, cfg.Observer, cfg.Retention.DeadLetters = st, seen, 10
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		m := kit.Use(cfg)
		problems := func(n int64) string {
			require.NoError(t, m.Drain(t.Context()))
			h, err := m.Health(t.Context())
			require.NoError(t, err)
			require.Equal(t, n, h.Dead)
			require.Equal(t, int64(10), h.DeadLimit)
			return fmt.Sprint(h.Problems)
		}
		require.NotContains(t, problems(0), "failed too often")
		dead(t, st, "old", 7)
		time.Sleep(1000 * day)
		said := problems(7)
		require.Contains(t, said, "7 webhooks or changes failed too often and wait for a replay; 10 are kept at most.")
		require.NotContains(t, said, "oldest")
		dead(t, st, "mid", 1)
		require.Contains(t, problems(8), "That is 80 % of it: the oldest will be removed.")
		require.Empty(t, *seen)
		require.Empty(t, log.String())

		dead(t, st, "new", 5)
		h, err := m.Health(t.Context())
		require.NoError(t, err)
		require.Contains(t, fmt.Sprint(h.Problems), "The oldest are being removed.")
		problems(10)
		require.Equal(t, removals{{DeadLetters: true, Removed: 3}}, *seen)
		require.Contains(t, log.String(), "level=ERROR")
		require.Contains(t, log.String(), "removed=3 limit=10")
		left, err := st.ListDeliveries(t.Context(), store.DeliveryQuery{TenantID: "t1", States: []store.DeliveryState{store.Dead}})
		require.NoError(t, err)
		for _, d := range left {
			require.NotContains(t, []string{"old-0", "old-1", "old-2"}, d.ID)
		}
		problems(10)
		require.Len(t, *seen, 1)
	})
}

// TestManyDeadLettersAreRemovedInBatches: more than one statement takes.
func TestManyDeadLettersAreRemovedInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, st, seen := integrationstest.New(t), memstore.New(), &removals{}
		cfg := kit.Config()
		cfg.Store, cfg.Observer, cfg.Retention.DeadLetters = st, seen, 100
		m := kit.Use(cfg)
		dead(t, st, "d", 2600)
		require.NoError(t, m.Drain(t.Context()))
		require.Equal(t, removals{{DeadLetters: true, Removed: 2500}}, *seen)
	})
}

// TestUnhandledEventsAreRemovedAndTold: those that nobody has a handler for, after
// the time that was configured.
func TestUnhandledEventsAreRemovedAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, seen := integrationstest.New(t), &removals{}
		cfg := kit.Config()
		cfg.Observer, cfg.Retention.Unhandled = seen, 3*day
		m := kit.Use(cfg)
		kit.Connect("t1", slackapp.Key, "T1")
		require.Equal(t, 200, kit.Slack.Event("T1", `{"type":"message"}`))
		time.Sleep(3*day - time.Minute)
		require.NoError(t, m.Drain(t.Context()))
		require.Empty(t, *seen)
		time.Sleep(2 * time.Minute)
		require.NoError(t, m.Drain(t.Context()))
		require.Equal(t, removals{{Removed: 2}}, *seen, "the event and the change of the Connect")
	})
}

// TestDoneEventsAreKeptAsConfigured: so long an event that comes again is known.
func TestDoneEventsAreKeptAsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		cfg.Retention.Done = 20 * day
		m := kit.Use(cfg)
		n := 0
		m.OnWebhook(webhook.On(slackapp.Key, "message", func(context.Context, webhook.Event) error { n++; return nil }))
		kit.Connect("t1", slackapp.Key, "T1")
		body := kit.Slack.EventBody("T1", `{"type":"message"}`)
		for i, want := range []int{1, 1, 2} {
			require.Equal(t, 200, kit.Slack.Deliver(body))
			require.NoError(t, m.Drain(t.Context()))
			require.Equal(t, want, n, i)
			time.Sleep([]time.Duration{20*day - time.Minute, 2 * time.Minute, 0}[i])
			require.NoError(t, m.Drain(t.Context()))
		}
	})
}

func TestRetentionIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		r    integrations.Retention
		want string
	}{
		"defaults":              {},
		"the least":             {r: integrations.Retention{Done: 7 * day, Unhandled: day, DeadLetters: 1}},
		"done too short":        {integrations.Retention{Done: 7*day - 1}, "Retention.Done"},
		"unhandled too short":   {integrations.Retention{Unhandled: day - 1}, "Retention.Unhandled"},
		"negative":              {integrations.Retention{Done: -1, Unhandled: -1, DeadLetters: -1}, "Retention.DeadLetters"},
		"all faults are listed": {integrations.Retention{Done: 1, Unhandled: 1, DeadLetters: -1}, "Retention.Done"},
	} {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		cfg.Retention = c.r
		m, err := integrations.New(t.Context(), cfg)
		if c.want == "" {
			require.NoError(t, err, name)
			if c.r == (integrations.Retention{}) {
				h, err := m.Health(t.Context())
				require.NoError(t, err)
				require.Equal(t, int64(100_000), h.DeadLimit)
			}
			continue
		}
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), "AllowedReturnOrigins", name)
	}
}

// TestHealthNamesWhatIsHeldBack: for a wrong secret and for an outage, until it is
// over.
func TestHealthNamesWhatIsHeldBack(t *testing.T) {
	for name, c := range map[string]struct {
		fault error
		said  string
	}{
		"wrong secret": {
			&token.Error{Outcome: token.AppFault, Code: "invalid_client", Status: 401},
			"it refuses the app itself, so look at its client id and secret (invalid_client).",
		},
		"outage": {&token.Error{Outcome: token.Transient, Code: "server_error", Status: 503}, "the provider fails (server_error)."},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kit, p := fakeKit(t, func(_ *integrations.Config, o *providers.OAuth2Config) { o.Shared = true })
				m := kit.Manager()
				for i := range 5 {
					kit.Connect(fmt.Sprint("t", i), acmeKey)
				}
				time.Sleep(48 * time.Hour)
				h, err := m.Health(t.Context())
				require.NoError(t, err)
				require.Empty(t, h.HeldBack)
				p.fault = c.fault
				began := time.Now()
				for i := range 5 {
					conn, err := m.Connection(t.Context(), fmt.Sprint("t", i), acmeKey)
					require.NoError(t, err)
					require.Error(t, conn.Check(t.Context()))
				}
				time.Sleep(time.Hour)
				h, err = m.Health(t.Context())
				require.NoError(t, err)
				require.Len(t, h.HeldBack, 1)
				require.Equal(t, acmeKey, h.HeldBack[0].Provider)
				require.WithinDuration(t, began, h.HeldBack[0].Since, time.Second)
				require.Contains(t, h.Problems, fmt.Sprintf("Renewals at acme_crm are held back since %s: %s", began.UTC().Format(time.RFC3339), c.said))

				p.fault = nil
				require.NoError(t, m.Drain(t.Context()))
				time.Sleep(5 * time.Minute)
				require.NoError(t, m.Drain(t.Context()))
				h, err = m.Health(t.Context())
				require.NoError(t, err)
				require.Empty(t, h.HeldBack)
			})
		})
	}
}

// TestHeldBackIntegrationsSaySo: calls of those that nobody tried fail too, and the
// tenants are told when that has lasted.
func TestHeldBackIntegrationsSaySo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 30
		kit, p := fakeKit(t, func(cfg *integrations.Config, o *providers.OAuth2Config) { o.Shared, cfg.GiveUpAfter = true, time.Hour })
		changes := listen(kit)
		for i := range n {
			kit.Connect(fmt.Sprint("t", i), acmeKey)
		}
		changes.since(t)
		time.Sleep(48 * time.Hour)
		p.fault = &token.Error{Outcome: token.AppFault, Code: "invalid_client", Status: 401}
		began := time.Now()
		run := func() (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- changes.m.Run(ctx) }()
			return func() { cancel(); require.NoError(t, <-done) }
		}
		stop := run()
		time.Sleep(5 * time.Minute)
		for i := range n {
			list, err := changes.m.Integrations(t.Context(), fmt.Sprint("t", i))
			require.NoError(t, err)
			require.WithinDuration(t, began, list[0].FailingSince, 5*time.Minute)
			require.Equal(t, "invalid_client", list[0].FailingCode)
			require.Equal(t, integrations.ActionWait, list[0].Explain().Action)
			require.Equal(t, integrations.StatusActive, list[0].Status)
		}
		time.Sleep(54 * time.Minute)
		require.Empty(t, changes.heard())
		time.Sleep(10 * time.Minute)
		given := map[string]int{}
		for _, c := range changes.heard() {
			require.Equal(t, integrations.ChangeRefreshFailing, c.Kind)
			require.Equal(t, "given_up", c.Reason)
			require.WithinDuration(t, began, c.Since, 5*time.Minute)
			given[c.TenantID]++
		}
		require.Len(t, given, n)
		stop()
		p.fault = nil
		stop = run()
		time.Sleep(10 * time.Minute)
		for _, c := range changes.heard() {
			require.Equal(t, integrations.ChangeRecovered, c.Kind)
			given[c.TenantID]--
		}
		for tenant, left := range given {
			require.Zero(t, left, tenant)
		}
		stop()
	})
}

// heard are the changes since the last call, where Run delivers them.
func (l *told) heard() []integrations.Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.got
	l.got = nil
	return got
}
