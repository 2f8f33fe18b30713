package integrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/webhook"
	"golang.org/x/sync/errgroup"
)

const (
	// dueEvery is how often tokens that are about to end are looked for.
	dueEvery = 15 * time.Second
	// replayEvery is how often the journal is looked at: half of the default
	// lease, so that a replica that was cut off from the store for a moment has its
	// renewals stored before others repeat them. replayFirst is how long New
	// spends on it.
	replayEvery = 15 * time.Second
	replayFirst = 10 * time.Second
)

// Run does the background work: it hands stored webhooks and changes to their
// handlers, refreshes tokens and renews subscriptions before they end, keeps what is
// declared subscribed, recovers webhooks that were missed, tells of grants that are
// about to end, asks providers now and then for grants that nothing else tells of,
// stores what is in the journal, and removes old rows. Without it webhooks are stored
// and not handled, subscriptions end, tokens are refreshed when they are used, and
// [Manager.Health] says so. Any number of replicas may run it; they share the work.
//
// Run blocks until ctx ends or [Manager.Shutdown] is called, lets what runs
// finish, and returns nil. It returns an error wrapping errors.ErrUnsupported
// when handlers are registered and the store has no inbox. Calling it twice at a
// time panics.
func (m *Manager) Run(ctx context.Context) error {
	worker, err := m.freeze()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	over := make(chan struct{})
	m.mu.Lock()
	if m.running != nil {
		m.mu.Unlock()
		panic("integrations: Run is running already")
	}
	if m.down {
		m.mu.Unlock()
		return nil
	}
	m.stop, m.running = stop, over
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.stop, m.running = nil, nil
		m.mu.Unlock()
		close(over)
	}()

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return m.vault.Run(ctx) })
	if worker != nil {
		group.Go(func() error { return worker.Run(ctx) })
	}
	if m.cfg.Journal != nil {
		group.Go(func() error { m.every(ctx, replayEvery, m.replay); return nil })
	}
	group.Go(func() error { m.every(ctx, dueEvery, m.refreshDue); return nil })
	group.Go(func() error { m.every(ctx, ensureEvery, m.ensureKeepers); return nil })
	group.Go(func() error { m.every(ctx, renewEvery, m.renewSubscriptions); return nil })
	group.Go(func() error { m.every(ctx, redeliverLook, m.redeliverMissed); return nil })
	group.Go(func() error { m.every(ctx, endsEvery, m.reportEnds); return nil })
	group.Go(func() error { m.every(ctx, lookEvery, m.verifyDue); return nil })
	group.Go(func() error { m.every(ctx, cleanEvery, m.clean); return nil })
	return group.Wait()
}

// every calls fn now and then at each interval until ctx ends. What fails is
// logged and tried at the next one.
func (m *Manager) every(ctx context.Context, interval time.Duration, fn func(context.Context) error) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		if err := m.calm(ctx, fn); err != nil && ctx.Err() == nil {
			m.log.ErrorContext(ctx, "integrations: background work failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Drain does everything that is due once and returns: for unit tests and cron
// jobs. Handlers that fail are due again later; their errors are not returned.
// After it nothing can be registered.
func (m *Manager) Drain(ctx context.Context) (err error) {
	defer m.recovered(ctx, "drain", &err)
	worker, err := m.freeze()
	if err != nil {
		return err
	}
	if err := m.replay(ctx); err != nil {
		return err
	}
	if err := m.refreshDue(ctx); err != nil {
		return err
	}
	if err := m.ensureKeepers(ctx); err != nil {
		return err
	}
	if err := m.renewSubscriptions(ctx); err != nil {
		return err
	}
	if err := m.redeliverMissed(ctx); err != nil {
		return err
	}
	if err := m.verifyDue(ctx); err != nil {
		return err
	}
	if err := m.reportEnds(ctx); err != nil {
		return err
	}
	if worker != nil {
		if _, err := worker.Drain(ctx); err != nil {
			return fmt.Errorf("integrations: drain: %w", err)
		}
	}
	return m.clean(ctx)
}

// Shutdown ends Run, waits for it, and waits for refreshes that requests still
// wait for; from its first moment no new ones begin. Call it after http.Server.Shutdown. It returns
// ctx's error when ctx ends first.
func (m *Manager) Shutdown(ctx context.Context) error {
	m.mu.Lock()
	m.down = true
	stop, over := m.stop, m.running
	m.mu.Unlock()
	m.vault.Close() // first: requests go on while Run finishes
	if stop != nil {
		stop()
		select {
		case <-over:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return m.vault.Shutdown(ctx)
}

// freeze ends registration and makes the worker, nil when there is nothing to
// work on.
func (m *Manager) freeze() (*webhook.Worker, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.frozen {
		return m.worker, nil
	}
	if m.inbox == nil {
		if len(m.handlers) > 0 {
			return nil, fmt.Errorf("integrations: handlers need a store that is a store.Inbox: %w", errors.ErrUnsupported)
		}
		m.frozen = true
		return nil, nil
	}
	own := m.lifecycleTypes()
	cfg := webhook.WorkerConfig{
		Inbox: m.inbox, Cipher: m.cfg.Cipher, Handlers: m.handlers, Handling: m.cfg.Handling, Logger: m.log,
		Observe: func(ctx context.Context, o webhook.Observation) { m.observe(ctx, o) },
	}
	if len(own) > 0 {
		cfg.Before, cfg.BeforeTypes = m.lifecycle, own
	}
	w, err := webhook.NewWorker(cfg)
	if err != nil {
		return nil, fmt.Errorf("integrations: %w", err)
	}
	m.worker, m.frozen = w, true
	return w, nil
}

// lifecycleTypes are the events that the library handles itself.
func (m *Manager) lifecycleTypes() []store.Match {
	var own []store.Match
	for _, key := range m.keys {
		if l := m.providers[key].lifecycle; l != nil {
			for _, typ := range l.LifecycleTypes() {
				own = append(own, store.Match{Provider: key, EventType: typ})
			}
		}
	}
	return own
}

// wake tells a running worker that there is work.
func (m *Manager) wake() {
	m.mu.Lock()
	w := m.worker
	m.mu.Unlock()
	if w != nil {
		w.Wake()
	}
}

// replayAtStart stores what an earlier process left in the journal, before
// anybody can ask for the tokens it replaces. What cannot be stored now is for
// Run.
func (m *Manager) replayAtStart(ctx context.Context) {
	if m.cfg.Journal == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, replayFirst)
	defer cancel()
	_ = m.replay(ctx)
}

// replay stores what is in the journal. A record that cannot be opened stays
// there for good, so nothing fails because of it, and the same fault is logged
// once.
func (m *Manager) replay(ctx context.Context) error {
	_, err := m.vault.Replay(ctx)
	said := ""
	if err != nil {
		said = err.Error()
	}
	m.mu.Lock()
	news := said != m.replayFault
	m.replayFault = said
	m.mu.Unlock()
	if news && err != nil {
		m.log.ErrorContext(ctx, "integrations: not all of the journal could be stored", "error", err)
	}
	return ctx.Err()
}

func (m *Manager) refreshDue(ctx context.Context) error {
	var keys []string
	for _, key := range m.keys {
		if m.providers[key].renewer != nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	_, err := m.vault.RefreshDue(ctx, keys)
	if ctx.Err() == nil {
		err = errors.Join(err, m.vault.ReportHeld(ctx, keys))
	}
	return err
}
