package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// changed is the row of a fresh connect that was changed before.
func (s *suite) changed(t *testing.T, st store.Store, tenant string, change func(c *store.Connect)) store.Integration {
	t.Helper()
	c := s.fresh(tenant, "slack")
	if change != nil {
		change(&c)
	}
	return s.put(t, st, c)
}

func names(rows []store.Integration) []string {
	out := []string{}
	for _, in := range rows {
		out = append(out, in.TenantID)
	}
	return out
}

// change is a change of a row for the inbox, nil where the store has none.
func (s *suite) change(st store.Store, in store.Integration) *store.Delivery {
	if _, has := st.(store.Inbox); !has {
		return nil
	}
	d := s.delivery(in.TenantID, in.ID)
	d.Provider, d.BodyHash = store.ChangeProvider, ""
	return &d
}

// told is how many changes of a tenant there are; want is given back where the
// store has no inbox.
func told(t *testing.T, st store.Store, tenant string, want int) int {
	t.Helper()
	inbox, has := st.(store.Inbox)
	if !has {
		return want
	}
	return len(must[[]store.Delivery](t)(inbox.ListDeliveries(t.Context(), store.DeliveryQuery{TenantID: tenant, Provider: store.ChangeProvider})))
}

func (s *suite) reports(t *testing.T) {
	ends := func(in time.Duration) func(c *store.Connect) {
		return func(c *store.Connect) { c.RefreshExpiresIn, c.GrantEnd = in, store.EndStays }
	}
	list := func(t *testing.T, st store.Store, within time.Duration, limit int) []store.Integration {
		t.Helper()
		return must[[]store.Integration](t)(st.ListEnding(t.Context(), store.ListEnding{Within: within, Limit: limit}))
	}
	s.sentence(t, "active rows whose grant ends soon and stays so are listed, soonest first, up to the limit", func(t *testing.T, st store.Store) {
		s.changed(t, st, "later", ends(3*time.Hour))
		s.changed(t, st, "soon", ends(2*time.Hour))
		s.changed(t, st, "past", ends(time.Millisecond))
		s.changed(t, st, "far", ends(5*time.Hour))
		s.changed(t, st, "never", func(c *store.Connect) { c.RefreshExpiresIn, c.GrantEnd = 0, store.EndStays })
		s.changed(t, st, "unknown", func(c *store.Connect) { c.RefreshExpiresIn = time.Hour })
		paused := s.changed(t, st, "paused", ends(time.Hour))
		must[bool](t)(st.SetStatus(t.Context(), store.SetStatus{TenantID: "paused", ID: paused.ID, To: store.Suspended}))
		equal(t, "listed", names(list(t, st, 4*time.Hour, 10)), []string{"past", "soon", "later"})
		equal(t, "first two", names(list(t, st, 4*time.Hour, 2)), []string{"past", "soon"})
	})
	s.sentence(t, "a commit says what it does to the end of a grant, and forgets a report only where the end moves", func(t *testing.T, st store.Store) {
		in := s.changed(t, st, "t1", func(c *store.Connect) { c.RefreshExpiresIn = time.Hour })
		commit := func(end store.GrantEnd) store.GrantEnd {
			t.Helper()
			must[bool](t)(st.CommitTokens(t.Context(), store.CommitTokens{TenantID: "t1", ID: in.ID, SeenGen: in.TokenGen, AccessToken: []byte("a"), KeepRefreshExpiry: true, GrantEnd: end}))
			in = must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
			return in.GrantEnd
		}
		equal(t, "at first", in.GrantEnd, store.EndUnknown)
		equal(t, "moves", commit(store.EndMoves), store.EndMoves)
		equal(t, "no word", commit(store.EndUnknown), store.EndMoves)
		equal(t, "stays", commit(store.EndStays), store.EndStays)
		equal(t, "reported", must[int](t)(st.ReportEnds(t.Context(), []store.ReportEnd{{TenantID: "t1", ID: in.ID, SeenGen: in.TokenGen}})), 1)
		equal(t, "no word after a report", commit(store.EndUnknown), store.EndReported)
		equal(t, "stays after a report", commit(store.EndStays), store.EndReported)
		equal(t, "nothing to list", len(list(t, st, 2*time.Hour, 10)), 0)
		equal(t, "moves after a report", commit(store.EndMoves), store.EndMoves)
		c := s.fresh("t1", "slack")
		c.ID, c.SeenGen, c.GrantEnd = in.ID, in.TokenGen, store.EndStays
		equal(t, "connected again", s.put(t, st, c).GrantEnd, store.EndStays)
	})
	s.sentence(t, "the end of a grant is reported once, of the generation seen and with its change", func(t *testing.T, st store.Store) {
		a, b := s.changed(t, st, "a", ends(time.Hour)), s.changed(t, st, "b", ends(time.Hour))
		report := func() []store.ReportEnd {
			return []store.ReportEnd{
				{TenantID: "a", ID: a.ID, SeenGen: 1, Change: s.change(st, a)},
				{TenantID: "b", ID: b.ID, SeenGen: 2, Change: s.change(st, b)},
				{TenantID: "b", ID: a.ID, SeenGen: 1, Change: s.change(st, b)},
			}
		}
		equal(t, "none", must[int](t)(st.ReportEnds(t.Context(), nil)), 0)
		equal(t, "changed", race(t, racers, func(int) (bool, error) {
			n, err := st.ReportEnds(t.Context(), report())
			return n > 0, err
		}), 1)
		equal(t, "told of a", told(t, st, "a", 1), 1)
		equal(t, "told of b", told(t, st, "b", 0), 0)
		got := must[store.Integration](t)(st.Get(t.Context(), "a", a.ID))
		equal(t, "GrantEnd", got.GrantEnd, store.EndReported)
		equal(t, "counters", [2]int64{got.TokenGen, got.Version}, [2]int64{1, 1})
		equal(t, "listed", names(list(t, st, 2*time.Hour, 10)), []string{"b"})
	})
	s.sentence(t, "a wipe forgets the end of a grant and what is due", func(t *testing.T, st store.Store) {
		in := s.changed(t, st, "t1", func(c *store.Connect) { ends(time.Hour)(c); c.VerifyIn = time.Hour })
		near(t, "VerifyAt", in.VerifyAt, in.ReadAt.Add(time.Hour))
		must[bool](t)(st.SetStatus(t.Context(), store.SetStatus{TenantID: "t1", ID: in.ID, To: store.Disconnected, Wipe: true}))
		got := must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
		equal(t, "GrantEnd", got.GrantEnd, store.EndUnknown)
		equal(t, "VerifyAt", got.VerifyAt.IsZero(), true)
	})
	s.sentence(t, "due rows of the given providers are listed page by page in their order, leased or not", func(t *testing.T, st store.Store) {
		var want []string
		for i := range 5 {
			in := s.changed(t, st, fmt.Sprint("t", i), func(c *store.Connect) { c.RefreshIn = time.Millisecond })
			want = append(want, in.TenantID)
			wait(t, 3*time.Millisecond)
		}
		s.changed(t, st, "later", func(c *store.Connect) { c.RefreshIn = time.Hour })
		s.changed(t, st, "never", func(c *store.Connect) { c.RefreshIn = 0 })
		other := s.fresh("other", "github")
		other.RefreshIn = time.Millisecond
		s.put(t, st, other)
		paused := s.changed(t, st, "paused", func(c *store.Connect) { c.RefreshIn = time.Millisecond })
		must[bool](t)(st.SetStatus(t.Context(), store.SetStatus{TenantID: "paused", ID: paused.ID, To: store.Suspended}))
		wait(t, 10*time.Millisecond)
		must[[]store.Integration](t)(st.ClaimDue(t.Context(), store.ClaimDue{Owner: "o", Limit: 2, TTL: time.Minute, Providers: []string{"slack"}}))
		var got []string
		l := store.ListDue{Limit: 2, Providers: []string{"slack", "jira"}}
		for range 4 {
			rows := must[[]store.Integration](t)(st.ListDue(t.Context(), l))
			got = append(got, names(rows)...)
			if len(rows) > 0 {
				last := rows[len(rows)-1]
				l.After, l.AfterID = last.NextRefreshAt, last.ID
			}
		}
		equal(t, "listed", got, want)
		equal(t, "no provider", len(must[[]store.Integration](t)(st.ListDue(t.Context(), store.ListDue{Limit: 9}))), 0)
	})
	s.sentence(t, "what is held back is recorded once for each report, and counts as no failure", func(t *testing.T, st store.Store) {
		in := s.changed(t, st, "t1", nil)
		report := func(level int, gen int64, code string) bool {
			t.Helper()
			return race(t, racers, func(int) (bool, error) {
				n, err := st.ReportHeld(t.Context(), []store.ReportHeld{{TenantID: "t1", ID: in.ID, SeenGen: gen, Code: code, Report: level, Change: s.change(st, in)}})
				return n > 0, err
			}) == 1
		}
		equal(t, "another generation", report(0, 2, "down"), false)
		equal(t, "first", report(0, 1, "down"), true)
		first := must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
		near(t, "RefreshFailingSince", first.RefreshFailingSince, first.ReadAt)
		equal(t, "RefreshError", first.RefreshError, "down")
		equal(t, "again", report(0, 1, "down"), false)
		wait(t, 5*time.Millisecond)
		equal(t, "given up", report(2, 1, "other"), true)
		equal(t, "given up again", report(2, 1, "other"), false)
		equal(t, "told", told(t, st, "t1", 2), 2)
		got := must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
		equal(t, "RefreshFailingSince stays", got.RefreshFailingSince, first.RefreshFailingSince)
		equal(t, "RefreshError stays", got.RefreshError, "down")
		equal(t, "RefreshReported", got.RefreshReported, 2)
		equal(t, "RefreshFails", got.RefreshFails, 0)
		equal(t, "NextRefreshAt", got.NextRefreshAt, in.NextRefreshAt)
		equal(t, "Version", got.Version, 1)
		// A failure after that began no later.
		must[bool](t)(st.Lease(t.Context(), store.Lease{TenantID: "t1", ID: in.ID, Owner: "o", SeenGen: 1, TTL: time.Minute}))
		must[bool](t)(st.FailRefresh(t.Context(), store.FailRefresh{TenantID: "t1", ID: in.ID, Owner: "o", SeenGen: 1, Code: "x"}))
		got = must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
		equal(t, "RefreshFailingSince after a failure", got.RefreshFailingSince, first.RefreshFailingSince)
		equal(t, "RefreshReported after a failure", got.RefreshReported, 2)
		must[bool](t)(st.CommitTokens(t.Context(), store.CommitTokens{TenantID: "t1", ID: in.ID, SeenGen: 1, AccessToken: []byte("a")}))
		got = must[store.Integration](t)(st.Get(t.Context(), "t1", in.ID))
		equal(t, "after a success", got.RefreshFailingSince.IsZero() && got.RefreshReported == 0 && got.RefreshError == "", true)
		must[bool](t)(st.SetStatus(t.Context(), store.SetStatus{TenantID: "t1", ID: in.ID, To: store.NeedsReconnect}))
		equal(t, "of a row that is not active", report(2, 2, "down"), false)
	})
}

