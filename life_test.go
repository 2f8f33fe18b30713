package integrations_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// fake overrides what a test needs of the generic provider.
type fake struct {
	hooked
	id, alias string
	renewed   func(token.Grant) // after a refresh
	exchanged func()            // after the code was spent
	access    []string          // tokens given to Revoke
	fault     error             // of the next refreshes
	life      time.Duration     // of the grants of the next exchanges, 0 for no word
	scopes    []string          // granted by the next refreshes, nil for no word
	longer    time.Duration     // life of the grant by the next refreshes, 0 for no word
}

func (p *fake) Exchange(ctx context.Context, x providers.Exchange) (providers.Account, error) {
	a, err := p.hooked.Provider.Exchange(ctx, x)
	if p.exchanged != nil {
		if p.exchanged(); ctx.Err() != nil { // as the next call of any adapter would return
			return providers.Account{}, ctx.Err()
		}
	}
	if p.id != "" {
		a.ExternalID = p.id
	}
	a.Alias = p.alias
	a.Grant.RefreshExpiresIn = p.life
	return a, err
}
func (p *fake) Renew(ctx context.Context, r token.Renewal) (token.Grant, error) {
	if p.fault != nil {
		return token.Grant{}, p.fault
	}
	g, err := p.hooked.Provider.(token.Renewer).Renew(ctx, r)
	g.Scopes, g.RefreshExpiresIn = p.scopes, p.longer
	if p.renewed != nil {
		p.renewed(g)
	}
	return g, err
}
func (p *fake) Revoke(ctx context.Context, r providers.Revocation) error {
	p.access = append(p.access, r.AccessToken.Reveal())
	return p.hooked.Revoke(ctx, r)
}
func (p *fake) LifecycleTypes() []string { return []string{"changed"} }
func (p *fake) Lifecycle(ev webhook.Event, _ providers.Snapshot) (providers.Lifecycle, error) {
	switch ev.DeliveryID {
	case "rename":
		return providers.Lifecycle{ProviderData: json.RawMessage(`{"name":"` + ev.ExternalID + `"}`)}, nil
	case "pause":
		return providers.Lifecycle{Kind: providers.Suspended}, nil
	case "resume":
		return providers.Lifecycle{Kind: providers.Resumed}, nil
	case "bye":
		return providers.Lifecycle{Kind: providers.Uninstalled}, nil
	}
	return providers.Lifecycle{}, nil
}

func fakeKit(t *testing.T, change ...func(*integrations.Config, *providers.OAuth2Config)) (*integrationstest.Kit, *fake) {
	kit := newKit(t)
	v, err := webhook.NewHMAC(hookScheme)
	require.NoError(t, err)
	cfg, oauth := kit.Config(), kit.OAuth.Config(acmeKey)
	for _, fn := range change {
		fn(&cfg, &oauth)
	}
	p := &fake{hooked: hooked{Provider: providers.NewOAuth2(oauth), hmac: v, revoked: &providers.Revocation{}, ended: &[]providers.Subscription{}}}
	cfg.Providers = []providers.Provider{p}
	kit.Use(cfg)
	return kit, p
}

func connOf(t *testing.T, kit *integrationstest.Kit) *providers.Connection {
	c, err := kit.Manager().Connection(t.Context(), "t1", acmeKey)
	require.NoError(t, err)
	return c
}

type spyStore struct {
	*memstore.Store
	gets                int
	beforeGet, afterGet map[int]func() // by number, from 1
	afterStatus         func()
	lookups             int
}

func (s *spyStore) Get(ctx context.Context, tenant, id string) (store.Integration, error) {
	s.gets++
	n := s.gets
	if fn := s.beforeGet[n]; fn != nil {
		fn()
	}
	in, err := s.Store.Get(ctx, tenant, id)
	if fn := s.afterGet[n]; fn != nil {
		fn()
	}
	return in, err
}
func (s *spyStore) SetStatus(ctx context.Context, c store.SetStatus) (bool, error) {
	ok, err := s.Store.SetStatus(ctx, c)
	if s.afterStatus != nil {
		s.afterStatus()
	}
	return ok, err
}
func (s *spyStore) FindEndpoint(ctx context.Context, p, h string) (store.Endpoint, error) {
	s.lookups++
	return s.Store.FindEndpoint(ctx, p, h)
}
func on(st store.Store) func(*integrations.Config, *providers.OAuth2Config) {
	return func(c *integrations.Config, _ *providers.OAuth2Config) { c.Store = st }
}

