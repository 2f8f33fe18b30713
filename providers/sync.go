package providers

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Syncs keeps named values and named leases of one integration for code that
// copies data over. The Manager supplies one over its store.
type Syncs interface {
	// Load returns a named value and its version, nil and 0 for a name that was
	// never saved.
	Load(ctx context.Context, name string) ([]byte, int64, error)
	// Save stores a value if the version still is the given one and returns the
	// new version; else the error wraps [ErrConflict].
	Save(ctx context.Context, name string, value []byte, version int64) (int64, error)
	// TryLease takes or extends a lease; false means another owner holds it.
	TryLease(ctx context.Context, name, owner string, ttl time.Duration) (bool, error)
	// Release gives a lease back if owner holds it.
	Release(ctx context.Context, name, owner string) error
}

// Checkpoint is a named value of an integration that only one writer advances.
type Checkpoint struct {
	syncs   Syncs
	name    string
	version int64
}

// Checkpoint returns the named checkpoint. Without a store that keeps them its
// methods return an error wrapping errors.ErrUnsupported. A Checkpoint is for
// one goroutine; make one for each.
func (c *Connection) Checkpoint(name string) *Checkpoint {
	return &Checkpoint{syncs: c.origin.Syncs(), name: name}
}

// NewCheckpoint returns a checkpoint over s, for who has no Connection: the Manager,
// and tests of adapters.
func NewCheckpoint(s Syncs, name string) *Checkpoint { return &Checkpoint{syncs: s, name: name} }

// Load returns the saved value, nil when there is none.
func (p *Checkpoint) Load(ctx context.Context) ([]byte, error) {
	if p.syncs == nil {
		return nil, errNoSyncs
	}
	v, version, err := p.syncs.Load(ctx, p.name)
	if err != nil {
		return nil, err
	}
	p.version = version
	return v, nil
}

// Save stores a value. It returns an error wrapping [ErrConflict] when somebody
// else saved since this Checkpoint loaded or saved, [ErrDisconnected] or
// [ErrNotConnected] for an integration that is over, [ErrTransient] when the store did
// not answer in time.
func (p *Checkpoint) Save(ctx context.Context, value []byte) error {
	if p.syncs == nil {
		return errNoSyncs
	}
	version, err := p.syncs.Save(ctx, p.name, value, p.version)
	if err != nil {
		return err
	}
	p.version = version
	return nil
}

// Lease is a named right that one holder at a time has.
type Lease struct {
	syncs       Syncs
	name, owner string
	ttl         time.Duration
}

// TryLease takes the named lease of this integration for ttl. False means
// somebody else has it. The error wraps [ErrDisconnected] or [ErrNotConnected] for
// an integration that is over.
func (c *Connection) TryLease(ctx context.Context, name string, ttl time.Duration) (*Lease, bool, error) {
	syncs := c.origin.Syncs()
	if syncs == nil {
		return nil, false, errNoSyncs
	}
	owner := newOwner()
	ok, err := syncs.TryLease(ctx, name, owner, ttl)
	if err != nil || !ok {
		return nil, false, err
	}
	return &Lease{syncs: syncs, name: name, owner: owner, ttl: ttl}, true, nil
}

// Renew extends the lease by its time to live. False means it was lost: stop.
func (l *Lease) Renew(ctx context.Context) (bool, error) {
	return l.syncs.TryLease(ctx, l.name, l.owner, l.ttl)
}

// releaseTimeout bounds a release on a context that has ended: what is not given
// back ends by itself.
const releaseTimeout = 5 * time.Second

// Release gives the lease back. It works on a context that has ended too, for five
// seconds at most.
func (l *Lease) Release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	return l.syncs.Release(ctx, l.name, l.owner)
}

var errNoSyncs = fmt.Errorf("integrations/providers: the store keeps no checkpoints: %w", errors.ErrUnsupported)
