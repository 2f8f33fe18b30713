package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
)

func (s *suite) refresh(t *testing.T) {
	lease := func(in store.Integration, owner string, ttl time.Duration) store.Lease {
		return store.Lease{TenantID: in.TenantID, ID: in.ID, Owner: owner, SeenGen: in.TokenGen, TTL: ttl}
	}
	s.sentence(t, "one of concurrent callers gets the lease", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		won := race(t, racers, func(i int) (bool, error) {
			return st.Lease(t.Context(), lease(in, fmt.Sprintf("o%d", i), time.Minute))
		})
		equal(t, "winners", won, 1)
		got := must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
		equal(t, "LeaseEpoch", got.LeaseEpoch, 1)
		near(t, "LeaseUntil", got.LeaseUntil, got.ReadAt.Add(time.Minute))
		equal(t, "Version", got.Version, 1)
	})
	s.sentence(t, "a lease that ran out can be taken", func(t *testing.T, st store.Store) {
		held, over := s.put(t, st, s.fresh("t1", "slack")), s.put(t, st, s.fresh("t2", "slack"))
		equal(t, "first", must[bool](t)(st.Lease(t.Context(), lease(held, "a", time.Minute))), true)
		equal(t, "held", must[bool](t)(st.Lease(t.Context(), lease(held, "b", time.Minute))), false)
		equal(t, "short", must[bool](t)(st.Lease(t.Context(), lease(over, "a", 10*time.Millisecond))), true)
		wait(t, 30*time.Millisecond)
		equal(t, "run out", must[bool](t)(st.Lease(t.Context(), lease(over, "b", time.Minute))), true)
	})
	s.sentence(t, "only an active row of the seen generation is leased", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		other := in
		other.TokenGen = 2
		equal(t, "another generation", must[bool](t)(st.Lease(t.Context(), lease(other, "a", time.Minute))), false)
		must[bool](t)(st.SetStatus(t.Context(), store.SetStatus{TenantID: "t1", ID: in.ID, To: store.Suspended}))
		equal(t, "suspended", must[bool](t)(st.Lease(t.Context(), lease(in, "a", time.Minute))), false)
	})
	s.sentence(t, "a commit is a compare-and-swap on the generation, whoever holds the lease", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		must[bool](t)(st.Lease(t.Context(), lease(in, "somebody else", time.Minute)))
		won := race(t, racers, func(i int) (bool, error) {
			return st.CommitTokens(t.Context(), store.CommitTokens{
				TenantID: "t1", ID: in.ID, SeenGen: 1, AccessToken: fmt.Appendf(nil, "a%d", i), RefreshToken: fmt.Appendf(nil, "r%d", i), KeyID: "k2",
				ExpiresIn: 2 * time.Hour, RefreshIn: time.Hour, KeepRefreshExpiry: true,
			})
		})
		equal(t, "winners", won, 1)
		got := must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
		equal(t, "TokenGen", got.TokenGen, 2)
		equal(t, "Version", got.Version, 2)
		equal(t, "pair", string(got.AccessToken[1:]), string(got.RefreshToken[1:]))
		equal(t, "KeyID", got.KeyID, "k2")
		equal(t, "Scopes", got.Scopes, in.Scopes)
		equal(t, "ProviderData", string(got.ProviderData), string(in.ProviderData))
		equal(t, "RefreshExpiresAt", got.RefreshExpiresAt, in.RefreshExpiresAt)
		near(t, "TokenExpiresAt", got.TokenExpiresAt, got.ReadAt.Add(2*time.Hour))
		near(t, "NextRefreshAt", got.NextRefreshAt, got.ReadAt.Add(time.Hour))
		near(t, "LastRefreshAt", got.LastRefreshAt, got.ReadAt)
		equal(t, "lease given back", must[bool](t)(st.Lease(t.Context(), lease(got, "b", time.Minute))), true)
	})
	s.sentence(t, "a commit replaces scopes, the adapter's data and the grant's end when told", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		must[bool](t)(st.CommitTokens(t.Context(), store.CommitTokens{
			TenantID: "t1", ID: in.ID, SeenGen: 1, AccessToken: []byte("a"), KeyID: "k", Scopes: []string{"one"}, RefreshExpiresIn: time.Hour,
			ProviderData: []byte(`{"host":"b"}`),
		}))
		got := must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
		equal(t, "Scopes", got.Scopes, []string{"one"})
		equal(t, "ProviderData", string(got.ProviderData), `{"host":"b"}`)
		near(t, "RefreshExpiresAt", got.RefreshExpiresAt, got.ReadAt.Add(time.Hour))
		equal(t, "TokenExpiresAt", got.TokenExpiresAt.IsZero(), true)
		equal(t, "NextRefreshAt", got.NextRefreshAt.IsZero(), true)
	})
	s.sentence(t, "a commit to a row that is neither active nor suspended changes nothing", func(t *testing.T, st store.Store) {
		for _, status := range []store.Status{store.Revoked, store.Disconnected, store.NeedsReconnect, store.Suspended} {
			in := s.put(t, st, s.fresh(string(status), "slack"))
			must[bool](t)(st.SetStatus(t.Context(), store.SetStatus{TenantID: in.TenantID, ID: in.ID, To: status}))
			changed := must[bool](t)(st.CommitTokens(t.Context(), store.CommitTokens{TenantID: in.TenantID, ID: in.ID, SeenGen: 1, AccessToken: []byte("a")}))
			equal(t, "changed while "+string(status), changed, status == store.Suspended)
			equal(t, "Status", must[store.Integration](t)(st.Get(t.Context(), in.TenantID, in.ID)).Status, status)
		}
	})
	s.sentence(t, "a failure counts, puts off the next try and gives the lease back, for its holder only", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		f := store.FailRefresh{TenantID: "t1", ID: in.ID, Owner: "a", SeenGen: 1, Code: "server_error", RetryIn: time.Minute}
		equal(t, "without a lease", must[bool](t)(st.FailRefresh(t.Context(), f)), false)
		must[bool](t)(st.Lease(t.Context(), lease(in, "a", time.Minute)))
		f.Owner = "b"
		equal(t, "another owner", must[bool](t)(st.FailRefresh(t.Context(), f)), false)
		f.Owner, f.SeenGen = "a", 2
		equal(t, "another generation", must[bool](t)(st.FailRefresh(t.Context(), f)), false)
		f.SeenGen = 1
		equal(t, "holder", must[bool](t)(st.FailRefresh(t.Context(), f)), true)
		got := must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
		equal(t, "RefreshFails", got.RefreshFails, 1)
		equal(t, "RefreshError", got.RefreshError, "server_error")
		equal(t, "Version", got.Version, 1)
		equal(t, "Status", got.Status, store.Active)
		near(t, "NextRefreshAt", got.NextRefreshAt, got.ReadAt.Add(time.Minute))
		equal(t, "lease is free", must[bool](t)(st.Lease(t.Context(), lease(in, "c", time.Minute))), true)
	})
	s.sentence(t, "failures remember when they began and what was reported, until a success", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		fail := func(report int) store.Integration {
			equal(t, "lease", must[bool](t)(st.Lease(t.Context(), lease(in, "a", time.Minute))), true)
			equal(t, "failed", must[bool](t)(st.FailRefresh(t.Context(), store.FailRefresh{TenantID: "t1", ID: in.ID, Owner: "a", SeenGen: 1, Code: "x", Report: report})), true)
			return must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
		}
		first := fail(0)
		near(t, "RefreshFailingSince", first.RefreshFailingSince, first.ReadAt)
		wait(t, 5*time.Millisecond)
		equal(t, "reported", fail(2).RefreshReported, 2)
		last := fail(1)
		equal(t, "reported stays", last.RefreshReported, 2)
		equal(t, "RefreshFailingSince stays", last.RefreshFailingSince, first.RefreshFailingSince)
		must[bool](t)(st.CommitTokens(t.Context(), store.CommitTokens{TenantID: "t1", ID: in.ID, SeenGen: 1, AccessToken: []byte("a")}))
		got := must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
		equal(t, "after a success", got.RefreshFailingSince.IsZero() && got.RefreshReported == 0 && got.RefreshFails == 0, true)
	})
	s.sentence(t, "a lease that was not given back marks the row, by whichever way the next one is taken", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		equal(t, "first lease", must[bool](t)(st.Lease(t.Context(), lease(in, "a", time.Minute))), true)
		must[bool](t)(st.FailRefresh(t.Context(), store.FailRefresh{TenantID: "t1", ID: in.ID, Owner: "a", SeenGen: 1, Uncounted: true}))
		equal(t, "second lease", must[bool](t)(st.Lease(t.Context(), lease(in, "b", time.Millisecond))), true)
		equal(t, "after one that was given back", must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID)).RefreshError, "")
		wait(t, 10*time.Millisecond)
		equal(t, "third lease", must[bool](t)(st.Lease(t.Context(), lease(in, "c", time.Minute))), true)
		equal(t, "after one that was not", must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID)).RefreshError, store.Ambiguous)

		due := s.fresh("t2", "slack")
		due.RefreshIn = time.Millisecond
		in = s.put(t, st, due)
		equal(t, "lease of a row that is due", must[bool](t)(st.Lease(t.Context(), lease(in, "a", time.Millisecond))), true)
		wait(t, 10*time.Millisecond)
		for _, row := range must[[]store.Integration](t)(st.ClaimDue(t.Context(), store.ClaimDue{Owner: "k", Limit: 5, TTL: time.Minute, Providers: []string{"slack"}})) {
			equal(t, "claimed", row.RefreshError, store.Ambiguous)
			in.ID = ""
		}
		equal(t, "was claimed", in.ID, "")
	})
	s.sentence(t, "a failure that is not counted puts off the next try and gives the lease back, and leaves count and code", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		f := store.FailRefresh{TenantID: "t1", ID: in.ID, Owner: "a", SeenGen: 1, Code: "server_error"}
		must[bool](t)(st.Lease(t.Context(), lease(in, "a", time.Minute)))
		equal(t, "counted", must[bool](t)(st.FailRefresh(t.Context(), f)), true)
		f.Code, f.RetryIn, f.Uncounted = "invalid_client", time.Minute, true
		equal(t, "without a lease", must[bool](t)(st.FailRefresh(t.Context(), f)), false)
		must[bool](t)(st.Lease(t.Context(), lease(in, "a", time.Minute)))
		equal(t, "uncounted", must[bool](t)(st.FailRefresh(t.Context(), f)), true)
		got := must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
		equal(t, "RefreshFails", got.RefreshFails, 1)
		equal(t, "RefreshError", got.RefreshError, "server_error")
		equal(t, "Version", got.Version, 1)
		near(t, "NextRefreshAt", got.NextRefreshAt, got.ReadAt.Add(time.Minute))
		equal(t, "lease is free", must[bool](t)(st.Lease(t.Context(), lease(in, "c", time.Minute))), true)
	})
	s.sentence(t, "a failure can keep the lease for a while", func(t *testing.T, st store.Store) {
		for hold, free := range map[time.Duration]bool{time.Minute: false, 10 * time.Millisecond: true} {
			in := s.put(t, st, s.fresh(hold.String(), "slack"))
			must[bool](t)(st.Lease(t.Context(), lease(in, "a", time.Minute)))
			must[bool](t)(st.FailRefresh(t.Context(), store.FailRefresh{TenantID: in.TenantID, ID: in.ID, Owner: "a", SeenGen: 1, Code: "ambiguous", HoldLease: hold}))
			wait(t, 30*time.Millisecond)
			equal(t, "free after "+hold.String(), must[bool](t)(st.Lease(t.Context(), lease(in, "b", time.Minute))), free)
		}
	})
}