const hookURL = "https://app.example.test/integrations/acme_crm/webhook"

func send(t *testing.T, kit *integrationstest.Kit, body string) {
	require.Equal(t, 200, kit.Send(sign(hookURL, hookScheme.Secrets[0], body)).StatusCode)
}

// callbackRequest is the request that a browser makes when it comes back.
func callbackRequest(b *integrationstest.Browser, cb string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, cb, nil)
	r.Header.Set("X-Test-Tenant", "t1")
	r.Header.Set("X-Test-User", "u1")
	for _, v := range b.Visits() {
		for _, c := range (&http.Response{Header: v.Header}).Cookies() {
			r.AddCookie(c)
		}
	}
	return r
}

func due(name string) providers.Subscription {
	return providers.Subscription{Name: name, RemoteID: "old", RenewAt: time.Now().Add(-time.Minute)}
}
func renewedNow(s providers.Subscription) (providers.Subscription, error) {
	s.RenewAt = time.Now().Add(time.Hour)
	return s, nil
}

func TestR13ADisconnectRevokesWhatItWipes(t *testing.T) {
	st := &spyStore{Store: memstore.New()}
	kit, p := fakeKit(t, on(st))
	kit.Connect("t1", acmeKey)
	conn := connOf(t, kit)
	old, err := conn.Token(t.Context())
	require.NoError(t, err)
	st.afterGet = map[int]func(){st.gets + 1: func() { kit.Connect("t1", acmeKey) }} // or a refresh that commits
	require.NoError(t, kit.Manager().Disconnect(t.Context(), "t1", conn.IntegrationID()))
	require.NotContains(t, p.access, old.Reveal(), "not the grant that was wiped")
}

func TestR13ARefreshDuringADisconnectIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p := fakeKit(t)
		kit.Connect("t1", acmeKey)
		conn := connOf(t, kit)
		time.Sleep(48 * time.Hour)
		minted := ""
		p.renewed = func(g token.Grant) {
			minted = g.AccessToken.Reveal()
			_ = kit.Manager().Disconnect(context.Background(), "t1", conn.IntegrationID())
		}
		require.ErrorIs(t, conn.Check(t.Context()), integrations.ErrDisconnected)
		require.Contains(t, p.access, minted)
	})
}

func TestADisconnectOutlivesItsRequest(t *testing.T) {
	st := &spyStore{Store: memstore.New()}
	kit, p := fakeKit(t, on(st))
	kit.Connect("t1", acmeKey)
	conn := connOf(t, kit)
	ctx, cancel := context.WithCancel(t.Context())
	st.afterStatus = cancel
	_ = kit.Manager().Disconnect(ctx, "t1", conn.IntegrationID())
	require.NotEmpty(t, p.access)
}

func TestSubscriptionsEndAlsoWhereTheAccountIsShared(t *testing.T) {
	kit, p := fakeKit(t, func(_ *integrations.Config, o *providers.OAuth2Config) { o.Shared = true })
	p.id = "SAME"
	kit.Connect("t1", acmeKey)
	kit.Connect("t2", acmeKey)
	conn := connOf(t, kit)
	require.NoError(t, conn.SaveSubscription(t.Context(), providers.Subscription{Name: "s", RemoteID: "7"}))
	require.NoError(t, kit.Manager().Disconnect(t.Context(), "t1", conn.IntegrationID()))
	require.Len(t, *p.ended, 1)
	require.Empty(t, p.access, "the other tenant still uses the grant")
}

func TestL2APanicInARenewalIsAnError(t *testing.T) {
	kit, p, conn := hookedKit(t)
	p.renew = func(providers.Subscription) (providers.Subscription, error) { panic("adapter") }
	require.NoError(t, conn.SaveSubscription(t.Context(), due("a")))
	require.NoError(t, kit.Manager().Drain(t.Context()))
	subs, err := conn.Subscriptions(t.Context())
	require.NoError(t, err)
	require.True(t, subs[0].RenewAt.After(time.Now()), "it is tried again later")
}

