package integrations_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/faultstore"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// purging is a host whose tenants are purged, at a provider with webhooks.
type purging struct {
	t   *testing.T
	kit *integrationstest.Kit
	st  *faultstore.Store
	cfg integrations.Config
}

type changeConfig func(*integrations.Config, *providers.OAuth2Config)

func newPurging(t *testing.T, change ...changeConfig) *purging {
	p := &purging{t: t, kit: integrationstest.New(t), st: faultstore.New(memstore.New())}
	p.cfg = p.kit.Config()
	p.cfg.Store = p.st
	p.cfg.AllowLabel = func(context.Context, integrations.Identity, string, string) bool { return true }
	v, err := webhook.NewHMAC(hookScheme)
	require.NoError(t, err)
	oauth := p.kit.OAuth.Config(acmeKey)
	oauth.Webhook = &providers.OAuth2Webhook{Verifier: v, Account: "account", Type: "type", ID: "id", TimestampSigned: true}
	for _, fn := range change {
		fn(&p.cfg, &oauth)
	}
	p.cfg.Providers = []providers.Provider{providers.NewOAuth2(oauth)}
	p.kit.Use(p.cfg)
	return p
}

func shared(_ *integrations.Config, o *providers.OAuth2Config)     { o.Shared = true }
func revokesOne(_ *integrations.Config, o *providers.OAuth2Config) { o.RevokesOneGrant = true }

// connect connects a tenant to an account under a label and returns the refresh
// token in its row.
func (p *purging) connect(tenant, label, account string) string {
	p.t.Helper()
	b := p.kit.Browser(tenant, "u")
	b.Account = account
	require.Equal(p.t, "connected", result(p.t, b.Open(p.kit.ConnectURL(acmeKey)+"?label="+label)))
	in, err := p.st.Find(p.t.Context(), tenant, acmeKey, label)
	require.NoError(p.t, err)
	return p.refreshIn(in)
}

func (p *purging) refreshIn(in store.Integration) string {
	p.t.Helper()
	_, refresh, err := token.OpenGrant(p.cfg.Cipher, in)
	require.NoError(p.t, err)
	return refresh.Reveal()
}

func (p *purging) alive(refresh string) bool { return p.kit.OAuth.Tokens.Current(refresh) }

// conn is the default connection of a tenant.
func (p *purging) conn(tenant string) *providers.Connection {
	p.t.Helper()
	c, err := p.kit.Manager().Connection(p.t.Context(), tenant, acmeKey)
	require.NoError(p.t, err)
	return c
}

// furnish gives a tenant rows in every table and returns its integration.
func (p *purging) furnish(tenant string) store.Ref {
	p.t.Helper()
	ctx := p.t.Context()
	p.connect(tenant, "", "A-"+tenant)
	conn := p.conn(tenant)
	_, err := conn.OpenEndpoint(ctx)
	require.NoError(p.t, err)
	require.NoError(p.t, conn.SaveSubscription(ctx, providers.Subscription{Name: "s", RemoteID: "7"}))
	require.NoError(p.t, conn.Checkpoint("cursor").Save(ctx, []byte("3")))
	_, ok, err := conn.TryLease(ctx, "sync", time.Hour)
	require.NoError(p.t, err)
	require.True(p.t, ok)
	for i, state := range []store.DeliveryState{store.Done, store.Dead, store.Pending} {
		require.Equal(p.t, http.StatusOK, p.kit.Send(p.event(tenant, fmt.Sprint(i))).StatusCode)
		if state == store.Pending {
			continue
		}
		claimed, err := p.st.ClaimDeliveries(ctx, store.ClaimDeliveries{Owner: "w", Limit: 10, TTL: time.Hour, Match: []store.Match{{Provider: acmeKey}}})
		require.NoError(p.t, err)
		for _, d := range claimed.Deliveries {
			_, err := p.st.RecordDeliveries(ctx, store.RecordDeliveries{Ends: []store.FinishDelivery{{ID: d.ID, Owner: "w", State: state}}})
			require.NoError(p.t, err)
		}
	}
	p.kit.Browser(tenant, "u").Do(http.MethodGet, p.kit.ConnectURL(acmeKey), nil, "none") // an open flow
	return store.Ref{TenantID: tenant, ID: conn.IntegrationID()}
}

