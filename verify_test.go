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
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/stretchr/testify/require"
)

// calls counts calls to providers by tenant.
type calls struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *calls) Observe(_ context.Context, event any) {
	if e, ok := event.(providers.Call); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.n == nil {
			c.n = map[string]int{}
		}
		c.n[e.TenantID]++
	}
}

func (c *calls) of(tenant string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[tenant]
}

// endless are registrations whose tokens do not end, and how to revoke an account
// of each at the provider.
var endless = map[string]func(kit *integrationstest.Kit) (p providers.Provider, key, account string, revoke func()){
	"slack": func(kit *integrationstest.Kit) (providers.Provider, string, string, func()) {
		return slackapp.New(kit.Slack.App()), slackapp.Key, "T1", func() { kit.Slack.Tokens.Revoke("T1") }
	},
	"github oauth app": func(kit *integrationstest.Kit) (providers.Provider, string, string, func()) {
		cfg := kit.GitHub.App()
		cfg.Mode = githubapp.ModeOAuthApp
		kit.GitHub.Tokens.SetLife(0)
		return githubapp.New(cfg), githubapp.Key, "octo", func() { kit.GitHub.Tokens.Revoke("user-of-t1") }
	},
	"github user without expiry": func(kit *integrationstest.Kit) (providers.Provider, string, string, func()) {
		cfg := kit.GitHub.App()
		cfg.Mode = githubapp.ModeUser
		kit.GitHub.Tokens.SetLife(0)
		return githubapp.New(cfg), githubapp.Key, "octo", func() { kit.GitHub.Tokens.Revoke("user-of-t1") }
	},
	"salesforce without a limit": func(kit *integrationstest.Kit) (providers.Provider, string, string, func()) {
		cfg := kit.Salesforce.App()
		cfg.IdleLimit = -1
		return salesforceapp.New(cfg), salesforceapp.Key, "acme", func() { kit.Salesforce.Tokens.Revoke("acme") }
	},
	"any OAuth 2 server": func(kit *integrationstest.Kit) (providers.Provider, string, string, func()) {
		kit.OAuth.Tokens.SetLife(0)
		return providers.NewOAuth2(kit.OAuth.Config(acmeKey)), acmeKey, "A1", func() { kit.OAuth.Tokens.Revoke("A1") }
	},
}

// TestARevokedGrantIsFound: nobody calls, no webhook comes, and the tokens do not
// end. Two replicas verify each grant about once a day.
func TestARevokedGrantIsFound(t *testing.T) {
	for name, service := range endless {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kit, seen := integrationstest.New(t), &calls{}
				p, key, account, revoke := service(kit)
				cfg := kit.Config()
				cfg.Providers, cfg.Observer = []providers.Provider{p}, seen
				r := twoReplicas(t, kit, cfg)
				kit.Connect("t1", key, account)
				kit.Connect("t2", key)
				r.pass(30*day, time.Hour)
				require.Len(t, r.told(integrations.ChangeConnected), 2)
				require.Empty(t, r.told(integrations.ChangeNeedsReconnect))
				per := 1
				if key == salesforceapp.Key {
					per = 2 // the session has ended, and the call is sent again with another
				}
				for _, tenant := range []string{"t1", "t2"} {
					require.InDelta(t, 30*per, seen.of(tenant), float64(4*per), tenant)
				}

				revoke()
				began, before := time.Now(), seen.of("t1")
				r.pass(28*time.Hour, time.Hour)
				got := r.told(integrations.ChangeNeedsReconnect)
				require.Len(t, got, 1, "once")
				require.Equal(t, "t1", got[0].TenantID)
				require.Less(t, got[0].At.Sub(began), 28*time.Hour)
				require.LessOrEqual(t, seen.of("t1")-before, 2*per)
				in := only(t, r.ms[0])
				require.Equal(t, integrations.StatusNeedsReconnect, in.Status)
				require.Equal(t, integrations.ActionReconnect, in.Explain().Action)

				before = seen.of("t1")
				r.pass(10*day, 6*time.Hour)
				require.Equal(t, before, seen.of("t1"), "it is not asked for any more")
				require.Empty(t, r.told(integrations.ChangeNeedsReconnect))
				conn, err := r.ms[0].Connection(t.Context(), "t2", key)
				require.NoError(t, err)
				require.NoError(t, conn.Check(t.Context()))
			})
		})
	}
}