func TestRunLetsARenewalFinish(t *testing.T) {
	kit, p, conn := hookedKit(t)
	began, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	p.renew = func(providers.Subscription) (providers.Subscription, error) {
		close(began)
		<-goOn
		return providers.Subscription{RemoteID: "new", RenewAt: time.Now().Add(time.Hour)}, nil
	}
	require.NoError(t, conn.SaveSubscription(t.Context(), due("a")))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- kit.Manager().Run(ctx) }()
	<-began
	cancel()
	close(goOn)
	require.NoError(t, <-done)
	subs, err := conn.Subscriptions(t.Context())
	require.NoError(t, err)
	require.Equal(t, "new", subs[0].RemoteID)
}

func TestSubscriptionsOfOtherProvidersAreNotClaimed(t *testing.T) {
	st := memstore.New()
	kit, p := fakeKit(t, on(st))
	kit.Connect("t1", acmeKey)
	for i := range 81 {
		require.NoError(t, st.PutSubscription(t.Context(), store.Subscription{TenantID: "x", IntegrationID: "x", Provider: "removed", Name: fmt.Sprint(i), RenewAt: time.Now().Add(-time.Hour)}))
	}
	require.NoError(t, connOf(t, kit).SaveSubscription(t.Context(), due("good")))
	n := 0
	p.renew = func(s providers.Subscription) (providers.Subscription, error) { n++; return renewedNow(s) }
	for range 5 { // what Run does before the first claims run out
		require.NoError(t, kit.Manager().Drain(t.Context()))
	}
	require.Equal(t, 1, n)
}

func TestDrainRenewsAllThatIsDue(t *testing.T) {
	kit, p, conn := hookedKit(t)
	n := 0
	p.renew = func(s providers.Subscription) (providers.Subscription, error) { n++; return renewedNow(s) }
	for i := range 20 {
		require.NoError(t, conn.SaveSubscription(t.Context(), due(fmt.Sprint(i))))
	}
	require.NoError(t, kit.Manager().Drain(t.Context()))
	require.Equal(t, 20, n)
}

func TestASubscriptionReplacedWhileItIsRenewedStays(t *testing.T) {
	kit, p, conn := hookedKit(t)
	p.renew = func(s providers.Subscription) (providers.Subscription, error) {
		require.NoError(t, conn.SaveSubscription(t.Context(), providers.Subscription{Name: "a", RemoteID: "newer"}))
		require.NoError(t, conn.DeleteSubscription(t.Context(), "b"))
		return s, providers.ErrTransient
	}
	require.NoError(t, conn.SaveSubscription(t.Context(), due("a")))
	require.NoError(t, kit.Manager().Drain(t.Context()))
	subs, err := conn.Subscriptions(t.Context())
	require.NoError(t, err)
	require.Equal(t, "newer", subs[0].RemoteID)
}

func TestAnEndpointGoesWithItsAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p := fakeKit(t)
		p.id = "A"
		kit.Connect("t1", acmeKey)
		conn := connOf(t, kit)
		e, err := conn.OpenEndpoint(t.Context())
		require.NoError(t, err)
		require.NoError(t, conn.SaveSubscription(t.Context(), providers.Subscription{Name: "s", RemoteID: "of A"}))
		time.Sleep(5 * time.Millisecond)
		send(t, kit, `{"id":"bye","account":"A"}`)
		require.NoError(t, kit.Manager().Drain(t.Context()))
		p.id = "B"
		kit.Connect("t1", acmeKey)
		subs, err := conn.Subscriptions(t.Context())
		require.NoError(t, err)
		require.Empty(t, subs)
		require.Equal(t, 401, kit.Send(sign(e.URL, e.Secret.Reveal(), `{"id":"1","account":"A"}`)).StatusCode)
	})
}

