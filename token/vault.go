package token

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"golang.org/x/sync/singleflight"
)

// VaultConfig makes a [Vault]. Store, Cipher, Client and Renewer are required.
type VaultConfig struct {
	Store  store.Integrations
	Cipher crypto.Cipher
	Client *Client
	// Renewer returns how a provider's tokens are renewed, nil when they are not.
	Renewer func(provider string) Renewer
	// CacheFor is how long a row is believed without reading it again. Defaults
	// to 10 s.
	CacheFor time.Duration
	// HTTPTimeout bounds a token call. Defaults to 10 s.
	HTTPTimeout time.Duration
	// CommitBudget bounds one call to the store. Defaults to 5 s. The lease lasts
	// 2 × (HTTPTimeout + CommitBudget), so it cannot be shorter than the call it
	// protects.
	CommitBudget time.Duration
	// GiveUpAfter is how long renewing may fail or be held back while the token has
	// ended before the host is told a second time. Defaults to 72 h.
	GiveUpAfter time.Duration
	// Journal, when not nil, is written to before a new refresh token is stored:
	// half of CommitBudget at most. What fails there is logged and stops nothing.
	// See [Vault.Replay]. Nil means none.
	Journal Journal
	// Change makes the row that is stored with a turn. Nil means none is.
	Change func(in store.Integration, t Turn) (*store.Delivery, error)
	// Attach is called once for each handle; Handle.Attached returns its result.
	Attach func(h *Handle) any
	// Orphan is told of a fresh grant whose row was disconnected, removed or
	// connected anew while it was fetched: nobody knows of it, so it should be
	// revoked, unless that would end the grant that is in the row now. Nil forgets
	// it.
	Orphan func(ctx context.Context, in store.Integration, g Grant)
	// Observe is told of each renewal. It must not block.
	Observe func(e Event)
	// ObserveFault is told when renewals at a provider are held back and when they
	// go on. It must not block.
	ObserveFault func(e FaultEvent)
	// Logger hears what no caller is told. Nil discards.
	Logger *slog.Logger
}

// Event is one renewal of a token: a token call was made.
type Event struct {
	Provider, TenantID, IntegrationID string
	// Err is nil for a success, an [*Error] with outcome and code when the call
	// failed, another error when its answer could not be stored.
	Err error
	// Call is how long the provider took, Commit how long the journal and the
	// store did.
	Call, Commit time.Duration
}

// Vault hands out access tokens and renews them. It is safe for concurrent use.
// It starts goroutines only for reads and renewals that callers asked for; each
// ends within the lease, or within a minute when a new token cannot be stored.
type Vault struct {
	clock clock
	cfg   VaultConfig
	log   *slog.Logger

	seed      maphash.Seed // of the indexes
	kinds     atomic.Pointer[[]*kind]
	byName    index      // by tenant, provider and label
	byID      index      // by tenant and id
	writing   sync.Mutex // kinds, byName, byID
	flights   singleflight.Group
	evictions atomic.Int64

	breakers breakers
	waiting  waiting

	drain   sync.Mutex
	closing bool
	work    sync.WaitGroup
}

// kind is what the handles of one provider share.
type kind struct {
	provider string
	hash     uint64
	// common is what is known of an integration that differs from others in no
	// more than its names: the last one seen.
	common atomic.Pointer[about]
}

// NewVault returns a vault. All faults of the configuration are reported
// together.
func NewVault(cfg VaultConfig) (*Vault, error) {
	var faults []error
	require := func(name string, given bool) {
		if !given {
			faults = append(faults, fmt.Errorf("integrations/token: VaultConfig.%s is nil", name))
		}
	}
	require("Store", cfg.Store != nil)
	require("Cipher", cfg.Cipher != nil)
	require("Client", cfg.Client != nil)
	require("Renewer", cfg.Renewer != nil)
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	setDefault(&cfg.CacheFor, 10*time.Second)
	setDefault(&cfg.HTTPTimeout, 10*time.Second)
	setDefault(&cfg.CommitBudget, 5*time.Second)
	setDefault(&cfg.GiveUpAfter, 72*time.Hour)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	v := &Vault{clock: clock{start: time.Now()}, cfg: cfg, log: cfg.Logger, seed: maphash.MakeSeed()}
	v.kinds.Store(&[]*kind{})
	v.byName.table.Store(newTable(leastSlots))
	v.byID.table.Store(newTable(leastSlots))
	return v, nil
}

