package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
)

func (s *suite) connect(t *testing.T) {
	s.sentence(t, "a new row has the given id, generation 1 and version 1, and is active", func(t *testing.T, st store.Store) {
		c := s.fresh("t1", "slack")
		in := s.put(t, st, c)
		equal(t, "ID", in.ID, c.ID)
		equal(t, "TokenGen", in.TokenGen, 1)
		equal(t, "Version", in.Version, 1)
		equal(t, "Status", in.Status, store.Active)
		equal(t, "AccessToken", in.AccessToken, c.AccessToken)
		equal(t, "RefreshToken", in.RefreshToken, c.RefreshToken)
		equal(t, "Scopes", in.Scopes, c.Scopes)
		equal(t, "Metadata", string(in.Metadata), string(c.Metadata))
		equal(t, "ProviderData", string(in.ProviderData), string(c.ProviderData))
		near(t, "ConnectedAt", in.ConnectedAt, in.ReadAt)
		near(t, "TokenExpiresAt", in.TokenExpiresAt, in.ReadAt.Add(time.Hour))
		near(t, "RefreshExpiresAt", in.RefreshExpiresAt, in.ReadAt.Add(90*24*time.Hour))
		near(t, "NextRefreshAt", in.NextRefreshAt, in.ReadAt.Add(50*time.Minute))
		got := must[store.Integration](t)(st.Get(t.Context(), "t1", c.ID))
		got.ReadAt = in.ReadAt
		equal(t, "row read again", got, in)
	})
	s.sentence(t, "a duration of 0 means unknown or never", func(t *testing.T, st store.Store) {
		c := s.fresh("t1", "slack")
		c.ExpiresIn, c.RefreshExpiresIn, c.RefreshIn = 0, 0, 0
		c.RefreshToken, c.Scopes, c.Metadata, c.ProviderData, c.ExclusiveKey = nil, nil, nil, nil, ""
		in := s.put(t, st, c)
		for name, at := range map[string]time.Time{"TokenExpiresAt": in.TokenExpiresAt, "RefreshExpiresAt": in.RefreshExpiresAt, "NextRefreshAt": in.NextRefreshAt, "LeaseUntil": in.LeaseUntil, "LastRefreshAt": in.LastRefreshAt} {
			equal(t, name, at.IsZero(), true)
		}
		if in.RefreshToken != nil || in.Scopes != nil || in.Metadata != nil || in.ProviderData != nil {
			t.Fatalf("nil came back as something: %+v", in)
		}
	})
	s.sentence(t, "with SeenGen 0 and a row for tenant, provider and label it conflicts and changes nothing", func(t *testing.T, st store.Store) {
		first := s.put(t, st, s.fresh("t1", "slack"))
		_, err := st.Connect(t.Context(), s.fresh("t1", "slack"))
		is(t, err, store.ErrConflict)
		got := must[[]store.Integration](t)(st.List(t.Context(), "t1"))
		equal(t, "rows", len(got), 1)
		equal(t, "Version", got[0].Version, first.Version)
		labelled := s.fresh("t1", "slack")
		labelled.Label = "eu"
		s.put(t, st, labelled)
	})
	s.sentence(t, "a reconnect replaces the grant and keeps metadata, label and creation", func(t *testing.T, st store.Store) {
		old := s.put(t, st, s.fresh("t1", "slack"))
		c := s.fresh("t1", "slack")
		c.ID, c.SeenGen, c.AccessToken, c.RefreshToken, c.KeyID = old.ID, old.TokenGen, []byte("new"), nil, "k2"
		c.Metadata = json.RawMessage(`{"ignored":true}`)
		in := s.put(t, st, c)
		equal(t, "TokenGen", in.TokenGen, old.TokenGen+1)
		equal(t, "Version", in.Version, old.Version+1)
		equal(t, "Metadata", string(in.Metadata), string(old.Metadata))
		equal(t, "CreatedAt", in.CreatedAt, old.CreatedAt)
		equal(t, "AccessToken", string(in.AccessToken), "new")
		equal(t, "no refresh token", in.RefreshToken == nil, true)
		equal(t, "KeyID", in.KeyID, "k2")
		equal(t, "ExternalID", in.ExternalID, c.ExternalID)
	})
	s.sentence(t, "a reconnect makes the row active, clears failures and gives up the lease", func(t *testing.T, st store.Store) {
		old := s.put(t, st, s.fresh("t1", "slack"))
		must[bool](t)(st.Lease(t.Context(), store.Lease{TenantID: "t1", ID: old.ID, Owner: "o", SeenGen: 1, TTL: time.Minute}))
		must[bool](t)(st.FailRefresh(t.Context(), store.FailRefresh{TenantID: "t1", ID: old.ID, Owner: "o", SeenGen: 1, Code: "x", RetryIn: time.Hour, HoldLease: time.Hour}))
		must[bool](t)(st.SetStatus(t.Context(), store.SetStatus{TenantID: "t1", ID: old.ID, To: store.NeedsReconnect, Reason: "r"}))
		c := s.fresh("t1", "slack")
		c.ID, c.SeenGen = old.ID, 1
		in := s.put(t, st, c)
		equal(t, "Status", in.Status, store.Active)
		equal(t, "StatusReason", in.StatusReason, "")
		equal(t, "RefreshFails", in.RefreshFails, 0)
		equal(t, "RefreshError", in.RefreshError, "")
		won := must[bool](t)(st.Lease(t.Context(), store.Lease{TenantID: "t1", ID: old.ID, Owner: "p", SeenGen: 2, TTL: time.Minute}))
		equal(t, "lease is free", won, true)
	})
	s.sentence(t, "a reconnect of another generation, or of another tenant's row, conflicts", func(t *testing.T, st store.Store) {
		old := s.put(t, st, s.fresh("t1", "slack"))
		c := s.fresh("t1", "slack")
		c.ID, c.SeenGen = old.ID, 7
		_, err := st.Connect(t.Context(), c)
		is(t, err, store.ErrConflict)
		c.TenantID, c.SeenGen = "t2", 1
		_, err = st.Connect(t.Context(), c)
		is(t, err, store.ErrConflict)
	})
	s.sentence(t, "an exclusive key that another row holds is taken, for new rows and reconnects", func(t *testing.T, st store.Store) {
		first := s.put(t, st, s.fresh("t1", "slack"))
		c := s.fresh("t2", "slack")
		c.ExclusiveKey = first.ExclusiveKey
		_, err := st.Connect(t.Context(), c)
		is(t, err, store.ErrTaken)
		second := s.put(t, st, s.fresh("t2", "slack"))
		c.ID, c.SeenGen = second.ID, 1
		_, err = st.Connect(t.Context(), c)
		is(t, err, store.ErrTaken)
		got := must[store.Integration](t)(st.Get(t.Context(), "t2", second.ID))
		equal(t, "TokenGen", got.TokenGen, 1)
		own := s.fresh("t1", "slack")
		own.ID, own.SeenGen, own.ExclusiveKey = first.ID, 1, first.ExclusiveKey
		s.put(t, st, own)
	})
	s.sentence(t, "of concurrent connects with one exclusive key exactly one succeeds", func(t *testing.T, st store.Store) {
		won := race(t, racers, func(i int) (bool, error) {
			c := s.fresh(fmt.Sprintf("t%d", i), "slack")
			c.ExclusiveKey = "slack|T1"
			_, err := st.Connect(t.Context(), c)
			if errors.Is(err, store.ErrTaken) {
				return false, nil
			}
			return err == nil, err
		})
		equal(t, "winners", won, 1)
	})
	s.sentence(t, "of concurrent connects of one tenant, provider and label exactly one inserts", func(t *testing.T, st store.Store) {
		won := race(t, racers, func(int) (bool, error) {
			c := s.fresh("t1", "slack")
			_, err := st.Connect(t.Context(), c)
			if errors.Is(err, store.ErrConflict) {
				return false, nil
			}
			return err == nil, err
		})
		equal(t, "winners", won, 1)
	})
}

