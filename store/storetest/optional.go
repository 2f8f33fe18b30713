package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// ability runs sentences of an optional interface, or logs that the store lacks
// it.
func ability[T any](s *suite, t *testing.T, name string) func(promise string, fn func(t *testing.T, st store.Store, it T)) {
	if _, has := s.open(t).(T); !has {
		t.Logf("the store has no %s: its sentences are left out", name)
		return func(string, func(*testing.T, store.Store, T)) {}
	}
	return func(promise string, fn func(t *testing.T, st store.Store, it T)) {
		t.Helper()
		s.sentence(t, promise, func(t *testing.T, st store.Store) { fn(t, st, st.(T)) })
	}
}

func (s *suite) delivery(tenant, integration string) store.Delivery {
	id := s.id("dlv")
	return store.Delivery{
		ID: id, Provider: "github", DeliveryID: "guid-" + id, BodyHash: "hash-" + id, TenantID: tenant, IntegrationID: integration, ExternalID: "42",
		EventType: "push", OrderKey: "o-" + id, Body: []byte{0, 1, 255}, Headers: []byte(`{"X":["y"]}`), KeyID: "k1",
		OccurredAt: time.UnixMilli(1700000000123).UTC(),
	}
}

func claim(owner string, match ...store.Match) store.ClaimDeliveries {
	return store.ClaimDeliveries{Owner: owner, Limit: 100, TTL: time.Minute, Match: match}
}

// claimed is what a claim leases.
func claimed(t *testing.T, in store.Inbox, c store.ClaimDeliveries) []store.Delivery {
	t.Helper()
	return must[store.Claimed](t)(in.ClaimDeliveries(t.Context(), c)).Deliveries
}

func start(t *testing.T, in store.Inbox, id, owner string) bool {
	t.Helper()
	r := store.RecordDeliveries{Starts: []store.DeliveryLease{{ID: id, Owner: owner}}}
	return must[store.Recorded](t)(in.RecordDeliveries(t.Context(), r)).Starts[0]
}

func finish(t *testing.T, in store.Inbox, f store.FinishDelivery) bool {
	t.Helper()
	return must[store.Recorded](t)(in.RecordDeliveries(t.Context(), store.RecordDeliveries{Ends: []store.FinishDelivery{f}})).Ends[0]
}

var anyGitHub = store.Match{Provider: "github"}

