package integrations_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store/faultstore"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// everything does all a host can, and lets no panic through. It returns how many
// calls to the provider were answered; what else comes of it is not looked at.
func everything(t *testing.T, kit *integrationstest.Kit, m *integrations.Manager) (answered int) {
	ctx := t.Context()
	calm := func(what string, fn func()) { require.NotPanics(t, fn, what) }
	var conn *providers.Connection
	id := ""
	for range 2 {
		calm("connect", func() { kit.Browser("t1", "u1").Open(kit.ConnectURL(acmeKey)) })
		calm("ConnectURL", func() {
			w, r := newRequest("t1", "u1")
			_, _ = m.ConnectURL(w, r, acmeKey, integrations.ConnectOptions{Label: "other"})
		})
		calm("webhook", func() {
			kit.Send(sign(integrationstest.BaseURL+"/"+acmeKey+"/webhook", hookScheme.Secrets[0], fmt.Sprintf(`{"id":"%d","account":"T-t1"}`, time.Now().UnixNano())))
		})
		calm("endpoint", func() {
			kit.Send(sign(integrationstest.BaseURL+"/"+acmeKey+"/webhook/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", hookScheme.Secrets[0], `{"id":"1"}`))
		})
		calm("Integrations", func() {
			list, _ := m.Integrations(ctx, "t1")
			for _, in := range list {
				id = in.ID
				_ = in.Explain()
			}
		})
		calm("Connection", func() {
			if c, err := m.Connection(ctx, "t1", acmeKey); err == nil {
				conn = c
			}
		})
		calm("ConnectionByID", func() { _, _ = m.ConnectionByID(ctx, "t1", id) })
		if conn != nil {
			calm("call", func() {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example.test/me", http.NoBody)
				require.NoError(t, err)
				if resp, err := conn.HTTPClient().Do(req); err == nil {
					_ = resp.Body.Close()
					answered++
				}
			})
			calm("checkpoint", func() {
				_, _ = conn.Checkpoint("c").Load(ctx)
				_ = conn.Checkpoint("c").Save(ctx, []byte("x"))
				if lease, mine, err := conn.TryLease(ctx, "l", time.Minute); err == nil && mine {
					_ = lease.Release(ctx)
				}
				if e, err := conn.OpenEndpoint(ctx); err == nil {
					_, _ = conn.Endpoints(ctx)
					_ = conn.CloseEndpoint(ctx, e.ID)
				}
				_ = conn.SaveSubscription(ctx, due("s"))
				_ = conn.SaveSubscription(ctx, due("t"))
				_, _ = conn.Subscriptions(ctx)
				_ = conn.DeleteSubscription(ctx, "t")
			})
		}
		calm("SetMetadata", func() { _, _ = m.SetMetadata(ctx, "t1", id, json.RawMessage(`{}`), 0) })
		calm("Health", func() { _, _ = m.Health(ctx) })
		calm("Drain", func() { _ = m.Drain(ctx) })
		kit.OAuth.Tokens.ExpireAccess()
		time.Sleep(2 * time.Hour)
		calm("call with a token that has ended", func() {
			if c, err := m.Connection(ctx, "t1", acmeKey); err == nil {
				_ = c.Check(ctx)
			}
		})
		calm("Run", func() {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			_ = m.Run(ctx)
		})
	}
	calm("Disconnect", func() { _ = m.Disconnect(ctx, "t1", id) })
	calm("Shutdown", func() { _ = m.Shutdown(ctx) })
	return answered
}

// wildManager is a Manager with a provider that has every ability, of which change
// makes something worse.
func wildManager(t *testing.T, st *faultstore.Store, change func(cfg *integrations.Config, p *wildProvider)) (*integrationstest.Kit, *integrations.Manager) {
	kit := integrationstest.New(t)
	verifier, err := webhook.NewHMAC(hookScheme)
	require.NoError(t, err)
	kit.OAuth.Tokens.SetLife(time.Hour)
	p := &wildProvider{hooked: hooked{
		Provider: providers.NewOAuth2(kit.OAuth.Config(acmeKey)), hmac: verifier, revoked: &providers.Revocation{}, ended: &[]providers.Subscription{},
		renew: func(s providers.Subscription) (providers.Subscription, error) { return renewedNow(s) },
	}}
	cfg := kit.Config()
	cfg.Store, cfg.Providers = st, []providers.Provider{p}
	cfg.AllowLabel = func(context.Context, integrations.Identity, string, string) bool { return true }
	change(&cfg, p)
	m := kit.Use(cfg)
	m.OnWebhook(webhook.On(acmeKey, webhook.AnyType, func(context.Context, webhook.Event) error { return nil }))
	m.OnChange(func(context.Context, integrations.Change) error { return nil })
	return kit, m
}

// wildProvider panics in one of its methods.
type wildProvider struct {
	hooked
	panics string
}

func (p *wildProvider) in(method string) {
	if p.panics == method {
		panic("provider: " + method)
	}
}