// event is a webhook about a tenant's account.
func (p *purging) event(tenant, id string) *http.Request {
	return sign(hookURL, hookScheme.Secrets[0], `{"id":"`+tenant+id+`","type":"changed","account":"A-`+tenant+`"}`)
}

// rows counts what there is of a tenant, by table.
func (p *purging) rows(ref store.Ref) map[string]int {
	p.t.Helper()
	ctx := p.t.Context()
	n := map[string]int{}
	count := func(table string, rows int, err error) {
		require.NoError(p.t, err)
		if rows > 0 {
			n[table] = rows
		}
	}
	list, err := p.st.List(ctx, ref.TenantID)
	count("integrations", len(list), err)
	flows, err := p.st.CountFlows(ctx, ref.TenantID, time.Hour)
	count("flows", flows, err)
	inbox, err := p.st.ListDeliveries(ctx, store.DeliveryQuery{TenantID: ref.TenantID, Limit: 1000})
	count("deliveries", len(inbox), err)
	_, version, err := p.st.Checkpoint(ctx, ref, "cursor")
	count("cursor", int(version), err)
	endpoints, err := p.st.ListEndpoints(ctx, ref)
	count("endpoints", len(endpoints), err)
	subs, err := p.st.ListSubscriptions(ctx, ref)
	count("subscriptions", len(subs), err)
	return n
}

// all are the rows of furnish: flows of the connect and of the open one, the change
// of the connect beside three webhooks.
var all = map[string]int{"integrations": 1, "flows": 2, "deliveries": 4, "cursor": 1, "endpoints": 1, "subscriptions": 1}

func TestPurgeRemovesATenantAndNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPurging(t)
		ref, other := p.furnish("t1"), p.furnish("t2")
		require.Equal(t, all, p.rows(ref))
		began := time.Now()
		r, err := p.kit.Manager().Purge(t.Context(), "t1")
		require.NoError(t, err)
		require.Empty(t, p.rows(ref))
		require.Equal(t, all, p.rows(other))
		require.False(t, p.kit.OAuth.Tokens.Live("A-t1"))
		require.True(t, p.kit.OAuth.Tokens.Live("A-t2"))
		require.Equal(t, integrations.PurgeReceipt{
			TenantID: "t1", StartedAt: began.UTC(), FinishedAt: time.Now().UTC(),
			Integrations: []integrations.PurgedIntegration{{
				ID: ref.ID, Provider: acmeKey, ExternalID: "A-t1", Status: integrations.StatusActive, Grant: integrations.GrantRevoked,
			}},
			// A cursor and a lease are rows of one table.
			Removed: integrations.PurgedRows{Integrations: 1, Flows: 2, Deliveries: 4, Checkpoints: 2, Endpoints: 1, Subscriptions: 1},
		}, r)
		require.Equal(t, 15*time.Second, r.FinishedAt.Sub(r.StartedAt))
		_, err = p.kit.Manager().Connection(t.Context(), "t1", acmeKey)
		require.ErrorIs(t, err, integrations.ErrNotConnected)

		again, err := p.kit.Manager().Purge(t.Context(), "t1")
		require.NoError(t, err)
		require.Empty(t, again.Integrations)
		require.Zero(t, again.Removed)
		require.Equal(t, again.StartedAt, again.FinishedAt, "nothing to wait for")
		text, err := json.Marshal(again)
		require.NoError(t, err)
		require.Contains(t, string(text), `"integrations":[]`)

		p.connect("t1", "", "A-t1") // the name may be used anew
		require.NoError(t, p.kit.Manager().Drain(t.Context()))
	})
}

