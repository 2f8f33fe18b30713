package webhook

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// feed claims events, for the tenants whose turn it is, until ctx ends.
func (s *session) feed(ctx context.Context) error {
	for ctx.Err() == nil {
		if s.looks.in(s.cfg.Poll) <= 0 {
			if _, err := s.look(s.looks.at.IsZero() || time.Since(s.looks.full) >= s.cfg.Lease/2); err != nil {
				return err
			}
		}
		tried, err := s.claim()
		if err != nil {
			return err
		}
		if tried {
			select {
			case <-s.wake:
				s.looks.wanted = true
			default:
			}
			continue
		}
		timer := time.NewTimer(s.looks.in(s.cfg.Poll))
		select {
		case <-s.wake:
			s.looks.wanted = true
		case <-timer.C:
		case <-s.room:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil
}

// drain claims events until nothing is due and nothing runs, or what is due is
// claimed by others.
func (s *session) drain() error {
	for {
		found, err := s.look(true)
		if err != nil || found == 0 {
			return err
		}
		before := s.attempts.Load()
		for {
			tried, err := s.claim()
			if err != nil {
				return err
			}
			if tried {
				continue
			}
			s.mu.Lock()
			idle := s.turns.idle() && s.unwritten == 0
			s.mu.Unlock()
			if idle {
				break
			}
			select {
			case <-s.room:
			case <-s.ctx.Done():
				return s.ctx.Err()
			}
		}
		if err := s.storeError(); err != nil || s.attempts.Load() == before {
			return err
		}
	}
}

// looks are the questions to the store who has due events.
type looks struct {
	at     time.Time // of the store's clock, the last one
	last   time.Time // the same by ours
	took   time.Duration
	full   time.Time // the last that asked for all there is
	pause  time.Duration
	wanted bool
}

const (
	// lookGap is the least time from one look to the next; it is also four times
	// what a look takes, so that they cost no more than a fifth of the store's time.
	lookGap = 5 * time.Millisecond
	// lookBack is how far a look goes back behind the last one: an insert may be
	// seen later than its time says. What takes longer is found by a full look.
	lookBack = time.Second
)

// in is how long it is until the next look.
func (l *looks) in(poll time.Duration) time.Duration {
	if l.wanted {
		return max(lookGap, 4*l.took) - time.Since(l.last)
	}
	if l.pause == 0 {
		l.pause = jitter(poll)
	}
	return l.pause - time.Since(l.last)
}

// look asks the store who has become due since the last look, or who is due at all,
// and reports how many tenants are.
func (s *session) look(full bool) (int, error) {
	l := &s.looks
	q := store.DueQuery{Match: s.match}
	if !full {
		q.Since = l.at.Add(-lookBack)
	}
	ctx, cancel := s.visit()
	defer cancel()
	l.wanted, l.pause = false, 0
	began := time.Now()
	due, err := s.cfg.Inbox.DueTenants(ctx, q)
	l.last = time.Now()
	if err != nil {
		return 0, err
	}
	l.took, l.at = l.last.Sub(began), due.At
	if full {
		l.full = began
	}
	// Processes take turns in different order.
	rand.Shuffle(len(due.Tenants), func(i, j int) { due.Tenants[i], due.Tenants[j] = due.Tenants[j], due.Tenants[i] })
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range due.Tenants {
		s.turns.mark(t.TenantID, t.Since)
	}
	return len(due.Tenants), nil
}

// claim leases events for those whose turn it is. It reports whether it tried:
// whether there was somebody, and room.
func (s *session) claim() (tried bool, err error) {
	s.mu.Lock()
	picked, limit := s.turns.pick()
	s.mu.Unlock()
	if len(picked) == 0 {
		return false, nil
	}
	ctx, cancel := s.visit()
	defer cancel()
	owner := NewID()
	got, err := s.cfg.Inbox.ClaimDeliveries(ctx, store.ClaimDeliveries{
		Owner: owner, Limit: limit, TTL: s.cfg.Lease, Match: s.match, Tenants: picked, DeadBlocks: s.cfg.DeadBlocks,
	})
	s.mu.Lock()
	if err != nil {
		s.turns.failed(picked)
		s.mu.Unlock()
		return true, err
	}
	events := make([]claimed, len(got.Deliveries))
	for i, d := range got.Deliveries {
		events[i] = claimed{d, owner}
		s.owners[d.ID] = owner
	}
	back := s.turns.claimed(picked, events, got.More)
	s.mu.Unlock()
	s.job.Broadcast()
	s.giveBack(time.Second, back...)
	return true, nil
}
