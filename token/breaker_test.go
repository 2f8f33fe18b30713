package token_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

var (
	errDown   = &token.Error{Outcome: token.Transient, Code: "server_error", Status: 503, Host: "p.test"}
	errSecret = &token.Error{Outcome: token.AppFault, Code: "invalid_client", Status: 401, Host: "p.test"}
)

// fleet is many connections to a strict provider, and the vaults that use them.
type fleet struct {
	store  *memstore.Store
	cipher crypto.Cipher
	life   time.Duration

	mu          sync.Mutex
	latency     time.Duration
	fault       func(id string) error // nil is success
	made        map[string]int        // tokens made, by connection
	calls       []call
	reuses      int
	late        int // calls under a lease that does not outlast call and commit
	under, peak int // calls under way
	events      []token.FaultEvent
	told        time.Time // when the last event came
}

type call struct {
	at time.Time
	id string
}

func (f *fleet) Renew(ctx context.Context, r token.Renewal) (token.Grant, error) {
	in, _ := f.store.Get(ctx, r.TenantID, r.IntegrationID)
	f.mu.Lock()
	if in.LeaseUntil.Sub(in.ReadAt) < 15*time.Second {
		f.late++
	}
	f.calls = append(f.calls, call{time.Now(), r.IntegrationID})
	f.under++
	f.peak = max(f.peak, f.under)
	latency, fault := f.latency, f.fault
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.under--
		f.mu.Unlock()
	}()
	select {
	case <-time.After(latency):
	case <-ctx.Done():
		return token.Grant{}, &token.Error{Outcome: token.Ambiguous, Code: "timeout"}
	}
	if fault != nil {
		if err := fault(r.IntegrationID); err != nil {
			return token.Grant{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.RefreshToken.Reveal() != fmt.Sprint("refresh-", f.made[r.IntegrationID]) {
		f.reuses++
		return token.Grant{}, &token.Error{Outcome: token.DeadGrant, Code: "invalid_grant", Status: 400}
	}
	f.made[r.IntegrationID]++
	n := f.made[r.IntegrationID]
	return token.Grant{AccessToken: token.NewSecret(fmt.Sprint("access-", n)), RefreshToken: token.NewSecret(fmt.Sprint("refresh-", n)), ExpiresIn: f.life}, nil
}

func newFleet(t *testing.T, life time.Duration) *fleet {
	key, err := crypto.GenerateKey("k1")
	require.NoError(t, err)
	ring, err := crypto.NewKeyring(key)
	require.NoError(t, err)
	return &fleet{store: memstore.New(), cipher: ring, life: life, latency: 50 * time.Millisecond, made: map[string]int{}}
}

func (f *fleet) vault(t *testing.T, change func(*token.VaultConfig)) *token.Vault {
	cfg := token.VaultConfig{
		Store: f.store, Cipher: f.cipher, Client: token.NewClient(token.ClientConfig{}), Renewer: func(string) token.Renewer { return f },
		ObserveFault: func(e token.FaultEvent) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.events, f.told = append(f.events, e), time.Now()
		},
	}
	if change != nil {
		change(&cfg)
	}
	v, err := token.NewVault(cfg)
	require.NoError(t, err)
	return v
}

// connect adds connection i with a token of the given life.
func (f *fleet) connect(t *testing.T, i int, life time.Duration) {
	tenant := fmt.Sprint("t", i)
	c := store.Connect{ID: "id-" + tenant, TenantID: tenant, Provider: "p", ExternalID: "x", ExpiresIn: life, RefreshIn: token.RefreshIn(f, life, "id-"+tenant)}
	var err error
	c.AccessToken, c.RefreshToken, c.KeyID, err = token.SealGrant(f.cipher, tenant, "p", c.ID, token.Grant{AccessToken: token.NewSecret("access-0"), RefreshToken: token.NewSecret("refresh-0")})
	require.NoError(t, err)
	_, err = f.store.Connect(t.Context(), c)
	require.NoError(t, err)
}

// fail sets what the provider answers.
func (f *fleet) fail(fault func(id string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func always(err error) func(string) error { return func(string) error { return err } }

func (f *fleet) seen() ([]call, []token.FaultEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]call(nil), f.calls...), append([]token.FaultEvent(nil), f.events...)
}

func (f *fleet) rows(t *testing.T, n int) []store.Integration {
	rows := make([]store.Integration, n)
	for i := range rows {
		var err error
		rows[i], err = f.store.Get(t.Context(), fmt.Sprint("t", i), fmt.Sprint("id-t", i))
		require.NoError(t, err)
	}
	return rows
}

func ask(ctx context.Context, v *token.Vault, i int) error {
	h, err := v.Lookup(ctx, fmt.Sprint("t", i), "p", "")
	if err != nil {
		return err
	}
	_, err = h.Token(ctx)
	return err
}

// askAll asks for connections 0 to n-1 at once and returns the errors by
// connection.
func askAll(t *testing.T, v *token.Vault, n int) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = ask(t.Context(), v, i) })
	}
	wg.Wait()
	return errs
}

