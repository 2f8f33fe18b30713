package integrations_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// faults is an observer of token.FaultEvents.
type faults struct {
	mu  sync.Mutex
	got []token.FaultEvent
}

func (f *faults) Observe(_ context.Context, event any) {
	if e, ok := event.(token.FaultEvent); ok {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.got = append(f.got, e)
	}
}

// TestHeldBackRenewals: hosts branch on the same errors whether a token call
// failed or none was made, and their observers hear of it.
func TestHeldBackRenewals(t *testing.T) {
	for name, c := range map[string]struct {
		fault integrationstest.Fault
		want  []error
		code  string
	}{
		"wrong secret":  {integrationstest.Answer(401, `{"error":"invalid_client"}`), []error{integrations.ErrAppMisconfigured}, "invalid_client"},
		"provider down": {integrationstest.Status(503), []error{integrations.ErrTransient, integrations.ErrProviderDown}, "server_error"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kit, seen := integrationstest.New(t), &faults{}
				cfg := kit.Config()
				cfg.Observer = seen
				cfg.Providers = []providers.Provider{providers.NewOAuth2(kit.OAuth.Config(acmeKey))}
				m := kit.Use(cfg)
				const n = 10
				var conns []*providers.Connection
				for i := range n {
					tenant := fmt.Sprint("t", i)
					kit.Connect(tenant, acmeKey)
					conn, err := m.Connection(t.Context(), tenant, acmeKey)
					require.NoError(t, err)
					conns = append(conns, conn)
				}
				get := func(i int) error {
					r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.test/me", http.NoBody)
					require.NoError(t, err)
					resp, err := conns[i].HTTPClient().Do(r)
					if err == nil {
						require.NoError(t, resp.Body.Close())
					}
					return err
				}
				require.NoError(t, get(0))
				time.Sleep(2 * time.Hour)
				kit.Network.Fail("auth.example.test", "/token", c.fault, c.fault, c.fault, c.fault, c.fault)
				for i := range n { // the sixth would find the provider well if it asked
					err := get(i)
					for _, want := range c.want {
						require.ErrorIs(t, err, want)
					}
					var e *token.Error
					require.ErrorAs(t, err, &e)
					require.Equal(t, c.code, e.Code)
					require.Equal(t, i >= 5, e.RetryAfter > 0)
				}
				require.Len(t, seen.got, 1)
				require.Equal(t, acmeKey, seen.got[0].Provider)
				require.Equal(t, c.code, seen.got[0].Code)
				for i := range n {
					list, err := m.Integrations(t.Context(), fmt.Sprint("t", i))
					require.NoError(t, err)
					require.Equal(t, integrations.StatusActive, list[0].Status)
				}
				time.Sleep(time.Minute)
				for i := range n {
					require.NoError(t, get(i))
				}
				require.Len(t, seen.got, 2)
				require.False(t, seen.got[1].Open)
			})
		})
	}
}
