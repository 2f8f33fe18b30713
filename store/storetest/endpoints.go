package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
)

func (s *suite) rotations(t *testing.T) {
	sentence := ability[store.Endpoints](s, t, "Endpoints")
	found := func(t *testing.T, es store.Endpoints, path string) string {
		t.Helper()
		e, err := es.FindEndpoint(t.Context(), "jira", path)
		if errors.Is(err, store.ErrNotFound) {
			return ""
		}
		ok(t, err)
		return e.ID
	}
	rotation := func(seen, path string, overlap time.Duration) store.RotateEndpoint {
		return store.RotateEndpoint{
			TenantID: "t1", ID: "e1", SeenPathHash: seen, PathHash: path, Secret: []byte("of " + path), PreviousSecret: []byte("of " + seen),
			KeyID: "k2", Overlap: overlap,
		}
	}
	sentence("an endpoint that is rotated is found by both paths for a while", func(t *testing.T, _ store.Store, es store.Endpoints) {
		ok(t, es.PutEndpoint(t.Context(), store.Endpoint{ID: "e1", TenantID: "t1", IntegrationID: "i1", Provider: "jira", PathHash: "h1", Secret: []byte("of h1"), KeyID: "k1"}))
		ok(t, es.PutEndpoint(t.Context(), store.Endpoint{ID: "e2", TenantID: "t1", IntegrationID: "i1", Provider: "jira", PathHash: "other", Secret: []byte{1}}))
		equal(t, "no path", found(t, es, ""), "")
		equal(t, "rotated", must[bool](t)(es.RotateEndpoint(t.Context(), rotation("h1", "h2", time.Hour))), true)
		equal(t, "by its path", found(t, es, "h2"), "e1")
		equal(t, "by the path before", found(t, es, "h1"), "e1")
		_, err := es.FindEndpoint(t.Context(), "hubspot", "h1")
		is(t, err, store.ErrNotFound)
		got := must[store.Endpoint](t)(es.FindEndpoint(t.Context(), "jira", "h1"))
		near(t, "PreviousUntil", got.PreviousUntil, time.Now().Add(time.Hour))
		got.PreviousUntil, got.CreatedAt = time.Time{}, time.Time{}
		equal(t, "endpoint", got, store.Endpoint{
			ID: "e1", TenantID: "t1", IntegrationID: "i1", Provider: "jira", PathHash: "h2", PreviousPathHash: "h1",
			Secret: []byte("of h2"), PreviousSecret: []byte("of h1"), KeyID: "k2",
		})
		equal(t, "rotated again", must[bool](t)(es.RotateEndpoint(t.Context(), rotation("h2", "h3", 10*time.Millisecond))), true)
		equal(t, "the path before the last", found(t, es, "h1"), "")
		wait(t, 30*time.Millisecond)
		equal(t, "after the overlap", found(t, es, "h2"), "")
		equal(t, "by its path", found(t, es, "h3"), "e1")
		equal(t, "without overlap", must[bool](t)(es.RotateEndpoint(t.Context(), rotation("h3", "h4", 0))), true)
		equal(t, "at once", found(t, es, "h3"), "")
	})
	sentence("of concurrent rotations of one path exactly one succeeds, and of another tenant's none", func(t *testing.T, _ store.Store, es store.Endpoints) {
		ok(t, es.PutEndpoint(t.Context(), store.Endpoint{ID: "e1", TenantID: "t1", IntegrationID: "i1", Provider: "jira", PathHash: "h1", Secret: []byte{1}}))
		foreign := rotation("h1", "h2", time.Hour)
		foreign.TenantID = "t2"
		equal(t, "another tenant's", must[bool](t)(es.RotateEndpoint(t.Context(), foreign)), false)
		equal(t, "winners", race(t, racers, func(i int) (bool, error) {
			return es.RotateEndpoint(t.Context(), rotation("h1", fmt.Sprint("n", i), time.Hour))
		}), 1)
		equal(t, "the path before", found(t, es, "h1"), "e1")
	})
}

func (s *suite) ensured(t *testing.T) {
	sentence := ability[store.Endpoints](s, t, "Endpoints")
	sentence("active integrations get a subscription that is due, or another id of it", func(t *testing.T, st store.Store, es store.Endpoints) {
		a, b, other := s.put(t, st, s.fresh("t1", "jira")), s.put(t, st, s.fresh("t2", "jira")), s.put(t, st, s.fresh("t3", "slack"))
		over := s.put(t, st, s.fresh("t4", "jira"))
		must[bool](t)(st.SetStatus(t.Context(), store.SetStatus{TenantID: "t4", ID: over.ID, From: []store.Status{store.Active}, To: store.Disconnected, Wipe: true}))
		ensure := func(id string, limit int) int {
			return must[int](t)(es.EnsureSubscriptions(t.Context(), store.EnsureSubscriptions{Provider: "jira", Name: "keep", RemoteID: id, Limit: limit}))
		}
		have := func(in store.Integration) string {
			for _, sub := range must[[]store.Subscription](t)(es.ListSubscriptions(t.Context(), store.Ref{TenantID: in.TenantID, ID: in.ID})) {
				return sub.Provider + " " + sub.Name + " " + sub.RemoteID + " " + string(sub.Data)
			}
			return ""
		}
		claim := func(owner string) []store.Subscription {
			return must[[]store.Subscription](t)(es.ClaimSubscriptions(t.Context(), store.ClaimSubscriptions{Owner: owner, Limit: 10, TTL: time.Minute, Providers: []string{"jira"}}))
		}
		equal(t, "limited", []int{ensure("v1", 1), ensure("v1", 9), ensure("v1", 9)}, []int{1, 1, 0})
		equal(t, "inserted", []string{have(a), have(b), have(other), have(over)}, []string{"jira keep v1 ", "jira keep v1 ", "", ""})
		first := claim("o1")
		equal(t, "due", len(first), 2)
		done := first[0]
		done.Data, done.RenewAt = []byte("{}"), time.Now().Add(time.Hour)
		equal(t, "finished", must[bool](t)(es.FinishSubscription(t.Context(), store.FinishSubscription{Owner: "o1", Subscription: done})), true)
		equal(t, "nothing to do", ensure("v1", 9), 0)
		equal(t, "another id", ensure("v2", 9), 2)
		equal(t, "replaced", []string{have(a), have(b)}, []string{"jira keep v2 ", "jira keep v2 "})
		equal(t, "the claim is over", must[bool](t)(es.FinishSubscription(t.Context(), store.FinishSubscription{Owner: "o1", Subscription: first[1]})), false)
		equal(t, "due again", len(claim("o2")), 2)
		equal(t, "none of a limit of 0", ensure("v3", 0), 0)
	})
	sentence("ensuring at the same time makes each subscription once", func(t *testing.T, st store.Store, es store.Endpoints) {
		for i := range 5 {
			s.put(t, st, s.fresh(fmt.Sprint("t", i), "jira"))
		}
		race(t, 4, func(int) (bool, error) {
			_, err := es.EnsureSubscriptions(t.Context(), store.EnsureSubscriptions{Provider: "jira", Name: "keep", RemoteID: "v1", Limit: 100})
			return err == nil, err
		})
		equal(t, "due", len(must[[]store.Subscription](t)(es.ClaimSubscriptions(t.Context(), store.ClaimSubscriptions{Owner: "o", Limit: 100, TTL: time.Minute, Providers: []string{"jira"}}))), 5)
	})
}
