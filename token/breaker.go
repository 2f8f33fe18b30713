package token

import (
	"container/list"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	// Straight failures that open a breaker, and over how many connections: one
	// that always fails must not stop the others.
	breakerFails       = 5
	breakerConnections = 3

	// A breaker opens for openFirst, or as long as the provider asks for; each probe
	// that fails doubles that. openMost leaves time to recover within five minutes
	// after an outage. Up to a fifth is taken off at random, so that replicas do not
	// probe together.
	openFirst = 30 * time.Second
	openMost  = 4 * time.Minute
	openShare = 5
	// retryWhileProbing is the advice while a probe is under way.
	retryWhileProbing = time.Second

	// Renewals under way at the same time: at first, after a failure, and at most.
	windowFirst = 8
	windowLeast = 1
	windowMost  = 256

	// breakerIdle is when a breaker that nobody used is forgotten.
	breakerIdle = 24 * time.Hour

	// codeShuttingDown and codeNoPlace are for renewals that did not begin.
	codeShuttingDown = "shutting_down"
	codeNoPlace      = "too_many_renewals"
)

// FaultEvent says that a vault makes no token calls to a host of a provider for
// a while, because straight failures were the app's or the provider's, or that it
// makes them again. Tokens that last are handed out all the same, and no
// integration is changed. There is one event when it begins and one when it is
// over, in each process.
type FaultEvent struct {
	// Provider is the provider's key, Host what its [HostRenewer] says, "" when it
	// has none.
	Provider, Host string
	// Outcome and Code are those of the failure that began it: AppFault, or
	// Transient with an answer of 500 or above.
	Outcome Outcome
	Code    string
	// Open is true when it begins.
	Open bool
	// RetryAfter is when one call is made to see whether it is over, counted from
	// the event; each failure doubles it, up to four minutes. 0 when it is over.
	RetryAfter time.Duration
}

// breakers guard the token endpoints, in memory: each process finds out for
// itself. Renewals are rare, so one lock is enough for all.
type breakers struct {
	mu     sync.Mutex
	all    map[breakerKey]*breaker
	closed bool // shutting down

	walk walk
}

// breakerKey is a provider key, so an OAuth app, and a host.
type breakerKey struct{ provider, host string }

// breaker is closed while cause is nil, then open until a moment, then half-open:
// one renewal is the probe.
type breaker struct {
	key  breakerKey
	used time.Duration

	// The window bounds the renewals under way. Without it a burst would send a
	// thousand calls before the first one is answered.
	window, under int
	waiting       list.List // of chan error, nil for a place; the oldest first

	// The run of straight failures.
	fails   int
	failing []string // ids, breakerConnections at most
	down    bool     // one of them was the provider's
	seen    []string // ids that ever made a call, breakerConnections at most

	cause   *Error
	opened  FaultEvent
	since   time.Duration // when it opened
	openFor time.Duration
	until   time.Duration
	probing bool
	epoch   int // moves when it opens or closes: what began before tells nothing then
}

// place is the right to make one token call.
type place struct {
	v     *Vault
	b     *breaker
	id    string
	epoch int
	probe bool
	over  bool
}

func (bs *breakers) of(k breakerKey, now time.Duration) *breaker {
	b := bs.all[k]
	if b == nil {
		if bs.all == nil {
			bs.all = map[breakerKey]*breaker{}
		}
		b = &breaker{key: k, window: windowFirst}
		bs.all[k] = b
	}
	b.used = now
	return b
}

// refusal is the error of a renewal that must not begin now, nil when it may.
func (b *breaker) refusal(now time.Duration) *Error {
	if b.cause == nil || !b.probing && now >= b.until {
		return nil
	}
	e := *b.cause
	e.uncalled, e.RetryAfter = true, retryWhileProbing
	if !b.probing {
		e.RetryAfter = b.until - now
	}
	return &e
}

