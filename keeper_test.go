package integrations_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// keeping is a provider that keeps subscriptions.
type keeping struct {
	hooked
	declared string
	kept     *[]string // tenants, in order
	fail     error
	missed   []providers.MissedDelivery
}

func (p *keeping) DeclaredSubscriptions() string { return p.declared }

func (p *keeping) KeepSubscriptions(_ context.Context, conn *providers.Connection) error {
	*p.kept = append(*p.kept, conn.TenantID()+p.declared)
	if p.fail != nil && p.fail.Error() == "panic" {
		panic("adapter")
	}
	return p.fail
}

func (p *keeping) ReadMissed(ctx context.Context, _ *providers.Connection, accept func(context.Context, providers.MissedDelivery) error) error {
	for _, d := range p.missed {
		if err := accept(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func keepingKit(t *testing.T) (*integrationstest.Kit, *keeping, integrations.Config) {
	kit := newKit(t)
	v, err := webhook.NewHMAC(hookScheme)
	require.NoError(t, err)
	p := &keeping{
		hooked: hooked{Provider: providers.NewOAuth2(kit.OAuth.Config(acmeKey)), hmac: v, revoked: &providers.Revocation{}, ended: &[]providers.Subscription{}},
		kept:   &[]string{},
	}
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{p}
	kit.Use(cfg)
	return kit, p, cfg
}

// take drains a Manager and returns which integrations were looked at.
func (p *keeping) take(t *testing.T, m *integrations.Manager) []string {
	t.Helper()
	*p.kept = nil
	require.NoError(t, m.Drain(t.Context()))
	return *p.kept
}

func TestSubscriptionsAreKeptAfterAConnectAndEveryFewHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p, _ := keepingKit(t)
		m := kit.Manager()
		kit.Connect("t1", acmeKey)
		require.Equal(t, []string{"t1"}, p.take(t, m))
		require.Empty(t, p.take(t, m))
		conn := connOf(t, kit)
		subs, err := conn.Subscriptions(t.Context())
		require.NoError(t, err)
		require.Empty(t, subs, "its row is none of the host's")
		require.ErrorIs(t, conn.SaveSubscription(t.Context(), providers.Subscription{Name: "integrations.keeper"}), providers.ErrInvalid)
		time.Sleep(5 * time.Hour)
		require.Empty(t, p.take(t, m))
		time.Sleep(2 * time.Hour)
		require.Equal(t, []string{"t1"}, p.take(t, m))

		// Connected again: at once.
		kit.Connect("t1", acmeKey)
		require.Equal(t, []string{"t1"}, p.take(t, m))
		require.NoError(t, m.Disconnect(t.Context(), "t1", conn.IntegrationID()))
		time.Sleep(24 * time.Hour)
		require.Empty(t, p.take(t, m))
		kit.Connect("t1", acmeKey)
		require.Equal(t, []string{"t1"}, p.take(t, m))
	})
}

func TestKeepingIsTriedAgainMoreAndMoreSeldom(t *testing.T) {
	for name, fault := range map[string]error{"error": errors.New("Jira says no"), "panic": errors.New("panic")} {
		synctest.Test(t, func(t *testing.T) {
			kit, p, _ := keepingKit(t)
			kit.Connect("t1", acmeKey)
			p.fail = fault
			tries := 0
			for range 24 * 60 { // minutes
				tries += len(p.take(t, kit.Manager()))
				time.Sleep(time.Minute)
			}
			// At 0, 10, 30, 70, 150, 310 and 630 minutes, and after 12 hours more.
			require.Equal(t, 8, tries, name)
			p.fail = nil
			time.Sleep(12 * time.Hour)
			require.Len(t, p.take(t, kit.Manager()), 1, name)
			time.Sleep(7 * time.Hour)
			p.fail = fault
			require.Len(t, p.take(t, kit.Manager()), 1, name)
			time.Sleep(11 * time.Minute)
			require.Len(t, p.take(t, kit.Manager()), 1, "the count began anew")
		})
	}
}

// forgetful loses what is put, as a process does that dies after Connect.
type forgetful struct {
	*memstore.Store
	lost int
}

func (s *forgetful) PutSubscription(context.Context, store.Subscription) error {
	s.lost++
	return errors.New("killed")
}

func TestAnIntegrationWhoseConnectWasCutOffIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p, cfg := keepingKit(t)
		st := &forgetful{Store: memstore.New()}
		cfg.Store = st
		m := kit.Use(cfg)
		kit.Connect("t1", acmeKey)
		require.Equal(t, 1, st.lost)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"t1"}, *p.kept, "looked for when Run begins")
		kit.Connect("t2", acmeKey)
		time.Sleep(time.Hour + time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"t1", "t2"}, *p.kept, "and every hour")
		cancel()
		require.NoError(t, <-done)
	})
}

