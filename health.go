package integrations

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// Health is the state of the library in this process and of what it shares.
type Health struct {
	// Running says that Run is running in this process.
	Running bool `json:"running"`
	// Integrations counts integrations by status. Nil when the store cannot
	// tell.
	Integrations map[Status]int64 `json:"integrations,omitempty"`
	// Keys counts sealed rows by key: integrations with tokens, webhook endpoints,
	// and webhooks that wait or failed too often. Nil when the store cannot tell.
	// Rows under another key than the primary are a problem: [Rewrap] moves them.
	Keys map[string]int64 `json:"keys,omitempty"`
	// Pending and Dead count webhooks and changes that wait or failed too often.
	// Those that nobody registered a handler for wait until they are removed.
	// DeadLimit is Retention.DeadLetters: of more than that the oldest are removed.
	Pending   int64 `json:"pending"`
	Dead      int64 `json:"dead"`
	DeadLimit int64 `json:"deadLimit"`
	// OldestDue is how long the oldest that this process has a handler for has
	// been due.
	OldestDue time.Duration `json:"oldestDue"`
	// HeldBack are the providers that this process holds renewals back of, because
	// straight failures were the app's or the provider's: see [token.FaultEvent].
	HeldBack []token.HeldBack `json:"heldBack,omitempty"`
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
	h.HeldBack = m.vault.HeldBack()
	for _, b := range h.HeldBack {
		h.Problems = append(h.Problems, heldProblem(b))
	}
	if admin, ok := m.cfg.Store.(store.Admin); ok {
		var err error
		if h.Integrations, err = admin.CountByStatus(ctx); err != nil {
			return h, fmt.Errorf("integrations: health: %w", err)
		}
		if h.Keys, err = admin.CountByKey(ctx); err != nil {
			return h, fmt.Errorf("integrations: health: %w", err)
		}
		h.Problems = append(h.Problems, m.keyProblems(h.Keys)...)
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
		h.DeadLimit = int64(m.cfg.Retention.DeadLetters)
		if c.Dead > 0 {
			h.Problems = append(h.Problems, deadProblem(c.Dead, h.DeadLimit))
		}
		if h.OldestDue > lateAfter {
			h.Problems = append(h.Problems, "Webhooks or changes wait for "+h.OldestDue.Round(time.Second).String()+".")
		}
	}
	return h, nil
}

// keyProblems says which rows cannot be opened and which are under a key that is
// to be dropped one day.
func (m *Manager) keyProblems(rows map[string]int64) []string {
	ring, ok := m.cfg.Cipher.(crypto.Ring)
	if !ok {
		return nil
	}
	primary, keys := ring.PrimaryID(), ring.KeyIDs()
	var problems []string
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		switch {
		case key == primary:
		case slices.Contains(keys, key):
			problems = append(problems, fmt.Sprintf("%d rows are sealed with the key %s and not with the primary key %s: Rewrap moves them.", rows[key], key, primary))
		default:
			problems = append(problems, fmt.Sprintf("%d rows are sealed with the key %s, which the keyring lacks: they cannot be opened until it is added.", rows[key], key))
		}
	}
	return problems
}

// heldProblem says what is held back, since when and whose fault it is.
func heldProblem(b token.HeldBack) string {
	at, why := b.Provider, "the provider fails"
	if b.Host != "" {
		at += " (" + b.Host + ")"
	}
	if b.Outcome == token.AppFault {
		why = "it refuses the app itself, so look at its client id and secret"
	}
	return fmt.Sprintf("Renewals at %s are held back since %s: %s (%s).", at, b.Since.UTC().Format(time.RFC3339), why, b.Code)
}

// nearlyFull is the part of Retention.DeadLetters from which on it is urgent.
const nearlyFull = 0.8

// deadProblem says how many dead letters there are and how near to the limit.
func deadProblem(n, limit int64) string {
	s := fmt.Sprintf("%d webhooks or changes failed too often and wait for a replay; %d are kept at most.", n, limit)
	switch {
	case n > limit:
		s += " The oldest are being removed."
	case float64(n) >= nearlyFull*float64(limit):
		s += fmt.Sprintf(" That is %d %% of it: the oldest will be removed.", 100*n/limit)
	}
	return s
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
