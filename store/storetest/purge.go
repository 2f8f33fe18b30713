package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
)

var tenantTables = []store.Table{
	store.TableIntegrations, store.TableFlows, store.TableDeliveries, store.TableCheckpoints, store.TableEndpoints, store.TableSubscriptions,
}

// furnish gives a tenant n rows in each table the store has, and reports which
// those are. Its integrations are disconnected.
func (s *suite) furnish(t *testing.T, st store.Store, tenant string, n int) []store.Table {
	t.Helper()
	ctx := t.Context()
	has := []store.Table{store.TableIntegrations, store.TableFlows}
	for i := range n {
		c := s.fresh(tenant, fmt.Sprint("slack", i))
		s.put(t, st, c)
		equal(t, "disconnected", must[bool](t)(st.SetStatus(ctx, store.SetStatus{TenantID: tenant, ID: c.ID, To: store.Disconnected})), true)
		ok(t, st.PutFlow(ctx, s.flow(tenant)))
	}
	if in, is := st.(store.Inbox); is {
		has = append(has, store.TableDeliveries)
		for range n {
			must[[]bool](t)(in.InsertDeliveries(ctx, []store.Delivery{s.delivery(tenant, s.id("int"))}))
		}
	}
	if cp, is := st.(store.Checkpoints); is {
		has = append(has, store.TableCheckpoints)
		for i := range n {
			must[int64](t)(cp.SaveCheckpoint(ctx, store.Ref{TenantID: tenant, ID: "i"}, fmt.Sprint("n", i), []byte("x"), 0))
		}
	}
	if es, is := st.(store.Endpoints); is {
		has = append(has, store.TableEndpoints, store.TableSubscriptions)
		for i := range n {
			ok(t, es.PutEndpoint(ctx, store.Endpoint{ID: s.id("e"), TenantID: tenant, IntegrationID: "i", Provider: "jira", PathHash: s.id("path"), Secret: []byte{1}}))
			ok(t, es.PutSubscription(ctx, store.Subscription{TenantID: tenant, IntegrationID: "i", Provider: "jira", Name: fmt.Sprint("n", i)}))
		}
	}
	return has
}