func (s *suite) lookup(t *testing.T) {
	s.sentence(t, "Get, Find: a missing row is ErrNotFound", func(t *testing.T, st store.Store) {
		_, err := st.Get(t.Context(), "t1", "nothing")
		is(t, err, store.ErrNotFound)
		_, err = st.Find(t.Context(), "t1", "slack", "")
		is(t, err, store.ErrNotFound)
	})
	s.sentence(t, "another tenant's id is the same as one that does not exist", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		ctx := t.Context()
		_, err := st.Get(ctx, "t2", in.ID)
		is(t, err, store.ErrNotFound)
		_, err = st.Update(ctx, store.Update{TenantID: "t2", ID: in.ID, Version: 1})
		is(t, err, store.ErrNotFound)
		for name, changed := range map[string]bool{
			"Lease":        must[bool](t)(st.Lease(ctx, store.Lease{TenantID: "t2", ID: in.ID, Owner: "o", SeenGen: 1, TTL: time.Minute})),
			"CommitTokens": must[bool](t)(st.CommitTokens(ctx, store.CommitTokens{TenantID: "t2", ID: in.ID, SeenGen: 1})),
			"FailRefresh":  must[bool](t)(st.FailRefresh(ctx, store.FailRefresh{TenantID: "t2", ID: in.ID, SeenGen: 1})),
			"SetStatus":    must[bool](t)(st.SetStatus(ctx, store.SetStatus{TenantID: "t2", ID: in.ID, To: store.Revoked})),
		} {
			equal(t, name+" of another tenant", changed, false)
		}
		ok(t, st.Delete(ctx, "t2", in.ID))
		many := must[[]store.Integration](t)(st.GetMany(ctx, []store.Ref{{TenantID: "t2", ID: in.ID}}))
		equal(t, "GetMany of another tenant", len(many), 0)
		got := must[store.Integration](t)(st.Get(ctx, "t1", in.ID))
		got.ReadAt = in.ReadAt
		equal(t, "row", got, in)
	})
	s.sentence(t, "GetMany returns those that exist, once each", func(t *testing.T, st store.Store) {
		var refs []store.Ref
		for range 450 { // more than fits any statement
			in := s.put(t, st, s.fresh(s.id("t"), "slack"))
			refs = append(refs, store.Ref{TenantID: in.TenantID, ID: in.ID})
		}
		refs = append(refs, refs[0], store.Ref{TenantID: "t", ID: "nothing"})
		got := must[[]store.Integration](t)(st.GetMany(t.Context(), refs))
		seen := map[string]bool{}
		for _, in := range got {
			seen[in.ID] = true
		}
		equal(t, "rows", len(got), 450)
		equal(t, "different rows", len(seen), 450)
		equal(t, "none asked for", len(must[[]store.Integration](t)(st.GetMany(t.Context(), nil))), 0)
	})
	s.sentence(t, "List is ordered by provider and label and empty for an unknown tenant", func(t *testing.T, st store.Store) {
		for _, c := range [][2]string{{"slack", "b"}, {"github", ""}, {"slack", ""}, {"slack", "a"}} {
			in := s.fresh("t1", c[0])
			in.Label = c[1]
			s.put(t, st, in)
		}
		var got []string
		for _, in := range must[[]store.Integration](t)(st.List(t.Context(), "t1")) {
			got = append(got, in.Provider+"/"+in.Label)
		}
		equal(t, "order", got, []string{"github/", "slack/", "slack/a", "slack/b"})
		equal(t, "unknown tenant", len(must[[]store.Integration](t)(st.List(t.Context(), "t2"))), 0)
	})
	s.sentence(t, "FindByExternal returns all tenants' rows of the account, whatever their status, oldest first", func(t *testing.T, st store.Store) {
		for i := range 3 {
			c := s.fresh(fmt.Sprintf("t%d", i), "google_sheets")
			c.ExternalID, c.ExclusiveKey = "sub-1", ""
			in := s.put(t, st, c)
			if i == 1 {
				must[bool](t)(st.SetStatus(t.Context(), store.SetStatus{TenantID: in.TenantID, ID: in.ID, To: store.Disconnected}))
			}
			wait(t, 2*time.Millisecond)
		}
		other := s.fresh("t9", "slack")
		other.ExternalID = "sub-1"
		s.put(t, st, other)
		var got []string
		for _, in := range must[[]store.Integration](t)(st.FindByExternal(t.Context(), "google_sheets", "sub-1")) {
			got = append(got, in.TenantID)
		}
		equal(t, "tenants", got, []string{"t0", "t1", "t2"})
		equal(t, "no account", len(must[[]store.Integration](t)(st.FindByExternal(t.Context(), "google_sheets", ""))), 0)
	})
	s.sentence(t, "FindByExternal finds by the alias too, and each row once", func(t *testing.T, st store.Store) {
		c := s.fresh("t1", "jira")
		c.ExternalID, c.ExternalAlias = "cloud-1", "acme.example.com"
		in := s.put(t, st, c)
		equal(t, "ExternalAlias", in.ExternalAlias, "acme.example.com")
		c = s.fresh("t2", "jira")
		c.ExternalID, c.ExternalAlias, c.ExclusiveKey = "same", "same", ""
		both := s.put(t, st, c)
		for account, id := range map[string]string{"cloud-1": in.ID, "acme.example.com": in.ID, "same": both.ID} {
			got := must[[]store.Integration](t)(st.FindByExternal(t.Context(), "jira", account))
			equal(t, "rows of "+account, len(got), 1)
			equal(t, "row of "+account, got[0].ID, id)
		}
		equal(t, "another provider", len(must[[]store.Integration](t)(st.FindByExternal(t.Context(), "slack", "acme.example.com"))), 0)
		again := s.fresh("t1", "jira")
		again.ID, again.SeenGen, again.ExternalID, again.ExclusiveKey = in.ID, in.TokenGen, "cloud-1", in.ExclusiveKey
		s.put(t, st, again)
		equal(t, "alias given up", len(must[[]store.Integration](t)(st.FindByExternal(t.Context(), "jira", "acme.example.com"))), 0)
		equal(t, "no account", len(must[[]store.Integration](t)(st.FindByExternal(t.Context(), "jira", ""))), 0)
	})
	s.sentence(t, "an exclusive account takes its alias from rows that had it before", func(t *testing.T, st store.Store) {
		c := s.fresh("t1", "jira")
		c.ExternalAlias = "acme.example.com"
		old := s.put(t, st, c)
		elsewhere := s.fresh("t1", "github")
		elsewhere.ExternalAlias = "acme.example.com"
		s.put(t, st, elsewhere)
		shared := s.fresh("t2", "jira")
		shared.ExternalAlias, shared.ExclusiveKey = "acme.example.com", ""
		s.put(t, st, shared)
		equal(t, "a shared one leaves it", len(must[[]store.Integration](t)(st.FindByExternal(t.Context(), "jira", "acme.example.com"))), 2)
		c = s.fresh("t3", "jira")
		c.ExternalAlias = "acme.example.com"
		now := s.put(t, st, c)
		got := must[[]store.Integration](t)(st.FindByExternal(t.Context(), "jira", "acme.example.com"))
		equal(t, "rows", len(got), 1)
		equal(t, "row", got[0].ID, now.ID)
		equal(t, "another provider's stays", len(must[[]store.Integration](t)(st.FindByExternal(t.Context(), "github", "acme.example.com"))), 1)
		equal(t, "still found by id", must[[]store.Integration](t)(st.FindByExternal(t.Context(), "jira", old.ExternalID))[0].ID, old.ID)
	})
	s.sentence(t, "Delete removes a row, and again is no error", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		ok(t, st.Delete(t.Context(), "t1", in.ID))
		ok(t, st.Delete(t.Context(), "t1", in.ID))
		_, err := st.Get(t.Context(), "t1", in.ID)
		is(t, err, store.ErrNotFound)
		again := s.fresh("t1", "slack")
		again.ExclusiveKey = in.ExclusiveKey
		s.put(t, st, again)
	})
}

