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

	// Concurrency is how many events are handled at a time. Defaults to 8.
	Concurrency int
	// Batch is how many events are claimed at a time. Defaults to 16.
	Batch int
	// Lease is how long a claim lasts; it is renewed at a third of it. After a
	// crash its events run elsewhere when it is over. Defaults to 60 s.
	Lease time.Duration
	// HandlerTimeout ends a handler's context. One that does not return within 5 s
	// after that is left behind: the event counts as failed, and may come again
	// while the first handler still runs. Defaults to 5 minutes.
	HandlerTimeout time.Duration
	// MaxStarts is how often an event's handler is started before the event is
	// dead. Starts that a crash cut short count. Defaults to 8.
	MaxStarts int
	// Schedule is how long an event rests after its first, second, … failed
	// attempt, give or take a tenth; the last entry stands for all that follow.
	// Defaults to 5 s, 30 s, 2 min, 10 min, 1 h, 3 h, 8 h.
	Schedule []time.Duration
	// Poll is how often Run looks for events that other processes stored and for
	// those that are due again. Defaults to 1 s.
	Poll time.Duration
	// DrainTimeout is how long running handlers may go on once Run's context has
	// ended. Defaults to 15 s.
	DrainTimeout time.Duration
	// Logger hears of attempts that failed and of a store that does. Nil
	// discards.
	Logger *slog.Logger
	// Observe, when not nil, is told of every attempt. It must not block.
	Observe func(ctx context.Context, o Observation)
}

// handlerGrace is how long a handler may take to return after its context
// ended. One that hangs must not keep its place from other events for good.
const handlerGrace = 5 * time.Second

func (cfg *WorkerConfig) setDefaults() {
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 8
	}
	if cfg.Batch == 0 {
		cfg.Batch = 16
	}
	if cfg.Lease == 0 {
		cfg.Lease = 60 * time.Second
	}
	if cfg.HandlerTimeout == 0 {
		cfg.HandlerTimeout = 5 * time.Minute
	}
	if cfg.MaxStarts == 0 {
		cfg.MaxStarts = 8
	}
	if len(cfg.Schedule) == 0 {
		cfg.Schedule = []time.Duration{
			5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 3 * time.Hour, 8 * time.Hour,
		}
	}
	if cfg.Poll == 0 {
		cfg.Poll = time.Second
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 15 * time.Second
	}
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
	if cfg.Concurrency < 0 || cfg.Batch < 0 || cfg.MaxStarts < 0 {
		fault("Concurrency, Batch and MaxStarts must not be negative")
	}
	if cfg.Lease < 0 || cfg.HandlerTimeout < 0 || cfg.Poll < 0 || cfg.DrainTimeout < 0 {
		fault("Lease, HandlerTimeout, Poll and DrainTimeout must not be negative")
	}
	for _, d := range cfg.Schedule {
		if d <= 0 {
			fault("Schedule must be positive")
			break
		}
	}
	return errors.Join(faults...)
}

// Worker runs handlers for the events in an inbox. Any number of workers, in any
// number of processes, may share an inbox. It is safe for concurrent use.
//
// Every event is handled at least once: it is done when its handler returned
// nil and the store took note of it. A crash in between makes it run again.
// Nothing is promised about the order of events yet, with or without
// Notice.OrderKey.
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
func (w *Worker) Run(ctx context.Context) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	s := w.open(running)
	defer s.close()

	jobs := make(chan claimed)
	finished := s.work(jobs)
	for failures := 0; ctx.Err() == nil; {
		batch, err := s.claim()
		if err != nil {
			failures++
			w.cfg.Logger.ErrorContext(ctx, "webhook events not claimed", "error", err)
			w.rest(ctx, min(w.cfg.Poll<<min(failures, 5), 30*time.Second))
			continue
		}
		failures = 0
		for _, c := range batch {
			if ctx.Err() != nil {
				s.giveBack(c)
				continue
			}
			select {
			case jobs <- c:
			case <-ctx.Done():
				s.giveBack(c)
			}
		}
		if len(batch) < w.cfg.Batch {
			w.rest(ctx, w.cfg.Poll)
		}
	}
	close(jobs)
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
	s := w.open(ctx)
	defer s.close()
	err := s.drain()
	return int(s.attempts.Load()), err
}

func (s *session) drain() error {
	for {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		batch, err := s.claim()
		if err != nil {
			return fmt.Errorf("integrations/webhook: claim: %w", err)
		}
		if len(batch) == 0 {
			return nil
		}
		jobs := make(chan claimed)
		finished := s.work(jobs)
		for _, c := range batch {
			jobs <- c
		}
		close(jobs)
		<-finished
		if err := s.storeError(); err != nil {
			return err
		}
	}
}

// restFor is how long an event rests after its n-th failure.
func (w *Worker) restFor(n int) time.Duration {
	return jitter(w.cfg.Schedule[max(0, min(n, len(w.cfg.Schedule))-1)])
}

// jitter moves d by up to a tenth, so that what failed together does not come
// back together.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)/5*float64(d))
}