func TestPurgeOfNobody(t *testing.T) {
	p := newPurging(t)
	require.Equal(t, http.StatusOK, p.kit.Send(p.event("stranger", "1")).StatusCode)
	for _, tenant := range []string{"", strings.Repeat("x", 192)} {
		_, err := p.kit.Manager().Purge(t.Context(), tenant)
		require.ErrorIs(t, err, integrations.ErrInvalid)
	}
	unrouted, err := p.st.ListDeliveries(t.Context(), store.DeliveryQuery{AllTenants: true})
	require.NoError(t, err)
	require.Len(t, unrouted, 1)

	cfg := p.cfg
	cfg.Store = bare{p.st}
	cfg.Providers = []providers.Provider{providers.NewOAuth2(p.kit.OAuth.Config(acmeKey))}
	_, err = p.kit.Use(cfg).Purge(t.Context(), "t1")
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// TestPurgeThatIsInterrupted: wherever the store fails, the next call finishes, and
// no grant is left alive.
func TestPurgeThatIsInterrupted(t *testing.T) {
	down := errors.New("the store is down")
	for _, when := range []faultstore.When{faultstore.Before, faultstore.After} {
		steps := 0
		for n := 1; n == 1 || n <= steps; n++ {
			synctest.Test(t, func(t *testing.T) {
				p := newPurging(t)
				ref := p.furnish("t1")
				p.st.Reset()
				p.st.FailNth(n, when, down)
				_, err := p.kit.Manager().Purge(t.Context(), "t1")
				if n == 1 {
					require.ErrorIs(t, err, down)
				}
				if err != nil {
					require.ErrorIs(t, err, down)
				}
				p.st.Reset()
				m, err := integrations.New(t.Context(), p.cfg) // another process
				require.NoError(t, err)
				p.st.Reset()
				r, err := m.Purge(t.Context(), "t1")
				require.NoError(t, err)
				if n == 1 {
					steps = len(p.st.Calls())
					require.Greater(t, steps, 10)
				}
				require.Empty(t, p.rows(ref), "call %d", n)
				require.False(t, p.kit.OAuth.Tokens.Live("A-t1"), "call %d", n)
				for _, in := range r.Integrations {
					require.Equal(t, integrations.GrantRevoked, in.Grant, "call %d", n)
				}
			})
		}
	}
}

func TestPurgeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPurging(t)
		ref := p.furnish("t1")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r, err := p.kit.Manager().Purge(ctx, "t1")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, r.Integrations, 1)
		require.True(t, r.FinishedAt.IsZero())
		require.False(t, p.kit.OAuth.Tokens.Live("A-t1"), "what it says is done")
		began := time.Now()
		r, err = p.kit.Manager().Purge(t.Context(), "t1")
		require.NoError(t, err)
		require.Equal(t, integrations.StatusDisconnected, r.Integrations[0].Status)
		require.Empty(t, p.rows(ref))
		require.Equal(t, 10*time.Second, time.Since(began), "the rest of the wait")
	})
}

// TestADisconnectAfterAnInterruptedPurge: the tokens that a purge left to be revoked
// are.
func TestADisconnectAfterAnInterruptedPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPurging(t)
		p.connect("t1", "", "A-t1")
		ctx, cancel := context.WithCancel(t.Context())
		p.st.Fail(func(_ int, method string) (faultstore.When, error) {
			if method == "ListSubscriptions" { // the status is set by then
				cancel()
			}
			return faultstore.Before, nil
		})
		_, err := p.kit.Manager().Purge(ctx, "t1")
		require.ErrorIs(t, err, context.Canceled)
		p.st.Reset()
		list, err := p.kit.Manager().Integrations(t.Context(), "t1")
		require.NoError(t, err)
		require.Equal(t, integrations.StatusDisconnected, list[0].Status)
		require.True(t, p.kit.OAuth.Tokens.Live("A-t1"))
		require.NoError(t, p.kit.Manager().Disconnect(t.Context(), "t1", list[0].ID))
		require.False(t, p.kit.OAuth.Tokens.Live("A-t1"))
		in, err := p.st.Get(t.Context(), "t1", list[0].ID)
		require.NoError(t, err)
		require.Empty(t, in.AccessToken)
		require.Empty(t, in.RefreshToken)
	})
}