func (s *suite) status(t *testing.T) {
	s.sentence(t, "a status changes only if every condition holds", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		ctx := t.Context()
		base := store.SetStatus{TenantID: "t1", ID: in.ID, To: store.Suspended, Reason: "paused"}
		for name, change := range map[string]func(c *store.SetStatus){
			"another status":              func(c *store.SetStatus) { c.From = []store.Status{store.Revoked, store.Suspended} },
			"another generation":          func(c *store.SetStatus) { c.SeenGen = 2 },
			"connected after the event":   func(c *store.SetStatus) { c.ConnectedBefore = in.ConnectedAt.Add(-time.Hour) },
			"connected at the very event": func(c *store.SetStatus) { c.ConnectedBefore = in.ConnectedAt },
			"already there":               func(c *store.SetStatus) { c.To = store.Active },
		} {
			c := base
			change(&c)
			equal(t, name, must[bool](t)(st.SetStatus(ctx, c)), false)
		}
		base.From, base.SeenGen, base.ConnectedBefore = []store.Status{store.Active}, 1, in.ConnectedAt.Add(time.Millisecond)
		equal(t, "all hold", must[bool](t)(st.SetStatus(ctx, base)), true)
		got := must[store.Integration](t)(st.Get(ctx, "t1", in.ID))
		equal(t, "Status", got.Status, store.Suspended)
		equal(t, "StatusReason", got.StatusReason, "paused")
		equal(t, "Version", got.Version, 2)
		equal(t, "TokenGen", got.TokenGen, 1)
		equal(t, "AccessToken", got.AccessToken, in.AccessToken)
	})
	s.sentence(t, "a wipe removes the tokens, moves the generation and gives up the exclusive key", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		equal(t, "changed", must[bool](t)(st.SetStatus(t.Context(), store.SetStatus{TenantID: "t1", ID: in.ID, To: store.Disconnected, Wipe: true})), true)
		got := must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
		equal(t, "tokens", got.AccessToken == nil && got.RefreshToken == nil && got.KeyID == "", true)
		equal(t, "TokenGen", got.TokenGen, 2)
		equal(t, "ExternalID", got.ExternalID, in.ExternalID)
		equal(t, "NextRefreshAt", got.NextRefreshAt.IsZero(), true)
		other := s.fresh("t2", "slack")
		other.ExclusiveKey = in.ExclusiveKey
		s.put(t, st, other)
	})
	s.sentence(t, "of concurrent changes from one status exactly one happens", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		won := race(t, racers, func(int) (bool, error) {
			return st.SetStatus(t.Context(), store.SetStatus{TenantID: "t1", ID: in.ID, From: []store.Status{store.Active}, SeenGen: 1, To: store.NeedsReconnect})
		})
		equal(t, "winners", won, 1)
	})
}

