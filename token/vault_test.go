package token_test

import (
	"context"
	"errors"
	"fmt"
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

// rotating is a provider that replaces its refresh token each time and kills the
// grant when one comes twice.
type rotating struct {
	mu      sync.Mutex
	current string
	n       int
	reuses  int
	calls   atomic.Int64
	latency time.Duration
	life    time.Duration
	answer  func(call int64) error // scripted failure, nil for success
}

func (p *rotating) Renew(ctx context.Context, r token.Renewal) (token.Grant, error) {
	call := p.calls.Add(1)
	if p.latency > 0 {
		select {
		case <-time.After(p.latency):
		case <-ctx.Done():
			return token.Grant{}, &token.Error{Outcome: token.Ambiguous, Code: "timeout"}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answer != nil {
		if err := p.answer(call); err != nil {
			return token.Grant{}, err
		}
	}
	if r.RefreshToken.Reveal() != p.current {
		p.reuses++
		return token.Grant{}, &token.Error{Outcome: token.DeadGrant, Code: "invalid_grant"}
	}
	p.n++
	p.current = fmt.Sprintf("refresh-%d", p.n)
	return token.Grant{AccessToken: token.NewSecret(fmt.Sprintf("access-%d", p.n)), RefreshToken: token.NewSecret(p.current), ExpiresIn: p.life}, nil
}

// rig is a vault over a store with one integration whose token has ended.
type rig struct {
	store  *faulty
	cipher crypto.Cipher
	p      *rotating
	v      *token.Vault

	noRefresh bool // connect without a refresh token
}

// faulty fails chosen calls of a store.
type faulty struct {
	*memstore.Store
	mu      sync.Mutex
	lease   error
	commits int // commits to fail
	writes  atomic.Int64
}

func (f *faulty) Lease(ctx context.Context, l store.Lease) (bool, error) {
	f.writes.Add(1)
	f.mu.Lock()
	err := f.lease
	f.mu.Unlock()
	if err != nil {
		return false, err
	}
	return f.Store.Lease(ctx, l)
}

func (f *faulty) CommitTokens(ctx context.Context, c store.CommitTokens) (bool, error) {
	f.writes.Add(1)
	f.mu.Lock()
	fail := f.commits > 0
	if fail {
		f.commits--
	}
	f.mu.Unlock()
	if fail {
		return false, errors.New("the disk is full")
	}
	return f.Store.CommitTokens(ctx, c)
}

func newRig(t testing.TB) *rig {
	t.Helper()
	key, err := crypto.GenerateKey("k1")
	require.NoError(t, err)
	ring, err := crypto.NewKeyring(key)
	require.NoError(t, err)
	r := &rig{store: &faulty{Store: memstore.New()}, cipher: ring, p: &rotating{current: "refresh-0", life: time.Hour}}
	r.v = r.vault(t)
	return r
}

// vault is another replica.
func (r *rig) vault(t testing.TB) *token.Vault {
	t.Helper()
	v, err := token.NewVault(token.VaultConfig{
		Store: r.store, Cipher: r.cipher, Client: token.NewClient(token.ClientConfig{}),
		Renewer: func(string) token.Renewer { return r.p },
	})
	require.NoError(t, err)
	return v
}

func (r *rig) connect(t testing.TB, tenant string, life time.Duration) {
	t.Helper()
	g := token.Grant{AccessToken: token.NewSecret("access-0")}
	if !r.noRefresh {
		g.RefreshToken = token.NewSecret("refresh-0")
	}
	c := store.Connect{ID: "id-" + tenant, TenantID: tenant, Provider: "p", ExternalID: "x", ExpiresIn: life, RefreshIn: token.RefreshIn(r.p, life, "id-"+tenant)}
	var err error
	c.AccessToken, c.RefreshToken, c.KeyID, err = token.SealGrant(r.cipher, tenant, "p", c.ID, g)
	require.NoError(t, err)
	_, err = r.store.Connect(t.Context(), c)
	require.NoError(t, err)
}

func (r *rig) handle(t testing.TB, v *token.Vault, tenant string) *token.Handle {
	t.Helper()
	h, err := v.Lookup(t.Context(), tenant, "p", "")
	require.NoError(t, err)
	return h
}

func TestR1InProcessHerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(t, "t1", time.Second)
		h := r.handle(t, r.v, "t1")
		time.Sleep(2 * time.Second)
		r.p.latency = 50 * time.Millisecond
		start := time.Now()
		var wg sync.WaitGroup
		var wrong atomic.Int64
		for range 10_000 {
			wg.Go(func() {
				tok, err := h.Token(t.Context())
				if err != nil || tok.Access.Reveal() != "access-1" {
					wrong.Add(1)
				}
			})
		}
		wg.Wait()
		require.Zero(t, wrong.Load())
		require.Equal(t, int64(1), r.p.calls.Load())
		require.LessOrEqual(t, time.Since(start), 100*time.Millisecond)
	})
}

func TestReplicasRefreshOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.p.life, r.p.latency = time.Minute, 100*time.Millisecond
		r.connect(t, "t1", time.Second)
		var handles []*token.Handle
		for range 8 {
			handles = append(handles, r.handle(t, r.vault(t), "t1"))
		}
		for round := range 10 {
			time.Sleep(time.Minute)
			var wg sync.WaitGroup
			for _, h := range handles {
				for range 25 {
					wg.Go(func() {
						if _, err := h.Token(t.Context()); err != nil {
							t.Error(err)
						}
					})
				}
			}
			wg.Wait()
			require.Equal(t, int64(round+1), r.p.calls.Load())
		}
		require.Zero(t, r.p.reuses)
		in, err := r.store.Get(t.Context(), "t1", "id-t1")
		require.NoError(t, err)
		_, refresh, err := token.OpenGrant(r.cipher, in)
		require.NoError(t, err)
		require.Equal(t, r.p.current, refresh.Reveal())
	})
}

func TestACallersDeadlineIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(t, "t1", time.Second)
		h := r.handle(t, r.v, "t1")
		time.Sleep(2 * time.Second)
		r.p.latency = 5 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := h.Token(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 5*time.Millisecond, time.Since(start))
		tok, err := h.Token(t.Context()) // the work went on
		require.NoError(t, err)
		require.Equal(t, "access-1", tok.Access.Reveal())
		require.Equal(t, int64(1), r.p.calls.Load())
		require.Equal(t, 5*time.Second, time.Since(start))
	})
}

// stuck is a store whose reads end with their context.
type stuck struct{ store.Integrations }

func (stuck) Find(ctx context.Context, _, _, _ string) (store.Integration, error) {
	<-ctx.Done()
	return store.Integration{}, ctx.Err()
}

func TestASlowStoreIsNotTheCallersDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v, err := token.NewVault(token.VaultConfig{
			Store: stuck{r.store}, Cipher: r.cipher, Client: token.NewClient(token.ClientConfig{}), Renewer: func(string) token.Renewer { return r.p },
		})
		require.NoError(t, err)
		_, err = v.Lookup(t.Context(), "t1", "p", "")
		require.ErrorContains(t, err, "store did not answer in time")
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = v.Lookup(ctx, "t1", "p", "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(10 * time.Second) // the read that nobody waits for ends too
	})
}

func TestAValidTokenIsHandedOutWhileItIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(t, "t1", time.Hour)
		h := r.handle(t, r.v, "t1")
		time.Sleep(56 * time.Minute) // past the soft point, before the end
		r.p.latency = 5 * time.Second
		start := time.Now()
		tok, err := h.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, "access-0", tok.Access.Reveal())
		require.Zero(t, time.Since(start))
		time.Sleep(6 * time.Second)
		tok, err = h.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, "access-1", tok.Access.Reveal())
		require.Equal(t, int64(1), r.p.calls.Load())
	})
}

func TestNothingIsWrittenWhenNothingChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(t, "t1", time.Hour)
		h := r.handle(t, r.v, "t1")
		for range 100 {
			_, err := h.Token(t.Context())
			require.NoError(t, err)
			time.Sleep(10 * time.Second)
		}
		require.Zero(t, r.store.writes.Load())
		require.Zero(t, r.p.calls.Load())
	})
}