func TestPurgeAsksAProviderThatFailsOnceMore(t *testing.T) {
	for name, c := range map[string]struct {
		fails int
		want  integrations.GrantEnd
	}{"once": {1, integrations.GrantRevoked}, "for good": {9, integrations.GrantFailed}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				var p *purging
				p = newPurging(t, func(cfg *integrations.Config, _ *providers.OAuth2Config) {
					cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
						if r.URL.Path == "/revoke" {
							if calls++; calls <= c.fails {
								return nil, errors.New("no route to host")
							}
						}
						return p.kit.Network.RoundTrip(r)
					})
				})
				ref := p.furnish("t1")
				r, err := p.kit.Manager().Purge(t.Context(), "t1")
				require.NoError(t, err)
				require.Equal(t, 2, calls)
				require.Equal(t, c.want, r.Integrations[0].Grant)
				require.Equal(t, c.want == integrations.GrantFailed, r.Integrations[0].Error != "")
				require.Empty(t, p.rows(ref), "what is here goes all the same")
			})
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestPurgeOfSharedAccounts: a grant that another tenant's access hangs on is left
// alone; all of the tenant's own go, however many are of one account.
func TestPurgeOfSharedAccounts(t *testing.T) {
	for name, one := range map[string]bool{"one revocation may end all": false, "each grant ends alone": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				change := []changeConfig{shared}
				if one {
					change = append(change, revokesOne)
				}
				p := newPurging(t, change...)
				default1, eu1 := p.connect("t1", "", "SAME"), p.connect("t1", "eu", "SAME")
				alone := p.connect("t1", "us", "OTHER")
				other := p.connect("t2", "", "SAME")
				r, err := p.kit.Manager().Purge(t.Context(), "t1")
				require.NoError(t, err)
				got := map[string]integrations.GrantEnd{}
				for _, in := range r.Integrations {
					got[in.Label] = in.Grant
				}
				same := integrations.GrantInUse
				if one {
					same = integrations.GrantRevoked
				}
				require.Equal(t, map[string]integrations.GrantEnd{"": same, "eu": same, "us": integrations.GrantRevoked}, got)
				require.Equal(t, !one, p.alive(default1))
				require.Equal(t, !one, p.alive(eu1))
				require.False(t, p.alive(alone))
				require.True(t, p.alive(other), "the other tenant's access was taken away")

				r, err = p.kit.Manager().Purge(t.Context(), "t2")
				require.NoError(t, err)
				require.Equal(t, integrations.GrantRevoked, r.Integrations[0].Grant)
				require.False(t, p.alive(other))
			})
		})
	}
}

// TestPurgeOfOneAccountUnderTwoLabels: neither keeps the other's grant from being
// revoked.
func TestPurgeOfOneAccountUnderTwoLabels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPurging(t, shared)
		a, b := p.connect("t1", "", "SAME"), p.connect("t1", "eu", "SAME")
		_, err := p.kit.Manager().Purge(t.Context(), "t1")
		require.NoError(t, err)
		require.False(t, p.alive(a))
		require.False(t, p.alive(b))
	})
}

// TestPurgeBesideAConnect: a grant that comes while its tenant is purged is stored
// before and purged, or refused and revoked.
func TestPurgeBesideAConnect(t *testing.T) {
	for _, removed := range []time.Duration{0, 5 * time.Second, 40 * time.Second} {
		t.Run(fmt.Sprint("the code is exchanged for ", removed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p *purging
				var purge func()
				p = newPurging(t, func(cfg *integrations.Config, _ *providers.OAuth2Config) {
					cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
						resp, err := p.kit.Network.RoundTrip(r)
						if r.URL.Path == "/me" && purge != nil {
							purge()
							time.Sleep(removed)
						}
						return resp, err
					})
				})
				p.connect("t1", "eu", "A-t1-eu") // something to wait for
				b := p.kit.Browser("t1", "u")
				b.Account = "A-t1"
				cb := toCallback(t, p.kit, b, acmeKey)
				done := make(chan error, 1)
				var r integrations.PurgeReceipt
				purge = func() {
					go func() {
						var err error
						r, err = p.kit.Manager().Purge(context.Background(), "t1")
						done <- err
					}()
					synctest.Wait() // as far as it comes at once: the flow is gone
				}
				v := back(b, cb)
				require.NoError(t, <-done)
				require.Equal(t, "state_invalid", result(t, v))
				require.Len(t, r.Integrations, 1)
				require.False(t, p.kit.OAuth.Tokens.Live("A-t1"), "an orphan is alive")
				require.Empty(t, p.rows(store.Ref{TenantID: "t1"}))
			})
		})
	}
}

