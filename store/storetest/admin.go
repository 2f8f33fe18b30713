package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
)

func (s *suite) admin(t *testing.T) {
	sentence := ability[store.Admin](s, t, "Admin")
	sentence("rows are counted by key and status and listed by id", func(t *testing.T, st store.Store, ad store.Admin) {
		var ids []string
		for i := range 4 {
			c := s.fresh(fmt.Sprintf("t%d", i), "slack")
			if i == 3 {
				c.KeyID = "k2"
			}
			ids = append(ids, s.put(t, st, c).ID)
		}
		must[bool](t)(st.SetStatus(t.Context(), store.SetStatus{TenantID: "t0", ID: ids[0], To: store.Disconnected, Wipe: true}))
		equal(t, "by key", must[map[string]int64](t)(ad.CountByKey(t.Context())), map[string]int64{"k1": 2, "k2": 1})
		equal(t, "tokens by key", must[map[string]int64](t)(ad.CountSealed(t.Context(), store.SealedTokens)), map[string]int64{"k1": 2, "k2": 1})
		equal(t, "by status", must[map[store.Status]int64](t)(ad.CountByStatus(t.Context())), map[store.Status]int64{store.Active: 3, store.Disconnected: 1})
		list := func(rows []store.Integration) []string {
			var out []string
			for _, in := range rows {
				out = append(out, in.ID)
			}
			return out
		}
		equal(t, "first two", list(must[[]store.Integration](t)(ad.ListAll(t.Context(), "", 2))), ids[:2])
		equal(t, "the rest", list(must[[]store.Integration](t)(ad.ListAll(t.Context(), ids[1], 10))), ids[2:])
	})
	sentence("sealed rows are listed under their key, by id, from any id on", func(t *testing.T, st store.Store, ad store.Admin) {
		var want []store.Sealed
		for i := range 4 {
			c := s.fresh(fmt.Sprintf("t%d", i), "slack")
			if i == 1 {
				c.RefreshToken = nil
			}
			if i == 2 {
				c.KeyID = "k2"
			}
			in := s.put(t, st, c)
			if i != 2 {
				want = append(want, store.Sealed{TenantID: in.TenantID, Provider: "slack", ID: in.ID, KeyID: "k1", Gen: 1, Values: [2][]byte{in.AccessToken, in.RefreshToken}})
			}
		}
		list := func(key, after string, limit int) []store.Sealed {
			return must[[]store.Sealed](t)(ad.ListSealed(t.Context(), store.SealedTokens, key, after, limit))
		}
		equal(t, "first two", list("k1", "", 2), want[:2])
		equal(t, "the rest", list("k1", want[1].ID, 2), want[2:])
		equal(t, "after all", len(list("k1", want[2].ID, 2)), 0)
		equal(t, "under the other key", len(list("k2", "", 10)), 1)
		equal(t, "under no key", len(list("", "", 10)), 0)
		equal(t, "none", len(list("k1", "", 0)), 0)
	})
	sentence("what is no kind of sealed rows is an error", func(t *testing.T, _ store.Store, ad store.Admin) {
		for _, kind := range []store.SealedKind{0, store.SealedDone + 1} {
			if _, err := ad.CountSealed(t.Context(), kind); err == nil {
				t.Fatal("counted")
			}
			if _, err := ad.ListSealed(t.Context(), kind, "k1", "", 10); err == nil {
				t.Fatal("listed")
			}
			if _, err := ad.Reseal(t.Context(), kind, []store.Reseal{{KeyID: "k2"}}); err == nil {
				t.Fatal("resealed")
			}
		}
	})
	sentence("a reseal changes rows whose generation and old values are the given ones, and no counter", func(t *testing.T, st store.Store, ad store.Admin) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		bare := s.fresh("t2", "slack")
		bare.RefreshToken = nil
		without := s.put(t, st, bare)
		good := func(in store.Integration) store.Reseal {
			old := store.Sealed{TenantID: in.TenantID, Provider: "slack", ID: in.ID, KeyID: "k1", Gen: 1, Values: [2][]byte{in.AccessToken, in.RefreshToken}}
			r := store.Reseal{Old: old, Values: [2][]byte{[]byte("A")}, KeyID: "k2"}
			if in.RefreshToken != nil {
				r.Values[1] = []byte("R")
			}
			return r
		}
		var stale []store.Reseal
		for _, change := range []func(old *store.Sealed){
			func(old *store.Sealed) { old.Gen = 9 },
			func(old *store.Sealed) { old.Values[0] = []byte("other") },
			func(old *store.Sealed) { old.Values[0] = nil },
			func(old *store.Sealed) { old.Values[1] = []byte("other") },
			func(old *store.Sealed) { old.Values[1] = nil },
			func(old *store.Sealed) { old.TenantID = "t2" },
			func(old *store.Sealed) { old.ID = "nobody" },
		} {
			r := good(in)
			change(&r.Old)
			stale = append(stale, r)
		}
		added := good(without)
		added.Old.Values[1] = []byte("other")
		equal(t, "changed", must[int](t)(ad.Reseal(t.Context(), store.SealedTokens, append(stale, added))), 0)
		equal(t, "nothing to do", must[int](t)(ad.Reseal(t.Context(), store.SealedTokens, nil)), 0)
		equal(t, "changed", must[int](t)(ad.Reseal(t.Context(), store.SealedTokens, append(stale, good(in), good(without)))), 2)
		equal(t, "changed again", must[int](t)(ad.Reseal(t.Context(), store.SealedTokens, []store.Reseal{good(in), good(without)})), 0)
		got := must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
		equal(t, "sealed", string(got.AccessToken)+string(got.RefreshToken)+got.KeyID, "ARk2")
		equal(t, "counters", [3]int64{got.TokenGen, got.Version, got.LeaseEpoch}, [3]int64{1, 1, 0})
		got = must[store.Integration](t)(st.Get(t.Context(), "t2", without.ID))
		equal(t, "still no refresh token", got.RefreshToken == nil && got.KeyID == "k2", true)
	})
	sentence("of any number who reseal the same rows at once one changes each", func(t *testing.T, st store.Store, ad store.Admin) {
		const rows = 450
		for i := range rows {
			c := s.fresh(fmt.Sprintf("t%d", i), "slack")
			if i%3 == 0 {
				c.RefreshToken = nil
			}
			s.put(t, st, c)
		}
		listed := must[[]store.Sealed](t)(ad.ListSealed(t.Context(), store.SealedTokens, "k1", "", rows))
		equal(t, "listed", len(listed), rows)
		changed := make([]int, 4)
		race(t, len(changed), func(i int) (bool, error) {
			rs := make([]store.Reseal, rows)
			for j, old := range listed {
				rs[j] = store.Reseal{Old: old, Values: [2][]byte{fmt.Append(nil, "access of ", i)}, KeyID: "k2"}
				if old.Values[1] != nil {
					rs[j].Values[1] = fmt.Append(nil, "refresh of ", i)
				}
			}
			if i%2 == 1 {
				slices.Reverse(rs)
			}
			n, err := ad.Reseal(t.Context(), store.SealedTokens, rs)
			changed[i] = n
			return false, err
		})
		total := 0
		for _, n := range changed {
			total += n
		}
		equal(t, "changed", total, rows)
		equal(t, "by key", must[map[string]int64](t)(ad.CountByKey(t.Context())), map[string]int64{"k2": rows})
		for _, r := range must[[]store.Sealed](t)(ad.ListSealed(t.Context(), store.SealedTokens, "k2", "", rows)) {
			if who := bytes.TrimPrefix(r.Values[0], []byte("access of ")); r.Values[1] != nil && string(r.Values[1]) != "refresh of "+string(who) {
				t.Fatalf("%s has values of two", r.ID)
			}
		}
	})
	s.adminOfEndpoints(t)
	s.adminOfDeliveries(t)
}