func TestALosersRefusalDoesNotOverrideTheWinner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(t, "t1", time.Second)
		h := r.handle(t, r.v, "t1")
		time.Sleep(2 * time.Second)
		// While our call is on its way, somebody else commits.
		r.p.answer = func(int64) error {
			access, refresh, key, err := token.SealGrant(r.cipher, "t1", "p", "id-t1", token.Grant{AccessToken: token.NewSecret("theirs"), RefreshToken: token.NewSecret("their refresh")})
			require.NoError(t, err)
			_, err = r.store.Store.CommitTokens(context.Background(), store.CommitTokens{TenantID: "t1", ID: "id-t1", SeenGen: 1, AccessToken: access, RefreshToken: refresh, KeyID: key, ExpiresIn: time.Hour})
			require.NoError(t, err)
			return &token.Error{Outcome: token.DeadGrant, Code: "invalid_grant"}
		}
		tok, err := h.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, "theirs", tok.Access.Reveal())
	})
}

func TestR6NoCallWithoutALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(t, "t1", time.Second)
		h := r.handle(t, r.v, "t1")
		time.Sleep(2 * time.Second)
		r.store.lease = errors.New("read-only")
		for range 1000 {
			_, err := h.Token(t.Context())
			require.ErrorContains(t, err, "read-only")
		}
		require.Zero(t, r.p.calls.Load())
		r.store.lease = nil
		_, err := h.Token(t.Context())
		require.NoError(t, err)
	})
}

func TestR7AStoreThatFailsAfterTheRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(t, "t1", time.Second)
		h := r.handle(t, r.v, "t1")
		time.Sleep(2 * time.Second)
		r.store.commits = 20
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, _ = h.Token(ctx) // starts the renewal, and may not see its end
		time.Sleep(time.Second)
		tok, err := h.Token(t.Context())
		require.NoError(t, err, "served from memory")
		require.Equal(t, "access-1", tok.Access.Reveal())
		in, err := r.store.Get(t.Context(), "t1", "id-t1")
		require.NoError(t, err)
		require.Equal(t, int64(1), in.TokenGen, "not stored yet")
		time.Sleep(25 * time.Second)
		in, err = r.store.Get(t.Context(), "t1", "id-t1")
		require.NoError(t, err)
		require.Equal(t, int64(2), in.TokenGen)
		require.Equal(t, int64(1), r.p.calls.Load())
		tok, err = h.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, "access-1", tok.Access.Reveal())
	})
}

func TestOneFailingCallForEachBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(t, "t1", time.Second)
		a, b := r.handle(t, r.v, "t1"), r.handle(t, r.vault(t), "t1")
		time.Sleep(2 * time.Second)
		r.p.answer = func(int64) error {
			return &token.Error{Outcome: token.Transient, Code: "server_error", Status: 503, RetryAfter: time.Minute}
		}
		for range 59 {
			for _, h := range []*token.Handle{a, b} {
				_, err := h.Token(t.Context())
				var e *token.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, "server_error", e.Code)
			}
			time.Sleep(time.Second)
		}
		require.Equal(t, int64(1), r.p.calls.Load())
		r.p.answer = nil
		time.Sleep(time.Minute)
		_, err := a.Token(t.Context())
		require.NoError(t, err)
		in, err := r.store.Get(t.Context(), "t1", "id-t1")
		require.NoError(t, err)
		require.Equal(t, store.Active, in.Status)
		require.Zero(t, in.RefreshFails)
	})
}

func TestALostRotationIsCalledThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(t, "t1", time.Second)
		h := r.handle(t, r.v, "t1")
		time.Sleep(2 * time.Second)
		r.p.answer = func(call int64) error {
			if call == 1 {
				r.p.current = "rotated, and the answer was lost"
				return &token.Error{Outcome: token.Ambiguous, Code: "timeout"}
			}
			return nil
		}
		_, err := h.Token(t.Context())
		require.Error(t, err)
		time.Sleep(10 * time.Minute)
		_, err = h.Token(t.Context())
		var status *token.StatusError
		require.ErrorAs(t, err, &status)
		require.Equal(t, "rotation_lost", status.Reason)
		require.Equal(t, int64(2), r.p.calls.Load())
	})
}