// TestPurgeOfWhatIsConnectedMeanwhile: a connect that began after the purge is
// purged with the rest if it is done in time.
func TestPurgeOfWhatIsConnectedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPurging(t)
		p.connect("t1", "", "A-t1")
		done := make(chan error, 1)
		var r integrations.PurgeReceipt
		go func() {
			var err error
			r, err = p.kit.Manager().Purge(t.Context(), "t1")
			done <- err
		}()
		time.Sleep(time.Second)
		second := p.connect("t1", "", "A-t1") // in the very row
		third := p.connect("t1", "eu", "B-t1")
		require.NoError(t, <-done)
		require.Empty(t, p.rows(store.Ref{TenantID: "t1"}))
		require.False(t, p.alive(second))
		require.False(t, p.alive(third))
		require.Len(t, r.Integrations, 3)
	})
}

func TestPurgeGivesUpOnATenantThatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPurging(t)
		p.connect("t1", "", "A-t1")
		p.st.Fail(func(_ int, method string) (faultstore.When, error) {
			if method == "SetStatus" {
				go func() {
					time.Sleep(time.Second)
					p.kit.Connect("t1", acmeKey, "A-t1")
				}()
			}
			return faultstore.Before, nil
		})
		_, err := p.kit.Manager().Purge(t.Context(), "t1")
		require.ErrorIs(t, err, integrations.ErrConflict)
		p.st.Fail(nil)
		_, err = p.kit.Manager().Purge(t.Context(), "t1")
		require.NoError(t, err)
		require.False(t, p.kit.OAuth.Tokens.Live("A-t1"))
	})
}

// TestPurgeBesideARefresh: what the refresh brings is revoked, wherever the purge
// comes in between.
func TestPurgeBesideARefresh(t *testing.T) {
	for _, answered := range []bool{false, true} {
		t.Run(fmt.Sprint("the provider has rotated: ", answered), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p *purging
				purge := func() {}
				p = newPurging(t, func(cfg *integrations.Config, _ *providers.OAuth2Config) {
					cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
						if r.URL.Path != "/token" {
							return p.kit.Network.RoundTrip(r)
						}
						if !answered {
							purge()
						}
						resp, err := p.kit.Network.RoundTrip(r)
						if answered {
							purge()
						}
						return resp, err
					})
				})
				p.connect("t1", "", "A-t1")
				conn := p.conn("t1")
				time.Sleep(2 * time.Hour)
				done := make(chan error, 1)
				purge = func() {
					go func() {
						_, err := p.kit.Manager().Purge(context.Background(), "t1")
						done <- err
					}()
					synctest.Wait()
				}
				err := conn.Check(t.Context())
				require.Error(t, err)
				require.NoError(t, <-done)
				require.False(t, p.kit.OAuth.Tokens.Live("A-t1"), "an orphan is alive")
				for value := range p.kit.OAuth.Tokens.Presented() {
					require.False(t, p.alive(value))
				}
				require.Empty(t, p.rows(store.Ref{TenantID: "t1"}))
				require.ErrorIs(t, conn.Check(t.Context()), integrations.ErrNotConnected)
			})
		})
	}
}

