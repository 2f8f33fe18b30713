package webhook

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// session is one Run or Drain: the leases it holds and what it has done.
type session struct {
	*Worker
	ctx      context.Context // of the handlers
	attempts atomic.Int64

	mu     sync.Mutex
	owners map[string]string // of the leased rows by id
	err    error             // the first of the store

	quit    chan struct{}
	renewer sync.WaitGroup
}

// claimed is a leased row.
type claimed struct {
	store.Delivery
	owner string
}

// open begins a session whose handlers run under ctx.
func (w *Worker) open(ctx context.Context) *session {
	s := &session{Worker: w, ctx: ctx, owners: map[string]string{}, quit: make(chan struct{})}
	s.renewer.Go(s.renewLeases)
	return s
}

func (s *session) close() {
	close(s.quit)
	s.renewer.Wait()
}

// visit returns a context for one visit to the store. It outlives the end of
// the session: what was done must be written down, what was claimed known.
func (s *session) visit() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(s.ctx), storeTimeout)
}

// claim leases the next events.
func (s *session) claim() ([]claimed, error) {
	if len(s.match) == 0 {
		return nil, nil
	}
	ctx, cancel := s.visit()
	defer cancel()
	owner := NewID()
	ds, err := s.cfg.Inbox.ClaimDeliveries(ctx, store.ClaimDeliveries{
		Owner: owner, Limit: s.cfg.Batch, TTL: s.cfg.Lease, Match: s.match,
	})
	if err != nil {
		return nil, err
	}
	batch := make([]claimed, len(ds))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, d := range ds {
		batch[i] = claimed{d, owner}
		s.owners[d.ID] = owner
	}
	return batch, nil
}

// work handles what comes in on jobs, cfg.Concurrency at a time. The channel it
// returns is closed when jobs is and all is handled.
func (s *session) work(jobs <-chan claimed) <-chan struct{} {
	var slots sync.WaitGroup
	for range s.cfg.Concurrency {
		slots.Go(func() {
			for c := range jobs {
				s.handle(c)
			}
		})
	}
	finished := make(chan struct{})
	go func() {
		slots.Wait()
		close(finished)
	}()
	return finished
}

// renewLeases keeps what the session holds leased, also while it waits for a
// free place. A row is let go of when its attempt is over, which the handler
// timeout bounds.
func (s *session) renewLeases() {
	tick := time.NewTicker(s.cfg.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-tick.C:
		}
		held := map[string][]string{}
		s.mu.Lock()
		for id, owner := range s.owners {
			held[owner] = append(held[owner], id)
		}
		s.mu.Unlock()
		for owner, ids := range held {
			ctx, cancel := s.visit()
			if err := s.cfg.Inbox.RenewDeliveries(ctx, owner, ids, s.cfg.Lease); err != nil {
				s.cfg.Logger.ErrorContext(ctx, "webhook leases not renewed", "error", err)
			}
			cancel()
		}
	}
}

// giveBack makes a row that was not started due again at once.
func (s *session) giveBack(c claimed) {
	s.finish(c, store.FinishDelivery{State: store.Pending, Error: c.LastError})
}

// finishTries is how often the end of an attempt is written down before the
// event is left to run again when its lease is over.
const finishTries = 3

// finish ends a claim and reports whether it was still ours.
func (s *session) finish(c claimed, f store.FinishDelivery) bool {
	defer s.letGo(c.ID)
	f.ID, f.Owner = c.ID, c.owner
	for try := 1; ; try++ {
		ctx, cancel := s.visit()
		ok, err := s.cfg.Inbox.FinishDelivery(ctx, f)
		cancel()
		if err == nil {
			if !ok {
				s.overtaken(c)
			}
			return ok
		}
		if try == finishTries {
			s.storeFailed("webhook event not finished", c, err)
			return false
		}
		time.Sleep(time.Second)
	}
}

func (s *session) letGo(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.owners, id)
}

func (s *session) overtaken(c claimed) {
	s.log(slog.LevelWarn, "webhook event was taken over by another worker", c)
	s.observe(c, OutcomeOvertaken, 0, 0, nil)
}

func (s *session) storeFailed(what string, c claimed, err error) {
	s.log(slog.LevelError, what, c, "error", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func (s *session) storeError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *session) log(level slog.Level, what string, c claimed, args ...any) {
	s.cfg.Logger.Log(s.ctx, level, what, append([]any{
		"provider", c.Provider, "type", c.EventType, "event", c.ID, "tenant", c.TenantID, "integration", c.IntegrationID,
	}, args...)...)
}

func (s *session) observe(c claimed, o Outcome, attempt int, took time.Duration, err error) {
	s.cfg.Observe(s.ctx, Observation{
		Outcome: o, Provider: c.Provider, Took: took, Err: err,
		EventID: c.ID, EventType: c.EventType, TenantID: c.TenantID, IntegrationID: c.IntegrationID, Attempt: attempt,
	})
}