func setDefault(d *time.Duration, to time.Duration) {
	if *d <= 0 {
		*d = to
	}
}

// leaseTTL outlives the call and the commit twice over: a lease that ends during
// the call would let a second replica spend the same token.
func (v *Vault) leaseTTL() time.Duration { return 2 * (v.cfg.HTTPTimeout + v.cfg.CommitBudget) }

// Lookup returns the handle of an integration. It reads the store the first time
// only. An integration that does not exist is an error wrapping
// store.ErrNotFound; that is not remembered.
func (v *Vault) Lookup(ctx context.Context, tenant, provider, label string) (*Handle, error) {
	if k := v.known(provider); k != nil {
		if h := v.named(k, tenant, label); h != nil {
			h.touch()
			return h, nil
		}
	}
	return v.find(ctx, fmt.Sprintf("%q %q %q", provider, tenant, label), func(ctx context.Context) (store.Integration, error) {
		return v.cfg.Store.Find(ctx, tenant, provider, label)
	})
}

// LookupID is Lookup by id.
func (v *Vault) LookupID(ctx context.Context, tenant, id string) (*Handle, error) {
	if h := v.cached(tenant, id); h != nil {
		h.touch()
		return h, nil
	}
	return v.find(ctx, fmt.Sprintf("%q %q", tenant, id), func(ctx context.Context) (store.Integration, error) {
		return v.cfg.Store.Get(ctx, tenant, id)
	})
}

// touch keeps a handle in the cache. It writes only a change: a line that all
// cores write is slow to read.
func (h *Handle) touch() {
	if h.sweeps.Load() != 0 {
		h.sweeps.Store(0)
	}
}

// find makes the handle of a row; callers at the same time share one read.
func (v *Vault) find(ctx context.Context, key string, read func(context.Context) (store.Integration, error)) (*Handle, error) {
	h, err := share(ctx, v, flight{key: key}, v.cfg.CommitBudget, func(ctx context.Context) (*Handle, error) {
		began, evictions := v.clock.now(), v.evictions.Load()
		in, err := read(ctx)
		if err != nil {
			return nil, fmt.Errorf("integrations/token: look up: %w", err)
		}
		if h := v.cached(in.TenantID, in.ID); h != nil {
			return h, nil
		}
		h := v.newHandle(in)
		s, err := h.stateOf(in, unread, began)
		if err != nil {
			return nil, err
		}
		h.state.Store(s)
		h = v.register(h)
		if v.evictions.Load() != evictions {
			h.forget() // it may have been this one, before it could be found
		}
		return h, nil
	})
	if err != nil {
		return nil, err
	}
	h.touch()
	return h, nil
}

// cached is the handle of an integration, nil when there is none.
func (v *Vault) cached(tenant, id string) *Handle {
	hash := v.hashID(tenant, id)
	t := v.byID.table.Load()
	h, i := t.from(t.slot(hash), hash)
	for h != nil && !(h.ID() == id && h.TenantID() == tenant) {
		h, i = t.from(i+1, hash)
	}
	return h
}

// named is the handle under a name, nil when there is none.
func (v *Vault) named(k *kind, tenant, label string) *Handle {
	hash := v.hashName(k, tenant, label)
	t := v.byName.table.Load()
	h, i := t.from(t.slot(hash), hash)
	for h != nil && !(h.of == k && h.TenantID() == tenant && h.Label() == label) {
		h, i = t.from(i+1, hash)
	}
	return h
}

func (v *Vault) hashName(k *kind, tenant, label string) uint32 {
	hash := k.hash ^ maphash.String(v.seed, tenant)
	if label != "" {
		hash = bits.RotateLeft64(hash, 1) ^ maphash.String(v.seed, label)
	}
	return uint32(hash>>32) | 1
}

func (v *Vault) hashID(tenant, id string) uint32 {
	return uint32((bits.RotateLeft64(maphash.String(v.seed, tenant), 1)^maphash.String(v.seed, id))>>32) | 1
}

// newHandle makes a handle that nobody can look up yet.
func (v *Vault) newHandle(in store.Integration) *Handle {
	h := &Handle{vault: v, of: v.kind(in.Provider)}
	h.nameAs(in.TenantID, in.ID, in.Label, in.ExternalID)
	h.state.Store(unread)
	if v.cfg.Attach != nil {
		h.attached = v.cfg.Attach(h)
	}
	return h
}