func (s *suite) verify(t *testing.T) {
	due := func(c *store.Connect) { c.VerifyIn = time.Millisecond }
	claim := func(t *testing.T, st store.Store, limit int, again time.Duration, providers ...string) []store.Integration {
		t.Helper()
		return must[[]store.Integration](t)(st.ClaimVerify(t.Context(), store.ClaimVerify{Limit: limit, Again: again, Providers: providers}))
	}
	s.sentence(t, "rows to verify are claimed those due first before others, of the given providers, and come again later", func(t *testing.T, st store.Store) {
		first := s.changed(t, st, "first", due)
		wait(t, 5*time.Millisecond)
		s.changed(t, st, "second", due)
		s.changed(t, st, "later", func(c *store.Connect) { c.VerifyIn = time.Hour })
		s.changed(t, st, "never", nil)
		other := s.fresh("other", "github")
		due(&other)
		s.put(t, st, other)
		paused := s.changed(t, st, "paused", due)
		must[bool](t)(st.SetStatus(t.Context(), store.SetStatus{TenantID: "paused", ID: paused.ID, To: store.Suspended}))
		wait(t, 20*time.Millisecond)
		equal(t, "no provider", len(claim(t, st, 10, time.Hour)), 0)
		got := claim(t, st, 1, time.Hour, "slack", "jira")
		equal(t, "claimed", names(got), []string{"first"})
		near(t, "VerifyAt", got[0].VerifyAt, got[0].ReadAt.Add(time.Hour))
		equal(t, "next", names(claim(t, st, 10, time.Millisecond, "slack")), []string{"second"})
		wait(t, 20*time.Millisecond)
		equal(t, "again", names(claim(t, st, 10, time.Hour, "slack")), []string{"second"})
		got = must[[]store.Integration](t)(st.GetMany(t.Context(), []store.Ref{{TenantID: "first", ID: first.ID}}))
		equal(t, "counters", [3]int64{got[0].TokenGen, got[0].Version, got[0].LeaseEpoch}, [3]int64{1, 1, 0})
		equal(t, "no lease", got[0].LeaseUntil.IsZero(), true)
	})
	s.sentence(t, "a row to verify is given to one claimer at a time, and no lease keeps it from that", func(t *testing.T, st store.Store) {
		for i := range 40 {
			in := s.changed(t, st, fmt.Sprint("t", i), due)
			must[bool](t)(st.Lease(t.Context(), store.Lease{TenantID: in.TenantID, ID: in.ID, Owner: "o", SeenGen: 1, TTL: time.Minute}))
		}
		wait(t, 10*time.Millisecond)
		got := make(chan string, 40*racers)
		race(t, racers, func(int) (bool, error) {
			rows, err := st.ClaimVerify(t.Context(), store.ClaimVerify{Limit: 10, Again: time.Hour, Providers: []string{"slack"}})
			for _, in := range rows {
				got <- in.ID
			}
			return false, err
		})
		for _, in := range claim(t, st, 40, time.Hour, "slack") { // those that were passed over as locked
			got <- in.ID
		}
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

func (s *suite) trim(t *testing.T) {
	sentence := ability[store.Inbox](s, t, "Inbox")
	// dead makes n dead deliveries, and returns their ids in the order in which they
	// were changed last.
	dead := func(t *testing.T, in store.Inbox, n int) []string {
		t.Helper()
		var ids []string
		for range n {
			d := s.delivery("t1", "i1")
			must[[]bool](t)(in.InsertDeliveries(t.Context(), []store.Delivery{d}))
			claimed(t, in, claim("o", anyGitHub))
			finish(t, in, store.FinishDelivery{ID: d.ID, Owner: "o", State: store.Dead, Error: "x"})
			ids = append(ids, d.ID)
			wait(t, 3*time.Millisecond)
		}
		return ids
	}
	left := func(t *testing.T, in store.Inbox) []string {
		t.Helper()
		var ids []string
		for _, d := range must[[]store.Delivery](t)(in.ListDeliveries(t.Context(), store.DeliveryQuery{TenantID: "t1", States: []store.DeliveryState{store.Dead}})) {
			ids = append([]string{d.ID}, ids...)
		}
		return ids
	}
	sentence("a trim keeps those of a state that were changed last, a limit at a time, and all of other states", func(t *testing.T, _ store.Store, in store.Inbox) {
		pending := s.delivery("t1", "i1")
		pending.Provider = "slack"
		must[[]bool](t)(in.InsertDeliveries(t.Context(), []store.Delivery{pending}))
		ids := dead(t, in, 6)
		trim := func(keep, limit int) int {
			t.Helper()
			return must[int](t)(in.TrimDeliveries(t.Context(), store.Dead, keep, limit))
		}
		equal(t, "nothing too many", trim(6, 10), 0)
		equal(t, "two of three", trim(3, 2), 2)
		equal(t, "left", left(t, in), ids[2:])
		equal(t, "the third", trim(3, 2), 1)
		equal(t, "done", trim(3, 2), 0)
		equal(t, "left", left(t, in), ids[3:])
		equal(t, "no limit, nothing", trim(0, 0), 0)
		equal(t, "all", trim(0, 10), 3)
		equal(t, "pending ones", must[store.DeliveryCounts](t)(in.CountDeliveries(t.Context(), nil)).Pending, 1)
	})
	sentence("concurrent trims keep what one keeps", func(t *testing.T, _ store.Store, in store.Inbox) {
		ids := dead(t, in, 8)
		total := make(chan int, racers)
		race(t, racers, func(int) (bool, error) {
			n, err := in.TrimDeliveries(t.Context(), store.Dead, 5, 100)
			total <- n
			return false, err
		})
		close(total)
		sum := 0
		for n := range total {
			sum += n
		}
		equal(t, "removed", sum, 3)
		equal(t, "left", left(t, in), ids[3:])
	})
}