func TestRejected(t *testing.T) {
	t.Run("renewed once for all who were refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.connect(t, "t1", time.Hour)
			h := r.handle(t, r.v, "t1")
			r.p.latency = 20 * time.Millisecond
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					tok, again, err := h.Rejected(t.Context(), 1, false)
					if err != nil || !again || tok.Access.Reveal() != "access-1" {
						t.Error(again, err)
					}
				})
			}
			wg.Wait()
			require.Equal(t, int64(1), r.p.calls.Load())
			_, again, err := h.Rejected(t.Context(), 1, false)
			require.NoError(t, err)
			require.True(t, again)
			require.Equal(t, int64(1), r.p.calls.Load())
		})
	})
	t.Run("a generation is renewed for it once in five minutes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.connect(t, "t1", time.Hour)
			h := r.handle(t, r.v, "t1")
			r.p.answer = func(int64) error { return &token.Error{Outcome: token.Transient, Code: "server_error"} }
			for range 10 {
				_, again, err := h.Rejected(t.Context(), 1, true)
				require.NoError(t, err)
				require.False(t, again)
			}
			require.Equal(t, int64(1), r.p.calls.Load())
		})
	})
	t.Run("without a refresh token only a final refusal ends it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.noRefresh = true
			r.connect(t, "t1", 0)
			h := r.handle(t, r.v, "t1")
			_, again, err := h.Rejected(t.Context(), 1, false)
			require.NoError(t, err)
			require.False(t, again)
			time.Sleep(time.Hour)
			_, err = h.Token(t.Context())
			require.NoError(t, err)
			n, err := r.v.RefreshDue(t.Context(), []string{"p"})
			require.NoError(t, err)
			require.Zero(t, n)
			_, _, err = h.Rejected(t.Context(), 1, true)
			var status *token.StatusError
			require.ErrorAs(t, err, &status)
			require.Equal(t, "token_rejected", status.Reason)
		})
	})
}

func TestADisconnectIsSeenWithinCacheFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(t, "t1", time.Hour)
		h, here := r.handle(t, r.vault(t), "t1"), r.handle(t, r.v, "t1")
		_, err := r.store.SetStatus(t.Context(), store.SetStatus{TenantID: "t1", ID: "id-t1", To: store.Disconnected, Wipe: true})
		require.NoError(t, err)
		_, err = h.Token(t.Context())
		require.NoError(t, err, "still cached")
		r.v.Evict("t1", "id-t1")
		var status *token.StatusError
		_, err = here.Token(t.Context())
		require.ErrorAs(t, err, &status)
		time.Sleep(10 * time.Second)
		_, err = h.Token(t.Context())
		require.ErrorAs(t, err, &status)
		require.Equal(t, store.Disconnected, status.Status)
	})
}

func TestRefreshDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(t, "t1", time.Hour)
		n, err := r.v.RefreshDue(t.Context(), []string{"p"})
		require.NoError(t, err)
		require.Zero(t, n)
		time.Sleep(56 * time.Minute)
		n, err = r.v.RefreshDue(t.Context(), []string{"p"})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		tok, err := r.handle(t, r.v, "t1").Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, "access-1", tok.Access.Reveal())
	})
}

func TestShutdownDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(t, "t1", time.Second)
		r.connect(t, "t2", time.Second)
		h, other := r.handle(t, r.v, "t1"), r.handle(t, r.v, "t2")
		time.Sleep(2 * time.Second)
		r.p.latency = time.Second
		done := make(chan error, 1)
		go func() { _, err := h.Token(t.Context()); done <- err }()
		synctest.Wait()
		start := time.Now()
		require.NoError(t, r.v.Shutdown(t.Context()))
		require.Equal(t, time.Second, time.Since(start))
		require.NoError(t, <-done)
		_, err := other.Token(t.Context())
		var e *token.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "shutting_down", e.Code)
		require.Equal(t, int64(1), r.p.calls.Load())
	})
}

func TestAnUnknownKeyTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(t, "t1", time.Hour)
		key, err := crypto.GenerateKey("other")
		require.NoError(t, err)
		r.cipher, err = crypto.NewKeyring(key)
		require.NoError(t, err)
		before, err := r.store.Get(t.Context(), "t1", "id-t1")
		require.NoError(t, err)
		v := r.vault(t)
		for range 3 {
			time.Sleep(time.Hour)
			_, err = v.Lookup(t.Context(), "t1", "p", "")
			require.ErrorIs(t, err, crypto.ErrUnknownKey)
			n, err := v.RefreshDue(t.Context(), []string{"p"})
			require.NoError(t, err)
			require.Zero(t, n)
		}
		after, err := r.store.Get(t.Context(), "t1", "id-t1")
		require.NoError(t, err)
		after.ReadAt = before.ReadAt
		require.Equal(t, before, after)
	})
}

