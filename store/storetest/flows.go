package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
)

func (s *suite) flow(tenant string) store.Flow {
	return store.Flow{
		StateHash: s.id("state"), BrowserHash: "browser", TenantID: tenant, ActorID: "user", SessionHash: "session", Provider: "slack", Label: "eu",
		RedirectURI: "https://app/cb", ReturnTo: "/settings", Verifier: []byte{1, 0, 2}, Scopes: []string{"a"}, ExpectExternalID: "T1", Site: "eu.example.com", TTL: time.Minute,
	}
}

func (s *suite) flows(t *testing.T) {
	s.sentence(t, "a flow comes back as it was put", func(t *testing.T, st store.Store) {
		f := s.flow("t1")
		ok(t, st.PutFlow(t.Context(), f))
		got := must[store.Flow](t)(st.ConsumeFlow(t.Context(), f.StateHash))
		equal(t, "CreatedAt is set", got.CreatedAt.IsZero(), false)
		got.CreatedAt, f.TTL = time.Time{}, 0
		equal(t, "flow", got, f)
	})
	s.sentence(t, "a second flow with the same state conflicts", func(t *testing.T, st store.Store) {
		f := s.flow("t1")
		ok(t, st.PutFlow(t.Context(), f))
		is(t, st.PutFlow(t.Context(), f), store.ErrConflict)
	})
	s.sentence(t, "a flow is consumed once, whatever the number of concurrent callers", func(t *testing.T, st store.Store) {
		f := s.flow("t1")
		ok(t, st.PutFlow(t.Context(), f))
		won := race(t, 64, func(int) (bool, error) {
			_, err := st.ConsumeFlow(t.Context(), f.StateHash)
			if errors.Is(err, store.ErrNotFound) {
				return false, nil
			}
			return err == nil, err
		})
		equal(t, "winners", won, 1)
	})
	s.sentence(t, "an unknown or expired flow is not found", func(t *testing.T, st store.Store) {
		_, err := st.ConsumeFlow(t.Context(), "nothing")
		is(t, err, store.ErrNotFound)
		f := s.flow("t1")
		f.TTL = 5 * time.Millisecond
		ok(t, st.PutFlow(t.Context(), f))
		wait(t, 20*time.Millisecond)
		_, err = st.ConsumeFlow(t.Context(), f.StateHash)
		is(t, err, store.ErrNotFound)
	})
	s.sentence(t, "flows of the last window are counted for one tenant, used ones included", func(t *testing.T, st store.Store) {
		for range 3 {
			ok(t, st.PutFlow(t.Context(), s.flow("t1")))
		}
		used := s.flow("t1")
		ok(t, st.PutFlow(t.Context(), used))
		must[store.Flow](t)(st.ConsumeFlow(t.Context(), used.StateHash))
		ok(t, st.PutFlow(t.Context(), s.flow("t2")))
		equal(t, "count", must[int](t)(st.CountFlows(t.Context(), "t1", time.Minute)), 4)
		wait(t, 10*time.Millisecond)
		equal(t, "count of a short window", must[int](t)(st.CountFlows(t.Context(), "t1", time.Millisecond)), 0)
	})
	s.sentence(t, "flows that ended long enough ago are deleted, up to the limit", func(t *testing.T, st store.Store) {
		for range 5 {
			f := s.flow("t1")
			f.TTL = time.Millisecond
			ok(t, st.PutFlow(t.Context(), f))
		}
		live := s.flow("t1")
		ok(t, st.PutFlow(t.Context(), live))
		wait(t, 20*time.Millisecond)
		equal(t, "too young", must[int](t)(st.DeleteFlows(t.Context(), time.Hour, 10)), 0)
		equal(t, "limited", must[int](t)(st.DeleteFlows(t.Context(), time.Millisecond, 3)), 3)
		equal(t, "the rest", must[int](t)(st.DeleteFlows(t.Context(), time.Millisecond, 10)), 2)
		must[store.Flow](t)(st.ConsumeFlow(t.Context(), live.StateHash))
	})
}