func (s *suite) inbox(t *testing.T) {
	sentence := ability[store.Inbox](s, t, "Inbox")
	insert := func(t *testing.T, in store.Inbox, ds ...store.Delivery) []bool {
		t.Helper()
		return must[[]bool](t)(in.InsertDeliveries(t.Context(), ds))
	}
	sentence("a delivery comes back as it was stored, claimed once", func(t *testing.T, _ store.Store, in store.Inbox) {
		d := s.delivery("t1", "i1")
		equal(t, "new", insert(t, in, d), []bool{true})
		got := claimed(t, in, claim("a", anyGitHub))
		equal(t, "claimed", len(got), 1)
		near(t, "ReceivedAt", got[0].ReceivedAt, got[0].RunAt)
		equal(t, "Claims", got[0].Claims, 1)
		equal(t, "Starts", got[0].Starts, 0)
		g := got[0]
		g.ReceivedAt, g.RunAt, g.UpdatedAt, g.Claims = time.Time{}, time.Time{}, time.Time{}, 0
		equal(t, "delivery", g, d)
		equal(t, "claimed again", len(claimed(t, in, claim("b", anyGitHub))), 0)
	})
	sentence("an equal delivery id or body hash of one integration is not stored again", func(t *testing.T, _ store.Store, in store.Inbox) {
		d := s.delivery("t1", "i1")
		sameID, sameBody, other, noHash, noHash2 := s.delivery("t1", "i1"), s.delivery("t1", "i1"), s.delivery("t1", "i2"), s.delivery("t1", "i1"), s.delivery("t1", "i1")
		sameID.DeliveryID, sameBody.BodyHash = d.DeliveryID, d.BodyHash
		other.DeliveryID, other.BodyHash = d.DeliveryID, d.BodyHash
		noHash.BodyHash, noHash2.BodyHash = "", ""
		equal(t, "new", insert(t, in, d, sameID, sameBody, other, noHash, noHash2), []bool{true, false, false, true, true, true})
		equal(t, "once more", insert(t, in, sameID, sameBody), []bool{false, false})
	})
	sentence("a large batch is stored as it is, each new delivery once", func(t *testing.T, st store.Store, in store.Inbox) {
		words := []string{"", "plain", `quotes " and ' and \\ back`, "{a,b}", "NULL", "null", "$1 ? :x %s", "ümläut ☕", " spaces ", "-- /* comment", "a,b\"c"}
		var ds []store.Delivery
		for i := range 701 {
			d := s.delivery("t1", "i1")
			w := func(j int) string { return words[(i+j)%len(words)] }
			d.DeliveryID += w(0)
			d.EventType, d.ExternalID, d.OrderKey = "push"+w(1), w(2), w(3)
			d.Body = []byte(w(4) + "\x00\xff\\")
			switch i % 4 {
			case 0:
				d.BodyHash, d.Headers = "", nil
			case 1:
				d.Body, d.KeyID, d.OccurredAt = nil, "", time.Time{}
			case 2:
				d.Body = make([]byte, 20_000)
			}
			ds = append(ds, d)
		}
		old := ds[350]
		old.ID = s.id("row")
		insert(t, in, old)
		twice := ds[3]
		twice.ID = s.id("row")
		want := make([]bool, len(ds)+1)
		for i := range ds {
			want[i] = i != 350
		}
		equal(t, "new", insert(t, in, append(ds[:len(ds):len(ds)], twice)...), want)
		again := ds[0]
		again.ID = s.id("row")
		equal(t, "once more", insert(t, in, again, ds[350]), []bool{false, false})
		equal(t, "stored", must[store.DeliveryCounts](t)(in.CountDeliveries(t.Context(), nil)).Pending, int64(len(ds)))
		ds[350] = old
		for _, i := range []int{0, 1, 2, 3, 4, 255, 256, 257, 350, 698, 699, 700} {
			got := must[store.Delivery](t)(in.GetDelivery(t.Context(), "t1", ds[i].ID))
			near(t, "RunAt", got.RunAt, got.ReceivedAt)
			got.ReceivedAt, got.RunAt, got.UpdatedAt = time.Time{}, time.Time{}, time.Time{}
			equal(t, fmt.Sprint("delivery ", i), got, ds[i])
		}
		if p, ok := st.(store.ParallelInbox); ok && p.ParallelInserts() < 1 {
			t.Errorf("ParallelInserts: %d at a time", p.ParallelInserts())
		}
	})
	sentence("a batch revives the dead ones among those it equals", func(t *testing.T, _ store.Store, in store.Inbox) {
		var ds []store.Delivery
		for range 120 {
			ds = append(ds, s.delivery("t1", "i1"))
		}
		insert(t, in, ds...)
		c := claim("a", anyGitHub)
		c.Limit = len(ds)
		equal(t, "claimed", len(claimed(t, in, c)), len(ds))
		for i, d := range ds {
			f := store.FinishDelivery{ID: d.ID, Owner: "a", State: store.Done}
			if i%2 == 0 {
				f.State, f.Error = store.Dead, "e"
			}
			finish(t, in, f)
		}
		again := make([]store.Delivery, len(ds))
		for i, d := range ds {
			again[i] = s.delivery("t1", "i1")
			if i%3 == 0 {
				again[i].DeliveryID = d.DeliveryID
			} else {
				again[i].BodyHash = d.BodyHash
			}
		}
		equal(t, "new", insert(t, in, again...), make([]bool, len(ds)))
		counts := must[store.DeliveryCounts](t)(in.CountDeliveries(t.Context(), nil))
		equal(t, "pending, done and dead", []int64{counts.Pending, counts.Done, counts.Dead}, []int64{60, 60, 0})
	})
	sentence("crossing batches store each delivery once", func(t *testing.T, _ store.Store, in store.Inbox) {
		var ds []store.Delivery
		for range 50 {
			ds = append(ds, s.delivery("t1", "i1"))
		}
		var mu sync.Mutex
		total := 0
		race(t, racers, func(i int) (bool, error) {
			mine := make([]store.Delivery, len(ds))
			for j, d := range ds {
				if i%2 == 1 {
					j = len(ds) - 1 - j
				}
				d.ID = s.id("row")
				mine[j] = d
			}
			isNew, err := in.InsertDeliveries(t.Context(), mine)
			mu.Lock()
			defer mu.Unlock()
			for _, n := range isNew {
				if n {
					total++
				}
			}
			return false, err
		})
		equal(t, "stored", total, 50)
	})
	sentence("a claim takes what matches, oldest due first, up to its limit", func(t *testing.T, _ store.Store, in store.Inbox) {
		var want []string
		for i := range 4 {
			d := s.delivery("t1", "i1")
			if i == 2 {
				d.EventType = "issues"
			}
			insert(t, in, d)
			want = append(want, d.ID)
			wait(t, 2*time.Millisecond)
		}
		other := s.delivery("t1", "i1")
		other.Provider = "slack"
		insert(t, in, other)
		take := func(c store.ClaimDeliveries) []string {
			var ids []string
			for _, d := range claimed(t, in, c) {
				ids = append(ids, d.ID)
			}
			return ids
		}
		equal(t, "no match", len(take(claim("a"))), 0)
		push := claim("a", store.Match{Provider: "github", EventType: "push"})
		push.Limit = 2
		equal(t, "first two pushes", take(push), []string{want[0], want[1]})
		equal(t, "the rest of two matches", take(claim("b", store.Match{Provider: "github", EventType: "issues"}, store.Match{Provider: "github", EventType: "push"})), []string{want[2], want[3]})
	})
	sentence("a delivery is leased to one owner at a time", func(t *testing.T, _ store.Store, in store.Inbox) {
		for range 60 {
			insert(t, in, s.delivery("t1", "i1"))
		}
		var mu sync.Mutex
		seen := map[string]int{}
		race(t, racers, func(i int) (bool, error) {
			c := claim(fmt.Sprintf("o%d", i), anyGitHub)
			c.Limit = 10
			got, err := in.ClaimDeliveries(t.Context(), c)
			mu.Lock()
			defer mu.Unlock()
			for _, d := range got.Deliveries {
				seen[d.ID]++
			}
			return false, err
		})
		equal(t, "claimed", len(seen), 60)
		for id, n := range seen {
			equal(t, "claims of "+id, n, 1)
		}
	})
	sentence("only the holder of the lease starts, renews and finishes", func(t *testing.T, _ store.Store, in store.Inbox) {
		d := s.delivery("t1", "i1")
		insert(t, in, d)
		c := claim("a", anyGitHub)
		c.TTL = 2 * time.Second
		claimed(t, in, c)
		equal(t, "start by another", start(t, in, d.ID, "b"), false)
		equal(t, "start", start(t, in, d.ID, "a"), true)
		ok(t, in.RenewDeliveries(t.Context(), "a", []string{d.ID}, time.Minute))
		ok(t, in.RenewDeliveries(t.Context(), "b", []string{d.ID}, time.Millisecond))
		wait(t, 2200*time.Millisecond)
		equal(t, "renewed, so not claimed", len(claimed(t, in, claim("b", anyGitHub))), 0)
		done := store.FinishDelivery{ID: d.ID, Owner: "b", State: store.Done}
		equal(t, "finish by another", finish(t, in, done), false)
		done.Owner = "a"
		equal(t, "finish", finish(t, in, done), true)
		equal(t, "finish again", finish(t, in, done), false)
		got := must[store.Delivery](t)(in.GetDelivery(t.Context(), "t1", d.ID))
		equal(t, "State", got.State, store.Done)
		equal(t, "Starts", got.Starts, 1)
	})
	sentence("a lease that ran out goes to another, and its former holder can do nothing", func(t *testing.T, _ store.Store, in store.Inbox) {
		d := s.delivery("t1", "i1")
		insert(t, in, d)
		c := claim("a", anyGitHub)
		c.TTL = 10 * time.Millisecond
		equal(t, "claimed", len(claimed(t, in, c)), 1)
		wait(t, 30*time.Millisecond)
		equal(t, "claimed by another", len(claimed(t, in, claim("b", anyGitHub))), 1)
		equal(t, "start", start(t, in, d.ID, "a"), false)
		equal(t, "finish", finish(t, in, store.FinishDelivery{ID: d.ID, Owner: "a", State: store.Done}), false)
		equal(t, "start by the holder", start(t, in, d.ID, "b"), true)
	})
	sentence("a delivery that equals two dead ones revives both", func(t *testing.T, _ store.Store, in store.Inbox) {
		a, b := s.delivery("t1", "i1"), s.delivery("t1", "i1")
		insert(t, in, a, b)
		claimed(t, in, claim("a", anyGitHub))
		for _, id := range []string{a.ID, b.ID} {
			finish(t, in, store.FinishDelivery{ID: id, Owner: "a", State: store.Dead, Error: "e"})
		}
		both := s.delivery("t1", "i1")
		both.DeliveryID, both.BodyHash = a.DeliveryID, b.BodyHash
		equal(t, "new", insert(t, in, both), []bool{false})
		equal(t, "pending", must[store.DeliveryCounts](t)(in.CountDeliveries(t.Context(), nil)).Pending, 2)
	})
	sentence("replays reach all that are finished, a limit at a time", func(t *testing.T, _ store.Store, in store.Inbox) {
		for range 5 {
			insert(t, in, s.delivery("t1", "i1"))
		}
		for _, d := range claimed(t, in, claim("a", anyGitHub)) {
			finish(t, in, store.FinishDelivery{ID: d.ID, Owner: "a", State: store.Done})
		}
		var replayed []int
		for range 4 {
			replayed = append(replayed, must[int](t)(in.ReplayDeliveries(t.Context(), store.DeliveryQuery{TenantID: "t1", Limit: 2})))
		}
		equal(t, "replayed", replayed, []int{2, 2, 1, 0})
	})
	sentence("the store copies deliveries and keeps times in milliseconds", func(t *testing.T, _ store.Store, in store.Inbox) {
		d := s.delivery("t1", "i1")
		d.OccurredAt = d.OccurredAt.Add(999 * time.Microsecond)
		insert(t, in, d)
		d.Body[0], d.Headers[0] = 'X', 'X'
		got := claimed(t, in, claim("a", anyGitHub))[0]
		equal(t, "Body", got.Body, []byte{0, 1, 255})
		equal(t, "OccurredAt", got.OccurredAt, time.UnixMilli(1700000000123).UTC())
		got.Body[0] = 'Y'
		equal(t, "Body", must[store.Delivery](t)(in.GetDelivery(t.Context(), "t1", d.ID)).Body, []byte{0, 1, 255})
		finish(t, in, store.FinishDelivery{ID: d.ID, Owner: "a", State: store.Pending, RetryIn: 1500 * time.Microsecond})
		equal(t, "RunAt in milliseconds", must[store.Delivery](t)(in.GetDelivery(t.Context(), "t1", d.ID)).RunAt.Nanosecond()%int(time.Millisecond), 0)
	})
	sentence("a delivery that is to be tried again is due after its time", func(t *testing.T, _ store.Store, in store.Inbox) {
		later, soon := s.delivery("t1", "i1"), s.delivery("t1", "i1")
		insert(t, in, later, soon)
		claimed(t, in, claim("a", anyGitHub))
		finish(t, in, store.FinishDelivery{ID: later.ID, Owner: "a", State: store.Pending, RetryIn: time.Hour})
		finish(t, in, store.FinishDelivery{ID: soon.ID, Owner: "a", State: store.Pending, RetryIn: 10 * time.Millisecond, Error: "no luck"})
		wait(t, 30*time.Millisecond)
		got := claimed(t, in, claim("b", anyGitHub))
		equal(t, "due", len(got), 1)
		equal(t, "which", got[0].ID, soon.ID)
		equal(t, "Claims", got[0].Claims, 2)
		equal(t, "LastError", got[0].LastError, "no luck")
	})
	sentence("a duplicate of a dead delivery makes it pending again; a replay does so for any finished one", func(t *testing.T, _ store.Store, in store.Inbox) {
		d := s.delivery("t1", "i1")
		insert(t, in, d)
		finish := func(state store.DeliveryState) {
			claimed(t, in, claim("a", anyGitHub))
			start(t, in, d.ID, "a")
			equal(t, "finished", finish(t, in, store.FinishDelivery{ID: d.ID, Owner: "a", State: state, Error: "e"}), true)
		}
		state := func() store.Delivery { return must[store.Delivery](t)(in.GetDelivery(t.Context(), "t1", d.ID)) }
		finish(store.Dead)
		again := d
		again.ID = s.id("row")
		equal(t, "new", insert(t, in, again), []bool{false})
		equal(t, "State", state().State, store.Pending)
		equal(t, "counts", state().Claims+state().Starts, 0)
		finish(store.Done)
		insert(t, in, again)
		equal(t, "a done one stays done", state().State, store.Done)
		equal(t, "nobody's", must[int](t)(in.ReplayDeliveries(t.Context(), store.DeliveryQuery{})), 0)
		equal(t, "another tenant's", must[int](t)(in.ReplayDeliveries(t.Context(), store.DeliveryQuery{TenantID: "t2"})), 0)
		equal(t, "replayed", must[int](t)(in.ReplayDeliveries(t.Context(), store.DeliveryQuery{TenantID: "t1", States: []store.DeliveryState{store.Done}})), 1)
		equal(t, "State", state().State, store.Pending)
	})
	sentence("deliveries are found by tenant and listed newest first without bodies", func(t *testing.T, _ store.Store, in store.Inbox) {
		a, b, unrouted := s.delivery("t1", "i1"), s.delivery("t1", "i2"), s.delivery("", "")
		for _, d := range []store.Delivery{a, b, unrouted} {
			insert(t, in, d)
			wait(t, 2*time.Millisecond)
		}
		_, err := in.GetDelivery(t.Context(), "t2", a.ID)
		is(t, err, store.ErrNotFound)
		equal(t, "unrouted", must[store.Delivery](t)(in.GetDelivery(t.Context(), "", unrouted.ID)).ID, unrouted.ID)
		find := func(q store.DeliveryQuery) []string {
			ids := []string{}
			for _, d := range must[[]store.Delivery](t)(in.ListDeliveries(t.Context(), q)) {
				if d.Body != nil {
					t.Fatal("a list has bodies")
				}
				ids = append(ids, d.ID)
			}
			return ids
		}
		equal(t, "tenant", find(store.DeliveryQuery{TenantID: "t1"}), []string{b.ID, a.ID})
		equal(t, "integration", find(store.DeliveryQuery{TenantID: "t1", IntegrationID: "i1"}), []string{a.ID})
		equal(t, "ids", find(store.DeliveryQuery{AllTenants: true, IDs: []string{unrouted.ID, a.ID}}), []string{unrouted.ID, a.ID})
		equal(t, "ids of a tenant", find(store.DeliveryQuery{TenantID: "t1", IDs: []string{unrouted.ID, a.ID}}), []string{a.ID})
		equal(t, "no ids", find(store.DeliveryQuery{AllTenants: true, IDs: []string{}}), []string{})
		newest := must[[]store.Delivery](t)(in.ListDeliveries(t.Context(), store.DeliveryQuery{AllTenants: true, Limit: 1}))[0]
		equal(t, "older", find(store.DeliveryQuery{AllTenants: true, OlderThan: &newest}), []string{b.ID, a.ID})
		equal(t, "limit", find(store.DeliveryQuery{AllTenants: true, Limit: 1}), []string{unrouted.ID})
		equal(t, "provider", find(store.DeliveryQuery{AllTenants: true, Provider: "slack"}), []string{})
		equal(t, "type", len(find(store.DeliveryQuery{AllTenants: true, EventType: "push"})), 3)
		equal(t, "future", find(store.DeliveryQuery{AllTenants: true, ReceivedAfter: time.Now().Add(time.Hour)}), []string{})
		equal(t, "past", find(store.DeliveryQuery{AllTenants: true, ReceivedBefore: time.Now().Add(-time.Hour)}), []string{})
		equal(t, "no tenant", find(store.DeliveryQuery{}), []string{})
	})
	sentence("deliveries are counted and old ones of a state deleted, up to the limit", func(t *testing.T, _ store.Store, in store.Inbox) {
		for range 5 {
			insert(t, in, s.delivery("t1", "i1"))
		}
		for _, d := range claimed(t, in, store.ClaimDeliveries{Owner: "a", Limit: 3, TTL: time.Minute, Match: []store.Match{anyGitHub}}) {
			finish(t, in, store.FinishDelivery{ID: d.ID, Owner: "a", State: store.Done})
		}
		wait(t, 20*time.Millisecond)
		c := must[store.DeliveryCounts](t)(in.CountDeliveries(t.Context(), nil))
		equal(t, "counts", [3]int64{c.Pending, c.Done, c.Dead}, [3]int64{2, 3, 0})
		if c.OldestDue < 10*time.Millisecond || c.OldestDue > time.Minute {
			t.Fatalf("OldestDue is %v", c.OldestDue)
		}
		matching := func(ms ...store.Match) int64 {
			return must[store.DeliveryCounts](t)(in.CountDeliveries(t.Context(), ms)).Done
		}
		equal(t, "of a match", matching(store.Match{Provider: "slack"}, anyGitHub), 3)
		equal(t, "of another", matching(store.Match{Provider: "github", EventType: "issues"}), 0)
		equal(t, "of none", must[store.DeliveryCounts](t)(in.CountDeliveries(t.Context(), []store.Match{})), store.DeliveryCounts{})
		equal(t, "too young", must[int](t)(in.DeleteDeliveries(t.Context(), store.Done, time.Hour, 10)), 0)
		equal(t, "limited", must[int](t)(in.DeleteDeliveries(t.Context(), store.Done, time.Millisecond, 2)), 2)
		equal(t, "the rest", must[int](t)(in.DeleteDeliveries(t.Context(), store.Done, time.Millisecond, 10)), 1)
	})
	sentence("a change is stored with the step it tells of, and only with it", func(t *testing.T, st store.Store, in store.Inbox) {
		change := func() *store.Delivery {
			d := s.delivery("t1", "i1")
			d.Provider = store.ChangeProvider
			return &d
		}
		count := func() int64 { return must[store.DeliveryCounts](t)(in.CountDeliveries(t.Context(), nil)).Pending }
		c := s.fresh("t1", "slack")
		c.Change = change()
		row := s.put(t, st, c)
		equal(t, "connected", count(), 1)
		c.Change = change()
		_, err := st.Connect(t.Context(), c)
		is(t, err, store.ErrConflict)
		equal(t, "not connected again", count(), 1)
		set := store.SetStatus{TenantID: "t1", ID: row.ID, From: []store.Status{store.Active}, To: store.Suspended, Change: change()}
		must[bool](t)(st.SetStatus(t.Context(), set))
		equal(t, "suspended", count(), 2)
		set.Change = change()
		must[bool](t)(st.SetStatus(t.Context(), set))
		equal(t, "not suspended again", count(), 2)
		set.From, set.To, set.Change = nil, store.Active, change()
		must[bool](t)(st.SetStatus(t.Context(), set))
		commit := store.CommitTokens{TenantID: "t1", ID: row.ID, SeenGen: 1, AccessToken: []byte("a"), Changes: []store.Delivery{*change(), *change()}}
		must[bool](t)(st.CommitTokens(t.Context(), commit))
		equal(t, "committed", count(), 5)
		commit.Changes = []store.Delivery{*change()}
		must[bool](t)(st.CommitTokens(t.Context(), commit))
		equal(t, "not committed again", count(), 5)
		fail := store.FailRefresh{TenantID: "t1", ID: row.ID, Owner: "o", SeenGen: 2, Code: "x", Change: change()}
		must[bool](t)(st.FailRefresh(t.Context(), fail))
		equal(t, "not failed without a lease", count(), 5)
		must[bool](t)(st.Lease(t.Context(), store.Lease{TenantID: "t1", ID: row.ID, Owner: "o", SeenGen: 2, TTL: time.Minute}))
		must[bool](t)(st.FailRefresh(t.Context(), fail))
		equal(t, "failed", count(), 6)
		now := must[store.Integration](t)(st.Get(t.Context(), "t1", row.ID))
		update := store.Update{TenantID: "t1", ID: row.ID, Version: now.Version, Scopes: &[]string{"more"}, Change: change()}
		must[int64](t)(st.Update(t.Context(), update))
		equal(t, "updated", count(), 7)
		update.Change = change()
		_, err = st.Update(t.Context(), update)
		is(t, err, store.ErrConflict)
		equal(t, "not updated again", count(), 7)
	})
}