// TestPurgeWaitsForOtherReplicas: what a replica writes that has not heard of the
// end goes too.
func TestPurgeWaitsForOtherReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPurging(t)
		ref := p.furnish("t1")
		other, err := integrations.New(t.Context(), p.cfg)
		require.NoError(t, err)
		conn, err := other.Connection(t.Context(), "t1", acmeKey)
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() {
			_, err := p.kit.Manager().Purge(t.Context(), "t1")
			done <- err
		}()
		wrote := map[string]time.Duration{}
		for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(time.Second) {
			at := time.Since(began)
			note := func(what string, err error) {
				if err == nil {
					wrote[what] = at
					return
				}
				require.True(t, errors.Is(err, integrations.ErrDisconnected) || errors.Is(err, integrations.ErrNotConnected), "%s: %v", what, err)
			}
			cp := conn.Checkpoint(fmt.Sprint("late ", at))
			note("checkpoint", cp.Save(t.Context(), []byte("x")))
			_, _, err := conn.TryLease(t.Context(), fmt.Sprint("late ", at), time.Hour)
			note("lease", err)
			_, err = conn.OpenEndpoint(t.Context())
			note("endpoint", err)
			note("subscription", conn.SaveSubscription(t.Context(), providers.Subscription{Name: fmt.Sprint(at), RemoteID: "1"}))
			p.kit.Send(p.event("t1", fmt.Sprint(at)))
		}
		require.NoError(t, <-done)
		require.Equal(t, []string{"checkpoint", "endpoint", "lease", "subscription"}, slices.Sorted(maps.Keys(wrote)))
		for what, at := range wrote {
			require.Less(t, at, 10*time.Second, what)
		}
		require.Empty(t, p.rows(ref))
		n, err := p.st.PurgeRows(t.Context(), "t1", store.TableCheckpoints, 1000)
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

// slowInbox takes its time to store a webhook, as long as the receiver allows.
type slowInbox struct {
	*memstore.Store
	lasts time.Duration
}

func (s slowInbox) InsertDeliveries(ctx context.Context, ds []store.Delivery) ([]bool, error) {
	time.Sleep(s.lasts)
	return s.Store.InsertDeliveries(ctx, ds)
}

// TestPurgeWaitsForAWebhookOnItsWay: one that was routed before leaves no row.
func TestPurgeWaitsForAWebhookOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPurging(t)
		st := slowInbox{memstore.New(), 9900 * time.Millisecond}
		cfg := p.cfg
		cfg.Store, cfg.CacheFor, cfg.CommitBudget = st, time.Second, time.Second
		m := p.kit.Use(cfg)
		p.kit.Connect("t1", acmeKey, "A-t1")
		answered := make(chan int, 1)
		go func() { answered <- p.kit.Send(p.event("t1", "late")).StatusCode }()
		synctest.Wait() // it is routed
		r, err := m.Purge(t.Context(), "t1")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, <-answered)
		require.Equal(t, 2, r.Removed.Deliveries, "the change of the connect and the webhook")
		left, err := st.ListDeliveries(t.Context(), store.DeliveryQuery{TenantID: "t1"})
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

func TestAPurgedTenantsRecordInTheJournalIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrashed(t)
		cfg := c.cfg
		cfg.Journal = nil // of a replica that has another
		other, err := integrations.New(t.Context(), cfg)
		require.NoError(t, err)
		_, err = other.Purge(t.Context(), "t1")
		require.NoError(t, err)
		_, err = integrations.New(t.Context(), c.cfg)
		require.NoError(t, err)
		require.Empty(t, c.records(t))
		require.False(t, c.kit.OAuth.Tokens.Live("T-t1"), "an orphan is alive")
	})
}

func ExampleManager_Purge() {
	kit := integrationstest.New(exampleTB{})
	// Somebody of the tenant has begun to connect Slack.
	kit.Browser("tenant-1", "user-1").Do(http.MethodGet, kit.ConnectURL("slack"), nil, "none")

	receipt, err := kit.Manager().Purge(context.Background(), "tenant-1")
	removed, _ := json.Marshal(receipt.Removed)
	fmt.Println(string(removed), err)
	// Output: {"integrations":0,"flows":1,"deliveries":0,"checkpoints":0,"endpoints":0,"subscriptions":0} <nil>
}

// exampleTB is what the kit needs of a test.
type exampleTB struct{}

func (exampleTB) Helper()                           {}
func (exampleTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