// TestARowThatDoesNotOpenIsPutOff: whoever takes it to renew it gives it back, so
// that nobody thinks that its token may have been sent.
func TestARowThatDoesNotOpenIsPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(t, "t1", time.Hour)
		key, err := crypto.GenerateKey("k1") // the same name, another key
		require.NoError(t, err)
		r.cipher, err = crypto.NewKeyring(key)
		require.NoError(t, err)
		v := r.vault(t)
		time.Sleep(time.Hour)
		for taken := range 3 {
			n, err := v.RefreshDue(t.Context(), []string{"p"})
			require.NoError(t, err)
			require.Equal(t, 1, n, taken)
			in, err := r.store.Get(t.Context(), "t1", "id-t1")
			require.NoError(t, err)
			require.True(t, in.LeaseUntil.IsZero())
			require.Empty(t, in.RefreshError)
			require.Zero(t, in.RefreshFails)
			n, err = v.RefreshDue(t.Context(), []string{"p"})
			require.NoError(t, err)
			require.Zero(t, n)
			time.Sleep(6 * time.Minute)
		}
		require.Zero(t, r.p.calls.Load())
	})
}

func TestRefreshInIsSpreadAndBounded(t *testing.T) {
	p := &rotating{}
	require.Zero(t, token.RefreshIn(p, 0, "x"))
	require.Zero(t, token.RefreshIn(nil, time.Hour, "x"))
	seen := map[time.Duration]bool{}
	for i := range 100 {
		d := token.RefreshIn(p, time.Hour, fmt.Sprint(i))
		require.InDelta(t, float64(54*time.Minute), float64(d), float64(40*time.Second))
		seen[d] = true
		require.Less(t, token.RefreshIn(p, time.Second, fmt.Sprint(i)), time.Second)
	}
	require.Greater(t, len(seen), 90)
}

func TestAGrantThatEndsUnusedIsKeptAlive(t *testing.T) {
	p := &rotating{}
	unused := token.Grant{RefreshExpiresIn: 30 * 24 * time.Hour}
	require.Equal(t, 15*24*time.Hour, unused.RefreshIn(p, "x"))
	require.Zero(t, unused.RefreshIn(nil, "x"))
	require.Zero(t, token.Grant{}.RefreshIn(p, "x"))
	require.Equal(t, token.RefreshIn(p, time.Hour, "x"), token.Grant{ExpiresIn: time.Hour, RefreshExpiresIn: 30 * 24 * time.Hour}.RefreshIn(p, "x"))
}

func TestSecretsDoNotPrint(t *testing.T) {
	s := token.NewSecret("hush")
	tok := token.Token{Access: s, Header: []string{"Bearer hush"}, Gen: 3}
	g := token.Grant{AccessToken: s, RefreshToken: s}
	text := fmt.Sprintf("%v %+v %#v %s %q %x", s, s, s, s, s, s) + fmt.Sprintf("%v %+v %#v %s", tok, tok, &tok, tok) +
		fmt.Sprintf("%v %+v %#v", g, g, g) + fmt.Sprintf("%v %+v %#v", token.Renewal{RefreshToken: s}, token.Request{ClientSecret: s}, s)
	// Methods of unexported fields are not called.
	hidden := struct{ s token.Secret }{s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		text += fmt.Sprintf(verb, any(hidden))
	}
	require.NotContains(t, text, "hush")
	require.NotContains(t, text, "68757368")
	require.NotContains(t, text, "104 117 115 104")
	require.Equal(t, "hush", s.Reveal())
	require.True(t, token.NewSecret("").IsZero())
}

func ExampleNewVault() {
	_, err := token.NewVault(token.VaultConfig{Store: memstore.New()})
	fmt.Println(err != nil)
	// Output: true
}

func ExampleNewSecret() {
	s := token.NewSecret("xoxb-1")
	fmt.Println(s, len(s.Reveal()))
	// Output: [redacted] 6
}
