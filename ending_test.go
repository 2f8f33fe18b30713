package integrations_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/faultstore"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/stretchr/testify/require"
)

const day = 24 * time.Hour

// replicas are Managers on one store who do at the same time what is due.
type replicas struct {
	t   *testing.T
	ms  []*integrations.Manager
	mu  sync.Mutex
	got []integrations.Change
}

func twoReplicas(t *testing.T, kit *integrationstest.Kit, cfg integrations.Config) *replicas {
	r := &replicas{t: t}
	for range 2 {
		m := kit.Use(cfg)
		m.OnChange(func(_ context.Context, c integrations.Change) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.got = append(r.got, c)
			return nil
		})
		r.ms = append(r.ms, m)
	}
	return r
}

// pass lets time pass and does what is due at each step.
func (r *replicas) pass(d, step time.Duration) {
	r.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(step)
		var work sync.WaitGroup
		for _, m := range r.ms {
			work.Go(func() {
				if err := m.Drain(r.t.Context()); err != nil {
					r.t.Error(err)
				}
			})
		}
		work.Wait()
	}
}

// told are the changes of a kind since the last call.
func (r *replicas) told(kind integrations.ChangeKind) (out []integrations.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.got {
		if c.Kind == kind {
			out = append(out, c)
		}
	}
	r.got = nil
	return out
}

// TestAGrantThatEndsIsTold: Atlassian ends a grant a year after consent, however
// often it is used.
func TestAGrantThatEndsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		r := twoReplicas(t, kit, cfg)
		for range 2 { // the second time it is connected again
			kit.Connect("t1", jiraapp.Key)
			ends := time.Now().Add(365 * day)
			r.pass(350*day, 12*time.Hour)
			require.Empty(t, r.told(integrations.ChangeGrantEnding))
			require.Equal(t, integrations.ActionNone, only(t, r.ms[0]).Explain().Action)
			r.pass(2*day, 12*time.Hour)
			got := r.told(integrations.ChangeGrantEnding)
			require.Len(t, got, 1, "once, by two replicas")
			require.WithinDuration(t, ends, got[0].EndsAt, time.Minute)
			require.WithinDuration(t, ends.Add(-14*day), got[0].At, day)
			require.Equal(t, "t1", got[0].TenantID)
			require.Equal(t, integrations.StatusActive, got[0].Status)
			require.Equal(t, integrations.ActionReconnect, only(t, r.ms[0]).Explain().Action)
			r.pass(5*day, 12*time.Hour) // many renewals later
			require.Empty(t, r.told(integrations.ChangeGrantEnding))
		}
	})
}

// TestAGrantThatRenewsIsNotTold: a short life without use ends nothing that Run
// uses.
func TestAGrantThatRenewsIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p := fakeKit(t)
		changes := listen(kit)
		p.life, p.longer = 10*day, 10*day
		kit.Connect("t1", acmeKey)
		for range 40 {
			time.Sleep(12 * time.Hour)
			for _, c := range changes.since(t) {
				require.NotEqual(t, integrations.ChangeGrantEnding, c.Kind)
			}
		}
		in := only(t, changes.m)
		require.True(t, in.GrantRenews)
		require.Equal(t, integrations.ActionNone, in.Explain().Action)

		p.longer = 0 // from now on they do not
		ends := time.Now().Add(10 * day)
		time.Sleep(24 * time.Hour)
		got := changes.since(t)
		require.Len(t, got, 1)
		require.Equal(t, integrations.ChangeGrantEnding, got[0].Kind)
		require.WithinDuration(t, ends, got[0].EndsAt, day)
		require.False(t, only(t, changes.m).GrantRenews)

		p.longer = 100 * day // and now they do again, once
		time.Sleep(24 * time.Hour)
		require.Empty(t, changes.since(t))
		p.longer = 0
		time.Sleep(87 * day)
		require.Empty(t, only(t, changes.m).LastError)
		require.Len(t, changes.since(t), 1, "another end")
	})
}

// notRenewing is a provider whose tokens nothing renews.
type notRenewing struct{ providers.Provider }

func TestTheEndOfATokenThatNothingRenewsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := newKit(t)
		cfg := kit.Config()
		cfg.Providers = []providers.Provider{notRenewing{providers.NewOAuth2(kit.OAuth.Config(acmeKey))}}
		kit.OAuth.Tokens.SetLife(60 * day)
		r := twoReplicas(t, kit, cfg)
		kit.Connect("t1", acmeKey)
		ends := time.Now().Add(60 * day)
		r.pass(45*day, day)
		require.Empty(t, r.told(integrations.ChangeGrantEnding))
		r.pass(3*day, day)
		got := r.told(integrations.ChangeGrantEnding)
		require.Len(t, got, 1)
		require.WithinDuration(t, ends, got[0].EndsAt, time.Minute)
		require.WithinDuration(t, ends, only(t, r.ms[0]).GrantEndsAt, time.Minute)
	})
}

// TestAnEndIsToldOnceWhateverTheStoreDoes: what tells and what remembers that it was
// told are one.
func TestAnEndIsToldOnceWhateverTheStoreDoes(t *testing.T) {
	for _, when := range []faultstore.When{faultstore.Before, faultstore.After} {
		synctest.Test(t, func(t *testing.T) {
			st := faultstore.New(memstore.New())
			kit, p := fakeKit(t, on(st))
			changes := listen(kit)
			p.life = 20 * day
			kit.Connect("t1", acmeKey)
			time.Sleep(day)
			changes.since(t)
			time.Sleep(6 * day)
			failed := 0
			st.Fail(func(_ int, method string) (faultstore.When, error) {
				if method == "ReportEnds" && failed < 2 {
					failed++
					return when, errors.New("the network is down")
				}
				return when, nil
			})
			for range 2 {
				require.Error(t, changes.m.Drain(t.Context()))
			}
			got := changes.since(t)
			require.Len(t, got, 1, when)
			require.Equal(t, integrations.ChangeGrantEnding, got[0].Kind)
		})
	}
}

// boxless is a store without an inbox.
type boxless struct{ store.Store }

// TestAnEndWithoutAnInbox: nobody can be told, and nothing fails.
func TestAnEndWithoutAnInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := newKit(t)
		kit.OAuth.Tokens.SetLife(10 * day)
		cfg := kit.Config()
		cfg.Store, cfg.Providers = boxless{cfg.Store}, []providers.Provider{notRenewing{providers.NewOAuth2(kit.OAuth.Config(acmeKey))}}
		m := kit.Use(cfg)
		kit.Connect("t1", acmeKey)
		for range 3 {
			time.Sleep(day)
			require.NoError(t, m.Drain(t.Context()))
		}
		require.Equal(t, integrations.ActionReconnect, only(t, m).Explain().Action)
	})
}