func TestACheckpointGoesWithItsAccount(t *testing.T) {
	kit, p := fakeKit(t)
	p.id = "A"
	kit.Connect("t1", acmeKey)
	conn := connOf(t, kit)
	require.NoError(t, conn.Checkpoint("issues").Save(t.Context(), []byte("cursor of A")))
	require.NoError(t, kit.Manager().Disconnect(t.Context(), "t1", conn.IntegrationID()))
	p.id = "B"
	kit.Connect("t1", acmeKey)
	v, err := connOf(t, kit).Checkpoint("issues").Load(t.Context())
	require.NoError(t, err)
	require.Nil(t, v)
}

type limitSpy struct{ accounts []string }

func (l *limitSpy) Wait(_ context.Context, c *ratelimit.Call) error {
	l.accounts = append(l.accounts, c.Charges[0].Key)
	return nil
}
func (l *limitSpy) Done(*ratelimit.Call, []ratelimit.Reading) {}

func TestTheBudgetIsThatOfTheNewAccount(t *testing.T) {
	spy := &limitSpy{}
	kit, p := fakeKit(t, func(c *integrations.Config, _ *providers.OAuth2Config) { c.Limiter = spy })
	p.id = "A"
	kit.Connect("t1", acmeKey)
	require.NoError(t, kit.Manager().Disconnect(t.Context(), "t1", connOf(t, kit).IntegrationID()))
	p.id = "B"
	kit.Connect("t1", acmeKey)
	resp, err := connOf(t, kit).HTTPClient().Get("https://api.example.test/me")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, []string{"B"}, spy.accounts)
}

func TestAnEventOfTheOldAccountChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p := fakeKit(t)
		p.id = "A"
		kit.Connect("t1", acmeKey)
		send(t, kit, `{"id":"rename","account":"A"}`)
		require.NoError(t, kit.Manager().Disconnect(t.Context(), "t1", connOf(t, kit).IntegrationID()))
		p.id = "B"
		time.Sleep(5 * time.Millisecond)
		kit.Connect("t1", acmeKey)
		require.NoError(t, kit.Manager().Drain(t.Context()))
		list, err := kit.Manager().Integrations(t.Context(), "t1")
		require.NoError(t, err)
		require.NotContains(t, string(list[0].ProviderData), `"name":"A"`)
	})
}

func TestO5TwoFlowsLandOnTwoAccounts(t *testing.T) {
	kit, p := fakeKit(t)
	b := kit.Browser("t1", "u1")
	first, second := toCallback(t, kit, b, acmeKey), toCallback(t, kit, b, acmeKey)
	p.id = "A"
	require.Equal(t, "connected", result(t, back(b, first)))
	p.id = "B"
	require.Equal(t, "account_mismatch", result(t, back(b, second)))
}

func TestQ2CleanUpKeepsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		kit, _ := fakeKit(t, on(st))
		for i := range 3000 {
			_, err := st.InsertDeliveries(t.Context(), []store.Delivery{{ID: fmt.Sprintf("%026d", i), Provider: "x", DeliveryID: fmt.Sprint(i), EventType: "t"}})
			require.NoError(t, err)
		}
		time.Sleep(31 * 24 * time.Hour)
		require.NoError(t, kit.Manager().Drain(t.Context()))
		n, err := st.CountDeliveries(t.Context(), nil)
		require.NoError(t, err)
		require.Zero(t, n.Pending)
	})
}

func TestHealthWithoutHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, _ := fakeKit(t)
		kit.Connect("t1", acmeKey)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- kit.Manager().Run(ctx) }()
		time.Sleep(10 * time.Minute)
		h, err := kit.Manager().Health(ctx)
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, err)
		require.Empty(t, h.Problems)
	})
}

func TestAWebhookHandlerServesAnyPath(t *testing.T) {
	kit, _, _ := hookedKit(t)
	h := kit.Manager().WebhookHandler(acmeKey)
	for _, path := range []string{"/hooks/acme", "/a/b/hooks/acme", "/api/hooks/acme"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, sign("https://app.example.test"+path, hookScheme.Secrets[0], `{"id":"`+path+`","account":"T-t1"}`))
		require.Equal(t, 200, w.Code, path)
	}
}

