package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
)

// WorkerConfig says how a [Worker] works. Inbox and Cipher are required.
type WorkerConfig struct {
	Inbox  store.Inbox
	Cipher crypto.Cipher
	// Handlers are what events are given to, one for each (Provider, Type). A
	// worker claims only what it has a handler for or what BeforeTypes lists.
	Handlers []Handler
	// Before, when not nil, is the library's own work on the events that
	// BeforeTypes lists, done before their handler in the same attempt. An event
	// that is listed and has no handler here is done after Before. An EventType
	// of "" lists all types of a provider.
	Before      func(ctx context.Context, ev Event) error
	BeforeTypes []store.Match

	Handling
	// Logger hears of attempts that failed and of a store that does. Nil
	// discards.
	Logger *slog.Logger
	// Observe, when not nil, is told of every attempt. It must not block.
	Observe func(ctx context.Context, o Observation)
}

func (cfg *WorkerConfig) setDefaults() {
	cfg.Handling.setDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Observe == nil {
		cfg.Observe = func(context.Context, Observation) {}
	}
}

func (cfg *WorkerConfig) validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("integrations/webhook: worker: "+format, args...))
	}
	if cfg.Inbox == nil {
		fault("Inbox is nil")
	}
	if cfg.Cipher == nil {
		fault("Cipher is nil")
	}
	seen := map[store.Match]bool{}
	for _, h := range cfg.Handlers {
		m := store.Match{Provider: h.Provider, EventType: h.Type}
		if h.Provider == "" || h.Type == "" || h.Func == nil {
			fault("a handler has no Provider, no Type or no Func")
		}
		if seen[m] {
			fault("two handlers of %s %s", h.Provider, h.Type)
		}
		seen[m] = true
	}
	if (cfg.Before == nil) != (len(cfg.BeforeTypes) == 0) {
		fault("Before and BeforeTypes need each other")
	}
	if err := cfg.Handling.Validate(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// Worker runs handlers for the events in an inbox. Any number of workers, in any
// number of processes, may share an inbox; all should have the same handlers. It is
// safe for concurrent use.
//
// Every event is handled at least once: it is done when its handler returned nil and
// the store took note of it, before the handler's place takes another. A crash in
// between makes it run again: one repeat at most for each place of the process that
// died. [Event] says what a handler may assume.
//
// Tenants take turns: see [Handling].TenantConcurrency. Events whose handler was cut
// short by a crash run one at a time beside the others, so that an event that ends
// the process is found out by itself and takes none with it.
//
// Events of no integration are given to no handler: they are put aside as done
// and stay in the inbox until it is cleaned, for whoever connects the account.
//
// An event whose body cannot be opened, because its key is not in the ring, rests
// by Schedule as if it had failed, but no start is counted and it never becomes
// dead.
type Worker struct {
	cfg      WorkerConfig
	handlers map[store.Match]func(context.Context, Event) error
	before   map[store.Match]bool
	match    []store.Match
	wake     chan struct{}
}

// NewWorker returns a worker, or an error that joins all faults of cfg. It
// starts nothing: call [Worker.Run] or [Worker.Drain].
func NewWorker(cfg WorkerConfig) (*Worker, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.guard()
	w := &Worker{
		cfg:      cfg,
		handlers: map[store.Match]func(context.Context, Event) error{},
		before:   map[store.Match]bool{},
		wake:     make(chan struct{}, 1),
	}
	for _, h := range cfg.Handlers {
		m := store.Match{Provider: h.Provider, EventType: h.Type}
		if h.Type == AnyType {
			m.EventType = ""
		}
		w.handlers[m] = h.Func
		w.match = append(w.match, m)
	}
	for _, m := range cfg.BeforeTypes {
		w.before[m] = true
		if w.handlers[m] == nil {
			w.match = append(w.match, m)
		}
	}
	return w, nil
}

// Wake makes a running Run look for events at once. It never blocks.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Run handles events until ctx ends. Then it claims no more, gives back what it
// has not started, lets running handlers finish up to DrainTimeout, ends their
// contexts, and returns nil. A store that fails is logged and tried again.
//
// An idle Run asks the store one question each Poll, which changes nothing.
func (w *Worker) Run(ctx context.Context) error {
	if len(w.match) == 0 {
		<-ctx.Done()
		return nil
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	s := w.begin(running)
	for failures := 1; ctx.Err() == nil; {
		began := time.Now()
		if err := s.feed(ctx); err != nil {
			if time.Since(began) > time.Minute {
				failures = 1 // it went well for a while
			}
			w.cfg.Logger.ErrorContext(ctx, "webhook events not claimed", "error", err)
			w.rest(ctx, min(w.cfg.Poll<<min(failures, 5), 30*time.Second))
			failures++
		}
	}
	finished := s.end()
	select {
	case <-finished:
	case <-time.After(w.cfg.DrainTimeout):
		w.cfg.Logger.WarnContext(ctx, "webhook handlers still running after the drain timeout")
		stop()
		<-finished
	}
	return nil
}

// rest waits for a wake, d, or the end of ctx.
func (w *Worker) rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(jitter(d))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.wake:
	case <-ctx.Done():
	}
}

// Drain handles what is due until nothing is, and reports how many attempts it
// made. What fails is due later, by Schedule. It is for tests and for jobs that
// run now and then instead of Run. It returns an error when the store fails or
// ctx ends; a handler's error is not one.
func (w *Worker) Drain(ctx context.Context) (int, error) {
	if len(w.match) == 0 {
		return 0, ctx.Err()
	}
	s := w.begin(ctx)
	err := s.drain()
	<-s.end()
	if err == nil {
		err = s.storeError()
	}
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("integrations/webhook: drain: %w", err)
	}
	return int(s.attempts.Load()), err
}

// jitter moves d by up to a tenth, so that what failed together does not come
// back together.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)/5*float64(d))
}