func (s *suite) update(t *testing.T) {
	s.sentence(t, "it changes what is given at the given version and touches no token, status or lease", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		ctx := t.Context()
		must[bool](t)(st.Lease(ctx, store.Lease{TenantID: "t1", ID: in.ID, Owner: "o", SeenGen: 1, TTL: time.Minute}))
		meta, data, scopes := json.RawMessage(`{"a":1}`), json.RawMessage(`{"b":2}`), []string{"x"}
		v := must[int64](t)(st.Update(ctx, store.Update{TenantID: "t1", ID: in.ID, Version: 1, Metadata: &meta}))
		equal(t, "version", v, 2)
		v = must[int64](t)(st.Update(ctx, store.Update{TenantID: "t1", ID: in.ID, Version: 2, ProviderData: &data, Scopes: &scopes}))
		equal(t, "version", v, 3)
		got := must[store.Integration](t)(st.Get(ctx, "t1", in.ID))
		equal(t, "Metadata", string(got.Metadata), `{"a":1}`)
		equal(t, "ProviderData", string(got.ProviderData), `{"b":2}`)
		equal(t, "Scopes", got.Scopes, scopes)
		equal(t, "TokenGen", got.TokenGen, 1)
		equal(t, "still committed to", must[bool](t)(st.CommitTokens(ctx, store.CommitTokens{TenantID: "t1", ID: in.ID, SeenGen: 1, AccessToken: []byte("n"), KeyID: "k"})), true)
	})
	s.sentence(t, "another version conflicts, a missing row is not found", func(t *testing.T, st store.Store) {
		in := s.put(t, st, s.fresh("t1", "slack"))
		_, err := st.Update(t.Context(), store.Update{TenantID: "t1", ID: in.ID, Version: 9})
		is(t, err, store.ErrConflict)
		_, err = st.Update(t.Context(), store.Update{TenantID: "t1", ID: "nothing", Version: 1})
		is(t, err, store.ErrNotFound)
	})
}
