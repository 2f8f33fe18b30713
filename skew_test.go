package integrations_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/stretchr/testify/require"
)

// skewed is a store seen from a machine whose clock differs from the store's: all
// times that come out are ahead by so much, and those that go in.
type skewed struct {
	*memstore.Store
	by time.Duration
}

// shift moves every time of a row that is set.
func (s skewed) shift(in store.Integration) store.Integration {
	v := reflect.ValueOf(&in).Elem()
	for i := range v.NumField() {
		if t, ok := v.Field(i).Interface().(time.Time); ok && !t.IsZero() {
			v.Field(i).Set(reflect.ValueOf(t.Add(s.by)))
		}
	}
	return in
}

func (s skewed) all(list []store.Integration, err error) ([]store.Integration, error) {
	for i := range list {
		list[i] = s.shift(list[i])
	}
	return list, err
}

func (s skewed) one(in store.Integration, err error) (store.Integration, error) {
	return s.shift(in), err
}
func (s skewed) Connect(ctx context.Context, c store.Connect) (store.Integration, error) {
	return s.one(s.Store.Connect(ctx, c))
}
func (s skewed) Get(ctx context.Context, tenant, id string) (store.Integration, error) {
	return s.one(s.Store.Get(ctx, tenant, id))
}
func (s skewed) Find(ctx context.Context, tenant, provider, label string) (store.Integration, error) {
	return s.one(s.Store.Find(ctx, tenant, provider, label))
}
func (s skewed) GetMany(ctx context.Context, refs []store.Ref) ([]store.Integration, error) {
	return s.all(s.Store.GetMany(ctx, refs))
}
func (s skewed) List(ctx context.Context, tenant string) ([]store.Integration, error) {
	return s.all(s.Store.List(ctx, tenant))
}
func (s skewed) FindByExternal(ctx context.Context, provider, id string) ([]store.Integration, error) {
	return s.all(s.Store.FindByExternal(ctx, provider, id))
}
func (s skewed) ClaimDue(ctx context.Context, c store.ClaimDue) ([]store.Integration, error) {
	return s.all(s.Store.ClaimDue(ctx, c))
}
func (s skewed) ListEnding(ctx context.Context, l store.ListEnding) ([]store.Integration, error) {
	return s.all(s.Store.ListEnding(ctx, l))
}
func (s skewed) ListDue(ctx context.Context, l store.ListDue) ([]store.Integration, error) {
	if !l.After.IsZero() {
		l.After = l.After.Add(-s.by)
	}
	return s.all(s.Store.ListDue(ctx, l))
}
func (s skewed) ClaimVerify(ctx context.Context, c store.ClaimVerify) ([]store.Integration, error) {
	return s.all(s.Store.ClaimVerify(ctx, c))
}
func (s skewed) SetStatus(ctx context.Context, c store.SetStatus) (bool, error) {
	if !c.ConnectedBefore.IsZero() {
		c.ConnectedBefore = c.ConnectedBefore.Add(-s.by)
	}
	return s.Store.SetStatus(ctx, c)
}

// counting counts API requests with a token that has ended, and can take the
// token endpoint away.
type counting struct {
	kit   *integrationstest.Kit
	down  atomic.Bool
	calls atomic.Int64 // to the token endpoint while it was down
	ended atomic.Int64
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.down.Load() && r.URL.Path == "/token" {
		c.calls.Add(1)
		return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody, Request: r}, nil
	}
	resp, err := c.kit.Network.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		c.ended.Add(1)
	}
	return resp, err
}

const skewTenants = 5

// skewedReplicas are replicas on one store that their clocks differ from, with
// some connections whose tokens last an hour.
func skewedReplicas(t *testing.T, skews []time.Duration) (*counting, []*integrations.Manager) {
	kit, st := newKit(t), memstore.New()
	c := &counting{kit: kit}
	cfg := kit.Config()
	cfg.Transport = c
	cfg.Providers = []providers.Provider{providers.NewOAuth2(kit.OAuth.Config(acmeKey))}
	var out []*integrations.Manager
	for _, by := range skews {
		cfg.Store = skewed{st, by}
		out = append(out, kit.Use(cfg))
	}
	for i := range skewTenants {
		kit.Connect(fmt.Sprint("t", i), acmeKey)
	}
	return c, out
}

// ask lets each replica make a call for each tenant and returns how many went
// well; the others are to be tried again.
func ask(t *testing.T, managers []*integrations.Manager) (ok int) {
	for _, m := range managers {
		for i := range skewTenants {
			conn, err := m.Connection(t.Context(), fmt.Sprint("t", i), acmeKey)
			require.NoError(t, err)
			resp, err := conn.HTTPClient().Get("https://api.example.test/me")
			if errors.Is(err, integrations.ErrTransient) {
				continue
			}
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusOK, resp.StatusCode)
			ok++
		}
	}
	return ok
}

// TestR12ClockSkew: replicas whose clocks are ten minutes off refresh exactly when
// the others do, and use tokens exactly as long as they last.
func TestR12ClockSkew(t *testing.T) {
	const m = 10 * time.Minute
	for _, skews := range [][]time.Duration{{-m}, {0}, {m}, {-m, 0, m}} {
		name := strings.Trim(fmt.Sprint(skews), "[]")
		// A token is due after 53.4 to 54.6 minutes and is then refreshed within one.
		const minutes, refreshes = 350, 6
		t.Run(name+"/used", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, managers := skewedReplicas(t, skews)
				for range minutes {
					time.Sleep(time.Minute)
					require.Equal(t, skewTenants*len(managers), ask(t, managers))
				}
				require.Equal(t, skewTenants*refreshes, c.kit.OAuth.Tokens.Calls())
				require.Zero(t, c.kit.OAuth.Tokens.Reuses())
				require.Zero(t, c.ended.Load())
			})
		})
		t.Run(name+"/ahead", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, managers := skewedReplicas(t, skews)
				for range 4 * minutes {
					time.Sleep(15 * time.Second) // as Run does
					for _, m := range managers {
						require.NoError(t, m.Drain(t.Context()))
					}
				}
				require.Equal(t, skewTenants*refreshes, c.kit.OAuth.Tokens.Calls())
				require.Zero(t, c.kit.OAuth.Tokens.Reuses())
			})
		})
		t.Run(name+"/outage", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, managers := skewedReplicas(t, skews)
				all := skewTenants * len(managers)
				time.Sleep(50*time.Minute + 30*time.Second)
				c.down.Store(true)
				for minute := 50; minute < 75; minute++ {
					ok := ask(t, managers)
					if minute < 60 {
						require.Equal(t, all, ok, "minute %d: the token lasts", minute)
					} else {
						require.Zero(t, ok, "minute %d: the token has ended", minute)
					}
					time.Sleep(time.Minute)
				}
				require.Zero(t, c.ended.Load(), "tokens used after their end")
				require.Positive(t, c.calls.Load())
				require.LessOrEqual(t, c.calls.Load(), int64(15*skewTenants), "a storm")
				tried := c.calls.Load()
				c.down.Store(false)
				time.Sleep(5 * time.Minute) // the longest backoff
				ask(t, managers)
				require.Equal(t, all, ask(t, managers))
				require.Equal(t, skewTenants, c.kit.OAuth.Tokens.Calls())
				require.Zero(t, c.ended.Load())
				t.Logf("%.1f token calls per connection in the outage of 25 minutes, then 1", float64(tried)/skewTenants)
			})
		})
	}
}
