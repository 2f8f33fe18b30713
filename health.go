package integrations

import (
	"context"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/webhook"
)

// Health is the state of the library in this process and of what it shares.
type Health struct {
	// Running says that Run is running in this process.
	Running bool `json:"running"`
	// Integrations counts integrations by status. Nil when the store cannot
	// tell.
	Integrations map[Status]int64 `json:"integrations,omitempty"`
	// Keys counts sealed rows by key. Nil when the store cannot tell.
	Keys map[string]int64 `json:"keys,omitempty"`
	// Pending and Dead count webhooks and changes that wait or failed too often.
	// Those that nobody registered a handler for wait until they are removed.
	Pending int64 `json:"pending"`
	Dead    int64 `json:"dead"`
	// OldestDue is how long the oldest that this process has a handler for has
	// been due.
	OldestDue time.Duration `json:"oldestDue"`
	// Problems says in plain words what needs attention. Empty is well.
	Problems []string `json:"problems,omitempty"`
}

// lateAfter is when a webhook that waits is worth a word.
const lateAfter = 5 * time.Minute

// Health looks at the store. An error means that it cannot be reached or its
// schema is not up to date.
func (m *Manager) Health(ctx context.Context) (h Health, err error) {
	defer m.recovered(ctx, "health", &err)
	if err := m.cfg.Store.Check(ctx); err != nil {
		return h, fmt.Errorf("integrations: health: %w", err)
	}
	m.mu.Lock()
	h.Running = m.running != nil
	m.mu.Unlock()
	if !h.Running {
		h.Problems = append(h.Problems, "Run is not running in this process: webhooks are stored here and handled elsewhere or not at all.")
	}
	if admin, ok := m.cfg.Store.(store.Admin); ok {
		var err error
		if h.Integrations, err = admin.CountByStatus(ctx); err != nil {
			return h, fmt.Errorf("integrations: health: %w", err)
		}
		if h.Keys, err = admin.CountByKey(ctx); err != nil {
			return h, fmt.Errorf("integrations: health: %w", err)
		}
	}
	if m.inbox != nil {
		c, err := m.inbox.CountDeliveries(ctx, nil)
		if err != nil {
			return h, fmt.Errorf("integrations: health: %w", err)
		}
		handled, err := m.inbox.CountDeliveries(ctx, m.handled())
		if err != nil {
			return h, fmt.Errorf("integrations: health: %w", err)
		}
		h.Pending, h.Dead, h.OldestDue = c.Pending, c.Dead, handled.OldestDue
		if c.Dead > 0 {
			h.Problems = append(h.Problems, fmt.Sprintf("%d webhooks or changes failed too often and wait for a replay.", c.Dead))
		}
		if h.OldestDue > lateAfter {
			h.Problems = append(h.Problems, "Webhooks or changes wait for "+h.OldestDue.Round(time.Second).String()+".")
		}
	}
	return h, nil
}

// handled are the events that this process has handlers for.
func (m *Manager) handled() []store.Match {
	match := append([]store.Match{}, m.lifecycleTypes()...)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range m.handlers {
		typ := h.Type
		if typ == webhook.AnyType {
			typ = ""
		}
		match = append(match, store.Match{Provider: h.Provider, EventType: typ})
	}
	return match
}
