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
	ledger   *ledger
	looks    looks

	mu     sync.Mutex
	turns  turns
	owners map[string]string // of the leased rows by id
	err    error             // the first of the store
	ending bool
	// unwritten counts attempts that are over and not written down yet.
	unwritten int
	job       *sync.Cond    // something may run, or the session ends
	room      chan struct{} // something may be claimed

	places  sync.WaitGroup
	quit    chan struct{}
	renewer sync.WaitGroup
}

// claimed is a leased row.
type claimed struct {
	store.Delivery
	owner string
}

// suspect reports whether a crash cut the handler short.
func (c claimed) suspect() bool { return c.Lost > 0 && c.Starts > 0 }

// begin begins a session whose handlers run under ctx.
func (w *Worker) begin(ctx context.Context) *session {
	s := &session{
		Worker: w, ctx: ctx, turns: newTurns(w.cfg.Handling), owners: map[string]string{},
		room: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	s.job = sync.NewCond(&s.mu)
	s.ledger = newLedger(w.cfg.Inbox, s.visit)
	s.renewer.Go(s.renewLeases)
	for range w.cfg.Concurrency {
		s.places.Go(s.place)
	}
	return s
}

// end gives back what has not been started. The channel it returns is closed when
// all that runs is over.
func (s *session) end() <-chan struct{} {
	s.mu.Lock()
	s.ending = true
	unstarted := s.turns.drop()
	s.mu.Unlock()
	s.job.Broadcast()
	s.giveBack(0, unstarted...)
	over := make(chan struct{})
	go func() {
		s.places.Wait()
		close(s.quit)
		s.renewer.Wait()
		s.ledger.close()
		close(over)
	}()
	return over
}

// visit returns a context for one visit to the store. It outlives the end of
// the session: what was done must be written down, what was claimed known.
func (s *session) visit() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(s.ctx), storeTimeout)
}

// place handles one event after the other. How one ended is written down together
// with the start of the next, if that is there.
func (s *session) place() {
	var last *attempt
	for {
		c, ok := s.next(last)
		if !ok && last == nil {
			return
		}
		last = s.step(last, c, ok)
	}
}

// next takes the event that is to run; if none may, it waits for one unless the last
// has still to be written down.
func (s *session) next(last *attempt) (claimed, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.hasRoom()
	if last != nil {
		s.turns.done(last.claimed)
	}
	c, ok := s.turns.next()
	for !ok && last == nil && !s.ending {
		s.job.Wait()
		c, ok = s.turns.next()
	}
	return c, ok
}

// step writes down how the last attempt ended and makes the next, if there is one. It
// returns that, to be written down.
func (s *session) step(last *attempt, c claimed, more bool) *attempt {
	defer s.hasRoom()
	var next *attempt
	if more {
		next = s.prepare(c)
	}
	made := s.record(last, next)
	if made != nil && made.starts {
		s.run(made)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if last != nil {
		s.unwritten--
	}
	if made != nil {
		s.unwritten++
	} else if more { // it was given up: its lease runs out
		s.turns.done(c)
		delete(s.owners, c.ID)
	}
	return made
}

func (s *session) hasRoom() {
	select {
	case s.room <- struct{}{}:
	default: // it will look anyway
	}
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

// giveBack makes rows that were not started due again.
func (s *session) giveBack(in time.Duration, cs ...claimed) {
	if len(cs) == 0 {
		return
	}
	var w line
	for _, c := range cs {
		w.ends = append(w.ends, backIn(c, in))
	}
	s.ledger.write(&w)
	for i, c := range cs {
		s.written(&attempt{claimed: c, end: w.ends[i]}, w.ended[i], w.endErr)
	}
}

// backIn is the end of a claim that was not made use of.
func backIn(c claimed, in time.Duration) store.FinishDelivery {
	return store.FinishDelivery{ID: c.ID, Owner: c.owner, State: store.Pending, RetryIn: in, Error: c.LastError, Unclaim: true}
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

// observe tells the observer. What becomes of the event does not depend on it.
func (s *session) observe(c claimed, o Outcome, attempt int, took time.Duration, err error) {
	defer func() {
		if v := recover(); v != nil {
			p := newPanicError(v)
			s.log(slog.LevelError, "webhook observer panicked", c, "error", p, "stack", string(p.Stack))
		}
	}()
	s.cfg.Observe(s.ctx, Observation{
		Outcome: o, Provider: c.Provider, Took: took, Err: err,
		EventID: c.ID, EventType: c.EventType, TenantID: c.TenantID, IntegrationID: c.IntegrationID, Attempt: attempt,
	})
}