func TestAnEndpointsSecretIsAStandardWebhooksSecret(t *testing.T) {
	_, _, conn := hookedKit(t)
	e, err := conn.OpenEndpoint(t.Context())
	require.NoError(t, err)
	_, err = webhook.NewStandardWebhooks(e.Secret.Reveal())
	require.NoError(t, err)
}

func TestAChoicePostsToTheRedirectPath(t *testing.T) {
	kit := newKit(t)
	cfg, oauth := kit.Config(), kit.OAuth.Config(acmeKey)
	oauth.RedirectURL = "https://app.example.test/legacy/oauth/acme"
	cfg.Providers = []providers.Provider{manyAccounts{providers.NewOAuth2(oauth), []providers.Choice{{ExternalID: "1"}, {ExternalID: "2"}}, &[]string{}}}
	kit.Use(cfg)
	b := kit.Browser("t1", "u1")
	cb := toCallback(t, kit, b, acmeKey)
	w := httptest.NewRecorder()
	kit.Manager().CallbackHandler(acmeKey).ServeHTTP(w, callbackRequest(b, cb))
	require.Equal(t, 200, w.Code)
	require.Contains(t, w.Body.String(), `action="/legacy/oauth/acme"`)
}

func TestM2AnAliasIsOneAccounts(t *testing.T) {
	kit, p := fakeKit(t)
	p.alias = "acme.example.com"
	got := collect(kit, acmeKey)
	kit.Connect("t1", acmeKey) // T-t1, exclusive
	kit.Connect("t2", acmeKey) // T-t2, exclusive
	send(t, kit, `{"id":"1","account":"acme.example.com"}`)
	require.NoError(t, kit.Manager().Drain(t.Context()))
	require.Equal(t, []string{"t2 changed"}, got())
}

func TestABrowserThatGoesAwayLosesNoGrant(t *testing.T) {
	kit, p := fakeKit(t)
	b := kit.Browser("t1", "u1")
	cb := toCallback(t, kit, b, acmeKey)
	ctx, cancel := context.WithCancel(t.Context())
	p.exchanged = cancel
	w := httptest.NewRecorder()
	kit.Manager().Handler().ServeHTTP(w, callbackRequest(b, cb).WithContext(ctx))
	require.Contains(t, w.Header().Get("Location"), "result=connected")
}

type noRenewer struct{ p providers.Provider } // only the four methods

func (p noRenewer) Info() providers.Info                               { return p.p.Info() }
func (p noRenewer) Validate() error                                    { return p.p.Validate() }
func (p noRenewer) AuthorizeURL(a providers.Authorize) (string, error) { return p.p.AuthorizeURL(a) }
func (p noRenewer) Exchange(ctx context.Context, x providers.Exchange) (providers.Account, error) {
	return p.p.Exchange(ctx, x)
}

func TestAnEndedTokenThatNothingRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := newKit(t)
		cfg := kit.Config()
		cfg.Providers = []providers.Provider{noRenewer{providers.NewOAuth2(kit.OAuth.Config(acmeKey))}}
		kit.Use(cfg)
		kit.Connect("t1", acmeKey)
		conn := connOf(t, kit)
		time.Sleep(48 * time.Hour)
		require.ErrorIs(t, conn.Check(t.Context()), integrations.ErrReconnectRequired)
	})
}

func TestAFreshGrantIsNotRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &spyStore{Store: memstore.New()}
		kit, p := fakeKit(t, on(st))
		kit.Connect("t1", acmeKey)
		conn := connOf(t, kit)
		time.Sleep(48 * time.Hour)
		n := 0
		p.renewed = func(token.Grant) { n++ }
		st.beforeGet = map[int]func(){st.gets + 2: func() { kit.Connect("t1", acmeKey) }} // the look of refresh
		require.NoError(t, conn.Check(t.Context()))
		require.Zero(t, n)
	})
}

func TestT22AnUnknownEndpointCostsNoQuery(t *testing.T) {
	st := &spyStore{Store: memstore.New()}
	kit, _ := fakeKit(t, on(st))
	w := httptest.NewRecorder()
	kit.Manager().Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, hookURL+"/x", strings.NewReader("{}")))
	require.Zero(t, st.lookups)
}
