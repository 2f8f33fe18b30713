// Package store is the contract between the library and the place it keeps its
// rows. The host picks an implementation: store/memstore for unit tests,
// store/sqlstore for SQLite, PostgreSQL, MySQL and MariaDB, or its own, which
// must pass store/storetest.
//
// What every implementation promises:
//
//   - All methods are safe for concurrent use, by any number of processes where
//     the store is shared.
//   - Every method honours its context: a method called with an ended context
//     changes nothing and returns an error wrapping the context's.
//   - Tokens and bodies arrive sealed. A store never sees a plaintext secret and
//     never interprets sealed bytes.
//   - Values that go in may be reused by the caller after the call, values that
//     come out belong to the caller: the store copies.
//   - A method that names a tenant touches only that tenant's rows. Asking for
//     another tenant's id is the same as asking for one that does not exist.
//   - Times are those of the store's own clock, in UTC with millisecond
//     precision. Durations in requests are added to that clock by the store, so
//     a replica's wrong clock cannot shorten a lease or an expiry.
//   - Empty bytes are the same as nil and come back as nil.
//   - A write is one atomic statement or transaction. No lock or connection is
//     held between two calls.
//   - A method that reports a bool says whether its condition held and the row
//     was changed. A condition that does not hold is not an error.
package store

import (
	"context"
	"errors"
	"time"
)

// Errors a store returns. All other errors are failures of the store itself and
// leave the row as it was, or, when the connection broke, in an unknown state.
var (
	// ErrNotFound means no row matches, or the row belongs to another tenant.
	ErrNotFound = errors.New("integrations/store: not found")
	// ErrConflict means the row was changed or created by somebody else since
	// the caller read it. Read again and decide again.
	ErrConflict = errors.New("integrations/store: conflict")
	// ErrTaken means another integration holds the exclusive key.
	ErrTaken = errors.New("integrations/store: exclusive key is taken")
	// ErrSchema means the schema is missing or of another version. The wrapping
	// error names the call that brings it up to date.
	ErrSchema = errors.New("integrations/store: schema is not up to date")
)

// Store keeps integrations and one-time OAuth flows. It is all the library
// needs to connect accounts and to call providers. [Inbox], [Checkpoints],
// [Endpoints], [Admin] and [Purger] are further abilities, found by type assertion.
type Store interface {
	// Check reports whether the store can be used: it is reachable and its
	// schema is the one this version of the library needs. It returns an error
	// wrapping [ErrSchema] for the latter.
	Check(ctx context.Context) error

	Integrations
	Flows
}