func (s *suite) purger(t *testing.T) {
	sentence := ability[store.Purger](s, t, "Purger")
	sentence("rows of a tenant are removed up to the limit, and nobody else's", func(t *testing.T, st store.Store, pu store.Purger) {
		has := s.furnish(t, st, "t1", 3)
		s.furnish(t, st, "t2", 2)
		for _, table := range has {
			for i, want := range []int{2, 1, 0} {
				equal(t, fmt.Sprintf("call %d on %s", i, table), must[int](t)(pu.PurgeRows(t.Context(), "t1", table, 2)), want)
			}
			equal(t, "the other's "+string(table), must[int](t)(pu.PurgeRows(t.Context(), "t2", table, 10)), 2)
		}
		equal(t, "rows", len(must[[]store.Integration](t)(st.List(t.Context(), "t1"))), 0)
	})
	sentence("integrations that are not disconnected stay", func(t *testing.T, st store.Store, pu store.Purger) {
		for i, status := range []store.Status{store.Active, store.NeedsReconnect, store.Suspended, store.Revoked, store.Disconnected} {
			c := s.fresh("t1", fmt.Sprint("slack", i))
			s.put(t, st, c)
			must[bool](t)(st.SetStatus(t.Context(), store.SetStatus{TenantID: "t1", ID: c.ID, To: status}))
		}
		equal(t, "removed", must[int](t)(pu.PurgeRows(t.Context(), "t1", store.TableIntegrations, 10)), 1)
		equal(t, "left", len(must[[]store.Integration](t)(st.List(t.Context(), "t1"))), 4)
	})
	sentence("an exclusive key is free when its row is gone", func(t *testing.T, st store.Store, pu store.Purger) {
		c := s.fresh("t1", "slack")
		s.put(t, st, c)
		must[bool](t)(st.SetStatus(t.Context(), store.SetStatus{TenantID: "t1", ID: c.ID, To: store.Disconnected}))
		must[int](t)(pu.PurgeRows(t.Context(), "t1", store.TableIntegrations, 10))
		other := s.fresh("t2", "slack")
		other.ExternalID, other.ExclusiveKey = c.ExternalID, c.ExclusiveKey
		s.put(t, st, other)
	})
	sentence("unrouted deliveries are nobody's", func(t *testing.T, st store.Store, pu store.Purger) {
		in, is := st.(store.Inbox)
		if !is {
			t.Skip("the store has no Inbox")
		}
		d := s.delivery("", "")
		must[[]bool](t)(in.InsertDeliveries(t.Context(), []store.Delivery{d}))
		equal(t, "removed", must[int](t)(pu.PurgeRows(t.Context(), "", store.TableDeliveries, 10)), 0)
		must[store.Delivery](t)(in.GetDelivery(t.Context(), "", d.ID))
	})
	sentence("the grant of a flow that was removed is refused", func(t *testing.T, st store.Store, pu store.Purger) {
		f := s.flow("t1")
		ok(t, st.PutFlow(t.Context(), f))
		must[store.Flow](t)(st.ConsumeFlow(t.Context(), f.StateHash))
		c := s.fresh("t1", "slack")
		c.StateHash = f.StateHash
		in := s.put(t, st, c)
		c.SeenGen = in.TokenGen
		s.put(t, st, c) // it is there still
		equal(t, "removed", must[int](t)(pu.PurgeRows(t.Context(), "t1", store.TableFlows, 10)), 1)
		c.SeenGen = 2
		_, err := st.Connect(t.Context(), c)
		is(t, err, store.ErrNotFound)
		equal(t, "TokenGen", must[store.Integration](t)(st.Get(t.Context(), "t1", c.ID)).TokenGen, 2)
		of2 := s.flow("t2")
		ok(t, st.PutFlow(t.Context(), of2))
		c = s.fresh("t1", "github")
		c.StateHash = of2.StateHash
		_, err = st.Connect(t.Context(), c)
		is(t, err, store.ErrNotFound)
		_, err = st.Get(t.Context(), "t1", c.ID)
		is(t, err, store.ErrNotFound)
	})
	sentence("a flow does not continue one that was removed", func(t *testing.T, st store.Store, pu store.Purger) {
		first := s.flow("t1")
		ok(t, st.PutFlow(t.Context(), first))
		must[store.Flow](t)(st.ConsumeFlow(t.Context(), first.StateHash))
		second, third, foreign := s.flow("t1"), s.flow("t1"), s.flow("t2")
		second.Continues, third.Continues, foreign.Continues = first.StateHash, first.StateHash, first.StateHash
		ok(t, st.PutFlow(t.Context(), second))
		equal(t, "Continues", must[store.Flow](t)(st.ConsumeFlow(t.Context(), second.StateHash)).Continues, "")
		is(t, st.PutFlow(t.Context(), foreign), store.ErrNotFound)
		equal(t, "removed", must[int](t)(pu.PurgeRows(t.Context(), "t1", store.TableFlows, 10)), 2)
		is(t, st.PutFlow(t.Context(), third), store.ErrNotFound)
		equal(t, "flows", must[int](t)(st.CountFlows(t.Context(), "t1", time.Hour)), 0)
	})
	sentence("a connect is done before its flow is removed, or is refused", func(t *testing.T, st store.Store, pu store.Purger) {
		for i := range 8 {
			tenant := fmt.Sprint("t", i)
			f := s.flow(tenant)
			ok(t, st.PutFlow(t.Context(), f))
			c := s.fresh(tenant, "slack")
			c.StateHash = f.StateHash
			rows, refused := 0, false
			race(t, 2, func(i int) (bool, error) {
				if i == 0 {
					_, err := st.Connect(t.Context(), c)
					refused = errors.Is(err, store.ErrNotFound)
					if refused {
						err = nil
					}
					return false, err
				}
				_, err := pu.PurgeRows(t.Context(), tenant, store.TableFlows, 10)
				if err != nil {
					return false, err
				}
				list, err := st.List(t.Context(), tenant)
				rows = len(list)
				return false, err
			})
			equal(t, "found by who removed the flow", rows == 1, !refused)
		}
	})
	sentence("whoever is told that no row is left is right, whoever else removes them", func(t *testing.T, st store.Store, pu store.Purger) {
		for _, table := range s.furnish(t, st, "t1", 20) {
			var sum atomic.Int64
			race(t, 4, func(int) (bool, error) {
				for {
					n, err := pu.PurgeRows(t.Context(), "t1", table, 3)
					sum.Add(int64(n))
					if err != nil {
						return false, err
					}
					if n > 0 {
						continue
					}
					// The others may not have counted theirs yet, but the rows are gone.
					n, err = pu.PurgeRows(t.Context(), "t1", table, 20)
					if err == nil && n > 0 {
						err = fmt.Errorf("%d rows of %s were left", n, table)
					}
					return false, err
				}
			})
			equal(t, "removed from "+string(table), sum.Load(), 20)
		}
	})
}
