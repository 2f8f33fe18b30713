package githubapp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// recovering is a kit whose handler of pushes notes the ids of deliveries.
func recovering(t *testing.T) (kit *integrationstest.Kit, id int64, got func() []string) {
	kit = integrationstest.New(t)
	cfg := kit.Config()
	cfg.Store = memstore.New()
	kit.Use(cfg)
	kit.Connect("t1", githubapp.Key, "acme")
	id = kit.GitHub.Install("acme", "user-of-t1")
	var mu sync.Mutex
	var ids []string
	kit.Manager().OnWebhook(webhook.On(githubapp.Key, "push", func(_ context.Context, ev webhook.Event) error {
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, ev.DeliveryID)
		return nil
	}))
	return kit, id, func() []string {
		mu.Lock()
		defer mu.Unlock()
		out := ids
		ids = nil
		return out
	}
}

// push delivers n pushes under ids of their own.
func push(kit *integrationstest.Kit, id int64, prefix string, n int) (ids []string) {
	for i := range n {
		guid := fmt.Sprintf("%s-%03d", prefix, i)
		kit.GitHub.Redeliver("push", guid, kit.GitHub.PushBody(id, "api", "refs/heads/"+guid))
		ids = append(ids, guid)
	}
	return ids
}

func drain(t *testing.T, m *integrations.Manager) {
	t.Helper()
	require.NoError(t, m.Drain(t.Context()))
}

func TestMissedWebhooksAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, id, got := recovering(t)
		m := kit.Manager()
		before := push(kit, id, "before", 3)
		time.Sleep(time.Hour)
		kit.GitHub.Offline(true)
		missed := push(kit, id, "missed", 250)
		time.Sleep(time.Minute)
		kit.GitHub.Offline(false)
		after := push(kit, id, "after", 120)
		drain(t, m)
		require.ElementsMatch(t, append(before, after...), got())
		require.Empty(t, kit.GitHub.Redelivered(), "an attempt of a minute ago may be under way")

		time.Sleep(6 * time.Minute)
		drain(t, m)
		asked := kit.GitHub.Redelivered()
		require.InDelta(t, 225, len(asked), 5, "for a minute and a half")
		require.Equal(t, missed[:len(asked)], asked, "the oldest first")
		time.Sleep(time.Minute)
		drain(t, m)
		require.Len(t, kit.GitHub.Redelivered(), len(asked), "the lease keeps others from it")
		for range 5 {
			time.Sleep(6 * time.Minute)
			drain(t, m)
		}
		require.Equal(t, missed, kit.GitHub.Redelivered())
		require.ElementsMatch(t, missed, got())
	})
}

// TestMissedWebhooksThatFailAgain: what is asked for and fails again is asked for
// again, three times in all; what somebody else had sent again is not.
func TestMissedWebhooksThatFailAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, id, got := recovering(t)
		m := kit.Manager()
		kit.GitHub.Offline(true)
		push(kit, id, "lost", 1)
		kit.GitHub.Redeliver("push", "by-hand", kit.GitHub.PushBody(id, "api", "refs/heads/x"))
		body := kit.GitHub.PushBody(id, "api", "refs/heads/y")
		kit.GitHub.Redeliver("push", "by-hand-2", body)
		kit.GitHub.Offline(false)
		kit.GitHub.Redeliver("push", "by-hand-2", body)
		kit.GitHub.Offline(true)
		for range 10 {
			time.Sleep(6 * time.Minute)
			drain(t, m)
		}
		require.Equal(t, []string{"lost-000", "by-hand", "lost-000", "by-hand", "lost-000", "by-hand"}, kit.GitHub.Redelivered())
		require.Equal(t, []string{"by-hand-2"}, got())
	})
}

// TestMissedWebhooksOfThreeDays: no further back, and with nothing twice after a
// process was away.
func TestMissedWebhooksOfThreeDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, id, got := recovering(t)
		kit.GitHub.Offline(true)
		push(kit, id, "old", 2)
		time.Sleep(3 * 24 * time.Hour)
		recent := push(kit, id, "recent", 2)
		kit.GitHub.Offline(false)
		time.Sleep(3 * time.Minute)
		drain(t, kit.Manager())
		require.Equal(t, recent, kit.GitHub.Redelivered())
		time.Sleep(2*24*time.Hour + 20*time.Hour)
		drain(t, kit.Manager())
		require.Equal(t, recent, kit.GitHub.Redelivered())
		require.ElementsMatch(t, recent, got())
	})
}