func failures(errs []error) (n int) {
	for _, err := range errs {
		if err != nil {
			n++
		}
	}
	return n
}

// keep runs a keeper as Manager.Run does until ctx ends.
func keep(ctx context.Context, t *testing.T, v *token.Vault) {
	tick := time.NewTicker(15 * time.Second)
	defer tick.Stop()
	for {
		if _, err := v.RefreshDue(ctx, []string{"p"}); err != nil {
			t.Error(err)
		}
		if err := v.ReportHeld(ctx, []string{"p"}); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// busiest is the largest number of calls in one second, perConnection of one
// connection.
func busiest(calls []call) (perSecond, perConnection int) {
	seconds, ids := map[int64]int{}, map[string]int{}
	for _, c := range calls {
		seconds[c.at.Unix()]++
		ids[c.id]++
		perSecond, perConnection = max(perSecond, seconds[c.at.Unix()]), max(perConnection, ids[c.id])
	}
	return perSecond, perConnection
}

func between(calls []call, from, to time.Time) (out []call) {
	for _, c := range calls {
		if !c.at.Before(from) && c.at.Before(to) {
			out = append(out, c)
		}
	}
	return out
}

// TestR8ProviderOutage: 1,000 connections on two replicas with callers and
// keepers, whose provider answers 503 for half an hour. 15 calls for each
// connection would be 8.3 in a second on average, so "no more than three times the
// mean" is 25; what counts beyond that is that after the breakers opened there is
// one call at a time.
func TestR8ProviderOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, outage, mostPerConnection = 1000, 30 * time.Minute, 15
		f := newFleet(t, 40*time.Minute)
		vaults := []*token.Vault{f.vault(t, nil), f.vault(t, nil)}
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		for i := range n { // their ends are spread
			f.connect(t, i, f.life)
			if i == 0 {
				for _, v := range vaults {
					work.Go(func() { keep(ctx, t, v) })
				}
			}
			time.Sleep(f.life / n)
		}
		var wrong, failed atomic.Int64
		callers := func(replica int) {
			rnd := rand.New(rand.NewPCG(8, uint64(replica)))
			for ctx.Err() == nil {
				i := rnd.IntN(n)
				work.Go(func() {
					err := ask(t.Context(), vaults[replica], i)
					if err == nil {
						return
					}
					failed.Add(1)
					in, _ := f.store.Get(t.Context(), fmt.Sprint("t", i), fmt.Sprint("id-t", i))
					lasts := in.TokenExpiresAt.After(in.ReadAt) && in.ReadAt.Sub(in.LastRefreshAt) > 10*time.Second // CacheFor
					var e *token.Error
					if !errors.As(err, &e) || e.Outcome != token.Transient || lasts {
						wrong.Add(1)
					}
				})
				time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond) // each connection is asked for every 25 s
			}
		}
		for i := range vaults {
			work.Go(func() { callers(i) })
		}
		time.Sleep(2 * time.Minute)
		require.Zero(t, failed.Load())

		began := time.Now()
		f.fail(always(errDown))
		time.Sleep(outage)
		f.fail(nil)
		opened, over := f.told, time.Now()
		for _, in := range f.rows(t, n) {
			require.Equal(t, store.Active, in.Status)
		}
		ended := 0
		for i := 0; i == 0 || ended > 0; i++ {
			ended = 0
			for _, in := range f.rows(t, n) {
				if !in.TokenExpiresAt.After(in.ReadAt) {
					ended++
				}
			}
			if i == 0 {
				t.Logf("%d of %d tokens had ended", ended, n)
				require.Greater(t, ended, n/3)
			}
			require.Less(t, time.Since(over), 5*time.Minute)
			time.Sleep(time.Second)
		}
		recovery := time.Since(over)
		time.Sleep(10 * time.Second) // CacheFor: what another replica renewed is seen
		before := failed.Load()
		for _, v := range vaults {
			require.Zero(t, failures(askAll(t, v, n)))
		}
		stop()
		work.Wait()
		for _, v := range vaults { // also waits for renewals ahead
			require.NoError(t, v.Shutdown(t.Context()))
		}

		calls, events := f.seen()
		during := between(calls, began, over)
		perSecond, perConnection := busiest(during)
		after, _ := busiest(between(calls, over, over.Add(recovery)))
		late, _ := busiest(between(calls, opened, over))
		t.Logf("%d calls in the outage, %d at most for one connection, %d at most in a second, %d once open; %d callers failed; recovered after %v with %d calls in a second at most",
			len(during), perConnection, perSecond, late, before, recovery, after)
		require.LessOrEqual(t, perConnection, mostPerConnection)
		require.LessOrEqual(t, perSecond, 3*n*mostPerConnection/int(outage.Seconds()))
		require.LessOrEqual(t, late, len(vaults), "one probe of each replica")
		require.Zero(t, wrong.Load(), "a token that lasts was not handed out, or an outage was not called that")
		require.Zero(t, f.reuses+f.late)
		opens := 0
		for _, e := range events {
			if e.Open {
				opens++
			}
		}
		// A replica that has nothing to renew afterwards does not find out.
		require.Equal(t, len(vaults), opens)
	})
}