func (p *wildProvider) AuthorizeURL(a providers.Authorize) (string, error) {
	p.in("AuthorizeURL")
	return p.hooked.AuthorizeURL(a)
}

func (p *wildProvider) Exchange(ctx context.Context, e providers.Exchange) (providers.Account, error) {
	p.in("Exchange")
	return p.hooked.Exchange(ctx, e)
}

func (p *wildProvider) Revoke(ctx context.Context, r providers.Revocation) error {
	p.in("Revoke")
	return p.hooked.Revoke(ctx, r)
}

func (p *wildProvider) EndSubscriptions(ctx context.Context, r providers.Revocation) error {
	p.in("EndSubscriptions")
	return p.hooked.EndSubscriptions(ctx, r)
}

func (p *wildProvider) RenewSubscription(ctx context.Context, c *providers.Connection, s providers.Subscription) (providers.Subscription, error) {
	p.in("RenewSubscription")
	return p.hooked.RenewSubscription(ctx, c, s)
}

func (p *wildProvider) LifecycleTypes() []string { return []string{"changed"} }

func (p *wildProvider) Lifecycle(webhook.Event, providers.Snapshot) (providers.Lifecycle, error) {
	p.in("Lifecycle")
	return providers.Lifecycle{}, nil
}

// wildLog, wildObserver and wildCipher panic.
type wildLog struct{ slog.Handler }

func (wildLog) Enabled(context.Context, slog.Level) bool  { return true }
func (wildLog) Handle(context.Context, slog.Record) error { panic("log") }

type wildObserver struct{}

func (wildObserver) Observe(context.Context, any) { panic("observer") }

type wildCipher struct{}

func (wildCipher) Seal([]byte, []byte, crypto.Binding) ([]byte, error) { panic("cipher") }
func (wildCipher) Open([]byte, []byte, crypto.Binding) ([]byte, error) { panic("cipher") }
func (wildCipher) KeyID([]byte) (string, error)                        { panic("cipher") }

// hollowCipher says yes to everything.
type hollowCipher struct{}

func (hollowCipher) Seal([]byte, []byte, crypto.Binding) ([]byte, error) { return nil, nil }
func (hollowCipher) Open([]byte, []byte, crypto.Binding) ([]byte, error) { return nil, nil }
func (hollowCipher) KeyID([]byte) (string, error)                        { return "", nil }

// TestL2NoPanicComesOut: a store, a provider or anything else of the host's that
// panics is an error of the call, an answer or a line of the log.
func TestL2NoPanicComesOut(t *testing.T) {
	run := func(name string, change func(cfg *integrations.Config, p *wildProvider)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kit, m := wildManager(t, faultstore.New(memstore.New()), change)
				everything(t, kit, m)
			})
		})
	}
	var methods []string
	t.Run("nothing is wrong", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			st := faultstore.New(memstore.New())
			kit, m := wildManager(t, st, func(*integrations.Config, *wildProvider) {})
			require.Equal(t, 2, everything(t, kit, m))
			methods = st.Calls()
			slices.Sort(methods)
			methods = slices.Compact(methods)
		})
	})
	require.Greater(t, len(methods), 25, "%v", methods)
	for _, method := range methods {
		t.Run("store panics in "+method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := faultstore.New(memstore.New())
				kit, m := wildManager(t, st, func(*integrations.Config, *wildProvider) {})
				seen := 0
				st.Fail(func(_ int, called string) (faultstore.When, error) {
					// Not the first time, so that there is something to go wrong with.
					if called == method {
						if seen++; seen%2 == 0 || method == "Check" {
							panic("store: " + method)
						}
					}
					return faultstore.Before, nil
				})
				everything(t, kit, m)
			})
		})
	}
	for _, method := range []string{"AuthorizeURL", "Exchange", "Revoke", "EndSubscriptions", "RenewSubscription", "Lifecycle"} {
		run("provider panics in "+method, func(_ *integrations.Config, p *wildProvider) { p.panics = method })
	}
	run("Identify panics", func(cfg *integrations.Config, _ *wildProvider) {
		cfg.Identify = func(*http.Request) (integrations.Identity, error) { panic("identify") }
	})
	run("AllowLabel panics", func(cfg *integrations.Config, _ *wildProvider) {
		cfg.AllowLabel = func(context.Context, integrations.Identity, string, string) bool { panic("label") }
	})
	run("the log panics", func(cfg *integrations.Config, p *wildProvider) {
		cfg.Logger = slog.New(wildLog{})
		p.panics = "Exchange"
	})
	run("the observer panics", func(cfg *integrations.Config, _ *wildProvider) { cfg.Observer = wildObserver{} })
	run("the cipher panics", func(cfg *integrations.Config, _ *wildProvider) { cfg.Cipher = wildCipher{} })
	run("the cipher is hollow", func(cfg *integrations.Config, _ *wildProvider) { cfg.Cipher = hollowCipher{} })
}
