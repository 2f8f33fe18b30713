package storetest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// keyed is a delivery of an order key.
func (s *suite) keyed(key string) store.Delivery {
	d := s.delivery("t1", "i1")
	d.OrderKey = key
	return d
}

func (s *suite) tenants(t *testing.T) {
	sentence := ability[store.Inbox](s, t, "Inbox")
	due := func(t *testing.T, in store.Inbox, since time.Time, ms ...store.Match) store.Due {
		t.Helper()
		return must[store.Due](t)(in.DueTenants(t.Context(), store.DueQuery{Match: ms, Since: since}))
	}
	names := func(d store.Due) []string {
		out := []string{}
		for _, tenant := range d.Tenants {
			out = append(out, tenant.TenantID)
		}
		slices.Sort(out)
		return out
	}
	sentence("tenants with due deliveries are told, those of a match, since a time, that nobody leases", func(t *testing.T, _ store.Store, in store.Inbox) {
		equal(t, "none", names(due(t, in, time.Time{}, anyGitHub)), []string{})
		a, unrouted, other := s.keyed(""), s.delivery("", ""), s.delivery("t3", "i3")
		unrouted.OrderKey = "" // what has a key is not renewed once its lease is over
		other.Provider = "slack"
		must[[]bool](t)(in.InsertDeliveries(t.Context(), []store.Delivery{a, unrouted, other}))
		first := due(t, in, time.Time{}, anyGitHub)
		equal(t, "due", names(first), []string{"", "t1"})
		near(t, "At", first.At, time.Now().UTC())
		near(t, "Since", first.Tenants[0].Since, first.At)
		equal(t, "no match", names(due(t, in, time.Time{})), []string{})
		equal(t, "a type", names(due(t, in, time.Time{}, store.Match{Provider: "slack", EventType: "push"}, store.Match{Provider: "github", EventType: "issues"})), []string{"t3"})
		wait(t, 5*time.Millisecond)
		second := due(t, in, first.At.Add(2*time.Millisecond), anyGitHub)
		equal(t, "since then", names(second), []string{})
		if second.At.Before(first.At) {
			t.Fatalf("At went from %v to %v", first.At, second.At)
		}
		late := s.delivery("t2", "i2")
		late.OrderKey = ""
		must[[]bool](t)(in.InsertDeliveries(t.Context(), []store.Delivery{late}))
		equal(t, "since the last look", names(due(t, in, second.At, anyGitHub)), []string{"t2"})
		var ids []string
		for _, d := range claimed(t, in, claim("a", anyGitHub)) {
			ids = append(ids, d.ID)
		}
		equal(t, "claimed", len(ids), 3)
		equal(t, "leased", names(due(t, in, time.Time{}, anyGitHub)), []string{})
		leased := due(t, in, time.Time{}, anyGitHub).At
		ok(t, in.RenewDeliveries(t.Context(), "a", ids, 10*time.Millisecond))
		wait(t, 30*time.Millisecond)
		equal(t, "leases ran out since then", names(due(t, in, leased, anyGitHub)), []string{"", "t1", "t2"})
	})
	sentence("a claim of tenants takes up to its limit of each, and says who may have more", func(t *testing.T, _ store.Store, in store.Inbox) {
		for _, tenant := range []string{"t1", "t1", "t1", "t2", "t3", "t3"} {
			must[[]bool](t)(in.InsertDeliveries(t.Context(), []store.Delivery{s.delivery(tenant, "i-"+tenant)}))
			wait(t, 2*time.Millisecond)
		}
		c := claim("a", anyGitHub)
		c.Limit = 2
		c.Tenants = due(t, in, time.Time{}, anyGitHub).Tenants
		c.Tenants = slices.DeleteFunc(c.Tenants, func(d store.DueTenant) bool { return d.TenantID == "t3" })
		got := must[store.Claimed](t)(in.ClaimDeliveries(t.Context(), c))
		var of []string
		for _, d := range got.Deliveries {
			of = append(of, d.TenantID)
		}
		equal(t, "claimed", of, []string{"t1", "t1", "t2"})
		equal(t, "More", got.More, []string{"t1"})
		c.Tenants = []store.DueTenant{{TenantID: "t1", Since: time.Now().Add(time.Hour)}, {TenantID: "t3"}}
		got = must[store.Claimed](t)(in.ClaimDeliveries(t.Context(), c))
		equal(t, "claimed since", len(got.Deliveries), 2)
		equal(t, "of", got.Deliveries[0].TenantID, "t3")
		equal(t, "More", got.More, []string{"t3"})
	})
	sentence("a lease that ran out is counted as lost, one that was finished is not", func(t *testing.T, _ store.Store, in store.Inbox) {
		d := s.keyed("")
		must[[]bool](t)(in.InsertDeliveries(t.Context(), []store.Delivery{d}))
		c := claim("a", anyGitHub)
		c.TTL = 10 * time.Millisecond
		equal(t, "Lost at first", claimed(t, in, c)[0].Lost, 0)
		wait(t, 30*time.Millisecond)
		equal(t, "started after its lease", start(t, in, d.ID, "a"), false)
		ok(t, in.RenewDeliveries(t.Context(), "a", []string{d.ID}, time.Minute))
		equal(t, "renewed though it ran out, so not claimed", len(claimed(t, in, claim("b", anyGitHub))), 0)
		ok(t, in.RenewDeliveries(t.Context(), "a", []string{d.ID}, 10*time.Millisecond))
		wait(t, 30*time.Millisecond)
		again := claimed(t, in, claim("b", anyGitHub))[0]
		equal(t, "Lost", again.Lost, 1)
		equal(t, "Claims", again.Claims, 2)
		equal(t, "Starts", again.Starts, 0)
		equal(t, "finished", finish(t, in, store.FinishDelivery{ID: d.ID, Owner: "b", State: store.Pending}), true)
		wait(t, 5*time.Millisecond)
		equal(t, "Lost after a finish", claimed(t, in, claim("c", anyGitHub))[0].Lost, 1)
		equal(t, "given back", finish(t, in, store.FinishDelivery{ID: d.ID, Owner: "c", State: store.Pending, Unclaim: true}), true)
		equal(t, "Claims", must[store.Delivery](t)(in.GetDelivery(t.Context(), "t1", d.ID)).Claims, 2)
	})
	sentence("starts and ends are recorded together, each for itself", func(t *testing.T, _ store.Store, in store.Inbox) {
		var ds []store.Delivery
		for range 6 {
			ds = append(ds, s.delivery("t1", "i1"))
		}
		must[[]bool](t)(in.InsertDeliveries(t.Context(), ds))
		equal(t, "claimed", len(claimed(t, in, claim("a", anyGitHub))), 6)
		got := must[store.Recorded](t)(in.RecordDeliveries(t.Context(), store.RecordDeliveries{
			Starts: []store.DeliveryLease{{ID: ds[0].ID, Owner: "a"}, {ID: ds[1].ID, Owner: "b"}, {ID: "nobody", Owner: "a"}, {ID: ds[2].ID, Owner: "a"}},
			Ends:   []store.FinishDelivery{{ID: ds[4].ID, Owner: "a", State: store.Done}, {ID: ds[5].ID, Owner: "b", State: store.Done}},
		}))
		equal(t, "recorded", got, store.Recorded{Starts: []bool{true, false, false, true}, Ends: []bool{true, false}})
		got = must[store.Recorded](t)(in.RecordDeliveries(t.Context(), store.RecordDeliveries{Ends: []store.FinishDelivery{
			{ID: ds[0].ID, Owner: "a", State: store.Done}, {ID: ds[1].ID, Owner: "b", State: store.Done},
			{ID: ds[2].ID, Owner: "a", State: store.Pending, RetryIn: time.Hour, Error: "no luck"}, {ID: ds[3].ID, Owner: "a", State: store.Dead, Error: "never"},
		}}))
		equal(t, "recorded", got.Ends, []bool{true, false, true, true})
		var states []string
		for _, d := range ds {
			got := must[store.Delivery](t)(in.GetDelivery(t.Context(), "t1", d.ID))
			states = append(states, fmt.Sprintf("%d %d %s", got.State, got.Starts, got.LastError))
		}
		equal(t, "states", states, []string{"1 1 ", "0 0 ", "0 1 no luck", "2 0 never", "1 0 ", "0 0 "})
		must[store.Recorded](t)(in.RecordDeliveries(t.Context(), store.RecordDeliveries{}))
	})
}

