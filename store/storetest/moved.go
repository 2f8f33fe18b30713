package storetest

import (
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// moved: what is kept for an integration goes with its account.
func (s *suite) moved(t *testing.T) {
	ability[store.Checkpoints](s, t, "Checkpoints")("a connect that moved leaves no value and no lease of the account before", func(t *testing.T, st store.Store, cp store.Checkpoints) {
		c := s.fresh("t1", "jira")
		s.put(t, st, c)
		ref, other := store.Ref{TenantID: c.TenantID, ID: c.ID}, store.Ref{TenantID: c.TenantID, ID: "another"}
		for _, r := range []store.Ref{ref, other} {
			must[int64](t)(cp.SaveCheckpoint(t.Context(), r, "a", []byte("x"), 0))
			equal(t, "lease", must[bool](t)(cp.TryLease(t.Context(), r, "l", "owner", time.Hour)), true)
		}
		left := func(r store.Ref) (string, bool) {
			v, _, err := cp.Checkpoint(t.Context(), r, "a")
			ok(t, err)
			return string(v), must[bool](t)(cp.TryLease(t.Context(), r, "l", "somebody else", time.Hour))
		}
		c.SeenGen = 1
		s.put(t, st, c)
		v, free := left(ref)
		equal(t, "the same account again", []any{v, free}, []any{"x", false})
		c.SeenGen, c.Moved = 1, true
		_, err := st.Connect(t.Context(), c)
		is(t, err, store.ErrConflict)
		v, free = left(ref)
		equal(t, "a connect that fails", []any{v, free}, []any{"x", false})
		c.SeenGen = 2
		s.put(t, st, c)
		v, free = left(ref)
		equal(t, "moved", []any{v, free}, []any{"", true})
		v, free = left(other)
		equal(t, "another integration's", []any{v, free}, []any{"x", false})
	})
	ability[store.Endpoints](s, t, "Endpoints")("a connect that moved leaves no endpoint and no subscription of the account before", func(t *testing.T, st store.Store, es store.Endpoints) {
		c := s.fresh("t1", "jira")
		s.put(t, st, c)
		ref, other := store.Ref{TenantID: c.TenantID, ID: c.ID}, store.Ref{TenantID: c.TenantID, ID: "another"}
		for _, r := range []store.Ref{ref, other} {
			ok(t, es.PutEndpoint(t.Context(), store.Endpoint{
				ID: "e-" + r.ID, TenantID: r.TenantID, IntegrationID: r.ID, Provider: "jira", PathHash: "h-" + r.ID, Secret: []byte{1}, KeyID: "k",
			}))
			ok(t, es.PutSubscription(t.Context(), store.Subscription{TenantID: r.TenantID, IntegrationID: r.ID, Provider: "jira", Name: "n", RemoteID: "1"}))
		}
		left := func(r store.Ref) []int {
			endpoints, err := es.ListEndpoints(t.Context(), r)
			ok(t, err)
			subs, err := es.ListSubscriptions(t.Context(), r)
			ok(t, err)
			return []int{len(endpoints), len(subs)}
		}
		c.SeenGen = 1
		s.put(t, st, c)
		equal(t, "the same account again", left(ref), []int{1, 1})
		taken := s.fresh("t2", "jira")
		s.put(t, st, taken)
		c.SeenGen, c.Moved = 2, true
		free := c.ExclusiveKey
		c.ExclusiveKey = taken.ExclusiveKey
		_, err := st.Connect(t.Context(), c)
		is(t, err, store.ErrTaken)
		equal(t, "an account that is taken", left(ref), []int{1, 1})
		c.ExclusiveKey = free
		s.put(t, st, c)
		equal(t, "moved", left(ref), []int{0, 0})
		equal(t, "another integration's", left(other), []int{1, 1})
	})
}