// TestR9BadClientSecret: the app's secret is wrong, and 1,000 connections are all
// asked for every second.
func TestR9BadClientSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		f := newFleet(t, time.Hour)
		for i := range n {
			f.connect(t, i, time.Second)
		}
		time.Sleep(2 * time.Second)
		v := f.vault(t, nil)
		f.fail(always(errSecret)) // before anybody renews
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		work.Go(func() { keep(ctx, t, v) })
		defer func() { stop(); work.Wait() }()
		start := time.Now()
		for time.Since(start) < time.Minute {
			next := time.Now().Add(time.Second)
			held := 0
			for _, err := range askAll(t, v, n) {
				var e *token.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, token.AppFault, e.Outcome)
				require.Equal(t, "invalid_client", e.Code)
				if e.RetryAfter > 0 {
					held++
				}
			}
			require.Greater(t, held, n-20)
			time.Sleep(time.Until(next))
		}
		calls, events := f.seen()
		t.Logf("%d calls in the first minute", len(calls))
		require.LessOrEqual(t, len(calls), 20)
		require.Len(t, events, 1)
		require.True(t, events[0].Open)
		require.Equal(t, "invalid_client", events[0].Code)
		shown := 0
		for _, in := range f.rows(t, n) {
			require.Equal(t, store.Active, in.Status)
			require.Zero(t, in.RefreshFails)
			require.Zero(t, in.RefreshReported)
			if in.RefreshError == "invalid_client" {
				shown++ // why its calls fail
			}
		}
		require.Greater(t, shown, n-20, "but for those that were tried and put off")

		f.fail(nil)
		fixed := time.Now()
		for failures(askAll(t, v, n)) > 0 {
			time.Sleep(time.Second)
			require.Less(t, time.Since(fixed), 5*time.Minute)
		}
		t.Logf("recovered %v after the fix", time.Since(fixed))
		for _, in := range f.rows(t, n) {
			require.Zero(t, in.RefreshFailingSince)
			require.Empty(t, in.RefreshError)
		}
		all, events := f.seen()
		require.LessOrEqual(t, len(all), len(calls)+n+2)
		require.Equal(t, []bool{true, false}, []bool{events[0].Open, events[1].Open})
		require.Zero(t, f.reuses+f.late)
	})
}

// TestR10DeadGrant: one grant is revoked, and four replicas ask for its token
// 10,000 times.
func TestR10DeadGrant(t *testing.T) {
	scenario := func(t *testing.T, pause time.Duration) (slowest time.Duration, slow int) {
		f := newFleet(t, time.Hour)
		f.connect(t, 0, time.Nanosecond) // has ended
		f.latency = 0
		f.fail(always(&token.Error{Outcome: token.DeadGrant, Code: "invalid_grant", Status: 400}))
		var changes atomic.Int64
		var vaults []*token.Vault
		for range 4 {
			vaults = append(vaults, f.vault(t, func(cfg *token.VaultConfig) {
				cfg.Change = func(store.Integration, token.Turn) (*store.Delivery, error) {
					changes.Add(1)
					return nil, nil
				}
			}))
		}
		for i := range 10_004 {
			start := time.Now()
			err := ask(t.Context(), vaults[i%4], 0)
			if d := time.Since(start); i >= 4 { // the first of each replica reads the row
				slowest = max(slowest, d)
				if d > time.Millisecond {
					slow++
				}
			}
			var status *token.StatusError
			require.ErrorAs(t, err, &status)
			require.Equal(t, token.StatusError{Status: store.NeedsReconnect, Reason: "invalid_grant"}, *status)
			if pause > 0 {
				time.Sleep(pause)
			}
		}
		f.fail(nil) // a grant that works again is not asked for
		for _, v := range vaults {
			require.Error(t, ask(t.Context(), v, 0))
		}
		calls, events := f.seen()
		require.Len(t, calls, 1)
		require.Empty(t, events, "a dead grant is nobody else's fault")
		require.Equal(t, int64(1), changes.Load())
		return slowest, slow
	}
	t.Run("over hours, nothing is waited for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			slowest, _ := scenario(t, time.Second)
			require.Zero(t, slowest)
		})
	})
	t.Run("each within a millisecond", func(t *testing.T) {
		slowest, slow := scenario(t, 0)
		t.Logf("slowest %v, %d above 1 ms", slowest, slow)
		require.Less(t, slow, 10, "but for those that the machine held up")
	})
}