// promises are those of the package comment that hold for every method.
func (s *suite) promises(t *testing.T) {
	s.sentence(t, "a method called with an ended context changes nothing and says so", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		f := s.flow("t1")
		ok(t, st.PutFlow(t.Context(), f))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for name, err := range s.everyCall(ctx, st, in, f) {
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("%s returned %v", name, err)
			}
		}
		got := must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
		got.ReadAt = in.ReadAt
		equal(t, "row", got, in)
		must[store.Flow](t)(st.ConsumeFlow(t.Context(), f.StateHash))
	})
	s.sentence(t, "the store copies what goes in and what comes out", func(t *testing.T, st store.Store) {
		c := s.fresh("t1", "slack")
		in := s.put(t, st, c)
		c.AccessToken[0], c.Scopes[0], c.Metadata[0] = 'X', "X", 'X'
		in.AccessToken[1], in.Scopes[1], in.ProviderData[0] = 'Y', "Y", 'Y'
		got := must[store.Integration](t)(st.Find(t.Context(), "t1", "slack", ""))
		equal(t, "AccessToken", got.AccessToken, []byte{2, 1, 0, 255})
		equal(t, "Scopes", got.Scopes, []string{"read", "write"})
		equal(t, "Metadata", string(got.Metadata), `{"note":"é"}`)
		equal(t, "ProviderData", string(got.ProviderData), `{"team":"T1"}`)
		f := s.flow("t1")
		ok(t, st.PutFlow(t.Context(), f))
		f.Verifier[0] = 'X'
		equal(t, "Verifier", must[store.Flow](t)(st.ConsumeFlow(t.Context(), f.StateHash)).Verifier, []byte{1, 0, 2})
	})
	s.sentence(t, "empty bytes come back as nil", func(t *testing.T, st store.Store) {
		c := s.fresh("t1", "slack")
		c.RefreshToken = []byte{}
		equal(t, "RefreshToken", s.put(t, st, c).RefreshToken == nil, true)
		if cp, has := st.(store.Checkpoints); has {
			ref := store.Ref{TenantID: "t1", ID: "i1"}
			must[int64](t)(cp.SaveCheckpoint(t.Context(), ref, "n", []byte{}, 0))
			v, version, err := cp.Checkpoint(t.Context(), ref, "n")
			ok(t, err)
			equal(t, "value", v == nil && version == 1, true)
		}
	})
	s.sentence(t, "optional abilities honour an ended context too", func(t *testing.T, st store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for name, err := range s.everyOptionalCall(ctx, st) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s with an ended context returns %v", name, err)
			}
		}
	})
	s.sentence(t, "text is kept as it is", func(t *testing.T, st store.Store) {
		c := s.fresh("tenant 'quoted' -- ; ☕ %_", "slack")
		c.ExternalID = `E"1\`
		in := s.put(t, st, c)
		equal(t, "TenantID", in.TenantID, c.TenantID)
		equal(t, "rows", len(must[[]store.Integration](t)(st.FindByExternal(t.Context(), "slack", `E"1\`))), 1)
		equal(t, "no pattern", len(must[[]store.Integration](t)(st.List(t.Context(), "%"))), 0)
	})
	s.sentence(t, "Check says that a fresh store can be used", func(t *testing.T, st store.Store) {
		ok(t, st.Check(t.Context()))
	})
}

func (s *suite) everyCall(ctx context.Context, st store.Store, in store.Integration, f store.Flow) map[string]error {
	errs := map[string]error{}
	note := func(name string, err error) { errs[name] = err }
	_, err := st.Connect(ctx, s.fresh("t2", "slack"))
	note("Connect", err)
	_, err = st.Get(ctx, "t1", in.ID)
	note("Get", err)
	_, err = st.GetMany(ctx, []store.Ref{{TenantID: "t1", ID: in.ID}})
	note("GetMany", err)
	_, err = st.Find(ctx, "t1", "slack", "")
	note("Find", err)
	_, err = st.List(ctx, "t1")
	note("List", err)
	_, err = st.FindByExternal(ctx, "slack", in.ExternalID)
	note("FindByExternal", err)
	_, err = st.Lease(ctx, store.Lease{TenantID: "t1", ID: in.ID, Owner: "o", SeenGen: 1, TTL: time.Minute})
	note("Lease", err)
	_, err = st.CommitTokens(ctx, store.CommitTokens{TenantID: "t1", ID: in.ID, SeenGen: 1})
	note("CommitTokens", err)
	_, err = st.FailRefresh(ctx, store.FailRefresh{TenantID: "t1", ID: in.ID, Owner: "o", SeenGen: 1})
	note("FailRefresh", err)
	_, err = st.SetStatus(ctx, store.SetStatus{TenantID: "t1", ID: in.ID, To: store.Revoked})
	note("SetStatus", err)
	_, err = st.Update(ctx, store.Update{TenantID: "t1", ID: in.ID, Version: 1})
	note("Update", err)
	note("Delete", st.Delete(ctx, "t1", in.ID))
	_, err = st.ClaimDue(ctx, store.ClaimDue{Owner: "o", Limit: 1, TTL: time.Minute, Providers: []string{"slack"}})
	note("ClaimDue", err)
	note("PutFlow", st.PutFlow(ctx, s.flow("t1")))
	_, err = st.ConsumeFlow(ctx, f.StateHash)
	note("ConsumeFlow", err)
	_, err = st.CountFlows(ctx, "t1", time.Minute)
	note("CountFlows", err)
	_, err = st.DeleteFlows(ctx, 0, 10)
	note("DeleteFlows", err)
	if len(errs) != 17 {
		note("the suite", fmt.Errorf("%d calls", len(errs)))
	}
	return errs
}