// TestAVerificationThatTellsNothingChangesNothing: an outage, a limit and a network
// that swallows everything, and what Slack says to a caller from an address that
// the app does not allow.
func TestAVerificationThatTellsNothingChangesNothing(t *testing.T) {
	for name, fail := range map[string]func(kit *integrationstest.Kit){
		"503": func(kit *integrationstest.Kit) {
			kit.Network.Fail("slack.com", "/api/auth.test", integrationstest.Status(503))
		},
		"500 as JSON": func(kit *integrationstest.Kit) {
			kit.Network.Fail("slack.com", "/api/auth.test", integrationstest.Answer(500, `{"ok":false,"error":"token_revoked"}`))
		},
		"429": func(kit *integrationstest.Kit) {
			kit.Network.Fail("slack.com", "/api/auth.test", integrationstest.RateLimited(time.Minute))
		},
		"timeout": func(kit *integrationstest.Kit) {
			kit.Network.Fail("slack.com", "/api/auth.test", integrationstest.Latency(time.Hour))
		},
		"dropped": func(kit *integrationstest.Kit) {
			kit.Network.Fail("slack.com", "/api/auth.test", integrationstest.DropAfterWork())
		},
		"half": func(kit *integrationstest.Kit) {
			kit.Network.Fail("slack.com", "/api/auth.test", integrationstest.HalfBody())
		},
		"invalid_auth": func(kit *integrationstest.Kit) { kit.Slack.FailNext("auth.test", "invalid_auth") },
		"fatal_error":  func(kit *integrationstest.Kit) { kit.Slack.FailNext("auth.test", "fatal_error") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kit, seen, st := integrationstest.New(t), &calls{}, memstore.New()
				cfg := kit.Config()
				cfg.Store, cfg.Observer = st, seen
				m := kit.Use(cfg)
				kit.Connect("t1", slackapp.Key)
				conn, err := m.Connection(t.Context(), "t1", slackapp.Key)
				require.NoError(t, err)
				time.Sleep(37 * time.Hour)
				before, err := st.Get(t.Context(), "t1", conn.IntegrationID())
				require.NoError(t, err)
				fail(kit)
				handed := make(chan error, 1)
				go func() {
					time.Sleep(time.Second) // while it is verified
					began := time.Now()
					err := conn.Check(t.Context())
					if took := time.Since(began); took > 0 {
						err = fmt.Errorf("a token took %v", took)
					}
					handed <- err
				}()
				require.NoError(t, m.Drain(t.Context()))
				require.NoError(t, <-handed)
				require.Equal(t, 1, seen.of("t1"), "it was asked")
				after, err := st.Get(t.Context(), "t1", conn.IntegrationID())
				require.NoError(t, err)
				require.True(t, after.VerifyAt.After(before.VerifyAt), "it is asked again another time")
				after.VerifyAt, after.ReadAt = before.VerifyAt, before.ReadAt
				require.Equal(t, before, after)
				time.Sleep(27 * time.Hour)
				require.NoError(t, m.Drain(t.Context()))
				require.Equal(t, 2, seen.of("t1"))
			})
		})
	}
}

// TestVerificationsSpareAProviderThatIsOut: after a batch without answers the rest
// waits, and where renewals are held back nothing is asked at all.
func TestVerificationsSpareAProviderThatIsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 40
		kit, seen := integrationstest.New(t), &calls{}
		cfg := kit.Config()
		cfg.Providers, cfg.Observer = []providers.Provider{providers.NewOAuth2(kit.OAuth.Config(acmeKey))}, seen
		m := kit.Use(cfg)
		kit.OAuth.Tokens.SetLife(time.Hour)
		for i := range 5 {
			kit.Connect(fmt.Sprint("renewed", i), acmeKey)
		}
		kit.OAuth.Tokens.SetLife(0)
		for i := range n {
			kit.Connect(fmt.Sprint("t", i), acmeKey)
		}
		kit.OAuth.Tokens.SetLife(time.Hour) // of those that are renewed
		total := func() (sum int) {
			for i := range n {
				sum += seen.of(fmt.Sprint("t", i))
			}
			return sum
		}
		time.Sleep(37 * time.Hour)
		down := make([]integrationstest.Fault, 8)
		for i := range down {
			down[i] = integrationstest.Status(503)
		}
		kit.Network.Fail("api.example.test", "/me", down...)
		require.NoError(t, m.Drain(t.Context()))
		require.Equal(t, 8, total(), "one batch")
		require.NoError(t, m.Drain(t.Context()))
		require.Equal(t, n, total(), "the others once it is back")

		time.Sleep(37 * time.Hour)
		refused := make([]integrationstest.Fault, 5)
		for i := range refused {
			refused[i] = integrationstest.Status(503)
		}
		kit.Network.Fail("auth.example.test", "/token", refused...)
		for i := range 5 {
			conn, err := m.Connection(t.Context(), fmt.Sprint("renewed", i), acmeKey)
			require.NoError(t, err)
			require.Error(t, conn.Check(t.Context()))
		}
		require.NoError(t, m.Drain(t.Context()))
		require.Equal(t, n, total(), "held back")
		for i := range 5 {
			require.Zero(t, seen.of(fmt.Sprint("renewed", i)), "renewals tell of these")
		}
		time.Sleep(5 * time.Minute)
		require.NoError(t, m.Drain(t.Context()))
		require.NoError(t, m.Drain(t.Context()))
		require.Equal(t, 2*n, total())
	})
}

