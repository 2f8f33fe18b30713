package store

import (
	"context"
	"time"
)

// Checkpoints is an optional ability of a [Store]: named cursors and named
// leases of an integration, for code that syncs. Names are at most 191 bytes. The
// zero Ref is nobody's: the library keeps there what belongs to a whole app at a
// provider.
type Checkpoints interface {
	// Checkpoint returns a named value and its version. A name that was never
	// saved has a nil value and version 0; that is not an error.
	Checkpoint(ctx context.Context, ref Ref, name string) ([]byte, int64, error)

	// SaveCheckpoint stores a value if the version still is the given one (0 for
	// a new name) and returns the new version; otherwise the error wraps
	// [ErrConflict].
	SaveCheckpoint(ctx context.Context, ref Ref, name string, value []byte, version int64) (int64, error)

	// TryLease takes or extends a named lease. False means another owner holds
	// it.
	TryLease(ctx context.Context, ref Ref, name, owner string, ttl time.Duration) (bool, error)

	// ReleaseLease gives a named lease back if owner holds it.
	ReleaseLease(ctx context.Context, ref Ref, name, owner string) error

	// DeleteCheckpoints removes all values and leases of an integration.
	DeleteCheckpoints(ctx context.Context, ref Ref) error
}

// Endpoints is an optional ability of a [Store]: webhook endpoints with a path
// and secret of their own, and subscriptions at the provider that have to be
// renewed.
type Endpoints interface {
	// PutEndpoint inserts or replaces an endpoint by (tenant, id). An id of another
	// tenant's or a path that another endpoint of the provider has is an error
	// wrapping [ErrConflict].
	PutEndpoint(ctx context.Context, e Endpoint) error

	// RotateEndpoint gives an endpoint another path and another secret if its
	// PathHash still is r.SeenPathHash. The ones before go on to be found and
	// accepted until r.Overlap from now, those before them end. False means that
	// somebody else rotated or removed it; nothing changed then.
	RotateEndpoint(ctx context.Context, r RotateEndpoint) (bool, error)

	// FindEndpoint returns the endpoint with a path hash, of any tenant: a
	// request names only the path. A PreviousPathHash counts until PreviousUntil.
	// Not found is an error wrapping [ErrNotFound].
	FindEndpoint(ctx context.Context, provider, pathHash string) (Endpoint, error)

	// ListEndpoints returns the endpoints of an integration ordered by id.
	ListEndpoints(ctx context.Context, ref Ref) ([]Endpoint, error)

	// DeleteEndpoint removes an endpoint. One that does not exist is no error.
	DeleteEndpoint(ctx context.Context, tenant, id string) error

	// PutSubscription inserts or replaces a subscription by (tenant,
	// integration, name) and clears its lease.
	PutSubscription(ctx context.Context, s Subscription) error

	// ListSubscriptions returns the subscriptions of an integration ordered by
	// name.
	ListSubscriptions(ctx context.Context, ref Ref) ([]Subscription, error)

	// ClaimSubscriptions leases up to c.Limit subscriptions of c.Providers whose
	// RenewAt has come and that nobody leases, those due first before others, and
	// returns them in that order.
	ClaimSubscriptions(ctx context.Context, c ClaimSubscriptions) ([]Subscription, error)

	// FinishSubscription ends a claim if f.Owner still holds the lease: f.Subscription
	// takes the row's place, or the row goes. False means that somebody else put,
	// deleted or claimed it meanwhile; nothing changed then.
	FinishSubscription(ctx context.Context, f FinishSubscription) (bool, error)

	// DeleteSubscription removes a subscription. One that does not exist is no
	// error.
	DeleteSubscription(ctx context.Context, ref Ref, name string) error

	// EnsureSubscriptions sees to it that active integrations of e.Provider have a
	// subscription named e.Name with e.RemoteID: one is inserted where there is
	// none, and one with another RemoteID gets this one. Either is due now and
	// leased to nobody, and its Data is gone. It does so for up to e.Limit
	// integrations and reports for how many.
	EnsureSubscriptions(ctx context.Context, e EnsureSubscriptions) (int, error)
}

// Endpoint is a webhook path that belongs to one integration.
type Endpoint struct {
	// ID is at most 36 bytes.
	ID                                string
	TenantID, IntegrationID, Provider string
	// PathHash is the SHA-256 in hex of the path segment; the segment itself is
	// a secret and is not stored.
	PathHash string
	// PreviousPathHash is that of the path before, "" for none. It leads here until
	// PreviousUntil.
	PreviousPathHash string
	// Secret and PreviousSecret are sealed, both with the key named KeyID; the
	// previous one is accepted until PreviousUntil.
	Secret, PreviousSecret []byte
	KeyID                  string
	PreviousUntil          time.Time
	CreatedAt              time.Time
}

// RotateEndpoint replaces the path and the secret of an endpoint. See
// [Endpoints.RotateEndpoint].
type RotateEndpoint struct {
	TenantID, ID string
	// SeenPathHash is the PathHash the caller knows, which becomes the previous one.
	SeenPathHash, PathHash string
	// Secret and PreviousSecret are sealed with the key named KeyID.
	Secret, PreviousSecret []byte
	KeyID                  string
	// Overlap is how long the ones before are accepted beside.
	Overlap time.Duration
}

// Subscription is an event subscription at the provider.
type Subscription struct {
	TenantID, IntegrationID, Provider string
	// Name is the library's name of what is subscribed to, at most 191 bytes.
	Name string
	// RemoteID is the provider's id of it.
	RemoteID string
	// Data is JSON of the adapter.
	Data []byte
	// ExpiresAt is when the provider ends it, RenewAt when it has to be renewed;
	// zero means never.
	ExpiresAt, RenewAt   time.Time
	CreatedAt, UpdatedAt time.Time
}

// ClaimSubscriptions asks for subscriptions to renew. See
// [Endpoints.ClaimSubscriptions].
type ClaimSubscriptions struct {
	// Owner is unique to the claim, at most 32 bytes.
	Owner string
	Limit int
	TTL   time.Duration
	// Providers limits the claim to these keys; empty means none is claimed.
	Providers []string
}

// FinishSubscription ends a claim. See [Endpoints.FinishSubscription].
type FinishSubscription struct {
	Owner string
	// Subscription has the tenant, integration and name of the claimed row.
	Subscription Subscription
	// RenewIn, when not 0, is when it has to be renewed, from the store's now,
	// whatever Subscription.RenewAt says.
	RenewIn time.Duration
	// Delete removes the row instead.
	Delete bool
}

// EnsureSubscriptions names a subscription that all integrations of a provider are
// to have. See [Endpoints.EnsureSubscriptions].
type EnsureSubscriptions struct {
	Provider, Name, RemoteID string
	Limit                    int
}