func (s *suite) everyOptionalCall(ctx context.Context, st store.Store) map[string]error {
	errs := map[string]error{}
	note := func(name string, err error) { errs[name] = err }
	ref := store.Ref{TenantID: "t1", ID: "i1"}
	if in, has := st.(store.Inbox); has {
		_, err := in.InsertDeliveries(ctx, []store.Delivery{s.delivery("t1", "i1")})
		note("InsertDeliveries", err)
		_, err = in.ClaimDeliveries(ctx, claim("o", anyGitHub))
		note("ClaimDeliveries", err)
		_, err = in.DueTenants(ctx, store.DueQuery{Match: []store.Match{anyGitHub}})
		note("DueTenants", err)
		note("RenewDeliveries", in.RenewDeliveries(ctx, "o", []string{"id"}, time.Minute))
		_, err = in.RecordDeliveries(ctx, store.RecordDeliveries{Ends: []store.FinishDelivery{{ID: "id", Owner: "o"}}, Starts: []store.DeliveryLease{{ID: "id2", Owner: "o"}}})
		note("RecordDeliveries", err)
		_, err = in.GetDelivery(ctx, "t1", "id")
		note("GetDelivery", err)
		_, err = in.ListDeliveries(ctx, store.DeliveryQuery{TenantID: "t1"})
		note("ListDeliveries", err)
		_, err = in.ReplayDeliveries(ctx, store.DeliveryQuery{TenantID: "t1"})
		note("ReplayDeliveries", err)
		_, err = in.DeleteDeliveries(ctx, store.Done, 0, 10)
		note("DeleteDeliveries", err)
		_, err = in.CountDeliveries(ctx, nil)
		note("CountDeliveries", err)
	}
	if cp, has := st.(store.Checkpoints); has {
		_, _, err := cp.Checkpoint(ctx, ref, "n")
		note("Checkpoint", err)
		_, err = cp.SaveCheckpoint(ctx, ref, "n", []byte("x"), 0)
		note("SaveCheckpoint", err)
		_, err = cp.TryLease(ctx, ref, "n", "o", time.Minute)
		note("TryLease", err)
		note("ReleaseLease", cp.ReleaseLease(ctx, ref, "n", "o"))
		note("DeleteCheckpoints", cp.DeleteCheckpoints(ctx, ref))
	}
	if es, has := st.(store.Endpoints); has {
		note("PutEndpoint", es.PutEndpoint(ctx, store.Endpoint{ID: "e", TenantID: "t1", PathHash: "h"}))
		_, err := es.FindEndpoint(ctx, "jira", "h")
		note("FindEndpoint", err)
		_, err = es.ListEndpoints(ctx, ref)
		note("ListEndpoints", err)
		note("DeleteEndpoint", es.DeleteEndpoint(ctx, "t1", "e"))
		note("PutSubscription", es.PutSubscription(ctx, store.Subscription{TenantID: "t1", IntegrationID: "i1", Name: "n"}))
		_, err = es.ListSubscriptions(ctx, ref)
		note("ListSubscriptions", err)
		_, err = es.ClaimSubscriptions(ctx, store.ClaimSubscriptions{Owner: "o", Limit: 1, TTL: time.Minute, Providers: []string{"jira"}})
		note("ClaimSubscriptions", err)
		_, err = es.FinishSubscription(ctx, store.FinishSubscription{Owner: "o", Subscription: store.Subscription{TenantID: "t1", IntegrationID: "i1", Name: "n"}})
		note("FinishSubscription", err)
		note("DeleteSubscription", es.DeleteSubscription(ctx, ref, "n"))
	}
	if ad, has := st.(store.Admin); has {
		_, err := ad.CountByKey(ctx)
		note("CountByKey", err)
		_, err = ad.CountByStatus(ctx)
		note("CountByStatus", err)
		_, err = ad.ListAll(ctx, "", 10)
		note("ListAll", err)
		_, err = ad.CountSealed(ctx, store.SealedTokens)
		note("CountSealed", err)
		_, err = ad.ListSealed(ctx, store.SealedTokens, "k", "", 10)
		note("ListSealed", err)
		_, err = ad.Reseal(ctx, store.SealedTokens, []store.Reseal{{Old: store.Sealed{TenantID: "t1", ID: "i1", Gen: 1}}})
		note("Reseal", err)
	}
	if pu, has := st.(store.Purger); has {
		for _, table := range tenantTables {
			_, err := pu.PurgeRows(ctx, "t1", table, 10)
			note("PurgeRows of "+string(table), err)
		}
	}
	return errs
}