// held is the error of renewals while no token call is to be made, else nil.
func (v *Vault) held(k breakerKey) error {
	bs := &v.breakers
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if b := bs.all[k]; b != nil {
		if e := b.refusal(v.clock.now()); e != nil {
			return e
		}
	}
	return nil
}

// enter takes a place at a breaker for a renewal of the integration id, waiting
// for one while ctx lasts; waited says that it did, so what was known before may
// be outdated. An open breaker is an error at once.
func (v *Vault) enter(ctx context.Context, k breakerKey, id string) (p *place, waited bool, err error) {
	bs, now := &v.breakers, v.clock.now()
	bs.mu.Lock()
	if bs.closed {
		bs.mu.Unlock()
		return nil, false, &Error{Outcome: Transient, Code: codeShuttingDown, uncalled: true}
	}
	b := bs.of(k, now)
	if e := b.refusal(now); e != nil {
		bs.mu.Unlock()
		return nil, false, e
	}
	p = &place{v: v, b: b, id: id, epoch: b.epoch}
	if b.cause != nil || b.waiting.Len() == 0 && b.under < b.window {
		p.probe, b.probing = b.cause != nil, b.cause != nil
		b.under++
		bs.mu.Unlock()
		return p, false, nil
	}
	ready := make(chan error, 1)
	me := b.waiting.PushBack(ready)
	bs.mu.Unlock()
	select {
	case err = <-ready:
	case <-ctx.Done():
		bs.mu.Lock()
		select {
		case err = <-ready: // meanwhile
		default:
			b.waiting.Remove(me)
			err = &Error{Outcome: Transient, Code: codeNoPlace, RetryAfter: retryWhileProbing, uncalled: true}
		}
		bs.mu.Unlock()
	}
	if err != nil {
		return nil, true, err
	}
	return p, true, nil
}

// settle gives a place back after a token call with its result. It returns what
// the vault has to tell afterwards: a new token is stored before anybody hears.
func (p *place) settle(err error) *FaultEvent {
	bs, b, now := &p.v.breakers, p.b, p.v.clock.now()
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if p.over {
		return nil
	}
	var e *Error
	errors.As(err, &e)
	b.seen = noted(b.seen, p.id)
	var event *FaultEvent
	switch {
	case p.epoch != b.epoch:
	case err == nil:
		event = b.succeeded(now)
	case e != nil && (e.Outcome == AppFault || e.Outcome == Transient && e.Status >= 500):
		event = b.failed(p.id, e, now)
	case p.probe && e != nil && e.Outcome == DeadGrant:
		event = b.closed() // a provider that judges a grant is up and knows the app
	case p.probe:
		b.open(b.cause, b.openFor, now) // it told nothing
	}
	p.free()
	return event
}

// giveBack gives a place back without a token call, unless it was settled. It
// does nothing for nil.
func (p *place) giveBack() {
	if p == nil {
		return
	}
	bs := &p.v.breakers
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if p.over {
		return
	}
	if p.probe && p.epoch == p.b.epoch {
		p.b.probing = false // the next one who asks is the probe
	}
	p.free()
}

func (p *place) free() {
	p.over = true
	p.b.under--
	p.b.admit()
}

// admit gives free places to those who wait.
func (b *breaker) admit() {
	for b.cause == nil && b.under < b.window && b.waiting.Len() > 0 {
		b.under++
		b.answerNext(nil)
	}
}

func (b *breaker) answerNext(err error) {
	b.waiting.Remove(b.waiting.Front()).(chan error) <- err
}

// succeeded ends the run of failures. The window grows by one for each success
// while all of it is used, so it doubles with each round trip, and shrinks again
// when half of it would do: an outage must not meet a window of an earlier burst.
func (b *breaker) succeeded(now time.Duration) *FaultEvent {
	b.fails, b.failing, b.down = 0, nil, false
	switch {
	case b.under >= b.window:
		b.window = min(b.window+1, windowMost)
	case b.window > windowFirst && 2*b.under < b.window:
		b.window--
	}
	b.used = now
	return b.closed()
}

