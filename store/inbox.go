package store

import (
	"context"
	"time"
)

// ChangeProvider is the Provider of a [Delivery] that carries a change of an
// integration's life instead of a provider's webhook.
const ChangeProvider = "integrations"

// Inbox is an optional ability of a [Store]: verified webhooks and changes wait
// in it until a worker has handled them. A store that has it inserts the Change
// of a status change in the same transaction.
type Inbox interface {
	// InsertDeliveries stores all of ds in one transaction and reports for each
	// whether it was new. One that equals a stored delivery in (Provider,
	// DeliveryID, IntegrationID), or in (Provider, BodyHash, IntegrationID) when
	// BodyHash is not "", is not stored again; if a stored one that it equals is
	// dead it becomes pending again, with its counts at 0. A call that failed may be
	// repeated with the same IDs: what it stored after all may be told as new.
	InsertDeliveries(ctx context.Context, ds []Delivery) ([]bool, error)

	// DueTenants reports which tenants have deliveries that match, have been due
	// since q.Since or later, and are leased to nobody, in no order. Deliveries of
	// no tenant are those of tenant "". It changes nothing.
	DueTenants(ctx context.Context, q DueQuery) (Due, error)

	// ClaimDeliveries leases pending deliveries that are due and match c.Match, and
	// returns them, oldest due first: up to c.Limit of each of c.Tenants, or of all
	// when there are none. Claims goes up by one, and so does Lost when the last
	// lease ran out. A delivery is leased to one owner at a time.
	//
	// Of deliveries with one IntegrationID and one OrderKey that is not "", at most
	// one is leased at a time: the oldest, by ReceivedAt and then by ID, of those
	// that are pending and match; with c.DeadBlocks none while an older one that
	// matches is dead. The others are put off, and become due one by one as those
	// before them are finished, or by themselves after some minutes.
	ClaimDeliveries(ctx context.Context, c ClaimDeliveries) (Claimed, error)

	// RecordDeliveries ends claims and counts starts, all in one transaction, each if
	// its owner still holds the lease, and reports for each whether it did: nothing
	// changed where it did not. Ids must not repeat. One that ends as done or dead
	// makes the next of its OrderKey due. A start is recorded right before the handler
	// runs, and one that is not must not run; it is not once the lease has run out.
	RecordDeliveries(ctx context.Context, r RecordDeliveries) (Recorded, error)

	// RenewDeliveries extends the lease of those ids that owner still holds. A lease
	// that ran out is extended too as long as nobody else took it, but not that of a
	// delivery with an OrderKey: another one of its key may have been leased.
	RenewDeliveries(ctx context.Context, owner string, ids []string, ttl time.Duration) error

	// GetDelivery returns one delivery, or an error wrapping [ErrNotFound].
	// Tenant "" finds unrouted ones only.
	GetDelivery(ctx context.Context, tenant, id string) (Delivery, error)

	// ListDeliveries returns deliveries that match q, newest first, without
	// their bodies.
	ListDeliveries(ctx context.Context, q DeliveryQuery) ([]Delivery, error)

	// ReplayDeliveries makes finished deliveries that match q pending again, with
	// their counts at 0, and reports how many.
	ReplayDeliveries(ctx context.Context, q DeliveryQuery) (int, error)

	// DeleteDeliveries removes up to limit deliveries in the given state that
	// were last changed more than age ago and reports how many.
	DeleteDeliveries(ctx context.Context, state DeliveryState, age time.Duration, limit int) (int, error)

	// TrimDeliveries removes up to limit deliveries in the given state, those first
	// that were changed first, and none of the keep that were changed last. It
	// reports how many. Concurrent calls keep those too.
	TrimDeliveries(ctx context.Context, state DeliveryState, keep, limit int) (int, error)

	// CountDeliveries reports how many deliveries are in each state and how long
	// the oldest due pending one has waited, of those that match, or of all when
	// match is nil.
	CountDeliveries(ctx context.Context, match []Match) (DeliveryCounts, error)
}

// ParallelInbox is an optional ability of an [Inbox]: it says how it is best
// written to.
type ParallelInbox interface {
	// ParallelInserts is how many calls of InsertDeliveries at a time are of use:
	// more only wait for each other. An inbox that does not say takes one.
	ParallelInserts() int
}

// DeliveryState is where a delivery stands.
type DeliveryState int8

const (
	// Pending deliveries wait for a worker or for their next attempt.
	Pending DeliveryState = 0
	// Done deliveries were handled.
	Done DeliveryState = 1
	// Dead deliveries failed too often and wait for a replay.
	Dead DeliveryState = 2
)

