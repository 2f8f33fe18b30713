package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// Why an attempt failed when it was not the handler that said so.
var (
	errStuck    = errors.New("integrations/webhook: handler did not return after its context ended")
	errExited   = errors.New("integrations/webhook: handler ended its goroutine")
	errCutShort = errors.New("integrations/webhook: the last attempt was cut short")
	errHeaders  = errors.New("integrations/webhook: stored headers are not JSON")
)

// maxErrorText is how much of an error's text is stored.
const maxErrorText = 500

// attempt is one attempt at a claimed event.
type attempt struct {
	claimed
	event Event
	// starts says that the handler is to run; else there is an end already.
	starts bool
	end    store.FinishDelivery
	// What the observer is told once the end is written.
	outcome Outcome
	started int
	took    time.Duration
	err     error
}

// prepare decides what an attempt is. A panic of the cipher gives the event up, not
// the process: nil.
func (s *session) prepare(c claimed) (a *attempt) {
	defer func() {
		if v := recover(); v != nil {
			p := newPanicError(v)
			s.log(slog.LevelError, "webhook attempt panicked", c, "stack", string(p.Stack))
			s.storeFailed("webhook event not opened", c, p)
			a = nil
		}
	}()
	a = &attempt{claimed: c}
	if s.ctx.Err() != nil {
		a.end = backIn(c, 0)
		return a
	}
	s.attempts.Add(1)
	switch {
	case c.IntegrationID == "":
		s.log(slog.LevelDebug, "webhook event of no integration put aside", c)
		a.ends(OutcomeUnrouted, 0, nil, store.FinishDelivery{State: store.Done})
	case c.Starts >= s.cfg.MaxStarts || c.Lost >= s.cfg.MaxStarts+moreLost:
		s.dead(a, c.Starts, errCutShort)
	default:
		var err error
		if a.event, err = s.open(c); err != nil {
			s.unreadable(a, err)
		}
		a.starts = err == nil
	}
	return a
}

// ends notes how an attempt ended.
func (a *attempt) ends(o Outcome, started int, err error, f store.FinishDelivery) {
	f.ID, f.Owner = a.ID, a.owner
	a.end, a.outcome, a.started, a.err = f, o, started, err
}

// run runs the handler.
func (s *session) run(a *attempt) {
	began := time.Now()
	err := s.call(a.event)
	a.took = time.Since(began)
	switch starts := a.event.Attempt; {
	case err == nil:
		a.ends(OutcomeHandled, starts, nil, store.FinishDelivery{State: store.Done})
	case starts >= s.cfg.MaxStarts:
		s.dead(a, starts, err)
	default:
		s.logFailed(slog.LevelWarn, a.claimed, OutcomeFailed, starts, err)
		a.ends(OutcomeFailed, starts, err, store.FinishDelivery{State: store.Pending, RetryIn: s.cfg.restFor(starts), Error: errorText(err)})
	}
}

// record writes down how last ended and that next starts, either of which may be
// nil. It returns next if it is to go on.
func (s *session) record(last, next *attempt) *attempt {
	var w line
	if last != nil {
		w.ends = []store.FinishDelivery{last.end}
	}
	if next != nil && next.starts {
		w.start = &store.DeliveryLease{ID: next.ID, Owner: next.owner}
	}
	if w.ends != nil || w.start != nil {
		s.ledger.write(&w)
	}
	if last != nil {
		s.written(last, w.ended[0], w.endErr)
	}
	switch {
	case w.start == nil || w.started:
		return next
	case w.startErr != nil:
		s.storeFailed("webhook event not started", next.claimed, w.startErr)
	default:
		s.overtaken(next.claimed)
	}
	s.letGo(next.ID)
	return nil
}

// written tells what became of an end.
func (s *session) written(a *attempt, ok bool, err error) {
	s.letGo(a.ID)
	switch {
	case err != nil:
		s.storeFailed("webhook event not finished", a.claimed, err)
	case !ok:
		s.overtaken(a.claimed)
	case a.outcome != "":
		s.observe(a.claimed, a.outcome, a.started, a.took, a.err)
	}
	if ok && a.end.State != store.Pending && a.OrderKey != "" {
		s.mu.Lock()
		s.turns.mark(a.TenantID, a.RunAt) // the next of its key is due now
		s.mu.Unlock()
	}
}

// open opens a row.
func (s *session) open(c claimed) (Event, error) {
	body, err := OpenBody(s.cfg.Cipher, c.Delivery)
	if err != nil {
		return Event{}, err
	}
	ev := Event{
		ID: c.ID, Provider: c.Provider, Type: c.EventType, DeliveryID: c.DeliveryID,
		TenantID: c.TenantID, IntegrationID: c.IntegrationID, ExternalID: c.ExternalID,
		OrderKey: c.OrderKey, Body: body, OccurredAt: c.OccurredAt, ReceivedAt: c.ReceivedAt, Attempt: c.Starts + 1,
	}
	if len(c.Headers) > 0 && json.Unmarshal(c.Headers, &ev.Header) != nil {
		return Event{}, errHeaders
	}
	return ev, nil
}

// unreadable puts an event off that is not at fault. How long goes by its
// claims, because no start was counted.
func (s *session) unreadable(a *attempt, err error) {
	s.log(slog.LevelError, "webhook event cannot be opened", a.claimed, "error", err)
	a.ends(OutcomeUnreadable, 0, err, store.FinishDelivery{State: store.Pending, RetryIn: s.cfg.restFor(a.Claims), Error: errorText(err)})
}

// dead gives an event up.
func (s *session) dead(a *attempt, starts int, err error) {
	s.logFailed(slog.LevelError, a.claimed, OutcomeDead, starts, err)
	a.ends(OutcomeDead, starts, err, store.FinishDelivery{State: store.Dead, Error: errorText(err)})
}

func (s *session) logFailed(level slog.Level, c claimed, o Outcome, starts int, err error) {
	args := []any{"attempt", starts, "outcome", string(o), "error", err}
	if p, ok := errors.AsType[*PanicError](err); ok {
		args = append(args, "stack", string(p.Stack))
	}
	s.log(level, "webhook event failed", c, args...)
}

// call runs Before and the handler under the handler timeout. Whatever does not
// return within handlerGrace after that is left behind.
func (s *session) call(ev Event) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.HandlerTimeout)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		err := errExited // unless one of the lines below is reached
		defer func() {
			if v := recover(); v != nil {
				err = newPanicError(v)
			}
			result <- err
		}()
		if err = s.invoke(ctx, ev); err != nil {
			_ = err.Error() // of a nil pointer it panics: better here than where it is told
		}
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-result:
		return err
	case <-time.After(handlerGrace):
		return errStuck
	}
}

func (s *session) invoke(ctx context.Context, ev Event) error {
	exact := store.Match{Provider: ev.Provider, EventType: ev.Type}
	all := store.Match{Provider: ev.Provider}
	if s.before[exact] || s.before[all] {
		if err := s.cfg.Before(ctx, ev); err != nil {
			return err
		}
	}
	fn := s.handlers[exact]
	if fn == nil {
		fn = s.handlers[all]
	}
	if fn == nil {
		return nil
	}
	return fn(ctx, ev)
}

// errorText is what is stored of an error: its text without control bytes, cut
// to a length.
func errorText(err error) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, err.Error())
	if len(text) > maxErrorText {
		text = text[:maxErrorText]
	}
	return strings.ToValidUTF8(text, "")
}