// TestVerificationsAreSpread: grants that were connected together are not verified
// together, and none is twice in a while.
func TestVerificationsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, st := integrationstest.New(t), memstore.New()
		cfg := kit.Config()
		cfg.Store, cfg.VerifyEvery = st, 10*time.Hour
		m := kit.Use(cfg)
		for i := range 200 {
			kit.Connect(fmt.Sprint("t", i), slackapp.Key)
		}
		rows, err := st.ListAll(t.Context(), "", 1000)
		require.NoError(t, err)
		quarters := make([]int, 4)
		for _, in := range rows {
			d := time.Until(in.VerifyAt) - 5*time.Hour
			require.GreaterOrEqual(t, d, -time.Millisecond)
			require.Less(t, d, 10*time.Hour)
			quarters[min(3, max(0, int(4*d/(10*time.Hour))))]++
		}
		for _, n := range quarters {
			require.InDelta(t, 50, n, 35, quarters)
		}
		time.Sleep(15 * time.Hour)
		require.NoError(t, m.Drain(t.Context()))
		rows, err = st.ListAll(t.Context(), "", 1000)
		require.NoError(t, err)
		different := map[time.Time]bool{}
		for _, in := range rows {
			require.InDelta(t, 10*time.Hour, time.Until(in.VerifyAt), float64(time.Hour)+float64(time.Millisecond))
			different[in.VerifyAt] = true
		}
		require.Greater(t, len(different), 10, "batches of eight differ")
	})
}

func TestVerifyEveryIsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, seen := integrationstest.New(t), &calls{}
		cfg := kit.Config()
		cfg.Observer, cfg.VerifyEvery = seen, -1
		m := kit.Use(cfg)
		kit.Connect("t1", slackapp.Key)
		time.Sleep(100 * time.Hour)
		require.NoError(t, m.Drain(t.Context()))
		require.Zero(t, seen.of("t1"))
		cfg.VerifyEvery = time.Minute
		_, err := integrations.New(t.Context(), cfg)
		require.ErrorContains(t, err, "VerifyEvery")
	})
}

// TestRunVerifies: it is part of Run.
func TestRunVerifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, seen := integrationstest.New(t), &calls{}
		cfg := kit.Config()
		cfg.Observer, cfg.VerifyEvery = seen, time.Hour
		m := kit.Use(cfg)
		kit.Connect("t1", slackapp.Key)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		require.NoError(t, m.Run(ctx))
		require.GreaterOrEqual(t, seen.of("t1"), 1)
		require.LessOrEqual(t, seen.of("t1"), 4)
	})
}

// panicking is an adapter with a fault.
type panicking struct{ *slackapp.App }

func (panicking) Verify(context.Context, *providers.Connection) error { panic("a secret") }

func TestL2APanicInAVerificationIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, st := integrationstest.New(t), memstore.New()
		cfg := kit.Config()
		cfg.Store, cfg.Providers = st, []providers.Provider{panicking{slackapp.New(kit.Slack.App())}}
		m := kit.Use(cfg)
		kit.Connect("t1", slackapp.Key)
		time.Sleep(37 * time.Hour)
		require.NoError(t, m.Drain(t.Context()))
		rows, err := st.List(t.Context(), "t1")
		require.NoError(t, err)
		require.Equal(t, store.Active, rows[0].Status)
		require.True(t, rows[0].VerifyAt.After(time.Now()))
	})
}

// TestAnyOAuth2ServerMustRefuseTheToken: other refusals are about something else.
func TestAnyOAuth2ServerMustRefuseTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := newKit(t)
		kit.OAuth.Tokens.SetLife(0)
		kit.Connect("t1", acmeKey)
		for _, fault := range []integrationstest.Fault{
			integrationstest.Status(http.StatusUnauthorized), integrationstest.Status(http.StatusForbidden), integrationstest.Status(http.StatusNotFound),
		} {
			time.Sleep(37 * time.Hour)
			kit.Network.Fail("api.example.test", "/me", fault)
			require.NoError(t, kit.Manager().Drain(t.Context()))
			require.Equal(t, integrations.StatusActive, only(t, kit.Manager()).Status)
		}
	})
}
