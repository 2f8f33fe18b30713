package token_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// reporting counts what is read and written for renewals that are held back.
type reporting struct {
	*memstore.Store
	read, written, pages atomic.Int64
}

func (s *reporting) ListDue(ctx context.Context, l store.ListDue) ([]store.Integration, error) {
	rows, err := s.Store.ListDue(ctx, l)
	s.read.Add(int64(len(rows)))
	s.pages.Add(1)
	return rows, err
}

func (s *reporting) ReportHeld(ctx context.Context, rs []store.ReportHeld) (int, error) {
	n, err := s.Store.ReportHeld(ctx, rs)
	s.written.Add(int64(n))
	return n, err
}

// turns makes changes of turns that name kind and reason; n counts them.
func turns(n *atomic.Int64) func(in store.Integration, t token.Turn) (*store.Delivery, error) {
	return func(in store.Integration, t token.Turn) (*store.Delivery, error) {
		id := fmt.Sprint("turn-", n.Add(1))
		return &store.Delivery{ID: id, DeliveryID: id, Provider: store.ChangeProvider, TenantID: in.TenantID, IntegrationID: in.ID, EventType: string(t.Kind) + " " + t.Reason}, nil
	}
}

// turns are those of a connection.
func (f *fleet) turns(t *testing.T, i int) (out []string) {
	ds, err := f.store.ListDeliveries(t.Context(), store.DeliveryQuery{TenantID: fmt.Sprint("t", i)})
	require.NoError(t, err)
	for _, d := range ds {
		out = append([]string{d.EventType}, out...)
	}
	return out
}

// TestGivenUpIsToldOfWhatWasHeldBack: a breaker is open for days, so that nearly
// none of the connections are tried. Each is told once, by two replicas.
func TestGivenUpIsToldOfWhatWasHeldBack(t *testing.T) {
	for name, cause := range map[string]*token.Error{"wrong secret": errSecret, "provider down": errDown} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n, giveUp = 120, 2 * time.Hour
				f := ended(t, n)
				f.connect(t, n, 1000*time.Hour) // lasts
				st := &reporting{Store: f.store}
				f.fail(always(cause)) // before anybody renews
				ctx, stop := context.WithCancel(t.Context())
				var work sync.WaitGroup
				var made atomic.Int64
				for range 2 {
					v := f.vault(t, func(cfg *token.VaultConfig) { cfg.Store, cfg.GiveUpAfter, cfg.Change = st, giveUp, turns(&made) })
					work.Go(func() { keep(ctx, t, v) })
				}
				began := time.Now()
				time.Sleep(10 * time.Minute)
				untried := map[int]bool{}
				for i, in := range f.rows(t, n) {
					require.Equal(t, store.Active, in.Status)
					require.Equal(t, cause.Code, in.RefreshError)
					require.WithinDuration(t, began, in.RefreshFailingSince, 3*time.Minute)
					untried[i] = in.RefreshFails == 0
				}
				require.Zero(t, f.rows(t, n+1)[n].RefreshFailingSince, "its calls do not fail")

				time.Sleep(time.Until(began.Add(giveUp - time.Minute)))
				for i := range n {
					require.NotContains(t, f.turns(t, i), "refresh_failing given_up")
				}
				time.Sleep(10 * time.Minute)
				never := 0
				for i, in := range f.rows(t, n) {
					got := f.turns(t, i)
					require.Equal(t, 1, strings.Count(strings.Join(got, ","), "given_up"), "%d: %v", i, got)
					require.True(t, token.GivenUp(in))
					require.Equal(t, store.Active, in.Status)
					if untried[i] && in.RefreshFails == 0 {
						never++
					}
				}
				t.Logf("%d of %d had no failure that counted; %d rows read, %d written", never, n, st.read.Load(), st.written.Load())
				require.Positive(t, never)
				require.LessOrEqual(t, st.written.Load(), int64(2*n), "two writes for each")
				require.Empty(t, f.turns(t, n))

				f.fail(nil)
				time.Sleep(10 * time.Minute)
				for i, in := range f.rows(t, n) {
					got := f.turns(t, i)
					require.Equal(t, "recovered ", got[len(got)-1], i)
					require.Zero(t, in.RefreshFailingSince)
					require.False(t, token.GivenUp(in))
				}
				stop()
				work.Wait()
			})
		})
	}
}

// TestHeldBackWorkIsBounded: of a big fleet a part is looked at in one go, and the
// next part in the next one.
func TestHeldBackWorkIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 4500
		f := ended(t, n)
		st := &reporting{Store: f.store}
		v := f.vault(t, func(cfg *token.VaultConfig) { cfg.Store = st })
		require.NoError(t, v.ReportHeld(t.Context(), []string{"p"}))
		require.Zero(t, st.pages.Load(), "nothing is held back")
		f.fail(always(errSecret))
		for i := range 5 {
			require.Error(t, ask(t.Context(), v, i))
		}
		require.NoError(t, v.ReportHeld(t.Context(), []string{"other"}))
		require.Zero(t, st.pages.Load(), "another provider is none of its business")
		for i, want := range []int64{2000, 2000, 500, 2000} {
			read, written := st.read.Load(), st.written.Load()
			require.NoError(t, v.ReportHeld(t.Context(), []string{"p"}))
			if i < 3 { // but for the five that were put off
				require.InDelta(t, want, st.read.Load()-read, 5, i)
				require.InDelta(t, want, st.written.Load()-written, 5, i)
			} else {
				require.Zero(t, st.written.Load()-written, "all is written already")
			}
		}
		require.InDelta(t, n, st.written.Load(), 5)
	})
}

// TestHeldBackIsOfOneHost: connections at other hosts of a provider go on.
func TestHeldBackIsOfOneHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := ended(t, 10)
		v := f.vault(t, func(cfg *token.VaultConfig) { cfg.Renewer = func(string) token.Renewer { return byTenant{f} } })
		f.fail(func(id string) error {
			if (byTenant{}).host(id) == "even" {
				return errDown
			}
			return nil
		})
		require.Empty(t, v.HeldBack())
		began := time.Now()
		for i := range 5 {
			require.Error(t, ask(t.Context(), v, 2*i))
			time.Sleep(time.Second)
		}
		held := v.HeldBack()
		require.Len(t, held, 1)
		require.WithinDuration(t, began, held[0].Since, 5*time.Second)
		held[0].Since = time.Time{}
		require.Equal(t, token.HeldBack{Provider: "p", Host: "even", Outcome: token.Transient, Code: "server_error"}, held[0])
		text, err := json.Marshal(held[0])
		require.NoError(t, err)
		require.Contains(t, string(text), `"outcome":"transient","code":"server_error"`)

		time.Sleep(time.Second)
		require.NoError(t, v.ReportHeld(t.Context(), []string{"p"}))
		for i, in := range f.rows(t, 10) {
			if i%2 == 1 {
				require.Zero(t, in.RefreshFailingSince, i)
			}
		}
		f.fail(nil)
		time.Sleep(time.Minute)
		require.NoError(t, ask(t.Context(), v, 0))
		require.Empty(t, v.HeldBack())
	})
}

// byTenant is a provider with two hosts.
type byTenant struct{ *fleet }

func (byTenant) host(id string) string {
	if (id[len(id)-1]-'0')%2 == 0 {
		return "even"
	}
	return "odd"
}

func (p byTenant) RenewHost(r token.Renewal) string { return p.host(r.IntegrationID) }
