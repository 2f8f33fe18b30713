package token_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/faultstore"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

var errDisk = errors.New("the disk is full")

// world is a strict provider, a store that can fail, and replicas on both.
type world struct {
	t      *testing.T
	st     *faultstore.Store
	cipher crypto.Cipher
	p      *rotating
	vaults []*token.Vault
}

func newWorld(t *testing.T, replicas int) *world {
	key, err := crypto.GenerateKey("k1")
	require.NoError(t, err)
	ring, err := crypto.NewKeyring(key)
	require.NoError(t, err)
	w := &world{t: t, st: faultstore.New(memstore.New()), cipher: ring, p: &rotating{current: "refresh-0", life: time.Hour}}
	r := &rig{store: &faulty{Store: memstore.New()}, cipher: ring, p: w.p}
	g := token.Grant{AccessToken: token.NewSecret("access-0"), RefreshToken: token.NewSecret("refresh-0")}
	c := store.Connect{ID: "id", TenantID: "t", Provider: "p", ExternalID: "x", ExpiresIn: time.Hour, RefreshIn: token.RefreshIn(r.p, time.Hour, "id")}
	c.AccessToken, c.RefreshToken, c.KeyID, err = token.SealGrant(ring, "t", "p", c.ID, g)
	require.NoError(t, err)
	_, err = w.st.Connect(t.Context(), c)
	require.NoError(t, err)
	w.st.Reset()
	for range replicas {
		w.vaults = append(w.vaults, w.vault())
	}
	return w
}

func (w *world) vault() *token.Vault {
	v, err := token.NewVault(token.VaultConfig{
		Store: w.st, Cipher: w.cipher, Client: token.NewClient(token.ClientConfig{}), Renewer: func(string) token.Renewer { return w.p },
	})
	require.NoError(w.t, err)
	return v
}

// ask asks a replica for the token.
func (w *world) ask(replica int) (*token.Token, error) {
	h, err := w.vaults[replica].Lookup(w.t.Context(), "t", "p", "")
	if err != nil {
		return nil, err
	}
	return h.Token(w.t.Context())
}

// row is the row as the store has it, faults or not.
func (w *world) row() (store.Integration, string) {
	w.t.Helper()
	in, err := w.st.Get(w.t.Context(), "t", "id")
	require.NoError(w.t, err)
	_, refresh, err := token.OpenGrant(w.cipher, in)
	require.NoError(w.t, err)
	return in, refresh.Reveal()
}

// settled checks that, with a store that is well again, everybody gets a good
// token, the row holds the provider's current one, and no token was spent twice.
func (w *world) settled() {
	w.t.Helper()
	w.st.Fail(nil)
	time.Sleep(2 * time.Hour) // past every backoff and lease, and the token's end
	for i := range w.vaults {
		tok, err := w.ask(i)
		require.NoError(w.t, err)
		require.NotEqual(w.t, "access-0", tok.Access.Reveal())
	}
	synctest.Wait() // for renewals ahead
	in, refresh := w.row()
	require.Equal(w.t, store.Active, in.Status, in.StatusReason)
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	require.Equal(w.t, w.p.current, refresh, "the row holds a token that was replaced")
	require.Zero(w.t, w.p.reuses, "a refresh token came twice")
}

// TestEveryFaultPoint lets each call to the store fail once, before its work and
// after it, while two replicas refresh an ended token at a provider that forgives
// nothing.
func TestEveryFaultPoint(t *testing.T) {
	scenario := func(w *world) {
		time.Sleep(2 * time.Hour) // the token has ended
		for i := range w.vaults {
			_, _ = w.ask(i) // a failure is a failure; what counts is what is left behind
		}
		time.Sleep(2 * time.Hour)
		for i := range w.vaults {
			_, _ = w.ask(i)
		}
	}
	total := 0
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		scenario(w)
		total = len(w.st.Calls())
		w.settled()
	})
	require.Greater(t, total, 8)
	for n := 1; n <= total+2; n++ {
		for name, when := range map[string]faultstore.When{"before": faultstore.Before, "after": faultstore.After} {
			t.Run(fmt.Sprintf("%d %s", n, name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 2)
					w.st.FailNth(n, when, errDisk)
					scenario(w)
					w.settled()
				})
			})
		}
	}
}

// TestRandomInterleavings mixes refreshes on three replicas, store faults, key
// changes, metadata writes and time at random, and checks after each step that
// the provider's current token is in the row or in the memory of a live replica,
// and that generations only rise.
func TestRandomInterleavings(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				faults := rand.New(rand.NewPCG(seed, 2)) // under the store's lock
				w := newWorld(t, 3)
				gen := int64(0)
				for range 40 {
					switch rnd.IntN(8) {
					case 0, 1, 2:
						_, _ = w.ask(rnd.IntN(3))
					case 3:
						time.Sleep(time.Duration(rnd.IntN(90)) * time.Minute)
					case 4:
						time.Sleep(time.Duration(rnd.IntN(2000)) * time.Millisecond)
					case 5:
						in, _ := w.row()
						meta := []byte(`{"n":1}`)
						_, err := w.st.Update(t.Context(), store.Update{TenantID: "t", ID: "id", Version: in.Version, Metadata: (*json.RawMessage)(&meta)})
						if err != nil {
							require.ErrorIs(t, err, errDisk)
						}
					case 6:
						share := rnd.IntN(4)
						w.st.Fail(func(_ int, method string) (faultstore.When, error) {
							if method != "Get" && method != "Find" && faults.IntN(4) < share {
								return faultstore.When(faults.IntN(2)), errDisk
							}
							return faultstore.Before, nil
						})
					case 7:
						w.st.Fail(nil)
					}
					synctest.Wait()
					in, _ := w.row()
					require.GreaterOrEqual(t, in.TokenGen, gen)
					gen = in.TokenGen
					require.Equal(t, store.Active, in.Status)
					w.p.mu.Lock()
					reuses := w.p.reuses
					w.p.mu.Unlock()
					require.Zero(t, reuses, "a refresh token came twice")
				}
				w.settled()
			})
		})
	}
}