func (b *breaker) failed(id string, e *Error, now time.Duration) *FaultEvent {
	b.window = windowLeast
	if b.cause != nil {
		b.open(e, min(2*b.openFor, openMost), now)
		return nil
	}
	b.fails++
	b.failing = noted(b.failing, id)
	b.down = b.down || e.Outcome != AppFault
	// A wrong client secret shows even where there are only one or two
	// connections; one that is refused for itself is among others that are not.
	need := breakerConnections
	if !b.down {
		need = len(b.seen)
	}
	if b.fails < breakerFails || len(b.failing) < need {
		return nil
	}
	b.open(e, openFirst, now)
	b.since = now
	b.opened = FaultEvent{
		Provider: b.key.provider, Host: b.key.host, Outcome: e.Outcome, Code: plain(e.Code), Open: true, RetryAfter: b.until - now,
	}
	event := b.opened
	return &event
}

func (b *breaker) open(cause *Error, d, now time.Duration) {
	b.cause, b.openFor, b.probing = cause, d, false
	b.until = now + max(d-rand.N(d/openShare), min(cause.RetryAfter, openMost))
	b.epoch++
	for b.waiting.Len() > 0 {
		b.answerNext(b.refusal(now))
	}
}

// closed lets renewals go on if they were held back. The window starts small.
func (b *breaker) closed() *FaultEvent {
	if b.cause == nil {
		return nil
	}
	b.cause, b.probing, b.fails, b.failing, b.down = nil, false, 0, nil, false
	b.epoch++
	event := b.opened
	event.Open, event.RetryAfter = false, 0
	return &event
}

// noted adds an id to a short list of different ones.
func noted(ids []string, id string) []string {
	if len(ids) >= breakerConnections || slices.Contains(ids, id) {
		return ids
	}
	return append(ids, id)
}

// tell logs and passes on what settle returned.
func (v *Vault) tell(ctx context.Context, e *FaultEvent) {
	if e == nil {
		return
	}
	if e.Open {
		v.log.ErrorContext(ctx, "integrations: renewals fail because of the app or the provider and are held back",
			"provider", e.Provider, "host", e.Host, "outcome", e.Outcome.String(), "code", e.Code, "retry_after", e.RetryAfter)
	} else {
		v.log.InfoContext(ctx, "integrations: renewals go on", "provider", e.Provider, "host", e.Host)
	}
	if v.cfg.ObserveFault != nil {
		v.cfg.ObserveFault(*e)
	}
}

// claimable divides providers into those whose rows may be claimed and those of
// which one row may be, as a probe; the rest is open. A provider with several
// hosts is always claimable: rows of one that is open are given back.
func (v *Vault) claimable(providers []string) (ready, probe []string) {
	bs := &v.breakers
	for _, p := range providers {
		_, hosts := v.cfg.Renewer(p).(HostRenewer)
		bs.mu.Lock()
		b := bs.all[breakerKey{provider: p}]
		switch {
		case hosts || b == nil || b.cause == nil:
			ready = append(ready, p)
		case b.refusal(v.clock.now()) == nil:
			probe = append(probe, p)
		}
		bs.mu.Unlock()
	}
	return ready, probe
}

// close lets no renewal begin any more.
func (bs *breakers) close() {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	bs.closed = true
	for _, b := range bs.all {
		for b.waiting.Len() > 0 {
			b.answerNext(&Error{Outcome: Transient, Code: codeShuttingDown, uncalled: true})
		}
	}
}

// sweep forgets breakers that nobody used for long.
func (bs *breakers) sweep(now time.Duration) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	for k, b := range bs.all {
		if b.cause == nil && b.under == 0 && b.waiting.Len() == 0 && now-b.used > breakerIdle {
			delete(bs.all, k)
		}
	}
}
