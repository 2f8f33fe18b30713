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
// A handler may assume: the signature was verified over the raw bytes; the
// event is stored and comes again until a handler returned nil or the attempts
// are used up; TenantID and IntegrationID were found by the account the
// provider signed, never by anything in the URL. It must not assume an order,
// nor that it runs only once: after a crash the same Event.ID comes again, so
// use ID as the idempotency key.
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