// Integrations are the rows of connected accounts.
type Integrations interface {
	// Connect stores a fresh grant and returns the row as stored.
	//
	// With c.SeenGen 0 there must be no row for (tenant, provider, label): one
	// is inserted with c.ID, TokenGen 1 and Version 1. With c.SeenGen above 0
	// the row c.ID of c.TenantID must have exactly that TokenGen: its grant is
	// replaced, TokenGen and Version go up by one, Metadata, Label and CreatedAt
	// stay. Otherwise nothing changes and the error wraps [ErrConflict].
	//
	// Either way the row is active afterwards, ConnectedAt is the store's now,
	// the failure count is 0 and no lease is held. With c.ExclusiveKey the account
	// is this row's alone: its ExternalAlias is taken from every other row of the
	// provider, whose account has given that name up. If another row holds
	// c.ExclusiveKey nothing changes and the error wraps [ErrTaken]; of any
	// number of concurrent calls with one exclusive key exactly one succeeds.
	// If the tenant has no flow c.StateHash any more nothing changes and the error
	// wraps [ErrNotFound]; a flow that is removed afterwards is removed after this.
	// c.Change is inserted in the same transaction. With c.Moved whatever the store
	// keeps for the integration as [Checkpoints] and [Endpoints] is removed in the
	// same transaction: it was of the account before.
	Connect(ctx context.Context, c Connect) (Integration, error)

	// Get returns one integration, or an error wrapping [ErrNotFound].
	Get(ctx context.Context, tenant, id string) (Integration, error)

	// GetMany returns those of the named integrations that exist, in no
	// particular order. Missing ones are left out.
	GetMany(ctx context.Context, refs []Ref) ([]Integration, error)

	// Find returns the integration of (tenant, provider, label), or an error
	// wrapping [ErrNotFound].
	Find(ctx context.Context, tenant, provider, label string) (Integration, error)

	// List returns a tenant's integrations ordered by provider and label. None
	// is an empty result, not an error.
	List(ctx context.Context, tenant string) ([]Integration, error)

	// FindByExternal returns every integration of every tenant that is bound to
	// a provider's account, by its ExternalID or its ExternalAlias, whatever its
	// status, oldest first. "" is no account. It is the one look-up that crosses
	// tenants: a webhook names only the account.
	FindByExternal(ctx context.Context, provider, externalID string) ([]Integration, error)

	// Lease takes the right to refresh. It succeeds for one caller at a time:
	// the row is active, TokenGen is l.SeenGen and the last lease has run out.
	// On success LeaseEpoch goes up by one; where the last lease was not given back
	// RefreshError becomes [Ambiguous], because its holder may have sent the token.
	Lease(ctx context.Context, l Lease) (bool, error)

	// CommitTokens stores the answer of a refresh if the row is active or suspended
	// and its TokenGen still is c.SeenGen: TokenGen and Version go up by one, the
	// failure count, what belongs to it, and the lease are cleared. The lease is not part of the
	// condition: a late but successful holder wins if nobody else did. c.Changes
	// are inserted in the same transaction. False means the generation moved on
	// or the row has another status; nothing changed then. A suspension does not
	// undo what the provider has rotated: the row keeps its status.
	CommitTokens(ctx context.Context, c CommitTokens) (bool, error)

	// FailRefresh records a refresh that did not succeed, if f.Owner still holds
	// the lease and TokenGen is f.SeenGen: the failure count goes up, the next
	// attempt is put off, and the lease is given back or kept for f.HoldLease.
	// With f.Uncounted the row's account of its failures (RefreshFails,
	// RefreshError, RefreshFailingSince, RefreshReported) stays as it is. Status,
	// TokenGen and Version stay in any case. f.Change is inserted in the same
	// transaction.
	FailRefresh(ctx context.Context, f FailRefresh) (bool, error)

	// SetStatus changes a status if all conditions of s hold, and inserts
	// s.Change in the same transaction. Version goes up by one and the lease is
	// cleared. With s.Wipe the tokens are removed with all that is due for them,
	// TokenGen goes up by one and the exclusive key is given up.
	SetStatus(ctx context.Context, s SetStatus) (bool, error)

	// Update changes what is not token material if Version is u.Version;
	// otherwise the error wraps [ErrConflict], or [ErrNotFound] when there is no
	// row. Version goes up by one, and u.Change is inserted in the same
	// transaction. It never touches tokens, status or lease, so it cannot make a
	// refresh fail. It returns the new Version.
	Update(ctx context.Context, u Update) (int64, error)

	// Delete removes a row. Removing one that does not exist is not an error.
	Delete(ctx context.Context, tenant, id string) error

	// ClaimDue leases up to c.Limit active rows of c.Providers and c.Keys whose
	// NextRefreshAt has come and that nobody leases, oldest first, and returns them
	// as they are afterwards. A row is given to one claimer at a time. It takes each
	// lease as Lease does.
	ClaimDue(ctx context.Context, c ClaimDue) ([]Integration, error)

	// ListEnding returns up to l.Limit active rows with GrantEnd [EndStays] whose
	// RefreshExpiresAt is within l.Within or past, soonest first.
	ListEnding(ctx context.Context, l ListEnding) ([]Integration, error)

	// ReportEnds makes GrantEnd [EndReported] in those of the named rows that are
	// active, at EndStays and of the generation seen, inserts their Changes and no
	// others, all in one transaction, and reports how many rows that were. Nothing
	// else changes, and no lease matters. Of any number of concurrent calls for a
	// row one changes it.
	ReportEnds(ctx context.Context, rs []ReportEnd) (int, error)

	// ListDue returns up to l.Limit active rows whose NextRefreshAt has come and
	// that come after a position, by NextRefreshAt and ID, leased or not.
	ListDue(ctx context.Context, l ListDue) ([]Integration, error)

	// ReportHeld records, in those of the named rows that are active and of the
	// generation seen and where RefreshFailingSince is zero or RefreshReported below
	// r.Report, that refreshes fail since now unless they failed before, inserts
	// their Changes and no others, all in one transaction, and reports how many rows
	// that were. RefreshFails, NextRefreshAt, Version and lease stay as they are.
	ReportHeld(ctx context.Context, rs []ReportHeld) (int, error)

	// ClaimVerify returns up to c.Limit active rows whose VerifyAt has come, those due
	// first before others, in no particular order, and puts their VerifyAt off by
	// c.Again from now. No lease is taken: a row is given to one claimer in that
	// time. The rows are as they are afterwards.
	ClaimVerify(ctx context.Context, c ClaimVerify) ([]Integration, error)
}

// Flows are one-time OAuth flows between the redirect to the provider and its
// callback.
type Flows interface {
	// PutFlow inserts a flow that ends f.TTL from now. A second flow with the
	// same StateHash is an error wrapping [ErrConflict], one that continues a flow that
	// is not there an error wrapping [ErrNotFound].
	PutFlow(ctx context.Context, f Flow) error

	// ConsumeFlow marks a flow used, returns it and forgets its Verifier. It
	// succeeds once for each flow, whatever the number of concurrent callers. An unknown, used or
	// expired flow is an error wrapping [ErrNotFound].
	ConsumeFlow(ctx context.Context, stateHash string) (Flow, error)

	// CountFlows reports how many flows a tenant started within the last window.
	CountFlows(ctx context.Context, tenant string, window time.Duration) (int, error)

	// DeleteFlows removes up to limit flows that ended more than age ago and
	// reports how many it removed.
	DeleteFlows(ctx context.Context, age time.Duration, limit int) (int, error)
}