func (s *suite) checkpoints(t *testing.T) {
	sentence := ability[store.Checkpoints](s, t, "Checkpoints")
	ref, other := store.Ref{TenantID: "t1", ID: "i1"}, store.Ref{TenantID: "t2", ID: "i1"}
	sentence("a value is saved by compare-and-swap on its version", func(t *testing.T, _ store.Store, cp store.Checkpoints) {
		v, n, err := cp.Checkpoint(t.Context(), ref, "repos")
		ok(t, err)
		equal(t, "never saved", v == nil && n == 0, true)
		equal(t, "version", must[int64](t)(cp.SaveCheckpoint(t.Context(), ref, "repos", []byte("a"), 0)), 1)
		_, err = cp.SaveCheckpoint(t.Context(), ref, "repos", []byte("b"), 0)
		is(t, err, store.ErrConflict)
		equal(t, "version", must[int64](t)(cp.SaveCheckpoint(t.Context(), ref, "repos", []byte("b"), 1)), 2)
		v, n, err = cp.Checkpoint(t.Context(), ref, "repos")
		ok(t, err)
		equal(t, "value", string(v), "b")
		equal(t, "version", n, 2)
		v, _, err = cp.Checkpoint(t.Context(), other, "repos")
		ok(t, err)
		equal(t, "another tenant's", v == nil, true)
	})
	sentence("of concurrent saves of one version exactly one succeeds", func(t *testing.T, _ store.Store, cp store.Checkpoints) {
		won := race(t, racers, func(int) (bool, error) {
			_, err := cp.SaveCheckpoint(t.Context(), ref, "n", []byte("x"), 0)
			if errors.Is(err, store.ErrConflict) {
				return false, nil
			}
			return err == nil, err
		})
		equal(t, "winners", won, 1)
	})
	sentence("a named lease has one owner, who may extend it and give it back", func(t *testing.T, _ store.Store, cp store.Checkpoints) {
		won := race(t, racers, func(i int) (bool, error) {
			return cp.TryLease(t.Context(), ref, "sync", fmt.Sprintf("o%d", i), time.Minute)
		})
		equal(t, "winners", won, 1)
		equal(t, "another name", must[bool](t)(cp.TryLease(t.Context(), ref, "other", "a", time.Minute)), true)
		equal(t, "extend", must[bool](t)(cp.TryLease(t.Context(), ref, "other", "a", time.Minute)), true)
		equal(t, "held", must[bool](t)(cp.TryLease(t.Context(), ref, "other", "b", time.Minute)), false)
		ok(t, cp.ReleaseLease(t.Context(), ref, "other", "b"))
		equal(t, "not released by another", must[bool](t)(cp.TryLease(t.Context(), ref, "other", "b", time.Minute)), false)
		ok(t, cp.ReleaseLease(t.Context(), ref, "other", "a"))
		equal(t, "released", must[bool](t)(cp.TryLease(t.Context(), ref, "other", "b", time.Millisecond)), true)
		wait(t, 20*time.Millisecond)
		equal(t, "run out", must[bool](t)(cp.TryLease(t.Context(), ref, "other", "c", time.Minute)), true)
	})
	sentence("deleting removes values and leases of one integration", func(t *testing.T, _ store.Store, cp store.Checkpoints) {
		must[int64](t)(cp.SaveCheckpoint(t.Context(), ref, "a", []byte("x"), 0))
		must[int64](t)(cp.SaveCheckpoint(t.Context(), other, "a", []byte("y"), 0))
		ok(t, cp.DeleteCheckpoints(t.Context(), ref))
		v, _, err := cp.Checkpoint(t.Context(), ref, "a")
		ok(t, err)
		equal(t, "gone", v == nil, true)
		v, _, err = cp.Checkpoint(t.Context(), other, "a")
		ok(t, err)
		equal(t, "another's stays", string(v), "y")
	})
}