// TestADeclarationThatChangesReachesAll: during a deploy the processes of the old
// configuration leave to the new ones what those have made due, and the other way
// round after a rollback.
func TestADeclarationThatChangesReachesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p, cfg := keepingKit(t)
		old := kit.Manager()
		kit.Connect("t1", acmeKey)
		kit.Connect("t2", acmeKey)
		require.Len(t, p.take(t, old), 2)

		next := *p
		next.declared = "+v2"
		cfg.Providers = []providers.Provider{&next}
		deployed := kit.Use(cfg)
		require.ElementsMatch(t, []string{"t1+v2", "t2+v2"}, p.take(t, deployed))
		require.Empty(t, p.take(t, deployed))

		// Another process of the old configuration starts: it asks for its own.
		require.ElementsMatch(t, []string{"t1", "t2"}, p.take(t, old))
		require.ElementsMatch(t, []string{"t1+v2", "t2+v2"}, p.take(t, deployed))
		time.Sleep(7 * time.Hour)
		require.ElementsMatch(t, []string{"t1+v2", "t2+v2"}, p.take(t, deployed))
	})
}

func TestWhatCannotBeUsedIsLeftInPeace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p := fakeKit(t)
		k := &keeping{kept: &[]string{}}
		both := struct {
			*fake
			*keeper
		}{p, &keeper{k}}
		cfg := kit.Config()
		cfg.Providers = []providers.Provider{both}
		m := kit.Use(cfg)
		kit.Connect("t1", acmeKey)
		require.Equal(t, []string{"t1"}, k.take(t, m))
		send(t, kit, `{"id":"pause","account":"T-t1"}`)
		require.NoError(t, m.Drain(t.Context()))
		time.Sleep(7 * time.Hour)
		require.Empty(t, k.take(t, m), "suspended")
		send(t, kit, `{"id":"resume","account":"T-t1"}`)
		require.NoError(t, m.Drain(t.Context()))
		require.Equal(t, []string{"t1"}, k.take(t, m), "back again")
		send(t, kit, `{"id":"bye","account":"T-t1"}`)
		require.NoError(t, m.Drain(t.Context()))
		time.Sleep(7 * time.Hour)
		require.Empty(t, k.take(t, m), "uninstalled")
		subs, err := cfg.Store.(store.Endpoints).ClaimSubscriptions(t.Context(), store.ClaimSubscriptions{Owner: "o", Limit: 9, TTL: time.Minute, Providers: []string{acmeKey}})
		require.NoError(t, err)
		require.Empty(t, subs)
	})
}

// keeper is the ability alone.
type keeper struct{ k *keeping }

func (p *keeper) DeclaredSubscriptions() string { return "" }
func (p *keeper) KeepSubscriptions(ctx context.Context, conn *providers.Connection) error {
	return p.k.KeepSubscriptions(ctx, conn)
}

// TestMissedDeliveriesGoThroughTheInbox: under the ids they would have come with,
// for their own integration only.
func TestMissedDeliveriesGoThroughTheInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p, cfg := keepingKit(t)
		var seen []integrations.RecoveryEvent
		cfg.Observer = observer(func(e any) {
			if r, ok := e.(integrations.RecoveryEvent); ok {
				seen = append(seen, r)
			}
		})
		m := kit.Use(cfg)
		got := collect(kit, acmeKey)
		kit.Connect("t1", acmeKey)
		require.NoError(t, connOf(t, kit).SaveSubscription(t.Context(), providers.Subscription{Name: "s", RemoteID: "7"}))
		send(t, kit, `{"id":"arrived","account":"T-t1"}`)
		for _, body := range []string{
			`{"id":"arrived","account":"T-t1"}`, `{"id":"missed","account":"T-t1"}`, `not JSON`, `{"id":"","account":"T-t1"}`,
			`{"id":"another's","account":"T-t2"}`, `{"id":"nobody's"}`, `{"id":"mine","account":"T-t1","subscription":"7"}`,
			`{"id":"not mine","account":"T-t1","subscription":"8"}`,
		} {
			p.missed = append(p.missed, providers.MissedDelivery{Body: []byte(body)})
		}
		require.NoError(t, m.Drain(t.Context()))
		require.Len(t, got(), 3, "arrived, missed, mine")
		require.Len(t, seen, 1)
		require.Equal(t, 2, seen[0].Stored)
		require.Equal(t, "t1", seen[0].TenantID)
		rows, err := inboxOf(cfg).ListDeliveries(t.Context(), store.DeliveryQuery{AllTenants: true, Provider: acmeKey})
		require.NoError(t, err)
		require.Len(t, rows, 3)
		for _, r := range rows {
			require.Equal(t, "t1", r.TenantID)
		}
	})
}

func inboxOf(cfg integrations.Config) store.Inbox { return cfg.Store.(store.Inbox) }

type observer func(any)

func (o observer) Observe(_ context.Context, e any) { o(e) }