func (s *suite) adminOfEndpoints(t *testing.T) {
	ability[store.Admin](s, t, "Admin")("secrets of endpoints are counted, listed and resealed", func(t *testing.T, st store.Store, ad store.Admin) {
		es, has := st.(store.Endpoints)
		if !has {
			t.Log("the store has no Endpoints")
			return
		}
		for i := range 3 {
			e := store.Endpoint{ID: fmt.Sprint("e", i), TenantID: "t1", IntegrationID: "i1", Provider: "jira", PathHash: fmt.Sprint("h", i), Secret: []byte{1, 0}, KeyID: "k1"}
			if i == 1 {
				e.PreviousSecret, e.PreviousUntil = []byte{2}, time.UnixMilli(1700000000000).UTC()
			}
			ok(t, es.PutEndpoint(t.Context(), e))
		}
		equal(t, "by key", must[map[string]int64](t)(ad.CountByKey(t.Context())), map[string]int64{"k1": 3})
		equal(t, "secrets by key", must[map[string]int64](t)(ad.CountSealed(t.Context(), store.SealedSecrets)), map[string]int64{"k1": 3})
		listed := must[[]store.Sealed](t)(ad.ListSealed(t.Context(), store.SealedSecrets, "k1", "e0", 10))
		equal(t, "listed", listed, []store.Sealed{
			{TenantID: "t1", Provider: "jira", ID: "e1", KeyID: "k1", Values: [2][]byte{{1, 0}, {2}}},
			{TenantID: "t1", Provider: "jira", ID: "e2", KeyID: "k1", Values: [2][]byte{{1, 0}}},
		})
		stale := store.Reseal{Old: listed[1], Values: [2][]byte{{9}}, KeyID: "k2"}
		stale.Old.Values[0] = []byte{1, 1}
		foreign := store.Reseal{Old: listed[1], Values: [2][]byte{{9}}, KeyID: "k2"}
		foreign.Old.TenantID = "t2"
		equal(t, "changed", must[int](t)(ad.Reseal(t.Context(), store.SealedSecrets, []store.Reseal{
			stale, foreign, {Old: listed[0], Values: [2][]byte{{3}, {4}}, KeyID: "k2"},
		})), 1)
		got := must[store.Endpoint](t)(es.FindEndpoint(t.Context(), "jira", "h1"))
		equal(t, "resealed", [3]string{string(got.Secret), string(got.PreviousSecret), got.KeyID}, [3]string{"\x03", "\x04", "k2"})
		equal(t, "PreviousUntil", got.PreviousUntil, time.UnixMilli(1700000000000).UTC())
		equal(t, "by key", must[map[string]int64](t)(ad.CountByKey(t.Context())), map[string]int64{"k1": 2, "k2": 1})
	})
}