func (s *suite) due(t *testing.T) {
	s.sentence(t, "due rows are claimed oldest first, of the given providers, up to the limit", func(t *testing.T, st store.Store) {
		var want []string
		for i := range 5 {
			c := s.fresh(fmt.Sprintf("t%d", i), "slack")
			c.RefreshIn = time.Duration(i+1) * 2 * time.Millisecond
			want = append(want, s.put(t, st, c).ID)
			wait(t, time.Millisecond)
		}
		for name, change := range map[string]func(c *store.Connect){
			"later":            func(c *store.Connect) { c.RefreshIn = time.Hour },
			"never":            func(c *store.Connect) { c.RefreshIn = 0 },
			"another provider": func(c *store.Connect) { c.Provider = "github" },
		} {
			c := s.fresh(name, "slack")
			c.RefreshIn = time.Millisecond
			change(&c)
			s.put(t, st, c)
		}
		gone := s.fresh("gone", "slack")
		gone.RefreshIn = time.Millisecond
		in := s.put(t, st, gone)
		must[bool](t)(st.SetStatus(t.Context(), store.SetStatus{TenantID: "gone", ID: in.ID, To: store.Suspended}))
		wait(t, 40*time.Millisecond)
		claim := func(owner string, limit int, providers ...string) []string {
			var ids []string
			for _, in := range must[[]store.Integration](t)(st.ClaimDue(t.Context(), store.ClaimDue{Owner: owner, Limit: limit, TTL: time.Minute, Providers: providers})) {
				ids = append(ids, in.ID)
			}
			return ids
		}
		equal(t, "no provider", len(claim("a", 10)), 0)
		equal(t, "first three", claim("a", 3, "slack"), want[:3])
		equal(t, "the rest", claim("b", 10, "slack", "jira"), want[3:])
		equal(t, "all are leased", len(claim("c", 10, "slack")), 0)
		equal(t, "the claim is a lease", must[bool](t)(st.FailRefresh(t.Context(), store.FailRefresh{TenantID: "t0", ID: want[0], Owner: "a", SeenGen: 1, Code: "x", RetryIn: time.Hour})), true)
	})
	s.sentence(t, "a claim that names keys leaves rows under others as they are", func(t *testing.T, st store.Store) {
		var ids []string
		for _, key := range []string{"k1", "k2", ""} {
			c := s.fresh("t"+key, "slack")
			c.RefreshIn, c.KeyID = time.Millisecond, key
			if key == "" {
				c.AccessToken, c.RefreshToken = nil, nil
			}
			ids = append(ids, s.put(t, st, c).ID)
			wait(t, 2*time.Millisecond)
		}
		wait(t, 10*time.Millisecond)
		read := func() store.Integration {
			in := must[store.Integration](t)(st.Get(t.Context(), "tk1", ids[0]))
			in.ReadAt = time.Time{}
			return in
		}
		before := read()
		claim := func(keys ...string) []string {
			var got []string
			for _, in := range must[[]store.Integration](t)(st.ClaimDue(t.Context(), store.ClaimDue{Owner: "a", Limit: 10, TTL: time.Minute, Providers: []string{"slack"}, Keys: keys})) {
				got = append(got, in.ID)
			}
			return got
		}
		equal(t, "under k2, k3 or none", claim("k3", "k2"), ids[1:])
		equal(t, "the other row", read(), before)
		equal(t, "under any", claim(), ids[:1])
	})
	s.sentence(t, "a row is given to one claimer at a time", func(t *testing.T, st store.Store) {
		for i := range 40 {
			c := s.fresh(fmt.Sprintf("t%d", i), "slack")
			c.RefreshIn = time.Millisecond
			s.put(t, st, c)
		}
		wait(t, 10*time.Millisecond)
		got := make(chan string, 400)
		race(t, racers, func(i int) (bool, error) {
			rows, err := st.ClaimDue(t.Context(), store.ClaimDue{Owner: fmt.Sprintf("o%d", i), Limit: 10, TTL: time.Minute, Providers: []string{"slack"}})
			for _, in := range rows {
				got <- in.ID
			}
			return false, err
		})
		close(got)
		seen := map[string]int{}
		for id := range got {
			seen[id]++
		}
		equal(t, "rows claimed", len(seen), 40)
		for id, n := range seen {
			equal(t, "claims of "+id, n, 1)
		}
	})
}
