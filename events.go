package integrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/webhook"
)

// EventState is where a stored webhook or change stands.
type EventState string

// The states of a [StoredEvent].
const (
	// EventPending: it waits for its handler or for its next attempt, or runs.
	EventPending EventState = "pending"
	// EventDone: its handler succeeded, or it is of no integration.
	EventDone EventState = "done"
	// EventDead: it was tried as often as Config.Handling says, or its process died
	// over it, and waits for [Manager.Replay].
	EventDead EventState = "dead"
)

var (
	stateOf  = map[EventState]store.DeliveryState{EventPending: store.Pending, EventDone: store.Done, EventDead: store.Dead}
	stateFor = map[store.DeliveryState]EventState{store.Pending: EventPending, store.Done: EventDone, store.Dead: EventDead}
)

// StoredEvent is a webhook or a change as it stands in the inbox, without its body.
type StoredEvent struct {
	// ID is the Event.ID that its handler sees.
	ID string `json:"id"`
	// Provider is the provider's key, or "integrations" for a [Change].
	Provider   string `json:"provider"`
	Type       string `json:"type"`
	DeliveryID string `json:"deliveryId"`
	// TenantID and IntegrationID are "" when no integration was bound to the
	// account.
	TenantID      string     `json:"tenantId,omitempty"`
	IntegrationID string     `json:"integrationId,omitempty"`
	ExternalID    string     `json:"externalId,omitempty"`
	OrderKey      string     `json:"orderKey,omitempty"`
	State         EventState `json:"state"`
	// Starts counts the starts of its handler, since it was stored or replayed last.
	Starts int `json:"starts"`
	// LastError is the error of its last attempt, which may be the handler's own.
	LastError string `json:"lastError,omitempty"`
	// OccurredAt is the provider's time, zero when it gives none.
	OccurredAt time.Time `json:"occurredAt,omitzero"`
	ReceivedAt time.Time `json:"receivedAt"`
	// DueAt is when a pending one is to be tried, or has been due since.
	DueAt     time.Time `json:"dueAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// EventQuery selects stored events. TenantID or AllTenants is required, other fields
// at their zero value select all.
type EventQuery struct {
	TenantID string
	// AllTenants selects across tenants, those without one included.
	AllTenants bool
	// IDs selects these events, at most 1000.
	IDs                           []string
	IntegrationID, Provider, Type string
	// States defaults to all of them in Events and to EventDead in Replay, which
	// never selects pending ones.
	States []EventState
	// ReceivedAfter and ReceivedBefore bound ReceivedAt, both exclusive.
	ReceivedAfter, ReceivedBefore time.Time
	// OlderThan selects what comes after this event in the list: the last one of a
	// page for the next page.
	OlderThan *StoredEvent
	// Limit is how many at most. In Events it defaults to 100 and is at most 1000, in
	// Replay 0 means all.
	Limit int
}

// eventPage is how many events are listed at a time.
const eventPage = 1000

// Events lists webhooks and changes that are stored, the newest first. It returns an
// error for a query without a tenant, and one wrapping errors.ErrUnsupported when the
// store has no inbox.
func (m *Manager) Events(ctx context.Context, q EventQuery) ([]StoredEvent, error) {
	dq, err := m.deliveryQuery(q)
	if err != nil {
		return nil, err
	}
	list, err := m.inbox.ListDeliveries(ctx, dq)
	if err != nil {
		return nil, fmt.Errorf("integrations: events: %w", err)
	}
	out := make([]StoredEvent, len(list))
	for i, d := range list {
		out[i] = StoredEvent{
			ID: d.ID, Provider: d.Provider, Type: d.EventType, DeliveryID: d.DeliveryID, TenantID: d.TenantID, IntegrationID: d.IntegrationID,
			ExternalID: d.ExternalID, OrderKey: d.OrderKey, State: stateFor[d.State], Starts: d.Starts, LastError: d.LastError,
			OccurredAt: d.OccurredAt, ReceivedAt: d.ReceivedAt, DueAt: d.RunAt, UpdatedAt: d.UpdatedAt,
		}
	}
	return out, nil
}

// Replay makes finished events due again and reports how many: the dead ones that
// match, unless q.States names others. Their ID stays, so a handler that keeps to
// it as its idempotency key does not repeat what it did, and their counts begin
// anew. Each is replayed once, also if it finishes again meanwhile. It returns the
// errors of [Manager.Events]; some may have been replayed when it fails.
//
// Of an order key, a replayed event goes before those that arrived after it and
// wait.
func (m *Manager) Replay(ctx context.Context, q EventQuery) (int, error) {
	if q.States == nil {
		q.States = []EventState{EventDead}
	}
	limit := q.Limit
	q.Limit = eventPage
	dq, err := m.deliveryQuery(q)
	if err != nil {
		return 0, err
	}
	defer m.wake()
	for total := 0; ; {
		if limit > 0 {
			dq.Limit = min(eventPage, limit-total)
		}
		page, err := m.inbox.ListDeliveries(ctx, dq)
		if err != nil {
			return total, fmt.Errorf("integrations: replay: %w", err)
		}
		if len(page) == 0 {
			return total, nil
		}
		again := store.DeliveryQuery{TenantID: dq.TenantID, AllTenants: dq.AllTenants, States: dq.States, Limit: eventPage}
		for _, d := range page {
			again.IDs = append(again.IDs, d.ID)
		}
		n, err := m.inbox.ReplayDeliveries(ctx, again)
		total += n
		if err != nil {
			return total, fmt.Errorf("integrations: replay: %w", err)
		}
		if limit > 0 && total >= limit {
			return total, nil
		}
		dq.OlderThan = &page[len(page)-1]
	}
}

func (m *Manager) deliveryQuery(q EventQuery) (store.DeliveryQuery, error) {
	switch {
	case m.inbox == nil:
		return store.DeliveryQuery{}, fmt.Errorf("integrations: the store is no store.Inbox: %w", errors.ErrUnsupported)
	case (q.TenantID == "") != q.AllTenants:
		return store.DeliveryQuery{}, errors.New("integrations: a query of events needs a TenantID or AllTenants, and not both")
	case len(q.IDs) > eventPage:
		return store.DeliveryQuery{}, fmt.Errorf("integrations: a query of events names %d IDs at most", eventPage)
	}
	dq := store.DeliveryQuery{
		TenantID: q.TenantID, AllTenants: q.AllTenants, IDs: q.IDs, IntegrationID: q.IntegrationID, Provider: q.Provider, EventType: q.Type,
		ReceivedAfter: q.ReceivedAfter, ReceivedBefore: q.ReceivedBefore, Limit: q.Limit,
	}
	for _, s := range q.States {
		state, known := stateOf[s]
		if !known {
			return store.DeliveryQuery{}, fmt.Errorf("integrations: there is no event state %q", s)
		}
		dq.States = append(dq.States, state)
	}
	if e := q.OlderThan; e != nil {
		dq.OlderThan = &store.Delivery{ID: e.ID, ReceivedAt: e.ReceivedAt}
	}
	return dq, nil
}

// ordered lets the host choose the order keys of what a source reads.
func (m *Manager) ordered(key string, src webhook.Source) webhook.Source {
	if m.cfg.OrderKey == nil {
		return src
	}
	read := src.Read
	src.Read = func(r *webhook.Request) (webhook.Receipt, error) {
		receipt, err := read(r)
		for i := range receipt.Notices {
			n := receipt.Notices[i]
			if n.Body == nil {
				n.Body = r.Body
			}
			if chosen := m.cfg.OrderKey(key, n); chosen != "" {
				receipt.Notices[i].OrderKey = chosen
			}
		}
		return receipt, err
	}
	return src
}