func (s *suite) endpoints(t *testing.T) {
	sentence := ability[store.Endpoints](s, t, "Endpoints")
	sentence("an endpoint is put, found by its path, listed and deleted", func(t *testing.T, _ store.Store, es store.Endpoints) {
		e := store.Endpoint{ID: "e1", TenantID: "t1", IntegrationID: "i1", Provider: "jira", PathHash: "h1", Secret: []byte{1}, KeyID: "k", PreviousUntil: time.UnixMilli(1700000000000).UTC()}
		ok(t, es.PutEndpoint(t.Context(), e))
		got := must[store.Endpoint](t)(es.FindEndpoint(t.Context(), "jira", "h1"))
		created := got.CreatedAt
		got.CreatedAt = time.Time{}
		equal(t, "endpoint", got, e)
		_, err := es.FindEndpoint(t.Context(), "hubspot", "h1")
		is(t, err, store.ErrNotFound)
		e.Secret, e.PreviousSecret, e.PathHash = []byte{2}, []byte{1}, "h2"
		ok(t, es.PutEndpoint(t.Context(), e))
		list := must[[]store.Endpoint](t)(es.ListEndpoints(t.Context(), store.Ref{TenantID: "t1", ID: "i1"}))
		equal(t, "listed", len(list), 1)
		equal(t, "replaced", string(list[0].Secret), "\x02")
		equal(t, "CreatedAt", list[0].CreatedAt, created)
		foreign := e
		foreign.TenantID = "t2"
		is(t, es.PutEndpoint(t.Context(), foreign), store.ErrConflict)
		samePath := e
		samePath.ID = "e2"
		is(t, es.PutEndpoint(t.Context(), samePath), store.ErrConflict)
		samePath.Provider = "hubspot"
		ok(t, es.PutEndpoint(t.Context(), samePath))
		ok(t, es.DeleteEndpoint(t.Context(), "t1", "e2"))
		ok(t, es.DeleteEndpoint(t.Context(), "t2", "e1"))
		must[store.Endpoint](t)(es.FindEndpoint(t.Context(), "jira", "h2"))
		ok(t, es.DeleteEndpoint(t.Context(), "t1", "e1"))
		_, err = es.FindEndpoint(t.Context(), "jira", "h2")
		is(t, err, store.ErrNotFound)
	})
	sentence("a subscription is put, listed, claimed when due by one owner, and deleted", func(t *testing.T, _ store.Store, es store.Endpoints) {
		ref := store.Ref{TenantID: "t1", ID: "i1"}
		now := time.Now().UTC().Truncate(time.Millisecond)
		for name, renew := range map[string]time.Time{"due": now.Add(-time.Minute), "later": now.Add(time.Hour), "never": {}} {
			ok(t, es.PutSubscription(t.Context(), store.Subscription{TenantID: "t1", IntegrationID: "i1", Provider: "jira", Name: name, RemoteID: "7", Data: []byte("{}"), ExpiresAt: now.Add(time.Hour), RenewAt: renew}))
		}
		list := must[[]store.Subscription](t)(es.ListSubscriptions(t.Context(), ref))
		equal(t, "listed", []string{list[0].Name, list[1].Name, list[2].Name}, []string{"due", "later", "never"})
		equal(t, "ExpiresAt", list[0].ExpiresAt, now.Add(time.Hour))
		claim := func(owner string, providers ...string) []store.Subscription {
			return must[[]store.Subscription](t)(es.ClaimSubscriptions(t.Context(), store.ClaimSubscriptions{Owner: owner, Limit: 10, TTL: time.Minute, Providers: providers}))
		}
		equal(t, "no provider", len(claim("a")), 0)
		equal(t, "another provider", len(claim("a", "hubspot")), 0)
		got := claim("a", "hubspot", "jira")
		equal(t, "claimed", len(got), 1)
		equal(t, "name", got[0].Name, "due")
		equal(t, "claimed again", len(claim("b", "jira")), 0)
		ok(t, es.PutSubscription(t.Context(), got[0]))
		equal(t, "a put clears the lease", len(claim("b", "jira")), 1)
		ok(t, es.DeleteSubscription(t.Context(), ref, "due"))
		ok(t, es.DeleteSubscription(t.Context(), ref, "due"))
		equal(t, "left", len(must[[]store.Subscription](t)(es.ListSubscriptions(t.Context(), ref))), 2)
	})
}

