// Package webhook receives signed webhooks: it verifies the raw bytes, finds the
// integration the event is for, stores the event before it answers, and runs
// handlers from the store until they succeed.
//
// The way of an event is request, [Verifier], [Source].Read, inbox, [Worker],
// [Handler].
package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Event is one verified webhook for one integration, as a handler sees it.
//
// A handler may assume:
//   - The signature was verified over the raw bytes, and TenantID and IntegrationID
//     were found by the account the provider signed, never by anything in the URL.
//   - The event is stored. It comes again until a handler returned nil or it was
//     started as often as [Handling].MaxStarts says; then it is dead and waits for a
//     replay.
//   - A repeat of the same delivery by the provider is no event of its own, for as
//     long as done events are kept.
//   - With an OrderKey: no other event of this key and integration runs at the same
//     time, and all that arrived before it are done or dead. One that fails keeps
//     the others waiting until it is either; with [Handling].DeadBlocks a dead one
//     keeps them waiting too.
//
// It must not assume:
//   - That it runs once. After a crash, after a lease that ran out because the
//     process stood still, and after a replay the same Event.ID comes again, also
//     when the work was done. ID is the key to recognise it by; the Once method of a
//     sqlstore.Store does so within a transaction of the host's.
//   - An order, without an OrderKey. OccurredAt may tell which is newer.
//   - With an OrderKey, that arrival is the provider's order, or that nothing runs
//     beside a handler that went on after its context had ended.
type Event struct {
	// ID is the library's id of this event for this integration, stable over
	// attempts and over the provider's own retries.
	ID string
	// Provider is the key of the provider.
	Provider string
	// Type is the provider's name of the event.
	Type string
	// DeliveryID is the provider's id of the delivery.
	DeliveryID string
	// TenantID and IntegrationID are "" when no integration is bound to the
	// account.
	TenantID, IntegrationID string
	// ExternalID is the provider's account the event is about.
	ExternalID string
	// OrderKey, when not "", is what the event is handled in order with.
	OrderKey string
	// Body is the verified payload. It belongs to the handler.
	Body []byte
	// Header holds the few request headers the adapter keeps.
	Header http.Header
	// OccurredAt is the provider's time of the event; zero when it gives none.
	OccurredAt time.Time
	// ReceivedAt is when the event was stored.
	ReceivedAt time.Time
	// Attempt counts the starts of the handler for this event, from 1.
	Attempt int
}

// Decode reads the JSON body into v. The error names no content of the body.
func (e Event) Decode(v any) error {
	if err := json.Unmarshal(e.Body, v); err != nil {
		return fmt.Errorf("integrations/webhook: body of %s %s is not the expected JSON", e.Provider, e.Type)
	}
	return nil
}

// Enqueuer takes events into a queue that the host has already, of River, Asynq, SQS
// or any other, instead of handling them here. Events reach it from the inbox, as they
// do handlers: none is acknowledged to the provider before it is stored, and Enqueue
// is called again, by [Handling].Schedule, until it returned nil.
type Enqueuer interface {
	// Enqueue returns nil when the queue has the event for good: it is done here
	// then. A crash in between makes it come again, so the queue gets it at least
	// once; ev.ID tells repeats. An Event goes through encoding/json and back
	// unchanged. What is queued is not sealed any more.
	Enqueue(ctx context.Context, ev Event) error
}

// AnyType is the Type of a [Handler] for all types that have none of their own.
const AnyType = "*"

// Handler handles the events of one (provider, type). Adapters make typed ones,
// [On] makes a plain one.
type Handler struct {
	// Provider is the key of the provider.
	Provider string
	// Type is the provider's name of the event, or [AnyType].
	Type string
	// Func does the work. An error or a panic makes the event come again, up to
	// the worker's limit. It may run for several events at a time. Its context
	// ends at the handler timeout and when the worker's drain time is over.
	Func func(ctx context.Context, ev Event) error
}

// On returns a handler of one (provider, type). Type [AnyType] is the fallback.
func On(provider, typ string, fn func(ctx context.Context, ev Event) error) Handler {
	return Handler{Provider: provider, Type: typ, Func: fn}
}

// OnJSON is [On] for a handler that gets the JSON body decoded into a T. A body
// that does not fit makes the event fail like an error of fn.
func OnJSON[T any](provider, typ string, fn func(ctx context.Context, ev Event, body *T) error) Handler {
	return On(provider, typ, func(ctx context.Context, ev Event) error {
		var body T
		if err := ev.Decode(&body); err != nil {
			return err
		}
		return fn(ctx, ev, &body)
	})
}

// For returns h for a provider registered under another key.
func (h Handler) For(provider string) Handler {
	h.Provider = provider
	return h
}
