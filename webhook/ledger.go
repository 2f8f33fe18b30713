package webhook

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// finishTries is how often the end of an attempt is written down before the
// event is left to run again when its lease is over.
const finishTries = 3

// ledger writes starts and ends of attempts into the inbox. What comes in while it
// writes goes into its next visit together, so that many places share the cost of
// one and none waits for a timer. Who asks waits for the answer: no handler starts,
// and none takes the next event, before it is written.
type ledger struct {
	inbox store.Inbox
	visit func() (context.Context, context.CancelFunc)

	mu     sync.Mutex
	starts []entry[store.DeliveryLease]
	ends   []entry[store.FinishDelivery]
	kick   chan struct{}
	over   sync.WaitGroup
}

// entry is a line of the ledger, and where its answer goes.
type entry[T any] struct {
	line   T
	answer chan answered
}

type answered struct {
	ok  bool
	err error
}

func newLedger(inbox store.Inbox, visit func() (context.Context, context.CancelFunc)) *ledger {
	l := &ledger{inbox: inbox, visit: visit, kick: make(chan struct{}, 1)}
	l.over.Go(l.run)
	return l
}

// close waits for what was asked for. Nothing may be asked for afterwards.
func (l *ledger) close() {
	close(l.kick)
	l.over.Wait()
}

// start counts a start. False means the lease was lost.
func (l *ledger) start(c claimed) (bool, error) {
	e := entry[store.DeliveryLease]{store.DeliveryLease{ID: c.ID, Owner: c.owner}, make(chan answered, 1)}
	l.mu.Lock()
	l.starts = append(l.starts, e)
	l.mu.Unlock()
	l.wake()
	a := <-e.answer
	return a.ok, a.err
}

// end ends claims and returns an answer for each.
func (l *ledger) end(fs ...store.FinishDelivery) []answered {
	es := make([]entry[store.FinishDelivery], len(fs))
	for i, f := range fs {
		es[i] = entry[store.FinishDelivery]{f, make(chan answered, 1)}
	}
	l.mu.Lock()
	l.ends = append(l.ends, es...)
	l.mu.Unlock()
	l.wake()
	out := make([]answered, len(es))
	for i, e := range es {
		out[i] = <-e.answer
	}
	return out
}

func (l *ledger) wake() {
	select {
	case l.kick <- struct{}{}:
	default: // it will look anyway
	}
}

func (l *ledger) run() {
	for range l.kick {
		l.mu.Lock()
		starts, ends := l.starts, l.ends
		l.starts, l.ends = nil, nil
		l.mu.Unlock()
		if len(ends) > 0 {
			write(l, ends, finishTries, l.inbox.FinishDeliveries)
		}
		if len(starts) > 0 {
			write(l, starts, 1, l.inbox.StartDeliveries)
		}
	}
}

// write writes lines and answers them.
func write[T any](l *ledger, es []entry[T], tries int, to func(context.Context, []T) ([]bool, error)) {
	lines := make([]T, len(es))
	for i, e := range es {
		lines[i] = e.line
	}
	oks, err := once(l, lines, to)
	for try := 1; err != nil && try < tries; try++ {
		time.Sleep(time.Second)
		oks, err = once(l, lines, to)
	}
	for i, e := range es {
		e.answer <- answered{err == nil && oks[i], err}
	}
}

// once visits the store. A panic of it is an error like others.
func once[T any](l *ledger, lines []T, to func(context.Context, []T) ([]bool, error)) (oks []bool, err error) {
	ctx, cancel := l.visit()
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			err = newPanicError(v)
		}
	}()
	oks, err = to(ctx, lines)
	if err == nil && len(oks) != len(lines) {
		err = fmt.Errorf("integrations/webhook: the inbox answered %d of %d", len(oks), len(lines))
	}
	return oks, err
}
