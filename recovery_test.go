package integrations_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/stretchr/testify/require"
)

// brittle is a store that is out of reach now and then.
type brittle struct {
	*memstore.Store
	down atomic.Bool
}

var errDown = errors.New("connection refused")

func (s *brittle) InsertDeliveries(ctx context.Context, ds []store.Delivery) ([]bool, error) {
	if s.down.Load() {
		return nil, errDown
	}
	return s.Store.InsertDeliveries(ctx, ds)
}

func (s *brittle) FindByExternal(ctx context.Context, provider, id string) ([]store.Integration, error) {
	if s.down.Load() {
		return nil, errDown
	}
	return s.Store.FindByExternal(ctx, provider, id)
}

func (s *brittle) TryLease(ctx context.Context, ref store.Ref, name, owner string, ttl time.Duration) (bool, error) {
	if s.down.Load() {
		return false, errDown
	}
	return s.Store.TryLease(ctx, ref, name, owner, ttl)
}

// TestW9OutageAtReceive: a minute without the store. What was answered 2xx is
// stored, everything else was answered 503, and afterwards GitHub is asked for
// exactly what it could not deliver, once each. In full size that is 200 a second.
func TestW9OutageAtReceive(t *testing.T) {
	rate := 10
	if os.Getenv("INTEGRATIONS_SOAK") != "" {
		rate = 200
	}
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		st := &brittle{Store: memstore.New()}
		cfg.Store = st
		m := kit.Use(cfg)
		kit.Connect("t1", githubapp.Key, "acme")
		kit.Connect("t2", githubapp.Key, "globex")
		install := [2]int64{kit.GitHub.Install("acme", "user-of-t1"), kit.GitHub.Install("globex", "user-of-t2")}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()

		stored, missed := map[string]bool{}, map[string]bool{}
		for second := range 180 {
			st.down.Store(second >= 60 && second < 120)
			for i := range rate {
				guid := fmt.Sprintf("%d-%d", second, i)
				switch code := kit.GitHub.Redeliver("push", guid, kit.GitHub.PushBody(install[i%2], "api", "refs/heads/"+guid)); code {
				case 200:
					stored[guid] = true
				case 503:
					missed[guid] = true
				default:
					t.Fatalf("answered %d", code)
				}
			}
			time.Sleep(time.Second)
		}
		require.Len(t, missed, 60*rate)
		require.ElementsMatch(t, keys(stored), inInbox(t, st))
		require.Empty(t, kit.GitHub.Redelivered())

		time.Sleep(time.Duration(60*rate/200+2) * 6 * time.Minute)
		synctest.Wait()
		require.ElementsMatch(t, keys(missed), kit.GitHub.Redelivered())
		for guid := range missed {
			stored[guid] = true
		}
		require.ElementsMatch(t, keys(stored), inInbox(t, st))
		cancel()
		require.NoError(t, <-done)
	})
}

func keys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

// inInbox are the delivery ids of the events that wait. None is handled here, so
// all do.
func inInbox(t *testing.T, st store.Inbox) []string {
	t.Helper()
	var ids []string
	c := store.ClaimDeliveries{Owner: "test", Limit: 1000, TTL: time.Minute, Match: []store.Match{{Provider: githubapp.Key, EventType: "push"}}}
	for {
		claimed, err := st.ClaimDeliveries(t.Context(), c)
		require.NoError(t, err)
		for _, r := range claimed.Deliveries {
			require.Contains(t, []string{"t1", "t2"}, r.TenantID)
			ids = append(ids, r.DeliveryID)
		}
		if len(claimed.Deliveries) == 0 {
			return ids
		}
	}
}