func (s *suite) subscriptions(t *testing.T) {
	sentence := ability[store.Endpoints](s, t, "Endpoints")
	put := func(t *testing.T, es store.Endpoints, name string, due time.Duration) store.Subscription {
		t.Helper()
		sub := store.Subscription{TenantID: "t1", IntegrationID: "i1", Provider: "jira", Name: name, RemoteID: "old", RenewAt: time.Now().Add(-due)}
		ok(t, es.PutSubscription(t.Context(), sub))
		return sub
	}
	claim := func(t *testing.T, es store.Endpoints, owner string, limit int) []store.Subscription {
		t.Helper()
		return must[[]store.Subscription](t)(es.ClaimSubscriptions(t.Context(), store.ClaimSubscriptions{Owner: owner, Limit: limit, TTL: time.Minute, Providers: []string{"jira"}}))
	}
	remote := func(t *testing.T, es store.Endpoints) map[string]string {
		t.Helper()
		have := map[string]string{}
		for _, sub := range must[[]store.Subscription](t)(es.ListSubscriptions(t.Context(), store.Ref{TenantID: "t1", ID: "i1"})) {
			have[sub.Name] = sub.RemoteID
		}
		return have
	}
	sentence("subscriptions are claimed those due first before others", func(t *testing.T, _ store.Store, es store.Endpoints) {
		put(t, es, "second", time.Minute)
		put(t, es, "first", time.Hour)
		put(t, es, "third", time.Second)
		got := claim(t, es, "a", 2)
		equal(t, "claimed", []string{got[0].Name, got[1].Name}, []string{"first", "second"})
		equal(t, "the rest", claim(t, es, "b", 2)[0].Name, "third")
	})
	sentence("a claim is finished by its holder unless somebody put, deleted or claimed the row meanwhile", func(t *testing.T, _ store.Store, es store.Endpoints) {
		for _, name := range []string{"renewed", "over", "replaced", "deleted"} {
			put(t, es, name, time.Minute)
		}
		equal(t, "claimed", len(claim(t, es, "a", 10)), 4)
		finish := func(owner, name string, del bool) bool {
			sub := store.Subscription{TenantID: "t1", IntegrationID: "i1", Provider: "jira", Name: name, RemoteID: "new", RenewAt: time.Now().Add(time.Hour)}
			return must[bool](t)(es.FinishSubscription(t.Context(), store.FinishSubscription{Owner: owner, Subscription: sub, Delete: del}))
		}
		put(t, es, "replaced", -time.Hour)
		ok(t, es.DeleteSubscription(t.Context(), store.Ref{TenantID: "t1", ID: "i1"}, "deleted"))
		equal(t, "by another", finish("b", "renewed", false), false)
		equal(t, "by the holder", finish("a", "renewed", false), true)
		equal(t, "again", finish("a", "renewed", false), false)
		equal(t, "removed", finish("a", "over", true), true)
		equal(t, "replaced meanwhile", finish("a", "replaced", false), false)
		equal(t, "replaced meanwhile", finish("a", "replaced", true), false)
		equal(t, "deleted meanwhile", finish("a", "deleted", false), false)
		equal(t, "left", remote(t, es), map[string]string{"renewed": "new", "replaced": "old"})
	})
	sentence("a claim can be finished with a time that the store adds to its clock", func(t *testing.T, _ store.Store, es store.Endpoints) {
		sub := put(t, es, "s", time.Minute)
		equal(t, "claimed", len(claim(t, es, "a", 1)), 1)
		equal(t, "finished", must[bool](t)(es.FinishSubscription(t.Context(), store.FinishSubscription{Owner: "a", Subscription: sub, RenewIn: time.Hour})), true)
		got := must[[]store.Subscription](t)(es.ListSubscriptions(t.Context(), store.Ref{TenantID: "t1", ID: "i1"}))[0]
		near(t, "RenewAt", got.RenewAt, got.UpdatedAt.Add(time.Hour))
	})
}