// Delivery is one verified webhook for one integration, or one change.
type Delivery struct {
	// ID is the library's id of the row, at most 26 bytes and ascending in time.
	ID string
	// Provider is the key of the provider, or [ChangeProvider].
	Provider string
	// DeliveryID is the provider's id, the same when it sends again, at most 191
	// bytes.
	DeliveryID string
	// BodyHash is the SHA-256 of the verified body in hex where the provider
	// signs no timestamp, else "".
	BodyHash string
	// TenantID and IntegrationID are "" while no integration is bound to the
	// account.
	TenantID, IntegrationID string
	// ExternalID is the account the event named, at most 191 bytes.
	ExternalID string
	// EventType is the provider's type, at most 191 bytes.
	EventType string
	// OrderKey, when not "", asks for one at a time in order of arrival.
	OrderKey string
	// Body is sealed, with the key named KeyID. Headers are a few of the
	// request's, as JSON.
	Body, Headers []byte
	KeyID         string

	State DeliveryState
	// Claims counts leases, Starts the handler's, and Lost the leases that ran out
	// with nobody to say how it went.
	Claims, Starts, Lost int
	LastError            string
	// OccurredAt is the provider's time of the event; zero when it gives none.
	OccurredAt time.Time
	// ReceivedAt, RunAt, which is when it is or was due, and UpdatedAt, the last time
	// it was inserted, finished or replayed, are set by the store.
	ReceivedAt, RunAt, UpdatedAt time.Time
}

// Match selects deliveries by provider and type.
type Match struct {
	Provider string
	// EventType "" matches every type.
	EventType string
}

// DueQuery asks who has work. See [Inbox.DueTenants].
type DueQuery struct {
	// Match lists what the caller can handle; empty matches nothing.
	Match []Match
	// Since leaves out what has been due for longer. Zero leaves out nothing.
	Since time.Time
}

// Due is what [Inbox.DueTenants] found.
type Due struct {
	Tenants []DueTenant
	// At is the store's time of the look: the Since of the next one, less the time
	// that an insert may take until others see it.
	At time.Time
}

// DueTenant is a tenant with due deliveries.
type DueTenant struct {
	TenantID string
	// Since is when the first of them became due.
	Since time.Time
}

// ClaimDeliveries asks for work. See [Inbox.ClaimDeliveries].
type ClaimDeliveries struct {
	// Owner is unique to the claim, at most 32 bytes.
	Owner string
	Limit int
	TTL   time.Duration
	// Match lists what the caller can handle; empty claims nothing.
	Match []Match
	// Tenants are those whose deliveries are claimed, those only that are due at
	// Since or later. Empty means all tenants.
	Tenants []DueTenant
	// DeadBlocks keeps deliveries back while an older one of their OrderKey is dead.
	DeadBlocks bool
}

// Claimed is what [Inbox.ClaimDeliveries] leased.
type Claimed struct {
	Deliveries []Delivery
	// More are those of Tenants that may have more due: their limit was reached, by
	// what was leased and what was put off.
	More []string
}

// DeliveryLease names a leased delivery.
type DeliveryLease struct {
	ID, Owner string
}

// RecordDeliveries is what became of claims. See [Inbox.RecordDeliveries].
type RecordDeliveries struct {
	Ends   []FinishDelivery
	Starts []DeliveryLease
}

// Recorded says which lines of a [RecordDeliveries] were recorded.
type Recorded struct {
	Ends, Starts []bool
}

// FinishDelivery ends a claim.
type FinishDelivery struct {
	ID, Owner string
	// State is Done, Dead, or Pending to try again after RetryIn.
	State   DeliveryState
	RetryIn time.Duration
	// Error says what went wrong, "" for Done.
	Error string
	// Unclaim takes the claim out of the count: nothing was tried.
	Unclaim bool
}

// DeliveryQuery selects deliveries. Zero fields select all.
type DeliveryQuery struct {
	// TenantID limits to one tenant; AllTenants must be set to select across
	// tenants, so that a forgotten tenant selects nothing of anybody.
	TenantID   string
	AllTenants bool
	// IDs selects these deliveries, at most 1000.
	IDs                     []string
	IntegrationID, Provider string
	EventType               string
	States                  []DeliveryState
	// ReceivedAfter and ReceivedBefore bound ReceivedAt.
	ReceivedAfter, ReceivedBefore time.Time
	// OlderThan selects what a list has after this delivery, of which ReceivedAt and
	// ID count; nil selects from the newest on.
	OlderThan *Delivery
	// Limit is at most 1000; 0 means 100.
	Limit int
}

// DeliveryCounts is the size of the inbox.
type DeliveryCounts struct {
	Pending, Done, Dead int64
	// OldestDue is how long the oldest pending delivery has been due, handlers that
	// run and turns it waits for included.
	OldestDue time.Duration
}