func (s *suite) adminOfDeliveries(t *testing.T) {
	sentence := ability[store.Admin](s, t, "Admin")
	inboxed := func(promise string, fn func(t *testing.T, in store.Inbox, ad store.Admin)) {
		sentence(promise, func(t *testing.T, st store.Store, ad store.Admin) {
			if in, has := st.(store.Inbox); has {
				fn(t, in, ad)
				return
			}
			t.Log("the store has no Inbox")
		})
	}
	// three has a pending, a dead and a done delivery, by id.
	three := func(t *testing.T, in store.Inbox) [3]string {
		t.Helper()
		var ids [3]string
		for i := range ids {
			d := s.delivery("t1", "i1")
			ids[i] = d.ID
			must[[]bool](t)(in.InsertDeliveries(t.Context(), []store.Delivery{d}))
		}
		claimed(t, in, claim("o", anyGitHub))
		for i, state := range []store.DeliveryState{store.Pending, store.Dead, store.Done} {
			finish(t, in, store.FinishDelivery{ID: ids[i], Owner: "o", State: state})
		}
		return ids
	}
	idsOf := func(rows []store.Sealed) []string {
		var out []string
		for _, r := range rows {
			out = append(out, r.ID)
		}
		return out
	}
	inboxed("bodies of unfinished and dead deliveries count, of done ones apart", func(t *testing.T, in store.Inbox, ad store.Admin) {
		ids := three(t, in)
		equal(t, "by key", must[map[string]int64](t)(ad.CountByKey(t.Context())), map[string]int64{"k1": 2})
		equal(t, "bodies by key", must[map[string]int64](t)(ad.CountSealed(t.Context(), store.SealedBodies)), map[string]int64{"k1": 2})
		equal(t, "done bodies by key", must[map[string]int64](t)(ad.CountSealed(t.Context(), store.SealedDone)), map[string]int64{"k1": 1})
		equal(t, "listed", idsOf(must[[]store.Sealed](t)(ad.ListSealed(t.Context(), store.SealedBodies, "k1", "", 10))), ids[:2])
		equal(t, "done", idsOf(must[[]store.Sealed](t)(ad.ListSealed(t.Context(), store.SealedDone, "k1", "", 10))), ids[2:])
	})
	inboxed("a reseal of bodies goes by their key, whatever became of the delivery, and keeps it no longer", func(t *testing.T, in store.Inbox, ad store.Admin) {
		ids := three(t, in)
		var rs []store.Reseal
		for _, kind := range []store.SealedKind{store.SealedBodies, store.SealedDone} {
			for _, old := range must[[]store.Sealed](t)(ad.ListSealed(t.Context(), kind, "k1", "", 10)) {
				rs = append(rs, store.Reseal{Old: old, Values: [2][]byte{[]byte(old.ID)}, KeyID: "k2"})
			}
		}
		before := must[store.Delivery](t)(in.GetDelivery(t.Context(), "t1", ids[1]))
		wait(t, 5*time.Millisecond)
		equal(t, "changed", must[int](t)(ad.Reseal(t.Context(), store.SealedBodies, rs)), 3)
		equal(t, "changed again", must[int](t)(ad.Reseal(t.Context(), store.SealedDone, rs)), 0)
		for _, id := range ids {
			got := must[store.Delivery](t)(in.GetDelivery(t.Context(), "t1", id))
			equal(t, "body", string(got.Body)+got.KeyID, id+"k2")
		}
		before.Body, before.KeyID = []byte(ids[1]), "k2"
		equal(t, "the rest", must[store.Delivery](t)(in.GetDelivery(t.Context(), "t1", ids[1])), before)
		foreign := store.Reseal{Old: store.Sealed{TenantID: "t2", ID: ids[0], KeyID: "k2"}, KeyID: "k3"}
		equal(t, "another tenant's", must[int](t)(ad.Reseal(t.Context(), store.SealedBodies, []store.Reseal{foreign})), 0)
	})
	inboxed("large bodies are listed a few at a time and resealed together", func(t *testing.T, in store.Inbox, ad store.Admin) {
		const rows, size = 5, 3 << 20
		for range rows {
			d := s.delivery("t1", "i1")
			d.Body = bytes.Repeat([]byte{7}, size)
			must[[]bool](t)(in.InsertDeliveries(t.Context(), []store.Delivery{d}))
		}
		var rs []store.Reseal
		for after := ""; ; {
			page := must[[]store.Sealed](t)(ad.ListSealed(t.Context(), store.SealedBodies, "k1", after, 10))
			if len(page) == 0 {
				break
			}
			for _, old := range page {
				rs = append(rs, store.Reseal{Old: old, Values: [2][]byte{bytes.Repeat([]byte{8}, size+1)}, KeyID: "k2"})
				after = old.ID
			}
		}
		equal(t, "listed", len(rs), rows)
		equal(t, "changed", must[int](t)(ad.Reseal(t.Context(), store.SealedBodies, rs)), rows)
		got := must[store.Delivery](t)(in.GetDelivery(t.Context(), "t1", rs[rows-1].Old.ID))
		equal(t, "body", len(got.Body) == size+1 && got.Body[size] == 8, true)
	})
}