func (s *suite) turns(t *testing.T) {
	sentence := ability[store.Inbox](s, t, "Inbox")
	insert := func(t *testing.T, in store.Inbox, ds ...store.Delivery) {
		t.Helper()
		for _, d := range ds {
			must[[]bool](t)(in.InsertDeliveries(t.Context(), []store.Delivery{d}))
			wait(t, 2*time.Millisecond) // so that it is younger than those before
		}
	}
	take := func(t *testing.T, in store.Inbox, change ...func(*store.ClaimDeliveries)) string {
		t.Helper()
		c := claim("a", anyGitHub)
		for _, fn := range change {
			fn(&c)
		}
		var ids []string
		for _, d := range claimed(t, in, c) {
			ids = append(ids, d.ID)
		}
		slices.Sort(ids)
		return strings.Join(ids, " ")
	}
	end := func(t *testing.T, in store.Inbox, d store.Delivery, state store.DeliveryState) {
		t.Helper()
		equal(t, "finished", finish(t, in, store.FinishDelivery{ID: d.ID, Owner: "a", State: state}), true)
	}
	sentence("of one order key one delivery is leased at a time, in order of arrival", func(t *testing.T, _ store.Store, in store.Inbox) {
		a1, b1, a2, free, a3 := s.keyed("a"), s.keyed("b"), s.keyed("a"), s.keyed(""), s.keyed("a")
		elsewhere := s.keyed("a")
		elsewhere.IntegrationID = "i2"
		insert(t, in, a1, b1, a2, free, a3, elsewhere)
		equal(t, "first", take(t, in), strings.Join([]string{a1.ID, b1.ID, free.ID, elsewhere.ID}, " "))
		equal(t, "while they are leased", take(t, in), "")
		end(t, in, b1, store.Done)
		equal(t, "after another key", take(t, in), "")
		end(t, in, a1, store.Done)
		equal(t, "second", take(t, in), a2.ID)
		equal(t, "RunAt is when it was due, not when its turn came", must[store.Delivery](t)(in.GetDelivery(t.Context(), "t1", a2.ID)).RunAt, must[store.Delivery](t)(in.GetDelivery(t.Context(), "t1", a2.ID)).ReceivedAt)
		equal(t, "Claims of one that waited", must[store.Delivery](t)(in.GetDelivery(t.Context(), "t1", a3.ID)).Claims, 0)
		end(t, in, a2, store.Done)
		equal(t, "third", take(t, in), a3.ID)
	})
	sentence("one that is to be tried again keeps its key's others back", func(t *testing.T, _ store.Store, in store.Inbox) {
		a1, a2 := s.keyed("a"), s.keyed("a")
		insert(t, in, a1, a2)
		equal(t, "first", take(t, in), a1.ID)
		equal(t, "finished", finish(t, in, store.FinishDelivery{ID: a1.ID, Owner: "a", State: store.Pending, RetryIn: 2 * time.Second}), true)
		equal(t, "while it rests", take(t, in), "")
		wait(t, 2100*time.Millisecond)
		equal(t, "again", take(t, in), a1.ID)
		end(t, in, a1, store.Done)
		equal(t, "second", take(t, in), a2.ID)
	})
	sentence("a dead delivery lets the next of its key go, unless dead ones block", func(t *testing.T, _ store.Store, in store.Inbox) {
		blocks := func(c *store.ClaimDeliveries) { c.DeadBlocks = true }
		a1, a2 := s.keyed("a"), s.keyed("a")
		insert(t, in, a1, a2)
		equal(t, "first", take(t, in, blocks), a1.ID)
		end(t, in, a1, store.Dead)
		equal(t, "blocked", take(t, in, blocks), "")
		equal(t, "replayed", must[int](t)(in.ReplayDeliveries(t.Context(), store.DeliveryQuery{TenantID: "t1", IDs: []string{a1.ID}})), 1)
		equal(t, "first again", take(t, in, blocks), a1.ID)
		end(t, in, a1, store.Dead)
		equal(t, "second", take(t, in), a2.ID)
	})
	sentence("one that is replayed goes before younger ones of its key, not beside them", func(t *testing.T, _ store.Store, in store.Inbox) {
		a1, a2, a3 := s.keyed("a"), s.keyed("a"), s.keyed("a")
		insert(t, in, a1, a2, a3)
		equal(t, "first", take(t, in), a1.ID)
		end(t, in, a1, store.Dead)
		equal(t, "second", take(t, in), a2.ID)
		equal(t, "replayed", must[int](t)(in.ReplayDeliveries(t.Context(), store.DeliveryQuery{TenantID: "t1", IDs: []string{a1.ID}})), 1)
		equal(t, "while the second is leased", take(t, in), "")
		end(t, in, a2, store.Done)
		equal(t, "first again", take(t, in), a1.ID)
		equal(t, "and the third waits", take(t, in), "")
		end(t, in, a1, store.Done)
		equal(t, "third", take(t, in), a3.ID)
	})
	sentence("deliveries that do not match keep nobody back", func(t *testing.T, _ store.Store, in store.Inbox) {
		unhandled, a2 := s.keyed("a"), s.keyed("a")
		unhandled.EventType = "issues"
		insert(t, in, unhandled, a2)
		equal(t, "claimed", take(t, in, func(c *store.ClaimDeliveries) { c.Match = []store.Match{{Provider: "github", EventType: "push"}} }), a2.ID)
	})
	sentence("a lease of a key that ran out is not renewed, and frees the key", func(t *testing.T, _ store.Store, in store.Inbox) {
		a1, a2 := s.keyed("a"), s.keyed("a")
		insert(t, in, a1, a2)
		equal(t, "first", take(t, in, func(c *store.ClaimDeliveries) { c.TTL = 10 * time.Millisecond }), a1.ID)
		wait(t, 30*time.Millisecond)
		ok(t, in.RenewDeliveries(t.Context(), "a", []string{a1.ID}, time.Minute))
		equal(t, "taken over", take(t, in, func(c *store.ClaimDeliveries) { c.Owner = "b" }), a1.ID)
	})
	sentence("racing claims and ends keep the order of each key, one at a time", func(t *testing.T, _ store.Store, in store.Inbox) {
		const keys, each = 4, 6
		var all []store.Delivery
		for range each {
			for k := range keys {
				all = append(all, s.keyed(fmt.Sprint("k", k)))
			}
		}
		insert(t, in, all...)
		var mu sync.Mutex
		running, ran := map[string]int{}, map[string][]string{}
		total := 0
		race(t, 8, func(i int) (bool, error) {
			for round := 0; ; round++ {
				c := claim(fmt.Sprintf("o%d-%d", i, round), anyGitHub)
				c.Limit = 3
				got, err := in.ClaimDeliveries(t.Context(), c)
				if err != nil {
					return false, err
				}
				var ends []store.FinishDelivery
				mu.Lock()
				for _, d := range got.Deliveries {
					running[d.OrderKey]++
					if running[d.OrderKey] > 1 {
						t.Errorf("two of %s at a time", d.OrderKey)
					}
					ran[d.OrderKey] = append(ran[d.OrderKey], d.ID)
					ends = append(ends, store.FinishDelivery{ID: d.ID, Owner: c.Owner, State: store.Done})
				}
				total += len(ends)
				over := total >= keys*each
				mu.Unlock()
				runtime.Gosched()
				mu.Lock()
				for _, d := range got.Deliveries {
					running[d.OrderKey]--
				}
				mu.Unlock()
				if len(ends) > 0 {
					if _, err := in.RecordDeliveries(t.Context(), store.RecordDeliveries{Ends: ends}); err != nil {
						return false, err
					}
				}
				if over {
					return true, nil
				}
			}
		})
		for k := range keys {
			var want []string
			for i := range each {
				want = append(want, all[i*keys+k].ID)
			}
			equal(t, "order", ran[fmt.Sprint("k", k)], want)
		}
	})
}
