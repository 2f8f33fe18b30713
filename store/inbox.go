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
	// dead it becomes pending again, with its counts at 0.
	InsertDeliveries(ctx context.Context, ds []Delivery) ([]bool, error)

	// ClaimDeliveries leases up to c.Limit pending deliveries that are due and
	// match c.Match, oldest due first, and returns them. Claims goes up by one.
	// A delivery is leased to one owner at a time.
	ClaimDeliveries(ctx context.Context, c ClaimDeliveries) ([]Delivery, error)

	// StartDelivery counts a start, right before the handler runs. False means
	// owner lost the lease: it must not run the handler.
	StartDelivery(ctx context.Context, id, owner string) (bool, error)

	// RenewDeliveries extends the lease of those ids that owner still holds.
	RenewDeliveries(ctx context.Context, owner string, ids []string, ttl time.Duration) error

	// FinishDelivery ends a claim if f.Owner still holds the lease. False means
	// it does not; nothing changed then.
	FinishDelivery(ctx context.Context, f FinishDelivery) (bool, error)

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

	State          DeliveryState
	Claims, Starts int
	LastError      string
	// OccurredAt is the provider's time of the event; zero when it gives none.
	OccurredAt time.Time
	// ReceivedAt is set by the store, as are RunAt and UpdatedAt.
	ReceivedAt, RunAt, UpdatedAt time.Time
}

// Match selects deliveries by provider and type.
type Match struct {
	Provider string
	// EventType "" matches every type.
	EventType string
}

// ClaimDeliveries asks for work. See [Inbox.ClaimDeliveries].
type ClaimDeliveries struct {
	// Owner is unique to the claim, at most 32 bytes.
	Owner string
	Limit int
	TTL   time.Duration
	// Match lists what the caller can handle; empty claims nothing.
	Match []Match
}

// FinishDelivery ends a claim. See [Inbox.FinishDelivery].
type FinishDelivery struct {
	ID, Owner string
	// State is Done, Dead, or Pending to try again after RetryIn.
	State   DeliveryState
	RetryIn time.Duration
	// Error says what went wrong, "" for Done.
	Error string
}

// DeliveryQuery selects deliveries. Zero fields select all.
type DeliveryQuery struct {
	// TenantID limits to one tenant; AllTenants must be set to select across
	// tenants, so that a forgotten tenant selects nothing of anybody.
	TenantID   string
	AllTenants bool
	// ID selects one delivery.
	ID                      string
	IntegrationID, Provider string
	EventType               string
	States                  []DeliveryState
	// ReceivedAfter and ReceivedBefore bound ReceivedAt.
	ReceivedAfter, ReceivedBefore time.Time
	// Limit is at most 1000; 0 means 100.
	Limit int
}

// DeliveryCounts is the size of the inbox.
type DeliveryCounts struct {
	Pending, Done, Dead int64
	// OldestDue is how long the oldest pending delivery has been due.
	OldestDue time.Duration
}