// register makes a handle the one that is looked up, unless there is another;
// it returns that which is.
func (v *Vault) register(h *Handle) *Handle {
	if other := v.cached(h.TenantID(), h.ID()); other != nil {
		return other
	}
	v.writing.Lock()
	defer v.writing.Unlock()
	if other := v.cached(h.TenantID(), h.ID()); other != nil {
		return other
	}
	h.touch()
	v.byID.put(v.hashID(h.TenantID(), h.ID()), h)
	hash := v.hashName(h.of, h.TenantID(), h.Label())
	if other := v.named(h.of, h.TenantID(), h.Label()); other != nil {
		v.byName.remove(hash, other) // the name is another integration's now
	}
	v.byName.put(hash, h)
	return h
}

// known returns the kind of a provider, nil when it has none yet. There are few
// providers: comparing their names is faster than hashing one.
func (v *Vault) known(provider string) *kind {
	for _, k := range *v.kinds.Load() {
		if k.provider == provider {
			return k
		}
	}
	return nil
}

// kind is the kind of a provider, added by copy.
func (v *Vault) kind(provider string) *kind {
	if k := v.known(provider); k != nil {
		return k
	}
	v.writing.Lock()
	defer v.writing.Unlock()
	if k := v.known(provider); k != nil {
		return k
	}
	added := &kind{provider: provider, hash: bits.RotateLeft64(maphash.String(v.seed, provider), 1)}
	next := append(slices.Clone(*v.kinds.Load()), added)
	v.kinds.Store(&next)
	return added
}

// drop removes a handle from the cache. Those who hold it may go on using it.
func (v *Vault) drop(h *Handle) {
	v.writing.Lock()
	defer v.writing.Unlock()
	v.byID.remove(v.hashID(h.TenantID(), h.ID()), h)
	v.byName.remove(v.hashName(h.of, h.TenantID(), h.Label()), h)
}

// Evict makes the next use of an integration read its row: after a change made
// here. What was known is not used again, even if the row cannot be read.
func (v *Vault) Evict(tenant, id string) {
	v.evictions.Add(1)
	if h := v.cached(tenant, id); h != nil {
		h.forget()
	}
}

// Forget is Evict for a row that is of another account now: those who look it up
// get a new handle.
func (v *Vault) Forget(tenant, id string) {
	v.Evict(tenant, id)
	if h := v.cached(tenant, id); h != nil {
		v.drop(h)
	}
}

const (
	sweepEvery = time.Minute
	idleSweeps = 60
)

// Run ticks the clock, which makes hand-outs cheaper, and drops handles that
// nobody used for an hour. It returns nil when ctx ends.
func (v *Vault) Run(ctx context.Context) error {
	var sweeper sync.WaitGroup
	sweeper.Go(func() { v.sweepLoop(ctx) })
	v.clock.run(ctx)
	sweeper.Wait()
	return nil
}

func (v *Vault) sweepLoop(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			v.sweep()
		}
	}
}

func (v *Vault) sweep() {
	v.breakers.sweep(v.clock.now())
	v.byID.all(func(h *Handle) {
		switch {
		case h.unsaved() != nil: // the only copy of a token
			h.touch()
		case h.sweeps.Add(1) > idleSweeps:
			v.drop(h)
		}
	})
}

// begin counts work that Shutdown has to wait for. False means none may begin
// any more.
func (v *Vault) begin() bool {
	v.drain.Lock()
	defer v.drain.Unlock()
	if v.closing {
		return false
	}
	v.work.Add(1)
	return true
}

// Close lets no renewal begin any more; those that wait for their turn do not
// begin. Tokens that still last are handed out as before; callers who would need
// another one get an [*Error] with the code "shutting_down".
func (v *Vault) Close() {
	v.drain.Lock()
	v.closing = true
	v.drain.Unlock()
	v.breakers.close()
}

// Shutdown is Close and waits for the renewals that run. It returns ctx's error
// when ctx ends first.
func (v *Vault) Shutdown(ctx context.Context) error {
	v.Close()
	done := make(chan struct{})
	go func() {
		v.work.Wait()
		close(done)
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
		return nil
	}
}