// slowly lets each request for the log take a while.
type slowly struct {
	http.RoundTripper
	read time.Duration
	fail map[string]func() *http.Response
}

func (s *slowly) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/app/hook/deliveries") {
		time.Sleep(s.read)
		if fn := s.fail[r.URL.Query().Get("cursor")]; fn != nil {
			if resp := fn(); resp != nil {
				return resp, nil
			}
		}
	}
	return s.RoundTripper.RoundTrip(r)
}

// TestALogThatIsLongerThanOneVisit: what there was no time to read is read in later
// visits, beside what is new then.
func TestALogThatIsLongerThanOneVisit(t *testing.T) {
	for _, stale := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			kit := integrationstest.New(t)
			cfg := kit.Config()
			slow := &slowly{RoundTripper: kit.Network, read: 8 * time.Second, fail: map[string]func() *http.Response{}}
			cfg.Transport = slow
			m := kit.Use(cfg)
			kit.Connect("t1", githubapp.Key, "acme")
			id := kit.GitHub.Install("acme", "user-of-t1")
			var missed []string
			for i := range 15 { // 1,500 of them, which is 15 pages, and one in each is lost
				push(kit, id, fmt.Sprint("fine", i), 99)
				kit.GitHub.Offline(true)
				missed = append(missed, push(kit, id, fmt.Sprint("lost", i), 1)...)
				kit.GitHub.Offline(false)
				time.Sleep(time.Minute)
			}
			if stale { // cursors do not last
				for cursor := range 1501 {
					n := 0
					slow.fail[fmt.Sprint(cursor)] = func() *http.Response {
						if n++; n == 2 {
							return &http.Response{StatusCode: 422, Header: http.Header{}, Body: http.NoBody}
						}
						return nil
					}
				}
			}
			for range 12 {
				time.Sleep(6 * time.Minute)
				drain(t, m)
			}
			asked := kit.GitHub.Redelivered()
			require.ElementsMatch(t, missed, asked)
		})
	}
}

func TestRedeliveryGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, id, got := recovering(t)
		m := kit.Manager()
		kit.GitHub.Offline(true)
		missed := push(kit, id, "missed", 5)
		kit.GitHub.Offline(false)
		time.Sleep(3 * time.Minute)
		path := "/app/hook/deliveries"
		// The log cannot be read, then the third request is limited, then lost after
		// GitHub did it.
		kit.Network.Fail("api.github.com", path, integrationstest.Status(500))
		drain(t, m)
		require.Empty(t, kit.GitHub.Redelivered())
		time.Sleep(6 * time.Minute)
		kit.Network.Fail("api.github.com", path, integrationstest.Latency(0), integrationstest.Latency(0), integrationstest.Latency(0), integrationstest.RateLimited(time.Minute))
		drain(t, m)
		require.Equal(t, missed[:2], kit.GitHub.Redelivered())
		time.Sleep(6 * time.Minute)
		kit.Network.Fail("api.github.com", path, integrationstest.Latency(0), integrationstest.DropAfterWork())
		drain(t, m)
		require.Equal(t, missed[:3], kit.GitHub.Redelivered())
		time.Sleep(6 * time.Minute)
		// One that GitHub does not know any more stops none.
		kit.Network.Fail("api.github.com", path, integrationstest.Latency(0), integrationstest.Answer(404, `{"message":"Not Found"}`))
		drain(t, m)
		time.Sleep(6 * time.Minute)
		drain(t, m)
		require.Equal(t, append(missed[:3:3], missed[4]), kit.GitHub.Redelivered())
		require.ElementsMatch(t, append(missed[:3:3], missed[4]), got())
	})
}

func TestRedeliverUnsupported(t *testing.T) {
	kit := integrationstest.New(t)
	for name, change := range map[string]func(*githubapp.Config){
		"off": func(c *githubapp.Config) { c.NoRecovery = true }, "users": func(c *githubapp.Config) { c.Mode = githubapp.ModeUser },
		"no secrets": func(c *githubapp.Config) { c.WebhookSecrets = nil },
	} {
		cfg := kit.GitHub.App()
		change(&cfg)
		_, err := githubapp.New(cfg).RedeliverMissed(t.Context(), providers.Redelivery{})
		require.ErrorIs(t, err, errors.ErrUnsupported, name)
	}
}
