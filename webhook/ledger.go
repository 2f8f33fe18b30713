package webhook

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// recordTries is how often the end of an attempt is written down before the event
// is left to run again when its lease is over.
const recordTries = 3

var errRecorded = errors.New("integrations/webhook: the inbox recorded another number of lines than it was given")

// ledger writes ends and starts of attempts into the inbox. What comes in while it
// writes goes into its next visit together, so that many places share the cost of
// one and none waits for a timer. Who asks waits for the answer: no handler starts,
// and no place takes its next event, before it is written.
type ledger struct {
	inbox store.Inbox
	visit func() (context.Context, context.CancelFunc)

	mu    sync.Mutex
	lines []*line
	kick  chan struct{}
	over  sync.WaitGroup
}

// line is what one place has to write: the ends of some events, the start of
// another.
type line struct {
	ends    []store.FinishDelivery
	start   *store.DeliveryLease
	written chan struct{}
	// The answer: which ends, and whether the start, were recorded.
	ended            []bool
	started          bool
	endErr, startErr error
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

// write writes a line and waits until it is written or failed for good.
func (l *ledger) write(w *line) {
	w.written = make(chan struct{})
	l.mu.Lock()
	l.lines = append(l.lines, w)
	l.mu.Unlock()
	select {
	case l.kick <- struct{}{}:
	default: // it will look anyway
	}
	<-w.written
}

func (l *ledger) run() {
	for range l.kick {
		// Those that were answered just now may be back at once, if their handlers
		// are quick: one visit for all, instead of two sets that wait for each other.
		runtime.Gosched()
		l.mu.Lock()
		lines := l.lines
		l.lines = nil
		l.mu.Unlock()
		if len(lines) > 0 {
			l.record(lines)
		}
	}
}

// record writes lines and answers them. Ends are tried again. Starts are not: one
// whose answer was lost would be counted twice.
func (l *ledger) record(lines []*line) {
	var r store.RecordDeliveries
	for _, w := range lines {
		r.Ends = append(r.Ends, w.ends...)
		if w.start != nil {
			r.Starts = append(r.Starts, *w.start)
		}
	}
	got, err := l.once(r)
	startErr := err
	for try := 1; err != nil && try < recordTries && len(r.Ends) > 0; try++ {
		time.Sleep(time.Second)
		got, err = l.once(store.RecordDeliveries{Ends: r.Ends})
	}
	if err != nil {
		got.Ends = make([]bool, len(r.Ends))
	}
	for _, w := range lines {
		w.endErr, w.startErr = err, startErr
		w.ended, got.Ends = got.Ends[:len(w.ends)], got.Ends[len(w.ends):]
		if w.start != nil && startErr == nil {
			w.started, got.Starts = got.Starts[0], got.Starts[1:]
		}
		close(w.written)
	}
}

// once visits the store. A panic of it is an error like others.
func (l *ledger) once(r store.RecordDeliveries) (got store.Recorded, err error) {
	ctx, cancel := l.visit()
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			err = newPanicError(v)
		}
	}()
	got, err = l.inbox.RecordDeliveries(ctx, r)
	if err == nil && (len(got.Ends) != len(r.Ends) || len(got.Starts) != len(r.Starts)) {
		err = errRecorded
	}
	return got, err
}
