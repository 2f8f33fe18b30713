package token

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/stretchr/testify/require"
)

func newTestVault(t *testing.T) *Vault {
	key, err := crypto.GenerateKey("k")
	require.NoError(t, err)
	ring, err := crypto.NewKeyring(key)
	require.NoError(t, err)
	v, err := NewVault(VaultConfig{Store: memstore.New(), Cipher: ring, Client: NewClient(ClientConfig{}), Renewer: func(string) Renewer { return nil }})
	require.NoError(t, err)
	return v
}

func hasHandle(x *index, hash uint32, want *Handle) bool {
	t := x.table.Load()
	h, i := t.from(t.slot(hash), hash)
	for h != nil && h != want {
		h, i = t.from(i+1, hash)
	}
	return h == want
}

// TestTheIndexIsAMap: whatever is added and removed, with few different hashes at
// that, what is found is what a map would hold.
func TestTheIndexIsAMap(t *testing.T) {
	for _, hashes := range []uint32{1, 7, 1 << 31} {
		var x index
		x.table.Store(newTable(leastSlots))
		model, hashOf := map[*Handle]bool{}, map[*Handle]uint32{}
		var all []*Handle
		r := rand.New(rand.NewPCG(1, uint64(hashes)))
		for step := range 1200 {
			if len(all) == 0 || r.IntN(3) > 0 && step < 600 {
				h, hash := &Handle{}, uint32(r.Int64N(int64(hashes)))<<1|1
				x.put(hash, h)
				model[h], hashOf[h] = true, hash
				all = append(all, h)
			} else {
				h := all[r.IntN(len(all))]
				x.remove(hashOf[h], h) // perhaps for the second time
				delete(model, h)
			}
			if step%100 != 0 {
				continue
			}
			for _, h := range all {
				require.Equal(t, model[h], hasHandle(&x, hashOf[h], h))
			}
			seen := map[*Handle]bool{}
			x.all(func(h *Handle) {
				require.False(t, seen[h])
				require.Contains(t, model, h)
				seen[h] = true
			})
			require.Len(t, seen, len(model))
			require.Equal(t, len(model), x.live)
			require.LessOrEqual(t, x.used*fullDen, len(x.table.Load().hashes)*fullNum)
		}
		for h := range model {
			x.remove(hashOf[h], h)
		}
		require.Zero(t, x.live)
		require.Len(t, x.table.Load().hashes, leastSlots, "memory is given back")
	}
}

// TestLookUpsMissNothingThatStays: while others come and go, what stays is found
// at every moment.
func TestLookUpsMissNothingThatStays(t *testing.T) {
	v := newTestVault(t)
	var stay []*Handle
	for i := range 50 {
		stay = append(stay, v.register(v.newHandle(store.Integration{ID: fmt.Sprint("stays-", i), TenantID: fmt.Sprint("t", i%7), Provider: "p", Label: strconv.Itoa(i)})))
	}
	var done atomic.Bool
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !done.Load() {
				for _, h := range stay {
					if v.cached(h.TenantID(), h.ID()) != h || v.named(h.of, h.TenantID(), h.Label()) != h {
						t.Error("not found:", h.ID())
						return
					}
				}
				runtime.Gosched()
			}
		})
	}
	for w := range 2 {
		writers.Go(func() {
			for round := range 20 {
				var mine []*Handle
				for i := range 200 {
					mine = append(mine, v.register(v.newHandle(store.Integration{ID: fmt.Sprint("goes-", w, "-", round, "-", i), TenantID: "t", Provider: "p", Label: fmt.Sprint(w, i)})))
				}
				for _, h := range mine {
					v.drop(h)
				}
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
	require.Equal(t, len(stay), v.byID.live)
	require.Equal(t, len(stay), v.byName.live)
}

// TestNamesThatJoinToTheSameTextAreApart: no other tenant's handle is found by
// moving a character from one name to the next.
func TestNamesThatJoinToTheSameTextAreApart(t *testing.T) {
	v := newTestVault(t)
	a := v.register(v.newHandle(store.Integration{TenantID: "ab", ID: "c", Provider: "p", Label: "de", ExternalID: "f"}))
	require.Equal(t, []string{"ab", "c", "p", "de", "f"}, []string{a.TenantID(), a.ID(), a.Provider(), a.Label(), a.ExternalID()})
	require.Nil(t, v.cached("a", "bc"))
	require.Nil(t, v.cached("abc", ""))
	require.Nil(t, v.named(a.of, "ab", "d"))
	require.Nil(t, v.named(a.of, "abc", "de"))
	b := v.register(v.newHandle(store.Integration{TenantID: "a", ID: "bc", Provider: "p", Label: "de", ExternalID: "f"}))
	require.NotSame(t, a, b)
	require.Same(t, a, v.cached("ab", "c"))
	require.Same(t, b, v.named(a.of, "a", "de"))

	// A name that is another integration's now.
	c := v.register(v.newHandle(store.Integration{TenantID: "ab", ID: "new", Provider: "p", Label: "de"}))
	require.Same(t, c, v.named(a.of, "ab", "de"))
	v.drop(a)
	require.Same(t, c, v.named(a.of, "ab", "de"))
	require.Nil(t, v.cached("ab", "c"))
}

// TestHandlesAreSmall: one word more in either takes the next size there is, for
// each of a host's customers.
func TestHandlesAreSmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Handle{}), uintptr(80))
	require.LessOrEqual(t, unsafe.Sizeof(state{}), uintptr(80))
}

// TestScopesAreKeptOnce: integrations with the same scopes share one list of
// them, and what a caller does with its copy does not show.
func TestScopesAreKeptOnce(t *testing.T) {
	v := newTestVault(t)
	state := func(id string, in store.Integration) (*Handle, *state) {
		in.ID, in.TenantID, in.Provider, in.Status = id, "t", "p", store.Active
		h := v.newHandle(in)
		s, err := h.stateOf(in, unread, 0)
		require.NoError(t, err)
		return h, s
	}
	scopes := []string{"read", "write"}
	h, a := state("a", store.Integration{Label: "a", ExternalID: "A", Scopes: scopes})
	scopes[0] = "changed"
	_, b := state("b", store.Integration{Label: "b", ExternalID: "B", Scopes: []string{"read", "write"}})
	require.Same(t, a.about, b.about)
	h.info(a).Scopes[0] = "changed"
	require.Equal(t, Info{ExternalID: "A", Scopes: []string{"read", "write"}}, h.info(a))

	_, c := state("c", store.Integration{Label: "c", Scopes: []string{"read", "write"}, ProviderData: []byte(`{"team":"C"}`)})
	require.Same(t, &a.about.scopes[0], &c.about.scopes[0])
	_, d := state("d", store.Integration{Label: "d", Scopes: []string{"read"}})
	require.Equal(t, []string{"read"}, d.about.scopes)
	require.Nil(t, d.about.providerData)

	// The account may be another one than when the handle was made.
	in := store.Integration{ID: "a", TenantID: "t", Provider: "p", Status: store.Active, ExternalID: "A2", Scopes: []string{"read", "write"}}
	moved, err := h.stateOf(in, a, 0)
	require.NoError(t, err)
	require.Equal(t, "A2", h.info(moved).ExternalID)
	again, err := h.stateOf(in, moved, 0)
	require.NoError(t, err)
	require.Same(t, moved.about, again.about)
	require.Equal(t, "A", h.info(a).ExternalID)
}
