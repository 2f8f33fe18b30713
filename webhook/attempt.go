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

// handle makes one attempt at a claimed event. A panic of the store, the cipher
// or an observer ends the attempt, not the process: the lease runs out and the
// event comes again.
func (s *session) handle(c claimed) {
	defer s.letGo(c.ID)
	defer func() {
		if v := recover(); v != nil {
			p := newPanicError(v)
			s.storeFailed("webhook attempt panicked", c, p)
			s.cfg.Logger.ErrorContext(s.ctx, "webhook attempt panicked", "stack", string(p.Stack))
		}
	}()
	if s.ctx.Err() != nil {
		s.giveBack(0, c)
		return
	}
	s.attempts.Add(1)
	if c.IntegrationID == "" {
		s.log(slog.LevelDebug, "webhook event of no integration put aside", c)
		if s.finish(c, store.FinishDelivery{State: store.Done}) {
			s.observe(c, OutcomeUnrouted, 0, 0, nil)
		}
		return
	}
	if c.Starts >= s.cfg.MaxStarts || c.Lost >= s.cfg.MaxStarts+moreLost {
		s.dead(c, c.Starts, 0, errCutShort)
		return
	}
	ev, err := s.event(c)
	if err != nil {
		s.unreadable(c, err)
		return
	}
	ok, err := s.ledger.start(c)
	if err != nil {
		s.storeFailed("webhook event not started", c, err)
		return
	}
	if !ok {
		s.overtaken(c)
		return
	}
	began := time.Now()
	err = s.call(ev)
	took := time.Since(began)
	if err != nil {
		s.failed(c, ev.Attempt, took, err)
		return
	}
	if s.finish(c, store.FinishDelivery{State: store.Done}) {
		s.observe(c, OutcomeHandled, ev.Attempt, took, nil)
	}
}

// event opens a row.
func (s *session) event(c claimed) (Event, error) {
	body, err := s.cfg.Cipher.Open(nil, c.Body, BodyBinding(c.Delivery))
	if err != nil {
		return Event{}, err
	}
	ev := Event{
		ID: c.ID, Provider: c.Provider, Type: c.EventType, DeliveryID: c.DeliveryID,
		TenantID: c.TenantID, IntegrationID: c.IntegrationID, ExternalID: c.ExternalID,
		Body: body, OccurredAt: c.OccurredAt, ReceivedAt: c.ReceivedAt, Attempt: c.Starts + 1,
	}
	if len(c.Headers) > 0 && json.Unmarshal(c.Headers, &ev.Header) != nil {
		return Event{}, errHeaders
	}
	return ev, nil
}

// unreadable puts an event off that is not at fault. How long goes by its
// claims, because no start was counted.
func (s *session) unreadable(c claimed, err error) {
	s.log(slog.LevelError, "webhook event cannot be opened", c, "error", err)
	f := store.FinishDelivery{State: store.Pending, RetryIn: s.cfg.restFor(c.Claims), Error: errorText(err)}
	if s.finish(c, f) {
		s.observe(c, OutcomeUnreadable, 0, 0, err)
	}
}

// failed puts an event off or gives it up.
func (s *session) failed(c claimed, starts int, took time.Duration, err error) {
	if starts >= s.cfg.MaxStarts {
		s.dead(c, starts, took, err)
		return
	}
	s.logFailed(slog.LevelWarn, c, OutcomeFailed, starts, err)
	if s.finish(c, store.FinishDelivery{State: store.Pending, RetryIn: s.cfg.restFor(starts), Error: errorText(err)}) {
		s.observe(c, OutcomeFailed, starts, took, err)
	}
}

// dead gives an event up.
func (s *session) dead(c claimed, starts int, took time.Duration, err error) {
	s.logFailed(slog.LevelError, c, OutcomeDead, starts, err)
	if s.finish(c, store.FinishDelivery{State: store.Dead, Error: errorText(err)}) {
		s.observe(c, OutcomeDead, starts, took, err)
	}
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
		err = s.invoke(ctx, ev)
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
